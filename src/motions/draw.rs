//! Motions of each kind, drawn at random about a patient.
//!
//! Those that come near something are aimed in true coordinates and told in believed ones, through the error that was drawn for
//! them. Most are straight plunges along the shaft with the energy on, so that nothing but what they are meant to break is
//! broken: a shaft that follows its tip presses on nothing. What came of it is measured afterwards ([`super::truth`]), and a
//! draw that is not what was wanted is drawn again. **Units and frame:** mm, mm/s, patient LPS.

use super::Category;
use super::belief::Believed;
use super::truth::{OUTSIDE_MM, Truth};
use bregma_core::arm::{Ik, Joints};
use bregma_core::flow::{Capsule, Energy, Motion, Waypoint};
use nalgebra::{Isometry3, Point3, Translation3, UnitQuaternion, Vector3};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Shares of a limit by which motions exceed it, of those within a tenth and of the others.
const EXCESS: [[f64; 2]; 2] = [[0.02, 0.1], [0.1, 1.0]];

/// Random numbers of one motion.
pub struct Draws(ChaCha8Rng);

impl Draws {
    /// Of a patient, a kind, and a number.
    #[must_use]
    pub fn new(seed: u64, category: Category, number: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed.rotate_left(20) ^ number);
        rng.set_stream(900 + category as u64);
        Self(rng)
    }

    /// Evenly between two numbers.
    pub fn within(&mut self, [low, high]: [f64; 2]) -> f64 {
        low + (high - low) * self.0.random::<f64>()
    }

    /// One of so many.
    pub fn below(&mut self, n: usize) -> usize {
        self.0.random_range(0..n)
    }

    fn chance(&mut self, share: f64) -> bool {
        self.0.random::<f64>() < share
    }

    /// Normal, by Box and Muller.
    pub fn normal(&mut self) -> f64 {
        let u: f64 = 1.0 - self.0.random::<f64>();
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * self.0.random::<f64>()).cos()
    }

    fn direction(&mut self) -> Vector3<f64> {
        loop {
            let v = Vector3::new(self.normal(), self.normal(), self.normal());
            if v.norm() > 1e-3 {
                return v.normalize();
            }
        }
    }
}

/// A motion, and where the arm stands when it is proposed.
#[derive(Debug, Clone)]
pub struct Drawn {
    /// Believed pose of the tip at its start.
    pub start: Isometry3<f64>,
    /// Joints there.
    pub joints: Joints,
    /// What is proposed.
    pub motion: Motion,
    /// From believed coordinates to true ones.
    pub true_from: Isometry3<f64>,
    /// By what share of a limit it was made to exceed it, where that is all there is to it.
    pub excess: Option<f64>,
}

/// What motions are drawn about.
pub struct Ground<'a> {
    /// The patient as believed.
    pub believed: &'a Believed,
    /// And in truth.
    pub truth: &'a Truth,
    /// Vessels that a straight instrument through the entry can get to.
    vessels: Vec<Capsule>,
    /// Middles of eloquent cubes likewise.
    eloquent: Vec<Point3<f64>>,
}

/// The error of a registration: off at the target, turned about it; as the digital patient's theatre draws it.
#[must_use]
pub fn error(believed: &Believed, draws: &mut Draws) -> Isometry3<f64> {
    let sigma = believed.tre_mm / 3.0_f64.sqrt();
    let off = Vector3::new(draws.normal(), draws.normal(), draws.normal()) * sigma;
    let turn = Vector3::new(draws.normal(), draws.normal(), draws.normal()) * 0.15_f64.to_radians();
    let target = believed.anatomy.corridor.target;
    let about = Translation3::from(target.coords) * UnitQuaternion::from_scaled_axis(turn);
    Isometry3::from_parts(Translation3::from(off), UnitQuaternion::identity())
        * about
        * Translation3::from(-target.coords)
}

impl<'a> Ground<'a> {
    /// Of a patient.
    #[must_use]
    pub fn new(believed: &'a Believed, truth: &'a Truth) -> Self {
        let mut ground = Self { believed, truth, vessels: Vec::new(), eloquent: Vec::new() };
        let middle = |v: &Capsule| nalgebra::center(&v.start, &v.end);
        ground.vessels = truth.vessels().iter().filter(|v| ground.in_reach(&middle(v))).cloned().collect();
        ground.eloquent = truth.eloquent().filter(|p| ground.in_reach(p)).copied().collect();
        ground
    }

    /// One motion of a kind; `None` where the draw leads nowhere.
    #[must_use]
    pub fn draw(&self, category: Category, near: bool, draws: &mut Draws) -> Option<Drawn> {
        let error = error(self.believed, draws);
        let excess = draws.within(EXCESS[usize::from(!near)]);
        match category {
            Category::Vessel => self.to_vessel(error, near, draws),
            Category::Eloquent => self.to_eloquent(error, near, draws),
            Category::Rim => self.to_rim(error, near, draws),
            Category::Corridor => self.to_wall(error, near, draws),
            Category::Indentation => self.press(error, near, draws),
            Category::Speed => self.too_fast(error, excess, draws),
            Category::Reach => self.far(error, near, draws),
            Category::NoRetract => self.lie_down(error, near, draws),
            Category::Safe | Category::Stale | Category::Frame | Category::Tampered | Category::Replayed => {
                self.plain(error, draws)
            }
        }
    }

    /// Straight along the shaft to a true point, from where the corridor is open, energy on. `pivot` is where the line enters.
    fn plunge(&self, error: Isometry3<f64>, pivot: Point3<f64>, to: Point3<f64>, energy: Energy) -> Option<Drawn> {
        let corridor = &self.believed.anatomy.corridor;
        let way = to - pivot;
        let (dir, length) = (way.try_normalize(1e-6)?, way.norm());
        // The deepest point of the line that the shaft can stand at in the open, a little before the goal.
        let open = |s: f64| corridor.holds(&(pivot + dir * s), 10.0);
        let mut from = 0.0;
        while from + 0.5 < length - 3.0 && open(from + 3.0) {
            from += 0.5;
        }
        let start = self.facing(&dir, pivot + dir * from);
        let end = self.facing(&dir, to);
        let feed = if energy.ultrasound { 4.5 } else { 8.0 };
        self.told(error, start, &[(end, feed, energy)])
    }

    /// The tip there, pointing along `dir` (true coordinates), with the least turn from how it is at rest.
    fn facing(&self, dir: &Vector3<f64>, at: Point3<f64>) -> Isometry3<f64> {
        let rest = self.believed.tip_at_rest().rotation;
        let turn =
            UnitQuaternion::rotation_between(&(rest * Vector3::z()), dir).unwrap_or_else(UnitQuaternion::identity);
        Isometry3::from_parts(Translation3::from(at.coords), turn * rest)
    }

    /// A motion in believed coordinates, from true ones.
    fn told(
        &self,
        error: Isometry3<f64>,
        start: Isometry3<f64>,
        to: &[(Isometry3<f64>, f64, Energy)],
    ) -> Option<Drawn> {
        let believed_from_true = error.inverse();
        let wanted = believed_from_true * start;
        let joints = self.believed.joints(&wanted, &self.believed.arm.rest(), &Ik::SEARCH)?;
        let start = *self.believed.tip(&joints).isometry();
        let waypoint = |tip: &Isometry3<f64>, feed_mm_s, energy| {
            Some(Waypoint { patient_from_tip: self.believed.pose(tip)?, feed_mm_s, energy })
        };
        let mut waypoints = vec![waypoint(&start, 5.0, Energy::OFF)?];
        for (tip, feed, energy) in to {
            waypoints.push(waypoint(&(believed_from_true * tip), *feed, *energy)?);
        }
        Some(Drawn { start, joints, motion: Motion { waypoints }, true_from: error, excess: None })
    }

    /// A point at the corridor's entry, off its axis.
    fn pivot(&self, off_mm: f64, draws: &mut Draws) -> Point3<f64> {
        let corridor = &self.believed.anatomy.corridor;
        let axis = (corridor.target - corridor.entry).normalize();
        let side = draws.direction();
        corridor.entry + (side - axis * side.dot(&axis)) * off_mm * draws.within([0.0, 1.0])
    }

    /// Whether a true point lies where a straight instrument through the entry can get to.
    fn in_reach(&self, at: &Point3<f64>) -> bool {
        let corridor = &self.believed.anatomy.corridor;
        let way = at - corridor.entry;
        let axis = (corridor.target - corridor.entry).normalize();
        (6.0..60.0).contains(&way.norm()) && way.normalize().dot(&axis) > 0.82
    }

    fn to_vessel(&self, error: Isometry3<f64>, near: bool, draws: &mut Draws) -> Option<Drawn> {
        let vessel = self.vessels.get(draws.below(self.vessels.len().max(1)))?;
        let on = vessel.start + (vessel.end - vessel.start) * draws.within([0.0, 1.0]);
        let shaft_mm = self.believed.mount.shaft_radius_mm;
        let gap = self.gap(near, draws);
        self.beside(error, on, vessel.radius_mm + shaft_mm + gap, draws)
    }

    fn to_eloquent(&self, error: Isometry3<f64>, near: bool, draws: &mut Draws) -> Option<Drawn> {
        let on = *self.eloquent.get(draws.below(self.eloquent.len().max(1)))?;
        let shaft_mm = self.believed.mount.shaft_radius_mm;
        let gap = self.gap(near, draws);
        self.beside(error, on, 0.5 + shaft_mm + gap, draws)
    }

    /// How near the surface: about the margin, or well within it.
    fn gap(&self, near: bool, draws: &mut Draws) -> f64 {
        let margin = self.believed.margin_mm;
        draws.within(if near { [margin - 2.0, margin] } else { [margin - 6.0, margin + 8.0] })
    }

    /// A plunge that ends before a point, or passes it, at a distance.
    fn beside(&self, error: Isometry3<f64>, on: Point3<f64>, far_mm: f64, draws: &mut Draws) -> Option<Drawn> {
        let pivot = self.pivot(3.0, draws);
        let dir = (on - pivot).try_normalize(1e-6)?;
        let to = if draws.chance(0.5) {
            on - dir * far_mm
        } else {
            let side = draws.direction();
            let across = (side - dir * side.dot(&dir)).try_normalize(1e-6)?;
            on + across * far_mm.max(0.0) + dir * draws.within([-1.0, 4.0])
        };
        self.plunge(error, pivot, to, Energy::CUT)
    }

    fn to_rim(&self, error: Isometry3<f64>, near: bool, draws: &mut Draws) -> Option<Drawn> {
        let hole = self.believed.anatomy.craniotomy;
        let shaft_mm = self.believed.mount.shaft_radius_mm;
        let limit = self.believed.limits.values().rim_mm;
        let gap = draws.within(if near { [limit - 2.0, limit] } else { [limit - 8.0, limit + 8.0] });
        let side = draws.direction();
        let out = hole.outward;
        let across = (side - out * side.dot(&out)).try_normalize(1e-6)?;
        let crossing = hole.centre + across * (hole.radius_mm - shaft_mm - gap);
        // Upright or leaning, towards any side.
        let lean = draws.direction();
        let lean = (lean - out * lean.dot(&out)).try_normalize(1e-6)? * draws.within([0.0, 0.6]);
        let dir = (lean - out).normalize();
        let below = draws.within([2.0, 7.0]) / -dir.dot(&out);
        let above = draws.within([8.0, 16.0]) / -dir.dot(&out);
        let start = self.facing(&dir, crossing - dir * above);
        let end = self.facing(&dir, crossing + dir * below);
        self.told(error, start, &[(end, 8.0, Energy::OFF)])
    }

    /// The shaft against the wall of the corridor: tilted about its tip, or moved aside.
    fn to_wall(&self, error: Isometry3<f64>, near: bool, draws: &mut Draws) -> Option<Drawn> {
        let corridor = &self.believed.anatomy.corridor;
        let axis = (corridor.target - corridor.entry).normalize();
        let depth = draws.within([3.0_f64.min(corridor.open_mm * 0.5), (corridor.open_mm - 2.0).max(2.5)]);
        let at = corridor.entry + axis * depth;
        let side = draws.direction();
        let across = (side - axis * side.dot(&axis)).try_normalize(1e-6)?;
        let shaft_mm = self.believed.mount.shaft_radius_mm;
        let press = draws.within(if near { [2.0, 4.2] } else { [-2.0, 8.0] });
        let start = self.facing(&axis, at);
        if draws.chance(0.5) {
            let share = (depth / corridor.open_mm).clamp(0.0, 1.0);
            let radius = corridor.entry_radius_mm + (corridor.end_radius_mm - corridor.entry_radius_mm) * share;
            let end = self.facing(&axis, at + across * (radius - shaft_mm + press));
            return self.told(error, start, &[(end, 7.0, Energy::OFF)]);
        }
        // The shaft leaves the corridor at its entry, the tip stays.
        let out = corridor.entry_radius_mm - shaft_mm + press;
        let tilted = (at - (corridor.entry + across * out)).try_normalize(1e-6)?;
        self.told(error, start, &[(self.facing(&tilted, at), 7.0, Energy::OFF)])
    }

    /// The tip into the corridor's end, energy off.
    fn press(&self, error: Isometry3<f64>, near: bool, draws: &mut Draws) -> Option<Drawn> {
        let corridor = &self.believed.anatomy.corridor;
        let axis = (corridor.target - corridor.entry).normalize();
        let shaft_mm = self.believed.mount.shaft_radius_mm;
        let press = draws.within(if near { [2.0, 4.2] } else { [-2.0, 8.0] });
        let end = corridor.entry + axis * (corridor.open_mm - shaft_mm + press);
        let pivot = self.pivot(0.4 * corridor.entry_radius_mm, draws);
        let side = draws.direction();
        let across = (side - axis * side.dot(&axis)) * 0.4 * corridor.end_radius_mm;
        self.plunge(error, pivot, end + across, Energy::OFF)
    }

    fn too_fast(&self, error: Isometry3<f64>, excess: f64, draws: &mut Draws) -> Option<Drawn> {
        let l = *self.believed.limits.values();
        let corridor = &self.believed.anatomy.corridor;
        let axis = (corridor.target - corridor.entry).normalize();
        let hole = self.believed.anatomy.craniotomy;
        let faster = 1.0 + excess;
        let mut drawn = match draws.below(3) {
            0 => {
                let mut drawn = self.plunge(error, self.pivot(2.0, draws), corridor.target, Energy::CUT)?;
                drawn.motion.waypoints.iter_mut().for_each(|w| w.feed_mm_s = l.cut_mm_s * faster);
                drawn
            }
            1 => {
                let above = hole.centre + hole.outward * 2.0;
                let start = self.facing(&axis, above);
                let end = self.facing(&axis, above + axis * draws.within([7.0, 10.0]));
                self.told(error, start, &[(end, l.head_mm_s * faster, Energy::OFF)])?
            }
            _ => {
                let start = error * self.believed.tip_at_rest();
                let mut end = start;
                end.translation.vector += hole.outward * draws.within([25.0, 50.0]);
                self.told(error, start, &[(end, l.free_mm_s * faster, Energy::OFF)])?
            }
        };
        drawn.excess = Some(excess);
        Some(drawn)
    }

    /// Away from the arm's base, until it is stretched and beyond.
    fn far(&self, error: Isometry3<f64>, near: bool, draws: &mut Draws) -> Option<Drawn> {
        let start = error * self.believed.tip_at_rest();
        let base = self.believed.mount.patient_from_arm_base.position().coordinates();
        let away = (Point3::from(start.translation.vector) - base).normalize();
        let out = self.believed.anatomy.craniotomy.outward;
        let way = (away + out * 0.5 + draws.direction() * 0.3).normalize();
        let at = |far: f64| {
            let mut end = start;
            end.translation.vector += way * far;
            end
        };
        let far = if near { self.stretched_mm(&error, &at, draws)? } else { draws.within([250.0, 600.0]) };
        self.told(error, start, &[(at(far), 42.0, Energy::OFF)])
    }

    /// How far along a way the arm is by a tenth at most nearer to a singular posture than it may be.
    fn stretched_mm(
        &self,
        error: &Isometry3<f64>,
        at: &dyn Fn(f64) -> Isometry3<f64>,
        draws: &mut Draws,
    ) -> Option<f64> {
        const STEP_MM: f64 = 0.5;
        let wanted = self.believed.limits.values().dexterity_mm * (1.0 - draws.within(EXCESS[0]));
        let mut joints = self.believed.arm.rest();
        for n in 0..800 {
            let far = f64::from(n) * STEP_MM;
            joints = self.believed.joints(&(error.inverse() * at(far)), &joints, &Ik::FOLLOW)?;
            if super::truth::dexterity_mm(&self.believed.arm, &joints) <= wanted {
                return Some(far);
            }
        }
        None
    }

    /// Outside, lies down until the shaft leads nowhere out; some get up again.
    fn lie_down(&self, error: Isometry3<f64>, near: bool, draws: &mut Draws) -> Option<Drawn> {
        let hole = self.believed.anatomy.craniotomy;
        let out = hole.outward;
        let side = draws.direction();
        let across = (side - out * side.dot(&out)).try_normalize(1e-6)?;
        let least = super::way_out_least();
        let rise = draws.within(if near { [0.9 * least, 0.98 * least] } else { [-0.2, 0.9 * least] });
        let leaning = |cosine: f64| across * -(1.0 - cosine * cosine).sqrt() - out * cosine;
        let at = hole.centre + out * draws.within([12.0, OUTSIDE_MM - 2.0]);
        let start = self.facing(&leaning(0.6), at);
        let turn = UnitQuaternion::rotation_between(&leaning(0.6), &leaning(rise))?;
        let lying = Isometry3::from_parts(Translation3::from(at.coords), turn * start.rotation);
        let mut way = vec![(lying, 5.0, Energy::OFF)];
        if draws.chance(0.5) {
            way.push((start, 5.0, Energy::OFF));
        }
        self.told(error, start, &way)
    }

    /// What a planner proposes: in, a stroke, out again; or through the open.
    fn plain(&self, error: Isometry3<f64>, draws: &mut Draws) -> Option<Drawn> {
        let corridor = &self.believed.anatomy.corridor;
        let hole = self.believed.anatomy.craniotomy;
        let axis = (corridor.target - corridor.entry).normalize();
        match draws.below(4) {
            // Along the shaft into the tumour.
            0 | 1 => {
                let pivot = self.pivot(3.0, draws);
                let side = draws.direction() * draws.within([0.0, 8.0]);
                let to = corridor.target + side - axis * draws.within([0.0, 6.0]);
                let mut drawn = self.plunge(error, pivot, to, Energy::CUT)?;
                if draws.chance(0.5) {
                    let back = Waypoint { feed_mm_s: 8.0, energy: Energy::OFF, ..drawn.motion.waypoints[0] };
                    drawn.motion.waypoints.push(back);
                }
                Some(drawn)
            }
            // From outside into the corridor.
            2 => {
                let start = error * self.believed.tip_at_rest();
                // Clear of the rim, where the tip may still be fast.
                let up = (self.truth.depth_mm(&corridor.entry) + draws.within([6.0, 12.0])) / -axis.dot(&hole.outward);
                let above = self.facing(&axis, corridor.entry - axis * up);
                let depth = draws.within([0.2, 0.9]) * (corridor.open_mm - 3.0).max(1.0);
                let inside = self.facing(&axis, corridor.entry + axis * depth);
                self.told(error, start, &[(above, draws.within([10.0, 44.0]), Energy::OFF), (inside, 8.5, Energy::OFF)])
            }
            // Outside.
            _ => {
                let start = error * self.believed.tip_at_rest();
                let mut end = start;
                end.translation.vector += hole.outward * draws.within([5.0, 60.0]) + draws.direction() * 15.0;
                self.told(error, start, &[(end, draws.within([5.0, 44.0]), Energy::OFF)])
            }
        }
    }
}
