//! Layers on plain slices, forward and backward, for training: what a burn backend extension calls.
//!
//! **Shapes:** `[N, C, D, H, W]`, contiguous, of any size and alignment; weights as [`Kind`] says. A convolution of
//! stride 2 makes `ceil(n / 2)` of an edge of `n`. **Order:** sums run in an order that depends on shapes only, never
//! on the number of threads. **Allocation:** a [`Workspace`] grows to the largest layer that it has seen; packed
//! weights and offsets are made anew at each call. **Bad input:** wrong lengths are refused, and nothing is written.
//! **Not protected against:** numbers that are not finite; they go where sums take them, but for
//! [`relu`], which makes 0 of what is not a number.
#![expect(unsafe_code, reason = "kernels take pointers; every length is checked here first")]

use super::direct::{Direct, Form};
use super::memory::{Lines, Mutable, Scratch, Source};
use super::simd::{LANES, Simd, Work};
use super::taps::{OUTS, Tap};
use super::wgrad::Wgrad;
use super::wino::{Finish, Wino};
use super::{EngineError, Isa, Pool};
use crate::model::Kind;

/// Most values of one tensor: offsets are 32 bits.
const VALUES_MAX: usize = 1 << 31;

/// Values of a tensor that one task of a pointwise operation takes.
const CHUNK: usize = 1 << 14;

/// A layer on a batch of volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Op {
    /// What it does.
    pub kind: Kind,
    /// Channels that it reads.
    pub inputs: usize,
    /// Channels that it writes.
    pub outputs: usize,
    /// Volumes.
    pub batch: usize,
    /// Voxels of the input along z, y and x.
    pub grid: [usize; 3],
}

impl Op {
    /// Voxels of the output along z, y and x.
    #[must_use]
    pub fn out_grid(&self) -> [usize; 3] {
        self.grid.map(|n| match self.kind {
            Kind::Conv3 | Kind::Conv1 => n,
            Kind::Down3 => n.div_ceil(2),
            Kind::Up2 => 2 * n,
        })
    }

    /// Values of the input.
    #[must_use]
    pub fn x_len(&self) -> usize {
        self.batch * self.inputs * self.grid.iter().product::<usize>()
    }

    /// Values of the output.
    #[must_use]
    pub fn y_len(&self) -> usize {
        self.batch * self.outputs * self.out_grid().iter().product::<usize>()
    }

    /// Weights, without biases.
    #[must_use]
    pub fn weight_len(&self) -> usize {
        self.kind.taps() * self.inputs * self.outputs
    }

    fn check(&self) -> Result<(), EngineError> {
        let Self { kind, inputs, outputs, batch, grid } = *self;
        // Eight times as many voxels after a transposed layer, 27 weights a pair of channels.
        let product = |parts: &[usize]| parts.iter().try_fold(1_usize, |all, n| all.checked_mul(*n));
        let values = product(&[batch, inputs.max(outputs), grid[0], grid[1], grid[2], 8]);
        let weights = product(&[inputs, outputs, 27]);
        match (values, weights) {
            (Some(1..=VALUES_MAX), Some(1..=VALUES_MAX)) if inputs.min(outputs) > 0 => Ok(()),
            _ => Err(EngineError::Extent { kind, inputs, outputs, batch, grid }),
        }
    }
}

fn length(what: &'static str, found: usize, expected: usize) -> Result<(), EngineError> {
    if found == expected { Ok(()) } else { Err(EngineError::Length { what, found, expected }) }
}

/// Memory that calls share, and the instructions that they use.
#[derive(Debug)]
pub struct Workspace {
    isa: Isa,
    scratch: Scratch,
    partial: Lines,
    weights: Vec<Tap<f32>>,
    bias: Vec<f32>,
}

impl Workspace {
    /// With the fastest instructions that this processor has.
    #[must_use]
    pub fn new() -> Self {
        Self::on(Isa::detect()).unwrap_or_else(|_| unreachable!("detected instructions are there"))
    }

    /// With these instructions.
    ///
    /// # Errors
    /// When this processor has them not.
    pub fn on(isa: Isa) -> Result<Self, EngineError> {
        if !isa.available() {
            return Err(EngineError::Isa(isa));
        }
        let (scratch, partial) = (Scratch::default(), Lines::default());
        Ok(Self { isa, scratch, partial, weights: Vec::new(), bias: Vec::new() })
    }

    /// The instructions.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.isa
    }

    fn taps(&mut self, taps: usize, bias: Option<&[f32]>, outputs: usize) {
        self.weights.resize(taps.max(self.weights.len()), [0.0; OUTS]);
        self.bias.clear();
        self.bias.extend_from_slice(bias.unwrap_or_default());
        self.bias.resize(outputs.next_multiple_of(OUTS), 0.0);
    }

    #[expect(clippy::too_many_arguments, reason = "what a layer is made of")]
    fn wino(
        &mut self,
        pool: &Pool,
        op: &Op,
        x: &[f32],
        weight: &[f32],
        bias: Option<&[f32]>,
        back: bool,
        y: &mut [f32],
    ) {
        let (inputs, outputs) = if back { (op.outputs, op.inputs) } else { (op.inputs, op.outputs) };
        let wino = Wino::new(inputs, outputs, op.grid, 0);
        self.taps(wino.taps(), bias, outputs);
        let taps = &mut self.weights[..wino.taps()];
        if back {
            // The way back is the same sum with mirrored taps and channels swapped.
            wino.weights(|o, c, k| weight[(c * op.inputs + o) * 27 + 26 - k], taps);
        } else {
            wino.weights(|o, c, k| weight[(o * op.inputs + c) * 27 + k], taps);
        }
        self.scratch.fit(pool.threads(), wino.scratch());
        let source = Source::one(x.as_ptr(), inputs, op.grid.iter().product());
        let (on, y) = ((pool, self.isa, self.scratch.share()), Mutable(y.as_mut_ptr()));
        let finish = Finish { residual: None, skip: None, relu: false, stride: op.grid.iter().product() };
        // SAFETY: lengths were checked by the caller, the instructions in `on`.
        unsafe { wino.run(on, op.batch, source, taps, &self.bias, finish, y) };
    }

    #[expect(clippy::too_many_arguments, reason = "what a layer is made of")]
    fn direct(
        &mut self,
        pool: &Pool,
        op: &Op,
        x: &[f32],
        weight: &[f32],
        bias: Option<&[f32]>,
        back: bool,
        y: &mut [f32],
    ) {
        let (form, index) = match (op.kind, back) {
            (Kind::Conv3, _) => (Form::Conv3, false),
            (Kind::Down3, false) => (Form::Down3, false),
            (Kind::Down3, true) => (Form::DownBack, true),
            (Kind::Conv1, _) => (Form::Point, back),
            (Kind::Up2, false) => (Form::Up2, true),
            (Kind::Up2, true) => (Form::UpBack, false),
        };
        let taps = op.kind.taps();
        let (inputs, outputs, read, grid) = if back {
            (op.outputs, op.inputs, op.out_grid(), op.grid)
        } else {
            (op.inputs, op.outputs, op.grid, op.out_grid())
        };
        let direct = Direct::new(form, inputs, outputs, read, grid);
        self.taps(direct.all_taps(), bias, outputs);
        let packed = &mut self.weights[..direct.all_taps()];
        if index {
            direct.weights(|o, c, k| weight[(c * outputs + o) * taps + k], packed);
        } else {
            direct.weights(|o, c, k| weight[(o * inputs + c) * taps + k], packed);
        }
        self.scratch.fit(pool.threads(), direct.scratch());
        let source = Source::one(x.as_ptr(), inputs, read.iter().product());
        let (on, y) = ((pool, self.isa, self.scratch.share()), Mutable(y.as_mut_ptr()));
        let finish = Finish { residual: None, skip: None, relu: false, stride: grid.iter().product() };
        // SAFETY: lengths were checked by the caller, the instructions in `on`.
        unsafe { direct.run(on, op.batch, source, packed, &self.bias, finish, y) };
    }
}

impl Default for Workspace {
    fn default() -> Self {
        Self::new()
    }
}

/// `y = layer(x) + bias`.
///
/// # Errors
/// When a length does not fit the shape, or the shape is empty or too large.
pub fn forward(
    workspace: &mut Workspace,
    pool: &Pool,
    op: &Op,
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    y: &mut [f32],
) -> Result<(), EngineError> {
    op.check()?;
    length("input", x.len(), op.x_len())?;
    length("weight", weight.len(), op.weight_len())?;
    length("bias", bias.map_or(op.outputs, <[f32]>::len), op.outputs)?;
    length("output", y.len(), op.y_len())?;
    if op.kind == Kind::Conv3 {
        workspace.wino(pool, op, x, weight, bias, false, y);
    } else {
        workspace.direct(pool, op, x, weight, bias, false, y);
    }
    Ok(())
}

/// `dx`, the gradient of the input, from `g`, that of the output.
///
/// # Errors
/// As [`forward`].
pub fn backward_data(
    workspace: &mut Workspace,
    pool: &Pool,
    op: &Op,
    g: &[f32],
    weight: &[f32],
    dx: &mut [f32],
) -> Result<(), EngineError> {
    op.check()?;
    length("output gradient", g.len(), op.y_len())?;
    length("weight", weight.len(), op.weight_len())?;
    length("input gradient", dx.len(), op.x_len())?;
    if op.kind == Kind::Conv3 {
        workspace.wino(pool, op, g, weight, None, true, dx);
    } else {
        workspace.direct(pool, op, g, weight, None, true, dx);
    }
    Ok(())
}

/// `dw`, the gradient of the weights, from the input and the gradient of the output. What was in it is overwritten.
///
/// # Errors
/// As [`forward`].
pub fn backward_weight(
    workspace: &mut Workspace,
    pool: &Pool,
    op: &Op,
    x: &[f32],
    g: &[f32],
    dw: &mut [f32],
) -> Result<(), EngineError> {
    op.check()?;
    length("input", x.len(), op.x_len())?;
    length("output gradient", g.len(), op.y_len())?;
    length("weight gradient", dw.len(), op.weight_len())?;
    let x = Source::one(x.as_ptr(), op.inputs, op.grid.iter().product());
    let g = Source::one(g.as_ptr(), op.outputs, op.out_grid().iter().product());
    let (form, swapped) = match op.kind {
        Kind::Conv3 => (Form::Conv3, false),
        Kind::Down3 => (Form::Down3, false),
        Kind::Conv1 => (Form::Point, false),
        Kind::Up2 => (Form::UpBack, true),
    };
    let (wgrad, coarse, fine) = if swapped {
        (Wgrad::new(form, op.inputs, op.outputs, op.batch, op.out_grid()), x, g)
    } else {
        (Wgrad::new(form, op.outputs, op.inputs, op.batch, op.grid), g, x)
    };
    workspace.scratch.fit(pool.threads(), wgrad.scratch());
    if workspace.partial.floats().len() < wgrad.partial() {
        workspace.partial = Lines::new(wgrad.partial());
    }
    let on = (pool, workspace.isa, workspace.scratch.share());
    let partial = Mutable(workspace.partial.floats_mut().as_mut_ptr());
    // SAFETY: lengths were checked above, the instructions in `on`.
    unsafe { wgrad.run(on, coarse, fine, partial, Mutable(dw.as_mut_ptr())) };
    Ok(())
}

/// `db`, the gradient of the biases: the sum of the output's gradient over everything but channels.
///
/// # Errors
/// As [`forward`].
pub fn backward_bias(
    workspace: &mut Workspace,
    pool: &Pool,
    op: &Op,
    g: &[f32],
    db: &mut [f32],
) -> Result<(), EngineError> {
    op.check()?;
    length("output gradient", g.len(), op.y_len())?;
    length("bias gradient", db.len(), op.outputs)?;
    let voxels = op.out_grid().iter().product::<usize>();
    let (isa, to) = (workspace.isa, Mutable(db.as_mut_ptr()));
    pool.run(op.outputs, &|_, o| {
        let volumes = (0..op.batch).map(|n| &g[(n * op.outputs + o) * voxels..][..voxels]);
        let mut sum = 0.0_f64;
        for values in volumes.flat_map(|v| v.chunks(CHUNK)) {
            let work = Sum { values, to: Mutable((&raw mut sum).cast()) };
            // SAFETY: the instructions are there; `sum` outlives the call.
            unsafe { isa.run(&work) };
        }
        // SAFETY: one float for each channel, and each task has its own.
        unsafe { to.get().wrapping_add(o).write(sum as f32) };
    });
    Ok(())
}

/// Adds a sum in lanes to a sum in f64.
struct Sum<'a> {
    values: &'a [f32],
    to: Mutable<f64>,
}

impl Work for Sum<'_> {
    #[inline(always)]
    unsafe fn run<V: Simd>(&self) {
        // SAFETY: blocks and the rest lie in `values`; `to` is the caller's.
        unsafe {
            let mut sums = [V::splat(0.0); 4];
            let mut lanes = [0.0_f32; LANES];
            for (i, block) in self.values.chunks(LANES).enumerate() {
                sums[i % 4] = V::add(sums[i % 4], V::load_n(block.as_ptr(), block.len()));
            }
            V::store(lanes.as_mut_ptr(), V::add(V::add(sums[0], sums[1]), V::add(sums[2], sums[3])));
            *self.to.get() += lanes.iter().map(|v| f64::from(*v)).sum::<f64>();
        }
    }
}

/// Something done to each value alone, in chunks.
struct Each<'a> {
    a: &'a [f32],
    b: &'a [f32],
    what: What,
    to: Mutable<f32>,
}

#[derive(Clone, Copy)]
enum What {
    Relu,
    ReluBack,
    Add,
    AddRelu,
}

impl Work for Each<'_> {
    #[inline(always)]
    unsafe fn run<V: Simd>(&self) {
        for (at, (a, b)) in self.a.chunks(LANES).zip(self.b.chunks(LANES)).enumerate() {
            // SAFETY: `a`, `b` and what is written have the same length.
            unsafe {
                let (x, y) = (V::load_n(a.as_ptr(), a.len()), V::load_n(b.as_ptr(), b.len()));
                let value = match self.what {
                    What::Relu => V::max(x, V::splat(0.0)),
                    What::ReluBack => V::where_positive(x, y),
                    What::Add => V::add(x, y),
                    What::AddRelu => V::max(V::add(x, y), V::splat(0.0)),
                };
                V::store_n(self.to.get().wrapping_add(at * LANES), value, a.len());
            }
        }
    }
}

fn each(
    workspace: &Workspace,
    pool: &Pool,
    what: What,
    a: &[f32],
    b: &[f32],
    out: &mut [f32],
) -> Result<(), EngineError> {
    length("second operand", b.len(), a.len())?;
    length("result", out.len(), a.len())?;
    let to = Mutable(out.as_mut_ptr());
    pool.run(a.len().div_ceil(CHUNK), &|_, task| {
        let range = task * CHUNK..((task + 1) * CHUNK).min(a.len());
        let to = Mutable(to.get().wrapping_add(range.start));
        let work = Each { a: &a[range.clone()], b: &b[range], what, to };
        // SAFETY: the instructions are there; chunks are disjoint and inside.
        unsafe { workspace.isa.run(&work) };
    });
    Ok(())
}

/// `out = max(x, 0)`.
///
/// # Errors
/// When lengths differ.
pub fn relu(workspace: &Workspace, pool: &Pool, x: &[f32], out: &mut [f32]) -> Result<(), EngineError> {
    each(workspace, pool, What::Relu, x, x, out)
}

/// `dx = g` where `y`, the ReLU's output or input, is above 0, and 0 elsewhere.
///
/// # Errors
/// When lengths differ.
pub fn relu_backward(
    workspace: &Workspace,
    pool: &Pool,
    y: &[f32],
    g: &[f32],
    dx: &mut [f32],
) -> Result<(), EngineError> {
    each(workspace, pool, What::ReluBack, y, g, dx)
}

/// `out = a + b`.
///
/// # Errors
/// When lengths differ.
pub fn add(workspace: &Workspace, pool: &Pool, a: &[f32], b: &[f32], out: &mut [f32]) -> Result<(), EngineError> {
    each(workspace, pool, What::Add, a, b, out)
}

/// `out = max(a + b, 0)`; its way back is [`relu_backward`], once for both.
///
/// # Errors
/// When lengths differ.
pub fn add_relu(workspace: &Workspace, pool: &Pool, a: &[f32], b: &[f32], out: &mut [f32]) -> Result<(), EngineError> {
    each(workspace, pool, What::AddRelu, a, b, out)
}

#[cfg(test)]
mod tests {
    use super::super::naive::{Layer, Random, difference};
    use super::*;
    use proptest::prelude::*;

    /// Bytes around every output that must stay as they were.
    const GUARD: usize = 64;

    /// A slice at an odd place, with guards on both sides.
    struct Guarded(Vec<f32>);

    impl Guarded {
        fn new(n: usize) -> Self {
            Self(vec![f32::from_bits(0x7fc0_dead); n + 2 * GUARD + 1])
        }

        fn values(&mut self) -> &mut [f32] {
            let n = self.0.len();
            &mut self.0[GUARD + 1..n - GUARD]
        }

        fn intact(&self) -> bool {
            let n = self.0.len();
            self.0[..GUARD + 1].iter().chain(&self.0[n - GUARD..]).all(|v| v.to_bits() == 0x7fc0_dead)
        }
    }

    fn check(isa: Isa, threads: usize, layer: Layer, seed: u64) -> Vec<Vec<f32>> {
        let Layer { kind, inputs, outputs, batch, grid } = layer;
        let op = Op { kind, inputs, outputs, batch, grid };
        assert_eq!((op.x_len(), op.y_len()), (layer.x_len(), layer.y_len()));
        let mut random = Random(seed | 1);
        let (x, g) = (random.values(op.x_len()), random.values(op.y_len()));
        let (weight, bias) = (random.values(op.weight_len()), random.values(outputs));
        let (mut workspace, pool) = (Workspace::on(isa).expect("available"), Pool::new(threads).expect("threads"));
        let mut y = Guarded::new(op.y_len());
        let mut dx = Guarded::new(op.x_len());
        let mut dw = Guarded::new(op.weight_len());
        let mut db = Guarded::new(outputs);
        let w = &mut workspace;
        forward(w, &pool, &op, &x, &weight, Some(&bias), y.values()).expect("runs");
        backward_data(w, &pool, &op, &g, &weight, dx.values()).expect("runs");
        backward_weight(w, &pool, &op, &x, &g, dw.values()).expect("runs");
        backward_bias(w, &pool, &op, &g, db.values()).expect("runs");
        let (plain_dw, plain_db) = layer.backward_weight(&x, &g);
        let plain = [
            ("forward", layer.forward(&x, &weight, &bias)),
            ("data", layer.backward_data(&g, &weight)),
            ("weight", plain_dw),
            ("bias", plain_db),
        ];
        let mut all = [y, dx, dw, db];
        for (found, (what, expected)) in all.iter_mut().zip(plain) {
            assert!(found.intact(), "{what} wrote beyond its end: {isa:?} {layer:?}");
            let error = difference(found.values(), &expected);
            assert!(error < 1e-5, "{what} of {isa:?} {layer:?} is off by {error}");
        }
        all.iter_mut().map(|v| v.values().to_vec()).collect()
    }

    fn available() -> impl Iterator<Item = Isa> {
        Isa::ALL.into_iter().filter(|isa| isa.available())
    }

    const KINDS: [Kind; 4] = [Kind::Conv3, Kind::Down3, Kind::Conv1, Kind::Up2];

    #[test]
    fn every_kind_equals_a_plain_sum_on_all_instructions() {
        for (inputs, outputs, batch, grid) in [
            (5, 8, 1, [6, 7, 32]),
            (8, 4, 1, [4, 5, 33]),
            (16, 9, 2, [3, 5, 16]),
            (8, 16, 1, [8, 8, 8]),
            (1, 1, 1, [1, 1, 1]),
            (3, 2, 3, [2, 3, 5]),
            (40, 24, 1, [4, 4, 4]),
            (4, 3, 1, [5, 2, 49]),
            (10, 1, 1, [5, 5, 31]),
            (9, 5, 2, [4, 21, 20]),
        ] {
            for (kind, isa) in KINDS.into_iter().flat_map(|kind| available().map(move |isa| (kind, isa))) {
                check(isa, 2, Layer { kind, inputs, outputs, batch, grid }, 7);
            }
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        for kind in KINDS {
            let layer = Layer { kind, inputs: 10, outputs: 12, batch: 2, grid: [9, 10, 18] };
            let one = check(Isa::detect(), 1, layer, 3);
            assert!([2, 3, 5].into_iter().all(|threads| check(Isa::detect(), threads, layer, 3) == one), "{kind:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn any_shape_equals_a_plain_sum(
            kind in prop::sample::select(KINDS.to_vec()),
            (inputs, outputs, batch) in (1..20_usize, 1..20_usize, 1..3_usize),
            grid in (1..8_usize, 1..8_usize, 1..36_usize),
            seed in any::<u64>(),
        ) {
            let layer = Layer { kind, inputs, outputs, batch, grid: [grid.0, grid.1, grid.2] };
            for isa in available() {
                check(isa, 2, layer, seed);
            }
        }
    }

    #[test]
    fn pointwise_operations_do_what_they_say() {
        let mut random = Random(11);
        let (a, b) = (random.values(40_001), random.values(40_001));
        let pool = Pool::new(2).expect("threads");
        for isa in available() {
            let workspace = Workspace::on(isa).expect("available");
            let mut out = vec![f32::NAN; a.len()];
            let equal = |out: &[f32], f: &dyn Fn(f32, f32) -> f32| {
                assert!(out.iter().zip(a.iter().zip(&b)).all(|(o, (a, b))| *o == f(*a, *b)));
            };
            relu(&workspace, &pool, &a, &mut out).expect("runs");
            equal(&out, &|a, _| a.max(0.0));
            relu_backward(&workspace, &pool, &a, &b, &mut out).expect("runs");
            equal(&out, &|a, b| if a > 0.0 { b } else { 0.0 });
            add(&workspace, &pool, &a, &b, &mut out).expect("runs");
            equal(&out, &|a, b| a + b);
            add_relu(&workspace, &pool, &a, &b, &mut out).expect("runs");
            equal(&out, &|a, b| (a + b).max(0.0));
        }
    }

    #[test]
    fn wrong_shapes_are_refused_by_name() {
        let (mut w, pool) = (Workspace::new(), Pool::new(1).expect("threads"));
        let op = Op { kind: Kind::Conv3, inputs: 2, outputs: 3, batch: 1, grid: [2, 2, 2] };
        let (x, weight, mut y) = ([0.0; 16], [0.0; 162], [0.0; 24]);
        let short = forward(&mut w, &pool, &op, &x[1..], &weight, None, &mut y);
        assert_eq!(short, Err(EngineError::Length { what: "input", found: 15, expected: 16 }));
        let bias = forward(&mut w, &pool, &op, &x, &weight, Some(&[0.0; 2]), &mut y);
        assert_eq!(bias, Err(EngineError::Length { what: "bias", found: 2, expected: 3 }));
        let weights = backward_weight(&mut w, &pool, &op, &x, &y, &mut [0.0; 3]);
        assert_eq!(weights, Err(EngineError::Length { what: "weight gradient", found: 3, expected: 162 }));
        for op in [Op { grid: [2, 0, 2], ..op }, Op { batch: usize::MAX, ..op }, Op { inputs: 0, ..op }] {
            let empty = forward(&mut w, &pool, &op, &[], &[], None, &mut []);
            assert!(matches!(empty, Err(EngineError::Extent { .. })), "{op:?}");
        }
        assert!(relu(&w, &pool, &x, &mut y).is_err());
    }
}
