//! The exposed cortex as the scan shows it: its height over the craniotomy's plane.
//!
//! Each column is walked from inside the brain outwards, to where tissue ends and nothing like it follows for some way: on
//! FLAIR, cerebrospinal fluid, dura and bone are all darker than the cortex, but its slices are thick; on a T1c the dura may
//! have taken up contrast agent and cannot be told from the cortex below it. The mean of both is taken.
//! Where sulci open, the height of the crests beside them is taken (a closing), as range images too coarse for sulci see
//! it. **Units and frame:** mm, patient LPS at rest. **Allocation:** when a scan arrives.
//! **Not protected against:** a craniotomy over which the skull was thin or the brain's surface steep beyond
//! [`INSIDE_MM`] within its radius.

use crate::scan::Scan;
use bregma_core::flow::Anatomy;
use nalgebra::{Point3, Vector3};

/// From column to column.
const STEP_MM: f64 = 1.0;
/// From place to place along one.
const WALK_MM: f64 = 0.5;
/// Columns are walked from so far inside.
const INSIDE_MM: f64 = 16.0;
/// To so far outside, beyond the entry's height.
const OUTSIDE_MM: f64 = 12.0;
/// What lies that far below the surface is tissue, most of it.
const BELOW_MM: f64 = 4.0;
/// What lies that far above is none, most of it.
const ABOVE_MM: f64 = 4.0;
/// Brighter than this share of the brain's usual is tissue.
const SHARE: f32 = 0.72;
/// From the end of tissue to what a lens sees, mm, and its standard deviation: on FLAIR pia, arachnoid and fluid come
/// above it; on a T1c dura counts as tissue where it has taken up contrast agent (1.1 mm thick: D. Kinaci et al., J. Neurosurg.
/// 2020). Fitted on digital patients of the home world.
const ABOVE_FLAIR_MM: [f64; 2] = [0.2, 1.0];
const ABOVE_T1C_MM: [f64; 2] = [-1.4, 1.2];
/// Of the mean of both.
const BOTH_MM: f64 = 0.8;
/// The brain's surface curves away from the plane like a ball of that radius.
const BALL_MM: f64 = 80.0;
/// Sulci up to twice that wide are closed.
const CLOSE_MM: f64 = 2.0;
/// Of the craniotomy's edge, so much is not looked at.
const EDGE_MM: f64 = 2.0;
/// Heights over the plane through the corridor's entry.
#[derive(Debug)]
pub struct Cortex {
    origin: Point3<f64>,
    outward: Vector3<f64>,
    across: [Vector3<f64>; 2],
    /// The craniotomy's middle in the plane, and its radius.
    middle: [f64; 2],
    radius_mm: f64,
    /// Half the columns along a side.
    half: usize,
    heights: Vec<f32>,
    error_mm: f64,
}

/// A place on the surface.
#[derive(Debug, Clone, Copy)]
pub struct Spot {
    /// Where, at rest.
    pub rest: Point3<f64>,
    /// Out of the brain, unit.
    pub normal: Vector3<f64>,
}

impl Cortex {
    /// Of the brain below the craniotomy, by FLAIR too where there is one.
    #[must_use]
    pub fn new(anatomy: &Anatomy, t1c: &Scan, flair: Option<&Scan>) -> Self {
        let hole = &anatomy.craniotomy;
        let (origin, outward) = (anatomy.corridor.entry, hole.outward);
        let side = if outward.x.abs() < 0.7 { Vector3::x() } else { Vector3::y() };
        let first = outward.cross(&side).normalize();
        let across = [first, outward.cross(&first)];
        let middle = across.map(|a| (hole.centre - origin).dot(&a));
        let reach = hole.radius_mm + middle[0].hypot(middle[1]);
        let half = (reach / STEP_MM).ceil() as usize + 2;
        let side = 2 * half + 1;
        let error_mm = if flair.is_some() { BOTH_MM } else { ABOVE_T1C_MM[1] };
        let mut cortex = Self {
            origin,
            outward,
            across,
            middle,
            radius_mm: hole.radius_mm,
            half,
            heights: vec![0.0; side * side],
            error_mm,
        };
        let of = |scan: &Scan, above_mm: f64| -> Vec<f32> {
            let least = SHARE * scan.usual();
            let places = (0..side * side).map(|n| [n % side, n / side].map(|c| (c as f64 - half as f64) * STEP_MM));
            let height =
                |[x, y]: [f64; 2]| bulge(x, y) - INSIDE_MM + above_mm + surface(&cortex.column(scan, x, y), least);
            places.map(|place| height(place) as f32).collect()
        };
        let mut heights = of(t1c, ABOVE_T1C_MM[0]);
        if let Some(flair) = flair {
            for (height, other) in heights.iter_mut().zip(of(flair, ABOVE_FLAIR_MM[0])) {
                // Where one of them shows no end, the other speaks alone.
                *height = match (height.is_finite(), other.is_finite()) {
                    (true, true) => 0.5 * (*height + other),
                    (false, _) => other,
                    (true, false) => *height,
                };
            }
        }
        cortex.heights = smoothed(&closed(&heights, side, (CLOSE_MM / STEP_MM) as isize), side);
        cortex
    }

    /// How wrong all heights together may be: a standard deviation, mm.
    #[must_use]
    pub const fn error_mm(&self) -> f64 {
        self.error_mm
    }

    /// Brightness above the background along a column, from inside outwards.
    fn column(&self, scan: &Scan, x: f64, y: f64) -> Vec<f32> {
        let first = bulge(x, y) - INSIDE_MM;
        let places = ((INSIDE_MM + OUTSIDE_MM) / WALK_MM) as usize;
        let at = |n: usize| {
            self.origin + self.across[0] * x + self.across[1] * y + self.outward * (first + n as f64 * WALK_MM)
        };
        (0..places).map(|n| scan.brightness(&at(n))).collect()
    }

    /// How many columns there are.
    #[must_use]
    pub const fn columns(&self) -> usize {
        self.heights.len()
    }

    /// The two directions across the cortex, unit.
    #[must_use]
    pub const fn directions(&self) -> &[Vector3<f64>; 2] {
        &self.across
    }

    /// Where the corridor enters, at rest.
    #[must_use]
    pub const fn entry(&self) -> &Point3<f64> {
        &self.origin
    }

    /// Where a place lies across the cortex, from the corridor's entry, mm.
    #[must_use]
    pub fn across(&self, at: &Point3<f64>) -> [f64; 2] {
        self.across.map(|a| (at - self.origin).dot(&a))
    }

    /// The column at such a place.
    #[must_use]
    pub fn column_at(&self, across: [f64; 2]) -> Option<usize> {
        let side = 2 * self.half as isize + 1;
        let [i, j] = across.map(|c| (c / STEP_MM).round() as isize + self.half as isize);
        ((0..side).contains(&i) && (0..side).contains(&j)).then_some((j * side + i) as usize)
    }

    /// The place in a column so far below the surface; none where no surface is known.
    #[must_use]
    pub fn at_column(&self, column: usize, below_mm: f64) -> Option<Point3<f64>> {
        let side = 2 * self.half + 1;
        let [x, y] = [column % side, column / side].map(|c| (c as f64 - self.half as f64) * STEP_MM);
        let height = f64::from(self.heights[column]) - below_mm;
        height.is_finite().then(|| self.origin + self.across[0] * x + self.across[1] * y + self.outward * height)
    }

    /// Out of the head, unit.
    #[must_use]
    pub const fn outward(&self) -> &Vector3<f64> {
        &self.outward
    }

    /// Whether a place lies in the opening, away from the bone's edge.
    #[must_use]
    pub fn in_opening(&self, at: &Point3<f64>) -> bool {
        let [x, y] = self.across(at);
        (x - self.middle[0]).hypot(y - self.middle[1]) < self.radius_mm - EDGE_MM
    }

    /// The place below a point, and how far from the axis of the corridor the column is, mm; none outside the craniotomy.
    #[must_use]
    pub fn below(&self, at: &Point3<f64>) -> Option<(Spot, f64)> {
        let [x, y] = self.across(at);
        if !self.in_opening(at) {
            return None;
        }
        let side = 2 * self.half + 1;
        let [cx, cy] = [x, y].map(|c| (c / STEP_MM + self.half as f64).clamp(1.0, (side - 3) as f64));
        let (i, j, fx, fy) = (cx as usize, cy as usize, cx.fract(), cy.fract());
        let h = |di: usize, dj: usize| f64::from(self.heights[(j + dj) * side + i + di]);
        let height = (h(0, 0) * (1.0 - fx) + h(1, 0) * fx) * (1.0 - fy) + (h(0, 1) * (1.0 - fx) + h(1, 1) * fx) * fy;
        // Where tissue did not end nothing is known, nor beside it.
        if !height.is_finite() {
            return None;
        }
        let slope_x = ((h(1, 0) - h(0, 0)) * (1.0 - fy) + (h(1, 1) - h(0, 1)) * fy) / STEP_MM;
        let slope_y = ((h(0, 1) - h(0, 0)) * (1.0 - fx) + (h(1, 1) - h(1, 0)) * fx) / STEP_MM;
        let normal = (self.outward - self.across[0] * slope_x - self.across[1] * slope_y).normalize();
        let rest = self.origin + self.across[0] * x + self.across[1] * y + self.outward * height;
        Some((Spot { rest, normal }, x.hypot(y)))
    }
}

/// How far the brain's surface falls away beside the entry.
fn bulge(x: f64, y: f64) -> f64 {
    -(x * x + y * y) / (2.0 * BALL_MM)
}

/// Where tissue ends in a column: from its first place, mm, between places by how bright they are. Not a
/// number where it never does.
fn surface(column: &[f32], least: f32) -> f64 {
    let (below, above) = ((BELOW_MM / WALK_MM) as usize, (ABOVE_MM / WALK_MM) as usize);
    let tissue = |range: std::ops::Range<usize>| column[range].iter().filter(|b| **b > least).count();
    let ends = |n: usize| {
        column[n] > least
            && column[n + 1] <= least
            && 5 * tissue(n + 1 - below..n + 1) >= 3 * below
            && 5 * tissue(n + 1..n + 1 + above) <= above
    };
    let last = column.len().saturating_sub(above + 1);
    let Some(n) = (below..last).find(|n| ends(*n)) else { return f64::NAN };
    let between = f64::from((column[n] - least) / (column[n] - column[n + 1]).max(1e-6));
    (n as f64 + between.clamp(0.0, 1.0)) * WALK_MM
}

/// The highest of the neighbourhood, then the lowest of that: narrow valleys are filled, the rest stays.
fn closed(heights: &[f32], side: usize, reach: isize) -> Vec<f32> {
    let over = |of: &[f32], pick: fn(f32, f32) -> f32| -> Vec<f32> {
        let along = |of: &[f32], by: usize| -> Vec<f32> {
            (0..of.len())
                .map(|n| {
                    let place = if by == 1 { n % side } else { n / side } as isize;
                    let range = (-reach).max(-place)..=reach.min(side as isize - 1 - place);
                    range.map(|d| of[(n as isize + d * by as isize) as usize]).fold(of[n], pick)
                })
                .collect()
        };
        along(&along(of, 1), side)
    };
    over(&over(heights, f32::max), f32::min)
}

/// The mean of nine.
fn smoothed(heights: &[f32], side: usize) -> Vec<f32> {
    let inside = |c: usize, d: usize| (c + d).saturating_sub(1).min(side - 1);
    (0..heights.len())
        .map(|n| {
            let (x, y) = (n % side, n / side);
            (0..9).map(|d| heights[inside(y, d / 3) * side + inside(x, d % 3)]).sum::<f32>() / 9.0
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tissue_ends_where_nothing_like_it_follows() {
        // Brain with a dark gap in it, fluid, bone, and a bright scalp.
        let level = |mm: f64| match mm {
            m if (5.0..6.5).contains(&m) => 0.2,
            m if m < 14.25 => 1.0,
            m if m < 22.0 => 0.1,
            _ => 1.1,
        };
        let column: Vec<f32> = (0..56).map(|n| level(f64::from(n) * WALK_MM)).collect();
        let found = surface(&column, 0.55);
        assert!((found - 14.25).abs() <= 0.25, "{found}");
        assert!(surface(&[1.0; 56], 0.55).is_nan());
    }

    #[test]
    fn a_narrow_valley_is_closed_and_a_hill_stays() {
        const SIDE: usize = 15;
        let mut heights = vec![1.0_f32; SIDE * SIDE];
        (0..SIDE).for_each(|y| heights[y * SIDE + 7] = -4.0);
        heights[3 * SIDE + 3] = 2.0;
        let closed = closed(&heights, SIDE, 2);
        assert!((0..SIDE).all(|y| (closed[y * SIDE + 7] - 1.0).abs() < 1e-6));
        assert!((closed[3 * SIDE + 3] - 2.0).abs() < 1e-6 && (closed[10 * SIDE + 3] - 1.0).abs() < 1e-6);
    }
}
