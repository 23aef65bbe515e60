"""What else is part of a moving body: points that hang together with its own and are gone when it is gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sam4d.data_engine.bodies import Body, bodies_of_points
from sam4d.data_engine.visibility import SweepRanges
from sam4d.geometric.connectivity import connected_groups
from sam4d.geometry import BoolArray
from sam4d.structures import Clip, Cuboid

GAP_M, GAP_PER_METRE = 0.4, 0.012
OFF_GROUND_M = 0.3
ABOVE_M = 2.0
"""How far above its cuboid a body is looked for; ahead and beside it, as far as it is long."""
MOST_WITNESSES = 10
"""Other sweeps that are asked whether a place is empty."""


def with_what_moves_along(bodies: Sequence[Body], clip: Clip, ranges: Sequence[SweepRanges], margin_m: float) -> tuple[Body, ...]:
    """Bodies that also have the points that go along with them.

    A track may be that of a truck's cab alone, its cuboid that of a car, or turned a little too far. What goes along hangs together with
    the body on a frame, and other sweeps see its place empty when the body is elsewhere; what stands beside the road is there again.

    Args:
        margin_m: how far around a body's cuboid points are its own anyway.
    """
    masks: list[dict[int, BoolArray]] = [dict(body.masks) for body in bodies]
    for frame_index, frame in enumerate(clip.frames):
        there = [index for index, body in enumerate(bodies) if frame_index in body.cuboids]
        if not there:
            continue
        points_m = frame.load_sweep().points_m
        owner = bodies_of_points(bodies, frame_index, points_m, margin_m)
        for index in there:
            more = _going_along(bodies[index], frame_index, points_m, owner == index, owner == -1, clip, ranges)
            owner[more] = index
            mask = masks[index].get(frame_index, np.zeros(len(points_m), dtype=np.bool_)).copy()
            mask[more] = True
            masks[index][frame_index] = mask
    return tuple(replace(body, masks=own) for body, own in zip(bodies, masks, strict=True))


def _going_along(
    body: Body,
    frame_index: int,
    points_m: NDArray[np.floating],
    own: BoolArray,
    free: BoolArray,
    clip: Clip,
    ranges: Sequence[SweepRanges],
) -> NDArray[np.int64]:
    """Rows of the points, among those that are free, that go along with a body on a frame."""
    cuboid = body.cuboids[frame_index]
    own_rows = np.flatnonzero(own)
    free_rows = np.flatnonzero(free & _around(cuboid, points_m))
    if not len(own_rows) or not len(free_rows):
        return free_rows[:0]
    empty, filled = np.zeros(len(free_rows), dtype=np.int64), np.zeros(len(free_rows), dtype=np.int64)
    for then in _witnesses(frame_index, len(clip)):
        places_m = clip.lidar_SE3_lidar(then, frame_index).apply(points_m[free_rows])
        # What fills a place where the body is itself then is the body.
        elsewhere = ~_around(body.cuboids[then], places_m) if then in body.cuboids else np.ones(len(places_m), dtype=np.bool_)
        empty += ranges[then].seen_empty(places_m)
        filled += elsewhere & ranges[then].seen_filled(places_m)
    gone = free_rows[empty > filled]
    rows = np.concatenate([own_rows, gone])
    gap_m = GAP_M + GAP_PER_METRE * float(np.linalg.norm(cuboid.center_m))
    group = connected_groups(points_m[rows] / gap_m)
    return np.asarray(gone[np.isin(group[len(own_rows) :], group[: len(own_rows)])])


def _around(cuboid: Cuboid, points_m: NDArray[np.floating]) -> BoolArray:
    """Which points (N, 3) are as near to a cuboid as it is long, and above the ground that it stands on, bool (N,)."""
    length, width, height = cuboid.size_lwh_m
    near = np.zeros(len(points_m), dtype=np.bool_)
    with np.errstate(invalid="ignore"):
        rows = np.flatnonzero((np.abs(points_m[:, :2] - np.array(cuboid.center_m[:2])) < 2.5 * length).all(axis=1))
    x, y, z = cuboid.lidar_SE3_cuboid.inverse().apply(points_m[rows]).T
    beside = (np.abs(x) < 1.5 * length) & (np.abs(y) < width / 2 + length)
    near[rows] = beside & (z > OFF_GROUND_M - height / 2) & (z < height / 2 + ABOVE_M)
    return near


def _witnesses(frame_index: int, frame_count: int) -> list[int]:
    frames = np.unique(np.linspace(0, frame_count - 1, min(frame_count, MOST_WITNESSES)).astype(int)).tolist()
    return [frame for frame in frames if frame != frame_index]
