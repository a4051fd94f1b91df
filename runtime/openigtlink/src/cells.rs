//! The cells of a surface: runs of a number N and N indices of points.

use crate::error::{DecodeError, EncodeError};
use crate::fields::Writer;
use crate::list::List;

/// Vertices, lines, polygons or triangle strips: `[N, i₁ … i_N, N, i₁ …]`, indices into the surface's points.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Cells<'a> {
    flat: List<'a, u32>,
}

/// What the two lengths of cells in POLYDATA's head are called.
pub(crate) struct CellFields {
    pub(crate) count: &'static str,
    pub(crate) size: &'static str,
    pub(crate) cells: &'static str,
}

/// What is wrong with a run.
struct Broken {
    at: usize,
    value: u32,
    expected: usize,
    right: &'static str,
}

impl<'a> Cells<'a> {
    /// To be sent, as it will stand on the wire: `[N, i₁ … i_N, N, …]`.
    #[must_use]
    pub const fn new(flat: &'a [u32]) -> Self {
        Self { flat: List::new(flat) }
    }

    /// `[N, i₁ … i_N, N, …]`.
    #[must_use]
    pub const fn flat(&self) -> List<'a, u32> {
        self.flat
    }

    /// The points of each cell.
    pub fn iter(&self) -> impl Iterator<Item = List<'a, u32>> + use<'a> {
        let (flat, mut at) = (self.flat, 0_usize);
        std::iter::from_fn(move || {
            let count = flat.get(at)? as usize;
            let cell = flat.part(at + 1, count)?;
            at += 1 + count;
            Some(cell)
        })
    }

    /// Number of cells; those of a surface that came in are whole, and of points that there are.
    fn count(&self, points: usize) -> Result<u32, Broken> {
        let mut items = self.flat.iter();
        let (mut count, mut at) = (0, 0_usize);
        while let Some(value) = items.next() {
            let left = items.len();
            if value as usize > left {
                let right = "the number of indices left for it";
                return Err(Broken { at, value, expected: left, right });
            }
            for offset in 1..=value as usize {
                match items.next() {
                    Some(index) if (index as usize) < points => {}
                    index => {
                        let right = "above every index of a point: the number of points";
                        return Err(Broken { at: at + offset, value: index.unwrap_or(0), expected: points, right });
                    }
                }
            }
            at += 1 + value as usize;
            count += 1;
        }
        Ok(count)
    }

    /// Of `size` bytes that lie at `offset`, checked against the `count` of the head.
    pub(crate) fn decode(
        flat: List<'a, u32>,
        offset: usize,
        declared: u32,
        declared_at: usize,
        points: usize,
        fields: &CellFields,
    ) -> Result<Self, DecodeError> {
        let cells = Self { flat };
        let count = cells.count(points).map_err(|broken| DecodeError::Length {
            field: fields.cells,
            offset: offset + 4 * broken.at,
            value: broken.value.into(),
            right: broken.right,
            expected: broken.expected as u64,
        })?;
        if count != declared {
            return Err(DecodeError::Length {
                field: fields.count,
                offset: declared_at,
                value: declared.into(),
                right: "the number of cells behind the points",
                expected: count.into(),
            });
        }
        Ok(cells)
    }

    pub(crate) fn counted(&self, points: usize, fields: &CellFields) -> Result<u32, EncodeError> {
        self.count(points).map_err(|broken| EncodeError::Differs {
            what: fields.cells,
            value: broken.value.into(),
            right: broken.right,
            expected: broken.expected as u64,
        })
    }

    pub(crate) const fn size(&self) -> usize {
        self.flat.size()
    }

    pub(crate) fn write(&self, out: &mut Writer<'_>) {
        self.flat.write(out);
    }
}
