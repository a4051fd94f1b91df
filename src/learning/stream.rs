//! Sequences without end, made on several threads and handed out in one order.
//!
//! `abreast` tables play one visit after the other; sequence n comes from table n mod `abreast`, so the order
//! does not depend on threads. A thread serves its tables in turn through channels that hold a few sequences
//! each: whoever does not take them stops the work, and memory is bounded by `abreast` theatres and nine
//! sequences a table. **No deadlock:** a thread makes its sequences in the order in which they are asked for.

use super::patients::Patients;
use super::visit::Visit;
use super::{Sequence, Settings};
use crate::config::Config;
use anyhow::{Context, anyhow};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Sequences that wait at a table: so many that none is waited for while a table sets up its next theatre.
const WAITING: usize = 8;

/// The sequences of some patients.
pub struct Stream {
    /// `None` once it ends.
    tables: Option<Vec<Receiver<anyhow::Result<Sequence>>>>,
    threads: Vec<JoinHandle<()>>,
    number: u64,
}

/// Visits one after the other.
struct Table {
    config: Arc<Config>,
    patients: Arc<Patients>,
    settings: Settings,
    /// Of the next sequence.
    number: u64,
    /// Of the next visit.
    visit: u64,
    playing: Option<Visit>,
    to: SyncSender<anyhow::Result<Sequence>>,
}

impl Stream {
    /// Starts `threads` threads.
    ///
    /// # Errors
    /// When a setting is refused or the system gives no thread.
    pub fn start(config: Config, patients: Patients, settings: &Settings, threads: usize) -> anyhow::Result<Self> {
        settings.check()?;
        let (config, patients) = (Arc::new(config), Arc::new(patients));
        let threads = threads.clamp(1, settings.abreast);
        let mut shares: Vec<Vec<Table>> = (0..threads).map(|_| Vec::new()).collect();
        let mut tables = Vec::with_capacity(settings.abreast);
        for nth in 0..settings.abreast {
            let (to, from) = sync_channel(WAITING);
            tables.push(from);
            shares[nth % threads].push(Table {
                config: Arc::clone(&config),
                patients: Arc::clone(&patients),
                settings: settings.clone(),
                number: nth as u64,
                visit: nth as u64,
                playing: None,
                to,
            });
        }
        let serve = |mut tables: Vec<Table>| {
            let name = format!("learning {}", tables.first().map_or(0, |t| t.number));
            std::thread::Builder::new()
                .name(name)
                .spawn(move || while tables.iter_mut().all(Table::serve) {})
                .context("the system gave no thread for learning")
        };
        let threads = shares.into_iter().map(serve).collect::<anyhow::Result<_>>()?;
        Ok(Self { tables: Some(tables), threads, number: 0 })
    }

    /// The next sequence; waits for it.
    ///
    /// # Errors
    /// When it could not be made. None follows.
    pub fn next(&mut self) -> anyhow::Result<Sequence> {
        let tables = self.tables.as_ref().context("the stream has ended")?;
        let table = &tables[(self.number % tables.len() as u64) as usize];
        self.number += 1;
        let made = table.recv().unwrap_or_else(|_| Err(anyhow!("a thread that makes sequences has ended")));
        if made.is_err() {
            self.tables = None;
        }
        made
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Threads end when nobody listens any more.
        self.tables = None;
        for thread in self.threads.drain(..) {
            // One that panicked has said so; its sequences were refused above.
            let _ = thread.join();
        }
    }
}

impl Table {
    /// Makes one sequence and waits until there is room for it; whether to go on.
    fn serve(&mut self) -> bool {
        let made = self.make();
        let sound = made.is_ok();
        self.to.send(made).is_ok() && sound
    }

    fn make(&mut self) -> anyhow::Result<Sequence> {
        let mut visit = match self.playing.take().filter(|visit| !visit.ended()) {
            Some(visit) => visit,
            None => {
                let visit = Visit::new(&self.config, &self.patients, &self.settings, self.visit)?;
                self.visit += self.settings.abreast as u64;
                visit
            }
        };
        let sequence = visit.next(self.number)?;
        self.number += self.settings.abreast as u64;
        self.playing = Some(visit);
        Ok(sequence)
    }
}
