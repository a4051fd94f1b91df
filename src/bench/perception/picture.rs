//! Bars: medians of all contenders on the default network at 64³, a group for each row.
//!
//! **Scale:** its own in each group, from 0 to the longest.

use super::case::{Contender, Point, Task};
use super::table::find;
use crate::portrait::canvas::{Canvas, Colour, LETTER};
use crate::report::BenchRow;
use image::imageops::{FilterType, resize};
use image::{Rgb, RgbImage};

/// Everything is drawn once and then enlarged that often: letters are 8 pixels high.
const LARGER: u32 = 2;
/// Width before that, pixels.
const WIDTH: u32 = 560;
/// Where bars begin.
const LEFT: u32 = 100;
/// The longest bar.
const LONGEST: u32 = 330;
/// Height of a line.
const LINE: u32 = 14;

const OURS: Colour = [90, 200, 140];
const THEIRS: Colour = [110, 130, 170];

/// The picture; `None` where nothing of ours was measured at this point.
#[must_use]
pub fn draw(rows: &[BenchRow], point: Point) -> Option<RgbImage> {
    let mut groups = Vec::new();
    for (task, (_, what)) in Task::ALL.iter().flat_map(|task| task.commands().iter().map(move |c| (task, c))) {
        let named = |who: Contender| find(rows, &point.row(who, what)).map(|row| (who, row.median));
        let bars: Vec<_> = Contender::ALL.into_iter().filter(|who| who.does(*task)).filter_map(named).collect();
        if bars.first().is_some_and(|(who, _)| *who == Contender::Ours) {
            groups.push((point.row(Contender::Ours, what), bars));
        }
    }
    let lines: u32 = groups.iter().map(|(_, bars)| bars.len() as u32 + 2).sum();
    if lines == 0 {
        return None;
    }
    let mut canvas = Canvas::new(WIDTH, (lines + 1) * LINE);
    let mut y = LINE / 2;
    for (name, bars) in groups {
        canvas.words([8, y], &format!("{name}, ms"));
        y += LINE;
        let longest = bars.iter().fold(0.0_f64, |most, (_, ms)| most.max(*ms));
        for (who, ms) in bars {
            let colour = if who == Contender::Ours { OURS } else { THEIRS };
            let width = (ms / longest * f64::from(LONGEST)).max(1.0) as u32;
            canvas.words([8, y], who.name());
            canvas.paste(&RgbImage::from_pixel(width, LINE - 4, Rgb(colour)), [LEFT, y]);
            canvas.words([LEFT + width + LETTER[0] / 2, y], &format!("{ms:.1}"));
            y += LINE;
        }
        y += LINE;
    }
    let small = canvas.into_image();
    Some(resize(&small, small.width() * LARGER, small.height() * LARGER, FilterType::Nearest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_numbers_and_nothing_is_no_picture() {
        let point = Point { edge: 64, base: 8, threads: 2 };
        let row = |name: &str, median| BenchRow { name: name.into(), median, p99: None, unit: "ms", n: 1 };
        let rows = [row("forward_f32_64_b8", 10.0), row("openvino.forward_f32_64_b8", 20.0)];
        let image = draw(&rows, point).expect("a picture");
        let count = |colour: Colour| image.pixels().filter(|pixel| pixel.0 == colour).count();
        assert_eq!(2 * count(OURS), count(THEIRS));
        assert!(draw(&rows[1..], point).is_none());
    }
}
