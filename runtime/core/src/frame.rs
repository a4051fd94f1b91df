//! Frames of reference and the poses between them.
//!
//! A transform is named `to_from_from`, so that names cancel, and type order, name order and
//! multiplication order agree:
//!
//! ```
//! use bregma_core::frame::{Patient, Pose, Tip, Tracker};
//! # let patient_from_tracker = Pose::<Patient, Tracker>::identity();
//! # let tracker_from_tip = Pose::<Tracker, Tip>::identity();
//! let patient_from_tip: Pose<Patient, Tip> = patient_from_tracker * tracker_from_tip;
//! ```
//!
//! The wrong product does not compile:
//!
//! ```compile_fail
//! use bregma_core::frame::{Patient, Pose, Tip, Tracker};
//! let patient_from_tracker = Pose::<Patient, Tracker>::identity();
//! let tracker_from_tip = Pose::<Tracker, Tip>::identity();
//! let wrong = tracker_from_tip * patient_from_tracker;
//! ```
//!
//! nor does a point in the wrong frame:
//!
//! ```compile_fail
//! use bregma_core::frame::{Patient, Point, Pose, Tip};
//! let patient_from_tip = Pose::<Patient, Tip>::identity();
//! let in_patient = Point::<Patient>::origin();
//! let wrong = patient_from_tip * in_patient;
//! ```
//!
//! **Units:** millimetres; patient coordinates are LPS (DICOM's): +x to the patient's left, +y to the
//! back, +z to the head. **Identity:** two scans of one patient are two frames; which one a pose speaks of
//! is a [`FrameId`] checked at run time by [`Pose::then`]. **Not protected against:** a pose that was
//! measured wrongly; its error travels beside it.

use crate::units::{Millimetres, NotFinite};
use nalgebra::{Isometry3, Point3, Translation3, UnitQuaternion, Vector3};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Mul;

/// A kind of frame of reference, known at compile time.
pub trait Frame: Copy + Clone + fmt::Debug + Send + Sync + 'static {
    /// As written in recordings and errors.
    const NAME: &'static str;
}

macro_rules! frames {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name;
        impl Frame for $name {
            const NAME: &'static str = $text;
        }
    )*};
}

frames! {
    /// The patient, LPS millimetres, in one scan's frame of reference.
    Patient = "patient";
    /// The reference array fixed to the head clamp.
    Reference = "reference";
    /// The tracking camera.
    Tracker = "tracker";
    /// The instrument's tip: origin at the tip, +z along the shaft, pointing out of the tip into tissue.
    Tip = "tip";
    /// The microscope's camera: +z into the scene, +x right, +y down in the picture.
    Camera = "camera";
    /// The arm's base: +z up out of the mounting plate.
    ArmBase = "arm_base";
    /// The arm's flange, where the instrument is mounted.
    Flange = "flange";
}

/// Which one of its kind a frame is: two scans are two patient frames.
///
/// Made from a DICOM frame-of-reference UID or any other name that a source gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FrameId(pub u64);

impl FrameId {
    /// The only one of its kind in the room (the tip, the camera, the arm's base).
    pub const SOLE: Self = Self(0);

    /// From a frame-of-reference UID; FNV-1a, 64 bit. Never [`FrameId::SOLE`].
    #[must_use]
    pub fn of_uid(uid: &str) -> Self {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in uid.trim_end_matches(['\0', ' ']).bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Self(hash.max(1))
    }
}

/// Two poses were joined at frames that are not the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "poses do not meet: the left one starts in {kind} {left:016x}, the right one ends in {kind} {right:016x}; \
     a registration between the two is needed"
)]
pub struct FramesDiffer {
    /// Kind of frame at which they were joined.
    pub kind: &'static str,
    /// Identity on the left pose.
    pub left: u64,
    /// Identity on the right pose.
    pub right: u64,
}

/// A point in frame `F`, millimetres.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point<F: Frame> {
    at: Point3<f64>,
    frame: PhantomData<F>,
}

impl<F: Frame> Point<F> {
    /// Refuses non-finite coordinates.
    ///
    /// # Errors
    /// [`NotFinite`] with the first coordinate that is not.
    pub fn new(x: f64, y: f64, z: f64) -> Result<Self, NotFinite> {
        Self::from_coordinates(Point3::new(x, y, z))
    }

    /// Refuses non-finite coordinates.
    ///
    /// # Errors
    /// [`NotFinite`] with the first coordinate that is not.
    pub fn from_coordinates(at: Point3<f64>) -> Result<Self, NotFinite> {
        match at.iter().find(|c| !c.is_finite()) {
            Some(&value) => Err(NotFinite { what: "a coordinate", value }),
            None => Ok(Self { at, frame: PhantomData }),
        }
    }

    /// The frame's origin.
    #[must_use]
    pub fn origin() -> Self {
        Self { at: Point3::origin(), frame: PhantomData }
    }

    /// The bare coordinates in mm, for numeric kernels and adapters.
    #[must_use]
    pub fn coordinates(&self) -> Point3<f64> {
        self.at
    }

    /// Distance to another point of the same frame.
    #[must_use]
    pub fn distance(&self, other: &Self) -> Millimetres {
        Millimetres::constant(nalgebra::distance(&self.at, &other.at))
    }
}

/// Takes coordinates in `From` to coordinates in `To`. Rotation and translation, millimetres.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pose<To: Frame, From: Frame> {
    iso: Isometry3<f64>,
    /// Which `To` frame.
    pub to: FrameId,
    /// Which `From` frame.
    pub from: FrameId,
    frames: PhantomData<(To, From)>,
}

impl<To: Frame, From: Frame> Pose<To, From> {
    /// Between frames that are the only ones of their kind.
    ///
    /// # Errors
    /// [`NotFinite`] when a component is not finite.
    pub fn new(iso: Isometry3<f64>) -> Result<Self, NotFinite> {
        Self::between(FrameId::SOLE, FrameId::SOLE, iso)
    }

    /// Between two named frames.
    ///
    /// # Errors
    /// [`NotFinite`] when a component is not finite.
    pub fn between(to: FrameId, from: FrameId, iso: Isometry3<f64>) -> Result<Self, NotFinite> {
        let parts = iso.translation.vector.iter().chain(iso.rotation.coords.iter());
        match parts.copied().find(|v| !v.is_finite()) {
            Some(value) => Err(NotFinite { what: "a pose's component", value }),
            None => Ok(Self { iso, to, from, frames: PhantomData }),
        }
    }

    /// From a translation in mm and a unit quaternion `[x, y, z, w]`, as wires carry them.
    ///
    /// # Errors
    /// [`NotFinite`] when a component is not finite or the quaternion has no length.
    pub fn from_parts(to: FrameId, from: FrameId, mm: [f64; 3], xyzw: [f64; 4]) -> Result<Self, NotFinite> {
        let q = nalgebra::Quaternion::new(xyzw[3], xyzw[0], xyzw[1], xyzw[2]);
        let length = q.norm();
        if length.is_nan() || length < 1e-6 {
            return Err(NotFinite { what: "a quaternion's length", value: length });
        }
        let rotation = UnitQuaternion::from_quaternion(q);
        Self::between(to, from, Isometry3::from_parts(Translation3::new(mm[0], mm[1], mm[2]), rotation))
    }

    /// The same frame under two names.
    #[must_use]
    pub fn identity() -> Self {
        Self { iso: Isometry3::identity(), to: FrameId::SOLE, from: FrameId::SOLE, frames: PhantomData }
    }

    /// The same transform between other instances of its frames, asserted by the caller: reading a
    /// registration, for instance.
    #[must_use]
    pub fn claimed_between(mut self, to: FrameId, from: FrameId) -> Self {
        self.to = to;
        self.from = from;
        self
    }

    /// The other way round.
    #[must_use]
    pub fn inverse(&self) -> Pose<From, To> {
        Pose { iso: self.iso.inverse(), to: self.from, from: self.to, frames: PhantomData }
    }

    /// Joins two poses where they meet.
    ///
    /// # Errors
    /// [`FramesDiffer`] when the middle frames are two different ones of the same kind.
    pub fn then<Start: Frame>(&self, next: &Pose<From, Start>) -> Result<Pose<To, Start>, FramesDiffer> {
        if self.from == next.to {
            Ok(Pose { iso: self.iso * next.iso, to: self.to, from: next.from, frames: PhantomData })
        } else {
            Err(FramesDiffer { kind: From::NAME, left: self.from.0, right: next.to.0 })
        }
    }

    /// The bare transform, for numeric kernels and adapters.
    #[must_use]
    pub fn isometry(&self) -> &Isometry3<f64> {
        &self.iso
    }

    /// Translation in mm: where `From`'s origin lies in `To`.
    #[must_use]
    pub fn translation_mm(&self) -> [f64; 3] {
        self.iso.translation.vector.into()
    }

    /// Unit quaternion `[x, y, z, w]`.
    #[must_use]
    pub fn quaternion_xyzw(&self) -> [f64; 4] {
        self.iso.rotation.coords.into()
    }

    /// Where `From`'s origin lies in `To`.
    #[must_use]
    pub fn position(&self) -> Point<To> {
        Point { at: self.iso.translation.vector.into(), frame: PhantomData }
    }

    /// Direction of `From`'s +z axis in `To`; of a tip, the way it points.
    #[must_use]
    pub fn z_axis(&self) -> Vector3<f64> {
        self.iso.rotation * Vector3::z()
    }
}

impl<To: Frame, Middle: Frame, From: Frame> Mul<Pose<Middle, From>> for Pose<To, Middle> {
    type Output = Pose<To, From>;

    /// [`Pose::then`] where both sides are known to meet.
    ///
    /// # Panics
    /// When they do not: a programmer's error. Use `then` for frames that come from outside.
    fn mul(self, rhs: Pose<Middle, From>) -> Self::Output {
        match self.then(&rhs) {
            Ok(pose) => pose,
            Err(why) => panic!("{why}"),
        }
    }
}

impl<To: Frame, From: Frame> Mul<Point<From>> for Pose<To, From> {
    type Output = Point<To>;
    fn mul(self, rhs: Point<From>) -> Point<To> {
        Point { at: self.iso * rhs.at, frame: PhantomData }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_pose<A: Frame, B: Frame>() -> impl Strategy<Value = Pose<A, B>> {
        (prop::array::uniform3(-500.0..500.0f64), prop::array::uniform4(-1.0..1.0f64))
            .prop_filter("a rotation", |(_, q)| q.iter().map(|v| v * v).sum::<f64>() > 0.01)
            .prop_map(|(mm, q)| Pose::from_parts(FrameId::SOLE, FrameId::SOLE, mm, q).expect("finite"))
    }

    proptest! {
        #[test]
        fn there_and_back_is_where_we_were(p in any_pose::<Patient, Tip>(), at in prop::array::uniform3(-300.0..300.0f64)) {
            let start = Point::<Tip>::new(at[0], at[1], at[2]).expect("finite");
            let back = p.inverse() * (p * start);
            prop_assert!(back.distance(&start).get() < 1e-9);
        }

        #[test]
        fn joining_is_associative(
            a in any_pose::<Patient, Reference>(),
            b in any_pose::<Reference, Tracker>(),
            c in any_pose::<Tracker, Tip>(),
        ) {
            let left = (a * b) * c;
            let right = a * (b * c);
            prop_assert!(left.position().distance(&right.position()).get() < 1e-9);
            prop_assert!(left.isometry().rotation.angle_to(&right.isometry().rotation) < 1e-7);
        }

        #[test]
        fn poses_keep_distances(p in any_pose::<Patient, Tip>(), a in prop::array::uniform3(-300.0..300.0f64), b in prop::array::uniform3(-300.0..300.0f64)) {
            let a = Point::<Tip>::new(a[0], a[1], a[2]).expect("finite");
            let b = Point::<Tip>::new(b[0], b[1], b[2]).expect("finite");
            prop_assert!(((p * a).distance(&(p * b)).get() - a.distance(&b).get()).abs() < 1e-9);
        }
    }

    #[test]
    fn two_scans_are_two_frames() {
        let before = FrameId::of_uid("1.2.840.1");
        let during = FrameId::of_uid("1.2.840.2");
        let patient_from_reference = Pose::<Patient, Reference>::identity().claimed_between(before, FrameId::SOLE);
        let reference_from_patient = Pose::<Reference, Patient>::identity().claimed_between(FrameId::SOLE, during);
        assert!(patient_from_reference.then(&reference_from_patient).is_ok());
        let met = reference_from_patient.then(&patient_from_reference);
        assert_eq!(met.expect_err("different scans").kind, "patient");
    }

    #[test]
    fn a_uid_is_the_same_with_its_padding() {
        assert_eq!(FrameId::of_uid("1.2.3\0"), FrameId::of_uid("1.2.3"));
        assert_ne!(FrameId::of_uid(""), FrameId::SOLE);
    }

    #[test]
    fn nothing_that_is_not_finite_becomes_a_pose() {
        let q = [0.0, 0.0, 0.0, 1.0];
        assert!(Pose::<Patient, Tip>::from_parts(FrameId::SOLE, FrameId::SOLE, [f64::NAN, 0.0, 0.0], q).is_err());
        assert!(Pose::<Patient, Tip>::from_parts(FrameId::SOLE, FrameId::SOLE, [0.0; 3], [0.0; 4]).is_err());
        assert!(Point::<Patient>::new(0.0, f64::INFINITY, 0.0).is_err());
    }
}
