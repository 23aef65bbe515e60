"""Objects of voxels back to the sensors: points of every sweep, masks in every camera."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sam4d.data_engine.fusion import FusedObject
from sam4d.data_engine.kept_work import KeptWork, NothingKept
from sam4d.data_engine.masklet_source import MaskletSource
from sam4d.data_engine.pixel_voxels import PixelVoxels, pixel_voxels
from sam4d.data_engine.reconstruction import Reconstruction
from sam4d.geometry import BoolArray
from sam4d.predictor import Session
from sam4d.structures import LIDAR, Frame, Masklet, MaskPrompt, ObjectMasks

LEAST_AGREEMENT = 0.7
"""Of the visible points that either an image's own mask or the voxels claim, those that both do; below it the mask is made anew."""


LEAST_POINTS = 5
"""Of an object in an image, with which its pixels can be looked for."""


def masklets_of(
    objects: Sequence[FusedObject],
    scene: Reconstruction,
    source: MaskletSource,
    session: Session,
    point_masklets: Sequence[Masklet] = (),
    progress: Callable[[int, int], None] | None = None,
    kept: KeptWork | None = None,
) -> list[Masklet]:
    """Every object on every frame that shows it, numbered from 1 in the order given; without cuboids. Each frame is a step to keep.

    Args:
        point_masklets: those of the sweeps that were fused.

    A camera's mask is the source's own where it agrees with the object's points. Where it does not, or is missing, `session` finds the
    pixels of the points, and where the sweep has none, the voxels that the camera sees are painted.
    """
    report = progress or (lambda done, total: None)
    owner = np.full(len(scene) + 1, -1, dtype=np.int64)
    for index, fused in enumerate(objects):
        owner[fused.voxels] = index
    shown: list[dict[int, ObjectMasks]] = [{} for _ in objects]
    kept = kept or NothingKept()
    for frame_index in range(len(scene.clip)):
        make = partial(_shown_on, objects, owner, scene, source, session, point_masklets, frame_index)
        for masklet in kept.masklets(f"frame-{frame_index:06d}", scene.clip, make):
            shown[masklet.object_id - 1] |= masklet.masks
        report(frame_index + 1, len(scene.clip))
    return [Masklet(index + 1, fused.label, shown[index]) for index, fused in enumerate(objects)]


def _shown_on(
    objects: Sequence[FusedObject],
    owner: NDArray[np.int64],
    scene: Reconstruction,
    source: MaskletSource,
    session: Session,
    point_masklets: Sequence[Masklet],
    frame_index: int,
) -> list[Masklet]:
    """The objects that one frame shows, on this frame alone."""
    frame = scene.clip.frames[frame_index]
    owner_of_point = owners_of_points(objects, owner, scene, source, point_masklets, frame_index)
    cameras = _camera_masks(objects, owner, owner_of_point, scene, source, session, frame_index, frame)
    shown = []
    for index in sorted(set(owner_of_point.tolist()).union(*cameras.values()) - {-1}):
        fused = objects[index]
        masks = {camera: by_object[index] for camera, by_object in cameras.items() if index in by_object}
        lidar_mask = owner_of_point == index
        for camera in cameras:
            if camera not in masks:
                size = scene.clip.cameras[camera]
                masks[camera] = np.zeros((size.height_px, size.width_px), dtype=np.bool_)
        shown.append(Masklet(index + 1, fused.label, {frame_index: ObjectMasks(index + 1, frame_index, masks, lidar_mask, fused.score)}))
    return shown


def owners_of_points(
    objects: Sequence[FusedObject],
    owner: NDArray[np.int64],
    scene: Reconstruction,
    source: MaskletSource,
    point_masklets: Sequence[Masklet],
    frame_index: int,
) -> NDArray[np.int64]:
    """The object that each point of a frame's sweep is part of, int64 (N,), -1 for none.

    Args:
        owner: of each voxel and, as last, of no voxel, int64 (V + 1,).

    Points without a voxel were where other sweeps saw nothing: something that comes and goes. It is what the frame's own masklets
    say, those of the sweep before those of the images.
    """
    frame = scene.clip.frames[frame_index]
    points_m = frame.load_sweep().points_m
    voxels = scene.voxels_of_points(frame_index, points_m)
    owner_of_point = owner[voxels]
    left = np.flatnonzero((voxels < 0) & np.isfinite(points_m).all(axis=1))
    object_of = {track: index for index, fused in enumerate(objects) for track in fused.tracks}
    said = np.full(len(left), -1, dtype=np.int64)
    for camera in frame.load_images:
        pixels, _, inside = scene.clip.cameras[camera].project(points_m[left])
        columns, lines = pixels[inside].astype(np.int64).T
        tracks, which = np.unique(source.tracks_in(frame_index, camera)[lines, columns], return_inverse=True)
        named = np.array([object_of.get((camera, int(track)), -1) for track in tracks], dtype=np.int64)[which.ravel()]
        said[inside] = np.where(named >= 0, named, said[inside])
    for masklet in point_masklets:
        masks = masklet.masks.get(frame_index)
        if masks is not None and (LIDAR, masklet.object_id) in object_of:
            said[masks.lidar_mask[left]] = object_of[LIDAR, masklet.object_id]
    owner_of_point[left] = said
    return owner_of_point


def _camera_masks(
    objects: Sequence[FusedObject],
    owner: NDArray[np.int64],
    owner_of_point: NDArray[np.int64],
    scene: Reconstruction,
    source: MaskletSource,
    session: Session,
    frame_index: int,
    frame: Frame,
) -> dict[str, dict[int, BoolArray]]:
    """{camera: {object: bool (H, W)}}, those that are not empty."""
    voxels, places_m = scene.places_at(frame_index)
    points_m = frame.load_sweep().points_m
    found: dict[str, dict[int, BoolArray]] = {}
    asked: dict[int, ObjectMasks] = {}
    for camera in frame.load_images:
        model = scene.clip.cameras[camera]
        table = pixel_voxels(model, voxels, places_m, scene.settings.voxel_m)
        tracks = source.tracks_in(frame_index, camera)
        pixels, _, inside = model.project(points_m)
        rows = np.flatnonzero(inside)
        columns, lines = pixels[rows].astype(np.int64).T
        own_of_row = owner_of_point[rows]
        track_of_row = tracks[lines, columns]
        present = set(np.unique(tracks).tolist())
        voxels_seen = set(np.unique(owner[table.voxels]).tolist())
        by_object: dict[int, BoolArray] = {}
        for index, fused in enumerate(objects):
            own_tracks = [track for sensor, track in fused.tracks if sensor == camera and track in present]
            if not own_tracks and index not in voxels_seen:
                continue
            claimed, said = own_of_row == index, np.isin(track_of_row, own_tracks) if own_tracks else np.zeros(len(rows), dtype=np.bool_)
            either = int((claimed | said).sum())
            if own_tracks and (not claimed.any() or int((claimed & said).sum()) >= LEAST_AGREEMENT * either):
                by_object[index] = np.isin(tracks, own_tracks)
            elif index in voxels_seen:
                if int(claimed.sum()) >= LEAST_POINTS:
                    if index not in asked:
                        prompt = MaskPrompt(index + 1, frame_index, LIDAR, owner_of_point == index)
                        asked[index] = session.add_prompt(prompt, replace=True)
                    mask = asked[index].camera_masks[camera]
                else:
                    mask = _closed(table, owner == index, model.height_px, model.width_px)
                if mask.any():
                    by_object[index] = mask
        found[camera] = by_object
    for index in asked:
        session.remove_object(index + 1)
    return found


def _closed(table: PixelVoxels, wanted: BoolArray, height_px: int, width_px: int) -> BoolArray:
    """The object's pixels without the gaps between its voxels."""
    mask = table.mask_of_voxels(wanted[:-1], height_px, width_px)
    lines, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(lines):
        return mask
    reach = 2 * table.scale
    box = (slice(max(0, lines[0] - reach), lines[-1] + reach + 1), slice(max(0, columns[0] - reach), columns[-1] + reach + 1))
    mask[box] = ndimage.binary_closing(mask[box], iterations=reach)
    return mask
