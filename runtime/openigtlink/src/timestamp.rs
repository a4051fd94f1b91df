//! When a message's content was measured, by the sender's clock.
//!
//! 64 bits: seconds since 1970-01-01 UTC in the upper 32, the fraction of a second in units of 2⁻³² in the
//! lower. Zero means that the sender gives none. **Not protected against:** a sender whose clock is wrong,
//! which is the usual case, or one that writes nanoseconds where the fraction belongs.

/// 32.32 fixed-point seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The sender gives none.
    pub const NONE: Self = Self(0);

    /// From seconds since 1970 and nanoseconds below one second; more than that is refused.
    #[must_use]
    pub const fn new(seconds: u32, nanos: u32) -> Option<Self> {
        if nanos >= 1_000_000_000 {
            return None;
        }
        // Below 10⁹ · 2³² < 2⁶², so nothing overflows; the fraction is below 2³².
        let fraction = ((nanos as u64) << 32).div_ceil(1_000_000_000);
        Some(Self((seconds as u64) << 32 | fraction))
    }

    /// Whole seconds since 1970.
    #[must_use]
    pub const fn seconds(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The fraction of a second in whole nanoseconds, 0 to 999 999 999.
    #[must_use]
    pub const fn nanos(self) -> u32 {
        (((self.0 & 0xFFFF_FFFF) * 1_000_000_000) >> 32) as u32
    }

    /// In seconds; a double holds present times to about 0.2 µs.
    #[must_use]
    pub fn secs_f64(self) -> f64 {
        self.0 as f64 / 4_294_967_296.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn half_a_second_is_the_highest_bit_of_the_fraction() {
        assert_eq!(Timestamp::new(3, 500_000_000), Some(Timestamp(0x3_8000_0000)));
        assert_eq!(Timestamp::new(3, 1_000_000_000), None);
        assert_eq!(Timestamp(u64::MAX).nanos(), 999_999_999);
        assert!((Timestamp(0x3_8000_0000).secs_f64() - 3.5).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn nanoseconds_survive(seconds: u32, nanos in 0..1_000_000_000_u32) {
            let stamp = Timestamp::new(seconds, nanos).expect("below a second");
            prop_assert_eq!((stamp.seconds(), stamp.nanos()), (seconds, nanos));
        }
    }
}
