//! Every kernel, on sizes that leave a rest everywhere, by all instructions that the machine has.

use bregma_perception::distance::DistanceTransform;
use bregma_perception::engine::ops::{self, Op, Workspace};
use bregma_perception::engine::{Calibration, Isa, Plan, Pool, Precision};
use bregma_perception::model::{Kind, Layer, Model, Shape};

/// Grids that leave a rest along every axis.
pub const ODD: [[usize; 3]; 3] = [[1, 1, 1], [3, 5, 7], [4, 4, 17]];

pub fn values(count: usize) -> Vec<f32> {
    // To the number, so that nothing lies behind the last.
    let mut values = Vec::with_capacity(count);
    values.extend((0..count).map(|i| ((i * 7919 % 1000) as f32 - 500.0) * 1e-3));
    values
}

fn available() -> impl Iterator<Item = Isa> {
    Isa::ALL.into_iter().filter(|isa| isa.available())
}

/// Layers of these grids, forward and backward.
pub fn layers(pool: &Pool, grids: &[[usize; 3]]) {
    for isa in available() {
        let mut work = Workspace::on(isa).expect("it is there");
        for kind in [Kind::Conv3, Kind::Conv1, Kind::Down3, Kind::Up2] {
            for (grid, (inputs, outputs)) in
                grids.iter().flat_map(|g| [(1, 3), (4, 4), (5, 8), (17, 9)].map(|c| (*g, c)))
            {
                let op = Op { kind, inputs, outputs, batch: 2, grid };
                let (x, weight, bias, g) =
                    (values(op.x_len()), values(op.weight_len()), values(outputs), values(op.y_len()));
                let (mut y, mut dx, mut dw) = (values(op.y_len()), values(op.x_len()), values(op.weight_len()));
                ops::forward(&mut work, pool, &op, &x, &weight, Some(&bias), &mut y).expect("runs");
                ops::backward_data(&mut work, pool, &op, &g, &weight, &mut dx).expect("runs");
                ops::backward_weight(&mut work, pool, &op, &x, &g, &mut dw).expect("runs");
                assert!(y.iter().chain(&dx).chain(&dw).all(|v| v.is_finite()), "{isa:?} {op:?}");
            }
        }
    }
}

/// Whole networks of these bases and edges, f32 and int8.
pub fn plans(pool: &Pool, sizes: &[[usize; 2]]) {
    for [base, edge] in sizes.iter().copied() {
        let shape = Shape { inputs: 3, outputs: 2, base, levels: 3 };
        let layers = shape.layers().into_iter().map(|shape| {
            let (weight, bias) = (values(shape.weights()), values(shape.outputs));
            Layer { shape, weight, bias }
        });
        let model = Model { shape, layers: layers.collect() };
        let (input, mut logits) = (values(3 * edge * edge * edge), values(2 * edge * edge * edge));
        let mut calibration = Calibration { ranges: Vec::new() };
        let mut plan = Plan::new(&model, edge, Precision::F32, None).expect("a plan");
        let mut state = plan.state();
        plan.calibrate(pool, &input, &mut state, &mut logits, &mut calibration).expect("runs");
        for isa in available() {
            for precision in [Precision::F32, Precision::Int8] {
                let mut plan = Plan::on(isa, &model, edge, precision, Some(&calibration)).expect("a plan");
                let mut state = plan.state();
                (0..2).for_each(|_| plan.run(pool, &input, &mut state, &mut logits).expect("runs"));
                assert!(logits.iter().all(|v| v.is_finite()), "{isa:?} {precision:?}");
            }
        }
    }
}

/// Distances on grids of odd sizes.
pub fn distances() {
    for dims in [[1, 1, 300], [17, 9, 33], [64, 3, 5], [15, 16, 17]] {
        let count = dims.iter().product::<usize>();
        let inside: Vec<u8> = (0..count).map(|i| u8::from(i * 7919 % 11 == 0)).collect();
        let mut out = vec![0; count];
        DistanceTransform::new(dims).signed(&inside, &mut out);
    }
}
