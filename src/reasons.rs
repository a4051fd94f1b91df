//! Why a margin is where it is, drawn: slices through the place with what spoke for core and against it, and the evidence with its worth.
//!
//! **Layout:** axial, coronal and sagittal in a row, as in [`crate::display::slices`]; below them a line for each kind of evidence, the one
//! that moves the margin most first. Red spoke for residual core, blue against it; a cross marks the place.

use crate::display::slices::{EDGE_PX, Plane};
use crate::portrait::canvas::{Canvas, LETTER};
use bregma_core::flow::roi_channel::SCANS;
use bregma_core::flow::{ROI_EDGE, ROI_VOXELS, RoiFrame};
use bregma_perception::explain::{Explained, Standing};
use image::RgbImage;

/// Between slices, pixels.
const GAP: u32 = 4;
/// The darkest and the brightest grey, in z-scores.
const GREY_Z: [f32; 2] = [-2.5, 3.5];
/// Share of voxels whose worth is told by colour alone, not by how strong it is.
const SATURATED: f64 = 0.005;

/// The lines, for people.
#[must_use]
pub fn lines(explained: &Explained) -> Vec<String> {
    let mut lines = vec![format!(
        "margin {:+.1} mm by this frame alone, probability of residual core {:.2}",
        explained.margin_mm, explained.probability
    )];
    for reason in &explained.reasons {
        let standing = match reason.standing {
            Standing::There => String::new(),
            Standing::Old(seconds) if seconds >= 90.0 => format!("  OLD: {:.0} min", seconds / 60.0),
            Standing::Old(seconds) => format!("  OLD: {seconds:.0} s"),
            Standing::Missing => "  MISSING".to_owned(),
        };
        let to_first_order =
            reason.gradient.map_or_else(String::new, |logit| format!(" ({logit:+6.2} to first order)"));
        lines.push(format!(
            "{:<19} moves the margin by {:+5.1} mm, the logit by {:+6.2}{to_first_order}{standing}",
            reason.evidence.name(),
            reason.moved_mm,
            reason.occlusion
        ));
    }
    lines.push(format!(
        "occlusion and gradient x input rank the evidence alike: {:+.2} of -1 to 1",
        explained.agreement
    ));
    lines
}

/// The picture.
#[must_use]
pub fn picture(explained: &Explained, frame: &RoiFrame, at: [usize; 3]) -> RgbImage {
    let lines = lines(explained);
    let edge = EDGE_PX as u32;
    let widest = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0) as u32;
    let width = (3 * edge + 2 * GAP).max(widest * LETTER[0] + 2 * GAP);
    let mut canvas = Canvas::new(width, edge + 2 * GAP + lines.len() as u32 * (LETTER[1] + 2));
    // The first scan that there is.
    let scan = SCANS.into_iter().find(|c| frame.channel(*c).iter().any(|v| *v != 0.0)).unwrap_or(SCANS[0]);
    let full = strong(&explained.map);
    for (nth, plane) in Plane::ALL.into_iter().enumerate() {
        let left = nth as u32 * (edge + GAP);
        let depth = at[match plane {
            Plane::Axial => 2,
            Plane::Coronal => 1,
            Plane::Sagittal => 0,
        }];
        for (y, x) in (0..EDGE_PX).flat_map(|y| (0..EDGE_PX).map(move |x| (y, x))) {
            let scale = EDGE_PX / ROI_EDGE;
            let voxel = plane.voxel(x / scale, y / scale, depth);
            let index = voxel[0] + ROI_EDGE * (voxel[1] + ROI_EDGE * voxel[2]);
            let colour = colour(frame.channel(scan)[index], explained.map[index] / full);
            canvas.put(i64::from(left) + x as i64, y as i64, colour);
        }
        let [x, y] = plane.pixel(at.map(|v| v as f64)).map(f64::from);
        let x = x + f64::from(left);
        for (dx, dy) in [(6.0, 0.0), (0.0, 6.0)] {
            canvas.line([x - dx, y - dy], [x + dx, y + dy], 1.0, [255, 255, 0]);
        }
    }
    for (nth, line) in lines.iter().enumerate() {
        canvas.words([GAP, edge + GAP + nth as u32 * (LETTER[1] + 2)], line);
    }
    canvas.into_image()
}

/// The worth that is drawn at full strength.
fn strong(map: &[f32]) -> f32 {
    let mut worth: Vec<f32> = map.iter().map(|v| v.abs()).collect();
    worth.sort_by(f32::total_cmp);
    let at = ROI_VOXELS - 1 - (SATURATED * ROI_VOXELS as f64) as usize;
    worth[at.min(worth.len() - 1)].max(1e-9)
}

/// Grey, reddened where something spoke for core, blued where against it.
fn colour(z: f32, worth: f32) -> [u8; 3] {
    let grey = 255.0 * ((z - GREY_Z[0]) / (GREY_Z[1] - GREY_Z[0])).clamp(0.0, 1.0);
    let share = 0.8 * worth.abs().min(1.0);
    let over = if worth > 0.0 { [255.0, 40.0, 20.0] } else { [40.0, 90.0, 255.0] };
    over.map(|o| (grey + (o - grey) * share) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bregma_perception::explain::{Evidence, Reason};

    fn explained(map: Vec<f32>) -> Explained {
        let reason =
            |evidence, standing| Reason { evidence, standing, moved_mm: -1.25, occlusion: 0.5, gradient: Some(0.4) };
        Explained {
            margin_mm: -2.0,
            probability: 0.9,
            reasons: vec![
                reason(Evidence::T1c, Standing::Old(3600.0)),
                reason(Evidence::Video, Standing::Old(45.0)),
                reason(Evidence::T2, Standing::Missing),
                reason(Evidence::Cavity, Standing::There),
            ],
            map,
            agreement: 1.0,
        }
    }

    #[test]
    fn what_is_missing_or_old_is_said() {
        let lines = lines(&explained(Vec::new()));
        assert!(
            lines[1].starts_with("T1c") && lines[1].ends_with("OLD: 60 min") && lines[1].contains("-1.2 mm"),
            "{}",
            lines[1]
        );
        assert!(
            lines[2].ends_with("OLD: 45 s") && lines[3].ends_with("MISSING") && lines[4].ends_with("to first order)")
        );
    }

    #[test]
    fn what_spoke_for_core_is_red_and_against_it_blue() {
        let mut map = vec![0.0; ROI_VOXELS];
        let at = [20, 30, 40];
        let index = |v: [usize; 3]| v[0] + ROI_EDGE * (v[1] + ROI_EDGE * v[2]);
        (0..ROI_VOXELS).filter(|i| i % 3 == 0).for_each(|i| map[i] = 1e-3);
        map[index([10, 30, 40])] = 5.0;
        map[index([50, 30, 40])] = -5.0;
        let picture = picture(&explained(map), &RoiFrame::empty(), at);
        let scale = (EDGE_PX / ROI_EDGE) as u32;
        let pixel = |x: u32, y: u32| picture.get_pixel(x * scale + 1, y * scale + 1).0;
        let [r, _, b] = pixel(10, 30);
        assert!(r > 200 && b < 60);
        let [r, _, b] = pixel(50, 30);
        assert!(b > 200 && r < 100);
    }
}
