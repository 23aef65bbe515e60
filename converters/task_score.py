"""How sure a task's proposals are as a whole: the score of its prediction, by which Label Studio orders tasks.

All values are in [0, 1]: 1 is certain, 0 doubtful.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from converters.region_meta import parse_meta
from sam4d.geometry import Float64Array
from sam4d.structures import CameraMasks, Clip, Float32Array, Masklet, ObjectMasks

DOUBTFUL_SHARE = 0.25
"""Of a task's objects: the most doubtful ones, which make its score. Many easy ones do not hide them."""

NOTHING_FOUND = 0.5
"""The score of a task without objects. Nothing says whether its frames are empty or everything was missed. A look at it is short, so it
comes before all but the worst (those of simulated streets have 0.6 to 0.85)."""

JUMP_M = 0.5

STABILITY_OFFSET = 1.0
"""In logits, as SAM's stability score has it."""


def task_score(masklets: Sequence[Masklet], regions: Iterable[Mapping[str, object]], clip: Clip) -> float:
    """The mean certainty of the most doubtful quarter of the objects, at least one of them.

    Args:
        masklets: what is proposed for the task.
        regions: of these, as `converters.regions` makes them; how far points and camera masks agree is read from their meta.
        clip: the task's frames only.

    Raises:
        InputError: a region of ours that cannot be read, or a sweep.
    """
    if not masklets:
        return NOTHING_FOUND
    agreements, places_m = _agreements(regions), _places(masklets, clip)
    certainties = sorted(
        object_certainty(masklet, agreements.get(masklet.object_id, {}), places_m[masklet.object_id]) for masklet in masklets
    )
    return float(np.mean(certainties[: max(1, round(DOUBTFUL_SHARE * len(certainties)))]))


def object_certainty(masklet: Masklet, agreements: Mapping[int, float], places_m: Mapping[int, Float64Array]) -> float:
    """The geometric mean of what can be said of the object: the engine's score, its stability, and how far points and camera masks agree.

    Stability is that of the masks (`mask_stability`) where the engine gives logits, else that over the frames (`steadiness`).

    Args:
        agreements: {frame index: how far points and camera masks agree}, where a camera sees the object.
        places_m: as for `steadiness`.
    """
    known = [masklet.score]
    stabilities = [stability for masks in masklet.masks.values() if (stability := mask_stability(masks)) is not None]
    stability = float(np.mean(stabilities)) if stabilities else steadiness(places_m)
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


def steadiness(places_m: Mapping[int, Float64Array]) -> float | None:
    """How little an object jumps over the frames, beyond an even motion: 1 for none, 1/2 where it is `JUMP_M` off.

    Where a mask takes a piece of something else along or loses one of its own, the middle of its points jumps. The mean over every three
    frames in a row; None where there are none.

    Args:
        places_m: {frame index: the middle of the object's points seen from above, (2,)}, all in one frame that does not move.
    """
    middles = [frame for frame in places_m if frame - 1 in places_m and frame + 1 in places_m]
    if not middles:
        return None
    jumps_m = [float(np.linalg.norm(places_m[frame + 1] - 2 * places_m[frame] + places_m[frame - 1])) for frame in middles]
    return float(np.mean(JUMP_M / (JUMP_M + np.array(jumps_m))))


def _places(masklets: Sequence[Masklet], clip: Clip) -> Mapping[int, Mapping[int, Float64Array]]:
    """{object id: as for `steadiness`}: medians, in the LiDAR frame of the clip's first frame."""
    places_m: dict[int, dict[int, Float64Array]] = {masklet.object_id: {} for masklet in masklets}
    for frame_index, frame in enumerate(clip.frames):
        shown = [masklet for masklet in masklets if frame_index in masklet.masks]
        points_m = frame.load_sweep().points_m if shown else np.zeros((0, 3), dtype=np.float32)
        motion = clip.lidar_SE3_lidar(0, frame_index)
        for masklet in shown:
            own_m = points_m[masklet.masks[frame_index].lidar_mask]
            own_m = own_m[np.isfinite(own_m).all(axis=1)]
            if len(own_m):
                places_m[masklet.object_id][frame_index] = motion.apply(np.median(own_m.astype(np.float64), axis=0))[:2]
    return places_m


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
