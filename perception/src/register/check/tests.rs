//! Registrations checked: sound, bumped, touched badly, and what cannot be told.

use super::super::noise::Noise;
use super::*;
use nalgebra::UnitQuaternion;

const DEMAND: Demand = Demand { limit_mm: 2.5, fle_mm: 0.8 };
const TRE_MM: f64 = 0.8;
const HEAD: [[f64; 3]; 5] =
    [[0.0, -95.0, 10.0], [72.0, 5.0, -20.0], [-72.0, 4.0, -19.0], [2.0, 92.0, -5.0], [1.0, 10.0, 88.0]];

/// A registration that errs as stated, and touches through it after the patient moved in the reference by `moved`.
fn touches(noise: &mut Noise, count: usize, moved: &Isometry3<f64>) -> (Vec<Touch>, Isometry3<f64>) {
    let pose = Isometry3::new(noise.vector(300.0), noise.vector(0.8));
    let axis = DEMAND.fle_mm / 3.0_f64.sqrt();
    // The registration's own error: all of it a shift.
    let wrong = noise.vector(TRE_MM / 3.0_f64.sqrt());
    let touch = |(i, at): (usize, &[f64; 3])| {
        let scan = Point3::from(*at);
        let touched = pose.inverse() * (moved * scan + wrong + noise.vector(axis));
        Touch { name: format!("L{i}"), scan, touched, tre_mm: TRE_MM }
    };
    (HEAD.iter().take(count).enumerate().map(touch).collect(), pose)
}

fn bump(noise: &mut Noise, mm: f64, degrees: f64) -> Isometry3<f64> {
    let turn = UnitQuaternion::from_scaled_axis(noise.vector(1.0).normalize() * degrees.to_radians());
    Isometry3::from_parts((noise.vector(1.0).normalize() * mm).into(), turn)
}

#[test]
fn a_sound_registration_is_called_sound_as_often_as_chance_says() {
    let mut noise = Noise::new(1);
    let (mut sound, mut plausible, mut all) = (0, 0, 0);
    for _ in 0..2000 {
        let (touches, pose) = touches(&mut noise, 5, &Isometry3::identity());
        let found = check(&touches, &pose, DEMAND).expect("checked");
        sound += usize::from(found.cause == Cause::Chance);
        plausible += found.landmarks.iter().filter(|l| l.plausible).count();
        all += found.landmarks.len();
    }
    assert!(sound >= 1980, "{sound} of 2000");
    let share = plausible as f64 / f64::from(all as u32);
    assert!((0.998..0.9998).contains(&share), "once in a thousand is not plausible: {share}");
}

#[test]
fn a_bumped_reference_is_told_from_a_bad_touch() {
    let mut noise = Noise::new(2);
    let mut told = [0; 3];
    for i in 0..300 {
        let shifted = bump(&mut noise, 6.0, 0.0);
        let (touches_, pose) = touches(&mut noise, 4, &shifted);
        let found = check(&touches_, &pose, DEMAND).expect("checked");
        told[0] += usize::from(matches!(found.cause, Cause::Moved { shift, .. }
            if (shift - shifted.translation.vector).norm() < 3.0));
        let turned = bump(&mut noise, 4.0, 6.0);
        let (touches_, pose) = touches(&mut noise, 5, &turned);
        let found = check(&touches_, &pose, DEMAND).expect("checked");
        told[1] += usize::from(matches!(found.cause, Cause::Moved { turn: Some(turn), .. }
            if (turn.to_degrees() - 6.0).abs() < 1.5));
        let (mut touches_, pose) = touches(&mut noise, 5, &Isometry3::identity());
        touches_[i % 5].touched += noise.vector(1.0).normalize() * 8.0;
        let found = check(&touches_, &pose, DEMAND).expect("checked");
        told[2] += usize::from(found.cause == Cause::BadTouch { index: i % 5 });
        assert!(!found.within(), "8 mm");
        assert!(!matches!(found.cause, Cause::Moved { .. }), "a bad touch is no reason to register anew: {found:?}");
    }
    assert!(told[0] >= 294 && told[1] >= 285 && told[2] >= 285, "{told:?} of 300");
}

#[test]
fn what_cannot_be_told_is_said() {
    let mut noise = Noise::new(3);
    let (one, pose) = touches(&mut noise, 1, &bump(&mut Noise::new(9), 8.0, 0.0));
    let found = check(&one, &pose, DEMAND).expect("checked");
    assert!(found.cause == Cause::TooFew && !found.within(), "{found:?}");
    let (mut two, pose) = touches(&mut noise, 2, &Isometry3::identity());
    two[1].touched += noise.vector(1.0).normalize() * 8.0;
    assert_eq!(check(&two, &pose, DEMAND).expect("checked").cause, Cause::TooFew, "a turn about the other, or a touch");
    // Of three, one that is off across the line through the others is a turn about that line, or a bad touch.
    let (mut three, pose) = touches(&mut noise, 3, &Isometry3::identity());
    three[0].touched += pose.rotation.inverse() * Vector3::new(0.0, 0.0, 8.0);
    assert_eq!(check(&three, &pose, DEMAND).expect("checked").cause, Cause::TooFew);
    let (mut many, pose) = touches(&mut noise, 5, &Isometry3::identity());
    for (touch, by) in many.iter_mut().zip([9.0, -9.0, 9.0]) {
        touch.touched += noise.vector(1.0).normalize() * by;
    }
    assert_eq!(check(&many, &pose, DEMAND).expect("checked").cause, Cause::Neither);
}

#[test]
fn a_limit_finer_than_the_predicted_error_is_missed_by_chance() {
    let (touches, pose) = touches(&mut Noise::new(4), 5, &Isometry3::identity());
    let found = check(&touches, &pose, Demand { limit_mm: 0.05, ..DEMAND }).expect("checked");
    assert!(!found.within() && found.cause == Cause::Chance, "{found:?}");
}

#[test]
fn what_is_nothing_or_no_number_is_refused_by_name() {
    let (mut touches, pose) = touches(&mut Noise::new(5), 3, &Isometry3::identity());
    assert_eq!(check(&[], &pose, DEMAND), Err(Unchecked::None));
    for demand in [Demand { limit_mm: 0.0, ..DEMAND }, Demand { fle_mm: -1.0, ..DEMAND }] {
        assert!(matches!(check(&touches, &pose, demand), Err(Unchecked::Demand { .. })), "{demand:?}");
    }
    touches[2].tre_mm = f64::NAN;
    assert!(matches!(check(&touches, &pose, DEMAND), Err(Unchecked::Demand { .. })));
    touches[2].tre_mm = TRE_MM;
    touches[1].touched.z = f64::INFINITY;
    assert_eq!(check(&touches, &pose, DEMAND), Err(Unchecked::NotFinite { name: "L1".into() }));
}
