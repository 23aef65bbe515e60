"""What counts as moving: short ways of short things, and no way of what wanders."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sam4d.data_engine.bodies import Body, moving_bodies
from sam4d.data_engine.visibility import SweepRanges
from sam4d.geometry import SE3
from sam4d.structures import Clip, Cuboid, Frame, Sweep

FRAMES = 5


def plate(y_m: float, width_m: float) -> NDArray[np.float64]:
    """Upright, 10 m ahead, 1.8 m high."""
    y, z = np.meshgrid(np.arange(-width_m / 2, width_m / 2, 0.05), np.arange(-0.9, 0.9, 0.05))
    return np.column_stack([np.full(y.size, 10.0), y_m + y.ravel(), z.ravel()])


def wall() -> NDArray[np.float64]:
    y, z = np.meshgrid(np.arange(-8, 8, 0.05), np.arange(-2, 3, 0.05))
    return np.column_stack([np.full(y.size, 14.0), y.ravel(), z.ravel()])


def bodies(width_m: float, step_m: float, *, stands: bool) -> list[int]:
    """A plate that goes `step_m` from frame to frame, or stands while its cuboid does."""
    sweeps = [Sweep(np.concatenate([plate(0.0 if stands else step_m * k, width_m), wall()]).astype(np.float32)) for k in range(FRAMES)]
    clip = Clip("plate", {}, tuple(Frame(lambda sweep=sweep: sweep, {}, SE3.identity()) for sweep in sweeps))  # type: ignore[misc]
    track = Body(1, {k: Cuboid((10.0, step_m * k, 0.0), (width_m, width_m, 1.8), np.pi / 2) for k in range(FRAMES)})
    return [body.object_id for body in moving_bodies(clip, [track], [SweepRanges(sweep.points_m) for sweep in sweeps])]


@pytest.mark.parametrize(("width_m", "step_m", "moves"), [(0.6, 0.2, True), (4.0, 0.2, False), (4.0, 0.5, True)])
def test_what_has_left_its_own_place_moves_and_less_than_a_metre_of_something_long_proves_nothing(
    width_m: float, step_m: float, moves: bool
) -> None:
    assert bodies(width_m, step_m, stands=False) == ([1] if moves else [])


def test_a_short_cuboid_that_wanders_a_short_way_is_no_body() -> None:
    assert bodies(0.6, 0.2, stands=True) == []
