"""Supervisely: a project of one point cloud episode, `supervisely/NAME/`, with its sweeps, its images and their calibration.

    meta.json                                classes
    key_id_map.json                          our number of every object, figure and episode key
    NAME/annotation.json                     objects, and their figures by frame
    NAME/frame_pointcloud_map.json           {frame number: sweep}
    NAME/pointcloud/FRAME.pcd
    NAME/related_images/FRAME_pcd/FRAME_CAMERA.png, FRAME_CAMERA.png.json and, where objects are masked, FRAME_CAMERA.png.figures.json

A figure is an object's cuboid on a frame (`cuboid_3d`), its points (`point_cloud`, rows of the sweep) or its mask in an image (`bitmap`);
all hang on one object, so that its class is of the shape "any". A cuboid's x is its width and its y its length; with no turn it looks along
+y. Layout: docs.supervisely.com, "Point Cloud Episodes".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from functools import partial

import numpy as np

from converters.exports.distinct_objects import require_distinct_objects
from converters.exports.json_pieces import JsonArray, JsonMembers, json_file
from converters.exports.recorded_files import frame_names, image_file
from converters.exports.tokens import token
from converters.exports.whole_output import FileContent, file_name
from converters.point_cloud_files import format_pcd
from converters.sequences.bitmap_figures import encode_bitmap
from sam4d.geometry import wrap_angle
from sam4d.structures import Camera, CameraMasks, Clip, Cuboid, Masklet, Sweep

PROJECT_TYPE = "point_cloud_episodes"
QUARTER_TURN_RAD = float(np.pi / 2)
"""From the direction in which a cuboid without a turn looks (+y) to that of ours (+x)."""

CUBOID, POINTS, BITMAP = "cuboid_3d", "point_cloud", "bitmap"
TIMES_END_NS = 253_402_300_800 * 10**9
"""The year 10000, in which ISO 8601's years of four digits end."""


def supervisely_files(clip: Clip, masklets: Sequence[Masklet]) -> dict[str, FileContent]:
    """A clip with its cuboids, points and masks, {relative path: content}; sweeps and images are read when their files are written.

    Raises:
        InputError: two masklets with one object id.
    """
    require_distinct_objects(masklets)
    name = file_name(clip.name)
    project, episode = f"supervisely/{name}", f"supervisely/{name}/{name}"
    names = frame_names(clip)
    labelled = sorted({frame_index for masklet in masklets for frame_index in (*masklet.masks, *masklet.cuboids)})
    key = token("episode", clip.name)
    annotation = {
        "description": "",
        "key": key,
        "tags": [],
        "objects": [{"key": _object_key(clip, each), "classTitle": each.label, "tags": []} for each in masklets],
        "framesCount": len(clip),
        "frames": JsonArray(lambda: _frames(clip, masklets, labelled)),
    }

    def figure_numbers() -> Iterator[tuple[str, object]]:
        keys = (_figure_key(clip, masklet, *each) for index in labelled for masklet in masklets for each in _kinds(masklet, index))
        return ((figure_key, number) for number, figure_key in enumerate(keys, start=1))

    ids = {
        "tags": {},
        "objects": {_object_key(clip, each): each.object_id for each in masklets},
        "figures": JsonMembers(figure_numbers),
        "videos": {key: 1},
    }
    files: dict[str, FileContent] = {
        f"{project}/meta.json": _json_bytes(_meta(masklets)),
        f"{project}/key_id_map.json": json_file(ids),
        f"{episode}/annotation.json": json_file(annotation),
        f"{episode}/frame_pointcloud_map.json": _json_bytes({str(index): f"{each}.pcd" for index, each in enumerate(names)}),
    }
    for index, (frame, each) in enumerate(zip(clip.frames, names, strict=True)):
        masked = any(index in masklet.masks for masklet in masklets)
        files[f"{episode}/pointcloud/{each}.pcd"] = _pcd(frame.load_sweep)
        for camera, load in frame.load_images.items():
            ending, read = image_file(load)
            image = f"{each}_{camera}{ending}"
            place = f"{episode}/related_images/{each}_pcd/{image}"
            files[place] = read
            files[f"{place}.json"] = _json_bytes(_image(clip.cameras[camera], image, frame.timestamp_ns))
            if masked:
                files[f"{place}.figures.json"] = json_file(JsonArray(partial(_image_figures, clip, masklets, index, camera)))
    return files


def _meta(masklets: Sequence[Masklet]) -> dict[str, object]:
    classes = [
        {"title": label, "shape": "any", "color": f"#{token('colour', label)[:6].upper()}", "geometry_config": {}, "id": number}
        for number, label in enumerate(sorted({masklet.label for masklet in masklets}), start=1)
    ]
    return {"classes": classes, "tags": [], "projectType": PROJECT_TYPE}


def _object_key(clip: Clip, masklet: Masklet) -> str:
    return token("object", clip.name, masklet.object_id)


def _frames(clip: Clip, masklets: Sequence[Masklet], labelled: Sequence[int]) -> Iterator[dict[str, object]]:
    for frame_index in labelled:
        figures = [figure for masklet in masklets for figure in _figures(clip, masklet, frame_index)]
        if figures:
            yield {"index": frame_index, "figures": figures}


def _kinds(masklet: Masklet, frame_index: int) -> Iterator[tuple[int, str]]:
    """What shows the object on a frame: the frame and the kind of geometry."""
    if frame_index in masklet.cuboids:
        yield frame_index, CUBOID
    masks = masklet.masks.get(frame_index)
    if masks is not None and masks.lidar_mask.any():
        yield frame_index, POINTS


def _figures(clip: Clip, masklet: Masklet, frame_index: int) -> Iterator[dict[str, object]]:
    for _, kind in _kinds(masklet, frame_index):
        yield {
            "key": _figure_key(clip, masklet, frame_index, kind),
            "objectKey": _object_key(clip, masklet),
            "geometryType": kind,
            "geometry": _cuboid_geometry(masklet.cuboids[frame_index])
            if kind == CUBOID
            else {"indices": np.flatnonzero(masklet.masks[frame_index].lidar_mask).tolist()},
        }


def _image_figures(clip: Clip, masklets: Sequence[Masklet], frame_index: int, camera: str) -> Iterator[dict[str, object]]:
    for masklet in masklets:
        masks = masklet.masks.get(frame_index)
        if masks is None or camera not in masks.camera_masks:
            continue
        assert isinstance(masks.camera_masks, CameraMasks)
        _, top, left, part = masks.camera_masks.crops[camera]
        if part.size:
            yield {
                "objectKey": _object_key(clip, masklet),
                "geometryType": BITMAP,
                "geometry": {"bitmap": encode_bitmap(part, left, top)},
                "meta": {},
                "tags": [],
            }


def _figure_key(clip: Clip, masklet: Masklet, frame_index: int, kind: str) -> str:
    return token("figure", clip.name, masklet.object_id, frame_index, kind)


def _cuboid_geometry(cuboid: Cuboid) -> dict[str, object]:
    length, width, height = cuboid.size_lwh_m
    return {
        "position": _xyz(*cuboid.center_m),
        "rotation": _xyz(0.0, 0.0, wrap_angle(cuboid.yaw_rad - QUARTER_TURN_RAD)),
        "dimensions": _xyz(width, length, height),
    }


def _xyz(x: float, y: float, z: float) -> dict[str, float]:
    return {"x": float(x), "y": float(y), "z": float(z)}


def _image(camera: Camera, name: str, timestamp_ns: int | None) -> dict[str, object]:
    intrinsics = [camera.fx_px, 0.0, camera.cx_px, 0.0, camera.fy_px, camera.cy_px, 0.0, 0.0, 1.0]
    sensor = {
        # LiDAR to camera: the first three rows.
        "extrinsicMatrix": camera.lidar_SE3_cam.inverse().matrix[:3].ravel().tolist(),
        "intrinsicMatrix": [float(value) for value in intrinsics],
    }
    meta: dict[str, object] = {"deviceId": camera.name, "sensorsData": sensor}
    if timestamp_ns is not None and 0 <= timestamp_ns < TIMES_END_NS:
        meta["timestamp"] = _iso_time(timestamp_ns)
    return {"name": name, "meta": meta}


def _iso_time(timestamp_ns: int) -> str:
    seconds, rest_ns = divmod(timestamp_ns, 10**9)
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%dT%H:%M:%S}.{rest_ns:09d}Z"


def _pcd(load_sweep: Callable[[], Sweep]) -> Callable[[], bytes]:
    return lambda: format_pcd(load_sweep())


def _json_bytes(document: object) -> bytes:
    return (json.dumps(document, ensure_ascii=False, allow_nan=False) + "\n").encode()
