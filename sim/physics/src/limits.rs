//! Every limit that the validator holds a motion to, with its unit, its range and where it comes from.
//!
//! **Units:** in the names. **Invariant:** a [`Limits`] holds only values inside the ranges of
//! [`Limits::TABLE`]; NaN is in no range. The gate holds the same limits by [`Limits::digest`].

use bregma_core::digest::{Digest, Digester};

macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident = $usual:literal, $low:literal ..= $high:literal, $unit:literal, $source:literal;)*) => {
        /// The bare values, as a configuration writes them.
        #[derive(Debug, Clone, Copy, PartialEq)]
        pub struct LimitValues {
            $($(#[$doc])* pub $name: f64,)*
        }

        impl LimitValues {
            /// The values that the table's sources give.
            pub const USUAL: Self = Self { $($name: $usual,)* };

            fn each(&self) -> impl Iterator<Item = (LimitRow, f64)> {
                [$((LimitRow { name: stringify!($name), usual: $usual, low: $low, high: $high, unit: $unit, source: $source }, self.$name),)*].into_iter()
            }
        }

        impl Limits {
            /// What each limit means, its range and its source.
            pub const TABLE: &[LimitRow] = &[
                $(LimitRow { name: stringify!($name), usual: $usual, low: $low, high: $high, unit: $unit, source: $source },)*
            ];
        }
    };
}

/// One row of [`Limits::TABLE`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LimitRow {
    /// Its name in [`LimitValues`].
    pub name: &'static str,
    /// The usual value.
    pub usual: f64,
    /// Lowest value that is taken.
    pub low: f64,
    /// Highest value that is taken.
    pub high: f64,
    /// Its unit.
    pub unit: &'static str,
    /// Where it comes from.
    pub source: &'static str,
}

limits! {
    /// Oldest scene that a motion is checked against.
    scene_age_s = 0.5, 0.05..=10.0, "s", "ours: ten scenes at 20 Hz; a simulated case that perceives once a motion needs more";
    /// Oldest state of the arm.
    arm_age_s = 0.1, 0.005..=1.0, "s", "ours: 12 states at 125 Hz";
    /// Largest distance between the tracked tip and the arm's own.
    tip_mm = 3.0, 0.1..=10.0, "mm", "tracked tip 0.3 to 0.8, registration 1 to 2, arm 0.5 to 1 mm, in quadrature, with room";
    /// Largest distance of any joint from where it was commanded.
    start_rad = 0.02, 0.001..=0.1, "rad", "ours: 1.1 degrees, following error of an arm at rest with room";
    /// Largest distance of the first waypoint from the commanded tip.
    start_mm = 2.0, 0.1..=5.0, "mm", "ours: a planner that starts from the tracked tip is that far off";
    /// Largest rotation between the first waypoint and the commanded tip.
    start_turn_rad = 0.1, 0.001..=0.5, "rad", "ours: 6 degrees, likewise";
    /// Smallest distance to a joint's position limit.
    joint_room_rad = 0.02, 0.0..=0.5, "rad", "ours: arms stop by themselves at their limit";
    /// Largest share of a joint's speed limit.
    joint_speed_share = 0.8, 0.05..=1.0, "share", "ours: a controller trips at 1";
    /// Largest share of a joint's acceleration limit.
    joint_acceleration_share = 0.8, 0.05..=1.0, "share", "ours: likewise";
    /// Largest share of a joint's jerk limit.
    joint_jerk_share = 0.8, 0.05..=1.0, "share", "ours: likewise";
    /// Least motion of the flange for a radian of the joints together, a radian of its turn weighed like 300 mm.
    dexterity_mm = 30.0, 1.0..=200.0, "mm/rad", "ours: the fastest free motion, 50 mm/s, then needs 1.7 rad/s at most, which is what the slowest joint may do";
    /// Highest speed of the energised tip.
    cut_mm_s = 5.0, 0.1..=5.0, "mm/s", "cutting at most 2 to 5 mm/s";
    /// Highest speed of the tip deeper than the craniotomy's rim.
    head_mm_s = 10.0, 0.1..=10.0, "mm/s", "in the corridor at most 10 mm/s";
    /// Highest speed of the tip elsewhere.
    free_mm_s = 50.0, 0.1..=50.0, "mm/s", "free motion at most 50 mm/s";
    /// Fastest turn of the tip about itself.
    turn_rad_s = 0.3, 0.01..=1.0, "rad/s", "ours: 17 degrees a second; 200 mm up the shaft that is 60 mm/s";
    /// Lowest feed that is taken.
    feed_least_mm_s = 0.05, 0.001..=1.0, "mm/s", "ours: bounds how long a motion takes";
    /// Longest motion.
    motion_s = 60.0, 1.0..=300.0, "s", "ours: bounds memory and time of one validation";
    /// Largest distance of the smoothed tip from the straight lines between waypoints.
    corner_mm = 0.5, 0.05..=2.0, "mm", "ours: half of the safety margin";
    /// Smallest clearance of the arm from itself.
    self_mm = 5.0, 1.0..=20.0, "mm", "ours: link capsules already hold the covers";
    /// Smallest clearance from the skull and the craniotomy's rim.
    rim_mm = 1.0, 0.0..=10.0, "mm", "ours: the rigid error is added to it";
    /// Smallest clearance from a forbidden region, beside the error budget.
    forbidden_mm = 1.0, 0.0..=10.0, "mm", "ultrasonic aspirator: effect 1 to 2 mm from contact";
    /// Deepest press into tissue with the energy off.
    indentation_mm = 2.0, 0.1..=5.0, "mm", "indentation of 2 mm with a 1 mm punch on 3 kPa is 16 mN; strain at most 20 %";
    /// So many standard deviations of the rigid error, along one axis, count as pressed.
    press_sigmas = 0.0, 0.0..=3.0, "sigmas", "ours: 1 is right by the validator's table; 0 as long as planners keep only the shaft's axis in the open, which then presses by 1 to 2 mm";
    /// How stiff tissue is.
    stiffness_kpa = 3.0, 0.5..=20.0, "kPa", "Young's modulus of brain tissue at small strain, 1 to 3 kPa";
    /// Largest force on tissue, of the instrument's round end pressed in by the indentation.
    force_mn = 20.0, 1.0..=100.0, "mN", "2 mm by a shaft of 2.5 mm on 3 kPa; its mean pressure is then 4 kPa, 30 mmHg, the most that retractors may press";
    /// Largest strain of tissue under the instrument.
    strain_share = 0.2, 0.02..=0.5, "share", "indentation of 2 mm with a 1 mm punch on 3 kPa is 16 mN; strain at most 20 %";
    /// Longest time since the wall that is cut was seen.
    seen_s = 255.0, 1.0..=255.0, "s", "ours: 255 is the scene's longest, and means never; see LIMITS.md";
    /// Longest unsupported length of tissue that stays over a cut.
    roof_mm = 10.0, 0.5..=10.0, "mm", "ours: what is held on one side only sinks or tears, two diameters of the shaft are 5 mm; 10 is the longest that is told, and asks for nothing; see LIMITS.md";
    /// How far from its middle the energised tip removes tissue.
    removal_mm = 2.0, 0.0..=3.0, "mm", "ultrasonic aspirator: bore about 2 mm, effect 1 to 2 mm from contact";
    /// Longest motion of any point of the instrument between two samples of the clearance checks.
    step_mm = 0.4, 0.05..=0.5, "mm", "ours: half of it is taken off every clearance";
    /// Radius of what carries the shaft, from the shaft's upper end to the flange.
    handle_radius_mm = 15.0, 1.0..=60.0, "mm", "ours: an ultrasonic handpiece is 20 to 30 mm wide";
    /// How far outside the craniotomy a retract path ends.
    outside_mm = 25.0, 5.0..=100.0, "mm", "ours: a hand's breadth is not needed, a view of the opening is";
    /// Speed of a retract path outside the head.
    retract_mm_s = 30.0, 1.0..=50.0, "mm/s", "ours: below free motion";
    /// How long an approval may be started.
    expires_s = 1.0, 0.05..=10.0, "s", "ours: twice the age of a scene";
}

/// A limit lies outside its range.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("limit {name} is {value} {unit}; {low} to {high} {unit} is needed")]
pub struct LimitRefused {
    /// Which.
    pub name: &'static str,
    /// The value that was offered.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
    /// Lowest value that is taken.
    pub low: f64,
    /// Highest value that is taken.
    pub high: f64,
}

/// Limits inside their ranges.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    values: LimitValues,
}

impl Limits {
    /// Refuses what is outside its range, NaN included.
    ///
    /// # Errors
    /// [`LimitRefused`] with the first limit that is.
    pub fn new(values: LimitValues) -> Result<Self, LimitRefused> {
        match values.each().find(|(row, value)| !(row.low..=row.high).contains(value)) {
            Some((row, value)) => {
                Err(LimitRefused { name: row.name, value, unit: row.unit, low: row.low, high: row.high })
            }
            None => Ok(Self { values }),
        }
    }

    /// The table's usual values.
    #[must_use]
    pub fn usual() -> Self {
        Self { values: LimitValues::USUAL }
    }

    /// The values.
    #[must_use]
    pub const fn values(&self) -> &LimitValues {
        &self.values
    }

    /// Every limit with its value, in the order of [`Limits::TABLE`].
    pub fn each(&self) -> impl Iterator<Item = (LimitRow, f64)> {
        self.values.each()
    }

    /// Over every name and value.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut d = Digester::new("bregma limits 1");
        for (row, value) in self.values.each() {
            d.text(row.name).f64(value);
        }
        d.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_values_are_inside_their_ranges() {
        assert_eq!(Limits::new(LimitValues::USUAL), Ok(Limits::usual()));
        assert!(Limits::TABLE.iter().all(|row| !row.source.is_empty() && row.low < row.high));
    }

    #[test]
    fn what_is_outside_its_range_is_refused_by_name() {
        for bad in [f64::NAN, -1.0, 51.0, f64::INFINITY] {
            let refused = Limits::new(LimitValues { free_mm_s: bad, ..LimitValues::USUAL }).expect_err("outside");
            assert_eq!(refused.name, "free_mm_s");
        }
        let said = Limits::new(LimitValues { rim_mm: 11.0, ..LimitValues::USUAL }).expect_err("outside").to_string();
        assert_eq!(said, "limit rim_mm is 11 mm; 0 to 10 mm is needed");
    }

    #[test]
    fn another_limit_is_another_digest() {
        let other = Limits::new(LimitValues { step_mm: 0.3, ..LimitValues::USUAL }).expect("inside");
        assert_ne!(other.digest(), Limits::usual().digest());
    }
}
