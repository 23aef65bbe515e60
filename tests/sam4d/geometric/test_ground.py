"""The ground follows slopes, tilt and kerbs, and stays under what stands on it."""

from __future__ import annotations

import numpy as np
import pytest

from sam4d.geometric.ground import fit_ground, is_ground
from sam4d.geometry import SE3
from tests.sam4d.geometric.street import CAR, PERSON, WALL, scan

BOXES = {"car": CAR, "person": PERSON, "wall": WALL}


@pytest.mark.parametrize("slope", [-0.08, 0.0, 0.05, 0.1])
def test_follows_slopes(slope: float) -> None:
    points, owned = scan(BOXES, slope)
    near = np.hypot(points[:, 0], points[:, 1]) < 23
    height_m = points[:, 2] - fit_ground(points).z_at(points)
    on_ground = ~np.logical_or.reduce(list(owned.values())) & near
    assert is_ground(points, height_m)[on_ground].mean() > 0.99
    assert np.abs(height_m[on_ground]).max() < 0.2
    upper = (owned["car"] | owned["person"]) & (points[:, 2] - (slope * points[:, 0] - 1.8) > 0.4 + 0.3 * abs(slope) * 10)
    assert not is_ground(points, height_m)[upper].any()


def test_follows_the_tilt_of_the_sensor() -> None:
    points, owned = scan(BOXES)
    turn = np.radians(3.0)
    tilt = SE3(np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]]), np.zeros(3))
    tilted = tilt.apply(points).astype(np.float32)
    height_m = tilted[:, 2] - fit_ground(tilted).z_at(tilted)
    ground = ~np.logical_or.reduce(list(owned.values())) & (np.hypot(points[:, 0], points[:, 1]) < 23)
    assert np.percentile(np.abs(height_m[ground]), 99) < 0.1


def test_stray_echoes_far_below_the_road_do_not_pull_it_down() -> None:
    points, owned = scan(BOXES)
    strays = np.random.default_rng(0).uniform((15, -5, -14), (22, 5, -6), (200, 3)).astype(np.float32)
    height_m = points[:, 2] - fit_ground(np.concatenate([points, strays])).z_at(points)
    ground = ~np.logical_or.reduce(list(owned.values())) & (np.hypot(points[:, 0], points[:, 1]) < 23)
    assert np.percentile(np.abs(height_m[ground]), 95) < 0.15


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_a_handful_of_points_gives_a_finite_surface(count: int) -> None:
    points = np.random.default_rng(1).uniform(-5, 5, (count, 3)).astype(np.float32)
    assert np.isfinite(fit_ground(points).z_at(np.zeros((4, 2)))).all()
