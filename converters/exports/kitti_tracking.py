"""KITTI tracking out: `label_02/NAME.txt` and `calib/NAME.txt`, and the labels back in.

A line is `frame id type truncated occluded alpha x1 y1 x2 y2 h w l x y z ry`: the box's bottom centre and its turn `ry` about y, in the
camera's level frame (`kitti_camera.KittiCamera`), which the calibration file relates to the LiDAR and the image. Layout: the
development kit of the KITTI tracking benchmark.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

import numpy as np

from converters.exports.kitti_camera import KittiCamera, format_calibration, kitti_camera, parse_calibration, projected_box
from converters.exports.whole_output import file_name, write_whole_files
from sam4d.geometry import SE3, wrap_angle
from sam4d.structures import CameraMasks, Clip, Cuboid, InputError, Masklet, ObjectMasks

UNKNOWN_BOX_PX = (-1.0, -1.0, -1.0, -1.0)
"""The 2D box of an object that the camera does not see."""

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


def write_kitti_tracking(
    clip: Clip, masklets: Sequence[Masklet], directory: str | Path, camera: str | None = None, *, overwrite: bool = False
) -> None:
    """Write `kitti_tracking_files` into a directory, which several clips may share.

    Raises:
        InputError: as `kitti_tracking_files`, or files that exist already and may not be overwritten.
    """
    files = kitti_tracking_files(clip, masklets, camera)
    write_whole_files({Path(directory) / path: data for path, data in files.items()}, overwrite=overwrite)


def kitti_tracking_files(clip: Clip, masklets: Sequence[Masklet], camera: str | None = None) -> dict[str, bytes]:
    """A clip's objects as KITTI tracking labels, {relative path: content}: every one with a cuboid or with a mask in the chosen camera.

    The 2D box is that of the object's mask where there is one, else that of the projected cuboid; an object out of the camera's view has
    `UNKNOWN_BOX_PX`, truncated 2, occluded 3. Characters that a type may not hold (spaces) are written as in addresses (%20).

    Args:
        camera: the camera to write for; None chooses the one that looks most nearly forward, and for a drive without cameras a nominal
            one at the LiDAR's origin (1242 x 375 pixels, focal length 721.5).

    Raises:
        InputError: no such camera, or two masklets with one object id.
    """
    kitti = kitti_camera(clip, camera)
    _require_distinct(clip, masklets)
    items = [item for index in range(len(clip)) for item in kitti_objects(masklets, index, kitti)]
    lines = [format_label_line(item, kitti.rect_SE3_lidar) + "\n" for item in items]
    name = file_name(clip.name)
    return {f"label_02/{name}.txt": "".join(lines).encode(), f"calib/{name}.txt": format_calibration(kitti).encode()}


def kitti_object_files(clip: Clip, masklets: Sequence[Masklet], camera: str | None = None) -> dict[str, bytes]:
    """The same as labels of KITTI's object benchmark, a file per frame: `NAME/label_2/000000.txt` and `NAME/calib/000000.txt`.

    Its lines are those of the tracking benchmark without frame and id: which object is which over the frames is lost.

    Raises:
        InputError: as `kitti_tracking_files`.
    """
    kitti = kitti_camera(clip, camera)
    _require_distinct(clip, masklets)
    folder, calibration = file_name(clip.name), format_calibration(kitti, "object").encode()
    files: dict[str, bytes] = {}
    for frame_index in range(len(clip)):
        lines = [format_label_line(item, kitti.rect_SE3_lidar) for item in kitti_objects(masklets, frame_index, kitti)]
        files[f"{folder}/label_2/{frame_index:06d}.txt"] = "".join(line.split(" ", 2)[2] + "\n" for line in lines).encode()
        files[f"{folder}/calib/{frame_index:06d}.txt"] = calibration
    return files


def kitti_objects(masklets: Sequence[Masklet], frame_index: int, kitti: KittiCamera) -> list[KittiObject]:
    """What one frame shows, ascending by object id."""
    items = [_kitti_object(masklet, frame_index, kitti) for masklet in sorted(masklets, key=lambda item: item.object_id)]
    return [item for item in items if item is not None]


def _require_distinct(clip: Clip, masklets: Sequence[Masklet]) -> None:
    if len({masklet.object_id for masklet in masklets}) != len(masklets):
        raise InputError(f"clip {clip.name}", "one masklet per object id", "several")


def read_kitti_tracking(directory: str | Path, name: str) -> tuple[KittiObject, ...]:
    """The objects of `label_02/NAME.txt`, cuboids mapped to the LiDAR frame by `calib/NAME.txt`; DontCare lines are left out.

    Raises:
        InputError: naming file and line.
    """
    label_file, calibration_file = Path(directory) / "label_02" / f"{name}.txt", Path(directory) / "calib" / f"{name}.txt"
    rect_SE3_lidar = parse_calibration(_read_text(calibration_file), str(calibration_file))
    objects = []
    for number, line in enumerate(_read_text(label_file).splitlines(), start=1):
        if line.strip():
            item = parse_label_line(line, rect_SE3_lidar, f"{label_file}: line {number}")
            if item.label != "DontCare":
                objects.append(item)
    return tuple(objects)


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


def _kitti_object(masklet: Masklet, frame_index: int, kitti: KittiCamera) -> KittiObject | None:
    cuboid = masklet.cuboids.get(frame_index)
    mask_box, mask_area_px = _mask_box(masklet.masks.get(frame_index), kitti.camera.name)
    if cuboid is None and mask_box is None:
        return None
    projection = None if cuboid is None else projected_box(cuboid, kitti.camera)
    truncated, occluded = 2, 3
    if projection is not None:
        box, cut_off = projection
        truncated = 0 if cut_off < 0.15 else 1 if cut_off < 0.5 else 2
        if mask_area_px is not None:
            # Even a free-standing object leaves half of its cuboid's box empty.
            filled = mask_area_px / ((box[2] - box[0]) * (box[3] - box[1]))
            occluded = 0 if filled >= 0.4 else 1 if filled >= 0.15 else 2
    elif mask_box is not None:
        camera = kitti.camera
        at_border = mask_box[0] <= 0 or mask_box[1] <= 0 or mask_box[2] >= camera.width_px or mask_box[3] >= camera.height_px
        truncated = int(at_border)
    shown = mask_box or (projection[0] if projection is not None else UNKNOWN_BOX_PX)
    return KittiObject(frame_index, masklet.object_id, masklet.label, truncated, occluded, shown, cuboid)


def _mask_box(masks: ObjectMasks | None, camera: str) -> tuple[tuple[float, float, float, float] | None, int | None]:
    """The box around an object's mask in a camera, None where it is empty, and the mask's area, None where nobody looked."""
    if masks is None or camera not in masks.camera_masks:
        return None, None
    crops = masks.camera_masks if isinstance(masks.camera_masks, CameraMasks) else CameraMasks(masks.camera_masks)
    u0, v0, u1, v1 = crops.box(camera)
    return ((float(u0), float(v0), float(u1), float(v1)) if u1 > u0 else None), crops.area_px(camera)


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(str(file), "a readable file", (error.strerror or str(error)).lower()) from None
    except UnicodeDecodeError:
        raise InputError(str(file), "a text", "bytes that are not UTF-8") from None


def _number(word: str, where: str) -> float:
    try:
        value = float(word)
    except ValueError:
        raise InputError(where, "a number", repr(word[:40])) from None
    if not np.isfinite(value):
        raise InputError(where, "a finite number", repr(word[:40]))
    return value
