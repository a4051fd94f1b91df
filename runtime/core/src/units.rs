//! Lengths and angles.
//!
//! **Units:** [`Millimetres`] and [`Radians`]; speeds are written out in field names (`feed_mm_s`).
//! **Invariant:** a value of either type is finite; the constructors refuse NaN and infinities, and
//! arithmetic asserts it. **Not protected against:** a number that was in metres before it came here;
//! convert once, in the adapter.

use std::fmt;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// A number that is NaN or infinite was offered as a length, an angle or a coordinate.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("{what} is {value}; a finite number is needed")]
pub struct NotFinite {
    /// Which quantity it would have been.
    pub what: &'static str,
    /// The value that was refused.
    pub value: f64,
}

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident, $what:literal, $unit:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default)]
        pub struct $name(f64);

        impl $name {
            /// Zero.
            pub const ZERO: Self = Self(0.0);

            /// Refuses NaN and infinities.
            ///
            /// # Errors
            /// [`NotFinite`] with the value that was offered.
            pub fn new(value: f64) -> Result<Self, NotFinite> {
                if value.is_finite() { Ok(Self(value)) } else { Err(NotFinite { what: $what, value }) }
            }

            /// A constant of the program.
            ///
            /// # Panics
            /// When `value` is not finite; in a `const` that is a compile error.
            #[must_use]
            pub const fn constant(value: f64) -> Self {
                assert!(value.is_finite(), "a constant quantity must be finite");
                Self(value)
            }

            /// The bare number, for numeric kernels and adapters.
            #[must_use]
            pub const fn get(self) -> f64 {
                self.0
            }

            /// Its absolute value.
            #[must_use]
            pub const fn abs(self) -> Self {
                Self(self.0.abs())
            }

            /// The larger of two.
            #[must_use]
            pub fn max(self, other: Self) -> Self {
                Self(self.0.max(other.0))
            }

            /// The smaller of two.
            #[must_use]
            pub fn min(self, other: Self) -> Self {
                Self(self.0.min(other.0))
            }

            /// Independent errors add in quadrature.
            #[must_use]
            pub fn quadrature(self, other: Self) -> Self {
                Self::constant(self.0.hypot(other.0))
            }
        }

        impl Add for $name {
            type Output = Self;
            fn add(self, rhs: Self) -> Self {
                Self::constant(self.0 + rhs.0)
            }
        }
        impl Sub for $name {
            type Output = Self;
            fn sub(self, rhs: Self) -> Self {
                Self::constant(self.0 - rhs.0)
            }
        }
        impl Neg for $name {
            type Output = Self;
            fn neg(self) -> Self {
                Self(-self.0)
            }
        }
        impl Mul<f64> for $name {
            type Output = Self;
            fn mul(self, rhs: f64) -> Self {
                Self::constant(self.0 * rhs)
            }
        }
        impl Div<f64> for $name {
            type Output = Self;
            fn div(self, rhs: f64) -> Self {
                Self::constant(self.0 / rhs)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                if let Some(p) = f.precision() {
                    write!(f, "{:.p$} {}", self.0, $unit)
                } else {
                    write!(f, "{} {}", self.0, $unit)
                }
            }
        }
    };
}

quantity!(
    /// A length in millimetres; always finite.
    Millimetres, "a length", "mm"
);
quantity!(
    /// An angle in radians; always finite.
    Radians, "an angle", "rad"
);

impl Radians {
    /// From degrees, for constants copied from a data sheet.
    #[must_use]
    pub const fn from_degrees(degrees: f64) -> Self {
        Self::constant(degrees * (std::f64::consts::PI / 180.0))
    }

    /// In degrees, for people.
    #[must_use]
    pub const fn degrees(self) -> f64 {
        self.0 * (180.0 / std::f64::consts::PI)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_finite_numbers_become_quantities() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(Millimetres::new(bad).is_err());
            assert!(Radians::new(bad).is_err());
        }
        let said = Millimetres::new(f64::NAN).expect_err("refused").to_string();
        assert_eq!(said, "a length is NaN; a finite number is needed");
    }

    #[test]
    #[should_panic(expected = "must be finite")]
    fn arithmetic_cannot_leave_the_finite_numbers() {
        let _ = Millimetres::constant(f64::MAX) * 2.0;
    }

    #[test]
    fn degrees_go_both_ways() {
        assert!((Radians::from_degrees(180.0).get() - std::f64::consts::PI).abs() < 1e-15);
        assert!((Radians::from_degrees(33.0).degrees() - 33.0).abs() < 1e-12);
    }
}
