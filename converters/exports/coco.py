"""COCO: the camera masks of a drive as `coco/NAME.json`, instances with run lengths that pycocotools reads.

Beside COCO's own fields, images have `camera`, `frame_index` and `timestamp_ns`, annotations `track_id` (the same over frames and
cameras) and `score`. Layout: cocodataset.org, "Data format", object detection.
"""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeAlias

import numpy as np

from converters.coco_rle import decode_polygons, decode_rle, encode_rle
from converters.exports.distinct_objects import require_distinct_objects
from converters.exports.json_pieces import JsonArray, json_file
from converters.exports.recorded_files import image_path
from converters.exports.whole_output import FileContent, file_name
from converters.packed_masks import MaskStore, PackedMasks
from converters.sequences.json_field import JsonField
from converters.sequences.json_stream import JsonStream
from sam4d.geometry import BoolArray
from sam4d.structures import Camera, CameraMasks, Clip, InputError, Masklet, ObjectMasks

LARGEST_ID = 2**31 - 1


def coco_files(clip: Clip, masklets: Sequence[Masklet]) -> dict[str, FileContent]:
    """A clip's camera masks, {relative path: content}. Images of frames on which nothing is labelled are listed, too.

    Raises:
        InputError: two masklets with one object id.
    """
    require_distinct_objects(masklets)
    labels = sorted({masklet.label for masklet in masklets})
    categories = {label: number for number, label in enumerate(labels, start=1)}
    images: list[dict[str, object]] = []
    image_ids: dict[tuple[int, str], int] = {}
    for frame_index, frame in enumerate(clip.frames):
        for name in frame.load_images:
            image_ids[frame_index, name] = len(images) + 1
            images.append(
                {
                    "id": len(images) + 1,
                    "file_name": image_path(clip, frame_index, name),
                    "width": clip.cameras[name].width_px,
                    "height": clip.cameras[name].height_px,
                    "camera": name,
                    "frame_index": frame_index,
                    "timestamp_ns": frame.timestamp_ns,
                }
            )
    document = {
        "info": {"description": clip.name, "version": "1.0"},
        "licenses": [],
        "images": images,
        "annotations": JsonArray(lambda: _annotations(masklets, image_ids, categories)),
        "categories": [{"id": number, "name": label, "supercategory": "object"} for label, number in categories.items()],
    }
    return {f"coco/{file_name(clip.name)}.json": json_file(document)}


def _annotations(
    masklets: Sequence[Masklet], image_ids: Mapping[tuple[int, str], int], categories: Mapping[str, int]
) -> Iterator[dict[str, object]]:
    numbers = itertools.count(1)
    for masklet in masklets:
        for frame_index in sorted(masklet.masks):
            masks = masklet.masks[frame_index]
            crops = masks.camera_masks
            assert isinstance(crops, CameraMasks)
            for name in crops.seen_by:
                if (frame_index, name) not in image_ids:
                    continue  # a mask where there is no image cannot be shown
                u0, v0, u1, v1 = crops.box(name)
                yield {
                    "id": next(numbers),
                    "image_id": image_ids[frame_index, name],
                    "category_id": categories[masklet.label],
                    "segmentation": encode_rle(crops[name]),
                    "area": crops.area_px(name),
                    "bbox": [u0, v0, u1 - u0, v1 - v0],
                    "iscrowd": 0,
                    "track_id": masklet.object_id,
                    "score": float(masks.score),
                }


def read_coco(file: str | Path, clip: Clip) -> tuple[Masklet, ...]:
    """The masks of a COCO file of instances, ascending by object id: of our own export, whose inverse this is, or of somebody else's.

    Images are found by `file_name`: an image's place in the drive, the end of it, or a longer path that ends in it. A mask is run
    lengths, compressed or not, or polygons. What one track shows on one image is one mask; the track is the annotation's `track_id` or
    `instance_id`, its own or among its `attributes`, counted for each category by itself. An annotation without one is an object on one
    image. Crowds and annotations without a mask are left out. Track ids that are no numbers from 1 on, or taken, become such that are free.

    The file is read piece by piece, twice; masks lie packed on disk.

    Raises:
        InputError: naming file and field: images that the clip does not have, or of another size, a category or image that is not listed,
            masks that do not fit their image.
    """
    path = Path(file)
    labels, images = _legend(path, clip)
    store = MaskStore()
    tracks: dict[_Track, PackedMasks] = {}
    point_counts: dict[int, int] = {}
    with JsonStream.open(path) as document:
        for key in document.members():
            if key != "annotations":
                continue
            for index in document.elements():
                item = document.value()
                category, image_id = item["category_id"].integer(), item["image_id"].integer()
                if category not in labels:
                    raise item["category_id"].wrong("one of the categories")
                if image_id not in images:
                    raise item["image_id"].wrong("one of the images")
                frame_index, camera = images[image_id]
                mask = _mask(item, clip.cameras[camera])
                if mask is None:
                    continue
                score = min(max(item["score"].number(), 0.0), 1.0) if item.has("score") else 1.0
                if frame_index not in point_counts:
                    point_counts[frame_index] = len(clip.frames[frame_index].load_sweep())
                masks = tracks.setdefault((category, *_track_of(item, index)), PackedMasks(store=store))
                before = masks.get(frame_index)
                shown = dict(before.camera_masks) if before is not None else {}
                shown[camera] = mask | shown[camera] if camera in shown else mask
                lidar_mask = np.zeros(point_counts[frame_index], dtype=np.bool_)
                masks[frame_index] = ObjectMasks(0, frame_index, shown, lidar_mask, max(score, before.score if before is not None else 0.0))
    numbers = _object_ids(tracks)
    masklets = (Masklet(numbers[track], labels[track[0]], masks.as_object(numbers[track])) for track, masks in tracks.items())
    return tuple(sorted(masklets, key=lambda masklet: masklet.object_id))


_Track: TypeAlias = tuple[int, str, int | str]
"""Category, field, and what it says; without a track id the annotation's place in the file."""


def _legend(path: Path, clip: Clip) -> tuple[dict[int, str], dict[int, tuple[int, str]]]:
    """{category id: name}, and {image id: (frame index, camera)}."""
    labels: dict[int, str] = {}
    images: dict[int, tuple[int, str]] = {}
    places = _ImagePlaces(clip)
    found: set[tuple[int, str]] = set()
    known: dict[str, object] = {}
    with JsonStream.open(path) as document:
        for key in document.members():
            known[key] = None
            if key == "categories":
                for _ in document.elements():
                    item = document.value()
                    labels[_new(item["id"], labels)] = item["name"].text()
            elif key == "images":
                for _ in document.elements():
                    item = document.value()
                    place = places.find(item["file_name"])
                    if place in found:
                        raise item["file_name"].wrong("images that differ")
                    found.add(place)
                    camera = clip.cameras[place[1]]
                    for name, size in (("width", camera.width_px), ("height", camera.height_px)):
                        if item[name].integer() != size:
                            raise item[name].wrong(f"{size} pixels as the image has")
                    images[_new(item["id"], images)] = place
        document.here(known).require("images", "annotations", "categories")
    return labels, images


def _new(field: JsonField, others: Container[int]) -> int:
    if field.integer() in others:
        raise field.wrong("ids that differ")
    return field.integer()


class _ImagePlaces:
    """The images of a clip by their place in the drive, whole and from any of its folders on."""

    def __init__(self, clip: Clip) -> None:
        self._whole: dict[tuple[str, ...], tuple[int, str]] = {}
        self._ends: dict[tuple[str, ...], list[tuple[int, str]]] = {}
        for frame_index, frame in enumerate(clip.frames):
            for camera in frame.load_images:
                parts = PurePosixPath(image_path(clip, frame_index, camera)).parts
                self._whole[parts] = frame_index, camera
                for start in range(len(parts)):
                    self._ends.setdefault(parts[start:], []).append((frame_index, camera))

    def find(self, field: JsonField) -> tuple[int, str]:
        """Frame index and camera. Raises InputError where there is no such image, or several."""
        parts = PurePosixPath(field.text().replace("\\", "/")).parts
        matches = [self._whole[parts]] if parts in self._whole else self._ends.get(parts, [])
        if not matches:
            matches = [self._whole[parts[start:]] for start in range(1, len(parts)) if parts[start:] in self._whole][:1]
        if len(matches) != 1:
            example = "/".join(next(iter(self._whole), ("(it has none)",)))
            expected = f"the place of one of the clip's images, like {example}"
            raise InputError(field.where, expected, f"{str(field.value)[:80]!r}, which {len(matches) or 'none'} of them may be")
        return matches[0]


def _mask(item: JsonField, camera: Camera) -> BoolArray | None:
    """bool (H, W), None where there is none."""
    if (item.has("iscrowd") and item["iscrowd"].value == 1) or not item.has("segmentation"):
        return None
    segmentation = item["segmentation"]
    shape = (camera.height_px, camera.width_px)
    if not isinstance(segmentation.value, list):
        mask = decode_rle(segmentation.value, shape, segmentation.where)
    elif segmentation.value:
        mask = decode_polygons([_polygon(polygon, camera) for polygon in segmentation.elements()], shape, segmentation.where)
    else:
        return None
    return mask if mask.any() else None


def _polygon(field: JsonField, camera: Camera) -> list[float]:
    numbers = [element.number() for element in field.elements()]
    if len(numbers) < 6 or len(numbers) % 2:
        raise InputError(field.where, "u and v of three corners or more", f"{len(numbers)} numbers")
    for index, number in enumerate(numbers):
        size = (camera.width_px, camera.height_px)[index % 2]
        if not -size <= number <= 2 * size:
            raise field[index].wrong(f"a pixel of the image of {camera.width_px} x {camera.height_px}, or near it")
    return numbers


def _track_of(item: JsonField, index: int) -> tuple[str, int | str]:
    for holder in (item, item["attributes"]) if item.has("attributes") else (item,):
        for name in ("track_id", "instance_id"):
            if holder.has(name):
                value = holder[name].value
                if isinstance(value, bool) or not isinstance(value, int | str):
                    raise holder[name].wrong("a whole number or a text")
                return name, value
    return "", index


def _object_ids(tracks: Iterable[_Track]) -> dict[_Track, int]:
    """A number from 1 on for each track, its own where it has one and no other track took it."""
    owners: dict[int, _Track] = {}
    for track in tracks:
        _, field, value = track
        if field and isinstance(value, int) and 1 <= value <= LARGEST_ID:
            owners.setdefault(value, track)
    own = {track: number for number, track in owners.items()}
    free = (number for number in itertools.count(1) if number not in owners)
    return {track: own[track] if track in own else next(free) for track in tracks}
