"""Supervisely episodes read: `meta.json`; per episode `annotation.json`, `frame_pointcloud_map.json`, `pointcloud/`, `related_images/`.

An image's place stands beside it (`IMAGE.json`: deviceId, intrinsicMatrix, extrinsicMatrix from the cloud to the camera); images without
one are left out. A camera is fixed to the LiDAR at the middle of what its images say. There are no ego poses. Of the figures, cuboids
and point clouds are read. Layout: developer.supervisely.com, "Point Cloud Episode Annotation".
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from converters.packed_masks import MaskStore, PackedMasks
from converters.sequences.image_file import image_size
from converters.sequences.json_field import JsonField
from converters.sequences.rigid import mean_pose, rigid
from converters.sequences.sequence_folder import FolderReader, ImageFile, SweepFile, path_inside, read_file, require_camera_name
from sam4d.geometry import SE3, BoolArray, Float64Array
from sam4d.structures import Camera, Clip, Cuboid, Frame, InputError, Masklet, ObjectMasks, UInt8Array

ANNOTATION, FRAMES, META = "annotation.json", "frame_pointcloud_map.json", "meta.json"
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
    sweeps = _sweeps(reader, folder)
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


def read_supervisely_labels(folder: Path, clip: Clip) -> tuple[Masklet, ...]:
    """The objects of an episode that have a figure, in the file's order, numbered from 1: cuboids and, as masks, point clouds.

    A cuboid's dimensions are width, length and height (x, y, z), its length lies along its y axis, and only the turn about z counts.

    Raises:
        InputError: naming file and field: an object or class that is not there, a frame that the episode does not have, points that the
            sweep does not have, two cuboids of one object on one frame.
    """
    reader = FolderReader(folder.resolve())
    index_of = {number: index for index, number in enumerate(_sweeps(reader, folder))}
    root = JsonField.parse(read_file(reader, ANNOTATION, str(folder)), f"{folder}/{ANNOTATION}")
    classes = _classes(folder)
    labels: dict[str, str] = {}
    for item in root["objects"].elements():
        if classes is not None and item["classTitle"].value not in classes:
            raise item["classTitle"].wrong(f"one of the classes {', '.join(sorted(classes))[:200] or '(there are none)'} of {META}")
        labels[item["key"].text()] = item["classTitle"].text()
    cuboids: dict[str, dict[int, Cuboid]] = {key: {} for key in labels}
    store = MaskStore()
    points: dict[str, PackedMasks] = {key: PackedMasks(store=store) for key in labels}
    for entry in root["frames"].elements():
        number = entry["index"].integer(0)
        if number not in index_of:
            raise entry["index"].wrong(f"a frame of {FRAMES}")
        frame_index, point_count = index_of[number], None
        for figure in entry["figures"].elements():
            key = figure["objectKey"]
            if key.text() not in labels:
                raise key.wrong("the key of one of the objects")
            kind, geometry = figure["geometryType"].text(), figure["geometry"]
            if kind == "cuboid_3d":
                if frame_index in cuboids[key.text()]:
                    raise key.wrong("one cuboid per object and frame")
                cuboids[key.text()][frame_index] = _cuboid(geometry)
            elif kind == "point_cloud":
                if point_count is None:
                    point_count = len(clip.frames[frame_index].load_sweep())
                masks = points[key.text()]
                mask: BoolArray = masks[frame_index].lidar_mask if frame_index in masks else np.zeros(point_count, dtype=np.bool_)
                mask[_indices(geometry["indices"], point_count)] = True
                masks[frame_index] = ObjectMasks(0, frame_index, {}, mask, 1.0)
    objects = [key for key in labels if cuboids[key] or points[key]]
    return tuple(
        Masklet(
            object_id,
            labels[key],
            points[key].as_object(object_id),
            dict(sorted(cuboids[key].items())),
        )
        for object_id, key in enumerate(objects, start=1)
    )


def _is_episode(folder: Path) -> bool:
    return (folder / FRAMES).is_file() and (folder / SWEEPS).is_dir()


def _sweeps(reader: FolderReader, folder: Path) -> dict[int, str]:
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


def _classes(folder: Path) -> set[str] | None:
    """The titles of the project's classes; None where its meta.json is not there."""
    if not (folder.resolve().parent / META).is_file():
        return None
    file = folder.resolve().parent / META
    root = JsonField.parse(read_file(lambda path: (file.parent / path).read_bytes(), META, str(file.parent)), str(file))
    return {item["title"].text() for item in root["classes"].elements()}


def _cuboid(geometry: JsonField) -> Cuboid:
    x, y, z = (geometry["position"][axis].number() for axis in "xyz")
    width, length, height = (geometry["dimensions"][axis].number() for axis in "xyz")
    if min(width, length, height) < 0:
        raise geometry["dimensions"].wrong("lengths that are not negative")
    yaw_rad = geometry["rotation"]["z"].number() + np.pi / 2
    return Cuboid((x, y, z), (length, width, height), float(np.arctan2(np.sin(yaw_rad), np.cos(yaw_rad))))


def _indices(field: JsonField, point_count: int) -> list[int]:
    return [element.integer(0, point_count - 1) for element in field.elements()]
