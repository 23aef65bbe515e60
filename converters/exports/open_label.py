"""ASAM OpenLABEL 1.0: `openlabel/NAME.json` with sensors, calibration, ego poses, cuboids, point masks and image masks.

The LiDAR frame hangs below "world" by the ego pose of every frame (a transform from "lidar" to "world"), every camera's below the
LiDAR's by its calibration. Masks are `binary` data whose encoding is "coco-rle": the compressed run lengths of `pycocotools`, with the
size in the attributes. Layout: ASAM OpenLABEL 1.0.0, JSON schema `openlabel-1-0-0`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from converters.coco_rle import CocoRle, decode_rle, encode_rle
from converters.exports.distinct_objects import require_distinct_objects
from converters.exports.json_pieces import JsonMembers, json_file
from converters.exports.whole_output import FileContent, file_name
from converters.sequences.json_field import JsonField
from converters.sequences.sequence_folder import ImageFile, SweepFile, read_file
from sam4d.geometry import SE3, BoolArray
from sam4d.structures import LIDAR, Camera, CameraMasks, Clip, Cuboid, InputError, Masklet, ObjectMasks

SCHEMA_VERSION = "1.0.0"
WORLD = "world"
MASK_ENCODING = "coco-rle"

_CUBOID, _SCORE = "cuboid", "score"


def open_label_files(clip: Clip, masklets: Sequence[Masklet]) -> dict[str, FileContent]:
    """A clip's objects, {relative path: content}. Nothing is lost but the frame on which an object was looked for in vain.

    Raises:
        InputError: two masklets with one object id.
    """
    require_distinct_objects(masklets)
    document = {
        "openlabel": {
            "metadata": {"schema_version": SCHEMA_VERSION, "name": clip.name, "annotator": "SAM4D for Label Studio"},
            "coordinate_systems": _coordinate_systems(clip),
            "streams": _streams(clip),
            "objects": {str(masklet.object_id): _object(masklet) for masklet in masklets},
            "frames": JsonMembers(lambda: ((str(index), _frame(clip, masklets, index)) for index in range(len(clip)))),
            "frame_intervals": [{"frame_start": 0, "frame_end": len(clip) - 1}],
        }
    }
    return {f"openlabel/{file_name(clip.name)}.json": json_file(document)}


def read_open_label(file: str | Path) -> tuple[Masklet, ...]:
    """The objects of a file as `open_label_files` writes them, whose inverse this is.

    Raises:
        InputError: naming file and field.
    """
    path = Path(file)
    root = JsonField.parse(read_file(lambda each: (path.parent / each).read_bytes(), path.name, str(path.parent)), str(path))["openlabel"]
    cameras = {name: stream for name, stream in root["streams"].items() if stream["type"].value == "camera"}
    masks: dict[int, dict[int, ObjectMasks]] = {}
    cuboids: dict[int, dict[int, Cuboid]] = {}
    labels: dict[int, str] = {}
    for key, item in root["objects"].items():
        labels[_whole(key, item)] = item["type"].text()
    for frame_key, frame in root["frames"].items():
        frame_index = _whole(frame_key, frame)
        for key, item in frame["objects"].items() if frame.has("objects") else ():
            object_id, data = _whole(key, item), item["object_data"]
            if object_id not in labels:
                raise item.wrong("one of the objects")
            for cuboid in data["cuboid"].elements() if data.has("cuboid") else ():
                cuboids.setdefault(object_id, {})[frame_index] = _read_cuboid(cuboid)
            if data.has("binary"):
                masks.setdefault(object_id, {})[frame_index] = _read_masks(data, object_id, frame_index, cameras)
    return tuple(Masklet(object_id, label, masks.get(object_id, {}), cuboids.get(object_id, {})) for object_id, label in labels.items())


def _coordinate_systems(clip: Clip) -> dict[str, object]:
    systems: dict[str, object] = {
        WORLD: {"type": "scene_cs", "parent": "", "children": [LIDAR]},
        LIDAR: {"type": "sensor_cs", "parent": WORLD, "children": list(clip.cameras), "pose_wrt_parent": _transform(SE3.identity())},
    }
    for name, camera in clip.cameras.items():
        systems[name] = {"type": "sensor_cs", "parent": LIDAR, "children": [], "pose_wrt_parent": _transform(camera.lidar_SE3_cam)}
    return systems


def _streams(clip: Clip) -> dict[str, object]:
    streams: dict[str, object] = {LIDAR: {"type": "lidar"}}
    for name, camera in clip.cameras.items():
        streams[name] = {"type": "camera", "stream_properties": {"intrinsics_pinhole": _intrinsics(camera)}}
    return streams


def _intrinsics(camera: Camera) -> dict[str, object]:
    matrix = [camera.fx_px, 0.0, camera.cx_px, 0.0, 0.0, camera.fy_px, camera.cy_px, 0.0, 0.0, 0.0, 1.0, 0.0]
    return {
        "width_px": camera.width_px,
        "height_px": camera.height_px,
        "camera_matrix": [float(value) for value in matrix],
        "distortion_coeffs": [float(value) for value in camera.distortion or (0.0,) * 5],
    }


def _object(masklet: Masklet) -> dict[str, object]:
    frames = sorted({*masklet.masks, *masklet.cuboids})
    runs = [[frame for _, frame in run] for _, run in itertools.groupby(enumerate(frames), key=lambda pair: pair[1] - pair[0])]
    intervals = [{"frame_start": run[0], "frame_end": run[-1]} for run in runs]
    return {"name": f"{masklet.label} {masklet.object_id}", "type": masklet.label, "frame_intervals": intervals}


def _frame(clip: Clip, masklets: Sequence[Masklet], frame_index: int) -> dict[str, object]:
    frame = clip.frames[frame_index]
    properties: dict[str, object] = {"streams": {name: {"uri": uri} for name, uri in _files(clip, frame_index).items()}}
    if frame.timestamp_ns is not None:
        # Whole nanoseconds do not fit into a float: as text.
        properties["timestamp"] = str(frame.timestamp_ns)
    if frame.world_SE3_lidar is not None:
        transform = {"src": LIDAR, "dst": WORLD, "transform_src_to_dst": _transform(frame.world_SE3_lidar)}
        properties["transforms"] = {f"{LIDAR}_to_{WORLD}": transform}
    objects = {}
    for masklet in masklets:
        data: dict[str, list[object]] = {}
        cuboid, masks = masklet.cuboids.get(frame_index), masklet.masks.get(frame_index)
        if cuboid is not None:
            data["cuboid"] = [{"name": _CUBOID, "val": _cuboid_values(cuboid), "coordinate_system": LIDAR}]
        if masks is not None:
            crops = masks.camera_masks
            assert isinstance(crops, CameraMasks)
            data["binary"] = [_mask(LIDAR, encode_rle(masks.lidar_mask)), *(_mask(name, encode_rle(crops[name])) for name in crops)]
            data["num"] = [{"name": _SCORE, "val": float(masks.score)}]
        if data:
            objects[str(masklet.object_id)] = {"object_data": data}
    return {"frame_properties": properties, **({"objects": objects} if objects else {})}


def _files(clip: Clip, frame_index: int) -> dict[str, str]:
    frame = clip.frames[frame_index]
    loads = {LIDAR: frame.load_sweep, **frame.load_images}
    return {name: load.path if isinstance(load, SweepFile | ImageFile) else "" for name, load in loads.items()}


def _mask(sensor: str, rle: CocoRle) -> dict[str, object]:
    return {
        "name": f"mask_{sensor}",
        "val": rle["counts"],
        "encoding": MASK_ENCODING,
        "data_type": "bool",
        "coordinate_system": sensor,
        "attributes": {"text": [{"name": "stream", "val": sensor}], "vec": [{"name": "size", "val": rle["size"]}]},
    }


def _transform(pose: SE3) -> dict[str, object]:
    w, x, y, z = pose.rotation_wxyz.tolist()
    return {"quaternion": [x, y, z, w], "translation": pose.translation_m.tolist()}


def _cuboid_values(cuboid: Cuboid) -> list[float]:
    """x y z, qx qy qz qw, length width height."""
    half = cuboid.yaw_rad / 2
    return [float(value) for value in (*cuboid.center_m, 0.0, 0.0, np.sin(half), np.cos(half), *cuboid.size_lwh_m)]


def _read_cuboid(field: JsonField) -> Cuboid:
    x, y, z, qx, qy, qz, qw, length, width, height = field["val"].numbers(10)
    if max(abs(qx), abs(qy)) > 1e-6 or abs(qz * qz + qw * qw - 1) > 1e-6:
        raise field["val"].wrong("a cuboid that turns about z alone")
    return Cuboid((x, y, z), (length, width, height), float(2 * np.arctan2(qz, qw)))


def _read_masks(data: JsonField, object_id: int, frame_index: int, cameras: dict[str, JsonField]) -> ObjectMasks:
    camera_masks: dict[str, BoolArray] = {}
    lidar_mask: BoolArray = np.zeros(0, dtype=np.bool_)
    for item in data["binary"].elements():
        if item["encoding"].value != MASK_ENCODING:
            raise item["encoding"].wrong(MASK_ENCODING)
        sensor = item["attributes"]["text"][0]["val"].text()
        rows, columns = (element.integer(0) for element in item["attributes"]["vec"][0]["val"].elements())
        rle = {"size": [rows, columns], "counts": item["val"].value}
        if sensor == LIDAR:
            lidar_mask = decode_rle(rle, (rows,), item.where)
        elif sensor in cameras:
            camera_masks[sensor] = decode_rle(rle, (rows, columns), item.where)
        else:
            raise item["attributes"].wrong(f"one of the streams {', '.join(cameras)}")
    return ObjectMasks(object_id, frame_index, camera_masks, lidar_mask, data["num"][0]["val"].number())


def _whole(key: str, field: JsonField) -> int:
    if not key.isdecimal():
        raise InputError(field.where, "a whole number as its key", repr(key[:40]))
    return int(key)
