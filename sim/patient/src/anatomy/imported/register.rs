//! Finds the affine map from the template to a scan.
//!
//! The template is a list of points with labels: ten bands of T1 brightness inside the brain, four shells
//! outside it. A pose is as good as the labels predict the scan's intensities: the correlation ratio
//! (Roche et al., *The correlation ratio as a new similarity measure for multimodal image registration*,
//! MICCAI 1998), which needs no common scale, works with a skull and without, and costs one pass.
//! Search as in Jenkinson & Smith, *A global optimisation method for robust affine registration of brain
//! images*, Medical Image Analysis 5 (2001): all 24 orientations on a coarse grid of places, then pattern
//! search (Hooke & Jeeves 1961) from coarse to fine with 7, then 12 degrees of freedom.
//!
//! **Frames:** template LPS mm (MNI) and the scan's LPS mm. **Determinism:** no draws, one thread.
//! **Not told apart:** a picture and its mirror image, since a brain nearly is its own.

use super::scan::Scan;
use crate::anatomy::template::Template;
use crate::distance;
use crate::random::turn;
use nalgebra::{Matrix3, Matrix4, Point3, Vector3};

/// Bands of brightness inside the brain.
const BANDS: usize = 10;
/// Outer faces of the shells around the brain, mm: fluid, bone, and two of scalp.
const SHELLS_MM: [f32; 3] = [1.5, 4.0, 7.0];
const LABELS: usize = BANDS + SHELLS_MM.len();
/// A turn, stretch or shear by this moves the brain's surface by 1 mm.
const UNIT: f64 = 1.0 / 70.0;
/// Spread of head sizes against the template: ±12 % (an expert's estimate), shears less.
const SCALE_SD: f64 = 0.12;
const SHEAR_SD: f64 = 0.06;
/// What one standard deviation of size costs in agreement.
const PRIOR: f64 = 0.002;
/// Coarse grid of places, mm.
const PLACES_MM: [f64; 7] = [-54.0, -36.0, -18.0, 0.0, 18.0, 36.0, 54.0];

/// A place and shape of the template in the scan.
#[derive(Debug, Clone)]
pub(super) struct Pose {
    /// Turn of the axes by quarter turns; the identity where the header says the truth.
    quarter: Matrix3<f64>,
    centre: Point3<f64>,
    /// Shift (mm), turn, stretch and shear ([`UNIT`]s).
    p: [f64; 12],
}

impl Pose {
    fn at(quarter: Matrix3<f64>, centre: Point3<f64>) -> Self {
        Self { quarter, centre, p: [0.0; 12] }
    }

    fn moved(&self, axis: usize, by: f64) -> Self {
        let mut moved = self.clone();
        moved.p[axis] += by;
        moved
    }

    /// Whether the header's orientation is kept.
    pub(super) fn upright(&self) -> bool {
        self.quarter == Matrix3::identity()
    }

    /// What the picture's axes would have to be called, for a message.
    pub(super) fn quarter_words(&self) -> String {
        let names = [["left", "right"], ["back", "front"], ["head", "feet"]];
        let row = |a: usize| {
            let b = self.quarter.column(a).iamax();
            let sign = usize::from(self.quarter[(b, a)] < 0.0);
            format!("{} lies where the header says {}", names[a][0], names[b][sign])
        };
        (0..3).filter(|a| self.quarter[(*a, *a)] < 0.5).map(row).collect::<Vec<_>>().join(", ")
    }

    pub(super) fn scan_from_template(&self, middle: &Point3<f64>) -> Matrix4<f64> {
        let p = &self.p;
        let turned = turn(Vector3::new(p[3], p[4], p[5]) * UNIT).to_rotation_matrix().into_inner();
        let stretch = [6, 7, 8].map(|i| libm::exp(p[i] * UNIT));
        let shape =
            Matrix3::new(stretch[0], p[9] * UNIT, p[10] * UNIT, 0.0, stretch[1], p[11] * UNIT, 0.0, 0.0, stretch[2]);
        let linear = turned * self.quarter * shape;
        let to = self.centre.coords + Vector3::new(p[0], p[1], p[2]) - linear * middle.coords;
        let mut m = Matrix4::new_translation(&to);
        m.fixed_view_mut::<3, 3>(0, 0).copy_from(&linear);
        m
    }

    /// What its size costs; a turn of more than 45° belongs to another quarter turn.
    fn prior(&self) -> f64 {
        if Vector3::new(self.p[3], self.p[4], self.p[5]).norm() * UNIT > std::f64::consts::FRAC_PI_4 {
            return f64::INFINITY;
        }
        let of = |range: std::ops::Range<usize>, sd: f64| {
            self.p[range].iter().map(|v| (v * UNIT / sd) * (v * UNIT / sd)).sum::<f64>()
        };
        PRIOR * (of(6..9, SCALE_SD) + of(9..12, SHEAR_SD))
    }
}

/// How well a pose fits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Agreement {
    /// What the search raises: the correlation ratio of all labels, less what is missing and the prior.
    pub score: f64,
    /// The correlation ratio of the bands inside the brain alone, 0 to 1.
    pub inside: f64,
    /// Share of the brain that the scan covers.
    pub covered: f64,
}

/// The template as labelled points.
pub(super) struct Labelled<'a> {
    template: &'a Template,
    labels: Vec<u8>,
    /// Centroid of the brain.
    pub middle: Point3<f64>,
    /// Volume of the brain, mL.
    pub brain_ml: f64,
}

impl<'a> Labelled<'a> {
    pub(super) fn new(template: &'a Template, outside_mm: &[f32]) -> Self {
        let label = |(t1, outside): (&u8, &f32)| match *t1 {
            0 => SHELLS_MM.iter().position(|s| outside <= s).map_or(0, |s| 1 + BANDS + s),
            t1 => 1 + (usize::from(t1) * BANDS) / 256,
        } as u8;
        let labels = template.t1.iter().zip(outside_mm).map(label).collect();
        let brain = template.t1.iter().enumerate().filter(|(_, t)| **t > 0);
        let (sum, n) = brain.fold((Vector3::zeros(), 0.0), |(sum, n), (i, _)| {
            (sum + template.grid.centre(template.grid.voxel(i)).coords, n + 1.0)
        });
        Self { template, labels, middle: Point3::from(sum / f64::max(n, 1.0)), brain_ml: n * template.grid.voxel_ml() }
    }

    /// Every `step`th voxel along each axis.
    fn points(&self, step: usize) -> Vec<([f32; 3], usize)> {
        let grid = &self.template.grid;
        let [nx, ny, nz] = grid.dims;
        let mut points = Vec::new();
        for k in (0..nz).step_by(step) {
            for j in (0..ny).step_by(step) {
                for i in (0..nx).step_by(step) {
                    let label = usize::from(self.labels[grid.index([i, j, k])]);
                    if label > 0 {
                        points.push((grid.centre([i, j, k]).coords.map(|c| c as f32).into(), label - 1));
                    }
                }
            }
        }
        points
    }
}

/// One level of the search: a scan of some coarseness and points to look at.
struct Level {
    scan: Scan,
    voxel_from_lps: Matrix4<f64>,
    points: Vec<([f32; 3], usize)>,
    middle: Point3<f64>,
}

impl Level {
    fn new(scan: &Scan, labelled: &Labelled<'_>, mm: f64, step: usize) -> Self {
        let scan = scan.coarser(mm);
        Self { voxel_from_lps: scan.voxel_from_lps(), scan, points: labelled.points(step), middle: labelled.middle }
    }

    fn agreement(&self, pose: &Pose) -> Agreement {
        let m = self.voxel_from_lps * pose.scan_from_template(&self.middle);
        let row = |r: usize| [0, 1, 2, 3].map(|c| m[(r, c)] as f32);
        let rows = [row(0), row(1), row(2)];
        let mut sums = [[0.0_f64; 3]; LABELS];
        let (mut brain, mut missing) = (0.0_f64, 0.0_f64);
        for (at, label) in &self.points {
            let value = self.scan.at(rows.map(|r| r[0] * at[0] + r[1] * at[1] + r[2] * at[2] + r[3]));
            if *label < BANDS {
                brain += 1.0;
                missing += f64::from(u8::from(value.is_none()));
            }
            if let Some(v) = value.map(f64::from) {
                let [n, sum, squares] = &mut sums[*label];
                *n += 1.0;
                *sum += v;
                *squares += v * v;
            }
        }
        let missing = missing / brain.max(1.0);
        let inside = ratio(&sums[..BANDS]);
        Agreement { score: ratio(&sums) + inside - 0.5 * missing - pose.prior(), inside, covered: 1.0 - missing }
    }

    /// Pattern search over the first `freedom` parameters, step halved from `from` to `to` (mm).
    fn climb(&self, start: Pose, freedom: Freedom, from: f64, to: f64) -> (Pose, f64) {
        let mut best = start;
        let mut score = self.agreement(&best).score;
        let mut step = from;
        while step >= to {
            let before = best.clone();
            let mut moved = false;
            for axis in freedom.axes() {
                for by in [step, -step] {
                    let tried = freedom.moved(&best, *axis, by);
                    let found = self.agreement(&tried).score;
                    if found > score {
                        (best, score, moved) = (tried, found, true);
                        break;
                    }
                }
            }
            if moved {
                // Once more the whole way that this round went.
                let mut tried = best.clone();
                for (p, (new, old)) in tried.p.iter_mut().zip(best.p.iter().zip(&before.p)) {
                    *p = 2.0 * new - old;
                }
                let found = self.agreement(&tried).score;
                if found > score {
                    (best, score) = (tried, found);
                }
            } else {
                step *= 0.5;
            }
        }
        (best, score)
    }
}

#[derive(Clone, Copy)]
enum Freedom {
    /// Shift, turn, one size.
    Seven,
    /// All.
    Twelve,
}

impl Freedom {
    const fn axes(self) -> &'static [usize] {
        match self {
            Self::Seven => &[0, 1, 2, 3, 4, 5, 6],
            Self::Twelve => &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
        }
    }

    fn moved(self, pose: &Pose, axis: usize, by: f64) -> Pose {
        match (self, axis) {
            (Self::Seven, 6) => pose.moved(6, by).moved(7, by).moved(8, by),
            _ => pose.moved(axis, by),
        }
    }
}

/// Share of the intensities' variance that the labels explain.
fn ratio(sums: &[[f64; 3]]) -> f64 {
    let [n, sum, squares] = sums.iter().fold([0.0; 3], |a, b| [a[0] + b[0], a[1] + b[1], a[2] + b[2]]);
    let between: f64 = sums.iter().filter(|s| s[0] > 0.0).map(|s| s[1] * s[1] / s[0]).sum();
    let total = squares - sum * sum / f64::max(n, 1.0);
    let explained = between - sum * sum / f64::max(n, 1.0);
    if total > 1e-9 * n { explained / total } else { 0.0 }
}

/// The quarter turns of a cube, the identity first.
fn quarter_turns() -> Vec<Matrix3<f64>> {
    const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 2, 1], [1, 0, 2], [2, 1, 0]];
    let mut turns = Vec::new();
    for order in ORDERS {
        for signs in 0..8_usize {
            let mut m = Matrix3::zeros();
            for a in 0..3 {
                m[(order[a], a)] = if signs >> a & 1 == 1 { -1.0 } else { 1.0 };
            }
            if m.determinant() > 0.0 {
                turns.push(m);
            }
        }
    }
    turns
}

/// The best pose in the header's orientation, and the best in any other.
pub(super) struct Found {
    pub upright: (Pose, Agreement),
    pub turned: (Pose, Agreement),
}

impl Found {
    /// The better agreement of the two inside the brain.
    pub(super) fn inside(&self) -> f64 {
        self.upright.1.inside.max(self.turned.1.inside)
    }
}

/// Registers the template to the scan.
pub(super) fn register(scan: &Scan, labelled: &Labelled<'_>, progress: &mut dyn FnMut(f32)) -> Found {
    let coarse = Level::new(scan, labelled, 8.0, 10);
    let middle = scan.centroid();
    let mut found: Vec<(Pose, f64)> = Vec::new();
    for (n, quarter) in quarter_turns().into_iter().enumerate() {
        let mut places = Vec::new();
        for shift in (0..343).map(|i| [PLACES_MM[i % 7], PLACES_MM[i / 7 % 7], PLACES_MM[i / 49]]) {
            let pose = Pose::at(quarter, middle + Vector3::from(shift));
            let score = coarse.agreement(&pose).score;
            places.push((pose, score));
        }
        places.sort_by(|a, b| b.1.total_cmp(&a.1));
        // A head is nodded far more than it is tilted or turned: ±20°.
        let across = quarter.column(0).iamax();
        let mut starts: Vec<(Pose, f64)> = places
            .iter()
            .take(3)
            .flat_map(|(pose, _)| [0.0, 24.0, -24.0].map(|nod| pose.moved(3 + across, nod)))
            .map(|pose| {
                let score = coarse.agreement(&pose).score;
                (pose, score)
            })
            .collect();
        starts.sort_by(|a, b| b.1.total_cmp(&a.1));
        // The header is right far more often than not: it gets more tries.
        starts.truncate(if n == 0 { 6 } else { 2 });
        let climbed = starts.into_iter().map(|(pose, _)| coarse.climb(pose, Freedom::Seven, 8.0, 3.9));
        let best = climbed.max_by(|a, b| a.1.total_cmp(&b.1));
        found.extend(best);
        progress(0.5 * (n + 1) as f32 / 24.0);
    }
    found[1..].sort_by(|a, b| b.1.total_cmp(&a.1));
    let middle_level = Level::new(scan, labelled, 4.0, 4);
    let refine = |pose: &Pose| {
        let (pose, _) = coarse.climb(pose.clone(), Freedom::Twelve, 4.0, 1.9);
        let (pose, _) = middle_level.climb(pose, Freedom::Twelve, 2.0, 0.9);
        let agreement = middle_level.agreement(&pose);
        (pose, agreement)
    };
    let upright = refine(&found[0].0);
    progress(0.6);
    let turned = [&found[1].0, &found[2].0].map(refine);
    progress(0.7);
    let turned = turned.into_iter().max_by(|a, b| a.1.score.total_cmp(&b.1.score)).unwrap_or_else(|| upright.clone());
    Found { upright, turned }
}

/// The last millimetre of a pose.
pub(super) fn polish(scan: &Scan, labelled: &Labelled<'_>, pose: Pose) -> (Pose, Agreement) {
    let fine = Level::new(scan, labelled, 2.0, 3);
    let (pose, _) = fine.climb(pose, Freedom::Twelve, 1.0, 0.2);
    let agreement = fine.agreement(&pose);
    (pose, agreement)
}

/// Distance outside the template's brain, mm; negative inside.
pub(super) fn outside_mm(template: &Template) -> Vec<f32> {
    distance::signed(template.grid.dims, |i| template.t1[i] > 0)
}
