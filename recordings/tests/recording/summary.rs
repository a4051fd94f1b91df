//! What `bregma inspect` shows.

use crate::made::{header, items, recorded};
use bregma_recordings::{Ending, Recording, Summary, Topic};
use std::io::Cursor;

fn summary(bytes: &[u8]) -> Summary {
    let mut recording = Recording::read_from(Cursor::new(bytes)).expect("opens");
    Summary::of(&mut recording).expect("reads")
}

#[test]
fn every_channel_is_counted() {
    let summary = summary(&recorded(&items()));
    assert_eq!((&summary.header, summary.ending), (&header(), Ending::Complete));
    let of = |name: &str| summary.channels.iter().find(|c| c.name == name).expect("is there");
    assert_eq!((of("scenes").count, of("sent").count, of("steps.plan").count, of("orders").count), (25, 250, 25, 1));
    assert!(summary.channels.iter().all(|c| c.gaps == 0));
    let rate = of("sent").rate_hz().expect("has one");
    assert!((rate - 50.0).abs() < 0.5, "{rate}");
    assert_eq!(of("orders").rate_hz(), None);
    let text = summary.to_text();
    assert!(text.contains("seed      1000") && text.contains("ending    complete"), "{text}");
    let line = text.lines().find(|l| l.starts_with("steps.plan")).expect("a line a channel");
    assert_eq!(line.split_whitespace().nth(1), Some("25"));
}

#[test]
fn a_hole_in_the_numbers_is_counted() {
    let mut items = items();
    items.retain(|item| item.message.topic() != Topic::Heartbeat || !(4..=6).contains(&item.number));
    let summary = summary(&recorded(&items));
    let gaps: Vec<_> = summary.channels.iter().filter(|c| c.gaps > 0).map(|c| (c.name.as_str(), c.gaps)).collect();
    assert_eq!(gaps, [("heartbeat", 3)]);
}
