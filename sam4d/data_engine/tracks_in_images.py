"""What the images' tracks say of objects found in the sweeps: where one of those jumped to another object, and what none of them shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sam4d.cuboids import fit_cuboids_together
from sam4d.data_engine.bodies import Body, carried_on
from sam4d.data_engine.masklet_source import MaskletSource
from sam4d.geometric.connectivity import connected_groups
from sam4d.geometric.scene import FrameScene, prepare_frame
from sam4d.geometry import BoolArray
from sam4d.object_kinds import kind_of_label
from sam4d.structures import Clip, Cuboid, Masklet, ObjectMasks

CameraTrack: TypeAlias = tuple[str, int]
Rows: TypeAlias = NDArray[np.int64]

LEAST_POINTS = 5
"""On one frame, with which points say whose they are."""
LEADING_SHARE = 0.5
"""Of an object's points that a camera sees: what the track that it follows must have."""
LEAST_FRAMES = 3
"""On which an image's track must have points to be an object that the sweeps missed."""
HELD_SHARE = 0.5
"""Of the points on a track's mask in one image, those that an object must have to hold it."""
LOST_SHARE = 0.25
"""Of an object's points that a camera sees: with fewer on its track's mask it has lost it."""
COMPANION_FRAMES = 0.5
"""Of the frames between the first and the last on which an object holds another track too: with more they were followed as one."""
LOST_FRAMES = 4
"""After so many, what an object goes on as must be on its track's mask on some frame."""
CHANGED_FRAMES = 0.25
"""Of an object's frames: with more of them lost to others or found by images, its cuboids were fitted to something else."""
LARGE_PIECE = 0.25
"""Of the points of the largest piece on a mask."""
GAP_M, GAP_PER_METRE = 0.4, 0.012


@dataclass(frozen=True, eq=False)
class Followed:
    """masklets: those found in the sweeps, without what the images say is another object. bodies: these, with the images' points, and what
    only images show."""

    masklets: tuple[Masklet, ...]
    bodies: tuple[Body, ...]


def follow_in_images(
    found: Sequence[Masklet], clip: Clip, source: MaskletSource, progress: Callable[[int, int], None] | None = None
) -> Followed:
    """Compare objects found in the sweeps with the tracks of the images.

    A person is followed with ease into the car beside it, or together with it, where only points are known; its images do not make
    this mistake. So an object is the one track, per camera, that it follows most of the time: frames on which it has gone over to
    another are taken away, and those on which it holds two.

    Args:
        found: objects with points and cuboids.
        progress: called with (frames done, frames in all).
    """
    report = progress or (lambda done, total: None)
    looks: dict[int, list[_Look]] = {masklet.object_id: [] for masklet in found}
    pieces: dict[CameraTrack, dict[int, Rows]] = {}
    shown: dict[CameraTrack, dict[int, Rows]] = {}
    sizes = []
    for frame_index in range(len(clip)):
        scene = prepare_frame(clip, frame_index)
        sizes.append(len(scene))
        for camera in scene.cameras:
            rows, tracks = _tracked_points(scene, clip, camera, source)
            for masklet in found:
                masks = masklet.masks.get(frame_index)
                own = np.flatnonzero(masks.lidar_mask[rows]) if masks is not None else rows[:0]
                if len(own):
                    looks[masklet.object_id].append(_Look(frame_index, camera, len(own), _counts(tracks[own]), _counts(tracks)))
            for track in np.unique(tracks[tracks > 0]):
                largest, large = _large_pieces(scene, rows[tracks == track])
                if len(largest) >= LEAST_POINTS:
                    pieces.setdefault((camera, int(track)), {})[frame_index] = largest
                    shown.setdefault((camera, int(track)), {})[frame_index] = large
        report(frame_index + 1, len(clip))
    kept = []
    follower: dict[CameraTrack, tuple[int, int]] = {}
    for masklet in found:
        tracks_followed = _followed(looks[masklet.object_id])
        kept.append(_named(_one_track(masklet, looks[masklet.object_id], tracks_followed), tracks_followed, source))
        for camera, track in tracks_followed.items():
            points = sum(look.own.get(track, 0) for look in looks[masklet.object_id] if look.camera == camera)
            follower[camera, track] = max(follower.get((camera, track), (0, 0)), (points, masklet.object_id))
    filling: dict[int, dict[int, Rows]] = {masklet.object_id: {} for masklet in kept}
    more: dict[int, dict[int, Rows]] = {masklet.object_id: {} for masklet in kept}
    alone: list[Masklet] = []
    for (camera, track), by_frame in pieces.items():
        if (camera, track) in follower:
            object_id = follower[camera, track][1]
            _add(filling[object_id], by_frame)
            _add(more[object_id], shown[camera, track])
        elif len(by_frame) >= LEAST_FRAMES:
            object_id = max(more, default=0) + 1
            masks_alone = {frame: _masks(object_id, frame, piece, sizes[frame]) for frame, piece in sorted(by_frame.items())}
            alone.append(Masklet(object_id, source.label_of(camera, track), masks_alone))
            more[object_id] = shown[camera, track]
    filled = [_with_more(masklet, filling[masklet.object_id], sizes) for masklet in kept]
    return Followed(tuple(kept), _bodies(filled, found, alone, more, clip))


@dataclass(frozen=True, eq=False)
class _Look:
    """An object's points that one image shows: how many, how many of them lie on each track's mask, and how many points do at all."""

    frame_index: int
    camera: str
    count: int
    own: Mapping[int, int]
    all: Mapping[int, int]

    @property
    def held(self) -> list[int]:
        """The tracks of which it has most: a mask that runs over from a neighbour has most of its points there."""
        return [track for track, count in self.own.items() if count >= max(LEAST_POINTS, HELD_SHARE * self.all[track])]

    @property
    def leading(self) -> int:
        """The track that most of the points lie on, 0 for none."""
        track = max(self.held, key=lambda track: self.own[track], default=0)
        return track if track and self.own[track] >= LEADING_SHARE * self.count else 0

    def is_elsewhere(self, track: int) -> bool:
        """Whether the track has a mask here, and the object is not on it, or is on another's."""
        beside = self.all.get(track, 0) >= LEAST_POINTS and track not in self.held and self.own.get(track, 0) < LOST_SHARE * self.count
        return beside or self.leading not in (0, track)


def _counts(tracks: NDArray[np.int32]) -> dict[int, int]:
    values, counts = np.unique(tracks[tracks > 0], return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def _followed(looks: Sequence[_Look]) -> dict[str, int]:
    """{camera: track} that leads on most frames. A track of one image alone says nothing of the others."""
    shown = Counter((look.camera, track) for look in looks for track in look.all)
    leading: dict[str, Counter[int]] = {}
    for look in looks:
        if look.leading and shown[look.camera, look.leading] > 1:
            leading.setdefault(look.camera, Counter())[look.leading] += 1
    return {camera: counts.most_common(1)[0][0] for camera, counts in leading.items()}


def _one_track(masklet: Masklet, looks: Sequence[_Look], followed: Mapping[str, int]) -> Masklet:
    """An object found in the sweeps on the frames on which it is its own track's, and that alone."""
    companions: dict[CameraTrack, list[int]] = {}
    gone: set[int] = set()
    seen: set[int] = set()
    for look in looks:
        own_track = followed.get(look.camera)
        if own_track is None:
            continue
        if look.is_elsewhere(own_track):
            gone.add(look.frame_index)
        elif look.leading == own_track:
            seen.add(look.frame_index)
        for track in look.held:
            if track != own_track:
                companions.setdefault((look.camera, track), []).append(look.frame_index)
    for frames in companions.values():
        between = {frame for frame in masklet.masks if frames[0] <= frame <= frames[-1]}
        if len(frames) >= max(LEAST_FRAMES, COMPANION_FRAMES * len(between)):
            gone |= between
    if seen:
        stretches = _stretches(sorted(masklet.masks.keys() - gone))
        gone.update(*(stretch for stretch in stretches if seen.isdisjoint(stretch)))
    masks = {frame: each for frame, each in masklet.masks.items() if frame not in gone}
    return replace(masklet, masks=masks, cuboids={frame: cuboid for frame, cuboid in masklet.cuboids.items() if frame in masks})


def _stretches(frames: Sequence[int]) -> list[list[int]]:
    """Frames, ascending, cut where an object was lost for long: it may have been found again as another."""
    stretches: list[list[int]] = []
    for frame in frames:
        if stretches and frame - stretches[-1][-1] < LOST_FRAMES:
            stretches[-1].append(frame)
        else:
            stretches.append([frame])
    return stretches


def _named(masklet: Masklet, followed: Mapping[str, int], source: MaskletSource) -> Masklet:
    """By what its images call it, where that is another kind of thing: points show little of a truck that comes ahead."""
    names = Counter(source.label_of(camera, track) for camera, track in followed.items())
    kinds = [name for name, _ in names.most_common() if kind_of_label(name)]
    return replace(masklet, label=kinds[0]) if kinds and kind_of_label(kinds[0]) != kind_of_label(masklet.label) else masklet


def _bodies(
    filled: Sequence[Masklet], found: Sequence[Masklet], alone: Sequence[Masklet], more: Mapping[int, Mapping[int, Rows]], clip: Clip
) -> tuple[Body, ...]:
    """Cuboids are fitted anew where it was another object on many frames, or has another name; else a frame that images fill lies between
    its neighbours."""
    refitted = [*(after for after, before in zip(filled, found, strict=True) if _was_another(after, before)), *alone]
    fitted = {
        masklet.object_id: {frame: cuboid for frame, cuboid in enumerate(cuboids) if cuboid is not None}
        for masklet, cuboids in zip(refitted, fit_cuboids_together(refitted, clip), strict=True)
    }
    cuboids = {masklet.object_id: fitted.get(masklet.object_id) or _between(masklet, clip) for masklet in (*filled, *alone)}
    masks: dict[int, dict[int, BoolArray]] = {object_id: {} for object_id in cuboids}
    for frame_index in range(len(clip)):
        points_m = clip.frames[frame_index].load_sweep().points_m
        for masklet in (*filled, *alone):
            cuboid = cuboids[masklet.object_id].get(frame_index)
            if cuboid is None or frame_index not in masklet.masks:
                continue
            mask = masklet.masks[frame_index].lidar_mask.copy()
            rows = more.get(masklet.object_id, {}).get(frame_index, np.zeros(0, dtype=np.int64))
            away_m = np.linalg.norm(points_m[rows, :2] - np.array(cuboid.center_m[:2]), axis=1)
            mask[rows[away_m < cuboid.size_lwh_m[0]]] = True
            masks[masklet.object_id][frame_index] = mask
    return tuple(Body(masklet.object_id, cuboids[masklet.object_id], masks[masklet.object_id]) for masklet in (*filled, *alone))


def _was_another(after: Masklet, before: Masklet) -> bool:
    if after.label != before.label:
        return True
    lost = [frame for frame in before.masks if frame not in after.cuboids]
    gained = [frame for frame in after.masks if frame not in after.cuboids]
    return len({*lost, *gained}) > CHANGED_FRAMES * len(after.masks)


def _between(masklet: Masklet, clip: Clip) -> dict[int, Cuboid]:
    """Its cuboids, those of frames that have points and none continued from the others."""
    if len(masklet.cuboids) < 2:
        return dict(masklet.cuboids)
    continued = carried_on(Body(masklet.object_id, masklet.cuboids), clip).cuboids
    return {frame: cuboid for frame, cuboid in sorted(continued.items()) if frame in masklet.masks}


def _tracked_points(scene: FrameScene, clip: Clip, camera: str, source: MaskletSource) -> tuple[Rows, NDArray[np.int32]]:
    """The points above ground that a camera sees, and the track that each lies on, 0 for none."""
    view = scene.view(clip.cameras[camera])
    rows = np.flatnonzero(view.visible & scene.is_object)
    columns, lines = view.pixels[rows].astype(np.int64).T
    return rows, source.tracks_in(scene.frame_index, camera)[lines, columns]


def _large_pieces(scene: FrameScene, rows: Rows) -> tuple[Rows, Rows]:
    """Of the points on a mask: the largest piece that hangs together, and all large ones. The largest is the object; of a truck that
    comes ahead, cab and body hang apart, but so does what a mask shows past the edges of a thing."""
    if not len(rows):
        return rows, rows
    points = scene.points_m[rows]
    group = connected_groups(points / (GAP_M + GAP_PER_METRE * np.median(np.linalg.norm(points, axis=1))))
    count = np.bincount(group)
    return rows[group == count.argmax()], rows[(count >= LARGE_PIECE * count.max())[group]]


def _add(rows: dict[int, Rows], others: Mapping[int, Rows]) -> None:
    for frame_index, other in others.items():
        rows[frame_index] = np.union1d(rows[frame_index], other) if frame_index in rows else other


def _with_more(masklet: Masklet, more: Mapping[int, Rows], sizes: Sequence[int]) -> Masklet:
    """With the images' points on the frames that have none."""
    missing = {frame: _masks(masklet.object_id, frame, rows, sizes[frame]) for frame, rows in more.items() if frame not in masklet.masks}
    return replace(masklet, masks=dict(sorted({**masklet.masks, **missing}.items())))


def _masks(object_id: int, frame_index: int, rows: Rows, size: int) -> ObjectMasks:
    mask = np.zeros(size, dtype=np.bool_)
    mask[rows] = True
    return ObjectMasks(object_id, frame_index, {}, mask, 1.0)
