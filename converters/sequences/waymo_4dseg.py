"""Waymo-4DSeg, the data layout of SAM4D's authors: `meta_infos/NAME.pkl` beside sweeps, images and `sam4d_labels/NAME/*.json`.

The pickle comes from strangers: it is read by `safe_pickle`. Paths in it are looked up below the folder that holds `meta_infos`; of an
absolute one only what follows the layout's own folder names counts.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np

from converters.coco_rle import decode_rle
from converters.packed_masks import MaskStore, PackedMasks
from converters.safe_pickle import load_pickle
from converters.sequences.image_file import image_size
from converters.sequences.json_field import JsonField
from converters.sequences.rigid import rigid
from converters.sequences.sequence_folder import (
    FolderReader,
    ImageFile,
    SweepFile,
    forward_from_motion,
    read_file,
    require_camera_name,
)
from converters.sweep_arrays import parse_npz
from sam4d.geometry import BoolArray
from sam4d.structures import Camera, Clip, Frame, InputError, Masklet, ObjectMasks, UInt8Array

META, IMAGES, SWEEPS, LABELS = "meta_infos", "undistort_images", "pcds", "sam4d_labels"
LIDAR_SENSOR = "LiDAR_TOP"
UNKNOWN_LABEL = "Object"


def waymo_4dseg_names(root: Path) -> list[str]:
    """The sequences of a folder in this layout, none where it is another."""
    return sorted(file.stem for file in (root / META).glob("*.pkl"))


def open_waymo_4dseg(root: Path, name: str) -> Clip:
    """One sequence. Sweeps and images are read when asked for, but for the header of each camera's first image, which has its size.

    Raises:
        InputError: naming file and field; a pickle that holds more than data.
    """
    reader = FolderReader(root.resolve())
    meta = f"{META}/{name}.pkl"
    where = f"{root}/{meta}"
    fields = JsonField(load_pickle(read_file(reader, meta, str(root)), where), where)
    cameras: dict[str, Camera] = {}
    frames = []
    for field in fields["frames"].elements():
        load_images: dict[str, Callable[[], UInt8Array]] = {}
        for camera_name, info in field["cams_info"].items():
            path = _inside(info["data_path"])
            if camera_name not in cameras:
                cameras[camera_name] = _camera(camera_name, info, reader, path, root)
            load_images[camera_name] = ImageFile(reader, path, str(root), cameras[camera_name])
        sweep = _inside(field["path"]["pcd"])
        pose = rigid(field["lidar2world"].value, field["lidar2world"].where) if field.has("lidar2world") else None
        frames.append(Frame(SweepFile(reader, sweep, str(root), parse_npz), load_images, pose, _timestamp_ns(sweep)))
    if not frames:
        raise fields["frames"].wrong("at least one frame")
    return Clip(name, cameras, tuple(frames), forward_from_motion([frame.world_SE3_lidar for frame in frames]))


def read_waymo_4dseg_labels(root: Path, name: str, clip: Clip) -> tuple[Masklet, ...]:
    """The masklets of `sam4d_labels/NAME`, as `read_label_folder` has them."""
    return read_label_folder(root, f"{LABELS}/{name}", clip)


def sweep_name(clip: Clip, frame_index: int) -> str:
    """What a frame's labels are called: as its sweep, or by the frame's number in six digits where that is no file."""
    load = clip.frames[frame_index].load_sweep
    return PurePosixPath(load.path).stem if isinstance(load, SweepFile) else f"{frame_index:06d}"


def read_label_folder(root: Path, folder: str, clip: Clip) -> tuple[Masklet, ...]:
    """The masklets of one folder of labels below the root, ascending by object id. Frames without a file show nothing; object id -1 (to be
    ignored) is left out. The layout's `semantic` becomes the label where it is a text.

    Raises:
        InputError: naming file and field: a mask of another size than its image or sweep.
    """
    reader = FolderReader(root.resolve())
    store = MaskStore()
    masks: dict[int, PackedMasks] = {}
    labels: dict[int, str] = {}
    for frame_index, frame in enumerate(clip.frames):
        path = str(PurePosixPath(folder, f"{sweep_name(clip, frame_index)}.json"))
        if not (root / path).is_file():
            continue
        sensors = JsonField.parse(read_file(reader, path, str(root)), f"{root}/{path}")["sensors"]
        shown: dict[int, dict[str, BoolArray]] = {}
        scores: dict[int, float] = {}
        point_count = len(frame.load_sweep())
        for sensor, entry in sensors.items():
            if sensor != LIDAR_SENSOR and sensor not in clip.cameras:
                raise InputError(entry.where, f"{LIDAR_SENSOR} or one of the cameras {', '.join(clip.cameras)}", repr(sensor[:80]))
            for item in entry["objects"].elements():
                object_id = item["object_id"].integer(-1)
                if object_id < 0:
                    continue
                if sensor == LIDAR_SENSOR:
                    rle = item["lidar_mask"]
                    mask = decode_rle(rle.value, (point_count,), rle.where)
                else:
                    camera = clip.cameras[sensor]
                    rle = item["image_mask"]
                    mask = decode_rle(rle.value, (camera.height_px, camera.width_px), rle.where)
                shown.setdefault(object_id, {})[sensor] = mask
                scores[object_id] = max(scores.get(object_id, 0.0), item["score"].number() if item.has("score") else 1.0)
                if item.has("semantic") and isinstance(item["semantic"].value, str):
                    labels[object_id] = item["semantic"].text()
        for object_id, by_sensor in shown.items():
            lidar_mask = by_sensor.pop(LIDAR_SENSOR, np.zeros(point_count, dtype=np.bool_))
            score = min(max(scores[object_id], 0.0), 1.0)
            masks.setdefault(object_id, PackedMasks(store=store))[frame_index] = ObjectMasks(
                object_id, frame_index, by_sensor, lidar_mask, score
            )
    return tuple(Masklet(object_id, labels.get(object_id, UNKNOWN_LABEL), masks[object_id]) for object_id in sorted(masks))


def _camera(name: str, info: JsonField, reader: FolderReader, path: str, root: Path) -> Camera:
    require_camera_name(name, info.where)
    intrinsics = info["camera_intrinsics"]
    try:
        matrix = np.asarray(intrinsics.value, dtype=np.float64)
    except (TypeError, ValueError):
        matrix = np.zeros(0)
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all() or min(matrix[0, 0], matrix[1, 1]) <= 0:
        raise InputError(intrinsics.where, "a 3 x 3 matrix with focal lengths above 0", f"shape {matrix.shape}")
    width, height = image_size(read_file(reader, path, str(root)), f"{root}/{path}")
    return Camera(
        name,
        width,
        height,
        float(matrix[0, 0]),
        float(matrix[1, 1]),
        float(matrix[0, 2]),
        float(matrix[1, 2]),
        rigid(info["camera2lidar"].value, info["camera2lidar"].where),
    )


def _inside(field: JsonField) -> str:
    """A path of the pickle, below the layout's root."""
    parts = PurePosixPath(field.text().replace("\\", "/")).parts
    for folder in (IMAGES, SWEEPS, LABELS):
        if folder in parts:
            parts = parts[parts.index(folder) :]
            break
    path = PurePosixPath(*parts)
    if path.is_absolute() or ".." in path.parts:
        raise field.wrong(f"a path below {IMAGES}, {SWEEPS} or {LABELS}")
    return str(path)


def _timestamp_ns(path: str) -> int | None:
    """Sweeps are called by their time in microseconds, or in nanoseconds."""
    stem = PurePosixPath(path).stem
    if not stem.isdecimal() or len(stem) not in (16, 19):
        return None
    return int(stem) * (1000 if len(stem) == 16 else 1)
