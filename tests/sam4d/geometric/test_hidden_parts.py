"""Parts of a clicked object that nearer things part from it, and what must not be taken for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from sam4d.evaluation import point_near_median
from sam4d.geometric.hidden_parts import with_hidden_parts
from sam4d.geometric.scene import FrameScene, prepare_frame
from sam4d.geometric.segmentation import segment_points
from sam4d.geometry import BoolArray
from sam4d.structures import LIDAR, Clip, Float32Array, Frame, PointPrompt, Sweep
from tests.sam4d.geometric.street import WALL, Box, scan, street_clip

OBSTACLE = Box((13.0, 5.6), (0.6, 0.7, 2.6), (20, 20, 90))
"""Hides the near corner of a car at (20, 9), of which the front's and the side's far ends are seen."""

FRONT_END = Box((18.0, 9.0), (0.4, 1.8, 1.5))
REAR_END = Box((21.7, 9.0), (1.0, 1.8, 1.5))
CAB = Box((21.0, 0.0), (1.5, 2.4, 2.0))


def clicked(boxes: Mapping[str, Box], name: str, where: Callable[[Float32Array], BoolArray] | None = None) -> tuple[BoolArray, FrameScene]:
    """What a click on a box gives, on those of its points (K, 3) that a condition selects."""
    clip, scene, owned, _ = street_clip(boxes)
    meant = owned[name] & scene.is_object
    if where is not None:
        meant &= where(scene.points_m)
    place = scene.points_m[point_near_median(scene.points_m, meant)].tolist()
    return segment_points(scene, clip, [PointPrompt(1, 0, LIDAR, [place], [1])]).mask, scene


def owned_by(boxes: Mapping[str, Box], name: str) -> BoolArray:
    return scan(boxes)[1][name]


@pytest.mark.parametrize("end", ["front", "rear"])
def test_both_ends_of_a_car_behind_an_obstacle(end: str) -> None:
    boxes = {"car": Box((20.0, 9.0), (4.4, 1.8, 1.5)), "obstacle": OBSTACLE, "wall": WALL}
    mask, scene = clicked(boxes, "car", lambda points_m: (points_m[:, 0] > 20) == (end == "rear"))
    car = owned_by(boxes, "car") & scene.is_object
    rear = scene.points_m[:, 0] > 20
    assert min((car & rear).sum(), (car & ~rear).sum()) > 15
    assert mask[car & rear].mean() > 0.9
    assert mask[car & ~rear].mean() > 0.9
    assert not mask[owned_by(boxes, "obstacle")].any()


def test_the_same_two_ends_are_two_things_where_one_sees_between_them() -> None:
    boxes = {"front": FRONT_END, "rear": REAR_END, "wall": WALL}
    assert not clicked(boxes, "rear")[0][owned_by(boxes, "front")].any()
    hidden = boxes | {"obstacle": OBSTACLE}
    mask, scene = clicked(hidden, "rear")
    assert mask[owned_by(hidden, "front") & scene.is_object].mean() > 0.9


def test_a_person_beside_the_obstacle_is_not_the_other_end() -> None:
    boxes = {"rear": REAR_END, "person": Box((18.0, 9.4), (0.5, 0.5, 1.75)), "obstacle": OBSTACLE, "wall": WALL}
    for name, other in (("rear", "person"), ("person", "rear")):
        mask, _ = clicked(boxes, name)
        assert mask[owned_by(boxes, name)].any()
        assert not mask[owned_by(boxes, other)].any()


def test_two_cars_behind_one_obstacle_stay_two() -> None:
    obstacle = Box((13.0, 5.2), (0.8, 0.6, 2.6))
    boxes = {"one": Box((23.3, 9.0), (4.4, 1.8, 1.5)), "other": Box((18.0, 9.0), (4.4, 1.8, 1.5)), "obstacle": obstacle, "wall": WALL}
    mask, _ = clicked(boxes, "one")
    assert mask[owned_by(boxes, "one")].any()
    assert not mask[owned_by(boxes, "other")].any()


def floating(front_m: tuple[float, float], across_m: float, heights_m: tuple[float, float], ragged_m: float = 0.0) -> Float32Array:
    """Points of something that ends above the ground: x from front_m[0], y around front_m[1]."""
    rng = np.random.default_rng(0)
    y, z = np.meshgrid(np.arange(-across_m / 2, across_m / 2, 0.12), np.arange(*heights_m, 0.15) - 1.8)
    x = front_m[0] + rng.uniform(0, 1, y.size) * ragged_m
    return np.column_stack([x, y.ravel() + front_m[1], z.ravel()]).astype(np.float32)


def with_floating(points: Float32Array) -> tuple[FrameScene, BoolArray, BoolArray]:
    """A cab on an empty road with something above and behind it: the scene, the cab's points and the other's, bool (N,)."""
    street, owned = scan({"cab": CAB})
    sweep = Sweep(np.concatenate([street, points]))
    scene = prepare_frame(Clip("truck", {}, (Frame(lambda: sweep, {}),)), 0)
    other = np.arange(len(scene)) >= len(street)
    cab = np.concatenate([owned["cab"], np.zeros(len(points), dtype=np.bool_)]) & scene.is_object
    return scene, cab, other


def test_the_box_above_and_behind_a_cab_belongs_to_it() -> None:
    scene, cab, box = with_floating(floating((22.0, 0.0), 2.4, (2.1, 3.5)))
    mask = with_hidden_parts(scene, scene.is_object, cab)
    assert mask[box].all()
    assert mask[cab].all()


@pytest.mark.parametrize(
    "points",
    [
        pytest.param(floating((22.0, 0.0), 2.4, (2.1, 3.5), ragged_m=2.0), id="a tree's crown"),
        pytest.param(floating((22.0, 0.0), 8.0, (2.1, 3.5)), id="a wall"),
        pytest.param(floating((22.0, 0.0), 0.8, (2.1, 3.5)), id="a sign"),
        pytest.param(floating((22.0, 0.0), 2.4, (2.1, 5.2)), id="higher than a truck"),
        pytest.param(floating((26.0, 0.0), 2.4, (2.1, 3.5)), id="far behind"),
        pytest.param(floating((22.0, 2.2), 2.4, (2.1, 3.5)), id="beside"),
    ],
)
def test_what_else_floats_behind_a_cab_does_not(points: Float32Array) -> None:
    scene, cab, other = with_floating(points)
    np.testing.assert_array_equal(with_hidden_parts(scene, scene.is_object, cab)[other], False)
