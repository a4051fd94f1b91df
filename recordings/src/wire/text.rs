//! What stands in each channel's schema record, for people with only an MCAP tool at hand.

use crate::topic::Topic;

/// `PoseWire` and other parts, as the descriptions below refer to them.
const PARTS: &str = "\
postcard 1.x: fields in order; u64/u32 as LEB128 varint, u8 and bool one byte, f64 eight bytes little-endian, \
[T; N] its values, Vec/bytes/String a varint length and values, Option one byte 0 or 1 and the value. \
Every message begins with `number: u64`, its number in its topic, from 1; then:\n";

const WHERE: &str = "\nPose = {to: u64, from: u64 (frame identities), mm: [f64; 3], xyzw: [f64; 4]}. \
Check = {check: u8, value: f64, limit: f64, passed: bool, when_ns: u64, patient_at_mm: Option<[f64; 3]>}. \
Grid = {dims: [u64; 3], spacing_mm: f64, origin_mm: [f64; 3]}, x fastest, patient LPS. Digest = 32 bytes of SHA-256. \
*_ns: nanoseconds since the session began. energy: bit 0 ultrasound, 1 suction, 2 irrigation.\n";

/// The schema record's text of a topic: its fields, in words.
#[must_use]
pub fn describe(topic: Topic) -> String {
    let fields = match topic {
        Topic::Header => {
            return "JSON: schema, program, commit, config_hash, seed, clock, started_s, config_toml, resolved\n"
                .to_owned();
        }
        Topic::Encoded => "trace: u64, camera: u32, captured_ns: u64, keyframe: bool, data: bytes (H.264, Annex B)",
        Topic::Tips => {
            "trace: u64, reference_from_tip: Pose, captured_ns: u64, valid_for_ns: u64, error_mm: f64, \
             drift_mm_s: f64, status: u8 (1 valid, 2 line of sight lost, 3 out of volume, 4 unknown), received_ns: u64"
        }
        Topic::Volumes => {
            "modality: u8 (1 T1, 2 T1c, 3 T2, 4 FLAIR, 5 MRA), dims: [u64; 3], frame: u64, acquired_ns: u64, digest: Digest"
        }
        Topic::Ranges => {
            "camera: u32, ranges: bytes (576 u16, little endian: 18 rows of 32 tiles, 1/32 mm along the camera's z, 0 where \
             not measured), noise_mm: f64, bias_mm: f64, captured_ns: u64, received_ns: u64"
        }
        Topic::Registration => {
            "patient_from_reference: Pose, fre_mm: f64, predicted_tre_mm: f64, patient_up: Option<[f64; 3]>, \
             registered_ns: u64, expires_ns: u64"
        }
        Topic::Anatomy => {
            "frame: u64, vessels: Vec<{patient_start_mm: [f64; 3], patient_end_mm: [f64; 3], radius_mm: f64}>, \
             grid: Grid, label_runs: Vec<(length: u32, label: u8)>, \
             regions: Vec<{label: u8, name: String, kind: u8 (1 eloquent, 2 skull)}>, \
             patient_craniotomy_centre_mm: [f64; 3], patient_craniotomy_outward: [f64; 3], craniotomy_radius_mm: f64, \
             patient_entry_mm: [f64; 3], patient_target_mm: [f64; 3], entry_radius_mm: f64, end_radius_mm: f64, \
             open_mm: f64, digest: Digest"
        }
        Topic::Scenes => {
            "id: u64, trace: u64, captured_ns: u64, decided_ns: u64, grid: Grid, frame: u64, coarse_grid: Grid, \
             residual_ml: f64, doubtful_ml: f64, errors_mm: [f64; 4] (registration, calibration, tracking, shift), scanned_ns: u64, anatomy: Digest, \
             model: Digest, digest: Digest, based_on: u64, runs: bytes. `runs` = (zeros: varint, literals: varint, \
             bytes)... of the differences, modulo 256, of seven planes of 64^3 to the scene `based_on`, or, where \
             that is 0, to the voxel before in the plane (0 before the first): margin low bytes, margin high bytes \
             (difference modulo 65536, zigzag; 1/64 mm), interval (1/16 mm), residual (0..255), state (bits), \
             seen_age_s, coarse_residual (0..255). shift: Option<{grid: Grid, moved: bytes (x, y, z of each node: i16, 1/64 \
             mm), deviation: bytes (1/16 mm)}>, that of the scene before where there is none"
        }
        Topic::Plans => {
            "sequence: u64, trace: u64, scene: u64, planner: String, model: Digest, proposal: variant (0 \
             Vec<Vec<{patient_from_tip: Pose, feed_mm_s: f64, energy: u8}>>, 1 irrigate, 2 look, 3 new MRI, \
             4 ask the surgeon: String, 5 finish), decided_ns: u64"
        }
        Topic::Verdicts => {
            "plan: u64, trace: u64, candidate: u64, scene: u64, checks: Vec<Check>, approved: bool, decided_ns: u64"
        }
        Topic::Approved => {
            "sequence: u64, trace: u64, plan: u64, scene: u64, scene_digest: Digest, limits: Digest, model: Digest, \
             arm: String, path: Path, retract: Path, expires_ns: u64, decided_ns: u64, worst: Vec<Check>, hash: Digest. \
             Path = {period_ns: u64, knots_rad: Vec<Vec<f64>>, energy: bytes}"
        }
        Topic::Withdrawn => "sequence: u64, failed: Check, decided_ns: u64",
        Topic::Sent => {
            "state: u8 (1 disarmed, 2 armed, 3 active, 4 hold, 5 fault), joints_rad: Vec<f64>, energy: u8, \
             approval: Option<u64>, retracting: bool, finished: u64, consent_ns: Option<u64>, reason: Option<u8>, \
             sent_ns: u64"
        }
        Topic::Reacted => "reaction: u8 (1 hold, 2 retract, 3 stop), reason: u8, decided_ns: u64",
        Topic::Arm => "joints_rad: Vec<f64>, speeds_rad_s: Vec<f64>, ready: bool, captured_ns: u64",
        Topic::Instrument => "energy: u8, captured_ns: u64",
        Topic::Consent => "channels: [bool; 2], captured_ns: u64",
        Topic::Heartbeat => "count: u64, captured_ns: u64",
        Topic::Orders => "order: u8 (1 arm, 2 disarm, 3 resume, 4 retract, 5 clear fault)",
        Topic::Steps => {
            "stage: String, index: u64, now_ns: u64, saw: Vec<(topic: u8, first: u64, last: u64)>, \
             latched: u32 (bit = reason), overrun: bool, panicked: bool"
        }
        Topic::Video | Topic::Rois | Topic::Stamps => "not recorded",
    };
    format!("{PARTS}{fields}{WHERE}")
}
