"""The drive as a thing that stands: the static scene as voxels without trails, and what moves in frames of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise, permutations

import numpy as np
from numpy.typing import NDArray

from sam4d.data_engine.visibility import SweepRanges
from sam4d.data_engine.voxels import Float32Array, Int64Array, rows_of, voxel_centers, voxel_keys
from sam4d.geometric.scene import FrameScene
from sam4d.geometry import SE3, BoolArray, wrap_angle
from sam4d.structures import Clip, Cuboid, Masklet

MOVING_M = 1.0
"""Net motion of a track, below which it is part of the scene."""
EMPTIED_SHARE = 0.4
LEAST_EMPTIED = 3
LEAST_FRAMES = 3
"""Of a track, to be a body: on two anything may be taken for anything."""
CARRIED_FRAMES = 2


@dataclass(frozen=True)
class ReconstructionSettings:
    """Lengths in metres.

    voxel_m: a voxel's side. reach_m: how far from the sensor points count. body_margin_m: how much a moving object's cuboid is grown.
    least_empty: sweeps that must have seen a voxel empty before it goes; it goes where they are more than those that hit it.
    """

    voxel_m: float = 0.15
    reach_m: float = 100.0
    body_margin_m: float = 0.3
    least_empty: int = 2


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


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """Voxels of a clip: first the static scene's, then each body's.

    keys: int64 (V,), sorted within each part. centers_m: float32 (V, 3), of the static part in the LiDAR frame of frame 0, of a body in its
    own. starts: (parts + 1,), where each part begins: part 0 is the static scene, part k + 1 is `bodies[k]`. is_ground: bool (V,), of the
    surface that things stand on. hits: int32 (V,), sweeps with a point in it.
    """

    clip: Clip
    settings: ReconstructionSettings
    keys: Int64Array
    centers_m: Float32Array
    starts: tuple[int, ...]
    is_ground: BoolArray
    hits: NDArray[np.int32]
    bodies: tuple[Body, ...]

    def __len__(self) -> int:
        return len(self.keys)

    def part(self, index: int) -> slice:
        return slice(self.starts[index], self.starts[index + 1])

    def voxels_of_points(self, frame_index: int, points_m: NDArray[np.floating]) -> Int64Array:
        """The voxel of each point (N, 3) of a frame's sweep, LiDAR frame, int64 (N,); -1 for none: carved, too far, no return."""
        owner = bodies_of_points(self.bodies, frame_index, points_m, self.settings.body_margin_m)
        found = np.full(len(points_m), -1, dtype=np.int64)
        for index in range(len(self.bodies) + 1):
            rows = np.flatnonzero(owner == index - 1)
            if len(rows):
                keys = voxel_keys(self._frame_SE3_part(index, frame_index).inverse().apply(points_m[rows]), self.settings.voxel_m)
                there = rows_of(keys, self.keys[self.part(index)])
                found[rows] = np.where(there >= 0, there + self.starts[index], -1)
        return found

    def places_at(self, frame_index: int) -> tuple[Int64Array, Float32Array]:
        """All voxels that are there on a frame, int64 (K,), and their middles in the frame's LiDAR frame, float32 (K, 3)."""
        voxels, places = [], []
        for index in range(len(self.bodies) + 1):
            if index and frame_index not in self.bodies[index - 1].cuboids:
                continue
            part = self.part(index)
            voxels.append(np.arange(part.start, part.stop))
            places.append(self._frame_SE3_part(index, frame_index).apply(self.centers_m[part]).astype(np.float32))
        return np.concatenate(voxels), np.concatenate(places)

    def _frame_SE3_part(self, index: int, frame_index: int) -> SE3:
        if index == 0:
            return self.clip.lidar_SE3_lidar(frame_index, 0)
        return self.bodies[index - 1].cuboids[frame_index].lidar_SE3_cuboid


def reconstruct(
    clip: Clip,
    tracks: Sequence[Body],
    settings: ReconstructionSettings | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Reconstruction:
    """Accumulate all sweeps, and take away what later or earlier ones saw to be empty.

    Args:
        tracks: objects with their cuboids; those that move become bodies, those that stand are part of the scene.
        progress: called with (steps done, steps in all).

    Whether the poses fit is `pose_check.check_poses`' question; one that is missing counts as no motion.
    """
    settings = settings or ReconstructionSettings()
    report = progress or (lambda done, total: None)
    ranges = []
    for frame_index, frame in enumerate(clip.frames):
        ranges.append(SweepRanges(frame.load_sweep().points_m))
        report(frame_index + 1, 3 * len(clip))
    bodies = moving_bodies(clip, tracks, ranges)
    parts: list[list[tuple[Int64Array, BoolArray]]] = [[] for _ in range(len(bodies) + 1)]
    for frame_index, frame in enumerate(clip.frames):
        scene = FrameScene(frame, frame_index)
        near = scene.valid & (np.hypot(scene.points_m[:, 0], scene.points_m[:, 1]) < settings.reach_m)
        owner = np.where(near, bodies_of_points(bodies, frame_index, scene.points_m, settings.body_margin_m), -2)
        # What lies on the ground stays there when the thing above it has gone.
        owner[near & scene.is_ground] = -1
        for index in range(len(bodies) + 1):
            rows = np.flatnonzero(owner == index - 1)
            if not len(rows):
                continue
            frame_SE3_part = clip.lidar_SE3_lidar(frame_index, 0) if not index else bodies[index - 1].cuboids[frame_index].lidar_SE3_cuboid
            keys = voxel_keys(frame_SE3_part.inverse().apply(scene.points_m[rows]), settings.voxel_m)
            unique, inverse, count = np.unique(keys, return_inverse=True, return_counts=True)
            on_ground = np.bincount(inverse, weights=scene.is_ground[rows], minlength=len(unique)) * 2 > count
            parts[index].append((unique, on_ground))
        report(len(clip) + frame_index + 1, 3 * len(clip))
    merged = [_merged(part) for part in parts]
    keys, is_ground, hits = merged[0]
    kept = ~_carved(clip, voxel_centers(keys, settings.voxel_m), hits, is_ground, ranges, settings, report)
    merged[0] = keys[kept], is_ground[kept], hits[kept]
    sizes = [len(part[0]) for part in merged]
    return Reconstruction(
        clip=clip,
        settings=settings,
        keys=np.concatenate([part[0] for part in merged]),
        centers_m=np.concatenate([voxel_centers(part[0], settings.voxel_m) for part in merged]),
        starts=tuple(int(start) for start in np.concatenate([[0], np.cumsum(sizes)])),
        is_ground=np.concatenate([part[1] for part in merged]),
        hits=np.concatenate([part[2] for part in merged]),
        bodies=bodies,
    )


def moving_bodies(clip: Clip, tracks: Sequence[Body], ranges: Sequence[SweepRanges]) -> tuple[Body, ...]:
    """The tracks that move, each object once.

    A cuboid that wanders proves nothing: those of standing objects do while more of them comes into view. What moved has left a place
    that a later sweep sees empty, and come to one that an earlier sweep saw empty.
    """
    moving = [track for track in tracks if _has_left(track, clip, ranges)]
    kept: list[Body] = []
    for track in sorted(moving, key=lambda track: -len(track.cuboids)):
        if not any(_same_place(track, other) for other in kept):
            kept.append(track)
    return tuple(carried_on(track, clip) for track in kept)


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
    if net_m < MOVING_M:
        return False
    empty, filled = 0, 0
    for there, then in permutations({first, frames[len(frames) // 2], last}, 2):
        points_m = clip.frames[there].load_sweep().points_m
        inside = points_m[track.cuboids[there].contains(points_m)]
        places_m = clip.lidar_SE3_lidar(then, there).apply(inside)
        empty += int(ranges[then].seen_empty(places_m).sum())
        filled += int(ranges[then].seen_filled(places_m).sum())
    # A long vehicle that goes a little way leaves little empty.
    wanted = EMPTIED_SHARE * min(1.0, net_m / track.cuboids[first].size_lwh_m[0])
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


def _merged(part: list[tuple[Int64Array, BoolArray]]) -> tuple[Int64Array, BoolArray, NDArray[np.int32]]:
    """Keys, whether most sweeps that hit them took them for ground, and how many hit them."""
    if not part:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.bool_), np.zeros(0, dtype=np.int32)
    keys, inverse, hits = np.unique(np.concatenate([keys for keys, _ in part]), return_inverse=True, return_counts=True)
    ground = np.bincount(inverse, weights=np.concatenate([on_ground for _, on_ground in part]), minlength=len(keys))
    return keys, ground * 2 > hits, hits.astype(np.int32)


def _carved(
    clip: Clip,
    centers_m: Float32Array,
    hits: NDArray[np.int32],
    is_ground: BoolArray,
    ranges: Sequence[SweepRanges],
    settings: ReconstructionSettings,
    report: Callable[[int, int], None],
) -> BoolArray:
    """Which static voxels more sweeps saw through than hit. The ground stays: rays graze it."""
    empty = np.zeros(len(centers_m), dtype=np.int32)
    standing = np.flatnonzero(~is_ground)
    for frame_index, sweep in enumerate(ranges):
        places_m = clip.lidar_SE3_lidar(frame_index, 0).apply(centers_m[standing])
        empty[standing] += sweep.seen_through(places_m)
        report(2 * len(clip) + frame_index + 1, 3 * len(clip))
    return np.asarray((empty >= settings.least_empty) & (empty > hits))
