//! A displacement field on a coarse grid, both ways.
//!
//! **Units and frame:** mm, patient LPS. `now = rest + displacement(rest)`; the way back is kept beside it,
//! found by fixed-point iteration, which converges while the displacement changes by less than a
//! millimetre per millimetre. **Allocation:** in [`Field::still`] only.

use bregma_core::grid::Grid;
use nalgebra::{Point3, Vector3};

/// Fixed-point steps towards the inverse; each divides the error by the inverse of the largest strain.
const INVERSE_STEPS: usize = 12;

/// Where tissue is now.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    grid: Grid,
    /// At rest points: where they went.
    forward: Vec<Vector3<f32>>,
    /// At points now: where they came from.
    back: Vec<Vector3<f32>>,
    /// Rises with every change.
    version: u64,
    /// Longest displacement, mm.
    largest_mm: f64,
}

impl Field {
    /// Nothing has moved.
    pub(crate) fn still(grid: Grid) -> Self {
        let zeros = vec![Vector3::zeros(); grid.len()];
        Self { grid, forward: zeros.clone(), back: zeros, version: 0, largest_mm: 0.0 }
    }

    pub(crate) const fn grid(&self) -> &Grid {
        &self.grid
    }

    pub(crate) const fn version(&self) -> u64 {
        self.version
    }

    /// The displacement of every rest point of the grid, mm.
    pub(crate) fn displacements(&self) -> &[Vector3<f32>] {
        &self.forward
    }

    /// Nothing has moved further than that, mm.
    pub(crate) const fn largest_mm(&self) -> f64 {
        self.largest_mm
    }

    /// Whether nothing has ever moved.
    const fn lies_still(&self) -> bool {
        self.version == 0
    }

    /// Sets every displacement and finds the way back.
    pub(crate) fn update(&mut self, set: impl FnOnce(&mut [Vector3<f32>])) {
        set(&mut self.forward);
        self.version += 1;
        self.largest_mm = self.forward.iter().map(|u| f64::from(u.norm())).fold(0.0, f64::max);
        for index in 0..self.back.len() {
            let now = self.grid.centre(self.grid.voxel(index));
            // The last inverse is near the new one.
            let mut off = self.back[index];
            for _ in 0..INVERSE_STEPS {
                let next = -sample(&self.grid, &self.forward, &(now + off.cast::<f64>()));
                let moved = (next - off).norm();
                off = next;
                if moved < 1e-3 {
                    break;
                }
            }
            self.back[index] = off;
        }
    }

    /// Where a rest point is now.
    pub(crate) fn now(&self, rest: &Point3<f64>) -> Point3<f64> {
        if self.lies_still() {
            return *rest;
        }
        rest + sample(&self.grid, &self.forward, rest).cast::<f64>()
    }

    /// Where what is here now was at rest.
    pub(crate) fn rest(&self, now: &Point3<f64>) -> Point3<f64> {
        if self.lies_still() {
            return *now;
        }
        now + sample(&self.grid, &self.back, now).cast::<f64>()
    }
}

/// The way back along lines of points parallel to x, many times faster than point by point.
pub(crate) struct BackLines<'a> {
    field: &'a Field,
    /// The field's own nodes along one line.
    nodes: Vec<Vector3<f32>>,
}

impl<'a> BackLines<'a> {
    pub(crate) fn of(field: &'a Field) -> Self {
        Self { field, nodes: vec![Vector3::zeros(); field.grid.dims[0]] }
    }

    /// For points that begin at `first`, `step_mm` apart: from each to where what is there was at rest.
    pub(crate) fn line(&mut self, first: &Point3<f64>, step_mm: f64, off: &mut [Vector3<f32>]) {
        let (grid, back) = (&self.field.grid, &self.field.back);
        let (y, z) = (Place::on(grid, 1, first.y), Place::on(grid, 2, first.z));
        let start = |y: usize, z: usize| grid.dims[0] * (y + grid.dims[1] * z);
        let rows = [start(y.low, z.low), start(y.high, z.low), start(y.low, z.high), start(y.high, z.high)];
        for (i, node) in self.nodes.iter_mut().enumerate() {
            let [a, b, c, d] = rows.map(|row| back[row + i]);
            *node = a.lerp(&b, y.share).lerp(&c.lerp(&d, y.share), z.share);
        }
        for (i, off) in off.iter_mut().enumerate() {
            let x = Place::on(grid, 0, first.x + step_mm * i as f64);
            *off = self.nodes[x.low].lerp(&self.nodes[x.high], x.share);
        }
    }
}

/// Between which two nodes of an axis a coordinate lies; at the border, on it.
struct Place {
    low: usize,
    high: usize,
    share: f32,
}

impl Place {
    fn on(grid: &Grid, axis: usize, mm: f64) -> Self {
        let last = grid.dims[axis] - 1;
        let inside = ((mm - grid.origin[axis]) / grid.spacing_mm).clamp(0.0, last as f64);
        let low = (inside as usize).min(last.saturating_sub(1));
        Self { low, high: (low + 1).min(last), share: (inside - low as f64) as f32 }
    }
}

/// Trilinear; the border's value continues outside.
fn sample(grid: &Grid, field: &[Vector3<f32>], at: &Point3<f64>) -> Vector3<f32> {
    let c = grid.coordinates(at);
    let mut base = [0_usize; 3];
    let mut f = [0.0_f32; 3];
    for a in 0..3 {
        let inside = c[a].clamp(0.0, (grid.dims[a] - 1) as f64);
        base[a] = (inside.floor() as usize).min(grid.dims[a].saturating_sub(2));
        f[a] = (inside - base[a] as f64) as f32;
    }
    let stride = [1, grid.dims[0], grid.dims[0] * grid.dims[1]];
    let first = grid.index(base);
    let step: [usize; 3] = std::array::from_fn(|a| if grid.dims[a] > 1 { stride[a] } else { 0 });
    let line = |i: usize| field[i].lerp(&field[i + step[0]], f[0]);
    let plane = |i: usize| line(i).lerp(&line(i + step[1]), f[1]);
    plane(first).lerp(&plane(first + step[2]), f[2])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bent() -> Field {
        let grid = Grid { dims: [20, 22, 18], spacing_mm: 4.0, origin: [-40.0, -44.0, -36.0] };
        let mut field = Field::still(grid);
        field.update(|u| {
            for (index, u) in u.iter_mut().enumerate() {
                let at = grid.centre(grid.voxel(index)).coords.cast::<f32>();
                *u = Vector3::new(
                    3.0 * (at.y / 25.0).sin(),
                    2.0 * (at.z / 30.0).cos(),
                    -6.0 * (-at.norm_squared() / 800.0).exp(),
                );
            }
        });
        field
    }

    proptest! {
        #[test]
        fn there_and_back_is_where_it_was(x in -30.0..30.0f64, y in -30.0..30.0f64, z in -25.0..25.0f64) {
            let field = bent();
            let rest = Point3::new(x, y, z);
            let back = field.rest(&field.now(&rest));
            // The inverse is linear between points 4 mm apart.
            prop_assert!((back - rest).norm() < 0.25, "{:?}", back - rest);
        }
    }

    #[test]
    fn lines_are_points_one_by_one() {
        let field = bent();
        let mut off = [Vector3::zeros(); 90];
        for (y, z) in [(-43.0, 3.0), (1.7, -30.2), (60.0, -80.0)] {
            let first = Point3::new(-50.0, y, z);
            BackLines::of(&field).line(&first, 1.25, &mut off);
            for (i, off) in off.iter().enumerate() {
                let now = first + Vector3::x() * (1.25 * i as f64);
                assert!((now + off.cast::<f64>() - field.rest(&now)).norm() < 1e-4, "{now}");
            }
        }
    }

    #[test]
    fn a_still_field_moves_nothing_and_a_changed_one_says_so() {
        let field = Field::still(Grid { dims: [3; 3], spacing_mm: 4.0, origin: [0.0; 3] });
        let at = Point3::new(1.0, 50.0, -3.0);
        assert_eq!((field.now(&at), field.rest(&at), field.version()), (at, at, 0));
        assert_eq!(bent().version(), 1);
        assert_eq!(bent().displacements().len(), bent().grid().len());
    }
}
