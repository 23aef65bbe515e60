"""What moves in a drive: which of the tracks do, where each is on every frame, and which points are its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise, permutations

import numpy as np
from numpy.typing import NDArray

from sam4d.data_engine.visibility import SweepRanges
from sam4d.geometry import SE3, BoolArray, wrap_angle
from sam4d.structures import Clip, Cuboid, Masklet

MOVING_M = 1.0
"""Net motion of a track, below which it is part of the scene; of what is shorter, its length: a pedestrian soon has left its place."""
EMPTIED_SHARE = 0.4
LEFT_SHARE = 0.9
LEAST_EMPTIED = 3
LEAST_FRAMES = 3
"""Of a track, to be a body: on two anything may be taken for anything."""
CARRIED_FRAMES = 2


@dataclass(frozen=True, eq=False)
class Body:
    """A moving object: where it is on each frame that shows it. Its voxels lie in the cuboid's frame (x along the heading).

    masks: {frame: bool (N,)}, points that are its own also where they stick out of the cuboid.
    """

    object_id: int
    cuboids: Mapping[int, Cuboid]
    masks: Mapping[int, BoolArray] = field(default_factory=dict)

    @classmethod
    def of(cls, masklet: Masklet) -> Body:
        masks = {frame_index: masks.lidar_mask for frame_index, masks in masklet.masks.items() if frame_index in masklet.cuboids}
        return cls(masklet.object_id, masklet.cuboids, masks)


def moving_bodies(clip: Clip, tracks: Sequence[Body], ranges: Sequence[SweepRanges]) -> tuple[Body, ...]:
    """The tracks that move, each object once, on their own frames.

    A cuboid that wanders proves nothing: those of standing objects do while more of them comes into view. What moved has left a place
    that a later sweep sees empty, and come to one that an earlier sweep saw empty.
    """
    moving = [track for track in tracks if _has_left(track, clip, ranges)]
    kept: list[Body] = []
    for track in sorted(moving, key=lambda track: -len(track.cuboids)):
        if not any(_same_place(track, other) for other in kept):
            kept.append(track)
    return tuple(kept)


def carried_on(track: Body, clip: Clip) -> Body:
    """With the frames between and around its own on which it was lost: it leaves its points there all the same. Between them it goes
    straight on, around them at its last speed."""
    cuboids = dict(track.cuboids)
    frames = sorted(cuboids)
    for before, after in pairwise(frames):
        ends = [cuboids[frame].moved(clip.lidar_SE3_lidar(0, frame)) for frame in (before, after)]
        way_m = np.array(ends[1].center_m) - np.array(ends[0].center_m)
        turn_rad = wrap_angle(ends[1].yaw_rad - ends[0].yaw_rad)
        for frame in range(before + 1, after):
            part = (frame - before) / (after - before)
            there = replace(ends[0].moved(SE3(np.eye(3), part * way_m)), yaw_rad=wrap_angle(ends[0].yaw_rad + part * turn_rad))
            cuboids[frame] = there.moved(clip.lidar_SE3_lidar(frame, 0))
    for end, before, step in ((frames[-1], frames[-2], 1), (frames[0], frames[1], -1)):
        first_SE3_end, first_SE3_before = clip.lidar_SE3_lidar(0, end), clip.lidar_SE3_lidar(0, before)
        speed_m = (first_SE3_end.apply(np.array(cuboids[end].center_m)) - first_SE3_before.apply(np.array(cuboids[before].center_m))) / abs(
            end - before
        )
        standing = cuboids[end].moved(first_SE3_end)
        for away in range(1, CARRIED_FRAMES + 1):
            frame = end + step * away
            if 0 <= frame < len(clip):
                moved = SE3(np.eye(3), away * speed_m)
                cuboids[frame] = standing.moved(moved).moved(clip.lidar_SE3_lidar(frame, 0))
    return replace(track, cuboids=cuboids)


def _has_left(track: Body, clip: Clip, ranges: Sequence[SweepRanges]) -> bool:
    frames = sorted(track.cuboids)
    if len(frames) < min(LEAST_FRAMES, len(clip)) or len(frames) < 2:
        return False
    first, last = frames[0], frames[-1]
    ends = [clip.lidar_SE3_lidar(0, frame).apply(np.array(track.cuboids[frame].center_m)) for frame in (first, last)]
    net_m = float(np.linalg.norm((ends[1] - ends[0])[:2]))
    if net_m < min(MOVING_M, track.cuboids[first].size_lwh_m[0]):
        return False
    empty, filled = 0, 0
    compared = {first, frames[len(frames) // 2], last} if net_m >= MOVING_M else {first, last}
    for there, then in permutations(compared, 2):
        points_m = clip.frames[there].load_sweep().points_m
        inside = points_m[track.cuboids[there].contains(points_m)]
        places_m = clip.lidar_SE3_lidar(then, there).apply(inside)
        empty += int(ranges[then].seen_empty(places_m).sum())
        filled += int(ranges[then].seen_filled(places_m).sum())
    # A long vehicle that goes a little way leaves little empty; what is shorter than its way leaves all of it.
    wanted = EMPTIED_SHARE * min(1.0, net_m / track.cuboids[first].size_lwh_m[0]) if net_m >= MOVING_M else LEFT_SHARE
    return empty >= max(LEAST_EMPTIED, wanted * (empty + filled))


def _same_place(one: Body, other: Body) -> bool:
    common = one.cuboids.keys() & other.cuboids.keys()
    near = 0
    for frame in common:
        a, b = one.cuboids[frame], other.cuboids[frame]
        near += np.hypot(a.center_m[0] - b.center_m[0], a.center_m[1] - b.center_m[1]) < 0.5 * max(a.size_lwh_m[0], b.size_lwh_m[0])
    return near > 0.5 * len(common)


def bodies_of_points(bodies: Sequence[Body], frame_index: int, points_m: NDArray[np.floating], margin_m: float) -> NDArray[np.int64]:
    """The body that each point (N, 3) of a frame's sweep, LiDAR frame, belongs to, int64 (N,); -1 for none. Of two the nearer middle's."""
    owner = np.full(len(points_m), -1, dtype=np.int64)
    distance = np.full(len(points_m), np.inf)
    for index, body in enumerate(bodies):
        cuboid = body.cuboids.get(frame_index)
        if cuboid is None:
            continue
        reach = np.hypot(*cuboid.size_lwh_m[:2]) / 2 + margin_m
        rows = np.flatnonzero((np.abs(points_m[:, :2] - np.array(cuboid.center_m[:2])) < reach).all(axis=1))
        rows = rows[cuboid.contains(points_m[rows], margin_m)]
        if frame_index in body.masks:
            rows = np.union1d(rows, np.flatnonzero(body.masks[frame_index]))
        away = np.linalg.norm(points_m[rows, :2] - np.array(cuboid.center_m[:2]), axis=1)
        nearer = away < distance[rows]
        owner[rows[nearer]], distance[rows[nearer]] = index, away[nearer]
    return owner
