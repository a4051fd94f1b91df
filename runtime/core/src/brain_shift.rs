//! Brain shift: how far tissue has moved from where the newest scan shows it, as far as is known.
//!
//! A displacement of every node of a coarse lattice, and how wrong it may be there. `now = rest + displacement(rest)`,
//! where *rest* is the scan's own coordinates: what lives in those (regions, vessels, plans, memories of tissue) is
//! found where it is now by [`BrainShift::now`]; what is measured now (tips, pictures) is found in the scan by
//! [`BrainShift::rest`]. **Canonical form:** 1/64 mm and 1/16 mm, so that everybody, the recording included, reads
//! the same bytes. **Units and frame:** mm, patient LPS. **Allocation:** in [`BrainShift::still`] only.
//! **Not protected against:** a displacement that changes by more than a millimetre a millimetre; none that this
//! lattice of 16 mm is made for does.

use crate::digest::Digester;
use crate::grid::Grid;
use nalgebra::{Point3, Vector3};

/// Nodes along each axis: 11 × 16 mm cover the coarse map.
pub const SHIFT_NODES: usize = 11;
/// From node to node, mm: a third of the distance over which a brain's shift changes.
pub const SHIFT_SPACING_MM: f64 = 16.0;
/// Nodes of the lattice.
pub const SHIFT_LEN: usize = SHIFT_NODES * SHIFT_NODES * SHIFT_NODES;
/// Full scale of a displacement: 1/64 mm.
pub const SHIFT_PER_MM: f64 = 64.0;
/// Full scale of its deviation: 1/16 mm.
pub const DEVIATION_PER_MM: f64 = 16.0;
/// Fixed-point steps towards the inverse.
const INVERSE_STEPS: usize = 12;

/// Where tissue is now.
#[derive(Debug, Clone, PartialEq)]
pub struct BrainShift {
    grid: Grid,
    /// At rest nodes, 1/64 mm.
    moved: Vec<[i16; 3]>,
    /// At rest nodes, root mean square length of the error, 1/16 mm.
    deviation: Vec<u8>,
    /// At nodes now: where what is there came from, mm.
    back: Vec<Vector3<f32>>,
    still: bool,
}

impl BrainShift {
    /// Nothing has moved, for certain, around a point.
    #[must_use]
    pub fn still(centre: Point3<f64>) -> Self {
        Self {
            grid: shift_grid(centre),
            moved: vec![[0; 3]; SHIFT_LEN],
            deviation: vec![0; SHIFT_LEN],
            back: vec![Vector3::zeros(); SHIFT_LEN],
            still: true,
        }
    }

    /// Of its canonical numbers; `None` where their count is not that of the lattice.
    #[must_use]
    pub fn of_parts(centre: Point3<f64>, moved: &[[i16; 3]], deviation: &[u8]) -> Option<Self> {
        if moved.len() != SHIFT_LEN || deviation.len() != SHIFT_LEN {
            return None;
        }
        let mut shift = Self::still(centre);
        shift.moved.copy_from_slice(moved);
        shift.deviation.copy_from_slice(deviation);
        shift.settle();
        Some(shift)
    }

    /// Sets the displacement of every node, mm, and its deviation, mm. What is beyond the canonical form's range is
    /// brought to its end.
    pub fn set(&mut self, centre: Point3<f64>, mut of: impl FnMut(usize) -> (Vector3<f64>, f64)) {
        self.grid = shift_grid(centre);
        for (index, (moved, deviation)) in self.moved.iter_mut().zip(&mut self.deviation).enumerate() {
            let (by, error) = of(index);
            let limit = f64::from(i16::MAX);
            *moved = std::array::from_fn(|a| (by[a] * SHIFT_PER_MM).round().clamp(-limit, limit) as i16);
            *deviation = (error * DEVIATION_PER_MM).ceil().clamp(0.0, 255.0) as u8;
        }
        self.settle();
    }

    /// Becomes another; allocates nothing.
    pub fn copy_from(&mut self, other: &Self) {
        self.grid = other.grid;
        self.still = other.still;
        self.moved.copy_from_slice(&other.moved);
        self.deviation.copy_from_slice(&other.deviation);
        self.back.copy_from_slice(&other.back);
    }

    /// Finds the way back.
    fn settle(&mut self) {
        self.still = self.moved.iter().all(|m| *m == [0; 3]);
        for index in 0..SHIFT_LEN {
            let now = self.grid.centre(self.grid.voxel(index));
            let mut off = Vector3::zeros();
            for _ in 0..if self.still { 0 } else { INVERSE_STEPS } {
                let next = -self.forward(&(now + off.cast::<f64>()));
                let change = (next - off).norm_squared();
                off = next;
                if change < 1e-6 {
                    break;
                }
            }
            self.back[index] = off;
        }
    }

    /// The lattice.
    #[must_use]
    pub const fn grid(&self) -> &Grid {
        &self.grid
    }

    /// Its middle.
    #[must_use]
    pub fn centre(&self) -> Point3<f64> {
        self.grid.centre([SHIFT_NODES / 2; 3])
    }

    /// Displacement of each node, 1/64 mm.
    #[must_use]
    pub fn moved(&self) -> &[[i16; 3]] {
        &self.moved
    }

    /// Deviation of each node, 1/16 mm.
    #[must_use]
    pub fn deviations(&self) -> &[u8] {
        &self.deviation
    }

    /// Whether nothing has moved.
    #[must_use]
    pub const fn is_still(&self) -> bool {
        self.still
    }

    /// Whether anybody follows it: who does never says that nothing is uncertain.
    #[must_use]
    pub fn is_followed(&self) -> bool {
        self.deviation.iter().any(|d| *d > 0)
    }

    /// Longest displacement of a node, mm.
    #[must_use]
    pub fn largest_mm(&self) -> f64 {
        let squared = |m: &[i16; 3]| m.iter().map(|v| i64::from(*v).pow(2)).sum::<i64>();
        (self.moved.iter().map(squared).max().unwrap_or(0) as f64).sqrt() / SHIFT_PER_MM
    }

    /// Where a point of the scan is now.
    #[must_use]
    pub fn now(&self, rest: &Point3<f64>) -> Point3<f64> {
        if self.still { *rest } else { rest + self.forward(rest).cast::<f64>() }
    }

    /// Where what is here now lies in the scan.
    #[must_use]
    pub fn rest(&self, now: &Point3<f64>) -> Point3<f64> {
        if self.still {
            return *now;
        }
        let mut off = Corner::of(&self.grid, now).mix(|i| self.back[i]);
        // Between nodes the way back is not linear: two steps more, each of which divides what is wrong by the strain.
        for _ in 0..2 {
            off = -self.forward(&(now + off.cast::<f64>()));
        }
        now + off.cast::<f64>()
    }

    /// How wrong the displacement of a point of the scan may be: root mean square length, mm.
    #[must_use]
    pub fn deviation_mm(&self, rest: &Point3<f64>) -> f64 {
        let corner = Corner::of(&self.grid, rest);
        f64::from(corner.mix(|i| Vector3::new(f32::from(self.deviation[i]), 0.0, 0.0)).x) / DEVIATION_PER_MM
    }

    fn forward(&self, rest: &Point3<f64>) -> Vector3<f32> {
        Corner::of(&self.grid, rest).mix(|i| Vector3::from(self.moved[i].map(f32::from))) / SHIFT_PER_MM as f32
    }

    /// Binds every canonical number. Allocates nothing.
    pub fn digest_into(&self, d: &mut Digester) {
        d.sizes(&self.grid.dims).f64(self.grid.spacing_mm).f64s(&self.grid.origin);
        for moved in &self.moved {
            d.i16s(moved);
        }
        d.bytes(&self.deviation);
    }
}

/// The lattice around a point.
#[must_use]
pub fn shift_grid(centre: Point3<f64>) -> Grid {
    Grid::centred(centre, [SHIFT_NODES; 3], SHIFT_SPACING_MM)
}

/// A cell of the lattice, and where a point lies in it; outside, the border goes on.
struct Corner {
    first: usize,
    share: [f32; 3],
}

impl Corner {
    fn of(grid: &Grid, at: &Point3<f64>) -> Self {
        let coordinates = grid.coordinates(at);
        let mut low = [0; 3];
        let share = std::array::from_fn(|a| {
            // What is no number is brought to 0 with the rest.
            let inside = coordinates[a].max(0.0).min((SHIFT_NODES - 1) as f64);
            low[a] = (inside as usize).min(SHIFT_NODES - 2);
            (inside - low[a] as f64) as f32
        });
        Self { first: grid.index(low), share }
    }

    fn mix(&self, node: impl Fn(usize) -> Vector3<f32>) -> Vector3<f32> {
        let [x, y, z] = self.share;
        let line = |i: usize| node(i).lerp(&node(i + 1), x);
        let plane = |i: usize| line(i).lerp(&line(i + SHIFT_NODES), y);
        plane(self.first).lerp(&plane(self.first + SHIFT_NODES * SHIFT_NODES), z)
    }
}

const _: () = assert!(SHIFT_NODES % 2 == 1, "there is a node in the middle");

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sagged() -> BrainShift {
        let centre = Point3::new(10.0, -20.0, 30.0);
        let mut shift = BrainShift::still(centre);
        shift.set(centre, |index| {
            let at = shift_grid(centre).centre(shift_grid(centre).voxel(index)) - centre;
            let fades = (-at.norm_squared() / 3000.0).exp();
            (Vector3::new(1.0, -2.0, -8.0) * fades, 3.0 - 2.0 * fades)
        });
        shift
    }

    proptest! {
        #[test]
        fn there_and_back_is_where_it_was(x in -60.0..60.0f64, y in -60.0..60.0f64, z in -60.0..60.0f64) {
            let shift = sagged();
            let rest = shift.centre() + Vector3::new(x, y, z);
            prop_assert!((shift.rest(&shift.now(&rest)) - rest).norm() < 0.05);
        }

        #[test]
        fn what_is_no_number_or_far_away_harms_nothing(x in prop::num::f64::ANY, y in prop::num::f64::ANY) {
            let at = Point3::new(x, y, 0.0);
            let shift = sagged();
            prop_assert!(shift.deviation_mm(&at).is_finite());
            let _ = (shift.now(&at), shift.rest(&at));
        }
    }

    #[test]
    fn canonical_numbers_make_the_same_shift_again() {
        let shift = sagged();
        let again = BrainShift::of_parts(shift.centre(), shift.moved(), shift.deviations()).expect("the right count");
        assert_eq!(again, shift);
        assert!(!shift.is_still() && (shift.largest_mm() - 69.0_f64.sqrt()).abs() < 0.05);
        assert!((shift.deviation_mm(&shift.centre()) - 1.0).abs() < 0.07);
        let mut copy = BrainShift::still(Point3::origin());
        assert!(copy.is_still() && copy.now(&Point3::new(1.0, 2.0, 3.0)) == Point3::new(1.0, 2.0, 3.0));
        copy.copy_from(&shift);
        assert_eq!(copy, shift);
        assert!(BrainShift::of_parts(shift.centre(), &shift.moved()[1..], shift.deviations()).is_none());
    }
}
