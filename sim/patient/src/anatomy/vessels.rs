//! Vessels: branching trees of capsules, on the brain's surface and in its depth.
//!
//! Diameters 0.5 to 3 mm; where a vessel branches, r³ = r₁³ + r₂³ (C. D. Murray, PNAS 12, 1926). Roots
//! are placed near the territories of the cerebral arteries and beside the superior sagittal sinus (MNI,
//! RAS, approximate). They keep away from the tumour's core, as vessels that a growing mass displaces do.
//! **Not modelled:** the tumour's own vessels, and flow.

use crate::anatomy::head::{Head, tissue};
use crate::random::Draws;
use bregma_core::flow::Capsule;
use nalgebra::{Point3, Vector3};

/// Vessels from that diameter are forbidden structures, and what the scans show.
pub const FORBIDDEN_DIAMETER_MM: f64 = 1.0;
/// Thinnest vessel, radius.
const RADIUS_MIN_MM: f64 = 0.25;
/// Length of one piece.
const PIECE_MM: f64 = 5.0;
/// Most pieces in one tree.
const PIECES_MAX: usize = 160;
/// Depth at which surface vessels run.
const SURFACE_DEPTH_MM: f64 = 0.5;
/// Distance of thin vessels from the core.
const THIN_CLEARANCE_MM: f64 = 1.5;

/// Where a tree starts: MNI RAS mm, where it first heads, radius mm.
struct Root {
    at: [f64; 3],
    heading: [f64; 3],
    radius_mm: f64,
    surface: bool,
}

const fn root(at: [f64; 3], heading: [f64; 3], radius_mm: f64, surface: bool) -> Root {
    Root { at, heading, radius_mm, surface }
}

const ROOTS: [Root; 16] = [
    // Middle cerebral arteries out of the Sylvian fissure: one branch up and front, one to the back.
    root([-58.0, 0.0, -4.0], [0.0, 0.6, 0.8], 1.3, true),
    root([58.0, 0.0, -4.0], [0.0, 0.6, 0.8], 1.3, true),
    root([-62.0, -16.0, 4.0], [0.0, -0.9, 0.4], 1.3, true),
    root([62.0, -16.0, 4.0], [0.0, -0.9, 0.4], 1.3, true),
    // Anterior and posterior cerebral arteries.
    root([-8.0, 66.0, 10.0], [-0.2, 0.0, 1.0], 1.0, true),
    root([8.0, 66.0, 10.0], [0.2, 0.0, 1.0], 1.0, true),
    root([-14.0, -98.0, 2.0], [-0.8, 0.0, 0.6], 1.0, true),
    root([14.0, -98.0, 2.0], [0.8, 0.0, 0.6], 1.0, true),
    // Veins that drain into the superior sagittal sinus.
    root([-10.0, 28.0, 62.0], [-1.0, 0.3, 0.0], 1.5, true),
    root([10.0, 28.0, 62.0], [1.0, 0.3, 0.0], 1.5, true),
    root([-10.0, -50.0, 74.0], [-1.0, -0.3, 0.0], 1.5, true),
    root([10.0, -50.0, 74.0], [1.0, -0.3, 0.0], 1.5, true),
    // Lenticulostriate arteries, and the internal cerebral veins.
    root([-20.0, 2.0, -12.0], [-0.2, 0.0, 1.0], 0.7, false),
    root([20.0, 2.0, -12.0], [0.2, 0.0, 1.0], 0.7, false),
    root([-5.0, -6.0, 17.0], [0.0, -1.0, 0.1], 0.75, false),
    root([5.0, -6.0, 17.0], [0.0, -1.0, 0.1], 0.75, false),
];

struct Tip {
    at: Point3<f64>,
    heading: Vector3<f64>,
    radius_mm: f64,
    surface: bool,
}

/// Grows every tree. `core_mm` is the distance of a point from the tumour's core.
pub(crate) fn grow(
    head: &Head,
    draws: &mut Draws,
    clearance_mm: f64,
    core_mm: impl Fn(&Point3<f64>) -> f64,
) -> Vec<Capsule> {
    let free = |at: &Point3<f64>, radius: f64| {
        let wide = 2.0 * radius >= FORBIDDEN_DIAMETER_MM;
        core_mm(at) >= radius + if wide { clearance_mm } else { THIN_CLEARANCE_MM }
    };
    let mut vessels = Vec::new();
    for root in &ROOTS {
        let heading = head.warp.patient(root.heading).coords;
        let at = head.warp.patient(root.at);
        let at = if root.surface { onto_surface(head, at) } else { at };
        if !free(&at, root.radius_mm) {
            continue;
        }
        let mut tips = vec![Tip { at, heading, radius_mm: root.radius_mm, surface: root.surface }];
        let first = vessels.len();
        while let Some(tip) = tips.pop() {
            if vessels.len() - first >= PIECES_MAX {
                break;
            }
            let Some((end, heading)) = piece(head, draws, &tip, &free) else { continue };
            vessels.push(Capsule { start: tip.at, end, radius_mm: tip.radius_mm });
            branch(head, draws, &tip, end, heading, &mut tips);
        }
    }
    vessels
}

/// The next piece of a vessel: its end and heading; `None` where no way is free.
fn piece(
    head: &Head,
    draws: &mut Draws,
    tip: &Tip,
    free: &impl Fn(&Point3<f64>, f64) -> bool,
) -> Option<(Point3<f64>, Vector3<f64>)> {
    // Each try turns further away from the heading.
    for attempt in 0..6 {
        let wander = draws.direction() * (0.25 + 0.3 * f64::from(attempt));
        let mut heading = tip.heading.normalize() + wander;
        if tip.surface {
            let out = head.outward(&tip.at);
            heading -= out * heading.dot(&out);
        }
        let heading = heading.try_normalize(1e-6)?;
        let mut end = tip.at + heading * PIECE_MM;
        if tip.surface {
            end = onto_surface(head, end);
        }
        let middle = nalgebra::center(&tip.at, &end);
        let inside = tip.surface || matches!(head.tissue_at(&end), tissue::GREY | tissue::WHITE);
        if inside && free(&end, tip.radius_mm) && free(&middle, tip.radius_mm) {
            return Some((end, heading));
        }
    }
    None
}

/// Splits by Murray's law into the vessel that goes on and one that leaves it.
fn branch(head: &Head, draws: &mut Draws, tip: &Tip, end: Point3<f64>, heading: Vector3<f64>, tips: &mut Vec<Tip>) {
    let share = draws.uniform(0.05, 0.4);
    let radius = |part: f64| tip.radius_mm * libm::cbrt(part);
    let (main, side) = (radius(1.0 - share), radius(share));
    if side >= RADIUS_MIN_MM {
        // A surface vessel's side branch either stays on the surface or dives into the white matter.
        let dives = tip.surface && 2.0 * side < FORBIDDEN_DIAMETER_MM && draws.uniform(0.0, 1.0) < 0.3;
        let out = head.outward(&end);
        let aside = if tip.surface { out.cross(&heading) } else { heading.cross(&draws.direction()) };
        let turned = heading + aside * if draws.uniform(0.0, 1.0) < 0.5 { 1.2 } else { -1.2 };
        let heading = if dives { -out } else { turned };
        tips.push(Tip { at: end, heading, radius_mm: side, surface: tip.surface && !dives });
    }
    if main >= RADIUS_MIN_MM {
        tips.push(Tip { at: end, heading, radius_mm: main, surface: tip.surface });
    }
}

fn onto_surface(head: &Head, mut at: Point3<f64>) -> Point3<f64> {
    for _ in 0..8 {
        let off = (head.depth_mm(&at) - SURFACE_DEPTH_MM).clamp(-10.0, 10.0);
        if off.abs() < 0.2 {
            break;
        }
        at += head.outward(&at) * off;
    }
    at
}
