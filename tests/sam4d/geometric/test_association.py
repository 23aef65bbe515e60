"""Following objects through made scenes whose truth is known: motion, occlusion, leaving, neighbours, missing poses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.random import default_rng
from numpy.typing import NDArray

from sam4d import LIDAR, Clip, Frame, MaskPrompt, ObjectMasks, Sweep, build_predictor
from sam4d.geometric.ego_motion import estimate_ego_motion
from sam4d.geometric.scene import prepare_frame
from sam4d.geometry import SE3, Float64Array

SENSOR_HEIGHT_M = 1.7
Box = tuple[float, float, float, float, float, float]
"""x, y (world), length, width, height, yaw."""


def box_surface(box: Box, sensor_xy_m: tuple[float, float]) -> Float64Array:
    """World points of the two upright sides that face the sensor, and of the roof's edge."""
    x, y, length, width, height, yaw = box
    pose = SE3.from_yaw(yaw, [x, y, 0.0])
    sensor = pose.inverse().apply(np.array([*sensor_xy_m, 0.0]))
    up = np.arange(0.3, height, 0.15)
    along, z = (part.ravel() for part in np.meshgrid(np.arange(-length / 2, length / 2, 0.1), up))
    side = np.column_stack([along, np.full_like(along, np.sign(sensor[1]) * width / 2), z])
    across, z = (part.ravel() for part in np.meshgrid(np.arange(-width / 2, width / 2, 0.1), up))
    end = np.column_stack([np.full_like(across, np.sign(sensor[0]) * length / 2), across, z])
    return pose.apply(np.vstack([side, end]))


def made_clip(frames: Sequence[Sequence[Box]], ego_step_m: float = 0.6, posed: bool = True) -> tuple[Clip, list[NDArray[np.int64]]]:
    """A street of boxes on flat ground between two house fronts; also whose point each is: -1 ground and houses, else the box's place."""
    result, owners = [], []
    random = default_rng(1)
    for k, boxes in enumerate(frames):
        world_SE3_lidar = SE3.from_yaw(0.01 * k, [ego_step_m * k, 0.0, SENSOR_HEIGHT_M])
        x, y = (part.ravel() for part in np.meshgrid(np.arange(-15, 60, 0.7), np.arange(-14, 14, 0.7)))
        parts = [np.column_stack([x, y, np.zeros_like(x)])]
        for start in np.arange(-14, 58, 6.0):
            # House fronts that step back and forth, so that they show motion along the street.
            depth = 12 + (start % 4)
            u, z = (part.ravel() for part in np.meshgrid(np.arange(start, start + 6, 0.3), np.arange(0.3, 4, 0.4)))
            parts += [np.column_stack([u, np.full_like(u, depth), z]), np.column_stack([u, np.full_like(u, -depth), z])]
            v, z = (part.ravel() for part in np.meshgrid(np.arange(12, 14, 0.3), np.arange(0.3, 4, 0.4)))
            parts += [np.column_stack([np.full_like(v, start), v, z]), np.column_stack([np.full_like(v, start), -v, z])]
        owner = [np.full(sum(len(part) for part in parts), -1)]
        for place, box in enumerate(boxes):
            surface = box_surface(box, (ego_step_m * k, 0.0))
            parts.append(surface)
            owner.append(np.full(len(surface), place))
        points = world_SE3_lidar.inverse().apply(np.vstack(parts))
        sweep = Sweep((points + random.normal(0, 0.01, points.shape)).astype(np.float32))
        result.append(Frame(lambda sweep=sweep: sweep, {}, world_SE3_lidar if posed else None))  # type: ignore[misc]
        owners.append(np.concatenate(owner))
    return Clip("made", {}, tuple(result)), owners


def follow(clip: Clip, owners: Sequence[NDArray[np.int64]], places: Sequence[int] = (0,), start: int = 0) -> list[dict[int, ObjectMasks]]:
    session = build_predictor("geometric").open(clip)
    for place in places:
        session.add_prompt(MaskPrompt(place, start, LIDAR, owners[start] == place))
    return [dict(frame.objects) for frame in session.propagate(start)]


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / max(1, (a | b).sum()))


def moving_car(k: int, speed_m: float = 1.0) -> Box:
    return (15 + speed_m * k, 4.0, 4.4, 1.8, 1.5, 0.0)


@pytest.mark.parametrize("speed_m", [0.0, 0.6, 1.5, -1.2])
@pytest.mark.parametrize("posed", [True, False])
def test_a_car_is_followed_at_any_speed_with_and_without_poses(speed_m: float, posed: bool) -> None:
    clip, owners = made_clip([[moving_car(k, speed_m)] for k in range(6)], posed=posed)
    for k, objects in enumerate(follow(clip, owners)):
        assert iou(objects[0].lidar_mask, owners[k] == 0) > 0.8
        assert objects[0].score > 0.5


def test_backwards_is_as_good_as_forwards() -> None:
    clip, owners = made_clip([[moving_car(k)] for k in range(6)])
    session = build_predictor("geometric").open(clip)
    session.add_prompt(MaskPrompt(0, 5, LIDAR, owners[5] == 0))
    for frame in session.propagate(5, reverse=True):
        assert iou(frame.objects[0].lidar_mask, owners[frame.frame_index] == 0) > 0.8


def test_a_car_comes_back_after_it_was_hidden() -> None:
    truck: Box = (12.0, 2.2, 9.0, 2.0, 3.2, 0.0)
    visible = (0, 1, 2, 3, 6, 7, 8)
    frames = [[moving_car(k, 1.2)] if k in visible else [(0.0, 90.0, 0.3, 0.3, 0.5, 0.0), truck] for k in range(9)]
    clip, owners = made_clip(frames, ego_step_m=0.0)
    followed = follow(clip, owners)
    for k in visible:
        assert iou(followed[k][0].lidar_mask, owners[k] == 0) > 0.8
    assert not followed[4][0].lidar_mask.any()
    assert not followed[5][0].lidar_mask.any()
    assert followed[3][0].score > followed[4][0].score >= followed[5][0].score
    assert followed[7][0].score > followed[5][0].score


def test_a_car_that_leaves_ends_with_score_zero_and_empty_masks() -> None:
    far: Box = (0.0, 90.0, 0.3, 0.3, 0.5, 0.0)
    clip, owners = made_clip([[moving_car(k)] if k < 3 else [far] for k in range(9)])
    followed = follow(clip, owners)
    assert all(objects[0].is_empty for objects in followed[3:])
    assert followed[-1][0].score == 0


def test_neighbours_do_not_take_each_others_points() -> None:
    row: list[Box] = [(12.0, 5.0, 4.4, 1.8, 1.5, 0.0), (17.0, 5.0, 4.4, 1.8, 1.5, 0.0), (14.4, 3.6, 0.5, 0.5, 1.75, 0.0)]
    clip, owners = made_clip([row] * 6)
    for k, objects in enumerate(follow(clip, owners, places=(0, 1, 2))):
        taken = sum(masks.lidar_mask.astype(np.int64) for masks in objects.values())
        assert np.max(taken) == 1
        for place in (0, 1, 2):
            assert iou(objects[place].lidar_mask, owners[k] == place) > 0.75


def test_one_of_two_neighbours_keeps_its_size() -> None:
    row: list[Box] = [(12.0, 5.0, 4.4, 1.8, 1.5, 0.0), (16.9, 5.0, 4.4, 1.8, 1.5, 0.0)]
    clip, owners = made_clip([row] * 6)
    for k, objects in enumerate(follow(clip, owners, places=(0,))):
        assert not (objects[0].lidar_mask & (owners[k] == 1)).sum() > 0.1 * (owners[k] == 1).sum()
        assert iou(objects[0].lidar_mask, owners[k] == 0) > 0.75


def test_ego_motion_is_found_from_standing_structure() -> None:
    clip, _ = made_clip([[moving_car(k, 1.0)] for k in range(2)], ego_step_m=1.1)
    estimated = estimate_ego_motion(prepare_frame(clip, 1), prepare_frame(clip, 0))
    error = estimated.inverse() @ clip.lidar_SE3_lidar(1, 0)
    assert np.hypot(*error.translation_m[:2]) < 0.1
    assert abs(error.yaw_rad) < np.radians(0.3)


def test_a_car_that_turns_at_a_crossing_is_followed() -> None:
    radius_m, start = 9.0, 3
    frames: list[list[Box]] = []
    for k in range(12):
        angle = max(0.0, 0.09 * (k - start))
        x, y = 12 + 0.8 * min(k, start) + radius_m * np.sin(angle), -6 + radius_m * (1 - np.cos(angle))
        frames.append([(float(x), float(y), 4.4, 1.8, 1.5, angle)])
    clip, owners = made_clip(frames, ego_step_m=0.0)
    for k, objects in enumerate(follow(clip, owners)):
        assert iou(objects[0].lidar_mask, owners[k] == 0) > 0.8


def test_two_cars_that_pass_each_other_keep_their_own_points() -> None:
    frames: list[list[Box]] = [[(10 + 1.1 * k, 3.5, 4.4, 1.8, 1.5, 0.0), (22 - 1.1 * k, 6.0, 4.4, 1.8, 1.5, 0.0)] for k in range(11)]
    clip, owners = made_clip(frames, ego_step_m=0.0)
    for places in ((0,), (1,), (0, 1)):
        for k, objects in enumerate(follow(clip, owners, places=places)):
            for place in places:
                assert iou(objects[place].lidar_mask, owners[k] == place) > 0.8


NOTHING: Box = (0.0, 90.0, 0.3, 0.3, 0.5, 0.0)


def behind_a_truck(hidden: Sequence[int], beside: Box | None = None) -> tuple[Clip, list[NDArray[np.int64]]]:
    """A pedestrian who walks along a truck's far side and is not seen on some frames; perhaps another one who stands."""
    truck: Box = (13.0, 4.0, 8.0, 2.4, 3.2, 0.0)
    frames = []
    for k in range(10):
        walking: Box = (11.0 + 0.14 * k, 6.6, 0.5, 0.5, 1.75, 0.0)
        frames.append([NOTHING if k in hidden else walking, truck, *([beside] if beside is not None else [])])
    return made_clip(frames, ego_step_m=0.0)


@pytest.mark.parametrize("beside", [None, (10.0, 6.6, 0.5, 0.5, 1.75, 0.0)])
def test_a_pedestrian_is_found_again_behind_a_truck_and_takes_neither_it_nor_a_neighbour(beside: Box | None) -> None:
    hidden = (4, 5, 6)
    clip, owners = behind_a_truck(hidden, beside)
    for k, objects in enumerate(follow(clip, owners)):
        if k in hidden:
            assert not objects[0].lidar_mask.any()
        else:
            assert iou(objects[0].lidar_mask, owners[k] == 0) > 0.7


def test_a_person_does_not_grow_into_the_van_beside_which_it_stands() -> None:
    frames: list[list[Box]] = [[(12.0, 3.0, 0.5, 0.5, 1.75, 0.0), (14.9, 3.3, 4.6, 1.9, 2.0, 0.0)]] * 10
    clip, owners = made_clip(frames, ego_step_m=0.2)
    for k, objects in enumerate(follow(clip, owners)):
        assert iou(objects[0].lidar_mask, owners[k] == 0) > 0.75
