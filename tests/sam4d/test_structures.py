from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sam4d import Camera, Clip, Cuboid, Frame, InputError, Masklet, ObjectMasks, Sweep
from sam4d.geometry import SE3, BoolArray
from sam4d.structures import CameraMasks


def empty_clip(poses: list[SE3 | None]) -> Clip:
    sweep = Sweep(np.zeros((1, 3), np.float32))
    return Clip("drive", {}, tuple(Frame(lambda: sweep, {}, pose) for pose in poses))


@given(arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_camera_masks_come_back_whole(mask: BoolArray) -> None:
    masks = CameraMasks({"front": mask})
    np.testing.assert_array_equal(masks["front"], mask)
    assert masks.area_px("front") == mask.sum()
    assert masks.seen_by == (("front",) if mask.any() else ())
    u0, v0, u1, v1 = masks.box("front")
    assert mask[v0:v1, u0:u1].sum() == mask.sum()
    part = (u0 + (u1 - u0) // 2, v0, u1, v0 + (v1 - v0) // 2)
    np.testing.assert_array_equal(masks.inside("front", part), mask[part[1] : part[3], part[0] : part[2]])


def test_camera_masks_keep_no_reference_to_the_image_they_were_cut_from() -> None:
    mask = np.zeros((1000, 1000), np.bool_)
    mask[10:20, 30:50] = True
    masks = CameraMasks({"front": mask})
    mask[:] = False
    assert masks["front"].sum() == 200


def test_a_camera_sees_what_is_in_front_of_it_and_inside_its_image() -> None:
    lidar_SE3_cam = SE3(np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]]), np.array([1.0, 0.0, 0.5]))
    camera = Camera("front", 200, 100, 100, 100, 100, 50, lidar_SE3_cam)
    pixels, depth_m, visible = camera.project(np.array([[11.0, 0, 0.5], [11.0, 5, 0.5], [11.0, 20, 0.5], [-9.0, 0, 0.5]]))
    assert visible.tolist() == [True, True, False, False]
    np.testing.assert_allclose(pixels[:2], [[100, 50], [50, 50]])
    np.testing.assert_allclose(depth_m, [10, 10, 10, -10])
    origin, directions = camera.rays(pixels[:2])
    np.testing.assert_allclose(origin, [1.0, 0.0, 0.5])
    np.testing.assert_allclose(directions[0], [1.0, 0.0, 0.0], atol=1e-12)


def test_a_cuboid_contains_its_corners_and_nothing_behind_them() -> None:
    cuboid = Cuboid((3.0, -2.0, 1.0), (4.0, 2.0, 1.5), 0.7)
    corners_m = cuboid.corners_m()
    assert cuboid.contains(corners_m, margin_m=1e-9).all()
    assert not cuboid.contains(corners_m + (corners_m - np.array(cuboid.center_m)) * 0.01).any()
    np.testing.assert_allclose(corners_m.mean(axis=0), cuboid.center_m)
    front_middle_m = corners_m[[0, 3, 4, 7]].mean(axis=0) - np.array(cuboid.center_m)
    np.testing.assert_allclose(front_middle_m, [2 * np.cos(0.7), 2 * np.sin(0.7), 0.0], atol=1e-12)


def test_points_that_are_not_finite_are_in_no_cuboid() -> None:
    assert not Cuboid((0.0, 0.0, 0.0), (2.0, 2.0, 2.0), 0.0).contains(np.array([[np.nan, 0, 0], [np.inf, 0, 0]], np.float32)).any()


def test_a_cuboid_moves_with_its_frame() -> None:
    moved = Cuboid((1.0, 0.0, 0.0), (4.0, 2.0, 1.5), 0.1).moved(SE3.from_yaw(np.pi / 2, [10.0, 0.0, 1.0]))
    np.testing.assert_allclose(moved.center_m, (10.0, 1.0, 1.0), atol=1e-12)
    assert moved.yaw_rad == pytest.approx(np.pi / 2 + 0.1)


def test_a_window_starts_at_frame_0_again() -> None:
    poses: list[SE3 | None] = [SE3.from_yaw(0.0, [float(i), 0.0, 0.0]) for i in range(5)]
    window = empty_clip(poses).window(2, 3)
    assert len(window) == 3
    assert window.frames[0].world_SE3_lidar is poses[2]


@pytest.mark.parametrize(("first", "count"), [(-1, 2), (4, 2), (0, 0), (0, 6)])
def test_a_window_outside_the_clip_is_refused(first: int, count: int) -> None:
    with pytest.raises(InputError, match="frames within 0 to 4"):
        empty_clip([None] * 5).window(first, count)


def test_ego_motion_takes_a_static_point_from_frame_to_frame() -> None:
    clip = empty_clip([SE3.from_yaw(0.0, [0.0, 0.0, 0.0]), SE3.from_yaw(0.0, [2.0, 0.0, 0.0]), None])
    np.testing.assert_allclose(clip.lidar_SE3_lidar(1, 0).apply(np.array([[5.0, 0, 0]])), [[3.0, 0, 0]])
    np.testing.assert_allclose(clip.lidar_SE3_lidar(2, 0).matrix, np.eye(4))


def test_the_score_of_a_masklet_is_over_the_frames_that_show_it() -> None:
    masks = {i: ObjectMasks(1, i, {}, np.zeros(1, np.bool_), score) for i, score in enumerate([0.5, 1.0, 0.0])}
    assert Masklet(1, "Car", masks).score == pytest.approx(0.75)
    assert Masklet(1, "Car", {}).score == 0.0


def test_an_input_error_says_where_what_was_expected_and_what_came() -> None:
    error = InputError("sequence.json: frames", "at least one frame", "none")
    assert str(error) == "sequence.json: frames: expected at least one frame, found none"
