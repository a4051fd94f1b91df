//! What real scans suffer and a lesson's do not: other gains, noise, shading, thick slices, ghosts, spikes, voids.
//!
//! A scan is the same in all frames of a lesson, so that what is done to it is too. A channel without a scan, which is 0
//! throughout, stays so. **Units:** z-scores of brain, in which align gives scans.

use super::lesson::Lesson;
use crate::network::Random;
use crate::perceive::inputs::{INPUTS, PRIOR};
use bregma_core::flow::roi_channel::SCANS;
use serde::{Deserialize, Serialize};
use std::f32::consts::TAU;

/// How much at most, and in which share of scans.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disturbing {
    /// Gain by up to e to this, either way.
    pub gain: f32,
    /// Offset by up to that.
    pub offset: f32,
    /// Contrast bent by up to that share at 3 z-scores.
    pub bend: f32,
    /// Standard deviation of noise, at most.
    pub noise: f32,
    /// Shading by up to e to this, either way.
    pub shading: f32,
    /// Share of scans with slices of 2 to 4 voxels.
    pub thick: f64,
    /// Share with a ghost of the head along an axis, as when it moved.
    pub ghost: f64,
    /// Share with stripes, as of one wrong value in frequency space.
    pub spike: f64,
    /// Share with a place without signal, as beside metal or air.
    pub void: f64,
    /// Share of lessons whose prior is taken away.
    pub no_prior: f64,
}

impl Default for Disturbing {
    fn default() -> Self {
        Self {
            gain: 0.25,
            offset: 0.25,
            bend: 0.15,
            noise: 0.2,
            shading: 0.25,
            thick: 0.25,
            ghost: 0.08,
            spike: 0.05,
            void: 0.05,
            no_prior: 0.1,
        }
    }
}

impl Disturbing {
    /// Nothing at all.
    pub const NONE: Self = Self {
        gain: 0.0,
        offset: 0.0,
        bend: 0.0,
        noise: 0.0,
        shading: 0.0,
        thick: 0.0,
        ghost: 0.0,
        spike: 0.0,
        void: 0.0,
        no_prior: 0.0,
    };

    pub(super) const fn shares(&self) -> [(&'static str, f64); 5] {
        [
            ("disturbing.thick", self.thick),
            ("disturbing.ghost", self.ghost),
            ("disturbing.spike", self.spike),
            ("disturbing.void", self.void),
            ("disturbing.no_prior", self.no_prior),
        ]
    }

    /// Does it to the scans of one frame, `[C, E, E, E]`, as a seed draws it.
    ///
    /// # Panics
    /// With fewer values.
    pub fn disturb(&self, channels: &mut [f32], edge: usize, seed: u64) {
        let (mut random, voxels) = (Random::new(seed), edge.pow(3));
        for channel in SCANS {
            let values = &mut channels[channel * voxels..][..voxels];
            if values.iter().any(|v| *v != 0.0) {
                Scan::drawn(self, edge, &mut random).apply(edge, values);
            }
        }
    }

    /// Does it to a lesson's scans.
    pub(super) fn apply(&self, lesson: &mut Lesson, random: &mut Random) {
        let (edge, voxels) = (lesson.edge, lesson.voxels());
        if random.share() < self.no_prior {
            let frames = lesson.channels.chunks_exact_mut(INPUTS * voxels);
            frames.for_each(|frame| frame[PRIOR * voxels..].fill(0.0));
        }
        for channel in SCANS {
            let start = |frame: usize| (frame * INPUTS + channel) * voxels;
            if lesson.channels[start(0)..][..voxels].iter().all(|v| *v == 0.0) {
                continue;
            }
            let scan = Scan::drawn(self, edge, random);
            for frame in 0..lesson.frames {
                scan.apply(edge, &mut lesson.channels[start(frame)..][..voxels]);
            }
        }
    }
}

/// What is done to one scan.
struct Scan {
    gain: f32,
    offset: f32,
    bend: f32,
    /// Of each voxel: what it is multiplied with, and what is added.
    times: Vec<f32>,
    plus: Vec<f32>,
    /// Axis and voxels of a slice.
    thick: Option<(usize, usize)>,
    /// Axis, voxels aside, share.
    ghost: Option<(usize, usize, f32)>,
}

impl Scan {
    fn drawn(how: &Disturbing, edge: usize, random: &mut Random) -> Self {
        let voxels = edge.pow(3);
        let noise = how.noise * random.share() as f32;
        let shading = how.shading * random.next();
        let waves = [0, 1, 2].map(|_| [random.share() as f32 * TAU, 0.3 + 0.7 * random.share() as f32]);
        let spike = (random.share() < how.spike).then(|| {
            let along = [0, 1, 2].map(|_| 0.5 * TAU * random.next());
            (along, 0.1 + 0.3 * random.share() as f32)
        });
        let void = (random.share() < how.void).then(|| {
            let middle = [0, 1, 2].map(|_| edge as f32 * random.share() as f32);
            (middle, 3.0 + 7.0 * random.share() as f32)
        });
        let (mut times, mut plus) = (Vec::with_capacity(voxels), Vec::with_capacity(voxels));
        // A sum of one wave along each axis.
        let wave = |[phase, turns]: [f32; 2], c: usize| libm::cosf(phase + turns * TAU * c as f32 / edge as f32);
        let waves = waves.map(|of| (0..edge).map(|c| libm::expf(shading * wave(of, c) / 3.0)).collect::<Vec<_>>());
        let mut noises = [0.0; 2];
        for i in 0..voxels {
            let place = [i % edge, i / edge % edge, i / (edge * edge)];
            let at = place.map(|c| c as f32);
            let mut time = waves[0][place[0]] * waves[1][place[1]] * waves[2][place[2]];
            if let Some((middle, radius)) = void {
                let far = (0..3).map(|a| (at[a] - middle[a]).powi(2)).sum::<f32>().sqrt() / radius;
                time *= 1.0 - 0.9 * libm::expf(-far * far);
            }
            let stripe = spike.map_or(0.0, |(along, by)| by * libm::cosf((0..3).map(|a| along[a] * at[a]).sum()));
            if i % 2 == 0 {
                noises = random.normals();
            }
            times.push(time);
            plus.push(stripe + noise * noises[i % 2]);
        }
        Self {
            gain: libm::expf(how.gain * random.next()),
            offset: how.offset * random.next(),
            bend: how.bend * random.next(),
            times,
            plus,
            thick: (random.share() < how.thick).then(|| (random.below(3), 2 + random.below(3))),
            ghost: (random.share() < how.ghost)
                .then(|| (random.below(3), edge / 4 + random.below(edge / 4), 0.1 + 0.2 * random.share() as f32)),
        }
    }

    fn apply(&self, edge: usize, values: &mut [f32]) {
        if let Some((axis, by, share)) = self.ghost {
            let step = [1, edge, edge * edge][axis];
            let before = values.to_vec();
            for (i, value) in values.iter_mut().enumerate() {
                let from = (i / step % edge + by) % edge;
                *value += share * before[i - i / step % edge * step + from * step];
            }
        }
        if let Some((axis, voxels)) = self.thick {
            let step = [1, edge, edge * edge][axis];
            let before = values.to_vec();
            for (i, value) in values.iter_mut().enumerate() {
                let at = i / step % edge;
                let first = at / voxels * voxels;
                let slice = first..(first + voxels).min(edge);
                let n = slice.len() as f32;
                *value = slice.map(|c| before[i - at * step + c * step]).sum::<f32>() / n;
            }
        }
        for (value, (times, plus)) in values.iter_mut().zip(self.times.iter().zip(&self.plus)) {
            let bent = *value + self.bend * *value * *value / 3.0;
            *value = self.gain * bent * times + self.offset + plus;
        }
    }
}

/// The sign of a gradient times `by` where there is a scan, `[T * N, C, E, E, E]`; 0 elsewhere.
pub(super) fn of_scans(gradient: &[f32], channels: &[f32], edge: usize, by: f32) -> Vec<f32> {
    let voxels = edge.pow(3);
    let mut moved = vec![0.0; gradient.len()];
    for (volume, moved) in moved.chunks_exact_mut(voxels).enumerate() {
        let part = volume * voxels..(volume + 1) * voxels;
        if SCANS.contains(&(volume % INPUTS)) && channels[part.clone()].iter().any(|v| *v != 0.0) {
            moved.iter_mut().zip(&gradient[part]).for_each(|(m, g)| *m = if *g == 0.0 { 0.0 } else { by.copysign(*g) });
        }
    }
    moved
}
