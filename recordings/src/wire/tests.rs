//! Every message there and back; what cannot come back is refused by its field.

use super::*;
use crate::item::{EncodedFrame, Step, VolumeNote};
use bregma_core::arm::{ArmModelId, Joints};
use bregma_core::digest::Digest;
use bregma_core::faults::{Latched, Reaction, Reason};
use bregma_core::flow::{
    Anatomy, ApprovedRecord, ArmState, Capsule, Check, CheckResult, Consent, Corridor, Craniotomy, Energy, ErrorBudget,
    GateState, Heartbeat, InstrumentState, JointPath, Modality, Motion, Order, Plan, Proposal, RangeImage, Reacted,
    Region, RegionKind, Registration, Request, Scene, Sent, Sequence, TipPose, TraceId, TrackingStatus, Verdict,
    Waypoint, Withdrawn,
};
use bregma_core::frame::{Frame, FrameId, Point, Pose};
use bregma_core::grid::Grid;
use bregma_core::runner::StepRecord;
use bregma_core::stage::{Saw, SawAll};
use bregma_core::time::{Duration, Instant, Stamped};
use bregma_core::units::Millimetres;
use proptest::prelude::*;

fn there_and_back(message: &Message) -> Message {
    let data = Encoder::default().encode(7, message, Vec::new()).expect("has a wire form");
    let (number, body) = number_of(&data).expect("begins with its number");
    assert_eq!((number, body), (7, &*bytes_of(message).expect("has a wire form")));
    let back = decode(message.topic(), 7, body, &mut SceneReader::default()).expect("comes back");
    assert_eq!(bytes_of(&back).expect("has a wire form"), body, "{back:?}");
    back
}

fn instant() -> impl Strategy<Value = Instant> {
    any::<u64>().prop_map(Instant::from_nanos)
}
fn millimetres() -> impl Strategy<Value = Millimetres> {
    (-1e6..1e6_f64).prop_map(|mm| Millimetres::new(mm).expect("finite"))
}
fn pose<To: Frame, From: Frame>() -> impl Strategy<Value = Pose<To, From>> {
    (any::<(u64, u64)>(), prop::array::uniform3(-900.0..900.0_f64), prop::array::uniform4(-1.0..1.0_f64))
        .prop_filter("a rotation", |(_, _, q)| q.iter().map(|v| v * v).sum::<f64>() > 0.01)
        .prop_map(|((to, from), mm, q)| Pose::from_parts(FrameId(to), FrameId(from), mm, q).expect("finite"))
}
fn joints() -> impl Strategy<Value = Joints> {
    prop::collection::vec(-4.0..4.0_f64, 0..=7).prop_map(|q| Joints::from_slice(&q).expect("seven at most"))
}
fn energy() -> impl Strategy<Value = Energy> {
    (0..8_u8).prop_map(|bits| Energy::from_bits(bits).expect("known bits"))
}
fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest)
}
fn reason() -> impl Strategy<Value = Reason> {
    (0..Reason::ALL.len()).prop_map(|at| Reason::ALL[at])
}
fn check() -> impl Strategy<Value = CheckResult> {
    let at = prop::option::of(prop::array::uniform3(-500.0..500.0_f64));
    (0..14_usize, -1e9..1e9_f64, any::<bool>(), any::<u64>(), at).prop_map(|(check, value, passed, when, at)| {
        let at = at.map(|[x, y, z]| Point::new(x, y, z).expect("finite"));
        let when = Duration::from_nanos(when);
        CheckResult { check: Check::ALL[check], value, limit: f64::INFINITY, passed, when, at }
    })
}
fn path() -> impl Strategy<Value = JointPath> {
    prop::collection::vec((joints(), 0..8_u8), 0..9).prop_map(|knots| {
        let (knots, energy) = knots.into_iter().unzip();
        JointPath { period: Duration::from_millis(4), knots, energy }
    })
}
fn proposal() -> impl Strategy<Value = Proposal> {
    let waypoint = (pose(), any::<f64>().prop_filter("comparable", |f| !f.is_nan()), energy());
    let waypoint =
        waypoint.prop_map(|(patient_from_tip, feed_mm_s, energy)| Waypoint { patient_from_tip, feed_mm_s, energy });
    let motion = prop::collection::vec(waypoint, 0..5).prop_map(|waypoints| Motion { waypoints });
    prop_oneof![
        prop::collection::vec(motion, 0..4).prop_map(Proposal::Motions),
        Just(Proposal::Request(Request::Irrigate)),
        Just(Proposal::Request(Request::Look)),
        Just(Proposal::Request(Request::NewMri)),
        Just(Proposal::Request(Request::Finish)),
        "\\PC{0,40}".prop_map(|why| Proposal::Request(Request::AskSurgeon(why))),
    ]
}

fn sensed() -> impl Strategy<Value = Message> {
    let tip = (any::<u64>(), pose(), instant(), millimetres(), 1..5_u8, instant());
    let tip = tip.prop_map(|(trace, value, captured, error, status, received)| {
        let valid_for = Duration::from_millis(40);
        Message::Tip(TipPose {
            trace: TraceId(trace),
            reference_from_tip: Stamped { value, captured, valid_for, error, drift_mm_s: 0.3 },
            status: [
                TrackingStatus::Valid,
                TrackingStatus::LineOfSightLost,
                TrackingStatus::OutOfVolume,
                TrackingStatus::Unknown,
            ][usize::from(status) - 1],
            received,
        })
    });
    let up = prop::option::of([-1.0..1.0_f64, -1.0..1.0_f64, -1.0..1.0_f64]);
    let registration = (pose(), millimetres(), millimetres(), up, instant(), instant());
    let registration =
        registration.prop_map(|(patient_from_reference, fre, predicted_tre, up, registered, expires)| {
            Message::Registration(Registration { patient_from_reference, fre, predicted_tre, up, registered, expires })
        });
    let arm = (joints(), joints(), any::<bool>(), instant())
        .prop_map(|(joints, speeds, ready, captured)| Message::Arm(ArmState { joints, speeds, ready, captured }));
    let note = (0..4_usize, any::<[u16; 3]>(), any::<u64>(), instant(), digest()).prop_map(
        |(m, dims, frame, acquired, digest)| {
            let modality = [Modality::T1, Modality::T1c, Modality::T2, Modality::Flair][m];
            Message::Volume(VolumeNote {
                modality,
                dims: dims.map(usize::from),
                frame: FrameId(frame),
                acquired,
                digest,
            })
        },
    );
    let ranges = (any::<u32>(), prop::collection::vec(any::<u16>(), 576), millimetres(), millimetres(), instant());
    let ranges = ranges.prop_map(|(camera, of, noise, bias, captured)| {
        let ranges = of.try_into().expect("576");
        let (noise_mm, bias_mm) = (noise.get(), bias.get());
        Message::Ranges(Arc::new(RangeImage { camera, ranges, noise_mm, bias_mm, captured, received: captured }))
    });
    let frame = (any::<(u64, u32, bool)>(), instant(), any::<Vec<u8>>()).prop_map(
        |((trace, camera, keyframe), captured, data)| {
            Message::Encoded(Arc::new(EncodedFrame { trace: TraceId(trace), camera, captured, keyframe, data }))
        },
    );
    let orders = [Order::Arm, Order::Disarm, Order::Resume, Order::Retract, Order::ClearFault];
    prop_oneof![
        tip,
        registration,
        arm,
        note,
        frame,
        ranges,
        (energy(), instant()).prop_map(|(energy, captured)| Message::Instrument(InstrumentState { energy, captured })),
        (any::<[bool; 2]>(), instant())
            .prop_map(|(channels, captured)| Message::Consent(Consent { channels, captured })),
        (any::<u64>(), instant()).prop_map(|(count, captured)| Message::Heartbeat(Heartbeat { count, captured })),
        (0..5_usize).prop_map(move |at| Message::Order(orders[at])),
    ]
}

fn decided() -> impl Strategy<Value = Message> {
    let states = [GateState::Disarmed, GateState::Armed, GateState::Active, GateState::Hold, GateState::Fault];
    let reactions = [Reaction::Hold, Reaction::Retract, Reaction::Stop];
    let plan = (any::<[u64; 3]>(), 0..PLANNERS.len(), digest(), proposal(), instant());
    let plan = plan.prop_map(|([sequence, trace, scene], planner, model, proposal, decided)| {
        let (sequence, scene) = (Sequence(sequence), Sequence(scene));
        let planner = PLANNERS[planner];
        Message::Plan(Arc::new(Plan { sequence, trace: TraceId(trace), scene, planner, model, proposal, decided }))
    });
    let verdict = (any::<[u64; 3]>(), 0..8_usize, prop::collection::vec(check(), 0..14), any::<bool>(), instant());
    let verdict = verdict.prop_map(|([plan, trace, scene], candidate, checks, approved, decided)| {
        let (plan, scene) = (Sequence(plan), Sequence(scene));
        Message::Verdict(Arc::new(Verdict { plan, trace: TraceId(trace), candidate, scene, checks, approved, decided }))
    });
    let approved =
        (any::<[u64; 4]>(), prop::array::uniform4(digest()), any::<bool>(), path(), path(), instant(), check());
    let approved = approved.prop_map(
        |([sequence, trace, plan, scene], [scene_digest, limits, model, hash], ur, path, retract, at, check)| {
            Message::Approved(Arc::new(ApprovedRecord {
                sequence: Sequence(sequence),
                trace: TraceId(trace),
                plan: Sequence(plan),
                scene: Sequence(scene),
                scene_digest,
                limits,
                model,
                arm: if ur { ArmModelId::Ur5e } else { ArmModelId::LbrMed7 },
                path,
                retract,
                expires: at,
                decided: at,
                worst: vec![check; 3],
                hash,
            }))
        },
    );
    let options = (prop::option::of(any::<u64>()), prop::option::of(instant()), prop::option::of(reason()));
    let sent = (0..5_usize, joints(), energy(), options, any::<bool>(), any::<u64>(), instant());
    let sent =
        sent.prop_map(move |(state, joints, energy, (approval, consent, reason), retracting, finished, sent)| {
            let (approval, finished) = (approval.map(Sequence), Sequence(finished));
            Message::Sent(Sent {
                state: states[state],
                joints,
                energy,
                approval,
                retracting,
                finished,
                consent,
                reason,
                sent,
            })
        });
    let step = (
        0..STAGES.len(),
        any::<u64>(),
        instant(),
        prop::collection::vec((any::<u8>(), any::<u32>(), any::<u32>()), 0..=12),
        any::<(u32, bool, bool)>(),
    );
    let step = step.prop_map(|(stage, index, now, seen, (latched, overrun, panicked))| {
        let mut saw = SawAll::default();
        saw.latched = Latched(latched);
        for (topic, first, more) in seen {
            saw.push(Saw { topic, first: u64::from(first), last: u64::from(first) + u64::from(more) });
        }
        Message::Step(Step::of(&StepRecord { stage: STAGES[stage], index, now, saw, overrun, panicked }))
    });
    prop_oneof![
        plan,
        verdict,
        approved,
        sent,
        step,
        (any::<u64>(), check(), instant()).prop_map(|(sequence, failed, decided)| {
            Message::Withdrawn(Withdrawn { sequence: Sequence(sequence), failed, decided })
        }),
        (0..3_usize, reason(), instant()).prop_map(move |(at, reason, decided)| {
            Message::Reacted(Reacted { reaction: reactions[at], reason, decided })
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn what_was_sensed_comes_back(message in sensed()) {
        prop_assert_eq!(there_and_back(&message), message);
    }

    #[test]
    fn what_was_decided_comes_back(message in decided()) {
        prop_assert_eq!(there_and_back(&message), message);
    }

    #[test]
    fn no_bytes_are_more_than_refused(topic in 0..22_u8, bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        // Whatever decodes has a wire form again; nothing panics.
        let topic = Topic::from_number(topic).expect("22 topics");
        if let Ok(message) = decode(topic, 1, &bytes, &mut SceneReader::default()) {
            prop_assert!(bytes_of(&message).is_ok());
        }
    }

    #[test]
    fn a_message_cut_short_or_too_long_is_refused(message in decided(), cut in any::<prop::sample::Index>()) {
        let mut bytes = bytes_of(&message).expect("has a wire form");
        let short = &bytes[..cut.index(bytes.len())];
        prop_assert!(decode(message.topic(), 1, short, &mut SceneReader::default()).is_err());
        bytes.push(0);
        let why = decode(message.topic(), 1, &bytes, &mut SceneReader::default()).expect_err("too long");
        prop_assert_eq!(why.refused.why, Why::Trailing(1));
    }
}

fn anatomy() -> Anatomy {
    let grid = Grid { dims: [4, 3, 2], spacing_mm: 2.0, origin: [-1.0, 2.0, 3.5] };
    let vessel = Capsule { start: [1.0, 2.0, 3.0].into(), end: [4.0, 5.0, 6.0].into(), radius_mm: 0.5 };
    Anatomy {
        frame: FrameId(8),
        vessels: vec![vessel.clone(), vessel],
        grid,
        labels: [vec![0; 9], vec![3; 14], vec![1]].concat(),
        regions: vec![Region { label: 3, name: "motor strip".to_owned(), kind: RegionKind::Eloquent }],
        craniotomy: Craniotomy { centre: [9.0; 3].into(), outward: [0.0, 0.0, 1.0].into(), radius_mm: 20.0 },
        corridor: Corridor {
            entry: [1.0; 3].into(),
            target: [2.0; 3].into(),
            entry_radius_mm: 9.0,
            end_radius_mm: 4.0,
            open_mm: 30.0,
        },
        digest: Digest([7; 32]),
    }
}

#[test]
fn anatomy_comes_back_and_its_labels_fill_their_grid() {
    let message = Message::Anatomy(Arc::new(anatomy()));
    assert_eq!(there_and_back(&message), message);
    let mut wrong = anatomy();
    wrong.labels.pop();
    let bytes = bytes_of(&Message::Anatomy(Arc::new(wrong))).expect("has a wire form");
    let why = decode(Topic::Anatomy, 1, &bytes, &mut SceneReader::default()).expect_err("a voxel is missing");
    assert_eq!(why.to_string(), "anatomy 1: `grid`: it has 24 values; 23 are needed");
}

#[test]
fn scenes_come_back_from_key_scenes_and_differences_and_not_without_them() {
    let mut scenes = vec![Scene::empty()];
    for step in 1..4_usize {
        let mut scene = scenes[step - 1].clone();
        scene.id = Sequence(step as u64);
        for at in (step..scene.margin.len()).step_by(step * 5) {
            scene.margin[at] = scene.margin[at].wrapping_add(300 * step as i16 - 1);
            scene.state[at] ^= 5;
            scene.seen_age_s[at] = scene.seen_age_s[at].wrapping_add(1);
            scene.coarse_residual[at] = step as u8;
        }
        scene.errors = ErrorBudget { shift: Millimetres::constant(step as f64), ..ErrorBudget::default() };
        scenes.push(scene);
    }
    let mut encoder = Encoder::default();
    let messages: Vec<_> = scenes.iter().map(|s| Message::Scene(Arc::new(s.clone()))).collect();
    let mut bodies = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        if at == 2 {
            encoder.key_scene();
        }
        bodies.push(encoder.encode(at as u64 + 1, message, Vec::new()).expect("has a wire form").split_off(1));
    }
    let mut reader = SceneReader::default();
    for (at, body) in bodies.iter().enumerate() {
        assert_eq!(decode(Topic::Scenes, at as u64 + 1, body, &mut reader).as_ref(), Ok(&messages[at]));
    }
    // From the second key scene on nothing before it is needed; the one before it cannot stand alone.
    let mut reader = SceneReader::default();
    assert_eq!(decode(Topic::Scenes, 3, &bodies[2], &mut reader).as_ref(), Ok(&messages[2]));
    let why = decode(Topic::Scenes, 2, &bodies[1], &mut reader).expect_err("its base was not read");
    assert_eq!(why.refused, Refused::new("based_on", Why::WrongBase { needs: 1, held: 3 }));
}

#[test]
fn what_cannot_be_read_back_is_not_written() {
    let plan = |planner| {
        let proposal = Proposal::Request(Request::Finish);
        let (sequence, scene, model) = (Sequence(1), Sequence(1), Digest::default());
        let plan = Plan { sequence, trace: TraceId(1), scene, planner, model, proposal, decided: Instant::START };
        bytes_of(&Message::Plan(Arc::new(plan)))
    };
    assert!(plan("greedy").is_ok());
    assert_eq!(plan("dice").expect_err("unknown").field, "planner");
    let mut scene = Scene::empty();
    scene.interval.pop();
    let why = bytes_of(&Message::Scene(Arc::new(scene))).expect_err("too short");
    assert_eq!(why.to_string(), "`interval`: it has 262143 values; 262144 are needed");
}

#[test]
fn a_pose_that_is_none_is_refused_by_name() {
    let registration = Registration {
        patient_from_reference: Pose::identity(),
        fre: Millimetres::ZERO,
        predicted_tre: Millimetres::ZERO,
        up: None,
        registered: Instant::START,
        expires: Instant::START,
    };
    let bytes = bytes_of(&Message::Registration(registration)).expect("has a wire form");
    // to and from are one byte each; then three lengths and four parts of a quaternion.
    let refused = |at: usize, value: f64| {
        let mut bytes = bytes.clone();
        bytes[2 + 8 * at..][..8].copy_from_slice(&value.to_le_bytes());
        decode(Topic::Registration, 1, &bytes, &mut SceneReader::default()).expect_err("refused").refused
    };
    assert_eq!(refused(6, 0.5), Refused::new("patient_from_reference", Why::NotARotation(0.5)));
    assert_eq!(refused(1, f64::INFINITY).why, Why::NotFinite(f64::INFINITY));
    assert_eq!(refused(7, f64::INFINITY).field, "fre_mm");
}

#[test]
fn every_recorded_topic_is_described() {
    for topic in Topic::ALL.iter().filter(|t| t.recorded()) {
        let text = describe(*topic);
        assert!(text.len() > 40 && !text.contains("not recorded"), "{topic}");
    }
}
