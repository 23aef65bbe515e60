"""Pictures of single answers: what was found, what was missed, what was too much, from above, from the side and in the camera."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from sam4d.evaluation.clicks import OBJECT_ID, ClickResult, ask
from sam4d.evaluation.truth import LabelledObject, Labels, camera_that_sees, labelled_objects, point_near_median
from sam4d.geometric.scene import FrameScene, prepare_frame
from sam4d.geometry import BoolArray, Float64Array
from sam4d.predictor import Predictor
from sam4d.structures import LIDAR, Camera, Clip, ObjectMasks, PointPrompt, UInt8Array

PANEL_PX = 480
AROUND_M = 3.0

FOUND, MISSED, EXTRA, LEFT_OUT, REST, CUBOID = (80, 200, 90), (235, 60, 50), (60, 120, 255), (150, 130, 60), (105, 105, 105), (250, 220, 70)


def draw_worst(predictor: Predictor, clip: Clip, labels: Labels, results: Sequence[ClickResult], most: int = 10) -> list[UInt8Array]:
    """The answers to the first click in the LiDAR that fit worst, uint8 (H, W, 3), RGB, the worst first.

    Green was found, red missed, blue too much, brown counts neither way; yellow the labelled cuboid; the cross is the click.
    """
    worst = sorted(results, key=lambda result: result.iou_after[0])[:most]
    session = predictor.open(clip)
    pictures: dict[tuple[int, str], UInt8Array] = {}
    for frame_index in sorted({result.frame_index for result in worst}):
        scene = prepare_frame(clip, frame_index)
        by_track = {labelled.track_id: labelled for labelled in labelled_objects(scene, labels)}
        for result in worst:
            if result.frame_index == frame_index:
                labelled = by_track[result.track_id]
                row = point_near_median(scene.points_m, labelled.truth.mask)
                answer, _ = ask(session, PointPrompt(OBJECT_ID, frame_index, LIDAR, scene.points_m[row].astype(np.float64)[None], [1]))
                session.remove_object(OBJECT_ID)
                pictures[frame_index, result.track_id] = _picture(clip, scene, labelled, row, answer)
    return [pictures[result.frame_index, result.track_id] for result in worst]


def _picture(clip: Clip, scene: FrameScene, labelled: LabelledObject, row: int, answer: ObjectMasks) -> UInt8Array:
    truth = labelled.truth
    counted = answer.lidar_mask & ~truth.left_out
    colours = np.full((len(scene), 3), REST, dtype=np.uint8)
    colours[truth.left_out] = LEFT_OUT
    colours[truth.mask & ~counted] = MISSED
    colours[counted & ~truth.mask] = EXTRA
    colours[counted & truth.mask] = FOUND
    panels = [_from_above(scene, labelled, colours, row), _from_the_side(scene, labelled, colours, row)]
    camera = camera_that_sees(scene, clip, row, truth.mask)
    if camera is not None:
        panels.append(_in_camera(scene, camera, labelled, colours, counted | truth.mask, answer.camera_masks[camera.name]))
    title = (
        f"{clip.name} frame {labelled.frame_index}  {labelled.label}  {labelled.point_count} points  {labelled.distance_m:.0f} m"
        f"  IoU {truth.iou(answer.lidar_mask):.2f}"
    )
    picture = np.concatenate(panels, axis=1)
    head = np.zeros((28, picture.shape[1], 3), dtype=np.uint8)
    cv2.putText(head, title, (8, 19), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
    return np.concatenate([head, picture])


def _plot(positions: Float64Array, colours: UInt8Array, half_m: float, radius_px: int) -> UInt8Array:
    """Positions (K, 2) about the panel's middle, second axis up, later ones on top."""
    panel = np.zeros((PANEL_PX, PANEL_PX, 3), dtype=np.uint8)
    for (x, y), colour in zip(_pixels(positions, half_m), colours, strict=True):
        cv2.circle(panel, (int(x), int(y)), radius_px, colour.tolist(), -1)
    return panel


def _pixels(positions: Float64Array, half_m: float) -> NDArray[np.int64]:
    scale = PANEL_PX / (2 * half_m)
    return np.stack([PANEL_PX / 2 + positions[:, 0] * scale, PANEL_PX / 2 - positions[:, 1] * scale], axis=1).astype(np.int64)


def _half_m(labelled: LabelledObject) -> float:
    return max(labelled.cuboid.size_lwh_m) / 2 + AROUND_M


def _near(scene: FrameScene, labelled: LabelledObject, colours: UInt8Array) -> tuple[NDArray[np.int64], Float64Array]:
    """Rows around the object, those of the object last, and their positions in the cuboid's frame."""
    local = labelled.cuboid.lidar_SE3_cuboid.inverse().apply(scene.points_m)
    rows = np.flatnonzero((np.abs(local) < _half_m(labelled)).all(axis=1) & scene.valid)
    rows = rows[np.argsort((colours[rows] != REST).any(axis=1), kind="stable")]
    return rows, local[rows]


def _marked(panel: UInt8Array, click: Float64Array, outline: Float64Array, half_m: float) -> UInt8Array:
    cv2.polylines(panel, [_pixels(outline, half_m).astype(np.int32)], True, CUBOID, 1, cv2.LINE_AA)
    x, y = _pixels(click[None], half_m)[0]
    cv2.drawMarker(panel, (int(x), int(y)), (255, 255, 255), cv2.MARKER_CROSS, 16, 2)
    return panel


def _from_above(scene: FrameScene, labelled: LabelledObject, colours: UInt8Array, row: int) -> UInt8Array:
    """In the cuboid's own frame: its length from left to right."""
    return _panel(scene, labelled, colours, row, (0, 1))


def _from_the_side(scene: FrameScene, labelled: LabelledObject, colours: UInt8Array, row: int) -> UInt8Array:
    return _panel(scene, labelled, colours, row, (0, 2))


def _panel(scene: FrameScene, labelled: LabelledObject, colours: UInt8Array, row: int, axes: tuple[int, int]) -> UInt8Array:
    half_m = _half_m(labelled)
    rows, local = _near(scene, labelled, colours)
    panel = _plot(local[:, axes], colours[rows], half_m, 2)
    half = np.array(labelled.cuboid.size_lwh_m)[list(axes)] / 2
    click = labelled.cuboid.lidar_SE3_cuboid.inverse().apply(scene.points_m[row][None])[0, list(axes)]
    return _marked(panel, click, np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * half, half_m)


def _in_camera(
    scene: FrameScene, camera: Camera, labelled: LabelledObject, colours: UInt8Array, shown: BoolArray, mask: BoolArray
) -> UInt8Array:
    """The image around the object with its points and the outline of the answer's mask."""
    view = scene.view(camera)
    rows = np.flatnonzero(shown & view.visible)
    pixels = view.pixels[rows]
    middle, reach = (pixels.min(axis=0) + pixels.max(axis=0)) / 2, 0.75 * float(max(np.ptp(pixels, axis=0).max(), 40.0))
    image = scene.image(camera.name).copy()
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    scale = PANEL_PX / (2 * reach)
    to_panel = np.array([[scale, 0, PANEL_PX / 2 - middle[0] * scale], [0, scale, PANEL_PX / 2 - middle[1] * scale]])
    panel = cv2.warpAffine(image, to_panel, (PANEL_PX, PANEL_PX))
    for contour in contours:
        outline = contour[:, 0] * scale + to_panel[:, 2]
        cv2.polylines(panel, [outline.astype(np.int32)], True, CUBOID, 1, cv2.LINE_AA)
    for (x, y), colour in zip(pixels * scale + to_panel[:, 2], colours[rows], strict=True):
        cv2.circle(panel, (int(x), int(y)), 2, colour.tolist(), -1)
    return np.asarray(panel, dtype=np.uint8)
