//! Distances of line segments: shaft, links and vessels are thick ones.
//!
//! **Units:** millimetres. **Source:** Ericson, *Real-Time Collision Detection* (2005), section 5.1.9.

use nalgebra::{Point3, Vector3};

/// A straight piece from `start` to `end`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Segment {
    pub start: Point3<f64>,
    pub end: Point3<f64>,
}

impl Segment {
    pub(crate) const fn new(start: Point3<f64>, end: Point3<f64>) -> Self {
        Self { start, end }
    }

    pub(crate) fn length(&self) -> f64 {
        (self.end - self.start).norm()
    }

    /// The point `along` mm from its start; the start itself where it has no length.
    pub(crate) fn point(&self, along: f64) -> Point3<f64> {
        let axis = self.end - self.start;
        let length = axis.norm();
        if length < 1e-9 { self.start } else { self.start + axis * (along / length) }
    }

    /// Distance of a point from it.
    pub(crate) fn distance_to_point(&self, at: &Point3<f64>) -> f64 {
        let axis = self.end - self.start;
        let t = ((at - self.start).dot(&axis) / axis.norm_squared().max(1e-18)).clamp(0.0, 1.0);
        (at - (self.start + axis * t)).norm()
    }

    /// Smallest distance between two, and the nearest point of the first.
    pub(crate) fn distance(&self, other: &Self) -> (f64, Point3<f64>) {
        const SHORT: f64 = 1e-12;
        let (d1, d2) = (self.end - self.start, other.end - other.start);
        let r = self.start - other.start;
        let (a, e, f) = (d1.norm_squared(), d2.norm_squared(), d2.dot(&r));
        let (s, t) = if a <= SHORT {
            (0.0, if e <= SHORT { 0.0 } else { (f / e).clamp(0.0, 1.0) })
        } else {
            let c = d1.dot(&r);
            if e <= SHORT {
                ((-c / a).clamp(0.0, 1.0), 0.0)
            } else {
                let b = d1.dot(&d2);
                let denominator = a * e - b * b;
                let s = if denominator > SHORT { ((b * f - c * e) / denominator).clamp(0.0, 1.0) } else { 0.0 };
                let t = (b * s + f) / e;
                if t < 0.0 {
                    ((-c / a).clamp(0.0, 1.0), 0.0)
                } else if t > 1.0 {
                    (((b - c) / a).clamp(0.0, 1.0), 1.0)
                } else {
                    (s, t)
                }
            }
        };
        let near: Point3<f64> = self.start + d1 * s;
        let far: Point3<f64> = other.start + d2 * t;
        let between: Vector3<f64> = near - far;
        (between.norm(), near)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_segment() -> impl Strategy<Value = Segment> {
        (prop::array::uniform3(-20.0..20.0f64), prop::array::uniform3(-20.0..20.0f64))
            .prop_map(|(a, b)| Segment::new(Point3::from(a), Point3::from(b)))
    }

    proptest! {
        #[test]
        fn the_distance_is_the_smallest_of_many((a, b) in (any_segment(), any_segment())) {
            let (distance, near) = a.distance(&b);
            let mut least = f64::INFINITY;
            for i in 0..=200 {
                least = least.min(b.distance_to_point(&a.point(a.length() * f64::from(i) / 200.0)));
            }
            prop_assert!(distance <= least + 1e-9);
            prop_assert!(least - distance <= a.length() / 400.0 + 1e-9);
            prop_assert!((b.distance_to_point(&near) - distance).abs() < 1e-6);
        }
    }

    #[test]
    fn segments_without_length_are_points() {
        let p = Segment::new(Point3::new(1.0, 2.0, 3.0), Point3::new(1.0, 2.0, 3.0));
        let q = Segment::new(Point3::new(1.0, 2.0, 7.0), Point3::new(1.0, 2.0, 7.0));
        assert!((p.distance(&q).0 - 4.0).abs() < 1e-12);
        assert_eq!(p.point(5.0), p.start);
    }
}
