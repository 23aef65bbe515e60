"""Labels that a drive brings along become the regions of its tasks: to be corrected, not to be made again.

Cuboids alone are how most drives are labelled. Their points are those that stand inside; the masks in the cameras are what the engine
makes of these points, as it does of what it proposes itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from converters.columns import standing_inside
from converters.regions import Region, masklet_to_regions
from converters.tasks import TaskWindow, within_window
from sam4d.predictor import Predictor, Session
from sam4d.session import empty_masks
from sam4d.structures import Clip, Float32Array, InputError, Masklet, ObjectMasks


@dataclass(frozen=True, eq=False)
class ExistingRegions:
    """What a task gets. `objects`: how many; `cuboids_alone`: those of them whose masks would have been too much for the page;
    `left_out`: those that have no cuboids to stand for them either."""

    regions: tuple[Region, ...]
    objects: int
    cuboids_alone: int
    left_out: int


def existing_regions(masklets: Sequence[Masklet], window: TaskWindow, clip: Clip, predictor: Predictor, most_masks: int) -> ExistingRegions:
    """The regions of a drive's labelled objects in one task, those with the most points first.

    Brush masks number at most `most_masks` together, because every mask slows the page (`backend.proposing`): the objects after them get
    their cuboids alone, which the engine makes masks of when they are touched.

    Args:
        masklets: of the whole sequence.
        clip: the window's frames only.

    Raises:
        InputError: a mask of points of another length than its sweep.
    """
    session = predictor.open(clip)
    points = [frame.load_sweep().points_m for frame in clip.frames]
    shown = [_with_points(within_window(masklet, window), clip, points) for masklet in masklets]
    shown = sorted((masklet for masklet in shown if masklet.masks), key=_point_count, reverse=True)
    regions: list[Region] = []
    left, cuboids_alone, left_out = most_masks, 0, 0
    for masklet in shown:
        added: list[Region] = []
        if left > 0:
            added = _regions(_with_camera_masks(masklet, session), window, clip, predictor.version)
            brushes = sum(region["type"] == "brushlabels" for region in added)
            # The first object is shown whatever it takes.
            if brushes > left and regions:
                added, left = [], 0
            left -= brushes if added else 0
        if not added:
            bare = {index: empty_masks(clip, masklet.object_id, index, len(points[index])) for index in masklet.cuboids}
            added = _regions(
                replace(masklet, masks={index: replace(masks, score=1.0) for index, masks in bare.items()}), window, clip, predictor.version
            )
            cuboids_alone += bool(added)
            left_out += not added
        regions += added
    return ExistingRegions(tuple(regions), len(shown) - left_out, cuboids_alone, left_out)


def _regions(masklet: Masklet, window: TaskWindow, clip: Clip, version: str) -> list[Region]:
    return masklet_to_regions(masklet, window, clip, version, by_hand=masklet.cuboids)


def _with_points(masklet: Masklet, clip: Clip, points: Sequence[Float32Array]) -> Masklet:
    masks = dict(masklet.masks)
    for index, labelled in masks.items():
        if len(labelled.lidar_mask) != len(points[index]):
            where = f"clip {clip.name}: labels of object {masklet.object_id}"
            raise InputError(where, f"a mask of {len(points[index])} points, as the sweep has", str(len(labelled.lidar_mask)))
    for index, cuboid in masklet.cuboids.items():
        if min(cuboid.size_lwh_m) <= 0:
            where = f"clip {clip.name}: the cuboid of object {masklet.object_id}"
            raise InputError(where, "a length, width and height above 0", str(cuboid.size_lwh_m))
        if index not in masks:
            inside = standing_inside(points[index], cuboid)
            nothing = empty_masks(clip, masklet.object_id, index, len(points[index]))
            masks[index] = replace(nothing, lidar_mask=inside, score=1.0)
    return replace(masklet, masks=dict(sorted(masks.items())))


def _with_camera_masks(masklet: Masklet, session: Session) -> Masklet:
    """The masklet with what the engine sees in the cameras on frames where nobody masked it there."""
    masks: dict[int, ObjectMasks] = {}
    for index, labelled in masklet.masks.items():
        masks[index] = labelled
        if labelled.lidar_mask.any() and not any(mask.any() for mask in labelled.camera_masks.values()):
            seen = session.add_prompt(session.prompts_for(masklet.object_id, index, labelled.lidar_mask), replace=True)
            masks[index] = replace(labelled, camera_masks=seen.camera_masks)
    if masklet.object_id in session.object_ids:
        session.remove_object(masklet.object_id)
    return replace(masklet, masks=masks)


def _point_count(masklet: Masklet) -> int:
    return sum(int(masks.lidar_mask.sum()) for masks in masklet.masks.values())
