"""How large an object is when only some of its sides are seen: what all frames show together, completed to what is usual for its kind.

Positions here are local: x along the heading, y across, height above ground.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sam4d.geometry import Float64Array
from sam4d.object_kinds import usual_size

OUTLYING_SHARE = 0.1
"""Of the frames, so many may show too much (a neighbour taken along) without making the object larger."""

FLAT, PLAIN = 0.1, 0.4
"""A side seen under an angle smaller than the first (sine) shows nothing of its extent, under one larger than the second all of it."""

SEEN_TRUST = 0.7
"""Even in full view the points end before the object does; what is still missing to the usual size is believed for the rest."""

LEAST_M = 0.1


@dataclass(frozen=True, eq=False)
class LocalView:
    """One frame's points of the object, float64 (K, 3), K >= 1, and where the sensor was, (2,)."""

    points_m: Float64Array
    sensor_m: Float64Array


@dataclass(frozen=True, eq=False)
class Extent:
    """low_m, high_m (2,) along and across; height_m above ground."""

    low_m: Float64Array
    high_m: Float64Array
    height_m: float

    @property
    def size_m(self) -> Float64Array:
        return np.asarray(self.high_m - self.low_m)


def visible_extent(views: Sequence[LocalView]) -> Extent:
    """What the frames show together, those apart that show far more than the others."""
    lows = np.array([np.percentile(view.points_m[:, :2], 0.5, axis=0) for view in views])
    highs = np.array([np.percentile(view.points_m[:, :2], 99.5, axis=0) for view in views])
    tops = np.array([np.percentile(view.points_m[:, 2], 99.5) for view in views])
    passed = int(OUTLYING_SHARE * len(views))
    low, high = np.sort(lows, axis=0)[passed], np.sort(highs, axis=0)[-1 - passed]
    return Extent(low, np.maximum(high, low), float(np.sort(tops)[-1 - passed]))


def hidden_share(seen: Extent, views: Sequence[LocalView], label: str) -> float:
    """How much that should be seen is not, were this the heading: 0 where all sides that face the sensor show their usual extent.

    A side counts by the angle under which it is seen. Being wider than anything of its kind counts as well.
    """
    size = usual_size(label, float(seen.size_m.max()), float(seen.size_m.min()), seen.height_m)
    usual = np.array([size.length_m, size.width_m])
    if not (usual > 0).all() or size.least_length_m < 1.15 * size.width_m:
        return 0.0
    missing = np.maximum(usual - seen.size_m, 0) / usual
    too_wide = max(float(seen.size_m[1]) - size.most_width_m, 0.0)
    return float(np.mean([_sines(seen, view) @ missing for view in views])) + too_wide


def completed_extent(seen: Extent, views: Sequence[LocalView], label: str) -> Extent:
    """The whole object: hidden parts lie away from the sensor."""
    size = usual_size(label, float(seen.size_m.max()), float(seen.size_m.min()), seen.height_m)
    low, high = seen.low_m.copy(), seen.high_m.copy()
    for axis, (least, usual, most) in enumerate(
        ((size.least_length_m, size.length_m, size.most_length_m), (size.least_width_m, size.width_m, size.most_width_m))
    ):
        if high[axis] - low[axis] > most:
            low[axis], high[axis] = _fullest_window(views, axis, most)
        low[axis], high[axis] = low[axis] - size.rounding_m / 2, high[axis] + size.rounding_m / 2
        whole = high[axis] - low[axis]
        believed = SEEN_TRUST * np.clip((max(float(_sines(seen, view)[axis]) for view in views) - FLAT) / (PLAIN - FLAT), 0, 1)
        if whole < least:
            whole = usual
        whole = max(whole, believed * whole + (1 - believed) * usual)
        low[axis], high[axis] = _grown_to(whole, float(low[axis]), float(high[axis]), [float(view.sensor_m[axis]) for view in views])
    height = min(seen.height_m, size.most_height_m)
    return Extent(low, high, size.height_m if height < size.least_height_m else height)


def _sines(seen: Extent, view: LocalView) -> Float64Array:
    """Of the angles under which the sensor sees the sides that run along each axis, (2,); 0 where it sees none."""
    middle = (seen.low_m + seen.high_m) / 2
    beside = np.maximum(np.maximum(view.sensor_m - seen.high_m, seen.low_m - view.sensor_m), 0)
    return np.asarray(beside[::-1] / max(float(np.hypot(*(view.sensor_m - middle))), 1e-6))


def _grown_to(whole_m: float, low_m: float, high_m: float, sensors_m: Sequence[float]) -> tuple[float, float]:
    missing = max(whole_m - (high_m - low_m), LEAST_M - (high_m - low_m), 0.0)
    sensor = float(np.median(sensors_m))
    if sensor > high_m:
        return low_m - missing, high_m
    if sensor < low_m:
        return low_m, high_m + missing
    return low_m - missing / 2, high_m + missing / 2


def _fullest_window(views: Sequence[LocalView], axis: int, width_m: float) -> tuple[float, float]:
    """Where along an axis a window of that width holds most points."""
    places = np.sort(np.concatenate([view.points_m[:, axis] for view in views]))
    inside = np.searchsorted(places, places + width_m, side="right") - np.arange(len(places))
    first = int(np.argmax(inside))
    return float(places[first]), float(places[first + inside[first] - 1])
