//! A sender's clock against the session's: offset and drift, from when messages say that they were made and when they came.
//!
//! A message comes late, never early. So of all pairs the earliest arrivals bound the sender's clock from one side: the line under
//! all of them that lies closest to their mean is an edge of their lower convex hull (Moon, Skelly and Towsley, INFOCOM 1999).
//! It is fitted to the earliest arrival of each second of the last [`SECONDS`]; a message's time by the session's clock is where that line
//! has it. **What is left in it** is the shortest way that any message took, with the sender's own lag: `register lag` measures
//! that, and a configuration states it.
//!
//! **Steps:** a sender's clock that is set ahead makes messages come before they were made, one that is set back makes all of them
//! late at once. Either is told, within a second, and everything is learnt anew; until then times are too early, so that what they
//! stamp looks older than it is, never younger. **Units:** ns, s. **Allocation:** none after `new`. **Invariant:** no time lies after
//! its arrival. **Not protected against:** a way that grows longer as slowly as a clock may drift.

use bregma_core::time::{Duration, Instant};

/// The fit's window, s.
pub const SECONDS: usize = 64;
/// The drift is believed from so many seconds on.
const DRIFT_FROM: usize = 10;
/// No quartz is worse than that; a steeper line is not believed.
const DRIFT_MAX: f64 = 300e-6;
/// A message that comes so long before it can have been made, or all of them so late, means a step, s.
const STEP_S: f64 = 0.03;
/// All of them: so many, over a second.
const LATE_LEAST: usize = 10;

/// What a message's time is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Heard {
    /// By the session's clock; at most its arrival.
    pub captured: Instant,
    /// By how much the sender's clock was just set ahead, or back where negative, s.
    pub stepped_s: Option<f64>,
}

/// The earliest arrival of one second of the sender's time.
#[derive(Debug, Clone, Copy, Default)]
struct Earliest {
    /// Sender's time, s since the first message.
    sent: f64,
    /// Session's time less that, s.
    ahead: f64,
}

/// One sender's clock.
#[derive(Debug, Clone)]
pub struct SenderClock {
    /// The sender's time of the first message since it was learnt anew.
    first: Option<u64>,
    seconds: Vec<Earliest>,
    /// Which second the last of these is.
    last: i64,
    /// The line: `ahead` at `about`, and its slope.
    about: f64,
    ahead: f64,
    drift: f64,
    /// Since when all messages have been late, and how many, and by how little at least.
    late: Option<(Instant, usize, f64)>,
}

impl Default for SenderClock {
    fn default() -> Self {
        Self::new()
    }
}

impl SenderClock {
    /// Of a sender that has not been heard.
    #[must_use]
    pub fn new() -> Self {
        Self {
            first: None,
            seconds: Vec::with_capacity(SECONDS),
            last: 0,
            about: 0.0,
            ahead: 0.0,
            drift: 0.0,
            late: None,
        }
    }

    /// How fast the session's clock runs by the sender's, less 1; 0 while too little was heard.
    #[must_use]
    pub const fn drift(&self) -> f64 {
        self.drift
    }

    /// A message came that says when it was made, ns of the sender's clock.
    pub fn hears(&mut self, sent_ns: u64, arrived: Instant) -> Heard {
        let Some(first) = self.first else { return self.begin(sent_ns, arrived, None) };
        let sent = (i128::from(sent_ns) - i128::from(first)) as f64 * 1e-9;
        let ahead = arrived.secs_f64() - sent;
        let late = ahead - self.line(sent);
        if late < -STEP_S {
            return self.begin(sent_ns, arrived, Some(-late));
        }
        if late > STEP_S {
            let (since, count, least) = self.late.unwrap_or((arrived, 0, f64::INFINITY));
            let (count, least) = (count + 1, least.min(late));
            self.late = Some((since, count, least));
            if count >= LATE_LEAST && arrived.since(since).is_some_and(|d| d >= Duration::from_secs(1)) {
                return self.begin(sent_ns, arrived, Some(-least));
            }
        } else {
            self.late = None;
            self.learn(sent, ahead);
        }
        let captured = Duration::from_secs_f64((sent + self.line(sent)).max(0.0)).unwrap_or(Duration::ZERO);
        Heard { captured: (Instant::START + captured).min(arrived), stepped_s: None }
    }

    /// From here on, as if nothing had been heard before.
    fn begin(&mut self, sent_ns: u64, arrived: Instant, stepped_s: Option<f64>) -> Heard {
        self.seconds.clear();
        self.seconds.push(Earliest { sent: 0.0, ahead: arrived.secs_f64() });
        (self.first, self.last, self.late) = (Some(sent_ns), 0, None);
        (self.about, self.ahead, self.drift) = (0.0, arrived.secs_f64(), 0.0);
        Heard { captured: arrived, stepped_s }
    }

    fn line(&self, sent: f64) -> f64 {
        self.ahead + self.drift * (sent - self.about)
    }

    fn learn(&mut self, sent: f64, ahead: f64) {
        let second = sent.floor() as i64;
        if second > self.last {
            self.fit();
            if self.seconds.len() == SECONDS {
                self.seconds.remove(0);
            }
            self.seconds.push(Earliest { sent, ahead });
            self.last = second;
        } else if let Some(last) = self.seconds.last_mut().filter(|l| ahead - l.ahead < 0.0 && second == self.last) {
            *last = Earliest { sent, ahead };
        }
        // Nothing comes early: the line is below everything.
        self.ahead += (ahead - self.line(sent)).min(0.0);
    }

    /// The edge of the lower convex hull that spans the middle of all.
    fn fit(&mut self) {
        let of = &self.seconds;
        let (Some(first), Some(last)) = (of.first(), of.last()) else { return };
        if of.len() < DRIFT_FROM {
            self.ahead = of.iter().map(|e| e.ahead).fold(f64::INFINITY, f64::min);
            return;
        }
        let middle = of.iter().map(|e| e.sent).sum::<f64>() / of.len() as f64;
        // Along the hull: from each corner on by the least slope, until the middle is passed.
        let (mut corner, mut slope) = (0, 0.0);
        let mut next = 0;
        while of[next].sent <= middle && next + 1 < of.len() {
            corner = next;
            let steps = of.iter().enumerate().skip(corner + 1);
            let by = |e: &Earliest| (e.ahead - of[corner].ahead) / (e.sent - of[corner].sent).max(1e-9);
            let Some((to, edge)) = steps.min_by(|a, b| by(a.1).total_cmp(&by(b.1))) else { break };
            (next, slope) = (to, by(edge));
        }
        if slope.abs() <= DRIFT_MAX && last.sent - first.sent >= DRIFT_FROM as f64 {
            (self.about, self.ahead, self.drift) = (of[corner].sent, of[corner].ahead, slope);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A number from 0 to 1 that looks drawn.
    fn noise(n: u64) -> f64 {
        let x = (n ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ x >> 31).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A sender with a clock of its own, 50 messages a second, whose shortest way takes 2 ms.
    struct Sender {
        offset_s: f64,
        drift: f64,
    }

    const SHORTEST_S: f64 = 0.002;

    impl Sender {
        /// What the `n`th message says, when it was made and when it came.
        fn message(&self, n: u64) -> (u64, f64, Instant) {
            let made = 0.02 * n as f64 + 5.0;
            let sent_ns = ((self.offset_s + made / (1.0 + self.drift)) * 1e9).round() as u64;
            // Queues: exponential, 3 ms in the mean, and now and then a pause.
            let mut way = SHORTEST_S - 0.003 * noise(n).max(1e-12).ln();
            if noise(n ^ 0xabcd) < 0.01 {
                way += 0.08;
            }
            (sent_ns, made, Instant::START + Duration::from_secs_f64(made + way).expect("later"))
        }
    }

    fn worst_ms(clock: &mut SenderClock, sender: &Sender, range: std::ops::Range<u64>) -> f64 {
        let mut worst = 0.0_f64;
        for n in range {
            let (sent, made, came) = sender.message(n);
            let heard = clock.hears(sent, came);
            assert!(heard.captured <= came && heard.stepped_s.is_none(), "{n}: {heard:?}");
            worst = worst.max((heard.captured.secs_f64() - made - SHORTEST_S).abs() * 1e3);
        }
        worst
    }

    #[test]
    fn offset_and_drift_are_found_under_jitter() {
        for drift in [-180e-6, 0.0, 40e-6, 250e-6] {
            let sender = Sender { offset_s: 1.7e9, drift };
            let mut clock = SenderClock::new();
            let early = worst_ms(&mut clock, &sender, 0..1000);
            assert!(early < 15.0, "{early} ms while it learns");
            worst_ms(&mut clock, &sender, 1000..3500);
            let settled = worst_ms(&mut clock, &sender, 3500..30_000);
            assert!(settled < 1.0, "{settled} ms at {drift}");
            assert!((clock.drift() - drift).abs() < 15e-6, "{} of {drift}", clock.drift());
        }
    }

    #[test]
    fn a_clock_that_was_set_is_told_and_learnt_anew() {
        for by in [0.2, -0.2, 3600.0, -3600.0] {
            let mut sender = Sender { offset_s: 1e4, drift: 50e-6 };
            let mut clock = SenderClock::new();
            worst_ms(&mut clock, &sender, 0..4000);
            sender.offset_s += by;
            let mut told = None;
            for n in 4000..4200 {
                let (sent, made, came) = sender.message(n);
                let heard = clock.hears(sent, came);
                // Never younger than it is but for the way it came.
                assert!(heard.captured <= came);
                if let Some(stepped) = heard.stepped_s {
                    assert!(told.is_none(), "told once");
                    told = Some((n, stepped));
                    // As far as the drift reaches over so long a step.
                    assert!((stepped - by).abs() < 0.05 + 100e-6 * by.abs(), "{stepped} s of {by}");
                } else if told.is_some() {
                    assert!((heard.captured.secs_f64() - made).abs() < 0.1, "{n}: learnt anew");
                }
            }
            let (at, _) = told.expect("told");
            assert!(at <= 4060, "within about a second: {at}");
            worst_ms(&mut clock, &sender, 4200..6000);
        }
    }

    #[test]
    fn a_pause_is_no_step() {
        let sender = Sender { offset_s: 0.0, drift: 100e-6 };
        let mut clock = SenderClock::new();
        worst_ms(&mut clock, &sender, 0..4000);
        assert!(worst_ms(&mut clock, &sender, 5000..8000) < 3.0, "20 s later");
    }

    proptest! {
        #[test]
        fn no_time_lies_after_its_arrival(sent in prop::collection::vec(any::<u64>(), 1..200), gaps in prop::collection::vec(0..3_000_000_000_u64, 200)) {
            let (mut clock, mut now) = (SenderClock::new(), 0);
            for (sent, gap) in sent.into_iter().zip(gaps) {
                now += gap;
                let arrived = Instant::from_nanos(now);
                prop_assert!(clock.hears(sent, arrived).captured <= arrived);
            }
        }
    }
}
