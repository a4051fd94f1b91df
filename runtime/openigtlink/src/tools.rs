//! TDATA and QTDATA: where the tools of a tracker are, all of one moment.
//!
//! **Units:** millimetres. **Frames:** that of the tracker, or the one that STT_TDATA asked for by name; the message
//! does not say which. Texts are bytes up to their first zero, ASCII by the protocol, not checked.

use crate::error::EncodeError;
use crate::fields::{Cut, Writer, text_fits};
use crate::list::{Element, Sealed};
use crate::pose::Matrix;

const NAME: usize = 20;

/// What of a tool is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ToolKind(pub u8);

impl ToolKind {
    /// The tracker itself.
    pub const TRACKER: Self = Self(1);
    /// A tool with position and orientation.
    pub const SIX_D: Self = Self(2);
    /// A tool of which only the tip is known.
    pub const THREE_D: Self = Self(3);
    /// A tool of which tip and direction are known, but no turn about its axis.
    pub const FIVE_D: Self = Self(4);
}

/// One tool of TDATA, 70 bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tool<'a> {
    /// At most 20 bytes.
    pub name: &'a [u8],
    /// What of it is known.
    pub kind: ToolKind,
    /// As TRANSFORM.
    pub matrix: Matrix,
}

/// One tool of QTDATA, 50 bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TurnedTool<'a> {
    /// At most 20 bytes.
    pub name: &'a [u8],
    /// What of it is known.
    pub kind: ToolKind,
    /// mm.
    pub at: [f32; 3],
    /// x, y, z, w of a unit quaternion.
    pub xyzw: [f32; 4],
}

impl Sealed for Tool<'_> {}
impl<'a> Element<'a> for Tool<'a> {
    const SIZE: usize = NAME + 2 + 48;
    fn read(wire: &'a [u8]) -> Self {
        let mut fields = Cut(wire);
        let (name, [kind, _reserved]) = (fields.text(NAME), fields.take());
        Self { name, kind: ToolKind(kind), matrix: fields.take() }
    }
    fn write(&self, wire: &mut [u8]) {
        let mut out = Writer::new(wire);
        out.text(self.name, NAME);
        out.put(&[self.kind.0, 0]);
        out.item(&self.matrix);
    }
    fn check(&self) -> Result<(), EncodeError> {
        text_fits("the name of a tool of TDATA", self.name, NAME)
    }
}

impl Sealed for TurnedTool<'_> {}
impl<'a> Element<'a> for TurnedTool<'a> {
    const SIZE: usize = NAME + 2 + 12 + 16;
    fn read(wire: &'a [u8]) -> Self {
        let mut fields = Cut(wire);
        let (name, [kind, _reserved]) = (fields.text(NAME), fields.take());
        Self { name, kind: ToolKind(kind), at: fields.take(), xyzw: fields.take() }
    }
    fn write(&self, wire: &mut [u8]) {
        let mut out = Writer::new(wire);
        out.text(self.name, NAME);
        out.put(&[self.kind.0, 0]);
        out.item(&self.at);
        out.item(&self.xyzw);
    }
    fn check(&self) -> Result<(), EncodeError> {
        text_fits("the name of a tool of QTDATA", self.name, NAME)
    }
}
