//! Scenes as differences to the scene before, or, in a key scene, to the voxel before.
//!
//! The seven planes of a scene (margin low and high bytes, interval, residual, state, age, coarse map) are
//! subtracted modulo 2⁸, the margin modulo 2¹⁶ and zigzagged so that small steps either way are small
//! numbers; what is left is mostly zeros and is stored as runs: zeros, literals, bytes, until the planes are
//! full. The brain's shift is stored in key scenes, and where it changes. The recording's compression does the
//! rest. **Exact:** what is read is what was written, bit for bit.
//! **Allocation:** the planes, once; 3.7 MB a writer or reader.

use super::parts::{Bytes, DigestWire, ErrorsWire, GridWire, at, digest, errors, errors_wire, sequence};
use super::{Refused, Why};
use bregma_core::brain_shift::{BrainShift, SHIFT_LEN, shift_grid};
use bregma_core::flow::{COARSE_EDGE, ROI_VOXELS, Scene, TraceId};
use bregma_core::frame::FrameId;
use serde::{Deserialize, Serialize};

const COARSE_VOXELS: usize = COARSE_EDGE * COARSE_EDGE * COARSE_EDGE;
/// The planes of one byte a voxel: interval, residual, state, age, coarse map.
const BYTES: usize = 4 * ROI_VOXELS + COARSE_VOXELS;
/// All planes, the margin as two.
const PLANES: usize = 2 * ROI_VOXELS + BYTES;
/// A run of zeros shorter than this costs more to announce than to write out.
const ZEROS_MIN: usize = 8;

/// [`Scene`], version 4.
#[derive(Debug, Serialize, Deserialize)]
pub struct SceneWire {
    id: u64,
    trace: u64,
    captured_ns: u64,
    decided_ns: u64,
    grid: GridWire,
    frame: u64,
    coarse_grid: GridWire,
    residual_ml: f64,
    doubtful_ml: f64,
    errors_mm: ErrorsWire,
    scanned_ns: u64,
    anatomy: DigestWire,
    model: DigestWire,
    digest: DigestWire,
    /// Number of the scene that `runs` is the difference to; 0 in a key scene.
    based_on: u64,
    /// None where it is that of the scene before.
    shift: Option<ShiftWire>,
    runs: Bytes,
}

/// [`BrainShift`], version 1.
#[derive(Debug, Serialize, Deserialize)]
struct ShiftWire {
    grid: GridWire,
    /// x, y, z of each node, 1/64 mm, little endian.
    moved: Bytes,
    /// Of each node, 1/16 mm.
    deviation: Bytes,
}

impl ShiftWire {
    fn of(m: &BrainShift) -> Self {
        Self {
            grid: GridWire::of(m.grid()),
            moved: Bytes(m.moved().iter().flatten().flat_map(|v| v.to_le_bytes()).collect()),
            deviation: Bytes(m.deviations().to_vec()),
        }
    }

    fn shift(self) -> Result<BrainShift, Refused> {
        let grid = self.grid.grid("shift.grid", SHIFT_LEN)?;
        let found = self.moved.0.len();
        if found != 6 * SHIFT_LEN {
            return Err(Refused::new("shift.moved", Why::Length { found, need: 6 * SHIFT_LEN }));
        }
        let centre = grid.centre(grid.dims.map(|n| n / 2));
        if shift_grid(centre) != grid {
            return Err(Refused::new("shift.grid", Why::UnknownCode(grid.dims[0] as u64)));
        }
        let whole = |b: &[u8]| i16::from_le_bytes([b[0], b[1]]);
        let moved: Vec<[i16; 3]> =
            self.moved.0.chunks_exact(6).map(|b| [whole(&b[..2]), whole(&b[2..4]), whole(&b[4..])]).collect();
        let found = self.deviation.0.len();
        BrainShift::of_parts(centre, &moved, &self.deviation.0)
            .ok_or_else(|| Refused::new("shift.deviation", Why::Length { found, need: SHIFT_LEN }))
    }
}

/// The planes of the scene that was written or read last, and its number; 0 when there is none.
struct Base {
    number: u64,
    margin: Vec<i16>,
    bytes: Vec<u8>,
    differences: Vec<u8>,
    shift: BrainShift,
}

impl Default for Base {
    fn default() -> Self {
        Self {
            number: 0,
            margin: vec![0; ROI_VOXELS],
            bytes: vec![0; BYTES],
            differences: vec![0; PLANES],
            shift: BrainShift::still(nalgebra::Point3::origin()),
        }
    }
}

/// Writes scenes.
#[derive(Default)]
pub struct SceneWriter {
    // Made with the first scene: most encoders of replay never see one.
    base: Option<Base>,
}

impl SceneWriter {
    /// The next scene is a key scene.
    pub fn forget(&mut self) {
        if let Some(base) = &mut self.base {
            base.number = 0;
        }
    }

    /// The mirror of the scene with this number.
    pub(crate) fn wire(&mut self, number: u64, m: &Scene) -> Result<SceneWire, Refused> {
        let planes = byte_planes(m);
        let lengths = [("margin", m.margin.len(), ROI_VOXELS)];
        let more = planes.iter().map(|(name, plane, need)| (*name, plane.len(), *need));
        for (field, found, need) in lengths.into_iter().chain(more) {
            if found != need {
                return Err(Refused::new(field, Why::Length { found, need }));
            }
        }
        let base = self.base.get_or_insert_with(Base::default);
        let based_on = base.number;
        base.subtract(m);
        base.number = number;
        let shift = (based_on == 0 || base.shift != m.shift).then(|| ShiftWire::of(&m.shift));
        base.shift.copy_from(&m.shift);
        let mut runs = Vec::with_capacity(PLANES / 16);
        pack(&base.differences, &mut runs);
        Ok(SceneWire {
            id: m.id.0,
            trace: m.trace.0,
            captured_ns: m.captured.nanos(),
            decided_ns: m.decided.nanos(),
            grid: GridWire::of(&m.grid),
            frame: m.frame.0,
            coarse_grid: GridWire::of(&m.coarse_grid),
            residual_ml: m.residual_ml,
            doubtful_ml: m.doubtful_ml,
            errors_mm: errors_wire(&m.errors),
            scanned_ns: m.scanned.nanos(),
            anatomy: m.anatomy.0,
            model: m.model.0,
            digest: m.digest.0,
            based_on,
            shift,
            runs: Bytes(runs),
        })
    }
}

/// Reads scenes, in the order of writing, from a key scene on.
#[derive(Default)]
pub struct SceneReader {
    base: Option<Base>,
}

impl SceneReader {
    /// The scene with this number.
    pub(crate) fn read(&mut self, number: u64, w: SceneWire) -> Result<Scene, Refused> {
        let base = self.base.get_or_insert_with(Base::default);
        if w.based_on != 0 && w.based_on != base.number {
            return Err(Refused::new("based_on", Why::WrongBase { needs: w.based_on, held: base.number }));
        }
        // Until this one is read whole, nothing may build on it.
        base.number = 0;
        unpack(&w.runs.0, &mut base.differences)?;
        match w.shift {
            Some(shift) => base.shift = shift.shift()?,
            None if w.based_on == 0 => return Err(Refused::new("shift", Why::Length { found: 0, need: SHIFT_LEN })),
            None => {}
        }
        base.add(w.based_on == 0);
        base.number = number;
        let mut planes = base.bytes.chunks_exact(ROI_VOXELS).map(<[u8]>::to_vec);
        let mut plane = || planes.next().unwrap_or_default();
        Ok(Scene {
            id: sequence(w.id),
            trace: TraceId(w.trace),
            captured: at(w.captured_ns),
            decided: at(w.decided_ns),
            grid: w.grid.grid("grid", ROI_VOXELS)?,
            frame: FrameId(w.frame),
            margin: base.margin.clone(),
            interval: plane(),
            residual: plane(),
            state: plane(),
            seen_age_s: plane(),
            coarse_grid: w.coarse_grid.grid("coarse_grid", COARSE_VOXELS)?,
            coarse_residual: plane(),
            residual_ml: w.residual_ml,
            doubtful_ml: w.doubtful_ml,
            errors: errors("errors_mm", w.errors_mm)?,
            shift: base.shift.clone(),
            scanned: at(w.scanned_ns),
            anatomy: digest(w.anatomy),
            model: digest(w.model),
            digest: digest(w.digest),
        })
    }
}

// The reader cuts `bytes` into five planes of one size.
const _: () = assert!(COARSE_VOXELS == ROI_VOXELS);

fn byte_planes(m: &Scene) -> [(&'static str, &[u8], usize); 5] {
    [
        ("interval", &m.interval, ROI_VOXELS),
        ("residual", &m.residual, ROI_VOXELS),
        ("state", &m.state, ROI_VOXELS),
        ("seen_age_s", &m.seen_age_s, ROI_VOXELS),
        ("coarse_residual", &m.coarse_residual, COARSE_VOXELS),
    ]
}

impl Base {
    /// Leaves the differences of `m` to this base, or to its own voxels when there is none, in
    /// `differences`, and `m`'s planes as the new base.
    fn subtract(&mut self, m: &Scene) {
        let key = self.number == 0;
        let (margins, rest) = self.differences.split_at_mut(2 * ROI_VOXELS);
        let (low, high) = margins.split_at_mut(ROI_VOXELS);
        let mut before = 0;
        for (((low, high), base), value) in low.iter_mut().zip(high).zip(&mut self.margin).zip(&m.margin) {
            let step = value.wrapping_sub(if key { before } else { *base });
            [*low, *high] = zigzag(step).to_le_bytes();
            (before, *base) = (*value, *value);
        }
        let mut rest = rest.iter_mut().zip(&mut self.bytes);
        for (_, plane, _) in byte_planes(m) {
            let mut before = 0;
            for (value, (step, base)) in plane.iter().zip(&mut rest) {
                *step = value.wrapping_sub(if key { before } else { *base });
                (before, *base) = (*value, *value);
            }
        }
    }

    /// The way back.
    fn add(&mut self, key: bool) {
        let (margins, rest) = self.differences.split_at(2 * ROI_VOXELS);
        let (low, high) = margins.split_at(ROI_VOXELS);
        let mut before = 0_i16;
        for ((low, high), base) in low.iter().zip(high).zip(&mut self.margin) {
            let step = unzigzag(u16::from_le_bytes([*low, *high]));
            *base = step.wrapping_add(if key { before } else { *base });
            before = *base;
        }
        for (plane, steps) in self.bytes.chunks_exact_mut(ROI_VOXELS).zip(rest.chunks_exact(ROI_VOXELS)) {
            let mut before = 0_u8;
            for (base, step) in plane.iter_mut().zip(steps) {
                *base = step.wrapping_add(if key { before } else { *base });
                before = *base;
            }
        }
    }
}

/// 0, −1, 1, −2, … to 0, 1, 2, 3, …
const fn zigzag(step: i16) -> u16 {
    ((step << 1) ^ (step >> 15)) as u16
}

const fn unzigzag(code: u16) -> i16 {
    (code >> 1) as i16 ^ -((code & 1) as i16)
}

/// Runs: number of zeros, number of literals (both LEB128), literals; until the bytes are at their end.
fn pack(bytes: &[u8], to: &mut Vec<u8>) {
    let mut at = 0;
    while at < bytes.len() {
        let literals_at = at + zeros(&bytes[at..]);
        let mut end = literals_at;
        loop {
            end += bytes[end..].iter().position(|b| *b == 0).unwrap_or(bytes.len() - end);
            let gap = bytes[end..].iter().take(ZEROS_MIN).take_while(|b| **b == 0).count();
            if gap == ZEROS_MIN || end + gap == bytes.len() {
                break;
            }
            end += gap;
        }
        varint((literals_at - at) as u64, to);
        varint((end - literals_at) as u64, to);
        to.extend_from_slice(&bytes[literals_at..end]);
        at = end;
    }
}

/// How many zeros a slice begins with, eight at a time.
fn zeros(bytes: &[u8]) -> usize {
    let whole = bytes.chunks_exact(8).take_while(|eight| **eight == [0; 8]).count() * 8;
    whole + bytes[whole..].iter().take_while(|b| **b == 0).count()
}

fn varint(mut value: u64, to: &mut Vec<u8>) {
    while value >= 128 {
        to.push(value as u8 | 128);
        value >>= 7;
    }
    to.push(value as u8);
}

/// The way back; refuses runs that do not fill `to` exactly.
fn unpack(runs: &[u8], to: &mut [u8]) -> Result<(), Refused> {
    let need = to.len();
    let mut rest = runs;
    let mut at = 0;
    while at < need {
        let short = || Refused::new("runs", Why::Runs { at, need });
        let zeros = take_length(&mut rest).filter(|n| *n <= need - at).ok_or_else(short)?;
        let literals = take_length(&mut rest).filter(|n| *n <= need - at - zeros).ok_or_else(short)?;
        let Some((copied, after)) = rest.split_at_checked(literals) else { return Err(short()) };
        if zeros + literals == 0 {
            return Err(short());
        }
        to[at..at + zeros].fill(0);
        to[at + zeros..at + zeros + literals].copy_from_slice(copied);
        (at, rest) = (at + zeros + literals, after);
    }
    if rest.is_empty() { Ok(()) } else { Err(Refused::new("runs", Why::Trailing(rest.len()))) }
}

fn take_length(from: &mut &[u8]) -> Option<usize> {
    let mut value = 0_usize;
    for shift in [0, 7, 14, 21, 28] {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        value |= usize::from(byte & 127) << shift;
        if byte & 128 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn runs_are_exact(runs in prop::collection::vec((0..40_usize, prop::collection::vec(0..3_u8, 0..20)), 0..20)) {
            let bytes: Vec<u8> = runs.iter().flat_map(|(z, l)| vec![0; *z].into_iter().chain(l.clone())).collect();
            let mut packed = Vec::new();
            pack(&bytes, &mut packed);
            let mut back = vec![9; bytes.len()];
            prop_assert_eq!(unpack(&packed, &mut back), Ok(()));
            prop_assert_eq!(back, bytes);
        }

        #[test]
        fn no_runs_reach_past_their_end(runs in prop::collection::vec(any::<u8>(), 0..60), need in 0..200_usize) {
            // Whatever the bytes, either the buffer is filled exactly or they are refused.
            let mut to = vec![7; need];
            let before = runs.len();
            if unpack(&runs, &mut to).is_ok() {
                prop_assert!(before <= 10 * need.max(1) || need == 0);
            }
        }

        #[test]
        fn zigzag_comes_back(step in any::<i16>()) {
            prop_assert_eq!(unzigzag(zigzag(step)), step);
            prop_assert!(step == i16::MIN || zigzag(step) <= 2 * step.unsigned_abs());
        }
    }

    #[test]
    fn runs_that_promise_too_much_are_refused() {
        let mut to = [0; 16];
        assert_eq!(unpack(&[17, 0], &mut to), Err(Refused::new("runs", Why::Runs { at: 0, need: 16 })));
        assert_eq!(unpack(&[8, 8, 1], &mut to), Err(Refused::new("runs", Why::Runs { at: 0, need: 16 })));
        assert_eq!(unpack(&[0, 0], &mut to), Err(Refused::new("runs", Why::Runs { at: 0, need: 16 })));
        assert_eq!(unpack(&[16, 0, 0], &mut to), Err(Refused::new("runs", Why::Trailing(1))));
        assert_eq!(
            unpack(&[255, 255, 255, 255, 255, 1], &mut to),
            Err(Refused::new("runs", Why::Runs { at: 0, need: 16 }))
        );
    }
}
