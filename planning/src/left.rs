//! What stays behind, by reason.

use crate::memory::is_residual;
use crate::planner::View;
use crate::reach::{Obstacle, Reach};
use std::sync::Arc;

/// Residual core that no motion is left for, mL, by the first reason that holds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Left {
    declined_ml: f64,
    forbidden_ml: f64,
    rim_ml: f64,
    shaft_ml: f64,
    covered_ml: f64,
    dear_ml: f64,
    outside_ml: f64,
}

impl Left {
    /// Through whichever pivot the least keeps it.
    pub fn count(view: &View<'_>, reaches: &[Arc<Reach>], layer_mm: f64) -> Self {
        let (scene, mut left) = (view.scene, Self::default());
        let voxel_ml = scene.grid.voxel_ml();
        let barred = view.memory.barred(&scene.grid);
        for i in (0..scene.grid.len()).filter(|i| is_residual(scene, *i)) {
            let at = scene.grid.centre(scene.grid.voxel(i));
            let why = if barred[i] {
                &mut left.declined_ml
            } else if !reaches[0].cut_clear(i) {
                &mut left.forbidden_ml
            } else {
                let least = reaches
                    .iter()
                    .map(|reach| reach.obstacle(&at, layer_mm))
                    .max_by_key(|o| o.map_or(u8::MAX, |o| o as u8));
                match least.flatten() {
                    Some(Obstacle::Rim) => &mut left.rim_ml,
                    Some(Obstacle::Forbidden) => &mut left.shaft_ml,
                    Some(Obstacle::Tissue) => &mut left.covered_ml,
                    None => &mut left.dear_ml,
                }
            };
            *why += voxel_ml;
        }
        let coarse_ml = scene.coarse_grid.voxel_ml() / 255.0;
        for (i, share) in scene.coarse_residual.iter().enumerate().filter(|(_, share)| **share >= 128) {
            let at = scene.coarse_grid.centre(scene.coarse_grid.voxel(i));
            if scene.grid.containing(&at).is_none() {
                left.outside_ml += f64::from(*share) * coarse_ml;
            }
        }
        left
    }

    pub fn total_ml(&self) -> f64 {
        self.declined_ml
            + self.forbidden_ml
            + self.rim_ml
            + self.shaft_ml
            + self.covered_ml
            + self.dear_ml
            + self.outside_ml
    }

    pub fn sentence(&self) -> String {
        let parts = [
            (self.forbidden_ml, "next to forbidden regions"),
            (self.rim_ml, "where the rim of the craniotomy stands in the shaft's way"),
            (self.shaft_ml, "where a forbidden region stands in the shaft's way"),
            (self.covered_ml, "behind tissue that is not to be opened"),
            (self.declined_ml, "where motions were rejected or the tissue did not yield"),
            (self.dear_ml, "where removal would cost more healthy tissue than it gains"),
            (self.outside_ml, "outside the fine region"),
        ];
        let named: Vec<String> =
            parts.iter().filter(|(ml, _)| *ml >= 0.005).map(|(ml, why)| format!("{ml:.2} mL {why}")).collect();
        format!("{:.2} mL of residual core is left: {}. Shall it stay?", self.total_ml(), named.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_says_how_much_and_why() {
        let left = Left { forbidden_ml: 0.3, rim_ml: 0.12, ..Left::default() };
        assert_eq!(
            left.sentence(),
            "0.42 mL of residual core is left: 0.30 mL next to forbidden regions, \
             0.12 mL where the rim of the craniotomy stands in the shaft's way. Shall it stay?"
        );
    }
}
