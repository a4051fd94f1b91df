//! What a tracker on the network says.

use bregma_openigtlink::{Content, DeviceName, Entry, Outgoing, Timestamp, Transform, Version, encode, encoded_len};

/// A TRANSFORM that only shifts; with its status, or in the first version of the header, which has no room for one.
pub fn transform(device: &str, at: [f32; 3], status: Option<&str>) -> Vec<u8> {
    let columns = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], at];
    let entry = status.map(|words| Entry { key: b"TransformStatus", encoding: 3, value: words.as_bytes() });
    let message = Outgoing {
        version: if entry.is_some() { Version::V2 } else { Version::V1 },
        device: DeviceName::new(device).expect("a name"),
        timestamp: Timestamp::NONE,
        message_id: 0,
        metadata: entry.as_slice(),
        content: Content::Transform(Transform { columns }),
    };
    let mut bytes = vec![0; encoded_len(&message).expect("can be sent")];
    encode(&message, &mut bytes).expect("can be sent");
    bytes
}
