"""Simulated clicks and boxes on labelled objects, one frame at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sam4d.evaluation.truth import (
    LabelledObject,
    Labels,
    PointTruth,
    camera_that_sees,
    labelled_objects,
    labelled_scenes,
    point_near_median,
)
from sam4d.geometric.scene import FrameScene
from sam4d.geometry import BoolArray
from sam4d.predictor import Predictor, Session
from sam4d.structures import LIDAR, BoxPrompt, Camera, Clip, ObjectMasks, PointPrompt, Prompt

Where: TypeAlias = Literal["lidar", "camera"]
Progress: TypeAlias = Callable[[int, int], None]
"""Told (done, all) after each object."""

CLICKS = (1, 3, 5)
ENOUGH_IOU = 0.8
MOST_CLICKS = 10

OBJECT_ID = 1


@dataclass(frozen=True)
class ClickResult:
    """One object on one frame, clicked in one sensor. iou_after[k] is the IoU after k + 1 clicks; seconds of each answer."""

    track_id: str
    label: str
    frame_index: int
    sensor: str
    point_count: int
    distance_m: float
    iou_after: tuple[float, ...]
    seconds: tuple[float, ...]

    def clicks_needed(self, iou: float = ENOUGH_IOU) -> int | None:
        """Clicks until that IoU; None where they did not suffice."""
        return next((count for count, value in enumerate(self.iou_after, start=1) if value >= iou), None)


def next_click(
    points_m: NDArray[np.floating], truth: PointTruth, answer: BoolArray, clickable: BoolArray | None = None
) -> tuple[int, int] | None:
    """Row and label of the click that a careful labeller would make next; None without an error among clickable points, bool (N,)."""
    missing, extra = truth.mask & ~answer, answer & ~truth.mask & ~truth.left_out
    if clickable is not None:
        missing, extra = missing & clickable, extra & clickable
    if not missing.any() and not extra.any():
        return None
    return (point_near_median(points_m, missing), 1) if missing.sum() >= extra.sum() else (point_near_median(points_m, extra), 0)


def evaluate_clicks(
    predictor: Predictor,
    clip: Clip,
    labels: Labels,
    *,
    where: Where = "lidar",
    most_clicks: int = MOST_CLICKS,
    on_object: Progress | None = None,
) -> tuple[ClickResult, ...]:
    """Clicks on every labelled object of every labelled frame.

    Args:
        where: in the sweep, or in the camera that sees most of the object; then objects whose first click no camera sees are passed over.
        most_clicks: beyond the last of `CLICKS` only as many as `ENOUGH_IOU` takes.
    """
    session = predictor.open(clip)
    results: list[ClickResult] = []
    for scene, labelled in _one_by_one(clip, labels, on_object):
        row = point_near_median(scene.points_m, labelled.truth.mask)
        camera = camera_that_sees(scene, clip, row, labelled.truth.mask) if where == "camera" else None
        if where == "lidar" or camera is not None:
            results.append(_click_through(session, scene, labelled, row, camera, most_clicks))
    return tuple(results)


def evaluate_boxes(predictor: Predictor, clip: Clip, labels: Labels, *, on_object: Progress | None = None) -> tuple[ClickResult, ...]:
    """One box per object, around its truth's pixels in the camera that a camera click would be in."""
    session = predictor.open(clip)
    results: list[ClickResult] = []
    for scene, labelled in _one_by_one(clip, labels, on_object):
        truth = labelled.truth
        camera = camera_that_sees(scene, clip, point_near_median(scene.points_m, truth.mask), truth.mask)
        if camera is None:
            continue
        view = scene.view(camera)
        pixels = view.pixels[truth.mask & view.visible].astype(np.float64)
        box = np.concatenate([pixels.min(axis=0), np.minimum(pixels.max(axis=0) + 1, (camera.width_px, camera.height_px))])
        answer, seconds = ask(session, BoxPrompt(OBJECT_ID, scene.frame_index, camera.name, box))
        session.remove_object(OBJECT_ID)
        results.append(_result(labelled, camera.name, (truth.iou(answer.lidar_mask),), (seconds,)))
    return tuple(results)


def ask(session: Session, prompt: Prompt) -> tuple[ObjectMasks, float]:
    """The answer, in all sensors, and the seconds that it took."""
    started = time.perf_counter()
    answer = session.add_prompt(prompt)
    return answer, time.perf_counter() - started


def _one_by_one(clip: Clip, labels: Labels, on_object: Progress | None) -> Iterator[tuple[FrameScene, LabelledObject]]:
    total = sum(len(cuboids) for cuboids in labels if cuboids is not None)
    done = 0
    for scene in labelled_scenes(clip, labels):
        for labelled in labelled_objects(scene, labels):
            yield scene, labelled
            done += 1
            if on_object is not None:
                on_object(done, total)
    if on_object is not None:
        # Those with too few points were passed over.
        on_object(total, total)


def _click_through(
    session: Session, scene: FrameScene, labelled: LabelledObject, row: int, camera: Camera | None, most_clicks: int
) -> ClickResult:
    truth = labelled.truth
    sensor = LIDAR if camera is None else camera.name
    places = scene.points_m if camera is None else scene.view(camera).pixels
    clickable = None if camera is None else scene.view(camera).visible
    click: tuple[int, int] | None = (row, 1)
    ious: list[float] = []
    times: list[float] = []
    while click is not None and len(ious) < most_clicks:
        place = places[click[0]].astype(np.float64)
        answer, seconds = ask(session, PointPrompt(OBJECT_ID, scene.frame_index, sensor, place[None], [click[1]]))
        ious.append(truth.iou(answer.lidar_mask))
        times.append(seconds)
        click = next_click(scene.points_m, truth, answer.lidar_mask, clickable)
        if len(ious) >= max(CLICKS) and max(ious) >= ENOUGH_IOU:
            break
    session.remove_object(OBJECT_ID)
    # Who sees no error stops clicking, and keeps what there is.
    ious += [ious[-1]] * (min(most_clicks, max(CLICKS)) - len(ious))
    return _result(labelled, sensor, tuple(ious), tuple(times))


def _result(labelled: LabelledObject, sensor: str, ious: tuple[float, ...], seconds: tuple[float, ...]) -> ClickResult:
    return ClickResult(
        labelled.track_id, labelled.label, labelled.frame_index, sensor, labelled.point_count, labelled.distance_m, ious, seconds
    )
