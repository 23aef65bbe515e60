"""Waymo-4DSeg labels: `sam4d_labels/NAME/*.json`, to train SAM4D with what people corrected. Cuboids do not belong to it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from converters.coco_rle import encode_rle
from converters.exports.distinct_objects import require_distinct_objects
from converters.exports.whole_output import FileContent, file_name
from converters.sequences.waymo_4dseg import LABELS, LIDAR_SENSOR, read_label_folder, sweep_name
from sam4d.structures import CameraMasks, Clip, Frame, InputError, Masklet


def waymo_4dseg_label_files(clip: Clip, masklets: Sequence[Masklet]) -> dict[str, FileContent]:
    """{relative path: content}, a file per frame, called as its sweep is. A sensor lists the objects that it shows.

    Inverse: `read_waymo_4dseg_label_files`.

    Raises:
        InputError: two masklets with one object id, a negative one.
    """
    require_distinct_objects(masklets)
    for masklet in masklets:
        if masklet.object_id < 0:
            raise InputError(f"object {masklet.object_id}", "an object id of 0 or more", str(masklet.object_id))
    files: dict[str, FileContent] = {}
    for frame_index, frame in enumerate(clip.frames):
        files[f"{LABELS}/{file_name(clip.name)}/{sweep_name(clip, frame_index)}.json"] = partial(_frame, frame, masklets, frame_index)
    return files


def _frame(frame: Frame, masklets: Sequence[Masklet], frame_index: int) -> bytes:
    sensors: dict[str, dict[str, list[dict[str, object]]]] = {name: {"objects": []} for name in (*frame.load_images, LIDAR_SENSOR)}
    for masklet in masklets:
        masks = masklet.masks.get(frame_index)
        if masks is None:
            continue
        common: dict[str, object] = {"object_id": masklet.object_id, "score": float(masks.score), "semantic": masklet.label}
        crops = masks.camera_masks
        assert isinstance(crops, CameraMasks)
        for name in crops.seen_by:
            if name in sensors:
                sensors[name]["objects"].append({**common, "image_mask": encode_rle(crops[name]), "volume": crops.area_px(name)})
        if masks.lidar_mask.any():
            volume = int(masks.lidar_mask.sum())
            sensors[LIDAR_SENSOR]["objects"].append({**common, "lidar_mask": encode_rle(masks.lidar_mask), "volume": volume})
    return (json.dumps({"sensors": sensors}, ensure_ascii=False) + "\n").encode()


def read_waymo_4dseg_label_files(folder: str | Path, clip: Clip) -> tuple[Masklet, ...]:
    """Labels that lie apart from their drive, which may be of any layout: `sam4d_labels/NAME`, or the folder that holds it.

    Raises:
        InputError: naming file and field: none there, labels that no sweep of the clip is called as, masks that do not fit.
    """
    name = file_name(clip.name)
    places = (LABELS + "/" + name, name, ".")
    place = next((place for place in places if any((Path(folder) / place).glob("*.json"))), None)
    if place is None:
        raise InputError(str(folder), f"labels of Waymo-4DSeg, {LABELS}/{name}/{sweep_name(clip, 0)}.json and so on", "none")
    names = {sweep_name(clip, frame_index) for frame_index in range(len(clip))}
    for file in sorted((Path(folder) / place).glob("*.json")):
        if file.stem not in names:
            raise InputError(str(file), f"labels called as one of the clip's sweeps, like {sweep_name(clip, 0)}.json", "another name")
    return read_label_folder(Path(folder), place, clip)
