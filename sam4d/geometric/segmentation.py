"""The points of one object on one frame, from prompts on any sensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sam4d.geometric.growing import IndexArray, Region, groups_at_gap, grow, nearer_to, usual_gap
from sam4d.geometric.scene import FrameScene
from sam4d.geometry import BoolArray, Float64Array
from sam4d.structures import LIDAR, BoxPrompt, Camera, Clip, MaskPrompt, PointPrompt, Prompt

NEAR_CLICK_M = 0.7
"""A click that hits no object point takes the nearest one within this distance."""

GROUND_PATCH_M = 0.5
TOGETHER = 0.3
"""Several clicks grow one region where its plausibility reaches this, else one each."""

NEAR_PIXEL_RAD = 0.012
"""A camera click looks for points within this angle: three or four beams of a 64-beam LiDAR."""


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
    masks = [prompt for prompt in prompts if isinstance(prompt, MaskPrompt)]
    areas: list[_Area] = []
    for prompt in prompts:
        if prompt.sensor != LIDAR and not isinstance(prompt, PointPrompt):
            areas.append(_camera_area(scene, clip.cameras[prompt.sensor], prompt))
    lidar_boxes = [prompt.box for prompt in prompts if isinstance(prompt, BoxPrompt) and prompt.sensor == LIDAR]
    lidar_masks = [prompt.mask & scene.valid for prompt in masks if prompt.sensor == LIDAR]
    positive, negative, patch = _clicked_rows(scene, clip, prompts)
    patch &= scene.valid

    if lidar_masks:
        return _corrected(scene, np.logical_or.reduce(lidar_masks), positive, negative)
    allowed = scene.is_object.copy()
    for area in areas:
        allowed &= area.allowed
    for box in lidar_boxes:
        allowed &= _in_box(scene, np.asarray(box, dtype=np.float64), margin_m=0.1)
    allowed[positive] = True
    if not len(positive):
        if not allowed.any() or not (areas or lidar_boxes):
            return LidarSegment(patch, 0.1 if patch.any() else 0.0)
        if lidar_boxes and not areas:
            return _inside_box(scene, allowed, np.asarray(lidar_boxes[0], dtype=np.float64), negative)
        positive = _seeds_of_area(scene, allowed, areas)
        if not len(positive):
            return LidarSegment(np.zeros(len(scene), dtype=np.bool_), 0.0)
    segment = _grown(scene, allowed, positive, negative, _agreement(areas) if areas else None)
    # Who clicks on the ground beside a click on the object means that this bit belongs to it.
    return LidarSegment(segment.mask | patch, segment.score)


@dataclass(frozen=True, eq=False)
class _Area:
    """What a box or mask in a camera says: rows it allows, bool (N,); pixels (N, 2) and inside (N,) of the view; its bounds (4,)."""

    allowed: BoolArray
    pixels: NDArray[np.float32]
    inside: BoolArray
    bounds_px: Float64Array


def _camera_area(scene: FrameScene, camera: Camera, prompt: BoxPrompt | MaskPrompt) -> _Area:
    view = scene.view(camera)
    allowed = np.zeros(len(scene), dtype=np.bool_)
    rows = np.flatnonzero(view.inside)
    pixels = view.pixels[rows]
    slack_px = max(2.0, 0.002 * camera.fx_px)
    border_px = 3.0
    if isinstance(prompt, BoxPrompt):
        # Nobody draws a box to the very last pixel.
        border_px = max(border_px, 0.015 * camera.width_px)
        bounds = np.asarray(prompt.box, dtype=np.float64)
        allowed[rows] = (pixels >= bounds[:2] - slack_px).all(axis=1) & (pixels <= bounds[2:] + slack_px).all(axis=1)
    else:
        ys, xs = np.flatnonzero(prompt.mask.any(axis=1)), np.flatnonzero(prompt.mask.any(axis=0))
        if not len(ys):
            return _Area(allowed, view.pixels, view.inside, np.zeros(4))
        bounds = np.array([xs[0], ys[0], xs[-1] + 1, ys[-1] + 1], dtype=np.float64)
        size = 2 * int(slack_px) + 1
        grown = cv2.dilate(prompt.mask.astype(np.uint8), np.ones((size, size), dtype=np.uint8))
        allowed[rows] = grown[pixels[:, 1].astype(np.int64), pixels[:, 0].astype(np.int64)] > 0
    # What the camera does not see, outside its image, may belong to the object as well.
    size_px = np.array([camera.width_px, camera.height_px])
    if (bounds[:2] < border_px).any() or (bounds[2:] > size_px - border_px).any():
        allowed |= ~view.inside & scene.valid
    return _Area(allowed, view.pixels, view.inside, bounds)


def _box_overlap(a: Float64Array, b: Float64Array) -> float:
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    common = float(max(sides[0], 0) * max(sides[1], 0))
    union = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - common
    return common / union if union > 0 else 0.0


def _projected_overlap(mask_rows: IndexArray, area: _Area) -> float:
    """IoU of the area's bounds with those of the rows' pixels; 0 where none falls into the image."""
    rows = mask_rows[area.inside[mask_rows]]
    if not len(rows):
        return 0.0
    pixels = area.pixels[rows].astype(np.float64)
    return _box_overlap(np.concatenate([pixels.min(axis=0), pixels.max(axis=0) + 1]), area.bounds_px)


def _agreement(areas: Sequence[_Area]) -> Callable[[IndexArray], float]:
    return lambda rows: float(np.mean([_projected_overlap(rows, area) for area in areas]))


def _seeds_of_area(scene: FrameScene, allowed: BoolArray, areas: Sequence[_Area]) -> IndexArray:
    """The middle of the group of points that fills the camera boxes or masks best; nearer ones first where several do."""
    rows = np.flatnonzero(allowed & np.logical_or.reduce([area.inside for area in areas]))
    if not len(rows):
        return rows
    points = _positions(scene, rows)
    reach_m = np.hypot(points[:, 0], points[:, 1])
    # One gap for near and far alike: shrunk by range, a far gap is as wide as a near one.
    group = groups_at_gap(points / usual_gap_of(reach_m)[:, None], 1.0)
    best, best_rows = -1.0, rows[:0]
    for k in np.argsort(-np.bincount(group), kind="stable")[:8]:
        members = rows[group == k]
        overlap = float(np.mean([_projected_overlap(members, area) for area in areas]))
        value = (overlap + 0.05) * min(1.0, len(members) / 5) / (1 + float(np.median(reach_m[group == k])) / 100)
        if value > best:
            best, best_rows = value, members
    return best_rows[[_middle(scene.points_m[best_rows])]]


def usual_gap_of(range_m: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.asarray(usual_gap(0.0) + (usual_gap(1.0) - usual_gap(0.0)) * range_m, dtype=np.float64)


def _middle(points_m: NDArray[np.floating]) -> int:
    """The row nearest to the median."""
    return int(((points_m - np.median(points_m, axis=0)) ** 2).sum(axis=1).argmin())


def _positions(scene: FrameScene, rows: IndexArray) -> NDArray[np.float32]:
    """x, y and height above ground, float32 (K, 3): on a slope, objects stand upright in them."""
    return np.column_stack([scene.points_m[rows, :2], scene.height_m[rows]])


def _in_box(scene: FrameScene, box: Float64Array, margin_m: float = 0.0) -> BoolArray:
    xy = scene.points_m[:, :2]
    return np.asarray((xy >= box[:2] - margin_m).all(axis=1) & (xy <= box[2:] + margin_m).all(axis=1) & scene.valid)


def _clicked_rows(scene: FrameScene, clip: Clip, prompts: Sequence[Prompt]) -> tuple[IndexArray, IndexArray, BoolArray]:
    """Rows of positive and of negative clicks, and the patches of ground that positive clicks hit, bool (N,)."""
    rows: dict[int, list[int]] = {0: [], 1: []}
    patch = np.zeros(len(scene), dtype=np.bool_)
    for prompt in prompts:
        if not isinstance(prompt, PointPrompt):
            continue
        for coordinates, label in zip(np.asarray(prompt.coordinates), np.asarray(prompt.labels), strict=True):
            if prompt.sensor == LIDAR:
                row = _row_near(scene, coordinates)
            else:
                row = _row_at_pixel(scene, clip.cameras[prompt.sensor], coordinates)
            if row is None:
                continue
            if scene.is_ground[row]:
                if label == 1:
                    patch |= scene.is_ground & (((scene.points_m - scene.points_m[row]) ** 2).sum(axis=1) < GROUND_PATCH_M**2)
                continue
            rows[int(label)].append(row)
    return np.unique(np.array(rows[1], dtype=np.int64)), np.unique(np.array(rows[0], dtype=np.int64)), patch


def _row_near(scene: FrameScene, point_m: Float64Array) -> int | None:
    """The object point nearest to a place in the sweep, else the ground point there, else None."""
    if not scene.valid.any():
        return None
    squared = ((scene.points_m - point_m.astype(np.float32)) ** 2).sum(axis=1)
    near_m = NEAR_CLICK_M + 0.01 * float(np.hypot(*point_m[:2]))
    for rows, limit_m in ((scene.is_object, near_m), (scene.is_ground, 1.0)):
        distance = np.where(rows, squared, np.inf)
        row = int(distance.argmin())
        if distance[row] <= limit_m**2:
            return row
    return None


def _row_at_pixel(scene: FrameScene, camera: Camera, pixel: Float64Array) -> int | None:
    """The point that a camera shows at a pixel: on the nearest surface there that surrounds it, else the nearest in the image."""
    view = scene.view(camera)
    offset = view.pixels - pixel.astype(np.float32)
    for angle_rad in (NEAR_PIXEL_RAD, 2.5 * NEAR_PIXEL_RAD):
        near = np.flatnonzero(view.visible & (np.abs(offset) < angle_rad * camera.fx_px).all(axis=1))
        objects = near[scene.is_object[near]]
        if len(objects):
            break
    if not len(near):
        return None
    distance = np.hypot(offset[:, 0], offset[:, 1])
    on_ground = near[scene.is_ground[near]]
    if not len(objects):
        return _row_near(scene, scene.points_m[on_ground[distance[on_ground].argmin()]].astype(np.float64))
    nearest = int(objects[distance[objects].argmin()])
    if len(on_ground) and distance[on_ground].min() < 0.3 * distance[nearest] and distance[nearest] > 0.004 * camera.fx_px:
        return _row_near(scene, scene.points_m[on_ground[distance[on_ground].argmin()]].astype(np.float64))
    # Glass lets the beams through: a nearer surface that surrounds the pixel is what the camera shows there.
    depth_m = view.depth_m[objects]
    front = objects[depth_m < depth_m.min() * 1.05 + 0.5]
    if len(front) >= 3 and view.depth_m[nearest] > depth_m.min() * 1.05 + 0.5:
        hull = cv2.convexHull(offset[front].astype(np.float32))
        if cv2.pointPolygonTest(hull, (0.0, 0.0), False) >= 0:
            return int(front[distance[front].argmin()])
    return nearest


def _grown(
    scene: FrameScene,
    allowed: BoolArray,
    positive: IndexArray,
    negative: IndexArray,
    agreement: Callable[[IndexArray], float] | None,
) -> LidarSegment:
    centre = np.median(scene.points_m[positive], axis=0)
    spread = float(np.abs(scene.points_m[positive] - centre)[:, :2].max())
    near = (np.abs(scene.points_m[:, :2] - centre[:2]) < 14 + spread).all(axis=1) & (scene.height_m < 5)
    near[positive] = True
    allowed = allowed & near
    allowed[negative] = near[negative]
    rows = np.flatnonzero(allowed)
    points = _positions(scene, rows)
    gap_m = usual_gap(float(np.hypot(*centre[:2])))
    seeds = np.searchsorted(rows, positive)
    rivals = negative[allowed[negative]]
    if len(rivals):
        own = nearer_to(points, seeds, np.searchsorted(rows, rivals), gap_m)
        own[seeds] = True
        rows, points = rows[own], points[own]
        seeds = np.searchsorted(rows, positive)
    candidates = rows
    evidence = None if agreement is None else lambda mask: agreement(candidates[mask])
    region = grow(points, seeds, gap_m, evidence)
    if len(seeds) > 1 and region.plausibility < TOGETHER:
        # What holds all clicks is no object: each click speaks for its own surroundings.
        parts = [grow(points, seeds[k : k + 1], gap_m, evidence) for k in range(len(seeds))]
        least = min(parts, key=lambda part: part.plausibility)
        region = Region(np.logical_or.reduce([part.mask for part in parts]), least.plausibility, least.stability)
    mask = np.zeros(len(scene), dtype=np.bool_)
    mask[rows[region.mask]] = True
    return LidarSegment(mask, _score(region))


def _score(region: Region) -> float:
    support = min(1.0, float(region.mask.sum()) / 20) ** 0.25
    return float(np.clip((0.3 + 0.7 * region.plausibility) * (0.6 + 0.4 * region.stability) * support, 0.02, 1.0))


def _inside_box(scene: FrameScene, allowed: BoolArray, box: Float64Array, negative: IndexArray) -> LidarSegment:
    """What stands in a box seen from above, without what only reaches into it."""
    around = scene.is_object & _in_box(scene, box, margin_m=3.0)
    rows = np.flatnonzero(around)
    inside = allowed[rows]
    gap_m = usual_gap(float(np.hypot(*(box[:2] + box[2:]) / 2)))
    group = groups_at_gap(_positions(scene, rows), gap_m)
    share = np.bincount(group, weights=inside) / np.bincount(group)
    kept = inside & (share[group] > 0.5)
    if kept.sum() < 0.3 * inside.sum():
        # The object hangs together with something outside: what is inside, in its largest piece.
        within = rows[inside]
        piece = groups_at_gap(_positions(scene, within), gap_m)
        kept = np.zeros(len(rows), dtype=np.bool_)
        kept[inside] = piece == np.bincount(piece).argmax()
    mask = np.zeros(len(scene), dtype=np.bool_)
    mask[rows[kept]] = True
    if len(negative):
        return _corrected(scene, mask, negative[:0], negative)
    return LidarSegment(mask, 0.9 if mask.sum() >= 10 else 0.5)


def _corrected(scene: FrameScene, mask: BoolArray, positive: IndexArray, negative: IndexArray) -> LidarSegment:
    """A given mask with what clicks add and take."""
    mask = mask.copy()
    outside = positive[~mask[positive]]
    if len(outside):
        mask |= _grown(scene, scene.is_object, outside, negative, None).mask
    taken = negative[mask[negative]]
    if len(taken) and mask.any():
        rows = np.flatnonzero(mask)
        points = _positions(scene, rows)
        if len(positive):
            seeds = np.searchsorted(rows, positive[mask[positive]])
        else:
            # Nothing says where the object is, but its middle, seen from the wrong places, is a good guess.
            away = np.sqrt(((scene.points_m[rows][:, None, :2] - scene.points_m[taken][None, :, :2]) ** 2).sum(axis=2)).min(axis=1)
            far = np.flatnonzero(away >= np.median(away))
            seeds = far[[_middle(points[far])]]
        gap_m = usual_gap(float(np.hypot(*np.median(points[:, :2], axis=0))))
        own = nearer_to(points, seeds, np.searchsorted(rows, taken), gap_m)
        mask[rows[~own]] = False
    return LidarSegment(mask, 1.0 if mask.any() else 0.0)
