//! Exact Euclidean distance on a grid, in linear time.
//!
//! Source: P. F. Felzenszwalb, D. P. Huttenlocher, *Distance transforms of sampled functions*, Theory of
//! Computing 8 (2012). **Units:** voxels. Squared distances are whole numbers below 2²⁴, exact in `f32`.

/// Squared distance from a voxel to the nearest set one where none is set.
pub(crate) const NOWHERE: f32 = 1e12;

/// Squared distance of every voxel's centre to the nearest set voxel's centre, voxels².
pub(crate) fn squared(dims: [usize; 3], set: impl Fn(usize) -> bool) -> Vec<f32> {
    let [nx, ny, nz] = dims;
    let mut field = vec![NOWHERE; nx * ny * nz];
    for (row, line) in field.chunks_exact_mut(nx.max(1)).enumerate() {
        let mut run = f32::INFINITY;
        for (i, v) in line.iter_mut().enumerate() {
            run = if set(row * nx + i) { 0.0 } else { run + 1.0 };
            *v = run;
        }
        run = f32::INFINITY;
        for v in line.iter_mut().rev() {
            run = if *v > 0.0 { run + 1.0 } else { 0.0 };
            let d = v.min(run);
            *v = if d.is_finite() { d * d } else { NOWHERE };
        }
    }
    let mut envelope = Envelope::new(ny.max(nz));
    for k in 0..nz {
        for i in 0..nx {
            envelope.column(&mut field, i + nx * ny * k, nx, ny);
        }
    }
    for j in 0..ny {
        for i in 0..nx {
            envelope.column(&mut field, i + nx * j, nx * ny, nz);
        }
    }
    field
}

/// Signed distance to the surface between set and unset voxels, voxels: positive outside. The surface
/// lies half a voxel from the centres on either side.
pub(crate) fn signed(dims: [usize; 3], set: impl Fn(usize) -> bool) -> Vec<f32> {
    let mut outside = squared(dims, &set);
    let inside = squared(dims, |i| !set(i));
    for (o, i) in outside.iter_mut().zip(&inside) {
        *o = if *o > 0.0 { o.sqrt() - 0.5 } else { 0.5 - i.sqrt() };
    }
    outside
}

/// The lower envelope of parabolas along one column.
struct Envelope {
    values: Vec<f32>,
    apex: Vec<usize>,
    from: Vec<f32>,
}

impl Envelope {
    fn new(n: usize) -> Self {
        Self { values: vec![0.0; n], apex: vec![0; n], from: vec![0.0; n + 1] }
    }

    fn column(&mut self, field: &mut [f32], start: usize, stride: usize, n: usize) {
        for q in 0..n {
            self.values[q] = field[start + q * stride];
        }
        let f = &self.values;
        let mut count = 0_usize;
        for q in 0..n {
            if f[q] >= NOWHERE {
                continue;
            }
            let mut from = f32::NEG_INFINITY;
            while count > 0 {
                let v = self.apex[count - 1];
                from = ((f[q] + (q * q) as f32) - (f[v] + (v * v) as f32)) / (2 * (q - v)) as f32;
                if from > self.from[count - 1] {
                    break;
                }
                count -= 1;
            }
            if count == 0 {
                from = f32::NEG_INFINITY;
            }
            self.apex[count] = q;
            self.from[count] = from;
            count += 1;
        }
        if count == 0 {
            return;
        }
        let mut k = 0;
        for q in 0..n {
            while k + 1 < count && self.from[k + 1] < q as f32 {
                k += 1;
            }
            let v = self.apex[k];
            let d = q.abs_diff(v);
            field[start + q * stride] = (d * d) as f32 + f[v];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn is_what_trying_every_voxel_gives(bits in prop::collection::vec(prop::bool::weighted(0.04), 9 * 7 * 5)) {
            let dims = [9, 7, 5];
            let found = squared(dims, |i| bits[i]);
            let at = |i: usize| [i % 9, (i / 9) % 7, i / 63];
            for (i, d) in found.iter().enumerate() {
                let best = (0..bits.len()).filter(|j| bits[*j]).map(|j| {
                    let (a, b) = (at(i), at(j));
                    (0..3).map(|x| a[x].abs_diff(b[x]).pow(2)).sum::<usize>() as f32
                }).fold(NOWHERE, f32::min);
                prop_assert!((d - best).abs() < 0.5, "voxel {i}: {d} for {best}");
            }
        }
    }

    #[test]
    fn the_surface_lies_between_the_centres() {
        let field = signed([6, 1, 1], |i| i < 3);
        let expected = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5];
        assert!(field.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{field:?}");
    }
}
