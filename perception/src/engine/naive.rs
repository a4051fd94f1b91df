//! Layers written out plainly, in f64, for the tests to compare with.

use crate::model::Kind;

/// A seeded stream of values in −1..1.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 40) as f32) / ((1_u64 << 23) as f32) - 1.0
    }

    pub(super) fn values(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.next()).collect()
    }
}

/// A layer on a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layer {
    pub(super) kind: Kind,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) batch: usize,
    pub(super) grid: [usize; 3],
}

impl Layer {
    pub(super) fn out_grid(&self) -> [usize; 3] {
        self.grid.map(|n| match self.kind {
            Kind::Conv3 | Kind::Conv1 => n,
            Kind::Down3 => n.div_ceil(2),
            Kind::Up2 => 2 * n,
        })
    }

    pub(super) fn x_len(&self) -> usize {
        self.batch * self.inputs * self.grid.iter().product::<usize>()
    }

    pub(super) fn y_len(&self) -> usize {
        self.batch * self.outputs * self.out_grid().iter().product::<usize>()
    }

    pub(super) fn weights(&self) -> usize {
        self.kind.taps() * self.inputs * self.outputs
    }

    /// Calls `f` with every product that the layer sums: index of output, of input, of weight.
    fn each(&self, mut f: impl FnMut(usize, usize, usize)) {
        let ([od, oh, ow], [d, h, w]) = (self.out_grid(), self.grid);
        let (stride, edge) = match self.kind {
            Kind::Conv3 => (1, 3),
            Kind::Down3 => (2, 3),
            Kind::Conv1 => (1, 1),
            Kind::Up2 => (2, 2),
        };
        for n in 0..self.batch {
            for o in 0..self.outputs {
                for z in 0..od {
                    for y in 0..oh {
                        for x in 0..ow {
                            let out = (((n * self.outputs + o) * od + z) * oh + y) * ow + x;
                            for c in 0..self.inputs {
                                let base = (n * self.inputs + c) * d * h * w;
                                if self.kind == Kind::Up2 {
                                    let tap = z % 2 * 4 + y % 2 * 2 + x % 2;
                                    let at = base + (z / 2 * h + y / 2) * w + x / 2;
                                    f(out, at, (c * self.outputs + o) * 8 + tap);
                                    continue;
                                }
                                let pad = edge / 2;
                                for (k, tap) in
                                    (0..self.kind.taps()).map(|t| ([t / edge / edge, t / edge % edge, t % edge], t))
                                {
                                    let at = [z, y, x].map(|p| stride * p);
                                    let at = [at[0] + k[0], at[1] + k[1], at[2] + k[2]];
                                    if (0..3).all(|a| at[a] >= pad && at[a] - pad < self.grid[a]) {
                                        let from = base + ((at[0] - pad) * h + at[1] - pad) * w + at[2] - pad;
                                        f(out, from, (o * self.inputs + c) * self.kind.taps() + tap);
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    pub(super) fn forward(&self, x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f64> {
        let voxels = self.out_grid().iter().product::<usize>();
        let mut y: Vec<f64> = (0..self.y_len()).map(|i| f64::from(bias[i / voxels % self.outputs])).collect();
        self.each(|o, i, w| y[o] += f64::from(x[i]) * f64::from(weight[w]));
        y
    }

    pub(super) fn backward_data(&self, g: &[f32], weight: &[f32]) -> Vec<f64> {
        let mut dx = vec![0.0; self.x_len()];
        self.each(|o, i, w| dx[i] += f64::from(g[o]) * f64::from(weight[w]));
        dx
    }

    pub(super) fn backward_weight(&self, x: &[f32], g: &[f32]) -> (Vec<f64>, Vec<f64>) {
        let voxels = self.out_grid().iter().product::<usize>();
        let (mut dw, mut db) = (vec![0.0; self.weights()], vec![0.0; self.outputs]);
        self.each(|o, i, w| dw[w] += f64::from(x[i]) * f64::from(g[o]));
        g.iter().enumerate().for_each(|(i, g)| db[i / voxels % self.outputs] += f64::from(*g));
        (dw, db)
    }
}

/// The largest difference, as a share of the largest value expected.
pub(super) fn difference(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(1e-30, |m: f64, v| m.max(v.abs()));
    found.iter().zip(expected).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, |m: f64, e| if e <= m { m } else { e })
        / largest
}
