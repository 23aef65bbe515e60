"""The surfaces that points span in a camera's image: what an object covers there, and what nearer things hide of it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay, QhullError, cKDTree

from sam4d.geometric.growing import usual_gaps
from sam4d.geometric.image_crop import pixels_inside
from sam4d.geometric.scene import CameraView, FrameScene
from sam4d.geometry import BoolArray
from sam4d.structures import Float32Array


@dataclass(frozen=True)
class SurfaceSettings:
    """Lengths in metres unless the name says otherwise."""

    hole_m: float = 0.75
    """Triangles between an object's points with longer sides span no surface; a car's window does."""
    slim_m: float = 2.0
    slim_height: float = 0.85
    slim_hole_m: float = 0.12
    """hole_m of what is narrower than slim_m and higher than so many times its width: one looks through between legs and beside arms."""
    shoulders_m: float = 0.9
    """What is no wider stands on the ground, even where only its upper end is seen: its height is measured from there."""
    usual_side: float = 1.5
    """Triangles span a surface up to so many times the usual side, whatever their size in metres."""
    dense: float = 4.0
    """What hides an object is met by beams as densely as all around: its triangles' sides are at most so many times the distance of points
    there. Rain is not."""
    edge: float = 0.5
    """Nearer things end about so far above their highest points, in gaps between the beams that met the object."""
    deep_m: float = 1.5
    """Points of nearer things that lie farther behind each other are of different things, between which one sees through."""
    margin: float = 0.03
    margin_m: float = 0.4
    """What hides a point is nearer by this part of its depth and margin_m."""
    surroundings: float = 0.25
    surroundings_px: float = 12.0
    """What may hide an object is looked for so far around it, in its own extent, and at least so many pixels."""
    most_points: int = 1500


DEFAULT_SURFACE_SETTINGS = SurfaceSettings()


def is_slim(scene: FrameScene, rows: NDArray[np.int64], settings: SurfaceSettings = DEFAULT_SURFACE_SETTINGS) -> bool:
    """Whether points, rows int64 (K,) with at least one, are of something upright and narrow, such as a person or a post."""
    extent_m = np.ptp(scene.points_m[rows], axis=0)
    width_m, height_m = float(np.hypot(extent_m[0], extent_m[1])), float(extent_m[2])
    if width_m < settings.shoulders_m:
        height_m = max(height_m, float(np.percentile(scene.height_m[rows], 98)))
    return width_m < settings.slim_m and height_m > settings.slim_height * width_m


def spanned_area(
    places: Float32Array, points_m: Float32Array, slim: bool, shape: tuple[int, int], settings: SurfaceSettings = DEFAULT_SURFACE_SETTINGS
) -> tuple[BoolArray, float]:
    """The area that an object's points span, bool (h, w), and the usual distance between neighbouring points, in pixels.

    Args:
        places: float32 (K, 2), pixels of a crop of this shape. points_m: float32 (K, 3), the same points.
        slim: see `is_slim`.
    """
    canvas = np.zeros(shape, dtype=np.uint8)
    index = np.round(places * 16).astype(np.int32)
    triangulation = _triangulation(places)
    spacing = 0.06 * max(shape)
    if triangulation is not None:
        triangles = triangulation.simplices
        sides = _longest_sides(places, triangles)
        spacing = _usual(sides)
        hole_m = settings.slim_hole_m if slim else settings.hole_m
        kept = (_longest_sides(points_m, triangles) < hole_m) | (sides < settings.usual_side * spacing)
        cv2.fillPoly(canvas, list(index[triangles[kept]]), 1, shift=4)
    inside = pixels_inside(places, shape)
    canvas[inside[:, 1], inside[:, 0]] = 1
    return canvas > 0, spacing


def seen_rows(
    scene: FrameScene, view: CameraView, lidar_mask: BoolArray, settings: SurfaceSettings = DEFAULT_SURFACE_SETTINGS
) -> NDArray[np.int64]:
    """Which of an object's points, bool (N,), lie inside the camera's image and behind no nearer surface, int64 (K,), ascending.

    Over the edge of a nearer thing the LiDAR sees what a camera below it does not: such points lie within the triangles that the nearer
    points span. Points close above that edge do not, however close they are.
    """
    own = np.flatnonzero(lidar_mask & view.inside)
    if not len(own):
        return own
    pixels = view.pixels[own]
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    around_px = settings.surroundings * float((high - low).max()) + settings.surroundings_px
    rows = np.flatnonzero(view.inside)
    places = view.pixels[rows]
    rows = rows[((places > low - around_px) & (places < high + around_px)).all(axis=1)]
    apart_px = float(np.sqrt(np.prod(high - low + 2 * around_px) / len(rows)))
    # The ground in front of an object is nearer than it, but hides nothing.
    farthest_m = _nearer_than(view.depth_m[own].max(), settings)
    nearer = rows[(view.depth_m[rows] < farthest_m) & scene.is_object[rows] & ~lidar_mask[rows]]
    if len(nearer) > settings.most_points:
        nearer = np.random.default_rng(0).choice(nearer, settings.most_points, replace=False)
    nearer = nearer[_hang_together(scene, nearer)]
    triangulation = _triangulation(view.pixels[nearer])
    if triangulation is None:
        return own
    triangles = triangulation.simplices
    sides = _longest_sides(view.pixels[nearer], triangles)
    solid = sides < min(settings.usual_side * _usual(sides), settings.dense * apart_px)
    corners_m = view.depth_m[nearer][triangles]
    solid &= np.ptp(corners_m, axis=1) < settings.deep_m
    depth_m = np.where(solid, corners_m.max(axis=1), np.inf)
    hidden = np.zeros(len(own), dtype=np.bool_)
    for below_px in (0.0, settings.edge * gap_between_beams(_strip(pixels, settings.most_points))):
        triangle = np.asarray(triangulation.find_simplex(np.add(pixels, (0.0, below_px))))
        hidden |= (triangle >= 0) & (depth_m[triangle] < _nearer_than(view.depth_m[own], settings))
    return np.asarray(own[~hidden])


def gap_between_beams(places: Float32Array) -> float:
    """How far points lie above each other, places (K, 2) in pixels; 0 where that cannot be said."""
    if len(places) < 8:
        return 0.0
    # A column is as wide as the points of one beam lie apart, so that it holds about one point of each.
    distance = np.asarray(cKDTree(places, balanced_tree=False, compact_nodes=False).query(places, k=2)[0])
    column = np.floor(places[:, 0] / max(1.0, 1.5 * float(np.median(distance[:, 1])))).astype(np.int64)
    order = np.lexsort((places[:, 1], column))
    gaps = np.diff(places[order, 1])[np.diff(column[order]) == 0]
    gaps = gaps[gaps > 0.5]
    return float(np.median(gaps)) if len(gaps) else 0.0


def _strip(places: Float32Array, most_points: int) -> Float32Array:
    """Of places (K, 2) as many as are wanted, those in the middle columns."""
    if len(places) <= most_points:
        return places
    aside = np.abs(places[:, 0] - np.median(places[:, 0]))
    return places[np.argpartition(aside, most_points)[:most_points]]


def _hang_together(scene: FrameScene, rows: NDArray[np.int64]) -> BoolArray:
    """Which points, bool (K,), have another beside them: rain, dust and stray returns hide nothing."""
    if len(rows) < 2:
        return np.zeros(len(rows), dtype=np.bool_)
    points_m = scene.points_m[rows]
    distance_m = np.asarray(cKDTree(points_m).query(points_m, k=2)[0])[:, 1]
    return np.asarray(distance_m < usual_gaps(np.hypot(points_m[:, 0], points_m[:, 1]), scene.growth))


def _nearer_than(depth_m: NDArray[np.float32], settings: SurfaceSettings) -> NDArray[np.float32]:
    return np.asarray(depth_m * (1 - settings.margin) - settings.margin_m)


def _triangulation(places: Float32Array) -> Delaunay | None:
    """Of places (K, 2); None where they span no area."""
    if len(places) < 4:
        return None
    try:
        return Delaunay(places.astype(np.float64))
    except QhullError:
        # All on a line.
        return None


def _longest_sides(places: Float32Array, triangles: NDArray[np.int32]) -> NDArray[np.float32]:
    corners = places[triangles]
    return np.asarray(np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1))


def _usual(sides: NDArray[np.float32]) -> float:
    return float(np.percentile(sides, 60))
