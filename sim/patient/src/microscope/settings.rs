//! What a microscope is like: its look, its optics, and what gets in its way; and one drawn from a seed.
//!
//! **Units:** as in each name. Ranges are an expert's estimate but where a source is named. A setting that
//! is 0 switches its effect off.

use crate::random::{Draws, Purpose};
use crate::world::WorldSettingError;
use bregma_core::time::Duration;

/// Which table of colours and which surface the picture is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Flat colours on the faces of voxels.
    Plain,
    /// Smooth wet tissue with texture and vessels.
    Home,
    /// The same of another make: other colours, another gloss, another glow.
    Foreign,
}

/// How the microscope shows the world.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MicroscopeSettings {
    /// Colours and surface.
    pub look: Look,
    /// Least and most time from the scene to the hand-over of its picture, ms.
    pub lag_ms: [f64; 2],
    /// Least and most radial distortion at half the picture's width, share of that.
    pub distortion: [f64; 2],
    /// Error of the calibrated direction about the target, degrees (root mean square over three axes).
    pub hand_eye_deg: f64,
    /// Error of the calibrated focal length, share (one standard deviation).
    pub focal_error: f64,
    /// Least and most brightness of a patient's fluorescence against the mean.
    pub glow_gain: [f64; 2],
    /// Whether fluorescence fades under the lamp.
    pub bleaching: bool,
    /// Depth that is sharp, mm.
    pub depth_of_field_mm: f64,
    /// Radius of the blur 30 mm outside that, as a share of the picture's width.
    pub blur: f64,
    /// Strength of the wet surface's highlights; 1 is usual.
    pub gloss: f64,
    /// Noise of a pixel, grey levels.
    pub noise_levels: f64,
    /// How often a cotton patty is laid in the view.
    pub cotton_per_minute: f64,
    /// How long it lies there, s.
    pub cotton_s: [f64; 2],
    /// How often a hand or another instrument passes.
    pub hands_per_minute: f64,
    /// How long it stays, s.
    pub hand_s: [f64; 2],
    /// Noise of a stereo microscope's range, mm; none for a microscope with one lens.
    pub range_noise_mm: Option<f64>,
    /// Bias of all its ranges, mm.
    pub range_bias_mm: f64,
}

impl MicroscopeSettings {
    /// Flat colours and an ideal lens: nothing that perception must cope with.
    #[must_use]
    pub const fn plain() -> Self {
        Self {
            look: Look::Plain,
            lag_ms: [0.0; 2],
            distortion: [0.0; 2],
            hand_eye_deg: 0.0,
            focal_error: 0.0,
            glow_gain: [1.0; 2],
            bleaching: false,
            depth_of_field_mm: 1000.0,
            blur: 0.0,
            gloss: 0.0,
            noise_levels: 3.0,
            cotton_per_minute: 0.0,
            cotton_s: [0.0; 2],
            hands_per_minute: 0.0,
            hand_s: [0.0; 2],
            range_noise_mm: None,
            range_bias_mm: 0.0,
        }
    }

    /// The microscope that training and tuning may see.
    #[must_use]
    pub const fn home() -> Self {
        Self {
            look: Look::Home,
            lag_ms: [60.0, 120.0],
            distortion: [0.003, 0.015],
            hand_eye_deg: 0.3,
            focal_error: 0.003,
            glow_gain: [0.7, 1.3],
            bleaching: true,
            depth_of_field_mm: 16.0,
            blur: 0.005,
            gloss: 1.0,
            noise_levels: 3.0,
            cotton_per_minute: 0.4,
            cotton_s: [5.0, 40.0],
            hands_per_minute: 1.0,
            hand_s: [0.4, 3.0],
            range_noise_mm: Some(0.4),
            range_bias_mm: 0.7,
        }
    }

    /// The microscope that nothing is ever trained or tuned on.
    #[must_use]
    pub const fn foreign() -> Self {
        Self {
            look: Look::Foreign,
            lag_ms: [80.0, 150.0],
            distortion: [-0.02, -0.005],
            hand_eye_deg: 0.5,
            focal_error: 0.006,
            glow_gain: [0.5, 1.1],
            bleaching: true,
            depth_of_field_mm: 9.0,
            blur: 0.008,
            gloss: 1.8,
            noise_levels: 6.0,
            cotton_per_minute: 0.8,
            cotton_s: [5.0, 60.0],
            hands_per_minute: 2.0,
            hand_s: [0.3, 4.0],
            range_noise_mm: Some(0.6),
            range_bias_mm: 1.0,
        }
    }

    /// # Errors
    /// With the first setting that is outside its range.
    pub(crate) fn check(&self) -> Result<(), WorldSettingError> {
        let one = |name, value: f64, low: f64, high: f64, right| {
            let inside = (low..=high).contains(&value);
            if inside { Ok(()) } else { Err(WorldSettingError { name, value: value.to_string(), right }) }
        };
        let range = |name, [a, b]: [f64; 2], low: f64, high: f64, right| {
            let inside = low <= a && a <= b && b <= high;
            if inside { Ok(()) } else { Err(WorldSettingError { name, value: format!("{a} to {b}"), right }) }
        };
        range("microscope.lag_ms", self.lag_ms, 0.0, 240.0, "0 <= least <= most <= 240 ms")?;
        range("microscope.distortion", self.distortion, -0.05, 0.05, "-0.05 <= least <= most <= 0.05")?;
        one("microscope.hand_eye_deg", self.hand_eye_deg, 0.0, 3.0, "0 to 3 degrees")?;
        one("microscope.focal_error", self.focal_error, 0.0, 0.05, "0 to 0.05")?;
        range("microscope.glow_gain", self.glow_gain, 0.1, 3.0, "0.1 <= least <= most <= 3")?;
        one("microscope.depth_of_field_mm", self.depth_of_field_mm, 1.0, 1000.0, "1 to 1000 mm")?;
        one("microscope.blur", self.blur, 0.0, 0.02, "0 to 0.02 of the picture's width")?;
        one("microscope.gloss", self.gloss, 0.0, 4.0, "0 to 4")?;
        one("microscope.noise_levels", self.noise_levels, 0.0, 30.0, "0 to 30 grey levels")?;
        one("microscope.cotton_per_minute", self.cotton_per_minute, 0.0, 10.0, "0 to 10")?;
        range("microscope.cotton_s", self.cotton_s, 0.0, 120.0, "0 <= least <= most <= 120 s")?;
        one("microscope.hands_per_minute", self.hands_per_minute, 0.0, 10.0, "0 to 10")?;
        range("microscope.hand_s", self.hand_s, 0.0, 30.0, "0 <= least <= most <= 30 s")?;
        one("microscope.range_noise_mm", self.range_noise_mm.unwrap_or(0.1), 0.01, 10.0, "0.01 to 10 mm, or none")?;
        one("microscope.range_bias_mm", self.range_bias_mm, 0.0, 10.0, "0 to 10 mm")
    }

    /// The one that a patient's theatre has.
    pub(crate) fn drawn(&self, seed: u64) -> Drawn {
        let mut draws = Draws::new(seed, Purpose::Microscope);
        let mut within = |[low, high]: [f64; 2]| draws.uniform(low, high);
        let lag = Duration::from_nanos((within(self.lag_ms) * 1e6) as u64);
        let k1 = within(self.distortion);
        // A lens that bends inwards bends back a little further out.
        let k2 = k1 * within([-0.3, 0.0]);
        Drawn { lag, distortion: [k1, k2], glow_gain: within(self.glow_gain) as f32 }
    }
}

/// What a seed draws from the settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Drawn {
    pub lag: Duration,
    /// Of r² and r⁴, with r = 1 at half the picture's width.
    pub distortion: [f64; 2],
    pub glow_gain: f32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_outside_their_range_are_refused() {
        for settings in [MicroscopeSettings::plain(), MicroscopeSettings::home(), MicroscopeSettings::foreign()] {
            assert_eq!(settings.check(), Ok(()));
        }
        let refused = |change: fn(&mut MicroscopeSettings)| {
            let mut settings = MicroscopeSettings::home();
            change(&mut settings);
            settings.check().expect_err("outside its range").name
        };
        assert_eq!(refused(|s| s.lag_ms = [90.0, 60.0]), "microscope.lag_ms");
        assert_eq!(refused(|s| s.lag_ms = [0.0, f64::NAN]), "microscope.lag_ms");
        assert_eq!(refused(|s| s.distortion = [0.0, 0.2]), "microscope.distortion");
        assert_eq!(refused(|s| s.glow_gain = [0.0, 1.0]), "microscope.glow_gain");
        assert_eq!(refused(|s| s.depth_of_field_mm = 0.0), "microscope.depth_of_field_mm");
        assert_eq!(refused(|s| s.noise_levels = -1.0), "microscope.noise_levels");
        assert_eq!(refused(|s| s.hand_s = [1.0, 60.0]), "microscope.hand_s");
        assert_eq!(refused(|s| s.range_noise_mm = Some(0.0)), "microscope.range_noise_mm");
        assert_eq!(refused(|s| s.range_bias_mm = f64::NAN), "microscope.range_bias_mm");
    }

    #[test]
    fn a_seed_draws_within_the_ranges_and_the_foreign_lens_bends_the_other_way() {
        for seed in 0..50 {
            let home = MicroscopeSettings::home().drawn(seed);
            assert!((60.0..=120.0).contains(&home.lag.millis_f64()) && (0.7..=1.3).contains(&home.glow_gain));
            assert!(home.distortion[0] > 0.0 && MicroscopeSettings::foreign().drawn(seed).distortion[0] < 0.0);
            let plain = MicroscopeSettings::plain().drawn(seed);
            assert!(plain.lag == Duration::ZERO && plain.distortion.iter().all(|k| k.abs() < 1e-300));
        }
    }
}
