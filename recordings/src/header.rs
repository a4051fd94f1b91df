//! What a recording says of itself: the first message, JSON, so that any MCAP tool shows it.

use bregma_core::digest::Digest;
use bregma_core::flow::ArmMount;
use bregma_core::frame::{Frame, FrameId, Pose};
use nalgebra::{Isometry3, Quaternion, Translation3, UnitQuaternion};
use serde::{Deserialize, Serialize};

/// Version of the header and of the channels below it.
pub const HEADER_SCHEMA: u32 = 1;

/// Which clock the session ran on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockKind {
    /// The machine's.
    Real,
    /// The simulated one, in lock-step.
    Simulated,
}

/// What must be known to run the session again.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// Version of the program.
    pub program: String,
    /// Commit that it was built from.
    pub commit: String,
    /// The configuration as it was written, TOML.
    pub config_toml: String,
    /// Its hash, as `bregma check` prints it.
    pub config_hash: Digest,
    /// The resolved values, as `bregma check` prints them.
    pub resolved: String,
    /// Seed of the digital patient; none with real sources.
    pub seed: Option<u64>,
    /// Which clock.
    pub clock: ClockKind,
    /// How the arm stood, to the bit.
    pub mount: ArmMount,
    /// When the session began, seconds since 1970 by the machine's calendar.
    pub started_s: u64,
}

/// The header's text is not one.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// It is not the JSON that a header is.
    #[error("the header is not valid: {0}")]
    Json(#[from] serde_json::Error),
    /// It is of another version.
    #[error("the header has schema {found}; this program reads schema {HEADER_SCHEMA}")]
    Schema {
        /// Its version.
        found: u32,
    },
    /// A field has no such value.
    #[error("the header's `{field}` is {found:?}; {need} is needed")]
    Value {
        /// Which field.
        field: &'static str,
        /// What it holds.
        found: String,
        /// What it should hold.
        need: &'static str,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderWire {
    schema: u32,
    program: String,
    commit: String,
    config_hash: String,
    seed: Option<u64>,
    clock: String,
    mount: MountWire,
    started_s: u64,
    config_toml: String,
    resolved: String,
}

/// Numbers are the bits of doubles, so that they come back exactly; the readable ones stand in `resolved`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MountWire {
    patient_frame: u64,
    patient_from_arm_base_bits: [u64; 7],
    flange_from_tip_bits: [u64; 7],
    shaft_radius_mm_bits: u64,
    shaft_length_mm_bits: u64,
}

fn bits_of<To: Frame, From: Frame>(pose: &Pose<To, From>) -> [u64; 7] {
    let ([x, y, z], [a, b, c, d]) = (pose.translation_mm(), pose.quaternion_xyzw());
    [x, y, z, a, b, c, d].map(f64::to_bits)
}

fn pose_of<To: Frame, From: Frame>(
    to: FrameId,
    bits: [u64; 7],
    field: &'static str,
) -> Result<Pose<To, From>, HeaderError> {
    let [x, y, z, a, b, c, d] = bits.map(f64::from_bits);
    let turn = Quaternion::new(d, a, b, c);
    let refused =
        |found: String| HeaderError::Value { field, found, need: "a finite translation and a unit quaternion" };
    if !(1.0 - 1e-6..=1.0 + 1e-6).contains(&turn.norm()) {
        return Err(refused(format!("{turn}")));
    }
    // Not normalised again: that could change its last bit.
    let iso = Isometry3::from_parts(Translation3::new(x, y, z), UnitQuaternion::new_unchecked(turn));
    Pose::between(to, FrameId::SOLE, iso).map_err(|why| refused(why.to_string()))
}

impl MountWire {
    fn of(mount: &ArmMount) -> Self {
        Self {
            patient_frame: mount.patient_from_arm_base.to.0,
            patient_from_arm_base_bits: bits_of(&mount.patient_from_arm_base),
            flange_from_tip_bits: bits_of(&mount.flange_from_tip),
            shaft_radius_mm_bits: mount.shaft_radius_mm.to_bits(),
            shaft_length_mm_bits: mount.shaft_length_mm.to_bits(),
        }
    }

    fn mount(&self) -> Result<ArmMount, HeaderError> {
        let length = |field, bits| match f64::from_bits(bits) {
            mm if (0.0..=1e4).contains(&mm) => Ok(mm),
            mm => Err(HeaderError::Value { field, found: mm.to_string(), need: "0 to 10000 mm" }),
        };
        let patient = FrameId(self.patient_frame);
        Ok(ArmMount {
            patient_from_arm_base: pose_of(patient, self.patient_from_arm_base_bits, "mount.patient_from_arm_base")?,
            flange_from_tip: pose_of(FrameId::SOLE, self.flange_from_tip_bits, "mount.flange_from_tip")?,
            shaft_radius_mm: length("mount.shaft_radius_mm", self.shaft_radius_mm_bits)?,
            shaft_length_mm: length("mount.shaft_length_mm", self.shaft_length_mm_bits)?,
        })
    }
}

impl Header {
    /// As JSON text.
    #[must_use]
    pub fn to_json(&self) -> String {
        let wire = HeaderWire {
            schema: HEADER_SCHEMA,
            program: self.program.clone(),
            commit: self.commit.clone(),
            config_hash: self.config_hash.to_string(),
            seed: self.seed,
            clock: match self.clock {
                ClockKind::Real => "real".to_owned(),
                ClockKind::Simulated => "simulated".to_owned(),
            },
            mount: MountWire::of(&self.mount),
            started_s: self.started_s,
            config_toml: self.config_toml.clone(),
            resolved: self.resolved.clone(),
        };
        serde_json::to_string_pretty(&wire).expect("strings and numbers always have a JSON form")
    }

    /// From that text.
    ///
    /// # Errors
    /// [`HeaderError`] with the field that is not as it should be.
    pub fn from_json(text: &[u8]) -> Result<Self, HeaderError> {
        /// Read first, so that another version is named as such.
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        let Version { schema } = serde_json::from_slice(text)?;
        if schema != HEADER_SCHEMA {
            return Err(HeaderError::Schema { found: schema });
        }
        let wire: HeaderWire = serde_json::from_slice(text)?;
        let Some(config_hash) = digest_from_hex(&wire.config_hash) else {
            let need = "64 hexadecimal digits";
            return Err(HeaderError::Value { field: "config_hash", found: wire.config_hash, need });
        };
        let clock = match wire.clock.as_str() {
            "real" => ClockKind::Real,
            "simulated" => ClockKind::Simulated,
            _ => {
                let need = "`real` or `simulated`";
                return Err(HeaderError::Value { field: "clock", found: wire.clock, need });
            }
        };
        Ok(Self {
            program: wire.program,
            commit: wire.commit,
            config_toml: wire.config_toml,
            config_hash,
            resolved: wire.resolved,
            seed: wire.seed,
            clock,
            mount: wire.mount.mount()?,
            started_s: wire.started_s,
        })
    }
}

fn digest_from_hex(text: &str) -> Option<Digest> {
    let digits: Vec<u8> = text.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    (digits.len() == 64).then_some(Digest(bytes.try_into().ok()?))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A mount whose numbers have no short decimal form.
    pub(crate) fn mount() -> ArmMount {
        let pose = |mm, xyzw| Pose::from_parts(FrameId(3), FrameId::SOLE, mm, xyzw).expect("finite");
        ArmMount {
            patient_from_arm_base: pose([0.1, -1.0 / 3.0, 2e-7], [0.1, 0.2, 0.3, 0.4]),
            flange_from_tip: Pose::new(Isometry3::translation(0.0, 0.0, 220.0)).expect("finite"),
            shaft_radius_mm: 1.25,
            shaft_length_mm: 180.0,
        }
    }

    fn header() -> Header {
        Header {
            program: "0.1.0".to_owned(),
            commit: "abc".to_owned(),
            config_toml: "[scene]\nmargin_mm = 1.0\n".to_owned(),
            config_hash: Digest::of(b"config"),
            resolved: "margin 1 mm".to_owned(),
            seed: Some(u64::MAX),
            clock: ClockKind::Simulated,
            mount: mount(),
            started_s: 1_700_000_000,
        }
    }

    #[test]
    fn a_header_survives_its_text() {
        assert_eq!(Header::from_json(header().to_json().as_bytes()).expect("valid"), header());
    }

    #[test]
    fn what_is_no_header_is_refused_by_name() {
        let said = |from: &str, to: &str| {
            Header::from_json(header().to_json().replace(from, to).as_bytes()).expect_err("refused").to_string()
        };
        assert_eq!(said("\"schema\": 1", "\"schema\": 2"), "the header has schema 2; this program reads schema 1");
        assert!(said("simulated", "lunar").contains("`clock` is \"lunar\""));
        assert!(said("\"config_hash\": \"", "\"config_hash\": \"x").contains("64 hexadecimal digits"));
        assert!(said("\"seed\"", "\"sead\"").contains("unknown field `sead`"));
        assert!(said("\"commit\": \"abc\",", "").contains("missing field `commit`"));
        assert!(Header::from_json(b"{").is_err());
    }
}
