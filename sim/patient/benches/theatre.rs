//! What a bleeding costs: 0.1 s of simulated time with and without one, and a surgeon's look into the wound.

use bregma_core::time::{Duration, Instant};
use bregma_patient::{Fault, FaultKind, Patient, PatientSettings, World, WorldSettings};
use criterion::{Criterion, criterion_group, criterion_main};
use std::sync::Arc;

fn bleeding(c: &mut Criterion) {
    let patient = Arc::new(Patient::grow(2, &PatientSettings::default()).expect("seed 2 has a patient"));
    // Seconds of bleeding before the measurement; criterion runs some minutes more.
    for (name, size_mm) in [("theatre_dry", 0.0), ("theatre_vessel_0_3_mm", 0.3), ("theatre_vessel_1_mm", 1.0)] {
        let world = World::new(patient.clone(), WorldSettings::default()).expect("settings are within range");
        let fault = |at| Fault { kind: FaultKind::VesselBleeds, at, lasts: Duration::ZERO, size_mm, turn_deg: 0.0 };
        let mut now = Instant::START;
        c.bench_function(name, |b| {
            b.iter(|| {
                // One that stops by itself opens again.
                if size_mm > 0.0 && now.nanos().is_multiple_of(Duration::from_secs(20).nanos()) {
                    world.inject(fault(now));
                }
                now = now + Duration::from_millis(100);
                world.advance(now);
            });
        });
        c.bench_function(&format!("{name}_sight"), |b| b.iter(|| world.sight()));
    }
}

criterion_group!(benches, bleeding);
criterion_main!(benches);
