//! Registrations by landmarks, exact, noisy and mistaken.

use super::super::noise::Noise;
use super::*;

/// A head's fiducials: somewhere on an ellipsoid, above the ears.
fn head(noise: &mut Noise, count: usize) -> Vec<Point3<f64>> {
    let place = |noise: &mut Noise| {
        let (around, up) = (noise.between(0.0, std::f64::consts::TAU), noise.between(0.0, 1.2));
        Point3::new(75.0 * around.cos() * up.cos(), 95.0 * around.sin() * up.cos(), 80.0 * up.sin())
    };
    (0..count).map(|_| place(noise)).collect()
}

fn somewhere(noise: &mut Noise) -> Isometry3<f64> {
    Isometry3::new(noise.vector(300.0), noise.vector(0.8))
}

/// The same touched through a tracker, with an error of this standard deviation along each axis.
fn touched(
    noise: &mut Noise,
    scan: &[Point3<f64>],
    patient_from_reference: &Isometry3<f64>,
    deviations: [f64; 3],
) -> Vec<Fiducial> {
    let each = scan.iter().enumerate().map(|(i, at)| {
        let error = noise.vector(1.0).component_mul(&Vector3::from(deviations));
        Fiducial {
            name: format!("F{i}"),
            scan: *at,
            touched: patient_from_reference.inverse() * at + error,
            scan_error: Matrix3::zeros(),
            touched_error: Matrix3::from_diagonal(&Vector3::from(deviations.map(|d| d * d))),
        }
    });
    each.collect()
}

#[test]
fn exact_fiducials_register_exactly() {
    let mut noise = Noise::new(1);
    for count in [3, 4, 7, 20] {
        let (scan, truth) = (head(&mut noise, count), somewhere(&mut noise));
        let fiducials: Vec<_> = scan.iter().map(|p| Fiducial::new("F", *p, truth.inverse() * p, 1.0)).collect();
        let found = register(&fiducials).expect("registers");
        let apart = found.patient_from_reference.inverse() * truth;
        assert!(apart.translation.vector.norm() < 1e-9 && apart.rotation.angle() < 1e-9, "{count}: {apart}");
        assert!(found.fre_mm < 1e-9);
    }
}

#[test]
fn the_predicted_error_is_the_formula_of_fitzpatrick_where_errors_are_equal() {
    let mut noise = Noise::new(2);
    let scan = head(&mut noise, 6);
    let fiducials: Vec<_> = scan.iter().map(|p| Fiducial::new("F", *p, *p, 0.9)).collect();
    let found = register(&fiducials).expect("registers");
    let middle = Point3::from(scan.iter().map(|p| p.coords).sum::<Vector3<f64>>() / 6.0);
    let moments = scan.iter().fold(Matrix3::zeros(), |sum, p| sum + (p - middle) * (p - middle).transpose());
    let axes = moments.symmetric_eigen();
    let target = Point3::new(20.0, -15.0, 30.0);
    // d and f are the distances of target and fiducials from each principal axis.
    let mut sum = 0.0;
    for k in 0..3 {
        let axis = axes.eigenvectors.column(k);
        let from_axis = |p: &Point3<f64>| {
            let arm = p - middle;
            arm.norm_squared() - arm.dot(&axis).powi(2)
        };
        let f = scan.iter().map(from_axis).sum::<f64>() / 6.0;
        sum += from_axis(&target) / f;
    }
    let formula = 0.9 * ((1.0 + sum / 3.0) / 6.0).sqrt();
    assert!(
        (found.error.rms_mm(&target) / formula - 1.0).abs() < 1e-9,
        "{} beside {formula}",
        found.error.rms_mm(&target)
    );
}

/// Set-ups whose prediction is within a tenth of what draws show, of all.
fn as_predicted(noise: &mut Noise, setups: usize, deviations: impl Fn(&mut Noise) -> [f64; 3]) -> usize {
    const DRAWS: usize = 400;
    let mut good = 0;
    for _ in 0..setups {
        let count = noise.between(5.0, 12.0) as usize;
        let (scan, truth, deviations) = (head(noise, count), somewhere(noise), deviations(noise));
        let target = Point3::from(noise.vector(25.0));
        let (mut squares, mut predicted, mut n) = (0.0, 0.0, 0.0);
        for _ in 0..DRAWS {
            let Ok(found) = register(&touched(noise, &scan, &truth, deviations)) else { continue };
            let at = found.patient_from_reference * (truth.inverse() * target);
            squares += (at - target).norm_squared();
            predicted += found.error.at(&target).trace();
            n += 1.0;
        }
        assert!(n > 0.98 * DRAWS as f64, "chance refuses one in a thousand: {n}");
        let ratio = (predicted / squares).sqrt();
        good += usize::from((0.9..=1.0 / 0.9).contains(&ratio));
    }
    good
}

#[test]
fn predicted_errors_are_those_that_draws_show() {
    let mut noise = Noise::new(3);
    let alike = as_predicted(&mut noise, 40, |noise| [noise.between(0.2, 1.0); 3]);
    assert!(alike >= 38, "{alike} of 40 with equal errors");
    let apart = as_predicted(&mut noise, 40, |noise| {
        let across = noise.between(0.2, 0.5);
        [across, across, 3.0 * across]
    });
    assert!(apart >= 38, "{apart} of 40 with an error that is three times as large along the camera's axis");
}

#[test]
fn a_full_covariance_registers_better_than_equal_weights() {
    let mut noise = Noise::new(4);
    let (scan, truth) = (head(&mut noise, 6), somewhere(&mut noise));
    let target = Point3::new(10.0, 20.0, 30.0);
    let mut squares = [0.0; 2];
    for _ in 0..300 {
        let fiducials = touched(&mut noise, &scan, &truth, [0.2, 0.2, 1.5]);
        let alike: Vec<_> = fiducials
            .iter()
            .map(|f| Fiducial {
                touched_error: Matrix3::from_diagonal_element(f.touched_error.trace() / 3.0),
                ..f.clone()
            })
            .collect();
        for (squares, fiducials) in squares.iter_mut().zip([&fiducials, &alike]) {
            let Ok(found) = register(fiducials) else { continue };
            *squares += (found.patient_from_reference * (truth.inverse() * target) - target).norm_squared();
        }
    }
    assert!(squares[0] < 0.7 * squares[1], "{squares:?}");
}

#[test]
fn a_line_and_too_few_are_refused() {
    let two = [Point3::origin(), Point3::new(50.0, 0.0, 0.0)];
    let exact = |points: &[Point3<f64>]| -> Vec<_> { points.iter().map(|p| Fiducial::new("F", *p, *p, 0.5)).collect() };
    assert_eq!(register(&exact(&two)), Err(Unfit::TooFew { found: 2 }));
    let line: Vec<_> = (0..5).map(|i| Point3::new(20.0 * f64::from(i), 10.0 * f64::from(i), 0.0)).collect();
    assert!(matches!(register(&exact(&line)), Err(Unfit::Line { .. })), "{:?}", register(&exact(&line)));
    let mut nearly = line.clone();
    nearly[2].z = 2.0;
    let said = register(&exact(&nearly)).expect_err("nearly a line").to_string();
    assert!(said.contains("off one line"), "{said}");
    let same = [Point3::new(1.0, 2.0, 3.0); 4];
    assert!(matches!(register(&exact(&same)), Err(Unfit::Line { .. })));
}

#[test]
fn what_is_no_number_and_an_error_of_nothing_are_refused_by_name() {
    let mut fiducials: Vec<_> =
        head(&mut Noise::new(5), 4).iter().map(|p| Fiducial::new("nasion", *p, *p, 0.5)).collect();
    fiducials[2].touched.y = f64::NAN;
    assert!(register(&fiducials).expect_err("refused").to_string().contains("nasion: a coordinate"));
    fiducials[2].touched.y = 0.0;
    fiducials[3].touched_error = Matrix3::zeros();
    assert!(register(&fiducials).expect_err("refused").to_string().contains("localisation error"));
}

#[test]
fn single_mistakes_are_found_and_named() {
    let mut noise = Noise::new(6);
    let mut named = [0; 4];
    for _ in 0..50 {
        let (scan, truth) = (head(&mut noise, 6), somewhere(&mut noise));
        let sound = touched(&mut noise, &scan, &truth, [0.4; 3]);
        let mut swapped = sound.clone();
        (swapped[1].touched, swapped[4].touched) = (sound[4].touched, sound[1].touched);
        named[0] += usize::from(matches!(
            register(&swapped),
            Err(Unfit::Swapped { first, second, .. }) if first == "F1" && second == "F4"
        ));
        let mut apart = sound.clone();
        apart[3].touched += noise.vector(1.0).normalize() * 30.0;
        named[1] += usize::from(matches!(register(&apart), Err(Unfit::Apart { name, .. }) if name == "F3"));
        let mirrored: Vec<_> =
            sound.iter().map(|f| Fiducial { scan: Point3::new(-f.scan.x, f.scan.y, f.scan.z), ..f.clone() }).collect();
        named[2] += usize::from(matches!(register(&mirrored), Err(Unfit::Mirrored { .. })));
        let centimetres: Vec<_> = sound.iter().map(|f| Fiducial { scan: f.scan * 0.1, ..f.clone() }).collect();
        let scale = register(&centimetres);
        named[3] += usize::from(matches!(scale, Err(Unfit::Scale { scale }) if (scale - 0.1).abs() < 0.002));
    }
    // Two that lie near each other can be swapped within their errors; nothing else may pass.
    assert!(named[0] >= 45 && named[1] >= 48 && named[2] >= 48 && named[3] == 50, "{named:?}");
}

#[test]
fn mistakes_never_pass_as_a_registration_that_is_far_off() {
    let mut noise = Noise::new(7);
    for _ in 0..200 {
        let count = noise.between(4.0, 9.0) as usize;
        let (scan, truth) = (head(&mut noise, count), somewhere(&mut noise));
        let mut wrong = touched(&mut noise, &scan, &truth, [0.4; 3]);
        wrong[0].touched += noise.vector(1.0).normalize() * 30.0;
        if let Ok(found) = register(&wrong) {
            panic!("{count} fiducials, one 30 mm off, registered with FRE {}", found.fre_mm);
        }
    }
}

#[test]
fn many_mistakes_are_said_to_contradict_each_other() {
    let mut noise = Noise::new(8);
    let (scan, truth) = (head(&mut noise, 8), somewhere(&mut noise));
    let mut wrong = touched(&mut noise, &scan, &truth, [0.4; 3]);
    for i in [0, 3, 5] {
        wrong[i].touched += noise.vector(10.0);
    }
    let Err(Unfit::Inconsistent { fre_mm, most_mm, .. }) = register(&wrong) else { panic!("{:?}", register(&wrong)) };
    assert!(fre_mm > most_mm && (0.5..2.0).contains(&most_mm), "{fre_mm} {most_mm}");
}
