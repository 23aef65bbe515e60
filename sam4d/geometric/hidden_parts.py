"""What a nearer thing parts from the clicked object: the ends of a car behind a post or another car, a truck's box behind its own cab.

No gap between points joins them, for the beams in between never got there. So what was seen around such a hidden place must look like one
object: together the size of a whole car, along its outline; or, above and behind a cab, a flat front about as wide as the cab.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial import cKDTree

from sam4d.geometric.growing import IndexArray, groups_at_gap, size_plausibility, usual_gap
from sam4d.geometric.scene import FrameScene
from sam4d.geometry import BoolArray, Float64Array
from sam4d.structures import Float32Array


@dataclass(frozen=True)
class HiddenPartSettings:
    """Lengths in metres, angles in radians."""

    reach_m: float = 4.5
    fewest_points: int = 12
    car_m: tuple[tuple[float, float, float], tuple[float, float, float]] = ((3.6, 1.2, 1.2), (5.2, 2.2, 2.1))
    """Extents (from, to) of a whole car: length, width, height."""
    part_m: float = 2.6
    """A part that is longer is a car of its own."""
    person_m: tuple[float, float] = (0.8, 1.3)
    """What is no wider than the first and higher than the second is a person beside a car."""
    outline_m: float = 0.3
    """Points of a car lie as close to the upright rectangle around it, in the mean."""
    hidden_share: float = 0.7
    passed_share: float = 0.1
    seen_share: float = 0.5
    """Of the way between two parts, beams tell of at least seen_share; of these, at least hidden_share met something nearer, at most
    passed_share something beyond."""
    beam_rad: float = 0.008
    cab_width_m: tuple[float, float] = (1.5, 3.0)
    cab_top_m: tuple[float, float] = (1.7, 3.4)
    box_top_m: float = 4.3
    behind_m: float = 3.0
    """A box begins at most so far behind the cab's front."""
    width_ratio: tuple[float, float] = (0.75, 1.4)
    flat_m: float = 0.15
    """How far a front deviates from a plane, where a tree's crown is ragged."""


DEFAULT_HIDDEN_PART_SETTINGS = HiddenPartSettings()


def with_hidden_parts(
    scene: FrameScene, allowed: BoolArray, mask: BoolArray, settings: HiddenPartSettings = DEFAULT_HIDDEN_PART_SETTINGS
) -> BoolArray:
    """A mask, bool (N,), with the parts of its object that nearer things part from it.

    Args:
        allowed: bool (N,), points that may be added.
    """
    own = np.flatnonzero(mask & scene.is_object)
    if len(own) < settings.fewest_points:
        return mask
    points = scene.upright_m(own)
    low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    top_m = float(np.percentile(points[:, 2], 98))
    may_be_part = float(max(high - low)) < settings.part_m and top_m < settings.car_m[1][2]
    may_be_cab = settings.cab_top_m[0] < top_m < settings.cab_top_m[1] and float(max(high - low)) > settings.cab_width_m[0]
    if not may_be_part and not may_be_cab:
        return mask
    rows = scene.rows_between(low - settings.reach_m, high + settings.reach_m)
    rows = rows[allowed[rows] & ~mask[rows] & (scene.height_m[rows] < settings.box_top_m + 1.0)]
    if len(rows) < settings.fewest_points:
        return mask
    others = scene.upright_m(rows)
    group = groups_at_gap(others, usual_gap(float(np.hypot(*points[:, :2].mean(axis=0))), scene.growth), scene.growth)
    count = np.bincount(group)
    best: tuple[int, IndexArray] | None = None
    for k in np.flatnonzero(count >= settings.fewest_points):
        part = others[group == k]
        found = may_be_part and _is_one_car(scene, points, part, settings)
        found = found or (may_be_cab and _is_box_behind(points, part, settings))
        if found and (best is None or count[k] > best[0]):
            best = int(count[k]), rows[group == k]
    if best is None:
        return mask
    joined = mask.copy()
    joined[best[1]] = True
    return joined


def _is_one_car(scene: FrameScene, own: Float32Array, part: Float32Array, settings: HiddenPartSettings) -> bool:
    """Whether two parts, upright float32 (K, 3), are the ends of a car of which the middle is hidden."""
    if float(np.ptp(part[:, :2], axis=0).max()) > settings.part_m:
        return False
    for some in (own, part):
        sides_m = cv2.minAreaRect(some[:, :2] - some[0, :2])[1]
        if max(sides_m) < settings.person_m[0] and float(some[:, 2].max()) > settings.person_m[1]:
            return False
    both = np.vstack([own, part])
    corner = both[0, :2]
    rectangle = cv2.minAreaRect(both[:, :2] - corner)
    extents = (max(rectangle[1]), min(rectangle[1]), float(np.percentile(both[:, 2], 98)))
    if not all(least <= extent <= most for extent, least, most in zip(extents, *settings.car_m, strict=True)):
        return False
    from_outline_m = [float(_distances_to_outline(some[:, :2] - corner, rectangle).mean()) for some in (own, part)]
    return max(from_outline_m) < settings.outline_m and _is_hidden_between(scene, own, part, settings)


def _distances_to_outline(places_m: Float32Array, rectangle: cv2.typing.RotatedRect) -> Float64Array:
    """Of places (K, 2) in OpenCV's rectangle, float64 (K,)."""
    center_m, extents_m, angle_degrees = rectangle
    angle_rad = np.radians(angle_degrees)
    along = np.array([[np.cos(angle_rad), -np.sin(angle_rad)], [np.sin(angle_rad), np.cos(angle_rad)]])
    inward_m = np.array(extents_m) / 2 - np.abs((places_m - np.array(center_m)) @ along)
    return np.asarray(np.abs(inward_m.min(axis=1)), dtype=np.float64)


def _is_hidden_between(scene: FrameScene, own: Float32Array, part: Float32Array, settings: HiddenPartSettings) -> bool:
    distance, nearest = (np.asarray(found) for found in cKDTree(part[:, :2]).query(own[:, :2]))
    closest = int(distance.argmin())
    start, end = own[closest, :2].astype(np.float64), part[int(nearest[closest]), :2].astype(np.float64)
    steps = np.linspace(0, 1, 3 + int(distance[closest] / 0.1))[1:-1, None]
    heights_m = np.percentile(own[:, 2], (25, 50, 75))
    way = np.vstack([np.column_stack([start + steps * (end - start), np.full(len(steps), height)]) for height in heights_m])
    way[:, 2] += scene.ground.z_at(way[:, :2])
    span = np.hypot(*np.vstack([start, end]).T)
    ahead = scene.valid & (scene.points_m[:, :2] @ ((start + end) / 2).astype(np.float32) > 0)
    angles, ranges_m = _directions(scene.points_m[ahead].astype(np.float64))
    way_angles, way_ranges_m = _directions(way)
    low, high = way_angles.min(axis=0), way_angles.max(axis=0)
    # Straight behind the LiDAR azimuths jump: too rare to turn everything for it.
    inside = ((angles > low - settings.beam_rad) & (angles < high + settings.beam_rad)).all(axis=1)
    if high[0] - low[0] > np.pi or not inside.any():
        return False
    beams = cKDTree(angles[inside]).query(way_angles)
    hit = np.asarray(beams[0]) < settings.beam_rad
    met_m = ranges_m[inside][np.asarray(beams[1])] - way_ranges_m
    margin_m = 0.5 + 0.005 * float(span.max())
    if hit.mean() < settings.seen_share:
        return False
    hidden, passed = float((met_m[hit] < -margin_m).mean()), float((met_m[hit] > 2 * margin_m).mean())
    return hidden >= settings.hidden_share and passed <= settings.passed_share


def _directions(points_m: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Azimuth and elevation as seen from the LiDAR, float64 (K, 2), and distances (K,)."""
    flat_m = np.hypot(points_m[:, 0], points_m[:, 1])
    angles = np.column_stack([np.arctan2(points_m[:, 1], points_m[:, 0]), np.arctan2(points_m[:, 2], flat_m)])
    return angles, np.asarray(np.hypot(flat_m, points_m[:, 2]))


def _is_box_behind(own: Float32Array, part: Float32Array, settings: HiddenPartSettings) -> bool:
    """Whether a part, upright float32 (K, 3), is the front of a box that stands above and behind a cab, its lower end hidden by it."""
    view = own[:, :2].mean(axis=0)
    view = view / max(float(np.hypot(*view)), 1e-6)
    across = np.array([-view[1], view[0]])
    (own_along, own_across), (along, beside) = ((some[:, :2] @ view, some[:, :2] @ across) for some in (own, part))
    left, right = np.percentile(own_across, (3, 97))
    width_m, part_width_m = float(right - left), float(np.ptp(np.percentile(beside, (3, 97))))
    behind_m = float(np.percentile(along, 10) - np.percentile(own_along, 10))
    ratio = part_width_m / max(width_m, 1e-6)
    if not settings.cab_width_m[0] < width_m < settings.cab_width_m[1] or not settings.width_ratio[0] < ratio < settings.width_ratio[1]:
        return False
    if not 0 < behind_m < settings.behind_m or not float(own[:, 2].max()) < float(part[:, 2].max()) < settings.box_top_m:
        return False
    over = (beside > left - 0.2) & (beside < right + 0.2)
    # Below its lowest seen row there is the cab in front: of what does not float, some is seen beside or below.
    if over.mean() < 0.7 or float(np.percentile(part[over, 2], 5)) < 0.75 * float(np.percentile(own[:, 2], 95)):
        return False
    line = np.polyfit(beside[over], along[over], 1)
    deviation_m = float(np.abs(along[over] - np.polyval(line, beside[over])).mean())
    return deviation_m < settings.flat_m and size_plausibility(np.vstack([own, part])) > 0
