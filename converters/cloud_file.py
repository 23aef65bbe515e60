"""A sweep as the 3D view reads it: ready for the graphics card, whatever layout it was recorded in.

Little endian: the four letters `S4DC`, uint32 version, uint32 number of points N, uint32 0; float32 x y z of every point, metres, LiDAR
frame; uint8 intensity of every point, 0 to 255 between the sweep's own 2nd and 98th percentile, padded to a multiple of 4; int16
height above the local ground of every point, centimetres. Points that are not finite are NaN with height -32768, so that masks index
the rows of the sweep.
"""

from __future__ import annotations

import struct

import numpy as np

from converters.columns import coarse_ground
from sam4d.structures import Float32Array, Sweep, UInt8Array

CLOUD_VERSION = 1
NO_HEIGHT = -32768
_MAGIC = b"S4DC"


def encode_cloud(sweep: Sweep) -> bytes:
    """The sweep, row for row."""
    points_m = np.ascontiguousarray(sweep.points_m, dtype="<f4").copy()
    finite = np.isfinite(points_m).all(axis=1)
    points_m[~finite] = np.nan
    height_cm = np.full(len(points_m), NO_HEIGHT, dtype="<i2")
    if finite.any():
        above_m = points_m[finite, 2] - coarse_ground(points_m).at(points_m[finite, :2])
        height_cm[finite] = np.clip(np.round(above_m * 100), NO_HEIGHT + 1, -NO_HEIGHT - 1).astype("<i2")
    intensity = _intensity(sweep.intensity, len(points_m)).tobytes()
    padding = b"\0" * (-len(intensity) % 4)
    return struct.pack("<4sIII", _MAGIC, CLOUD_VERSION, len(points_m), 0) + points_m.tobytes() + intensity + padding + height_cm.tobytes()


def _intensity(intensity: Float32Array | None, count: int) -> UInt8Array:
    """Sources count to 1, to 255 or to anything: the sweep's own range says what is bright."""
    if intensity is None or not np.isfinite(intensity).any():
        return np.full(count, 128, dtype=np.uint8)
    values = intensity.astype(np.float64)
    low, high = np.percentile(values[np.isfinite(values)], (2, 98))
    values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    brightness: UInt8Array = np.round(255 * np.clip((values - low) / max(high - low, 1e-9), 0, 1)).astype(np.uint8)
    return brightness
