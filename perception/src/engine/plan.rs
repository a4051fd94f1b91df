//! A network, compiled for one volume: frame in, logits out, no allocation in between.
//!
//! ```text
//!  Plan::new(model, edge, F32)  ──run──► logits
//!        └─calibrate(sample frames)──► Calibration ──► Plan::new(model, edge, Int8) ──run──► logits
//! ```
//! **Shapes:** input `[inputs, e, e, e]`, logits `[outputs, e, e, e]`, x fastest; both f32 in both precisions. The
//! ConvLSTM's [`State`] is f32 and belongs to the caller: one for each sequence of frames. **Allocation:** at load, and
//! once for a pool with more threads than any before. **Order:** results do not depend on the pool's size.
//! **Bad input:** wrong lengths, and values that are not finite, are refused before anything is computed.
//! **Not protected against:** frames that look unlike those that the model was trained on, or, in int8, calibrated on.
#![expect(
    unsafe_code,
    reason = "steps read and write the plan's arena by pointer; tensors that live together do not share it"
)]

use super::gates::Cell;
use super::int8::{self, Pack, To};
use super::memory::{Lines, Mutable, Readable, Scratch, Shared, Source};
use super::prepare::{self, Ready};
use super::program::{HIDDEN, INPUT, Id, Program, Work};
use super::quant::{Bytes, Calibration, all_bytes};
use super::simd::{LANES, Simd};
use super::wino::Finish;
use super::{EngineError, Isa, Pool, Precision};
use crate::model::{Model, Shape};
use std::sync::atomic::{AtomicBool, Ordering};

/// What the ConvLSTM remembers of a sequence.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// `[C, D, H, W]` at the bottleneck.
    hidden: Vec<f32>,
    /// The same.
    cell: Vec<f32>,
}

impl State {
    /// Forgets everything: the next frame is the first.
    pub fn reset(&mut self) {
        self.hidden.fill(0.0);
        self.cell.fill(0.0);
    }

    /// Becomes another of the same plan.
    ///
    /// # Panics
    /// With one of a plan of another shape.
    pub fn copy_from(&mut self, other: &Self) {
        self.hidden.copy_from_slice(&other.hidden);
        self.cell.copy_from_slice(&other.cell);
    }

    /// The hidden state, `[C, D, H, W]` at the bottleneck.
    #[must_use]
    pub fn hidden(&self) -> &[f32] {
        &self.hidden
    }

    /// The cell state, shaped like the hidden one.
    #[must_use]
    pub fn cell(&self) -> &[f32] {
        &self.cell
    }
}

/// A network, ready to run.
#[derive(Debug)]
pub struct Plan {
    shape: Shape,
    edge: usize,
    precision: Precision,
    isa: Isa,
    program: Program,
    steps: Vec<Ready>,
    /// How each tensor becomes bytes; empty for f32.
    bytes: Vec<Bytes>,
    /// Where each tensor begins in the arena, in words.
    starts: Vec<usize>,
    arena: Lines,
    scratch: Scratch,
}

/// Where a frame's tensors are.
#[derive(Clone, Copy)]
struct Frame<'a> {
    input: Readable<f32>,
    hidden: Mutable<f32>,
    cell: Mutable<f32>,
    logits: Mutable<f32>,
    arena: Mutable<f32>,
    on: (&'a Pool, Isa, Shared),
}

impl Plan {
    /// With the fastest instructions that this processor has. `calibration` is for [`Precision::Int8`], which needs it.
    ///
    /// # Errors
    /// When the model is not what its shape says or holds a number that is not finite, when the edge does not fit, and
    /// when a calibration is missing or not of this network.
    pub fn new(
        model: &Model,
        edge: usize,
        precision: Precision,
        calibration: Option<&Calibration>,
    ) -> Result<Self, EngineError> {
        Self::on(Isa::detect(), model, edge, precision, calibration)
    }

    /// With these instructions.
    ///
    /// # Errors
    /// As [`Self::new`], and when this processor has not these instructions.
    pub fn on(
        isa: Isa,
        model: &Model,
        edge: usize,
        precision: Precision,
        calibration: Option<&Calibration>,
    ) -> Result<Self, EngineError> {
        if !isa.available() {
            return Err(EngineError::Isa(isa));
        }
        prepare::check(model, edge)?;
        prepare::calibrated(precision, calibration.is_some())?;
        let program = Program::new(&model.shape, edge);
        let bytes = match (precision, calibration) {
            (Precision::Int8, Some(calibration)) => Some(all_bytes(&program, calibration)?),
            _ => None,
        };
        let steps: Vec<Ready> =
            program.steps.iter().map(|s| prepare::step(model, &program, &s.work, s.to, bytes.as_deref())).collect();
        let floats = |id: Id| bytes.is_none() || program.floats(id);
        let units = |id: Id| {
            let tensor = &program.tensors[id];
            let given = if bytes.is_none() { program.given(id) } else { id + 1 == program.tensors.len() };
            let words = if floats(id) { tensor.channels } else { tensor.channels.div_ceil(4) } * program.stride(id);
            if given { 0 } else { words.div_ceil(LANES) }
        };
        let (starts, end) = program.arena(units);
        let starts = starts.into_iter().map(|start| start * LANES).collect();
        let arena = Lines::new(end * LANES);
        let bytes = bytes.unwrap_or_default();
        let shape = model.shape;
        Ok(Self { shape, edge, precision, isa, program, steps, bytes, starts, arena, scratch: Scratch::default() })
    }

    /// The network's shape.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Voxels along each edge.
    #[must_use]
    pub fn edge(&self) -> usize {
        self.edge
    }

    /// What it computes with.
    #[must_use]
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The instructions that it uses.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Bytes of weights, as packed, and of activations. What workers scratch in is not counted: see
    /// [`Self::scratch_bytes`].
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.steps.iter().map(Ready::weights).sum::<usize>() + self.arena.bytes()
    }

    /// Bytes that each thread of a pool scratches in.
    #[must_use]
    pub fn scratch_bytes(&self) -> usize {
        4 * self.steps.iter().map(Ready::scratch).max().unwrap_or(0)
    }

    /// A state that remembers nothing.
    #[must_use]
    pub fn state(&self) -> State {
        let tensor = &self.program.tensors[HIDDEN];
        let len = tensor.channels * tensor.voxels();
        State { hidden: vec![0.0; len], cell: vec![0.0; len] }
    }

    /// One frame: `input` and `state` in, `logits` and `state` out.
    ///
    /// # Errors
    /// When a length does not fit, or a value of the input is not finite. Nothing has changed then.
    pub fn run(
        &mut self,
        pool: &Pool,
        input: &[f32],
        state: &mut State,
        logits: &mut [f32],
    ) -> Result<(), EngineError> {
        self.run_observed(pool, input, state, logits, &mut |_| {})
    }

    /// As [`Self::run`], and calls `after` with the name of each step when it is done: a bench's clock, for one.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_observed(
        &mut self,
        pool: &Pool,
        input: &[f32],
        state: &mut State,
        logits: &mut [f32],
        after: &mut dyn FnMut(&str),
    ) -> Result<(), EngineError> {
        self.check(pool, input, state, logits)?;
        let frame = self.frame(pool, input, state, logits);
        if self.precision == Precision::Int8 {
            self.pack(frame, INPUT, frame.input);
        }
        after("input");
        for (at, step) in self.program.steps.iter().enumerate() {
            self.step(frame, at);
            after(&self.program.tensors[step.to].name);
        }
        Ok(())
    }

    /// As [`Self::run`], and widens the ranges of `calibration` by what this frame shows. An empty one becomes one of
    /// this network.
    ///
    /// # Errors
    /// As [`Self::run`]; when this plan is not f32, or the calibration is of another network.
    pub fn calibrate(
        &mut self,
        pool: &Pool,
        input: &[f32],
        state: &mut State,
        logits: &mut [f32],
        calibration: &mut Calibration,
    ) -> Result<(), EngineError> {
        let (found, expected) = (calibration.ranges.len(), self.program.tensors.len());
        if self.precision != Precision::F32 || (found != 0 && found != expected) {
            return Err(EngineError::Calibration { found, expected });
        }
        self.check(pool, input, state, logits)?;
        calibration.ranges.resize(expected, [0.0; 2]);
        let frame = self.frame(pool, input, state, logits);
        let widen = |range: &mut [f32; 2], values: &[f32]| {
            *range = values.iter().fold(*range, |[low, high], v| [low.min(*v), high.max(*v)]);
        };
        widen(&mut calibration.ranges[INPUT], input);
        for step in 0..self.steps.len() {
            self.step(frame, step);
            let to = self.program.steps[step].to;
            let tensor = &self.program.tensors[to];
            for c in 0..tensor.channels {
                let at = self.at(frame, to).0.wrapping_add(c * self.program.stride(to));
                // SAFETY: the step has written this channel, and nothing else runs.
                let values = unsafe { std::slice::from_raw_parts(at, tensor.voxels()) };
                widen(&mut calibration.ranges[to], values);
            }
        }
        Ok(())
    }

    fn check(&mut self, pool: &Pool, input: &[f32], state: &State, logits: &[f32]) -> Result<(), EngineError> {
        let voxels = self.edge.pow(3);
        let hidden = self.program.tensors[HIDDEN].channels * self.program.tensors[HIDDEN].voxels();
        for (what, found, expected) in
            [("input", input.len(), self.shape.inputs * voxels), ("logits", logits.len(), self.shape.outputs * voxels)]
        {
            if found != expected {
                return Err(EngineError::Length { what, found, expected });
            }
        }
        if state.hidden.len() != hidden || state.cell.len() != hidden {
            return Err(EngineError::State { found: state.hidden.len(), expected: hidden });
        }
        finite(pool, self.isa, input)?;
        self.scratch.fit(pool.threads(), self.scratch_bytes() / 4);
        Ok(())
    }

    fn frame<'a>(&mut self, pool: &'a Pool, input: &[f32], state: &mut State, logits: &mut [f32]) -> Frame<'a> {
        Frame {
            input: Readable(input.as_ptr()),
            hidden: Mutable(state.hidden.as_mut_ptr()),
            cell: Mutable(state.cell.as_mut_ptr()),
            logits: Mutable(logits.as_mut_ptr()),
            arena: Mutable(self.arena.floats_mut().as_mut_ptr()),
            on: (pool, self.isa, self.scratch.share()),
        }
    }

    /// Where a tensor is, in floats.
    fn at(&self, frame: Frame<'_>, id: Id) -> Readable<f32> {
        match id {
            INPUT if self.bytes.is_empty() => frame.input,
            HIDDEN if self.bytes.is_empty() => Readable(frame.hidden.get()),
            _ => Readable(self.to(frame, id).get()),
        }
    }

    /// Where a tensor is written.
    fn to(&self, frame: Frame<'_>, id: Id) -> Mutable<f32> {
        if id + 1 == self.program.tensors.len() {
            frame.logits
        } else {
            Mutable(frame.arena.get().wrapping_add(self.starts[id]))
        }
    }

    /// Tensors joined, in words of `T`, `channels` words each.
    fn source<T>(&self, frame: Frame<'_>, from: &[Id], channels: [usize; 2]) -> Source<T> {
        let part = |i: usize| self.at(frame, *from.get(i).unwrap_or(&from[0])).0.cast::<T>();
        let stride = self.program.stride(from[0]);
        debug_assert!(from.iter().all(|id| self.program.stride(*id) == stride), "joined tensors are laid out alike");
        Source::two([part(0), part(1)], channels, stride)
    }

    fn channels(&self, from: &[Id]) -> [usize; 2] {
        [0, 1].map(|i| from.get(i).map_or(0, |id| self.program.tensors[*id].channels))
    }

    /// The caller's floats become a tensor of bytes.
    fn pack(&self, frame: Frame<'_>, id: Id, floats: Readable<f32>) {
        let tensor = &self.program.tensors[id];
        let (channels, voxels) = (tensor.channels, tensor.voxels());
        let to = Mutable(self.to(frame, id).get().cast::<i32>());
        let pack = Pack { channels, voxels, floats, plus: None, to, bytes: self.bytes[id] };
        // SAFETY: the tensor's words are in the arena, its floats with the caller.
        unsafe { pack.run(frame.on.0, self.isa) };
    }

    /// One step. All tensors it touches are in the arena or with the caller, with the lengths that `check` compared.
    fn step(&self, frame: Frame<'_>, step: usize) {
        let to = self.program.steps[step].to;
        match (&self.program.steps[step].work, &self.steps[step]) {
            (Work::Cell { gates, encoded }, _) => self.cell(frame, *gates, *encoded, to),
            (Work::Layer { from, residual, skip, relu, .. }, Ready::Wino { wino, weights, bias, skip: point }) => {
                let x = self.source(frame, from, self.channels(from));
                let skip = skip.as_ref().map(|(_, from)| (self.source(frame, from, self.channels(from)), &point[..]));
                let residual = residual.map(|id| self.at(frame, id));
                let finish = Finish { residual, skip, relu: *relu, stride: self.program.stride(to) };
                // SAFETY: as the function says.
                unsafe { wino.run(frame.on, 1, x, weights, bias, finish, self.to(frame, to)) };
            }
            (Work::Layer { from, relu, .. }, Ready::Direct { direct, weights, bias }) => {
                let x = self.source(frame, from, self.channels(from));
                let finish = Finish { residual: None, skip: None, relu: *relu, stride: self.program.stride(to) };
                // SAFETY: as the function says.
                unsafe { direct.run(frame.on, 1, x, weights, bias, finish, self.to(frame, to)) };
            }
            (Work::Layer { from, residual, skip, .. }, Ready::Int8 { direct, weights, fills, words, skip: point }) => {
                if from.contains(&HIDDEN) {
                    self.pack(frame, HIDDEN, Readable(frame.hidden.get()));
                }
                let skip = skip.as_ref().zip(point.as_ref()).map(|((_, from), point)| int8::Skip {
                    x: self.source(frame, from, point.words),
                    words: point.all(),
                    weights: &point.weights,
                    offsets: &point.offsets,
                });
                let residual = residual.map(|id| {
                    let steps = self.bytes[id].scale / self.bytes[to].scale;
                    (Readable(self.at(frame, id).0.cast::<i32>()), steps)
                });
                let (at, stride) = (self.to(frame, to), self.program.stride(to));
                let to = if self.program.floats(to) { To::Floats(at) } else { To::Bytes(Mutable(at.get().cast())) };
                let x = self.source(frame, from, *words);
                let call = int8::Call { x, fills, weights, residual, skip, to, stride };
                // SAFETY: as the function says.
                unsafe { int8::run(direct, frame.on, call) };
            }
            (Work::Layer { .. }, Ready::Cell) => unreachable!("a layer is prepared as a layer"),
        }
    }

    fn cell(&self, frame: Frame<'_>, gates: Id, encoded: Id, to: Id) {
        let tensor = &self.program.tensors[to];
        let len = tensor.channels * tensor.voxels();
        let (pool, bytes) = (frame.on.0, self.bytes.get(to).copied());
        let sum = bytes.is_none().then(|| (self.at(frame, encoded), self.to(frame, to)));
        let cell = Cell { len, gates: self.at(frame, gates), cell: frame.cell, hidden: frame.hidden, sum };
        // SAFETY: all of these have this length.
        unsafe { cell.run(pool, self.isa) };
        if let Some(bytes) = bytes {
            let plus = Some((Readable(self.at(frame, encoded).0.cast::<i32>()), self.bytes[encoded].scale));
            let pack = Pack {
                channels: tensor.channels,
                voxels: tensor.voxels(),
                floats: Readable(frame.hidden.get()),
                plus,
                to: Mutable(self.to(frame, to).get().cast()),
                bytes,
            };
            // SAFETY: as above.
            unsafe { pack.run(pool, self.isa) };
        }
    }
}

/// Refuses what is not finite, and says where it is.
fn finite(pool: &Pool, isa: Isa, values: &[f32]) -> Result<(), EngineError> {
    const CHUNK: usize = 1 << 15;
    struct Look<'a>(&'a [f32], &'a AtomicBool);
    impl super::simd::Work for Look<'_> {
        #[inline(always)]
        unsafe fn run<V: Simd>(&self) {
            let mut lanes = [0.0_f32; LANES];
            // SAFETY: blocks lie in the slice.
            unsafe {
                // Zero times a number is zero, unless the number is infinite or none.
                let (mut sum, zero) = (V::splat(0.0), V::splat(0.0));
                for block in self.0.chunks(LANES) {
                    sum = V::fma(V::load_n(block.as_ptr(), block.len()), zero, sum);
                }
                V::store(lanes.as_mut_ptr(), sum);
            }
            if lanes.iter().any(|v| v.is_nan()) {
                self.1.store(true, Ordering::Relaxed);
            }
        }
    }
    let found = AtomicBool::new(false);
    pool.run(values.len().div_ceil(CHUNK), &|_, task| {
        let work = Look(&values[task * CHUNK..((task + 1) * CHUNK).min(values.len())], &found);
        // SAFETY: the instructions are there.
        unsafe { isa.run(&work) };
    });
    if !found.load(Ordering::Relaxed) {
        return Ok(());
    }
    let first = values.iter().enumerate().find(|(_, v)| !v.is_finite());
    first.map_or(Ok(()), |(at, value)| Err(EngineError::Value { what: "input", at, value: *value }))
}
