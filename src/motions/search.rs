//! Somebody who knows the truth, and tries to slip an unsafe motion past the validator.
//!
//! Of each kind, motions are drawn until one is approved; then it is changed a little, over and over, and what is approved and
//! truly worse is kept. The registration's error is drawn once, as in the table, and known to whoever searches.
//! **Units:** mm.

use super::draw::{Drawn, Draws};
use super::{Bench, Category, Line, of_found};
use bregma_core::arm::Ik;
use nalgebra::{Point3, Translation3, UnitQuaternion, Vector3};
use serde::{Deserialize, Serialize};

/// Share of the tries that draw anew, once something was approved.
const ANEW: f64 = 0.2;

/// The worst that a search found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Of which kind.
    pub category: Category,
    /// In which world.
    pub world: String,
    /// On which patient.
    pub seed: u64,
    /// Motions that were tried.
    pub tried: usize,
    /// Of them approved.
    pub approved: usize,
    /// Of those beyond the margin.
    pub beyond: usize,
    /// How far the worst of what was approved is beyond the margin, mm; `None` where nothing was approved.
    pub violation_mm: Option<f64>,
}

/// Searches on one patient.
///
/// # Errors
/// As the validator's.
pub fn search(bench: &mut Bench<'_>, category: Category, seed: u64, tries: usize) -> anyhow::Result<Option<Best>> {
    if tries == 0 {
        return Ok(None);
    }
    let mut draws = Draws::new(seed ^ 0x5ea7, category, u64::MAX);
    let mut best = Best {
        category,
        world: bench.believed.world.name().to_owned(),
        seed,
        tried: 0,
        approved: 0,
        beyond: 0,
        violation_mm: None,
    };
    let mut held: Option<(f64, Drawn)> = None;
    for _ in 0..tries {
        let anew = held.is_none() || draws.within([0.0, 1.0]) < ANEW;
        let candidate = match &held {
            Some((_, drawn)) if !anew => altered(bench, drawn, &mut draws),
            _ => bench.ground.draw(category, draws.below(2) == 0, &mut draws),
        };
        let Some(drawn) = candidate else { continue };
        best.tried += 1;
        let input = bench.believed.input(&drawn.joints, drawn.motion.clone(), &bench.believed.scene);
        let mut line = Line {
            category,
            world: best.world.clone(),
            seed,
            violation: 0.0,
            sigma_mm: bench.believed.tre_mm,
            accepted: false,
            by: None,
        };
        let Some(approved) = bench.judge(&mut line, &input)? else { continue };
        best.approved += 1;
        let way = bench.played(&approved.record().path, &drawn.true_from);
        let violation = of_found(category, &bench.ground.truth.look(&way), bench.believed);
        best.beyond += usize::from(violation > 0.0);
        if held.as_ref().is_none_or(|(worst, _)| violation > *worst) {
            best.violation_mm = Some(violation);
            held = Some((violation, drawn));
        }
    }
    Ok((best.tried > 0).then_some(best))
}

/// A motion a little changed: its end elsewhere, the shaft along the new line or as it was, or all of it moved.
fn altered(bench: &Bench<'_>, drawn: &Drawn, draws: &mut Draws) -> Option<Drawn> {
    let mut new = drawn.clone();
    let by = Vector3::new(draws.normal(), draws.normal(), draws.normal()) * draws.within([0.1, 0.8]);
    let last = new.motion.waypoints.len() - 1;
    let end = *new.motion.waypoints[last].patient_from_tip.isometry();
    match draws.below(3) {
        // The end elsewhere, both along the new line.
        0 => {
            let from = Point3::from(drawn.start.translation.vector);
            let to = Point3::from(end.translation.vector + by);
            let dir = (to - from).try_normalize(1e-3)?;
            let turn = UnitQuaternion::rotation_between(&(end.rotation * Vector3::z()), &dir)?;
            let rotation = turn * end.rotation;
            new.start.rotation = rotation;
            let moved = nalgebra::Isometry3::from_parts(Translation3::from(to.coords), rotation);
            new.motion.waypoints[last].patient_from_tip = bench.believed.pose(&moved)?;
        }
        // The end elsewhere, turned or not.
        1 => {
            let turn = UnitQuaternion::from_scaled_axis(by * 0.02);
            let moved =
                nalgebra::Isometry3::from_parts(Translation3::from(end.translation.vector + by), turn * end.rotation);
            new.motion.waypoints[last].patient_from_tip = bench.believed.pose(&moved)?;
        }
        // All of it moved.
        _ => {
            new.start.translation.vector += by;
            for waypoint in &mut new.motion.waypoints[1..] {
                let mut moved = *waypoint.patient_from_tip.isometry();
                moved.translation.vector += by;
                waypoint.patient_from_tip = bench.believed.pose(&moved)?;
            }
        }
    }
    new.joints = bench.believed.joints(&new.start, &bench.believed.arm.rest(), &Ik::SEARCH)?;
    new.start = *bench.believed.tip(&new.joints).isometry();
    new.motion.waypoints[0].patient_from_tip = bench.believed.pose(&new.start)?;
    Some(new)
}
