//! What tissue is made of: constitutive values, drawn per patient.
//!
//! **Units:** kPa (mN/mm²), mN/mm³. **Sources:** the shear modulus of brain is of order 1 kPa and white
//! matter is stiffer than grey (S. Budday et al., *Fifty shades of brain*, Arch. Comput. Methods Eng. 27,
//! 2020); brain shift with E about 2 kPa, ν 0.45 and a falling fluid level: M. I. Miga et al., IEEE Trans.
//! Med. Imaging 18, 1999. Every other range is an expert's estimate. **Not modelled:** anisotropy, at
//! home the rise of stiffness with strain, flow of fluid through the tissue: Poisson's ratio is the drained one.

use crate::kind::WorldKind;
use crate::random::Draws;

/// Weight of tissue, mN/mm³: 1.04 g/mL.
pub(super) const TISSUE_WEIGHT: f32 = 1.04 * 9.81e-3;
/// Buoyancy in CSF, mN/mm³: 1.007 g/mL.
pub(super) const FLUID_WEIGHT: f32 = 1.007 * 9.81e-3;
/// Dura, falx and tentorium are about that thick, mm.
const DURA_MM: f64 = 0.7;
/// Radius of curvature of falx and tentorium, mm.
const DURA_RADIUS_MM: f64 = 60.0;

/// Two moduli of an isotropic material.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Elastic {
    /// Shear modulus, kPa.
    pub shear: f32,
    /// Bulk modulus, kPa.
    pub bulk: f32,
}

impl Elastic {
    fn new(shear: f64, poisson: f64) -> Self {
        Self { shear: shear as f32, bulk: (shear * 2.0 * (1.0 + poisson) / (3.0 * (1.0 - 2.0 * poisson))) as f32 }
    }
}

/// One patient's materials.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Materials {
    pub white: Elastic,
    pub grey: Elastic,
    /// Enhancing rim.
    pub rim: Elastic,
    pub necrosis: Elastic,
    /// Space that fluid can leave and enter: sulci, cisterns, ventricles.
    pub fluid: Elastic,
    /// Pressure on falx or tentorium that moves it by a millimetre, kPa/mm.
    pub dura_kpa_mm: f32,
    /// What holds the brain's surface to the dura where no air has come between: arachnoid trabeculae and
    /// bridging veins, kPa/mm.
    pub tether_kpa_mm: f32,
}

impl Materials {
    pub(super) fn drawn(kind: WorldKind, draws: &mut Draws) -> Self {
        // Home: white above grey, middle of the published range. Foreign: all of it, in either order.
        let (white, ratio, poisson) = match kind {
            WorldKind::Home => (draws.log_uniform(0.6, 1.5), draws.uniform(1.1, 1.6), draws.uniform(0.45, 0.48)),
            WorldKind::Foreign => (draws.log_uniform(0.3, 2.0), draws.uniform(0.8, 2.0), draws.uniform(0.45, 0.495)),
        };
        let rim = white * draws.log_uniform(0.5, 3.0);
        let necrosis = draws.log_uniform(0.1, 0.5);
        let dura_mpa = draws.log_uniform(20.0, 60.0);
        Self {
            white: Elastic::new(white, poisson),
            grey: Elastic::new(white / ratio, poisson),
            rim: Elastic::new(rim, poisson),
            necrosis: Elastic::new(necrosis, poisson),
            fluid: Elastic { shear: 0.03, bulk: draws.log_uniform(0.3, 1.5) as f32 },
            // A shallow shell of thickness t and radius R gives way by w under the pressure E·t·w/R².
            dura_kpa_mm: (dura_mpa * 1e3 * DURA_MM / (DURA_RADIUS_MM * DURA_RADIUS_MM)) as f32,
            tether_kpa_mm: draws.log_uniform(0.005, 0.03) as f32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Purpose;

    #[test]
    fn draws_stay_in_the_published_ranges_and_keep_their_order_at_home() {
        for seed in 0..200 {
            let m = Materials::drawn(WorldKind::Home, &mut Draws::new(seed, Purpose::Shift));
            assert!((0.3..=2.0).contains(&m.grey.shear) && (0.3..=2.0).contains(&m.white.shear), "{m:?}");
            assert!(m.white.shear > m.grey.shear);
            assert!(m.white.bulk > 8.0 * m.white.shear, "nearly incompressible: {m:?}");
            let f = Materials::drawn(WorldKind::Foreign, &mut Draws::new(seed, Purpose::Shift));
            assert!(f.white.bulk.is_finite() && f.dura_kpa_mm > 3.0);
        }
    }

    #[test]
    fn moduli_follow_from_poissons_ratio() {
        // ν = ¼: K = 5/3 μ.
        let e = Elastic::new(0.9, 0.25);
        assert!((e.bulk - 1.5).abs() < 1e-6);
    }
}
