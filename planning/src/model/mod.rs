//! What a planner believes of the tissue, to be carved in thought. It is made of a scene, and of nothing else.
//!
//! Each voxel has a worth in hundredths of a residual voxel: residual core gains, healthy tissue costs,
//! the open is nothing. A bite at a tip position is worth the sum over the cutting sphere. What is carved can be
//! put back. Whole numbers wherever ties are broken.
//!
//! **Shape:** one value a voxel of the scene's grid, `[nz, ny, nx]`. **Units:** mm. **Invariant:** the tip stands at
//! most one layer deep in the *given* scene's tissue, whatever was carved since: a stroke is valid whether or not the
//! validator carves along.

mod stroke;
mod ways;

use crate::field::squared_distance;
use crate::planner::View;
use crate::reach::Reach;
use crate::settings::GreedySettings;
use bregma_core::flow::{Capsule, voxel};
use bregma_core::grid::Grid;
use nalgebra::Point3;
use std::sync::Arc;

pub(crate) use stroke::{Stroke, motions};

/// Worth of a residual voxel; everything else is in these hundredths.
pub(crate) const UNIT: i32 = 100;
/// Price of a mm of travel to the start,
const TRAVEL_PRICE: f64 = 5.0;
/// and of each mm of depth: layers go from the corridor inwards.
pub(crate) const DEPTH_PRICE: f64 = 15.0;

/// One voxel's change, to be undone.
#[derive(Debug, Clone, Copy)]
struct Carved {
    index: usize,
    worth: i32,
}

/// The tissue, and where an instrument can stand in it.
#[derive(Debug)]
pub(crate) struct Model {
    pub reach: Arc<Reach>,
    pub settings: GreedySettings,
    worth: Vec<i32>,
    solid: Vec<bool>,
    residual: Vec<bool>,
    barred: Vec<bool>,
    bite: Vec<[i32; 3]>,
    /// 0 unknown, 1 clear, 2 not.
    shaft: Vec<u8>,
    undo: Vec<Carved>,
}

impl Model {
    /// As a scene shows it.
    pub fn new(reach: Arc<Reach>, settings: &GreedySettings, view: &View<'_>) -> Self {
        let (scene, grid) = (view.scene, reach.field.grid);
        let solid: Vec<bool> = scene.state.iter().map(|s| s & voxel::CAVITY == 0).collect();
        let least = (settings.cut_probability * 255.0).round() as u8;
        let residual: Vec<bool> = scene.residual.iter().zip(&solid).map(|(p, solid)| *p >= least && *solid).collect();
        let bite_voxels = settings.cut_radius_mm / grid.spacing_mm;
        let bite2 = bite_voxels * bite_voxels;
        let near = squared_distance(&residual, grid.dims, bite_voxels.ceil().max(1.0) as usize);
        let price = |p: f64| -(p * f64::from(UNIT)).round() as i32;
        let (price_near, price_far) = (price(settings.price_near), price(settings.price_far));
        let worth = (0..grid.len())
            .map(|i| match (solid[i], residual[i]) {
                (false, _) => 0,
                (true, true) => UNIT,
                (true, false) if f64::from(near[i]) <= bite2 => price_near,
                (true, false) => price_far,
            })
            .collect();
        Self {
            settings: *settings,
            worth,
            solid,
            residual,
            barred: view.memory.barred(&grid),
            bite: offsets(bite2),
            shaft: vec![0; grid.len()],
            undo: Vec::new(),
            reach,
        }
    }

    /// The same tissue, reached through another pivot.
    pub fn through(&mut self, reach: Arc<Reach>) {
        self.shaft.fill(0);
        self.reach = reach;
    }

    /// Its grid.
    pub fn grid(&self) -> Grid {
        self.reach.field.grid
    }

    /// Whether a voxel is residual core that is there in the given scene.
    pub fn residual(&self) -> &[bool] {
        &self.residual
    }

    /// Whether the tip may cut at a voxel's centre: nothing forbidden is near, and nothing spoke against it before.
    pub fn may_cut(&self, index: usize) -> bool {
        !self.barred[index] && self.reach.cut_clear(index)
    }

    /// What a bite takes, net.
    pub fn bite_worth(&self, at: [usize; 3]) -> i32 {
        let grid = self.grid();
        self.bite.iter().filter_map(|o| offset(at, *o, grid.dims)).map(|v| self.worth[grid.index(v)]).sum()
    }

    /// What a straight piece takes, net.
    pub fn line_worth(&self, from: &Point3<f64>, to: &Point3<f64>) -> i32 {
        let mut sum = 0;
        along(&self.grid(), from, to, self.settings.cut_radius_mm, |i| sum += self.worth[i]);
        sum
    }

    /// Whether the shaft of a tip in a voxel's centre is clear of everything but one layer of tissue.
    pub fn shaft_clear(&mut self, index: usize) -> bool {
        if self.shaft[index] == 0 {
            let clear = self.reach.shaft_clear(&self.centre(index), self.settings.layer_mm);
            self.shaft[index] = if clear { 1 } else { 2 };
        }
        self.shaft[index] == 1
    }

    /// The middle of a voxel.
    pub fn centre(&self, index: usize) -> Point3<f64> {
        let grid = self.grid();
        grid.centre(grid.voxel(index))
    }

    /// Removes what the energised tip sweeps: the net worth of it, and how many voxels it was.
    pub fn carve(&mut self, from: &Point3<f64>, to: &Point3<f64>) -> (i32, usize) {
        let (mut net, mut voxels) = (0, 0);
        let (worth, solid, undo) = (&mut self.worth, &mut self.solid, &mut self.undo);
        along(&self.reach.field.grid, from, to, self.settings.cut_radius_mm, |i| {
            if solid[i] {
                net += worth[i];
                voxels += 1;
                undo.push(Carved { index: i, worth: std::mem::take(&mut worth[i]) });
                solid[i] = false;
            }
        });
        (net, voxels)
    }

    /// How much was carved, to come back to.
    pub fn mark(&self) -> usize {
        self.undo.len()
    }

    /// Puts back what was carved since a mark.
    pub fn put_back(&mut self, mark: usize) {
        for Carved { index, worth } in self.undo.drain(mark..).rev() {
            self.worth[index] = worth;
            self.solid[index] = true;
        }
    }

    /// Tip positions with a worthwhile bite, best first; ties in memory's order.
    pub fn starts(&self, here: &Point3<f64>) -> Vec<(f64, usize)> {
        let grid = self.grid();
        let wanted: Vec<bool> = self.worth.iter().map(|w| *w > 0).collect();
        let reach = (self.settings.cut_radius_mm / grid.spacing_mm).ceil().max(1.0) as usize;
        let near = squared_distance(&wanted, grid.dims, reach);
        let mut starts = Vec::new();
        for (i, d) in near.iter().enumerate() {
            if usize::from(*d) > reach * reach || !self.may_cut(i) {
                continue;
            }
            let worth = self.bite_worth(grid.voxel(i));
            if worth >= UNIT {
                let at = self.centre(i);
                let cost = TRAVEL_PRICE * nalgebra::distance(&at, here) + DEPTH_PRICE * self.reach.polar(&at).1;
                starts.push((f64::from(worth) - cost, i));
            }
        }
        starts.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        starts
    }
}

/// Whole offsets within √`most2` voxels, in memory's order.
pub(crate) fn offsets(most2: f64) -> Vec<[i32; 3]> {
    let edge = most2.sqrt().floor() as i32;
    let mut all = Vec::new();
    for k in -edge..=edge {
        for j in -edge..=edge {
            for i in -edge..=edge {
                if f64::from(i * i + j * j + k * k) <= most2 {
                    all.push([i, j, k]);
                }
            }
        }
    }
    all
}

/// A voxel beside another; `None` outside the grid.
pub(crate) fn offset(at: [usize; 3], by: [i32; 3], dims: [usize; 3]) -> Option<[usize; 3]> {
    let mut there = [0; 3];
    for a in 0..3 {
        there[a] = at[a].checked_add_signed(by[a] as isize).filter(|v| *v < dims[a])?;
    }
    Some(there)
}

/// Calls `with` for each voxel whose centre lies within `radius_mm` of a straight piece.
fn along(grid: &Grid, from: &Point3<f64>, to: &Point3<f64>, radius_mm: f64, mut with: impl FnMut(usize)) {
    let capsule = Capsule { start: *from, end: *to, radius_mm };
    let ([xs, ys, zs], [xt, yt, zt]) = (grid.around(from, radius_mm), grid.around(to, radius_mm));
    for k in zs.start.min(zt.start)..zs.end.max(zt.end) {
        for j in ys.start.min(yt.start)..ys.end.max(yt.end) {
            for i in xs.start.min(xt.start)..xs.end.max(xt.end) {
                if capsule.distance_mm(&grid.centre([i, j, k])) <= 0.0 {
                    with(grid.index([i, j, k]));
                }
            }
        }
    }
}
