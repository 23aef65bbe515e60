"""The points of one object on one frame, from prompts on any sensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sam4d.geometric.camera_areas import CameraArea, agreement, camera_area, seed_in
from sam4d.geometric.clicked_points import ClickedPoint, clicked_points
from sam4d.geometric.editing import around, edited, gap_at, ground_patch
from sam4d.geometric.growing import IndexArray, Region, groups_at_gap, grow, usual_gap
from sam4d.geometric.hidden_parts import with_hidden_parts
from sam4d.geometric.low_parts import with_low_parts
from sam4d.geometric.scene import FrameScene
from sam4d.geometry import BoolArray, Float64Array
from sam4d.structures import LIDAR, BoxPrompt, Clip, MaskPrompt, PointPrompt, Prompt

GROUND_SCORE = 0.1
"""Somebody clicked on the ground alone: hardly what was meant."""


@dataclass(frozen=True, eq=False)
class LidarSegment:
    """mask bool (N,) over the sweep; score in [0, 1], 0 where nothing was found."""

    mask: BoolArray
    score: float


def segment_points(scene: FrameScene, clip: Clip, prompts: Sequence[Prompt]) -> LidarSegment:
    """Segment one object in the sweep.

    Args:
        prompts: all prompts of the object on this frame, of any sensors, valid for the clip. A mask over the sweep is taken as
            it is; clicks given with it add to it and take from it.
    """
    lidar_masks = [prompt.mask & scene.valid for prompt in prompts if isinstance(prompt, MaskPrompt) and prompt.sensor == LIDAR]
    clicks = clicked_points(scene, clip, prompts)
    if lidar_masks:
        mask = edited(scene, scene.is_object, np.logical_or.reduce(lidar_masks), (), clicks)
        return LidarSegment(mask, 1.0 if mask.any() else 0.0)

    areas: list[CameraArea] = []
    for prompt in prompts:
        if prompt.sensor != LIDAR and not isinstance(prompt, PointPrompt):
            areas.append(camera_area(scene, clip.cameras[prompt.sensor], prompt))
    boxes = [np.asarray(prompt.box, dtype=np.float64) for prompt in prompts if isinstance(prompt, BoxPrompt) and prompt.sensor == LIDAR]
    allowed = scene.is_object.copy()
    for area in areas:
        allowed &= area.allowed
    for box in boxes:
        allowed &= _in_box(scene, box, margin_m=0.1)

    evidence = agreement(areas) if areas else None
    first = next((click for click in clicks if click.label == 1 and not scene.is_ground[click.row]), None)
    done: list[ClickedPoint] = []
    if first is not None:
        segment = _grown(scene, allowed, first.row, evidence)
        done = [first]
    elif boxes and not areas:
        segment = _inside_box(scene, allowed, boxes[0])
    elif areas or boxes:
        seed = seed_in(scene, allowed, areas) if areas else None
        segment = _grown(scene, allowed, seed, evidence) if seed is not None else LidarSegment(np.zeros(len(scene), dtype=np.bool_), 0.0)
    else:
        patch = ground_patch(scene, [click for click in clicks if click.label == 1])
        return LidarSegment(patch, GROUND_SCORE if patch.any() else 0.0)
    mask = edited(scene, allowed, segment.mask, done, [click for click in clicks if click not in done], evidence)
    return LidarSegment(mask, max(segment.score, GROUND_SCORE) if mask.any() else 0.0)


def _in_box(scene: FrameScene, box: Float64Array, margin_m: float = 0.0) -> BoolArray:
    xy = scene.points_m[:, :2]
    return np.asarray((xy >= box[:2] - margin_m).all(axis=1) & (xy <= box[2:] + margin_m).all(axis=1) & scene.valid)


def _grown(scene: FrameScene, allowed: BoolArray, seed: int, evidence: Callable[[IndexArray], float] | None) -> LidarSegment:
    near = allowed & around(scene, seed)
    near[seed] = True
    rows = np.flatnonzero(near)
    found = None if evidence is None else lambda part: evidence(rows[part])
    region = grow(scene.upright_m(rows), np.searchsorted(rows, [seed]), gap_at(scene, seed), found, scene.growth)
    mask = np.zeros(len(scene), dtype=np.bool_)
    mask[rows[region.mask]] = True
    return LidarSegment(with_low_parts(scene, with_hidden_parts(scene, allowed, mask)), _score(region))


def _score(region: Region) -> float:
    support = min(1.0, float(region.mask.sum()) / 20) ** 0.25
    return float(np.clip((0.3 + 0.7 * region.plausibility) * (0.6 + 0.4 * region.stability) * support, 0.02, 1.0))


def _inside_box(scene: FrameScene, allowed: BoolArray, box: Float64Array) -> LidarSegment:
    """What stands in a box seen from above, without what only reaches into it."""
    around = scene.is_object & _in_box(scene, box, margin_m=3.0)
    rows = np.flatnonzero(around)
    inside = allowed[rows]
    if not inside.any():
        return LidarSegment(np.zeros(len(scene), dtype=np.bool_), 0.0)
    gap_m = usual_gap(float(np.hypot(*(box[:2] + box[2:]) / 2)), scene.growth)
    group = groups_at_gap(scene.upright_m(rows), gap_m, scene.growth)
    share = np.bincount(group, weights=inside) / np.bincount(group)
    kept = inside & (share[group] > 0.5)
    if kept.sum() < 0.3 * inside.sum():
        # The object hangs together with something outside: what is inside, in its largest piece.
        within = rows[inside]
        piece = groups_at_gap(scene.upright_m(within), gap_m, scene.growth)
        kept = np.zeros(len(rows), dtype=np.bool_)
        kept[inside] = piece == np.bincount(piece).argmax()
    mask = np.zeros(len(scene), dtype=np.bool_)
    mask[rows[kept]] = True
    return LidarSegment(mask, 0.9 if mask.sum() >= 10 else 0.5)
