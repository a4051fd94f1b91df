//! An anatomy from somebody else's T1-weighted MRI, in the place of the template's.
//!
//! ```text
//! file -> scan -> register -> lay on the template's grid -> bias and classes -> brain mask
//!                                                            -> bias and classes -> Template
//! ```
//! **Frames:** the result lies in MNI space (LPS mm, the template's own grid), so that published
//! coordinates hold in it; [`Template::own_from_mni`] gives the head its own size and shape back.
//! **Units:** as in [`Template`]: 0 to 255, with fluid, grey and white matter as bright as the
//! template's. **Allocation:** at most 0.9 GB, for a scan of 512³ voxels; 0.5 GB for one of 256³.
//! **Determinism:** the same file gives the same bytes. **Not modelled:** a picture that is its own mirror
//! image is not noticed; folds follow the scan, but deep nuclei only as far as T1 shows them
//! (much of the thalamus and pallidum becomes white matter); a tumour in
//! the scan becomes whichever tissue it looks like.

mod file;
mod mask;
mod priors;
mod register;
mod scan;
mod tissue;

use crate::anatomy::template::{Template, TemplateError, template};
use bregma_core::digest::{Digest, Digester};
use nalgebra::{Matrix3, Matrix4, Point3};
use register::{Agreement, Labelled};
use scan::Scan;
use std::path::Path;
use tissue::{CLASSES, Mixture};

/// Least agreement of a scan with the template's brightness inside the brain.
const AGREEMENT_MIN: f64 = 0.08;
/// Agreement below which shading is suspected; scans without it reach 0.3 to 0.45.
const AGREEMENT_POOR: f64 = 0.2;
/// Agreement below which there is nothing to save.
const AGREEMENT_NONE: f64 = 0.03;
/// Least score of a turned picture to be believed; scans the right way round reach 0.7 to 1.1.
const TURNED_SCORE: f64 = 0.4;
/// A turned picture that fits better than the header's orientation by this is believed.
const TURNED_MARGIN: f64 = 0.04;
/// A turned picture that comes this near to the header's orientation is mentioned.
const TURNED_NEAR: f64 = 0.03;
/// Least share of the brain that must be in the scan; below the second a warning stands.
const COVERED_MIN: f64 = 0.8;
const COVERED_FULL: f64 = 0.985;
/// Volumes of a brain with its fluid, mL: adults have 1000 to 2000 (an expert's estimate), children less.
const BRAIN_ML: std::ops::RangeInclusive<f64> = 700.0..=2300.0;
/// Contrast of white to grey matter over their joint spread that a T1 shows; below it a warning stands.
const CONTRAST_LOW: f64 = 1.5;
/// Contrast below which the two cannot be told apart.
const CONTRAST_MIN: f64 = 0.6;
/// Volume well inside the brain that looks like none of its tissues, above which a warning stands, mL.
const ODD_ML: f64 = 2.0;
/// Edge of a voxel above which a warning stands, mm.
const THICK_MM: f64 = 1.6;
/// Brightness of fluid, grey and white matter in the template's T1.
const LIKE_TEMPLATE: [f64; CLASSES] = [68.0, 166.0, 222.0];
/// Least brightness inside the brain: what is darker counts as outside.
const BRAIN_MIN: f64 = 34.0;

/// A file that no anatomy can be made from.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ImportError {
    /// The file, or a part of it, cannot be read.
    #[error("{what} at byte {at}: {why}; a whole, readable file is needed")]
    Unreadable {
        /// Which part.
        what: &'static str,
        /// Where the part begins, bytes after decompression.
        at: usize,
        /// What the system says.
        why: String,
    },
    /// It is no NIfTI-1 file.
    #[error("this is {found}; {right}")]
    NotNifti {
        /// What it is.
        found: &'static str,
        /// What would be right.
        right: &'static str,
    },
    /// A field of the header cannot be.
    #[error("the header says {what}; {right} is needed")]
    Damaged {
        /// The field and its value.
        what: String,
        /// What would be right.
        right: &'static str,
    },
    /// Not one volume of a head.
    #[error("the volume has {dims} voxels: {why}")]
    Size {
        /// As written in the header.
        dims: String,
        /// What is wrong and would be right.
        why: &'static str,
    },
    /// Slices too thick to show the cortex.
    #[error("voxel axis {axis} has steps of {edge_mm:.2} mm; at most 3 mm are needed to show the cortex")]
    Thick {
        /// Which axis of the file.
        axis: usize,
        /// Its step, mm.
        edge_mm: f64,
    },
    /// Neither sform nor qform.
    #[error("sform_code and qform_code are 0: nothing tells left from right; a file with an orientation is needed")]
    NoOrientation,
    /// An affine that places no scan.
    #[error("the affine cannot be used: {what}; right-angled axes with steps of 0.1 to 3 mm are needed")]
    Affine {
        /// What is wrong.
        what: String,
    },
    /// One value everywhere.
    #[error("the volume is blank: every voxel is {value}; a T1-weighted scan of a head is needed")]
    Blank {
        /// The value.
        value: f32,
    },
    /// Computed tomography.
    #[error("this is a CT, not an MRI: {why}; a T1-weighted MRI is needed")]
    Ct {
        /// By which sign.
        why: String,
    },
    /// Nothing in the scan looks like the template.
    #[error("no brain was found: {why}; a T1-weighted MRI of a whole human head is needed")]
    NoBrain {
        /// By which measure.
        why: String,
    },
    /// The picture is turned against its header.
    #[error(
        "the header's orientation is wrong: {turn} (agreement {turned:.2} against {upright:.2}); \
         correct the header, since left and right cannot be told from the picture"
    )]
    Orientation {
        /// What lies where.
        turn: String,
        /// Agreement when turned.
        turned: f64,
        /// Agreement as the header says.
        upright: f64,
    },
    /// Too much of the brain is outside the scan.
    #[error("the scan covers {covered_percent:.0} % of the brain; at least 80 % are needed")]
    Partial {
        /// Share inside.
        covered_percent: f64,
    },
    /// A brain, but not as T1 shows it.
    #[error("the contrast is not that of T1: {why}; fluid must be darkest and white matter brightest")]
    NotT1 {
        /// The brightnesses.
        why: String,
    },
    /// The embedded template cannot be used.
    #[error(transparent)]
    Template(#[from] TemplateError),
}

/// What an import found, for reports.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportReport {
    /// Volumes of fluid, grey and white matter inside the mask at the head's own size, mL.
    pub tissue_ml: [f64; 3],
    /// Share of the brightness inside the brain that the registered template explains.
    pub agreement: f64,
    /// Share of the template's brain that the scan covers.
    pub covered: f64,
    /// Contrast of white to grey matter over their joint spread.
    pub contrast: f64,
    /// Whether there is a head around the brain.
    pub with_skull: bool,
    /// From MNI space (LPS mm) to the scan's own (LPS mm).
    pub scan_from_mni: Matrix4<f64>,
}

/// A head from a file; [`crate::Patient::grow_in`] takes it.
pub struct ImportedAnatomy {
    pub(crate) template: Template,
    report: ImportReport,
    warnings: Vec<String>,
}

impl ImportedAnatomy {
    /// What was found.
    #[must_use]
    pub const fn report(&self) -> &ImportReport {
        &self.report
    }

    /// Why the result may be worse than it looks; empty where nothing was odd.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Of the maps, their grid, and the head's own size.
    pub(crate) fn digest(&self) -> Digest {
        let Template { grid, t1, grey, white, own_from_mni } = &self.template;
        let mut digester = Digester::new("bregma imported anatomy 1");
        digester.sizes(&grid.dims).f64(grid.spacing_mm).f64s(&grid.origin).f64s(own_from_mni);
        digester.bytes(t1).bytes(grey).bytes(white).finish()
    }

    /// The grid of [`Self::maps`], MNI space in LPS mm.
    #[must_use]
    pub const fn grid(&self) -> bregma_core::grid::Grid {
        self.template.grid
    }

    /// T1, grey and white matter, 0 to 255.
    #[must_use]
    pub fn maps(&self) -> [&[u8]; 3] {
        [&self.template.t1, &self.template.grey, &self.template.white]
    }
}

/// Builds an anatomy from a T1-weighted NIfTI file; `progress` is told the step and the share done.
///
/// # Errors
/// [`ImportError`], by what is wrong with the file.
pub fn import_anatomy(path: &Path, progress: &mut dyn FnMut(&str, f32)) -> Result<ImportedAnatomy, ImportError> {
    progress("reading", 0.0);
    from_scan(file::read(path)?, progress)
}

fn from_scan(scan: Scan, progress: &mut dyn FnMut(&str, f32)) -> Result<ImportedAnatomy, ImportError> {
    let template = template()?;
    let outside_mm = register::outside_mm(template);
    let labelled = Labelled::new(template, &outside_mm);
    let mut warnings = warn_of_voxels(&scan);
    progress("registering", 0.05);
    let (scan, found) = located(scan, &labelled, progress);
    let pose = believed(found, &labelled, &mut warnings)?;
    let (pose, agreement) = register::polish(&scan, &labelled, pose);
    let scan_from_mni = pose.scan_from_template(&labelled.middle);
    check_cover(&agreement, &mut warnings)?;
    progress("classifying", 0.65);
    let mut laid = Laid::new(&scan, template, &scan_from_mni);
    laid.check_bone(&outside_mm)?;
    let priors = priors::priors(template);
    let dims = template.grid.dims;
    // First inside the template's own brain, a little smaller, so that no skull is in it.
    let inner: Vec<bool> = (0..outside_mm.len()).map(|i| outside_mm[i] < -2.0 && laid.covered[i]).collect();
    let first = Mixture::fit(dims, &laid.values, &inner, &priors).ok_or_else(no_classes)?;
    contrast(&first)?;
    progress("classifying", 0.75);
    first.correct(&mut laid.values);
    let [fluid, grey, white] = first.mean;
    let high = white + 4.0 * first.variance[2].sqrt();
    // What the scan does not show cannot be in its mask.
    let reach: Vec<f32> =
        outside_mm.iter().zip(&laid.covered).map(|(d, shown)| if *shown { *d } else { f32::MAX }).collect();
    let (mask, odd) = mask::brain(dims, &laid.values, &reach, (0.5 * (fluid + grey)) as f32, high as f32);
    let odd_ml = 1e-3 * odd as f64;
    if odd_ml > ODD_ML {
        warnings.push(format!(
            "{odd_ml:.0} mL well inside the brain look like none of its tissues (a lesion, contrast agent, a cavity?)"
        ));
    }
    progress("classifying", 0.85);
    let second = Mixture::fit(dims, &laid.values, &mask, &priors).ok_or_else(no_classes)?;
    let contrast = contrast(&second)?;
    if contrast < CONTRAST_LOW {
        warnings.push(format!(
            "white and grey matter differ by {contrast:.1} of their spread, {CONTRAST_LOW} is usual: their border is uncertain"
        ));
    }
    second.correct(&mut laid.values);
    let shares = second.classify(&laid.values, &mask, &priors);
    progress("classifying", 0.95);
    let report = ImportReport {
        tissue_ml: volumes(&shares, &scan_from_mni),
        agreement: agreement.inside,
        covered: agreement.covered,
        contrast,
        with_skull: laid.with_skull(&outside_mm),
        scan_from_mni,
    };
    check_size(report.tissue_ml.iter().sum())?;
    let template = compose(template, &laid, &mask, &shares, &second.mean, own_shape(&scan_from_mni));
    progress("done", 1.0);
    Ok(ImportedAnatomy { template, report, warnings })
}

fn no_classes() -> ImportError {
    ImportError::NoBrain { why: "fluid, grey and white matter cannot be told apart".to_owned() }
}

fn warn_of_voxels(scan: &Scan) -> Vec<String> {
    let edge = scan.edges_mm().into_iter().fold(0.0, f64::max);
    let warning =
        format!("voxels of {edge:.1} mm: the cortex, 2 to 4 mm thick, is uncertain; about 1 mm would be right");
    if edge > THICK_MM { vec![warning] } else { Vec::new() }
}

/// Registers; where that fits poorly, once more with the coarsest shading taken out. The better counts.
fn located(scan: Scan, labelled: &Labelled<'_>, progress: &mut dyn FnMut(&str, f32)) -> (Scan, register::Found) {
    let found = register::register(&scan, labelled, &mut |part| progress("registering", 0.05 + 0.6 * part));
    if !(AGREEMENT_NONE..AGREEMENT_POOR).contains(&found.inside()) {
        return (scan, found);
    }
    let evened = scan.evened();
    let again = register::register(&evened, labelled, &mut |part| progress("registering again", 0.3 + 0.35 * part));
    if again.inside() > found.inside() { (evened, again) } else { (scan, found) }
}

/// The header's orientation, unless another fits better.
fn believed(
    found: register::Found,
    labelled: &Labelled<'_>,
    warnings: &mut Vec<String>,
) -> Result<register::Pose, ImportError> {
    let ((upright, fits), (turned, other)) = (found.upright, found.turned);
    let turned_fits = !turned.upright() && other.score > TURNED_SCORE.max(fits.score + TURNED_MARGIN);
    let (best, agreement) = if turned_fits { (&turned, other.inside) } else { (&upright, fits.inside) };
    if agreement.is_nan() || agreement < AGREEMENT_MIN {
        let why = format!(
            "the template explains {agreement:.2} of the brightness where it fits best, {AGREEMENT_MIN} is least"
        );
        return Err(ImportError::NoBrain { why });
    }
    check_size(labelled.brain_ml * best.scan_from_template(&labelled.middle).fixed_view::<3, 3>(0, 0).determinant())?;
    if turned_fits {
        let turn = turned.quarter_words();
        return Err(ImportError::Orientation { turn, turned: other.score, upright: fits.score });
    }
    if !turned.upright() && other.score > fits.score - TURNED_NEAR {
        warnings.push(format!(
            "the header's orientation is improbable: turned so that {}, the picture fits as well ({:.2} and {:.2})",
            turned.quarter_words(),
            other.score,
            fits.score
        ));
    }
    Ok(upright)
}

fn check_size(brain_ml: f64) -> Result<(), ImportError> {
    if BRAIN_ML.contains(&brain_ml) {
        return Ok(());
    }
    let [least, most] = [BRAIN_ML.start(), BRAIN_ML.end()];
    Err(ImportError::NoBrain { why: format!("what fits best has {brain_ml:.0} mL, a human brain {least} to {most}") })
}

fn check_cover(agreement: &Agreement, warnings: &mut Vec<String>) -> Result<(), ImportError> {
    let covered_percent = 100.0 * agreement.covered;
    if agreement.covered < COVERED_MIN {
        return Err(ImportError::Partial { covered_percent });
    }
    if agreement.covered < COVERED_FULL {
        warnings.push(format!("the scan covers {covered_percent:.0} % of the brain; the rest is the template's"));
    }
    Ok(())
}

/// Contrast of white to grey matter over their joint spread.
fn contrast(mixture: &Mixture) -> Result<f64, ImportError> {
    let [fluid, grey, white] = mixture.mean;
    let spread = (0.5 * (mixture.variance[1] + mixture.variance[2])).sqrt();
    let contrast = (white - grey) / spread;
    if fluid < grey && contrast >= CONTRAST_MIN {
        Ok(contrast)
    } else {
        let why = format!("fluid {fluid:.2}, grey matter {grey:.2}, white matter {white:.2}, spread {spread:.2}");
        Err(ImportError::NotT1 { why })
    }
}

/// The scan on the template's grid.
struct Laid {
    values: Vec<f32>,
    covered: Vec<bool>,
}

impl Laid {
    fn new(scan: &Scan, template: &Template, scan_from_mni: &Matrix4<f64>) -> Self {
        let m = scan.voxel_from_lps() * scan_from_mni;
        let (linear, shift) = (m.fixed_view::<3, 3>(0, 0).into_owned(), m.fixed_view::<3, 1>(0, 3).into_owned());
        let grid = &template.grid;
        let mut laid = Self { values: Vec::with_capacity(grid.len()), covered: Vec::with_capacity(grid.len()) };
        for index in 0..grid.len() {
            let at: Point3<f64> = grid.centre(grid.voxel(index));
            let value = scan.at((linear * at.coords + shift).map(|c| c as f32).into());
            laid.values.push(value.unwrap_or(0.0));
            laid.covered.push(value.is_some());
        }
        laid
    }

    /// The covered voxels' values at distances from the template's brain, sorted.
    fn sorted(&self, outside_mm: &[f32], range: std::ops::Range<f32>) -> Vec<f32> {
        let taken = (0..outside_mm.len()).filter(|i| self.covered[*i] && range.contains(&outside_mm[*i]));
        let mut values: Vec<f32> = taken.step_by(7).map(|i| self.values[i]).collect();
        values.sort_by(f32::total_cmp);
        values
    }

    /// A shell of bone, brighter than a brain that is nearly of one brightness, is CT.
    fn check_bone(&self, outside_mm: &[f32]) -> Result<(), ImportError> {
        let shell = self.sorted(outside_mm, 1.0..10.0);
        let brain = self.sorted(outside_mm, -60.0..-4.0);
        let (Some(bone), Some(middle)) = (quantile(&shell, 0.8), quantile(&brain, 0.5)) else { return Ok(()) };
        let spread = quantile(&brain, 0.75).unwrap_or(middle) - quantile(&brain, 0.25).unwrap_or(middle);
        if bone > 1.3 * middle && spread < 0.06 * middle {
            let why = format!(
                "the shell around the brain is {:.1} times as bright as the brain, whose own brightness varies by {:.0} %",
                bone / middle,
                100.0 * spread / middle
            );
            return Err(ImportError::Ct { why });
        }
        Ok(())
    }

    fn with_skull(&self, outside_mm: &[f32]) -> bool {
        let shell = self.sorted(outside_mm, 6.0..14.0);
        shell.len() > 100 && shell.iter().filter(|v| **v > 0.08).count() * 5 > shell.len()
    }
}

fn quantile(sorted: &[f32], part: f64) -> Option<f32> {
    sorted.get((sorted.len().checked_sub(1)? as f64 * part) as usize).copied()
}

fn volumes(shares: &[[f32; CLASSES]], scan_from_mni: &Matrix4<f64>) -> [f64; CLASSES] {
    let voxel_ml = 1e-3 * scan_from_mni.fixed_view::<3, 3>(0, 0).determinant().abs();
    std::array::from_fn(|k| shares.iter().map(|s| f64::from(s[k])).sum::<f64>() * voxel_ml)
}

/// The stretch of the affine without its turn: the symmetric factor of its polar decomposition.
fn own_shape(scan_from_mni: &Matrix4<f64>) -> Matrix3<f64> {
    let linear: Matrix3<f64> = scan_from_mni.fixed_view::<3, 3>(0, 0).into_owned();
    let svd = linear.svd(false, true);
    svd.v_t.map_or_else(Matrix3::identity, |v_t| v_t.transpose() * Matrix3::from_diagonal(&svd.singular_values) * v_t)
}

/// The scan as a template: brightness by class means, maps by class shares, the template itself where
/// the scan shows nothing.
fn compose(
    template: &Template,
    laid: &Laid,
    mask: &[bool],
    shares: &[[f32; CLASSES]],
    mean: &[f64; CLASSES],
    own_from_mni: Matrix3<f64>,
) -> Template {
    let n = template.grid.len();
    let mut made = Template { grid: template.grid, t1: vec![0; n], grey: vec![0; n], white: vec![0; n], own_from_mni };
    for i in 0..n {
        if mask[i] {
            made.t1[i] = like_template(f64::from(laid.values[i]), mean);
            made.grey[i] = (255.0 * shares[i][1]).round() as u8;
            made.white[i] = (255.0 * shares[i][2]).round() as u8;
        } else if !laid.covered[i] {
            (made.t1[i], made.grey[i], made.white[i]) = (template.t1[i], template.grey[i], template.white[i]);
        }
    }
    made
}

/// Piecewise linear through the class means.
fn like_template(value: f64, mean: &[f64; CLASSES]) -> u8 {
    let k = usize::from(value >= mean[1]);
    let along = (value - mean[k]) / (mean[k + 1] - mean[k]);
    let like = LIKE_TEMPLATE[k] + along * (LIKE_TEMPLATE[k + 1] - LIKE_TEMPLATE[k]);
    like.clamp(BRAIN_MIN, 255.0).round() as u8
}

#[cfg(test)]
mod tests;
