//! A few threads that share the tasks of one job at a time.
//!
//! [`Pool::run`] hands out task numbers from a counter; the calling thread works too. Which thread does which task
//! is left to chance, so a task may write only what is its own: then results do not depend on the number of threads.
//! **Allocation:** in [`Pool::new`]; a job costs none. **Waiting:** workers spin for about 20 µs after a job, since
//! the next layer follows at once, and then sleep. **Not protected against:** a task that never ends, and a task
//! that calls `run` of its own pool, which would wait for itself.
#![expect(unsafe_code, reason = "a job borrows from its caller, whom the workers outlive")]

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Spins before a thread sleeps: about 20 µs.
const SPINS: usize = 1000;

/// Called with the worker's number, below [`Pool::threads`], and the task's.
type Body = dyn Fn(usize, usize) + Sync;

#[derive(Default)]
struct Board {
    job: Option<&'static Body>,
    tasks: usize,
    stop: bool,
    panic: Option<Box<dyn Any + Send>>,
}

#[derive(Default)]
struct Shared {
    board: Mutex<Board>,
    /// Counts jobs; the board is read after it has changed.
    turn: AtomicU64,
    next: AtomicUsize,
    /// Workers that have not left the job.
    busy: AtomicUsize,
    wake: Condvar,
    done: Condvar,
}

impl Shared {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, worker: usize, body: &(dyn Fn(usize, usize) + Sync), tasks: usize) {
        let result = catch_unwind(AssertUnwindSafe(|| {
            loop {
                let task = self.next.fetch_add(1, Ordering::Relaxed);
                if task >= tasks {
                    return;
                }
                body(worker, task);
            }
        }));
        if let Err(panic) = result {
            self.next.store(tasks, Ordering::Relaxed);
            self.board().panic.get_or_insert(panic);
        }
    }

    fn live(&self, worker: usize) {
        let mut seen = 0;
        loop {
            for _ in 0..SPINS {
                if self.turn.load(Ordering::Acquire) != seen {
                    break;
                }
                std::hint::spin_loop();
            }
            let mut board = self.board();
            while self.turn.load(Ordering::Acquire) == seen {
                board = self.wake.wait(board).unwrap_or_else(PoisonError::into_inner);
            }
            seen = self.turn.load(Ordering::Acquire);
            if board.stop {
                return;
            }
            let (job, tasks) = (board.job, board.tasks);
            drop(board);
            if let Some(body) = job {
                self.work(worker, body, tasks);
            }
            if self.busy.fetch_sub(1, Ordering::AcqRel) == 1 {
                let _board = self.board();
                self.done.notify_one();
            }
        }
    }
}

/// Threads for the engine's kernels. One job runs at a time; others wait for their turn.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    turn: Mutex<()>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("threads", &self.threads()).finish()
    }
}

impl Pool {
    /// `threads` in all, the caller of [`Pool::run`] among them; 0 counts as 1.
    ///
    /// # Errors
    /// When the system gives no more threads.
    pub fn new(threads: usize) -> std::io::Result<Self> {
        let mut pool = Self { shared: Arc::default(), workers: Vec::new(), turn: Mutex::new(()) };
        for worker in 1..threads.max(1) {
            let shared = Arc::clone(&pool.shared);
            let thread = std::thread::Builder::new().name(format!("engine-{worker}"));
            pool.workers.push(thread.spawn(move || shared.live(worker))?);
        }
        Ok(pool)
    }

    /// Threads that work on a job.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `body(worker, task)` once for each task below `tasks`, and returns when all are done.
    ///
    /// # Panics
    /// When a task panicked: with its own panic, after every thread has left the job.
    pub fn run(&self, tasks: usize, body: &(dyn Fn(usize, usize) + Sync)) {
        if self.workers.is_empty() || tasks <= 1 {
            (0..tasks).for_each(|task| body(0, task));
            return;
        }
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: only the lifetime is changed. Workers use `body` between the turn's change and their decrement of
        // `busy`; this function neither returns nor unwinds before `busy` is 0 and the board is cleared.
        let lasting: &'static Body =
            unsafe { std::mem::transmute::<&(dyn Fn(usize, usize) + Sync), &'static Body>(body) };
        let shared = &*self.shared;
        {
            let mut board = shared.board();
            (board.job, board.tasks) = (Some(lasting), tasks);
            shared.next.store(0, Ordering::Relaxed);
            shared.busy.store(self.workers.len(), Ordering::Relaxed);
            shared.turn.fetch_add(1, Ordering::AcqRel);
        }
        shared.wake.notify_all();
        shared.work(0, body, tasks);
        for _ in 0..SPINS {
            if shared.busy.load(Ordering::Acquire) == 0 {
                break;
            }
            std::hint::spin_loop();
        }
        let mut board = shared.board();
        while shared.busy.load(Ordering::Acquire) > 0 {
            board = shared.done.wait(board).unwrap_or_else(PoisonError::into_inner);
        }
        board.job = None;
        let panic = board.panic.take();
        drop(board);
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.board().stop = true;
        self.shared.turn.fetch_add(1, Ordering::AcqRel);
        {
            let _board = self.shared.board();
            self.shared.wake.notify_all();
        }
        for worker in self.workers.drain(..) {
            // A worker's panic was already given to the caller of `run`.
            let _ = worker.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn each_task_is_done_once_whatever_the_number_of_threads() {
        for threads in [0, 1, 2, 5] {
            let pool = Pool::new(threads).expect("threads");
            for tasks in [0, 1, 2, 7, 100] {
                let counts: Vec<AtomicU32> = (0..tasks).map(|_| AtomicU32::new(0)).collect();
                for _ in 0..50 {
                    pool.run(tasks, &|worker, task| {
                        assert!(worker < pool.threads());
                        counts[task].fetch_add(1, Ordering::Relaxed);
                    });
                }
                assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 50));
            }
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_works_on() {
        let pool = Pool::new(3).expect("threads");
        for round in 0..20 {
            let result = catch_unwind(AssertUnwindSafe(|| {
                pool.run(64, &|_, task| {
                    if task == 13 + round {
                        resume_unwind(Box::new(task));
                    }
                });
            }));
            let task = result.expect_err("a panic").downcast::<usize>().expect("of ours");
            assert_eq!(*task, 13 + round);
            let sum = AtomicU32::new(0);
            pool.run(10, &|_, task| {
                sum.fetch_add(task as u32, Ordering::Relaxed);
            });
            assert_eq!(sum.load(Ordering::Relaxed), 45);
        }
    }

    #[test]
    fn callers_take_turns() {
        let pool = Pool::new(2).expect("threads");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let sum = AtomicU32::new(0);
                        pool.run(8, &|_, task| {
                            sum.fetch_add(task as u32, Ordering::Relaxed);
                        });
                        assert_eq!(sum.load(Ordering::Relaxed), 28);
                    }
                });
            }
        });
    }
}
