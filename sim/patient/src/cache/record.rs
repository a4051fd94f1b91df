//! A patient as bytes, and back.
//!
//! The warp is drawn again when somebody asks for it: 4 MB that hardly pack, for 0.1 s. Distances are kept:
//! they pack to little, and computing them takes longer than all else here. **Invariant:** what comes back
//! equals what went in, bit by bit, in every field. A field that is added to a patient does not compile until
//! it is kept here.

use super::bytes::{Damaged, Reader, Writer};
use crate::anatomy::head::{Head, coarse_of};
use crate::anatomy::vessels::{Branch, VesselKind};
use crate::anatomy::warp::{Ground, Variety, Warp};
use crate::patient::Patient;
use crate::scanner::ScannerSettings;
use crate::scanner::contrasts::ContrastMode;
use crate::truth::{Label, Truth};
use bregma_core::digest::{Digest, Digester};
use bregma_core::flow::{Capsule, Corridor, Craniotomy};
use nalgebra::Matrix3;

/// Everything but the warp's two maps.
pub(super) fn write(patient: &Patient) -> Vec<u8> {
    let Patient {
        seed,
        uid,
        head,
        truth,
        vessels,
        branches,
        craniotomy,
        corridor,
        enhances,
        scanner,
        eloquent_coarse,
        core_ml,
        growth_days,
        murray_exponent,
    } = patient;
    let mut w = Writer(Vec::with_capacity(40 << 20));
    w.0.extend(seed.to_le_bytes());
    w.bytes(uid.as_bytes());
    w.0.push(u8::from(*enhances));
    write_scanner(&mut w, scanner);
    w.f64s(&[*core_ml, *growth_days, murray_exponent.unwrap_or(f64::NAN)]);
    let Craniotomy { centre, outward, radius_mm } = craniotomy;
    w.point(centre);
    w.vector(outward);
    w.f64(*radius_mm);
    let Corridor { entry, target, entry_radius_mm, end_radius_mm, open_mm } = corridor;
    w.point(entry);
    w.point(target);
    w.f64s(&[*entry_radius_mm, *end_radius_mm, *open_mm]);
    write_vessels(&mut w, vessels, branches);
    let Head { grid, t1, tissue, sheets, coarse: _, depth, warp } = head;
    write_ground(&mut w, warp.ground());
    w.grid(grid);
    w.bytes(t1);
    w.bytes(tissue);
    w.bytes(sheets);
    w.f32s(depth);
    w.bytes(eloquent_coarse);
    let Truth { grid, density, labels, eloquent, eloquent_mm, vessel_mm, thin_vessel_mm } = truth;
    w.grid(grid);
    for field in [density, eloquent_mm, vessel_mm, thin_vessel_mm] {
        w.f32s(field);
    }
    w.bytes(&labels.iter().map(|l| *l as u8).collect::<Vec<_>>());
    w.bytes(eloquent);
    w.0
}

/// The patient that [`write`] was given.
pub(super) fn read(bytes: &[u8]) -> Result<Patient, Damaged> {
    let mut r = Reader::new(bytes);
    let seed = r.u64()?;
    let uid = String::from_utf8(r.bytes()?.to_vec()).map_err(|_| r.wrong("the UID"))?;
    let enhances = r.byte()? != 0;
    let scanner = read_scanner(&mut r)?;
    let [core_ml, growth_days, murray] = r.f64s()?;
    let craniotomy = Craniotomy { centre: r.point()?, outward: r.vector()?, radius_mm: r.f64()? };
    let (entry, target) = (r.point()?, r.point()?);
    let [entry_radius_mm, end_radius_mm, open_mm] = r.f64s()?;
    let corridor = Corridor { entry, target, entry_radius_mm, end_radius_mm, open_mm };
    let (vessels, branches) = read_vessels(&mut r)?;
    let warp = Warp::on(read_ground(&mut r)?, seed);
    let grid = r.grid()?;
    let (t1, tissue, sheets) = (r.voxels(&grid)?, r.voxels(&grid)?, r.voxels(&grid)?);
    let coarse = coarse_of(&grid);
    let depth = r.f32_voxels(&coarse)?;
    let head = Head { grid, t1, tissue, sheets, coarse, depth, warp };
    let eloquent_coarse = r.voxels(&coarse)?;
    let grid = r.grid()?;
    let density = r.f32_voxels(&grid)?;
    let eloquent_mm = r.f32_voxels(&grid)?;
    let (vessel_mm, thin_vessel_mm) = (r.f32_voxels(&grid)?, r.f32_voxels(&grid)?);
    let labels = r.voxels(&grid)?;
    let labels = labels.into_iter().map(Label::from_byte).collect::<Option<_>>().ok_or_else(|| r.wrong("a label"))?;
    let eloquent = r.voxels(&grid)?;
    r.end()?;
    Ok(Patient {
        seed,
        uid,
        head,
        truth: Truth { grid, density, labels, eloquent, eloquent_mm, vessel_mm, thin_vessel_mm },
        vessels,
        branches,
        craniotomy,
        corridor,
        enhances,
        scanner,
        eloquent_coarse,
        core_ml,
        growth_days,
        murray_exponent: Some(murray).filter(|m| !m.is_nan()),
    })
}

/// Of everything, the warp's maps too.
pub(super) fn digest(patient: &Patient) -> Digest {
    let mut digester = Digester::new("bregma patient content 1");
    digester.bytes(&write(patient));
    digester.f64s(&patient.head.warp.numbers()).finish()
}

fn write_scanner(w: &mut Writer, scanner: &ScannerSettings) {
    let ScannerSettings { contrasts, thick_share, motion_share, partial_share, noise_rise } = scanner;
    w.0.push(match contrasts {
        ContrastMode::Measured => 0,
        ContrastMode::Randomised => 1,
        ContrastMode::Foreign => 2,
    });
    w.f64s(&[*thick_share, *motion_share, *partial_share, *noise_rise]);
}

fn read_scanner(r: &mut Reader<'_>) -> Result<ScannerSettings, Damaged> {
    let contrasts = match r.byte()? {
        0 => ContrastMode::Measured,
        1 => ContrastMode::Randomised,
        2 => ContrastMode::Foreign,
        _ => return Err(r.wrong("the scanner's contrasts")),
    };
    let [thick_share, motion_share, partial_share, noise_rise] = r.f64s()?;
    Ok(ScannerSettings { contrasts, thick_share, motion_share, partial_share, noise_rise })
}

fn write_vessels(w: &mut Writer, pieces: &[Capsule], branches: &[Branch]) {
    w.size(pieces.len());
    for (Capsule { start, end, radius_mm }, Branch { kind, parent }) in pieces.iter().zip(branches) {
        w.point(start);
        w.point(end);
        w.f64(*radius_mm);
        w.0.push(u8::from(*kind == VesselKind::Vein));
        // A parent comes before its children, so 0 is free for none.
        w.size(parent.map_or(0, |p| p + 1));
    }
}

fn read_vessels(r: &mut Reader<'_>) -> Result<(Vec<Capsule>, Vec<Branch>), Damaged> {
    let (mut pieces, mut branches) = (Vec::new(), Vec::new());
    for n in 0..r.size()? {
        pieces.push(Capsule { start: r.point()?, end: r.point()?, radius_mm: r.f64()? });
        let kind = if r.byte()? == 0 { VesselKind::Artery } else { VesselKind::Vein };
        let parent = r.size()?.checked_sub(1);
        if parent.is_some_and(|p| p >= n) {
            return Err(r.wrong("a vessel's parent"));
        }
        branches.push(Branch { kind, parent });
    }
    Ok((pieces, branches))
}

fn write_ground(w: &mut Writer, ground: &Ground) {
    let Ground { template, own_from_mni, variety: Variety { share, smooth_mm } } = ground;
    w.grid(template);
    w.f64s(own_from_mni.as_slice());
    w.f64s(&[*share, *smooth_mm]);
}

fn read_ground(r: &mut Reader<'_>) -> Result<Ground, Damaged> {
    let template = r.grid()?;
    let own_from_mni = Matrix3::from_column_slice(&r.f64s::<9>()?);
    let [share, smooth_mm] = r.f64s()?;
    Ok(Ground { template, own_from_mni, variety: Variety { share, smooth_mm } })
}
