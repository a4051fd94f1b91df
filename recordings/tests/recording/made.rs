//! A small session: five seconds with scenes, tips, commands and steps.

use bregma_core::arm::Joints;
use bregma_core::digest::Digest;
use bregma_core::flow::{
    ArmMount, Energy, GateState, Heartbeat, Order, Plan, Proposal, Request, Scene, Sent, Sequence, TraceId,
};
use bregma_core::frame::Pose;
use bregma_core::runner::StepRecord;
use bregma_core::stage::{Saw, SawAll};
use bregma_core::time::{Duration, Instant};
use bregma_recordings::{ClockKind, Header, Item, Limits, Message, Recorder, Recording, Topic};
use std::io::Cursor;
use std::sync::Arc;

pub fn header() -> Header {
    Header {
        program: "0.1.0".to_owned(),
        commit: "0123abc".to_owned(),
        config_toml: "[gate]\nperiod_ms = 4\n".to_owned(),
        config_hash: Digest::of(b"config"),
        resolved: "gate.period 4 ms\n".to_owned(),
        seed: Some(1000),
        clock: ClockKind::Simulated,
        mount: ArmMount {
            patient_from_arm_base: Pose::identity(),
            flange_from_tip: Pose::identity(),
            shaft_radius_mm: 1.25,
            shaft_length_mm: 180.0,
        },
        started_s: 1_750_000_000,
    }
}

pub fn at_ms(ms: u64) -> Instant {
    Instant::START + Duration::from_millis(ms)
}

/// Scene number `n`: a few voxels move from one to the next.
pub fn scene(n: u64) -> Arc<Scene> {
    let mut scene = Scene { id: Sequence(n), decided: at_ms(n * 200), ..Scene::empty() };
    for at in 0..n as usize * 10 {
        scene.margin[at * 7] = (at as i16) - 40;
        scene.residual[at * 11] = 200;
    }
    scene.digest = scene.digest_of_bytes();
    Arc::new(scene)
}

/// What the plan stage of this session says to a scene: plain arithmetic on what it saw.
pub fn plan(sequence: u64, now: Instant, scene: &Scene) -> Arc<Plan> {
    let said = format!("{} voxels are left", scene.residual.iter().filter(|r| **r > 100).count());
    Arc::new(Plan {
        sequence: Sequence(sequence),
        trace: TraceId(sequence),
        scene: scene.id,
        planner: "greedy",
        model: Digest::default(),
        proposal: Proposal::Request(Request::AskSurgeon(said)),
        decided: now,
    })
}

/// Everything of five seconds, in order: per 200 ms a scene, a step of plan and its plan; per 20 ms a command.
pub fn items() -> Vec<Item> {
    let mut items = vec![Item::order(1, Order::Arm)];
    for n in 1..=25_u64 {
        let scene = scene(n);
        let now = at_ms(n * 200 + 1);
        items.push(Item::scene(n, Arc::clone(&scene)));
        items.push(Item::heartbeat(n, Heartbeat { count: n, captured: now }));
        let mut saw = SawAll::default();
        saw.push(Saw { topic: Topic::Scenes.number(), first: n, last: n });
        items.push(Item::step(StepRecord { stage: "plan", index: n, now, saw, overrun: false, panicked: false }));
        items.push(Item::plan(n, plan(n, now, &scene)));
        for k in 1..=10 {
            let sent = Sent {
                state: GateState::Armed,
                joints: Joints::from_slice(&[0.1 * k as f64; 7]).expect("seven"),
                energy: Energy::OFF,
                approval: None,
                retracting: false,
                finished: Sequence(0),
                consent: None,
                reason: None,
                sent: at_ms(n * 200 + k * 20),
            };
            items.push(Item::sent((n - 1) * 10 + k, sent));
        }
    }
    items
}

/// Those items as a recording in memory.
pub fn recorded(items: &[Item]) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let mut recorder = Recorder::on(&mut bytes, &header(), Limits::default()).expect("memory takes it");
    for item in items {
        recorder.write(item).expect("memory takes it");
    }
    recorder.finish().expect("memory takes it");
    bytes.into_inner()
}

/// Opens bytes and reads all messages; the first error, or the messages.
pub fn read(bytes: &[u8]) -> Result<(Vec<(u64, Message)>, bregma_recordings::Ending), bregma_recordings::ReadError> {
    let mut recording = Recording::read_from(Cursor::new(bytes))?;
    let ending = recording.ending();
    let messages = recording.messages().map(|m| m.map(|m| (m.number, m.message))).collect::<Result<_, _>>()?;
    Ok((messages, ending))
}
