"""A drive without ego poses, or with poses that are wrong: each frame is a scene of its own, and objects are joined over the frames by what
follows them, the image masklets' tracks and the engine's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations

from sam4d.data_engine.fusion import FusedObject, Track, count_votes, fuse
from sam4d.data_engine.generate import Progress, find_masklets, label_in_sweeps, with_cuboids
from sam4d.data_engine.kept_work import KeptWork, NothingKept
from sam4d.data_engine.masklet_source import KnownMasklets, MaskletSource
from sam4d.data_engine.reconstruction import Reconstruction, reconstruct
from sam4d.data_engine.source_window import SourceWindow
from sam4d.data_engine.transfer import masklets_of
from sam4d.predictor import Predictor
from sam4d.structures import Clip, Masklet, ObjectMasks


def generate_masklets_per_frame(
    clip: Clip,
    predictor: Predictor,
    labels: Sequence[str],
    source: MaskletSource | None = None,
    progress: Progress | None = None,
    kept: KeptWork | None = None,
) -> list[Masklet]:
    """As `generate.generate_masklets`, of a clip whose ego poses, if it has any, are not looked at.

    What one frame does not show, no other adds: points and masks agree, but neither is completed from other frames, and nothing that a
    moving thing hides is known to be there.
    """
    report = progress or (lambda step, done, total: None)
    kept = kept or NothingKept()
    clip = without_poses(clip)
    found = find_masklets(clip, predictor, labels, source, report, kept)
    own_masks = source is None
    source = source or KnownMasklets(clip, found)
    named = {masklet.object_id: masklet.label for masklet in found}
    moments = []
    for frame_index in range(len(clip)):
        moments.append(_moment(clip, frame_index, found, source, own_masks=own_masks))
        report("asking the images", frame_index + 1, len(clip))
    numbers = joined_over_frames([moment.objects for moment in moments])
    shown: dict[int, dict[int, ObjectMasks]] = {}
    names: dict[int, Counter[str]] = {}
    for frame_index, (moment, numbers_here) in enumerate(zip(moments, numbers, strict=True)):
        objects = [replace(fused, label=fused.label or label_in_sweeps(fused, named, labels)) for fused in moment.objects]
        window = SourceWindow(source, frame_index)
        one_frame = moment.scene.clip
        make = partial(masklets_of, objects, moment.scene, window, predictor.open(one_frame))
        for masklet in kept.masklets(f"frame-{frame_index:06d}", one_frame, make):
            number = numbers_here[masklet.object_id - 1]
            for masks in masklet.masks.values():
                shown.setdefault(number, {})[frame_index] = replace(masks, frame_index=frame_index)
                names.setdefault(number, Counter())[masklet.label] += 1
        report("bringing objects back", frame_index + 1, len(clip))
    masklets = [Masklet(number, names[number].most_common(1)[0][0], masks) for number, masks in shown.items()]
    masklets.sort(key=lambda masklet: -masklet.score)
    return with_cuboids([_numbered(masklet, object_id) for object_id, masklet in enumerate(masklets, start=1)], clip)


def without_poses(clip: Clip) -> Clip:
    return replace(clip, frames=tuple(replace(frame, world_SE3_lidar=None) for frame in clip.frames))


def joined_over_frames(frames: Sequence[Sequence[FusedObject]]) -> list[list[int]]:
    """Which objects of different frames are the same one: a number for each object of each frame.

    Tracks that are one object on most frames are joined first, and never two that are different objects on one frame.
    """
    places: dict[Track, dict[int, int]] = {}
    together: Counter[tuple[Track, Track]] = Counter()
    for frame_index, objects in enumerate(frames):
        for index, fused in enumerate(objects):
            for track in fused.tracks:
                places.setdefault(track, {})[frame_index] = index
            together.update(combinations(sorted(fused.tracks), 2))
    group = {track: _Group(dict(where), [track]) for track, where in places.items()}
    for (one, other), _ in together.most_common():
        first, second = group[one], group[other]
        if first is second or not first.fits(second):
            continue
        first.places |= second.places
        first.tracks += second.tracks
        group |= dict.fromkeys(second.tracks, first)
    numbers: dict[int, int] = {}

    def number_of(fused: FusedObject) -> int:
        # Of two as long the one that has stood for an object before.
        longest = max((group[track] for track in fused.tracks), key=lambda each: (len(each.places), id(each) in numbers))
        return numbers.setdefault(id(longest), len(numbers) + 1)

    return [[number_of(fused) for fused in objects] for objects in frames]


@dataclass
class _Group:
    """Tracks that are one object. places: {frame: which of the frame's objects}."""

    places: dict[int, int]
    tracks: list[Track]

    def fits(self, other: _Group) -> bool:
        return all(self.places[frame] == other.places[frame] for frame in self.places.keys() & other.places.keys())


@dataclass(frozen=True, eq=False)
class _Moment:
    """One frame as a scene of its own."""

    scene: Reconstruction
    objects: tuple[FusedObject, ...]


def _moment(clip: Clip, frame_index: int, found: Sequence[Masklet], source: MaskletSource, *, own_masks: bool) -> _Moment:
    scene = reconstruct(clip.window(frame_index, 1), [])
    window = SourceWindow(source, frame_index)
    votes = count_votes(scene, window, list(_on(frame_index, found)))
    return _Moment(scene, tuple(fuse(scene, window, votes, own_masks=own_masks)))


def _on(frame_index: int, found: Sequence[Masklet]) -> Iterator[Masklet]:
    """What was found in the sweeps, on one frame alone, which is frame 0."""
    for masklet in found:
        masks = masklet.masks.get(frame_index)
        if masks is not None:
            yield replace(masklet, masks={0: replace(masks, frame_index=0)}, cuboids={})


def _numbered(masklet: Masklet, object_id: int) -> Masklet:
    masks = {frame_index: replace(masks, object_id=object_id) for frame_index, masks in masklet.masks.items()}
    return replace(masklet, object_id=object_id, masks=masks)
