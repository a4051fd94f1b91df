//! A scan to sample from: voxels, where they lie, and coarser copies of it.
//!
//! **Frames:** voxel indices (centres) and patient LPS mm, joined by an affine of any orientation.
//! **Units:** intensities from 0 (no signal) to about 1 (the 99.5th percentile of the signal), so that
//! what follows does not depend on the scanner's scale. **Allocation:** the scan itself, and 1/8 of it
//! for each coarser copy.

use super::ImportError;
use nalgebra::{Matrix4, Point3, SMatrix, SVector, Vector3};

/// Edges below this are averaged in twos: nothing finer is used.
const FINE_MM: f64 = 0.75;
/// Share of voxels of exactly one value that makes it padding, not signal.
const PADDING_SHARE: f64 = 0.15;
/// Intensity above which there is tissue, and the most that [`Scan::evened`] changes one.
const SIGNAL: f32 = 0.2;
const EVEN_MAX: f64 = 2.5;
/// Hounsfield units below which there is only air, and above which only bone or metal.
const AIR_HU: f32 = -500.0;
const BONE_HU: f32 = 500.0;

pub(super) struct Scan {
    pub dims: [usize; 3],
    pub voxels: Vec<f32>,
    pub lps_from_voxel: Matrix4<f64>,
}

impl Scan {
    /// Scales the intensities and averages what is finer than needed.
    pub(super) fn new(dims: [usize; 3], voxels: Vec<f32>, lps_from_voxel: Matrix4<f64>) -> Result<Self, ImportError> {
        let mut scan = Self { dims, voxels, lps_from_voxel };
        scan.scale()?;
        let axes = scan.edges_mm().map(|e| e < FINE_MM);
        Ok(if axes.contains(&true) { scan.halved(axes) } else { scan })
    }

    /// Edges of a voxel, mm.
    pub(super) fn edges_mm(&self) -> [f64; 3] {
        std::array::from_fn(|a| self.lps_from_voxel.fixed_view::<3, 1>(0, a).norm())
    }

    /// Moves padding and air to 0 and the bright end of the signal to 1.
    fn scale(&mut self) -> Result<(), ImportError> {
        let sample: Vec<f32> = self.voxels.iter().step_by(1 + self.voxels.len() / 500_000).copied().collect();
        let mut sorted: Vec<f32> = sample.into_iter().filter(|v| v.is_finite()).collect();
        sorted.sort_by(f32::total_cmp);
        let n = sorted.len();
        let share = |found: usize| found as f64 / n.max(1) as f64;
        let (Some(least), Some(most)) = (sorted.first().copied(), sorted.last().copied()) else {
            return Err(ImportError::Blank { value: f32::NAN });
        };
        if least >= most {
            return Err(ImportError::Blank { value: least });
        }
        let air = share(sorted.partition_point(|v| *v < AIR_HU));
        let bone = share(n - sorted.partition_point(|v| *v < BONE_HU));
        if air > 0.05 && least >= -4096.0 && most <= 32_767.0 && bone > 0.005 {
            return Err(ImportError::Ct { why: format!("{:.0} % of its voxels are below -500", 100.0 * air) });
        }
        let padding = mode(&sorted).filter(|(_, count)| share(*count) > PADDING_SHARE).map(|(value, _)| value);
        // Where padding stands inside the range (a scan scaled to mean 0), the darkest signal is 0 too.
        let signal: Vec<f32> = sorted.iter().copied().filter(|v| padding.is_none_or(|p| (v - p).abs() > 0.0)).collect();
        let at = |part: f64| signal[((signal.len() - 1) as f64 * part) as usize];
        if signal.len() < 100 {
            return Err(ImportError::Blank { value: most });
        }
        let low = padding.map_or(at(0.001), |p| p.min(at(0.001)));
        let high = at(0.995);
        if high <= low {
            return Err(ImportError::Blank { value: high });
        }
        for v in &mut self.voxels {
            let empty = !v.is_finite() || padding.is_some_and(|p| (*v - p).abs() <= 0.0);
            *v = if empty { 0.0 } else { ((*v - low) / (high - low)).clamp(0.0, 2.0) };
        }
        Ok(())
    }

    /// A copy with voxels averaged in twos along the given axes, and along no other.
    fn halved(&self, axes: [bool; 3]) -> Self {
        let step = axes.map(|a| if a { 2 } else { 1 });
        let dims: [usize; 3] = std::array::from_fn(|a| (self.dims[a] / step[a]).max(1));
        let (row, slice) = (self.dims[0], self.dims[0] * self.dims[1]);
        let offsets: Vec<usize> = (0..8)
            .filter(|c| (0..3).all(|a| (c >> a & 1) < step[a]))
            .map(|c| (c & 1) + row * (c >> 1 & 1) + slice * (c >> 2))
            .collect();
        let part = 1.0 / offsets.len() as f32;
        let mut voxels = Vec::with_capacity(dims.iter().product());
        for k in 0..dims[2] {
            for j in 0..dims[1] {
                let first = slice * k * step[2] + row * j * step[1];
                voxels.extend((0..dims[0]).map(|i| {
                    let at = first + i * step[0];
                    part * offsets.iter().map(|o| self.voxels[at + o]).sum::<f32>()
                }));
            }
        }
        // Voxel 0 of the copy lies between voxels 0 and 1.
        let mut fine_from_coarse = Matrix4::identity();
        for a in 0..3 {
            fine_from_coarse[(a, a)] = step[a] as f64;
            fine_from_coarse[(a, 3)] = 0.5 * (step[a] as f64 - 1.0);
        }
        Self { dims, voxels, lps_from_voxel: self.lps_from_voxel * fine_from_coarse }
    }

    /// Takes the coarsest shading out, so that registration sees tissue: the polynomial of degree 2 that
    /// fits the logarithm of the signal best is divided out, by no more than [`EVEN_MAX`].
    pub(super) fn evened(&self) -> Self {
        let mut out = self.halved([false; 3]);
        let small = self.coarser(8.0);
        let mut normal = SMatrix::<f64, 10, 10>::identity() * 1e-3;
        let mut right = SVector::<f64, 10>::zeros();
        for (index, value) in small.voxels.iter().enumerate().filter(|(_, v)| **v > SIGNAL) {
            let terms = quadratic(small.dims, index);
            normal += terms * terms.transpose();
            right += terms * libm::log(f64::from(*value));
        }
        let Some(fit) = normal.cholesky().map(|c| c.solve(&right)) else { return out };
        // The constant stays: only what varies is shading.
        let most = libm::log(EVEN_MAX);
        let dims = self.dims;
        for (row, line) in out.voxels.chunks_exact_mut(dims[0]).enumerate() {
            for (i, value) in line.iter_mut().enumerate().filter(|(_, v)| **v > 0.0) {
                let shading = fit.dot(&quadratic(dims, row * dims[0] + i)) - fit[0];
                *value *= libm::expf(-shading.clamp(-most, most) as f32);
            }
        }
        out
    }

    /// The scan with voxels of no less than half of `mm`, and blurred to about that.
    pub(super) fn coarser(&self, mm: f64) -> Self {
        let mut out: Option<Self> = None;
        loop {
            let from = out.as_ref().unwrap_or(self);
            let axes = from.edges_mm().map(|e| e < 0.71 * mm);
            // An axis of few voxels stays as it is.
            let axes = std::array::from_fn(|a| axes[a] && from.dims[a] >= 8);
            if axes == [false; 3] {
                return out.unwrap_or_else(|| self.halved([false; 3]));
            }
            out = Some(from.halved(axes));
        }
    }

    /// Index of a point: `voxel_from_lps`.
    pub(super) fn voxel_from_lps(&self) -> Matrix4<f64> {
        // The reader refused what has no inverse.
        self.lps_from_voxel.try_inverse().unwrap_or_else(Matrix4::identity)
    }

    /// Trilinear value at an index; `None` outside the scan.
    pub(super) fn at(&self, index: [f32; 3]) -> Option<f32> {
        let mut first = 0;
        let mut f = [0.0_f32; 3];
        let mut step = [0_usize; 3];
        let mut stride = 1;
        for a in 0..3 {
            // Half a voxel beyond the outermost centres still belongs to the outermost voxels.
            if !(index[a] >= -0.5 && index[a] <= self.dims[a] as f32 - 0.5) {
                return None;
            }
            let c = index[a].clamp(0.0, self.dims[a] as f32 - 1.0);
            let whole = c as usize;
            f[a] = c - whole as f32;
            first += whole * stride;
            step[a] = if whole + 1 < self.dims[a] { stride } else { 0 };
            stride *= self.dims[a];
        }
        let d = &self.voxels;
        let line = |i: usize| d[i] + (d[i + step[0]] - d[i]) * f[0];
        let plane = |i: usize| {
            let (a, b) = (line(i), line(i + step[1]));
            a + (b - a) * f[1]
        };
        let (a, b) = (plane(first), plane(first + step[2]));
        Some(a + (b - a) * f[2])
    }

    /// Centroid of the signal, LPS mm.
    pub(super) fn centroid(&self) -> Point3<f64> {
        let (mut sum, mut weight) = (Vector3::zeros(), 0.0);
        for (index, value) in self.voxels.iter().enumerate() {
            let value = f64::from(value.min(1.0));
            let (i, rest) = (index % self.dims[0], index / self.dims[0]);
            let at = Vector3::new(i as f64, (rest % self.dims[1]) as f64, (rest / self.dims[1]) as f64);
            sum += at * value;
            weight += value;
        }
        self.lps_from_voxel.transform_point(&Point3::from(sum / weight.max(1e-9)))
    }
}

/// The products of up to two coordinates, −1 to 1 over the scan; the constant first.
fn quadratic(dims: [usize; 3], index: usize) -> SVector<f64, 10> {
    let at = [index % dims[0], index / dims[0] % dims[1], index / (dims[0] * dims[1])];
    let [x, y, z]: [f64; 3] = std::array::from_fn(|a| 2.0 * (at[a] as f64 + 0.5) / dims[a] as f64 - 1.0);
    SVector::from([1.0, x, y, z, x * x, y * y, z * z, x * y, y * z, z * x])
}

/// The most frequent value of a sorted list and how often it stands there.
fn mode(sorted: &[f32]) -> Option<(f32, usize)> {
    sorted.chunk_by(|a, b| a.total_cmp(b).is_eq()).max_by_key(|run| run.len()).map(|run| (run[0], run.len()))
}
