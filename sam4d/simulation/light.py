"""Where light comes from in the simulated street: the sun and its shadows, the sky and its clouds, the dark beneath a car."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from sam4d.geometry import Float64Array
from sam4d.simulation.ray_casting import RayGrid, Scene, cast
from sam4d.simulation.solids import Floats, smooth_noise
from sam4d.simulation.street import Street

SUN_DISTANCE_M = 320.0
HAZE_COLOUR = (0.62, 0.69, 0.77)


class ContactShade:
    """How much of the sky the ground sees near the objects of a moment: little beneath a car.

    Args:
        footprints_m: corners of each object on the ground, world (x, y), float64 (4, 2) each.
        center_m: world (x, y) in the middle of what is kept.
    """

    def __init__(self, footprints_m: Sequence[Float64Array], center_m: Float64Array, reach_m: float = 60.0, pixel_m: float = 0.12) -> None:
        self._corner = center_m - reach_m
        self._pixel_m = pixel_m
        size = round(2 * reach_m / pixel_m)
        covered = np.zeros((size, size), np.float32)
        for footprint in footprints_m:
            cv2.fillConvexPoly(covered, np.round((footprint - self._corner) / pixel_m).astype(np.int32), 1.0)
        wide = cv2.GaussianBlur(covered, (0, 0), 0.5 / pixel_m)
        self._open: Floats = 1 - 0.6 * np.minimum(cv2.GaussianBlur(covered, (0, 0), 0.2 / pixel_m), 1) - 0.3 * np.minimum(wide, 1)

    def open_sky(self, points: Floats) -> Floats:
        """World (x, y), (2, N) -> the share of sky light that arrives, (N,)."""
        column, row = ((points - self._corner.astype(points.dtype)[:, None]) / np.float32(self._pixel_m)).astype(np.int32)
        height, width = self._open.shape
        inside = (column >= 0) & (row >= 0) & (column < width) & (row < height)
        return np.where(inside, self._open[np.where(inside, row, 0), np.where(inside, column, 0)], 1.0).astype(points.dtype)


class Sun:
    """The sun, and what of the street lies in its shade: the distance to the first surface along each of its rays.

    Args:
        standing: what never moves, in the world frame.
        direction: towards the sun, world frame.
        pixel_m: how fine shadows are.
        first_m, last_m: the stations of the street between which there are shadows.
    """

    def __init__(self, street: Street, standing: Scene, direction: Float64Array, pixel_m: float, first_m: float, last_m: float) -> None:
        self.direction = direction / np.linalg.norm(direction)
        stations = np.linspace(first_m, last_m, 9)
        border = np.array([[*street.position(s, side * 12.0)[:2], z] for s in stations for side in (-1, 1) for z in (0.0, 4.0)])
        center = border.mean(axis=0)
        origin = center + SUN_DISTANCE_M * self.direction
        ahead = -self.direction
        right = np.cross(ahead, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        self._R = np.stack([right, np.cross(ahead, right), ahead], axis=1)
        self._origin = origin
        local = (border - origin) @ self._R
        self._focal = SUN_DISTANCE_M / pixel_m
        uv = local[:, :2] / local[:, 2:] * self._focal
        self._corner = uv.min(axis=0)
        width, height = np.ceil(uv.max(axis=0) - self._corner).astype(int) + 1
        u, v = np.meshgrid(np.arange(width) + 0.5 + self._corner[0], np.arange(height) + 0.5 + self._corner[1])
        rays = np.stack([u, v, np.full_like(u, self._focal)], axis=-1) @ self._R.T
        self._grid = RayGrid(origin, (rays / np.linalg.norm(rays, axis=2, keepdims=True)).astype(np.float32), (32, 32))
        self._pixel_m = pixel_m
        self._standing_m = self._depths(standing)

    def _depths(self, scene: Scene) -> Floats:
        return np.asarray(self._grid.whole(cast(self._grid, scene, farthest_m=np.inf).range_m))

    def light_on(self, moment: Scene, contact: ContactShade) -> Light:
        """The light while `moment`, a scene in the world frame, stands in it too."""
        return Light(self, np.minimum(self._standing_m, self._depths(moment)), contact)

    def share(self, points: Floats, normals: Floats, depths: Floats) -> Floats:
        """How much of the sun reaches world points (3, N), (N,) in [0, 1]."""
        # A little off the surface, against a surface shading itself.
        relative = points + normals * np.float32(1.2 * self._pixel_m) - self._origin.astype(points.dtype)[:, None]
        local = self._R.T.astype(points.dtype) @ relative
        distance = np.sqrt((relative * relative).sum(axis=0))
        u = local[0] / local[2] * np.float32(self._focal) - np.float32(self._corner[0]) - np.float32(0.5)
        v = local[1] / local[2] * np.float32(self._focal) - np.float32(self._corner[1]) - np.float32(0.5)
        height, width = depths.shape
        left, top = np.floor(u), np.floor(v)
        across, down = u - left, v - top
        inside = (left >= 0) & (top >= 0) & (left < width - 1) & (top < height - 1)
        column, row = np.where(inside, left, 0).astype(np.int32), np.where(inside, top, 0).astype(np.int32)
        flat, start, reach = depths.reshape(-1), row * width + column, distance - np.float32(0.04)
        lit = (
            (flat[start] > reach) * (1 - across) * (1 - down)
            + (flat[start + 1] > reach) * across * (1 - down)
            + (flat[start + width] > reach) * (1 - across) * down
            + (flat[start + width + 1] > reach) * across * down
        )
        return np.where(inside, lit, 1.0).astype(points.dtype)


@dataclass(frozen=True, eq=False)
class Light:
    """The light of one moment. depths: as the sun sees it, float32 (H, W), infinity where its light passes."""

    sun: Sun
    depths: Floats
    contact: ContactShade

    def direct(self, points: Floats, normals: Floats) -> Floats:
        """How strongly the sun lights surfaces at world points (3, N) with normals (3, N), (N,) in [0, 1]."""
        lit = np.maximum((self.sun.direction.astype(points.dtype)[:, None] * normals).sum(axis=0), 0)
        sunny = np.flatnonzero(lit > 0)
        lit[sunny] *= self.sun.share(points[:, sunny], normals[:, sunny], self.depths)
        return np.asarray(lit)


def sky(directions: Floats, sun_direction: Float64Array) -> Floats:
    """The sky's colour along world directions (3, N)."""
    up = np.clip(directions[2], 0, 1)
    blend = np.sqrt(up)
    horizon = np.array(HAZE_COLOUR, directions.dtype)[:, None]
    zenith = np.array([0.13, 0.28, 0.58], directions.dtype)[:, None]
    colour = horizon + (zenith - horizon) * blend
    toward_sun = np.clip(sun_direction.astype(directions.dtype) @ directions, 0, 1)
    glow = (0.35 * toward_sun**24 + 0.12 * toward_sun**4).astype(directions.dtype)
    return np.asarray(colour + glow * np.array([1.0, 0.9, 0.7], directions.dtype)[:, None])


def clouds(directions: Floats, seed: int) -> Floats:
    """How much cloud lies along world directions (3, N), (N,) in [0, 1]: fair-weather cumulus on a plane high above."""
    plane = directions[:2] / np.maximum(directions[2], 0.04) * np.float32(1.6)
    total = np.zeros(directions.shape[1], directions.dtype)
    for octave, weight in enumerate((0.5, 0.26, 0.14, 0.10)):
        total += np.float32(weight) * smooth_noise(plane, 2.1**-octave, seed + octave)
    cover = np.clip((total - 0.47) / 0.22, 0, 1)
    fade = np.clip((directions[2] - 0.03) / 0.12, 0, 1)
    return np.asarray(cover * cover * (3 - 2 * cover) * fade * np.float32(0.85))
