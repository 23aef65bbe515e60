"""Label Studio results -> masklets; what people changed wins over what the engine wrote.

Of a region of ours (one with `meta.sam4d`, `converters.region_meta`), per object and frame:

- Rectangle moved, resized or turned: the cuboid follows; a part that was not changed keeps the engine's exact value. Numbers z and h: its
  centre's height and its height. Points stay, unless their brush was edited.
- Bird's-eye brush edited: points under what was erased go; points under what was added come, from the cuboid's foot (or the object's
  lowest point) to 0.3 m above its top. Deleted: no points; the cuboid stays.
- Camera brush: its mask as it is. Deleted: an empty mask.
- Rectangle deleted: the object is gone on that frame, its brushes with it. An object that never had a rectangle there is gone when all its
  regions are.
- Label changed on any region: the object's label. Where several were changed to different ones, the most frequent, then the earliest.
- A copy pasted on a frame that does not show the object: the object is there too, with the points inside the pasted cuboid.

Drawn by hand, or copied on a frame that shows the object already: a new object each. A rectangle gives its cuboid and the standing points
inside; its heading is along the longer side, its height from the points unless z and h are given. A bird's-eye brush gives the standing
points under it, a camera brush its mask.

The score of a frame whose cuboid or points a person changed is 1.

Dropped: empty regions (the "absent" of `converters.regions.blank_regions`), clicks and boxes that were left over, key points that
carry a mask, and what belongs to other tags of the project.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from converters.coco_rle import decode_rle
from converters.columns import coarse_ground, points_seen_from_above, standing_inside, standing_points, standing_under_mask, under_mask
from converters.coordinates import Footprint, Rectangle, footprint_of, footprint_to_rectangle, rectangle_to_footprint
from converters.drawn_regions import BIRDS_EYE_BRUSH, DrawnRegion, parse_regions
from converters.label_config import CUBOID, CUBOID_HEIGHT, CUBOID_Z
from converters.region_meta import RegionMeta, region_id
from converters.tasks import TaskWindow
from sam4d.geometry import BirdsEyeView, BoolArray
from sam4d.structures import Clip, Cuboid, Float32Array, InputError, Masklet, ObjectMasks

_ROUNDED_PERCENT = 0.0051
_ROUNDED_DEGREES = 0.0051
_ROUNDED_METRES = 0.0051
_UNKNOWN_HEIGHT_M = 1.6
_ABOVE_TOP_M = 0.3


@dataclass
class _ObjectOnFrame:
    """Regions of one object on one frame, by control tag. `original`: written by us for this frame, so that edits show."""

    object_id: int
    frame_index: int
    regions: dict[str, DrawnRegion] = field(default_factory=dict)
    original: bool = True

    @property
    def meta(self) -> RegionMeta | None:
        """That of a region that says all: the rectangle, or any where none was written. None where that was deleted."""
        rectangle = self.regions.get(CUBOID)
        if rectangle is not None and rectangle.meta is not None and rectangle.meta.is_complete:
            return rectangle.meta
        complete = (region.meta for region in self.regions.values() if region.meta is not None and not region.meta.has_rectangle)
        return next((meta for meta in complete if meta.is_complete), None)


def regions_to_masklets(regions: Iterable[Mapping[str, object]], window: TaskWindow, clip: Clip) -> list[Masklet]:
    """A prediction, draft or annotation's `result` -> the objects, by ascending id. Inverse of `masklet_to_regions` where nobody edited.

    Args:
        clip: the window's frames only (`clip.window(window.first_frame, window.frame_count)`): item indices become frame indices.

    Raises:
        InputError: a region of ours that cannot be read; it names the region's id.
    """
    parsed = parse_regions(regions, clip, window.birds_eye)
    groups = _group(parsed)
    masks: dict[int, dict[int, ObjectMasks]] = {}
    cuboids: dict[int, dict[int, Cuboid]] = {}
    for frame_index in sorted({group.frame_index for group in groups}):
        points_m = clip.frames[frame_index].load_sweep().points_m
        for group in (group for group in groups if group.frame_index == frame_index):
            read = _read_original if group.original else _read_drawn
            frame_masks, cuboid = read(group, points_m, window.birds_eye, clip)
            if frame_masks.is_empty and cuboid is None:
                continue
            masks.setdefault(group.object_id, {})[frame_index] = frame_masks
            if cuboid is not None:
                cuboids.setdefault(group.object_id, {})[frame_index] = cuboid
    return [Masklet(object_id, _label(object_id, groups), masks[object_id], cuboids.get(object_id, {})) for object_id in sorted(masks)]


def _group(parsed: list[DrawnRegion]) -> list[_ObjectOnFrame]:
    """Which regions are one object on one frame; hand-drawn ones and superfluous copies become objects of their own."""
    originals: dict[tuple[int, int], _ObjectOnFrame] = {}
    copies: list[DrawnRegion] = []
    # Where a region was duplicated, the one with our own id is the original.
    for region in sorted(parsed, key=lambda region: not _has_own_id(region)):
        meta = region.meta
        if meta is None or meta.frame_index != region.frame_index:
            copies.append(region)
            continue
        key = (meta.object_id, meta.frame_index)
        group = originals.setdefault(key, _ObjectOnFrame(*key))
        if region.tag in group.regions:
            copies.append(region)
        else:
            group.regions[region.tag] = region
    groups = {key: group for key, group in originals.items() if group.meta is not None}

    next_id = 1 + max((region.meta.object_id for region in parsed if region.meta is not None), default=0)
    for region in sorted(copies, key=lambda region: region.order):
        meta = region.meta
        if meta is not None and meta.frame_index != region.frame_index:
            key = (meta.object_id, region.frame_index)
            pasted = groups.setdefault(key, _ObjectOnFrame(*key, original=False))
            if not pasted.original and region.tag not in pasted.regions:
                pasted.regions[region.tag] = region
                continue
        groups[next_id, region.frame_index] = _ObjectOnFrame(next_id, region.frame_index, {region.tag: region}, original=False)
        next_id += 1
    return list(groups.values())


def _has_own_id(region: DrawnRegion) -> bool:
    return region.meta is not None and region.identity == region_id(region.meta.object_id, region.meta.frame_index, region.tag)


def _label(object_id: int, groups: list[_ObjectOnFrame]) -> str:
    """The label that people changed it to, else the one written."""
    own = sorted((group for group in groups if group.object_id == object_id), key=lambda group: group.frame_index)
    regions = [region for group in own for _, region in sorted(group.regions.items(), key=lambda item: item[0] != CUBOID)]
    changed = Counter(region.label for region in regions if region.meta is None or region.label != region.meta.label)
    return (changed or Counter(region.label for region in regions)).most_common(1)[0][0]


def _read_original(group: _ObjectOnFrame, points_m: Float32Array, view: BirdsEyeView, clip: Clip) -> tuple[ObjectMasks, Cuboid | None]:
    meta = group.meta
    assert meta is not None
    where = next(region.where for region in group.regions.values() if region.meta == meta)
    points = lidar_mask = decode_rle(meta.points, (len(points_m),), f"{where}, meta.sam4d.points")
    rectangle, cuboid = group.regions.get(CUBOID), meta.cuboid
    if meta.has_rectangle and rectangle is not None:
        if cuboid is None:
            raise InputError(f"{where}, meta.sam4d.cuboid", "the rectangle's cuboid", "none")
        cuboid = _edited_cuboid(cuboid, rectangle, view)
    brush = group.regions.get(BIRDS_EYE_BRUSH)
    written = points_seen_from_above(points_m, lidar_mask, view)
    if brush is not None:
        lidar_mask = _edited_points(lidar_mask, written, brush.decode(), points_m, cuboid, view)
    elif written.any():
        lidar_mask = np.zeros_like(lidar_mask)
    # What a person set is sure: where windows of a drive overlap, it wins over what only an engine said.
    edited = meta.by_hand or cuboid != meta.cuboid or not np.array_equal(lidar_mask, points)
    score = 1.0 if edited else meta.score
    return ObjectMasks(group.object_id, group.frame_index, _camera_masks(group, clip), lidar_mask, score), cuboid


def _edited_cuboid(cuboid: Cuboid, region: DrawnRegion, view: BirdsEyeView) -> Cuboid:
    """The cuboid with what was changed on the rectangle and its Numbers; Label Studio may round, which is no change."""
    before = footprint_of(cuboid)
    was, rectangle = footprint_to_rectangle(before, view), region.rectangle
    assert rectangle is not None
    resized = max(abs(rectangle.width - was.width), abs(rectangle.height - was.height)) > _ROUNDED_PERCENT
    turned = abs((rectangle.rotation - was.rotation + 180) % 360 - 180) > _ROUNDED_DEGREES
    moved = max(abs(rectangle.x - was.x), abs(rectangle.y - was.y)) > _ROUNDED_PERCENT
    footprint = rectangle_to_footprint(rectangle, view) if moved or resized or turned else before
    length_m, width_m = (footprint.length_m, footprint.width_m) if resized else (before.length_m, before.width_m)
    x, y = footprint.center_m
    z = _edited_number(cuboid.center_m[2], region.numbers[CUBOID_Z])
    height_m = _edited_number(cuboid.size_lwh_m[2], region.numbers[CUBOID_HEIGHT])
    return Cuboid((x, y, z), (length_m, width_m, height_m), footprint.yaw_rad if turned else before.yaw_rad)


def _edited_number(written: float, numbers: tuple[float, ...]) -> float:
    """The first number that differs from the one written (Label Studio may hold several results of one), else the exact one."""
    return next((number for number in numbers if abs(number - written) > _ROUNDED_METRES), written)


def _edited_points(
    lidar_mask: BoolArray, written: BoolArray, brush: BoolArray, points_m: Float32Array, cuboid: Cuboid | None, view: BirdsEyeView
) -> BoolArray:
    """The object's points with those under erased pixels gone, and those under added pixels in its own height range."""
    if (brush == written).all():
        return lidar_mask
    kept = lidar_mask & ~under_mask(points_m, view, written & ~brush)
    # What was written is wider than the points; where the brush grew on, it takes the seam along.
    grown = cv2.dilate((brush & ~written).astype(np.uint8), np.ones((5, 5), dtype=np.uint8)).astype(np.bool_) & brush
    added = under_mask(points_m, view, grown)
    heights_m = [float(z) for z in (points_m[lidar_mask, 2].min(), points_m[lidar_mask, 2].max())] if lidar_mask.any() else []
    if cuboid is not None:
        half_m = cuboid.size_lwh_m[2] / 2
        heights_m += [cuboid.center_m[2] - half_m, cuboid.center_m[2] + half_m]
    if not heights_m:
        return kept | standing_under_mask(points_m, view, grown)
    with np.errstate(invalid="ignore"):
        in_range = (points_m[:, 2] >= min(heights_m)) & (points_m[:, 2] <= max(heights_m) + _ABOVE_TOP_M)
    return np.asarray(kept | (added & in_range))


def _read_drawn(group: _ObjectOnFrame, points_m: Float32Array, view: BirdsEyeView, clip: Clip) -> tuple[ObjectMasks, Cuboid | None]:
    rectangle, brush = group.regions.get(CUBOID), group.regions.get(BIRDS_EYE_BRUSH)
    cuboid = None if rectangle is None else _drawn_cuboid(rectangle, points_m, view)
    lidar_mask: BoolArray = np.zeros(len(points_m), dtype=np.bool_)
    if brush is not None:
        lidar_mask = standing_under_mask(points_m, view, brush.decode())
    elif cuboid is not None:
        lidar_mask = standing_inside(points_m, cuboid)
    return ObjectMasks(group.object_id, group.frame_index, _camera_masks(group, clip), lidar_mask, 1.0), cuboid


def _drawn_cuboid(region: DrawnRegion, points_m: Float32Array, view: BirdsEyeView) -> Cuboid:
    rectangle = region.rectangle
    assert rectangle is not None
    footprint = rectangle_to_footprint(rectangle if region.meta is not None else _along_longer_side(rectangle), view)
    ground_m = float(coarse_ground(points_m).at(np.array(footprint.center_m)))
    z = next(iter(region.numbers[CUBOID_Z]), None)
    height_m = next(iter(region.numbers[CUBOID_HEIGHT]), None)
    if height_m is None and region.meta is not None and region.meta.cuboid is not None:
        height_m = region.meta.cuboid.size_lwh_m[2]
    if height_m is None:
        height_m = _height_of_points(footprint, ground_m, points_m)
    center_m = (*footprint.center_m, ground_m + height_m / 2 if z is None else z)
    return Cuboid(center_m, (footprint.length_m, footprint.width_m, height_m), footprint.yaw_rad)


def _along_longer_side(rectangle: Rectangle) -> Rectangle:
    """The same shape, turned by a quarter about its own corners where it is wider than high: people draw without thinking of the front."""
    if rectangle.width <= rectangle.height:
        return rectangle
    angle = np.radians(rectangle.rotation)
    # The old top-right corner becomes the top-left one, the old right side the new top edge.
    x = rectangle.x + float(np.cos(angle)) * rectangle.width
    y = rectangle.y + float(np.sin(angle)) * rectangle.width
    return replace(rectangle, x=x, y=y, width=rectangle.height, height=rectangle.width, rotation=(rectangle.rotation + 90) % 360)


def _height_of_points(footprint: Footprint, ground_m: float, points_m: Float32Array) -> float:
    """From the ground to the highest standing point over the footprint."""
    column = Cuboid((*footprint.center_m, ground_m), (footprint.length_m, footprint.width_m, 100.0), footprint.yaw_rad)
    inside = column.contains(points_m)
    inside &= standing_points(points_m, inside)
    return float(points_m[inside, 2].max()) - ground_m if inside.any() else _UNKNOWN_HEIGHT_M


def _camera_masks(group: _ObjectOnFrame, clip: Clip) -> dict[str, BoolArray]:
    """One mask for every camera with an image on the frame, empty where there is no brush."""
    masks: dict[str, BoolArray] = {
        camera: np.zeros((clip.cameras[camera].height_px, clip.cameras[camera].width_px), dtype=np.bool_)
        for camera in clip.cameras
        if camera in clip.frames[group.frame_index].load_images
    }
    masks |= {region.camera: region.decode() for region in group.regions.values() if region.camera is not None}
    return masks
