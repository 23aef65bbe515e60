"""How sure a task's proposals are as a whole: the score of its prediction, by which Label Studio orders tasks.

All values are in [0, 1]: 1 is certain, 0 doubtful.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from converters.region_meta import parse_meta
from sam4d.structures import CameraMasks, Float32Array, Masklet, ObjectMasks

DOUBTFUL_SHARE = 0.25
"""Of a task's objects: the most doubtful ones, which make its score. Many easy ones do not hide them."""

NOTHING_FOUND = 0.5
"""The score of a task without objects. Nothing says whether its frames are empty or everything was missed: it comes after the tasks that are
known to be doubtful and before those that are known to be good."""

STABILITY_OFFSET = 1.0
"""In logits, as SAM's stability score has it."""


def task_score(masklets: Sequence[Masklet], regions: Iterable[Mapping[str, object]]) -> float:
    """The mean certainty of the most doubtful quarter of the objects, at least one of them.

    Args:
        masklets: what is proposed for the task.
        regions: of these, as `converters.regions` makes them; how far points and camera masks agree is read from their meta.

    Raises:
        InputError: a region of ours that cannot be read.
    """
    if not masklets:
        return NOTHING_FOUND
    agreements = _agreements(regions)
    certainties = sorted(object_certainty(masklet, agreements[masklet.object_id]) for masklet in masklets)
    return float(np.mean(certainties[: max(1, round(DOUBTFUL_SHARE * len(certainties)))]))


def object_certainty(masklet: Masklet, agreements: Mapping[int, float]) -> float:
    """The geometric mean of what can be said of the object: the engine's score, its stability, and how far points and camera masks agree.

    Stability is that of the masks (`mask_stability`) where the engine gives logits, else that over the frames (`steadiness`).

    Args:
        agreements: {frame index: how far points and camera masks agree}, where a camera sees the object.
    """
    # Masks that lie packed are unpacked once.
    masklet = replace(masklet, masks=dict(masklet.masks))
    known = [masklet.score]
    stabilities = [stability for masks in masklet.masks.values() if (stability := mask_stability(masks)) is not None]
    stability = float(np.mean(stabilities)) if stabilities else steadiness(masklet)
    if stability is not None:
        known.append(stability)
    if agreements:
        known.append(float(np.mean(list(agreements.values()))))
    return float(np.prod(np.clip(known, 0.0, 1.0)) ** (1 / len(known)))


def mask_stability(masks: ObjectMasks) -> float | None:
    """How little the masks change with their threshold: IoU of each at logits of +1 and -1, the mean over the sensors that show the object.

    None where the engine gives no logits, or none shows the object. Source: the stability score of Kirillov et al., Segment Anything.
    """
    assert isinstance(masks.camera_masks, CameraMasks)
    shown = [masks.camera_logits[name] for name in masks.camera_masks.seen_by if name in masks.camera_logits]
    if masks.lidar_logits is not None and masks.lidar_mask.any():
        shown.append(masks.lidar_logits)
    return float(np.mean([_stability(logits) for logits in shown])) if shown else None


def steadiness(masklet: Masklet) -> float | None:
    """How little what is seen of the object jumps from frame to frame: points times squared distance, the smaller over the larger.

    A surface has points by the inverse square of its distance, so that coming nearer is no jump. The mean over the neighbours among the
    frames on which the object has a cuboid; where frames between two are left out, that counts as 0. None without neighbours.
    """
    seen: dict[int, float] = {}
    for frame_index in sorted(masklet.masks.keys() & masklet.cuboids.keys()):
        x_m, y_m, _ = masklet.cuboids[frame_index].center_m
        seen[frame_index] = float(masklet.masks[frame_index].lidar_mask.sum()) * (x_m**2 + y_m**2)
    alike = [
        min(one, other) / max(one, other) if next_frame == frame + 1 and max(one, other) > 0 else 0.0
        for (frame, one), (next_frame, other) in pairwise(seen.items())
    ]
    return float(np.mean(alike)) if alike else None


def _agreements(regions: Iterable[Mapping[str, object]]) -> Mapping[int, Mapping[int, float]]:
    """{object id: {frame index: agreement}}."""
    found: defaultdict[int, dict[int, float]] = defaultdict(dict)
    for region in regions:
        meta = parse_meta(region.get("meta"), f"region {region.get('id')}")
        if meta is not None and meta.agreement is not None:
            found[meta.object_id][meta.frame_index] = meta.agreement
    return found


def _stability(logits: Float32Array) -> float:
    outer = int((logits > -STABILITY_OFFSET).sum())
    return int((logits > STABILITY_OFFSET).sum()) / outer if outer else 0.0
