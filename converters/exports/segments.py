"""Segments.ai: a multi-sensor sequence, `segments/NAME/`, to be uploaded with its Python SDK.

    categories.json                 the dataset's categories
    sample.json                     the sample's attributes: sensors, files, calibration, ego poses
    label.json                      the label's attributes
    bitmaps/CAMERA/FRAME.png        camera masks: object ids in red, green and blue, least byte first

The sensors are "lidar" with cuboids, "lidar points" with the object id of every point, and every camera with bitmaps; they show the frames
that have an image. Where the service wants an address there stands a path: of a sweep or image in the drive, of a bitmap in this folder.
Cuboids are in the frame of the ego poses, which begins where the first of them stands (the service counts in 32 bits); without a pose on
every frame there are none, and cuboids are in the LiDAR's frame. Cameras follow OpenCV's convention. Layout: docs.segments.ai, "Sample
formats" and "Label formats".
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from converters.exports.distinct_objects import require_distinct_objects
from converters.exports.json_pieces import JsonArray, json_file
from converters.exports.point_labels import least_sure_first, point_owners
from converters.exports.recorded_files import frame_names, image_path, sweep_path
from converters.exports.whole_output import FileContent, file_name
from sam4d.geometry import SE3
from sam4d.structures import LIDAR, Camera, CameraMasks, Clip, InputError, Masklet

POINTS_SENSOR = f"{LIDAR} points"
OBJECT_ID_LIMIT = 2**24 - 1
"""A bitmap has three bytes for an object id, and 0 is nothing."""

CUBOIDS, POINTS, BITMAPS = "pointcloud-cuboid-sequence", "pointcloud-segmentation-sequence", "image-segmentation-sequence"
_VERSION = "0.2"

Json = dict[str, object]


@dataclass(frozen=True, eq=False)
class _LabelledClip:
    """names: of the frames. poses: see `ego_poses`. categories: the number of every label."""

    clip: Clip
    masklets: Sequence[Masklet]
    names: Sequence[str]
    poses: Sequence[SE3] | None
    categories: Mapping[str, int]


def segments_files(clip: Clip, masklets: Sequence[Masklet]) -> dict[str, FileContent]:
    """A clip's cuboids, points and camera masks, {relative path: content}; points and bitmaps are made when their files are written.

    Raises:
        InputError: two masklets with one object id, an id outside 1 to 16777215; when `label.json` is made, a point mask of another
            length than the sweep.
    """
    require_distinct_objects(masklets)
    for masklet in masklets:
        if not 1 <= masklet.object_id <= OBJECT_ID_LIMIT:
            raise InputError(f"object {masklet.object_id}", f"an object id from 1 to {OBJECT_ID_LIMIT}", str(masklet.object_id))
    categories = {label: number for number, label in enumerate(sorted({masklet.label for masklet in masklets}), start=1)}
    labelled = _LabelledClip(clip, masklets, frame_names(clip), ego_poses(clip), categories)
    folder = f"segments/{file_name(clip.name)}"
    task: Json = {"format_version": "0.1", "categories": [{"id": number, "name": label} for label, number in categories.items()]}
    files: dict[str, FileContent] = {
        f"{folder}/categories.json": _json_bytes(task),
        f"{folder}/sample.json": _json_bytes(_sample(labelled)),
        f"{folder}/label.json": json_file(_label(labelled)),
    }
    for frame_index, frame in enumerate(clip.frames):
        for camera in frame.load_images:
            if _shown(masklets, frame_index, camera):
                path = f"{folder}/{_bitmap_path(camera, labelled.names[frame_index])}"
                files[path] = _bitmap(clip.cameras[camera], masklets, frame_index)
    return files


def ego_poses(clip: Clip) -> tuple[SE3, ...] | None:
    """The frames' poses with the first one's place as the origin; None where a frame has none."""
    poses = [frame.world_SE3_lidar for frame in clip.frames if frame.world_SE3_lidar is not None]
    if len(poses) < len(clip):
        return None
    return tuple(SE3(pose.rotation, pose.translation_m - poses[0].translation_m) for pose in poses)


def _sample(labelled: _LabelledClip) -> Json:
    clip, names, poses = labelled.clip, labelled.names, labelled.poses
    clouds: list[Json] = []
    for frame_index, name in enumerate(names):
        cloud: Json = {"name": name, "pcd": _cloud_file(clip, frame_index), **_time(clip, frame_index)}
        cloud["images"] = [
            _calibrated_image(clip.cameras[camera], image_path(clip, frame_index, camera), column)
            for column, camera in enumerate(clip.frames[frame_index].load_images)
        ]
        if poses is not None:
            cloud["ego_pose"] = {"position": _xyz(poses[frame_index].translation_m), "heading": _heading(poses[frame_index])}
        clouds.append(cloud)
    sensors: list[Json] = [
        {"name": LIDAR, "task_type": CUBOIDS, "attributes": {"frames": clouds}},
        {"name": POINTS_SENSOR, "task_type": POINTS, "attributes": {"frames": clouds}},
    ]
    for camera in clip.cameras:
        images = [
            {"name": names[index], "image": {"url": image_path(clip, index, camera)}, **_time(clip, index)}
            for index in _frames_of(clip, camera)
        ]
        sensors.append({"name": camera, "task_type": BITMAPS, "attributes": {"frames": images}})
    return {"sensors": sensors}


def _cloud_file(clip: Clip, frame_index: int) -> Json:
    path = sweep_path(clip, frame_index)
    # KITTI's and nuScenes' files have their own words there; whatever else the drive has is to be converted first.
    kinds = {".pcd": "pcd", ".bin": "kitti", ".ply": "ply", ".las": "las"}
    return {"url": path, "type": "nuscenes" if path.endswith(".pcd.bin") else kinds.get(PurePosixPath(path).suffix.lower(), "pcd")}


def _calibrated_image(camera: Camera, path: str, column: int) -> Json:
    image: Json = {
        "name": camera.name,
        "url": path,
        "row": 0,
        "col": column,
        "camera_convention": "OpenCV",
        "intrinsics": {
            "intrinsic_matrix": [
                [float(camera.fx_px), 0.0, float(camera.cx_px)],
                [0.0, float(camera.fy_px), float(camera.cy_px)],
                [0.0, 0.0, 1.0],
            ]
        },
        "extrinsics": {"translation": _xyz(camera.lidar_SE3_cam.translation_m), "rotation": _heading(camera.lidar_SE3_cam)},
    }
    if camera.distortion:
        coefficients = dict(zip(("k1", "k2", "p1", "p2", "k3"), map(float, camera.distortion), strict=True))
        image["distortion"] = {"model": "brown-conrady", "coefficients": coefficients}
    return image


def _label(labelled: _LabelledClip) -> Json:
    """Frame by frame, because the object ids of a drive's points are many."""
    frames = range(len(labelled.clip))
    sensors = [
        _sensor(LIDAR, CUBOIDS, lambda: (_cuboid_frame(labelled, index) for index in frames)),
        _sensor(POINTS_SENSOR, POINTS, lambda: (_point_frame(labelled, index) for index in frames)),
    ]
    for camera in labelled.clip.cameras:
        sensors.append(_sensor(camera, BITMAPS, partial(_bitmap_frames, labelled, camera)))
    return {"sensors": sensors}


def _sensor(name: str, task_type: str, frames: Callable[[], Iterable[Json]]) -> Json:
    return {"name": name, "task_type": task_type, "attributes": {"format_version": _VERSION, "frames": JsonArray(frames)}}


def _cuboid_frame(labelled: _LabelledClip, frame_index: int) -> Json:
    world_SE3_lidar = SE3.identity() if labelled.poses is None else labelled.poses[frame_index]
    annotations = []
    for masklet in labelled.masklets:
        cuboid = masklet.cuboids.get(frame_index)
        if cuboid is not None:
            pose = world_SE3_lidar @ cuboid.lidar_SE3_cuboid
            annotations.append(
                {
                    **_annotation(masklet, labelled.categories),
                    "type": "cuboid",
                    "position": _xyz(pose.translation_m),
                    "dimensions": _xyz(cuboid.size_lwh_m),
                    "yaw": pose.yaw_rad,
                    "rotation": _heading(pose),
                    "index": frame_index,
                }
            )
    return {"format_version": _VERSION, **_time(labelled.clip, frame_index), "annotations": annotations}


def _point_frame(labelled: _LabelledClip, frame_index: int) -> Json:
    clip = labelled.clip
    point_count = len(clip.frames[frame_index].load_sweep())
    owners = np.maximum(point_owners(labelled.masklets, frame_index, point_count, f"clip {clip.name}").object_ids, 0)
    return {
        "format_version": _VERSION,
        **_time(clip, frame_index),
        "annotations": _present(labelled, owners),
        "point_annotations": owners.tolist(),
    }


def _bitmap_frames(labelled: _LabelledClip, camera: str) -> Iterator[Json]:
    return (_bitmap_frame(labelled, index, camera) for index in _frames_of(labelled.clip, camera))


def _bitmap_frame(labelled: _LabelledClip, frame_index: int, camera: str) -> Json:
    frame: Json = {"format_version": "0.1", **_time(labelled.clip, frame_index), "annotations": []}
    if _shown(labelled.masklets, frame_index, camera):
        frame["annotations"] = _present(labelled, pixel_owners(labelled.clip.cameras[camera], labelled.masklets, frame_index))
        frame["segmentation_bitmap"] = {"url": _bitmap_path(camera, labelled.names[frame_index])}
    return frame


def pixel_owners(camera: Camera, masklets: Sequence[Masklet], frame_index: int) -> NDArray[np.uint32]:
    """The object id of every pixel, uint32 (H, W), 0 where it belongs to no object; contested ones as in `point_owners`."""
    owners = np.zeros((camera.height_px, camera.width_px), dtype="<u4")
    for masklet in least_sure_first(masklets, frame_index):
        crops = masklet.masks[frame_index].camera_masks
        assert isinstance(crops, CameraMasks)
        if camera.name in crops.seen_by:
            box = crops.box(camera.name)
            owners[box[1] : box[3], box[0] : box[2]][crops.inside(camera.name, box)] = masklet.object_id
    return owners


def _bitmap(camera: Camera, masklets: Sequence[Masklet], frame_index: int) -> Callable[[], bytes]:
    def content() -> bytes:
        owners = pixel_owners(camera, masklets, frame_index)
        channels = owners.view(np.uint8).reshape(*owners.shape, 4)
        channels[:, :, 3] = 255
        buffer = io.BytesIO()
        Image.fromarray(channels).save(buffer, format="PNG")
        return buffer.getvalue()

    return content


def _shown(masklets: Sequence[Masklet], frame_index: int, camera: str) -> bool:
    for masklet in masklets:
        masks = masklet.masks.get(frame_index)
        if masks is not None and isinstance(masks.camera_masks, CameraMasks) and camera in masks.camera_masks.seen_by:
            return True
    return False


def _present(labelled: _LabelledClip, owners: NDArray[np.integer]) -> list[Json]:
    present = set(np.unique(owners).tolist())
    return [_annotation(masklet, labelled.categories) for masklet in labelled.masklets if masklet.object_id in present]


def _annotation(masklet: Masklet, categories: Mapping[str, int]) -> Json:
    return {
        "id": masklet.object_id,
        "category_id": categories[masklet.label],
        "track_id": masklet.object_id,
        "is_keyframe": True,
    }


def _frames_of(clip: Clip, camera: str) -> list[int]:
    return [index for index, frame in enumerate(clip.frames) if camera in frame.load_images]


def _time(clip: Clip, frame_index: int) -> Json:
    timestamp_ns = clip.frames[frame_index].timestamp_ns
    return {} if timestamp_ns is None else {"timestamp": timestamp_ns}


def _bitmap_path(camera: str, name: str) -> str:
    return f"bitmaps/{camera}/{name}.png"


def _xyz(values: Iterable[float]) -> dict[str, float]:
    return dict(zip("xyz", map(float, values), strict=True))


def _heading(pose: SE3) -> dict[str, float]:
    w, x, y, z = pose.rotation_wxyz.tolist()
    return {"qx": x, "qy": y, "qz": z, "qw": w}


def _json_bytes(document: Json) -> bytes:
    return (json.dumps(document, ensure_ascii=False, allow_nan=False) + "\n").encode()
