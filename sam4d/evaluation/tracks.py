"""Labelled objects followed from one click, and the cuboids fitted to what was followed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sam4d.cuboids import fit_cuboids
from sam4d.evaluation.boxes import CuboidError
from sam4d.evaluation.clicks import OBJECT_ID, Progress
from sam4d.evaluation.truth import LabelledObject, Labels, labelled_objects, labelled_scenes, point_near_median
from sam4d.predictor import Predictor, Session
from sam4d.structures import LIDAR, Clip, Cuboid, Masklet, ObjectMasks, PointPrompt

TRACKED_IOU = 0.3
FOLLOWED_FRAMES = 20
"""An object is followed at least so many frames where the clip has them: cuboids gain from frames without labels, too."""


@dataclass(frozen=True)
class TrackResult:
    """One object followed from one click on the first labelled frame on which it has points enough.

    iou: by labelled frame on which it has points, the clicked one first. point_count and distance_m on the clicked frame.
    seconds of each further frame, the frame's preparation included.
    """

    track_id: str
    label: str
    first_frame: int
    point_count: int
    distance_m: float
    iou: Mapping[int, float]
    id_switches: int
    seconds: tuple[float, ...]

    @property
    def later_iou(self) -> tuple[float, ...]:
        """Without the clicked frame."""
        return tuple(value for frame_index, value in self.iou.items() if frame_index != self.first_frame)

    @property
    def mean_iou(self) -> float:
        return float(np.mean(list(self.iou.values())))

    @property
    def still_tracked(self) -> bool:
        """On the last labelled frame."""
        return self.iou[max(self.iou)] > TRACKED_IOU


@dataclass(frozen=True)
class CuboidResult:
    """One object's fitted cuboid on one labelled frame against the labelled one; `error` is None where none was fitted."""

    track_id: str
    label: str
    frame_index: int
    point_count: int
    distance_m: float
    error: CuboidError | None


def evaluate_tracks(
    predictor: Predictor, clip: Clip, labels: Labels, *, on_object: Progress | None = None
) -> tuple[tuple[TrackResult, ...], tuple[CuboidResult, ...]]:
    """Every labelled object followed from one LiDAR click, each as if it were the only one, and its cuboids.

    The cuboids know the object's label, as they would from the labeller's click.
    """
    objects = _objects_by_track(clip, labels)
    session = predictor.open(clip)
    tracks: list[TrackResult] = []
    cuboids: list[CuboidResult] = []
    for done, frames in enumerate(objects.values(), start=1):
        first = frames[min(frames)]
        masks, seconds = _follow(session, first, max(max(frames), first.frame_index + FOLLOWED_FRAMES))
        ious = {index: labelled.truth.iou(masks[index].lidar_mask) for index, labelled in frames.items()}
        others = {index: [other[index] for other in objects.values() if index in other] for index in frames}
        switches = _id_switches(first.track_id, masks, others)
        tracks.append(
            TrackResult(first.track_id, first.label, first.frame_index, first.point_count, first.distance_m, ious, switches, seconds)
        )
        fitted = fit_cuboids(Masklet(OBJECT_ID, first.label, masks), clip)
        cuboids += [_cuboid_result(labelled, fitted[index]) for index, labelled in frames.items()]
        if on_object is not None:
            on_object(done, len(objects))
    return tuple(tracks), tuple(cuboids)


def _objects_by_track(clip: Clip, labels: Labels) -> dict[str, dict[int, LabelledObject]]:
    """{track_id: {frame_index: object}}, from the first frame on which an object has points enough; later ones need a single point."""
    objects: dict[str, dict[int, LabelledObject]] = {}
    for scene in labelled_scenes(clip, labels):
        clickable = {labelled.track_id for labelled in labelled_objects(scene, labels)}
        for labelled in labelled_objects(scene, labels, fewest_points=1):
            if labelled.track_id in objects or labelled.track_id in clickable:
                objects.setdefault(labelled.track_id, {})[scene.frame_index] = labelled
    return objects


def _follow(session: Session, first: LabelledObject, last_frame: int) -> tuple[dict[int, ObjectMasks], tuple[float, ...]]:
    """{frame_index: masks} from the clicked frame on, and the seconds of every further frame."""
    points_m = session.clip.frames[first.frame_index].load_sweep().points_m
    place_m = points_m[point_near_median(points_m, first.truth.mask)].astype(np.float64)
    masks = {first.frame_index: session.add_prompt(PointPrompt(OBJECT_ID, first.frame_index, LIDAR, place_m[None], [1]))}
    seconds: list[float] = []
    started = time.perf_counter()
    for frame in session.propagate(first.frame_index, last_frame + 1):
        if frame.frame_index != first.frame_index:
            masks[frame.frame_index] = frame.objects[OBJECT_ID]
            seconds.append(time.perf_counter() - started)
        started = time.perf_counter()
    session.remove_object(OBJECT_ID)
    return masks, tuple(seconds)


def _id_switches(track_id: str, masks: Mapping[int, ObjectMasks], objects: Mapping[int, Sequence[LabelledObject]]) -> int:
    """How often the labelled object that the masks overlap most became another one, overlaps of `TRACKED_IOU` or less apart."""
    switches, followed = 0, track_id
    for frame_index, here in objects.items():
        overlaps = {labelled.track_id: labelled.truth.iou(masks[frame_index].lidar_mask) for labelled in here}
        best = max(overlaps, key=lambda name: overlaps[name])
        if overlaps[best] > TRACKED_IOU and best != followed:
            switches, followed = switches + 1, best
    return switches


def _cuboid_result(labelled: LabelledObject, fitted: Cuboid | None) -> CuboidResult:
    error = None if fitted is None else CuboidError.between(fitted, labelled.cuboid)
    return CuboidResult(labelled.track_id, labelled.label, labelled.frame_index, labelled.point_count, labelled.distance_m, error)
