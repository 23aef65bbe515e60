from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sam4d.geometry import SE3, Axis, BirdsEyeView, Float64Array, project_pinhole, unproject_pinhole, wrap_angle

finite = st.floats(-1e4, 1e4)
vectors = arrays(np.float64, 3, elements=finite)
quaternions = (
    arrays(np.float64, 4, elements=st.floats(-1, 1)).filter(lambda q: float(np.linalg.norm(q)) > 0.1).map(lambda q: q / np.linalg.norm(q))
)
transforms = st.builds(SE3.from_quaternion, quaternions, vectors)
points = arrays(np.float64, st.tuples(st.integers(1, 20), st.just(3)), elements=finite)


@given(transforms, points)
def test_the_inverse_takes_points_back(a_SE3_b: SE3, points_b: Float64Array) -> None:
    np.testing.assert_allclose(a_SE3_b.inverse().apply(a_SE3_b.apply(points_b)), points_b, atol=1e-7)


@given(transforms, transforms, points)
def test_composition_is_one_after_the_other(a_SE3_b: SE3, b_SE3_c: SE3, points_c: Float64Array) -> None:
    np.testing.assert_allclose((a_SE3_b @ b_SE3_c).apply(points_c), a_SE3_b.apply(b_SE3_c.apply(points_c)), atol=1e-7)


@given(transforms)
def test_a_quaternion_is_read_back(a_SE3_b: SE3) -> None:
    again = SE3.from_quaternion(a_SE3_b.rotation_wxyz, a_SE3_b.translation_m)
    np.testing.assert_allclose(again.matrix, a_SE3_b.matrix, atol=1e-9)


@given(st.floats(-3.1, 3.1), vectors)
def test_a_yaw_is_read_back(yaw_rad: float, translation_m: Float64Array) -> None:
    assert SE3.from_yaw(yaw_rad, translation_m).yaw_rad == pytest.approx(yaw_rad, abs=1e-12)


@pytest.mark.parametrize(
    ("rotation", "message"),
    [
        (np.diag([1.0, 1.0, -1.0]), "determinant -1"),
        (np.eye(3) * 1.01, "away from orthonormal"),
        (np.full((3, 3), np.nan), "NaN"),
        (np.eye(4), "shape"),
    ],
)
def test_what_is_no_rotation_is_refused(rotation: Float64Array, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SE3(rotation, np.zeros(3))


def test_a_quaternion_that_is_not_of_unit_length_is_refused() -> None:
    with pytest.raises(ValueError, match=r"length 2"):
        SE3.from_quaternion([2.0, 0.0, 0.0, 0.0], np.zeros(3))


LENSES = [(), (-0.3, 0.1, 0.001, -0.0005, -0.01), (0.1, -0.05, 0.0, 0.0, 0.01)]


@pytest.mark.parametrize("distortion", LENSES)
@given(pixels=arrays(np.float64, st.tuples(st.integers(1, 30), st.just(2)), elements=st.floats(0, 1000)), depth_m=st.floats(0.5, 200))
def test_a_pixel_s_ray_projects_to_the_pixel(distortion: tuple[float, ...], pixels: Float64Array, depth_m: float) -> None:
    lens = (900.0, 905.0, 505.0, 490.0, distortion)
    again, valid = project_pinhole(unproject_pinhole(pixels, *lens) * depth_m, *lens)
    assert valid.all()
    np.testing.assert_allclose(again, pixels, atol=1e-4)


def test_projection_agrees_with_opencv() -> None:
    import cv2

    points_cam_m = np.random.default_rng(0).uniform([-3, -2, 4], [3, 2, 30], (200, 3))
    distortion = (-0.28, 0.07, 0.0004, -0.0002, -0.005)
    ours, valid = project_pinhole(points_cam_m, 800, 810, 500, 300, distortion)
    theirs, _ = cv2.projectPoints(
        points_cam_m, np.zeros(3), np.zeros(3), np.array([[800, 0, 500], [0, 810, 300], [0, 0, 1.0]]), np.array(distortion)
    )
    assert valid.all()
    np.testing.assert_allclose(ours, theirs[:, 0], atol=1e-6)


def test_a_strong_lens_does_not_fold_far_points_into_the_image() -> None:
    points_cam_m = np.array([[0.1, 0.0, 1.0], [2.5, 0.0, 1.0], [0.0, 0.0, -1.0], [np.nan, 0.0, 1.0], [np.inf, 0.0, 1.0]])
    _, valid = project_pinhole(points_cam_m, 500, 500, 500, 500, (-0.35, 0.1, 0.0, 0.0, -0.01))
    assert valid.tolist() == [True, False, False, False, False]


axes = st.sampled_from(["+x", "-x", "+y", "-y"])


@given(axes, arrays(np.float64, st.tuples(st.integers(1, 20), st.just(2)), elements=st.floats(-80, 80)))
def test_the_birds_eye_view_takes_metres_to_pixels_and_back(forward: Axis, xy_m: Float64Array) -> None:
    view = BirdsEyeView(range_m=40.0, metres_per_pixel=0.08, forward=forward)
    np.testing.assert_allclose(view.to_metres(view.to_pixels(xy_m)), xy_m, atol=1e-9)


@pytest.mark.parametrize(
    ("forward", "ahead", "left"),
    [("+x", [10, 0], [0, 10]), ("+y", [0, 10], [-10, 0]), ("-x", [-10, 0], [0, -10]), ("-y", [0, -10], [10, 0])],
)
def test_forward_is_up_and_left_is_left(forward: Axis, ahead: list[float], left: list[float]) -> None:
    view = BirdsEyeView(range_m=50.0, metres_per_pixel=0.1, forward=forward)
    assert view.size_px == 1000
    np.testing.assert_allclose(view.to_pixels(np.array([[0.0, 0.0], ahead, left])), [[500, 500], [500, 400], [400, 500]], atol=1e-9)


@given(st.floats(-50, 50))
def test_an_angle_is_wrapped(angle_rad: float) -> None:
    wrapped = wrap_angle(angle_rad)
    assert -np.pi <= wrapped <= np.pi
    assert np.cos(wrapped - angle_rad) == pytest.approx(1.0)
