//! Tracking over loopback, with a client of our own.

use super::*;
use bregma_core::time::SimClock;
use bregma_openigtlink::{Entry, Outgoing, Timestamp, Version, encode, encoded_len};
use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, sync_channel};

#[derive(Debug, PartialEq)]
enum Heard {
    Tip(TipPose),
    Reference(ReferencePose),
    Event(TrackingEvent),
}

fn heard_of(tracked: Tracked) -> Heard {
    match tracked {
        Tracked::Tip(tip) => Heard::Tip(tip),
        Tracked::Reference(pose) => Heard::Reference(pose),
    }
}

const TIP: DeviceName = DeviceName::constant("StylusTipToReference");
const IDENTITY: [[f32; 3]; 4] = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 2.0, -3.0]];
/// Longest wait for something that must come; only a failing test waits that long.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

fn config() -> TrackingConfig {
    let error = Millimetres::constant(0.3);
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    let usual = TrackingConfig::on_loopback(TIP.as_str(), error, Duration::from_millis(100), 2.0);
    TrackingConfig { address, ..usual }
}

fn start(clock: &SimClock) -> (TrackingSource, Receiver<Heard>) {
    let (tips, heard) = sync_channel(256);
    let events = tips.clone();
    let on_tracked = move |tracked| tips.send(heard_of(tracked)).expect("the test listens");
    let on_event = move |event| drop(events.send(Heard::Event(event)));
    (listen(config(), clock.clone(), on_tracked, on_event).expect("a free port"), heard)
}

fn dial(source: &TrackingSource) -> TcpStream {
    TcpStream::connect(source.address()).expect("it listens")
}

/// What comes next but for the news that poses come without a status, which most of these do.
fn next(heard: &Receiver<Heard>) -> Heard {
    loop {
        match heard.recv_timeout(PATIENCE).expect("something is heard") {
            Heard::Event(TrackingEvent::WithoutStatus { .. }) => {}
            other => return other,
        }
    }
}

fn next_tip(heard: &Receiver<Heard>) -> TipPose {
    match next(heard) {
        Heard::Tip(tip) => tip,
        other => panic!("not a tip: {other:?}"),
    }
}

fn next_event(heard: &Receiver<Heard>) -> TrackingEvent {
    match next(heard) {
        Heard::Event(event) => event,
        other => panic!("not an event: {other:?}"),
    }
}

fn wire(device: DeviceName, content: Content<'_>, metadata: &[(&str, &str)]) -> Vec<u8> {
    wire_at(Timestamp::NONE, device, content, metadata)
}

fn wire_at(timestamp: Timestamp, device: DeviceName, content: Content<'_>, metadata: &[(&str, &str)]) -> Vec<u8> {
    let metadata: Vec<Entry<'_>> = metadata
        .iter()
        .map(|(key, value)| Entry { key: key.as_bytes(), encoding: 3, value: value.as_bytes() })
        .collect();
    let version = if metadata.is_empty() { Version::V1 } else { Version::V2 };
    let message = Outgoing { version, device, timestamp, message_id: 0, metadata: &metadata, content };
    let mut bytes = vec![0; encoded_len(&message).expect("can be sent")];
    encode(&message, &mut bytes).expect("can be sent");
    bytes
}

fn tip(columns: [[f32; 3]; 4], metadata: &[(&str, &str)]) -> Vec<u8> {
    wire(TIP, Content::Transform(Transform { columns }), metadata)
}

#[test]
fn a_pose_arrives_with_its_time_its_error_and_its_axes() {
    let clock = SimClock::new();
    clock.advance(Duration::from_millis(40));
    let (source, heard) = start(&clock);
    let mut client = dial(&source);
    assert!(matches!(next_event(&heard), TrackingEvent::Connected { .. }));
    // A quarter turn about z: the tip's x axis points along y, its y axis along −x.
    client
        .write_all(&tip([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [10.0, -20.0, 30.5]], &[]))
        .expect("sent");
    let tip = next_tip(&heard);
    let pose = tip.reference_from_tip.value;
    assert_eq!(pose.translation_mm(), [10.0, -20.0, 30.5]);
    let x = pose.isometry().rotation * Vector3::x();
    assert!((x - Vector3::y()).norm() < 1e-12, "{x}");
    assert_eq!((tip.status, tip.trace), (TrackingStatus::Valid, TraceId(0)));
    assert_eq!((tip.received, tip.reference_from_tip.captured), (clock.now(), clock.now()));
    assert_eq!(tip.reference_from_tip.valid_for, Duration::from_millis(100));
    assert_eq!(tip.reference_from_tip.error, Millimetres::constant(0.3));
    assert_eq!(source.counts().tips, 1);
}

#[test]
fn malformed_messages_are_counted_and_good_ones_follow() {
    let (source, heard) = start(&SimClock::new());
    let mut client = dial(&source);
    assert!(matches!(next_event(&heard), TrackingEvent::Connected { .. }));
    let mut stream = Vec::new();
    let mut flipped = tip(IDENTITY, &[]);
    flipped[80] ^= 1;
    stream.extend(flipped);
    let with = |column: usize, value| {
        let mut columns = IDENTITY;
        columns[column] = value;
        tip(columns, &[])
    };
    stream.extend(with(0, [1.01, 0.0, 0.0]));
    stream.extend(with(0, [-1.0, 0.0, 0.0]));
    stream.extend(with(3, [0.0, f32::NAN, 0.0]));
    stream.extend(with(3, [0.0, 20_000.0, 0.0]));
    stream.extend(tip(IDENTITY, &[]));
    for piece in stream.chunks(37) {
        client.write_all(piece).expect("sent");
    }
    let mut refusals = Vec::new();
    for _ in 0..5 {
        match next_event(&heard) {
            TrackingEvent::Refused { why, .. } => refusals.push(why),
            other => panic!("not refused: {other:?}"),
        }
    }
    assert!(matches!(refusals[0], Refusal::Malformed(DecodeError::Crc { .. })));
    assert!(matches!(refusals[1], Refusal::NotRigid { measured } if (measured - 0.0201).abs() < 1e-5));
    assert!(matches!(refusals[2], Refusal::Mirrored { determinant } if determinant < -0.99));
    assert!(matches!(refusals[3], Refusal::NotFinite { column: 3, row: 1, .. }));
    assert!(matches!(refusals[4], Refusal::TooFar { .. }));
    assert_eq!(next_tip(&heard).reference_from_tip.value.translation_mm(), [1.0, 2.0, -3.0]);
    assert_eq!((source.counts().refused, source.counts().tips), (5, 1));
}

#[test]
fn a_lost_boundary_closes_the_connection_and_the_next_client_is_served() {
    let (source, heard) = start(&SimClock::new());
    let mut client = dial(&source);
    assert!(matches!(next_event(&heard), TrackingEvent::Connected { .. }));
    client.write_all(&[b'G'; 58]).expect("sent");
    assert!(matches!(next_event(&heard), TrackingEvent::Refused { why: Refusal::Malformed(_), .. }));
    assert!(matches!(next_event(&heard), TrackingEvent::Disconnected { why: Gone::BoundaryLost, .. }));

    let mut client = dial(&source);
    assert!(matches!(next_event(&heard), TrackingEvent::Connected { .. }));
    client.write_all(&tip(IDENTITY, &[])).expect("sent");
    next_tip(&heard);
    client.write_all(&tip(IDENTITY, &[])[..60]).expect("sent");
    drop(client);
    let why = Gone::InsideMessage { pending: 60 };
    assert!(matches!(next_event(&heard), TrackingEvent::Disconnected { why: gone, .. } if gone == why));

    let client = dial(&source);
    assert!(matches!(next_event(&heard), TrackingEvent::Connected { .. }));
    drop(client);
    assert!(matches!(next_event(&heard), TrackingEvent::Disconnected { why: Gone::HungUp, .. }));
    assert_eq!(source.counts().clients, 3);
}

#[test]
fn what_the_tracker_says_of_a_pose_is_heard() {
    let (source, heard) = start(&SimClock::new());
    let mut client = dial(&source);
    assert!(matches!(next_event(&heard), TrackingEvent::Connected { .. }));
    let said: [(&[(&str, &str)], TrackingStatus); 8] = [
        (&[("TransformStatus", "OK"), ("TransformValid", "true")], TrackingStatus::Valid),
        (&[("TransformStatus", "ok")], TrackingStatus::Valid),
        (&[("TransformStatus", "OUT_OF_VIEW")], TrackingStatus::LineOfSightLost),
        (&[("TransformStatus", "MISSING")], TrackingStatus::LineOfSightLost),
        (&[("TransformStatus", "OUT_OF_VOLUME")], TrackingStatus::OutOfVolume),
        (&[("TransformStatus", "OK"), ("TransformValid", "false")], TrackingStatus::Unknown),
        (&[("TransformStatus", "SPLENDID")], TrackingStatus::Unknown),
        (&[("TransformValid", "0")], TrackingStatus::Unknown),
    ];
    for (metadata, expected) in said {
        client.write_all(&tip(IDENTITY, metadata)).expect("sent");
        assert_eq!(next_tip(&heard).status, expected, "{metadata:?}");
    }
    client.write_all(&tip([[0.0; 3]; 4], &[("TransformStatus", "OUT_OF_VIEW")])).expect("sent");
    assert_eq!(next_tip(&heard).status, TrackingStatus::LineOfSightLost);
    assert_eq!(source.counts().refused, 0);
}

#[test]
fn who_says_nothing_of_the_status_is_believed_only_where_that_was_configured() {
    let clock = SimClock::new();
    let (tips, heard) = sync_channel(256);
    let events = tips.clone();
    let config = TrackingConfig { without_status: TrackingStatus::Unknown, ..config() };
    let on_event = move |event| drop(events.send(Heard::Event(event)));
    let source =
        listen(config, clock, move |tracked| drop(tips.send(heard_of(tracked))), on_event).expect("a free port");
    let mut client = dial(&source);
    assert!(matches!(next_event(&heard), TrackingEvent::Connected { .. }));
    let said: [(&[(&str, &str)], TrackingStatus); 3] = [
        (&[], TrackingStatus::Unknown),
        (&[("TransformValid", "true")], TrackingStatus::Valid),
        (&[("TransformStatus", "OK")], TrackingStatus::Valid),
    ];
    for (metadata, expected) in said {
        client.write_all(&tip(IDENTITY, metadata)).expect("sent");
        assert_eq!(next_tip(&heard).status, expected, "{metadata:?}");
    }
}

#[test]
fn poses_without_a_status_are_told_once_a_connection() {
    let (source, heard) = start(&SimClock::new());
    let told = || match heard.recv_timeout(PATIENCE).expect("something is heard") {
        Heard::Event(TrackingEvent::WithoutStatus { device, taken_for }) => Some((device, taken_for)),
        _ => None,
    };
    for _ in 0..2 {
        let mut client = dial(&source);
        assert!(matches!(next_event(&heard), TrackingEvent::Connected { .. }));
        client.write_all(&tip(IDENTITY, &[])).expect("sent");
        client.write_all(&tip(IDENTITY, &[])).expect("sent");
        assert_eq!(told(), Some((TIP, TrackingStatus::Valid)));
        assert_eq!((told(), told()), (None, None), "two poses, and no more words");
        drop(client);
        assert!(matches!(next_event(&heard), TrackingEvent::Disconnected { .. }));
    }
}

#[test]
fn the_senders_own_time_counts_less_its_lag_and_a_clock_that_was_set_is_told() {
    let clock = SimClock::new();
    let lag = Duration::from_millis(30);
    let (tips, heard) = sync_channel(256);
    let events = tips.clone();
    let config = TrackingConfig { reference: Some("ReferenceToTracker".to_owned()), lag, ..config() };
    let on_event = move |event| drop(events.send(Heard::Event(event)));
    let source = listen(config, clock.clone(), move |tracked| drop(tips.send(heard_of(tracked))), on_event)
        .expect("a free port");
    let mut client = dial(&source);
    assert!(matches!(next_event(&heard), TrackingEvent::Connected { .. }));
    let stamp = |ms: u64| Timestamp::new(1_000 + (ms / 1000) as u32, (ms % 1000) as u32 * 1_000_000).expect("a time");
    let mut arrives = |ms: u64, made_ms: u64, device| {
        let now = clock.now().nanos() / 1_000_000;
        clock.advance(Duration::from_millis(ms - now));
        let content = Content::Transform(Transform { columns: IDENTITY });
        client.write_all(&wire_at(stamp(made_ms), device, content, &[("TransformStatus", "OK")])).expect("sent");
        next(&heard)
    };
    // Made 2 ms before each arrives, and one that was held up for 15 ms.
    let mut seen = Vec::new();
    for (at, made) in [(100, 98), (120, 118), (155, 138), (160, 158)] {
        let Heard::Tip(tip) = arrives(at, made, TIP) else { panic!("a tip") };
        assert_eq!(tip.received, Instant::START + Duration::from_millis(at));
        seen.push(tip.reference_from_tip.captured.nanos() as f64 * 1e-6);
    }
    for (found, right) in seen.iter().zip([70.0, 90.0, 110.0, 130.0]) {
        assert!((found - right).abs() < 1e-3, "{seen:?}");
    }
    // The reference array, by its own device.
    let Heard::Reference(array) = arrives(180, 178, DeviceName::constant("ReferenceToTracker")) else {
        panic!("the array")
    };
    assert_eq!((array.status, array.captured.nanos() / 1_000_000), (TrackingStatus::Valid, 150));
    // An hour ahead: nothing that came can have been made later than it came.
    let Heard::Event(TrackingEvent::ClockStepped { by_s, .. }) = arrives(200, 3_600_198, TIP) else { panic!("told") };
    assert!((by_s - 3600.0).abs() < 0.05, "{by_s} s");
    let Heard::Tip(tip) = next(&heard) else { panic!("a tip") };
    assert_eq!(tip.reference_from_tip.captured, Instant::START + Duration::from_millis(170));
}

#[test]
fn other_devices_are_told_once_and_status_is_told() {
    let (source, heard) = start(&SimClock::new());
    let mut client = dial(&source);
    assert!(matches!(next_event(&heard), TrackingEvent::Connected { .. }));
    let other = DeviceName::constant("ProbeToTracker");
    let transform = wire(other, Content::Transform(Transform { columns: IDENTITY }), &[]);
    client.write_all(&transform).expect("sent");
    client.write_all(&transform).expect("sent");
    let status = Status { code: 16, sub_code: 7, name: b"NOT_READY", message: b"warming up" };
    client.write_all(&wire(other, Content::Status(status), &[])).expect("sent");
    let TrackingEvent::Ignored { type_name, device } = next_event(&heard) else { panic!("not told") };
    assert_eq!((type_name.as_str(), device), ("TRANSFORM", other));
    let message = String::from("warming up");
    assert_eq!(next_event(&heard), TrackingEvent::Status { device: other, code: 16, sub_code: 7, message });
    assert_eq!(source.counts().ignored, 2);
}

#[test]
fn a_silent_client_makes_room_and_a_second_one_is_turned_away() {
    let clock = SimClock::new();
    let (source, heard) = start(&clock);
    let _first = dial(&source);
    assert!(matches!(next_event(&heard), TrackingEvent::Connected { .. }));
    let mut second = dial(&source);
    assert!(matches!(next_event(&heard), TrackingEvent::TurnedAway { .. }));
    assert_eq!(second.read(&mut [0; 1]).expect("closed in order"), 0);
    clock.advance(Duration::from_secs(6));
    assert!(matches!(next_event(&heard), TrackingEvent::Disconnected { why: Gone::Idle, .. }));
    let _third = dial(&source);
    assert!(matches!(next_event(&heard), TrackingEvent::Connected { .. }));
}

#[test]
fn a_port_in_use_is_named_with_who_may_hold_it() {
    let (source, _heard) = start(&SimClock::new());
    let taken = TrackingConfig { address: source.address(), ..config() };
    let why = listen(taken, SimClock::new(), |_| (), |_| ()).expect_err("is taken").to_string();
    assert!(why.contains(&format!("port {} is in use", source.address().port())), "{why}");
    assert!(why.contains("3D Slicer"), "{why}");
}

#[test]
fn what_is_out_of_range_is_refused_before_anything_listens() {
    let refused = |config| listen(config, SimClock::new(), |_| (), |_| ()).expect_err("out of range").to_string();
    assert!(refused(TrackingConfig { device: "a name of 21 letters.".into(), ..config() }).contains("1 to 20 bytes"));
    assert!(refused(TrackingConfig { drift_mm_s: f64::NAN, ..config() }).contains("drift_mm_s"));
    assert!(refused(TrackingConfig { valid_for: Duration::ZERO, ..config() }).contains("valid_for"));
    assert!(refused(TrackingConfig { max_body: 0, ..config() }).contains("max_body"));
    assert!(refused(TrackingConfig { lag: Duration::from_secs(2), ..config() }).contains("lag"));
    let twice = TrackingConfig { reference: Some(config().device), ..config() };
    assert!(refused(twice).contains("both the tip and the reference array"));
}

#[test]
fn a_drop_ends_the_thread_the_connection_and_the_port() {
    let (source, heard) = start(&SimClock::new());
    let mut client = dial(&source);
    assert!(matches!(next_event(&heard), TrackingEvent::Connected { .. }));
    assert!(source.running());
    let address = source.address();
    drop(source);
    assert!(matches!(next_event(&heard), TrackingEvent::Disconnected { why: Gone::Ended, .. }));
    // Both callbacks are gone with the thread.
    assert!(heard.recv().is_err());
    assert_eq!(client.read(&mut [0; 1]).expect("closed in order"), 0);
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn a_tracker_that_listens_is_connected_to_and_heard_until_it_hangs_up() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let config = TrackingConfig { address: listener.local_addr().expect("an address"), ..config() };
    let (tips, heard) = sync_channel(256);
    let events = tips.clone();
    let on_tracked = move |tracked| drop(tips.send(heard_of(tracked)));
    let on_event = move |event| drop(events.send(Heard::Event(event)));
    let source = super::connect(config.clone(), SimClock::new(), on_tracked, on_event).expect("it listens");
    let (mut tracker, _) = listener.accept().expect("it came");
    assert!(matches!(next_event(&heard), TrackingEvent::Connected { .. }));
    tracker.write_all(&tip(IDENTITY, &[("TransformStatus", "OK")])).expect("sent");
    tracker.write_all(&tip(IDENTITY, &[("TransformStatus", "MISSING")])).expect("sent");
    assert_eq!(next_tip(&heard).status, TrackingStatus::Valid);
    assert_eq!(next_tip(&heard).status, TrackingStatus::LineOfSightLost);
    drop((tracker, listener));
    assert!(matches!(next_event(&heard), TrackingEvent::Disconnected { why: Gone::HungUp, .. }));
    drop(source);
    let refused = super::connect(config, SimClock::new(), |_| {}, |_| {}).expect_err("nobody listens any more");
    assert!(refused.to_string().contains("must be running there"), "{refused}");
}
