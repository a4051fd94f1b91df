//! A TRANSFORM and an IMAGE of 640×480 there and back: this crate, crates.io's openigtlink-rust 0.4.1, and the C++
//! library 1.11, in one run. All make and check the CRC; each works as its own documentation has it, with its own
//! memory: this crate in the caller's buffers, openigtlink-rust in new vectors, the library in its message objects.
//! What openigtlink-rust 0.4.1 makes is not what the protocol says (rows of a TRANSFORM before columns, an IMAGE without
//! its part), so that only its own bytes are given back to it.

use bregma_openigtlink::{
    Content, Coordinates, DeviceName, Endian, Image, Outgoing, Part, ScalarType, Timestamp, Transform, decode, encode,
};
use bregma_openigtlink_peers::{Cpp, IMAGE, PIXELS, TRANSFORM};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use openigtlink_rust::protocol::message::IgtlMessage;
use openigtlink_rust::protocol::types::{ImageMessage, ImageScalarType, TransformMessage};
use std::hint::black_box;

fn transform(c: &mut Criterion) {
    let mut group = c.benchmark_group("transform_there_and_back");
    let mut x = 0.0_f32;
    let device = DeviceName::constant("StylusTipToReferenc");
    let mut wire = [0; TRANSFORM];
    let mut cpp = Cpp::new();
    group.bench_function("bregma", |b| {
        b.iter(|| {
            x += 1.0;
            let columns = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [x, 0.0, 0.0]];
            let message = Outgoing::plain(device, Timestamp(7), Content::Transform(Transform { columns }));
            encode(black_box(&message), &mut wire).expect("fits");
            let Ok(Content::Transform(back)) = decode(black_box(&wire), 4096).map(|m| m.content) else {
                panic!("a TRANSFORM was written")
            };
            assert!(back.columns[3][0].to_bits() == x.to_bits());
        });
    });
    group.bench_function("openigtlink_rust", |b| {
        b.iter(|| {
            x += 1.0;
            let message = IgtlMessage::new(TransformMessage::translation(x, 0.0, 0.0), "StylusTipToReferenc");
            let wire = message.expect("a message").encode().expect("can be sent");
            let back = IgtlMessage::<TransformMessage>::decode(black_box(&wire)).expect("was written");
            assert!(back.content.matrix[0][3].to_bits() == x.to_bits());
        });
    });
    group.bench_function("cpp_library", |b| {
        b.iter(|| {
            x += 1.0;
            cpp.encode_transform(x, &mut wire);
            let back = cpp.decode_transform(black_box(&wire));
            assert!(back.to_bits() == x.to_bits());
        });
    });
    group.finish();
}

fn image(c: &mut Criterion) {
    let mut group = c.benchmark_group("image_there_and_back");
    group.throughput(Throughput::Bytes(IMAGE as u64));
    let pixels: Box<[u8; PIXELS]> =
        (0..PIXELS).map(|at| ((at * 31) >> 3) as u8).collect::<Box<[u8]>>().try_into().expect("as many");
    let mut wire: Box<[u8; IMAGE]> = vec![0; IMAGE].into_boxed_slice().try_into().expect("as many");
    let mut cpp = Cpp::new();
    let size = [640, 480, 1];
    group.bench_function("bregma", |b| {
        b.iter(|| {
            let image = Image {
                components: 1,
                scalar: ScalarType::U8,
                endian: Endian::NATIVE,
                coordinates: Coordinates::Ras,
                size,
                matrix: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0; 3]],
                part: Part::whole(size),
                voxels: black_box(pixels.as_slice()),
            };
            let message = Outgoing::plain(DeviceName::constant("Microscope"), Timestamp(7), Content::Image(image));
            encode(&message, wire.as_mut_slice()).expect("fits");
            let Ok(Content::Image(back)) = decode(black_box(wire.as_slice()), 1 << 20).map(|m| m.content) else {
                panic!("an IMAGE was written")
            };
            assert_eq!(back.voxels[7], pixels[7]);
        });
    });
    group.bench_function("openigtlink_rust", |b| {
        b.iter(|| {
            let image = ImageMessage::new(ImageScalarType::Uint8, size, pixels.to_vec()).expect("an image");
            let wire = IgtlMessage::new(image, "Microscope").expect("a message").encode().expect("can be sent");
            let back = IgtlMessage::<ImageMessage>::decode(black_box(&wire)).expect("was written");
            assert_eq!(back.content.data[7], pixels[7]);
        });
    });
    group.bench_function("cpp_library", |b| {
        b.iter(|| {
            cpp.encode_image(black_box(&pixels), &mut wire);
            let seven = cpp.decode_image(black_box(&wire));
            assert_eq!(seven, i32::from(pixels[7]));
        });
    });
    group.finish();
}

criterion_group!(benches, transform, image);
criterion_main!(benches);
