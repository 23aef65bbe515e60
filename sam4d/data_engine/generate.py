"""The whole way: masklets of sweeps and images, a 4D reconstruction, votes, and back to every sensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

from sam4d.cuboids import fit_cuboids_together
from sam4d.data_engine.bodies import Body
from sam4d.data_engine.fusion import FusedObject, count_votes, fuse
from sam4d.data_engine.kept_work import KeptWork, NothingKept
from sam4d.data_engine.masklet_source import KnownMasklets, MaskletSource
from sam4d.data_engine.pose_check import check_poses
from sam4d.data_engine.reconstruction import reconstruct
from sam4d.data_engine.scene import voxel_scene
from sam4d.data_engine.tracks_in_images import follow_in_images
from sam4d.data_engine.transfer import masklets_of
from sam4d.geometric.predictor import parameters_of
from sam4d.geometry import BoolArray
from sam4d.predictor import Predictor
from sam4d.proposals import propose_masklets
from sam4d.structures import LIDAR, Clip, Masklet, ObjectMasks, VoxelScene

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with (step, done, total)."""

VERSION = "data-engine-0.2.0"

MOST_OBJECTS = 150


def generate_masklets(
    clip: Clip,
    predictor: Predictor,
    labels: Sequence[str],
    source: MaskletSource | None = None,
    progress: Progress | None = None,
    kept: KeptWork | None = None,
    keep_scene: Callable[[VoxelScene], None] | None = None,
) -> list[Masklet]:
    """All objects of a drive with their masks in all sensors and their cuboids, best first; nobody clicks.

    Args:
        predictor: finds objects in the sweeps, and masks in the images where there is no `source`.
        labels: the project's own; an object that the source does not name gets the one of its size.
        source: image masklets from elsewhere.
        kept: what an interrupted run of the same clip, predictor, labels and source has done: the objects found in the sweeps, and
            every frame that objects were brought back to. These are four fifths of the work.
        keep_scene: gets the reconstructed scene, whose objects are numbered as the masklets are.

    Raises:
        InputError: a frame without an ego pose, or poses that do not fit the sweeps.
    """
    report = progress or (lambda step, done, total: None)
    kept = kept or NothingKept()
    check_poses(clip)
    found = find_masklets(clip, predictor, labels, source, report, kept)
    own_masks = source is None
    if source is None:
        source = KnownMasklets(clip, found)
        bodies = tuple(Body(masklet.object_id, masklet.cuboids, _LidarMasks(masklet)) for masklet in found)
    else:
        followed = follow_in_images(found, clip, source, partial(report, "comparing sweeps and images"))
        found, bodies = followed.masklets, followed.bodies
    scene = reconstruct(clip, bodies, progress=partial(report, "building the scene"))
    votes = count_votes(scene, source, found, partial(report, "asking the images"))
    named = {masklet.object_id: masklet.label for masklet in found}
    objects = sorted(fuse(scene, source, votes, own_masks=own_masks), key=lambda fused: -fused.score)
    objects = [replace(fused, label=fused.label or label_in_sweeps(fused, named, labels)) for fused in objects]
    if keep_scene is not None:
        keep_scene(voxel_scene(scene, objects))
    masklets = masklets_of(objects, scene, source, predictor.open(clip), found, partial(report, "bringing objects back"), kept)
    return with_cuboids(masklets, clip)


def find_masklets(
    clip: Clip, predictor: Predictor, labels: Sequence[str], source: MaskletSource | None, report: Progress, kept: KeptWork
) -> Sequence[Masklet]:
    """What the engine finds in the sweeps; in the images as well where no source says what they show."""
    searched = clip if source is None else _without_cameras(clip)
    looking, parameters = partial(report, "looking for objects"), parameters_of(predictor)
    return kept.masklets("objects", searched, lambda: propose_masklets(predictor.open(searched), labels, looking, MOST_OBJECTS, parameters))


def label_in_sweeps(fused: FusedObject, named: Mapping[int, str], labels: Sequence[str]) -> str:
    """What the engine takes it for, by `named` {object found in the sweeps: label}."""
    return next((named[track] for sensor, track in fused.tracks if sensor == LIDAR), labels[-1])


def with_cuboids(masklets: Sequence[Masklet], clip: Clip) -> list[Masklet]:
    return [
        replace(masklet, cuboids={frame: cuboid for frame, cuboid in enumerate(fitted) if cuboid is not None})
        for masklet, fitted in zip(masklets, fit_cuboids_together(masklets, clip), strict=True)
    ]


@dataclass(frozen=True, eq=False)
class _LidarMasks(Mapping[int, BoolArray]):
    """The points of an object on the frames where it has a cuboid, bool (N,), read when asked for: masks that are kept lie on disk."""

    masklet: Masklet

    def __getitem__(self, frame_index: int) -> BoolArray:
        if frame_index not in self.masklet.cuboids:
            raise KeyError(frame_index)
        masks: ObjectMasks = self.masklet.masks[frame_index]
        return masks.lidar_mask

    def __contains__(self, frame_index: object) -> bool:
        return frame_index in self.masklet.cuboids and frame_index in self.masklet.masks

    def __iter__(self) -> Iterator[int]:
        return (frame_index for frame_index in self.masklet.masks if frame_index in self.masklet.cuboids)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _without_cameras(clip: Clip) -> Clip:
    return replace(clip, cameras={}, frames=tuple(replace(frame, load_images={}) for frame in clip.frames))
