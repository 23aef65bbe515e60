"""Further clicks on a mask: each changes it where it is."""

from __future__ import annotations

import numpy as np

from sam4d.geometric.clicked_points import ClickedPoint
from sam4d.geometric.editing import edited
from sam4d.geometric.low_parts import with_low_parts
from sam4d.geometric.scene import FrameScene
from sam4d.geometry import BoolArray
from tests.sam4d.geometric.street import CAR, PERSON, WALL, street_clip


def middle(scene: FrameScene, mask: BoolArray) -> int:
    rows = np.flatnonzero(mask)
    points = scene.points_m[rows]
    return int(rows[((points - np.median(points, axis=0)) ** 2).sum(axis=1).argmin()])


def test_a_click_in_the_middle_of_what_is_missing_brings_it_and_no_more() -> None:
    _, scene, owned, _ = street_clip({"car": CAR, "wall": WALL})
    car = owned["car"] & scene.is_object
    half = car & (scene.points_m[:, 1] < np.median(scene.points_m[car, 1]))
    assert 0.3 < half.sum() / car.sum() < 0.7
    done = [ClickedPoint(middle(scene, car & ~half), 1)]
    after = edited(scene, scene.is_object, car & ~half, done, [ClickedPoint(middle(scene, half), 1)])
    assert after[half].mean() > 0.9
    assert not after[owned["wall"]].any()


def test_a_click_in_the_middle_of_what_is_too_much_takes_it_and_no_more() -> None:
    _, scene, owned, _ = street_clip({"car": CAR, "person": PERSON, "wall": WALL})
    car, wall = owned["car"] & scene.is_object, owned["wall"] & scene.is_object
    after = edited(scene, scene.is_object, car | wall, [ClickedPoint(middle(scene, car), 1)], [ClickedPoint(middle(scene, wall), 0)])
    assert after[car].mean() > 0.95
    assert after[wall].mean() < 0.05


def test_clicks_that_say_nothing_new_change_nothing() -> None:
    _, scene, owned, _ = street_clip({"car": CAR, "wall": WALL})
    car = owned["car"] & scene.is_object
    clicks = [ClickedPoint(middle(scene, car), 1), ClickedPoint(middle(scene, owned["wall"]), 0)]
    np.testing.assert_array_equal(edited(scene, scene.is_object, car, (), clicks), car)


def test_a_click_on_low_parts_that_count_as_ground_adds_them() -> None:
    _, scene, owned, _ = street_clip({"car": CAR})
    car = owned["car"] & scene.is_object
    ground = scene.is_ground & (np.hypot(*(scene.points_m[:, :2] - np.array(CAR.center_m)).T) < 4)
    row = middle(scene, ground)
    after = edited(scene, scene.is_object, car, [ClickedPoint(middle(scene, car), 1)], [ClickedPoint(row, 1)])
    assert after[row]
    assert after[car].all()
    gone = edited(scene, scene.is_object, after, [ClickedPoint(middle(scene, car), 1)], [ClickedPoint(row, 0)])
    assert not gone[row]
    assert gone[car].all()


def test_low_parts_are_close_below_the_object_and_not_the_road_itself() -> None:
    _, scene, owned, _ = street_clip({"car": CAR, "wall": WALL})
    car = owned["car"] & scene.is_object
    whole = with_low_parts(scene, car)
    added = whole & ~car
    assert whole[car].all()
    assert (scene.height_m[added] > 0.07).all()
    assert owned["car"][added].mean() > 0.9 if added.any() else True
    nothing = np.zeros_like(car)
    assert not with_low_parts(scene, nothing).any()
