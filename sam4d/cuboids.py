"""Points of an object over time -> its cuboid on every frame: one size, heading along the motion where it moves, an L-shape fit otherwise.

What no frame shows is completed from the usual size of its kind, away from the sensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sam4d.cuboid_extent import LEAST_M, Extent, LocalView, completed_extent, hidden_share, visible_extent
from sam4d.geometric.registration import align_surface
from sam4d.geometry import SE3, BoolArray, Float64Array, wrap_angle
from sam4d.structures import Clip, Cuboid, Masklet

POINTS_PER_FRAME = 1500
"""More do not make a better box, only a slower one."""

MOVING_M_PER_FRAME = 0.07
MOVING_M = 0.9
"""Net motion over the clip below which an object counts as standing: ego poses drift by as much."""

GROUND_RING_M = 1.5
"""How far around an object its ground is looked for."""


@dataclass(frozen=True, eq=False)
class _View:
    """One frame's look at the object, in the frame's LiDAR frame: points float64 (K, 3), z of the ground under it."""

    frame_index: int
    points_m: Float64Array
    ground_z_m: float


def fit_cuboid(
    points_m: NDArray[np.floating], *, label: str = "", heading_rad: float | None = None, ground_z_m: float | None = None
) -> Cuboid | None:
    """A box around one frame's points of one object.

    Args:
        points_m: (K, 3) LiDAR frame.
        label: says how large the hidden part usually is; without a known one, the visible size does.
        heading_rad: of the length, where it is known.
        ground_z_m: z of the ground under the object; its lowest point where not known.

    Returns:
        None for fewer than 3 finite points.
    """
    points = np.asarray(points_m, dtype=np.float64)
    points = points[np.isfinite(points).all(axis=1)]
    if len(points) < 3:
        return None
    ground_z = float(points[:, 2].min()) if ground_z_m is None else ground_z_m
    heading = rectangle_heading(points[:, :2]) if heading_rad is None else heading_rad
    above = np.column_stack([points[:, :2], points[:, 2] - ground_z])
    box, heading = _box([above], [np.zeros(2)], [np.zeros(2)], heading, label, heading_known=heading_rad is not None)
    return replace(box, center_m=(box.center_m[0], box.center_m[1], box.center_m[2] + ground_z), yaw_rad=wrap_angle(heading))


def fit_cuboids(masklet: Masklet, clip: Clip) -> list[Cuboid | None]:
    """One cuboid per frame of the clip, None where the masklet has no LiDAR points.

    One size for all frames. Where the object moves, the heading follows its path over the ground, else the shape of the points
    of all frames laid upon each other by ego motion.
    """
    return fit_cuboids_together([masklet], clip)[0]


def fit_cuboids_together(masklets: Sequence[Masklet], clip: Clip) -> list[list[Cuboid | None]]:
    """`fit_cuboids` for many masklets; every sweep is read once."""
    views: list[list[_View]] = [[] for _ in masklets]
    for frame_index in range(len(clip)):
        shown = [
            (k, masklet.masks[frame_index].lidar_mask)
            for k, masklet in enumerate(masklets)
            if frame_index in masklet.masks and masklet.masks[frame_index].lidar_mask.any()
        ]
        if not shown:
            continue
        points = clip.frames[frame_index].load_sweep().points_m
        for k, mask in shown:
            view = _view(frame_index, points, mask)
            if view is not None:
                views[k].append(view)
    return [_fit_views(views[k], masklet.label, clip) for k, masklet in enumerate(masklets)]


def rectangle_heading(points_xy_m: Float64Array) -> float:
    """Heading of the longer side of the upright rectangle whose sides lie closest to the points (K, 2), in [-pi/2, pi/2).

    Search over angles with the closeness criterion of Zhang et al., "Efficient L-shape fitting", 2017.
    """
    points = points_xy_m[np.linspace(0, len(points_xy_m) - 1, min(len(points_xy_m), 400)).astype(np.int64)]
    points = np.asarray(points - points.mean(axis=0), dtype=np.float64)
    angle = 0.0
    for half_width, step in ((np.pi / 4, np.pi / 90), (np.pi / 90, np.pi / 720)):
        angles = angle + np.arange(-half_width, half_width, step, dtype=np.float64)
        angle = float(angles[int(np.argmax(_closeness(points, angles)))])
    along = points @ np.array([np.cos(angle), np.sin(angle)])
    across = points @ np.array([-np.sin(angle), np.cos(angle)])
    if np.ptp(across) > np.ptp(along):
        angle += np.pi / 2
    return float((angle + np.pi / 2) % np.pi - np.pi / 2)


def _closeness(points: Float64Array, angles: Float64Array) -> Float64Array:
    """Per angle (A,): how close points (K, 2) lie to the nearest side of their bounding rectangle at that angle."""
    along = points @ np.stack([np.cos(angles), np.sin(angles)])
    across = points @ np.stack([-np.sin(angles), np.cos(angles)])
    distance = np.full(along.shape, np.inf)
    for part in (along, across):
        low, high = np.percentile(part, [1, 99], axis=0)
        distance = np.minimum(distance, np.minimum(np.abs(part - low), np.abs(high - part)))
    return np.asarray((1 / np.maximum(distance, 0.06)).sum(axis=0))


def _view(frame_index: int, sweep_m: NDArray[np.floating], mask: BoolArray) -> _View | None:
    points = sweep_m[mask].astype(np.float64)
    points = points[np.isfinite(points).all(axis=1)]
    if len(points) < 3:
        return None
    low, high = points.min(axis=0), points.max(axis=0)
    with np.errstate(invalid="ignore"):
        around = (sweep_m[:, 0] > low[0] - GROUND_RING_M) & (sweep_m[:, 0] < high[0] + GROUND_RING_M)
        around &= (sweep_m[:, 1] > low[1] - GROUND_RING_M) & (sweep_m[:, 1] < high[1] + GROUND_RING_M)
        around &= (sweep_m[:, 2] < low[2] + 0.6) & (sweep_m[:, 2] > low[2] - 1.5) & ~mask
    below = sweep_m[around, 2].astype(np.float64)
    # Beams that pass under the object and stray echoes lie a little lower than the ground beside it.
    ground_z = float(np.percentile(below, 15)) if len(below) >= 5 else float(low[2]) - 0.1
    chosen = np.linspace(0, len(points) - 1, min(len(points), POINTS_PER_FRAME)).astype(np.int64)
    return _View(frame_index, points[chosen], min(ground_z, float(low[2])))


def _fit_views(views: Sequence[_View], label: str, clip: Clip) -> list[Cuboid | None]:
    cuboids: list[Cuboid | None] = [None] * len(clip)
    if not views:
        return cuboids
    reference = max(views, key=lambda view: len(view.points_m)).frame_index
    motions = [clip.lidar_SE3_lidar(reference, view.frame_index) for view in views]
    placed = [_upright(view, motion) for view, motion in zip(views, motions, strict=True)]
    shifts = _path(placed)
    posed = all(clip.frames[view.frame_index].world_SE3_lidar is not None for view in views)
    headings = _headings_along(shifts, [view.frame_index for view in views]) if posed else None

    sensors = [np.asarray(motion.translation_m[:2]) for motion in motions]
    if headings is None:
        # Standing: all points lie upon each other once the drift of the poses is taken out.
        merged = np.vstack([points[:, :2] - shift for points, shift in zip(placed, shifts, strict=True)])
        box, heading = _box(placed, sensors, shifts, rectangle_heading(merged), label, heading_known=False)
        local_headings = [heading] * len(views)
    else:
        # Turned about a point of the object itself: about a distant one, the headings' noise would smear the sides.
        body = (placed[0][:, :2].min(axis=0) + placed[0][:, :2].max(axis=0)) / 2
        shifts = [np.asarray(shift + body) for shift in shifts]
        local_headings = list(headings)
        local = [
            LocalView(_turned(p, -h, c), _turned(s[None], -h, c)[0]) for p, s, h, c in zip(placed, sensors, headings, shifts, strict=True)
        ]
        box = _upright_box(completed_extent(visible_extent(local), local, label), 0.0)
    height = box.size_lwh_m[2]
    for view, motion, shift, heading in zip(views, motions, shifts, local_headings, strict=True):
        if headings is None:
            center_xy = np.array(box.center_m[:2]) + shift
        else:
            center_xy = _turned(np.array([box.center_m[:2]]), heading, np.zeros(2))[0] + shift
        back = motion.inverse()
        x, y, _ = back.apply(np.array([center_xy[0], center_xy[1], 0.0]))
        yaw = wrap_angle(heading + back.yaw_rad)
        cuboids[view.frame_index] = Cuboid((float(x), float(y), view.ground_z_m + height / 2), box.size_lwh_m, yaw)
    return cuboids


def _upright(view: _View, motion: SE3) -> Float64Array:
    """The view's points over the reference frame's ground plane: x, y there, height above the ground as third."""
    flat = motion.apply(np.column_stack([view.points_m[:, :2], np.zeros(len(view.points_m))]))
    return np.column_stack([flat[:, :2], view.points_m[:, 2] - view.ground_z_m])


def _path(placed: Sequence[Float64Array]) -> list[Float64Array]:
    """Shift (2,) of every view against the first, by laying each view on those before it."""
    shifts: list[Float64Array] = [np.zeros(2)]
    model = placed[0]
    ages: Float64Array = np.zeros(len(model))
    velocity: Float64Array = np.zeros(2)
    for k in range(1, len(placed)):
        points = placed[k]
        expected: Float64Array = shifts[-1] + velocity
        recent = model[ages <= 4]
        surface = recent + np.append(expected, 0.0)
        spacing = 0.007 * float(np.hypot(*points[:, :2].mean(axis=0)))
        gate = 4.0 if k == 1 else 1.0
        alignment = align_surface(surface, np.power(0.75, ages[ages <= 4]), points, gate**2 * np.eye(2), max(spacing, 0.05), 0.2)
        shift: Float64Array = expected + alignment.shift_m
        velocity = shift - shifts[-1] if k == 1 else 0.5 * velocity + 0.5 * (shift - shifts[-1])
        shifts.append(shift)
        model = np.vstack([points - np.append(shift, 0.0), model])
        ages = np.concatenate([np.zeros(len(points)), ages + 1])
        if len(model) > 6000:
            model, ages = model[:6000], ages[:6000]
    return shifts


def _headings_along(shifts: Sequence[Float64Array], frames: Sequence[int]) -> list[float] | None:
    """Direction of the smoothed path per view; None where the object stands."""
    if len(shifts) < 2:
        return None
    path = np.array(shifts)
    net = float(np.hypot(*(path[-1] - path[0])))
    span = frames[-1] - frames[0]
    slow = net < MOVING_M or net / span < MOVING_M_PER_FRAME
    if slow and (len(shifts) > 3 or net < 0.25 * span):
        return None
    headings: list[float] = []
    for k in range(len(path)):
        a, b = k, k
        # The window opens until the path in it is long enough to point somewhere.
        while np.hypot(*(path[b] - path[a])) < 1.0 and (a > 0 or b < len(path) - 1):
            a, b = max(0, a - 1), min(len(path) - 1, b + 1)
        step = path[b] - path[a]
        headings.append(float(np.arctan2(step[1], step[0])))
    return headings


def _turned(points_m: Float64Array, angle_rad: float, origin_m: Float64Array) -> Float64Array:
    """Points (K, 2 or 3) relative to an origin (2,), turned by an angle."""
    cosine, sine = np.cos(angle_rad), np.sin(angle_rad)
    xy = (points_m[:, :2] - origin_m) @ np.array([[cosine, sine], [-sine, cosine]])
    return np.column_stack([xy, points_m[:, 2:]])


def _box(
    placed: Sequence[Float64Array],
    sensors: Sequence[Float64Array],
    shifts: Sequence[Float64Array],
    heading_rad: float,
    label: str,
    *,
    heading_known: bool,
) -> tuple[Cuboid, float]:
    """The box of points seen in several frames, over ground of height 0, and its heading, a quarter turned where an end was seen only."""
    best: tuple[float, float, Extent, list[LocalView]] | None = None
    for quarter in (0.0,) if heading_known else (0.0, np.pi / 2):
        heading = heading_rad + quarter
        local = [
            LocalView(_turned(points, -heading, shift), _turned(sensor[None], -heading, shift)[0])
            for points, sensor, shift in zip(placed, sensors, shifts, strict=True)
        ]
        seen = visible_extent(local)
        hidden = hidden_share(seen, local, label)
        if best is None or hidden < best[0] - 1e-9:
            best = hidden, heading, seen, local
    assert best is not None
    _, heading, seen, local = best
    return _upright_box(completed_extent(seen, local, label), heading), heading


def _upright_box(extent: Extent, heading_rad: float) -> Cuboid:
    """On ground of height 0, about the origin that its extent is measured from, turned by a heading."""
    center = _turned(((extent.low_m + extent.high_m) / 2)[None], heading_rad, np.zeros(2))[0]
    length, width = (float(value) for value in extent.size_m)
    height = max(extent.height_m, LEAST_M)
    return Cuboid((float(center[0]), float(center[1]), height / 2), (length, width, height), wrap_angle(heading_rad))
