//! Numbers as little-endian bytes, and back.
//!
//! Sequences come with their length first. `f32`s are laid out in four planes, first bytes before second ones:
//! a smooth field packs to half of what it does number by number. **Invariant:** reading panics on no bytes,
//! and allocates no more than there are bytes for.

use bregma_core::grid::Grid;
use nalgebra::{Point3, Vector3};

/// Most voxels along an axis of any grid.
const EDGE_MAX: usize = 1024;

/// The bytes are not those that were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} is wrong at byte {at}")]
pub(crate) struct Damaged {
    pub what: &'static str,
    pub at: usize,
}

#[derive(Default)]
pub(super) struct Writer(pub Vec<u8>);

impl Writer {
    pub(super) fn size(&mut self, value: usize) {
        self.0.extend((value as u64).to_le_bytes());
    }

    pub(super) fn f64(&mut self, value: f64) {
        self.0.extend(value.to_bits().to_le_bytes());
    }

    pub(super) fn f64s(&mut self, values: &[f64]) {
        values.iter().for_each(|v| self.f64(*v));
    }

    pub(super) fn bytes(&mut self, values: &[u8]) {
        self.size(values.len());
        self.0.extend(values);
    }

    pub(super) fn f32s(&mut self, values: &[f32]) {
        self.size(values.len());
        for plane in 0..4 {
            self.0.extend(values.iter().map(|v| v.to_le_bytes()[plane]));
        }
    }

    pub(super) fn grid(&mut self, grid: &Grid) {
        grid.dims.iter().for_each(|n| self.size(*n));
        self.f64(grid.spacing_mm);
        self.f64s(&grid.origin);
    }

    pub(super) fn point(&mut self, at: &Point3<f64>) {
        self.f64s(at.coords.as_slice());
    }

    pub(super) fn vector(&mut self, v: &Vector3<f64>) {
        self.f64s(v.as_slice());
    }
}

pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) const fn wrong(&self, what: &'static str) -> Damaged {
        Damaged { what, at: self.at }
    }

    pub(super) fn take(&mut self, n: usize) -> Result<&'a [u8], Damaged> {
        let end = self.at.checked_add(n).filter(|end| *end <= self.bytes.len());
        let Some(end) = end else { return Err(self.wrong("a length")) };
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Damaged> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn u64(&mut self) -> Result<u64, Damaged> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(super) fn size(&mut self) -> Result<usize, Damaged> {
        usize::try_from(self.u64()?).map_err(|_| self.wrong("a size"))
    }

    pub(super) fn f64(&mut self) -> Result<f64, Damaged> {
        Ok(f64::from_bits(self.u64()?))
    }

    pub(super) fn f64s<const N: usize>(&mut self) -> Result<[f64; N], Damaged> {
        let mut values = [0.0; N];
        for v in &mut values {
            *v = self.f64()?;
        }
        Ok(values)
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Damaged> {
        let n = self.size()?;
        self.take(n)
    }

    /// As many bytes as a grid has voxels.
    pub(super) fn voxels(&mut self, grid: &Grid) -> Result<Vec<u8>, Damaged> {
        let bytes = self.bytes()?;
        if bytes.len() == grid.len() { Ok(bytes.to_vec()) } else { Err(self.wrong("a number of voxels")) }
    }

    /// As many `f32`s as a grid has voxels.
    pub(super) fn f32_voxels(&mut self, grid: &Grid) -> Result<Vec<f32>, Damaged> {
        let n = self.size()?;
        if n != grid.len() {
            return Err(self.wrong("a number of voxels"));
        }
        let [a, b, c, d] = [self.take(n)?, self.take(n)?, self.take(n)?, self.take(n)?];
        Ok((0..n).map(|i| f32::from_le_bytes([a[i], b[i], c[i], d[i]])).collect())
    }

    /// A grid as a head may have.
    pub(super) fn grid(&mut self) -> Result<Grid, Damaged> {
        let dims = [self.size()?, self.size()?, self.size()?];
        let grid = Grid { dims, spacing_mm: self.f64()?, origin: self.f64s()? };
        let sound = grid.dims.iter().all(|n| (2..=EDGE_MAX).contains(n)) && (0.1..=10.0).contains(&grid.spacing_mm);
        if sound { Ok(grid) } else { Err(self.wrong("a grid")) }
    }

    pub(super) fn point(&mut self) -> Result<Point3<f64>, Damaged> {
        Ok(Point3::from(self.f64s::<3>()?))
    }

    pub(super) fn vector(&mut self) -> Result<Vector3<f64>, Damaged> {
        Ok(Vector3::from(self.f64s::<3>()?))
    }

    /// That nothing is left.
    pub(super) fn end(&self) -> Result<(), Damaged> {
        if self.at == self.bytes.len() { Ok(()) } else { Err(self.wrong("the end")) }
    }
}
