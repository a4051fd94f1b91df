//! What a grown tree must be: whole, by Murray's law, clear of the core, the same for the same seed.

use super::*;
use crate::anatomy::template;
use crate::anatomy::warp::Variety;
use crate::random::Purpose;
use std::sync::OnceLock;

const CLEARANCE_MM: f64 = 4.0;

fn head() -> &'static Head {
    static HEAD: OnceLock<Head> = OnceLock::new();
    HEAD.get_or_init(|| {
        Head::grow(template::deepened().expect("assets decode"), 5, Variety { share: 0.08, smooth_mm: 4.0 })
    })
}

/// Vessels around a ball, given by its centre (MNI RAS) and radius.
fn around(seed: u64, centre: [f64; 3], radius_mm: f64) -> (Vasculature, impl Fn(&Point3<f64>) -> f64) {
    let centre = head().warp.patient(centre);
    let core_mm = move |at: &Point3<f64>| (at - centre).norm() - radius_mm;
    (grow(head(), &mut Draws::new(seed, Purpose::Vessels), CLEARANCE_MM, &core_mm), core_mm)
}

/// A superficial core, an insular one on the stems of the middle cerebral artery, a deep one.
const PLACES: [([f64; 3], f64); 3] =
    [([-38.0, 30.0, 36.0], 14.0), ([42.0, 2.0, 2.0], 16.0), ([24.0, -30.0, 28.0], 9.0)];

#[test]
fn flows_add_up_and_every_piece_goes_on_from_another() {
    for (seed, (centre, radius)) in PLACES.into_iter().enumerate() {
        let (v, _) = around(seed as u64, centre, radius);
        assert!((300..=1500).contains(&v.pieces.len()), "{} pieces", v.pieces.len());
        let gamma = v.fitted_exponent().expect("branches");
        assert!((EXPONENT[0]..=EXPONENT[1]).contains(&gamma), "{gamma}");
        let mut carried = vec![(0.0, 0); v.pieces.len()];
        for (n, (piece, branch)) in v.pieces.iter().zip(&v.branches).enumerate() {
            assert!((piece.end - piece.start).norm() <= PIECE_MM * 1.7, "piece {n} is too long");
            if let Some(parent) = branch.parent {
                assert!(parent < n && v.pieces[parent].end == piece.start, "piece {n} hangs in the air");
                assert_eq!(v.branches[parent].kind, branch.kind);
                carried[parent].0 += piece.radius_mm.powf(gamma);
                carried[parent].1 += 1;
            }
        }
        let mut branchings = 0;
        for (piece, (flow, children)) in v.pieces.iter().zip(&carried) {
            if *children > 0 {
                assert!((flow / piece.radius_mm.powf(gamma) - 1.0).abs() < 1e-6, "{flow} of {piece:?}");
                branchings += usize::from(*children > 1);
            }
        }
        assert!(branchings > 100, "{branchings} branchings");
    }
}

#[test]
fn no_piece_comes_near_the_core() {
    for (seed, (centre, radius)) in PLACES.into_iter().enumerate() {
        let (v, core_mm) = around(10 + seed as u64, centre, radius);
        for piece in &v.pieces {
            let wide = 2.0 * piece.radius_mm >= FORBIDDEN_DIAMETER_MM;
            let least = if wide { CLEARANCE_MM } else { 1.5 };
            for n in 0..=8 {
                let at = piece.start + (piece.end - piece.start) * (f64::from(n) / 8.0);
                let gap = core_mm(&at) - piece.radius_mm;
                assert!(gap >= least - 0.3, "{gap} mm from the core, {} mm thick", 2.0 * piece.radius_mm);
            }
        }
    }
}

#[test]
fn diameters_lie_in_their_ranges_and_pieces_in_the_brain() {
    let (v, _) = around(3, [0.0, 0.0, 200.0], 1.0);
    let of = |kind: VesselKind| {
        let own = v.pieces.iter().zip(&v.branches).filter(move |(_, b)| b.kind == kind);
        own.map(|(p, _)| 2.0 * p.radius_mm).fold((f64::INFINITY, 0.0_f64), |(l, h), d| (l.min(d), h.max(d)))
    };
    // M1 is the widest artery, perforators the thinnest.
    let (arteries, veins) = (of(VesselKind::Artery), of(VesselKind::Vein));
    assert!(arteries.0 >= 0.1 && arteries.0 < 0.5 && (2.3..=3.5).contains(&arteries.1), "{arteries:?}");
    assert!(veins.0 >= 0.3 && (1.4..=4.0).contains(&veins.1), "{veins:?}");
    let inside = v.pieces.iter().filter(|p| head().depth_mm(&p.end) > -2.0).count();
    assert_eq!(inside, v.pieces.len());
    let near_surface = v.pieces.iter().filter(|p| head().depth_mm(&p.end) < 3.0).count();
    assert!(near_surface * 3 > v.pieces.len(), "{near_surface} of {} run on the surface", v.pieces.len());
}

#[test]
fn a_symmetric_branching_has_the_exponent_it_was_made_with() {
    let child = libm::pow(0.5, 1.0 / 2.8);
    let found = exponent_of(1.0, &[child, child]).expect("branches");
    assert!((found - 2.8).abs() < 1e-6, "{found}");
    assert_eq!(exponent_of(1.0, &[1.2, 0.4]), None);
}
