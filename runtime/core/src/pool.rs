//! Shared handles from a fixed store: one writer fills a slot, many readers hold it, nothing is allocated.
//!
//! **Allocation:** in [`Pool::new`] only. **Invariant:** a slot is written only while nobody holds it.
//! **Not protected against:** a reader that never lets go; the pool then runs dry, and says so.

use std::sync::Arc;

/// Every slot is held by a reader: the value cannot be published now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the pool `{name}` is dry: all {slots} slots are held by readers")]
pub struct PoolDry {
    /// The pool's name.
    pub name: &'static str,
    /// How many slots it has.
    pub slots: usize,
}

/// A fixed number of `T`, handed out one after the other as [`Arc`]s.
#[derive(Debug)]
pub struct Pool<T> {
    name: &'static str,
    slots: Vec<Arc<T>>,
    next: usize,
}

impl<T> Pool<T> {
    /// Makes all slots at once.
    ///
    /// # Panics
    /// With no slots.
    #[must_use]
    pub fn new(name: &'static str, slots: usize, mut make: impl FnMut() -> T) -> Self {
        assert!(slots > 0, "a pool needs a slot");
        Self { name, slots: (0..slots).map(|_| Arc::new(make())).collect(), next: 0 }
    }

    /// Fills a free slot and hands it out.
    ///
    /// # Errors
    /// [`PoolDry`] when every slot is still held.
    pub fn write(&mut self, fill: impl FnOnce(&mut T)) -> Result<Arc<T>, PoolDry> {
        match self.try_write(|slot| {
            fill(slot);
            Ok::<(), std::convert::Infallible>(())
        })? {
            Ok(handle) => Ok(handle),
            Err(never) => match never {},
        }
    }

    /// As [`write`](Self::write), where filling may fail; a slot that failed stays free.
    ///
    /// # Errors
    /// [`PoolDry`] when every slot is still held.
    pub fn try_write<E>(&mut self, fill: impl FnOnce(&mut T) -> Result<(), E>) -> Result<Result<Arc<T>, E>, PoolDry> {
        let slots = self.slots.len();
        for offset in 0..slots {
            let at = (self.next + offset) % slots;
            if let Some(slot) = Arc::get_mut(&mut self.slots[at]) {
                if let Err(why) = fill(slot) {
                    return Ok(Err(why));
                }
                self.next = (at + 1) % slots;
                return Ok(Ok(Arc::clone(&self.slots[at])));
            }
        }
        Err(PoolDry { name: self.name, slots })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_come_back_when_readers_let_go() {
        let mut pool = Pool::new("test", 2, || 0_u32);
        let a = pool.write(|v| *v = 1).expect("free");
        let b = pool.write(|v| *v = 2).expect("free");
        let dry = pool.write(|v| *v = 3).expect_err("both held");
        assert_eq!(dry.to_string(), "the pool `test` is dry: all 2 slots are held by readers");
        drop(a);
        let c = pool.write(|v| *v = 4).expect("one came back");
        assert_eq!((*b, *c), (2, 4));
    }

    #[test]
    fn a_slot_that_could_not_be_filled_stays_free() {
        let mut pool = Pool::new("test", 1, || 0_u32);
        assert_eq!(pool.try_write(|_| Err("no")).expect("free"), Err("no"));
        assert!(pool.write(|v| *v = 1).is_ok());
    }
}
