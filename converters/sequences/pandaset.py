"""PandaSet read: `lidar/NN.pkl.gz`, `camera/NAME/NN.jpg`, poses, intrinsics and times as JSON.

Sweeps lie in the world frame; here they are brought into their own LiDAR frame. Every image has its own pose, at its
own time: a clip's cameras are fixed to the LiDAR at the middle of what these poses say. The points of both LiDARs are kept, row for row.
Layout: the PandaSet development kit.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from converters.pickled_table import decompress, load_table, number_column
from converters.point_cloud_files import POINTS_LIMIT
from converters.sequences.image_file import image_size
from converters.sequences.json_field import JsonField
from converters.sequences.missing_files import require_none_missing
from converters.sequences.pandaset_labels import CUBOIDS, POINT_CLASSES
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
from sam4d.structures import Camera, Clip, Float32Array, Frame, InputError, Sweep, UInt8Array

POSES = "lidar/poses.json"
TIMES = "lidar/timestamps.json"


@dataclass(frozen=True)
class WorldSweep:
    """What makes a sweep of a table of points in the world frame."""

    world_SE3_lidar: SE3

    def __call__(self, data: bytes, where: str) -> Sweep:
        """A gzipped table with the columns x, y, z and, where there is one, i (intensity)."""
        table = load_table(decompress(data, where), where)
        world_m = np.stack([number_column(table, name, where) for name in "xyz"], axis=1)
        if len(world_m) > POINTS_LIMIT:
            raise InputError(where, f"at most {POINTS_LIMIT} points", str(len(world_m)))
        intensity = number_column(table, "i", where) if "i" in table else None
        # What no float32 holds becomes infinite, and belongs to no object.
        with np.errstate(over="ignore", invalid="ignore"):
            points_m: Float32Array = self.world_SE3_lidar.inverse().apply(world_m).astype(np.float32)
            return Sweep(points_m, None if intensity is None else intensity.astype(np.float32))


def pandaset_names(root: Path) -> list[str]:
    """The sequences of a folder: itself, or those below it; none where it is another layout."""
    if (root / POSES).is_file():
        return [root.resolve().name]
    return sorted(folder.parents[1].name for folder in root.glob(f"*/{POSES}"))


def pandaset_folder(root: Path, name: str) -> Path:
    """The folder of a sequence that `pandaset_names` lists."""
    return root if (root / POSES).is_file() else root / name


def open_pandaset(folder: Path, *, allow_missing: bool = False) -> Clip:
    """The drive in one sequence's folder.

    Args:
        allow_missing: poses, times, images and labels may be of more frames than there are sweeps, images and labels of fewer.

    Raises:
        InputError: naming file and field: no sweeps, another number of poses or times than sweeps, a pose that is none, intrinsics without
            one of their keys; unless allowed, a sweep without its image or labels, and the other way round.
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
    if not allow_missing:
        listed = [POSES, *([TIMES] if times_ns else []), *(f"camera/{name}/poses.json" for name in cameras)]
        beside: dict[str, Collection[str]] = {f"camera/{name}": files for name, files in images.items()}
        for labels in (CUBOIDS, POINT_CLASSES):
            beside[labels] = [file.name.removesuffix(".pkl.gz") for file in (folder / labels).glob("*.pkl.gz")]
        require_none_missing(folder, "lidar", stems, beside, {file: len(_entries(reader, folder, file)) for file in listed})
    frames = []
    for stem, pose in poses.items():
        load_images: dict[str, Callable[[], UInt8Array]] = {
            name: ImageFile(reader, images[name][stem], str(folder), camera) for name, camera in cameras.items() if stem in images[name]
        }
        load_sweep = SweepFile(reader, f"lidar/{stem}.pkl.gz", str(folder), WorldSweep(pose))
        frames.append(Frame(load_sweep, load_images, pose, times_ns.get(stem)))
    return Clip(folder.resolve().name, cameras, tuple(frames), forward_from_motion([frame.world_SE3_lidar for frame in frames]))


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
    items = _entries(reader, folder, path)
    for stem in stems:
        if not (stem.isascii() and stem.isdecimal() and int(stem) < len(items)):
            raise InputError(f"{folder}/{path}", f"an entry for the file of number {stem[:20]}", f"{len(items)} entries")
    return {stem: items[int(stem)] for stem in stems}


def _entries(reader: FolderReader, folder: Path, path: str) -> list[JsonField]:
    return JsonField.parse(read_file(reader, path, str(folder)), f"{folder}/{path}").elements()
