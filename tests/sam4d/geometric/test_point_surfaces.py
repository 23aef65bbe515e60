"""What points span in a camera, and what nearer points hide there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sam4d.evaluation import mask_iou
from sam4d.geometric.image_masks import segment_camera
from sam4d.geometric.point_surfaces import is_slim, seen_rows, spanned_area
from sam4d.geometric.scene import FrameScene, prepare_frame
from sam4d.geometry import SE3, BoolArray
from sam4d.structures import Clip, Frame, Sweep
from tests.sam4d.geometric.street import CAMERA_ROTATION, CAR, FRONT, WALL, Box, render, scan

LOW = replace(FRONT, lidar_SE3_cam=SE3(CAMERA_ROTATION, np.array([0.3, 0.0, -0.5])))
"""A camera half a metre below the LiDAR, which sees over more than it does."""

PARKED = Box((9.0, 0.0), (1.8, 4.4, 1.2), (30, 60, 160))
SHOULDERS = Box((11.5, 0.0), (0.3, 0.75, 1.45), (20, 140, 60))
HEAD = Box((11.5, 0.0), (0.2, 0.2, 1.75), (20, 140, 60))
STREET = {"parked": PARKED, "shoulders": SHOULDERS, "head": HEAD, "wall": WALL}


def seen_from_below(boxes: dict[str, Box]) -> tuple[FrameScene, dict[str, BoolArray], dict[str, BoolArray]]:
    points, owned = scan(boxes)
    image, masks = render(boxes, LOW)
    clip = Clip("below", {"front": LOW}, (Frame(lambda: Sweep(points), {"front": lambda: image}),))
    return prepare_frame(clip, 0), owned, masks


def exactly_seen(scene: FrameScene, owned: BoolArray, mask: BoolArray) -> BoolArray:
    """Which of an object's points inside the image, in ascending order, lie in its exact mask."""
    view = scene.view(LOW)
    columns, rows = view.pixels[owned & view.inside].astype(int).T
    return np.asarray(mask[rows, columns])


@pytest.mark.parametrize("car", [(16.0, 1.0), (24.0, 3.0)])
def test_what_the_lidar_sees_over_a_nearer_edge_is_hidden_and_what_is_above_it_is_not(car: tuple[float, float]) -> None:
    scene, owned, masks = seen_from_below({"parked": PARKED, "car": Box(car, (4.4, 1.8, 1.7)), "wall": Box((45.0, 0.0), (0.4, 60.0, 6.0))})
    own = np.flatnonzero(owned["car"] & scene.view(LOW).inside)
    exact = exactly_seen(scene, owned["car"], masks["car"])
    assert 0.1 < exact.mean() < 0.9
    seen = np.isin(own, seen_rows(scene, scene.view(LOW), owned["car"]))
    assert seen[~exact].mean() < 0.1
    # Up to the next beam above it no point tells where the parked car ends; what is higher is seen.
    beams_apart_px = np.radians(28 / 63) * LOW.fy_px
    edge_px = np.flatnonzero(masks["parked"].any(axis=1)).min()
    higher = scene.view(LOW).pixels[own, 1] < edge_px - beams_apart_px
    assert seen[higher].all()
    assert seen[exact].mean() > 0.7


def test_between_things_that_stand_apart_one_sees_through() -> None:
    posts = {f"post {y}": Box((8.0, y), (0.2, 0.2, 2.5)) for y in (-2.0, -0.7, 0.7, 2.0)}
    scene, owned, masks = seen_from_below({**posts, "car": Box((12.0, 0.0), (1.8, 4.4, 1.5)), "wall": WALL})
    own = np.flatnonzero(owned["car"] & scene.view(LOW).inside)
    seen = np.isin(own, seen_rows(scene, scene.view(LOW), owned["car"]))
    exact = exactly_seen(scene, owned["car"], masks["car"])
    assert exact.mean() > 0.6
    assert seen[exact].mean() > 0.98


def test_rain_hides_nothing() -> None:
    boxes = {"car": CAR, "wall": WALL}
    points, owned = scan(boxes)
    random = np.random.default_rng(3)
    target = points[random.choice(np.flatnonzero(owned["car"]), 60, replace=False)]
    drops = target * random.uniform(0.2, 0.85, (60, 1)).astype(np.float32)
    clip = Clip("rain", {"front": FRONT}, (Frame(lambda: Sweep(np.concatenate([points, drops])), {}),))
    scene = prepare_frame(clip, 0)
    mask = np.concatenate([owned["car"], np.zeros(60, dtype=np.bool_)])
    view = scene.view(FRONT)
    assert np.array_equal(seen_rows(scene, view, mask), np.flatnonzero(mask & view.inside))


def test_no_points_are_seen_where_there_are_none() -> None:
    scene, _, _ = seen_from_below({"wall": WALL})
    assert not len(seen_rows(scene, scene.view(LOW), np.zeros(len(scene), dtype=np.bool_)))


def test_head_and_shoulders_above_a_car_are_slim_and_a_car_is_not() -> None:
    scene, owned, _ = seen_from_below({**STREET, "car": Box((14.0, 6.0), (4.4, 1.8, 1.5))})
    person = np.flatnonzero(owned["head"] | owned["shoulders"])
    assert np.ptp(scene.points_m[person, 2]) < 0.8 * np.ptp(scene.points_m[person, 1])
    assert is_slim(scene, person)
    assert not is_slim(scene, np.flatnonzero(owned["car"]))


def test_beside_a_neck_one_sees_the_wall() -> None:
    scene, owned, masks = seen_from_below(STREET)
    exact = masks["head"] | masks["shoulders"]
    answer = segment_camera(scene, LOW, owned["head"] | owned["shoulders"], [])
    assert mask_iou(answer, exact) > 0.85
    assert answer[masks["parked"]].sum() < 0.05 * exact.sum()


def test_points_on_a_line_span_no_area() -> None:
    places = np.column_stack([np.arange(5, 15), np.full(10, 8)]).astype(np.float32)
    area, spacing = spanned_area(places, np.zeros((10, 3), dtype=np.float32), False, (20, 20))
    assert area.sum() == 10
    assert spacing > 0
