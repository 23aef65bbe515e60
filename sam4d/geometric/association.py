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
from sam4d.geometric.growing import is_whole
from sam4d.geometric.low_parts import with_low_parts
from sam4d.geometric.motion import Motion
from sam4d.geometric.parameters import GeometricParameters
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

BESIDE_M = 1.6
"""What else stands as near as this to an object is remembered, so that it is not taken for the object a moment later."""


@dataclass(frozen=True, eq=False)
class ObjectTrack:
    """One object as known on a frame.

    surface_m: float64 (M, 3) x, y, height in that frame's LiDAR frame; weights (M,). heading_rad: along the longer side.
    motion: over the ground, in that frame's LiDAR axes. missed: frames since the object was last found. score of the last frame.
    point_count: points on the frame where it was last found, at mean range range_m. isolated: it stood apart from everything else
    where it was given, so that what hangs together with it later is more of itself. given_m: how long it was then, seen from above.
    beside_m: float64 (B, 3) x, y, height of what else stood beside it where it was last found.
    """

    frame_index: int
    surface_m: Float64Array
    weights: Float64Array
    heading_rad: float
    motion: Motion
    missed: int
    score: float
    point_count: int
    range_m: float
    isolated: bool
    given_m: float
    beside_m: Float64Array

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
    """A track laid on a new frame. rows: indices of the candidate points, distance_m: of each from the surface; foreign: which
    lie closer to what stood beside the object before than to the object. near_m, link_m: see `MatchSettings`, at the object's range."""

    expected: ObjectTrack
    alignment: Alignment
    placed: ObjectTrack
    rows: NDArray[np.int64]
    points_m: Float64Array
    distance_m: Float64Array
    foreign: BoolArray
    near_m: float
    link_m: float


def begin_track(scene: FrameScene, lidar_mask: BoolArray, score: float, earlier: ObjectTrack | None) -> ObjectTrack:
    """The track of an object whose points on a frame are given; keeps the motion of `earlier` where it was followed."""
    rows = np.flatnonzero(lidar_mask & scene.valid)
    if len(rows) == 0:
        if earlier is not None:
            return replace(earlier, frame_index=scene.frame_index, missed=earlier.missed + 1, score=0.0)
        nothing = np.zeros((0, 3))
        return ObjectTrack(scene.frame_index, nothing, np.zeros(0), 0.0, Motion.unknown(False), 0, 0.0, 0, 0.0, False, 0.0, nothing)
    positions = _positions(scene, rows)
    surface, weights = _thinned(positions, np.ones(len(positions)), _spacing(positions))
    isolated, beside = _surroundings(scene, rows, positions)
    motion = Motion.unknown(float(np.ptp(surface[:, :2], axis=0).max()) > LARGE_OBJECT_M)
    if earlier is not None and earlier.motion.measured:
        motion = replace(earlier.motion, unseen_s=0.0)
    return ObjectTrack(
        frame_index=scene.frame_index,
        surface_m=surface,
        weights=weights,
        heading_rad=rectangle_heading(surface[:, :2]),
        motion=motion,
        missed=0,
        score=score,
        point_count=len(rows),
        range_m=_range(surface),
        isolated=isolated,
        given_m=_length(surface),
        beside_m=beside,
    )


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
            motion, step_s = motions[track.frame_index], steps_s[track.frame_index]
            matches[object_id] = _match(track, free, positions, motion, step_s, scene.parameters)
    owner = _owners(matches, len(scene))
    result: dict[int, tuple[ObjectTrack, BoolArray]] = {}
    for object_id, track in tracks.items():
        mask: BoolArray = np.zeros(len(scene), dtype=np.bool_)
        if object_id not in matches:
            result[object_id] = (replace(track, frame_index=scene.frame_index, score=0.0), mask)
            continue
        match = matches[object_id]
        contested = (owner[match.rows] != object_id) & (owner[match.rows] >= 0)
        if _looks_whole(match.placed):
            # It does not grow into what stood beside it; of what looks like a part, that may have been the rest.
            contested |= match.foreign
        chosen = _grown(match, contested)
        updated = _updated(match, chosen, scene)
        if updated.missed == 0:
            mask[match.rows[chosen]] = True
            mask = with_low_parts(scene, mask) & ~taken
        result[object_id] = (updated, mask)
    return result


def _surroundings(scene: FrameScene, rows: NDArray[np.int64], positions: Float64Array) -> tuple[bool, Float64Array]:
    """Whether little but the object itself hangs together with it, and what else stands beside it, float64 (B, 3)."""
    low, high = positions.min(axis=0) - 2.0, positions.max(axis=0) + 2.0
    around = scene.rows_between(low, high)
    around = around[scene.valid[around] & ~scene.is_ground[around] & (scene.height_m[around] < high[2])]
    around = np.union1d(around, rows)
    places = _positions(scene, around)
    group = connected_groups(places / scene.parameters.matching.link_at_m(_spacing(positions)))
    own = np.isin(around, rows)
    touched = np.isin(group, np.unique(group[own]))
    return float(own.sum()) > 0.9 * float(touched.sum()), _beside(positions, places[~own])


def _beside(own_m: Float64Array, others_m: Float64Array) -> Float64Array:
    """What of the others stands close to the object, thinned."""
    low, high = own_m.min(axis=0) - BESIDE_M, own_m.max(axis=0) + BESIDE_M
    near = others_m[((others_m > low) & (others_m < high)).all(axis=1)]
    return _thinned(near, np.ones(len(near)), _spacing(own_m))[0]


def _noise(spacing_m: float) -> float:
    """How exactly a place is seen (standard deviation, metres) where points lie so far apart."""
    return 0.06 + 0.3 * spacing_m


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
    moved, shift, turn = track.motion.rotated(motion.yaw_rad).predicted(step_s)
    surface = _carried(track.surface_m, motion)
    anchor = (surface[:, :2].min(axis=0) + surface[:, :2].max(axis=0)) / 2
    return replace(
        track,
        surface_m=Alignment(anchor, shift, turn, 1.0).apply(surface),
        beside_m=_carried(track.beside_m, motion),
        motion=moved,
        heading_rad=track.heading_rad + motion.yaw_rad + turn,
    )


def _carried(positions: Float64Array, motion: SE3) -> Float64Array:
    """x, y, height (M, 3) of what stands still, under ego motion."""
    carried = positions.copy()
    # Heights stay; the ground under the object stands in for its z, whose error moves nothing sideways.
    carried[:, :2] = motion.apply(np.column_stack([positions[:, :2], np.zeros(len(positions))]))[:, :2]
    return carried


def _match(
    track: ObjectTrack,
    rows: NDArray[np.int64],
    positions: Float64Array,
    motion: SE3,
    step_s: float,
    parameters: GeometricParameters,
) -> _Match:
    expected = _expected(track, motion, step_s)
    spacing = max(_spacing(expected.surface_m), 0.05)
    gate = expected.motion.gate(_noise(spacing), parameters.gate)
    reach = np.sqrt(np.diag(gate)) + BESIDE_M
    near = np.arange(len(positions))
    # One axis after the other on what is left: several times faster than all of them on the whole sweep.
    for axis in (0, 1):
        place = positions[near, axis] if axis else positions[:, 0]
        near = near[(place > expected.low_m[axis] - reach[axis]) & (place < expected.high_m[axis] + reach[axis])]
    near = near[positions[near, 2] < expected.high_m[2] + 0.6]
    rows, points = rows[near], positions[near]
    stillness = 0.15 if track.motion.measured else 0.25
    near_m = parameters.matching.reach_m(spacing)
    beside = _distances(expected.beside_m, points, near_m)
    # Where it goes is known by now: what stood beside it does not draw it there.
    free = beside >= _distances(expected.surface_m, points, near_m) if track.motion.measured else np.ones(len(points), dtype=np.bool_)
    alignment = align_surface(expected.surface_m, expected.weights, points[free], gate, spacing, stillness, parameters.matching)
    placed = replace(expected, surface_m=alignment.apply(expected.surface_m), heading_rad=expected.heading_rad + alignment.turn_rad)
    distance = _distances(placed.surface_m, points, 2 * near_m)
    foreign = beside < np.minimum(distance, near_m)
    link_m = parameters.matching.link_at_m(_spacing(placed.surface_m))
    return _Match(expected, alignment, placed, rows, points, distance, foreign, near_m, link_m)


def _distances(from_m: Float64Array, points_m: Float64Array, reach_m: float) -> Float64Array:
    """Of points (K, 3) from the nearest of others (M, 3), float64 (K,), infinite where farther than `reach_m`."""
    if not len(from_m) or not len(points_m):
        return np.full(len(points_m), np.inf)
    return np.asarray(cKDTree(from_m).query(points_m, distance_upper_bound=reach_m)[0])


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
    group = connected_groups(match.points_m / match.link_m)
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


def _looks_whole(track: ObjectTrack) -> bool:
    low, high = _bounds(track)
    extent = high - low
    return is_whole((float(extent[:2].max()), float(extent[:2].min()), float(high[2])))


def _updated(match: _Match, chosen: BoolArray, scene: FrameScene) -> ObjectTrack:
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

    quality = min(1.0, 0.3 + 0.7 * match.alignment.matched)
    return replace(
        match.placed,
        frame_index=scene.frame_index,
        surface_m=surface,
        weights=weights,
        motion=expected.motion.corrected(match.alignment.shift_m, match.alignment.turn_rad, _noise(_spacing(points))),
        missed=0,
        score=float(np.clip(0.5 * max(expected.score, 0.5) + 0.5 * quality * min(1.0, 0.5 + share), 0, 1)),
        point_count=count,
        range_m=_range(points),
        beside_m=_beside(points, match.points_m[~chosen]),
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
    if not len(surface_m):
        return surface_m, weights
    voxel = np.floor(surface_m / float(np.clip(0.5 * spacing_m, 0.08, 0.2))).astype(np.int64)
    voxel -= voxel.min(axis=0)
    _, first = np.unique((voxel[:, 0] << 42) | (voxel[:, 1] << 21) | voxel[:, 2], return_index=True)
    first = np.sort(first)
    if len(first) > SURFACE_POINTS:
        first = first[np.linspace(0, len(first) - 1, SURFACE_POINTS).astype(np.int64)]
    return surface_m[first], weights[first]
