//! Where vessels run: stems by hand-placed points, and the territory that each stem's tree serves.
//!
//! **Frame:** MNI, RAS, mm, for the right side; the left is its mirror image. Stems and territories are
//! *approximate*, read off the template along the course that textbooks give (A. G. Osborn, *Diagnostic
//! Cerebral Angiography*, 1999; territories after L. Tatu et al., Neurology 50, 1998); no atlas stands
//! behind single points. Diameters: the ranges of the project's own table of figures, an expert's estimate.

use crate::anatomy::vessels::VesselKind::{self, Artery, Vein};
use nalgebra::Vector3;

/// What holds a tree in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bed {
    /// On the brain's outer surface.
    Pial,
    /// On the wall of the fissure between the hemispheres.
    Medial,
    /// Through the brain.
    Deep,
}

/// A stem and what grows from its end.
pub(super) struct Course {
    pub kind: VesselKind,
    /// The stem this one leaves, by its place in [`COURSES`]; that one comes earlier.
    pub from: Option<usize>,
    /// Points of the stem, from where it starts.
    pub stem: &'static [[f64; 3]],
    pub bed: Bed,
    /// Low and high corner of the territory: |x|, y, z.
    pub territory: [[f64; 3]; 2],
    /// Terminals; 0 where stems alone leave this one's end.
    pub terminals: usize,
    /// Diameter where it starts, drawn from that range; of a stem that leaves another: its share of the
    /// other's flow.
    pub calibre: Calibre,
}

pub(super) enum Calibre {
    DiameterMm(f64, f64),
    Share(f64),
}
use Calibre::{DiameterMm, Share};

const ANYWHERE: [[f64; 3]; 2] = [[0.0, -120.0, -80.0], [90.0, 90.0, 90.0]];

const fn course(
    kind: VesselKind,
    from: Option<usize>,
    calibre: Calibre,
    stem: &'static [[f64; 3]],
    bed: Bed,
    territory: [[f64; 3]; 2],
    terminals: usize,
) -> Course {
    Course { kind, from, stem, bed, territory, terminals, calibre }
}

/// A bridging vein to the superior sagittal sinus.
const fn bridging(at: &'static [[f64; 3]; 1], back: f64, front: f64) -> Course {
    course(Vein, None, DiameterMm(1.4, 2.8), at, Bed::Pial, [[7.0, back, 18.0], [75.0, front, 90.0]], 10)
}

/// Every stem of one side.
pub(super) const COURSES: [Course; 17] = [
    // 0, 1: M1 to the lenticulostriate arteries, and on to the insula.
    course(Artery, None, DiameterMm(2.5, 2.8), &[[9.0, 3.0, -18.0], [20.0, 4.0, -17.0]], Bed::Deep, ANYWHERE, 0),
    course(Artery, Some(0), Share(0.985), &[[20.0, 4.0, -17.0], [35.0, 6.0, -13.0]], Bed::Deep, ANYWHERE, 0),
    // 2: lenticulostriate.
    course(
        Artery,
        Some(0),
        Share(0.015),
        &[[20.0, 4.0, -17.0], [22.0, 4.0, -9.0]],
        Bed::Deep,
        [[14.0, -14.0, -4.0], [31.0, 22.0, 22.0]],
        7,
    ),
    // 3 to 5: M2 over the insula and M3 out of the Sylvian fissure: frontal, central, temporal.
    course(
        Artery,
        Some(1),
        Share(0.33),
        &[[35.0, 6.0, -13.0], [40.0, 12.0, -4.0], [42.0, 14.0, 6.0], [52.0, 12.0, 5.0], [60.0, 10.0, 4.0]],
        Bed::Pial,
        [[24.0, -8.0, -12.0], [75.0, 70.0, 62.0]],
        14,
    ),
    course(
        Artery,
        Some(1),
        Share(0.35),
        &[[35.0, 6.0, -13.0], [40.0, -4.0, -4.0], [40.0, -14.0, 10.0], [52.0, -18.0, 13.0], [64.0, -18.0, 15.0]],
        Bed::Pial,
        [[28.0, -58.0, 14.0], [75.0, 2.0, 72.0]],
        16,
    ),
    course(
        Artery,
        Some(1),
        Share(0.32),
        &[[35.0, 6.0, -13.0], [41.0, -8.0, -9.0], [43.0, -22.0, 2.0], [56.0, -30.0, 7.0], [66.0, -32.0, 7.0]],
        Bed::Pial,
        [[40.0, -78.0, -22.0], [75.0, 18.0, 18.0]],
        14,
    ),
    // 6: anterior cerebral, along the falx.
    course(
        Artery,
        None,
        DiameterMm(1.5, 2.2),
        &[[9.0, 3.0, -18.0], [3.0, 14.0, -17.0], [2.5, 30.0, -8.0], [2.5, 38.0, 4.0], [2.5, 34.0, 20.0]],
        Bed::Medial,
        [[0.0, -45.0, 34.0], [6.0, 62.0, 75.0]],
        16,
    ),
    // 7 to 9: posterior cerebral; to the calcarine sulcus, and to the occipital lobe's side.
    course(
        Artery,
        None,
        DiameterMm(1.5, 2.2),
        &[[8.0, -14.0, -14.0], [19.0, -26.0, -12.0], [20.0, -42.0, -6.0]],
        Bed::Deep,
        ANYWHERE,
        0,
    ),
    course(
        Artery,
        Some(7),
        Share(0.5),
        &[[20.0, -42.0, -6.0], [10.0, -58.0, 2.0], [3.0, -70.0, 8.0]],
        Bed::Medial,
        [[0.0, -98.0, -4.0], [6.0, -58.0, 36.0]],
        8,
    ),
    course(
        Artery,
        Some(7),
        Share(0.5),
        &[[20.0, -42.0, -6.0], [32.0, -58.0, -9.0], [44.0, -78.0, -8.0]],
        Bed::Pial,
        [[12.0, -110.0, -18.0], [60.0, -72.0, 30.0]],
        10,
    ),
    // 10 to 14: bridging veins; the fourth in the place of Trolard's.
    bridging(&[[7.0, 48.0, 44.0]], 34.0, 75.0),
    bridging(&[[7.0, 24.0, 62.0]], 12.0, 36.0),
    bridging(&[[7.0, 0.0, 72.0]], -12.0, 14.0),
    bridging(&[[7.0, -32.0, 76.0]], -46.0, -10.0),
    bridging(&[[7.0, -66.0, 58.0]], -100.0, -44.0),
    // 15: Labbé's, to the transverse sinus; with the superficial middle cerebral vein's territory behind.
    course(
        Vein,
        None,
        DiameterMm(1.6, 3.0),
        &[[52.0, -56.0, -18.0]],
        Bed::Pial,
        [[50.0, -70.0, -16.0], [75.0, -5.0, 20.0]],
        10,
    ),
    // 16: internal cerebral, from the vein of Galen to the foramen of Monro.
    course(
        Vein,
        None,
        DiameterMm(1.2, 2.0),
        &[[2.5, -40.0, 12.0], [2.5, -22.0, 19.0], [3.0, -4.0, 16.0], [8.0, 2.0, 16.0]],
        Bed::Deep,
        [[10.0, -36.0, 14.0], [34.0, 34.0, 34.0]],
        9,
    ),
];

impl Course {
    /// Whether a point belongs to the territory.
    pub(super) fn serves(&self, mni_ras: &Vector3<f64>) -> bool {
        let at = [mni_ras.x.abs(), mni_ras.y, mni_ras.z];
        let [low, high] = self.territory;
        (0..3).all(|a| (low[a]..=high[a]).contains(&at[a])) && !(self.bed == Bed::Medial && below_falx(at[1], at[2]))
    }
}

/// Corpus callosum and what it arches over: no part of the fissure's wall (y, z).
fn below_falx(y: f64, z: f64) -> bool {
    let (along, up) = ((y + 4.0) / 46.0, (z - 2.0) / 32.0);
    along * along + up * up < 1.0
}
