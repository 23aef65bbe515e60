"""The whole way: masklets of sweeps and images, a 4D reconstruction, votes, and back to every sensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from sam4d.cuboids import fit_cuboids_together
from sam4d.data_engine.fusion import FusedObject, count_votes, fuse
from sam4d.data_engine.masklet_source import KnownMasklets, MaskletSource
from sam4d.data_engine.pose_check import check_poses
from sam4d.data_engine.reconstruction import Body, reconstruct
from sam4d.data_engine.tracks_in_images import follow_in_images
from sam4d.data_engine.transfer import masklets_of
from sam4d.predictor import Predictor
from sam4d.proposals import propose_masklets
from sam4d.structures import LIDAR, Clip, Masklet

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with (step, done, total)."""

MOST_OBJECTS = 150


def generate_masklets(
    clip: Clip, predictor: Predictor, labels: Sequence[str], source: MaskletSource | None = None, progress: Progress | None = None
) -> list[Masklet]:
    """All objects of a drive with their masks in all sensors and their cuboids, best first; nobody clicks.

    Args:
        predictor: finds objects in the sweeps, and masks in the images where there is no `source`.
        labels: the project's own; an object that the source does not name gets the one of its size.
        source: image masklets from elsewhere.

    Raises:
        InputError: a frame without an ego pose, or poses that do not fit the sweeps.
    """
    report = progress or (lambda step, done, total: None)
    check_poses(clip)
    searched = clip if source is None else _without_cameras(clip)
    found = propose_masklets(predictor.open(searched), labels, lambda done, total: report("looking for objects", done, total), MOST_OBJECTS)
    own_masks = source is None
    if source is None:
        source, bodies = KnownMasklets(clip, found), tuple(Body.of(masklet) for masklet in found)
    else:
        followed = follow_in_images(found, clip, source, lambda done, total: report("comparing sweeps and images", done, total))
        found, bodies = list(followed.masklets), followed.bodies
    scene = reconstruct(clip, bodies, progress=lambda done, total: report("building the scene", done, total))
    votes = count_votes(scene, source, found, lambda done, total: report("asking the images", done, total))
    named = {masklet.object_id: masklet.label for masklet in found}
    objects = sorted(fuse(scene, source, votes, own_masks=own_masks), key=lambda fused: -fused.score)
    objects = [replace(fused, label=fused.label or _label_in_sweeps(fused, named, labels)) for fused in objects]
    masklets = masklets_of(
        objects, scene, source, predictor.open(clip), found, lambda done, total: report("bringing objects back", done, total)
    )
    cuboids = fit_cuboids_together(masklets, clip)
    return [
        replace(masklet, cuboids={frame: cuboid for frame, cuboid in enumerate(fitted) if cuboid is not None})
        for masklet, fitted in zip(masklets, cuboids, strict=True)
    ]


def _label_in_sweeps(fused: FusedObject, named: Mapping[int, str], labels: Sequence[str]) -> str:
    return next((named[track] for sensor, track in fused.tracks if sensor == LIDAR), labels[-1])


def _without_cameras(clip: Clip) -> Clip:
    return replace(clip, cameras={}, frames=tuple(replace(frame, load_images={}) for frame in clip.frames))
