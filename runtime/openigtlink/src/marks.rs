//! POINT and TRAJ: marked points and planned ways.
//!
//! **Units:** millimetres. **Frames:** those of the image that `owner` names, or whatever sender and receiver agreed
//! on: the messages do not say. Texts are bytes up to their first zero, ASCII by the protocol, not checked.

use crate::error::EncodeError;
use crate::fields::{Cut, Writer, text_fits};
use crate::list::{Element, Sealed};

const NAME: usize = 64;
const GROUP: usize = 32;
const OWNER: usize = 20;

/// One point of POINT, 136 bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point<'a> {
    /// At most 64 bytes.
    pub name: &'a [u8],
    /// As `Fiducial`, `Landmark`; at most 32 bytes.
    pub group: &'a [u8],
    /// Red, green, blue, opacity.
    pub rgba: [u8; 4],
    /// mm.
    pub at: [f32; 3],
    /// mm; may be 0.
    pub radius: f32,
    /// Device name of the image it belongs to; at most 20 bytes, may be empty.
    pub owner: &'a [u8],
}

impl Sealed for Point<'_> {}
impl<'a> Element<'a> for Point<'a> {
    const SIZE: usize = NAME + GROUP + 4 + 12 + 4 + OWNER;
    fn read(wire: &'a [u8]) -> Self {
        let mut fields = Cut(wire);
        Self {
            name: fields.text(NAME),
            group: fields.text(GROUP),
            rgba: fields.take(),
            at: fields.take(),
            radius: fields.take(),
            owner: fields.text(OWNER),
        }
    }
    fn write(&self, wire: &mut [u8]) {
        let mut out = Writer::new(wire);
        out.text(self.name, NAME);
        out.text(self.group, GROUP);
        out.put(&self.rgba);
        out.item(&self.at);
        out.item(&self.radius);
        out.text(self.owner, OWNER);
    }
    fn check(&self) -> Result<(), EncodeError> {
        text_fits("the name of a POINT", self.name, NAME)?;
        text_fits("the group of a POINT", self.group, GROUP)?;
        text_fits("the owner of a POINT", self.owner, OWNER)
    }
}

/// Which ends of a way are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrajectoryKind(pub u8);

impl TrajectoryKind {
    /// Only where it begins.
    pub const ENTRY: Self = Self(1);
    /// Only where it ends.
    pub const TARGET: Self = Self(2);
    /// Both.
    pub const ENTRY_AND_TARGET: Self = Self(3);
}

/// One way of TRAJ, 150 bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trajectory<'a> {
    /// At most 64 bytes.
    pub name: &'a [u8],
    /// At most 32 bytes.
    pub group: &'a [u8],
    /// Which ends are given.
    pub kind: TrajectoryKind,
    /// Red, green, blue, opacity.
    pub rgba: [u8; 4],
    /// mm.
    pub entry: [f32; 3],
    /// mm.
    pub target: [f32; 3],
    /// mm; may be 0. (The library's field; older texts call it a diameter.)
    pub radius: f32,
    /// Device name of the image it belongs to; at most 20 bytes, may be empty.
    pub owner: &'a [u8],
}

impl Sealed for Trajectory<'_> {}
impl<'a> Element<'a> for Trajectory<'a> {
    const SIZE: usize = NAME + GROUP + 2 + 4 + 12 + 12 + 4 + OWNER;
    fn read(wire: &'a [u8]) -> Self {
        let mut fields = Cut(wire);
        let (name, group, [kind, _reserved]) = (fields.text(NAME), fields.text(GROUP), fields.take());
        Self {
            name,
            group,
            kind: TrajectoryKind(kind),
            rgba: fields.take(),
            entry: fields.take(),
            target: fields.take(),
            radius: fields.take(),
            owner: fields.text(OWNER),
        }
    }
    fn write(&self, wire: &mut [u8]) {
        let mut out = Writer::new(wire);
        out.text(self.name, NAME);
        out.text(self.group, GROUP);
        out.put(&[self.kind.0, 0]);
        out.put(&self.rgba);
        out.item(&self.entry);
        out.item(&self.target);
        out.item(&self.radius);
        out.text(self.owner, OWNER);
    }
    fn check(&self) -> Result<(), EncodeError> {
        text_fits("the name of a TRAJ", self.name, NAME)?;
        text_fits("the group of a TRAJ", self.group, GROUP)?;
        text_fits("the owner of a TRAJ", self.owner, OWNER)
    }
}
