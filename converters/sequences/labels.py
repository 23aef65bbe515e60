"""Labels of a sequence folder: `labels/cuboids.json` and `labels/masks.json` (docs/formats.md). The exporter is their inverse."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Container, Mapping
from pathlib import Path

from converters.coco_rle import decode_rle
from converters.packed_masks import MaskStore, PackedMasks
from converters.point_cloud_files import POINTS_LIMIT
from converters.sequences.json_field import JsonField
from converters.sequences.json_stream import JsonStream
from converters.sequences.sequence_folder import SEQUENCE_FILE, FolderReader, read_file
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

    Masks are read one frame at a time and kept packed, so that what this takes does not grow with the length of the drive.

    Args:
        path: the sequence folder or its masks.json; cuboids.json beside it gives the cuboids, by track id.
        clip: the sequence itself, whose cameras, frames and sweeps give the masks their shapes. Sweeps are not read.
        store: where the masks lie; None for one of their own.

    Raises:
        InputError: naming file and field: not this layout, a frame or camera that the clip does not have, a frame twice, a mask of
            another size than its image, point masks of different lengths on one frame.
    """
    file = _label_file(Path(path), MASKS_FILE)
    store = store or MaskStore()
    masklets: dict[int, Masklet] = {}
    point_counts: dict[int, int] = {}
    with JsonStream.open(file) as document:
        cuboids = _cuboids_by_track(file.with_name(Path(CUBOIDS_FILE).name), len(clip))
        known: dict[str, object] = {}
        for key in document.members():
            if key == "version":
                known[key] = _version(document.value())
            elif key == "objects":
                known[key] = None
                for _ in document.elements():
                    masklet = _masklet(document, clip, store, point_counts, cuboids, masklets)
                    masklets[masklet.object_id] = masklet
        document.here(known).require("version", "objects")
    return tuple(masklets.values())


def _version(field: JsonField) -> int:
    if field.value != MASKS_VERSION:
        raise field.wrong(f"layout version {MASKS_VERSION}")
    return MASKS_VERSION


def _masklet(
    document: JsonStream,
    clip: Clip,
    store: MaskStore,
    point_counts: dict[int, int],
    cuboids: Mapping[str, dict[int, Cuboid]],
    others: Container[int],
) -> Masklet:
    """The object that comes next; others: the ids of those before."""
    masks = PackedMasks(store=store)
    known: dict[str, object] = {}
    for key in document.members():
        if key in ("object_id", "track_id", "label"):
            known[key] = document.value().value
        elif key == "frames":
            known[key] = None
            for _ in document.elements():
                entry = document.value()
                shown = _object_masks(entry, clip, point_counts)
                if shown.frame_index in masks:
                    raise entry["frame_index"].wrong("frames that differ")
                masks[shown.frame_index] = shown
    item = document.here(known)
    item.require("object_id", "track_id", "label", "frames")
    object_id = item["object_id"].integer(0)
    if object_id in others:
        raise item["object_id"].wrong("object ids that differ")
    return Masklet(object_id, item["label"].text(), masks.as_object(object_id), cuboids.get(item["track_id"].text(), {}))


def _object_masks(entry: JsonField, clip: Clip, point_counts: dict[int, int]) -> ObjectMasks:
    """An object on one frame; its number is not known yet, and 0 here."""
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
    return ObjectMasks(0, frame_index, camera_masks, lidar_mask, score)


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
    """The file of labels of a sequence folder, its sequence.json or itself. Raises InputError where it is a link out of the folder."""
    folder = path.parent if path.name == SEQUENCE_FILE else path
    file = folder / name if folder.is_dir() else path
    root = folder if folder.is_dir() else path.parent
    # What is not there is said when it is read.
    with contextlib.suppress(OSError):
        FolderReader(root.resolve()).locate(str(file.relative_to(root)))
    return file


def _read(file: Path) -> bytes:
    return read_file(lambda path: (file.parent / path).read_bytes(), file.name, str(file.parent))
