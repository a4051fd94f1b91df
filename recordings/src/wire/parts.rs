//! Parts that several mirrors share: poses, points, joints, digests, grids, bytes.

use super::{Refused, Why};
use bregma_core::arm::Joints;
use bregma_core::digest::Digest;
use bregma_core::flow::{ErrorBudget, Sequence};
use bregma_core::frame::{Frame, FrameId, Patient, Point, Pose};
use bregma_core::grid::Grid;
use bregma_core::time::Instant;
use bregma_core::units::Millimetres;
use nalgebra::{Isometry3, Point3, Quaternion, Translation3, UnitQuaternion, Vector3};
use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;

/// Bytes in one piece: a length and a copy, instead of element by element.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Copied;
        impl Visitor<'_> for Copied {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
        }
        from.deserialize_bytes(Copied)
    }
}

/// A pose: frame identities, translation in mm, unit quaternion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PoseWire {
    to: u64,
    from: u64,
    mm: [f64; 3],
    xyzw: [f64; 4],
}

impl PoseWire {
    pub fn of<To: Frame, From: Frame>(pose: &Pose<To, From>) -> Self {
        Self { to: pose.to.0, from: pose.from.0, mm: pose.translation_mm(), xyzw: pose.quaternion_xyzw() }
    }

    /// Bit for bit what was written: the quaternion is not normalised again.
    pub fn pose<To: Frame, From: Frame>(self, field: &'static str) -> Result<Pose<To, From>, Refused> {
        let [x, y, z, w] = self.xyzw;
        let q = Quaternion::new(w, x, y, z);
        let length = q.norm();
        if !(1.0 - 1e-6..=1.0 + 1e-6).contains(&length) {
            return Err(Refused::new(field, Why::NotARotation(length)));
        }
        let [x, y, z] = self.mm;
        let iso = Isometry3::from_parts(Translation3::new(x, y, z), UnitQuaternion::new_unchecked(q));
        Pose::between(FrameId(self.to), FrameId(self.from), iso)
            .map_err(|why| Refused::new(field, Why::NotFinite(why.value)))
    }
}

/// One value a joint.
pub fn joints(field: &'static str, values: &[f64]) -> Result<Joints, Refused> {
    let need = bregma_core::arm::JOINTS_MAX;
    Joints::from_slice(values).ok_or_else(|| {
        let bad = values.iter().copied().find(|v| !v.is_finite());
        Refused::new(field, bad.map_or(Why::Length { found: values.len(), need }, Why::NotFinite))
    })
}

pub fn millimetres(field: &'static str, mm: f64) -> Result<Millimetres, Refused> {
    Millimetres::new(mm).map_err(|why| Refused::new(field, Why::NotFinite(why.value)))
}

pub fn patient_point(field: &'static str, mm: [f64; 3]) -> Result<Point<Patient>, Refused> {
    Point::from_coordinates(Point3::from(mm)).map_err(|why| Refused::new(field, Why::NotFinite(why.value)))
}

pub fn point(mm: &Point3<f64>) -> [f64; 3] {
    mm.coords.into()
}

pub fn vector(mm: &Vector3<f64>) -> [f64; 3] {
    (*mm).into()
}

/// On the wire, time is whole nanoseconds since the session began.
pub const fn at(ns: u64) -> Instant {
    Instant::from_nanos(ns)
}

pub const fn sequence(number: u64) -> Sequence {
    Sequence(number)
}

/// The 32 bytes of a SHA-256.
pub type DigestWire = [u8; 32];

pub const fn digest(bytes: DigestWire) -> Digest {
    Digest(bytes)
}

/// A grid in patient LPS, x fastest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GridWire {
    dims: [u64; 3],
    spacing_mm: f64,
    origin_mm: [f64; 3],
}

impl GridWire {
    pub fn of(grid: &Grid) -> Self {
        Self { dims: grid.dims.map(|n| n as u64), spacing_mm: grid.spacing_mm, origin_mm: grid.origin }
    }

    /// With `voxels` voxels, no more and no fewer.
    pub fn grid(self, field: &'static str, voxels: usize) -> Result<Grid, Refused> {
        let found = self.dims.iter().try_fold(1_u64, |product, n| product.checked_mul(*n)).unwrap_or(u64::MAX);
        if found != voxels as u64 {
            let found = usize::try_from(found).unwrap_or(usize::MAX);
            return Err(Refused::new(field, Why::Length { found, need: voxels }));
        }
        Ok(Grid { dims: dims(field, self.dims)?, spacing_mm: self.spacing_mm, origin: self.origin_mm })
    }
}

pub fn dims(field: &'static str, dims: [u64; 3]) -> Result<[usize; 3], Refused> {
    let mut sizes = [0; 3];
    for (size, n) in sizes.iter_mut().zip(dims) {
        *size = usize::try_from(n).map_err(|_| Refused::new(field, Why::UnknownCode(n)))?;
    }
    Ok(sizes)
}

/// Registration, calibration, tracking, shift.
pub type ErrorsWire = [f64; 4];

pub fn errors_wire(errors: &ErrorBudget) -> ErrorsWire {
    [errors.registration, errors.calibration, errors.tracking, errors.shift].map(Millimetres::get)
}

pub fn errors(field: &'static str, mm: ErrorsWire) -> Result<ErrorBudget, Refused> {
    let [registration, calibration, tracking, shift] = mm;
    Ok(ErrorBudget {
        registration: millimetres(field, registration)?,
        calibration: millimetres(field, calibration)?,
        tracking: millimetres(field, tracking)?,
        shift: millimetres(field, shift)?,
    })
}
