"""What stands on a place seen from above: the local ground of one sweep, and the points of a bird's-eye pixel's column."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sam4d.geometry import BirdsEyeView, BoolArray, Float64Array
from sam4d.structures import Cuboid

_CELL_M = 4.0
_REACH_M = 200.0
_ABOVE_GROUND_M = 0.2
_TALLEST_M = 4.5
_INSIDE_MARGIN_M = 0.05


@dataclass(frozen=True, eq=False)
class CoarseGround:
    """Height of the ground over the LiDAR frame's xy plane, on a grid of cells of 4 m: right to a few decimetres on roads and slopes.

    Coarse on purpose: it tells what stands from what is driven on where a person drew something; engines have their own ground.
    """

    z_m: Float64Array
    corner_m: tuple[float, float]

    def at(self, xy_m: NDArray[np.floating]) -> Float64Array:
        """LiDAR-frame (x, y), (..., 2) in metres -> z of the ground, float64 (...)."""
        xy = np.asarray(xy_m, dtype=np.float64)
        cells = (np.moveaxis(xy, -1, 0).reshape(2, -1) - np.array(self.corner_m)[:, None]) / _CELL_M - 0.5
        heights = ndimage.map_coordinates(self.z_m, cells, order=1, mode="nearest")
        return np.asarray(heights.reshape(xy.shape[:-1]), dtype=np.float64)


def coarse_ground(points_m: NDArray[np.floating]) -> CoarseGround:
    """The local ground of a sweep (N, 3), rows that are not finite left out; flat at 0 where there is no point."""
    points = np.asarray(points_m)
    near = np.abs(points) < _REACH_M  # False where a value is not finite
    usable = near[:, 0] & near[:, 1] & near[:, 2]
    if not usable.any():
        return CoarseGround(np.zeros((1, 1)), (-_CELL_M / 2, -_CELL_M / 2))
    points = points[usable].astype(np.float64)
    corner = np.floor(points[:, :2].min(axis=0) / _CELL_M) * _CELL_M
    row, column = ((points[:, :2] - corner) / _CELL_M).astype(np.int64).T
    shape = (int(row.max()) + 1, int(column.max()) + 1)
    cell = row * shape[1] + column
    # One sort by cell, then height: the low 5 % of a cell is its ground, but for a few returns from below the road.
    ordered = np.sort(cell * (4 * _REACH_M) + points[:, 2])
    counts = np.bincount(cell, minlength=shape[0] * shape[1])
    starts = np.cumsum(counts) - counts
    filled = counts >= 3
    heights = np.zeros(len(counts))
    heights[filled] = ordered[(starts + counts * 0.05).astype(np.int64)[filled]] - np.flatnonzero(filled) * (4 * _REACH_M)
    if not filled.any():
        heights[:], filled[:] = float(np.median(points[:, 2])), True
    nearest = ndimage.distance_transform_edt(~filled.reshape(shape), return_distances=False, return_indices=True)
    grid = heights.reshape(shape)[tuple(nearest)]
    # Cells that see only a roof or a wall are above their neighbours.
    grid = ndimage.gaussian_filter(ndimage.percentile_filter(grid, 35, size=3, mode="nearest"), 0.7, mode="nearest")
    return CoarseGround(np.asarray(grid, dtype=np.float64), (float(corner[0]), float(corner[1])))


def pixel_indices(points_m: NDArray[np.floating], view: BirdsEyeView) -> tuple[NDArray[np.int64], BoolArray]:
    """Bird's-eye pixel (column, row) of every point, int64 (N, 2), and which points are finite and inside the image, bool (N,)."""
    with np.errstate(invalid="ignore"):
        u, v = view.to_pixels(points_m[:, :2]).T
        inside = np.isfinite(points_m[:, 2]) & (u >= 0) & (v >= 0) & (u < view.size_px) & (v < view.size_px)
    return np.stack([np.where(inside, u, 0), np.where(inside, v, 0)], axis=1).astype(np.int64), inside


def under_mask(points_m: NDArray[np.floating], view: BirdsEyeView, mask: BoolArray) -> BoolArray:
    """The points whose bird's-eye pixel is set in the mask (S, S), bool (N,), ground included."""
    pixels, inside = pixel_indices(points_m, view)
    return np.asarray(inside & mask[pixels[:, 1], pixels[:, 0]])


def standing_points(points_m: NDArray[np.floating], among: BoolArray) -> BoolArray:
    """Those of the points `among`, bool (N,), that stand on the ground rather than belong to it, bool (N,)."""
    chosen: BoolArray = np.zeros(len(points_m), dtype=np.bool_)
    if among.any():
        height_m = points_m[among, 2] - coarse_ground(points_m).at(points_m[among, :2])
        chosen[among] = (height_m > _ABOVE_GROUND_M) & (height_m < _TALLEST_M)
    return chosen


def standing_inside(points_m: NDArray[np.floating], cuboid: Cuboid) -> BoolArray:
    """The points inside a cuboid, a little wider than it is, that stand on the ground rather than belong to it, bool (N,)."""
    inside = cuboid.contains(points_m, margin_m=_INSIDE_MARGIN_M)
    return inside & standing_points(points_m, inside)


def standing_under_mask(points_m: NDArray[np.floating], view: BirdsEyeView, mask: BoolArray) -> BoolArray:
    """Those of `under_mask` that stand on the ground rather than belong to it; all of them where none does."""
    under = under_mask(points_m, view, mask)
    standing = standing_points(points_m, under)
    return standing if standing.any() else under


def lift_click(points_m: NDArray[np.floating], xy_m: Float64Array, positive: bool) -> Float64Array:
    """A click on the bird's-eye image -> the LiDAR-frame point, float64 (3,) in metres, that it means.

    The highest return within 0.3 m: what the image shows there. Else, for a positive click (roofs and far sides are often empty), the
    nearest return within 1.5 m that stands on the ground. Else the ground under the click.
    """
    points = np.asarray(points_m, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        distance_m = np.hypot(points[:, 0] - xy_m[0], points[:, 1] - xy_m[1])
        close = (distance_m < 0.3) & np.isfinite(points[:, 2])
        around = (distance_m < 1.5) & np.isfinite(points[:, 2])
    if close.any():
        highest: Float64Array = points[close][np.argmax(points[close, 2])]
        return highest
    standing = standing_points(points, around)
    if positive and standing.any():
        nearest: Float64Array = points[standing][np.argmin(distance_m[standing])]
        return nearest
    return np.array([xy_m[0], xy_m[1], coarse_ground(points).at(xy_m)], dtype=np.float64)


def points_seen_from_above(points_m: NDArray[np.floating], lidar_mask: BoolArray, view: BirdsEyeView) -> BoolArray:
    """The points of an object, bool (N,), as a mask of the bird's-eye image, bool (S, S): their pixels, grown and closed to one shape.

    Every point of the object inside the view has its own pixel set.
    """
    raster = np.zeros((view.size_px, view.size_px), dtype=np.uint8)
    pixels, inside = pixel_indices(points_m[lidar_mask], view)
    if not inside.any():
        return raster.astype(np.bool_)
    columns, rows = pixels[inside].T
    margin = 4
    left, top = max(0, int(columns.min()) - margin), max(0, int(rows.min()) - margin)
    right, bottom = int(columns.max()) + margin + 1, int(rows.max()) + margin + 1
    crop = raster[top:bottom, left:right]
    raster[rows, columns] = 1
    grown = cv2.dilate(crop, np.ones((3, 3), dtype=np.uint8))
    crop[:] = np.maximum(grown, cv2.morphologyEx(grown, cv2.MORPH_CLOSE, np.ones((5, 5), dtype=np.uint8)))
    return raster.astype(np.bool_)
