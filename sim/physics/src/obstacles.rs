//! What must not be touched, from a scene and an anatomy.
//!
//! | obstacle | from | inflated by |
//! |---|---|---|
//! | skull | the anatomy's skull labels | the rigid part of the error budget (bone does not shift) |
//! | rim | the craniotomy's circle | likewise |
//! | forbidden | the scene's FORBIDDEN voxels | nothing: the scene has done so |
//! | eloquent | the anatomy's eloquent labels *outside* the fine region, where they are now | the whole error budget |
//! | vessels | the anatomy's capsules, where they are now | the rigid part, and what the shift of each may be wrong by |
//! | tissue | BRAIN voxels that are not CAVITY; outside the fine region, what is deeper than the entry and not in the corridor | `press_sigmas` of the rigid part along one axis, rigid/√3: a press has one direction |
//!
//! A region map finer than [`BLOCK_MM`] is reduced to blocks of at least that size; a block that holds any
//! labelled voxel is labelled. **Units:** mm, patient LPS. **Allocation:** when a grid's size changes.
//! **Not protected against:** what neither message holds: vessels that no scan shows, drapes, people.

use crate::cubes::{Cubes, EDGE_MAX};
use crate::cut::Wall;
use bregma_core::brain_shift::BrainShift;
use bregma_core::flow::{Anatomy, Capsule, Corridor, Craniotomy, RegionKind, Scene, voxel};
use bregma_core::grid::Grid;
use nalgebra::{Point3, Vector3};

/// Smallest block of the region map.
pub const BLOCK_MM: f64 = 2.0;

/// A scene or an anatomy that contradicts itself.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum Malformed {
    /// An array is not as long as its grid has voxels.
    #[error("{what} holds {found} voxels; its grid has {expected}")]
    Length {
        /// Which array.
        what: &'static str,
        /// Its length.
        found: usize,
        /// What its grid says.
        expected: usize,
    },
    /// A grid has no voxels, too many, or a spacing that is none.
    #[error(
        "the grid of {what} is {dims:?} voxels at {spacing_mm} mm from {origin:?}; 1 to {EDGE_MAX} a side, 0.1 to 20 mm and a finite origin are needed"
    )]
    Grid {
        /// Whose grid.
        what: &'static str,
        /// Its size.
        dims: [usize; 3],
        /// Its spacing.
        spacing_mm: f64,
        /// Its origin.
        origin: [f64; 3],
    },
    /// A vessel, the craniotomy or the corridor is no shape.
    #[error("{what} has a coordinate or radius that is not finite, or a direction without length")]
    Shape {
        /// Which.
        what: &'static str,
    },
}

fn grid_holds(what: &'static str, grid: &Grid, found: usize) -> Result<(), Malformed> {
    let whole = grid.dims.iter().all(|n| (1..=EDGE_MAX).contains(n)) && (0.1..=20.0).contains(&grid.spacing_mm);
    if !whole || grid.origin.iter().any(|o| !o.is_finite()) {
        return Err(Malformed::Grid { what, dims: grid.dims, spacing_mm: grid.spacing_mm, origin: grid.origin });
    }
    if found == grid.len() { Ok(()) } else { Err(Malformed::Length { what, found, expected: grid.len() }) }
}

/// A vessel where it is now.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Vessel {
    pub capsule: Capsule,
    /// How wrong its place may be, mm.
    pub error_mm: f64,
}

/// Everything that clearances are measured from.
#[derive(Debug)]
pub(crate) struct Obstacles {
    pub skull: Cubes,
    pub eloquent: Cubes,
    pub forbidden: Cubes,
    pub tissue: Tissue,
    /// What was seen of it.
    pub wall: Wall,
    pub vessels: Vec<Vessel>,
    pub craniotomy: Craniotomy,
    /// Where it is now.
    pub corridor: Corridor,
    /// Where tissue is now.
    pub shift: BrainShift,
    /// As the scan shows them.
    rest: (Vec<Capsule>, Corridor),
    /// Whole error budget, mm.
    pub error_mm: f64,
    /// Its part without brain shift, mm.
    pub rigid_mm: f64,
}

impl Obstacles {
    /// From both messages.
    ///
    /// # Errors
    /// [`Malformed`], with nothing taken.
    pub(crate) fn new(scene: &Scene, anatomy: &Anatomy) -> Result<Self, Malformed> {
        let mut obstacles = Self {
            skull: Cubes::default(),
            eloquent: Cubes::default(),
            forbidden: Cubes::default(),
            tissue: Tissue::default(),
            wall: Wall::default(),
            vessels: Vec::new(),
            craniotomy: anatomy.craniotomy,
            corridor: anatomy.corridor,
            shift: scene.shift.clone(),
            rest: (Vec::new(), anatomy.corridor),
            error_mm: 0.0,
            rigid_mm: 0.0,
        };
        obstacles.take_anatomy(anatomy)?;
        obstacles.take_scene(scene)?;
        Ok(obstacles)
    }

    /// A new anatomy.
    pub(crate) fn take_anatomy(&mut self, anatomy: &Anatomy) -> Result<(), Malformed> {
        check_anatomy(anatomy)?;
        let kind_of = |kind: RegionKind| {
            let mut of = [false; 256];
            anatomy
                .regions
                .iter()
                .filter(|r| r.kind == kind && r.label != 0)
                .for_each(|r| of[usize::from(r.label)] = true);
            of
        };
        for (kind, cubes) in [(RegionKind::Skull, &mut self.skull), (RegionKind::Eloquent, &mut self.eloquent)] {
            let of = kind_of(kind);
            let (grid, filled) = blocks(&anatomy.grid, |index| of[usize::from(anatomy.labels[index])]);
            cubes.fill(&grid, filled.into_iter());
        }
        self.rest.0.clone_from(&anatomy.vessels);
        self.rest.1 = anatomy.corridor;
        self.craniotomy = anatomy.craniotomy;
        self.craniotomy.outward = anatomy.craniotomy.outward.normalize();
        Ok(())
    }

    /// A new scene; fields whose voxels are the same as before are kept.
    pub(crate) fn take_scene(&mut self, scene: &Scene) -> Result<(), Malformed> {
        grid_holds("the scene", &scene.grid, scene.state.len())?;
        grid_holds("the scene's ages", &scene.grid, scene.seen_age_s.len())?;
        self.forbidden.fill(&scene.grid, scene.state.iter().map(|s| s & voxel::FORBIDDEN != 0));
        self.tissue.take(scene);
        self.wall.take(&scene.state, &scene.seen_age_s);
        self.error_mm = scene.errors.total(&scene.shift).get();
        self.rigid_mm = scene.errors.rigid().get();
        self.shift.copy_from(&scene.shift);
        let (rest, shift) = (&self.rest, &scene.shift);
        self.corridor = rest.1.moved(shift);
        self.vessels.clear();
        self.vessels.extend(rest.0.iter().map(|vessel| {
            let middle = nalgebra::center(&vessel.start, &vessel.end);
            Vessel { capsule: vessel.moved(shift), error_mm: scene.errors.at_mm(shift, &middle) }
        }));
        Ok(())
    }

    /// How deep below the craniotomy's plane a point lies, mm; negative outside.
    pub(crate) fn depth(&self, at: &Point3<f64>) -> f64 {
        -(at - self.craniotomy.centre).dot(&self.craniotomy.outward)
    }

    /// Signed distance from tissue, mm, negative inside it.
    pub(crate) fn off_tissue(&self, at: &Point3<f64>) -> f64 {
        if let Some(signed) = self.tissue.signed(at) {
            return signed;
        }
        let way: Vector3<f64> = self.corridor.target - self.corridor.entry;
        let axis = way / way.norm();
        let along = (at - self.corridor.entry).dot(&axis);
        if along <= 0.0 {
            // Above the brain's surface.
            return -along;
        }
        let across = ((at - self.corridor.entry) - axis * along).norm();
        let share = (along / self.corridor.open_mm.max(1e-9)).clamp(0.0, 1.0);
        let radius =
            self.corridor.entry_radius_mm + (self.corridor.end_radius_mm - self.corridor.entry_radius_mm) * share;
        (radius - across).min(self.corridor.open_mm - along)
    }
}

fn check_anatomy(anatomy: &Anatomy) -> Result<(), Malformed> {
    let finite = |p: &Point3<f64>| p.iter().all(|c| c.is_finite());
    grid_holds("the anatomy", &anatomy.grid, anatomy.labels.len())?;
    if anatomy.vessels.iter().any(|v| !finite(&v.start) || !finite(&v.end) || !(0.0..=50.0).contains(&v.radius_mm)) {
        return Err(Malformed::Shape { what: "a vessel" });
    }
    let hole = &anatomy.craniotomy;
    let outward = hole.outward.norm();
    let aims = outward.is_finite() && outward > 1e-6;
    if !(finite(&hole.centre) && aims && (0.0..=200.0).contains(&hole.radius_mm)) {
        return Err(Malformed::Shape { what: "the craniotomy" });
    }
    let way = &anatomy.corridor;
    let length = (way.target - way.entry).norm();
    let sizes = [way.entry_radius_mm, way.end_radius_mm, way.open_mm];
    if !(length.is_finite() && length > 1e-6) || sizes.iter().any(|s| !(0.0..=500.0).contains(s)) {
        return Err(Malformed::Shape { what: "the corridor" });
    }
    Ok(())
}

/// The grid of blocks, and which of them hold a voxel that `is`.
fn blocks(grid: &Grid, is: impl Fn(usize) -> bool) -> (Grid, Vec<bool>) {
    let size = ((BLOCK_MM / grid.spacing_mm - 1e-9).ceil() as usize).max(1);
    let dims = grid.dims.map(|n| n.div_ceil(size));
    let h = grid.spacing_mm;
    let coarse =
        Grid { dims, spacing_mm: h * size as f64, origin: grid.origin.map(|o| o + 0.5 * h * (size as f64 - 1.0)) };
    let mut filled = vec![false; coarse.len()];
    for (row, index) in (0..grid.len()).step_by(grid.dims[0]).enumerate() {
        let (j, k) = (row % grid.dims[1], row / grid.dims[1]);
        let to = coarse.index([0, j / size, k / size]);
        for i in 0..grid.dims[0] {
            if is(index + i) {
                filled[to + i / size] = true;
            }
        }
    }
    (coarse, filled)
}

/// Signed distance from tissue on the fine region: between the centres of two voxels, one tissue and one
/// not, lies its surface.
#[derive(Debug, Default)]
pub(crate) struct Tissue {
    solid: Cubes,
    open: Cubes,
    signed_mm: Vec<f32>,
}

impl Tissue {
    fn take(&mut self, scene: &Scene) {
        let is_tissue = |s: &u8| s & voxel::BRAIN != 0 && s & voxel::CAVITY == 0;
        let changed = self.solid.fill(&scene.grid, scene.state.iter().map(is_tissue));
        if !changed {
            return;
        }
        self.open.fill(&scene.grid, scene.state.iter().map(|s| !is_tissue(s)));
        let half = 0.5 * scene.grid.spacing_mm as f32;
        let both = self.solid.reach_mm().iter().zip(self.open.reach_mm());
        self.signed_mm.clear();
        // Where there is no other kind of voxel at all: as far as the region is wide.
        self.signed_mm.extend(both.map(|(to_tissue, to_open)| {
            if *to_tissue > 0.0 { to_tissue.min(200.0) - half } else { half - to_open.min(200.0) }
        }));
    }

    pub(crate) const fn solid(&self) -> &Cubes {
        &self.solid
    }

    /// Trilinear between centres; `None` outside the box that the centres span.
    pub(crate) fn signed(&self, at: &Point3<f64>) -> Option<f64> {
        let grid = self.solid.grid();
        let mut base = [0_usize; 3];
        let mut share = [0.0_f64; 3];
        for (a, c) in grid.coordinates(at).into_iter().enumerate() {
            if !(c >= 0.0 && c <= (grid.dims[a].max(1) - 1) as f64) || grid.dims[a] < 2 {
                return None;
            }
            base[a] = (c as usize).min(grid.dims[a] - 2);
            share[a] = c - base[a] as f64;
        }
        let first = grid.index(base);
        let (dy, dz) = (grid.dims[0], grid.dims[0] * grid.dims[1]);
        let mix = |a: f64, b: f64, s: f64| a + (b - a) * s;
        let row = |i: usize| mix(f64::from(self.signed_mm[i]), f64::from(self.signed_mm[i + 1]), share[0]);
        let plane = |i: usize| mix(row(i), row(i + dy), share[1]);
        Some(mix(plane(first), plane(first + dz), share[2]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_that_holds_any_labelled_voxel_is_labelled() {
        let grid = Grid { dims: [5, 4, 4], spacing_mm: 1.0, origin: [10.0, 0.0, 0.0] };
        let marked = grid.index([4, 1, 3]);
        let (coarse, filled) = blocks(&grid, |i| i == marked);
        assert_eq!(coarse.dims, [3, 2, 2]);
        assert!((coarse.spacing_mm - 2.0).abs() < 1e-12 && (coarse.origin[0] - 10.5).abs() < 1e-12);
        let only: Vec<usize> = (0..filled.len()).filter(|i| filled[*i]).collect();
        assert_eq!(only, [coarse.index([2, 0, 1])]);
        assert_eq!(coarse.containing(&grid.centre([4, 1, 3])), Some([2, 0, 1]));
    }

    #[test]
    fn grids_coarser_than_a_block_stay_as_they_are() {
        let grid = Grid { dims: [3, 3, 3], spacing_mm: 2.5, origin: [0.0; 3] };
        assert_eq!(blocks(&grid, |_| true).0, grid);
    }
}
