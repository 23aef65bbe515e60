"""What stands free on the ground of one frame and has the size of a road user."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray

from sam4d.geometric.connectivity import connected_groups
from sam4d.geometric.scene import FrameScene
from sam4d.geometry import Float64Array
from sam4d.object_kinds import Kind, kind_of_size

REACH_M = 70.0
HIGHEST_M = 4.5

UNDER_TREES_M = 2.2

LINKS = ((0.6, 0.008), (0.4, 0.007), (0.25, 0.005), (0.15, 0.004))
"""Points hang together where closer than the first plus the second times their range (metres): loose first. What is too large to be a
road user at one is looked at again with the next."""

FEWEST_POINTS = 12

LEAST_SIGN_M = 0.9
"""Signs, cones and barriers stand as high as a child; what is lower is mostly plants and kerbs."""


@dataclass(frozen=True, eq=False)
class Cluster:
    """One candidate: rows int64 (K,) of the sweep, center_m (2,) over the ground, extents of the upright rectangle around it.

    plausibility in [0, 1]: how much it looks like a road user.
    """

    frame_index: int
    rows: NDArray[np.int64]
    center_m: Float64Array
    longer_m: float
    shorter_m: float
    height_m: float
    kind: Kind
    plausibility: float


def find_clusters(scene: FrameScene) -> list[Cluster]:
    """Candidates of a frame, disjoint."""
    rows = np.flatnonzero(scene.is_object & (scene.height_m < HIGHEST_M))
    points = np.column_stack([scene.points_m[rows, :2], scene.height_m[rows]]).astype(np.float64)
    near = np.hypot(points[:, 0], points[:, 1]) < REACH_M
    rows, points = rows[near], points[near]
    clusters: list[Cluster] = []
    for highest_m, (link_m, link_per_metre) in product((HIGHEST_M, UNDER_TREES_M), LINKS):
        # What hangs together with leaves above it may still stand apart below them.
        low = points[:, 2] < highest_m
        rows, points = rows[low], points[low]
        group = _groups(points, link_m, link_per_metre)
        count = np.bincount(group, minlength=1)
        order = np.argsort(group, kind="stable")
        ends = np.cumsum(count)
        again = np.zeros(len(rows), dtype=np.bool_)
        for k in np.flatnonzero(count >= FEWEST_POINTS):
            members = order[ends[k] - count[k] : ends[k]]
            cluster = _cluster(scene.frame_index, rows[members], points[members], highest_m)
            if cluster is not None:
                clusters.append(cluster)
            else:
                again[members] = True
        rows, points = rows[again], points[again]
    return clusters


def _groups(points_m: Float64Array, link_m: float, link_per_metre: float) -> NDArray[np.int64]:
    """int (K,), connected components at a distance that grows with range.

    Positions are mapped so that the distance becomes 1 everywhere (along the beam; tighter across, where points lie denser).
    """
    reach = np.hypot(points_m[:, 0], points_m[:, 1])
    mapped = np.log1p(reach * link_per_metre / link_m) / link_per_metre
    scale = mapped / np.maximum(reach, 1e-6)
    position = np.column_stack([points_m[:, :2] * scale[:, None], points_m[:, 2] / (link_m + link_per_metre * reach)])
    return connected_groups(position)


def _cluster(frame_index: int, rows: NDArray[np.int64], points_m: Float64Array, highest_m: float) -> Cluster | None:
    """None where the size or the shape is no road user's."""
    low, high = points_m.min(axis=0), points_m.max(axis=0)
    if max(high[0] - low[0], high[1] - low[1]) > 22:
        return None
    sample = points_m[:: max(1, len(points_m) // 400), :2]
    _, sides, _ = cv2.minAreaRect((sample - low[:2]).astype(np.float32))
    longer, shorter = max(sides), min(sides)
    top = float(np.partition(points_m[:, 2], -1 - len(points_m) // 100)[-1 - len(points_m) // 100])
    kind = kind_of_size(longer, shorter, top)
    if kind == "pole":
        return None
    if kind == "object" and longer < 1.3 and LEAST_SIGN_M < top < 1.2:
        kind = "pole"
    # What was cut off at the top is a tree or a building.
    if kind == "object" or low[2] > 1.0 or top > highest_m - 0.15:
        return None
    plausibility = _plausibility(kind, points_m, longer, shorter, top)
    if plausibility <= 0:
        return None
    return Cluster(frame_index, rows, (low[:2] + high[:2]) / 2, longer, shorter, top, kind, plausibility)


def _plausibility(kind: Kind, points_m: Float64Array, longer: float, shorter: float, top: float) -> float:
    """Road users reach down to the ground and are as deep as they are wide, where walls are flat, poles thin and bushes ragged."""
    grounded = float((points_m[:, 2] < 0.35 * top).mean()) > 0.03
    # Of a car or a person behind a car only the upper half is seen; smaller things that do not reach down are signs and branches.
    hidden = kind == "car" and longer > 1.8 and shorter > 0.7
    hidden |= kind == "pedestrian" and longer > 0.35 and shorter > 0.2 and top - float(points_m[:, 2].min()) > 0.7
    if not grounded and not hidden:
        return 0.0
    score = (0.4 if grounded else 0.25) + 0.3 * min(1.0, len(points_m) / 60)
    if kind == "car":
        if shorter < 0.3:
            return 0.0
        return score + 0.3 * min(1.0, shorter / 1.4) * min(1.0, longer / 3.0)
    if kind in ("truck", "bus"):
        # Most of what is as large as a truck is a corner of a building.
        return score - 0.25 if 1.4 < shorter < 3.2 else 0.0
    if longer < 0.3 or shorter < 0.12:
        return 0.0
    return score + 0.1 * min(1.0, shorter / 0.4)
