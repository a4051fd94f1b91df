//! What messages say: one variant a type, and the bytes of any type that this crate does not know.
//!
//! Numbers come through as they stand on the wire, NaN and infinities included: whether a pose makes sense is the
//! receiver's question, not the codec's. Lengths, counts and what decides how bytes are to be read are the codec's:
//! they agree with the bytes that are there, or the message is refused.

use crate::bind::Bind;
use crate::colors::ColorTable;
use crate::error::{DecodeError, EncodeError};
use crate::fields::{Reader, Writer};
use crate::image::Image;
use crate::list::{Element, List};
use crate::marks::{Point, Trajectory};
use crate::meta::{ImageMeta, LabelMeta, VideoMeta};
use crate::names::TypeName;
use crate::numbers::{NdArray, Sensor};
use crate::options::Peer;
use crate::polydata::PolyData;
use crate::pose::{Position, TRANSFORM_SIZE, Transform};
use crate::request::{self, Ask, Verb};
use crate::text::{Command, Status, Text};
use crate::tools::{Tool, TurnedTool};
use crate::video::Video;

/// The content of a message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Content<'a> {
    /// TRANSFORM: a rotation and a translation.
    Transform(Transform),
    /// POSITION: a position, with or without an orientation.
    Position(Position),
    /// QTRANS: the same under its older name.
    QTrans(Position),
    /// TDATA: a tracker's tools, as matrices.
    Tools(List<'a, Tool<'a>>),
    /// QTDATA: a tracker's tools, as quaternions.
    TurnedTools(List<'a, TurnedTool<'a>>),
    /// IMAGE: voxels.
    Image(Image<'a>),
    /// IMGMETA: which images there are.
    Images(List<'a, ImageMeta<'a>>),
    /// LBMETA: which labels there are.
    Labels(List<'a, LabelMeta<'a>>),
    /// COLORT: colours of labels.
    ColorTable(ColorTable<'a>),
    /// POINT: marked points.
    Points(List<'a, Point<'a>>),
    /// TRAJ: planned ways.
    Trajectories(List<'a, Trajectory<'a>>),
    /// POLYDATA: a surface.
    PolyData(PolyData<'a>),
    /// STATUS: how a device does.
    Status(Status<'a>),
    /// STRING: a text.
    String(Text<'a>),
    /// CAPABILITY: the types that a device speaks.
    Capability(List<'a, TypeName>),
    /// SENSOR: readings.
    Sensor(Sensor<'a>),
    /// NDARRAY: an array of numbers.
    NdArray(NdArray<'a>),
    /// COMMAND: something to be done.
    Command(Command<'a>),
    /// RTS_COMMAND: what became of it.
    CommandReply(Command<'a>),
    /// BIND: several messages in one.
    Bind(Bind<'a>),
    /// VIDEO: a compressed picture.
    Video(Video<'a>),
    /// VIDEOMETA: which videos there are.
    Videos(List<'a, VideoMeta<'a>>),
    /// GET_, STT_ or STP_ of a type that the protocol knows.
    Request {
        /// As `GET_IMAGE`: see [`Verb::split`].
        type_name: TypeName,
        /// What it asks beyond its name.
        ask: Ask<'a>,
    },
    /// RTS_ of a type that the protocol knows, but RTS_COMMAND.
    Reply {
        /// As `RTS_TDATA`.
        type_name: TypeName,
        /// 0 for success; 1 for an error, and so is any other.
        status: u8,
    },
    /// A type that this crate does not understand; its header and CRC were right.
    Other {
        /// Its name.
        type_name: TypeName,
        /// Its content as it came.
        bytes: &'a [u8],
    },
}

/// Names of the types on the wire.
const fn name(name: &str) -> TypeName {
    TypeName::constant(name)
}

/// The same as numbers.
mod key {
    use super::name;

    pub(super) const TRANSFORM: u128 = name("TRANSFORM").key();
    pub(super) const POSITION: u128 = name("POSITION").key();
    pub(super) const QTRANS: u128 = name("QTRANS").key();
    pub(super) const TDATA: u128 = name("TDATA").key();
    pub(super) const QTDATA: u128 = name("QTDATA").key();
    pub(super) const IMAGE: u128 = name("IMAGE").key();
    pub(super) const IMGMETA: u128 = name("IMGMETA").key();
    pub(super) const LBMETA: u128 = name("LBMETA").key();
    pub(super) const COLORT: u128 = name("COLORT").key();
    pub(super) const POINT: u128 = name("POINT").key();
    pub(super) const TRAJ: u128 = name("TRAJ").key();
    pub(super) const POLYDATA: u128 = name("POLYDATA").key();
    pub(super) const STATUS: u128 = name("STATUS").key();
    pub(super) const STRING: u128 = name("STRING").key();
    pub(super) const CAPABILITY: u128 = name("CAPABILITY").key();
    pub(super) const SENSOR: u128 = name("SENSOR").key();
    pub(super) const NDARRAY: u128 = name("NDARRAY").key();
    pub(super) const COMMAND: u128 = name("COMMAND").key();
    pub(super) const RTS_COMMAND: u128 = name("RTS_COMMAND").key();
    pub(super) const BIND: u128 = name("BIND").key();
    pub(super) const VIDEO: u128 = name("VIDEO").key();
    pub(super) const VIDEOMETA: u128 = name("VIDEOMETA").key();
}

impl<'a> Content<'a> {
    /// The type's name on the wire.
    #[must_use]
    pub const fn type_name(&self) -> TypeName {
        match self {
            Self::Transform(_) => const { name("TRANSFORM") },
            Self::Position(_) => const { name("POSITION") },
            Self::QTrans(_) => const { name("QTRANS") },
            Self::Tools(_) => const { name("TDATA") },
            Self::TurnedTools(_) => const { name("QTDATA") },
            Self::Image(_) => const { name("IMAGE") },
            Self::Images(_) => const { name("IMGMETA") },
            Self::Labels(_) => const { name("LBMETA") },
            Self::ColorTable(_) => const { name("COLORT") },
            Self::Points(_) => const { name("POINT") },
            Self::Trajectories(_) => const { name("TRAJ") },
            Self::PolyData(_) => const { name("POLYDATA") },
            Self::Status(_) => const { name("STATUS") },
            Self::String(_) => const { name("STRING") },
            Self::Capability(_) => const { name("CAPABILITY") },
            Self::Sensor(_) => const { name("SENSOR") },
            Self::NdArray(_) => const { name("NDARRAY") },
            Self::Command(_) => const { name("COMMAND") },
            Self::CommandReply(_) => const { name("RTS_COMMAND") },
            Self::Bind(_) => const { name("BIND") },
            Self::Video(_) => const { name("VIDEO") },
            Self::Videos(_) => const { name("VIDEOMETA") },
            Self::Request { type_name, .. } | Self::Reply { type_name, .. } | Self::Other { type_name, .. } => {
                *type_name
            }
        }
    }

    pub(crate) fn decode(type_name: TypeName, mut fields: Reader<'a>, peer: Peer) -> Result<Self, DecodeError> {
        match type_name.key() {
            key::TRANSFORM => Transform::decode(fields).map(Self::Transform),
            key::POSITION => Position::decode(fields).map(Self::Position),
            key::QTRANS => Position::decode(fields).map(Self::QTrans),
            key::TDATA => list(fields, "size of TDATA's content", "a multiple of 70 is needed").map(Self::Tools),
            key::QTDATA => {
                list(fields, "size of QTDATA's content", "a multiple of 50 is needed").map(Self::TurnedTools)
            }
            key::IMAGE => Image::decode(fields).map(Self::Image),
            key::IMGMETA => list(fields, "size of IMGMETA's content", "a multiple of 260 is needed").map(Self::Images),
            key::LBMETA => list(fields, "size of LBMETA's content", "a multiple of 116 is needed").map(Self::Labels),
            key::COLORT => ColorTable::decode(fields).map(Self::ColorTable),
            key::POINT => list(fields, "size of POINT's content", "a multiple of 136 is needed").map(Self::Points),
            key::TRAJ => list(fields, "size of TRAJ's content", "a multiple of 150 is needed").map(Self::Trajectories),
            key::POLYDATA => PolyData::decode(fields, peer).map(Self::PolyData),
            key::STATUS => Status::decode(fields).map(Self::Status),
            key::STRING => Text::decode(fields).map(Self::String),
            key::CAPABILITY => {
                list(fields, "size of CAPABILITY's content", "a multiple of 12 is needed").map(Self::Capability)
            }
            key::SENSOR => Sensor::decode(fields).map(Self::Sensor),
            key::NDARRAY => NdArray::decode(fields).map(Self::NdArray),
            key::COMMAND => Command::decode(fields).map(Self::Command),
            key::RTS_COMMAND => Command::decode(fields).map(Self::CommandReply),
            key::BIND => Bind::decode(fields).map(Self::Bind),
            key::VIDEO => Video::decode(fields).map(Self::Video),
            key::VIDEOMETA => {
                list(fields, "size of VIDEOMETA's content", "a multiple of 322 is needed").map(Self::Videos)
            }
            _ => match Verb::split(type_name.as_str()) {
                Some((Verb::Reply, _)) => request::decode_reply(fields).map(|status| Self::Reply { type_name, status }),
                Some(_) => Ask::decode(type_name, fields, peer).map(|ask| Self::Request { type_name, ask }),
                None => Ok(Self::Other { type_name, bytes: fields.rest() }),
            },
        }
    }

    /// Bytes on the wire, metadata not counted.
    pub(crate) fn size(&self) -> Result<usize, EncodeError> {
        match self {
            Self::Transform(_) => Ok(TRANSFORM_SIZE),
            Self::Position(position) | Self::QTrans(position) => Ok(position.size()),
            Self::Tools(list) => sized(list),
            Self::TurnedTools(list) => sized(list),
            Self::Image(image) => image.size(),
            Self::Images(list) => sized(list),
            Self::Labels(list) => sized(list),
            Self::ColorTable(table) => table.size(),
            Self::Points(list) => sized(list),
            Self::Trajectories(list) => sized(list),
            Self::PolyData(surface) => surface.size(),
            Self::Status(status) => status.size(),
            Self::String(text) => text.size(),
            Self::Capability(list) => sized(list),
            Self::Sensor(sensor) => sensor.size(),
            Self::NdArray(array) => array.size(),
            Self::Command(command) | Self::CommandReply(command) => command.size(),
            Self::Bind(bind) => bind.size(),
            Self::Video(video) => video.size(),
            Self::Videos(list) => sized(list),
            Self::Request { type_name, ask } => ask.size(*type_name),
            Self::Reply { type_name, .. } => request::reply_size(*type_name),
            Self::Other { bytes, .. } => Ok(bytes.len()),
        }
    }

    /// Writes the bytes that [`Self::size`] counted.
    pub(crate) fn encode(&self, out: &mut Writer<'_>) {
        match self {
            Self::Transform(transform) => transform.encode(out),
            Self::Position(position) | Self::QTrans(position) => position.encode(out),
            Self::Tools(list) => list.write(out),
            Self::TurnedTools(list) => list.write(out),
            Self::Image(image) => image.encode(out),
            Self::Images(list) => list.write(out),
            Self::Labels(list) => list.write(out),
            Self::ColorTable(table) => table.encode(out),
            Self::Points(list) => list.write(out),
            Self::Trajectories(list) => list.write(out),
            Self::PolyData(surface) => surface.encode(out),
            Self::Status(status) => status.encode(out),
            Self::String(text) => text.encode(out),
            Self::Capability(list) => list.write(out),
            Self::Sensor(sensor) => sensor.encode(out),
            Self::NdArray(array) => array.encode(out),
            Self::Command(command) | Self::CommandReply(command) => command.encode(out),
            Self::Bind(bind) => bind.encode(out),
            Self::Video(video) => video.encode(out),
            Self::Videos(list) => list.write(out),
            Self::Request { ask, .. } => ask.encode(out),
            Self::Reply { status, .. } => out.put(&[*status]),
            Self::Other { bytes, .. } => out.put(bytes),
        }
    }

    /// Writes the content alone, without a header, and returns how many bytes it took: the body of a [`Child`] of BIND.
    ///
    /// # Errors
    /// When it cannot be written, or `out` is too small. Nothing has been written then.
    ///
    /// [`Child`]: crate::Child
    pub fn encode_into(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        let (need, have) = (self.size()?, out.len());
        let Some(out) = out.get_mut(..need) else { return Err(EncodeError::BufferTooSmall { need, have }) };
        let mut fields = Writer::new(out);
        self.encode(&mut fields);
        debug_assert!(fields.full(), "what was counted was written");
        Ok(need)
    }
}

/// A content that is a list and nothing else.
fn list<'a, T: Element<'a>>(
    mut fields: Reader<'a>,
    field: &'static str,
    right: &'static str,
) -> Result<List<'a, T>, DecodeError> {
    fields.rest_list(field, right)
}

fn sized<'a, T: Element<'a>>(list: &List<'a, T>) -> Result<usize, EncodeError> {
    list.check()?;
    Ok(list.size())
}
