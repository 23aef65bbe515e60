"""Where an object went: its known surface laid onto the points of a new frame.

All positions here are (x, y, height): metres in the frame's LiDAR frame, the height above the local ground in place of z. On slopes
and under a pitching vehicle an object keeps its heights, so only a shift over the ground and a turn are left to find.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from sam4d.geometry import Float64Array

MAX_SURFACE_POINTS = 200
MAX_GRID_CELLS = 120_000
TURN_LENGTH_M = 1.6
"""Shorter objects show no heading that a few points could tell from noise."""


@dataclass(frozen=True)
class MatchSettings:
    """How near a point lies to a surface that it is of, and the points of one object to each other: metres, and so many times the
    distance between neighbouring points more."""

    near_m: float = 0.25
    near_per_spacing: float = 0.5
    link_m: float = 0.25
    link_per_spacing: float = 1.2

    def reach_m(self, spacing_m: float) -> float:
        return self.near_m + self.near_per_spacing * spacing_m

    def link_at_m(self, spacing_m: float) -> float:
        return self.link_m + self.link_per_spacing * spacing_m


DEFAULT_MATCH_SETTINGS = MatchSettings()


@dataclass(frozen=True, eq=False)
class Alignment:
    """A turn about `anchor_m`, then a shift; how well the surface lies on the points afterwards.

    anchor_m, shift_m float64 (2,). matched: weighted share of the surface with a point of the new frame close by, 0 to 1.
    """

    anchor_m: Float64Array
    shift_m: Float64Array
    turn_rad: float
    matched: float

    def apply(self, surface_m: Float64Array) -> Float64Array:
        """(M, 3) x, y, height -> float64 (M, 3)."""
        cosine, sine = np.cos(self.turn_rad), np.sin(self.turn_rad)
        turned = (surface_m[:, :2] - self.anchor_m) @ np.array([[cosine, sine], [-sine, cosine]]) + self.anchor_m + self.shift_m
        return np.column_stack([turned, surface_m[:, 2]])


def align_surface(
    surface_m: Float64Array,
    weights: Float64Array,
    points_m: Float64Array,
    gate_m2: Float64Array,
    spacing_m: float,
    stillness: float,
    settings: MatchSettings = DEFAULT_MATCH_SETTINGS,
) -> Alignment:
    """Search the shift within the gate, then refine it together with the turn.

    Args:
        surface_m: (M, 3) the object where it is expected, M >= 1.
        weights: (M,) how much each surface point counts.
        points_m: (K, 3) what the new frame holds around there.
        gate_m2: (2, 2) how far from the expected place to look: shifts s with s G^-1 s <= 1.
        spacing_m: distance between neighbouring points at this range.
        stillness: how much of the match a shift as long as the gate reaches must gain to be believed, 0 to 1.
    """
    anchor = (surface_m[:, :2].min(axis=0) + surface_m[:, :2].max(axis=0)) / 2
    if len(points_m) == 0:
        return Alignment(anchor, np.zeros(2), 0.0, 0.0)
    if len(surface_m) > MAX_SURFACE_POINTS:
        # Heavy (fresh) points first would leave the hidden sides out: an even choice over the list keeps both.
        chosen = np.linspace(0, len(surface_m) - 1, MAX_SURFACE_POINTS).astype(np.int64)
        surface_m, weights = surface_m[chosen], weights[chosen]
    weights = weights / weights.sum()
    shift = _search_shift(surface_m, weights, points_m, gate_m2, spacing_m, stillness)
    return _refine(surface_m, weights, points_m, anchor, shift, settings.reach_m(spacing_m))


def _search_shift(
    surface_m: Float64Array, weights: Float64Array, points_m: Float64Array, gate_m2: Float64Array, spacing_m: float, stillness: float
) -> Float64Array:
    reach = np.append(np.sqrt(np.diag(gate_m2)), 0.0)
    extent = np.ptp(surface_m, axis=0) + 2 * reach + 1.2
    cell = max(0.15, 0.7 * spacing_m, float((np.prod(extent) / MAX_GRID_CELLS) ** (1 / 3)))
    low = surface_m.min(axis=0) - reach - 0.6
    shape = np.ceil(extent / cell).astype(np.int64) + 1
    index = np.floor((points_m - low) / cell).astype(np.int64)
    index = index[((index >= 0) & (index < shape)).all(axis=1)]
    if len(index) == 0:
        return np.zeros(2)
    empty = np.ones(shape, dtype=np.bool_)
    empty[index[:, 0], index[:, 1], index[:, 2]] = False
    distance = ndimage.distance_transform_edt(empty)
    closeness = np.exp(-((distance / 1.5) ** 2)).astype(np.float32).ravel()

    steps = np.floor(reach[:2] / cell).astype(np.int64)
    across, along = np.meshgrid(*(np.arange(-count, count + 1) for count in steps), indexing="ij")
    offsets = np.column_stack([across.ravel(), along.ravel()])
    squared = np.einsum("ki,ij,kj->k", offsets, np.linalg.inv(gate_m2) * cell**2, offsets)
    offsets, length = offsets[squared <= 1 + 1e-9], np.sqrt(squared[squared <= 1 + 1e-9])
    base = np.floor((surface_m - low) / cell).astype(np.int64)
    flat = (base[:, 0] * shape[1] + base[:, 1]) * shape[2] + base[:, 2]
    moved = flat[None, :] + ((offsets[:, 0] * shape[1] + offsets[:, 1]) * shape[2])[:, None]
    score = closeness[moved] @ weights - stillness * length
    return np.asarray(offsets[int(np.argmax(score))] * cell, dtype=np.float64)


def _refine(
    surface_m: Float64Array, weights: Float64Array, points_m: Float64Array, anchor: Float64Array, shift: Float64Array, near_m: float
) -> Alignment:
    """Iterated closest points over the ground plane, ever closer pairs."""
    tree = cKDTree(points_m)
    may_turn = float(np.ptp(surface_m[:, :2], axis=0).max()) > TURN_LENGTH_M and len(surface_m) >= 20
    current = Alignment(anchor, shift, 0.0, 0.0)
    for reach_m in (2 * near_m, 1.5 * near_m, near_m, near_m):
        moved = current.apply(surface_m)
        distance, nearest = map(np.asarray, tree.query(moved, distance_upper_bound=reach_m))
        paired = np.isfinite(distance)
        if paired.sum() < 3:
            break
        source, target, weight = moved[paired, :2], points_m[nearest[paired], :2], weights[paired] * (1 - (distance[paired] / reach_m) ** 2)
        weight = weight / max(float(weight.sum()), 1e-12)
        source_mean, target_mean = weight @ source, weight @ target
        turn = 0.0
        if may_turn:
            s, t = source - source_mean, target - target_mean
            turn = float(np.arctan2(weight @ (s[:, 0] * t[:, 1] - s[:, 1] * t[:, 0]), weight @ (s * t).sum(axis=1)))
            turn = float(np.clip(turn, -0.05, 0.05))
        cosine, sine = np.cos(turn), np.sin(turn)
        rotate = np.array([[cosine, sine], [-sine, cosine]])
        center = anchor + current.shift_m
        new_center = (center - source_mean) @ rotate + target_mean
        current = Alignment(anchor, new_center - anchor, current.turn_rad + turn, 0.0)
    left, _ = tree.query(current.apply(surface_m), distance_upper_bound=near_m)
    return Alignment(anchor, current.shift_m, current.turn_rad, float(weights @ np.isfinite(left)))
