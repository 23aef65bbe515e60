from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.columns import coarse_ground, pixel_indices, points_seen_from_above, standing_points, under_mask
from sam4d.geometry import BirdsEyeView
from sam4d.simulation import SyntheticDrive
from tests.converters.tiny_task import VIEW, car_points, tiny_sweep


def test_flat_ground_below_a_car() -> None:
    ground = coarse_ground(tiny_sweep().points_m)
    assert ground.at(np.array([[10.0, 3.0], [-20.0, 15.0], [400.0, 0.0]])) == pytest.approx(-1.7)
    assert standing_points(tiny_sweep().points_m, np.ones(len(tiny_sweep()), dtype=np.bool_)).sum() > 0.7 * car_points().sum()


def test_ground_follows_a_slope() -> None:
    points_m = tiny_sweep().points_m.copy()
    points_m[:, 2] += 0.1 * points_m[:, 0]
    places = np.array([[-15.0, 0.0], [0.0, 5.0], [15.0, -10.0]])
    assert coarse_ground(points_m).at(places) == pytest.approx(-1.7 + 0.1 * places[:, 0], abs=0.3)


@pytest.mark.parametrize("points", [np.zeros((0, 3)), np.full((4, 3), np.nan), np.full((4, 3), 1e9)])
def test_a_sweep_without_usable_points_has_flat_ground(points: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> None:
    assert coarse_ground(points).at(np.array([3.0, 4.0])) == 0.0


def test_ground_is_found_on_the_synthetic_street(small_drive: SyntheticDrive) -> None:
    points_m = small_drive.clip.frames[0].load_sweep().points_m
    finite = np.isfinite(points_m[:, 0])
    height_m = points_m[finite, 2] - coarse_ground(points_m).at(points_m[finite, :2])
    objects = np.any([masklet.masks[0].lidar_mask for masklet in small_drive.masklets if 0 in masklet.masks], axis=0)[finite]
    assert np.median(np.abs(height_m[~objects & (points_m[finite, 2] < -1)])) < 0.2
    assert np.median(height_m[objects]) > 0.4


@given(st.integers(0, 2**32 - 1), st.integers(0, 60), st.floats(5, 40), st.floats(0.05, 1))
def test_every_point_of_an_object_is_under_its_own_shape(seed: int, count: int, range_m: float, metres_per_pixel: float) -> None:
    """Also at the borders of the image, where the shape is cut."""
    view = BirdsEyeView(range_m, metres_per_pixel)
    points_m = np.random.default_rng(seed).uniform(-1.1 * range_m, 1.1 * range_m, (count, 3))
    everything = np.ones(count, dtype=np.bool_)
    shape = points_seen_from_above(points_m, everything, view)
    inside = pixel_indices(points_m, view)[1]
    assert shape.shape == (view.size_px, view.size_px)
    assert (under_mask(points_m, view, shape) == inside).all()
    assert shape.any() == inside.any()


def test_nothing_seen_is_an_empty_shape() -> None:
    assert not points_seen_from_above(tiny_sweep().points_m, np.isnan(tiny_sweep().points_m[:, 0]), VIEW).any()
