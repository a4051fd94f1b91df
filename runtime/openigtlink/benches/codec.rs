//! `igtl_transform_encode`, `igtl_transform_decode`, an IMAGE of 640×480 without its CRC, and the CRC's throughput.

use bregma_openigtlink::{
    Checksum, Content, Coordinates, DecodeOptions, DeviceName, Endian, Framer, Image, Outgoing, Part, ScalarType,
    Timestamp, Transform, crc64, decode, decode_with, encode, encode_with, encoded_len,
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

fn transform(c: &mut Criterion) {
    let columns = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [12.5, -3.0, 140.25]];
    let message = Outgoing::plain(
        DeviceName::constant("StylusTipToReference"),
        Timestamp(0x6512_3456_8000_0000),
        Content::Transform(Transform { columns }),
    );
    let mut wire = [0; 106];
    c.bench_function("igtl_transform_encode", |b| b.iter(|| encode(black_box(&message), black_box(&mut wire))));
    encode(&message, &mut wire).expect("106 bytes are enough");
    c.bench_function("igtl_transform_decode", |b| b.iter(|| decode(black_box(&wire), 4096).map(|m| m.content)));
    c.bench_function("igtl_transform_encode_and_decode", |b| {
        b.iter(|| {
            encode(black_box(&message), &mut wire).expect("106 bytes are enough");
            let Ok(Content::Transform(back)) = decode(black_box(&wire), 4096).map(|m| m.content) else {
                panic!("a TRANSFORM was written")
            };
            back
        });
    });
    let mut framer = Framer::new(4096);
    c.bench_function("igtl_transform_framed", |b| {
        b.iter(|| {
            framer.push(black_box(&wire));
            framer.next_message().map(|m| m.map(|m| m.content).is_ok())
        });
    });
}

/// 8 bits a pixel, with the CRC and without: encoding copies the pixels once, decoding looks at none of them.
fn image(c: &mut Criterion) {
    let size = [640, 480, 1];
    let pixels: Vec<u8> = (0..640 * 480).map(|at| ((at * 31) >> 3) as u8).collect();
    let message = Outgoing::plain(
        DeviceName::constant("Microscope"),
        Timestamp(0x6512_3456_8000_0000),
        Content::Image(Image {
            components: 1,
            scalar: ScalarType::U8,
            endian: Endian::NATIVE,
            coordinates: Coordinates::Lps,
            size,
            matrix: [[0.1, 0.0, 0.0], [0.0, 0.1, 0.0], [0.0, 0.0, 1.0], [1.0, 2.0, 3.0]],
            part: Part::whole(size),
            voxels: &pixels,
        }),
    );
    let mut wire = vec![0; encoded_len(&message).expect("can be sent")];
    let mut group = c.benchmark_group("igtl_image_640x480");
    group.throughput(Throughput::Bytes(wire.len() as u64));
    for (name, checksum) in [("with_crc", Checksum::Checked), ("without_crc", Checksum::Trusted)] {
        let options = DecodeOptions { checksum, ..DecodeOptions::strict(1 << 20) };
        group.bench_function(BenchmarkId::new("encode", name), |b| {
            b.iter(|| encode_with(black_box(&message), black_box(&mut wire), checksum));
        });
        encode_with(&message, &mut wire, checksum).expect("is long enough");
        group.bench_function(BenchmarkId::new("decode", name), |b| {
            b.iter(|| decode_with(black_box(&wire), &options).map(|m| m.header.body_size));
        });
        // Where the pixels go on to the receiver's own memory.
        let mut copy = vec![0; pixels.len()];
        group.bench_function(BenchmarkId::new("decode_and_copy", name), |b| {
            b.iter(|| {
                let Ok(Content::Image(image)) = decode_with(black_box(&wire), &options).map(|m| m.content) else {
                    panic!("an IMAGE was written")
                };
                black_box(&mut copy).copy_from_slice(image.voxels);
            });
        });
    }
    group.finish();
}

fn crc(c: &mut Criterion) {
    let mut group = c.benchmark_group("crc64");
    for size in [48_usize, 330, 4096, 1 << 20] {
        let bytes: Vec<u8> = (0..size).map(|i| ((i * 31) >> 3) as u8).collect();
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(size.to_string(), |b| b.iter(|| crc64(black_box(&bytes))));
    }
    group.finish();
}

criterion_group!(benches, transform, image, crc);
criterion_main!(benches);
