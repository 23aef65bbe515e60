"""COCO: the camera masks of a drive as `coco/NAME.json`, instances with run lengths that pycocotools reads.

Beside COCO's own fields, images have `camera`, `frame_index` and `timestamp_ns`, annotations `track_id` (the same over frames and
cameras) and `score`. Layout: cocodataset.org, "Data format", object detection.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from converters.coco_rle import decode_rle, encode_rle
from converters.exports.distinct_objects import require_distinct_objects
from converters.exports.json_pieces import JsonArray, json_file
from converters.exports.recorded_files import image_path
from converters.exports.whole_output import FileContent, file_name
from converters.sequences.json_field import JsonField
from converters.sequences.sequence_folder import read_file
from sam4d.geometry import BoolArray
from sam4d.structures import CameraMasks, Clip, Masklet


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


def read_coco(file: str | Path) -> dict[tuple[int, int, str], tuple[str, BoolArray]]:
    """{(track id, frame index, camera): (label, mask bool (H, W))}. Inverse of `coco_files`, of masks that are not empty.

    Raises:
        InputError: naming file and field.
    """
    path = Path(file)
    root = JsonField.parse(read_file(lambda each: (path.parent / each).read_bytes(), path.name, str(path.parent)), str(path))
    labels = {item["id"].integer(): item["name"].text() for item in root["categories"].elements()}
    images = {item["id"].integer(): item for item in root["images"].elements()}
    masks = {}
    for item in root["annotations"].elements():
        category, image_id = item["category_id"].integer(), item["image_id"].integer()
        if category not in labels:
            raise item["category_id"].wrong("one of the categories")
        if image_id not in images:
            raise item["image_id"].wrong("one of the images")
        image = images[image_id]
        shape = (image["height"].integer(1), image["width"].integer(1))
        key = (item["track_id"].integer(), image["frame_index"].integer(0), image["camera"].text())
        masks[key] = labels[category], decode_rle(item["segmentation"].value, shape, item["segmentation"].where)
    return masks
