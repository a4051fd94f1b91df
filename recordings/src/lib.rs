//! The recording: what flowed, kept so that it can be looked at, and played again to the byte.
//!
//! ```text
//! flow ─► Item ─► lane (Overflow::Fault) ─► Recorder ─► session.mcap ─► Recording ─► Summary
//!                                                                           └──────► Session ─► verify
//! ```
//!
//! An [`Item`] is what the flow hands over: cheap, without allocation. [`Recorder`] turns it into the
//! [`wire`] form and writes MCAP, a chunk a second. [`Recording`] reads it back, whole or cut off;
//! [`Summary`] counts what is in it; [`Session`] finds what each step saw, and [`verify`] compares what
//! the stages publish on replay with what they published then, byte for byte.
//!
//! **Units and frames:** as in `core::flow`; on the wire they stand in the field names. **Invariant:** this
//! crate knows messages, and no stage; from what it reads no `Approved` can be made. **Not protected
//! against:** a machine that loses power loses the open chunk, at most [`Limits::chunk_period`] of the
//! session; a file that somebody forged (checksums find accidents, not intent).

mod header;
mod item;
mod reader;
mod session;
mod summary;
mod topic;
mod verify;
pub mod wire;
mod writer;

pub use header::{ClockKind, HEADER_SCHEMA, Header, HeaderError};
pub use item::{EncodedFrame, Item, Message, Step, VolumeNote};
pub use reader::{Ending, ReadError, Recorded, Recording};
pub use session::{SCENES_HELD, Session};
pub use summary::{ChannelSummary, Summary};
pub use topic::Topic;
pub use verify::{Difference, MISMATCHES_KEPT, Mismatch, Replayed, VerifyReport, verify};
pub use writer::{DiskFile, Figures, Limits, RecordError, Recorder};
