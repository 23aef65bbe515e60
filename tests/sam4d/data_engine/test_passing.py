"""What is hit while a body passes and never otherwise is the body's, and what stands beside its way is not."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sam4d.data_engine.bodies import Body
from sam4d.data_engine.passing import hit_in_passing
from sam4d.data_engine.reconstruction import reconstruct
from sam4d.data_engine.visibility import SweepRanges
from sam4d.data_engine.voxels import rows_of, voxel_centers, voxel_keys
from sam4d.geometry import SE3
from sam4d.structures import Clip, Cuboid, Frame, Sweep

FRAMES, STEP_M, VOXEL_M = 12, 1.5, 0.15


def face(x_m: float, y_m: tuple[float, float], z_m: tuple[float, float]) -> NDArray[np.float32]:
    y, z = np.meshgrid(np.arange(*y_m, 0.05), np.arange(*z_m, 0.05))
    return np.column_stack([np.full(y.size, x_m), y.ravel(), z.ravel()]).astype(np.float32)


_X, _Y = np.meshgrid(np.arange(5, 60, 0.3), np.arange(-10, 10, 0.3))
GROUND = np.column_stack([_X.ravel(), _Y.ravel(), np.full(_X.size, -0.4)]).astype(np.float32)
POST = face(41.0, (1.7, 2.0), (0.0, 1.5))


def box(step: int) -> NDArray[np.float32]:
    """The upper part of a truck that comes ahead: it lies outside the cuboid, and its places are hidden by the truck once it is nearer."""
    return face(42.02 - STEP_M * step, (-0.9, 0.9), (2.4, 2.9))


def truck() -> Body:
    return Body(1, {step: Cuboid((43.0 - STEP_M * step, 0.0, 1.0), (6.0, 2.0, 2.0), np.pi) for step in range(FRAMES)})


@pytest.fixture(scope="module")
def clip() -> Clip:
    faces = [face(40.0 - STEP_M * step, (-1, 1), (0.0, 2.0)) for step in range(FRAMES)]
    sweeps = [Sweep(np.concatenate([faces[step], box(step), POST, GROUND])) for step in range(FRAMES)]
    return Clip("truck", {}, tuple(Frame(lambda sweep=sweep: sweep, {}, SE3.identity()) for sweep in sweeps))  # type: ignore[misc]


def in_passing(clip: Clip, points_m: NDArray[np.float32], bodies: list[Body]) -> NDArray[np.bool_]:
    keys = np.unique(voxel_keys(points_m, VOXEL_M))
    hit = [np.unique(voxel_keys(frame.load_sweep().points_m, VOXEL_M)) for frame in clip.frames]
    ranges = [SweepRanges(frame.load_sweep().points_m) for frame in clip.frames]
    return hit_in_passing(clip, keys, voxel_centers(keys, VOXEL_M), hit, bodies, ranges)


def test_what_a_body_shows_past_its_cuboid_is_hit_in_passing_and_what_stands_beside_is_not(clip: Clip) -> None:
    assert in_passing(clip, box(0), [truck()]).all()
    assert not in_passing(clip, POST, [truck()]).any()


def test_where_no_body_passes_or_one_stays_nobody_can_tell(clip: Clip) -> None:
    assert not in_passing(clip, box(0), []).any()
    staying = Body(1, dict.fromkeys(range(FRAMES), truck().cuboids[0]))
    assert not in_passing(clip, box(0), [staying]).any()


def test_a_truck_that_comes_ahead_leaves_nothing_of_what_its_cuboid_lacks(clip: Clip) -> None:
    scene = reconstruct(clip, [truck()])
    assert len(scene.bodies) == 1
    static = scene.keys[scene.part(0)]
    left = [int((rows_of(np.unique(voxel_keys(box(step), VOXEL_M)), static) >= 0).sum()) for step in range(FRAMES)]
    assert sum(left) <= 5
    assert (rows_of(np.unique(voxel_keys(POST, VOXEL_M)), static) >= 0).mean() > 0.9
