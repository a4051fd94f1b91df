//! Intraoperative MRI: from the scanner into the flow.
//!
//! ```text
//!  scans of one examination ─► its T1c is registered onto the one at rest ─► where tissue was; all brought back to rest ─► published
//! ```
//! **Nothing held is lost:** an examination that cannot be registered is told, and everybody goes on with the scan before.
//! **On the real clock** registration takes the better part of a minute, on one thread that yields to the flow's; in lock-step it is done
//! at once, and the surgeon's waiting stands for it.

pub mod folder;

use crate::events::Events;
use anyhow::{Context, ensure};
use bregma_core::flow::{Anatomy, Modality, Volume};
use bregma_core::time::Instant;
use bregma_core::topic::Publisher;
use bregma_perception::align::shift::{self, scanned};
use bregma_perception::register::scans::{self, Layers};
use bregma_perception::scan::Scan;
use nalgebra::Vector3;
use std::sync::Arc;
use std::thread::JoinHandle;

/// When registration is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Before [`Examinations::take`] returns.
    AtOnce,
    /// Beside the flow.
    Beside,
}

/// What became of an examination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It was published.
    Up,
    /// It could not be registered.
    Refused,
}

/// Scans brought back to rest, or why not.
type Brought = anyhow::Result<Vec<Volume>>;

/// Takes intraoperative examinations up.
pub struct Examinations {
    rest: Arc<Volume>,
    anatomy: Arc<Anatomy>,
    settings: shift::Settings,
    pace: Pace,
    out: Publisher<Arc<Volume>>,
    events: Events,
    under_way: Option<JoinHandle<Brought>>,
    done: Option<Brought>,
}

impl Examinations {
    /// Publishes the preoperative scans, one of which must be a T1c, and waits for others.
    ///
    /// # Errors
    /// When there is no T1c among them.
    pub fn after(
        preoperative: &[Arc<Volume>],
        anatomy: Arc<Anatomy>,
        mut out: Publisher<Arc<Volume>>,
        events: Events,
        pace: Pace,
    ) -> anyhow::Result<Self> {
        let rest = preoperative.iter().find(|v| v.modality == Modality::T1c).cloned();
        let rest = rest.context("there is no T1c among the preoperative scans")?;
        preoperative.iter().for_each(|volume| out.publish(Arc::clone(volume)));
        let settings = shift::Settings::default();
        Ok(Self { rest, anatomy, settings, pace, out, events, under_way: None, done: None })
    }

    /// Whether one is being registered.
    #[must_use]
    pub const fn busy(&self) -> bool {
        self.under_way.is_some() || self.done.is_some()
    }

    /// Takes an examination up; `up` is against gravity.
    ///
    /// # Errors
    /// While another one is under way, or when the system gives no thread.
    pub fn take(&mut self, scans: Vec<Volume>, up: Option<[f64; 3]>) -> anyhow::Result<()> {
        ensure!(!self.busy(), "another examination is being registered");
        let (rest, anatomy, settings) = (Arc::clone(&self.rest), Arc::clone(&self.anatomy), self.settings);
        let bring = move || bring(&settings, &rest, &anatomy, scans, up.map(Vector3::from));
        match self.pace {
            Pace::AtOnce => self.done = Some(bring()),
            Pace::Beside => {
                let thread = std::thread::Builder::new().name("examination".to_owned());
                self.under_way = Some(thread.spawn(move || alone(bring)).context("the system gave no thread")?);
            }
        }
        Ok(())
    }

    /// Publishes what was registered since; what became of it, once.
    pub fn look(&mut self, now: Instant) -> Option<Taken> {
        if let Some(thread) = self.under_way.take_if(|thread| thread.is_finished()) {
            let lost = || anyhow::anyhow!("the thread that registered it has panicked");
            self.done = Some(thread.join().unwrap_or_else(|_| Err(lost())));
        }
        match self.done.take()? {
            Ok(scans) => {
                let corridor = &self.anatomy.corridor;
                let shift = scans.iter().find_map(|scan| scan.shift.as_ref());
                let gone = |at| shift.map_or(0.0, |shift| nalgebra::distance(&shift.now(at), at));
                let contrasts: Vec<String> = scans.iter().map(|scan| format!("{:?}", scan.modality)).collect();
                let words = format!(
                    "the intraoperative scan is taken up ({}): tissue had gone {:.1} mm at the corridor's entry, {:.1} mm at its target",
                    contrasts.join(", "),
                    gone(&corridor.entry),
                    gone(&corridor.target)
                );
                self.events.say(now, words);
                scans.into_iter().for_each(|scan| self.out.publish(Arc::new(scan)));
                Some(Taken::Up)
            }
            Err(why) => {
                self.events
                    .say(now, format!("the intraoperative scan is not taken up, and the one before goes on: {why:#}"));
                Some(Taken::Refused)
            }
        }
    }
}

/// On one thread of its own that yields to others.
fn alone(bring: impl FnOnce() -> Brought + Send) -> Brought {
    use thread_priority::{ThreadPriority, set_current_thread_priority};
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).start_handler(|_| {
        // Where the system refuses, it runs as everything else does.
        let _ = set_current_thread_priority(ThreadPriority::Min);
    });
    pool.build().context("the system gave no thread")?.install(bring)
}

fn bring(
    settings: &shift::Settings,
    rest: &Arc<Volume>,
    anatomy: &Anatomy,
    scans: Vec<Volume>,
    up: Option<Vector3<f64>>,
) -> Brought {
    let scans: Vec<Arc<Volume>> = scans.into_iter().map(Arc::new).collect();
    let t1c = scans.iter().find(|scan| scan.modality == Modality::T1c);
    let t1c = t1c.context("there is no T1c among its scans, by which it would be registered")?;
    let (fixed, moving) = (Layers::of(t1c, "intraoperative")?, Layers::of(rest, "preoperative")?);
    let rigid = scans::rigid(&fixed, &moving, &|| ())?;
    let map = scans::deformable(&fixed, &moving, &rigid, &|| ())?.displacement;
    let shift = scanned::shift(settings, &map, &Scan::new(Arc::clone(rest))?, anatomy, up)?;
    let shift = Arc::new(shift);
    scans.iter().map(|scan| Ok(scanned::at_rest(scan, rest, &map, &shift)?)).collect()
}
