//! Mirrors of what comes in from the edges: frames, tips, scans, registrations, anatomy, arm, console, people.

use super::codes::{energy, modality, modality_code, region, region_code, status, status_code};
use super::parts::{
    Bytes, DigestWire, GridWire, PoseWire, at, digest, dims, joints, millimetres, patient_point, point, vector,
};
use super::{Refused, Why};
use crate::item::{EncodedFrame, VolumeNote};
use bregma_core::flow::{
    Anatomy, ArmState, Capsule, Consent, Corridor, Craniotomy, Heartbeat, InstrumentState, RANGE_SIZE, RangeImage,
    Region, Registration, TipPose, TraceId,
};
use bregma_core::frame::FrameId;
use bregma_core::time::{Duration, Stamped};
use serde::{Deserialize, Serialize};

/// [`EncodedFrame`], version 1.
#[derive(Debug, Serialize, Deserialize)]
pub struct EncodedFrameWire {
    trace: u64,
    camera: u32,
    captured_ns: u64,
    keyframe: bool,
    data: Bytes,
}

impl EncodedFrameWire {
    pub fn of(m: &EncodedFrame) -> Self {
        Self {
            trace: m.trace.0,
            camera: m.camera,
            captured_ns: m.captured.nanos(),
            keyframe: m.keyframe,
            data: Bytes(m.data.clone()),
        }
    }
}

impl From<EncodedFrameWire> for EncodedFrame {
    fn from(w: EncodedFrameWire) -> Self {
        let EncodedFrameWire { trace, camera, captured_ns, keyframe, data } = w;
        Self { trace: TraceId(trace), camera, captured: at(captured_ns), keyframe, data: data.0 }
    }
}

/// [`RangeImage`], version 1.
#[derive(Debug, Serialize, Deserialize)]
pub struct RangeImageWire {
    camera: u32,
    ranges: Bytes,
    noise_mm: f64,
    bias_mm: f64,
    captured_ns: u64,
    received_ns: u64,
}

impl RangeImageWire {
    pub fn of(m: &RangeImage) -> Self {
        Self {
            camera: m.camera,
            ranges: Bytes(m.ranges.iter().flat_map(|r| r.to_le_bytes()).collect()),
            noise_mm: m.noise_mm,
            bias_mm: m.bias_mm,
            captured_ns: m.captured.nanos(),
            received_ns: m.received.nanos(),
        }
    }
}

impl TryFrom<RangeImageWire> for RangeImage {
    type Error = Refused;
    fn try_from(w: RangeImageWire) -> Result<Self, Refused> {
        const TILES: usize = RANGE_SIZE[0] * RANGE_SIZE[1];
        let found = w.ranges.0.len();
        if found != 2 * TILES {
            return Err(Refused::new("ranges", Why::Length { found, need: 2 * TILES }));
        }
        let mut m =
            Self { camera: w.camera, captured: at(w.captured_ns), received: at(w.received_ns), ..Self::blank() };
        for (range, bytes) in m.ranges.iter_mut().zip(w.ranges.0.chunks_exact(2)) {
            *range = u16::from_le_bytes([bytes[0], bytes[1]]);
        }
        m.noise_mm = millimetres("noise_mm", w.noise_mm)?.get();
        m.bias_mm = millimetres("bias_mm", w.bias_mm)?.get();
        Ok(m)
    }
}

/// [`TipPose`], version 1.
#[derive(Debug, Serialize, Deserialize)]
pub struct TipPoseWire {
    trace: u64,
    reference_from_tip: PoseWire,
    captured_ns: u64,
    valid_for_ns: u64,
    error_mm: f64,
    drift_mm_s: f64,
    status: u8,
    received_ns: u64,
}

impl TipPoseWire {
    pub fn of(m: &TipPose) -> Self {
        let s = &m.reference_from_tip;
        Self {
            trace: m.trace.0,
            reference_from_tip: PoseWire::of(&s.value),
            captured_ns: s.captured.nanos(),
            valid_for_ns: s.valid_for.nanos(),
            error_mm: s.error.get(),
            drift_mm_s: s.drift_mm_s,
            status: status_code(m.status),
            received_ns: m.received.nanos(),
        }
    }
}

impl TryFrom<TipPoseWire> for TipPose {
    type Error = Refused;
    fn try_from(w: TipPoseWire) -> Result<Self, Refused> {
        Ok(Self {
            trace: TraceId(w.trace),
            reference_from_tip: Stamped {
                value: w.reference_from_tip.pose("reference_from_tip")?,
                captured: at(w.captured_ns),
                valid_for: Duration::from_nanos(w.valid_for_ns),
                error: millimetres("error_mm", w.error_mm)?,
                drift_mm_s: w.drift_mm_s,
            },
            status: status("status", w.status)?,
            received: at(w.received_ns),
        })
    }
}

/// [`VolumeNote`], version 1.
#[derive(Debug, Serialize, Deserialize)]
pub struct VolumeNoteWire {
    modality: u8,
    dims: [u64; 3],
    frame: u64,
    acquired_ns: u64,
    digest: DigestWire,
}

impl VolumeNoteWire {
    pub fn of(m: &VolumeNote) -> Self {
        Self {
            modality: modality_code(m.modality),
            dims: m.dims.map(|n| n as u64),
            frame: m.frame.0,
            acquired_ns: m.acquired.nanos(),
            digest: m.digest.0,
        }
    }
}

impl TryFrom<VolumeNoteWire> for VolumeNote {
    type Error = Refused;
    fn try_from(w: VolumeNoteWire) -> Result<Self, Refused> {
        Ok(Self {
            modality: modality("modality", w.modality)?,
            dims: dims("dims", w.dims)?,
            frame: FrameId(w.frame),
            acquired: at(w.acquired_ns),
            digest: digest(w.digest),
        })
    }
}

/// [`Registration`], version 2.
#[derive(Debug, Serialize, Deserialize)]
pub struct RegistrationWire {
    patient_from_reference: PoseWire,
    fre_mm: f64,
    predicted_tre_mm: f64,
    patient_up: Option<[f64; 3]>,
    registered_ns: u64,
    expires_ns: u64,
}

impl RegistrationWire {
    pub fn of(m: &Registration) -> Self {
        Self {
            patient_from_reference: PoseWire::of(&m.patient_from_reference),
            fre_mm: m.fre.get(),
            predicted_tre_mm: m.predicted_tre.get(),
            patient_up: m.up,
            registered_ns: m.registered.nanos(),
            expires_ns: m.expires.nanos(),
        }
    }
}

impl TryFrom<RegistrationWire> for Registration {
    type Error = Refused;
    fn try_from(w: RegistrationWire) -> Result<Self, Refused> {
        Ok(Self {
            patient_from_reference: w.patient_from_reference.pose("patient_from_reference")?,
            fre: millimetres("fre_mm", w.fre_mm)?,
            predicted_tre: millimetres("predicted_tre_mm", w.predicted_tre_mm)?,
            up: w
                .patient_up
                .map(|up| patient_point("patient_up", up))
                .transpose()?
                .map(|up| up.coordinates().coords.into()),
            registered: at(w.registered_ns),
            expires: at(w.expires_ns),
        })
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct CapsuleWire {
    patient_start_mm: [f64; 3],
    patient_end_mm: [f64; 3],
    radius_mm: f64,
}

#[derive(Debug, Serialize, Deserialize)]
struct RegionWire {
    label: u8,
    name: String,
    kind: u8,
}

/// [`Anatomy`], version 1. Labels as runs: a length and a label, until the grid is full.
#[derive(Debug, Serialize, Deserialize)]
pub struct AnatomyWire {
    frame: u64,
    vessels: Vec<CapsuleWire>,
    grid: GridWire,
    label_runs: Vec<(u32, u8)>,
    regions: Vec<RegionWire>,
    patient_craniotomy_centre_mm: [f64; 3],
    patient_craniotomy_outward: [f64; 3],
    craniotomy_radius_mm: f64,
    patient_entry_mm: [f64; 3],
    patient_target_mm: [f64; 3],
    entry_radius_mm: f64,
    end_radius_mm: f64,
    open_mm: f64,
    digest: DigestWire,
}

/// Most voxels of a region map: a head at 0.5 mm. Bounds what a few bytes of runs may ask for.
const LABELS_MAX: usize = 128 << 20;

impl AnatomyWire {
    pub fn of(m: &Anatomy) -> Self {
        let vessel = |v: &Capsule| CapsuleWire {
            patient_start_mm: point(&v.start),
            patient_end_mm: point(&v.end),
            radius_mm: v.radius_mm,
        };
        let region = |r: &Region| RegionWire { label: r.label, name: r.name.clone(), kind: region_code(r.kind) };
        let runs = m.labels.chunk_by(|a, b| a == b);
        Self {
            frame: m.frame.0,
            vessels: m.vessels.iter().map(vessel).collect(),
            grid: GridWire::of(&m.grid),
            label_runs: runs.map(|run| (run.len() as u32, run[0])).collect(),
            regions: m.regions.iter().map(region).collect(),
            patient_craniotomy_centre_mm: point(&m.craniotomy.centre),
            patient_craniotomy_outward: vector(&m.craniotomy.outward),
            craniotomy_radius_mm: m.craniotomy.radius_mm,
            patient_entry_mm: point(&m.corridor.entry),
            patient_target_mm: point(&m.corridor.target),
            entry_radius_mm: m.corridor.entry_radius_mm,
            end_radius_mm: m.corridor.end_radius_mm,
            open_mm: m.corridor.open_mm,
            digest: m.digest.0,
        }
    }
}

impl TryFrom<AnatomyWire> for Anatomy {
    type Error = Refused;
    fn try_from(w: AnatomyWire) -> Result<Self, Refused> {
        let voxels = w.label_runs.iter().fold(0_usize, |sum, (run, _)| sum.saturating_add(*run as usize));
        if voxels > LABELS_MAX {
            return Err(Refused::new("label_runs", Why::Length { found: voxels, need: LABELS_MAX }));
        }
        let grid = w.grid.grid("grid", voxels)?;
        let mut labels = Vec::with_capacity(voxels);
        for (run, label) in w.label_runs {
            labels.resize(labels.len() + run as usize, label);
        }
        let vessels = w.vessels.into_iter().map(|v| Capsule {
            start: v.patient_start_mm.into(),
            end: v.patient_end_mm.into(),
            radius_mm: v.radius_mm,
        });
        let regions = w
            .regions
            .into_iter()
            .map(|r| Ok(Region { label: r.label, name: r.name, kind: region("regions.kind", r.kind)? }))
            .collect::<Result<_, Refused>>()?;
        Ok(Self {
            frame: FrameId(w.frame),
            vessels: vessels.collect(),
            grid,
            labels,
            regions,
            craniotomy: Craniotomy {
                centre: w.patient_craniotomy_centre_mm.into(),
                outward: w.patient_craniotomy_outward.into(),
                radius_mm: w.craniotomy_radius_mm,
            },
            corridor: Corridor {
                entry: w.patient_entry_mm.into(),
                target: w.patient_target_mm.into(),
                entry_radius_mm: w.entry_radius_mm,
                end_radius_mm: w.end_radius_mm,
                open_mm: w.open_mm,
            },
            digest: digest(w.digest),
        })
    }
}

/// [`ArmState`], version 1.
#[derive(Debug, Serialize, Deserialize)]
pub struct ArmStateWire {
    joints_rad: Vec<f64>,
    speeds_rad_s: Vec<f64>,
    ready: bool,
    captured_ns: u64,
}

impl ArmStateWire {
    pub fn of(m: &ArmState) -> Self {
        Self {
            joints_rad: m.joints.as_slice().to_vec(),
            speeds_rad_s: m.speeds.as_slice().to_vec(),
            ready: m.ready,
            captured_ns: m.captured.nanos(),
        }
    }
}

impl TryFrom<ArmStateWire> for ArmState {
    type Error = Refused;
    fn try_from(w: ArmStateWire) -> Result<Self, Refused> {
        Ok(Self {
            joints: joints("joints_rad", &w.joints_rad)?,
            speeds: joints("speeds_rad_s", &w.speeds_rad_s)?,
            ready: w.ready,
            captured: at(w.captured_ns),
        })
    }
}

/// [`InstrumentState`], version 1.
#[derive(Debug, Serialize, Deserialize)]
pub struct InstrumentStateWire {
    energy: u8,
    captured_ns: u64,
}

impl InstrumentStateWire {
    pub const fn of(m: &InstrumentState) -> Self {
        Self { energy: m.energy.bits(), captured_ns: m.captured.nanos() }
    }
}

impl TryFrom<InstrumentStateWire> for InstrumentState {
    type Error = Refused;
    fn try_from(w: InstrumentStateWire) -> Result<Self, Refused> {
        Ok(Self { energy: energy("energy", w.energy)?, captured: at(w.captured_ns) })
    }
}

/// [`Consent`], version 1.
#[derive(Debug, Serialize, Deserialize)]
pub struct ConsentWire {
    channels: [bool; 2],
    captured_ns: u64,
}

impl ConsentWire {
    pub const fn of(m: &Consent) -> Self {
        Self { channels: m.channels, captured_ns: m.captured.nanos() }
    }
}

impl From<ConsentWire> for Consent {
    fn from(w: ConsentWire) -> Self {
        Self { channels: w.channels, captured: at(w.captured_ns) }
    }
}

/// [`Heartbeat`], version 1.
#[derive(Debug, Serialize, Deserialize)]
pub struct HeartbeatWire {
    count: u64,
    captured_ns: u64,
}

impl HeartbeatWire {
    pub const fn of(m: &Heartbeat) -> Self {
        Self { count: m.count, captured_ns: m.captured.nanos() }
    }
}

impl From<HeartbeatWire> for Heartbeat {
    fn from(w: HeartbeatWire) -> Self {
        Self { count: w.count, captured: at(w.captured_ns) }
    }
}
