//! The picture against the world that it shows.

use super::blood::{Film, Films};
use super::render::{CYCLE, Renderer, Surroundings};
use super::settings::MicroscopeSettings;
use crate::patient::tests::grown;
use crate::shift::field::Field;
use crate::truth::{Label, OPEN, REMOVED, SOLID};
use crate::world::TipInPatient;
use bregma_core::flow::{CameraCalibration, Light, RANGE_PER_MM, RANGE_SIZE, RangeImage, VideoFrame, tile_middle};
use bregma_core::frame::{FrameId, Pose};
use bregma_core::time::{Duration, Instant};
use bregma_core::units::Millimetres;
use nalgebra::{Isometry3, Matrix3, Rotation3, Translation3, UnitQuaternion, Vector3};

const SIZE: [usize; 2] = [240, 135];

/// A camera 330 mm above the corridor's floor, straight above it, 40 mm wide there.
fn camera() -> CameraCalibration {
    let p = grown();
    let axis = -p.craniotomy.outward;
    let floor = p.corridor.entry + axis * p.corridor.open_mm;
    let x = axis.cross(&Vector3::new(0.3, 0.5, 0.8)).normalize();
    let turn = Rotation3::from_matrix_unchecked(Matrix3::from_columns(&[x, axis.cross(&x), axis]));
    let eye = floor - axis * 330.0;
    let iso = Isometry3::from_parts(Translation3::from(eye.coords), UnitQuaternion::from_rotation_matrix(&turn));
    CameraCalibration {
        focal_px: [SIZE[0] as f64 * 330.0 / 40.0; 2],
        centre_px: [(SIZE[0] as f64 - 1.0) / 2.0, (SIZE[1] as f64 - 1.0) / 2.0],
        size_px: SIZE,
        patient_from_camera: Pose::between(p.frame(), FrameId::SOLE, iso).expect("finite"),
        error: Millimetres::constant(0.0),
    }
}

fn state() -> Vec<u8> {
    let p = grown();
    (0..p.truth.grid.len()).map(|i| if p.open_at_start(i) { OPEN } else { SOLID }).collect()
}

/// Nothing between the tissue and the picture but the lens.
fn clear(settings: MicroscopeSettings) -> MicroscopeSettings {
    MicroscopeSettings {
        noise_levels: 0.0,
        bleaching: false,
        cotton_per_minute: 0.0,
        hands_per_minute: 0.0,
        depth_of_field_mm: 1000.0,
        ..settings
    }
}

fn renderer(settings: &MicroscopeSettings, light: Light, state: Vec<u8>) -> Renderer {
    Renderer::with(grown(), camera(), light, state, settings)
}

fn ms(n: u64) -> Instant {
    Instant::START + Duration::from_millis(n)
}

fn follow(r: &mut Renderer, time: Instant, light: Light, field: &Field, blood: &Films) {
    r.follow(&Surroundings { time, light, field, blood, down: -grown().craniotomy.outward });
}

/// An instrument that leans, its tip that far above the corridor's floor.
fn leaning(above_mm: f64) -> TipInPatient {
    let p = grown();
    let axis = -p.craniotomy.outward;
    let at = p.corridor.entry + axis * (p.corridor.open_mm - above_mm);
    let lean = (axis + axis.cross(&Vector3::new(0.3, 0.5, 0.8)).normalize() * 0.5).normalize();
    let turn = UnitQuaternion::rotation_between(&Vector3::z(), &lean).unwrap_or_default();
    let iso = Isometry3::from_parts(Translation3::from(at.coords), turn);
    Pose::between(p.frame(), FrameId::SOLE, iso).expect("finite")
}

/// The picture with the tool far away.
fn shot(r: &Renderer, time: Instant) -> Vec<u8> {
    let p = grown();
    let far = p.craniotomy.centre + p.craniotomy.outward * 900.0;
    let iso = Isometry3::from_parts(Translation3::from(far.coords), UnitQuaternion::identity());
    let tip: TipInPatient = Pose::between(p.frame(), FrameId::SOLE, iso).expect("finite");
    let mut frame = VideoFrame::black(SIZE[0], SIZE[1]);
    r.picture(&tip, time, &mut frame);
    frame.rgb
}

/// Tissue around the floor goes 3 mm aside and 2 mm down.
fn moved() -> Field {
    let p = grown();
    let axis = -p.craniotomy.outward;
    let off = axis * 2.0 + axis.cross(&Vector3::new(0.3, 0.5, 0.8)).normalize() * 3.0;
    let middle = p.corridor.entry + axis * p.corridor.open_mm;
    let grid = bregma_core::grid::Grid::centred(middle, [31; 3], 4.0);
    let mut field = Field::still(grid);
    field.update(|u| {
        for (index, u) in u.iter_mut().enumerate() {
            let far2 = (grid.centre(grid.voxel(index)) - middle).norm_squared();
            *u = (off * libm::exp(-far2 / (2.0 * 25.0 * 25.0))).cast::<f32>();
        }
    });
    field
}

#[test]
fn a_moved_voxel_is_shown_where_it_is_now() {
    let p = grown();
    let grid = p.truth.grid;
    let (field, dry) = (moved(), Films::default());
    for settings in [MicroscopeSettings::plain(), MicroscopeSettings::home()] {
        let mut r = renderer(&clear(settings), Light::White, state());
        let on_floor: Vec<usize> = (50..86_usize)
            .step_by(3)
            .flat_map(|y| (98..142).step_by(4).map(move |x| y * SIZE[0] + x))
            .filter_map(|pixel| r.sees(pixel))
            .collect();
        follow(&mut r, ms(0), Light::White, &field, &dry);
        let (mut right, mut stale, mut n) = (0, 0, 0);
        for voxel in on_floor {
            let rest = grid.centre(grid.voxel(voxel));
            let sees = |at: &nalgebra::Point3<f64>| {
                let (u, v, _) = r.project(at)?;
                let inside = (0.0..SIZE[0] as f64 - 1.0).contains(&u) && (0.0..SIZE[1] as f64 - 1.0).contains(&v);
                let pixel = inside.then(|| v.round() as usize * SIZE[0] + u.round() as usize)?;
                let seen = grid.voxel(r.sees(pixel)?);
                Some((0..3).map(|a| seen[a].abs_diff(grid.voxel(voxel)[a])).max().unwrap_or(0))
            };
            n += 1;
            right += usize::from(sees(&field.now(&rest)).is_some_and(|off| off <= 1));
            stale += usize::from(sees(&rest).is_some_and(|off| off <= 1));
        }
        assert!(n > 100 && right * 10 >= n * 9, "{:?}: {right} of {n}", settings.look);
        assert!(stale * 3 < n, "{:?}: {stale} of {n} are seen where they were at rest", settings.look);
    }
}

#[test]
fn what_is_kept_up_to_date_is_what_is_made_anew() {
    let p = grown();
    let axis = -p.craniotomy.outward;
    let grid = p.truth.grid;
    let middle = p.corridor.entry + axis * (p.corridor.open_mm + 2.0);
    for settings in [MicroscopeSettings::plain(), MicroscopeSettings::home(), MicroscopeSettings::foreign()] {
        let settings = clear(settings);
        let mut at = state();
        let removed: Vec<u32> = (0..grid.len())
            .filter(|i| at[*i] == SOLID && p.truth.labels[*i].tissue())
            .filter(|i| nalgebra::distance(&grid.centre(grid.voxel(*i)), &middle) < 4.0)
            .map(|i| i as u32)
            .collect();
        assert!(removed.len() > 50);
        let films = Films {
            films: (0..grid.len())
                .filter(|i| at[*i] == SOLID && nalgebra::distance(&grid.centre(grid.voxel(*i)), &middle) < 7.0)
                .map(|i| Film { voxel: i as u32, blood: 200, wet: 220 })
                .collect(),
            version: 1,
        };
        let (still, field, dry) = (Field::still(*moved().grid()), moved(), Films::default());
        let mut kept = renderer(&settings, Light::White, at.clone());
        follow(&mut kept, ms(0), Light::White, &still, &dry);
        let first = shot(&kept, ms(0));
        for (n, some) in removed.chunks(30).enumerate() {
            follow(&mut kept, ms(40 * n as u64), Light::White, if n > 1 { &field } else { &still }, &dry);
            kept.open(some);
        }
        // The colours of the other light and back, then two whole rounds.
        let later = 40 * removed.len() as u64;
        follow(&mut kept, ms(later), Light::Violet, &field, &dry);
        for n in 1..=24 {
            follow(&mut kept, ms(later + 40 * n), Light::White, &field, &films);
        }
        assert!(24 * 40 >= 2 * CYCLE.nanos() / 1_000_000);
        removed.iter().for_each(|i| at[*i as usize] = REMOVED);
        let mut anew = renderer(&settings, Light::White, at);
        follow(&mut anew, ms(0), Light::White, &field, &films);
        assert!(shot(&kept, ms(7)) == shot(&anew, ms(7)), "{:?}", settings.look);
        assert!(shot(&kept, ms(7)) != first);
    }
}

#[test]
fn a_plain_picture_shows_the_first_solid_voxel_in_its_tissues_colour() {
    let p = grown();
    let (grid, camera, state) = (p.truth.grid, camera(), state());
    let r = renderer(&clear(MicroscopeSettings::plain()), Light::White, state.clone());
    let rgb = shot(&r, ms(0));
    let eye = camera.patient_from_camera.position().coordinates();
    let (mut all, mut n, mut cut, mut kinds) = (0, 0, 0, std::collections::BTreeSet::new());
    for pixel in (0..SIZE[0] * SIZE[1]).step_by(37) {
        let Some(seen) = r.sees(pixel) else { continue };
        let ray = camera.ray((pixel % SIZE[0]) as f64, (pixel / SIZE[0]) as f64);
        // By small steps from the craniotomy's plane.
        let plane = (p.craniotomy.centre - eye).dot(&p.craniotomy.outward) / ray.dot(&p.craniotomy.outward);
        let solid = (0..24_000).find_map(|step| {
            let voxel = grid.containing(&(eye + ray * (plane + 0.005 * f64::from(step))))?;
            Some(grid.index(voxel)).filter(|i| state[*i] == SOLID)
        });
        // A corner that the ray cuts by less than a step is stepped over.
        all += 1;
        cut += usize::from(solid != Some(seen));
        // Colours are the tissue's own times one shade.
        let own = match p.truth.labels[seen] {
            _ if p.truth.vessel_mm[seen].min(p.truth.thin_vessel_mm[seen]) < 0.3 => continue,
            Label::White => [230.0, 210.0, 190.0],
            Label::Infiltrated => [215.0, 180.0, 165.0],
            Label::Enhancing => [165.0, 105.0, 100.0],
            Label::Necrosis => [160.0, 150.0, 95.0],
            _ => continue,
        };
        kinds.insert(p.truth.labels[seen] as u8);
        n += 1;
        let shown = &rgb[pixel * 3..pixel * 3 + 3];
        let shade = f64::from(shown[0]) / own[0];
        assert!((0.29..=1.0).contains(&shade), "pixel {pixel}: {shown:?}");
        for c in 1..3 {
            assert!((f64::from(shown[c]) - own[c] * shade).abs() < 2.0, "pixel {pixel}: {shown:?}");
        }
    }
    assert!(cut * 100 < all, "{cut} of {all} pixels see another voxel than small steps find");
    assert!(n > 60 && kinds.len() >= 2, "{n} pixels of {} tissues", kinds.len());
}

/// Pixels that glow: more red than blue by far.
fn glowing(rgb: &[u8]) -> Vec<usize> {
    let red = |p: &[u8]| p[0] > 110 && u32::from(p[0]) * 2 > u32::from(p[2]) * 3;
    rgb.chunks_exact(3).enumerate().filter(|(_, p)| red(p)).map(|(i, _)| i).collect()
}

fn mean_red(rgb: &[u8], pixels: &[usize]) -> f64 {
    pixels.iter().map(|i| f64::from(rgb[i * 3])).sum::<f64>() / pixels.len().max(1) as f64
}

#[test]
fn fluorescence_fades_to_36_percent_in_25_minutes_of_violet_light() {
    let settings = MicroscopeSettings { bleaching: true, ..clear(MicroscopeSettings::plain()) };
    let mut r = renderer(&settings, Light::Violet, state());
    let (still, dry) = (Field::still(*moved().grid()), Films::default());
    let glow = |rgb: &[u8], pixel: usize| {
        // Red is shade · (22 + 190 g), blue shade · (72 + 10 g).
        let (red, blue) = (f64::from(rgb[pixel * 3]), f64::from(rgb[pixel * 3 + 2]));
        (72.0 * red - 22.0 * blue) / (190.0 * blue - 10.0 * red)
    };
    follow(&mut r, ms(0), Light::Violet, &still, &dry);
    let before = shot(&r, ms(0));
    let bright = glowing(&before);
    assert!(bright.len() > 100, "{}", bright.len());
    follow(&mut r, ms(25 * 60_000), Light::Violet, &still, &dry);
    let after = shot(&r, ms(0));
    let mean = |rgb: &[u8]| bright.iter().map(|i| glow(rgb, *i)).sum::<f64>() / bright.len() as f64;
    let left = mean(&after) / mean(&before);
    assert!((left - 0.36).abs() < 0.02, "{left}");
}

#[test]
fn blood_hides_fluorescence_and_cleared_it_shows_again() {
    let p = grown();
    let mut r = renderer(&clear(MicroscopeSettings::home()), Light::Violet, state());
    let (still, dry) = (Field::still(*moved().grid()), Films::default());
    follow(&mut r, ms(0), Light::Violet, &still, &dry);
    let before = shot(&r, ms(0));
    let bright = glowing(&before);
    assert!(bright.len() > 100, "{}", bright.len());
    let all = (0..p.truth.grid.len() as u32).map(|voxel| Film { voxel, blood: 255, wet: 255 });
    let covered = Films { films: all.collect(), version: 1 };
    follow(&mut r, ms(1000), Light::Violet, &still, &covered);
    let hidden = shot(&r, ms(0));
    assert!(mean_red(&hidden, &bright) < 0.25 * mean_red(&before, &bright), "{}", mean_red(&hidden, &bright));
    follow(&mut r, ms(2000), Light::Violet, &still, &Films { films: Vec::new(), version: 2 });
    assert!(shot(&r, ms(0)) == before);
}

#[test]
fn cotton_and_hands_hide_what_lies_below_them() {
    let busy = MicroscopeSettings {
        cotton_per_minute: 4.0,
        hands_per_minute: 6.0,
        noise_levels: 0.0,
        ..MicroscopeSettings::home()
    };
    let (free, hidden) = (
        renderer(&clear(busy), Light::Violet, state()),
        renderer(&MicroscopeSettings { depth_of_field_mm: 1000.0, ..busy }, Light::Violet, state()),
    );
    let below = shot(&free, ms(0));
    let bright = glowing(&below);
    let (mut covered, mut clear) = (0, 0);
    for s in 0..120 {
        let above = shot(&hidden, ms(s * 1000));
        let gone = bright.iter().filter(|i| above[**i * 3 + 2] > above[**i * 3]).count();
        covered += usize::from(gone * 20 > bright.len());
        clear += usize::from(above == below);
    }
    assert!(covered > 5 && clear > 5, "covered in {covered} and clear in {clear} of 120 pictures");
}

#[test]
fn the_tool_throws_its_shadow_beside_itself() {
    let r = renderer(&clear(MicroscopeSettings::home()), Light::White, state());
    let tip = leaning(6.0);
    let mut frame = VideoFrame::black(SIZE[0], SIZE[1]);
    r.picture(&tip, ms(0), &mut frame);
    let without = shot(&r, ms(0));
    let pairs = || frame.rgb.chunks_exact(3).zip(without.chunks_exact(3));
    // In shadow all three colours fall by one factor; on metal they do not.
    let dark = pairs().filter(|(a, b)| {
        let share = |c: usize| f64::from(a[c]) / f64::from(b[c].max(1));
        b[2] > 60 && share(0) < 0.6 && (share(0) - share(1)).abs() < 0.03 && (share(0) - share(2)).abs() < 0.03
    });
    let changed = pairs().filter(|(a, b)| a != b).count();
    let dark = dark.count();
    assert!(dark > 100 && changed > dark + 300, "{dark} in shadow, {changed} changed");
}

#[test]
fn a_stereo_microscope_measures_how_far_away_tissue_and_shaft_are() {
    let out_of_view = leaning(-900.0);
    let mut image = RangeImage::blank();
    let plain = renderer(&MicroscopeSettings::plain(), Light::White, state());
    assert!(!plain.ranges(&out_of_view, ms(0), &mut image), "one lens measures nothing");
    let exact =
        MicroscopeSettings { range_noise_mm: Some(0.01), range_bias_mm: 0.0, ..clear(MicroscopeSettings::home()) };
    let home = renderer(&exact, Light::White, state());
    assert!(home.ranges(&out_of_view, ms(0), &mut image));
    assert!((image.noise_mm - 0.01).abs() < 1e-12 && image.captured == ms(0));
    // What a tile's middle sees projects there, as far away as was measured.
    let (mut held, mut wild) = (0, 0);
    for (tile, range) in image.ranges.iter().enumerate().filter(|(_, range)| **range > 0) {
        let [x, y] = tile_middle(tile, SIZE).map(|c| c.round() as usize);
        let Some(voxel) = home.sees(y * SIZE[0] + x) else { continue };
        let grid = &grown().truth.grid;
        let (_, _, depth) = home.project(&grid.centre(grid.voxel(voxel))).expect("in front");
        held += 1;
        // A smooth surface lies within two voxels of the one it was made from.
        wild += usize::from((f64::from(*range) / RANGE_PER_MM - depth).abs() > 2.5);
    }
    assert!(held > RANGE_SIZE[0] * RANGE_SIZE[1] / 3 && wild * 20 < held, "{wild} of {held}");
    // The shaft is nearer than what it hides.
    let mut hidden = image.clone();
    home.ranges(&leaning(6.0), ms(0), &mut hidden);
    let nearer = image.ranges.iter().zip(&hidden.ranges).filter(|(a, b)| **b > 0 && **a > **b + 64).count();
    assert!(nearer >= 3, "{nearer} tiles");
    // Noise and bias are as stated.
    let rough = MicroscopeSettings { range_noise_mm: Some(0.5), range_bias_mm: 0.0, ..exact };
    let mut noisy = image.clone();
    renderer(&rough, Light::White, state()).ranges(&out_of_view, ms(0), &mut noisy);
    let mut off: Vec<f64> = image
        .ranges
        .iter()
        .zip(&noisy.ranges)
        .filter(|(a, b)| **a > 0 && **b > 0)
        .map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs() / RANGE_PER_MM)
        .collect();
    off.sort_by(f64::total_cmp);
    // Half of a normal draw's sizes lie below 0.67 standard deviations.
    let median = off[off.len() / 2];
    assert!((0.25..0.42).contains(&median), "{median}");
}
