//! Whether the reference array still sits where it sat: the stream of `tracker_from_reference`.
//!
//! The first [`LEARNT`] poses say where it is and how much the tracker's noise is, by medians. From then on every pose's shift
//! and turn away from there, each cut to what one pose may say, go into a cumulative sum of vectors (Crosier,
//! Technometrics 30, 1988): what is less than an allowance fades, what stays beyond it in one direction adds up. The allowance
//! follows the noise, four standard deviations, between a quarter and half of the bump that must be found; noise that would hide such a
//! bump is refused ([`State::Noisy`]).
//!
//! **Found:** a bump of 2 mm or 1° within 1 s at 20 poses a second. **False alarms:** none in ten days of
//! simulated noise at 20 poses a second with one pose in twenty far off. **Time is given:** from the pose's own capture; an earlier pose than the
//! last, or one that is no number, is refused. **Latched:** what moved stays so until [`Watch::learn`]. **Allocation:** none
//! after [`Watch::new`]. **Not protected against:** the camera or the table that moved, patient and all, which looks
//! the same here and is harmless: touch a landmark (`check`) to tell; a patient who moves under an array that does not.

use bregma_core::time::Instant;
use nalgebra::{Isometry3, UnitQuaternion, Vector3};

/// Poses that say where the array is: five seconds at 20 a second.
pub const LEARNT: usize = 100;
/// The last poses that are kept to say how far it moved.
const KEPT: usize = 128;
const _: () = assert!(LEARNT <= KEPT, "what is learnt from is kept");
/// Standard deviations that are allowed for noise.
const ALLOWED: f64 = 4.0;
/// One pose says at most so many allowances.
const CUT: f64 = 3.0;
/// A sum of so many allowances is an alarm. One pose that is far off adds two at most and fades: it takes five in one
/// direction, one after the other.
const ALARM: f64 = 8.0;
/// The allowance must stay so many standard deviations, for noise not to add up.
const HELD: f64 = 2.0;

/// The least bump that must be found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bump {
    /// Shift of the array, mm.
    pub mm: f64,
    /// Turn of it, rad.
    pub rad: f64,
}

impl Bump {
    /// 2 mm or 1°.
    pub const USUAL: Self = Self { mm: 2.0, rad: 0.017_453_292_519_943_295 };
}

/// What the watch says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum State {
    /// It has seen so many of [`LEARNT`] poses.
    Learning {
        /// How many.
        seen: usize,
    },
    /// The tracker's noise hides such a bump; it learns again.
    Noisy {
        /// Standard deviation along each axis, mm.
        mm: f64,
        /// That of turns about each axis, rad.
        rad: f64,
    },
    /// It sits where it sat.
    Still,
    /// It moved.
    Moved(Moved),
}

/// A motion of the array.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moved {
    /// When the first pose was captured that was away.
    pub since: Instant,
    /// How far it is shifted since, mm, by medians.
    pub mm: f64,
    /// How far it is turned since, rad.
    pub rad: f64,
}

/// Why a pose is not heard.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum Unheard {
    /// It holds something that is no number.
    #[error("a pose of the reference array holds a number that is not finite")]
    NotFinite,
    /// Time stood still, or went back.
    #[error("a pose of the reference array was captured at {captured}, not after the last at {last}")]
    NotLater {
        /// When.
        captured: Instant,
        /// The last that was heard.
        last: Instant,
    },
    /// What must be found is none.
    #[error("a bump of {mm} mm and {rad} rad; numbers above 0 are right")]
    Bump {
        /// Shift.
        mm: f64,
        /// Turn.
        rad: f64,
    },
}

/// Cumulative sum of one kind of deviation.
#[derive(Debug, Clone, Copy)]
struct Sum {
    value: Vector3<f64>,
    allowance: f64,
    /// The first pose of what adds up now.
    since: Option<Instant>,
}

impl Sum {
    fn new(deviation: f64, bump: f64) -> Self {
        let allowance = (ALLOWED * deviation).clamp(bump / 4.0, bump / 2.0);
        Self { value: Vector3::zeros(), allowance, since: None }
    }

    /// Whether it is an alarm.
    fn add(&mut self, away: Vector3<f64>, captured: Instant) -> bool {
        let cut = CUT * self.allowance;
        let sum = self.value + away * (cut / away.norm().max(cut));
        let length = sum.norm();
        if length <= self.allowance {
            (self.value, self.since) = (Vector3::zeros(), None);
        } else {
            self.value = sum * (1.0 - self.allowance / length);
            self.since.get_or_insert(captured);
        }
        self.value.norm() > ALARM * self.allowance
    }
}

/// Where the array sat, and what has added up since.
#[derive(Debug, Clone, Copy)]
struct Rest {
    tracker_from_reference: Isometry3<f64>,
    shifts: Sum,
    turns: Sum,
}

/// Shift in the tracker's coordinates, mm, and turn, rad.
type Away = [Vector3<f64>; 2];

/// A watch over one array.
#[derive(Debug, Clone)]
pub struct Watch {
    bump: Bump,
    last: Option<Instant>,
    rest: Option<Rest>,
    state: State,
    /// While it learns, poses from the first on; then the last [`KEPT`], by their number.
    poses: Vec<Isometry3<f64>>,
    times: Vec<Instant>,
    count: usize,
    /// Room for medians.
    sorted: Vec<f64>,
}

impl Watch {
    /// One that learns first.
    ///
    /// # Errors
    /// [`Unheard::Bump`].
    pub fn new(bump: Bump) -> Result<Self, Unheard> {
        let above_0 = |v: f64| v > 0.0 && v < f64::INFINITY;
        if !above_0(bump.mm) || !above_0(bump.rad) {
            return Err(Unheard::Bump { mm: bump.mm, rad: bump.rad });
        }
        Ok(Self {
            bump,
            last: None,
            rest: None,
            state: State::Learning { seen: 0 },
            poses: vec![Isometry3::identity(); KEPT],
            times: vec![Instant::START; KEPT],
            count: 0,
            sorted: Vec::with_capacity(3 * KEPT),
        })
    }

    /// What was last said.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Forgets where the array sat: after the patient was registered anew.
    pub fn learn(&mut self) {
        (self.rest, self.count, self.state) = (None, 0, State::Learning { seen: 0 });
    }

    /// Hears a valid pose.
    ///
    /// # Errors
    /// [`Unheard`]; nothing has changed then.
    pub fn hear(&mut self, tracker_from_reference: &Isometry3<f64>, captured: Instant) -> Result<State, Unheard> {
        let turn = tracker_from_reference.rotation.coords;
        if !tracker_from_reference.translation.vector.iter().chain(turn.iter()).all(|v| v.is_finite()) {
            return Err(Unheard::NotFinite);
        }
        if let Some(last) = self.last.filter(|last| captured <= *last) {
            return Err(Unheard::NotLater { captured, last });
        }
        self.last = Some(captured);
        let at = self.count % KEPT;
        (self.poses[at], self.times[at]) = (*tracker_from_reference, captured);
        self.count += 1;
        self.state = match self.rest {
            None if self.count < LEARNT => State::Learning { seen: self.count },
            None => self.settle(),
            Some(mut rest) => {
                let [shift, turn] = away(&rest.tracker_from_reference, tracker_from_reference);
                let alarms = [rest.shifts.add(shift, captured), rest.turns.add(turn, captured)];
                self.rest = Some(rest);
                match self.state {
                    State::Moved(moved) => State::Moved(self.measured(&rest, moved.since)),
                    _ if alarms.contains(&true) => {
                        let began = [rest.shifts.since, rest.turns.since].into_iter().zip(alarms);
                        let since = began.filter_map(|(since, alarm)| since.filter(|_| alarm)).min();
                        State::Moved(self.measured(&rest, since.unwrap_or(captured)))
                    }
                    _ => State::Still,
                }
            }
        };
        Ok(self.state)
    }

    /// Takes what was learnt for granted, or learns again.
    fn settle(&mut self) -> State {
        let mut middle = self.poses[0];
        // The first pose may be far off, where turns do not simply add up; from near by they do.
        for _ in 0..2 {
            let [shift, turn] = self.median(&middle, 0..LEARNT);
            let turned = UnitQuaternion::from_scaled_axis(turn) * middle.rotation;
            middle = Isometry3::from_parts((middle.translation.vector + shift).into(), turned);
        }
        let [mm, rad] = [0, 1].map(|kind| {
            self.sorted.clear();
            for pose in &self.poses[..LEARNT] {
                self.sorted.extend(away(&middle, pose)[kind].iter().map(|v| v.abs()));
            }
            // Of a normal distribution the median size is 0.6745 standard deviations.
            middle_of(&mut self.sorted) / 0.6745
        });
        self.count = 0;
        let held = |deviation: f64, bump: f64| deviation * HELD <= bump / 2.0;
        if !held(mm, self.bump.mm) || !held(rad, self.bump.rad) {
            return State::Noisy { mm, rad };
        }
        self.rest = Some(Rest {
            tracker_from_reference: middle,
            shifts: Sum::new(mm, self.bump.mm),
            turns: Sum::new(rad, self.bump.rad),
        });
        State::Still
    }

    /// How far it is away over the poses that are kept since then.
    fn measured(&mut self, rest: &Rest, since: Instant) -> Moved {
        let kept = self.count.min(KEPT);
        // Numbers of the kept poses, the last first.
        let away = (0..kept).take_while(|back| self.times[(self.count - 1 - back) % KEPT] >= since).count().max(1);
        let [shift, turn] = self.median(&rest.tracker_from_reference, self.count - away..self.count);
        Moved { since, mm: shift.norm(), rad: turn.norm() }
    }

    /// Medians along each axis of poses by their numbers.
    fn median(&mut self, from: &Isometry3<f64>, numbers: std::ops::Range<usize>) -> Away {
        [0, 1].map(|kind| {
            Vector3::from_fn(|axis, _| {
                self.sorted.clear();
                self.sorted.extend(numbers.clone().map(|n| away(from, &self.poses[n % KEPT])[kind][axis]));
                middle_of(&mut self.sorted)
            })
        })
    }
}

/// How far a pose is from another, in the tracker's coordinates.
fn away(from: &Isometry3<f64>, pose: &Isometry3<f64>) -> Away {
    let turn = pose.rotation * from.rotation.inverse();
    [pose.translation.vector - from.translation.vector, turn.scaled_axis()]
}

/// The upper median; 0 of nothing.
fn middle_of(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::super::noise::Noise;
    use super::*;
    use bregma_core::time::Duration;

    const PERIOD: Duration = Duration::from_millis(50);

    /// A tracker that sees an array, its noise, and the share of poses that are far off.
    struct Tracker {
        noise: Noise,
        mm: f64,
        degrees: f64,
        far: f64,
        now: Instant,
    }

    impl Tracker {
        fn new(seed: u64, mm: f64, degrees: f64, far: f64) -> Self {
            Self { noise: Noise::new(seed), mm, degrees, far, now: Instant::START }
        }

        fn sees(&mut self, array: &Isometry3<f64>) -> (Isometry3<f64>, Instant) {
            self.now = self.now + PERIOD;
            let times = if self.noise.between(0.0, 1.0) < self.far { self.noise.between(10.0, 60.0) } else { 1.0 };
            let turn = UnitQuaternion::from_scaled_axis(self.noise.vector(self.degrees.to_radians() * times));
            let at = array.translation.vector + self.noise.vector(self.mm * times);
            (Isometry3::from_parts(at.into(), turn * array.rotation), self.now)
        }
    }

    fn somewhere(noise: &mut Noise) -> Isometry3<f64> {
        Isometry3::new(noise.vector(800.0), noise.vector(1.0))
    }

    fn bumped(noise: &mut Noise, array: &Isometry3<f64>, mm: f64, degrees: f64) -> Isometry3<f64> {
        let turn = UnitQuaternion::from_scaled_axis(noise.vector(1.0).normalize() * degrees.to_radians());
        let at = array.translation.vector + noise.vector(1.0).normalize() * mm;
        Isometry3::from_parts(at.into(), turn * array.rotation)
    }

    /// A watch that has learnt.
    fn settled(tracker: &mut Tracker, array: &Isometry3<f64>) -> Watch {
        let mut watch = Watch::new(Bump::USUAL).expect("a bump");
        for _ in 0..LEARNT {
            let (pose, now) = tracker.sees(array);
            watch.hear(&pose, now).expect("heard");
        }
        assert_eq!(watch.state(), State::Still);
        watch
    }

    #[test]
    fn a_bump_of_two_millimetres_or_a_degree_is_found_within_a_second() {
        let (mut slowest, mut noise) = (0, Noise::new(1));
        for (seed, (mm, degrees)) in (0..2000).zip([(2.0, 0.0), (0.0, 1.0), (2.0, 1.0), (5.0, 0.0)].into_iter().cycle())
        {
            let (sigma, turn) = (noise.between(0.05, 0.38), noise.between(0.02, 0.18));
            let mut tracker = Tracker::new(seed, sigma, turn, 0.05);
            let array = somewhere(&mut noise);
            let mut watch = settled(&mut tracker, &array);
            for _ in 0..100 {
                let (pose, now) = tracker.sees(&array);
                assert_eq!(watch.hear(&pose, now).expect("heard"), State::Still);
            }
            let moved_to = bumped(&mut noise, &array, mm, degrees);
            let before = tracker.now;
            let took = (1..=40).find(|_| {
                let (pose, now) = tracker.sees(&moved_to);
                matches!(watch.hear(&pose, now), Ok(State::Moved(_)))
            });
            slowest = slowest.max(took.unwrap_or(usize::MAX));
            let State::Moved(moved) = watch.state() else {
                panic!("{mm} mm, {degrees}° not found: {:?}", watch.state())
            };
            // A pose that was far off just before may be taken for the first.
            let early = (before + PERIOD).since(moved.since).map_or(0.0, |d| d.secs_f64());
            assert!(early <= 0.5, "{early} s too early");
        }
        assert!(slowest <= 20, "{slowest} poses of 50 ms");
    }

    #[test]
    fn how_far_it_moved_is_told_and_stays_said_until_it_learns_anew() {
        let (mut noise, mut tracker) = (Noise::new(2), Tracker::new(3, 0.2, 0.1, 0.05));
        let array = somewhere(&mut noise);
        let mut watch = settled(&mut tracker, &array);
        let moved_to = bumped(&mut noise, &array, 4.0, 3.0);
        for _ in 0..60 {
            let (pose, now) = tracker.sees(&moved_to);
            watch.hear(&pose, now).expect("heard");
        }
        let State::Moved(moved) = watch.state() else { panic!("{:?}", watch.state()) };
        assert!((moved.mm - 4.0).abs() < 0.3 && (moved.rad.to_degrees() - 3.0).abs() < 0.2, "{moved:?}");
        for _ in 0..100 {
            let (pose, now) = tracker.sees(&array);
            assert!(matches!(watch.hear(&pose, now), Ok(State::Moved(_))), "back by chance is not back");
        }
        watch.learn();
        assert_eq!(watch.state(), State::Learning { seen: 0 });
    }

    #[test]
    fn ten_days_of_noise_with_one_pose_in_twenty_far_off_raise_no_alarm() {
        let mut noise = Noise::new(4);
        for seed in 0..10 {
            // Three quarters of the noise that is taken, or less.
            let loud = if seed % 2 == 0 { 0.75 } else { 0.4 };
            let mut tracker = Tracker::new(seed, 0.5 * loud, 0.25 * loud, 0.05);
            let array = somewhere(&mut noise);
            let mut watch = settled(&mut tracker, &array);
            for pose in 0..20 * 86_400 {
                let (seen, now) = tracker.sees(&array);
                let said = watch.hear(&seen, now).expect("heard");
                assert_eq!(said, State::Still, "seed {seed}, pose {pose}");
            }
        }
    }

    #[test]
    fn noise_that_hides_a_bump_is_said_and_learning_goes_on() {
        let (mut tracker, array) = (Tracker::new(5, 1.0, 0.1, 0.0), Isometry3::identity());
        let mut watch = Watch::new(Bump::USUAL).expect("a bump");
        for _ in 0..LEARNT {
            let (pose, now) = tracker.sees(&array);
            watch.hear(&pose, now).expect("heard");
        }
        let State::Noisy { mm, .. } = watch.state() else { panic!("{:?}", watch.state()) };
        assert!((0.7..1.4).contains(&mm), "{mm}");
        tracker.mm = 0.1;
        for _ in 0..LEARNT {
            let (pose, now) = tracker.sees(&array);
            watch.hear(&pose, now).expect("heard");
        }
        assert_eq!(watch.state(), State::Still);
    }

    #[test]
    fn what_is_no_number_or_not_later_changes_nothing() {
        let (mut tracker, array) = (Tracker::new(6, 0.1, 0.05, 0.0), Isometry3::identity());
        let mut watch = settled(&mut tracker, &array);
        let mut broken = array;
        broken.translation.vector.y = f64::NAN;
        assert_eq!(watch.hear(&broken, tracker.now + PERIOD), Err(Unheard::NotFinite));
        let far = Isometry3::translation(50.0, 0.0, 0.0);
        for _ in 0..100 {
            assert!(matches!(watch.hear(&far, tracker.now), Err(Unheard::NotLater { .. })));
        }
        assert_eq!(watch.state(), State::Still);
        assert!(
            Watch::new(Bump { mm: 0.0, rad: 0.1 }).is_err() && Watch::new(Bump { mm: 1.0, rad: f64::NAN }).is_err()
        );
    }
}
