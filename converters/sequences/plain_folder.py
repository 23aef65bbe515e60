"""A plain folder of sweeps and images: `pointcloud/*.pcd` and `related_images/NAME_pcd/CAMERA.jpg` as people upload them to CVAT, or
`images/CAMERA/NAME.png`. Where there is one camera and one image beside a sweep, the image may have any name.

`calibration.json` beside them has the cameras as in a `sequence.json` (`{"cameras": {...}, "forward": ...}`); without it the drive has no
cameras, because an image whose place is not known says nothing about the points. `poses.txt`, one line per sweep, holds world_SE3_lidar
as the 12 numbers of a 3 x 4 matrix, row by row, as KITTI odometry writes poses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from converters.sequences.json_field import JsonField
from converters.sequences.missing_files import require_none_missing
from converters.sequences.rigid import rigid
from converters.sequences.sequence_folder import (
    FolderReader,
    ImageFile,
    SweepFile,
    axis_from_json,
    camera_from_json,
    forward_from_motion,
    read_file,
)
from converters.sweep_files import SWEEP_PARSERS
from sam4d.geometry import SE3
from sam4d.structures import Camera, Clip, Frame, InputError, UInt8Array

SWEEP_FOLDERS = ("pointcloud", "lidar", "sweeps", ".")
CALIBRATION_FILE, POSES_FILE = "calibration.json", "poses.txt"
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


def find_sweeps(folder: Path) -> list[str]:
    """The sweeps' paths below the folder, sorted, of the first of `SWEEP_FOLDERS` that has any."""
    for name in SWEEP_FOLDERS:
        files = sorted(file for file in (folder / name).glob("*") if file.suffix.lower() in SWEEP_PARSERS and file.is_file())
        if files:
            return [file.relative_to(folder).as_posix() for file in files]
    return []


def open_plain_folder(folder: Path, *, allow_missing: bool = False) -> Clip:
    """The drive in the folder, its frames in the order of the sweeps' names.

    Args:
        allow_missing: the numbering of the sweeps may have holes, and a camera may have images of some of them alone.

    Raises:
        InputError: no sweeps, a calibration that is none, another number of poses than sweeps, an image of another size than declared;
            unless allowed, a sweep without the image of a camera that has images, an image without its sweep, a hole in the numbering.
    """
    sweeps = find_sweeps(folder)
    if not sweeps:
        raise InputError(
            str(folder), f"sweeps ({', '.join(SWEEP_PARSERS)}) in {', '.join(SWEEP_FOLDERS[:3])} or in the folder itself", "none"
        )
    reader = FolderReader(folder.resolve())
    cameras: dict[str, Camera] = {}
    forward = None
    if (folder / CALIBRATION_FILE).is_file():
        root = JsonField.parse(read_file(reader, CALIBRATION_FILE, str(folder)), f"{folder}/{CALIBRATION_FILE}")
        cameras = {name: camera_from_json(name, field) for name, field in root["cameras"].items()}
        forward = axis_from_json(root["forward"]) if root.has("forward") else None
    poses = _poses(folder, reader, len(sweeps))
    frames = []
    for sweep, pose in zip(sweeps, poses, strict=True):
        load_images: dict[str, Callable[[], UInt8Array]] = {}
        for name, camera in cameras.items():
            image = _image(folder, Path(sweep).stem, name, alone=len(cameras) == 1)
            if image is not None:
                load_images[name] = ImageFile(reader, image, str(folder), camera)
        parse = SWEEP_PARSERS[Path(sweep).suffix.lower()]
        frames.append(Frame(SweepFile(reader, sweep, str(folder), parse), load_images, pose))
    if not allow_missing:
        shown = {
            f"images of {name}": {Path(sweep).stem for sweep, frame in zip(sweeps, frames, strict=True) if name in frame.load_images}
            | _stems((folder / "images" / name).glob("*"))
            for name in cameras
        }
        related = {place.name.removesuffix("_pcd") for place in (folder / "related_images").glob("*_pcd")} if cameras else set()
        require_none_missing(
            folder, str(Path(sweeps[0]).parent), [Path(sweep).stem for sweep in sweeps], {"related_images": related, **shown}
        )
    return Clip(folder.resolve().name, cameras, tuple(frames), forward or forward_from_motion(poses))


def _stems(files: Iterable[Path]) -> set[str]:
    return {file.stem for file in files if file.suffix.lower() in IMAGE_ENDINGS}


def _image(folder: Path, stem: str, camera: str, *, alone: bool) -> str | None:
    """alone: there is no other camera."""
    for place, name in ((folder / "related_images" / f"{stem}_pcd", camera), (folder / "images" / camera, stem)):
        for ending in IMAGE_ENDINGS:
            file = place / f"{name}{ending}"
            if file.is_file():
                return file.relative_to(folder).as_posix()
    beside = sorted(file for file in (folder / "related_images" / f"{stem}_pcd").glob("*") if file.suffix.lower() in IMAGE_ENDINGS)
    return beside[0].relative_to(folder).as_posix() if alone and len(beside) == 1 else None


def _poses(folder: Path, reader: FolderReader, count: int) -> list[SE3 | None]:
    if not (folder / POSES_FILE).is_file():
        return [None] * count
    where = f"{folder}/{POSES_FILE}"
    poses: list[SE3 | None] = []
    for number, line in enumerate(read_file(reader, POSES_FILE, str(folder)).decode("utf-8", "replace").splitlines(), start=1):
        if line.strip():
            try:
                values = np.array([float(word) for word in line.split()])
            except ValueError:
                raise InputError(f"{where}: line {number}", "12 numbers", repr(line[:40])) from None
            if values.size != 12:
                raise InputError(f"{where}: line {number}", "12 numbers", str(values.size))
            poses.append(rigid(values.reshape(3, 4), f"{where}: line {number}"))
    if len(poses) != count:
        raise InputError(where, f"a line for each of the {count} sweeps", str(len(poses)))
    return poses
