"""What a moving body leaves in the standing scene past the ends of its cuboid: voxels that are hit while it passes and never otherwise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sam4d.data_engine.bodies import Body
from sam4d.data_engine.visibility import SweepRanges
from sam4d.data_engine.voxels import Float32Array, Int64Array, rows_of
from sam4d.geometry import BoolArray
from sam4d.structures import Clip

AROUND_M, AROUND_PER_METRE, MOST_AROUND_M = 0.3, 0.2, 1.2
"""How far outside a body's cuboid its points may lie: of a long one that is turned too far, far away, farther."""
MOST_PASSING = 0.6
"""Of the frames: where a body is on more of them, nobody can tell what is its own."""


def hit_in_passing(
    clip: Clip,
    keys: Int64Array,
    centers_m: Float32Array,
    hit_keys: Sequence[Int64Array],
    bodies: Sequence[Body],
    ranges: Sequence[SweepRanges],
) -> BoolArray:
    """Which voxels of the standing scene are filled while a moving body is beside them, and on no other frame, bool (V,).

    What comes ahead hides the places that it has left, so that no sweep sees them empty; what stands there is seen when it is away.

    Args:
        keys: of the voxels, sorted. centers_m: (V, 3), LiDAR frame of frame 0.
        hit_keys: of every frame, the voxels that its sweep hit.
    """
    passing = np.zeros(len(keys), dtype=np.int64)
    stands = np.zeros(len(keys), dtype=np.bool_)
    for frame_index, sweep in enumerate(ranges):
        places_m = clip.lidar_SE3_lidar(frame_index, 0).apply(centers_m)
        beside = np.zeros(len(keys), dtype=np.bool_)
        for body in bodies:
            cuboid = body.cuboids.get(frame_index)
            if cuboid is not None:
                reach_m = np.hypot(*cuboid.size_lwh_m[:2]) / 2 + MOST_AROUND_M
                rows = np.flatnonzero((np.abs(places_m[:, :2] - np.array(cuboid.center_m[:2])) < reach_m).all(axis=1))
                around_m = min(MOST_AROUND_M, AROUND_M + AROUND_PER_METRE * cuboid.size_lwh_m[0])
                beside[rows[cuboid.contains(places_m[rows], around_m)]] = True
        passing += beside
        away = np.flatnonzero(~beside)
        stands[away] |= sweep.seen_filled(places_m[away])
        hit = rows_of(hit_keys[frame_index], keys)
        hit = hit[hit >= 0]
        stands[hit] |= ~beside[hit]
    return np.asarray((passing > 0) & (passing <= MOST_PASSING * len(clip)) & ~stands)
