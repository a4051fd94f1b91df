//! OpenIGTLink: the protocol that surgical trackers and imaging workstations speak.
//!
#![doc = include_str!("../README.md")]
//!
//! # On the wire
//!
//! ```text
//! 0   2          14              34         42         50       58
//! | V | TYPE[12] | DEVICE_NAME[20] | TIMESTAMP | BODY_SIZE | CRC-64 | body ...
//!
//! body, version 1: content
//! body, version 2: extended header | content | metadata index | metadata
//! ```
//!
//! Everything is big-endian, but for the voxels of an IMAGE, which say so themselves. **Units:** places are
//! millimetres by the protocol; in which frame is between sender and receiver, but for IMAGE and VIDEO ([`Grid`]).
//! **Allocation:** [`decode`] borrows from the bytes it is given and allocates nothing; [`encode`] writes into the
//! caller's buffer and allocates nothing; a [`Framer`] holds one buffer, at most a header and `max_body` long, that
//! grows only with bytes that have arrived. **Invariants:** every length is checked before anything is sliced by it;
//! no input makes this crate panic; what was decoded strictly can be encoded again. **Not protected against:** a
//! sender that lies. There is no encryption and no authentication, and a CRC is no signature.
//!
//! Sources: the protocol description at openigtlink.org (header, extended header, metadata and the message types' own
//! pages), the headers of the C++ library for what that leaves open, and ECMA-182 for the CRC.

mod attributes;
mod bind;
mod cells;
mod colors;
mod content;
mod crc;
mod error;
mod extended;
mod fields;
mod framer;
mod grid;
mod header;
mod image;
mod list;
mod marks;
mod message;
mod meta;
mod names;
mod numbers;
mod options;
mod polydata;
mod pose;
mod request;
mod scalar;
mod stream;
mod text;
mod timestamp;
mod tools;
mod video;
mod wanted;

pub use attributes::{Attribute, Attributes, Meaning};
pub use bind::{Bind, Child};
pub use cells::Cells;
pub use colors::{ColorIndex, ColorTable, Colors};
pub use content::Content;
pub use crc::{crc64, crc64_continued};
pub use error::{DecodeError, EncodeError};
pub use extended::{EXTENDED_HEADER_SIZE, Entries, Entry, Extended, Metadata};
pub use framer::Framer;
pub use grid::Grid;
pub use header::{HEADER_SIZE, Header, Version};
pub use image::Image;
pub use list::{Element, Items, List};
pub use marks::{Point, Trajectory, TrajectoryKind};
pub use message::{Message, Outgoing, decode, decode_with, encode, encode_with, encoded_len};
pub use meta::{ImageMeta, LabelMeta, VideoMeta};
pub use names::{DeviceName, Name, TypeName};
pub use numbers::{NdArray, Sensor, Unit, Values};
pub use options::{Checksum, DecodeOptions, Peer};
pub use polydata::PolyData;
pub use pose::{Matrix, Orientation, Position, Transform};
pub use request::{Ask, Verb};
pub use scalar::{Coordinates, Endian, Part, ScalarType};
pub use stream::{ReadError, WriteError, read_message, write_message};
pub use text::{Command, Status, Text};
pub use timestamp::Timestamp;
pub use tools::{Tool, ToolKind, TurnedTool};
pub use video::Video;
pub use wanted::Wanted;

/// Character encodings by their IANA MIBenum, as STRING and metadata carry them.
pub mod encoding {
    /// US-ASCII.
    pub const US_ASCII: u16 = 3;
    /// UTF-8.
    pub const UTF_8: u16 = 106;
}
