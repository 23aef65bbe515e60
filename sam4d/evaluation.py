"""How good an engine is on labelled drives: clicks are simulated on labelled objects and what comes back is compared with the labels.

Protocol. Objects are labelled cuboids with 30 or more points. The truth of an object is the points inside its cuboid, enlarged by
5 cm, that lie more than 0.2 m above its bottom face; points lower than that are left out of truth and answer. The first click is on
the truth point nearest to the truth's median. Each further click is in the larger error, missing (positive) or extra (negative), on
the point nearest to that error's median. Camera clicks are the pixels of such points in the camera that sees most of the truth.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sam4d.geometric.scene import FrameScene, prepare_frame
from sam4d.geometry import BoolArray
from sam4d.predictor import Predictor, Session
from sam4d.structures import LIDAR, BoxPrompt, Camera, Clip, Cuboid, LabelledCuboid, Masklet, PointPrompt, Prompt

Labels = Sequence[Sequence[LabelledCuboid] | None]

FEWEST_POINTS = 30
MARGIN_M = 0.05
LOWEST_M = 0.2
TRACKED_IOU = 0.3
CLICKS = (1, 3, 5)
DISTANCES_M = (0.0, 20.0, 40.0, 80.0, float("inf"))
POINT_COUNTS = (30, 100, 300, 1000, float("inf"))


@dataclass(frozen=True, eq=False)
class PointTruth:
    """An object's points, bool (N,), and those that count neither way, bool (N,)."""

    mask: BoolArray
    left_out: BoolArray

    @classmethod
    def of(cls, cuboid: Cuboid, points_m: NDArray[np.floating]) -> PointTruth:
        """Of a cuboid in a sweep (N, 3)."""
        inside = cuboid.contains(points_m, MARGIN_M)
        with np.errstate(invalid="ignore"):
            high = points_m[:, 2] > cuboid.center_m[2] - cuboid.size_lwh_m[2] / 2 + LOWEST_M
        return cls(inside & high, inside & ~high)

    def iou(self, mask: BoolArray) -> float:
        """Of an answer, bool (N,); 1 where both are empty."""
        return mask_iou(mask & ~self.left_out, self.mask)


@dataclass(frozen=True)
class ClickResult:
    """One object on one frame. iou_after[k] is the IoU after k + 1 clicks; seconds of each answer. distance_m is from the LiDAR."""

    track_id: str
    label: str
    frame_index: int
    sensor: str
    point_count: int
    distance_m: float
    iou_after: tuple[float, ...]
    seconds: tuple[float, ...]

    def clicks_needed(self, iou: float) -> int | None:
        """Clicks until that IoU; None where they did not suffice."""
        return next((count for count, value in enumerate(self.iou_after, start=1) if value >= iou), None)


@dataclass(frozen=True)
class TrackResult:
    """One object followed from one click on its first labelled frame. iou over the labelled frames after that one."""

    track_id: str
    label: str
    mean_iou: float
    still_tracked: bool
    id_switches: int
    frame_count: int


@dataclass(frozen=True)
class ImageResult:
    """One object's mask in one camera against its exact one."""

    object_id: int
    label: str
    frame_index: int
    camera: str
    area_px: int
    iou: float


@dataclass(frozen=True)
class SummaryRow:
    """Means over a group of click results. iou[k] after CLICKS[k] clicks."""

    group: str
    object_count: int
    iou: tuple[float, ...]
    seconds_per_click: float


def mask_iou(a: BoolArray, b: BoolArray) -> float:
    """Of two masks of one shape; 1 where both are empty."""
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 1.0


def point_near_median(points_m: NDArray[np.floating], mask: BoolArray) -> int:
    """The row of the masked point nearest to the masked points' median. The mask holds at least one."""
    rows = np.flatnonzero(mask)
    chosen = points_m[rows].astype(np.float64)
    return int(rows[((chosen - np.median(chosen, axis=0)) ** 2).sum(axis=1).argmin()])


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
    sensor: str = LIDAR,
    click_count: int = max(CLICKS),
    on_object: Callable[[int, int], None] | None = None,
) -> tuple[ClickResult, ...]:
    """Clicks on every labelled object of every labelled frame.

    Args:
        labels: one entry per frame, None where the frame is not labelled.
        sensor: "lidar", or "camera" for clicks in the camera that sees most of an object; objects that none sees are passed over.
        on_object: told (done, all) after each object.
    """
    session = predictor.open(clip)
    results: list[ClickResult] = []
    total = sum(len(cuboids) for cuboids in labels if cuboids is not None)
    done = 0
    for _, scene, cuboids in _labelled_frames(clip, labels):
        for labelled in cuboids:
            done += 1
            truth = PointTruth.of(labelled.cuboid, scene.points_m)
            truth = PointTruth(truth.mask & scene.valid, truth.left_out)
            camera = None if sensor == LIDAR else _best_camera(scene, clip, truth.mask)
            if truth.mask.sum() >= FEWEST_POINTS and (sensor == LIDAR or camera is not None):
                results.append(_click_through(session, scene, labelled, truth, camera, click_count))
            if on_object is not None:
                on_object(done, total)
    return tuple(results)


def evaluate_boxes(predictor: Predictor, clip: Clip, labels: Labels) -> tuple[ClickResult, ...]:
    """One box per object, around its truth's pixels in the camera that sees most of it."""
    session = predictor.open(clip)
    results: list[ClickResult] = []
    for frame_index, scene, cuboids in _labelled_frames(clip, labels):
        for labelled in cuboids:
            truth = PointTruth.of(labelled.cuboid, scene.points_m)
            camera = _best_camera(scene, clip, truth.mask & scene.valid)
            if truth.mask.sum() < FEWEST_POINTS or camera is None:
                continue
            view = scene.view(camera)
            pixels = view.pixels[truth.mask & view.visible].astype(np.float64)
            box = np.concatenate([pixels.min(axis=0), np.minimum(pixels.max(axis=0) + 1, (camera.width_px, camera.height_px))])
            prompts = [BoxPrompt(_OBJECT_ID, frame_index, camera.name, box)]
            answer, seconds = _ask(session, prompts)
            results.append(_click_result(labelled, scene, truth, camera.name, (truth.iou(answer),), (seconds,)))
    return tuple(results)


def evaluate_tracks(predictor: Predictor, clip: Clip, labels: Labels) -> tuple[TrackResult, ...]:
    """Every labelled object followed from one LiDAR click on the first frame where it has points enough, all of them together."""
    session = predictor.open(clip)
    scenes = {frame_index: scene for frame_index, scene, _ in _labelled_frames(clip, labels)}
    first_frames: dict[str, int] = {}
    truths: dict[int, dict[str, PointTruth]] = {}
    names: dict[str, str] = {}
    for frame_index, scene in scenes.items():
        truths[frame_index] = {}
        for labelled in labels[frame_index] or ():
            truth = PointTruth.of(labelled.cuboid, scene.points_m)
            if truth.mask.sum() == 0 or (labelled.track_id not in first_frames and truth.mask.sum() < FEWEST_POINTS):
                continue
            truths[frame_index][labelled.track_id] = truth
            first_frames.setdefault(labelled.track_id, frame_index)
            names[labelled.track_id] = labelled.label
    object_ids = {track_id: object_id for object_id, track_id in enumerate(first_frames, start=1)}
    for track_id, frame_index in first_frames.items():
        points_m = scenes[frame_index].points_m
        row = point_near_median(points_m, truths[frame_index][track_id].mask)
        session.add_prompt(PointPrompt(object_ids[track_id], frame_index, LIDAR, [points_m[row].tolist()], [1]))
    if not first_frames:
        return ()
    ious: dict[str, list[float]] = {track_id: [] for track_id in first_frames}
    followed: dict[str, str] = {track_id: track_id for track_id in first_frames}
    switches = dict.fromkeys(first_frames, 0)
    for frame in session.propagate(start=min(first_frames.values())):
        for track_id, truth in truths.get(frame.frame_index, {}).items():
            if frame.frame_index <= first_frames[track_id]:
                continue
            masks = frame.objects.get(object_ids[track_id])
            answer = masks.lidar_mask if masks is not None else np.zeros(len(truth.mask), dtype=np.bool_)
            ious[track_id].append(truth.iou(answer))
            overlaps = {other: other_truth.iou(answer) for other, other_truth in truths[frame.frame_index].items()}
            best = max(overlaps, key=lambda other: overlaps[other])
            if overlaps[best] > TRACKED_IOU and best != followed[track_id]:
                switches[track_id] += 1
                followed[track_id] = best
    return tuple(
        TrackResult(track_id, names[track_id], float(np.mean(values)), values[-1] > TRACKED_IOU, switches[track_id], len(values))
        for track_id, values in ious.items()
        if values
    )


def evaluate_images(
    predictor: Predictor, clip: Clip, masklets: Sequence[Masklet], *, every: int = 1, fewest_px: int = 50
) -> tuple[ImageResult, ...]:
    """One LiDAR click per object and frame; its camera masks against exact ones (of a synthetic drive).

    Args:
        every: look at each n-th frame only.
        fewest_px: smaller truths are passed over, and so are objects with fewer than 5 points.
    """
    session = predictor.open(clip)
    results: list[ImageResult] = []
    for frame_index in range(0, len(clip), every):
        points_m = clip.frames[frame_index].load_sweep().points_m
        for masklet in masklets:
            exact = masklet.masks.get(frame_index)
            if exact is None or exact.lidar_mask.sum() < 5:
                continue
            row = point_near_median(points_m, exact.lidar_mask & np.isfinite(points_m).all(axis=1))
            answer = session.add_prompt(PointPrompt(_OBJECT_ID, frame_index, LIDAR, [points_m[row].tolist()], [1]), replace=True)
            for camera, truth in exact.camera_masks.items():
                area_px = int(truth.sum())
                if area_px >= fewest_px:
                    iou = mask_iou(answer.camera_masks[camera], truth)
                    results.append(ImageResult(masklet.object_id, masklet.label, frame_index, camera, area_px, iou))
            session.remove_object(_OBJECT_ID)
    return tuple(results)


def summarise_clicks(results: Sequence[ClickResult]) -> tuple[SummaryRow, ...]:
    """Means over all objects, then per class, distance and point count."""
    groups: list[tuple[str, list[ClickResult]]] = [("all", list(results))]
    for label in sorted({result.label for result in results}):
        groups.append((label, [result for result in results if result.label == label]))
    for low, high in pairwise(DISTANCES_M):
        groups.append((_span(low, high, " m"), [result for result in results if low <= result.distance_m < high]))
    for low, high in pairwise(POINT_COUNTS):
        groups.append((_span(low, high, " points"), [result for result in results if low <= result.point_count < high]))
    return tuple(_summary(name, members) for name, members in groups if members)


def format_summary(rows: Sequence[SummaryRow]) -> str:
    """The rows as a table in Markdown."""
    counts = CLICKS[: max((len(row.iou) for row in rows), default=0)]
    lines = [
        "| group | objects | " + " | ".join(f"IoU, {count} click{'s' if count > 1 else ''}" for count in counts) + " | s per click |",
        "|---|---|" + "---|" * len(counts) + "---|",
    ]
    for row in rows:
        values = " | ".join(f"{value:.3f}" for value in row.iou)
        lines.append(f"| {row.group} | {row.object_count} | {values} | {row.seconds_per_click:.3f} |")
    return "\n".join(lines)


_OBJECT_ID = 1


def _labelled_frames(clip: Clip, labels: Labels) -> Iterator[tuple[int, FrameScene, Sequence[LabelledCuboid]]]:
    for frame_index, cuboids in enumerate(labels):
        if cuboids is not None:
            yield frame_index, prepare_frame(clip, frame_index), cuboids


def _best_camera(scene: FrameScene, clip: Clip, mask: BoolArray) -> Camera | None:
    """The camera that sees most of the points, and at least a few of them."""
    seen = {name: int((scene.view(clip.cameras[name]).visible & mask).sum()) for name in scene.cameras if name in clip.cameras}
    best = max(seen, key=lambda name: seen[name], default=None)
    return clip.cameras[best] if best is not None and seen[best] >= 5 else None


def _ask(session: Session, prompts: Sequence[Prompt]) -> tuple[BoolArray, float]:
    started = time.perf_counter()
    answer = session.add_prompt(prompts, replace=True).lidar_mask
    seconds = time.perf_counter() - started
    session.remove_object(_OBJECT_ID)
    return answer, seconds


def _click_through(
    session: Session, scene: FrameScene, labelled: LabelledCuboid, truth: PointTruth, camera: Camera | None, click_count: int
) -> ClickResult:
    visible = None if camera is None else scene.view(camera).visible
    first = truth.mask if visible is None else truth.mask & visible
    row, label = point_near_median(scene.points_m, first), 1
    rows, click_labels = [row], [label]
    ious: list[float] = []
    times: list[float] = []
    sensor = LIDAR if camera is None else camera.name
    places = scene.points_m if camera is None else scene.view(camera).pixels
    for _ in range(click_count):
        answer, seconds = _ask(session, [PointPrompt(_OBJECT_ID, scene.frame_index, sensor, places[rows].astype(np.float64), click_labels)])
        ious.append(truth.iou(answer))
        times.append(seconds)
        click = next_click(scene.points_m, truth, answer, visible)
        if click is None:
            break
        rows.append(click[0])
        click_labels.append(click[1])
    # Who sees no error stops clicking, and keeps what there is.
    ious += [ious[-1]] * (click_count - len(ious))
    return _click_result(labelled, scene, truth, sensor, tuple(ious), tuple(times))


def _click_result(
    labelled: LabelledCuboid, scene: FrameScene, truth: PointTruth, sensor: str, ious: tuple[float, ...], seconds: tuple[float, ...]
) -> ClickResult:
    distance_m = float(np.hypot(*labelled.cuboid.center_m[:2]))
    count = int(truth.mask.sum())
    return ClickResult(labelled.track_id, labelled.label, scene.frame_index, sensor, count, distance_m, ious, seconds)


def _summary(name: str, members: Sequence[ClickResult]) -> SummaryRow:
    shown = [count for count in CLICKS if count <= len(members[0].iou_after)]
    iou = tuple(float(np.mean([result.iou_after[count - 1] for result in members])) for count in shown)
    return SummaryRow(name, len(members), iou, float(np.mean([second for result in members for second in result.seconds])))


def _span(low: float, high: float, unit: str) -> str:
    return f"{low:g} to {high:g}{unit}" if np.isfinite(high) else f"from {low:g}{unit}"
