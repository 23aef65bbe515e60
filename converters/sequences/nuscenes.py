"""nuScenes read: any version folder (`v1.0-mini/*.json`) beside `samples/`. A scene is a clip, its keyframes are the frames.

Every sensor has its own ego pose, at its own time. A clip's cameras are fixed to the LiDAR: the vehicle's motion between a sweep and an
image (up to 50 ms) is left out, as nuScenes' own calibration table has it. Layout: nuscenes.org, schema v1.0.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from converters.sequences.json_field import JsonField
from converters.sequences.rigid import pose_of, upright_cuboid
from converters.sequences.sequence_folder import FolderReader, ImageFile, SweepFile, forward_from_motion, read_file, require_camera_name
from converters.sweep_arrays import parse_bin
from sam4d.geometry import SE3
from sam4d.structures import Camera, Clip, Frame, InputError, LabelledCuboid, Sweep, UInt8Array

COLUMNS = 5
LIDAR_CHANNEL = "LIDAR_TOP"


class NuScenes:
    """The tables of one version folder, each read once, when it is asked for."""

    def __init__(self, root: Path, version: str) -> None:
        self.root = root
        self.version = version
        self._tables: dict[str, list[JsonField]] = {}
        self._by_token: dict[str, dict[str, JsonField]] = {}

    def table(self, name: str) -> list[JsonField]:
        """A table's rows. Raises InputError where it cannot be read."""
        if name not in self._tables:
            path = f"{self.version}/{name}.json"
            data = read_file(FolderReader(self.root.resolve()), path, str(self.root))
            self._tables[name] = JsonField.parse(data, f"{self.root}/{path}").elements()
        return self._tables[name]

    def by_token(self, name: str) -> dict[str, JsonField]:
        """A table's rows by their token."""
        if name not in self._by_token:
            self._by_token[name] = {row["token"].text(): row for row in self.table(name)}
        return self._by_token[name]


def find_nuscenes(root: Path) -> NuScenes | None:
    """The newest version folder below a root that has the table of scenes; None where there is none."""
    versions = sorted(file.parent.name for file in root.glob("v*/scene.json"))
    return NuScenes(root, versions[-1]) if versions else None


def nuscenes_names(tables: NuScenes) -> list[str]:
    """The names of all scenes."""
    return sorted(row["name"].text() for row in tables.table("scene"))


def open_nuscenes(tables: NuScenes, name: str) -> Clip:
    """A scene's keyframes.

    Raises:
        InputError: naming table and row: a missing row or field, no sweep on a keyframe, a pose that is none.
    """
    sensors, calibrations = tables.by_token("sensor"), tables.by_token("calibrated_sensor")
    poses = tables.by_token("ego_pose")
    reader = FolderReader(tables.root.resolve())
    recorded: dict[str, dict[str, JsonField]] = defaultdict(dict)
    for row in tables.table("sample_data"):
        if row["is_key_frame"].value is True:
            calibration = _row(calibrations, row["calibrated_sensor_token"])
            recorded[row["sample_token"].text()][_row(sensors, calibration["sensor_token"])["channel"].text()] = row
    cameras: dict[str, Camera] = {}
    frames = []
    for sample in _samples(tables, name):
        data = recorded[sample["token"].text()]
        if LIDAR_CHANNEL not in data:
            raise InputError(sample.where, f"a sweep of {LIDAR_CHANNEL}", "none")
        sweep = data[LIDAR_CHANNEL]
        ego_SE3_lidar = _pose(_row(calibrations, sweep["calibrated_sensor_token"]))
        load_images: dict[str, Callable[[], UInt8Array]] = {}
        for channel, row in sorted(data.items()):
            calibration = _row(calibrations, row["calibrated_sensor_token"])
            if not calibration["camera_intrinsic"].elements():
                continue
            if channel not in cameras:
                cameras[channel] = _camera(channel, row, calibration, ego_SE3_lidar)
            load_images[channel] = ImageFile(reader, row["filename"].text(), str(tables.root), cameras[channel])
        frames.append(
            Frame(
                SweepFile(reader, sweep["filename"].text(), str(tables.root), parse_nuscenes_sweep),
                load_images,
                _pose(_row(poses, sweep["ego_pose_token"])) @ ego_SE3_lidar,
                sweep["timestamp"].integer(0) * 1000,
            )
        )
    return Clip(name, cameras, tuple(frames), forward_from_motion([frame.world_SE3_lidar for frame in frames]))


def read_nuscenes_labels(tables: NuScenes, name: str, clip: Clip) -> tuple[tuple[LabelledCuboid, ...], ...]:
    """The cuboids of a scene's keyframes. The track is the instance, the label its category.

    Raises:
        InputError: naming table and row.
    """
    instances, categories = tables.by_token("instance"), tables.by_token("category")
    annotations: dict[str, list[JsonField]] = defaultdict(list)
    for row in tables.table("sample_annotation"):
        annotations[row["sample_token"].text()].append(row)
    frames = []
    for sample, frame in zip(_samples(tables, name), clip.frames, strict=True):
        assert frame.world_SE3_lidar is not None
        lidar_SE3_world = frame.world_SE3_lidar.inverse()
        labelled = []
        for row in annotations[sample["token"].text()]:
            width, length, height = row["size"].numbers(3)
            cuboid = upright_cuboid(lidar_SE3_world @ _pose(row), (length, width, height))
            token = row["instance_token"]
            labelled.append(LabelledCuboid(token.text(), _row(categories, _row(instances, token)["category_token"])["name"].text(), cuboid))
        frames.append(tuple(labelled))
    return tuple(frames)


def parse_nuscenes_sweep(data: bytes, where: str) -> Sweep:
    """float32 rows x y z intensity ring."""
    return parse_bin(data, COLUMNS, where)


def _samples(tables: NuScenes, name: str) -> list[JsonField]:
    """A scene's keyframes in their order."""
    scene = next((row for row in tables.table("scene") if row["name"].value == name), None)
    if scene is None:
        raise InputError(f"{tables.root}/{tables.version}/scene.json", "a scene of this name", repr(name[:80]))
    samples = tables.by_token("sample")
    chain = [_row(samples, scene["first_sample_token"])]
    while chain[-1]["next"].value and len(chain) <= len(samples):
        chain.append(_row(samples, chain[-1]["next"]))
    if len(chain) > len(samples):
        raise chain[0]["next"].wrong("samples that come to an end")
    return chain


def _row(rows: dict[str, JsonField], token: JsonField) -> JsonField:
    if token.text() not in rows:
        raise token.wrong("the token of a row that is there")
    return rows[token.text()]


def _pose(row: JsonField) -> SE3:
    return pose_of(row["rotation"].numbers(4), row["translation"].numbers(3), row["rotation"].where)


def _camera(name: str, row: JsonField, calibration: JsonField, ego_SE3_lidar: SE3) -> Camera:
    require_camera_name(name, row.where)
    rows = [line.numbers(3) for line in calibration["camera_intrinsic"].elements()]
    if len(rows) != 3 or min(rows[0][0], rows[1][1]) <= 0:
        raise calibration["camera_intrinsic"].wrong("a 3 x 3 matrix with focal lengths above 0")
    lidar_SE3_cam = ego_SE3_lidar.inverse() @ _pose(calibration)
    width, height = row["width"].integer(1), row["height"].integer(1)
    return Camera(name, width, height, rows[0][0], rows[1][1], rows[0][2], rows[1][2], lidar_SE3_cam)
