"""How good an engine is on clips that it did not learn from, and whether one is better than another there.

Every object is clicked once in the sweep and once in the camera that shows most of it, on the first labelled frame that shows enough, and
is then followed. What comes back is compared with the label in all sensors that somebody labelled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import cv2
import numpy as np

from sam4d.evaluation.clicks import Progress
from sam4d.evaluation.images import FEWEST_PIXELS
from sam4d.evaluation.tables import mean_of
from sam4d.evaluation.truth import FEWEST_POINTS, mask_iou, point_near_median
from sam4d.geometry import BoolArray, Float64Array
from sam4d.predictor import Predictor
from sam4d.structures import LIDAR, Masklet, ObjectMasks, PointPrompt
from sam4d.training.labelled_clip import LabelledClip

OBJECTS_PER_CLIP = 12
"""More are passed over, evenly in the order of their ids: one crowded clip shall not outweigh all others, nor take all the time."""

FOLLOWED_FRAMES = 8
"""Labelled frames on which an object is compared after the clicked one."""

FOLLOWED_REACH = 20
"""Frames after the clicked one within which these are looked for."""

LEAST_GAIN = 0.002
"""A smaller gain is not worth that all answers change."""

LEAST_GAIN_OF_ONE = 0.02
"""One object alone tells nothing of how much chance there is in it."""

Stop: TypeAlias = Callable[[], bool]


class Stopped(Exception):  # noqa: N818 - nothing went wrong
    """Somebody asked long work to end before it was done."""


@dataclass(frozen=True)
class JudgedObject:
    """One object of one clip: mean IoUs with its label, in [0, 1], None where the label says nothing of the kind.

    clip_index and clip_name of the clip among those judged. clicked: on the clicked frames; followed: on later labelled ones.
    """

    clip_index: int
    clip_name: str
    object_id: int
    clicked_camera: float | None
    clicked_lidar: float | None
    followed_camera: float | None
    followed_lidar: float | None

    @property
    def score(self) -> float:
        """Mean of what there is."""
        return mean_of([part for part in self.parts if part is not None]) or 0.0

    @property
    def parts(self) -> tuple[float | None, float | None, float | None, float | None]:
        return self.clicked_camera, self.clicked_lidar, self.followed_camera, self.followed_lidar


@dataclass(frozen=True)
class HeldOut:
    """An engine's figures: by object, and as means over the objects that have them."""

    version: str
    objects: tuple[JudgedObject, ...]

    @property
    def score(self) -> float:
        """Mean over the objects, in [0, 1]; 0 where there is none."""
        return mean_of([judged.score for judged in self.objects]) or 0.0

    @property
    def clicked_camera(self) -> float | None:
        return self._part(0)

    @property
    def clicked_lidar(self) -> float | None:
        return self._part(1)

    @property
    def followed_camera(self) -> float | None:
        return self._part(2)

    @property
    def followed_lidar(self) -> float | None:
        return self._part(3)

    @property
    def clip_count(self) -> int:
        """Clips with an object that could be judged."""
        return len({judged.clip_index for judged in self.objects})

    def __str__(self) -> str:
        names = ("clicked in cameras", "clicked in the sweep", "followed in cameras", "followed in the sweep")
        parts = [(name, self._part(k)) for k, name in enumerate(names)]
        figures = ", ".join(f"{name} {value:.3f}" for name, value in parts if value is not None) or "nothing to compare with"
        return f"{self.score:.3f} on {len(self.objects)} objects of {self.clip_count} clips ({figures})"

    def _part(self, which: int) -> float | None:
        return mean_of([part for judged in self.objects if (part := judged.parts[which]) is not None])


def is_better(old: HeldOut, new: HeldOut) -> bool:
    """Whether an engine is better than another one, by more than chance and by enough to matter.

    The same objects are compared one by one, since how hard an object is differs far more than how well two engines do on it. The mean of
    the differences must exceed its standard error, and `LEAST_GAIN`. One standard error: five of six engines that are no better are
    refused, and small gains from a few corrected tasks still count; being switched to an equal engine harms nobody.
    """
    before = {(judged.clip_index, judged.clip_name, judged.object_id): judged.score for judged in old.objects}
    after = {(judged.clip_index, judged.clip_name, judged.object_id): judged.score for judged in new.objects}
    gains = np.array([after[key] - score for key, score in before.items() if key in after])
    if not len(gains):
        return False
    if len(gains) == 1:
        return float(gains[0]) > LEAST_GAIN_OF_ONE
    standard_error = float(gains.std(ddof=1)) / float(np.sqrt(len(gains)))
    return float(gains.mean()) > max(LEAST_GAIN, standard_error)


def judge(
    predictor: Predictor,
    clips: Sequence[LabelledClip],
    *,
    progress: Progress | None = None,
    stop: Stop | None = None,
    objects_per_clip: int = OBJECTS_PER_CLIP,
) -> HeldOut:
    """An engine's figures on labelled clips. The same engine and clips give the same figures.

    The objects of a clip are followed together, as they are in a task. Cameras and frames that nobody labelled are not compared with.

    Args:
        progress: told (done, all) after each frame that was asked for.
        stop: asked before each frame.

    Raises:
        Stopped: `stop` said so.
        InputError: a clip cannot be read.
    """
    steps = [
        (clip_index, labelled, asked) for clip_index, labelled in enumerate(clips) for asked in _asked(labelled, objects_per_clip) if asked
    ]
    total = sum(len(_frames(asked)) for _, _, asked in steps)
    done = 0
    found: dict[tuple[int, int], _Figures] = {}
    for clip_index, labelled, asked in steps:
        session = predictor.open(labelled.clip)
        for frame_index in _frames(asked):
            if stop is not None and stop():
                raise Stopped("judging was stopped")
            answers: dict[int, ObjectMasks] = {}
            for click in asked:
                if click.frame_index == frame_index:
                    answers[click.object_id] = session.add_prompt(click.prompt(labelled))
            followed = [click.object_id for click in asked if click.frame_index < frame_index <= click.last_frame]
            if followed:
                for masks in session.propagate(frame_index, frame_index + 1, object_ids=followed):
                    answers |= {object_id: masks.objects[object_id] for object_id in followed}
            for click in asked:
                if frame_index == click.frame_index or frame_index in click.followed_frames:
                    figures = found.setdefault((clip_index, click.object_id), _Figures())
                    truth = click.masklet.masks.get(frame_index)
                    figures.add(labelled.labelled_cameras, truth, answers[click.object_id], clicked=frame_index == click.frame_index)
            done += 1
            if progress is not None:
                progress(done, total)
    judged = [figures.judged(clip_index, clips[clip_index].clip.name, object_id) for (clip_index, object_id), figures in found.items()]
    return HeldOut(predictor.version, tuple(sorted(judged, key=lambda each: (each.clip_index, each.object_id))))


def clicked_frames(labelled: LabelledClip, objects_per_clip: int = OBJECTS_PER_CLIP) -> frozenset[int]:
    """The frames of a clip on which `judge` clicks."""
    return frozenset(click.frame_index for asked in _asked(labelled, objects_per_clip) for click in asked)


@dataclass(frozen=True, eq=False)
class _Click:
    """One click that is to be made, and the labelled frames on which its object is looked at afterwards, ascending."""

    masklet: Masklet
    sensor: str
    frame_index: int
    followed_frames: tuple[int, ...]

    @property
    def object_id(self) -> int:
        return self.masklet.object_id

    @property
    def last_frame(self) -> int:
        return self.followed_frames[-1] if self.followed_frames else self.frame_index

    def prompt(self, labelled: LabelledClip) -> PointPrompt:
        masks = self.masklet.masks[self.frame_index]
        if self.sensor == LIDAR:
            points_m = labelled.clip.frames[self.frame_index].load_sweep().points_m
            place = points_m[point_near_median(points_m, masks.lidar_mask)].astype(np.float64)
        else:
            place = innermost_pixel(masks.camera_masks[self.sensor])
        return PointPrompt(self.object_id, self.frame_index, self.sensor, place[None], [1])


@dataclass
class _Figures:
    """What was found of one object, by part."""

    ious: Mapping[tuple[bool, bool], list[float]] = field(
        default_factory=lambda: {(clicked, camera): [] for clicked in (True, False) for camera in (True, False)}
    )

    def add(self, cameras: Sequence[str], truth: ObjectMasks | None, answer: ObjectMasks, *, clicked: bool) -> None:
        """cameras: that may be compared with. truth: None where the object is not there."""
        nothing = np.zeros_like(answer.lidar_mask)
        lidar_iou = _iou(nothing if truth is None else truth.lidar_mask, answer.lidar_mask, FEWEST_POINTS)
        if lidar_iou is not None:
            self.ious[clicked, False].append(lidar_iou)
        for camera in cameras:
            if camera not in answer.camera_masks:
                continue
            mask = answer.camera_masks[camera]
            exact = truth.camera_masks[camera] if truth is not None and camera in truth.camera_masks else np.zeros_like(mask)
            camera_iou = _iou(exact, mask, FEWEST_PIXELS)
            if camera_iou is not None:
                self.ious[clicked, True].append(camera_iou)

    def judged(self, clip_index: int, clip_name: str, object_id: int) -> JudgedObject:
        means = [mean_of(self.ious[clicked, camera]) for clicked in (True, False) for camera in (True, False)]
        return JudgedObject(clip_index, clip_name, object_id, *means)


def _iou(truth: BoolArray, answer: BoolArray, fewest: int) -> float | None:
    """None where the object is not there, or so little of it that chance decides, and where nobody says that it is there."""
    there = int(truth.sum())
    if there >= fewest:
        return mask_iou(truth, answer)
    return 0.0 if there == 0 and int(answer.sum()) >= fewest else None


def _asked(labelled: LabelledClip, most_objects: int) -> tuple[list[_Click], list[_Click]]:
    """The clicks in the sweep, and those in cameras, of the clip's objects: one of each object at most."""
    clicks = [(_in_sweep(labelled, masklet), _in_camera(labelled, masklet)) for masklet in _by_id(labelled)]
    clicks = [both for both in clicks if any(both)]
    if len(clicks) > most_objects:
        clicks = [clicks[k] for k in np.linspace(0, len(clicks) - 1, most_objects).astype(np.int64)]
    return [lidar for lidar, _ in clicks if lidar is not None], [camera for _, camera in clicks if camera is not None]


def _by_id(labelled: LabelledClip) -> list[Masklet]:
    return sorted(labelled.masklets, key=lambda masklet: masklet.object_id)


def _in_sweep(labelled: LabelledClip, masklet: Masklet) -> _Click | None:
    for frame_index in _labelled_frames(labelled, masklet):
        if masklet.masks[frame_index].lidar_mask.sum() >= FEWEST_POINTS:
            return _Click(masklet, LIDAR, frame_index, _followed_frames(labelled, frame_index))
    return None


def _in_camera(labelled: LabelledClip, masklet: Masklet) -> _Click | None:
    for frame_index in _labelled_frames(labelled, masklet):
        masks = masklet.masks[frame_index]
        there = [name for name in labelled.labelled_cameras if name in labelled.clip.frames[frame_index].load_images]
        areas = {name: int(masks.camera_masks[name].sum()) for name in there if name in masks.camera_masks}
        best = max(areas, key=lambda name: areas[name], default=None)
        if best is not None and areas[best] >= FEWEST_PIXELS:
            return _Click(masklet, best, frame_index, _followed_frames(labelled, frame_index))
    return None


def _labelled_frames(labelled: LabelledClip, masklet: Masklet) -> list[int]:
    return [frame_index for frame_index in labelled.labelled_frames if frame_index in masklet.masks]


def _followed_frames(labelled: LabelledClip, frame_index: int) -> tuple[int, ...]:
    later = [index for index in labelled.labelled_frames if frame_index < index <= frame_index + FOLLOWED_REACH]
    return tuple(later[:FOLLOWED_FRAMES])


def _frames(asked: Sequence[_Click]) -> list[int]:
    """That must be gone through, ascending: an object is followed over frames without labels as well."""
    return sorted({index for click in asked for index in range(click.frame_index, click.last_frame + 1)})


def innermost_pixel(mask: BoolArray) -> Float64Array:
    """The pixel (u, v) farthest from the mask's border, float64 (2,): where a careful labeller clicks. The mask holds at least one."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    crop = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    # The image's border is none of the object, too: nobody clicks at the very edge.
    inside = cv2.distanceTransform(np.pad(crop, 1).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    row, column = np.unravel_index(int(inside.argmax()), inside.shape)
    return np.array([columns[0] + column - 1 + 0.5, rows[0] + row - 1 + 0.5])
