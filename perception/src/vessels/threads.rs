//! Work in slabs, on a few threads.
//!
//! Every item's result depends on that item alone, so that the number of threads changes nothing. **Allocation:** the
//! results. Threads live as long as the call.

/// Fills `out`, in pieces of `length`; `work` hears which piece it fills. Pieces are dealt out in contiguous slabs.
pub(super) fn fill<T: Send>(threads: usize, out: &mut [T], length: usize, work: impl Fn(usize, &mut [T]) + Sync) {
    let slab = out.len().div_ceil(length).div_ceil(threads.max(1)).max(1);
    std::thread::scope(|scope| {
        for (n, part) in out.chunks_mut(slab * length).enumerate() {
            let work = &work;
            scope.spawn(move || part.chunks_mut(length).enumerate().for_each(|(i, piece)| work(n * slab + i, piece)));
        }
    });
}

/// What `work` makes of each number below `count`, in order.
pub(super) fn each<R: Send>(threads: usize, count: usize, work: impl Fn(usize) -> R + Sync) -> Vec<R> {
    let mut out: Vec<Option<R>> = (0..count).map(|_| None).collect();
    fill(threads, &mut out, 1, |n, place| place[0] = Some(work(n)));
    out.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_is_filled_once_whatever_the_number_of_threads() {
        for threads in [0, 1, 3, 50] {
            let mut out = vec![0; 23];
            fill(threads, &mut out, 5, |piece, part| part.iter_mut().for_each(|v| *v += piece + 1));
            let wanted: Vec<usize> = (0..23).map(|i| i / 5 + 1).collect();
            assert_eq!(out, wanted, "{threads} threads");
            assert_eq!(each(threads, 7, |n| n * n), [0, 1, 4, 9, 16, 25, 36]);
        }
        fill(2, &mut [0_u8; 0], 4, |_, _| unreachable!("nothing to fill"));
    }
}
