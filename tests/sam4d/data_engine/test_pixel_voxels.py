"""Pixels and voxels: the nearest is seen, what lies behind is not, and both directions agree."""

from __future__ import annotations

import numpy as np

from sam4d.data_engine.pixel_voxels import pixel_voxels
from sam4d.geometry import SE3
from sam4d.structures import Camera

# x right, y down, z forward is the LiDAR frame, too: places are camera coordinates.
CAMERA = Camera("front", 480, 300, 300.0, 300.0, 240.0, 150.0, SE3.identity())
VOXEL_M = 0.15


def plane(depth_m: float, half_m: float) -> np.ndarray:  # type: ignore[type-arg]
    side = np.arange(-half_m, half_m, VOXEL_M)
    x, y = np.meshgrid(side, side)
    return np.column_stack([x.ravel(), y.ravel(), np.full(x.size, depth_m)]).astype(np.float32)


def test_what_stands_before_something_hides_it() -> None:
    near, far = plane(5.0, 1.0), plane(20.0, 6.0)
    places_m = np.concatenate([near, far])
    table = pixel_voxels(CAMERA, np.arange(len(places_m)) + 100, places_m, VOXEL_M)
    seen = table.voxels - 100
    assert set(range(len(near))) <= set(seen.tolist())
    hidden = np.abs(far[:, :2]).max(axis=1) < 3.0
    assert not np.isin(np.flatnonzero(hidden) + len(near), seen).any()
    beside = np.abs(far[:, :2]).max(axis=1) > 4.8
    assert np.isin(np.flatnonzero(beside & (np.abs(far[:, 1]) < 9)) + len(near), seen).mean() > 0.95


def test_a_pixel_of_a_voxel_says_the_voxel_and_masks_come_back() -> None:
    places_m = plane(5.0, 1.0)
    table = pixel_voxels(CAMERA, np.arange(len(places_m)), places_m, VOXEL_M)
    rows = (table.pixels / table.scale).astype(int)
    assert np.array_equal(table.first_voxel[rows[:, 1], rows[:, 0]], table.voxels)
    tracks = np.zeros((300, 480), dtype=np.int32)
    tracks[:, :240] = 7
    said = table.tracks_of_voxels(tracks)
    assert np.array_equal(said == 7, table.pixels[:, 0] < 240)
    wanted = np.zeros(len(places_m), dtype=np.bool_)
    wanted[table.voxels[said == 7]] = True
    mask = table.mask_of_voxels(wanted, 300, 480)
    assert mask.shape == (300, 480)
    assert mask[150, 190]
    assert not mask[:, 260:].any()


def test_a_camera_that_sees_nothing() -> None:
    behind = plane(5.0, 1.0) * [1, 1, -1]
    table = pixel_voxels(CAMERA, np.arange(len(behind)), behind.astype(np.float32), VOXEL_M)
    assert len(table.voxels) == 0
    assert (table.first_voxel == -1).all()


def test_what_has_no_voxel_hides_what_is_behind_it() -> None:
    behind, before = plane(8.0, 1.0), plane(4.0, 1.0)
    free = pixel_voxels(CAMERA, np.arange(len(behind)), behind, VOXEL_M)
    hidden = pixel_voxels(CAMERA, np.arange(len(behind)), behind, VOXEL_M, before)
    assert len(free.voxels) > 100
    assert len(hidden.voxels) == 0
    assert (hidden.first_voxel == -1).all()
