//! Where on an approved path the arm is, and how fast the path's clock runs.
//!
//! One coordinate, in nanoseconds of path time, covers the way in and the way out: `place ≥ 0` is the time
//! on the approved path, `place < 0` the time on its retract path, which begins where the path begins.
//! Playing raises it from 0 at the rate of real time; leaving lowers it, back along the path and on
//! along the retract path. So every commanded position lies on geometry that the validator saw, whatever
//! happens, and nothing is solved, re-timed ahead or smoothed here.
//!
//! ```text
//!  -retract ◄────────── 0 ──────────► +path          rate: 1 playing, 0 standing,
//!  outside          path's start      path's end            -r back along the path, -1 along the retract
//! ```
//!
//! **Braking:** the rate goes linearly to zero within the track's `brake` time T, so the arm slows *along*
//! the path. With |rate| ≤ 1, joint speeds stay below those validated; braking adds q̇/T to the path's own
//! acceleration, at most [`BRAKE_SHARE`] of the joint's limit, because T ≥ q̇max / (share · limit).
//! It travels half of what T at full rate would: at 5 mm/s and 100 ms, 0.25 mm.
//! **Allocation:** none.

use crate::settings::BRAKE_SHARE;
use bregma_core::Duration;
use bregma_core::arm::{ArmModel, Joints};
use bregma_core::flow::{ApprovedRecord, Energy, JointPath, Sequence};

/// What an accepted approval is to the gate. Only the validator's own type is one outside of tests.
pub(crate) trait Approval: Clone {
    /// What it says.
    fn record(&self) -> &ApprovedRecord;
}

/// What the path clock is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drive {
    /// Standing.
    Still,
    /// Playing the path.
    Forward,
    /// Coming to a stand.
    Braking,
    /// Going back along the path, then out along the retract path.
    Leaving,
}

/// The last accepted approval and the place on it.
#[derive(Debug, Clone)]
pub(crate) struct Track<A> {
    approval: A,
    drive: Drive,
    place: i64,
    rate: f64,
    brake: Duration,
}

/// Time in which the path clock must go to zero, for the fastest joint of both paths.
pub(crate) fn brake_time(record: &ApprovedRecord, arm: &ArmModel, shortest: Duration) -> Duration {
    let mut longest_s = shortest.secs_f64();
    for path in [&record.path, &record.retract] {
        let period_s = path.period.secs_f64();
        for pair in path.knots.windows(2) {
            for ((from, to), limit) in pair[0].as_slice().iter().zip(pair[1].as_slice()).zip(arm.limits()) {
                let speed = (to - from).abs() / period_s;
                longest_s = longest_s.max(speed / (BRAKE_SHARE * limit.acceleration_rad_s2));
            }
        }
    }
    // Infinite only for a path with a period of zero, which is refused: then the longest time there is.
    Duration::from_secs_f64(longest_s).unwrap_or(Duration::from_nanos(u64::MAX))
}

fn length_ns(path: &JointPath) -> i64 {
    i64::try_from(path.length().nanos()).unwrap_or(i64::MAX)
}

impl<A: Approval> Track<A> {
    /// At the start of an approved path, playing.
    pub(crate) fn start(approval: A, brake: Duration) -> Self {
        Self { approval, drive: Drive::Forward, place: 0, rate: 1.0, brake }
    }

    pub(crate) fn sequence(&self) -> Sequence {
        self.approval.record().sequence
    }

    #[cfg(test)]
    pub(crate) const fn approval(&self) -> &A {
        &self.approval
    }

    pub(crate) const fn drive(&self) -> Drive {
        self.drive
    }

    /// Comes to a stand along the path.
    pub(crate) fn brake(&mut self) {
        if self.drive != Drive::Still {
            self.drive = Drive::Braking;
        }
    }

    /// Turns back and goes out.
    pub(crate) fn leave(&mut self) {
        self.drive = Drive::Leaving;
    }

    /// Whether the end of the retract path has been reached.
    pub(crate) fn is_out(&self) -> bool {
        self.place <= -length_ns(&self.approval.record().retract)
    }

    /// Runs the path clock for `elapsed`. True when the path's end, or the way out's, was reached.
    pub(crate) fn advance(&mut self, elapsed: Duration, retract_rate: f64) -> bool {
        let record = self.approval.record();
        let (first, last) = (-length_ns(&record.retract), length_ns(&record.path));
        let nanos = i64::try_from(elapsed.nanos()).unwrap_or(i64::MAX);
        match self.drive {
            Drive::Still => false,
            Drive::Forward => {
                self.place = self.place.saturating_add(nanos).min(last);
                self.stand_if(self.place == last)
            }
            Drive::Braking => {
                self.place = (self.place + self.slew(0.0, nanos)).clamp(first, last);
                let standing = self.rate.abs() < f64::EPSILON || self.place == first || self.place == last;
                self.stand_if(standing);
                false
            }
            Drive::Leaving => {
                let target = if self.place > 0 { -retract_rate } else { -1.0 };
                self.place = (self.place + self.slew(target, nanos)).clamp(first, last);
                self.stand_if(self.place == first)
            }
        }
    }

    fn stand_if(&mut self, standing: bool) -> bool {
        if standing {
            self.drive = Drive::Still;
            self.rate = 0.0;
        }
        standing
    }

    /// Moves the rate towards `target` and gives how far the path clock went, ns.
    fn slew(&mut self, target: f64, nanos: i64) -> i64 {
        let (time, brake) = (nanos as f64, self.brake.nanos() as f64);
        let needed = (target - self.rate).abs() * brake;
        let went = if needed <= time {
            let went = 0.5 * (self.rate + target) * needed + target * (time - needed);
            self.rate = target;
            went
        } else {
            let reached = self.rate + (target - self.rate).signum() * time / brake;
            let went = 0.5 * (self.rate + reached) * time;
            self.rate = reached;
            went
        };
        went.round() as i64
    }

    /// Where the arm shall be, and the path's energy there; energy is off but while playing.
    pub(crate) fn sample(&self) -> Option<(Joints, Energy)> {
        let record = self.approval.record();
        let time = Duration::from_nanos(self.place.unsigned_abs());
        let (joints, energy) = if self.place >= 0 { record.path.at(time)? } else { record.retract.at(time)? };
        Some((joints, if self.drive == Drive::Forward { energy } else { Energy::OFF }))
    }
}
