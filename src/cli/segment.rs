//! `bregma segment`: where a tumour is in a patient's scans.

use super::{Goal, say};
use crate::{calendar, weights, whole};
use anyhow::{Context, ensure};
use bregma_core::flow::{Modality, Volume, roi_grid};
use bregma_core::time::calendar_seconds;
use bregma_ingest::mri::labels::Lattice;
use bregma_ingest::mri::segmentation::{self, GLIOMA, Maker, SegmentationError};
use bregma_ingest::mri::{read, read_in_frame};
use bregma_perception::engine::{Calibration, Pool, Precision};
use bregma_perception::model::Model;
use bregma_perception::perceive::likeness::{Likeness, Looking};
use bregma_perception::perceive::network::untrained;
use bregma_perception::scan::Scan;
use bregma_perception::segment::{Scans, Segmented, segment};
use indicatif::{ProgressBar, ProgressStyle};
use nalgebra::Matrix4;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What NIfTI files, which name no frame, are taken to lie in: that of one another.
const FRAME: &str = "scans given to bregma segment";

/// In which numbers the network computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Numbers {
    /// Floats.
    F32,
    /// Eight bits: faster, where the model was calibrated for it.
    Int8,
}

/// Scans of one patient.
#[derive(Debug, clap::Args)]
#[group(id = "scans", multiple = true)]
pub struct ScanArgs {
    /// T1 with contrast agent: a NIfTI file, or a folder with a DICOM series.
    #[arg(long, value_name = "FILE")]
    pub t1c: Option<PathBuf>,
    /// FLAIR. All scans must be registered to each other.
    #[arg(long, value_name = "FILE")]
    pub flair: Option<PathBuf>,
    /// T1.
    #[arg(long, value_name = "FILE")]
    pub t1: Option<PathBuf>,
    /// T2.
    #[arg(long, value_name = "FILE")]
    pub t2: Option<PathBuf>,
}

/// Scans that were read, in the order of their channels, and where the first one's voxels lie.
pub struct Given {
    /// The scans.
    pub scans: [Option<Scan>; 4],
    /// Where.
    pub lattice: Lattice,
}

/// Reads them.
///
/// # Errors
/// None, or one that is no scan.
pub fn given(args: &ScanArgs) -> anyhow::Result<Given> {
    let given = [
        (&args.t1c, Modality::T1c),
        (&args.flair, Modality::Flair),
        (&args.t1, Modality::T1),
        (&args.t2, Modality::T2),
    ];
    let mut lattice = None;
    let mut scans: [Option<Scan>; 4] = [const { None }; 4];
    for (scan, (path, modality)) in scans.iter_mut().zip(given) {
        let Some(path) = path else { continue };
        let (found, place) = taken(path, modality)?;
        lattice.get_or_insert(place);
        *scan = Some(found);
    }
    let lattice = lattice.context("no scan is given; at least one of --t1c, --flair, --t1 and --t2 is needed")?;
    Ok(Given { scans, lattice })
}

/// Options of `segment`.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("weights")))]
pub struct SegmentArgs {
    #[command(flatten)]
    pub scans: ScanArgs,
    /// Where labels are written, on the voxels of the first scan given: 1 necrosis, 2 infiltrated, 4 enhancing.
    #[arg(long, value_name = "SEG.nii.gz")]
    pub out: PathBuf,
    /// The same as a DICOM Segmentation, which refers to the series that the labels lie on.
    #[arg(long, value_name = "FILE.dcm")]
    pub dicom_seg: Option<PathBuf>,
    /// Labels that somebody else has made of the same scans, 0 to 4, a NIfTI file: the overlap with them is said.
    #[arg(long, value_name = "LABELS.nii.gz")]
    pub against: Option<PathBuf>,
    /// Another network than the one that the program carries.
    #[arg(long, value_name = "FILE.bregma", group = "weights")]
    pub model: Option<PathBuf>,
    /// The default network with first weights from a seed, which finds nothing: to time it.
    #[arg(long, value_name = "SEED", group = "weights")]
    pub untrained: Option<u64>,
    /// In which numbers it computes.
    #[arg(long, value_enum, default_value_t = Numbers::F32)]
    pub numbers: Numbers,
}

/// Runs it.
///
/// # Errors
/// A scan or a model that is none, scans that do not go together, a file that cannot be written.
pub fn run(args: &SegmentArgs) -> anyhow::Result<Goal> {
    let name = args.out.to_string_lossy();
    ensure!(
        name.ends_with(".nii.gz") || name.ends_with(".nii"),
        "--out is {name}; a name that ends in .nii.gz or .nii is right"
    );
    for path in [Some(&args.out), args.dicom_seg.as_ref()].into_iter().flatten() {
        let folder = whole::folder_of(path);
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {} for the labels", folder.display()))?;
    }
    let Given { scans, lattice } = given(&args.scans)?;
    let against = args.against.as_deref().map(labels_of).transpose()?;
    let (model, calibration, likeness) = network(args)?;
    let precision = match args.numbers {
        Numbers::F32 => Precision::F32,
        Numbers::Int8 => Precision::Int8,
    };
    ensure!(
        precision == Precision::F32 || calibration.is_some(),
        "--numbers int8: the model was not calibrated for it; --numbers f32 is right"
    );
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let pool = Pool::new(cores).context("no threads for the network")?;
    let bar = ProgressBar::new(0).with_style(
        ProgressStyle::with_template("{elapsed_precise} {bar:32} {pos}/{len} tiles, {eta} left")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let [t1c, flair, t1, t2] = &scans;
    let scans = Scans { t1c: t1c.as_ref(), flair: flair.as_ref(), t1: t1.as_ref(), t2: t2.as_ref() };
    let segmented = segment(&model, calibration.as_ref(), precision, &pool, &scans, &|made, of| {
        bar.set_length(of as u64);
        bar.set_position(made as u64);
    })?;
    bar.finish_and_clear();
    let labels = segmented.on(lattice.dims, &lattice.patient_from_voxel);
    let ml = |of: &[u8]| labels.iter().filter(|l| of.contains(l)).count() as f64 * lattice.voxel_ml();
    let (necrosis, infiltrated, enhancing) = (ml(&[1]), ml(&[2]), ml(&[4]));
    say(format!(
        "core       {:.1} mL (labels 1 + 4; nothing is labelled 3, so that 1 + 3 + 4 is the same)",
        necrosis + enhancing
    ));
    say(format!("           of it necrosis (1) {necrosis:.1} mL, enhancing (4) {enhancing:.1} mL"));
    say(format!(
        "whole      {:.1} mL (1 + 2 + 4), of it infiltrated (2) {infiltrated:.1} mL",
        necrosis + infiltrated + enhancing
    ));
    if necrosis + infiltrated + enhancing <= 0.0 {
        say("no tumour was found: all labels are 0");
    }
    if let Some(why) = likeness.and_then(|likeness| unlike(&likeness, &scans, &segmented)) {
        say(format!("UNLIKE     {why}. The network may be wrong on such scans: look at the labels"));
    }
    if let (Some(path), Some(theirs)) = (&args.against, &against) {
        let ours = segmented.on(theirs.dims, &theirs.patient_from_voxel);
        let dice = |of: &[u8], as_: &[u8]| overlap(&ours, of, &theirs.labels, as_);
        say(format!(
            "against    {}: Dice of the whole tumour {}, of the core (theirs 1 + 4) {}, (theirs 1 + 3 + 4) {}",
            path.display(),
            dice(&[1, 2, 4], &[1, 2, 3, 4]),
            dice(&[1, 4], &[1, 4]),
            dice(&[1, 4], &[1, 3, 4])
        ));
    }
    if args.untrained.is_some() {
        say("weights    UNTRAINED, from a seed: for timing, and for nothing else");
    }
    if let Some(path) = &args.dicom_seg {
        let seconds = calendar_seconds();
        let made = [calendar::date(seconds).replace('-', ""), calendar::time(seconds).replace(':', "")];
        let digest = model.digest().to_string();
        let algorithm = format!("bregma {} network {}", env!("CARGO_PKG_VERSION"), &digest[..12]);
        let maker = Maker { algorithm: &algorithm, made: [&made[0], &made[1]] };
        match whole::write_by(path, |part| segmentation::write(part, &lattice, &labels, &GLIOMA, &maker)) {
            Err(why) if matches!(why.downcast_ref(), Some(SegmentationError::Empty)) => {
                say(format!("not written {}: {why}", path.display()));
            }
            written => {
                written.with_context(|| format!("cannot write {}", path.display()))?;
                say(format!("written    {}", path.display()));
            }
        }
    }
    whole::write_by(&args.out, |part| lattice.write(part, labels)).with_context(|| format!("cannot write {name}"))?;
    say(format!("written    {name}"));
    Ok(Goal::Held)
}

/// Somebody's labels, and where they lie.
struct Labels {
    dims: [usize; 3],
    patient_from_voxel: Matrix4<f64>,
    labels: Vec<u8>,
}

fn labels_of(path: &Path) -> anyhow::Result<Labels> {
    let Volume { dims, patient_from_voxel, intensities, .. } = read_in_frame(path, Modality::T1, FRAME)?;
    let label = |value: &f32| {
        let label = value.round().clamp(0.0, 4.0);
        ensure!((label - value).abs() < 1e-3, "{}: has the label {value}; 0 to 4 are right", path.display());
        Ok(label as u8)
    };
    let labels = intensities.iter().map(label).collect::<anyhow::Result<_>>()?;
    Ok(Labels { dims, patient_from_voxel, labels })
}

/// Dice's overlap of some labels of ours with some of theirs, for people.
fn overlap(ours: &[u8], of: &[u8], theirs: &[u8], as_: &[u8]) -> String {
    let pairs = || ours.iter().zip(theirs).map(|(a, b)| (of.contains(a), as_.contains(b)));
    let both = pairs().filter(|(a, b)| *a && *b).count();
    let all: usize = pairs().map(|(a, b)| usize::from(a) + usize::from(b)).sum();
    if all == 0 { "– (neither has any)".to_owned() } else { format!("{:.3}", 2.0 * both as f64 / all as f64) }
}

/// A scan, and where its file's voxels lie.
fn taken(path: &Path, modality: Modality) -> anyhow::Result<(Scan, Lattice)> {
    let folder = path.is_dir();
    let volume = if folder { read(path, modality)? } else { read_in_frame(path, modality, FRAME)? };
    let lattice = if folder { Lattice::of_series(path)? } else { Lattice::of_file(path)? };
    let scan = Scan::new(Arc::new(volume)).with_context(|| path.display().to_string())?;
    Ok((scan, lattice))
}

/// A network, what its int8 was calibrated to, and what its scans looked like.
fn network(args: &SegmentArgs) -> anyhow::Result<(Model, Option<Calibration>, Option<Likeness>)> {
    if let Some(seed) = args.untrained {
        return Ok((untrained(seed), None, None));
    }
    let file = weights::read(args.model.as_deref())?;
    let (ranges, likeness) = (file.activations(), Likeness::of(&file.ranges));
    Ok((file.into_model(), (!ranges.is_empty()).then_some(Calibration { ranges }), likeness))
}

/// What is unlike in scans, where the core is or, without one, in the middle of the brain.
fn unlike(likeness: &Likeness, scans: &Scans<'_>, segmented: &Segmented) -> Option<String> {
    let (frame, _) = scans.closed_head(roi_grid(segmented.middle()));
    let features = Looking::default().at(&frame.channels)?;
    likeness.unlike(&features).map(|unlike| unlike.to_string())
}
