"""The ground as a surface that follows slopes and kerbs, and the height of every point above it.

A plane takes out the tilt of the sensor. On what is left, the lowest points of a grid's cells form a first surface, from which an opening
removes what is narrower than a truck and a slope limit what is not (walls, roofs). Points close to it then give the final, smooth surface.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sam4d.geometry import BoolArray, Float64Array


@dataclass(frozen=True)
class GroundSettings:
    """Lengths in metres, slopes as rise over run (relative to the plane that fits the surroundings best)."""

    cell_m: float = 1.0
    reach_m: float = 120.0
    object_width_m: float = 7.0
    max_slope: float = 0.15
    step_m: float = 0.25
    """A cell whose lowest point lies this far above the surface shows no ground."""
    clearance_m: float = 0.2
    """Points lower than this above the surface are ground."""
    clearance_per_metre: float = 0.0005
    """Added to the clearance per metre of range, for the surface is seen less well far away."""


@dataclass(frozen=True, eq=False)
class Ground:
    """Heights on a square grid: plane (a, b, c), z = a x + b y + c, plus residual_m, float32 (S, S), cell [ix, iy] around the LiDAR."""

    plane: Float64Array
    residual_m: NDArray[np.float32]
    cell_m: float

    def z_at(self, xy_m: NDArray[np.floating]) -> NDArray[np.float32]:
        """Ground height under LiDAR-frame points (..., 2 or 3) in metres -> z of the ground, float32 (...). Finite input only."""
        xy = np.asarray(xy_m, dtype=np.float32)
        side = self.residual_m.shape[0]
        position = np.clip(xy[..., :2] / self.cell_m + (side / 2 - 0.5), 0, side - 1.001)
        corner = position.astype(np.int32)
        part = position - corner
        index = corner[..., 0] * side + corner[..., 1]
        flat = self.residual_m.ravel()
        low = flat[index] * (1 - part[..., 1]) + flat[index + 1] * part[..., 1]
        high = flat[index + side] * (1 - part[..., 1]) + flat[index + side + 1] * part[..., 1]
        a, b, c = self.plane.astype(np.float32)
        result: NDArray[np.float32] = low * (1 - part[..., 0]) + high * part[..., 0] + a * xy[..., 0] + b * xy[..., 1] + c
        return result


DEFAULT_GROUND_SETTINGS = GroundSettings()


def fit_ground(points_m: NDArray[np.floating], settings: GroundSettings = DEFAULT_GROUND_SETTINGS) -> Ground:
    """The ground under one sweep.

    Args:
        points_m: (N, 3) in metres, LiDAR frame, all finite. With no points within reach the ground is the plane z = 0.
    """
    side = int(2 * settings.reach_m / settings.cell_m)
    near = (np.abs(points_m[:, :2]) < settings.reach_m - settings.cell_m).all(axis=1)
    points = np.asarray(points_m[near], dtype=np.float32)
    if len(points) < 3:
        return Ground(np.zeros(3), np.zeros((side, side), dtype=np.float32), settings.cell_m)
    index = ((points[:, :2] + settings.reach_m) / settings.cell_m).astype(np.int64)
    cell = index[:, 0] * side + index[:, 1]

    occupied, lowest_m = _lowest_per_cell(cell, points[:, 2])
    centres = (np.stack([occupied // side, occupied % side], axis=1) + 0.5) * settings.cell_m - settings.reach_m
    plane = _fit_plane(centres, lowest_m)
    residual = np.full(side * side, np.nan, dtype=np.float32)
    residual[occupied] = lowest_m - (centres @ plane[:2] + plane[2])
    # A cell of ground holds points of one height; in one that an object fills, even the lowest point may be well above the ground.
    flat = points[:, 2] - points[:, :2] @ plane[:2].astype(np.float32) - np.float32(plane[2]) < residual[cell] + settings.step_m
    flatness = np.bincount(cell, weights=flat, minlength=side * side) / np.maximum(np.bincount(cell, minlength=side * side), 1)
    trust = (0.02 + flatness**2).astype(np.float32).reshape(side, side)
    surface = _lower_surface(residual.reshape(side, side), trust, settings)

    # The points themselves, rather than each cell's lowest, give a surface without the bias of range noise.
    first = Ground(plane, surface, settings.cell_m)
    above = points[:, 2] - first.z_at(points)
    ground = (above < settings.step_m) & (above > -2 * settings.step_m)
    count = np.bincount(cell[ground], minlength=side * side).reshape(side, side)
    total = np.bincount(cell[ground], weights=above[ground], minlength=side * side).reshape(side, side)
    weight = np.minimum(count, 5) * trust
    correction = _smooth(np.where(count > 0, total / np.maximum(count, 1), 0).astype(np.float32), weight, sigma=0.8)
    return Ground(plane, surface + correction, settings.cell_m)


def is_ground(
    points_m: NDArray[np.floating], height_m: NDArray[np.floating], settings: GroundSettings = DEFAULT_GROUND_SETTINGS
) -> BoolArray:
    """Which points (N, 3) of height (N,) above the ground belong to it, bool (N,)."""
    reach = np.hypot(points_m[:, 0], points_m[:, 1])
    return np.asarray(height_m < settings.clearance_m + settings.clearance_per_metre * reach)


def _lowest_per_cell(cell: NDArray[np.int64], z_m: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Occupied cells and a height near each one's lowest: the 3rd percentile, so that a few stray echoes below the road do not count."""
    # One sort of integers (cell, then height in millimetres) is several times faster than a lexsort of floats.
    millimetres = np.clip((z_m * 1000).astype(np.int64) + (1 << 19), 0, (1 << 20) - 1)
    key = np.sort((cell << 20) | millimetres)
    sorted_cell = key >> 20
    start = np.flatnonzero(np.diff(sorted_cell, prepend=-1))
    count = np.diff(np.append(start, len(key)))
    chosen = start + np.minimum(count // 30, count - 1)
    return sorted_cell[start], (((key[chosen] & ((1 << 20) - 1)) - (1 << 19)) / 1000).astype(np.float32)


def _fit_plane(xy_m: NDArray[np.floating], z_m: NDArray[np.float32]) -> Float64Array:
    """Robust plane through the lower side of the cells within 40 m: what lies above it counts little."""
    near = np.hypot(xy_m[:, 0], xy_m[:, 1]) < 40
    if near.sum() < 10:
        near = np.ones(len(xy_m), dtype=np.bool_)
    design = np.column_stack([xy_m[near], np.ones(int(near.sum()))])
    z = z_m[near].astype(np.float64)
    plane = np.array([0.0, 0.0, np.percentile(z, 20)])
    for scale_m in (2.0, 1.0, 0.5, 0.3, 0.2, 0.2):
        error = z - design @ plane
        weight = 1 / (1 + (error / scale_m) ** 2) ** 2 * np.where(error > 0, 0.5, 1.0)
        # A little regularisation keeps a handful of cells from turning the plane on its side.
        normal = (design * weight[:, None]).T @ design + np.diag([1.0, 1.0, 0.0]) + 1e-9 * np.eye(3)
        plane = np.linalg.solve(normal, (design * weight[:, None]).T @ z)
    return plane


def _lower_surface(lowest_m: NDArray[np.float32], trust: NDArray[np.float32], settings: GroundSettings) -> NDArray[np.float32]:
    """Cell heights with NaN where nothing was seen -> a full surface under everything that stands on it."""
    seen = np.isfinite(lowest_m)
    # Stray echoes lie far below everything around them; no slope of a road leads down there.
    axis_m = (np.arange(len(lowest_m)) + 0.5 - len(lowest_m) / 2) * settings.cell_m
    seen &= np.where(seen, lowest_m, 0) > -1.0 - settings.max_slope * np.hypot(axis_m[:, None], axis_m[None])
    for _ in range(2):
        around = _smooth(np.where(seen, lowest_m.clip(-3, 3), 0).astype(np.float32), seen.astype(np.float32), sigma=3.0)
        seen &= np.where(seen, lowest_m, 0) > around - 1.5
    window = np.ones((round(settings.object_width_m / settings.cell_m) | 1,) * 2, dtype=np.uint8)
    eroded = cv2.erode(np.where(seen, lowest_m, 1e3).astype(np.float32), window)
    opened = cv2.dilate(np.where(eroded < 1e2, eroded, -1e3).astype(np.float32), window)
    limit = np.where(seen & (opened > -1e2), opened, 1e3).astype(np.float32)
    # g(x) = min over y of z(y) + slope * |x - y|, by ever longer steps along both axes; beyond their reach smoothing fills the surface.
    for step in (1, 2, 4, 8, 16):
        rise = np.float32(settings.max_slope * settings.cell_m * step)
        for array in (limit, limit.T):
            before = array.copy()
            np.minimum(array[step:], before[:-step] + rise, out=array[step:])
            np.minimum(array[:-step], before[step:] + rise, out=array[:-step])
    kept = seen & (lowest_m <= limit + settings.step_m)
    return _smooth(np.where(kept, lowest_m, 0).astype(np.float32), kept * trust, sigma=0.7)


def _smooth(value: NDArray[np.float32], weight: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Weighted Gaussian mean; where little was seen, the mean of ever wider surroundings, at last 0."""
    total = np.zeros_like(value)
    trust = np.zeros_like(value)
    for width in (sigma, 3 * sigma, 9 * sigma, 27 * sigma):
        share = (1 - trust).clip(0, 1)
        if not (share > 1e-3).any():
            break
        # Wide means are smooth: a coarser grid holds them as well.
        factor = max(1, int(width / 2))
        side = -(-len(value) // factor)
        pair = np.stack([value * weight, weight], axis=2)
        pair = cv2.resize(pair, (side, side), interpolation=cv2.INTER_AREA) if factor > 1 else pair
        pair = cv2.GaussianBlur(pair, (0, 0), width / factor, borderType=cv2.BORDER_REFLECT)
        pair = cv2.resize(pair, value.shape[::-1], interpolation=cv2.INTER_LINEAR) if factor > 1 else pair
        here = np.minimum(1, pair[..., 1] * (2 * np.pi * width**2)) * share
        total += here * pair[..., 0] / np.maximum(pair[..., 1], 1e-12)
        trust += here
    return np.asarray(total, dtype=np.float32)
