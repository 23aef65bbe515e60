"""Growing an object from seeds: nested regions at ever tighter gaps, of which the one that looks most like one object is taken.

Points hang together where the gap between them is small for their range. A tight gap breaks an object into pieces, a wide one joins it
with its neighbours; which gap is right differs from place to place. So the regions of several gaps are compared by how well their
extents fit what stands in a street.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components, dijkstra
from scipy.spatial import cKDTree

from sam4d.geometry import BoolArray

IndexArray = NDArray[np.int64]


@dataclass(frozen=True)
class SizeLimit:
    """What a kind of object reaches at most: along and across, seen from above, and in height; beyond it plausibility falls to 0."""

    length_m: float
    width_m: float
    height_m: float
    fall_m: tuple[float, float, float]
    weight: float = 1.0
    least_height_m: float = 0.0
    least_width_m: float = 0.0

    def plausibility(self, length_m: float, width_m: float, height_m: float) -> float:
        """1 for extents within the limits, 0 far beyond them."""
        extents, limits = (length_m, width_m, height_m), (self.length_m, self.width_m, self.height_m)
        value = self.weight
        for extent, limit, fall in zip(extents, limits, self.fall_m, strict=True):
            value *= min(1.0, max(0.0, 1 - (extent - limit) / fall))
        for extent, least in ((height_m, self.least_height_m), (width_m, self.least_width_m)):
            value *= 1.0 if extent >= least else max(0.0, 1 - 2 * (least - extent) / least)
        return value


@dataclass(frozen=True)
class GrowthSettings:
    """Gaps in metres, sizes of what stands in streets."""

    gap_m: float = 0.2
    gap_per_metre: float = 0.0075
    """Points of one surface lie about gap_m + gap_per_metre * range apart at most."""
    vertical_scale: float = 0.5
    """Beams lie farther apart than the points along one: heights count less."""
    factors: tuple[float, ...] = (2.4, 1.8, 1.35, 1.0, 0.65, 0.45, 0.3)
    """Gaps that are tried, as multiples, loose first."""
    trust: tuple[float, ...] = (1.02, 1.05, 1.03, 1.0, 0.85, 0.7, 0.55)
    """How much the region of each gap is believed, all else equal."""
    reach_m: float = 14.0
    split_reach_m: float = 7.0
    """Gaps below the usual only serve to split what is small: a smaller region will do."""
    highest_m: float = 5.0
    sizes: tuple[SizeLimit, ...] = (
        SizeLimit(2.2, 1.2, 2.3, (0.8, 0.5, 0.6)),
        SizeLimit(5.6, 2.5, 2.6, (1.2, 0.9, 0.6)),
        SizeLimit(13.0, 3.2, 4.3, (3.0, 0.6, 0.5), weight=0.85, least_height_m=2.4, least_width_m=1.0),
    )
    wholeness: float = 0.8
    whole_sizes: tuple[tuple[tuple[float, float, float], tuple[float, float, float]], ...] = (
        ((3.4, 1.4, 1.2), (5.4, 2.3, 2.2)),
        ((0.25, 0.12, 1.3), (1.2, 0.9, 2.1)),
    )
    """A piece with the extents (from, to) of a whole car or person is believed although it is part of something larger."""
    several: float = 0.6
    share_of_wholes: float = 0.75
    most_pieces: int = 12
    fewest_points_of_whole: int = 10
    beside_m: float = 0.25
    """What a tighter gap breaks into several whole cars and people beside each other, with little left over, is believed so much less to
    be one object."""
    rival_handicap: float = 2.0
    """On one surface, a negative click takes this much less far than a positive one; across a gap that does not matter."""
    voxels_per_gap: float = 2.9


DEFAULT_GROWTH_SETTINGS = GrowthSettings()


@dataclass(frozen=True, eq=False)
class Region:
    """Points of one object: mask bool (K,) over the candidates; plausibility of its size, stability against a wider gap, in [0, 1]."""

    mask: BoolArray
    plausibility: float
    stability: float


def size_plausibility(points: NDArray[np.floating], settings: GrowthSettings = DEFAULT_GROWTH_SETTINGS) -> float:
    """How much the extents of points (K, 3), x, y and height above ground in metres, are those of one object, in [0, 1]."""
    return _plausibility(_extents(points), settings)


def _extents(points: NDArray[np.floating]) -> tuple[float, float, float]:
    """Length and width of the upright rectangle around points (K, 3), and their height above ground."""
    sample = np.asarray(points[:: max(1, len(points) // 1500)], dtype=np.float32)
    _, sides, _ = cv2.minAreaRect(sample[:, :2] - sample[0, :2])
    return max(sides), min(sides), float(np.percentile(sample[:, 2], 98))


def _plausibility(extents: tuple[float, float, float], settings: GrowthSettings) -> float:
    return max(limit.plausibility(*extents) for limit in settings.sizes)


def is_whole(extents: tuple[float, float, float], settings: GrowthSettings = DEFAULT_GROWTH_SETTINGS) -> bool:
    """Whether length, width and height above ground are those of a whole car or person."""
    return any(
        all(least <= extent <= most for extent, least, most in zip(extents, low, high, strict=True)) for low, high in settings.whole_sizes
    )


def _made_of_wholes(points: NDArray[np.floating], group: IndexArray, own: int, settings: GrowthSettings) -> bool:
    """Whether a region falls into several whole objects beside each other, the seed's among them, and little else."""
    count = np.bincount(group)
    pieces = np.argsort(-count, kind="stable")[: settings.most_pieces]
    pieces = pieces[count[pieces] >= settings.fewest_points_of_whole]
    if len(pieces) < 2 or own not in pieces:
        return False
    whole = [int(k) for k in pieces if is_whole(_extents(points[group == k]), settings)]
    if len(whole) < 2 or float(count[whole].sum()) <= settings.share_of_wholes * len(group):
        return False
    # What stands within the outline of the largest is a seat or a pillar of it, seen through its windows.
    corner = points[0, :2]
    outline = cv2.boxPoints(cv2.minAreaRect(np.asarray(points[group == whole[0], :2] - corner, dtype=np.float32)))
    middles = [np.median(points[group == k, :2] - corner, axis=0) for k in whole[1:]]
    outside = [cv2.pointPolygonTest(outline, (float(x), float(y)), True) < -settings.beside_m for x, y in middles]
    beside = [k for k, is_outside in zip(whole[1:], outside, strict=True) if is_outside]
    return bool(beside) and own in (whole[0], *beside)


def usual_gap(range_m: float, settings: GrowthSettings = DEFAULT_GROWTH_SETTINGS) -> float:
    """The gap up to which points at that range usually belong to one surface, in metres."""
    return settings.gap_m + settings.gap_per_metre * range_m


def usual_gaps(range_m: NDArray[np.floating], settings: GrowthSettings = DEFAULT_GROWTH_SETTINGS) -> NDArray[np.float64]:
    """`usual_gap` of many ranges, (K,)."""
    at_once_m, per_metre = usual_gap(0.0, settings), usual_gap(1.0, settings) - usual_gap(0.0, settings)
    return np.asarray(at_once_m + per_metre * range_m, dtype=np.float64)


def groups_at_gap(points: NDArray[np.floating], gap_m: float, settings: GrowthSettings = DEFAULT_GROWTH_SETTINGS) -> IndexArray:
    """Points (K, 3), x, y and height -> the connected group of each at one gap, int64 (K,), numbered from 0."""
    scaled = points * np.array([1, 1, settings.vertical_scale], dtype=np.float32)
    voxel, representative = voxels(scaled, gap_m / settings.voxels_per_gap)
    pairs = cKDTree(scaled[representative]).query_pairs(gap_m, output_type="ndarray")
    count = len(representative)
    graph = coo_matrix((np.ones(len(pairs), dtype=np.int8), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)[voxel]


def middle_of(points: NDArray[np.floating]) -> int:
    """The row of the point nearest to the median of points (K, D), K >= 1."""
    return int(((points - np.median(points, axis=0)) ** 2).sum(axis=1).argmin())


def voxels(points: NDArray[np.floating], size_m: float) -> tuple[IndexArray, IndexArray]:
    """Points (K, 3) -> the voxel of each, int64 (K,), and one point of each voxel, int64 (V,)."""
    cell = np.floor((points - points.min(axis=0)) / size_m).astype(np.int64)
    _, representative, voxel = np.unique((cell[:, 0] << 42) | (cell[:, 1] << 21) | cell[:, 2], return_index=True, return_inverse=True)
    return voxel.ravel(), representative


def grow(
    points: NDArray[np.floating],
    seeds: IndexArray,
    gap_m: float,
    agreement: Callable[[BoolArray], float] | None = None,
    settings: GrowthSettings = DEFAULT_GROWTH_SETTINGS,
) -> Region:
    """The object that holds the seeds.

    Args:
        points: (K, 3) x, y and height above ground, metres: candidates around the seeds.
        seeds: int64 (S,), rows of `points`, at least one.
        gap_m: the usual gap at their range.
        agreement: further evidence for a region, bool (K,) -> [0, 1].
    """
    seed_points = points[seeds, :2]
    extent = np.asarray(cKDTree(seed_points).query(points[:, :2])[0])
    inside = np.flatnonzero(extent < settings.reach_m)
    best: tuple[float, BoolArray, float] | None = None
    usual: BoolArray | None = None
    wider_count, wider_plausibility = 0, 0.0
    stability = 1.0
    for factor, trust in zip(settings.factors, settings.trust, strict=True):
        if factor < 1:
            inside = inside[extent[inside] < settings.split_reach_m]
        group = groups_at_gap(points[inside], factor * gap_m, settings)
        of_row = np.full(len(points), -1, dtype=np.int64)
        of_row[inside] = group
        wanted = np.zeros(group.max() + 1, dtype=np.bool_)
        wanted[of_row[seeds]] = True
        before = inside
        inside = inside[wanted[group]]
        mask = np.zeros(len(points), dtype=np.bool_)
        mask[inside] = True
        if best is not None and _made_of_wholes(points[before], group, int(of_row[seeds[0]]), settings):
            best = (settings.several * best[0], best[1], best[2])
        extents = _extents(points[inside])
        plausibility = _plausibility(extents, settings)
        # A piece is believed less, the smaller a part it is of something that may well be one object.
        piece = 1.0
        if wider_count and not is_whole(extents, settings):
            piece = 1 - settings.wholeness * wider_plausibility * (1 - len(inside) / wider_count)
        value = trust * piece * plausibility
        if agreement is not None:
            value = trust * (0.3 + 0.7 * plausibility) * agreement(mask)
        if best is None or value > best[0]:
            stability = len(inside) / wider_count if wider_count else 1.0
            best = (value, mask, plausibility)
        if usual is None or factor >= 1:
            usual = mask
        wider_count, wider_plausibility = len(inside), plausibility
        if factor <= 1 and value > 0 and best[0] > trust:
            break
    assert best is not None
    assert usual is not None
    if best[0] <= 0:
        return Region(usual, 0.0, 0.5)
    return Region(best[1], best[2], stability)


def nearer_to(
    points: NDArray[np.floating],
    seeds: IndexArray,
    rivals: IndexArray,
    gap_m: float,
    settings: GrowthSettings = DEFAULT_GROWTH_SETTINGS,
) -> BoolArray:
    """Which points (K, 3) are nearer to a seed than to a rival along surfaces, bool (K,); by straight distance where no seed is
    reached."""
    scaled = (points * np.array([1, 1, settings.vertical_scale])).astype(np.float32)
    voxel, representative = voxels(scaled, 0.6 * gap_m / settings.voxels_per_gap)
    nodes = scaled[representative]
    pairs = cKDTree(nodes).query_pairs(gap_m, output_type="ndarray")
    # A power of the step: a wide gap costs far more than the same way in small steps along a surface.
    cost = (((nodes[pairs[:, 0]] - nodes[pairs[:, 1]]) ** 2).sum(axis=1) / gap_m**2) ** 2 + 1e-9
    graph = coo_matrix((cost, (pairs[:, 0], pairs[:, 1])), shape=(len(nodes), len(nodes))).tocsr()
    ways = [dijkstra(graph, directed=False, indices=np.unique(voxel[rows]), min_only=True)[voxel] for rows in (seeds, rivals)]
    straight = [cKDTree(scaled[rows]).query(scaled)[0] for rows in (seeds, rivals)]
    unreached = np.isinf(ways[0])
    return np.asarray(np.where(unreached, straight[0] < straight[1], ways[0] < settings.rival_handicap * ways[1]))
