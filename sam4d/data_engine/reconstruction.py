"""The drive as a thing that stands: the static scene as voxels without trails, and what moves in frames of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sam4d.data_engine.bodies import Body, bodies_of_points, carried_on, moving_bodies
from sam4d.data_engine.body_extent import with_what_moves_along
from sam4d.data_engine.passing import hit_in_passing
from sam4d.data_engine.visibility import SweepRanges
from sam4d.data_engine.voxels import Float32Array, Int64Array, rows_of, voxel_centers, voxel_keys
from sam4d.geometric.scene import FrameScene
from sam4d.geometry import SE3, BoolArray
from sam4d.structures import Clip


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
    moving = with_what_moves_along(moving_bodies(clip, tracks, ranges), clip, ranges, settings.body_margin_m)
    bodies = tuple(carried_on(body, clip) for body in moving)
    parts: list[list[tuple[Int64Array, BoolArray]]] = [[] for _ in range(len(bodies) + 1)]
    standing_hits: list[Int64Array] = [np.zeros(0, dtype=np.int64) for _ in clip.frames]
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
            if not index:
                standing_hits[frame_index] = unique
        report(len(clip) + frame_index + 1, 3 * len(clip))
    merged = [_merged(part) for part in parts]
    keys, is_ground, hits = merged[0]
    centers_m = voxel_centers(keys, settings.voxel_m)
    kept = ~_carved(clip, centers_m, hits, is_ground, ranges, settings, report)
    kept[~is_ground] &= ~hit_in_passing(clip, keys[~is_ground], centers_m[~is_ground], standing_hits, bodies, ranges)
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
