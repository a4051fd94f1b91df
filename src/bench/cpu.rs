//! What a thread spends of the processor, and what the process holds of memory, as Linux counts them.

use bregma_core::time::{Clock, Duration, RealClock};

/// Processor time and time of one piece of work.
#[derive(Debug, Clone, Copy)]
pub struct Spent {
    /// Of the calling thread.
    pub cpu: Duration,
    /// By the clock.
    pub wall: Duration,
}

/// Does some work and says what it took.
pub fn spent<T>(clock: &RealClock, work: impl FnOnce() -> T) -> (T, Spent) {
    let (cpu, wall) = (of_this_thread(), clock.now());
    let done = work();
    let between = |from: u64, to: u64| Duration::from_nanos(to.saturating_sub(from));
    let spent = Spent { cpu: between(cpu, of_this_thread()), wall: clock.now().since(wall).unwrap_or(Duration::ZERO) };
    (done, spent)
}

/// Processor time of the calling thread since it began, ns.
///
/// By `schedstat`, which counts nanoseconds; where the kernel keeps none, by `stat`, which counts hundredths of
/// a second.
#[must_use]
pub fn of_this_thread() -> u64 {
    let fine = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let fine = fine.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok()).filter(|ns| *ns > 0);
    fine.unwrap_or_else(ticks_of_this_thread)
}

fn ticks_of_this_thread() -> u64 {
    // Fields 14 and 15 of the thread's stat, user and system time in clock ticks, of which Linux has 100 a
    // second on every platform that this runs on.
    const TICK_NS: u64 = 10_000_000;
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = after_name.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<u64>().ok()).sum();
    ticks * TICK_NS
}

/// Processor time of the whole machine, and of this process with all of its children that have ended, ticks.
#[derive(Debug, Clone, Copy)]
pub struct Busy {
    all: u64,
    idle: u64,
    own: u64,
}

impl Busy {
    /// So far; `None` where Linux does not say.
    #[must_use]
    pub fn now() -> Option<Self> {
        let numbers = |text: &str, skip: usize, take: usize| -> Vec<u64> {
            text.split_whitespace().skip(skip).take(take).filter_map(|n| n.parse().ok()).collect()
        };
        // user nice system idle iowait irq softirq steal
        let stat = std::fs::read_to_string("/proc/stat").ok()?;
        let machine = numbers(stat.lines().next()?, 1, 8);
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // Fields 14 to 17: user and system time of the process and of children that were waited for.
        let own = numbers(stat.rsplit(')').next()?, 11, 4);
        let idle = machine.get(3)? + machine.get(4)?;
        (own.len() == 4).then(|| Self { all: machine.iter().sum(), idle, own: own.iter().sum() })
    }

    /// Processor time of this process, all threads, since `earlier`, s; in steps of 10 ms.
    #[must_use]
    pub fn own_since_s(self, earlier: Self) -> f64 {
        // Linux has 100 ticks a second on every platform that this runs on.
        self.own.saturating_sub(earlier.own) as f64 * 0.01
    }

    /// Share of the machine that others have used since `earlier`.
    #[must_use]
    pub fn others_since(self, earlier: Self) -> Option<f64> {
        let all = self.all.checked_sub(earlier.all).filter(|all| *all > 0)?;
        let idle_and_own = self.idle.saturating_sub(earlier.idle) + self.own.saturating_sub(earlier.own);
        Some(all.saturating_sub(idle_and_own) as f64 / all as f64)
    }
}

/// What the process holds in memory, MB; `None` where Linux does not say.
#[must_use]
pub fn resident_mb() -> Option<f64> {
    status_mb("VmRSS:")
}

/// The most that the process has ever held in memory, MB; `None` where Linux does not say.
#[must_use]
pub fn most_resident_mb() -> Option<f64> {
    status_mb("VmHWM:")
}

fn status_mb(key: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let kb: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kb * 1024.0 * 1e-6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threads_own_time_is_counted_and_no_more() {
        let clock = RealClock::start();
        let (_, spun) = spent(&clock, || {
            let mut turns = 0_u64;
            while clock.now().secs_f64() < 0.2 {
                turns = std::hint::black_box(turns + 1);
            }
        });
        assert!(spun.cpu.secs_f64() > 0.02, "{spun:?}");
        assert!(spun.cpu.secs_f64() < spun.wall.secs_f64() + 0.03, "{spun:?}");
        let (_, waited) = spent(&clock, || bregma_core::time::pause(Duration::from_millis(150)));
        assert!(waited.wall.secs_f64() > 0.14 && waited.cpu.secs_f64() < 0.1, "{waited:?}");
    }

    #[test]
    fn what_others_use_is_what_is_neither_idle_nor_ours() {
        let before = Busy { all: 1000, idle: 400, own: 50 };
        let after = Busy { all: 1200, idle: 450, own: 100 };
        assert_eq!(after.others_since(before).map(|share| share.to_string()).as_deref(), Some("0.5"));
        assert!(before.others_since(before).is_none() && Busy::now().is_some());
    }

    #[test]
    fn memory_that_is_held_is_seen() {
        // Other tests give memory back at the same time, so only what is surely held counts.
        let held = std::hint::black_box(vec![1_u8; 64 << 20]);
        let resident = resident_mb().expect("Linux says");
        assert!(resident > 64.0 && resident < 1e5, "{resident} MB with {} bytes held", held.len());
        let most = most_resident_mb().expect("Linux says");
        assert!((64.0..1e5).contains(&most), "{most} MB at most");
    }
}
