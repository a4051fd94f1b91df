//! The runners on a small stage of their own.

use super::lockstep::LockStep;
use super::threaded::Threaded;
use super::*;
use crate::lane::Overflow;
use crate::stage::Latest;
use crate::time::{RealClock, SimClock};
use crate::topic::{Publisher, Subscriber};

/// Doubles numbers; panics at 13, fails at 7.
struct Double;

#[derive(Debug, thiserror::Error)]
#[error("seven")]
struct Seven;

impl Stage for Double {
    type In = Latest<u64>;
    type Out = Option<u64>;
    type Fault = Seven;
    const NAME: &'static str = "double";
    const BUDGET: Duration = Duration::from_millis(200);

    fn step(&mut self, _now: Instant, input: &Self::In, out: &mut Self::Out) -> Result<(), Seven> {
        match input.get() {
            Some(7) => Err(Seven),
            Some(13) => panic!("thirteen"),
            other => {
                *out = other.map(|n| n * 2);
                Ok(())
            }
        }
    }
}

struct DoublePorts {
    numbers: Subscriber<u64>,
    doubled: Publisher<u64>,
    steps: Arc<std::sync::Mutex<Vec<StepRecord>>>,
}

impl Ports<Double> for DoublePorts {
    fn fill(&mut self, _now: Instant, input: &mut Latest<u64>, saw: &mut SawAll) {
        input.fill(&mut self.numbers, saw);
    }
    fn pending(&self) -> bool {
        self.numbers.pending()
    }
    fn publish(&mut self, _now: Instant, out: &mut Option<u64>) {
        if let Some(value) = out.take() {
            self.doubled.publish(value);
        }
    }
    fn wakes(&mut self, wake: &Arc<Wake>) {
        self.numbers.wakes(wake);
    }
    fn record(&mut self, step: &StepRecord) {
        self.steps.lock().expect("no panic").push(*step);
    }
}

type Steps = Arc<std::sync::Mutex<Vec<StepRecord>>>;

fn node(latches: &Latches) -> (Publisher<u64>, Node<Double, DoublePorts>, Subscriber<u64>, Steps) {
    let mut numbers = Publisher::new(1, "numbers");
    let mut doubled = Publisher::new(2, "doubled");
    let steps = Steps::default();
    let out = doubled.subscribe("doubled to test", 8, Overflow::Refuse);
    let ports = DoublePorts {
        numbers: numbers.subscribe("numbers to double", 8, Overflow::Refuse),
        doubled,
        steps: Arc::clone(&steps),
    };
    let node = Node::new(Double, ports, Latest::default(), None, Trigger::OnInput, OnOverrun::Count, latches.clone());
    (numbers, node, out, steps)
}

#[test]
fn lock_step_steps_what_is_due_and_records_what_it_saw() {
    let clock = SimClock::new();
    let (mut numbers, node, mut out, steps) = node(&Latches::default());
    let mut runner = LockStep::new(clock.clone());
    runner.add(node);
    runner.settle().expect("settles");
    assert!(steps.lock().expect("no panic").is_empty(), "nothing was due");
    clock.advance(Duration::from_millis(3));
    numbers.publish(5);
    runner.settle().expect("settles");
    assert_eq!(out.take().map(|n| n.value), Some(10));
    let step = steps.lock().expect("no panic")[0];
    assert_eq!((step.stage, step.index, step.now), ("double", 1, Instant::from_nanos(3_000_000)));
    assert_eq!(step.saw.as_slice(), [crate::stage::Saw { topic: 1, first: 1, last: 1 }]);
}

#[test]
fn a_panic_is_latched_and_the_stage_goes_on() {
    let latches = Latches::default();
    let (mut numbers, node, mut out, steps) = node(&latches);
    let stats = node.stats();
    let mut runner = LockStep::new(SimClock::new());
    runner.add(node);
    for n in [13, 7, 4] {
        numbers.publish(n);
        runner.settle().expect("settles");
    }
    assert_eq!(out.take().map(|n| n.value), Some(8));
    assert_eq!(stats.panics.load(Ordering::Relaxed), 1);
    assert_eq!(stats.faults.load(Ordering::Relaxed), 1);
    assert_eq!(latches.read(), Latched::default().with(Reason::StagePanicked).with(Reason::StageFaulted));
    assert!(steps.lock().expect("no panic")[0].panicked);
}

#[test]
fn threads_wake_for_every_message_and_end_when_told() {
    let (mut numbers, node, mut out, _) = node(&Latches::default());
    let wake = Arc::new(Wake::new());
    wake.bind();
    out.wakes(&wake);
    let mut runner = Threaded::new(RealClock::start());
    runner.spawn(node).expect("a thread");
    for n in 20..120 {
        numbers.publish(n);
        // A wait may end early; 200 waits of 50 ms are far more than a message needs.
        let answer = (0..200).find_map(|_| {
            let answer = out.take();
            if answer.is_none() {
                wake.wait(100, Some(std::time::Duration::from_millis(50)));
            }
            answer
        });
        let answer = answer.expect("an answer").value;
        assert_eq!(answer, n * 2);
    }
    runner.end();
}

/// Ticks by time, counts, and takes the count back when it was late.
struct Tick(u64);

impl Stage for Tick {
    type In = ();
    type Out = Option<u64>;
    type Fault = Seven;
    const NAME: &'static str = "tick";
    const BUDGET: Duration = Duration::from_nanos(0);

    fn step(&mut self, _now: Instant, (): &(), out: &mut Option<u64>) -> Result<(), Seven> {
        self.0 += 1;
        *out = Some(self.0);
        Ok(())
    }

    fn overran(&mut self, out: &mut Option<u64>) {
        self.0 -= 1;
        *out = None;
    }
}

struct TickPorts(Steps, Arc<std::sync::Mutex<Vec<Option<u64>>>>);

impl Ports<Tick> for TickPorts {
    fn fill(&mut self, _now: Instant, (): &mut (), _saw: &mut SawAll) {}
    fn pending(&self) -> bool {
        false
    }
    fn publish(&mut self, _now: Instant, out: &mut Option<u64>) {
        self.1.lock().expect("no panic").push(out.take());
    }
    fn wakes(&mut self, _wake: &Arc<Wake>) {}
    fn record(&mut self, step: &StepRecord) {
        self.0.lock().expect("no panic").push(*step);
    }
}

#[test]
fn over_budget_is_counted_and_latched_where_it_must_be() {
    let latches = Latches::default();
    let steps = Steps::default();
    let every = Trigger::Every(Duration::from_millis(4));
    let published = Arc::default();
    let ports = TickPorts(Arc::clone(&steps), Arc::clone(&published));
    let mut node = Node::new(Tick(0), ports, (), None, every, OnOverrun::LatchHold, latches.clone());
    let clock = RealClock::start();
    node.step(Instant::START, Timing::Simulated(&clock));
    assert_eq!(latches.read(), Latched::default(), "on a simulated clock it is only reported");
    assert_eq!(*published.lock().expect("no panic"), [Some(1)]);
    node.step(Instant::from_nanos(4_000_000), Timing::Real(&clock));
    assert_eq!(latches.read(), Latched::default().with(Reason::GateOverran));
    assert_eq!(*published.lock().expect("no panic"), [Some(1), None], "the stage took it back");
    assert_eq!(node.stats().overruns.load(Ordering::Relaxed), 2);
    assert_eq!(node.next_due(), Some(Instant::from_nanos(8_000_000)));
    node.step(Instant::from_nanos(20_000_000), Timing::Real(&clock));
    assert_eq!(node.stats().missed.load(Ordering::Relaxed), 1);
    assert_eq!(node.next_due(), Some(Instant::from_nanos(24_000_000)));
}
