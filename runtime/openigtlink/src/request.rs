//! GET_, STT_, STP_ and RTS_: asking for messages, and the answer whether they will come.
//!
//! `GET_X` asks for one X, `STT_X` for a stream of them, `STP_X` ends it, and `RTS_X` answers with one byte. Types with
//! long names are cut in them: GET_TRANS, GET_CAPABIL, GET_VMETA. Most have no content; four have:
//!
//! ```text
//! STT_TDATA, STT_QTDATA:  interval i32, ms | coordinates[32]
//! STT_VIDEO:              codec[4] | interval u32, ms
//! GET_BIND:               nothing for all children, or the list of those wanted
//! STT_BIND:               interval u64, as a timestamp | nothing for all children, or the list of those wanted
//! ```

use crate::error::{DecodeError, EncodeError};
use crate::fields::{Reader, Writer, text_fits, until_zero};
use crate::names::TypeName;
use crate::options::Peer;
use crate::timestamp::Timestamp;
use crate::wanted::Wanted;

const COORDINATES: usize = 32;

/// What a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// GET_: one message.
    Get,
    /// STT_: a stream of messages.
    Start,
    /// STP_: the end of the stream.
    Stop,
    /// RTS_: the answer.
    Reply,
}

/// What follows the verb, in the protocol's own abbreviations.
const SUBJECTS: [&str; 21] = [
    "TRANS", "POSITION", "QTRANS", "QTDATA", "TDATA", "IMAGE", "IMGMETA", "LBMETA", "POINT", "POLYDATA", "TRAJ",
    "STATUS", "CAPABIL", "STRING", "SENSOR", "NDARRAY", "COLORT", "BIND", "VIDEO", "VMETA", "COMMAND",
];

impl Verb {
    /// Splits `GET_IMAGE` into its verb and `IMAGE`; `None` where it is no request that the protocol knows.
    #[must_use]
    pub fn split(type_name: &str) -> Option<(Self, &str)> {
        let (verb, subject) = type_name.split_at_checked(4)?;
        let verb = match verb {
            "GET_" => Self::Get,
            "STT_" => Self::Start,
            "STP_" => Self::Stop,
            "RTS_" => Self::Reply,
            _ => return None,
        };
        SUBJECTS.contains(&subject).then_some((verb, subject))
    }
}

/// What a GET_, STT_ or STP_ asks beyond its name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Ask<'a> {
    /// Nothing: the name says it. In GET_BIND: all children.
    Nothing,
    /// STT_TDATA, STT_QTDATA.
    Tracking {
        /// Shortest time between two messages in ms; 0 for as fast as can be.
        interval_ms: i32,
        /// In whose coordinates; at most 32 bytes, ASCII by the protocol, not checked; may be empty.
        coordinates: &'a [u8],
    },
    /// STT_VIDEO.
    Video {
        /// As in VIDEO.
        codec: [u8; 4],
        /// Shortest time between two pictures in ms; 0 for as fast as can be.
        interval_ms: u32,
    },
    /// GET_BIND.
    Children(Wanted<'a>),
    /// STT_BIND.
    Stream {
        /// Shortest time between two messages.
        interval: Timestamp,
        /// `None` for all.
        children: Option<Wanted<'a>>,
    },
}

impl<'a> Ask<'a> {
    pub(crate) fn decode(type_name: TypeName, mut fields: Reader<'a>, peer: Peer) -> Result<Self, DecodeError> {
        match type_name.as_str() {
            "STT_TDATA" | "STT_QTDATA" => {
                let interval_ms = i32::from_be_bytes(*fields.array("RESOLUTION")?);
                let coordinates = until_zero(fields.bytes(COORDINATES, "COORDINATE_NAME")?);
                nothing_left(&fields)?;
                Ok(Self::Tracking { interval_ms, coordinates })
            }
            "STT_VIDEO" => {
                let codec = *fields.array("CODEC")?;
                let interval_ms = fields.u32("TIME_INTERVAL")?;
                if peer == Peer::CppLibrary && fields.left() == 1 {
                    fields.rest();
                }
                nothing_left(&fields)?;
                Ok(Self::Video { codec, interval_ms })
            }
            "GET_BIND" if fields.left() > 0 => Wanted::decode(fields, peer).map(Self::Children),
            "STT_BIND" => {
                let interval = Timestamp(fields.u64("RESOLUTION")?);
                let children = if fields.left() == 0 { None } else { Some(Wanted::decode(fields, peer)?) };
                Ok(Self::Stream { interval, children })
            }
            _ => nothing_left(&fields).map(|()| Self::Nothing),
        }
    }

    pub(crate) fn size(&self, type_name: TypeName) -> Result<usize, EncodeError> {
        let name = type_name.as_str();
        let goes = match Verb::split(name) {
            None | Some((Verb::Reply, _)) => false,
            Some(_) => match self {
                Self::Nothing => !matches!(name, "STT_TDATA" | "STT_QTDATA" | "STT_VIDEO" | "STT_BIND"),
                Self::Tracking { .. } => matches!(name, "STT_TDATA" | "STT_QTDATA"),
                Self::Video { .. } => name == "STT_VIDEO",
                Self::Children(_) => name == "GET_BIND",
                Self::Stream { .. } => name == "STT_BIND",
            },
        };
        if !goes {
            let right = "STT_TDATA, STT_QTDATA, STT_VIDEO, GET_BIND and STT_BIND have their own, other requests none";
            return Err(EncodeError::TypeName { name: type_name, right });
        }
        Ok(match self {
            Self::Nothing => 0,
            Self::Tracking { coordinates, .. } => {
                text_fits("COORDINATE_NAME", coordinates, COORDINATES)?;
                4 + COORDINATES
            }
            Self::Video { .. } => 8,
            Self::Children(wanted) => wanted.size()?,
            Self::Stream { children, .. } => 8 + children.as_ref().map_or(Ok(0), Wanted::size)?,
        })
    }

    pub(crate) fn encode(&self, out: &mut Writer<'_>) {
        match self {
            Self::Nothing => {}
            Self::Tracking { interval_ms, coordinates } => {
                out.item(interval_ms);
                out.text(coordinates, COORDINATES);
            }
            Self::Video { codec, interval_ms } => {
                out.put(codec);
                out.item(interval_ms);
            }
            Self::Children(wanted) => wanted.encode(out),
            Self::Stream { interval, children } => {
                out.item(&interval.0);
                if let Some(wanted) = children {
                    wanted.encode(out);
                }
            }
        }
    }
}

/// The byte of an RTS_.
pub(crate) fn decode_reply(mut fields: Reader<'_>) -> Result<u8, DecodeError> {
    let [status] = *fields.array("the status of an RTS_")?;
    nothing_left(&fields)?;
    Ok(status)
}

/// Whether an RTS_ of this name has one byte.
pub(crate) fn reply_size(type_name: TypeName) -> Result<usize, EncodeError> {
    match Verb::split(type_name.as_str()) {
        Some((Verb::Reply, subject)) if subject != "COMMAND" => Ok(1),
        _ => {
            let right = "RTS_ and a type that the protocol knows are needed";
            Err(EncodeError::TypeName { name: type_name, right })
        }
    }
}

fn nothing_left(fields: &Reader<'_>) -> Result<(), DecodeError> {
    fields.end("what follows a request's or an answer's content", "the number of bytes that may")
}
