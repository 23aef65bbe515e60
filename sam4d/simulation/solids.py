"""The solids a simulated scene is built of, each with an exact ray intersection, and what their surfaces look like.

Arrays of points and directions are component first, (3, K), which keeps every operation on contiguous memory. A solid is described in
its own frame, centred on its bounding box.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.random import default_rng
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

from sam4d.geometry import SE3, Float64Array
from sam4d.structures import Float32Array

Floats: TypeAlias = NDArray[np.floating[Any]]
Colour: TypeAlias = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Surface:
    """What K points of a surface look like: colour (3, K) linear in [0, 1], LiDAR reflectance (K,) and gloss (K,), both in [0, 1]."""

    colour: Floats
    reflectance: Floats
    gloss: Floats


Pattern: TypeAlias = Callable[[Floats], Surface]
"""Points (3, K) in the solid's frame -> how they look."""


def uniform(colour: Colour, reflectance: float = 0.3, gloss: float = 0.0) -> Pattern:
    """The same look everywhere."""

    def pattern(points: Floats) -> Surface:
        count = points.shape[1]
        dtype = points.dtype
        return Surface(
            np.repeat(np.array(colour, dtype)[:, None], count, axis=1), np.full(count, reflectance, dtype), np.full(count, gloss, dtype)
        )

    return pattern


def layered(base: Pattern, *layers: tuple[Callable[[Floats], NDArray[np.bool_]], Pattern]) -> Pattern:
    """`base`, painted over by each pattern where its condition on the points holds, later layers on top."""

    def pattern(points: Floats) -> Surface:
        surface = base(points)
        for condition, over in layers:
            where = condition(points)
            if where.any():
                painted = over(points[:, where])
                surface.colour[:, where] = painted.colour
                surface.reflectance[where] = painted.reflectance
                surface.gloss[where] = painted.gloss
        return surface

    return pattern


@lru_cache(maxsize=1)
def _random_table() -> Float32Array:
    return default_rng(20).random(1 << 16, dtype=np.float32)


def _table_index(cells: NDArray[np.int32], salt: int) -> NDArray[np.int32]:
    index = np.full(cells.shape[1], (salt * 40503) & 0xFFFF, np.int32)
    for cell, step in zip(cells, (1, 257, 12347), strict=False):
        index += cell * np.int32(step)
    return index


def noise(points: Floats, cell_m: float, salt: int = 0) -> Float32Array:
    """A repeatable random number in [0, 1) for the cell of space each point (2 or 3, K) lies in, float32 (K,)."""
    cells = np.floor(points * np.float32(1 / cell_m)).astype(np.int32)
    return np.asarray(_random_table()[_table_index(cells, salt) & 0xFFFF])


def smooth_noise(points: Floats, cell_m: float, salt: int = 0) -> Float32Array:
    """The same, without edges: between the corners of a lattice, for points (2, K), float32 (K,)."""
    scaled = (points * np.float32(1 / cell_m)).astype(np.float32)
    cells = np.floor(scaled)
    part = scaled - cells
    part = part * part * (3 - 2 * part)
    table, index = _random_table(), _table_index(cells.astype(np.int32), salt)
    low = table[index & 0xFFFF]
    low += (table[(index + 1) & 0xFFFF] - low) * part[0]
    high = table[(index + 257) & 0xFFFF]
    high += (table[(index + 258) & 0xFFFF] - high) * part[0]
    return np.asarray(low + (high - low) * part[1])


class Shape(Protocol):
    """A closed surface around the origin of its own frame."""

    @property
    def half_extents_m(self) -> Float64Array:
        """Half the sides of the axis-aligned box around the shape, float64 (3,)."""
        ...

    def enter(self, points: Floats, directions: Floats) -> Floats:
        """Where rays from `points` (3, K) along unit `directions` (3, K) first meet the shape, (K,); infinity where they miss.

        The points may lie anywhere along their rays: the answer may be negative.
        """
        ...

    def normals(self, points: Floats) -> Floats:
        """Outward unit normals (3, K) at points on the surface."""
        ...

    def support_m(self, directions: Float64Array) -> Float64Array:
        """How far the shape reaches along unit directions (3, M), float64 (M,)."""
        ...


@dataclass(frozen=True, eq=False)
class Solid:
    """A shape put at a place in its object's frame. `roughness_m` scatters LiDAR returns along the ray, as leaves do."""

    shape: Shape
    object_SE3_solid: SE3
    pattern: Pattern
    roughness_m: float = 0.0


def _slab(points: Floats, directions: Floats, half_m: float) -> tuple[Floats, Floats]:
    """Entry and exit of the space between two parallel planes, for one coordinate (K,)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = 1.0 / directions
        middle = -points * inverse
        reach = np.abs(half_m * inverse)
    parallel = directions == 0
    if parallel.any():
        inside = np.abs(points) <= half_m
        middle = np.where(parallel, 0.0, middle)
        reach = np.where(parallel, np.where(inside, np.inf, -np.inf), reach)
    return middle - reach, middle + reach


def _between(enter: Floats, leave: Floats) -> Floats:
    return np.where(enter <= leave, enter, np.inf).astype(enter.dtype)


@dataclass(frozen=True, eq=False)
class Box:
    """A cuboid of the given sides in metres."""

    size_m: tuple[float, float, float]

    @property
    def half_extents_m(self) -> Float64Array:
        return np.array(self.size_m) / 2

    def enter(self, points: Floats, directions: Floats) -> Floats:
        enter, leave = _slab(points[0], directions[0], self.size_m[0] / 2)
        for axis in (1, 2):
            first, last = _slab(points[axis], directions[axis], self.size_m[axis] / 2)
            enter, leave = np.maximum(enter, first), np.minimum(leave, last)
        return _between(enter, leave)

    def normals(self, points: Floats) -> Floats:
        half = self.half_extents_m.astype(points.dtype)[:, None]
        axis = np.argmax(np.abs(points) - half, axis=0)
        columns = np.arange(points.shape[1])
        normals = np.zeros_like(points)
        normals[axis, columns] = np.sign(points[axis, columns])
        return normals

    def support_m(self, directions: Float64Array) -> Float64Array:
        return np.asarray(self.half_extents_m @ np.abs(directions))


class Polyhedron:
    """The convex hull of vertices, float64 (V, 3), which are shifted so that their bounding box is centred; `center_m` is where it was."""

    def __init__(self, vertices_m: Sequence[Sequence[float]] | Float64Array) -> None:
        vertices = np.asarray(vertices_m, dtype=np.float64)
        self.center_m: Float64Array = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
        self._vertices = vertices - self.center_m
        equations = ConvexHull(self._vertices).equations
        _, unique = np.unique(np.round(equations, 6), axis=0, return_index=True)
        self._normals: Float64Array = equations[np.sort(unique), :3]
        self._offsets: Float64Array = -equations[np.sort(unique), 3]

    @property
    def half_extents_m(self) -> Float64Array:
        return np.asarray(self._vertices.max(axis=0))

    def enter(self, points: Floats, directions: Floats) -> Floats:
        size = 2 * self.half_extents_m
        ranges = Box((float(size[0]), float(size[1]), float(size[2]))).enter(points, directions)
        near = np.flatnonzero(np.isfinite(ranges))
        points, directions = points[:, near], directions[:, near]
        enter = np.full(len(near), -np.inf, points.dtype)
        leave = np.full(len(near), np.inf, points.dtype)
        for normal, offset in zip(self._normals.astype(points.dtype), self._offsets.astype(points.dtype), strict=True):
            slope = normal @ directions
            gap = offset - normal @ points
            with np.errstate(divide="ignore", invalid="ignore"):
                crossing = gap / slope
            np.maximum(enter, crossing, out=enter, where=slope < 0)
            np.minimum(leave, crossing, out=leave, where=slope > 0)
            leave[(slope == 0) & (gap < 0)] = -np.inf
        ranges[near] = _between(enter, leave)
        return ranges

    def normals(self, points: Floats) -> Floats:
        normals = self._normals.astype(points.dtype)
        face = np.argmax(normals @ points - self._offsets.astype(points.dtype)[:, None], axis=0)
        return np.asarray(normals[face].T)

    def support_m(self, directions: Float64Array) -> Float64Array:
        return np.asarray((self._vertices @ directions).max(axis=0))


@dataclass(frozen=True, eq=False)
class Cylinder:
    """An elliptic cylinder about z, radii and half height in metres."""

    radius_x_m: float
    radius_y_m: float
    half_height_m: float

    @property
    def half_extents_m(self) -> Float64Array:
        return np.array([self.radius_x_m, self.radius_y_m, self.half_height_m])

    def enter(self, points: Floats, directions: Floats) -> Floats:
        enter, leave = _slab(points[2], directions[2], self.half_height_m)
        side_enter, side_leave = _round(
            points[:2], directions[:2], np.array([[1 / self.radius_x_m], [1 / self.radius_y_m]], dtype=points.dtype)
        )
        return _between(np.maximum(enter, side_enter), np.minimum(leave, side_leave))

    def normals(self, points: Floats) -> Floats:
        x, y = points[0] / self.radius_x_m, points[1] / self.radius_y_m
        below_cap = self.half_height_m - np.abs(points[2])
        below_side = (1 - np.hypot(x, y)) * min(self.radius_x_m, self.radius_y_m)
        cap = below_cap < below_side
        normals = np.stack([x / self.radius_x_m, y / self.radius_y_m, np.zeros_like(x)])
        normals /= np.maximum(np.linalg.norm(normals, axis=0), 1e-9)
        return np.where(cap, np.stack([np.zeros_like(x), np.zeros_like(x), np.sign(points[2])]), normals)

    def support_m(self, directions: Float64Array) -> Float64Array:
        side = np.hypot(self.radius_x_m * directions[0], self.radius_y_m * directions[1])
        return np.asarray(side + self.half_height_m * np.abs(directions[2]))


def _round(points: Floats, directions: Floats, scale: Floats) -> tuple[Floats, Floats]:
    """Entry and exit of the unit ball (or circle) after scaling each coordinate."""
    p, d = points * scale, directions * scale
    a = np.maximum((d * d).sum(axis=0), 1e-12)
    b = (p * d).sum(axis=0)
    discriminant = b * b - a * ((p * p).sum(axis=0) - 1)
    root = np.sqrt(np.maximum(discriminant, 0))
    miss = discriminant < 0
    return np.where(miss, np.inf, (-b - root) / a), np.where(miss, -np.inf, (-b + root) / a)


@dataclass(frozen=True, eq=False)
class Ellipsoid:
    """Half axes in metres."""

    half_axes_m: tuple[float, float, float]

    @property
    def half_extents_m(self) -> Float64Array:
        return np.array(self.half_axes_m)

    def enter(self, points: Floats, directions: Floats) -> Floats:
        scale = (1 / self.half_extents_m).astype(points.dtype)[:, None]
        return _round(points, directions, scale)[0].astype(points.dtype)

    def normals(self, points: Floats) -> Floats:
        normals = points / (self.half_extents_m**2).astype(points.dtype)[:, None]
        return np.asarray(normals / np.maximum(np.linalg.norm(normals, axis=0), 1e-9))

    def support_m(self, directions: Float64Array) -> Float64Array:
        return np.asarray(np.linalg.norm(self.half_extents_m[:, None] * directions, axis=0))


def turned(points: Floats) -> Floats:
    """Askew, so that the cells of `noise` do not line up with anything."""
    turn = np.array([[0.64, 0.48, -0.6], [-0.6, 0.8, 0.0], [0.48, 0.36, 0.8]], points.dtype)
    return np.asarray(turn @ points)


@dataclass(frozen=True, eq=False)
class Foliage:
    """A mass of leaves: an ellipsoid whose outline is ragged, half axes in metres."""

    half_axes_m: tuple[float, float, float]
    salt: int

    @property
    def half_extents_m(self) -> Float64Array:
        return np.array(self.half_axes_m)

    def enter(self, points: Floats, directions: Floats) -> Floats:
        scale = (1 / self.half_extents_m).astype(points.dtype)[:, None]
        ranges = _round(points, directions, scale)[0].astype(points.dtype)
        met = np.flatnonzero(np.isfinite(ranges))
        where = points[:, met] + ranges[met] * directions[:, met]
        slant = -(self._outward(where) * directions[:, met]).sum(axis=0)
        gaps = slant < 0.35 * noise(where, 0.17, self.salt) + 0.4 * noise(turned(where), 0.07, self.salt) - 0.06
        ranges[met[gaps]] = np.inf
        return ranges

    def _outward(self, points: Floats) -> Floats:
        return Ellipsoid(self.half_axes_m).normals(points)

    def normals(self, points: Floats) -> Floats:
        # Leaves face every way: what is seen is lit unevenly.
        askew = turned(points)
        jitter = np.stack([noise(askew, 0.07, self.salt + axis) + noise(points, 0.19, self.salt + axis) - 1 for axis in (1, 2, 3)])
        normals = self._outward(points) + 0.6 * jitter.astype(points.dtype)
        return np.asarray(normals / np.maximum(np.linalg.norm(normals, axis=0), 1e-9))

    def support_m(self, directions: Float64Array) -> Float64Array:
        return Ellipsoid(self.half_axes_m).support_m(directions)


@dataclass(frozen=True, eq=False)
class Ring:
    """A flat tube about z, as a bicycle's wheel: radii and half height in metres."""

    inner_radius_m: float
    outer_radius_m: float
    half_height_m: float

    @property
    def half_extents_m(self) -> Float64Array:
        return np.array([self.outer_radius_m, self.outer_radius_m, self.half_height_m])

    def enter(self, points: Floats, directions: Floats) -> Floats:
        low, high = _slab(points[2], directions[2], self.half_height_m)
        outer_enter, outer_leave = _round(points[:2], directions[:2], np.full((2, 1), 1 / self.outer_radius_m, points.dtype))
        inner_enter, inner_leave = _round(points[:2], directions[:2], np.full((2, 1), 1 / self.inner_radius_m, points.dtype))
        enter, leave = np.maximum(low, outer_enter), np.minimum(high, outer_leave)
        # A ray that comes in through the hole meets the ring where it leaves the hole, if it is then still inside the rest.
        in_hole = (enter > inner_enter) & (enter < inner_leave)
        enter = np.where(in_hole, inner_leave, enter)
        return _between(enter, leave)

    def normals(self, points: Floats) -> Floats:
        radius = np.maximum(np.hypot(points[0], points[1]), 1e-9)
        middle = (self.inner_radius_m + self.outer_radius_m) / 2
        below_side = np.minimum(np.abs(self.outer_radius_m - radius), np.abs(radius - self.inner_radius_m))
        cap = self.half_height_m - np.abs(points[2]) < below_side
        outward = np.sign(radius - middle) / radius
        zero = np.zeros_like(radius)
        return np.where(cap, np.stack([zero, zero, np.sign(points[2])]), np.stack([points[0] * outward, points[1] * outward, zero]))

    def support_m(self, directions: Float64Array) -> Float64Array:
        return Cylinder(self.outer_radius_m, self.outer_radius_m, self.half_height_m).support_m(directions)


def box(center_m: Sequence[float], size_m: tuple[float, float, float], pattern: Pattern, yaw_rad: float = 0.0) -> Solid:
    """A box at a place in its object's frame."""
    return Solid(Box(size_m), SE3.from_yaw(yaw_rad, center_m), pattern)


def ellipsoid(center_m: Sequence[float], half_axes_m: tuple[float, float, float], pattern: Pattern, roughness_m: float = 0.0) -> Solid:
    return Solid(Ellipsoid(half_axes_m), SE3(np.eye(3), np.array(center_m, dtype=np.float64)), pattern, roughness_m)


def polyhedron(vertices_m: Sequence[Sequence[float]] | Float64Array, pattern: Pattern) -> Solid:
    """The convex hull of vertices given in the object's frame. The pattern sees points in the object's frame, not the solid's."""
    shape = Polyhedron(vertices_m)
    center = shape.center_m
    return Solid(shape, SE3(np.eye(3), center), lambda points: pattern((points + center[:, None]).astype(points.dtype)))


def rod(start_m: Sequence[float], end_m: Sequence[float], radius_m: float, pattern: Pattern) -> Solid:
    """A round rod between two places in the object's frame."""
    middle, rotation, length = _along(start_m, end_m)
    return Solid(Cylinder(radius_m, radius_m, length / 2), SE3(rotation, middle), pattern)


def limb(start_m: Sequence[float], end_m: Sequence[float], radius_m: float, pattern: Pattern) -> Solid:
    """A long ellipsoid that reaches a little beyond two places in the object's frame."""
    middle, rotation, length = _along(start_m, end_m)
    return Solid(Ellipsoid((radius_m, radius_m, length / 2 + radius_m / 2)), SE3(rotation, middle), pattern)


def _along(start_m: Sequence[float], end_m: Sequence[float]) -> tuple[Float64Array, Float64Array, float]:
    """Middle, a rotation whose z axis runs from start to end, and the length between them."""
    start, end = np.array(start_m, dtype=np.float64), np.array(end_m, dtype=np.float64)
    length = float(np.linalg.norm(end - start))
    z = (end - start) / length
    x = np.cross([0.0, 1.0, 0.0] if abs(z[1]) < 0.9 else [1.0, 0.0, 0.0], z)
    x /= np.linalg.norm(x)
    return (start + end) / 2, np.stack([x, np.cross(z, x), z], axis=1), length
