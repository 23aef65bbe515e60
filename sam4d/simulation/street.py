"""The street: a gently curved road on a slope, curbs and pavements, and the place of things along it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sam4d.geometry import SE3, BoolArray
from sam4d.simulation.solids import Floats


@dataclass(frozen=True)
class Street:
    """A road along a circular arc over a surface z = grade x + bank y + sag x^2, pavements behind curbs on both sides.

    `station` runs along the centre line, `lateral` to its left, both in metres; traffic keeps to the right.
    """

    curvature_per_m: float = 1 / 260
    grade: float = 0.012
    bank: float = 0.006
    sag_per_m: float = 0.00015
    half_width_m: float = 6.5
    curb_height_m: float = 0.14
    pavement_width_m: float = 3.4
    lane_m: float = 1.65
    crossing_m: float = 34.0

    def surface_z(self, x: Floats, y: Floats) -> Floats:
        """Height of the road's surface (of its continuation beneath the pavements too)."""
        return self.grade * x + self.bank * y + self.sag_per_m * x * x

    def coordinates(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """World (x, y) -> station and lateral."""
        radius = 1 / self.curvature_per_m
        sign = np.sign(radius)
        lateral = radius - sign * np.hypot(x, y - radius)
        return abs(radius) * np.arctan2(x, -sign * (y - radius)), lateral

    def position(self, station_m: float, lateral_m: float) -> tuple[float, float, float]:
        """World (x, y) and the heading of the road there."""
        radius, heading = 1 / self.curvature_per_m, station_m * self.curvature_per_m
        x = radius * np.sin(heading) - lateral_m * np.sin(heading)
        y = radius * (1 - np.cos(heading)) + lateral_m * np.cos(heading)
        return float(x), float(y), float(heading)

    def _base(self, x: float, y: float, lateral_m: float) -> float:
        curb = self.curb_height_m if abs(lateral_m) > self.half_width_m else 0.0
        return float(self.grade * x + self.bank * y + self.sag_per_m * x * x) + curb

    def upright(self, station_m: float, lateral_m: float, yaw_rad: float = 0.0) -> SE3:
        """world_SE3_object of something that stands upright, its origin on the ground, its heading relative to the road's."""
        x, y, heading = self.position(station_m, lateral_m)
        return SE3.from_yaw(heading + yaw_rad, [x, y, self._base(x, y, lateral_m)])

    def resting(self, station_m: float, lateral_m: float, yaw_rad: float = 0.0, height_m: float = 0.0) -> SE3:
        """world_SE3_object of something on wheels: it leans with the slope. `height_m` above the ground, along its normal."""
        x, y, heading = self.position(station_m, lateral_m)
        up = np.array([-(self.grade + 2 * self.sag_per_m * x), -self.bank, 1.0])
        up /= np.linalg.norm(up)
        ahead = np.array([np.cos(heading + yaw_rad), np.sin(heading + yaw_rad), 0.0])
        ahead -= up * (ahead @ up)
        ahead /= np.linalg.norm(ahead)
        rotation = np.stack([ahead, np.cross(up, ahead), up], axis=1)
        return SE3(rotation, np.array([x, y, self._base(x, y, lateral_m)]) + height_m * up)

    def cast(self, origin_m: Floats, directions: Floats, farthest_m: float) -> Floats:
        """Ranges (K,) at which rays from one origin (3,) above the road along unit directions (3, K) meet the ground, or infinity."""
        road = self._cast_surface(origin_m, directions, 0.0)
        pavement = self._cast_surface(origin_m, directions, self.curb_height_m)
        reachable = np.flatnonzero(pavement < farthest_m)
        ranges = np.full(directions.shape[1], np.inf, directions.dtype)
        directions, road, pavement = directions[:, reachable], road[reachable], pavement[reachable]
        on_pavement = self._beside_road(origin_m, directions, pavement)
        # Neither on the pavement nor on the road: the ray meets the face of the curb in between.
        at_curb = np.flatnonzero(~on_pavement & self._beside_road(origin_m, directions, road))
        answer = np.where(on_pavement, pavement, road)
        low, high, steep = pavement[at_curb], road[at_curb], directions[:, at_curb]
        for _ in range(14):
            middle = (low + high) / 2
            beside = self._beside_road(origin_m, steep, middle)
            low, high = np.where(beside, low, middle), np.where(beside, middle, high)
        answer[at_curb] = high
        answer[answer > farthest_m] = np.inf
        ranges[reachable] = answer
        return ranges

    def _beside_road(self, origin_m: Floats, directions: Floats, ranges: Floats) -> BoolArray:
        x, y = (origin_m[axis] + ranges * directions[axis] for axis in (0, 1))
        radius = 1 / self.curvature_per_m
        return np.asarray(np.abs(abs(radius) - np.hypot(x, y - radius)) > self.half_width_m)

    def _cast_surface(self, origin_m: Floats, directions: Floats, raised_m: float) -> Floats:
        # Seen along a ray, the convex surface is a parabola below it: exactly one root ahead, written without cancellation.
        height = float(origin_m[2] - self.surface_z(origin_m[0], origin_m[1]) - raised_m)
        a = self.sag_per_m * directions[0] ** 2
        b = directions[2] - (self.grade + 2 * self.sag_per_m * float(origin_m[0])) * directions[0] - self.bank * directions[1]
        with np.errstate(divide="ignore"):
            return np.asarray(2 * height / (np.sqrt(b * b + 4 * a * height) - b)).astype(directions.dtype)
