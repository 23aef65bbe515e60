"""What goes along with a moving body is part of it, and what stands beside its way is not."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from sam4d.data_engine.bodies import Body
from sam4d.data_engine.body_extent import with_what_moves_along
from sam4d.data_engine.reconstruction import Reconstruction, reconstruct
from sam4d.data_engine.visibility import SweepRanges
from sam4d.data_engine.voxels import rows_of, voxel_keys
from sam4d.geometry import SE3
from sam4d.structures import Clip, Cuboid, Frame, Sweep

FRAMES, STEP_M = 5, 1.8


def upright(x_m: float, low_y_m: float, high_y_m: float, low_z_m: float, high_z_m: float, spacing_m: float = 0.1) -> NDArray[np.float32]:
    y, z = np.meshgrid(np.arange(low_y_m, high_y_m, spacing_m), np.arange(low_z_m, high_z_m, spacing_m))
    return np.column_stack([np.full(y.size, x_m), y.ravel(), z.ravel()]).astype(np.float32)


_X, _Y = np.meshgrid(np.arange(3, 16, 0.3), np.arange(-20, 20, 0.3))
GROUND = np.column_stack([_X.ravel(), _Y.ravel(), np.full(_X.size, -1.5)]).astype(np.float32)
WALL = upright(16.0, -20, 20, -1.5, 4.0, 0.05)
POST = upright(11.5, -1.0, -0.5, -1.0, 1.0)
"""Beside the way, an arm's length behind what passes."""


def parts(step: int) -> dict[str, NDArray[np.float32]]:
    """A truck that goes along y, 10 m ahead: its cab, and the box 0.4 m behind it, higher than the cab."""
    y_m = STEP_M * step
    cab, box = upright(10.0, y_m - 1, y_m + 1, -1.0, 1.0), upright(10.0, y_m - 5, y_m - 1.4, -1.0, 2.0)
    return {"cab": cab, "box": box, "wall": WALL, "post": POST, "ground": GROUND}


def rows(step: int) -> Mapping[str, slice]:
    ends = np.cumsum([0, *(len(points) for points in parts(step).values())]).tolist()
    return {name: slice(start, stop) for name, start, stop in zip(parts(step), ends, ends[1:], strict=False)}


@pytest.fixture(scope="module")
def clip() -> Clip:
    sweeps = [Sweep(np.concatenate(list(parts(step).values()))) for step in range(FRAMES)]
    return Clip("truck", {}, tuple(Frame(lambda sweep=sweep: sweep, {}, SE3.identity()) for sweep in sweeps))  # type: ignore[misc]


def cab() -> Body:
    """The track of the cab alone, its cuboid that of a car."""
    return Body(1, {step: Cuboid((10.0, STEP_M * step - 1, -0.25), (4.0, 2.0, 2.5), np.pi / 2) for step in range(FRAMES)})


def test_a_body_takes_what_hangs_together_with_it_and_is_gone_with_it(clip: Clip) -> None:
    ranges = [SweepRanges(frame.load_sweep().points_m) for frame in clip.frames]
    (body,) = with_what_moves_along([cab()], clip, ranges, 0.3)
    for step in range(FRAMES):
        own = body.masks[step] | body.cuboids[step].contains(clip.frames[step].load_sweep().points_m, 0.3)
        assert own[rows(step)["cab"]].all()
        assert own[rows(step)["box"]].mean() > 0.95
        assert not body.masks[step][rows(step)["wall"]].any()
        assert not body.masks[step][rows(step)["post"]].any()


def box_voxels(scene: Reconstruction, clip: Clip) -> int:
    """Voxels of the static scene where the box was."""
    points_m = np.concatenate([clip.frames[step].load_sweep().points_m[rows(step)["box"]] for step in range(FRAMES)])
    static = scene.keys[scene.part(0)][~scene.is_ground[scene.part(0)]]
    return int((rows_of(np.unique(voxel_keys(points_m, scene.settings.voxel_m)), static) >= 0).sum())


def test_what_goes_along_with_a_short_cuboid_leaves_no_ghost_and_what_stands_stays(clip: Clip) -> None:
    scene = reconstruct(clip, [cab()])
    assert len(scene.bodies) == 1
    assert box_voxels(scene, clip) <= 20
    for name in ("wall", "post"):
        voxels = scene.voxels_of_points(2, clip.frames[2].load_sweep().points_m)[rows(2)[name]]
        assert (voxels[voxels >= 0] < scene.starts[1]).all()


def test_without_bodies_nothing_goes_along(clip: Clip) -> None:
    assert with_what_moves_along([], clip, [], 0.3) == ()
