"""Cuboids from points whose truth is known: boxes sampled on the sides that the sensor sees."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import default_rng
from numpy.typing import NDArray

from converters.sequences import open_sequence, read_cuboid_labels
from sam4d import Clip, Cuboid, Frame, Masklet, ObjectMasks, Sweep
from sam4d.cuboids import fit_cuboid, fit_cuboids, rectangle_heading
from sam4d.geometry import SE3, Float64Array

GROUND_Z_M = -1.7


def seen_surface(cuboid: Cuboid, spacing_m: float = 0.08, sides: Sequence[str] = ("length", "width")) -> Float64Array:
    """Points on the upright faces that face the sensor at the origin, and the roof; float64 (K, 3)."""
    length, width, height = cuboid.size_lwh_m
    local_sensor = cuboid.lidar_SE3_cuboid.inverse().apply(np.zeros(3))
    along = np.arange(-length / 2, length / 2, spacing_m)
    across = np.arange(-width / 2, width / 2, spacing_m)
    up = np.arange(-height / 2 + 0.25, height / 2, 2 * spacing_m)
    faces = []
    if "length" in sides:
        x, z = (part.ravel() for part in np.meshgrid(along, up))
        faces.append(np.column_stack([x, np.full_like(x, np.sign(local_sensor[1]) * width / 2), z]))
    if "width" in sides:
        y, z = (part.ravel() for part in np.meshgrid(across, up))
        faces.append(np.column_stack([np.full_like(y, np.sign(local_sensor[0]) * length / 2), y, z]))
    noise = default_rng(0).normal(0, 0.015, (sum(len(face) for face in faces), 3))
    return cuboid.lidar_SE3_cuboid.apply(np.vstack(faces) + noise)


def ground_around(cuboid: Cuboid) -> Float64Array:
    x, y = np.meshgrid(np.arange(-6, 6, 0.4), np.arange(-6, 6, 0.4))
    z = np.full(x.size, GROUND_Z_M)
    return np.column_stack([x.ravel() + cuboid.center_m[0], y.ravel() + cuboid.center_m[1], z])


def standing_car(x_m: float, y_m: float, yaw_rad: float) -> Cuboid:
    return Cuboid((x_m, y_m, GROUND_Z_M + 0.8), (4.4, 1.8, 1.6), yaw_rad)


def birds_eye_iou(a: Cuboid, b: Cuboid) -> float:
    offset = np.array(b.center_m[:2]) - np.array(a.center_m[:2])
    first = ((0.0, 0.0), a.size_lwh_m[:2], float(np.degrees(a.yaw_rad)))
    second = ((float(offset[0]), float(offset[1])), b.size_lwh_m[:2], float(np.degrees(b.yaw_rad)))
    _, corners = cv2.rotatedRectangleIntersection(first, second)
    common = float(cv2.contourArea(cv2.convexHull(corners))) if corners is not None else 0.0
    return common / (float(np.prod(a.size_lwh_m[:2]) + np.prod(b.size_lwh_m[:2])) - common)


def heading_error(a_rad: float, b_rad: float) -> float:
    """Of undirected headings, radians."""
    return float(abs((a_rad - b_rad + np.pi / 2) % np.pi - np.pi / 2))


def clip_of(sweeps: Sequence[Float64Array], poses: Sequence[SE3 | None]) -> Clip:

    frames = []
    for points, pose in zip(sweeps, poses, strict=True):
        sweep = Sweep(points.astype(np.float32))
        frames.append(Frame(lambda sweep=sweep: sweep, {}, pose))  # type: ignore[misc]
    return Clip("made", {}, tuple(frames))


def masklet_of(masks: Sequence[NDArray[np.bool_]], label: str) -> Masklet:
    return Masklet(1, label, {k: ObjectMasks(1, k, {}, mask, 1.0) for k, mask in enumerate(masks)})


@given(st.floats(-np.pi / 2, np.pi / 2), st.floats(8, 25), st.floats(-np.pi, np.pi))
def test_two_sides_give_the_heading_within_two_degrees(yaw_rad: float, range_m: float, azimuth_rad: float) -> None:
    car = standing_car(range_m * np.cos(azimuth_rad), range_m * np.sin(azimuth_rad), yaw_rad)
    assert heading_error(rectangle_heading(seen_surface(car)[:, :2]), yaw_rad) < np.radians(2)


@given(st.floats(-np.pi / 2, np.pi / 2), st.floats(-np.pi, np.pi))
def test_two_sides_give_the_whole_box(yaw_rad: float, azimuth_rad: float) -> None:
    car = standing_car(15 * np.cos(azimuth_rad), 15 * np.sin(azimuth_rad), yaw_rad)
    fitted = fit_cuboid(seen_surface(car), label="Car", ground_z_m=GROUND_Z_M)
    assert fitted is not None
    assert birds_eye_iou(fitted, car) > 0.85
    assert abs(fitted.size_lwh_m[2] - 1.6) < 0.15
    assert abs(fitted.center_m[2] - car.center_m[2]) < 0.1


def test_a_rear_alone_is_extended_away_from_the_sensor() -> None:
    car = standing_car(20.0, 0.5, 0.0)
    fitted = fit_cuboid(seen_surface(car, sides=("width",)), label="Car", ground_z_m=GROUND_Z_M)
    assert fitted is not None
    assert fitted.center_m[0] > 19.5
    assert heading_error(fitted.yaw_rad, 0.0) < np.radians(3)
    assert birds_eye_iou(fitted, car) > 0.8


def test_a_side_alone_is_widened_away_from_the_sensor() -> None:
    car = standing_car(0.5, 12.0, 0.0)
    fitted = fit_cuboid(seen_surface(car, sides=("length",)), label="Car", ground_z_m=GROUND_Z_M)
    assert fitted is not None
    assert fitted.center_m[1] > 11.5
    assert birds_eye_iou(fitted, car) > 0.8


def test_too_few_points_give_none() -> None:
    assert fit_cuboid(np.zeros((2, 3))) is None
    assert fit_cuboid(np.full((50, 3), np.nan)) is None


def driving_clip(posed: bool) -> tuple[Clip, Masklet, list[Cuboid]]:
    """A car that turns slowly at 8 m/s, from a vehicle that drives 5 m/s ahead; frame 3 does not show it."""
    sweeps, poses, masks, cuboids = [], [], [], []
    x, y, yaw = 12.0, 4.0, 0.3
    for k in range(8):
        world_SE3_lidar = SE3.from_yaw(0.0, [0.5 * k, 0.0, 1.7])
        cuboid = Cuboid((x, y, 0.8), (4.4, 1.8, 1.6), yaw).moved(world_SE3_lidar.inverse())
        surface, ground = seen_surface(cuboid), ground_around(cuboid)
        mask = np.arange(len(surface) + len(ground)) < len(surface)
        sweeps.append(np.vstack([surface, ground]))
        masks.append(mask if k != 3 else np.zeros_like(mask))
        poses.append(world_SE3_lidar if posed else None)
        cuboids.append(cuboid)
        yaw += 0.02
        x, y = x + 0.8 * np.cos(yaw), y + 0.8 * np.sin(yaw)
    return clip_of(sweeps, poses), masklet_of(masks, "Car"), cuboids


def test_a_moving_object_has_one_size_and_heads_where_it_goes() -> None:
    clip, masklet, truth = driving_clip(posed=True)
    fitted = fit_cuboids(masklet, clip)
    assert len(fitted) == len(clip)
    assert fitted[3] is None
    sizes = {cuboid.size_lwh_m for cuboid in fitted if cuboid is not None}
    assert len(sizes) == 1
    for cuboid, true in zip(fitted, truth, strict=True):
        if cuboid is not None:
            # The direction itself, not only the line: forwards is where it drives.
            assert abs(np.angle(np.exp(1j * (cuboid.yaw_rad - true.yaw_rad)))) < np.radians(4)
            assert birds_eye_iou(cuboid, true) > 0.8


def test_without_poses_a_moving_object_still_gets_its_box() -> None:
    clip, masklet, truth = driving_clip(posed=False)
    for cuboid, true in zip(fit_cuboids(masklet, clip), truth, strict=True):
        if cuboid is not None:
            assert birds_eye_iou(cuboid, true) > 0.7


def test_a_standing_object_is_completed_by_what_other_frames_show() -> None:
    car = Cuboid((6.0, 5.0, 0.8), (4.4, 1.8, 1.6), 0.4)
    sweeps, poses, masks, truth = [], [], [], []
    for k in range(6):
        pose = SE3.from_yaw(0.0, [2.0 * k, 0.0, 1.7])
        here = car.moved(pose.inverse())
        # The first frame sees the rear only, the last ones the side.
        surface, ground = seen_surface(here, sides=("width",) if k < 3 else ("length", "width")), ground_around(here)
        sweeps.append(np.vstack([surface, ground]))
        masks.append(np.arange(len(sweeps[-1])) < len(surface))
        poses.append(pose)
        truth.append(here)
    for cuboid, true in zip(fit_cuboids(masklet_of(masks, "Thing"), clip_of(sweeps, poses)), truth, strict=True):
        assert cuboid is not None
        assert birds_eye_iou(cuboid, true) > 0.85
        assert heading_error(cuboid.yaw_rad, true.yaw_rad) < np.radians(3)
        assert abs(cuboid.size_lwh_m[2] - 1.6) < 0.15


def test_an_empty_masklet_has_no_cuboids() -> None:
    clip, _, _ = driving_clip(posed=True)
    assert fit_cuboids(Masklet(1, "Car", {}), clip) == [None] * len(clip)


@pytest.mark.slow
def test_labelled_vehicles_of_a_recording(shared_data: Path) -> None:
    """From the points inside the labels: birds-eye IoU, heading and height as people boxed them."""
    folder = shared_data / "kitti_tracking_0000"
    clip, labels = open_sequence(folder), read_cuboid_labels(folder)
    van: dict[int, Cuboid] = {}
    masks: dict[int, ObjectMasks] = {}
    for k, frame_labels in enumerate(labels):
        for labelled in frame_labels or ():
            if labelled.track_id == "0":
                points = clip.frames[k].load_sweep().points_m
                bottom = labelled.cuboid.center_m[2] - labelled.cuboid.size_lwh_m[2] / 2
                inside = labelled.cuboid.contains(points, 0.05) & (points[:, 2] > bottom + 0.2)
                van[k], masks[k] = labelled.cuboid, ObjectMasks(1, k, {}, inside, 1.0)
    fitted = fit_cuboids(Masklet(1, "Van", masks), clip)
    pairs = [(cuboid, van[k]) for k, cuboid in enumerate(fitted) if cuboid is not None and k in van]
    assert len(pairs) == 20
    assert np.mean([birds_eye_iou(a, b) for a, b in pairs]) > 0.75
    assert np.median([heading_error(a.yaw_rad, b.yaw_rad) for a, b in pairs]) < np.radians(4)
    assert np.mean([abs(a.size_lwh_m[2] - b.size_lwh_m[2]) for a, b in pairs]) < 0.2
