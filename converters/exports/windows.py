"""Objects of overlapping windows of a drive -> objects of the whole drive."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from converters.packed_masks import PackedMasks
from sam4d.structures import CameraMasks, Cuboid, InputError, Masklet, ObjectMasks

LEAST_OVERLAP = 0.3
"""Objects of two windows that overlap less than this on their common frames are different objects."""


@dataclass(frozen=True, eq=False)
class Window:
    """The objects labelled in one window (task). Frame indices of the masklets count from `first_frame` of the drive."""

    first_frame: int
    frame_count: int
    masklets: tuple[Masklet, ...]


@dataclass(eq=False)
class _Track:
    """An object of the drive while windows are joined; keys are frames of the drive."""

    label: str
    masks: MutableMapping[int, ObjectMasks] = field(default_factory=PackedMasks)
    cuboids: dict[int, Cuboid] = field(default_factory=dict)


def join_windows(windows: Sequence[Window], *, one_source: bool = False) -> tuple[Masklet, ...]:
    """One masklet per object over the whole drive. Object ids count from 1, in the order in which the objects first appear.

    Windows are taken in the order of their frames. An object of a window is the same as one of the windows before where the labels are
    equal and they overlap by `LEAST_OVERLAP` on common frames; among all objects the assignment of largest overlap in sum is taken.
    Overlap is intersection over union of the points and of the camera pixels, whichever agree better, summed over the common frames;
    where there are neither, that of the cuboids seen from above.

    On a frame that two windows show the object on, the higher score wins, and the later window between equals; its cuboid comes with
    it. A frame on which only one of them shows the object keeps that one.

    Args:
        one_source: the windows are parts of one engine's work, in which no point has two owners. So that this stays so, of the frames that
            two windows share the first half comes from the earlier one alone, the second from the later; and labels may differ: the
            one of most frames stands.

    Raises:
        InputError: a window without frames, or one with an object on a frame outside it.
    """
    tracks: list[_Track] = []
    end = 0
    for window in sorted(windows, key=lambda item: (item.first_frame, item.frame_count)):
        later = [_in_drive_frames(masklet, window) for masklet in window.masklets]
        # Only what earlier windows hold of this window's frames can be compared with it.
        common = range(window.first_frame, min(end, window.first_frame + window.frame_count))
        partners = _match(tracks, later, common, across_labels=one_source)
        if one_source and common:
            seam = common[len(common) // 2]
            for track in tracks:
                _cut(track, lambda frame, seam=seam: frame < seam)  # type: ignore[misc]
            for track in later:
                _cut(track, lambda frame, seam=seam: frame >= seam)  # type: ignore[misc]
        for index, track in enumerate(later):
            if index in partners:
                _merge(tracks[partners[index]], track)
            else:
                tracks.append(track)
        end = max(end, window.first_frame + window.frame_count)
    shown = [track for track in tracks if not one_source or track.masks or track.cuboids]
    return tuple(_masklet(object_id, track) for object_id, track in enumerate(shown, start=1))


def _cut(track: _Track, stays: Callable[[int], bool]) -> None:
    for frame in [frame for frame in track.masks if not stays(frame)]:
        del track.masks[frame]
    track.cuboids = {frame: cuboid for frame, cuboid in track.cuboids.items() if stays(frame)}


def _in_drive_frames(masklet: Masklet, window: Window) -> _Track:
    for frame_index in (*masklet.masks, *masklet.cuboids):
        if not 0 <= frame_index < window.frame_count:
            raise InputError(
                f"window from frame {window.first_frame}: object {masklet.object_id}",
                f"frames within the window's {window.frame_count}",
                f"frame {frame_index}",
            )
    first = window.first_frame
    return _Track(
        masklet.label,
        PackedMasks.of(masklet.masks).shifted(first),
        {first + index: cuboid for index, cuboid in masklet.cuboids.items()},
    )


def _match(tracks: Sequence[_Track], later: Sequence[_Track], common: range, *, across_labels: bool) -> dict[int, int]:
    """{index in later: index in tracks} of the objects that are the same."""
    if not tracks or not later or not common:
        return {}
    overlaps = np.zeros((len(later), len(tracks)))
    # Every mask is unpacked once.
    before = [_unpacked(track, common) for track in tracks]
    for row, new in enumerate(_unpacked(track, common) for track in later):
        for column, old in enumerate(before):
            if (across_labels or new.label == old.label) and _on(old, common) & _on(new, common):
                overlaps[row, column] = _overlap(old, new, common)
    overlaps[overlaps < LEAST_OVERLAP] = 0.0
    rows, columns = linear_sum_assignment(overlaps, maximize=True)
    return {int(row): int(column) for row, column in zip(rows, columns, strict=True) if overlaps[row, column] > 0}


def _unpacked(track: _Track, frames: range) -> _Track:
    """The track on these frames alone."""
    masks = {frame: track.masks[frame] for frame in frames if frame in track.masks}
    return _Track(track.label, masks, {frame: track.cuboids[frame] for frame in frames if frame in track.cuboids})


def _on(track: _Track, frames: range) -> set[int]:
    return {frame for frame in frames if frame in track.masks or frame in track.cuboids}


def _overlap(a: _Track, b: _Track, frames: range) -> float:
    points, pixels = np.zeros(2), np.zeros(2)
    for frame in frames:
        masks_a, masks_b = a.masks.get(frame), b.masks.get(frame)
        if masks_a is None and masks_b is None:
            continue
        points += _lidar_overlap(masks_a, masks_b)
        pixels += _camera_overlap(masks_a, masks_b)
    shares = [inside / whole for inside, whole in (points, pixels) if whole > 0]
    return float(max(shares)) if shares else _cuboid_overlap(a, b, frames)


def _lidar_overlap(a: ObjectMasks | None, b: ObjectMasks | None) -> NDArray[np.float64]:
    """Points in both, points in either."""
    size_a, size_b = (0 if masks is None else np.count_nonzero(masks.lidar_mask) for masks in (a, b))
    if a is None or b is None:
        return np.array([0.0, size_a + size_b])
    if len(a.lidar_mask) != len(b.lidar_mask):
        raise InputError(f"object {b.object_id}: point mask", f"{len(a.lidar_mask)} points as in the other window", f"{len(b.lidar_mask)}")
    inside = np.count_nonzero(a.lidar_mask & b.lidar_mask)
    return np.array([inside, size_a + size_b - inside], dtype=np.float64)


def _camera_overlap(a: ObjectMasks | None, b: ObjectMasks | None) -> NDArray[np.float64]:
    """Pixels in both, pixels in either, over all cameras."""
    masks_a, masks_b = _crops(a), _crops(b)
    inside = 0
    for name in {*masks_a.seen_by} & {*masks_b.seen_by}:
        # Whole images would be slow to compare for every pair of objects.
        box_a, box_b = masks_a.box(name), masks_b.box(name)
        common = (max(box_a[0], box_b[0]), max(box_a[1], box_b[1]), min(box_a[2], box_b[2]), min(box_a[3], box_b[3]))
        if common[0] < common[2] and common[1] < common[3]:
            inside += np.count_nonzero(masks_a.inside(name, common) & masks_b.inside(name, common))
    area = sum(masks.area_px(name) for masks in (masks_a, masks_b) for name in masks)
    return np.array([inside, area - inside], dtype=np.float64)


def _crops(masks: ObjectMasks | None) -> CameraMasks:
    camera_masks = {} if masks is None else masks.camera_masks
    return camera_masks if isinstance(camera_masks, CameraMasks) else CameraMasks(camera_masks)


def _cuboid_overlap(a: _Track, b: _Track, frames: range) -> float:
    """Intersection over union of the footprints, summed over the frames on which both have a cuboid."""
    counts = np.zeros(2)
    for frame in frames:
        if frame in a.cuboids and frame in b.cuboids:
            shared = cv2.rotatedRectangleIntersection(_footprint(a.cuboids[frame]), _footprint(b.cuboids[frame]))[1]
            inside = 0.0 if shared is None else cv2.contourArea(cv2.convexHull(shared))
            area = sum(cuboid.size_lwh_m[0] * cuboid.size_lwh_m[1] for cuboid in (a.cuboids[frame], b.cuboids[frame]))
            counts += [inside, area - inside]
    return float(counts[0] / counts[1]) if counts[1] > 0 else 0.0


def _footprint(cuboid: Cuboid) -> tuple[tuple[float, float], tuple[float, float], float]:
    return cuboid.center_m[:2], cuboid.size_lwh_m[:2], float(np.degrees(cuboid.yaw_rad))


def _merge(track: _Track, later: _Track) -> None:
    if len(later.masks) > len(track.masks):
        track.label = later.label
    for frame in {*later.masks, *later.cuboids}:
        before, after = track.masks.get(frame), later.masks.get(frame)
        keeps = before is not None and (after is None or after.score < before.score)
        if not keeps and after is not None:
            track.masks[frame] = after
        if frame in later.cuboids and not (keeps and frame in track.cuboids):
            track.cuboids[frame] = later.cuboids[frame]


def _masklet(object_id: int, track: _Track) -> Masklet:
    return Masklet(object_id, track.label, PackedMasks.of(track.masks).as_object(object_id), dict(sorted(track.cuboids.items())))
