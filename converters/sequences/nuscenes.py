"""nuScenes read: any version folder (`v1.0-mini/*.json`) beside `samples/`. A scene is a clip, its keyframes are the frames,
or all of its sweeps are.

Every sensor has its own ego pose, at its own time. A clip's cameras are fixed to the LiDAR: the vehicle's motion between a sweep and an
image (up to 50 ms) is left out, as nuScenes' own calibration table has it. Layout: nuscenes.org, schema v1.0.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from converters.sequences.json_field import JsonField
from converters.sequences.rigid import pose_of, upright_cuboid
from converters.sequences.sequence_folder import FolderReader, ImageFile, SweepFile, forward_from_motion, read_file, require_camera_name
from converters.sweep_arrays import parse_bin
from sam4d.geometry import SE3
from sam4d.structures import Camera, Clip, Frame, InputError, LabelledCuboid, Sweep, UInt8Array

COLUMNS = 5
LIDAR_CHANNEL = "LIDAR_TOP"
FARTHEST_IMAGE_US = 25_000
"""Half of the time between two sweeps: an image farther away shows another one's moment."""


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


def open_nuscenes(tables: NuScenes, name: str, *, between_keyframes: bool = False) -> Clip:
    """A scene's keyframes.

    Args:
        between_keyframes: every sweep of the scene is a frame, about ten for one. One between keyframes has the images that were taken at
            most `FARTHEST_IMAGE_US` away from it: some cameras have none there.

    Raises:
        InputError: naming table and row: a missing row or field, no sweep on a keyframe, a pose that is none.
    """
    samples = _samples(tables, name)
    keyframes, others = _recorded(tables, {sample["token"].text() for sample in samples}, between_keyframes)
    shown: list[tuple[JsonField, dict[str, JsonField]]] = []
    for sample in samples:
        data = keyframes[sample["token"].text()]
        if LIDAR_CHANNEL not in data:
            raise InputError(sample.where, f"a sweep of {LIDAR_CHANNEL}", "none")
        shown.append((data[LIDAR_CHANNEL], data))
    between = others.pop(LIDAR_CHANNEL, [])
    shown += [(sweep, _images_near(sweep, others)) for sweep in between]
    calibrations, poses = tables.by_token("calibrated_sensor"), tables.by_token("ego_pose")
    reader = FolderReader(tables.root.resolve())
    cameras: dict[str, Camera] = {}
    frames = []
    for sweep, data in sorted(shown, key=lambda item: item[0]["timestamp"].integer(0)) if between_keyframes else shown:
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


def read_nuscenes_labels(tables: NuScenes, name: str, clip: Clip) -> tuple[tuple[LabelledCuboid, ...] | None, ...]:
    """The cuboids of a scene's keyframes, None on frames between them. The track is the instance, the label its category.

    Raises:
        InputError: naming table and row.
    """
    instances, categories = tables.by_token("instance"), tables.by_token("category")
    annotations: dict[str, list[JsonField]] = defaultdict(list)
    for row in tables.table("sample_annotation"):
        annotations[row["sample_token"].text()].append(row)
    keyframes, _ = _recorded(tables, {sample["token"].text() for sample in _samples(tables, name)}, False)
    sample_of = {data[LIDAR_CHANNEL]["filename"].text(): token for token, data in keyframes.items() if LIDAR_CHANNEL in data}
    frames: list[tuple[LabelledCuboid, ...] | None] = []
    for frame in clip.frames:
        assert frame.world_SE3_lidar is not None
        assert isinstance(frame.load_sweep, SweepFile)
        sample_token = sample_of.get(frame.load_sweep.path)
        if sample_token is None:
            frames.append(None)
            continue
        lidar_SE3_world = frame.world_SE3_lidar.inverse()
        labelled = []
        for row in annotations[sample_token]:
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


def _recorded(
    tables: NuScenes, samples: set[str], between_keyframes: bool
) -> tuple[dict[str, dict[str, JsonField]], dict[str, list[JsonField]]]:
    """What the sensors recorded in these samples: {sample: {channel: row}} on keyframes, {channel: rows} between them."""
    sensors, calibrations = tables.by_token("sensor"), tables.by_token("calibrated_sensor")
    keyframes: dict[str, dict[str, JsonField]] = defaultdict(dict)
    others: dict[str, list[JsonField]] = defaultdict(list)
    for row in tables.table("sample_data"):
        is_keyframe = row["is_key_frame"].value is True
        if row["sample_token"].text() not in samples or not (is_keyframe or between_keyframes):
            continue
        calibration = _row(calibrations, row["calibrated_sensor_token"])
        channel = _row(sensors, calibration["sensor_token"])["channel"].text()
        if is_keyframe:
            keyframes[row["sample_token"].text()][channel] = row
        else:
            others[channel].append(row)
    return keyframes, others


def _images_near(sweep: JsonField, others: Mapping[str, Sequence[JsonField]]) -> dict[str, JsonField]:
    time_us = sweep["timestamp"].integer(0)
    near = {}
    for channel, rows in others.items():
        nearest = min(rows, key=lambda row: abs(row["timestamp"].integer(0) - time_us))
        if abs(nearest["timestamp"].integer(0) - time_us) <= FARTHEST_IMAGE_US:
            near[channel] = nearest
    return near


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
