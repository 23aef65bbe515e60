"""Waymo-4DSeg labels: `sam4d_labels/NAME/*.json`, to train SAM4D with what people corrected. Cuboids do not belong to it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import PurePosixPath

from converters.coco_rle import encode_rle
from converters.exports.distinct_objects import require_distinct_objects
from converters.exports.whole_output import FileContent, file_name
from converters.sequences.sequence_folder import SweepFile
from converters.sequences.waymo_4dseg import LABELS, LIDAR_SENSOR
from sam4d.structures import CameraMasks, Clip, Frame, InputError, Masklet


def waymo_4dseg_label_files(clip: Clip, masklets: Sequence[Masklet]) -> dict[str, FileContent]:
    """{relative path: content}, a file per frame, called as its sweep is. A sensor lists the objects that it shows.

    Inverse: `converters.sequences.waymo_4dseg.read_waymo_4dseg_labels`.

    Raises:
        InputError: two masklets with one object id, a negative one.
    """
    require_distinct_objects(masklets)
    for masklet in masklets:
        if masklet.object_id < 0:
            raise InputError(f"object {masklet.object_id}", "an object id of 0 or more", str(masklet.object_id))
    files: dict[str, FileContent] = {}
    for frame_index, frame in enumerate(clip.frames):
        load = frame.load_sweep
        stem = PurePosixPath(load.path).stem if isinstance(load, SweepFile) else f"{frame_index:06d}"
        files[f"{LABELS}/{file_name(clip.name)}/{stem}.json"] = partial(_frame, frame, masklets, frame_index)
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
