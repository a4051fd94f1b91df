//! Damaged messages without end, as the test `corpus` does it, for as many as are asked for: ten million otherwise.
//!
//! `cargo run --release -p bregma-openigtlink --example hammer -- 10000000 SEED`

#[path = "../tests/exercise/mod.rs"]
mod exercise;
#[path = "../tests/made/mod.rs"]
mod made;

use std::io::Write;

fn main() -> std::io::Result<()> {
    let mut words =
        std::env::args().skip(1).map(|word| word.parse::<u64>().unwrap_or_else(|why| panic!("{word}: {why}")));
    let (count, seed) = (words.next().unwrap_or(10_000_000), words.next().unwrap_or(1));
    let mut dice = made::Dice::new(seed);
    let (mut taken, mut bytes) = (0_u64, 0_u64);
    for turn in 0..count {
        let wire = made::damaged(&mut dice);
        bytes += wire.len() as u64;
        let options = &exercise::WAYS[turn as usize % exercise::WAYS.len()];
        taken += u64::from(exercise::bytes(&wire, options));
        exercise::stream(&wire, *options);
    }
    writeln!(std::io::stderr(), "{count} damaged messages, {bytes} bytes, {taken} taken, seed {seed}: no harm")
}
