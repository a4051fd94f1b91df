"""Other people's registrations and calibrations, timed beside ours on the same inputs.

    peer.py LIBRARY     reads inputs.json in the current folder, writes a list of answers as JSON on stdout

LIBRARY is scikit-surgery, simpleitk, open3d or opencv. An answer has `task`, `who`, `seconds` (one for each input) and
`found`: a 4x4 matrix row by row or a point, or null where the library refused. Matrices take touched or traced points to the scan,
or the camera's coordinates to the flange's; a point is the tip on its array. Lengths are mm. Times are taken in here, around
the library's own call; what turns our numbers into its types is outside.
"""

import json
import os
import sys
import time

import numpy

INPUTS = json.load(open("inputs.json"))


def matrix(rotation, shift):
    whole = numpy.eye(4)
    whole[:3, :3] = numpy.asarray(rotation).reshape(3, 3)
    whole[:3, 3] = numpy.asarray(shift).ravel()
    return whole


def square(numbers):
    return numpy.array(numbers, dtype=float).reshape(4, 4)


def answers(task, who, prepared, call, take):
    """Calls once for each input, and once more before, so that what a library loads late is loaded."""
    seconds, found, why = [], [], None
    prepared = list(prepared)
    for number, given in enumerate([prepared[0]] + prepared):
        begin = time.perf_counter()
        try:
            said = call(*given)
            spent = time.perf_counter() - begin
            said = [float(v) for v in numpy.asarray(take(said), dtype=float).ravel()]
        except Exception as error:
            spent, said, why = time.perf_counter() - begin, None, f"{type(error).__name__}: {error}"
        if number > 0:
            seconds.append(spent)
            found.append(said)
    return {"task": task, "who": who, "seconds": seconds, "found": found, "why": why}


def points(task):
    return [(numpy.array(one["scan"]), numpy.array(one["touched"])) for one in INPUTS[task]]


def scikit_surgery():
    from sksurgerycalibration.algorithms.pivot import pivot_calibration
    from sksurgerycalibration.video.video_calibration_hand_eye import calibrate_hand_eye_using_stationary_pattern
    from sksurgerycalibration.video.video_calibration_utils import extrinsic_matrix_to_vecs
    from sksurgerycore.algorithms.procrustes import orthogonal_procrustes

    yield answers(
        "landmarks", "scikit-surgerycore, orthogonal_procrustes", points("landmarks"), orthogonal_procrustes,
        lambda said: matrix(said[0], said[1]),
    )
    swung = [numpy.array([square(pose) for pose in one]) for one in INPUTS["pivot"]]
    for method, words in [("aos", "algebraic one step"), ("ransac", "RANSAC")]:
        options = {"method": method, "number_iterations": 100, "error_threshold": 1.5, "consensus_threshold": 0.5}
        yield answers(
            "pivot", f"scikit-surgerycalibration, {words}", [(one, options) for one in swung], pivot_calibration,
            lambda said: numpy.ravel(said[0])[:3],
        )

    def looked(one):
        both = [extrinsic_matrix_to_vecs(square(pose)) for pose in one["camera_from_target"]]
        arms = [square(pose) for pose in one["base_from_flange"]]
        return [turn for turn, _ in both], [shift for _, shift in both], arms

    # It gives the camera from the flange.
    yield answers(
        "hand_eye", "scikit-surgerycalibration, stationary pattern (Tsai)", map(looked, INPUTS["hand_eye"]),
        calibrate_hand_eye_using_stationary_pattern, numpy.linalg.inv,
    )


def simpleitk():
    import SimpleITK

    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)

    # Its transform takes fixed points to moving ones, about a centre.
    def inverse(said):
        said = SimpleITK.VersorRigid3DTransform(said)
        turn, centre = numpy.array(said.GetMatrix()).reshape(3, 3), numpy.array(said.GetCenter())
        return numpy.linalg.inv(matrix(turn, numpy.array(said.GetTranslation()) + centre - turn @ centre))

    def registered(scan, touched):
        return SimpleITK.LandmarkBasedTransformInitializer(SimpleITK.VersorRigid3DTransform(), scan, touched)

    flat = [(scan.ravel().tolist(), touched.ravel().tolist()) for scan, touched in points("landmarks")]
    yield answers("landmarks", "SimpleITK, LandmarkBasedTransformInitializer", flat, registered, inverse)


def open3d():
    import open3d

    registration = open3d.pipelines.registration
    open3d.utility.set_verbosity_level(open3d.utility.VerbosityLevel.Error)

    def cloud(at):
        return open3d.geometry.PointCloud(open3d.utility.Vector3dVector(numpy.asarray(at, dtype=float)))

    def paired(scan, touched):
        pairs = numpy.repeat(numpy.arange(len(scan))[:, None], 2, axis=1)
        return cloud(touched), cloud(scan), open3d.utility.Vector2iVector(pairs)

    yield answers(
        "landmarks", "Open3D, point to point", [paired(*both) for both in points("landmarks")],
        registration.TransformationEstimationPointToPoint().compute_transformation, lambda said: said,
    )
    surface = cloud(INPUTS["surface"]["points"])
    surface.normals = open3d.utility.Vector3dVector(numpy.array(INPUTS["surface"]["normals"], dtype=float))
    fle = INPUTS["fle_mm"]
    kinds = [
        ("point to plane", registration.TransformationEstimationPointToPlane()),
        # Tukey's constant of ours, for errors as stated.
        ("point to plane, Tukey", registration.TransformationEstimationPointToPlane(registration.TukeyLoss(k=4.685 * fle))),
        ("point to point", registration.TransformationEstimationPointToPoint()),
    ]
    until = registration.ICPConvergenceCriteria(relative_fitness=1e-9, relative_rmse=1e-9, max_iteration=80)
    for task in ("surface", "surface_strays"):
        traced = [(cloud(one["traced"]), square(one["start"])) for one in INPUTS[task + "_traced"]]
        for words, kind in kinds:
            yield answers(
                task, f"Open3D, ICP, {words}", traced,
                lambda points, start: registration.registration_icp(points, surface, 10.0, start, kind, until),
                lambda said: said.transformation,
            )


def opencv():
    import cv2

    cv2.setNumThreads(1)

    def looked(one):
        arms = [square(pose) for pose in one["base_from_flange"]]
        seen = [square(pose) for pose in one["camera_from_target"]]
        return ([m[:3, :3] for m in arms], [m[:3, 3] for m in arms], [m[:3, :3] for m in seen], [m[:3, 3] for m in seen])

    given = [looked(one) for one in INPUTS["hand_eye"]]
    for words in ("Tsai", "Park", "Horaud", "Daniilidis"):
        method = getattr(cv2, "CALIB_HAND_EYE_" + words.upper())
        yield answers(
            "hand_eye", f"OpenCV, calibrateHandEye, {words}", given,
            lambda *poses: cv2.calibrateHandEye(*poses, method=method), lambda said: matrix(said[0], said[1]),
        )


def main():
    from importlib.metadata import version

    libraries = {
        "scikit-surgery": (scikit_surgery, ["scikit-surgerycore", "scikit-surgerycalibration"]),
        "simpleitk": (simpleitk, ["SimpleITK"]),
        "open3d": (open3d, ["open3d"]),
        "opencv": (opencv, ["opencv-contrib-python-headless"]),
    }
    run, packages = libraries[sys.argv[1]]
    versions = [f"{name} {version(name)}" for name in packages]
    # What libraries print must not stand in the answer.
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    json.dump({"versions": versions, "answers": list(run())}, answer)
    answer.close()


main()
