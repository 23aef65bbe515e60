"""PandaSet read: `lidar/NN.pkl.gz`, `camera/NAME/NN.jpg`, `annotations/cuboids/NN.pkl.gz`, poses, intrinsics and times as JSON.

Sweeps and cuboids lie in the world frame; here they are brought into the LiDAR frame of their sweep. Every image has its own pose, at its
own time: a clip's cameras are fixed to the LiDAR at the middle of what these poses say. The points of both LiDARs are kept, row for row.
Layout: the PandaSet development kit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converters.pickled_table import decompress, load_table
from converters.point_cloud_files import POINTS_LIMIT
from converters.sequences.image_file import image_size
from converters.sequences.json_field import JsonField
from converters.sequences.rigid import mean_pose, pose_of
from converters.sequences.sequence_folder import (
    FolderReader,
    ImageFile,
    SweepFile,
    forward_from_motion,
    read_file,
    require_camera_name,
)
from sam4d.geometry import SE3
from sam4d.structures import Camera, Clip, Cuboid, Float32Array, Frame, InputError, LabelledCuboid, Sweep, UInt8Array

POSES = "lidar/poses.json"
TIMES = "lidar/timestamps.json"
CUBOIDS = "annotations/cuboids"
FRONT_LIDAR = 1
"""Which sensor saw a cuboid that is labelled twice: 0 the turning LiDAR, 1 the one that looks ahead; -1 where it is labelled once."""


@dataclass(frozen=True)
class WorldSweep:
    """What makes a sweep of a table of points in the world frame."""

    world_SE3_lidar: SE3

    def __call__(self, data: bytes, where: str) -> Sweep:
        """A gzipped table with the columns x, y, z and, where there is one, i (intensity)."""
        table = load_table(decompress(data, where), where)
        world_m = np.stack([_numbers(table, name, where) for name in "xyz"], axis=1)
        if len(world_m) > POINTS_LIMIT:
            raise InputError(where, f"at most {POINTS_LIMIT} points", str(len(world_m)))
        points_m: Float32Array = self.world_SE3_lidar.inverse().apply(world_m).astype(np.float32)
        return Sweep(points_m, _numbers(table, "i", where).astype(np.float32) if "i" in table else None)


def pandaset_names(root: Path) -> list[str]:
    """The sequences of a folder: itself, or those below it; none where it is another layout."""
    if (root / POSES).is_file():
        return [root.resolve().name]
    return sorted(folder.parents[1].name for folder in root.glob(f"*/{POSES}"))


def pandaset_folder(root: Path, name: str) -> Path:
    """The folder of a sequence that `pandaset_names` lists."""
    return root if (root / POSES).is_file() else root / name


def open_pandaset(folder: Path) -> Clip:
    """The drive in one sequence's folder.

    Raises:
        InputError: naming file and field: no sweeps, another number of poses or times than sweeps, a pose that is none, intrinsics without
            one of their keys.
    """
    reader = FolderReader(folder.resolve())
    stems = sorted(file.name.removesuffix(".pkl.gz") for file in (folder / "lidar").glob("*.pkl.gz"))
    if not stems:
        raise InputError(f"{folder}/lidar", "at least one sweep (.pkl.gz)", "none")
    poses = _poses(reader, folder, POSES, stems)
    times_ns: dict[str, int] = {}
    if (folder / TIMES).is_file():
        times_ns = {stem: round(time.number() * 1e9) for stem, time in _by_number(reader, folder, TIMES, stems).items()}
    cameras: dict[str, Camera] = {}
    images: dict[str, dict[str, str]] = {}
    for place in sorted((folder / "camera").glob("*/intrinsics.json")):
        name = place.parent.name
        images[name] = {file.stem: f"camera/{name}/{file.name}" for file in sorted(place.parent.glob("*.jpg"))}
        if images[name]:
            cameras[name] = _camera(reader, folder, name, images[name], poses)
    frames = []
    for stem, pose in poses.items():
        load_images: dict[str, Callable[[], UInt8Array]] = {
            name: ImageFile(reader, images[name][stem], str(folder), camera) for name, camera in cameras.items() if stem in images[name]
        }
        load_sweep = SweepFile(reader, f"lidar/{stem}.pkl.gz", str(folder), WorldSweep(pose))
        frames.append(Frame(load_sweep, load_images, pose, times_ns.get(stem)))
    return Clip(folder.resolve().name, cameras, tuple(frames), forward_from_motion([frame.world_SE3_lidar for frame in frames]))


def read_pandaset_labels(folder: Path, clip: Clip) -> tuple[tuple[LabelledCuboid, ...] | None, ...]:
    """The cuboids by frame, None where the frame has no file. Of an object that is labelled once per LiDAR, that of the turning one counts.

    Raises:
        InputError: naming file and column: a missing column, a value that is no number, a negative size.
    """
    reader = FolderReader(folder.resolve())
    frames: list[tuple[LabelledCuboid, ...] | None] = []
    for frame in clip.frames:
        assert isinstance(frame.load_sweep, SweepFile)
        assert frame.world_SE3_lidar is not None
        path = f"{CUBOIDS}/{Path(frame.load_sweep.path).name}"
        if not (folder / path).is_file():
            frames.append(None)
            continue
        where = f"{folder}/{path}"
        table = load_table(decompress(read_file(reader, path, str(folder)), where), where)
        frames.append(_cuboids(table, frame.world_SE3_lidar.inverse(), where))
    return tuple(frames)


def _cuboids(table: dict[str, NDArray[np.generic]], lidar_SE3_world: SE3, where: str) -> tuple[LabelledCuboid, ...]:
    tracks, labels = _texts(table, "uuid", where), _texts(table, "label", where)
    centers_m = np.stack([_numbers(table, f"position.{axis}", where) for axis in "xyz"], axis=1)
    # Width, length, height; the yaw is that of the length, counted from +y.
    sizes_m = np.stack([_numbers(table, f"dimensions.{axis}", where) for axis in "yxz"], axis=1)
    yaws_rad = _numbers(table, "yaw", where) + math.pi / 2
    for name, values in (("position", centers_m), ("dimensions", sizes_m), ("yaw", yaws_rad)):
        if not np.isfinite(values).all() or (name == "dimensions" and len(values) and values.min() < 0):
            raise InputError(f"{where}: {name}", "finite numbers" + (" from 0 on" if name == "dimensions" else ""), "others")
    doubled = np.zeros(len(tracks), dtype=np.bool_)
    if "cuboids.sensor_id" in table and "cuboids.sibling_id" in table:
        named = set(tracks)
        siblings = [str(sibling) in named for sibling in table["cuboids.sibling_id"].tolist()]
        doubled = (_numbers(table, "cuboids.sensor_id", where) == FRONT_LIDAR) & np.array(siblings, dtype=np.bool_)
    labelled = []
    for row in np.flatnonzero(~doubled).tolist():
        x, y, z = centers_m[row].tolist()
        length, width, height = sizes_m[row].tolist()
        cuboid = Cuboid((x, y, z), (length, width, height), float(yaws_rad[row])).moved(lidar_SE3_world)
        labelled.append(LabelledCuboid(tracks[row], labels[row], cuboid))
    return tuple(labelled)


def _numbers(table: dict[str, NDArray[np.generic]], name: str, where: str) -> NDArray[np.float64]:
    if name not in table:
        raise InputError(f"{where}: {name}", "a column", "none among " + ", ".join(map(repr, table))[:200])
    if table[name].dtype.kind not in "fiub":
        raise InputError(f"{where}: {name}", "a column of numbers", "one of texts")
    return table[name].astype(np.float64)


def _texts(table: dict[str, NDArray[np.generic]], name: str, where: str) -> list[str]:
    if name not in table:
        raise InputError(f"{where}: {name}", "a column", "none among " + ", ".join(map(repr, table))[:200])
    texts: list[str] = []
    for value in table[name].tolist():
        if not isinstance(value, str) or not value.strip() or not value.isprintable():
            raise InputError(f"{where}: {name}", "texts that are not empty", repr(value)[:80])
        texts.append(value)
    return texts


def _camera(reader: FolderReader, folder: Path, name: str, images: dict[str, str], world_SE3_lidar: dict[str, SE3]) -> Camera:
    require_camera_name(name, f"{folder}/camera")
    path = f"camera/{name}/intrinsics.json"
    field = JsonField.parse(read_file(reader, path, str(folder)), f"{folder}/{path}")
    fx, fy, cx, cy = (field[key].number() for key in ("fx", "fy", "cx", "cy"))
    if min(fx, fy) <= 0:
        raise field.wrong("focal lengths above 0")
    poses = f"camera/{name}/poses.json"
    world_SE3_cam = _poses(reader, folder, poses, list(images))
    both = [world_SE3_lidar[stem].inverse() @ pose for stem, pose in world_SE3_cam.items() if stem in world_SE3_lidar]
    if not both:
        raise InputError(f"{folder}/camera/{name}", "an image with the number of a sweep", "none")
    first = next(iter(images.values()))
    width, height = image_size(read_file(reader, first, str(folder)), f"{folder}/{first}")
    return Camera(name, width, height, fx, fy, cx, cy, mean_pose(both, f"{folder}/{poses}"))


def _poses(reader: FolderReader, folder: Path, path: str, stems: Sequence[str]) -> dict[str, SE3]:
    poses = {}
    for stem, item in _by_number(reader, folder, path, stems).items():
        heading, position = item["heading"], item["position"]
        quaternion = [heading[key].number() for key in "wxyz"]
        poses[stem] = pose_of(quaternion, [position[key].number() for key in "xyz"], heading.where)
    return poses


def _by_number(reader: FolderReader, folder: Path, path: str, stems: Sequence[str]) -> dict[str, JsonField]:
    """A list's entry for each of the files, which are called by their place in it."""
    items = JsonField.parse(read_file(reader, path, str(folder)), f"{folder}/{path}").elements()
    for stem in stems:
        if not (stem.isascii() and stem.isdecimal() and int(stem) < len(items)):
            raise InputError(f"{folder}/{path}", f"an entry for the file of number {stem[:20]}", f"{len(items)} entries")
    return {stem: items[int(stem)] for stem in stems}
