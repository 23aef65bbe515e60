"""Labelled cuboids, frame by frame, as tracks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from converters.packed_masks import PackedMasks
from sam4d.structures import Cuboid, LabelledCuboid, Masklet


def cuboid_masklets(
    frames: Sequence[Sequence[LabelledCuboid] | None], masks: Mapping[str, PackedMasks] | None = None
) -> tuple[Masklet, ...]:
    """Labelled cuboids by frame -> one masklet per track. A track keeps its name as its number where all are numbers above 0.

    Args:
        masks: of the tracks that have any, by name.
    """
    cuboids: dict[str, dict[int, Cuboid]] = {}
    labels: dict[str, str] = {}
    for frame_index, labelled in enumerate(frames):
        for item in labelled or ():
            cuboids.setdefault(item.track_id, {})[frame_index] = item.cuboid
            labels.setdefault(item.track_id, item.label)
    keep = all(track.isdecimal() and int(track) > 0 and str(int(track)) == track for track in cuboids)
    ids = {track: int(track) if keep else place for place, track in enumerate(cuboids, start=1)}
    shown = masks or {}
    return tuple(
        Masklet(ids[track], labels[track], shown[track].as_object(ids[track]) if track in shown else {}, by_frame)
        for track, by_frame in cuboids.items()
    )
