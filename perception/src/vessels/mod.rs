//! Vessels: from an angiogram, or a T1 with contrast agent, to centrelines with diameters.
//!
//! ```text
//!  volume ─► brightness ─► strength of lines ─► lines of voxels ─► graph ─► centrelines
//!            picture       strength             thin               graph    centre
//!         ─► who owns which voxel ─► cross sections ─► what blood looks like ─► radii   ─► VesselTree
//!            owners                  sections, disc    blood                    calibre    tree
//! ```
//! **Units and frame:** mm, patient LPS. **Determinism:** the same on any number of threads. **Allocation:** about 50
//! bytes a voxel while it runs. **Invariant:** nothing is assumed of the lattice but that its axes are nearly at right
//! angles: voxels may be longer than wide, turned and mirrored. **Finds** vessels brighter than what is around them, of
//! about 1 mm diameter and more; a radius is measured by all of the light that a vessel sends, not by where its edge
//! seems to be. **Not protected against:** bright lines that are no vessels, such as the edges of enhancing tumour on
//! T1c; two vessels that touch, which become one or meet; errors of the radius that all vessels of a scan share, where
//! none of them is wider than the point spread; vessels whose light is too little for the noise, which are missing.
//! That there is no branch somewhere does not say that there is no vessel.

mod blood;
mod calibre;
mod centre;
mod disc;
mod graph;
mod owners;
#[cfg(test)]
mod phantom;
mod picture;
mod sections;
mod strength;
#[cfg(test)]
mod tests;
mod thin;
mod threads;
mod tree;

pub use tree::{Branch, Station, VesselCapsule, VesselTree};

use bregma_core::flow::{Modality, Volume};
use calibre::{Calibre, calibres};
use centre::Course;
use graph::Graph;
use nalgebra::Point3;
use owners::{owned, scale_radius_mm};
use picture::{EDGE_MIN, Picture, STEP_MM, VALUES_MIN, VOXELS_MAX};
use strength::{Strength, strength};

/// From one scale to the next, at most.
const SCALE_RATIO: f64 = 1.5;
/// The smallest scale, over the smallest edge of a voxel: below, second differences see noise only.
const SCALE_VOXELS: f64 = 0.8;
/// A line's strength is at least that many times the noise of a voxel.
const NOISE_TIMES: f64 = 2.5;
/// Brightness beside a vessel differs around it by at most that share of its contrast; vessels of the simulated angiograms
/// stay below 0.1, a line within a sheet has 0.35 and more.
const UNEVEN_MAX: f64 = 0.25;
/// Twigs are longer than that beyond the radius of what they leave, mm.
const TWIG_MM: f64 = 1.5;
/// A centreline is off by at least that share of a voxel.
const POSITION_SHARE: f64 = 0.13;
/// A radius is off by at least that share: vessels are not round.
const RADIUS_SHARE: f64 = 0.04;
/// Of the steps that `done` hears of, those that are not scales.
const STEPS_AFTER: usize = 4;

/// What counts as a vessel. Brightness is over the darkest of the volume, 1 for tissue: the median of voxels above half-way
/// from the darkest to the mean, where vessels are looked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Smallest and largest radius that is looked for, mm, 0.2 to 10.
    pub radius_mm: [f64; 2],
    /// Strength from which a voxel may belong to a vessel, and that which one voxel of each vessel has; brightness.
    pub strength: [f64; 2],
    /// The same of brightness, smoothed at the scale of the line.
    pub brightness: [f64; 2],
    /// Brightness that blood usually has in wide vessels, and how sure that is: standard deviation of its logarithm.
    pub blood: [f64; 2],
    /// Least contrast of a branch, level over base, brightness.
    pub contrast_min: f64,
    /// Connected vessels are together at least that long, mm.
    pub length_min_mm: f64,
    /// How many at once, 1 to 64; the result does not depend on it.
    pub threads: usize,
}

impl Settings {
    /// Of a kind of scan; what is no angiogram is taken for a T1 with contrast agent.
    ///
    /// Thresholds were set on simulated scans. Blood's usual brightness is an expert's estimate, wide enough that other
    /// scanners' fit in.
    #[must_use]
    pub const fn of(modality: Modality) -> Self {
        let angiogram = Self {
            radius_mm: [0.5, 3.0],
            strength: [0.2, 0.42],
            brightness: [0.8, 1.27],
            blood: [3.8, 0.5],
            contrast_min: 0.3,
            length_min_mm: 8.0,
            threads: 2,
        };
        match modality {
            Modality::Mra => angiogram,
            _ => Self { strength: [0.2, 0.4], brightness: [1.0, 1.35], blood: [1.9, 0.35], ..angiogram },
        }
    }

    fn check(&self) -> Result<(), VesselError> {
        let range = |name, value: f64, low: f64, high: f64| {
            let inside = (low..=high).contains(&value);
            if inside { Ok(()) } else { Err(VesselError::Setting { name, value, low, high }) }
        };
        range("radius_mm[0]", self.radius_mm[0], 0.2, 10.0)?;
        range("radius_mm[1]", self.radius_mm[1], self.radius_mm[0], 10.0)?;
        range("strength[0]", self.strength[0], 0.001, 10.0)?;
        range("strength[1]", self.strength[1], self.strength[0], 10.0)?;
        range("brightness[0]", self.brightness[0], 0.0, 10.0)?;
        range("brightness[1]", self.brightness[1], self.brightness[0], 10.0)?;
        range("blood[0]", self.blood[0], 0.1, 20.0)?;
        range("blood[1]", self.blood[1], 0.01, 2.0)?;
        range("contrast_min", self.contrast_min, 0.0, 10.0)?;
        range("length_min_mm", self.length_min_mm, 0.0, 100.0)?;
        range("threads", self.threads as f64, 1.0, 64.0)
    }

    /// Scales of the filter, smallest first: from one to the next by the same ratio.
    fn scales_mm(&self, picture: &Picture) -> Vec<f64> {
        let [low, high] = self.radius_mm.map(|r| r / scale_radius_mm(1.0));
        let low = low.max(SCALE_VOXELS * picture.finest_mm());
        let high = high.max(low);
        let steps = (libm::log(high / low) / libm::log(SCALE_RATIO)).ceil() as usize;
        (0..=steps).map(|n| low * libm::pow(high / low, n as f64 / steps.max(1) as f64)).collect()
    }
}

/// A volume, or settings, that no vessels can be found with.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum VesselError {
    /// The number of intensities is not that of voxels.
    #[error("a volume of {dims:?} voxels has {intensities} intensities; one for each voxel, and some, are needed")]
    Size {
        /// Its voxels.
        dims: [usize; 3],
        /// How many intensities came.
        intensities: usize,
    },
    /// More voxels than memory is meant for.
    #[error("a volume has {dims:?} voxels; at most {VOXELS_MAX} in all are right")]
    Large {
        /// Its voxels.
        dims: [usize; 3],
    },
    /// A slice or a few.
    #[error("a volume has {dims:?} voxels; vessels need at least {EDGE_MIN} along each axis")]
    Flat {
        /// Its voxels.
        dims: [usize; 3],
    },
    /// An intensity is NaN or infinite.
    #[error("a volume has the intensity {value} at voxel {index}; finite numbers are needed")]
    NotFinite {
        /// Where.
        index: usize,
        /// What.
        value: f32,
    },
    /// Nothing is in it.
    #[error("all intensities of a volume are {value}; a scan has at least {VALUES_MIN} different ones")]
    Constant {
        /// Which.
        value: f32,
    },
    /// Labels where a scan should be.
    #[error("a volume has only {values} different values: labels are no scan, which has at least {VALUES_MIN}")]
    Labels {
        /// Different values.
        values: usize,
    },
    /// The affine is none, or nearly flat.
    #[error(
        "a volume's affine (determinant {determinant}) must be finite, end in 0 0 0 1, and have axes nearly at right angles"
    )]
    Affine {
        /// Of the affine.
        determinant: f64,
    },
    /// Voxels of a size that is no scan's.
    #[error("a volume has voxels of {step_mm} mm; {} to {} mm are right", STEP_MM[0], STEP_MM[1])]
    Step {
        /// Edge of a voxel.
        step_mm: f64,
    },
    /// A setting outside its range.
    #[error("the setting {name} is {value}; {low} to {high} are right")]
    Setting {
        /// Which.
        name: &'static str,
        /// What it is.
        value: f64,
        /// Smallest that is right.
        low: f64,
        /// Largest that is right.
        high: f64,
    },
}

/// Whether vessels are looked for at a place, patient mm: a brain mask.
pub type Within<'a> = dyn Fn(&Point3<f64>) -> bool + 'a;

/// Finds vessels, brighter than what is around them; where `within` is given, only where it holds (patient mm). `done`
/// hears of each step, and of how many there are. A volume without vessels has an empty tree.
///
/// # Errors
/// [`VesselError`] with what is wrong and what would be right.
pub fn vessels(
    volume: &Volume,
    settings: &Settings,
    within: Option<&Within<'_>>,
    done: &dyn Fn(usize, usize),
) -> Result<VesselTree, VesselError> {
    settings.check()?;
    let picture = Picture::new(volume, within)?;
    let scales_mm = settings.scales_mm(&picture);
    let steps = scales_mm.len() + STEPS_AFTER;
    let mut step = 0;
    let mut next = || {
        step += 1;
        done(step, steps);
    };
    let strength = strength(&picture, &scales_mm, settings.threads, &mut next);
    let graph = lines(&picture, settings, &scales_mm, &strength, within);
    next();
    let courses = courses(&picture, &graph, &scales_mm, &strength, settings.threads);
    next();
    let owned = owned(&picture, &courses);
    next();
    let calibres = calibres(&picture, &courses, &owned, settings);
    next();
    Ok(tree(&picture, &graph, &courses, &calibres, settings))
}

/// Lines of voxels that are strong, bright and long enough.
fn lines(
    picture: &Picture,
    settings: &Settings,
    scales_mm: &[f64],
    strength: &Strength,
    within: Option<&Within<'_>>,
) -> Graph {
    let [low, high] = settings.strength.map(|s| s.max(NOISE_TIMES * picture.noise) as f32);
    let allowed = |i: usize| within.is_none_or(|within| within(&picture.centre(picture.voxel(i))));
    let bright = |i: usize, n: usize| f64::from(strength.smooth[i]) >= settings.brightness[n];
    let may = |i: usize| strength.value[i] >= low && bright(i, 0) && allowed(i);
    let surely = |i: usize| strength.value[i] >= high && bright(i, 1);
    let mut mask = thin::mask(picture, may, surely);
    thin::thin(&mut mask, &strength.value);
    let mut graph = Graph::of(picture, &mask);
    graph.prune(picture, |i| TWIG_MM + scale_radius_mm(scales_mm[usize::from(strength.scale[i])]));
    graph.keep_long(picture, settings.length_min_mm);
    graph
}

/// The centreline of each line; those that meet at a node end at the same point.
fn courses(picture: &Picture, graph: &Graph, scales_mm: &[f64], strength: &Strength, threads: usize) -> Vec<Course> {
    let degrees = graph.degrees();
    let mut courses = threads::each(threads, graph.lines.len(), |n| {
        let place = |i: &usize| (picture.centre(picture.voxel(*i)), scales_mm[usize::from(strength.scale[*i])]);
        let way: Vec<_> = graph.lines[n].voxels.iter().map(place).collect();
        Course::refined(picture, &way, graph.lines[n].nodes.map(|node| degrees[node] == 1))
    });
    let mut ends = vec![(nalgebra::Vector3::zeros(), 0.0); degrees.len()];
    for (course, line) in courses.iter().zip(&graph.lines) {
        for (node, at) in line.nodes.iter().zip([&course.points[0], &course.points[course.points.len() - 1]]) {
            ends[*node].0 += at.coords;
            ends[*node].1 += 1.0;
        }
    }
    for (course, line) in courses.iter_mut().zip(&graph.lines) {
        let last = course.points.len() - 1;
        for (node, place) in line.nodes.iter().zip([0, last]) {
            course.points[place] = Point3::from(ends[*node].0 / ends[*node].1);
        }
    }
    courses
}

/// Branches of vessels, with the nodes that they reach.
fn tree(picture: &Picture, graph: &Graph, courses: &[Course], calibres: &[Calibre], settings: &Settings) -> VesselTree {
    let mut tree = VesselTree::default();
    let mut number = std::collections::BTreeMap::new();
    for n in vessels_of(graph, courses, calibres, settings) {
        let (line, course) = (&graph.lines[n], &courses[n]);
        let ends = [course.points[0], course.points[course.points.len() - 1]];
        let nodes = std::array::from_fn(|end| {
            *number.entry(line.nodes[end]).or_insert_with(|| {
                tree.nodes.push(ends[end]);
                tree.nodes.len() - 1
            })
        });
        let stations = stations(picture, course, &calibres[n]);
        tree.branches.push(Branch { nodes, stations, faint: calibres[n].own_level });
    }
    tree
}

/// Lines with the contrast and the evenness of vessels that are long enough together.
fn vessels_of(graph: &Graph, courses: &[Course], calibres: &[Calibre], settings: &Settings) -> Vec<usize> {
    let like = |n: &usize| calibres[*n].contrast >= settings.contrast_min && calibres[*n].uneven <= UNEVEN_MAX;
    let chosen: Vec<usize> = (0..courses.len()).filter(like).collect();
    let lines: Vec<_> = chosen.iter().map(|n| (graph.lines[*n].nodes, courses[*n].length_mm())).collect();
    let long = graph::long(graph.degrees().len(), &lines, settings.length_min_mm);
    chosen.into_iter().zip(long).filter_map(|(n, long)| long.then_some(n)).collect()
}

fn stations(picture: &Picture, course: &Course, calibre: &Calibre) -> Vec<Station> {
    let station = |n: usize| Station {
        at: course.points[n],
        radius_mm: calibre.radius_mm[n],
        radius_error_mm: calibre.radius_mm[n] * calibre.ln_radius_error[n].hypot(RADIUS_SHARE),
        position_error_mm: course.unrest_mm[n].hypot(POSITION_SHARE * picture.finest_mm()),
    };
    (0..course.points.len()).map(station).collect()
}
