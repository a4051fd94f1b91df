//! `igtl_transform_encode`, `igtl_transform_decode`, and the CRC's throughput.

use bregma_openigtlink::{Content, DeviceName, Framer, Outgoing, Timestamp, Transform, crc64, decode, encode};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

fn codec(c: &mut Criterion) {
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
    let mut framer = Framer::new(4096);
    c.bench_function("igtl_transform_framed", |b| {
        b.iter(|| {
            framer.push(black_box(&wire));
            framer.next_message().map(|m| m.map(|m| m.content).is_ok())
        });
    });

    let mut group = c.benchmark_group("crc64");
    for size in [48_usize, 1 << 20] {
        let bytes: Vec<u8> = (0..size).map(|i| ((i * 31) >> 3) as u8).collect();
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(size.to_string(), |b| b.iter(|| crc64(black_box(&bytes))));
    }
    group.finish();
}

criterion_group!(benches, codec);
criterion_main!(benches);
