//! A training as a picture: its loss, and how good the mean of its weights was on patients that it never saw.

use super::training::Entry;
use crate::portrait::canvas::{Canvas, Colour};
use bregma_perception::perceive::network::OUTPUT_NAMES;
use image::RgbImage;

/// Width and height of a chart, pixels.
const CHART: [u32; 2] = [860, 250];
/// Left of it stand numbers, below it steps, above it words.
const ROOM: [u32; 3] = [64, 26, 30];
const AXIS: Colour = [90; 3];
const GRID: Colour = [34; 3];
const COLOURS: [Colour; 4] = [[230, 159, 0], [86, 180, 233], [0, 158, 115], [204, 121, 167]];

/// A line's name and its points.
type Line = (String, Vec<[f64; 2]>);

/// Loss on top, overlaps in the middle, error of the margin below; nothing where nothing is known.
#[must_use]
pub fn draw(entries: &[Entry]) -> Option<RgbImage> {
    let of = |value: &dyn Fn(&Entry) -> Option<f64>| -> Vec<[f64; 2]> {
        entries.iter().filter_map(|e| value(e).map(|v| [e.step as f64, v])).collect()
    };
    let loss: Vec<Line> = vec![("loss".into(), of(&|e| Some(e.loss.total)))];
    let overlaps = OUTPUT_NAMES
        .iter()
        .enumerate()
        .map(|(output, name)| ((*name).to_owned(), of(&|e| e.scored.and_then(|s| s.overlap[output]))));
    let margin: Vec<Line> = vec![("margin, mm".into(), of(&|e| e.scored.and_then(|s| s.margin_mm)))];
    let charts: Vec<(&str, Vec<Line>)> = vec![
        ("loss of the steps since the last entry", loss),
        ("Dice's overlap on held-out patients", overlaps.collect()),
        ("error of the margin within 5 mm of the core's surface on held-out patients, mm", margin),
    ];
    let drawn: Vec<_> = charts.into_iter().filter(|(_, lines)| lines.iter().any(|(_, p)| p.len() > 1)).collect();
    let (width, height) = (CHART[0] + ROOM[0] + 20, CHART[1] + ROOM[1] + ROOM[2]);
    if drawn.is_empty() {
        return None;
    }
    let mut canvas = Canvas::new(width, height * drawn.len() as u32);
    for (nth, (title, lines)) in drawn.iter().enumerate() {
        chart(&mut canvas, nth as u32 * height, title, lines);
    }
    Some(canvas.into_image())
}

fn chart(canvas: &mut Canvas, top: u32, title: &str, lines: &[Line]) {
    let points = || lines.iter().flat_map(|(_, points)| points);
    let last = points().map(|p| p[0]).fold(1.0, f64::max);
    let most = points().map(|p| p[1]).fold(0.0, f64::max).max(1e-9);
    let step = nice(most / 4.0);
    let most = (most / step).ceil() * step;
    let place = |[x, y]: [f64; 2]| {
        let across = f64::from(ROOM[0]) + x / last * f64::from(CHART[0]);
        [across, f64::from(top + ROOM[2]) + (1.0 - y / most) * f64::from(CHART[1])]
    };
    canvas.words([ROOM[0], top + 4], title);
    for n in 0..=(most / step).round() as u32 {
        let value = f64::from(n) * step;
        canvas.line(place([0.0, value]), place([last, value]), 1.0, if n == 0 { AXIS } else { GRID });
        canvas.words([4, place([0.0, value])[1] as u32 - 4], &format!("{value:.3}"));
    }
    for share in 0..=4 {
        let at = last * f64::from(share) / 4.0;
        let [x, y] = place([at, 0.0]);
        canvas.words([(x as u32).saturating_sub(if share == 0 { 0 } else { 30 }), y as u32 + 8], &format!("{at:.0}"));
    }
    let mut left = ROOM[0];
    for ((name, points), colour) in lines.iter().zip(COLOURS) {
        points.windows(2).for_each(|pair| canvas.line(place(pair[0]), place(pair[1]), 2.0, colour));
        if lines.len() > 1 {
            canvas.line(
                [f64::from(left), f64::from(top + 22)],
                [f64::from(left + 16), f64::from(top + 22)],
                3.0,
                colour,
            );
            canvas.words([left + 22, top + 18], name);
            left += 30 + 8 * (name.len() as u32 + 2);
        }
    }
}

/// The next of 1, 2 and 5 times a power of ten.
fn nice(value: f64) -> f64 {
    let power = 10.0_f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0, 10.0].map(|m| m * power).into_iter().find(|m| *m >= value * 0.999_999).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bregma_perception::train::{Loss, Scored};

    #[test]
    fn a_training_of_two_entries_is_a_picture_and_one_of_none_is_not() {
        let entry = |step: u64, total: f64| Entry {
            step,
            seconds: step as f64,
            rate: 1e-3,
            loss: Loss { total, ..Loss::default() },
            scored: Some(Scored { overlap: [Some(0.5), Some(0.7), None], margin_mm: Some(1.5), frames: 4 }),
        };
        assert!(draw(&[]).is_none() && draw(&[entry(1, 1.0)]).is_none());
        let image = draw(&[entry(50, 1.2), entry(100, 0.4)]).expect("a picture");
        let count = |colour: Colour| image.pixels().filter(|p| p.0 == colour).count();
        // Two overlaps are lines, the third was never known; loss and margin have the first colour, too.
        assert!(count(COLOURS[0]) > 3 * CHART[0] as usize && count(COLOURS[1]) > CHART[0] as usize, "lines");
        assert!(count(COLOURS[2]) < 100, "the name's mark alone");
    }

    #[test]
    fn steps_between_numbers_are_round() {
        assert_eq!([0.03, 0.2, 0.21, 3.0, 7.0].map(nice).map(|v| (v * 1e3).round()), [50.0, 200.0, 500.0, 5e3, 1e4]);
    }
}
