"""Argoverse 2 sensor logs read: `sensors/lidar/TIME.feather`, `sensors/cameras/NAME/TIME.jpg`, `calibration/`,
`city_SE3_egovehicle.feather`, `annotations.feather`. Needs pyarrow (extra `argoverse`).

Sweeps come in the frame of the vehicle, moved to the sweep's time by those who recorded them: that frame is the clip's LiDAR frame, the
city's the world. Images are published without lens distortion (k1 to k3 describe the raw lens). Cameras run on their own clock: a frame has
the image nearest to its sweep in time, and the motion between the two is not compensated. Layout: the Argoverse 2 API.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converters.feather import Column, read_feather
from converters.sequences.image_file import PIXEL_LIMIT
from converters.sequences.rigid import pose_of, upright_cuboid
from converters.sequences.sequence_folder import FolderReader, ImageFile, SweepFile, read_file, require_camera_name
from sam4d.geometry import SE3
from sam4d.structures import Camera, Clip, Frame, InputError, LabelledCuboid, Sweep, UInt8Array

SWEEPS, IMAGES = "sensors/lidar", "sensors/cameras"
SENSORS, INTRINSICS = "calibration/egovehicle_SE3_sensor.feather", "calibration/intrinsics.feather"
POSES, CUBOIDS = "city_SE3_egovehicle.feather", "annotations.feather"
FARTHEST_IMAGE_NS = 50_000_000
"""An image farther in time from a sweep than half a turn of the LiDAR shows another moment."""

_POSE_COLUMNS = ("qw", "qx", "qy", "qz", "tx_m", "ty_m", "tz_m")


def is_argoverse(folder: Path) -> bool:
    return (folder / SWEEPS).is_dir() and (folder / POSES).is_file()


def argoverse_names(root: Path) -> list[str]:
    """The logs of a folder: itself, or those below it; none where it is another layout."""
    if is_argoverse(root):
        return [root.resolve().name]
    return sorted(folder.name for folder in root.glob("*") if is_argoverse(folder))


def argoverse_folder(root: Path, name: str) -> Path:
    """The folder of a log that `argoverse_names` lists."""
    return root if is_argoverse(root) else root / name


def open_argoverse(folder: Path) -> Clip:
    """The log in a folder.

    Raises:
        InputError: pyarrow is not installed; no sweeps, a sweep without a pose, a missing table or column, a camera without calibration.
    """
    reader = FolderReader(folder.resolve())
    times_ns = _times_ns(folder / SWEEPS, ".feather")
    if not times_ns:
        raise InputError(f"{folder}/{SWEEPS}", "at least one sweep (TIME.feather)", "none")
    poses = _poses(reader, folder, times_ns)
    cameras = _cameras(reader, folder)
    images_ns = {name: _times_ns(folder / IMAGES / name, ".jpg") for name in cameras}
    frames = []
    for time_ns, pose in zip(times_ns, poses, strict=True):
        load_images: dict[str, Callable[[], UInt8Array]] = {}
        for name, camera in cameras.items():
            image_ns = _nearest(images_ns[name], time_ns)
            if image_ns is not None:
                load_images[name] = ImageFile(reader, f"{IMAGES}/{name}/{image_ns}.jpg", str(folder), camera)
        load_sweep = SweepFile(reader, f"{SWEEPS}/{time_ns}.feather", str(folder), parse_argoverse_sweep)
        frames.append(Frame(load_sweep, load_images, pose, time_ns))
    return Clip(folder.resolve().name, cameras, tuple(frames), "+x")


def read_argoverse_labels(folder: Path, clip: Clip) -> tuple[tuple[LabelledCuboid, ...] | None, ...]:
    """The cuboids of `annotations.feather` by frame; None on all frames where the file is missing, as in the test split.

    Raises:
        InputError: naming file and column: a missing column, a size that is negative or no number, a rotation that is none.
    """
    if not (folder / CUBOIDS).is_file():
        return (None,) * len(clip)
    sizes = ("length_m", "width_m", "height_m")
    table = _read(FolderReader(folder.resolve()), folder, CUBOIDS, ("timestamp_ns", *sizes, *_POSE_COLUMNS), ("track_uuid", "category"))
    where = f"{folder}/{CUBOIDS}"
    sizes_m = np.stack([table[name] for name in sizes], axis=1).astype(np.float64)
    if not np.isfinite(sizes_m).all() or (sizes_m < 0).any():
        raise InputError(f"{where}: {', '.join(sizes)}", "numbers from 0 on", "others")
    rows: dict[int, list[LabelledCuboid]] = {frame.timestamp_ns: [] for frame in clip.frames if frame.timestamp_ns is not None}
    for row, time_ns in enumerate(table["timestamp_ns"].tolist()):
        if time_ns in rows:
            length, width, height = sizes_m[row].tolist()
            cuboid = upright_cuboid(_pose(table, row, where), (length, width, height))
            track, label = str(table["track_uuid"][row]), str(table["category"][row])
            if not (track.strip() and track.isprintable() and label.strip() and label.isprintable()):
                raise InputError(f"{where}: row {row}", "a track and a category that are not empty", repr((track, label))[:80])
            rows[time_ns].append(LabelledCuboid(track, label, cuboid))
    return tuple(tuple(rows[frame.timestamp_ns or 0]) for frame in clip.frames)


def parse_argoverse_sweep(data: bytes, where: str) -> Sweep:
    """A table with the columns x, y, z and intensity."""
    columns: dict[str, Column] = dict.fromkeys(("x", "y", "z", "intensity"), "number")
    table = read_feather(data, columns, where)
    with np.errstate(over="ignore", invalid="ignore"):
        points_m = np.stack([table[name] for name in "xyz"], axis=1).astype(np.float32)
        return Sweep(points_m, table["intensity"].astype(np.float32))


def _read(
    reader: FolderReader, folder: Path, path: str, numbers: Sequence[str], texts: Sequence[str] = ()
) -> dict[str, NDArray[np.generic]]:
    columns: dict[str, Column] = {**dict.fromkeys(numbers, "number"), **dict.fromkeys(texts, "text")}
    return read_feather(read_file(reader, path, str(folder)), columns, f"{folder}/{path}")


def _poses(reader: FolderReader, folder: Path, times_ns: Sequence[int]) -> list[SE3]:
    table = _read(reader, folder, POSES, ("timestamp_ns", *_POSE_COLUMNS))
    row_of = {time_ns: row for row, time_ns in enumerate(table["timestamp_ns"].tolist())}
    missing = [time_ns for time_ns in times_ns if time_ns not in row_of]
    if missing:
        raise InputError(f"{folder}/{POSES}", f"a pose at {missing[0]}, the time of a sweep", f"{len(row_of)} poses at other times")
    return [_pose(table, row_of[time_ns], f"{folder}/{POSES}") for time_ns in times_ns]


def _cameras(reader: FolderReader, folder: Path) -> dict[str, Camera]:
    """Of the calibrated cameras those that have a folder of images."""
    placed = _read(reader, folder, SENSORS, _POSE_COLUMNS, ("sensor_name",))
    lenses = _read(reader, folder, INTRINSICS, ("fx_px", "fy_px", "cx_px", "cy_px", "width_px", "height_px"), ("sensor_name",))
    place_of = {name: row for row, name in enumerate(placed["sensor_name"].tolist())}
    lens_of = {name: row for row, name in enumerate(lenses["sensor_name"].tolist())}
    cameras = {}
    for name in sorted(place.name for place in (folder / IMAGES).glob("*") if place.is_dir()):
        require_camera_name(name, f"{folder}/{IMAGES}")
        for file, rows in ((SENSORS, place_of), (INTRINSICS, lens_of)):
            if name not in rows:
                raise InputError(f"{folder}/{file}", f"a row of the camera {name}", ", ".join(map(repr, rows))[:200] or "none")
        row = lens_of[name]
        fx, fy, cx, cy, width, height = (float(lenses[key][row]) for key in ("fx_px", "fy_px", "cx_px", "cy_px", "width_px", "height_px"))
        if not (np.isfinite([cx, cy]).all() and 0 < fx < np.inf and 0 < fy < np.inf):
            raise InputError(f"{folder}/{INTRINSICS}: {name}", "focal lengths above 0 pixels", f"{fx:g}, {fy:g}")
        if not (width >= 1 and height >= 1 and width * height <= PIXEL_LIMIT):
            raise InputError(f"{folder}/{INTRINSICS}: {name}", f"an image of at most {PIXEL_LIMIT} pixels", f"{width:g} x {height:g}")
        ego_SE3_cam = _pose(placed, place_of[name], f"{folder}/{SENSORS}")
        cameras[name] = Camera(name, int(width), int(height), fx, fy, cx, cy, ego_SE3_cam)
    return cameras


def _pose(table: dict[str, NDArray[np.generic]], row: int, where: str) -> SE3:
    values = [float(table[name][row]) for name in _POSE_COLUMNS]
    return pose_of(values[:4], values[4:], f"{where}: row {row}")


def _times_ns(folder: Path, ending: str) -> list[int]:
    """The times by which the files of a folder are called, ascending."""
    stems = [file.stem for file in folder.glob(f"*{ending}")]
    return sorted(int(stem) for stem in stems if stem.isascii() and stem.isdecimal() and str(int(stem)) == stem)


def _nearest(times_ns: Sequence[int], time_ns: int) -> int | None:
    place = bisect.bisect(times_ns, time_ns)
    near = [other for other in times_ns[max(place - 1, 0) : place + 1] if abs(other - time_ns) <= FARTHEST_IMAGE_NS]
    return min(near, key=lambda other: abs(other - time_ns), default=None)
