//! What gets in the way: cotton patties laid on the tissue, hands and instruments that pass above it.
//!
//! Events come from the seed and the time alone: each slot of time holds at most one of a kind, with the
//! chance that its rate gives. **Units:** pixels as shares of the picture's width, seconds. **Not
//! modelled:** cotton that soaks, and why somebody reaches in.

use super::settings::MicroscopeSettings;
use super::shade::smooth;
use crate::random::{Draws, Purpose, mix};

/// Length of a slot, s; longer than any event.
const SLOT_S: f64 = 130.0;

/// Something in the way now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Thing {
    pub kind: Kind,
    /// Its middle, in shares of the picture's width from the picture's middle.
    centre: [f32; 2],
    /// Half its length and breadth.
    half: [f32; 2],
    /// Direction of its length.
    along: [f32; 2],
    /// Of its own noise.
    pub seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Cotton,
    Hand,
}

/// What a thing does to a pixel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hiding {
    /// Share that it hides.
    pub cover: f32,
    /// Position along and across, −1 to 1.
    pub at: [f32; 2],
}

pub(crate) struct Occlusion {
    seed: u64,
    settings: MicroscopeSettings,
}

impl Occlusion {
    pub(crate) fn new(seed: u64, settings: MicroscopeSettings) -> Self {
        Self { seed: Draws::new(seed, Purpose::Occlusion).bits(), settings }
    }

    /// Share of the middle of a picture that is hidden at a time: half its width and height.
    pub(crate) fn hidden(&self, seconds: f64) -> f64 {
        const SIZE: [usize; 2] = [32, 18];
        let things = self.now(seconds);
        if things.is_empty() {
            return 0.0;
        }
        let hides = |at: [usize; 2], thing: &Thing| thing.hides(at, SIZE, 0.0).is_some_and(|h| h.cover > 0.5);
        let middle = (SIZE[1] / 4..SIZE[1] * 3 / 4).flat_map(|y| (SIZE[0] / 4..SIZE[0] * 3 / 4).map(move |x| [x, y]));
        let hidden = middle.filter(|at| things.iter().any(|thing| hides(*at, thing))).count();
        hidden as f64 / (SIZE[0] * SIZE[1] / 4) as f64
    }

    /// Everything that is in the way at a time, the lowest first.
    pub(super) fn now(&self, seconds: f64) -> Vec<Thing> {
        let s = &self.settings;
        let mut things = Vec::new();
        for (kind, per_minute, lasts) in
            [(Kind::Cotton, s.cotton_per_minute, s.cotton_s), (Kind::Hand, s.hands_per_minute, s.hand_s)]
        {
            // As many part slots as events are expected, so that several may fall into one slot.
            let parts = (per_minute * SLOT_S / 60.0).ceil() as u64;
            let chance = per_minute * SLOT_S / 60.0 / parts.max(1) as f64;
            let slot = (seconds / SLOT_S).floor();
            for back in [1.0, 0.0] {
                if slot - back < 0.0 {
                    continue;
                }
                for part in 0..parts {
                    let seed = mix(self.seed ^ kind as u64, (slot - back) as u64 * 4096 + part);
                    let share = |n: u64| (mix(seed, n) >> 11) as f64 / (1_u64 << 53) as f64;
                    let start = (slot - back + share(0)) * SLOT_S;
                    let length = lasts[0] + (lasts[1] - lasts[0]) * share(1);
                    let age = seconds - start;
                    if share(2) < chance && (0.0..length).contains(&age) {
                        things.push(thing(kind, seed, &share, age / length));
                    }
                }
            }
        }
        things
    }
}

fn thing(kind: Kind, seed: u64, share: &impl Fn(u64) -> f64, age: f64) -> Thing {
    let turn = share(3) * std::f64::consts::TAU;
    let along = [libm::cos(turn) as f32, libm::sin(turn) as f32];
    match kind {
        // 10 to 18 mm long of a picture 50 mm wide, near the cavity.
        Kind::Cotton => {
            let far = 0.05 + 0.16 * share(4);
            let at = share(5) * std::f64::consts::TAU;
            Thing {
                kind,
                centre: [(far * libm::cos(at)) as f32, (far * libm::sin(at)) as f32],
                half: [0.10 + 0.08 * share(6) as f32, 0.055 + 0.035 * share(7) as f32],
                along,
                seed,
            }
        }
        // A finger or an instrument: from outside the picture to near its middle and back.
        Kind::Hand => {
            let reach = 0.78 - 0.48 * (1.0 - (2.0 * age - 1.0) * (2.0 * age - 1.0));
            let centre = along.map(|c| c * -(reach as f32 + 0.12));
            Thing { kind, centre, half: [0.55, 0.09 + 0.07 * share(6) as f32], along, seed }
        }
    }
}

impl Thing {
    /// The rows that it may touch in a picture.
    pub(super) fn rows(&self, [width, height]: [usize; 2]) -> std::ops::Range<usize> {
        let w = width as f32;
        // Its box, and a quarter more for a soft or frayed edge.
        let reach = 1.25 * ((self.half[0] * self.along[1]).abs() + (self.half[1] * self.along[0]).abs()) + 0.01;
        let middle = height as f32 / 2.0 + self.shifted()[1] * w;
        let low = (middle - reach * w).clamp(0.0, height as f32) as usize;
        low..((middle + reach * w).clamp(0.0, height as f32) as usize).max(low)
    }

    /// A hand's end, not its middle, is what moves into the view.
    fn shifted(&self) -> [f32; 2] {
        match self.kind {
            Kind::Cotton => self.centre,
            Kind::Hand => std::array::from_fn(|a| self.centre[a] - self.along[a] * (self.half[0] - 0.12)),
        }
    }

    /// What it hides of a pixel; `wobble` between −1 and 1 makes its edge uneven.
    pub(super) fn hides(&self, pixel: [usize; 2], [width, height]: [usize; 2], wobble: f32) -> Option<Hiding> {
        let w = width as f32;
        let centre = self.shifted();
        let x = (pixel[0] as f32 - width as f32 / 2.0) / w - centre[0];
        let y = (pixel[1] as f32 - height as f32 / 2.0) / w - centre[1];
        let at = [
            (x * self.along[0] + y * self.along[1]) / self.half[0],
            (y * self.along[0] - x * self.along[1]) / self.half[1],
        ];
        let (edge, soft) = match self.kind {
            // A pad with square corners, a little frayed.
            Kind::Cotton => (at[0].abs().max(at[1].abs()) + 0.05 * wobble, 0.03),
            // A rounded end, far above the focus.
            Kind::Hand => {
                let tip = ((at[0] - 1.0) * self.half[0] / self.half[1] + 1.0).max(0.0);
                ((tip * tip + at[1] * at[1]).sqrt(), 0.22)
            }
        };
        let cover = 1.0 - smooth(1.0 - soft, 1.0 + soft, edge);
        (cover > 0.0).then_some(Hiding { cover, at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(cotton: f64, hands: f64) -> MicroscopeSettings {
        MicroscopeSettings { cotton_per_minute: cotton, hands_per_minute: hands, ..MicroscopeSettings::home() }
    }

    #[test]
    fn events_come_as_often_and_last_as_long_as_they_should() {
        let occlusion = Occlusion::new(3, settings(0.5, 2.0));
        let hours = 20.0;
        let (mut cotton, mut hands) = (0_u32, 0_u32);
        let steps = (hours * 36_000.0) as u32;
        for n in 0..steps {
            for thing in occlusion.now(f64::from(n) * 0.1) {
                match thing.kind {
                    Kind::Cotton => cotton += 1,
                    Kind::Hand => hands += 1,
                }
            }
        }
        // Rate times mean length: 0.5/min · 22.5 s = 0.19, and 2/min · 1.7 s = 0.057 of the time.
        let (cotton, hands) = (f64::from(cotton) / f64::from(steps), f64::from(hands) / f64::from(steps));
        assert!((cotton - 0.1875).abs() < 0.03 && (hands - 0.0567).abs() < 0.01, "{cotton} {hands}");
    }

    #[test]
    fn the_same_seed_and_time_give_the_same_things_and_none_come_unless_asked_for() {
        let (a, b) = (Occlusion::new(3, settings(1.0, 3.0)), Occlusion::new(3, settings(1.0, 3.0)));
        let none = Occlusion::new(3, settings(0.0, 0.0));
        for n in 0..600 {
            let t = f64::from(n);
            assert_eq!(a.now(t), b.now(t));
            assert!(none.now(t).is_empty());
        }
    }

    #[test]
    fn a_thing_hides_its_middle_and_nothing_outside_its_rows() {
        let occlusion = Occlusion::new(5, settings(4.0, 6.0));
        let size = [320, 180];
        let mut seen = [0, 0];
        for n in 0..2000 {
            for thing in occlusion.now(f64::from(n) * 0.5) {
                seen[thing.kind as usize] += 1;
                let rows = thing.rows(size);
                for y in 0..size[1] {
                    for x in (0..size[0]).step_by(7) {
                        let hides = thing.hides([x, y], size, 0.0).is_some();
                        assert!(!hides || rows.contains(&y), "{thing:?} at {x}, {y}");
                    }
                }
                if thing.kind == Kind::Cotton {
                    let middle = [160.0 + thing.centre[0] * 320.0, 90.0 + thing.centre[1] * 320.0];
                    let hiding = thing.hides(middle.map(|c| c as usize), size, 0.0).expect("its middle");
                    assert!(hiding.cover > 0.99);
                }
            }
        }
        assert!(seen[0] > 20 && seen[1] > 20, "{seen:?}");
    }
}
