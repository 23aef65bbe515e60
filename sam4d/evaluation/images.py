"""Camera masks against exact ones, which a synthetic drive has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sam4d.evaluation.clicks import OBJECT_ID, Progress, Where, ask
from sam4d.evaluation.truth import FEWEST_POINTS, mask_iou, point_near_median
from sam4d.geometric.scene import FrameScene, prepare_frame
from sam4d.predictor import Predictor, Session
from sam4d.structures import LIDAR, Clip, Masklet, ObjectMasks, PointPrompt

FEWEST_PIXELS = 100


@dataclass(frozen=True)
class ImageResult:
    """One object's mask in one camera, after one click, against its exact one. distance_m of its points' median."""

    object_id: int
    label: str
    frame_index: int
    camera: str
    clicked_in: str
    point_count: int
    distance_m: float
    area_px: int
    iou: float


def evaluate_images(
    predictor: Predictor,
    clip: Clip,
    masklets: Sequence[Masklet],
    *,
    where: Where = "lidar",
    every: int = 1,
    on_object: Progress | None = None,
) -> tuple[ImageResult, ...]:
    """One click per object and frame, on the point nearest to the median of the object's points, or on its pixel.

    Objects have `FEWEST_POINTS` or more, masks `FEWEST_PIXELS`. A camera click
    is made in, and its mask compared in, every camera by itself.

    Args:
        masklets: exact ones.
        every: look at each n-th frame only.
    """
    session = predictor.open(clip)
    results: list[ImageResult] = []
    frames = range(0, len(clip), every)
    total = sum(frame_index in masklet.masks for masklet in masklets for frame_index in frames)
    done = 0
    for frame_index in frames:
        scene = prepare_frame(clip, frame_index)
        for masklet in masklets:
            if frame_index in masklet.masks:
                exact = masklet.masks[frame_index]
                if (exact.lidar_mask & scene.valid).sum() >= FEWEST_POINTS:
                    results += _on_frame(session, scene, masklet.label, exact, where)
                done += 1
                if on_object is not None:
                    on_object(done, total)
    return tuple(results)


def _on_frame(session: Session, scene: FrameScene, label: str, exact: ObjectMasks, where: Where) -> list[ImageResult]:
    results: list[ImageResult] = []
    row = point_near_median(scene.points_m, exact.lidar_mask & scene.valid)
    distance_m = float(np.hypot(*np.median(scene.points_m[exact.lidar_mask], axis=0)[:2]))
    count = int(exact.lidar_mask.sum())
    areas = {camera: int(mask.sum()) for camera, mask in exact.camera_masks.items()}
    seen = [camera for camera, area_px in areas.items() if area_px >= FEWEST_PIXELS]
    asked: list[tuple[PointPrompt, list[str]]] = []
    if where == "lidar" and seen:
        place = scene.points_m[row].astype(np.float64)
        asked.append((PointPrompt(OBJECT_ID, scene.frame_index, LIDAR, place[None], [1]), seen))
    elif where == "camera":
        for camera in seen:
            view = scene.view(session.clip.cameras[camera])
            pixel = view.pixels[row].astype(np.float64)
            # A nearer thing may hide this very point from the camera.
            if view.visible[row] and exact.camera_masks[camera][int(pixel[1]), int(pixel[0])]:
                asked.append((PointPrompt(OBJECT_ID, scene.frame_index, camera, pixel[None], [1]), [camera]))
    for prompt, cameras in asked:
        answer, _ = ask(session, prompt)
        session.remove_object(OBJECT_ID)
        for camera in cameras:
            iou = mask_iou(answer.camera_masks[camera], exact.camera_masks[camera])
            results.append(
                ImageResult(exact.object_id, label, scene.frame_index, camera, prompt.sensor, count, distance_m, areas[camera], iou)
            )
    return results
