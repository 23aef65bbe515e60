"""nuScenes annotations and panoptic labels: a version folder of tables, `NAME/v1.0-sam4d/*.json`, and `NAME/panoptic/v1.0-sam4d/*.npz`.

The tables are whole, so that the development kit loads them: the LiDAR frame stands for the ego frame. A point's panoptic number is
class * 1000 + instance, the instances of a class counted from 1, 0 where nothing is labelled. Layout: nuscenes.org, schema v1.0 and
panoptic challenge.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeAlias

import numpy as np

from converters.exports.distinct_objects import require_distinct_objects
from converters.exports.json_pieces import JsonArray, json_file
from converters.exports.point_labels import point_owners
from converters.exports.tokens import token
from converters.exports.whole_output import FileContent, file_name
from converters.sequences.sequence_folder import ImageFile, SweepFile
from sam4d.geometry import SE3
from sam4d.structures import Clip, InputError, Masklet

VERSION = "v1.0-sam4d"
LIDAR_CHANNEL = "LIDAR_TOP"
INSTANCES_LIMIT = 999
CLASSES_LIMIT = 64
FRAME_STEP_US = 500_000
"""Between frames without a time."""

CATEGORIES: Mapping[str, str] = {
    "car": "vehicle.car",
    "truck": "vehicle.truck",
    "bus": "vehicle.bus.rigid",
    "trailer": "vehicle.trailer",
    "motorcycle": "vehicle.motorcycle",
    "motorcyclist": "vehicle.motorcycle",
    "bicycle": "vehicle.bicycle",
    "cyclist": "vehicle.bicycle",
    "pedestrian": "human.pedestrian.adult",
    "person": "human.pedestrian.adult",
    "animal": "animal",
    "traffic cone": "movable_object.trafficcone",
    "barrier": "movable_object.barrier",
}
"""nuScenes' category for usual labels (which count the rider among the vehicle); other labels keep their name."""

Row: TypeAlias = dict[str, object]
Rows: TypeAlias = list[Row] | JsonArray


def nuscenes_files(clip: Clip, masklets: Sequence[Masklet]) -> dict[str, FileContent]:
    """A clip's cuboids as `sample_annotation` and its points as panoptic labels, {relative path: content}. Tables
    and points are made when their files are written. Frames without a pose stand where the vehicle's frame is the world's.

    Raises:
        InputError: two masklets with one object id, more than 64 labels or 999 objects of one label; when a frame's points are written,
            a point mask of another length than the sweep.
    """
    require_distinct_objects(masklets)
    name = file_name(clip.name)
    masklets = [replace(masklet, label=CATEGORIES.get(masklet.label.casefold(), masklet.label)) for masklet in masklets]
    classes = {label: number for number, label in enumerate(sorted({masklet.label for masklet in masklets}), start=1)}
    if len(classes) > CLASSES_LIMIT:
        raise InputError(f"clip {clip.name}", f"at most {CLASSES_LIMIT} labels", str(len(classes)))
    tables = {**_recording_tables(clip), **_label_tables(clip, masklets, classes)}
    panoptic, entries = _panoptic(clip, masklets, classes)
    tables["panoptic"] = entries
    files: dict[str, FileContent] = {f"{name}/{VERSION}/{table}.json": json_file(rows) for table, rows in tables.items()}
    return files | {f"{name}/{path}": content for path, content in panoptic.items()}


def _neighbours(kind: str, clip: Clip, index: int, frames: Sequence[int], *more: object) -> dict[str, object]:
    place = frames.index(index)
    before = frames[place - 1] if place else None
    after = frames[place + 1] if place + 1 < len(frames) else None
    return {
        "prev": "" if before is None else token(kind, clip.name, before, *more),
        "next": "" if after is None else token(kind, clip.name, after, *more),
    }


def _times_us(times_ns: Sequence[int | None]) -> list[int]:
    """Every frame's time in microseconds. Frames without one lie evenly between those that have one, beyond them `FRAME_STEP_US` apart."""
    known = [index for index, time_ns in enumerate(times_ns) if time_ns is not None]
    if not known:
        return [index * FRAME_STEP_US for index in range(len(times_ns))]
    values_us = [time_ns // 1000 for time_ns in times_ns if time_ns is not None]
    between_us = np.interp(np.arange(len(times_ns)), known, [value_us - values_us[0] for value_us in values_us])
    beyond = np.arange(len(times_ns)) - np.clip(np.arange(len(times_ns)), known[0], known[-1])
    return [values_us[0] + int(offset_us) + FRAME_STEP_US * int(steps) for offset_us, steps in zip(between_us, beyond, strict=True)]


def _recording_tables(clip: Clip) -> dict[str, Rows]:
    scene, log = token("scene", clip.name), token("log", clip.name)
    everywhere = range(len(clip))
    times_us = _times_us([frame.timestamp_ns for frame in clip.frames])

    def sample(index: int) -> Row:
        neighbours = _neighbours("sample", clip, index, everywhere)
        return {"token": token("sample", clip.name, index), "timestamp": times_us[index], "scene_token": scene, **neighbours}

    def ego_pose(index: int) -> Row:
        pose = _pose(clip.frames[index].world_SE3_lidar or SE3.identity())
        return {"token": token("ego", clip.name, index), "timestamp": times_us[index], **pose}

    ends = {"first_sample_token": token("sample", clip.name, 0), "last_sample_token": token("sample", clip.name, len(clip) - 1)}
    return {
        "log": [{"token": log, "logfile": "", "vehicle": "", "date_captured": "", "location": ""}],
        "map": [{"token": token("map", clip.name), "log_tokens": [log], "category": "semantic_prior", "filename": ""}],
        "scene": [{"token": scene, "log_token": log, "nbr_samples": len(clip), "name": clip.name, "description": "", **ends}],
        "sample": JsonArray(lambda: map(sample, everywhere)),
        "sample_data": JsonArray(lambda: _sample_data(clip, times_us)),
        "ego_pose": JsonArray(lambda: map(ego_pose, everywhere)),
        "sensor": [
            {"token": token("sensor", channel), "channel": channel, "modality": "lidar" if channel == LIDAR_CHANNEL else "camera"}
            for channel in (LIDAR_CHANNEL, *clip.cameras)
        ],
        "calibrated_sensor": [_calibration(clip, channel) for channel in (LIDAR_CHANNEL, *clip.cameras)],
    }


def _sample_data(clip: Clip, times_us: Sequence[int]) -> Iterator[Row]:
    shown = {name: [index for index, frame in enumerate(clip.frames) if name in frame.load_images] for name in clip.cameras}
    shown[LIDAR_CHANNEL] = list(range(len(clip)))
    for index, frame in enumerate(clip.frames):
        loads = {LIDAR_CHANNEL: frame.load_sweep, **frame.load_images}
        for channel, load in loads.items():
            camera = clip.cameras.get(channel)
            path = load.path if isinstance(load, SweepFile | ImageFile) else f"{channel}/{index:06d}"
            yield {
                "token": token("data", clip.name, index, channel),
                "sample_token": token("sample", clip.name, index),
                "ego_pose_token": token("ego", clip.name, index),
                "calibrated_sensor_token": token("calibration", clip.name, channel),
                "timestamp": times_us[index],
                "fileformat": path.rpartition(".")[2],
                "is_key_frame": True,
                "height": camera.height_px if camera else 0,
                "width": camera.width_px if camera else 0,
                "filename": path,
                **_neighbours("data", clip, index, shown[channel], channel),
            }


def _calibration(clip: Clip, channel: str) -> dict[str, object]:
    camera = clip.cameras.get(channel)
    intrinsic: list[list[float]] = []
    if camera is not None:
        intrinsic = [[float(camera.fx_px), 0.0, float(camera.cx_px)], [0.0, float(camera.fy_px), float(camera.cy_px)], [0.0, 0.0, 1.0]]
    return {
        "token": token("calibration", clip.name, channel),
        "sensor_token": token("sensor", channel),
        "camera_intrinsic": intrinsic,
        **_pose(SE3.identity() if camera is None else camera.lidar_SE3_cam),
    }


def _label_tables(clip: Clip, masklets: Sequence[Masklet], classes: Mapping[str, int]) -> dict[str, Rows]:
    with_cuboids = [masklet for masklet in masklets if masklet.cuboids]
    categories: Rows = [{"token": token("category", label), "name": label, "description": "", "index": n} for label, n in classes.items()]
    return {
        "sample_annotation": JsonArray(lambda: (row for masklet in with_cuboids for row in _annotations(clip, masklet))),
        "instance": JsonArray(lambda: (_instance(clip, masklet) for masklet in with_cuboids)),
        "category": categories,
        "attribute": [],
        "visibility": [],
    }


def _annotations(clip: Clip, masklet: Masklet) -> Iterator[Row]:
    frames = sorted(masklet.cuboids)
    for index in frames:
        cuboid, masks = masklet.cuboids[index], masklet.masks.get(index)
        length, width, height = cuboid.size_lwh_m
        world_SE3_lidar = clip.frames[index].world_SE3_lidar or SE3.identity()
        yield {
            "token": token("annotation", clip.name, index, masklet.object_id),
            "sample_token": token("sample", clip.name, index),
            "instance_token": token("instance", clip.name, masklet.object_id),
            "attribute_tokens": [],
            "visibility_token": "",
            "size": [float(width), float(length), float(height)],
            "num_lidar_pts": int(masks.lidar_mask.sum()) if masks is not None else 0,
            "num_radar_pts": 0,
            **_pose(world_SE3_lidar @ cuboid.lidar_SE3_cuboid),
            **_neighbours("annotation", clip, index, frames, masklet.object_id),
        }


def _instance(clip: Clip, masklet: Masklet) -> Row:
    return {
        "token": token("instance", clip.name, masklet.object_id),
        "category_token": token("category", masklet.label),
        "nbr_annotations": len(masklet.cuboids),
        "first_annotation_token": token("annotation", clip.name, min(masklet.cuboids), masklet.object_id),
        "last_annotation_token": token("annotation", clip.name, max(masklet.cuboids), masklet.object_id),
    }


def _panoptic(clip: Clip, masklets: Sequence[Masklet], classes: Mapping[str, int]) -> tuple[dict[str, FileContent], Rows]:
    numbers: dict[int, int] = {}
    counted: dict[str, int] = defaultdict(int)
    for masklet in masklets:
        counted[masklet.label] += 1
        numbers[masklet.object_id] = classes[masklet.label] * 1000 + counted[masklet.label]
        if counted[masklet.label] > INSTANCES_LIMIT:
            raise InputError(f"clip {clip.name}", f"at most {INSTANCES_LIMIT} objects of the label {masklet.label}", "more")
    files: dict[str, FileContent] = {}
    entries: list[Row] = []
    for index in range(len(clip)):
        key = token("data", clip.name, index, LIDAR_CHANNEL)
        path = f"panoptic/{VERSION}/{key}_panoptic.npz"
        files[path] = partial(_panoptic_frame, clip, masklets, index, numbers)
        entries.append({"token": key, "sample_data_token": key, "filename": path})
    return files, entries


def _panoptic_frame(clip: Clip, masklets: Sequence[Masklet], frame_index: int, numbers: Mapping[int, int]) -> bytes:
    owners = point_owners(masklets, frame_index, len(clip.frames[frame_index].load_sweep()), f"clip {clip.name}").object_ids
    labels = np.zeros(len(owners), dtype=np.uint16)
    for object_id in np.unique(owners[owners >= 0]).tolist():
        labels[owners == object_id] = numbers[object_id]
    stream = io.BytesIO()
    np.savez_compressed(stream, data=labels)
    return stream.getvalue()


def _pose(pose: SE3) -> dict[str, object]:
    return {"rotation": pose.rotation_wxyz.tolist(), "translation": pose.translation_m.tolist()}
