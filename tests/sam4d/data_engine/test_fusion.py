"""Votes on voxels: what is one object, and what is none."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sam4d.data_engine.fusion import FusedObject, count_votes, fuse
from sam4d.data_engine.masklet_source import KnownMasklets
from sam4d.data_engine.reconstruction import Reconstruction, reconstruct
from sam4d.geometry import SE3
from sam4d.structures import Clip, Frame, Masklet, ObjectMasks, Sweep

FRAMES = 3


def block(middle_m: tuple[float, float, float], side_m: float = 1.2) -> NDArray[np.float32]:
    """The surface's points of a cube, 0.1 m apart."""
    steps = np.arange(-side_m / 2, side_m / 2 + 0.01, 0.1)
    points = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
    return np.asarray(points[(np.abs(points) > side_m / 2 - 0.05).any(axis=1)] + middle_m, dtype=np.float32)


def fused(blocks: list[NDArray[np.float32]], found: list[int], *, own_masks: bool) -> tuple[Reconstruction, list[FusedObject]]:
    """Standing blocks over flat ground, those found as masklets fused."""
    x, y = np.meshgrid(np.arange(-30, 30, 0.3), np.arange(-30, 30, 0.3))
    road = np.column_stack([x.ravel(), y.ravel(), np.full(x.size, -1.8)]).astype(np.float32)
    sweep = Sweep(np.concatenate([*blocks, road]))
    clip = Clip("blocks", {}, tuple(Frame(lambda: sweep, {}, SE3.identity()) for _ in range(FRAMES)))
    ends = np.cumsum([0, *map(len, blocks)])
    masklets = []
    for index in found:
        mask = np.zeros(len(sweep), dtype=np.bool_)
        mask[ends[index] : ends[index + 1]] = True
        masklets.append(Masklet(index + 1, "Car", {frame: ObjectMasks(index + 1, frame, {}, mask, 1.0) for frame in range(FRAMES)}))
    scene = reconstruct(clip, [])
    source = KnownMasklets(clip, masklets)
    return scene, fuse(scene, source, count_votes(scene, source, masklets), own_masks=own_masks)


def test_what_stands_under_something_is_an_object_all_the_same() -> None:
    """A pedestrian under a tree is none of its branches."""
    free, under, above = block((8.0, 4.0, -1.0)), block((8.0, -4.0, -1.0)), block((8.0, -4.0, 0.6))
    _, objects = fused([free, under, above], [0, 1], own_masks=True)
    assert len(objects) == 2


def test_what_all_sweeps_agree_on_has_a_high_score() -> None:
    _, objects = fused([block((8.0, 4.0, -1.0))], [0], own_masks=True)
    assert objects[0].score > 0.9
