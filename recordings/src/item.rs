//! What goes down a lane to the recording: a message of the flow, its topic and its number.
//!
//! **Allocation:** none; an [`Item`] is made of copies and of handles that are counted up, so that a tap
//! may make one on the flow's own thread. The work of encoding is done by the recorder's thread.

use crate::topic::Topic;
use bregma_core::digest::{Digest, Digester};
use bregma_core::faults::Latched;
use bregma_core::flow::{
    Anatomy, ApprovedRecord, ArmState, Consent, Heartbeat, InstrumentState, Modality, Order, Plan, RangeImage, Reacted,
    Registration, Scene, Sent, TipPose, TraceId, Verdict, Volume, Withdrawn,
};
use bregma_core::frame::FrameId;
use bregma_core::runner::StepRecord;
use bregma_core::stage::{Saw, SawAll, TOPICS_PER_STAGE_MAX};
use bregma_core::time::Instant;
use std::sync::Arc;

/// A camera frame as the encoder's tap gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedFrame {
    /// Trace of the frame.
    pub trace: TraceId,
    /// Which camera.
    pub camera: u32,
    /// Hand-over of the picture by the device.
    pub captured: Instant,
    /// Whether decoding can start here.
    pub keyframe: bool,
    /// One H.264 access unit, Annex B.
    pub data: Vec<u8>,
}

/// What is recorded of a scan: all but its intensities, which its digest binds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VolumeNote {
    /// Which contrast.
    pub modality: Modality,
    /// `[nx, ny, nz]`.
    pub dims: [usize; 3],
    /// Frame of reference of the scan.
    pub frame: FrameId,
    /// When it was acquired.
    pub acquired: Instant,
    /// Of shape, affine, frame, intensities, and where its tissue was.
    pub digest: Digest,
}

impl VolumeNote {
    /// Notes a scan. Hashes it whole: about 0.1 s for a head at 1 mm, so not on the flow's threads.
    #[must_use]
    pub fn of(volume: &Volume) -> Self {
        let mut d = Digester::new("bregma volume 2");
        d.u64(volume.frame.0).u64(volume.acquired.nanos()).u64(volume.modality as u64);
        d.sizes(&volume.dims).f64s(volume.patient_from_voxel.as_slice());
        d.u64(volume.intensities.len() as u64);
        let mut block = [0_u8; 4096];
        for values in volume.intensities.chunks(block.len() / 4) {
            for (to, value) in block.chunks_exact_mut(4).zip(values) {
                to.copy_from_slice(&value.to_le_bytes());
            }
            d.bytes(&block[..values.len() * 4]);
        }
        d.u64(u64::from(volume.shift.is_some()));
        volume.shift.iter().for_each(|shift| shift.digest_into(&mut d));
        let &Volume { modality, dims, frame, acquired, .. } = volume;
        Self { modality, dims, frame, acquired, digest: d.finish() }
    }
}

/// A [`StepRecord`] in the size of a lane's slot.
///
/// Of each topic seen it keeps the last number and how many came before it; a lane holds far fewer than
/// 2³², so nothing is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    stage: &'static str,
    index: u64,
    now: Instant,
    last: [u64; TOPICS_PER_STAGE_MAX],
    span: [u32; TOPICS_PER_STAGE_MAX],
    topic: [u8; TOPICS_PER_STAGE_MAX],
    count: u8,
    overrun: bool,
    panicked: bool,
    latched: Latched,
}

impl Step {
    /// Of a step.
    #[must_use]
    pub fn of(step: &StepRecord) -> Self {
        let mut compact = Self {
            stage: step.stage,
            index: step.index,
            now: step.now,
            last: [0; TOPICS_PER_STAGE_MAX],
            span: [0; TOPICS_PER_STAGE_MAX],
            topic: [0; TOPICS_PER_STAGE_MAX],
            count: step.saw.as_slice().len() as u8,
            overrun: step.overrun,
            panicked: step.panicked,
            latched: step.saw.latched,
        };
        for (at, saw) in step.saw.as_slice().iter().enumerate() {
            compact.topic[at] = saw.topic;
            compact.last[at] = saw.last;
            compact.span[at] = saw.last.saturating_sub(saw.first).min(u64::from(u32::MAX)) as u32;
        }
        compact
    }

    /// The step.
    #[must_use]
    pub fn record(&self) -> StepRecord {
        let mut saw = SawAll::default();
        saw.latched = self.latched;
        for at in 0..usize::from(self.count) {
            let last = self.last[at];
            saw.push(Saw { topic: self.topic[at], first: last - u64::from(self.span[at]), last });
        }
        let &Self { stage, index, now, overrun, panicked, .. } = self;
        StepRecord { stage, index, now, saw, overrun, panicked }
    }
}

/// A message of the flow, as it is recorded and as it is read back.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// A camera frame, encoded.
    Encoded(Arc<EncodedFrame>),
    /// A tracked tip.
    Tip(TipPose),
    /// How far away what the microscope shows is.
    Ranges(Arc<RangeImage>),
    /// A scan to be noted by the recorder's thread; it reads back as [`Message::Volume`].
    Scan(Arc<Volume>),
    /// A scan's note.
    Volume(VolumeNote),
    /// A registration.
    Registration(Registration),
    /// What was planned and known before.
    Anatomy(Arc<Anatomy>),
    /// A scene.
    Scene(Arc<Scene>),
    /// A plan.
    Plan(Arc<Plan>),
    /// A verdict.
    Verdict(Arc<Verdict>),
    /// An approval's plain record.
    Approved(Arc<ApprovedRecord>),
    /// An approval that no longer holds.
    Withdrawn(Withdrawn),
    /// What the arm was told.
    Sent(Sent),
    /// A reaction.
    Reacted(Reacted),
    /// What the arm says.
    Arm(ArmState),
    /// What the console says.
    Instrument(InstrumentState),
    /// The enabling input.
    Consent(Consent),
    /// A sign of life.
    Heartbeat(Heartbeat),
    /// An order.
    Order(Order),
    /// A step.
    Step(Step),
}

impl Message {
    /// Its topic.
    #[must_use]
    pub const fn topic(&self) -> Topic {
        match self {
            Self::Encoded(_) => Topic::Encoded,
            Self::Tip(_) => Topic::Tips,
            Self::Ranges(_) => Topic::Ranges,
            Self::Scan(_) | Self::Volume(_) => Topic::Volumes,
            Self::Registration(_) => Topic::Registration,
            Self::Anatomy(_) => Topic::Anatomy,
            Self::Scene(_) => Topic::Scenes,
            Self::Plan(_) => Topic::Plans,
            Self::Verdict(_) => Topic::Verdicts,
            Self::Approved(_) => Topic::Approved,
            Self::Withdrawn(_) => Topic::Withdrawn,
            Self::Sent(_) => Topic::Sent,
            Self::Reacted(_) => Topic::Reacted,
            Self::Arm(_) => Topic::Arm,
            Self::Instrument(_) => Topic::Instrument,
            Self::Consent(_) => Topic::Consent,
            Self::Heartbeat(_) => Topic::Heartbeat,
            Self::Order(_) => Topic::Orders,
            Self::Step(_) => Topic::Steps,
        }
    }

    /// When it came to be, on the session's clock; `None` where the message does not say.
    #[must_use]
    pub fn at(&self) -> Option<Instant> {
        match self {
            Self::Encoded(m) => Some(m.captured),
            Self::Tip(m) => Some(m.received),
            Self::Ranges(m) => Some(m.received),
            Self::Registration(m) => Some(m.registered),
            Self::Scene(m) => Some(m.decided),
            Self::Plan(m) => Some(m.decided),
            Self::Verdict(m) => Some(m.decided),
            Self::Approved(m) => Some(m.decided),
            Self::Withdrawn(m) => Some(m.decided),
            Self::Sent(m) => Some(m.sent),
            Self::Reacted(m) => Some(m.decided),
            Self::Arm(m) => Some(m.captured),
            Self::Instrument(m) => Some(m.captured),
            Self::Consent(m) => Some(m.captured),
            Self::Heartbeat(m) => Some(m.captured),
            Self::Step(m) => Some(m.now),
            // A scan says when it was acquired, which may be long before it came in.
            Self::Scan(_) | Self::Volume(_) | Self::Anatomy(_) | Self::Order(_) => None,
        }
    }
}

/// A message and its number in its topic.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Number of the message, from 1.
    pub number: u64,
    /// The message.
    pub message: Message,
}

// A lane of 512 of them takes 128 KiB.
const _: () = assert!(size_of::<Item>() <= 256);

macro_rules! items {
    ($($(#[$doc:meta])* $make:ident($value:ty) = $variant:ident;)*) => {
        impl Item {
            $($(#[$doc])*
            #[must_use]
            pub const fn $make(number: u64, value: $value) -> Self {
                Self { number, message: Message::$variant(value) }
            })*
        }
    };
}

items! {
    /// A camera frame, encoded.
    encoded(Arc<EncodedFrame>) = Encoded;
    /// A tracked tip.
    tip(TipPose) = Tip;
    /// How far away what the microscope shows is.
    ranges(Arc<RangeImage>) = Ranges;
    /// A registration.
    registration(Registration) = Registration;
    /// What was planned and known before.
    anatomy(Arc<Anatomy>) = Anatomy;
    /// A scene.
    scene(Arc<Scene>) = Scene;
    /// A plan.
    plan(Arc<Plan>) = Plan;
    /// A verdict.
    verdict(Arc<Verdict>) = Verdict;
    /// An approval's plain record.
    approved(Arc<ApprovedRecord>) = Approved;
    /// An approval that no longer holds.
    withdrawn(Withdrawn) = Withdrawn;
    /// What the arm was told.
    sent(Sent) = Sent;
    /// A reaction.
    reacted(Reacted) = Reacted;
    /// What the arm says.
    arm(ArmState) = Arm;
    /// What the console says.
    instrument(InstrumentState) = Instrument;
    /// The enabling input.
    consent(Consent) = Consent;
    /// A sign of life.
    heartbeat(Heartbeat) = Heartbeat;
    /// An order.
    order(Order) = Order;
}

impl Item {
    /// A scan; the recorder's thread hashes it.
    #[must_use]
    pub fn volume(number: u64, value: &Arc<Volume>) -> Self {
        Self { number, message: Message::Scan(Arc::clone(value)) }
    }

    /// A step; its number is its index within its stage.
    #[must_use]
    pub fn step(step: StepRecord) -> Self {
        Self { number: step.index, message: Message::Step(Step::of(&step)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nalgebra::Matrix4;

    #[test]
    fn a_step_keeps_all_that_it_saw() {
        let mut saw = SawAll::default();
        saw.latched = Latched(5);
        for topic in 0..TOPICS_PER_STAGE_MAX as u8 {
            let first = u64::from(topic) << 33;
            saw.push(Saw { topic, first, last: first + u64::from(topic) });
        }
        let now = Instant::from_nanos(9);
        let step = StepRecord { stage: "plan", index: 3, now, saw, overrun: true, panicked: false };
        assert_eq!(Step::of(&step).record(), step);
    }

    #[test]
    fn a_note_binds_every_intensity() {
        let mut volume = Volume {
            modality: Modality::T1c,
            dims: [20, 10, 11],
            intensities: (0..2200).map(|i| i as f32).collect(),
            patient_from_voxel: Matrix4::identity(),
            frame: FrameId(4),
            acquired: Instant::START,
            shift: None,
        };
        let before = VolumeNote::of(&volume);
        volume.intensities[2199] += 1.0;
        assert_ne!(before.digest, VolumeNote::of(&volume).digest);
        assert_eq!(before.dims, [20, 10, 11]);
    }
}
