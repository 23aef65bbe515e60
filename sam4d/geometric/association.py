"""Following objects from frame to frame: expect, lay the known surface on the new points, take what belongs to it.

All objects of a session are followed together, so that each point goes to the object whose surface it lies closest to.
Surfaces are kept as (x, y, height above ground), see `registration`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from sam4d.cuboids import rectangle_heading
from sam4d.geometric.connectivity import connected_groups
from sam4d.geometric.low_parts import with_low_parts
from sam4d.geometric.registration import Alignment, align_surface
from sam4d.geometric.scene import FrameScene
from sam4d.geometry import SE3, BoolArray, Float64Array

SURFACE_POINTS = 1200
"""Points kept of an object's surface: enough for a truck at 0.2 m."""

FADING = 0.75
"""What a surface point counts for loses this factor with every frame in which it was not seen again."""

LARGE_OBJECT_M = 1.6
LARGEST_M = np.array([6.5, 2.7, 3.8])
"""An object that shows more of itself may grow to this length, width and height."""

GROWS_TO_M, GROWS_BY = 6.0, 1.4
"""No object gets longer than this while it is followed, or than so many times what it was given as."""

FASTEST_M_PER_S = 30.0
FASTEST_SMALL_M_PER_S = 7.0
FRAME_S = 0.1
"""Where a clip has no timestamps."""


@dataclass(frozen=True, eq=False)
class ObjectTrack:
    """One object as known on a frame.

    surface_m: float64 (M, 3) x, y, height in that frame's LiDAR frame; weights (M,). heading_rad: along the longer side.
    velocity_m: (2,) shift per second over the ground, in that frame's LiDAR axes; turn_rad_per_s likewise about +z.
    seen: frames that went into the motion; missed: frames since the object was last found. score of the last frame.
    point_count: points on the frame where it was last found, at mean range range_m. isolated: it stood apart from everything else
    where it was given, so that what hangs together with it later is more of itself. given_m: how long it was then, seen from above.
    """

    frame_index: int
    surface_m: Float64Array
    weights: Float64Array
    heading_rad: float
    velocity_m_per_s: Float64Array
    turn_rad_per_s: float
    seen: int
    missed: int
    score: float
    point_count: int
    range_m: float
    isolated: bool
    given_m: float

    @property
    def is_empty(self) -> bool:
        return len(self.surface_m) == 0

    @property
    def low_m(self) -> Float64Array:
        return np.asarray(self.surface_m.min(axis=0))

    @property
    def high_m(self) -> Float64Array:
        return np.asarray(self.surface_m.max(axis=0))


@dataclass(frozen=True, eq=False)
class _Match:
    """A track laid on a new frame. rows: indices of the candidate points, distance_m: of each from the surface."""

    expected: ObjectTrack
    alignment: Alignment
    placed: ObjectTrack
    rows: NDArray[np.int64]
    points_m: Float64Array
    distance_m: Float64Array
    near_m: float


def begin_track(scene: FrameScene, lidar_mask: BoolArray, score: float, earlier: ObjectTrack | None) -> ObjectTrack:
    """The track of an object whose points on a frame are given; keeps the motion of `earlier` where it was followed."""
    rows = np.flatnonzero(lidar_mask & scene.valid)
    if len(rows) == 0:
        if earlier is not None:
            return replace(earlier, frame_index=scene.frame_index, missed=earlier.missed + 1, score=0.0)
        return ObjectTrack(scene.frame_index, np.zeros((0, 3)), np.zeros(0), 0.0, np.zeros(2), 0.0, 0, 0, 0.0, 0, 0.0, False, 0.0)
    positions = _positions(scene, rows)
    surface, weights = _thinned(positions, np.ones(len(positions)), _spacing(positions))
    track = ObjectTrack(
        frame_index=scene.frame_index,
        surface_m=surface,
        weights=weights,
        heading_rad=rectangle_heading(surface[:, :2]),
        velocity_m_per_s=np.zeros(2),
        turn_rad_per_s=0.0,
        seen=1,
        missed=0,
        score=score,
        point_count=len(rows),
        range_m=_range(surface),
        isolated=_is_isolated(scene, rows, positions),
        given_m=_length(surface),
    )
    if earlier is None or earlier.is_empty or earlier.seen < 2:
        return track
    return replace(track, velocity_m_per_s=earlier.velocity_m_per_s, turn_rad_per_s=earlier.turn_rad_per_s, seen=earlier.seen)


def advance_tracks(
    tracks: Mapping[int, ObjectTrack], scene: FrameScene, motions: Mapping[int, SE3], steps_s: Mapping[int, float], taken: BoolArray
) -> dict[int, tuple[ObjectTrack, BoolArray]]:
    """Carry tracks to a frame.

    Args:
        tracks: {object_id: track}, each on its own earlier frame.
        scene: the new frame.
        motions: {frame_index: SE3 from that frame's LiDAR frame to the new one's}, for every frame that holds a track.
        steps_s: {frame_index: seconds from that frame to the new one}, positive in either direction of following.
        taken: bool (N,), points that belong to other objects already.

    Returns:
        {object_id: (track on the new frame, its points bool (N,))}; the track's score is the object's on this frame.
    """
    free = np.flatnonzero(scene.is_object & ~taken)
    positions = _positions(scene, free)
    matches: dict[int, _Match] = {}
    for object_id, track in tracks.items():
        if not track.is_empty:
            matches[object_id] = _match(track, free, positions, motions[track.frame_index], steps_s[track.frame_index])
    owner = _owners(matches, len(scene))
    result: dict[int, tuple[ObjectTrack, BoolArray]] = {}
    for object_id, track in tracks.items():
        mask: BoolArray = np.zeros(len(scene), dtype=np.bool_)
        if object_id not in matches:
            result[object_id] = (replace(track, frame_index=scene.frame_index, score=0.0), mask)
            continue
        match = matches[object_id]
        contested = (owner[match.rows] != object_id) & (owner[match.rows] >= 0)
        chosen = _grown(match, contested)
        updated = _updated(match, chosen, scene, steps_s[track.frame_index])
        if updated.missed == 0:
            mask[match.rows[chosen]] = True
            mask = with_low_parts(scene, mask) & ~taken
        result[object_id] = (updated, mask)
    return result


def _is_isolated(scene: FrameScene, rows: NDArray[np.int64], positions: Float64Array) -> bool:
    """Whether little but the object itself hangs together with it."""
    low, high = positions.min(axis=0) - 2.0, positions.max(axis=0) + 2.0
    near = scene.is_object & (scene.points_m[:, 0] > low[0]) & (scene.points_m[:, 0] < high[0])
    near &= (scene.points_m[:, 1] > low[1]) & (scene.points_m[:, 1] < high[1]) & (scene.height_m < high[2])
    near[rows] = True
    around = np.flatnonzero(near)
    group = connected_groups(_positions(scene, around) / _link(positions))
    own = np.isin(around, rows)
    touched = np.isin(group, np.unique(group[own]))
    return float(own.sum()) > 0.9 * float(touched.sum())


def _link(surface_m: Float64Array) -> float:
    """How close points of one object lie to each other, metres."""
    return 0.25 + 1.2 * _spacing(surface_m)


def _positions(scene: FrameScene, rows: NDArray[np.int64]) -> Float64Array:
    return np.column_stack([scene.points_m[rows, :2], scene.height_m[rows]]).astype(np.float64)


def _range(surface_m: Float64Array) -> float:
    return float(np.hypot(*surface_m[:, :2].mean(axis=0)))


def _length(surface_m: Float64Array) -> float:
    """Seen from above, without the outermost points."""
    local = _local(surface_m, rectangle_heading(surface_m[:, :2]))
    return float(np.ptp(np.percentile(local[:, :2], [1, 99], axis=0), axis=0).max())


def _spacing(surface_m: Float64Array) -> float:
    """Metres between neighbouring points at the object's range: the beams of a 64-line sensor lie 0.4 degrees apart."""
    return 0.007 * _range(surface_m)


def _expected(track: ObjectTrack, motion: SE3, step_s: float) -> ObjectTrack:
    """The track where ego motion and its own motion take it."""
    yaw = motion.yaw_rad
    cosine, sine = np.cos(yaw), np.sin(yaw)
    velocity = np.array([[cosine, -sine], [sine, cosine]]) @ track.velocity_m_per_s
    surface = track.surface_m.copy()
    # Heights stay; the ground under the object stands in for its z, whose error moves nothing sideways.
    surface[:, :2] = motion.apply(np.column_stack([track.surface_m[:, :2], np.zeros(len(surface))]))[:, :2]
    turn = track.turn_rad_per_s * step_s
    anchor = (surface[:, :2].min(axis=0) + surface[:, :2].max(axis=0)) / 2
    surface = Alignment(anchor, velocity * step_s, turn, 1.0).apply(surface)
    return replace(track, surface_m=surface, velocity_m_per_s=velocity, heading_rad=track.heading_rad + yaw + turn)


def _gate(track: ObjectTrack, step_s: float) -> float:
    """How far from its expected place an object may be."""
    if track.seen < 2:
        large = float(np.ptp(track.surface_m[:, :2], axis=0).max()) > LARGE_OBJECT_M
        return float(min(0.4 + (FASTEST_M_PER_S if large else FASTEST_SMALL_M_PER_S) * step_s, 8.0))
    speed = float(np.hypot(*track.velocity_m_per_s))
    return float(min(0.5 + (0.3 * speed / track.seen + 0.6) * step_s * (1 + track.missed), 4.0))


def _match(track: ObjectTrack, rows: NDArray[np.int64], positions: Float64Array, motion: SE3, step_s: float) -> _Match:
    expected = _expected(track, motion, step_s)
    gate = _gate(track, step_s)
    spacing = max(_spacing(expected.surface_m), 0.05)
    reach = gate + 1.5
    near = (
        (positions[:, 0] > expected.low_m[0] - reach)
        & (positions[:, 0] < expected.high_m[0] + reach)
        & (positions[:, 1] > expected.low_m[1] - reach)
        & (positions[:, 1] < expected.high_m[1] + reach)
        & (positions[:, 2] < expected.high_m[2] + 0.6)
    )
    rows, points = rows[near], positions[near]
    stillness = 0.25 if track.seen < 2 else 0.15
    alignment = align_surface(expected.surface_m, expected.weights, points, gate, spacing, stillness)
    placed = replace(expected, surface_m=alignment.apply(expected.surface_m), heading_rad=expected.heading_rad + alignment.turn_rad)
    near_m = 0.25 + 0.5 * spacing
    distance: Float64Array = np.zeros(0)
    if len(points):
        distance = np.asarray(cKDTree(placed.surface_m).query(points, distance_upper_bound=2 * near_m)[0])
    return _Match(expected, alignment, placed, rows, points, distance, near_m)


def _owners(matches: Mapping[int, _Match], point_count: int) -> NDArray[np.int64]:
    """int64 (N,), the object whose surface a point lies closest to, -1 where it lies close to none."""
    owner = np.full(point_count, -1, dtype=np.int64)
    closest = np.full(point_count, np.inf)
    for object_id, match in matches.items():
        relative = match.distance_m / match.near_m
        closer = (relative < closest[match.rows]) & (relative < 1)
        owner[match.rows[closer]] = object_id
        closest[match.rows[closer]] = relative[closer]
    return owner


def _grown(match: _Match, contested: BoolArray) -> BoolArray:
    """Which candidates belong to the object: what lies on its surface, and what hangs together with it within its bounds."""
    core = (match.distance_m < match.near_m) & ~contested
    if not core.any():
        return core
    low, high = _bounds(match.placed)
    local = _local(match.points_m, match.placed.heading_rad)
    extent = high - low
    tight = np.clip(0.1 * extent, 0.2, 0.4)
    wide = np.clip(0.25 * extent, 0.3, 1.2)
    if match.placed.isolated and float(extent[:2].max()) > LARGE_OBJECT_M:
        # A vehicle that comes out from behind something grows by whole doors from one frame to the next.
        wide = np.maximum(wide, np.clip(LARGEST_M - extent, 0.3, 1.6))
    if float(extent[:2].max()) > max(GROWS_TO_M, GROWS_BY * match.placed.given_m):
        # Whole objects do not get longer; what is taken along now is something beside them.
        wide = tight
    inside = ((local > low - tight) & (local < high + tight)).all(axis=1) & ~contested
    within = ((local > low - wide) & (local < high + wide)).all(axis=1)
    group = connected_groups(match.points_m / _link(match.placed.surface_m))
    touched = np.zeros(int(group.max()) + 1, dtype=np.bool_)
    touched[group[core]] = True
    # A group that stays within the wider bounds is the object showing more of itself; one that reaches beyond is a neighbour or a wall.
    beyond = np.zeros_like(touched)
    beyond[group[~within | contested]] = True
    chosen = (core & inside) | (inside & touched[group]) | (touched & ~beyond)[group]
    return np.asarray(chosen & ~contested)


def _local(points_m: Float64Array, heading_rad: float) -> Float64Array:
    """Positions along, across and above, about the LiDAR's origin."""
    cosine, sine = np.cos(heading_rad), np.sin(heading_rad)
    return np.asarray(points_m @ np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]]))


def _bounds(track: ObjectTrack) -> tuple[Float64Array, Float64Array]:
    """Extent of the surface along its heading, without the outermost hundredth."""
    local = _local(track.surface_m, track.heading_rad)
    solid = local[track.weights > 0.05] if (track.weights > 0.05).sum() > 3 else local
    low, high = np.percentile(solid, [0.5, 99.5], axis=0)
    return low, high


def _updated(match: _Match, chosen: BoolArray, scene: FrameScene, step_s: float) -> ObjectTrack:
    expected = match.expected
    points = match.points_m[chosen]
    count = len(points)
    wanted = expected.point_count * (expected.range_m / max(_range(match.placed.surface_m), 1.0)) ** 2
    share = min(1.0, count / max(wanted, 1.0))
    needed = 0.3 if expected.missed == 0 else 0.5
    found = count >= 3 and match.alignment.matched > needed and share > (0.04 if expected.missed == 0 else 0.15)
    if not found:
        return _coasting(expected, scene)
    # The new frame's own points are the surface; what it did not see stays known for a while.
    older = match.placed.surface_m
    weights = match.placed.weights * FADING
    unseen = weights > 0.03
    older, weights = older[unseen], weights[unseen]
    surface, weights = _thinned(np.vstack([points, older]), np.concatenate([np.ones(count), weights]), _spacing(points))

    shift = match.alignment.shift_m / step_s
    gain = 1.0 if expected.seen < 2 else 0.5
    quality = min(1.0, 0.3 + 0.7 * match.alignment.matched)
    return replace(
        match.placed,
        frame_index=scene.frame_index,
        surface_m=surface,
        weights=weights,
        velocity_m_per_s=expected.velocity_m_per_s + gain * shift,
        turn_rad_per_s=float(np.clip(expected.turn_rad_per_s + 0.3 * match.alignment.turn_rad / step_s, -0.8, 0.8)),
        seen=expected.seen + 1,
        missed=0,
        score=float(np.clip(0.5 * max(expected.score, 0.5) + 0.5 * quality * min(1.0, 0.5 + share), 0, 1)),
        point_count=count,
        range_m=_range(points),
    )


def _coasting(expected: ObjectTrack, scene: FrameScene) -> ObjectTrack:
    """Not found: it goes on as it moved, less and less sure; hidden objects are waited for longer than vanished ones."""
    score = expected.score * (0.6 if _is_hidden(expected, scene) else 0.3)
    return replace(expected, frame_index=scene.frame_index, missed=expected.missed + 1, score=score if score > 0.05 else 0.0)


def _is_hidden(track: ObjectTrack, scene: FrameScene) -> bool:
    """Whether nearer points stand in the directions where the surface is expected."""
    sample = track.surface_m[:: max(1, len(track.surface_m) // 50)]
    azimuth = np.arctan2(sample[:, 1], sample[:, 0])
    reach = np.hypot(sample[:, 0], sample[:, 1])
    rows = np.flatnonzero(scene.is_object)
    points = scene.points_m[rows, :2].astype(np.float64)
    tall = scene.height_m[rows] > 0.6
    ranges = np.hypot(points[:, 0], points[:, 1])
    nearer = tall & (ranges < reach.min() - 0.5)
    bins = 720
    blocked = np.bincount(
        ((np.arctan2(points[nearer, 1], points[nearer, 0]) + np.pi) / (2 * np.pi) * bins).astype(np.int64) % bins, minlength=bins
    )
    return float((blocked[((azimuth + np.pi) / (2 * np.pi) * bins).astype(np.int64) % bins] > 0).mean()) > 0.5


def _thinned(surface_m: Float64Array, weights: Float64Array, spacing_m: float) -> tuple[Float64Array, Float64Array]:
    """One point per voxel, the first of each (the freshest, if given first), of which a bounded number is kept."""
    voxel = np.floor(surface_m / float(np.clip(0.5 * spacing_m, 0.08, 0.2))).astype(np.int64)
    _, first = np.unique(voxel, axis=0, return_index=True)
    first = np.sort(first)
    if len(first) > SURFACE_POINTS:
        first = first[np.linspace(0, len(first) - 1, SURFACE_POINTS).astype(np.int64)]
    return surface_m[first], weights[first]
