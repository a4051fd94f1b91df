//! The independent checker: did the arm execute anything that was not approved?
//!
//! It joins the arm's own log with the approvals of the recording, by geometry, and uses nothing of the
//! gate: a position that differs from the one before must lie on the approved path, or on its retract
//! path, of the approval that the entry names; the place on that path may not run faster than the log's
//! time; energy may be on only where the path has it on. **Units:** radians. **Allocation:** the report's
//! list, at most [`UNEXPLAINED_KEPT`]. **Not protected against:** a log that is not the arm's own; a path
//! that was approved and should not have been.

use bregma_core::arm::Joints;
use bregma_core::flow::{ApprovedRecord, Energy, JointPath};
use bregma_core::{Duration, Instant};

/// Joints that differ by less than this have not moved, rad: 0.0000007 mm at the tip of any arm here.
pub const STILL_RAD: f64 = 1e-9;
/// How far from the path a position may lie, rad: the gate's start tolerance at most, else rounding.
pub const TOLERANCE_RAD: f64 = 1e-3;
/// Two stretches whose distances from a position differ by less pass it equally, rad.
const SAME_RAD: f64 = 1e-6;
/// By how much the place on the path may run ahead of the log's time: two steps of the gate and one of
/// the arm's. Also how late the first entry may come after the approval's expiry.
pub const AHEAD_MAX: Duration = Duration::from_millis(24);
/// Most unexplained entries that a report lists; all are counted.
pub const UNEXPLAINED_KEPT: usize = 64;

/// One line of the arm's own log.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ArmLogEntry {
    /// When it executed the command.
    pub at: Instant,
    /// Where it was told to be.
    pub joints: Joints,
    /// [`Energy::bits`] of what the instrument was told.
    pub energy: u8,
    /// The approval named with the command.
    pub approval: Option<u64>,
}

/// Why an entry cannot be explained.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum Why {
    /// It moved and named no approval.
    #[error("it moved {moved_rad:.6} rad and names no approval")]
    NoApproval {
        /// Largest movement of a joint.
        moved_rad: f64,
    },
    /// There is no such approval.
    #[error("it names approval {0}, which nobody gave")]
    Unknown(u64),
    /// A later approval was already being executed.
    #[error("it names approval {named} after approval {newest} was begun")]
    Spent {
        /// The one it names.
        named: u64,
        /// The newest.
        newest: u64,
    },
    /// It began after the approval had expired.
    #[error("it begins approval {named} after it expired, at {expires}")]
    Expired {
        /// The one it names.
        named: u64,
        /// When it expired.
        expires: Instant,
    },
    /// It is on neither path.
    #[error("it is {off_rad:.6} rad from the paths of approval {named}; at most {TOLERANCE_RAD} rad")]
    OffPath {
        /// The one it names.
        named: u64,
        /// Distance from the nearest point of them.
        off_rad: f64,
    },
    /// It is on a path, but not where it could be by then.
    #[error("it ran {ahead} ahead along approval {named}")]
    Jumped {
        /// The one it names.
        named: u64,
        /// By how much path time is ahead of the log's.
        ahead: Duration,
    },
    /// Energy is on where the approved path has it off, or without an approval.
    #[error("energy {bits:#05b} is on where no approved path has it on")]
    Energy {
        /// [`Energy::bits`].
        bits: u8,
    },
}

/// An entry that cannot be explained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Unexplained {
    /// Its index in the log.
    pub index: usize,
    /// Why.
    pub why: Why,
}

/// What the checker found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    /// Entries of the log.
    pub entries: usize,
    /// Entries that moved.
    pub moved: usize,
    /// Approvals of which some movement was executed.
    pub executed: usize,
    /// Unbroken runs of unexplained entries: motions executed without approval.
    pub executed_unapproved: usize,
    /// Unexplained entries.
    pub unexplained_entries: usize,
    /// The first [`UNEXPLAINED_KEPT`] of them.
    pub unexplained: Vec<Unexplained>,
}

/// A stretch between two knots: when it is on the way (negative: on the retract path), and its energy.
struct Stretch<'a> {
    from_ns: i64,
    to_ns: i64,
    from: &'a Joints,
    to: &'a Joints,
    energy: u8,
}

/// Where the arm can be on the approval that it executes. A path may pass the same joints more than once: it
/// withdraws along the shaft as the retract path does, it turns and comes back, it dwells. All those places
/// are kept, until the arm's way tells them apart.
#[derive(Clone)]
struct Follow {
    approval: u64,
    places: Vec<Place>,
    at: Instant,
}

/// Places that pass the same joints, from one to another, ns; negative on the retract path.
#[derive(Clone, Copy)]
struct Place {
    from_ns: i64,
    to_ns: i64,
}

/// Joins what the arm executed with what was approved.
#[must_use]
pub fn executed_unapproved(arm_log: &[ArmLogEntry], approvals: &[ApprovedRecord]) -> Report {
    let mut report = Report { entries: arm_log.len(), ..Report::default() };
    let mut follow: Option<Follow> = None;
    let mut before: Option<&Joints> = None;
    let mut executing = None;
    let mut in_run = false;
    for (index, entry) in arm_log.iter().enumerate() {
        let moved_rad = before.map_or(0.0, |before| apart(before, &entry.joints));
        let moved = moved_rad > STILL_RAD;
        before = Some(&entry.joints);
        report.moved += usize::from(moved);
        match explain(entry, moved, moved_rad, approvals, &mut follow) {
            Ok(()) => {
                in_run = false;
                if moved && executing != entry.approval {
                    executing = entry.approval;
                    report.executed += 1;
                }
            }
            Err(why) => {
                report.unexplained_entries += 1;
                report.executed_unapproved += usize::from(!in_run);
                in_run = true;
                if report.unexplained.len() < UNEXPLAINED_KEPT {
                    report.unexplained.push(Unexplained { index, why });
                }
            }
        }
    }
    report
}

fn explain(
    entry: &ArmLogEntry,
    moved: bool,
    moved_rad: f64,
    approvals: &[ApprovedRecord],
    follow: &mut Option<Follow>,
) -> Result<(), Why> {
    let on = entry.energy != Energy::OFF.bits();
    let Some(named) = entry.approval else {
        if let Some(last) = follow {
            last.at = entry.at;
        }
        return match (moved, on) {
            (true, _) => Err(Why::NoApproval { moved_rad }),
            (false, true) => Err(Why::Energy { bits: entry.energy }),
            (false, false) => Ok(()),
        };
    };
    let record = approvals.iter().find(|a| a.sequence.0 == named).ok_or(Why::Unknown(named))?;
    let last = match follow {
        Some(last) if last.approval > named => return Err(Why::Spent { named, newest: last.approval }),
        Some(last) if last.approval == named => last,
        Some(_) | None => {
            if entry.at > record.expires + AHEAD_MAX {
                return Err(Why::Expired { named, expires: record.expires });
            }
            // It begins: at the path's start, a moment ago.
            &Follow { approval: named, places: vec![Place { from_ns: 0, to_ns: 0 }], at: entry.at }
        }
    };
    let passed = entry.at.since(last.at).unwrap_or(Duration::ZERO) + AHEAD_MAX;
    let mut found = locate(record, &entry.joints, &last.places, passed.nanos());
    let mut jumped = None;
    if found.places.is_empty() {
        // On no place that it can have reached: on any other?
        found = locate(record, &entry.joints, &last.places, u64::MAX);
        let went_ns =
            found.places.iter().map(|to| last.places.iter().map(|from| from.away_ns(to)).min().unwrap_or(0)).min();
        match went_ns {
            Some(went_ns) => jumped = Some(Duration::from_nanos(went_ns.saturating_sub(passed.nanos()))),
            None => return Err(Why::OffPath { named, off_rad: found.off_rad }),
        }
    }
    let off_rad = found.off_rad;
    // The next entry is measured from here, even when this one ran ahead: a jump is one motion.
    let places = &follow.insert(Follow { approval: named, places: found.places, at: entry.at }).places;
    if let Some(ahead) = jumped {
        return Err(Why::Jumped { named, ahead });
    }
    let energised =
        |s: Stretch<'_>| entry.energy & !s.energy == 0 && project(&s, &entry.joints).1 <= off_rad + SAME_RAD;
    let placed = |place: &Place| ways(&record.path, place.from_ns, place.to_ns).any(energised);
    if on && !places.iter().any(placed) {
        return Err(Why::Energy { bits: entry.energy });
    }
    Ok(())
}

impl Place {
    /// Time between two of them, 0 where they overlap.
    fn away_ns(&self, other: &Self) -> u64 {
        (other.from_ns - self.to_ns).max(self.from_ns - other.to_ns).max(0).unsigned_abs()
    }
}

/// The stretches of one path whose times overlap a range, ns.
fn ways(path: &JointPath, from_ns: i64, to_ns: i64) -> impl Iterator<Item = Stretch<'_>> {
    let period = i64::try_from(path.period.nanos()).unwrap_or(i64::MAX).max(1);
    let only = (path.knots.len() == 1).then(|| Stretch {
        from_ns: 0,
        to_ns: 0,
        from: &path.knots[0],
        to: &path.knots[0],
        energy: 0,
    });
    let count = path.knots.len().saturating_sub(1);
    let index = |ns: i64| usize::try_from(ns.max(0) / period).unwrap_or(usize::MAX);
    let first = index(from_ns.saturating_sub(1)).min(count);
    let past = index(to_ns).saturating_add(1).min(count).max(first);
    let many = (first..past).filter(move |_| to_ns >= 0).map(move |i| {
        let from_ns = (i as i64).saturating_mul(period);
        let energy = path.energy.get(i).copied().unwrap_or(0);
        Stretch { from_ns, to_ns: from_ns.saturating_add(period), from: &path.knots[i], to: &path.knots[i + 1], energy }
    });
    only.into_iter().chain(many)
}

/// The stretches of both paths that overlap a range; places on the retract path are negative, its start is the
/// path's.
fn stretches(record: &ApprovedRecord, from_ns: i64, to_ns: i64) -> impl Iterator<Item = Stretch<'_>> {
    let retract = ways(&record.retract, to_ns.saturating_neg(), from_ns.saturating_neg());
    let retract = retract.map(|s| Stretch { from_ns: -s.from_ns, to_ns: -s.to_ns, energy: 0, ..s });
    ways(&record.path, from_ns, to_ns).chain(retract)
}

/// Places on the paths, and how far from the joints they are.
struct Found {
    places: Vec<Place>,
    off_rad: f64,
}

/// The places nearest to the joints, of those within `window_ns` of a place in `near`; none where all are
/// farther off than the tolerance.
fn locate(record: &ApprovedRecord, joints: &Joints, near: &[Place], window_ns: u64) -> Found {
    let window = i64::try_from(window_ns).unwrap_or(i64::MAX);
    let mut passing: Vec<(Place, f64)> = Vec::new();
    let mut best = f64::INFINITY;
    for near in near {
        let (earliest, latest) = (near.from_ns.saturating_sub(window), near.to_ns.saturating_add(window));
        for stretch in stretches(record, earliest, latest) {
            let (low, high) = (stretch.from_ns.min(stretch.to_ns), stretch.from_ns.max(stretch.to_ns));
            let (share, off_rad) = project(&stretch, joints);
            let dwells = apart(stretch.from, stretch.to) <= STILL_RAD;
            let at = stretch.from_ns + (share * (stretch.to_ns - stretch.from_ns) as f64).round() as i64;
            let (from_ns, to_ns) = if dwells { (low.max(earliest), high.min(latest)) } else { (at, at) };
            if from_ns <= to_ns && to_ns >= earliest && from_ns <= latest {
                best = best.min(off_rad);
                passing.push((Place { from_ns, to_ns }, off_rad));
            }
        }
    }
    let mut places: Vec<Place> = Vec::new();
    if best <= TOLERANCE_RAD {
        passing.retain(|(_, off_rad)| *off_rad <= best + SAME_RAD);
        passing.sort_by_key(|(place, _)| place.from_ns);
        for (place, _) in passing {
            match places.last_mut() {
                Some(last) if place.from_ns <= last.to_ns => last.to_ns = last.to_ns.max(place.to_ns),
                _ => places.push(place),
            }
        }
    }
    Found { places, off_rad: best }
}

/// Share of the stretch at the point nearest to the joints, and the largest joint's distance from there.
fn project(stretch: &Stretch<'_>, joints: &Joints) -> (f64, f64) {
    let (from, to, at) = (stretch.from.as_slice(), stretch.to.as_slice(), joints.as_slice());
    if from.len() != at.len() || to.len() != at.len() {
        return (0.0, f64::INFINITY);
    }
    let (mut along, mut length) = (0.0, 0.0);
    for ((a, b), q) in from.iter().zip(to).zip(at) {
        along += (q - a) * (b - a);
        length += (b - a) * (b - a);
    }
    let share = if length > 0.0 { (along / length).clamp(0.0, 1.0) } else { 0.0 };
    let mut off: f64 = 0.0;
    for ((a, b), q) in from.iter().zip(to).zip(at) {
        let difference = (q - (a + (b - a) * share)).abs();
        off = if difference.is_nan() { f64::INFINITY } else { off.max(difference) };
    }
    (share, off)
}

/// Largest difference of a joint; infinite for positions that cannot be compared.
fn apart(a: &Joints, b: &Joints) -> f64 {
    let nan = a.as_slice().iter().chain(b.as_slice()).any(|q| !q.is_finite());
    if nan { f64::INFINITY } else { a.distance(b) }
}

#[cfg(test)]
mod tests;
