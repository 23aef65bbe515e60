"""Votes on voxels: what is one object, and what is none."""

from __future__ import annotations

from collections.abc import Callable

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


def standing(blocks: list[NDArray[np.float32]]) -> Clip:
    """Blocks over flat ground that stand for all frames; their points come first, in order."""
    x, y = np.meshgrid(np.arange(-30, 30, 0.3), np.arange(-30, 30, 0.3))
    road = np.column_stack([x.ravel(), y.ravel(), np.full(x.size, -1.8)]).astype(np.float32)
    sweep = Sweep(np.concatenate([*blocks, road]))
    return Clip("blocks", {}, tuple(Frame(lambda: sweep, {}, SE3.identity()) for _ in range(FRAMES)))


def masklet(object_id: int, clip: Clip, own: Callable[[int], NDArray[np.int64]]) -> Masklet:
    """With the points that `own` gives for each frame; frames without are left out."""
    masks = {}
    for frame in range(FRAMES):
        mask = np.zeros(len(clip.frames[frame].load_sweep()), dtype=np.bool_)
        mask[own(frame)] = True
        if mask.any():
            masks[frame] = ObjectMasks(object_id, frame, {}, mask, 1.0)
    return Masklet(object_id, "Car", masks)


def fused_masklets(clip: Clip, masklets: list[Masklet], *, own_masks: bool) -> tuple[Reconstruction, list[FusedObject]]:
    scene = reconstruct(clip, [])
    source = KnownMasklets(clip, masklets)
    return scene, fuse(scene, source, count_votes(scene, source, masklets), own_masks=own_masks)


def fused(blocks: list[NDArray[np.float32]], found: list[int], *, own_masks: bool) -> tuple[Reconstruction, list[FusedObject]]:
    """Standing blocks over flat ground, those found as masklets fused."""
    clip = standing(blocks)
    return fused_masklets(clip, [steady(index, clip, blocks) for index in found], own_masks=own_masks)


def steady(index: int, clip: Clip, blocks: list[NDArray[np.float32]]) -> Masklet:
    """One of the blocks on all frames, numbered from 1."""
    ends = np.cumsum([0, *map(len, blocks)])
    return masklet(index + 1, clip, lambda _: np.arange(ends[index], ends[index + 1]))


def test_what_stands_under_something_is_an_object_all_the_same() -> None:
    """A pedestrian under a tree is none of its branches."""
    free, under, above = block((8.0, 4.0, -1.0)), block((8.0, -4.0, -1.0)), block((8.0, -4.0, 0.6))
    _, objects = fused([free, under, above], [0, 1], own_masks=True)
    assert len(objects) == 2


def test_a_piece_of_something_larger_is_no_object() -> None:
    """A hedge of which one metre was found; nothing else of it was."""
    hedge = [block((8.0, y, -1.0)) for y in (-6.0, -4.8, -3.6, -2.4)]
    _, objects = fused([*hedge, block((8.0, 4.0, -1.0))], [1, 4], own_masks=True)
    assert [fused.tracks for fused in objects] == [(("lidar", 5),)]
    _, objects = fused([*hedge, block((8.0, 4.0, -1.0))], [1, 4], own_masks=False)
    assert len(objects) == 2


def test_what_all_sweeps_agree_on_has_a_high_score() -> None:
    _, objects = fused([block((8.0, 4.0, -1.0))], [0], own_masks=True)
    assert objects[0].score > 0.9


def test_what_was_found_twice_is_one_object_however_a_sweep_parts_it() -> None:
    """One car that two masklets took by turns, on one frame half and half."""
    car = block((8.0, 4.0, -1.0))
    clip = standing([car])
    rows = np.arange(len(car))
    left = car[:, 1] < 4.0
    one = masklet(1, clip, lambda frame: rows if frame == 0 else rows[left])
    other = masklet(2, clip, lambda frame: rows if frame == 2 else rows[~left] if frame == 1 else rows[:0])
    assert 1 in one.masks
    assert 1 in other.masks
    scene, objects = fused_masklets(clip, [one, other], own_masks=True)
    assert len(objects) == 1
    assert set(objects[0].voxels) == set(scene.voxels_of_points(0, car))


def test_objects_that_stand_close_together_stay_two() -> None:
    """Two of three sweeps give the near third of one to the other."""
    one, other = block((8.0, 4.0, -1.0)), block((8.0, 5.3, -1.0))
    clip = standing([one, other])
    strip = np.flatnonzero(other[:, 1] < 5.2) + len(one)
    own = np.arange(len(one)), np.arange(len(one), len(one) + len(other))
    first = masklet(1, clip, lambda frame: np.concatenate([own[0], strip]) if frame else own[0])
    second = masklet(2, clip, lambda frame: np.setdiff1d(own[1], strip) if frame else own[1])
    _, objects = fused_masklets(clip, [first, second], own_masks=True)
    assert len(objects) == 2


def test_what_sweeps_hardly_agree_on_is_no_object_of_the_engines_own() -> None:
    """A masklet that takes another thing on each frame, and keeps a corner of one alone."""
    blocks = [block((8.0, y, -1.0), side_m=1.6) for y in (-6.0, 0.0, 6.0)]
    clip = standing(blocks)
    ends = np.cumsum([0, *map(len, blocks)])
    corner = np.flatnonzero((blocks[0] < np.array([7.6, -6.4, -1.4])).all(axis=1))
    wandering = masklet(1, clip, lambda frame: np.concatenate([corner, np.arange(ends[frame], ends[frame + 1])]) if frame else corner)
    _, objects = fused_masklets(clip, [wandering, steady(1, clip, blocks), steady(2, clip, blocks)], own_masks=True)
    assert [fused.tracks for fused in objects] == [(("lidar", 2),), (("lidar", 3),)]
