//! POLYDATA: a surface of points, cells and attributes.
//!
//! ```text
//! 0         4        8       12  ...                                 36         40
//! | NPOINTS | NVERT. | bytes | the same for lines, polygons, strips | NATTRIB. | points[3] | vertices | lines |
//! | polygons | strips | attributes' heads | names | attributes' values
//! ```
//!
//! **Units:** millimetres. **Frames:** the message does not say: between sender and receiver. **Invariant:** every
//! cell of a surface that came in is whole, and every index is that of a point.

use crate::attributes::Attributes;
use crate::cells::{CellFields, Cells};
use crate::error::{DecodeError, EncodeError};
use crate::fields::{Reader, Writer, within};
use crate::list::List;
use crate::options::Peer;

/// Ten numbers of 32 bits.
const HEAD: usize = 40;

const FIELDS: [CellFields; 4] = [
    CellFields { count: "POLYDATA's NVERTICES", size: "POLYDATA's SIZE_VERTICES", cells: "POLYDATA's VERTICES" },
    CellFields { count: "POLYDATA's NLINES", size: "POLYDATA's SIZE_LINES", cells: "POLYDATA's LINES" },
    CellFields { count: "POLYDATA's NPOLYGONS", size: "POLYDATA's SIZE_POLYGONS", cells: "POLYDATA's POLYGONS" },
    CellFields {
        count: "POLYDATA's NTRIANGLE_STRIPS",
        size: "POLYDATA's SIZE_TRIANGLE_STRIPS",
        cells: "POLYDATA's TRIANGLE_STRIPS",
    },
];

/// POLYDATA.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PolyData<'a> {
    /// mm.
    pub points: List<'a, [f32; 3]>,
    /// Cells of single points.
    pub vertices: Cells<'a>,
    /// Cells of lines through their points.
    pub lines: Cells<'a>,
    /// Cells of faces.
    pub polygons: Cells<'a>,
    /// Cells of triangles of three points in a row each.
    pub triangle_strips: Cells<'a>,
    /// What is said of points and cells.
    pub attributes: Attributes<'a>,
}

impl<'a> PolyData<'a> {
    const fn cells(&self) -> [Cells<'a>; 4] {
        [self.vertices, self.lines, self.polygons, self.triangle_strips]
    }

    pub(crate) fn size(&self) -> Result<usize, EncodeError> {
        within("the number of POLYDATA's points", self.points.len(), u32::MAX as usize)?;
        within("the number of POLYDATA's attributes", self.attributes.len(), u32::MAX as usize)?;
        let mut size = (HEAD + self.points.size()).saturating_add(self.attributes.size()?);
        for (cells, fields) in self.cells().iter().zip(&FIELDS) {
            cells.counted(self.points.len(), fields)?;
            within(fields.size, cells.size(), u32::MAX as usize)?;
            size = size.saturating_add(cells.size());
        }
        Ok(size)
    }

    pub(crate) fn decode(mut fields: Reader<'a>, peer: Peer) -> Result<Self, DecodeError> {
        let offset = fields.offset;
        let head: List<'_, u32> = fields.list(HEAD / 4, "POLYDATA's first 40 bytes")?;
        let word = |at: usize| head.get(at).unwrap_or(0);
        let room = fields.left() / 12;
        if word(0) as usize > room {
            return Err(DecodeError::Length {
                field: "POLYDATA's NPOINTS",
                offset,
                value: word(0).into(),
                right: "the number of points there is room for",
                expected: room as u64,
            });
        }
        let points: List<'_, [f32; 3]> = fields.list(word(0) as usize, "POLYDATA's POINTS")?;
        let mut cells = [Cells::default(); 4];
        for (at, (cells, names)) in cells.iter_mut().zip(&FIELDS).enumerate() {
            let (count, size) = (word(1 + 2 * at), word(2 + 2 * at));
            let size_at = offset + 8 + 8 * at;
            if !size.is_multiple_of(4) {
                let right = "a multiple of 4 is needed, since indices have 32 bits";
                return Err(DecodeError::Value { field: names.size, offset: size_at, value: size.into(), right });
            }
            if size as usize > fields.left() {
                return Err(DecodeError::Length {
                    field: names.size,
                    offset: size_at,
                    value: size.into(),
                    right: "the number of bytes left for it, at most,",
                    expected: fields.left() as u64,
                });
            }
            let flat_at = fields.offset;
            let flat = fields.list(size as usize / 4, names.cells)?;
            *cells = Cells::decode(flat, flat_at, count, size_at - 4, points.len(), names)?;
        }
        let [vertices, lines, polygons, triangle_strips] = cells;
        let attributes = Attributes::decode(word(9), offset + 36, fields, peer)?;
        Ok(Self { points, vertices, lines, polygons, triangle_strips, attributes })
    }

    pub(crate) fn encode(&self, out: &mut Writer<'_>) {
        out.item(&(self.points.len() as u32));
        for (cells, fields) in self.cells().iter().zip(&FIELDS) {
            // Was counted by `size`, or the message would not be written.
            out.item(&cells.counted(self.points.len(), fields).unwrap_or(0));
            out.item(&(cells.size() as u32));
        }
        out.item(&(self.attributes.len() as u32));
        self.points.write(out);
        self.cells().iter().for_each(|cells| cells.write(out));
        self.attributes.write(out);
    }
}
