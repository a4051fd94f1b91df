//! What stands between the convolutions of a training step, on plain slices: statistics, norm with addition and ReLU,
//! their gradients, and channels put side by side. These layers do little with much memory, so each is one pass, or
//! two where sums must be known first.
//!
//! **Shapes:** `[N, C, V]`, V the voxels of a volume. **Order:** sums run by channel, volume by volume, in blocks of a
//! fixed length: results do not depend on the number of threads, nor, since nothing here is contracted to a fused
//! multiply and add, on the processor. **Allocation:** results by channel only. **Not protected against:** wrong
//! lengths; the caller has checked them.
#![expect(unsafe_code, reason = "the same safe loops, compiled for processors that are asked for first")]

use crate::engine::Isa;
use rayon::prelude::*;
use std::sync::OnceLock;

/// Values that a sum in f32 takes before it goes on in f64.
const BLOCK: usize = 4096;
/// Sums that run side by side in a block.
const LANES: usize = 32;
/// Values that are worth a task of their own.
const TASK: usize = 1 << 15;

/// Volumes, channels and voxels of `[N, C, V]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    pub volumes: usize,
    pub channels: usize,
    pub voxels: usize,
}

impl Extent {
    const fn count(self) -> f64 {
        (self.volumes * self.voxels) as f64
    }

    /// The values of one channel, volume by volume.
    fn of_channel(self, x: &[f32], channel: usize) -> impl Iterator<Item = &[f32]> {
        (0..self.volumes).map(move |volume| &x[(volume * self.channels + channel) * self.voxels..][..self.voxels])
    }

    fn by_channel<R: Send>(self, make: impl Fn(usize) -> R + Sync + Send) -> Vec<R> {
        let least = TASK.div_ceil((self.volumes * self.voxels).max(1));
        (0..self.channels).into_par_iter().with_min_len(least).map(make).collect()
    }

    /// Volumes of one channel worth a task.
    fn slabs(self) -> usize {
        TASK.div_ceil(self.voxels.max(1))
    }
}

/// Runs a loop compiled for this processor.
#[inline(always)]
fn fast<R>(work: impl FnOnce() -> R) -> R {
    static ISA: OnceLock<Isa> = OnceLock::new();
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
        fn on_avx512<R>(work: impl FnOnce() -> R) -> R {
            work()
        }
        #[target_feature(enable = "avx2,fma")]
        fn on_avx2<R>(work: impl FnOnce() -> R) -> R {
            work()
        }
        match ISA.get_or_init(Isa::detect) {
            // SAFETY: detected on this processor.
            Isa::Avx512 => return unsafe { on_avx512(work) },
            // SAFETY: detected on this processor.
            Isa::Avx2 => return unsafe { on_avx2(work) },
            Isa::Portable => {}
        }
    }
    work()
}

/// Sums of `terms` over slices of the same length, block by block.
#[inline(always)]
fn sums<const S: usize, const T: usize>(slices: [&[f32]; S], terms: impl Fn([f32; S]) -> [f32; T]) -> [f64; T] {
    let mut total = [0.0; T];
    let length = slices[0].len();
    for start in (0..length).step_by(BLOCK) {
        let block = slices.map(|s| &s[start..(start + BLOCK).min(length)]);
        let (mut lanes, whole) = ([[0.0_f32; LANES]; T], block[0].len() / LANES * LANES);
        for at in (0..whole).step_by(LANES) {
            let values: [&[f32; LANES]; S] = block.map(|s| s[at..].first_chunk().expect("a whole one"));
            for lane in 0..LANES {
                let term = terms(values.map(|v| v[lane]));
                for t in 0..T {
                    lanes[t][lane] += term[t];
                }
            }
        }
        for at in whole..block[0].len() {
            let term = terms(block.map(|s| s[at]));
            for t in 0..T {
                lanes[t][at - whole] += term[t];
            }
        }
        for t in 0..T {
            total[t] += lanes[t].iter().map(|v| f64::from(*v)).sum::<f64>();
        }
    }
    total
}

/// Mean and variance by channel. Values are taken relative to the channel's first, so that a mean far from 0 costs
/// the variance no digits.
pub(super) fn statistics(x: &[f32], extent: Extent) -> (Vec<f32>, Vec<f32>) {
    let of = |channel| {
        let first = extent.of_channel(x, channel).next().and_then(|s| s.first()).copied().unwrap_or(0.0);
        let (mut sum, mut squares) = (0.0, 0.0);
        for slab in extent.of_channel(x, channel) {
            let [s, q] = fast(|| {
                sums([slab], |[v]| {
                    let d = v - first;
                    [d, d * d]
                })
            });
            (sum, squares) = (sum + s, squares + q);
        }
        let mean = sum / extent.count();
        ((f64::from(first) + mean) as f32, (squares / extent.count() - mean * mean).max(0.0) as f32)
    };
    extent.by_channel(of).into_iter().unzip()
}

/// Sums by channel.
pub(super) fn channel_sums(x: &[f32], extent: Extent) -> Vec<f32> {
    extent.by_channel(|channel| {
        extent.of_channel(x, channel).map(|slab| fast(|| sums([slab], |v| v))[0]).sum::<f64>() as f32
    })
}

/// The larger of the two, or the value that is no number: a training that has failed must show it.
#[inline(always)]
fn above(floor: f32, value: f32) -> f32 {
    if value < floor { floor } else { value }
}

/// `out = scale x + shift`, plus `add`, and a ReLU, if wanted.
pub(super) fn normalise(
    x: &[f32],
    extent: Extent,
    (scale, shift): (&[f32], &[f32]),
    add: Option<&[f32]>,
    rectified: bool,
    out: &mut [f32],
) {
    let floor = if rectified { 0.0 } else { f32::NEG_INFINITY };
    out.par_chunks_mut(extent.voxels).enumerate().with_min_len(extent.slabs()).for_each(|(slab, out)| {
        let (range, channel) = (slab * extent.voxels..(slab + 1) * extent.voxels, slab % extent.channels);
        let (x, scale, shift) = (&x[range.clone()], scale[channel], shift[channel]);
        match add.map(|add| &add[range]) {
            None => fast(|| {
                for (out, x) in out.iter_mut().zip(x) {
                    *out = above(floor, x * scale + shift);
                }
            }),
            Some(add) => fast(|| {
                for ((out, x), add) in out.iter_mut().zip(x).zip(add) {
                    *out = above(floor, x * scale + shift + add);
                }
            }),
        }
    });
}

/// By channel: the sum of the gradient behind the ReLU, and that of its product with the normalised input. `y` is
/// the output where a ReLU made it; where it is above 0, or no number, the gradient was let through.
pub(super) fn gradient_sums(
    x: &[f32],
    y: Option<&[f32]>,
    gradient: &[f32],
    extent: Extent,
    (mean, inverse): (&[f32], &[f32]),
) -> (Vec<f32>, Vec<f32>) {
    let of = |channel| {
        let (mean, mut beta, mut gamma) = (mean[channel], 0.0, 0.0);
        for volume in 0..extent.volumes {
            let at = (volume * extent.channels + channel) * extent.voxels;
            let slab = at..at + extent.voxels;
            let (x, gradient) = (&x[slab.clone()], &gradient[slab.clone()]);
            let [b, c] = match y {
                None => fast(|| sums([x, gradient], |[x, g]| [g, g * (x - mean)])),
                Some(y) => fast(|| {
                    sums([x, &y[slab], gradient], |[x, y, g]| {
                        let g = through(y, g);
                        [g, g * (x - mean)]
                    })
                }),
            };
            (beta, gamma) = (beta + b, gamma + c);
        }
        (beta as f32, (gamma * f64::from(inverse[channel])) as f32)
    };
    extent.by_channel(of).into_iter().unzip()
}

/// The gradient that a ReLU lets through.
#[inline(always)]
fn through(y: f32, gradient: f32) -> f32 {
    if y <= 0.0 { 0.0 } else { gradient }
}

/// `a g + b x + c` by channel, `g` what the ReLU let through: the gradient of a norm's input.
#[derive(Debug)]
pub(super) struct Slope {
    pub a: Vec<f32>,
    pub b: Vec<f32>,
    pub c: Vec<f32>,
}

/// The gradient of a norm's input takes the place of that of its output.
pub(super) fn gradient_in_place(x: &[f32], y: Option<&[f32]>, gradient: &mut [f32], extent: Extent, slope: &Slope) {
    gradient.par_chunks_mut(extent.voxels).enumerate().with_min_len(extent.slabs()).for_each(|(slab, gradient)| {
        let (range, channel) = (slab * extent.voxels..(slab + 1) * extent.voxels, slab % extent.channels);
        let (a, b, c) = (slope.a[channel], slope.b[channel], slope.c[channel]);
        let x = &x[range.clone()];
        match y.map(|y| &y[range]) {
            None => fast(|| {
                for (g, x) in gradient.iter_mut().zip(x) {
                    *g = a * *g + b * x + c;
                }
            }),
            Some(y) => fast(|| {
                for ((g, x), y) in gradient.iter_mut().zip(x).zip(y) {
                    *g = a * through(*y, *g) + b * x + c;
                }
            }),
        }
    });
}

/// As [`gradient_in_place`], behind a ReLU, with the gradient of a norm's input in `out`; what the ReLU let through,
/// the gradient of what was added, takes the place of that of the output.
pub(super) fn gradients_in_place(
    x: &[f32],
    y: &[f32],
    gradient: &mut [f32],
    extent: Extent,
    slope: &Slope,
    out: &mut [f32],
) {
    let both = gradient.par_chunks_mut(extent.voxels).zip(out.par_chunks_mut(extent.voxels));
    both.enumerate().with_min_len(extent.slabs()).for_each(|(slab, (gradient, out))| {
        let (range, channel) = (slab * extent.voxels..(slab + 1) * extent.voxels, slab % extent.channels);
        let (a, b, c) = (slope.a[channel], slope.b[channel], slope.c[channel]);
        let (x, y) = (&x[range.clone()], &y[range]);
        fast(|| {
            for (((g, out), x), y) in gradient.iter_mut().zip(out).zip(x).zip(y) {
                *g = through(*y, *g);
                *out = a * *g + b * x + c;
            }
        });
    });
}

/// Puts `count` channels of each volume from `first` on in `from`, which has `extent`, to `to_first` on in `to`, which
/// has `to_channels`.
pub(super) fn copy_channels(
    from: &[f32],
    extent: Extent,
    (first, count): (usize, usize),
    to: &mut [f32],
    (to_channels, to_first): (usize, usize),
) {
    let voxels = extent.voxels;
    to.par_chunks_mut(voxels).enumerate().with_min_len(extent.slabs()).for_each(|(slab, to)| {
        let (volume, channel) = (slab / to_channels, slab % to_channels);
        if (to_first..to_first + count).contains(&channel) {
            let channel = volume * extent.channels + first + channel - to_first;
            to.copy_from_slice(&from[channel * voxels..(channel + 1) * voxels]);
        }
    });
}
