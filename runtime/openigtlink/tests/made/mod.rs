//! A content of every type from a seed: what goes into round trips, mutations and the count of allocations.
//!
//! The same kind and seed give the same content. Not everything that can be sent is made: sizes stay small.

#![allow(dead_code, reason = "every test and target that takes this in uses a part of it")]

use bregma_openigtlink::{
    Ask, Attribute, Attributes, Bind, Cells, Child, ColorIndex, ColorTable, Colors, Command, Content, Coordinates,
    DeviceName, Endian, Entry, HEADER_SIZE, Image, ImageMeta, LabelMeta, List, Meaning, NdArray, Orientation, Outgoing,
    Part, Point, PolyData, Position, ScalarType, Sensor, Status, Text, Timestamp, Tool, ToolKind, Trajectory,
    TrajectoryKind, Transform, TurnedTool, TypeName, Unit, Values, Version, Video, VideoMeta, Wanted, crc64, encode,
    encoded_len,
};

/// Number of kinds.
pub const KINDS: usize = 34;

/// A small generator of numbers: the high bits of a linear congruence.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x5851_F42D_4C95_7F2D)
    }

    pub fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as u32
    }

    /// Below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.next() as usize % end
    }

    pub fn byte(&mut self) -> u8 {
        self.next() as u8
    }

    fn float(&mut self) -> f32 {
        self.next().cast_signed() as f32 / 1024.0
    }

    fn floats<const N: usize>(&mut self) -> [f32; N] {
        std::array::from_fn(|_| self.float())
    }

    fn matrix(&mut self) -> [[f32; 3]; 4] {
        std::array::from_fn(|_| self.floats())
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let count = self.below(most + 1);
        (0..count).map(|_| self.byte()).collect()
    }

    /// A text without zeros.
    fn text(&mut self, most: usize) -> Vec<u8> {
        let mut text = self.bytes(most);
        text.iter_mut().for_each(|byte| *byte = (*byte).max(1));
        text
    }

    fn name(&mut self, most: usize) -> String {
        let count = 1 + self.below(most);
        (0..count).map(|_| char::from(b' ' + (self.next() % 95) as u8)).collect()
    }

    fn size(&mut self) -> [u16; 3] {
        std::array::from_fn(|_| 1 + self.below(5) as u16)
    }

    fn part(&mut self, size: [u16; 3]) -> Part {
        let offset = size.map(|n| self.below(n.into()) as u16);
        Part { offset, size: std::array::from_fn(|axis| self.below(usize::from(size[axis] - offset[axis]) + 1) as u16) }
    }

    fn coordinates(&mut self) -> Coordinates {
        if self.below(2) == 0 { Coordinates::Ras } else { Coordinates::Lps }
    }

    fn endian(&mut self) -> Endian {
        if self.below(2) == 0 { Endian::Big } else { Endian::Little }
    }

    fn cells(&mut self, points: usize) -> Vec<u32> {
        let mut flat = Vec::new();
        for _ in 0..self.below(4) {
            let count = if points == 0 { 0 } else { self.below(5) };
            flat.push(count as u32);
            flat.extend((0..count).map(|_| self.below(points) as u32));
        }
        flat
    }

    fn child(&mut self, body: &'static [u8]) -> Child<'static> {
        let device = if self.below(4) == 0 { DeviceName::default() } else { device(&self.name(20)) };
        Child { type_name: TypeName::constant("STRING"), device, body }
    }
}

fn device(name: &str) -> DeviceName {
    DeviceName::new(name).expect("made to fit")
}

/// Calls `f` with a content of the kind.
pub fn with<R>(kind: usize, seed: u64, f: impl FnOnce(Content<'_>) -> R) -> R {
    let mut dice = Dice::new(seed);
    let dice = &mut dice;
    let (count, texts) = (dice.below(5), (0..25).map(|_| dice.text(20)).collect::<Vec<_>>());
    let text = |at: usize, which: usize| texts[(5 * at + which) % texts.len()].as_slice();
    match kind {
        0 => f(Content::Transform(Transform { columns: dice.matrix() })),
        1 | 2 => {
            let orientation = match dice.below(3) {
                0 => Orientation::None,
                1 => Orientation::Xyz(dice.floats()),
                _ => Orientation::Xyzw(dice.floats()),
            };
            let position = Position { at: dice.floats(), orientation };
            f(if kind == 1 { Content::Position(position) } else { Content::QTrans(position) })
        }
        3 => {
            let make = |at| Tool { name: text(at, 0), kind: ToolKind(dice.byte()), matrix: dice.matrix() };
            f(Content::Tools(List::new(&(0..count).map(make).collect::<Vec<_>>())))
        }
        4 => {
            let make = |at| TurnedTool {
                name: text(at, 0),
                kind: ToolKind(dice.byte()),
                at: dice.floats(),
                xyzw: dice.floats(),
            };
            f(Content::TurnedTools(List::new(&(0..count).map(make).collect::<Vec<_>>())))
        }
        5 => {
            let scalars = [
                ScalarType::I8,
                ScalarType::U8,
                ScalarType::I16,
                ScalarType::U16,
                ScalarType::I32,
                ScalarType::U32,
                ScalarType::F32,
                ScalarType::F64,
            ];
            let (size, components, scalar) = (dice.size(), 1 + dice.below(4) as u8, scalars[dice.below(8)]);
            let part = dice.part(size);
            let bytes = part.voxels() as usize * usize::from(components) * scalar.size();
            let voxels: Vec<u8> = (0..bytes).map(|_| dice.byte()).collect();
            f(Content::Image(Image {
                components,
                scalar,
                endian: dice.endian(),
                coordinates: dice.coordinates(),
                size,
                matrix: dice.matrix(),
                part,
                voxels: &voxels,
            }))
        }
        6 => {
            let make = |at| ImageMeta {
                name: text(at, 0),
                device: text(at, 1),
                modality: text(at, 2),
                patient_name: text(at, 3),
                patient_id: text(at, 4),
                scanned: Timestamp(dice.next().into()),
                size: dice.size(),
                scalar: dice.byte(),
            };
            f(Content::Images(List::new(&(0..count).map(make).collect::<Vec<_>>())))
        }
        7 => {
            let make = |at| LabelMeta {
                name: text(at, 0),
                device: text(at, 1),
                label: dice.byte(),
                rgba: dice.next().to_be_bytes(),
                size: dice.size(),
                owner: text(at, 2),
            };
            f(Content::Labels(List::new(&(0..count).map(make).collect::<Vec<_>>())))
        }
        8 => {
            let (greys, wide) = ([dice.byte(); 256], [dice.next() as u16; 256]);
            let rgb: Vec<[u8; 3]> = (0..256).map(|_| [dice.byte(), dice.byte(), dice.byte()]).collect();
            let colors = match dice.below(3) {
                0 => Colors::Grey8(List::new(&greys)),
                1 => Colors::Grey16(List::new(&wide)),
                _ => Colors::Rgb(List::new(&rgb)),
            };
            f(Content::ColorTable(ColorTable { index: ColorIndex::U8, colors }))
        }
        9 => {
            let make = |at| Point {
                name: text(at, 0),
                group: text(at, 1),
                rgba: dice.next().to_be_bytes(),
                at: dice.floats(),
                radius: dice.float(),
                owner: text(at, 2),
            };
            f(Content::Points(List::new(&(0..count).map(make).collect::<Vec<_>>())))
        }
        10 => {
            let make = |at| Trajectory {
                name: text(at, 0),
                group: text(at, 1),
                kind: TrajectoryKind(dice.byte()),
                rgba: dice.next().to_be_bytes(),
                entry: dice.floats(),
                target: dice.floats(),
                radius: dice.float(),
                owner: text(at, 2),
            };
            f(Content::Trajectories(List::new(&(0..count).map(make).collect::<Vec<_>>())))
        }
        11 => {
            let points: Vec<[f32; 3]> = (0..dice.below(6)).map(|_| dice.floats()).collect();
            let cells: [Vec<u32>; 4] = std::array::from_fn(|_| dice.cells(points.len()));
            let values: [f32; 36] = dice.floats();
            let kinds = [
                (Meaning::Scalars, 1 + dice.below(4) as u8),
                (Meaning::Vectors, 3),
                (Meaning::Normals, 3),
                (Meaning::Tensors, 9),
                (Meaning::Rgba, 4),
                (Meaning::TextureCoordinates, 2),
            ];
            let make = |at| {
                let (meaning, components) = kinds[dice.below(6)];
                let values = &values[..usize::from(components) * dice.below(4)];
                let (name, of_cells) = (text(at, 0), dice.below(2) == 0);
                Attribute { of_cells, meaning, components, name, values: List::new(values) }
            };
            let attributes: Vec<_> = (0..count).map(make).collect();
            f(Content::PolyData(PolyData {
                points: List::new(&points),
                vertices: Cells::new(&cells[0]),
                lines: Cells::new(&cells[1]),
                polygons: Cells::new(&cells[2]),
                triangle_strips: Cells::new(&cells[3]),
                attributes: Attributes::new(&attributes),
            }))
        }
        12 => {
            let (code, sub_code) = (dice.next() as u16, i64::from(dice.next().cast_signed()));
            f(Content::Status(Status { code, sub_code, name: text(0, 0), message: text(0, 1) }))
        }
        13 => f(Content::String(Text { encoding: dice.next() as u16, bytes: &dice.bytes(200) })),
        14 => {
            let types: Vec<_> = (0..count).map(|_| TypeName::new(&dice.name(12)).expect("made to fit")).collect();
            f(Content::Capability(List::new(&types)))
        }
        15 => {
            let values: Vec<f64> = (0..count).map(|_| dice.float().into()).collect();
            let unit = Unit(u64::from(dice.next()) << 32);
            f(Content::Sensor(Sensor { status: dice.byte(), unit, values: List::new(&values) }))
        }
        16 => {
            let size = [1 + dice.below(3) as u16, dice.below(4) as u16];
            let (size, many) = (&size[..dice.below(3)], usize::from(size[0]) * usize::from(size[1]));
            let many = [1, usize::from(size.first().copied().unwrap_or(1)), many][size.len()];
            let words: Vec<u32> = (0..many).map(|_| dice.next()).collect();
            let floats: Vec<f32> = (0..many).map(|_| dice.float()).collect();
            let pairs: Vec<[f64; 2]> = (0..many).map(|_| [dice.float().into(), dice.float().into()]).collect();
            let bytes: Vec<u8> = words.iter().map(|word| *word as u8).collect();
            let halves: Vec<i16> = words.iter().map(|word| *word as i16).collect();
            let values = match dice.below(5) {
                0 => Values::U8(List::new(&bytes)),
                1 => Values::I16(List::new(&halves)),
                2 => Values::U32(List::new(&words)),
                3 => Values::F32(List::new(&floats)),
                _ => Values::Complex(List::new(&pairs)),
            };
            f(Content::NdArray(NdArray { size: List::new(size), values }))
        }
        17 | 18 => {
            let command =
                Command { id: dice.next(), name: text(0, 0), encoding: dice.next() as u16, text: &dice.bytes(100) };
            f(if kind == 17 { Content::Command(command) } else { Content::CommandReply(command) })
        }
        19 => {
            let bodies = [&b""[..], b"\0\x03\0\x01x", b"\0\x03\0\x02xy"];
            let children: Vec<_> = (0..count).map(|at| dice.child(bodies[at % 3])).collect();
            f(Content::Bind(Bind::new(&children)))
        }
        20 => {
            let size = dice.size();
            f(Content::Video(Video {
                endian: dice.endian(),
                codec: dice.next().to_be_bytes(),
                frame_type: dice.next() as u16,
                coordinates: dice.coordinates(),
                size,
                matrix: dice.matrix(),
                part: dice.part(size),
                picture: &dice.bytes(60),
            }))
        }
        21 => {
            let make = |at| VideoMeta {
                name: text(at, 0),
                device: text(at, 1),
                patient_name: text(at, 2),
                patient_id: text(at, 3),
                zoom: dice.next() as i16,
                focal_length: dice.float().into(),
                size: dice.size(),
                matrix: dice.matrix(),
                scalar: dice.byte(),
            };
            f(Content::Videos(List::new(&(0..count).map(make).collect::<Vec<_>>())))
        }
        22..=25 => {
            let names = ["GET_IMAGE", "STT_TRANS", "STP_VIDEO", "GET_BIND"];
            f(Content::Request { type_name: TypeName::constant(names[kind - 22]), ask: Ask::Nothing })
        }
        26 | 27 => {
            let type_name = TypeName::constant(if kind == 26 { "STT_TDATA" } else { "STT_QTDATA" });
            let (interval_ms, coordinates) = (dice.next().cast_signed(), text(0, 0));
            f(Content::Request { type_name, ask: Ask::Tracking { interval_ms, coordinates } })
        }
        28 => {
            let ask = Ask::Video { codec: dice.next().to_be_bytes(), interval_ms: dice.next() };
            f(Content::Request { type_name: TypeName::constant("STT_VIDEO"), ask })
        }
        29..=31 => {
            let make = |_| (TypeName::constant("TDATA"), device(&dice.name(20)));
            let wanted: Vec<_> = (0..count).map(make).collect();
            let (wanted, interval) = (Wanted::new(&wanted), Timestamp(dice.next().into()));
            let (name, ask) = match kind {
                29 => ("GET_BIND", Ask::Children(wanted)),
                30 => ("STT_BIND", Ask::Stream { interval, children: Some(wanted) }),
                _ => ("STT_BIND", Ask::Stream { interval, children: None }),
            };
            f(Content::Request { type_name: TypeName::constant(name), ask })
        }
        32 => f(Content::Reply { type_name: TypeName::constant("RTS_POLYDATA"), status: dice.byte() }),
        _ => f(Content::Other { type_name: TypeName::constant("GET_WEATHER"), bytes: &dice.bytes(100) }),
    }
}

/// A whole message of the kind, in header version 2 with metadata when the seed is odd.
pub fn message(kind: usize, seed: u64) -> Vec<u8> {
    with(kind, seed, |content| {
        let mut dice = Dice::new(!seed);
        let pairs: Vec<_> = (0..dice.below(4)).map(|_| (dice.text(12), dice.bytes(20))).collect();
        let metadata: Vec<_> = pairs.iter().map(|(key, value)| Entry { key, encoding: 106, value }).collect();
        let version = if seed.is_multiple_of(2) { Version::V1 } else { Version::V2 };
        let v2 = version == Version::V2;
        let message = Outgoing {
            version,
            device: device(&dice.name(20)),
            timestamp: Timestamp(seed),
            message_id: if v2 { dice.next() } else { 0 },
            metadata: if v2 { &metadata } else { &[] },
            content,
        };
        let mut wire = vec![0xEE; encoded_len(&message).expect("can be sent")];
        encode(&message, &mut wire).expect("can be sent");
        wire
    })
}

/// A message of any kind that was damaged: bytes changed, cut, doubled or made extreme; half of the time its length
/// and CRC are made right again, so that the damage is seen by what is behind the header.
pub fn damaged(dice: &mut Dice) -> Vec<u8> {
    let mut wire = message(dice.below(KINDS), dice.next().into());
    for _ in 0..dice.below(5) {
        if wire.is_empty() {
            break;
        }
        let at = dice.below(wire.len());
        match dice.below(8) {
            0..=2 => wire[at] = dice.byte(),
            3 => wire[at] ^= 1 << dice.below(8),
            4 => wire[at] = [0, 1, 0x7F, 0x80, 0xFF][dice.below(5)],
            5 => wire.truncate(at),
            6 => wire.insert(at, dice.byte()),
            // Four bytes as one large or small number.
            _ => {
                let number = [0, 1, u32::MAX, u32::MAX / 2, 1 << 31, 65_536][dice.below(6)];
                wire.iter_mut().skip(at).zip(number.to_be_bytes()).for_each(|(byte, new)| *byte = new);
            }
        }
    }
    if dice.below(2) == 0 && wire.len() >= HEADER_SIZE {
        let body = &wire[HEADER_SIZE..];
        let (length, crc) = ((body.len() as u64).to_be_bytes(), crc64(body).to_be_bytes());
        wire[42..50].copy_from_slice(&length);
        wire[50..58].copy_from_slice(&crc);
    }
    wire
}
