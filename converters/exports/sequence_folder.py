"""Sequence folders out: our own layout (docs/formats.md), the inverse of `converters.sequences`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from converters.coco_rle import CocoRle, encode_rle
from converters.exports.distinct_objects import require_distinct_objects
from converters.exports.json_pieces import JsonArray, json_file
from converters.exports.recorded_files import image_file
from converters.exports.resumable_directory import resumable_directory, write_whole
from converters.exports.whole_output import FileContent, whole_directory, write_whole_files
from converters.point_cloud_files import PcdEncoding, format_pcd
from converters.sequences.labels import CUBOIDS_FILE, MASKS_FILE, MASKS_VERSION
from converters.sequences.sequence_folder import LAYOUT_VERSION, SEQUENCE_FILE, ImageFile, SweepFile, pose_to_json, require_camera_name
from sam4d.structures import Camera, Clip, InputError, Masklet, ObjectMasks, UInt8Array


def write_sequence(
    clip: Clip,
    directory: str | Path,
    *,
    masklets: Sequence[Masklet] = (),
    encoding: PcdEncoding = "binary",
    overwrite: bool = False,
    resume: bool | None = None,
    on_frame: Callable[[int, int], None] | None = None,
) -> None:
    """Write a clip as a sequence folder, with `labels/` where there are masklets. The folder appears whole or not at all.

    Images that were read from a sequence folder are copied as they are; others become PNG files.

    Args:
        encoding: of the sweeps.
        overwrite: replace a folder that holds something; all of it.
        resume: None keeps nothing of a folder that was begun; False keeps it for another run where this one is interrupted; True goes on
            with one that was interrupted (`resumable_directory`).
        on_frame: called after each frame with the number written and the number in all.

    Raises:
        InputError: the folder holds something already or cannot be written, the clip has no frames, or a sweep or image cannot be read.
    """
    if not clip.frames:
        raise InputError(f"clip {clip.name}", "at least one frame", "none")
    for name in clip.cameras:
        require_camera_name(name, f"clip {clip.name}: cameras")
    begun = (
        whole_directory(directory, overwrite=overwrite)
        if resume is None
        else resumable_directory(directory, _made_of(clip, encoding), overwrite=overwrite, resume=resume)
    )
    with begun as folder:
        frames: list[dict[str, object]] = []
        for index, frame in enumerate(clip.frames):
            sweep_path = f"sweeps/{index:06d}.pcd"
            if not (folder / sweep_path).exists():
                _write(folder / sweep_path, format_pcd(frame.load_sweep(), encoding))
            images = {name: _write_image(folder, name, index, load) for name, load in frame.load_images.items()}
            pose = frame.world_SE3_lidar
            frames.append(
                {
                    "timestamp_ns": frame.timestamp_ns,
                    "sweep": sweep_path,
                    "images": images,
                    "world_SE3_lidar": None if pose is None else pose_to_json(pose),
                }
            )
            if on_frame is not None:
                on_frame(index + 1, len(clip))
        description = {
            "version": LAYOUT_VERSION,
            "name": clip.name,
            "forward": clip.forward,
            "cameras": {name: _camera_json(camera) for name, camera in clip.cameras.items()},
            "frames": frames,
        }
        _write(folder / SEQUENCE_FILE, _json_bytes(description))
        if masklets:
            write_labels(clip, masklets, folder, overwrite=True)


def write_labels(clip: Clip, masklets: Sequence[Masklet], directory: str | Path, *, overwrite: bool = False) -> None:
    """Write `label_files` into a folder, usually the sequence's own. Other files there stay.

    Raises:
        InputError: as `label_files`, or files that exist already and may not be overwritten.
    """
    write_whole_files({Path(directory) / path: data for path, data in label_files(clip, masklets).items()}, overwrite=overwrite)


def label_files(clip: Clip, masklets: Sequence[Masklet]) -> dict[str, FileContent]:
    """A sequence folder's labels, {relative path: content}: `labels/cuboids.json` and `labels/masks.json`.

    cuboids.json: {"frames": [[{"track_id", "label", "center_m", "size_lwh_m", "yaw_rad"}]]}, one list per frame of the clip.

    masks.json: {"version": 1, "objects": [{"object_id", "track_id", "label", "frames": [{"frame_index", "score",
    "cameras": {camera: RLE}, "lidar": RLE}]}]}, where RLE is COCO's {"size", "counts"}: [height, width] of the image, [points of the
    sweep, 1] for the LiDAR. Logits of a network are not kept.

    The track id is the object id as a text. Inverse: `converters.sequences.read_masklets`.

    Raises:
        InputError: two masklets with one object id, an empty label, a mask or cuboid on a frame outside the clip.
    """
    _check_masklets(clip, masklets)
    return {
        CUBOIDS_FILE: json_file({"frames": JsonArray(lambda: (_cuboids_json(masklets, index) for index in range(len(clip))))}),
        MASKS_FILE: json_file({"version": MASKS_VERSION, "objects": JsonArray(lambda: map(_masklet_json, masklets))}),
    }


def _check_masklets(clip: Clip, masklets: Sequence[Masklet]) -> None:
    require_distinct_objects(masklets)
    for masklet in masklets:
        if not masklet.label.strip() or not masklet.label.isprintable():
            raise InputError(f"object {masklet.object_id}", "a label", repr(masklet.label))
        for frame_index in (*masklet.masks, *masklet.cuboids):
            if not 0 <= frame_index < len(clip):
                raise InputError(f"object {masklet.object_id}", f"frames from 0 to {len(clip) - 1}", f"frame {frame_index}")


def _cuboids_json(masklets: Sequence[Masklet], frame_index: int) -> list[dict[str, object]]:
    return [
        {
            "track_id": str(masklet.object_id),
            "label": masklet.label,
            "center_m": [float(value) for value in masklet.cuboids[frame_index].center_m],
            "size_lwh_m": [float(value) for value in masklet.cuboids[frame_index].size_lwh_m],
            "yaw_rad": float(masklet.cuboids[frame_index].yaw_rad),
        }
        for masklet in masklets
        if frame_index in masklet.cuboids
    ]


def _masklet_json(masklet: Masklet) -> dict[str, object]:
    return {
        "object_id": masklet.object_id,
        "track_id": str(masklet.object_id),
        "label": masklet.label,
        "frames": JsonArray(lambda: (_object_masks_json(frame_index, masklet.masks[frame_index]) for frame_index in sorted(masklet.masks))),
    }


def _object_masks_json(frame_index: int, masks: ObjectMasks) -> dict[str, object]:
    cameras: dict[str, CocoRle] = {name: encode_rle(mask) for name, mask in masks.camera_masks.items()}
    return {"frame_index": frame_index, "score": float(masks.score), "cameras": cameras, "lidar": encode_rle(masks.lidar_mask)}


def _camera_json(camera: Camera) -> dict[str, object]:
    return {
        "width": camera.width_px,
        "height": camera.height_px,
        "model": "pinhole",
        "intrinsics": {
            "fx": float(camera.fx_px),
            "fy": float(camera.fy_px),
            "cx": float(camera.cx_px),
            "cy": float(camera.cy_px),
        },
        "distortion": [float(value) for value in camera.distortion],
        "lidar_SE3_cam": pose_to_json(camera.lidar_SE3_cam),
    }


def _made_of(clip: Clip, encoding: PcdEncoding) -> str:
    """The clip and how it is written, as a digest."""
    loads = [load for frame in clip.frames for load in (frame.load_sweep, *frame.load_images.values())]
    described = {
        "name": clip.name,
        "encoding": encoding,
        "cameras": {name: _camera_json(camera) for name, camera in clip.cameras.items()},
        "frames": [(frame.timestamp_ns, sorted(frame.load_images)) for frame in clip.frames],
        "files": [f"{load.where}/{load.path}" if isinstance(load, SweepFile | ImageFile) else "" for load in loads],
    }
    return hashlib.sha256(_json_bytes(described)).hexdigest()


def _write_image(folder: Path, camera: str, index: int, load: Callable[[], UInt8Array]) -> str:
    suffix, read = image_file(load)
    path = f"images/{camera}/{index:06d}{suffix}"
    if not (folder / path).exists():
        _write(folder / path, read())
    return path


def _write(file: Path, data: bytes) -> None:
    write_whole(file, data)


def _json_bytes(document: object) -> bytes:
    return (json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1) + "\n").encode()
