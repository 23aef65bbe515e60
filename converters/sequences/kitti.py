"""KITTI read: raw drives (`..._sync` with `velodyne_points/`), and sequences of the tracking benchmark (`training/velodyne/0000/`).

Cameras are KITTI's rectified ones. Layout: the development kits of KITTI raw and of the tracking benchmark.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from converters.sequences.image_file import image_size
from converters.sequences.kitti_text import calibrated, calibration_lines, oxts_poses, parse_calibration, parse_oxts
from converters.sequences.kitti_tracking_labels import read_kitti_tracking
from converters.sequences.missing_files import require_none_missing
from converters.sequences.rigid import rigid
from converters.sequences.sequence_folder import FolderReader, ImageFile, SweepFile, read_file
from converters.sweep_arrays import parse_bin
from sam4d.geometry import SE3, Float64Array
from sam4d.structures import Camera, Clip, Frame, InputError, LabelledCuboid, Sweep

COLUMNS = 4
CAMERAS = ("image_00", "image_01", "image_02", "image_03")
IMAGE_ENDINGS = (".png", ".jpg", ".jpeg")
RAW_SWEEPS, RAW_TIMES, RAW_RECORDS = "velodyne_points/data", "velodyne_points/timestamps.txt", "oxts/data"
CALIBRATION_FILES = ("calib_cam_to_cam.txt", "calib_velo_to_cam.txt")
IMU_FILE = "calib_imu_to_velo.txt"


def is_kitti_raw(folder: Path) -> bool:
    return (folder / RAW_SWEEPS).is_dir()


def open_kitti_raw(folder: Path, *, allow_missing: bool = False) -> Clip:
    """A drive of KITTI raw. Its calibration files lie in it or in the folder of its day above it; oxts give poses where they are there.

    Frames are the sweeps; a camera has an image on a frame where one has the sweep's number.

    Args:
        allow_missing: some of the published drives lack a few sweeps (177 to 180 of 2011_09_26_drive_0009): the frames are then those that
            are there.

    Raises:
        InputError: a missing calibration file or key, no sweeps, GPS records that cannot be read; unless allowed, a sweep without its
            image, GPS record or time, and the other way round.
    """
    day = next((place for place in (folder, folder.parent) if (place / CALIBRATION_FILES[0]).is_file()), folder)
    cam, velo = (_lines(day, name) for name in CALIBRATION_FILES)
    velo_where, cam_where = str(day / CALIBRATION_FILES[1]), str(day / CALIBRATION_FILES[0])
    cam_SE3_lidar = _from_parts(
        calibrated(velo, ("R",), (3, 3), velo_where), calibrated(velo, ("T",), (3,), velo_where), f"{velo_where}: R, T"
    )
    rect_SE3_lidar = _from_parts(calibrated(cam, ("R_rect_00",), (3, 3), cam_where), np.zeros(3), f"{cam_where}: R_rect_00") @ cam_SE3_lidar
    reader = FolderReader(folder.resolve())
    stems = sorted(file.stem for file in (folder / RAW_SWEEPS).glob("*.bin"))
    images = {name: _images(folder / name / "data") for name in CAMERAS}
    cameras = {}
    for name, files in images.items():
        key = f"P_rect_{name[-2:]}"
        if files:
            first = f"{name}/data/{next(iter(files.values()))}"
            cameras[name] = _camera(name, calibrated(cam, (key,), (3, 4), cam_where), rect_SE3_lidar, reader, first, folder)
    times = _times_ns(folder / RAW_TIMES)
    if not allow_missing and stems:
        beside = {f"{name}/data": files for name, files in images.items()}
        has_poses = (day / IMU_FILE).is_file()
        records = [file.stem for file in (folder / RAW_RECORDS).glob("*.txt")] if has_poses else []
        entries = {RAW_TIMES: len(times)} if times else {}
        require_none_missing(folder, RAW_SWEEPS, stems, {**beside, RAW_RECORDS: records}, entries)
    poses = _raw_poses(folder, day, stems)
    times_ns = {stem: times[int(stem)] for stem in stems if stem.isdecimal() and int(stem) < len(times)}
    places = {name: f"{name}/data" for name in cameras}
    return _clip(folder.name, reader, folder, RAW_SWEEPS, stems, cameras, places, images, poses, times_ns)


def kitti_tracking_names(root: Path) -> list[str]:
    """The sequences of a `training` or `testing` folder of the tracking benchmark, none where it is something else."""
    return sorted(folder.name for folder in (root / "velodyne").glob("*") if (root / "calib" / f"{folder.name}.txt").is_file())


def open_kitti_tracking(root: Path, name: str, *, allow_missing: bool = False) -> Clip:
    """A sequence of the tracking benchmark. Poses where `oxts/NAME.txt` is there.

    Args:
        allow_missing: training sequence 0001 lacks the sweeps 177 to 180: the frames are then those that are there.

    Raises:
        InputError: a missing calibration file or key, no sweeps, GPS records that cannot be read; unless allowed, a sweep without its
            image or GPS record, and the other way round.
    """
    where = str(root / "calib" / f"{name}.txt")
    lines = _lines(root / "calib", f"{name}.txt")
    rect_SE3_lidar = parse_calibration(_text(root / "calib", f"{name}.txt"), where)
    reader = FolderReader(root.resolve())
    stems = sorted(file.stem for file in (root / "velodyne" / name).glob("*.bin"))
    images = {camera: _images(root / camera / name) for camera in CAMERAS}
    cameras = {}
    for camera, files in images.items():
        if files:
            projection = calibrated(lines, (f"P{int(camera[-2:])}",), (3, 4), where)
            first = f"{camera}/{name}/{next(iter(files.values()))}"
            cameras[camera] = _camera(camera, projection, rect_SE3_lidar, reader, first, root)
    poses: dict[str, SE3] = {}
    entries: dict[str, int] = {}
    if (root / "oxts" / f"{name}.txt").is_file():
        lidar_SE3_imu = rigid(calibrated(lines, ("Tr_imu_velo", "Tr_imu_to_velo"), (3, 4), where), f"{where}: Tr_imu_velo")
        records = parse_oxts(_bytes(root / "oxts", f"{name}.txt"), str(root / "oxts" / f"{name}.txt"))
        entries = {f"oxts/{name}.txt": len(records)}
        # One record per frame of the camera; sweeps are numbered alike, some are missing.
        poses = {f"{index:06d}": world_SE3_imu @ lidar_SE3_imu.inverse() for index, world_SE3_imu in enumerate(oxts_poses(records))}
    if not allow_missing and stems:
        beside = {f"{camera}/{name}": files for camera, files in images.items()}
        require_none_missing(root, f"velodyne/{name}", stems, beside, entries)
    places = {camera: f"{camera}/{name}" for camera in cameras}
    return _clip(name, reader, root, f"velodyne/{name}", stems, cameras, places, images, poses, {})


def read_kitti_tracking_labels(root: Path, name: str, clip: Clip) -> tuple[tuple[LabelledCuboid, ...] | None, ...]:
    """The cuboids of `label_02/NAME.txt` by frame of the clip; DontCare lines are left out. None on all frames where the file is missing.

    Raises:
        InputError: naming file and line.
    """
    if not (root / "label_02" / f"{name}.txt").is_file():
        return (None,) * len(clip)
    numbers = [_number(frame) for frame in clip.frames]
    shown: dict[int, list[LabelledCuboid]] = {number: [] for number in numbers}
    for item in read_kitti_tracking(root, name):
        if item.cuboid is not None and item.frame_index in shown:
            shown[item.frame_index].append(LabelledCuboid(str(item.track_id), item.label, item.cuboid))
    return tuple(tuple(shown[number]) for number in numbers)


def parse_kitti_sweep(data: bytes, where: str) -> Sweep:
    """float32 rows x y z reflectance."""
    return parse_bin(data, COLUMNS, where)


def _clip(
    name: str,
    reader: FolderReader,
    root: Path,
    sweeps: str,
    stems: Sequence[str],
    cameras: Mapping[str, Camera],
    places: Mapping[str, str],
    images: Mapping[str, Mapping[str, str]],
    poses: Mapping[str, SE3],
    times_ns: Mapping[str, int | None],
) -> Clip:
    """A frame per sweep, called by its number as text; a camera's images lie in its place below the root."""
    if not stems:
        raise InputError(f"{root}/{sweeps}", "at least one sweep (.bin)", "none")
    frames = tuple(
        Frame(
            SweepFile(reader, f"{sweeps}/{stem}.bin", str(root), parse_kitti_sweep),
            {
                camera: ImageFile(reader, f"{places[camera]}/{images[camera][stem]}", str(root), calibration)
                for camera, calibration in cameras.items()
                if stem in images[camera]
            },
            poses.get(stem),
            times_ns.get(stem),
        )
        for stem in stems
    )
    return Clip(name, dict(cameras), frames, "+x")


def _camera(name: str, projection: Float64Array, rect_SE3_lidar: SE3, reader: FolderReader, image: str, folder: Path) -> Camera:
    """KITTI's P = K [I | t]: its camera stands beside the reference camera, looking the same way."""
    intrinsics = projection[:, :3]
    where = f"{folder}: the projection of {name}"
    if min(intrinsics[0, 0], intrinsics[1, 1]) <= 0 or abs(intrinsics[2, 2] - 1) > 1e-6:
        raise InputError(where, "K [I | t] with focal lengths above 0", np.array2string(projection, precision=3).replace("\n", " "))
    camera_SE3_rect = SE3(np.eye(3), np.linalg.solve(intrinsics, projection[:, 3]).astype(np.float64))
    width, height = image_size(read_file(reader, image, str(folder)), f"{folder}/{image}")
    fx, fy, cx, cy = (float(value) for value in (intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2]))
    return Camera(name, width, height, fx, fy, cx, cy, (camera_SE3_rect @ rect_SE3_lidar).inverse())


def _raw_poses(folder: Path, day: Path, stems: list[str]) -> dict[str, SE3]:
    if not (folder / RAW_RECORDS).is_dir() or not (day / IMU_FILE).is_file():
        return {}
    lines, where = _lines(day, IMU_FILE), str(day / IMU_FILE)
    lidar_SE3_imu = _from_parts(calibrated(lines, ("R",), (3, 3), where), calibrated(lines, ("T",), (3,), where), f"{where}: R, T")
    known = [stem for stem in stems if (folder / RAW_RECORDS / f"{stem}.txt").is_file()]
    data = b"\n".join(_bytes(folder / RAW_RECORDS, f"{stem}.txt").strip() for stem in known)
    records = parse_oxts(data, str(folder / RAW_RECORDS))
    if len(records) != len(known):
        raise InputError(str(folder / RAW_RECORDS), "one record per file", f"{len(records)} in {len(known)} files")
    return {stem: pose @ lidar_SE3_imu.inverse() for stem, pose in zip(known, oxts_poses(records), strict=True)}


def _times_ns(file: Path) -> list[int | None]:
    """Nanoseconds since 1970 of every line of a timestamps.txt (taken as UTC); none where the file is missing or a line is no time."""
    if not file.is_file():
        return []
    times: list[int | None] = []
    for line in _bytes(file.parent, file.name).decode("utf-8", "replace").splitlines():
        whole, _, fraction = line.strip().partition(".")
        try:
            seconds = int(dt.datetime.fromisoformat(whole).replace(tzinfo=dt.timezone.utc).timestamp())
            times.append(seconds * 10**9 + int(fraction.ljust(9, "0")[:9] or 0))
        except ValueError:
            times.append(None)
    return times


def _images(folder: Path) -> dict[str, str]:
    """{number as text: file name}."""
    return {file.stem: file.name for file in sorted(folder.glob("*")) if file.suffix.lower() in IMAGE_ENDINGS}


def _number(frame: Frame) -> int:
    assert isinstance(frame.load_sweep, SweepFile)
    return int(Path(frame.load_sweep.path).stem)


def _from_parts(rotation: Float64Array, translation_m: Float64Array, where: str) -> SE3:
    return rigid(np.column_stack([rotation, translation_m]), where)


def _lines(folder: Path, name: str) -> dict[str, tuple[str, ...]]:
    return calibration_lines(_text(folder, name))


def _text(folder: Path, name: str) -> str:
    return _bytes(folder, name).decode("utf-8", "replace")


def _bytes(folder: Path, name: str) -> bytes:
    return read_file(FolderReader(folder.resolve()), name, str(folder))
