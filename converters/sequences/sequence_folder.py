"""Our own layout of a recorded drive: `sequence.json` beside sweeps and images. docs/formats.md describes it.

The description is checked from end to end before a clip is handed out; sweeps and images are read when a frame is asked for them.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import TypeAlias

import numpy as np

from converters.point_cloud_files import parse_pcd
from converters.sequences.image_file import PIXEL_LIMIT, decode_image
from converters.sequences.json_field import JsonField
from converters.sequences.rising_times import require_rising_times
from converters.sweep_files import sweep_parser
from sam4d.geometry import SE3, Axis
from sam4d.structures import LIDAR, Camera, Clip, Frame, InputError, Sweep, UInt8Array

ReadBytes: TypeAlias = Callable[[str], bytes]
"""Gives a file's bytes by its path relative to the sequence; raises OSError or InputError where it cannot."""

SEQUENCE_FILE = "sequence.json"
SEQUENCE_LIMIT_BYTES = 32 * 2**20
"""Of sequence.json, which takes many times its size in memory; a drive of half an hour with eight cameras has a third of it."""
LAYOUT_VERSION = 1
FORWARD_AXES: tuple[Axis, ...] = ("+x", "-x", "+y", "-y")
LEAST_MOTION_M = 0.5
"""A vehicle that moves less over the whole drive does not tell which way is forward."""

_CAMERA_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_DISTORTION_LENGTHS = (0, 5)
_STRONGEST_DISTORTION = 1e4
_NAME_BYTES = 255
"""The longest name of a file that file systems take."""


@dataclass(frozen=True)
class SweepFile:
    """A sweep that is read when called. parse: what makes a sweep of the file's bytes."""

    read_bytes: ReadBytes
    path: str
    where: str
    parse: Callable[[bytes, str], Sweep] = parse_pcd

    def __call__(self) -> Sweep:
        return self.parse(read_file(self.read_bytes, self.path, self.where), f"{self.where}/{self.path}")

    def content_digest(self) -> str | None:
        """See `sam4d.frame_store.KnownContent`; None where something else than the file's ending decides how it is read."""
        if self.parse is not sweep_parser(self.path):
            return None
        return _digest(f"sweep{PurePosixPath(self.path).suffix.lower()}", read_file(self.read_bytes, self.path, self.where))


@dataclass(frozen=True)
class ImageFile:
    """An image of a camera that is read when called, uint8 (H, W, 3), RGB."""

    read_bytes: ReadBytes
    path: str
    where: str
    camera: Camera

    def __call__(self) -> UInt8Array:
        return decode_image(self.file_bytes(), self.camera.width_px, self.camera.height_px, f"{self.where}/{self.path}")

    def file_bytes(self) -> bytes:
        """The file as it is."""
        return read_file(self.read_bytes, self.path, self.where)

    def content_digest(self) -> str:
        """See `sam4d.frame_store.KnownContent`."""
        return _digest(f"image {self.camera.width_px} x {self.camera.height_px}", self.file_bytes())


@dataclass(frozen=True)
class FolderReader:
    """Reads files below one folder and nothing outside it, links included."""

    root: Path

    def __call__(self, path: str) -> bytes:
        return self.locate(path).read_bytes()

    def locate(self, path: str) -> Path:
        """The file behind a relative path. Raises InputError where it lies outside the folder, OSError where it is not there."""
        try:
            file = (self.root / path).resolve(strict=True)
        except RuntimeError as error:
            # Python before 3.13 reports a circle of links so.
            raise OSError(str(error)) from None
        if not file.is_relative_to(self.root):
            raise InputError(str(self.root / path), "a file inside the sequence's folder", f"a link to {file}")
        if not file.is_file():
            raise InputError(str(self.root / path), "a file", "something else")
        return file


def open_sequence_folder(path: str | Path) -> Clip:
    """The clip in a folder (or beside a given sequence.json). Raises InputError as `read_sequence` does, and where a file that the
    description names is missing, unreadable, or a link to outside the folder; frames whose times do not rise."""
    folder = Path(path)
    if folder.name == SEQUENCE_FILE:
        folder = folder.parent
    if not folder.is_dir():
        raise InputError(str(path), f"a folder with a {SEQUENCE_FILE}", "a file" if folder.exists() else "nothing")
    reader = FolderReader(folder.resolve())
    clip = read_sequence(reader, str(folder))
    require_rising_times(clip, f"{folder}/{SEQUENCE_FILE}")
    for index, frame in enumerate(clip.frames):
        for field, load in (("sweep", frame.load_sweep), *((f"images.{name}", load) for name, load in frame.load_images.items())):
            if isinstance(load, SweepFile | ImageFile):
                _require_readable(reader, load.path, f"{folder}/{SEQUENCE_FILE}: frames[{index}].{field}")
    return clip


def read_sequence(read_bytes: ReadBytes, where: str) -> Clip:
    """The clip that a `sequence.json` describes, from any source of bytes.

    Args:
        read_bytes: gives a file's bytes by its path relative to the sequence. It is called once now, and by the frames later on.
        where: what errors call the sequence, for example its folder or address.

    Raises:
        InputError: naming file and field, where the description cannot be read or is not right. The frames' loaders raise it for
            a sweep or an image that cannot be read or is broken.
    """
    description = read_file(read_bytes, SEQUENCE_FILE, where)
    if len(description) > SEQUENCE_LIMIT_BYTES:
        raise InputError(f"{where}/{SEQUENCE_FILE}", f"at most {SEQUENCE_LIMIT_BYTES} bytes", str(len(description)))
    root = JsonField.parse(description, f"{where}/{SEQUENCE_FILE}")
    version = root["version"]
    if isinstance(version.value, bool) or version.value != LAYOUT_VERSION:
        raise version.wrong(f"layout version {LAYOUT_VERSION}")
    cameras = {name: camera_from_json(name, field) for name, field in root["cameras"].items()}
    frames = tuple(_frame(field, cameras, read_bytes, where) for field in root["frames"].elements())
    if not frames:
        raise root["frames"].wrong("at least one frame")
    forward = axis_from_json(root["forward"]) if root.has("forward") else forward_from_motion([frame.world_SE3_lidar for frame in frames])
    return Clip(root["name"].text(), cameras, frames, forward)


def forward_from_motion(world_SE3_lidar: list[SE3 | None]) -> Axis:
    """The LiDAR axis nearest to the direction in which the vehicle moves from frame to frame; "+x" where it moves less than
    `LEAST_MOTION_M` in all, or has no poses."""
    moved_m = np.zeros(2)
    poses = [pose for pose in world_SE3_lidar if pose is not None]
    for before, after in itertools.pairwise(poses):
        moved_m += (before.inverse() @ after).translation_m[:2]
    if np.linalg.norm(moved_m) < LEAST_MOTION_M:
        return "+x"
    scores: dict[Axis, float] = {"+x": moved_m[0], "-x": -moved_m[0], "+y": moved_m[1], "-y": -moved_m[1]}
    return max(scores, key=lambda axis: scores[axis])


def read_file(read_bytes: ReadBytes, path: str, where: str) -> bytes:
    """A file's bytes; every failure to read it as an InputError."""
    try:
        return read_bytes(path)
    except OSError as error:
        raise InputError(f"{where}/{path}", "a readable file", _reason(error)) from None


def open_file(file: Path) -> BufferedReader:
    """A file to be read from its beginning; what keeps it from that as an InputError."""
    try:
        return file.open("rb")
    except OSError as error:
        raise InputError(str(file), "a readable file", _reason(error)) from None


def pose_from_json(field: JsonField) -> SE3:
    """{"rotation_wxyz": [w, x, y, z], "translation_m": [x, y, z]}. Raises InputError where it is no rigid transform."""
    rotation, translation_m = field["rotation_wxyz"], field["translation_m"].numbers(3)
    quaternion = rotation.numbers(4)
    try:
        return SE3.from_quaternion(quaternion, translation_m)
    except ValueError:
        length = float(np.linalg.norm(quaternion))
        raise InputError(rotation.where, "a rotation: a quaternion [w, x, y, z] of length 1", f"length {length:.6g}") from None


def pose_to_json(pose: SE3) -> dict[str, list[float]]:
    """Inverse of `pose_from_json`, to the last bits."""
    return {"rotation_wxyz": pose.rotation_wxyz.tolist(), "translation_m": pose.translation_m.tolist()}


def require_camera_name(name: str, where: str) -> None:
    """Raises InputError where a camera may not be called so: names become tags, folders and sensors."""
    if name.lower() == LIDAR:
        raise InputError(where, f"another camera name than {LIDAR!r}, which names the LiDAR", repr(name))
    if not _CAMERA_NAME.fullmatch(name):
        raise InputError(where, "a camera name of letters, digits, '_', '-' and '.'", repr(name[:80]))


def camera_from_json(name: str, field: JsonField) -> Camera:
    """A camera as `sequence.json` describes it. Raises InputError naming the field."""
    require_camera_name(name, field.where)
    if field["model"].value != "pinhole":
        raise field["model"].wrong('"pinhole"')
    width_px, height_px = field["width"].integer(1, PIXEL_LIMIT), field["height"].integer(1, PIXEL_LIMIT)
    if width_px * height_px > PIXEL_LIMIT:
        raise InputError(field.where, f"an image of at most {PIXEL_LIMIT} pixels", f"{width_px} x {height_px}")
    intrinsics = {key: field["intrinsics"][key].number() for key in ("fx", "fy", "cx", "cy")}
    for key in ("fx", "fy"):
        if intrinsics[key] <= 0:
            raise field["intrinsics"][key].wrong("a focal length above 0 pixels")
    distortion = field["distortion"].numbers(*_DISTORTION_LENGTHS) if field.has("distortion") else ()
    if any(abs(value) > _STRONGEST_DISTORTION for value in distortion):
        raise InputError(
            field["distortion"].where, f"numbers from -{_STRONGEST_DISTORTION:g} to {_STRONGEST_DISTORTION:g}", str(distortion)
        )
    return Camera(
        name=name,
        width_px=width_px,
        height_px=height_px,
        fx_px=intrinsics["fx"],
        fy_px=intrinsics["fy"],
        cx_px=intrinsics["cx"],
        cy_px=intrinsics["cy"],
        lidar_SE3_cam=pose_from_json(field["lidar_SE3_cam"]),
        distortion=distortion,
    )


def _frame(field: JsonField, cameras: Mapping[str, Camera], read_bytes: ReadBytes, where: str) -> Frame:
    load_images: dict[str, Callable[[], UInt8Array]] = {}
    for name, image in field["images"].items() if field.has("images") else ():
        if name not in cameras:
            raise InputError(image.where, f"one of the cameras {', '.join(cameras) or '(there are none)'}", repr(name[:80]))
        load_images[name] = ImageFile(read_bytes, path_inside(image), where, cameras[name])
    sweep = path_inside(field["sweep"])
    return Frame(
        load_sweep=SweepFile(read_bytes, sweep, where, sweep_parser(sweep)),
        load_images=load_images,
        world_SE3_lidar=pose_from_json(field["world_SE3_lidar"]) if field.has("world_SE3_lidar") else None,
        timestamp_ns=field["timestamp_ns"].integer() if field.has("timestamp_ns") else None,
    )


def axis_from_json(field: JsonField) -> Axis:
    """Raises InputError where it is none of `FORWARD_AXES`."""
    for axis in FORWARD_AXES:
        if field.value == axis:
            return axis
    raise field.wrong(f"one of {', '.join(FORWARD_AXES)}")


def path_inside(field: JsonField) -> str:
    """A path below the sequence, with forward slashes, the same on every system and in an address."""
    text = field.text()
    path = PurePosixPath(text)
    too_long = any(len(part.encode()) > _NAME_BYTES for part in path.parts)
    if path.is_absolute() or ".." in path.parts or "\\" in text or ":" in text or str(path) == "." or too_long:
        raise field.wrong("a path inside the sequence's folder")
    return str(path)


def _require_readable(reader: FolderReader, path: str, where: str) -> None:
    try:
        file = reader.locate(path)
    except OSError as error:
        raise InputError(where, f"a file {path}", _reason(error)) from None
    except InputError as error:
        raise InputError(where, error.expected, error.found) from None
    if not os.access(file, os.R_OK):
        raise InputError(where, f"a readable file {path}", "no permission to read it")


def _digest(how: str, content: bytes) -> str:
    digest = hashlib.sha256(f"{how}\n".encode())
    digest.update(content)
    return digest.hexdigest()


def _reason(error: OSError) -> str:
    return (error.strerror or str(error) or type(error).__name__).lower() if not isinstance(error, FileNotFoundError) else "no such file"
