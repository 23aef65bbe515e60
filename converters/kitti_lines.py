"""A line of a KITTI label file: `frame id type truncated occluded alpha x1 y1 x2 y2 h w l x y z ry`, and a score in results of a tracker.

The box's bottom centre and its turn `ry` about y stand in the rectified camera's frame. Layout: the development kit of the KITTI tracking
benchmark.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

import numpy as np

from sam4d.geometry import SE3, wrap_angle
from sam4d.structures import Cuboid, InputError

_UNKNOWN_SIZE_M, _UNKNOWN_POSITION_M, _UNKNOWN_ANGLE_RAD = -1.0, -1000.0, -10.0
_FIELDS = ("frame", "id", "type", "truncated", "occluded", "alpha", "x1", "y1", "x2", "y2", "h", "w", "l", "x", "y", "z", "ry")


@dataclass(frozen=True)
class KittiObject:
    """One line of a label file, its cuboid in the LiDAR frame.

    truncated: 0 in the image, 1 partly, 2 largely outside it. occluded: 0 visible, 1 partly, 2 largely hidden, 3 unknown.
    box_px: x1, y1, x2, y2. cuboid: None where the line gives none. score: only in results of a tracker.
    """

    frame_index: int
    track_id: int
    label: str
    truncated: int
    occluded: int
    box_px: tuple[float, float, float, float]
    cuboid: Cuboid | None
    score: float | None = None


def format_label_line(item: KittiObject, rect_SE3_lidar: SE3) -> str:
    """One line of a label file. The angle alpha, at which the camera sees the object, follows from the rest."""
    height = width = length = _UNKNOWN_SIZE_M
    x = y = z = _UNKNOWN_POSITION_M
    ry_rad = alpha_rad = _UNKNOWN_ANGLE_RAD
    if item.cuboid is not None:
        length, width, height = item.cuboid.size_lwh_m
        heading = rect_SE3_lidar.rotation @ np.array([np.cos(item.cuboid.yaw_rad), np.sin(item.cuboid.yaw_rad), 0.0])
        x, y, z = rect_SE3_lidar.apply(np.array(item.cuboid.center_m)) + np.array([0.0, height / 2, 0.0])
        ry_rad = float(np.arctan2(-heading[2], heading[0]))
        alpha_rad = wrap_angle(ry_rad - float(np.arctan2(x, z)))
    label = re.sub(r"[\s%]", lambda match: quote(match.group()), item.label)
    numbers = (alpha_rad, *item.box_px, height, width, length, x, y, z, ry_rad, *([] if item.score is None else [item.score]))
    values = " ".join(f"{value:.6f}" for value in numbers)
    return f"{item.frame_index} {item.track_id} {label} {item.truncated} {item.occluded} {values}"


def parse_label_line(line: str, rect_SE3_lidar: SE3, where: str) -> KittiObject:
    """Inverse of `format_label_line`. Raises InputError where the line is none."""
    words = line.split()
    if len(words) not in (len(_FIELDS), len(_FIELDS) + 1):
        raise InputError(where, f"{len(_FIELDS)} values ({' '.join(_FIELDS)}), or one more with a score", str(len(words)))
    values = {field: _number(word, f"{where}: {field}") for field, word in zip((*_FIELDS, "score"), words, strict=False) if field != "type"}
    for field in ("frame", "id", "truncated", "occluded"):
        if values[field] != int(values[field]) or (field == "frame" and values[field] < 0):
            raise InputError(f"{where}: {field}", "a whole number", words[_FIELDS.index(field)])
    cuboid = None
    if min(values["h"], values["w"], values["l"]) >= 0:
        center_m = np.array([values["x"], values["y"] - values["h"] / 2, values["z"]])
        lidar_SE3_rect = rect_SE3_lidar.inverse()
        cx, cy, cz = lidar_SE3_rect.apply(center_m)
        heading = lidar_SE3_rect.rotation @ np.array([np.cos(values["ry"]), 0.0, -np.sin(values["ry"])])
        yaw_rad = float(np.arctan2(heading[1], heading[0]))
        cuboid = Cuboid((float(cx), float(cy), float(cz)), (values["l"], values["w"], values["h"]), yaw_rad)
    return KittiObject(
        frame_index=int(values["frame"]),
        track_id=int(values["id"]),
        label=unquote(words[2]),
        truncated=int(values["truncated"]),
        occluded=int(values["occluded"]),
        box_px=(values["x1"], values["y1"], values["x2"], values["y2"]),
        cuboid=cuboid,
        score=values.get("score"),
    )


def _number(word: str, where: str) -> float:
    try:
        value = float(word)
    except ValueError:
        raise InputError(where, "a number", repr(word[:40])) from None
    if not np.isfinite(value):
        raise InputError(where, "a finite number", repr(word[:40]))
    return value
