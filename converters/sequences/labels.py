"""Labels of a sequence folder: `labels/cuboids.json` and `labels/masks.json` (docs/formats.md). The exporter is their inverse."""

from __future__ import annotations

import math
from pathlib import Path

from converters.coco_rle import decode_rle
from converters.packed_masks import MaskStore, PackedMasks
from converters.point_cloud_files import POINTS_LIMIT
from converters.sequences.json_field import JsonField
from converters.sequences.sequence_folder import SEQUENCE_FILE, read_file
from sam4d.structures import Clip, Cuboid, InputError, LabelledCuboid, Masklet, ObjectMasks

CUBOIDS_FILE = "labels/cuboids.json"
MASKS_FILE = "labels/masks.json"
MASKS_VERSION = 1


def read_cuboid_labels(path: str | Path) -> tuple[tuple[LabelledCuboid, ...] | None, ...]:
    """Labelled cuboids by frame, None for a frame that nobody labelled.

    Args:
        path: a sequence folder, its sequence.json or a cuboids.json.

    Raises:
        InputError: naming file and field.
    """
    file = _label_file(Path(path), CUBOIDS_FILE)
    root = JsonField.parse(_read(file), str(file))
    return tuple(
        None if frame.value is None else tuple(_labelled_cuboid(item) for item in frame.elements()) for frame in root["frames"].elements()
    )


def read_masklets(path: str | Path, clip: Clip, store: MaskStore | None = None) -> tuple[Masklet, ...]:
    """The objects of a labelled sequence folder, in the file's order; the inverse of `converters.exports.write_labels`.

    Args:
        path: the sequence folder or its masks.json; cuboids.json beside it gives the cuboids, by track id.
        clip: the sequence itself, whose cameras, frames and sweeps give the masks their shapes. Sweeps are not read.
        store: where the masks lie; None for one of their own.

    Raises:
        InputError: naming file and field: not this layout, a frame or camera that the clip does not have, a mask of another size
            than its image, point masks of different lengths on one frame.
    """
    file = _label_file(Path(path), MASKS_FILE)
    root = JsonField.parse(_read(file), str(file))
    if root["version"].value != MASKS_VERSION:
        raise root["version"].wrong(f"layout version {MASKS_VERSION}")
    cuboids = _cuboids_by_track(file.with_name(Path(CUBOIDS_FILE).name), len(clip))
    store = store or MaskStore()
    masklets: dict[int, Masklet] = {}
    point_counts: dict[int, int] = {}
    for item in root["objects"].elements():
        object_id = item["object_id"].integer(0)
        if object_id in masklets:
            raise item["object_id"].wrong("object ids that differ")
        masks = PackedMasks(store=store)
        for entry in item["frames"].elements():
            shown = _object_masks(entry, object_id, clip, point_counts)
            masks[shown.frame_index] = shown
        masklets[object_id] = Masklet(object_id, item["label"].text(), masks, cuboids.get(item["track_id"].text(), {}))
    return tuple(masklets.values())


def _object_masks(entry: JsonField, object_id: int, clip: Clip, point_counts: dict[int, int]) -> ObjectMasks:
    frame_index = entry["frame_index"].integer(0, len(clip) - 1)
    camera_masks = {}
    for name, rle in entry["cameras"].items():
        if name not in clip.cameras:
            raise InputError(rle.where, f"one of the cameras {', '.join(clip.cameras) or '(there are none)'}", repr(name[:80]))
        camera = clip.cameras[name]
        camera_masks[name] = decode_rle(rle.value, (camera.height_px, camera.width_px), rle.where)
    points = entry["lidar"]
    point_count = point_counts.setdefault(frame_index, points["size"][0].integer(0, POINTS_LIMIT) if points["size"].elements() else 0)
    lidar_mask = decode_rle(points.value, (point_count,), points.where)
    score = entry["score"].number()
    if not 0 <= score <= 1:
        raise entry["score"].wrong("a score from 0 to 1")
    return ObjectMasks(object_id, frame_index, camera_masks, lidar_mask, score)


def _cuboids_by_track(file: Path, frame_count: int) -> dict[str, dict[int, Cuboid]]:
    frames = read_cuboid_labels(file)
    if len(frames) != frame_count:
        raise InputError(f"{file}: frames", f"{frame_count} frames as in the sequence", str(len(frames)))
    tracks: dict[str, dict[int, Cuboid]] = {}
    for frame_index, labelled in enumerate(frames):
        for item in labelled or ():
            tracks.setdefault(item.track_id, {})[frame_index] = item.cuboid
    return tracks


def _labelled_cuboid(field: JsonField) -> LabelledCuboid:
    x, y, z = field["center_m"].numbers(3)
    length, width, height = field["size_lwh_m"].numbers(3)
    if min(length, width, height) < 0:
        raise field["size_lwh_m"].wrong("lengths that are not negative")
    yaw_rad = field["yaw_rad"].number()
    if abs(yaw_rad) > 4 * math.pi:
        raise field["yaw_rad"].wrong("an angle in radians")
    return LabelledCuboid(field["track_id"].text(), field["label"].text(), Cuboid((x, y, z), (length, width, height), yaw_rad))


def _label_file(path: Path, name: str) -> Path:
    if path.name == SEQUENCE_FILE:
        path = path.parent
    return path / name if path.is_dir() else path


def _read(file: Path) -> bytes:
    return read_file(lambda path: (file.parent / path).read_bytes(), file.name, str(file.parent))
