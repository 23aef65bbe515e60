"""Whole objects from the sides that are seen of them."""

from __future__ import annotations

import numpy as np
import pytest

from sam4d.cuboid_extent import LocalView, completed_extent, hidden_share, visible_extent
from sam4d.geometry import Float64Array


def face(x_m: tuple[float, float], y_m: tuple[float, float], top_m: float = 1.5) -> Float64Array:
    x, y, z = np.meshgrid(np.linspace(*x_m, 40), np.linspace(*y_m, 40), np.linspace(0.2, top_m, 8))
    return np.column_stack([x.ravel(), y.ravel(), z.ravel()])


REAR = face((0.0, 0.1), (-0.9, 0.9))
SIDE = face((0.0, 4.3), (0.85, 0.9))


def test_a_rear_seen_from_behind_is_as_long_as_cars_are() -> None:
    views = [LocalView(REAR, np.array([-20.0, 0.0]))]
    whole = completed_extent(visible_extent(views), views, "Car")
    assert whole.size_m[0] == pytest.approx(4.5, abs=0.1)
    assert whole.low_m[0] == pytest.approx(0.0, abs=0.1)


def test_a_side_seen_from_beside_is_as_long_as_it_is_and_as_wide_as_cars_are() -> None:
    views = [LocalView(SIDE, np.array([2.0, 15.0]))]
    whole = completed_extent(visible_extent(views), views, "Car")
    assert whole.size_m[0] == pytest.approx(4.4, abs=0.1)
    assert whole.size_m[1] == pytest.approx(1.85, abs=0.1)
    assert whole.high_m[1] == pytest.approx(0.9, abs=0.1)


def test_even_in_full_view_a_short_car_is_taken_for_a_little_longer_and_a_long_one_is_not() -> None:
    for seen_m, low_m, high_m in ((3.8, 4.0, 4.2), (5.0, 5.0, 5.15)):
        views = [LocalView(face((0.0, seen_m), (0.85, 0.9)), np.array([seen_m / 2, 8.0]))]
        assert low_m < completed_extent(visible_extent(views), views, "Car").size_m[0] < high_m


def test_the_right_heading_hides_less() -> None:
    sensor = np.array([-20.0, 4.0])
    right = [LocalView(REAR, sensor)]
    turned = [LocalView(REAR[:, [1, 0, 2]], sensor[::-1].copy())]
    assert hidden_share(visible_extent(right), right, "Car") < hidden_share(visible_extent(turned), turned, "Car")


def test_a_frame_that_takes_a_neighbour_along_makes_nothing_larger() -> None:
    good = [LocalView(SIDE, np.array([2.0, 15.0]))] * 10
    bad = LocalView(np.vstack([SIDE, face((4.3, 9.0), (0.0, 0.9))]), np.array([2.0, 15.0]))
    assert visible_extent([*good, bad]).size_m[0] == pytest.approx(4.3, abs=0.1)
    alone = [bad]
    assert completed_extent(visible_extent(alone), alone, "Car").size_m[0] < 7.0


def test_what_has_no_usual_size_stays_as_seen() -> None:
    views = [LocalView(face((0.0, 0.5), (0.0, 0.3), 0.6), np.array([-5.0, 0.1]))]
    whole = completed_extent(visible_extent(views), views, "Thing")
    np.testing.assert_allclose(whole.size_m, [0.5, 0.3], atol=0.05)
    assert hidden_share(visible_extent(views), views, "Thing") == 0
