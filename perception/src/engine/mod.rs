//! Networks on volumes, on the processor: kernels of our own, and plans made of them.
//!
//! ```text
//!  model::Model ──► Plan (f32, or int8 after calibration) ──► logits, frame by frame
//!  slices       ──► ops: forward, backward to data, backward to weights
//!  kernels:  wino (3×3×3 in f32)   direct (everything else)   over simd: AVX-512, AVX2, portable
//! ```
//! **Instructions** are chosen at run time, [`Isa::detect`], or forced. Results do not depend on the number of
//! threads in the [`Pool`]; between instructions f32 differs by rounding, int8 by at most that of its requantisation.
//! **Not protected against:** a model that was trained badly. It is run as it is.

mod direct;
mod error;
mod gates;
mod int8;
mod lattice;
mod memory;
#[cfg(test)]
mod naive;
pub mod ops;
pub mod peak;
mod plan;
#[cfg(test)]
mod plan_tests;
mod point;
mod pool;
mod prepare;
mod program;
mod quant;
pub(crate) mod simd;
mod taps;
mod wgrad;
mod wino;

pub use error::EngineError;
pub use plan::{Plan, State};
pub use pool::Pool;
pub use quant::Calibration;

/// Instructions that kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Isa {
    /// Any processor.
    Portable,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512 F, BW, DQ, VL and VNNI.
    Avx512,
}

impl Isa {
    /// All of them, slowest first.
    pub const ALL: [Self; 3] = [Self::Portable, Self::Avx2, Self::Avx512];

    /// Whether this processor has them.
    #[must_use]
    pub fn available(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        let (avx2, avx512) = {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let wide = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
            let more = is_x86_feature_detected!("avx512dq") && is_x86_feature_detected!("avx512vl");
            (avx2, avx2 && wide && more && is_x86_feature_detected!("avx512vnni"))
        };
        #[cfg(not(target_arch = "x86_64"))]
        let (avx2, avx512) = (false, false);
        match self {
            Self::Portable => true,
            Self::Avx2 => avx2,
            Self::Avx512 => avx512,
        }
    }

    /// The fastest that this processor has.
    #[must_use]
    pub fn detect() -> Self {
        Self::ALL.into_iter().rev().find(|isa| isa.available()).unwrap_or(Self::Portable)
    }
}

/// What numbers a plan computes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Precision {
    /// Floats.
    F32,
    /// Unsigned bytes for activations, signed ones for weights, floats for the ConvLSTM's state.
    Int8,
}
