"""How good masklets without a click are, where the truth is exact: against the points, between the sensors, and beside plain projection;
and how free of trails the scene is that they come from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sam4d.data_engine.voxels import rows_of, voxel_keys
from sam4d.geometric.scene import FrameScene
from sam4d.geometry import BoolArray
from sam4d.simulation.drive import SyntheticDrive
from sam4d.simulation.worn_masklets import WornMasklets
from sam4d.structures import CameraMasks, Masklet, VoxelScene

LEAST_POINTS = 30
"""Of an object on the frame that shows most of it in the cameras."""
LEAST_CROSS_POINTS = 20
MOVING_M = 1.0
"""Net motion of an object that counts as moving."""
MOST_GHOSTS = 20
"""Voxels that a moving object may leave in the static scene."""


@dataclass(frozen=True)
class GeneratedFigures:
    """Means over objects that some camera sees, of points that cameras see.

    objects: how many. point_iou: of each object's points over the clip with those of the masklet that fits best. projected_iou: the same
    for each frame's own image masks, projected onto the points. cross_modal_iou: between a masklet's standing points and those on its
    camera mask, over images. camera_iou: of its camera masks with the exact ones.
    """

    objects: int
    point_iou: float
    projected_iou: float
    cross_modal_iou: float
    camera_iou: float


def judge_generated(drive: SyntheticDrive, masklets: Sequence[Masklet], source: WornMasklets) -> GeneratedFigures:
    """Compare masklets that were made from worn image masks with the drive's exact ones."""
    truth = {masklet.object_id: _Counts() for masklet in drive.masklets}
    shared: dict[tuple[int, int], int] = {}
    sizes: dict[int, int] = {}
    images: dict[int, list[tuple[int, float, Mapping[int, float]]]] = {}
    for frame_index, frame in enumerate(drive.clip.frames):
        scene = FrameScene(frame, frame_index)
        projected, seen = _projected(drive, source, scene, frame_index)
        for masklet in drive.masklets:
            masks = masklet.masks.get(frame_index)
            own = masks.lidar_mask & seen if masks is not None else np.zeros(len(seen), dtype=np.bool_)
            truth[masklet.object_id].add(own, projected == masklet.object_id)
        for masklet in masklets:
            masks = masklet.masks.get(frame_index)
            if masks is None:
                continue
            claimed = masks.lidar_mask & seen
            sizes[masklet.object_id] = sizes.get(masklet.object_id, 0) + int(claimed.sum())
            for other in drive.masklets:
                exact = other.masks.get(frame_index)
                if exact is not None and (count := int((exact.lidar_mask & claimed).sum())):
                    shared[other.object_id, masklet.object_id] = shared.get((other.object_id, masklet.object_id), 0) + count
            images.setdefault(masklet.object_id, []).extend(_images(drive, masklet, scene, frame_index))
    point_ious, projected_ious, cross, camera = [], [], [], []
    for object_id, counts in truth.items():
        if counts.most < LEAST_POINTS:
            continue
        fits = [(count / (counts.points + sizes[found] - count), found) for (true, found), count in shared.items() if true == object_id]
        best, found = max(fits, default=(0.0, 0))
        point_ious.append(best)
        projected_ious.append(counts.both / max(1, counts.points + counts.projected - counts.both))
        for points, cross_iou, camera_ious in images.get(found, []):
            if points >= LEAST_CROSS_POINTS:
                cross.append(cross_iou)
            if object_id in camera_ious:
                camera.append(camera_ious[object_id])
    return GeneratedFigures(len(point_ious), _mean(point_ious), _mean(projected_ious), _mean(cross), _mean(camera))


@dataclass(frozen=True)
class Haunting:
    """How many objects move, and how many of them left more than `MOST_GHOSTS` voxels in the static scene, above the ground."""

    haunting: int
    moving: int

    def __str__(self) -> str:
        return f"{self.haunting} of {self.moving}"


def count_haunting(drive: SyntheticDrive, scene: VoxelScene) -> Haunting:
    """Look for what moving objects left in the scene of a drive, whose origin is that of the drive's first frame."""
    left = ghost_voxels(drive, scene)
    return Haunting(sum(voxels > MOST_GHOSTS for voxels in left.values()), len(left))


def ghost_voxels(drive: SyntheticDrive, scene: VoxelScene) -> dict[int, int]:
    """{moving object: voxels of the static scene, above the ground, in which it has points on some frame}."""
    static = voxel_keys((scene.static.cells[~scene.static.is_ground] + 0.5) * scene.voxel_m, scene.voxel_m)
    static.sort()
    left = {}
    for masklet in drive.masklets:
        if not _moves(drive, masklet):
            continue
        points_m = [
            drive.clip.lidar_SE3_lidar(0, frame_index).apply(drive.clip.frames[frame_index].load_sweep().points_m[masks.lidar_mask])
            for frame_index, masks in masklet.masks.items()
        ]
        keys = np.unique(voxel_keys(np.concatenate(points_m), scene.voxel_m))
        left[masklet.object_id] = int((rows_of(keys, static) >= 0).sum())
    return left


def _moves(drive: SyntheticDrive, masklet: Masklet) -> bool:
    ends = [
        drive.clip.lidar_SE3_lidar(0, frame_index).apply(np.array(masklet.cuboids[frame_index].center_m))
        for frame_index in (min(masklet.cuboids), max(masklet.cuboids))
    ]
    return float(np.linalg.norm((ends[1] - ends[0])[:2])) > MOVING_M


class _Counts:
    """Points of one object over the clip."""

    def __init__(self) -> None:
        self.points = self.projected = self.both = self.most = 0

    def add(self, own: BoolArray, projected: BoolArray) -> None:
        count = int(own.sum())
        self.points += count
        self.most = max(self.most, count)
        self.projected += int(projected.sum())
        self.both += int((own & projected).sum())


def _projected(drive: SyntheticDrive, source: WornMasklets, scene: FrameScene, frame_index: int) -> tuple[NDArray[np.int64], BoolArray]:
    """The object that the images' own masks give each point, 0 for none, and which points a camera sees."""
    object_of_point = np.zeros(len(scene), dtype=np.int64)
    seen = np.zeros(len(scene), dtype=np.bool_)
    for name, camera in drive.clip.cameras.items():
        pixels, _, inside = camera.project(scene.points_m)
        rows = np.flatnonzero(inside & scene.valid)
        seen[rows] = True
        columns, lines = pixels[rows].astype(np.int64).T
        tracks = source.tracks_in(frame_index, name)[lines, columns]
        named = np.array([0 if track == 0 else source.object_of(name, int(track)) for track in np.unique(tracks)], dtype=np.int64)
        objects = named[np.searchsorted(np.unique(tracks), tracks)]
        object_of_point[rows] = np.where(objects > 0, objects, object_of_point[rows])
    return object_of_point, seen


def _images(
    drive: SyntheticDrive, masklet: Masklet, scene: FrameScene, frame_index: int
) -> Iterable[tuple[int, float, Mapping[int, float]]]:
    """Of each image that shows the masklet: its points there, how far they agree with its mask, and the mask's IoU with exact ones."""
    masks = masklet.masks[frame_index]
    assert isinstance(masks.camera_masks, CameraMasks)
    for name in masks.camera_masks.seen_by:
        view = scene.view(drive.clip.cameras[name])
        rows = np.flatnonzero(view.visible & scene.is_object)
        columns, lines = view.pixels[rows].astype(np.int64).T
        mask = masks.camera_masks[name]
        on_mask, own = mask[lines, columns], masks.lidar_mask[rows]
        exact_ious = {}
        for exact in drive.masklets:
            exact_masks = exact.masks.get(frame_index)
            if exact_masks is not None and (exact_mask := exact_masks.camera_masks[name]).sum() >= 100 and (exact_mask & mask).any():
                exact_ious[exact.object_id] = float((exact_mask & mask).sum() / (exact_mask | mask).sum())
        yield int(own.sum()), float((on_mask & own).sum() / max(1, (on_mask | own).sum())), exact_ious


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0
