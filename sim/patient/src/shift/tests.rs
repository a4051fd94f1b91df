//! Both solvers against closed forms and against each other, and the brain over an operation.

use super::body::{Grip, Hold, Lump};
use super::material::Elastic as Material;
use super::*;

/// A block of cells of 4 mm on rollers: its faces at low x, y and z glide.
fn block(cells: [usize; 3], material: Material) -> Body {
    let grid = Grid { dims: cells.map(|n| n + 1), spacing_mm: 4.0, origin: [0.0; 3] };
    let inside = |i: &usize| {
        let v = grid.voxel(*i);
        (0..3).all(|a| v[a] < cells[a])
    };
    let lumps: Vec<Lump> = (0..grid.len()).filter(inside).map(|i| (i, material, 1.0, 1.0)).collect();
    let mut body = Body::new(grid, &lumps);
    for node in 0..body.nodes.len() {
        let at = body.at(node);
        for (a, normal) in [Vector3::x(), Vector3::y(), Vector3::z()].into_iter().enumerate() {
            if at[a] < 1e-6 {
                body.holds.push(Hold { node: node as u32, normal, stiffness: 2e4, grip: Grip::Both });
            }
        }
    }
    body
}

fn both(body: &Body) -> [Box<dyn Solver>; 2] {
    [Box::new(Elastic::new(body)), Box::new(Particles::new(body))]
}

/// Largest height of the block.
fn top(body: &Body) -> f64 {
    (0..body.nodes.len()).map(|n| body.at(n).z).fold(0.0, f64::max)
}

#[test]
fn a_pulled_block_grows_by_its_youngs_modulus() {
    let material = Material { shear: 1.0, bulk: 5.0 };
    let body = block([4, 4, 8], material);
    let mut load = Load::at_rest(&body);
    // A pull of 0.02 kPa on the top.
    let high = top(&body);
    for (node, area) in body.surface().into_iter().enumerate() {
        if body.at(node).z > high - 0.1 {
            load.force[node].z = 0.02 * area.z;
        }
    }
    let young = 9.0 * 5.0 * 1.0 / (3.0 * 5.0 + 1.0);
    for mut s in both(&body) {
        s.settle(&body, &load);
        let n = (0..body.nodes.len()).filter(|n| body.at(*n).z > high - 0.1).map(|n| s.moved()[n].z).sum::<f32>() / 25.0;
        let expected = 0.02 / young * 32.0;
        assert!((n - expected).abs() < 0.08 * expected, "{n} mm for {expected}");
    }
}

