//! The contact sheet of one patient, and the gallery of many.
//!
//! ```text
//!            T1    T1c    T2    FLAIR   microscope
//! axial     [  ]  [  ]  [  ]  [  ]     [ white   ]
//! coronal   [  ]  [  ]  [  ]  [  ]     [ violet  ]
//! sagittal  [  ]  [  ]  [  ]  [  ]     [vessels][shift]
//! ```
//! A pixel is a millimetre. The core's true edge is red, what cells have infiltrated is outlined in yellow.

use super::canvas::{Canvas, Colour, LETTER};
use super::{MODALITIES, Portrait, SHIFT_MINUTES};
use bregma_core::flow::VideoFrame;
use bregma_patient::{Label, VesselKind};
use image::RgbImage;
use image::imageops::{FilterType, resize};
use nalgebra::{Point3, Vector3};

/// Edge of a slice, pixels and mm.
const CELL: u32 = 240;
/// Room for words above.
const HEAD: u32 = 16;
/// Edge of a slice in the gallery.
const SMALL: u32 = 180;
/// Patients beside each other in the gallery.
const ACROSS: u32 = 4;
/// Displacements are drawn that much longer than they are.
const LONGER: f64 = 2.0;
/// Distance of the arrows, mm.
const ARROWS_MM: usize = 12;

const CORE: Colour = [255, 60, 60];
const INFILTRATED: Colour = [240, 220, 70];
const ARTERY: Colour = [230, 60, 60];
const VEIN: Colour = [80, 120, 240];
const ARROW: Colour = [90, 230, 140];

/// A plane through the head.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Plane {
    Axial,
    Coronal,
    Sagittal,
}

impl Plane {
    const ALL: [Self; 3] = [Self::Axial, Self::Coronal, Self::Sagittal];

    const fn name(self) -> &'static str {
        match self {
            Self::Axial => "axial",
            Self::Coronal => "coronal",
            Self::Sagittal => "sagittal",
        }
    }

    /// Right and down on the sheet, in patient LPS.
    fn axes(self) -> [Vector3<f64>; 2] {
        match self {
            Self::Axial => [Vector3::x(), Vector3::y()],
            Self::Coronal => [Vector3::x(), -Vector3::z()],
            Self::Sagittal => [Vector3::y(), -Vector3::z()],
        }
    }
}

/// A slice through the target, centred on the brain.
struct Slice {
    middle: Point3<f64>,
    axes: [Vector3<f64>; 2],
}

impl Slice {
    fn new(portrait: &Portrait, plane: Plane) -> Self {
        let target = portrait.patient.anatomy().corridor.target;
        // The brain's middle lies behind and above the anterior commissure: LPS, mm.
        let mut middle = Point3::new(0.0, 18.0, 8.0);
        let across = match plane {
            Plane::Axial => 2,
            Plane::Coronal => 1,
            Plane::Sagittal => 0,
        };
        middle[across] = target[across];
        Self { middle, axes: plane.axes() }
    }

    /// The patient's point under a pixel of a picture of `edge` pixels and [`CELL`] mm.
    fn point(&self, [x, y]: [u32; 2], edge: u32) -> Point3<f64> {
        let mm = |c: u32| (f64::from(c) + 0.5) * f64::from(CELL) / f64::from(edge) - f64::from(CELL) / 2.0;
        self.middle + self.axes[0] * mm(x) + self.axes[1] * mm(y)
    }

    /// Where a patient's point appears on a picture of [`CELL`] pixels.
    fn pixel(&self, at: &Point3<f64>) -> [f64; 2] {
        self.axes.map(|axis| (at - self.middle).dot(&axis) + f64::from(CELL) / 2.0)
    }

    fn draw(&self, portrait: &Portrait, scan: usize, edge: u32, outlines: bool) -> RgbImage {
        let kind = |x: u32, y: u32| portrait.patient.label_at(&self.point([x, y], edge)).unwrap_or(Label::Outside);
        RgbImage::from_fn(edge, edge, |x, y| {
            let grey = portrait.scans[scan].grey(&self.point([x, y], edge));
            let edge_of = |inside: &dyn Fn(Label) -> bool| {
                inside(kind(x, y))
                    && [(x + 1, y), (x, y + 1), (x.wrapping_sub(1), y), (x, y.wrapping_sub(1))]
                        .iter()
                        .any(|n| !inside(kind(n.0, n.1)))
            };
            let colour = if outlines && edge_of(&|l: Label| l.core()) {
                CORE
            } else if outlines && edge_of(&|l: Label| l.core() || l == Label::Infiltrated) {
                INFILTRATED
            } else {
                [grey; 3]
            };
            image::Rgb(colour)
        })
    }
}

fn picture(frame: &VideoFrame) -> RgbImage {
    let pixel = |x: u32, y: u32| {
        let at = 3 * (y as usize * frame.width + x as usize);
        image::Rgb([frame.rgb[at], frame.rgb[at + 1], frame.rgb[at + 2]])
    };
    RgbImage::from_fn(frame.width as u32, frame.height as u32, pixel)
}

/// The whole sheet.
#[must_use]
pub fn contact_sheet(portrait: &Portrait) -> RgbImage {
    let mut canvas = Canvas::new(6 * CELL, 3 * CELL + HEAD);
    for (row, plane) in Plane::ALL.into_iter().enumerate() {
        let slice = Slice::new(portrait, plane);
        let y = HEAD + row as u32 * CELL;
        for (column, modality) in MODALITIES.iter().enumerate() {
            let x = column as u32 * CELL;
            canvas.paste(&slice.draw(portrait, column, CELL, true), [x, y]);
            canvas.words([x + 4, y + 4], &format!("{modality:?} {}", plane.name()));
        }
    }
    for (row, (frame, words)) in
        portrait.pictures.iter().zip(["microscope, white light", "microscope, violet light (5-ALA)"]).enumerate()
    {
        let whole = resize(&picture(frame), 2 * CELL, 2 * CELL * 9 / 16, FilterType::Triangle);
        let cut = image::imageops::crop_imm(&whole, 0, (2 * CELL * 9 / 16 - CELL) / 2, 2 * CELL, CELL).to_image();
        let at = [4 * CELL, HEAD + row as u32 * CELL];
        canvas.paste(&cut, at);
        canvas.words([at[0] + 4, at[1] + 4], words);
    }
    let y = HEAD + 2 * CELL;
    vessels(portrait, &mut canvas, [4 * CELL, y]);
    shift(portrait, &mut canvas, [5 * CELL, y]);
    canvas.words([4, 3], &portrait.words());
    canvas.into_image()
}

/// Every vessel, seen from the left, on a faint sagittal slice.
fn vessels(portrait: &Portrait, canvas: &mut Canvas, corner: [u32; 2]) {
    let slice = Slice::new(portrait, Plane::Sagittal);
    let faint = slice.draw(portrait, 0, CELL, false);
    canvas.paste(&RgbImage::from_fn(CELL, CELL, |x, y| image::Rgb(faint.get_pixel(x, y).0.map(|c| c / 4))), corner);
    let place = |at: &Point3<f64>| {
        let [x, y] = slice.pixel(at);
        [x + f64::from(corner[0]), y + f64::from(corner[1])]
    };
    for (kind, piece) in portrait.patient.vessels() {
        let colour = if kind == VesselKind::Artery { ARTERY } else { VEIN };
        canvas.line(place(&piece.start), place(&piece.end), 2.0 * piece.radius_mm, colour);
    }
    canvas.words([corner[0] + 4, corner[1] + 4], "arteries, veins");
}

/// Where tissue goes, on a coronal slice.
fn shift(portrait: &Portrait, canvas: &mut Canvas, corner: [u32; 2]) {
    let slice = Slice::new(portrait, Plane::Coronal);
    canvas.paste(&slice.draw(portrait, 1, CELL, false), corner);
    for (y, x) in (0..CELL).step_by(ARROWS_MM).flat_map(|y| (0..CELL).step_by(ARROWS_MM).map(move |x| (y, x))) {
        let rest = slice.point([x, y], CELL);
        let moved = portrait.moved(&rest);
        if moved.norm() > 0.5 && portrait.scans[1].grey(&rest) > 40 {
            let place = |at: &Point3<f64>| {
                let [x, y] = slice.pixel(at);
                [x + f64::from(corner[0]), y + f64::from(corner[1])]
            };
            canvas.arrow(place(&rest), place(&(rest + moved * LONGER)), ARROW);
        }
    }
    canvas.words([corner[0] + 4, corner[1] + 4], &format!("shift, {SHIFT_MINUTES:.0} min, x{LONGER:.0}"));
}

/// One patient in the gallery: T1c and FLAIR, and the microscope in both lights.
#[must_use]
pub fn thumbnail(portrait: &Portrait) -> RgbImage {
    let strip = SMALL * 9 / 16;
    let mut canvas = Canvas::new(2 * SMALL, LETTER[1] + 4 + SMALL + strip);
    let slice = Slice::new(portrait, Plane::Axial);
    let top = LETTER[1] + 4;
    canvas.paste(&slice.draw(portrait, 1, SMALL, true), [0, top]);
    canvas.paste(&slice.draw(portrait, 3, SMALL, false), [SMALL, top]);
    for (n, frame) in portrait.pictures.iter().enumerate() {
        let small = resize(&picture(frame), SMALL, strip, FilterType::Triangle);
        canvas.paste(&small, [n as u32 * SMALL, top + SMALL]);
    }
    let (seed, ml) = (portrait.patient.seed(), portrait.patient.core_ml());
    canvas.words([4, 2], &format!("{} {seed}: core {ml:.1} mL", portrait.world));
    canvas.into_image()
}

/// Thumbnails in rows.
#[must_use]
pub fn gallery(thumbnails: &[RgbImage]) -> RgbImage {
    let [width, height] = thumbnails.first().map_or([1, 1], |t| [t.width() + 4, t.height() + 4]);
    let rows = (thumbnails.len() as u32).div_ceil(ACROSS).max(1);
    let mut canvas = Canvas::new(width * ACROSS - 4, height * rows - 4);
    for (n, thumbnail) in (0_u32..).zip(thumbnails) {
        canvas.paste(thumbnail, [n % ACROSS * width, n / ACROSS * height]);
    }
    canvas.into_image()
}
