//! The wire: what each message looks like in a recording, and back.
//!
//! A message is `number` (varint) and then its mirror type in [postcard](https://postcard.jamesmunns.com)
//! form, fields in the order of declaration. Mirrors are versioned by the schema's name
//! ([`Topic::schema`]); enumerations are numbers from tables that only grow. **Units and frames** stand in
//! the mirrors' field names and in [`describe`]. **Invariants:** the same message has the same bytes; what
//! decodes, encodes to the bytes it came from, floats bit for bit. **Allocation:** decoding allocates no
//! more than a small multiple of the bytes given, but for scenes, whose size is fixed.

mod codes;
mod decided;
mod parts;
mod scene;
mod sensed;
mod text;

use crate::item::Message;
use crate::topic::Topic;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

pub use codes::{PLANNERS, STAGES};
pub use scene::{SceneReader, SceneWriter};
pub use text::describe;

/// Why a field has no place on the wire, or none in the flow.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Why {
    /// A length or coordinate that must be finite.
    #[error("{0} is not finite")]
    NotFinite(f64),
    /// A quaternion that is no rotation.
    #[error("the quaternion's length is {0}; 1 is needed")]
    NotARotation(f64),
    /// A number that is in no table.
    #[error("{0} means nothing here; the recording may be from a newer program")]
    UnknownCode(u64),
    /// A name that is in no table.
    #[error("the name {name:?} is not among {known:?}")]
    UnknownName {
        /// The name.
        name: String,
        /// Those that are known.
        known: &'static [&'static str],
    },
    /// A sequence of the wrong length.
    #[error("it has {found} values; {need} are needed")]
    Length {
        /// How many it has.
        found: usize,
        /// How many it should have.
        need: usize,
    },
    /// A scene was stored as the difference to one that was not read before it.
    #[error("it is the difference to scene {needs}, and scene {held} was read before it")]
    WrongBase {
        /// The scene it builds on.
        needs: u64,
        /// The scene that was read last; 0 when none.
        held: u64,
    },
    /// Run lengths that do not fill a scene exactly.
    #[error("its runs end at byte {at} of {need}")]
    Runs {
        /// Where they end.
        at: usize,
        /// Where they should.
        need: usize,
    },
    /// The bytes are not the mirror's.
    #[error("the bytes are no such message ({0})")]
    Postcard(postcard::Error),
    /// Bytes follow the message.
    #[error("{0} bytes follow the message")]
    Trailing(usize),
}

/// A field was refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("`{field}`: {why}")]
pub struct Refused {
    /// Which field.
    pub field: &'static str,
    /// Why.
    pub why: Why,
}

impl Refused {
    pub(crate) const fn new(field: &'static str, why: Why) -> Self {
        Self { field, why }
    }
}

/// A message was refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{topic} {number}: {refused}")]
pub struct WireError {
    /// Its topic.
    pub topic: Topic,
    /// Its number.
    pub number: u64,
    /// What of it.
    pub refused: Refused,
}

/// Appends a message's mirror to `to`.
fn put(mirror: &impl Serialize, to: Vec<u8>) -> Result<Vec<u8>, Refused> {
    postcard::to_extend(mirror, to).map_err(|why| Refused::new("message", Why::Postcard(why)))
}

fn get<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refused> {
    match postcard::take_from_bytes(bytes) {
        Err(why) => Err(Refused::new("message", Why::Postcard(why))),
        Ok((_, rest)) if !rest.is_empty() => Err(Refused::new("message", Why::Trailing(rest.len()))),
        Ok((mirror, _)) => Ok(mirror),
    }
}

/// Encodes messages; holds the scene before, for differences.
#[derive(Default)]
pub struct Encoder {
    scenes: SceneWriter,
}

impl Encoder {
    /// The next scene is stored whole.
    pub fn key_scene(&mut self) {
        self.scenes.forget();
    }

    /// Number and mirror of a message, as they stand in the recording, appended to `to`.
    ///
    /// # Errors
    /// [`WireError`] with the field that has no place on the wire.
    pub fn encode(&mut self, number: u64, message: &Message, to: Vec<u8>) -> Result<Vec<u8>, WireError> {
        put(&number, to).and_then(|to| self.body(number, message, to)).map_err(|refused| WireError {
            topic: message.topic(),
            number,
            refused,
        })
    }

    fn body(&mut self, number: u64, message: &Message, to: Vec<u8>) -> Result<Vec<u8>, Refused> {
        match message {
            Message::Encoded(m) => put(&sensed::EncodedFrameWire::of(m), to),
            Message::Tip(m) => put(&sensed::TipPoseWire::of(m), to),
            Message::Ranges(m) => put(&sensed::RangeImageWire::of(m), to),
            Message::Scan(m) => put(&sensed::VolumeNoteWire::of(&crate::item::VolumeNote::of(m)), to),
            Message::Volume(m) => put(&sensed::VolumeNoteWire::of(m), to),
            Message::Registration(m) => put(&sensed::RegistrationWire::of(m), to),
            Message::Anatomy(m) => put(&sensed::AnatomyWire::of(m), to),
            Message::Scene(m) => put(&self.scenes.wire(number, m)?, to),
            Message::Plan(m) => put(&decided::PlanWire::of(m)?, to),
            Message::Verdict(m) => put(&decided::VerdictWire::of(m), to),
            Message::Approved(m) => put(&decided::ApprovedWire::of(m), to),
            Message::Withdrawn(m) => put(&decided::WithdrawnWire::of(m), to),
            Message::Sent(m) => put(&decided::SentWire::of(m), to),
            Message::Reacted(m) => put(&decided::ReactedWire::of(m), to),
            Message::Arm(m) => put(&sensed::ArmStateWire::of(m), to),
            Message::Instrument(m) => put(&sensed::InstrumentStateWire::of(m), to),
            Message::Consent(m) => put(&sensed::ConsentWire::of(m), to),
            Message::Heartbeat(m) => put(&sensed::HeartbeatWire::of(m), to),
            Message::Order(m) => put(&codes::order_code(*m), to),
            Message::Step(m) => put(&decided::StepWire::of(&m.record())?, to),
        }
    }
}

/// The bytes of a message alone: the same message has the same bytes, and a scene is whole.
///
/// # Errors
/// [`Refused`] with the field that has no place on the wire.
pub fn bytes_of(message: &Message) -> Result<Vec<u8>, Refused> {
    Encoder::default().body(0, message, Vec::new())
}

/// The number that a recorded message begins with, and its body.
///
/// # Errors
/// [`Refused`] when there is none.
pub fn number_of(data: &[u8]) -> Result<(u64, &[u8]), Refused> {
    postcard::take_from_bytes(data).map_err(|why| Refused::new("number", Why::Postcard(why)))
}

/// Decodes a message's body. Scenes must come in the order of writing, from a whole one on.
///
/// # Errors
/// [`WireError`] with the field that has no place in the flow.
pub fn decode(topic: Topic, number: u64, body: &[u8], scenes: &mut SceneReader) -> Result<Message, WireError> {
    message(topic, number, body, scenes).map_err(|refused| WireError { topic, number, refused })
}

fn message(topic: Topic, number: u64, body: &[u8], scenes: &mut SceneReader) -> Result<Message, Refused> {
    Ok(match topic {
        Topic::Encoded => Message::Encoded(Arc::new(get::<sensed::EncodedFrameWire>(body)?.into())),
        Topic::Tips => Message::Tip(get::<sensed::TipPoseWire>(body)?.try_into()?),
        Topic::Ranges => Message::Ranges(Arc::new(get::<sensed::RangeImageWire>(body)?.try_into()?)),
        Topic::Volumes => Message::Volume(get::<sensed::VolumeNoteWire>(body)?.try_into()?),
        Topic::Registration => Message::Registration(get::<sensed::RegistrationWire>(body)?.try_into()?),
        Topic::Anatomy => Message::Anatomy(Arc::new(get::<sensed::AnatomyWire>(body)?.try_into()?)),
        Topic::Scenes => Message::Scene(Arc::new(scenes.read(number, get(body)?)?)),
        Topic::Plans => Message::Plan(Arc::new(get::<decided::PlanWire>(body)?.try_into()?)),
        Topic::Verdicts => Message::Verdict(Arc::new(get::<decided::VerdictWire>(body)?.try_into()?)),
        Topic::Approved => Message::Approved(Arc::new(get::<decided::ApprovedWire>(body)?.try_into()?)),
        Topic::Withdrawn => Message::Withdrawn(get::<decided::WithdrawnWire>(body)?.try_into()?),
        Topic::Sent => Message::Sent(get::<decided::SentWire>(body)?.try_into()?),
        Topic::Reacted => Message::Reacted(get::<decided::ReactedWire>(body)?.try_into()?),
        Topic::Arm => Message::Arm(get::<sensed::ArmStateWire>(body)?.try_into()?),
        Topic::Instrument => Message::Instrument(get::<sensed::InstrumentStateWire>(body)?.try_into()?),
        Topic::Consent => Message::Consent(get::<sensed::ConsentWire>(body)?.into()),
        Topic::Heartbeat => Message::Heartbeat(get::<sensed::HeartbeatWire>(body)?.into()),
        Topic::Orders => Message::Order(codes::order("order", get(body)?)?),
        Topic::Steps => Message::Step(crate::item::Step::of(&get::<decided::StepWire>(body)?.try_into()?)),
        Topic::Header | Topic::Video | Topic::Rois | Topic::Stamps => {
            return Err(Refused::new("topic", Why::UnknownCode(u64::from(topic.number()))));
        }
    })
}

#[cfg(test)]
mod tests;
