//! Acceptance against how near it truly was, kind by kind, as a picture.

use super::{Category, Line};
use crate::portrait::canvas::{Canvas, Colour};
use image::RgbImage;

/// Width and height of a chart, pixels.
const CHART: [u32; 2] = [560, 150];
/// Left of it stand numbers, below it lengths, above it words.
const ROOM: [u32; 3] = [52, 26, 34];
const AXIS: Colour = [110; 3];
const GRID: Colour = [36; 3];
/// The margin itself.
const MARGIN: Colour = [204, 60, 60];
/// Home and foreign.
const COLOURS: [(&str, Colour); 2] = [("home", [230, 159, 0]), ("foreign", [86, 180, 233])];
/// From the margin, mm, and the width of a bin.
const ACROSS: [f64; 2] = [-6.0, 8.0];
const BIN_MM: f64 = 0.5;
/// A bin with fewer motions says nothing.
const LEAST: usize = 3;

/// One chart for each kind whose violation is a length.
#[must_use]
pub fn draw(lines: &[Line]) -> RgbImage {
    let [width, height] = [CHART[0] + ROOM[0] + 20, CHART[1] + ROOM[1] + ROOM[2]];
    let mut canvas = Canvas::new(width, height * Category::PHYSICAL.len() as u32);
    for (nth, category) in Category::PHYSICAL.into_iter().enumerate() {
        chart(&mut canvas, nth as u32 * height, category, lines);
    }
    canvas.into_image()
}

/// Share accepted and number of motions in each bin of the true clearance beyond the margin.
fn bins(lines: &[Line], category: Category, world: &str) -> Vec<(f64, f64, usize)> {
    let n = ((ACROSS[1] - ACROSS[0]) / BIN_MM) as usize;
    let of = |line: &&Line| line.world == world && line.category == category;
    let mut counts = vec![(0, 0); n];
    for line in lines.iter().filter(of) {
        let bin = ((-line.violation - ACROSS[0]) / BIN_MM).floor();
        if (0.0..n as f64).contains(&bin) {
            let (accepted, all) = &mut counts[bin as usize];
            *accepted += usize::from(line.accepted);
            *all += 1;
        }
    }
    let middle = |bin: usize| ACROSS[0] + (bin as f64 + 0.5) * BIN_MM;
    counts
        .into_iter()
        .enumerate()
        .filter(|(_, (_, all))| *all >= LEAST)
        .map(|(bin, (accepted, all))| (middle(bin), accepted as f64 / all as f64, all))
        .collect()
}

fn chart(canvas: &mut Canvas, top: u32, category: Category, lines: &[Line]) {
    let place = |x: f64, y: f64| {
        let across = f64::from(ROOM[0]) + (x - ACROSS[0]) / (ACROSS[1] - ACROSS[0]) * f64::from(CHART[0]);
        [across, f64::from(top + ROOM[2]) + (1.0 - y) * f64::from(CHART[1])]
    };
    canvas.words([ROOM[0], top + 4], category.name());
    canvas.words([ROOM[0] + 170, top + 20], "share accepted, by mm beyond the margin");
    for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
        canvas.line(place(ACROSS[0], share), place(ACROSS[1], share), 1.0, if share == 0.0 { AXIS } else { GRID });
        canvas.words([6, place(0.0, share)[1] as u32 - 4], &format!("{share:.2}"));
    }
    canvas.line(place(0.0, 0.0), place(0.0, 1.0), 2.0, MARGIN);
    for mm in (ACROSS[0] as i32..=ACROSS[1] as i32).step_by(2) {
        let [x, y] = place(f64::from(mm), 0.0);
        canvas.words([(x as u32).saturating_sub(8), y as u32 + 8], &format!("{mm}"));
    }
    let mut left = ROOM[0];
    for (world, colour) in COLOURS {
        let points = bins(lines, category, world);
        for pair in points.windows(2) {
            canvas.line(place(pair[0].0, pair[0].1), place(pair[1].0, pair[1].1), 2.0, colour);
        }
        for (x, y, _) in &points {
            let [x, y] = place(*x, *y);
            canvas.line([x - 2.0, y], [x + 2.0, y], 5.0, colour);
        }
        let y = f64::from(top + 24);
        canvas.line([f64::from(left), y], [f64::from(left + 16), y], 3.0, colour);
        canvas.words([left + 22, top + 20], world);
        left += 30 + 8 * (world.len() as u32 + 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_accepted_stands_where_it_was() {
        let line = |violation: f64, accepted| Line {
            category: Category::Vessel,
            world: "home".into(),
            seed: 1,
            violation,
            sigma_mm: 0.7,
            accepted,
            by: None,
        };
        let lines: Vec<Line> = (0..8).map(|n| line(1.25, n == 0)).chain((0..4).map(|_| line(-3.25, true))).collect();
        let found = bins(&lines, Category::Vessel, "home");
        assert_eq!(found, [(-1.25, 0.125, 8), (3.25, 1.0, 4)]);
        assert!(bins(&lines, Category::Vessel, "foreign").is_empty());
        let image = draw(&lines);
        assert!(image.pixels().filter(|p| p.0 == COLOURS[0].1).count() > 300);
    }
}
