//! Figures of a patient's scans, measured as one measures a real patient's.
//!
//! **Contrasts:** the median intensity over a label, over the median of white matter far from the tumour; the
//! background is at 0. **Frame:** labels are the truth's, at rest.

use crate::anatomy::head::tissue;
use crate::patient::Patient;
use crate::truth::Label;
use bregma_core::flow::{Modality, Volume};
use nalgebra::{Matrix4, Point3};

/// Tissue on one kind of scan, over white matter's intensity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TissueContrast {
    /// Enhancing rim (of a low-grade tumour: its core).
    pub rim: f64,
    /// Infiltrated tissue outside the core that FLAIR shows.
    pub oedema: f64,
    /// Necrotic centre; NaN where there is none.
    pub necrosis: f64,
    /// Grey matter far from the tumour.
    pub grey: f64,
}

/// What the table over many patients lists.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScanFigures {
    /// Enhancing and necrotic tissue, mL.
    pub core_ml: f64,
    /// All that FLAIR shows, core included, mL.
    pub whole_ml: f64,
    /// Share of the core that is necrotic.
    pub necrotic_share: f64,
    /// On T1c.
    pub t1c: TissueContrast,
    /// On FLAIR.
    pub flair: TissueContrast,
}

impl Patient {
    /// Measures the preoperative T1c and FLAIR.
    #[must_use]
    pub fn scan_figures(&self) -> ScanFigures {
        let truth = &self.truth;
        let count = |wanted: fn(Label) -> bool| truth.labels.iter().filter(|l| wanted(**l)).count() as f64 * 1e-3;
        let core_ml = count(Label::core);
        ScanFigures {
            core_ml,
            whole_ml: core_ml + count(|l| l == Label::Infiltrated),
            necrotic_share: count(|l| l == Label::Necrosis) / core_ml,
            t1c: self.tissue_contrast(&self.scan(Modality::T1c)),
            flair: self.tissue_contrast(&self.scan(Modality::Flair)),
        }
    }

    fn tissue_contrast(&self, scan: &Volume) -> TissueContrast {
        let (truth, head) = (&self.truth, &self.head);
        let voxel_from_patient = scan.patient_from_voxel.try_inverse().unwrap_or_else(Matrix4::identity);
        let at = |p: &Point3<f64>| {
            let c = voxel_from_patient.transform_point(p);
            let v: [f64; 3] = std::array::from_fn(|a| (c[a] + 0.5).floor());
            let inside = (0..3).all(|a| v[a] >= 0.0 && v[a] < scan.dims[a] as f64);
            inside.then(|| {
                scan.intensities[v[0] as usize + scan.dims[0] * (v[1] as usize + scan.dims[1] * v[2] as usize)]
            })
        };
        let labelled = |label: Label| {
            let found = (0..truth.grid.len()).filter(|i| truth.labels[*i] == label);
            median(found.filter_map(|i| at(&truth.grid.centre(truth.grid.voxel(i)))).collect())
        };
        // Every third voxel along each axis, where there are no tumour cells.
        let healthy = |wanted: u8, t1: std::ops::RangeInclusive<u8>| {
            let spread = |i: &usize| head.grid.voxel(*i).iter().all(|v| v % 3 == 0);
            let found = (0..head.grid.len()).filter(spread);
            let found = found.filter(|i| head.tissue[*i] == wanted && t1.contains(&head.t1[*i]));
            let points = found.map(|i| head.grid.centre(head.grid.voxel(i)));
            let clear =
                |p: &Point3<f64>| truth.grid.containing(p).is_none_or(|v| truth.density[truth.grid.index(v)] < 1e-3);
            median(points.filter(clear).filter_map(|p| at(&p)).collect())
        };
        let white = healthy(tissue::WHITE, 205..=240);
        TissueContrast {
            rim: labelled(Label::Enhancing) / white,
            oedema: labelled(Label::Infiltrated) / white,
            necrosis: labelled(Label::Necrosis) / white,
            grey: healthy(tissue::GREY, 150..=180) / white,
        }
    }
}

fn median(mut values: Vec<f32>) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    let middle = values.len() / 2;
    f64::from(*values.select_nth_unstable_by(middle, f32::total_cmp).1)
}
