"""KITTI's text files: calibrations of `key: numbers` lines, and GPS/IMU records (oxts) as poses. Layout: the KITTI development kits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from converters.sequences.rigid import are_usual
from sam4d.geometry import SE3, Float64Array
from sam4d.structures import InputError

EARTH_RADIUS_M = 6378137.0
OXTS_VALUES = 30


def calibration_lines(text: str) -> dict[str, tuple[str, ...]]:
    """{key: words} of the lines of a calibration file; not all of them are numbers."""
    entries = {}
    for line in text.splitlines():
        key, _, values = line.strip().partition(" ")
        entries[key.rstrip(":")] = tuple(values.split())
    return entries


def calibrated(entries: Mapping[str, Sequence[str]], keys: Sequence[str], shape: tuple[int, ...], where: str) -> Float64Array:
    """The first of these keys as an array. Raises InputError where none is there or it does not hold that many finite numbers."""
    key = next((key for key in keys if key in entries), None)
    if key is None:
        raise InputError(where, f"a line {keys[0]}", "none")
    try:
        values = np.array([float(word) for word in entries[key]], dtype=np.float64)
    except ValueError:
        raise InputError(f"{where}: {key}", "numbers", " ".join(entries[key])[:80]) from None
    if values.size != math.prod(shape):
        raise InputError(f"{where}: {key}", f"{math.prod(shape)} numbers", str(values.size))
    if not are_usual(values):
        raise InputError(f"{where}: {key}", "finite numbers", " ".join(entries[key])[:80])
    return values.reshape(shape)


def parse_calibration(text: str, where: str) -> SE3:
    """rect_SE3_lidar of a calibration file of KITTI tracking (or object detection). Raises InputError where it holds none."""
    entries = calibration_lines(text)
    rectification = calibrated(entries, ("R_rect", "R0_rect"), (3, 3), where)
    transform = calibrated(entries, ("Tr_velo_cam", "Tr_velo_to_cam"), (3, 4), where)
    try:
        return SE3(rectification, np.zeros(3)) @ SE3(transform[:, :3], transform[:, 3])
    except ValueError as error:
        raise InputError(where, "R_rect and Tr_velo_cam with rotations", str(error)) from None


def parse_oxts(data: bytes, where: str) -> Float64Array:
    """One record per line: latitude, longitude (degrees), altitude (m), roll, pitch, yaw (rad), float64 (F, 6).

    Raises:
        InputError: naming the line.
    """
    records = []
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        try:
            values = [float(word) for word in words[:6]]
        except ValueError:
            raise InputError(f"{where}: line {number}", "numbers", repr(line[:40])) from None
        if len(words) < 6 or not are_usual(np.array(values)) or not abs(values[0]) < 90:
            raise InputError(f"{where}: line {number}", f"{OXTS_VALUES} numbers: lat lon alt roll pitch yaw ...", repr(line[:40]))
        records.append(values)
    return np.array(records, dtype=np.float64).reshape(-1, 6)


def oxts_poses(records: Float64Array) -> tuple[SE3, ...]:
    """world_SE3_imu for records (F, 6): x east, y north, z up, by Mercator's projection at the first latitude, origin at the first record.

    As the raw development kit does it, but for the origin, which it leaves on the equator.
    """
    if not len(records):
        return ()
    scale = math.cos(math.radians(records[0, 0]))
    x_m = scale * EARTH_RADIUS_M * np.radians(records[:, 1])
    y_m = scale * EARTH_RADIUS_M * np.log(np.tan(np.radians(90 + records[:, 0]) / 2))
    places_m = np.stack([x_m, y_m, records[:, 2]], axis=1)
    places_m -= places_m[0]
    return tuple(SE3(_rotation(*angles), place_m) for angles, place_m in zip(records[:, 3:], places_m, strict=True))


def _rotation(roll_rad: float, pitch_rad: float, yaw_rad: float) -> Float64Array:
    (cr, cp, cy), (sr, sp, sy) = np.cos([roll_rad, pitch_rad, yaw_rad]), np.sin([roll_rad, pitch_rad, yaw_rad])
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x, dtype=np.float64)
