//! At 25 scenes a second a session stays within 10 MB a second.

use crate::made::header;
use bregma_core::flow::{ROI_EDGE, ROI_VOXELS, Scene, Sequence, voxel};
use bregma_core::time::{Duration, Instant};
use bregma_recordings::{Item, Limits, Message, Recorder, Recording};
use std::io::Cursor;
use std::sync::Arc;

const HZ: u64 = 25;
const SECONDS: u64 = 4;

fn centred(index: usize) -> [f64; 3] {
    let edge = ROI_EDGE;
    [index % edge, (index / edge) % edge, index / (edge * edge)].map(|v| v as f64 - 31.5)
}

/// A lobed tumour that an instrument eats into along a helix, 4 mm across; every voxel's age runs on; `noise`
/// moves margin, interval and probability of every voxel in every scene by up to so many units, as a
/// network's would.
fn scenes(noise: i16) -> Vec<Arc<Scene>> {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut jitter = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 40) as i16 % (2 * noise + 1) - noise
    };
    let mut cavity = vec![f64::INFINITY; ROI_VOXELS];
    let steps = HZ * SECONDS;
    (1..=steps)
        .map(|n| {
            let angle = n as f64 * 0.12;
            let tip = [8.0 * (angle).cos(), 8.0 * (angle + 1.57).cos(), n as f64 * 0.1 - 5.0];
            let now = Instant::START + Duration::from_millis(n * 1000 / HZ);
            let mut scene = Scene { id: Sequence(n), decided: now, captured: now, ..Scene::empty() };
            for (index, cavity) in cavity.iter_mut().enumerate() {
                let [x, y, z] = centred(index);
                let reach = ((x - tip[0]).powi(2) + (y - tip[1]).powi(2) + (z - tip[2]).powi(2)).sqrt() - 3.2;
                *cavity = cavity.min(reach);
                let core = (x * x + y * y * 1.3 + z * z * 0.8).sqrt() - 16.0 - 2.0 * (x * 0.4).cos();
                let margin = core.max(-*cavity) * 1.25;
                let [a, b, c] = if noise == 0 { [0; 3] } else { [jitter(), jitter(), jitter()] };
                scene.margin[index] = (margin * 64.0) as i16 + a;
                scene.interval[index] = (16.0 + margin.abs()) as u8 + (b & 1) as u8;
                scene.residual[index] = ((128.0 - margin * 40.0).clamp(4.0, 250.0) as i16 + c) as u8;
                let wall = cavity.abs() < 1.0;
                scene.state[index] = (voxel::BRAIN * u8::from(core < 12.0))
                    | (voxel::CAVITY * u8::from(*cavity < 0.0))
                    | ((voxel::WALL | voxel::VISIBLE) * u8::from(wall));
                scene.seen_age_s[index] = if wall { 0 } else { (n / HZ) as u8 + (index % 7) as u8 };
                scene.coarse_residual[index] = scene.residual[index] / 2;
            }
            Arc::new(scene)
        })
        .collect()
}

/// Megabytes in the file per second of the session; reads all of it back.
fn rate(noise: i16) -> f64 {
    let scenes = scenes(noise);
    let mut bytes = Cursor::new(Vec::new());
    let mut recorder = Recorder::on(&mut bytes, &header(), Limits::default()).expect("memory takes it");
    for scene in &scenes {
        recorder.write(&Item::scene(scene.id.0, Arc::clone(scene))).expect("memory takes it");
    }
    let figures = recorder.finish().expect("memory takes it");
    let mut recording = Recording::read_from(Cursor::new(bytes.into_inner())).expect("opens");
    let mut count = 0;
    for (read, written) in recording.messages().zip(&scenes) {
        assert!(read.expect("reads").message == Message::Scene(Arc::clone(written)));
        count += 1;
    }
    assert_eq!(count, scenes.len());
    figures.bytes as f64 / 1e6 / SECONDS as f64
}

#[test]
fn a_session_that_carves_a_tumour_stays_within_ten_megabytes_a_second() {
    let quiet = rate(0);
    assert!(quiet <= 2.0, "{quiet:.2} MB/s without noise");
}

#[test]
fn a_network_whose_every_voxel_trembles_does_too() {
    let noisy = rate(1);
    assert!(noisy <= 10.0, "{noisy:.2} MB/s with noise of one unit in every voxel");
}
