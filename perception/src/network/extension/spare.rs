//! Memory of tensors that nobody needs any more, for the next ones of the same length.
//!
//! A training step makes and drops some hundred tensors of few lengths. Given back to the allocator, the large ones
//! would be zeroed, or fetched from the system page by page, before each is written over: all on one thread.
//! **Bound:** [`KEPT_MAX`] values; what is beyond is dropped. **Not protected against:** a caller that reads what it
//! was given before it has written it: old values stand there.

use std::collections::HashMap;

/// Values that are kept, at most: 1 GiB, the activations of some ten default volumes.
const KEPT_MAX: usize = 1 << 28;
/// A tensor of fewer values is left to the allocator, which does well with them.
const LENGTH_MIN: usize = 1 << 12;

/// Vectors by their length.
#[derive(Debug, Default)]
pub(super) struct Spare {
    by_length: HashMap<usize, Vec<Vec<f32>>>,
    kept: usize,
}

impl Spare {
    /// A vector of this length, of any values.
    pub fn take(&mut self, length: usize) -> Vec<f32> {
        match self.by_length.get_mut(&length).and_then(Vec::pop) {
            Some(values) => {
                self.kept -= length;
                values
            }
            None => vec![0.0; length],
        }
    }

    /// Keeps a vector that is no longer needed.
    pub fn give(&mut self, values: Vec<f32>) {
        let length = values.len();
        if length >= LENGTH_MIN && self.kept + length <= KEPT_MAX {
            self.kept += length;
            self.by_length.entry(length).or_default().push(values);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_is_taken_once() {
        let mut spare = Spare::default();
        assert_eq!(spare.take(LENGTH_MIN), vec![0.0; LENGTH_MIN]);
        spare.give(vec![3.0; LENGTH_MIN]);
        spare.give(vec![4.0; LENGTH_MIN - 1]);
        assert_eq!(spare.kept, LENGTH_MIN, "small ones are not kept");
        assert_eq!(spare.take(LENGTH_MIN + 1)[0], 0.0, "another length");
        assert_eq!(spare.take(LENGTH_MIN)[0], 3.0);
        assert_eq!((spare.take(LENGTH_MIN)[0], spare.kept), (0.0, 0));
    }

    #[test]
    fn no_more_is_kept_than_is_bound() {
        let mut spare = Spare { kept: KEPT_MAX - LENGTH_MIN, ..Spare::default() };
        spare.give(vec![1.0; LENGTH_MIN]);
        spare.give(vec![1.0; LENGTH_MIN]);
        assert_eq!((spare.kept, spare.by_length[&LENGTH_MIN].len()), (KEPT_MAX, 1));
    }
}
