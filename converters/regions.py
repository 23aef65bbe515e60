"""Masklets -> Label Studio results. `converters.reconcile` reads them back.

Per object and frame: a brush on every camera that sees it; on the bird's-eye view a rotated rectangle with the Numbers z and h, and a brush
of its points seen from above. What Label Studio cannot show is kept in `meta.sam4d` (`converters.region_meta`): on the rectangle, or
on every brush where no rectangle can be drawn. An object with points that nothing shows (outside the view, seen by no camera) gets an
empty bird's-eye brush, so that it is not lost.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from converters.agreement import camera_lidar_agreement
from converters.brush_rle import encode_mask
from converters.coco_rle import encode_rle
from converters.columns import points_seen_from_above
from converters.coordinates import Rectangle, footprint_of, footprint_to_rectangle
from converters.label_config import BIRDS_EYE, CUBOID, CUBOID_HEIGHT, CUBOID_Z, brush_tag, camera_tags
from converters.region_meta import RegionMeta, parse_meta, region_id
from converters.tasks import TaskWindow
from sam4d.geometry import BoolArray
from sam4d.structures import Clip, Cuboid, Masklet, ObjectMasks

Region: TypeAlias = dict[str, object]
"""One entry of a Label Studio `result` list. The entries of one region (a rectangle and its Numbers) share its id."""


def masklet_to_regions(
    masklet: Masklet,
    window: TaskWindow,
    clip: Clip,
    version: str,
    frames: Iterable[int] | None = None,
    *,
    by_hand: Collection[int] = (),
    without_brushes: Collection[int] = (),
) -> list[Region]:
    """All results of one object. The same object, frame and sensor always get the same id, so that a new answer replaces an old one.

    Frames on which the object is empty and has no cuboid get none.

    Args:
        clip: the window's frames only (`clip.window(window.first_frame, window.frame_count)`); frame indices are item indices.
        version: the engine's, kept in the meta.
        frames: only these; None for all.
        by_hand: frames on which a person set the cuboid.
        without_brushes: frames on which the rectangle alone is wanted, where it can be drawn.
    """
    wanted = sorted(masklet.masks) if frames is None else [frame for frame in sorted(set(frames)) if frame in masklet.masks]
    regions: list[Region] = []
    for frame_index in wanted:
        masks, cuboid = masklet.masks[frame_index], masklet.cuboids.get(frame_index)
        if not masks.is_empty or cuboid is not None:
            notes = RegionMeta(masklet.object_id, frame_index, masklet.label, version, False, by_hand=frame_index in by_hand)
            regions += _frame_regions(masks, cuboid, notes, window, clip, frame_index in without_brushes)
    return regions


def blank_regions(before: Iterable[Mapping[str, object]], now: Iterable[Mapping[str, object]]) -> list[Region]:
    """Empty regions in place of those of ours in `before` that `now` no longer has.

    An interactive answer cannot delete a region, only replace it by id: with an empty mask, or a speck of a rectangle, both marked
    absent. Reading back drops them. Give only regions of the object and frames that the answer is about.

    Raises:
        InputError: a region of ours in `before` that cannot be read.
    """
    kept = {region.get("id") for region in now}
    blanks = []
    for region in before:
        value = region.get("value")
        if region.get("id") in kept or not isinstance(value, Mapping) or "number" in value:
            continue
        meta = parse_meta(region.get("meta"), f"region {region.get('id')}")
        if meta is None:
            continue
        width, height = region.get("original_width"), region.get("original_height")
        if "rle" not in value:
            empty: dict[str, object] = {"width": 0.01, "height": 0.01}
        elif isinstance(width, int) and isinstance(height, int):
            empty = {"rle": encode_mask(np.zeros((height, width), dtype=np.bool_))}
        else:
            continue
        kept_value = {key: item for key, item in value.items() if key != "touches"}
        blanks.append({**region, "value": {**kept_value, **empty}, "meta": replace(meta, absent=True).to_json(), "score": 0.0})
    return blanks


def _frame_regions(
    masks: ObjectMasks, cuboid: Cuboid | None, notes: RegionMeta, window: TaskWindow, clip: Clip, without_brushes: bool
) -> list[Region]:
    view = window.birds_eye
    rectangle = None if cuboid is None else _rectangle_in_view(cuboid, window)
    points_m = clip.frames[notes.frame_index].load_sweep().points_m
    complete = replace(
        notes,
        has_rectangle=rectangle is not None,
        cuboid=cuboid,
        points=encode_rle(masks.lidar_mask),
        score=masks.score,
        agreement=camera_lidar_agreement(masks, points_m, clip.cameras),
    )
    regions: list[Region] = []
    if rectangle is not None and cuboid is not None:
        regions += _rectangle_results(rectangle, cuboid, complete, window)
        if without_brushes:
            return regions
    brush_meta = complete if rectangle is None else replace(notes, has_rectangle=True, score=masks.score)
    from_above: BoolArray = np.zeros((view.size_px, view.size_px), dtype=np.bool_)
    if masks.lidar_mask.any():
        from_above = points_seen_from_above(points_m, masks.lidar_mask, view)
    if from_above.any():
        regions.append(_brush(BIRDS_EYE, from_above, brush_meta))
    tags = camera_tags(clip.cameras)
    for camera in clip.cameras:
        mask = masks.camera_masks.get(camera)
        if mask is not None and mask.any():
            regions.append(_brush(tags[camera], mask, brush_meta))
    if not regions:
        regions.append(_brush(BIRDS_EYE, from_above, complete))
    return regions


def _rectangle_in_view(cuboid: Cuboid, window: TaskWindow) -> Rectangle | None:
    """The rectangle, where its centre lies in the image: one outside cannot be seen or grasped."""
    pixels = window.birds_eye.to_pixels(np.array(cuboid.center_m[:2]))
    if (pixels < 0).any() or (pixels >= window.birds_eye.size_px).any():
        return None
    return footprint_to_rectangle(footprint_of(cuboid), window.birds_eye)


def _rectangle_results(rectangle: Rectangle, cuboid: Cuboid, meta: RegionMeta, window: TaskWindow) -> list[Region]:
    """The rectangle and its Numbers; Label Studio repeats the region's value and meta in each result of a region."""
    size_px = window.birds_eye.size_px
    value: dict[str, object] = {
        "x": rectangle.x,
        "y": rectangle.y,
        "width": rectangle.width,
        "height": rectangle.height,
        "rotation": rectangle.rotation,
    }
    shared = _shared(region_id(meta.object_id, meta.frame_index, CUBOID), BIRDS_EYE, size_px, size_px, meta)
    numbers = {CUBOID_Z: round(cuboid.center_m[2], 2), CUBOID_HEIGHT: round(cuboid.size_lwh_m[2], 2)}
    return [
        {**shared, "type": "rectanglelabels", "from_name": CUBOID, "value": {**value, "rectanglelabels": [meta.label]}},
        *({**shared, "type": "number", "from_name": name, "value": {**value, "number": number}} for name, number in numbers.items()),
    ]


def _brush(image: str, mask: BoolArray, meta: RegionMeta) -> Region:
    height, width = mask.shape
    tag = brush_tag(image)
    shared = _shared(region_id(meta.object_id, meta.frame_index, tag), image, width, height, meta)
    value = {"format": "rle", "rle": encode_mask(mask), "brushlabels": [meta.label]}
    return {**shared, "type": "brushlabels", "from_name": tag, "value": value}


def _shared(identity: str, image: str, width_px: int, height_px: int, meta: RegionMeta) -> Region:
    return {
        "id": identity,
        "to_name": image,
        "original_width": width_px,
        "original_height": height_px,
        "image_rotation": 0,
        "item_index": meta.frame_index,
        "score": meta.score,
        "meta": meta.to_json(),
    }
