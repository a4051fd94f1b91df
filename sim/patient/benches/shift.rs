//! One live update of the brain's shift, 0.2 s of simulated time, in both worlds; without shift beside it.

use bregma_core::time::{Duration, Instant};
use bregma_patient::{Patient, PatientSettings, ShiftSettings, World, WorldKind, WorldSettings};
use criterion::{Criterion, criterion_group, criterion_main};
use std::sync::Arc;

fn updates(c: &mut Criterion) {
    let patient = Arc::new(Patient::grow(2, &PatientSettings::default()).expect("seed 2 has a patient"));
    let cases = [
        ("shift_update_none", WorldKind::Home, ShiftSettings::off()),
        ("shift_update_home", WorldKind::Home, ShiftSettings::default()),
        ("shift_update_foreign", WorldKind::Foreign, ShiftSettings::default()),
    ];
    for (name, world, shift) in cases {
        let settings = WorldSettings { world, shift, ..WorldSettings::default() };
        let theatre = World::new(patient.clone(), settings).expect("settings are within range");
        let mut now = Instant::START;
        c.bench_function(name, |b| {
            b.iter(|| {
                now = now + Duration::from_millis(200);
                theatre.advance(now);
            });
        });
    }
}

criterion_group!(benches, updates);
criterion_main!(benches);
