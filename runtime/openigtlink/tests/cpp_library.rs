//! Messages that the C++ library 1.11 wrote, in `vectors/`: their values, and the same bytes again.
//!
//! How they were made is in `vectors/README.md`, what is in them in `vectors/generate.cxx`.

use bregma_openigtlink::{
    Ask, ColorIndex, Colors, Content, Coordinates, DecodeOptions, Endian, Meaning, Message, Orientation, Outgoing,
    Part, Peer, ScalarType, Timestamp, ToolKind, TrajectoryKind, Transform, Unit, Values, Version, decode, decode_with,
    encode, encoded_len,
};

const MAX: usize = 1 << 16;

/// A message by its name.
macro_rules! vector {
    ($name:literal) => {
        (include_bytes!(concat!("vectors/", $name, ".bin")).as_slice(), $name)
    };
}

const ALL: [(&[u8], &str); 34] = [
    vector!("bind"),
    vector!("capability"),
    vector!("colort"),
    vector!("get_bind"),
    vector!("get_capabil"),
    vector!("get_image"),
    vector!("get_polydata"),
    vector!("get_status"),
    vector!("get_trans"),
    vector!("image"),
    vector!("image_rgb"),
    vector!("imgmeta"),
    vector!("lbmeta"),
    vector!("ndarray"),
    vector!("point"),
    vector!("polydata"),
    vector!("position_12"),
    vector!("position_24"),
    vector!("position_28"),
    vector!("qtdata"),
    vector!("rts_bind"),
    vector!("rts_tdata"),
    vector!("sensor"),
    vector!("status"),
    vector!("stp_bind"),
    vector!("stp_tdata"),
    vector!("string"),
    vector!("stt_bind"),
    vector!("stt_bind_all"),
    vector!("stt_qtdata"),
    vector!("stt_tdata"),
    vector!("tdata"),
    vector!("traj"),
    vector!("transform"),
];

/// A quarter turn about z, then (x, −20.25, 30.125) mm.
fn quarter_turn(x: f32) -> [[f32; 3]; 4] {
    [[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [x, -20.25, 30.125]]
}

/// A vector, decoded; its time and its sender are looked at here.
fn message((bytes, name): (&'static [u8], &'static str), device: &str) -> Content<'static> {
    let message: Message<'static> = decode(bytes, MAX).unwrap_or_else(|why| panic!("{name}: {why}"));
    assert_eq!(message.header.device.as_str(), device, "{name}");
    assert_eq!((message.header.version, message.extended), (Version::V1, None), "{name}");
    assert_eq!(message.header.timestamp, Timestamp::new(1_000_000_012, 250_000_000).expect("a time"), "{name}");
    message.content
}

#[test]
fn every_message_comes_out_as_it_went_in() {
    for (bytes, name) in ALL {
        let message = decode(bytes, MAX).unwrap_or_else(|why| panic!("{name}: {why}"));
        assert!(!matches!(message.content, Content::Other { .. }), "{name} is not understood");
        let again = Outgoing::plain(message.header.device, message.header.timestamp, message.content);
        let mut wire = vec![0xEE; encoded_len(&again).expect("can be sent")];
        encode(&again, &mut wire).expect("can be sent");
        assert!(wire == bytes, "{name} comes out otherwise");
    }
}

#[test]
fn poses_have_their_values() {
    let transform = message(vector!("transform"), "StylusTip");
    assert_eq!(transform, Content::Transform(Transform { columns: quarter_turn(10.5) }));
    let at = [1.5, -2.5, 3.5];
    for (vector, orientation) in [
        (vector!("position_12"), Orientation::None),
        (vector!("position_24"), Orientation::Xyz([0.5, -0.5, 0.5])),
        (vector!("position_28"), Orientation::Xyzw([0.5, -0.5, 0.5, 0.5])),
    ] {
        let Content::Position(position) = message(vector, "Probe") else { panic!("no POSITION") };
        assert_eq!((position.at, position.orientation), (at, orientation));
    }
    let Content::Tools(tools) = message(vector!("tdata"), "Tracker") else { panic!("no TDATA") };
    let tools: Vec<_> = tools.iter().map(|tool| (tool.name, tool.kind, tool.matrix)).collect();
    assert_eq!(
        tools,
        [
            (&b"Suction"[..], ToolKind::SIX_D, quarter_turn(100.0)),
            (b"Ultrasound", ToolKind::FIVE_D, quarter_turn(101.0))
        ]
    );
    let Content::TurnedTools(tools) = message(vector!("qtdata"), "Tracker") else { panic!("no QTDATA") };
    let tools: Vec<_> = tools.iter().map(|tool| (tool.name, tool.kind, tool.at, tool.xyzw)).collect();
    let xyzw = [0.1, 0.2, 0.3, 0.9];
    assert_eq!(
        tools,
        [
            (&b"Suction"[..], ToolKind::TRACKER, [7.0, 8.0, -9.0], xyzw),
            (b"Ultrasound", ToolKind::THREE_D, [8.0, 8.0, -9.0], xyzw)
        ]
    );
}

#[test]
fn images_have_their_values_and_lie_where_they_were_put() {
    let Content::Image(image) = message(vector!("image"), "Ultrasound") else { panic!("no IMAGE") };
    assert_eq!((image.components, image.scalar, image.endian), (1, ScalarType::I16, Endian::Little));
    assert_eq!((image.coordinates, image.size), (Coordinates::Lps, [3, 2, 2]));
    assert_eq!(image.part, Part { offset: [0, 0, 1], size: [3, 2, 1] });
    let voxels: Vec<_> = image.voxels.chunks(2).map(|two| i16::from_le_bytes([two[0], two[1]])).collect();
    assert_eq!(voxels, [1000, 1001, 1002, 1003, 1004, 1005]);
    // i goes to y in 0.5 mm, j to z in 1.5, k to x in 2.5; the centre is (11, 22, 33).
    let grid = image.grid();
    assert_eq!(grid.spacing(), [0.5, 1.5, 2.5]);
    assert_eq!(grid.directions(), Some([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]));
    // Half of two, one, one steps before the centre: y − 0.5, z − 0.75, x − 1.25.
    assert_eq!(grid.first, [9.75, 21.5, 32.25]);
    assert_eq!(grid.at([2.0, 1.0, 1.0]), [12.25, 22.5, 33.75]);

    let Content::Image(image) = message(vector!("image_rgb"), "Microscope") else { panic!("no IMAGE") };
    assert_eq!((image.components, image.scalar, image.endian), (3, ScalarType::U8, Endian::Big));
    assert_eq!((image.coordinates, image.size, image.part), (Coordinates::Ras, [4, 3, 1], Part::whole([4, 3, 1])));
    assert_eq!((image.voxels.len(), image.voxels[35]), (36, 245));

    let Content::Images(images) = message(vector!("imgmeta"), "Archive") else { panic!("no IMGMETA") };
    let image = images.get(1).expect("two of them");
    assert_eq!((images.len(), image.name, image.device), (2, &b"T1 after contrast"[..], &b"T1c"[..]));
    assert_eq!(
        (image.modality, image.patient_name, image.patient_id),
        (&b"MR"[..], &b"Phantom^Gelatine"[..], &b"P-0042"[..])
    );
    assert_eq!((image.size, image.scalar, image.scanned.seconds()), ([240, 200, 151], 5, 900_000_001));

    let Content::Labels(labels) = message(vector!("lbmeta"), "Archive") else { panic!("no LBMETA") };
    let label = labels.get(1).expect("two of them");
    assert_eq!(
        (labels.len(), label.name, label.device, label.owner),
        (2, &b"oedema"[..], &b"Labels"[..], &b"FLAIR"[..])
    );
    assert_eq!((label.label, label.rgba, label.size), (3, [10, 20, 30, 254], [240, 200, 150]));

    let Content::ColorTable(table) = message(vector!("colort"), "Labels") else { panic!("no COLORT") };
    let Colors::Rgb(colors) = table.colors else { panic!("{table:?}") };
    assert_eq!((table.index, colors.len()), (ColorIndex::U8, 256));
    assert_eq!((colors.get(0), colors.get(255)), (Some([0, 201, 202]), Some([255, 201, 202])));
}

#[test]
fn marks_and_surfaces_have_their_values() {
    let Content::Points(points) = message(vector!("point"), "Landmarks") else { panic!("no POINT") };
    let point = points.get(1).expect("two of them");
    assert_eq!((points.len(), point.name, point.group), (2, &b"left tragus"[..], &b"Fiducial"[..]));
    assert_eq!((point.rgba, point.at, point.radius, point.owner), ([1, 2, 3, 5], [1.25, 2.5, 6.0], 0.75, &b"T1c"[..]));

    let Content::Trajectories(ways) = message(vector!("traj"), "Plan") else { panic!("no TRAJ") };
    let way = ways.get(0).expect("two of them");
    assert_eq!((ways.len(), way.name, way.group), (2, &b"approach"[..], &b"Trajectory"[..]));
    assert_eq!((way.kind, way.rgba, way.radius), (TrajectoryKind::ENTRY_AND_TARGET, [9, 8, 7, 6], 2.0));
    assert_eq!((way.entry, way.target, way.owner), ([1.0, 2.0, 3.0], [4.0, 5.0, 60.0], &b"T1c"[..]));
    assert_eq!(ways.get(1).expect("two of them").kind, TrajectoryKind::TARGET);

    let Content::PolyData(surface) = message(vector!("polydata"), "Cortex") else { panic!("no POLYDATA") };
    assert_eq!((surface.points.len(), surface.points.get(2)), (4, Some([0.0, 20.0, 3.0])));
    let cells = |cells: bregma_openigtlink::Cells<'static>| -> Vec<Vec<u32>> {
        cells.iter().map(|cell| cell.iter().collect()).collect()
    };
    assert_eq!(cells(surface.polygons), [[0, 1, 2], [1, 3, 2]]);
    assert_eq!((cells(surface.lines), cells(surface.vertices)), (vec![vec![1, 2]], vec![vec![3]]));
    assert_eq!(cells(surface.triangle_strips), [[0, 1, 2, 3]]);
    let attributes: Vec<_> = surface.attributes.iter().collect();
    assert_eq!(
        (attributes[0].name, attributes[0].meaning, attributes[0].components),
        (&b"depth_mm"[..], Meaning::Scalars, 1)
    );
    assert_eq!(attributes[0].values.iter().collect::<Vec<_>>(), [0.5, 1.5, 2.5, 3.5]);
    assert_eq!(
        (attributes[1].name, attributes[1].meaning, attributes[1].components),
        (&b"normal"[..], Meaning::Normals, 3)
    );
    assert_eq!((attributes.len(), attributes[1].values.get(11), attributes[1].of_cells), (2, Some(11.5), false));
}

#[test]
fn numbers_and_texts_have_their_values() {
    let Content::Sensor(sensor) = message(vector!("sensor"), "ForceGauge") else { panic!("no SENSOR") };
    // Milli, newton (11) and metre (1) to the power of −2.
    assert_eq!(sensor.unit, Unit::new(11, &[(11, 1), (1, -2)]).expect("fits"));
    assert_eq!(sensor.values.iter().collect::<Vec<_>>(), [-1.0, -0.875, -0.75]);
    let Content::NdArray(array) = message(vector!("ndarray"), "Dose") else { panic!("no NDARRAY") };
    let Values::F32(values) = array.values else { panic!("{array:?}") };
    assert_eq!(array.size.iter().collect::<Vec<_>>(), [2, 3]);
    assert_eq!(values.iter().collect::<Vec<_>>(), [0.5, 1.5, 2.5, -3.5, 4.5, 5.5]);

    let Content::Status(status) = message(vector!("status"), "Arm") else { panic!("no STATUS") };
    assert_eq!((status.code, status.sub_code), (13, -7));
    assert_eq!((status.name, status.message), (&b"BRAKES"[..], &b"brakes are engaged"[..]));
    assert_eq!(message(vector!("string"), "Console"), Content::String("irrigation on".into()));
    let Content::Capability(types) = message(vector!("capability"), "Console") else { panic!("no CAPABILITY") };
    assert_eq!(types.iter().map(|name| name.to_string()).collect::<Vec<_>>(), ["TRANSFORM", "GET_IMAGE"]);
}

#[test]
fn bundles_and_requests_have_their_values() {
    let Content::Bind(bind) = message(vector!("bind"), "Both") else { panic!("no BIND") };
    let children: Vec<_> = bind.iter().collect();
    let names: Vec<_> = children.iter().map(|child| (child.type_name.as_str(), child.device.as_str())).collect();
    assert_eq!(names, [("TRANSFORM", "Stylus"), ("STRING", "Note")]);
    assert_eq!(children[0].decode(), Ok(Content::Transform(Transform { columns: quarter_turn(10.5) })));
    assert_eq!(children[1].decode(), Ok(Content::String("odd".into())));

    let request = |vector, device: &str, name: &str| {
        let Content::Request { type_name, ask } = message(vector, device) else { panic!("{name} is no request") };
        assert_eq!(type_name.as_str(), name);
        ask
    };
    let Ask::Children(wanted) = request(vector!("get_bind"), "Both", "GET_BIND") else { panic!("no list") };
    let wanted: Vec<_> = wanted.iter().map(|(kind, device)| (kind.to_string(), device.to_string())).collect();
    assert_eq!(wanted, [("TRANSFORM".into(), "Stylus".into()), ("STRING".into(), "Note".into())]);
    let Ask::Stream { children: Some(wanted), .. } = request(vector!("stt_bind"), "Both", "STT_BIND") else {
        panic!("no list")
    };
    assert_eq!(wanted.iter().map(|(kind, _)| kind.to_string()).collect::<Vec<_>>(), ["TDATA"]);
    let all = request(vector!("stt_bind_all"), "Both", "STT_BIND");
    assert!(matches!(all, Ask::Stream { children: None, .. }), "{all:?}");
    for (vector, device, name) in [
        (vector!("get_trans"), "Stylus", "GET_TRANS"),
        (vector!("get_image"), "Ultrasound", "GET_IMAGE"),
        (vector!("get_status"), "", "GET_STATUS"),
        (vector!("get_capabil"), "", "GET_CAPABIL"),
        (vector!("get_polydata"), "Cortex", "GET_POLYDATA"),
        (vector!("stp_tdata"), "Tracker", "STP_TDATA"),
        (vector!("stp_bind"), "Both", "STP_BIND"),
    ] {
        assert_eq!(request(vector, device, name), Ask::Nothing);
    }
    let tracking = |interval_ms, coordinates| Ask::Tracking { interval_ms, coordinates };
    assert_eq!(request(vector!("stt_tdata"), "Tracker", "STT_TDATA"), tracking(50, b"Patient"));
    assert_eq!(request(vector!("stt_qtdata"), "Tracker", "STT_QTDATA"), tracking(20, b"Reference"));
    let reply = message(vector!("rts_bind"), "Both");
    assert!(matches!(reply, Content::Reply { status: 1, .. }), "{reply:?}");
    let reply = message(vector!("rts_tdata"), "Tracker");
    assert!(matches!(reply, Content::Reply { status: 0, .. }), "{reply:?}");
}

#[test]
fn what_the_library_writes_beside_the_protocol_is_taken_only_when_asked_for() {
    let lenient = DecodeOptions { peer: Peer::CppLibrary, ..DecodeOptions::strict(MAX) };
    let (odd, _) = vector!("get_bind_odd_names");
    let why = decode(odd, MAX).expect_err("13 bytes of names");
    assert_eq!(
        why.to_string(),
        "BIND's NAME_TABLE_SIZE at byte 84 is 13; the size of all names and their zeros, made even, is 14"
    );
    let Content::Request { ask: Ask::Children(wanted), .. } = decode_with(odd, &lenient).expect("as it is").content
    else {
        panic!("no list")
    };
    assert_eq!(wanted.iter().last().map(|(_, device)| device.to_string()), Some("Notes".to_owned()));
}
