"""What a sweep says of places it did not hit: nothing stands between the sensor and a return."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from sam4d.geometry import BoolArray

AZIMUTH_BINS = 1440
ELEVATION_BIN_RAD = np.deg2rad(0.4)
LOWEST_RAD = np.deg2rad(-40.0)
ELEVATION_BINS = 200
MARGIN_M = 0.2
"""A return this far behind a voxel's middle went past it, whatever the noise of both."""


class SweepRanges:
    """The nearest return in every direction of one sweep, in its LiDAR frame; directions without any say nothing."""

    def __init__(self, points_m: NDArray[np.floating]) -> None:
        nearest = np.full(AZIMUTH_BINS * ELEVATION_BINS, np.inf, dtype=np.float32)
        bins, ranges_m = _directions(points_m[np.isfinite(points_m).all(axis=1)])
        known = bins >= 0
        np.minimum.at(nearest, bins[known], ranges_m[known])
        self._nearest_m = nearest

    def seen_empty(self, places_m: NDArray[np.floating]) -> BoolArray:
        """Which places (K, 3), LiDAR frame, every return in their direction lies behind, bool (K,)."""
        return self._beyond_m(places_m) > MARGIN_M

    def seen_through(self, places_m: NDArray[np.floating]) -> BoolArray:
        """Which places (K, 3), LiDAR frame, are empty, and so is what lies around them in the neighbouring directions, bool (K,).

        Beams that pass a far object at an arm's length say nothing of its edge: what is that near to a return is not empty.
        """
        through = self.seen_empty(places_m)
        candidates = np.flatnonzero(through)
        bins, ranges_m = _directions(np.asarray(places_m)[candidates])
        for up, around in product((-1, 0, 1), repeat=2):
            row = np.clip(bins // AZIMUTH_BINS + up, 0, ELEVATION_BINS - 1)
            beside = row * AZIMUTH_BINS + (bins + around) % AZIMUTH_BINS
            through[candidates[np.abs(self._nearest_m[beside] - ranges_m) <= MARGIN_M]] = False
        return through

    def seen_filled(self, places_m: NDArray[np.floating]) -> BoolArray:
        """Which places (K, 3), LiDAR frame, a return lies at, bool (K,). What is neither empty nor filled is hidden, or nobody knows."""
        return np.abs(self._beyond_m(places_m)) <= MARGIN_M

    def _beyond_m(self, places_m: NDArray[np.floating]) -> NDArray[np.float32]:
        """How far behind each place the nearest return of its direction lies, float32 (K,); NaN where there is none."""
        bins, ranges_m = _directions(places_m)
        nearest = np.where(bins >= 0, self._nearest_m[np.maximum(bins, 0)], np.inf)
        return np.where(np.isfinite(nearest), nearest - ranges_m, np.nan).astype(np.float32)


def _directions(points_m: NDArray[np.floating]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The bin of each direction, -1 outside the field of view, and the ranges in metres."""
    x, y, z = np.asarray(points_m, dtype=np.float32).T
    flat = np.hypot(x, y)
    azimuth = np.minimum(((np.arctan2(y, x) + np.pi) * (AZIMUTH_BINS / (2 * np.pi))).astype(np.int64), AZIMUTH_BINS - 1)
    elevation = np.floor((np.arctan2(z, flat) - LOWEST_RAD) / ELEVATION_BIN_RAD).astype(np.int64)
    inside = (elevation >= 0) & (elevation < ELEVATION_BINS)
    return np.where(inside, elevation * AZIMUTH_BINS + azimuth, -1), np.hypot(flat, z)
