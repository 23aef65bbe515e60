"""Supervisely episodes read: `meta.json`; per episode `annotation.json`, `frame_pointcloud_map.json`, `pointcloud/`, `related_images/`.

An image's place stands beside it (`IMAGE.json`: deviceId, intrinsicMatrix, extrinsicMatrix from the cloud to the camera); images without
one are left out. A camera is fixed to the LiDAR at the middle of what its images say. There are no ego poses. Layout:
developer.supervisely.com, "Point Cloud Episode Annotation".
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from converters.sequences.image_file import image_size
from converters.sequences.json_field import JsonField
from converters.sequences.rigid import mean_pose, rigid
from converters.sequences.sequence_folder import FolderReader, ImageFile, SweepFile, path_inside, read_file, require_camera_name
from sam4d.geometry import SE3, Float64Array
from sam4d.structures import Camera, Clip, Frame, InputError, UInt8Array

FRAMES = "frame_pointcloud_map.json"
SWEEPS, IMAGES = "pointcloud", "related_images"
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


def supervisely_names(root: Path) -> list[str]:
    """The episodes of a project, or the one whose folder this is; none where it is another layout."""
    if _is_episode(root):
        return [root.resolve().name]
    return sorted(folder.name for folder in root.glob("*") if _is_episode(folder))


def supervisely_folder(root: Path, name: str) -> Path:
    """The folder of an episode that `supervisely_names` lists."""
    return root if _is_episode(root) else root / name


def open_supervisely(folder: Path) -> Clip:
    """The episode in a folder.

    Raises:
        InputError: naming file and field: no frames, a path outside the episode, a matrix that is none, an image that is broken.
    """
    reader = FolderReader(folder.resolve())
    sweeps = sweeps_by_number(reader, folder)
    lenses: dict[str, tuple[Float64Array, str]] = {}
    placed: dict[str, list[SE3]] = {}
    shown: list[dict[str, str]] = []
    times_ns: list[int | None] = []
    for sweep in sweeps.values():
        shown.append({})
        times_ns.append(None)
        for image, description in _images(folder, sweep):
            field = JsonField.parse(read_file(reader, description, str(folder)), f"{folder}/{description}")
            if not field.has("meta") or not field["meta"].has("sensorsData"):
                continue
            times_ns[-1] = times_ns[-1] if times_ns[-1] is not None else _time_ns(field["meta"])
            name = _camera_name(field["meta"], image, sweep)
            sensors = field["meta"]["sensorsData"]
            lens: Float64Array = np.array(sensors["intrinsicMatrix"].numbers(9)).reshape(3, 3)
            if min(lens[0, 0], lens[1, 1]) <= 0:
                raise sensors["intrinsicMatrix"].wrong("a 3 x 3 matrix with focal lengths above 0")
            extrinsic = sensors["extrinsicMatrix"]
            cam_SE3_lidar = rigid(np.array(extrinsic.numbers(12, 16)).reshape(-1, 4), extrinsic.where)
            lenses.setdefault(name, (lens, image))
            placed.setdefault(name, []).append(cam_SE3_lidar.inverse())
            shown[-1][name] = image
    cameras = {}
    for name, (lens, image) in sorted(lenses.items()):
        width, height = image_size(read_file(reader, image, str(folder)), f"{folder}/{image}")
        pose = mean_pose(placed[name], f"{folder}: the extrinsic matrices of {name}")
        fx, fy, cx, cy = (float(value) for value in (lens[0, 0], lens[1, 1], lens[0, 2], lens[1, 2]))
        cameras[name] = Camera(name, width, height, fx, fy, cx, cy, pose)
    frames = []
    for sweep, images, time_ns in zip(sweeps.values(), shown, times_ns, strict=True):
        load_images: dict[str, Callable[[], UInt8Array]] = {
            name: ImageFile(reader, image, str(folder), cameras[name]) for name, image in sorted(images.items())
        }
        frames.append(Frame(SweepFile(reader, sweep, str(folder)), load_images, None, time_ns))
    return Clip(folder.resolve().name, cameras, tuple(frames))


def _is_episode(folder: Path) -> bool:
    return (folder / FRAMES).is_file() and (folder / SWEEPS).is_dir()


def sweeps_by_number(reader: FolderReader, folder: Path) -> dict[int, str]:
    """{number of the frame: the sweep's path}, ascending."""
    root = JsonField.parse(read_file(reader, FRAMES, str(folder)), f"{folder}/{FRAMES}")
    sweeps = {}
    for number, name in root.items():
        if not (number.isascii() and number.isdecimal() and len(number) < 10):
            raise InputError(name.where, "the number of a frame", repr(number[:40]))
        sweeps[int(number)] = f"{SWEEPS}/{path_inside(name)}"
    if not sweeps:
        raise root.wrong("at least one frame")
    return dict(sorted(sweeps.items()))


def _images(folder: Path, sweep: str) -> Iterator[tuple[str, str]]:
    """(image, its description) of a sweep, as paths below the episode."""
    place = f"{IMAGES}/{Path(sweep).name.replace('.', '_')}"
    for file in sorted((folder / place).glob("*")):
        if file.suffix.lower() in IMAGE_ENDINGS and file.with_name(f"{file.name}.json").is_file():
            yield f"{place}/{file.name}", f"{place}/{file.name}.json"


def _camera_name(meta: JsonField, image: str, sweep: str) -> str:
    """The device, else what the image's name says beyond that of the sweep."""
    given = meta["deviceId"].text() if meta.has("deviceId") else Path(image).stem.removeprefix(Path(sweep).stem).strip("_-. ")
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", given).lstrip("_.-")[:64] or "camera"
    require_camera_name(name, meta.where)
    return name


def _time_ns(meta: JsonField) -> int | None:
    """The image's time (ISO 8601, as nanoseconds since 1970), taken for its sweep's; None where there is none."""
    text = meta["timestamp"].value if meta.has("timestamp") else None
    parts = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z", text) if isinstance(text, str) else None
    if parts is None:
        return None
    try:
        seconds = int(dt.datetime.fromisoformat(parts[1]).replace(tzinfo=dt.timezone.utc).timestamp())
    except ValueError:
        raise meta["timestamp"].wrong("a time") from None
    return seconds * 10**9 + int((parts[2] or "").ljust(9, "0"))
