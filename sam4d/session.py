"""Prompts in, masks out, forwards and backwards: the bookkeeping that every engine shares.

An engine (`TrackingEngine`) knows how to segment one frame and how to carry an object one frame on. What was asked on which
frame, what stands, what must be followed again and from where is decided here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, Protocol, TypeVar

import numpy as np

from sam4d.geometry import BoolArray
from sam4d.prompt_checks import check_prompts, needs_a_beginning, no_such_object, pass_frames, says_where
from sam4d.structures import LIDAR, Clip, FrameMasks, MaskPrompt, ObjectMasks, Prompt, UInt8Array

TrackT = TypeVar("TrackT")


class TrackingEngine(Protocol[TrackT]):
    """What a session asks of an engine that was opened on one clip.

    `TrackT` is the engine's own memory of one object followed in one direction: a motion state, or a network's memory bank.
    Tracks are values: `advance` returns new ones and leaves those it was given as they were.
    """

    def point_count(self, frame_index: int) -> int:
        """Rows of that frame's sweep."""
        ...

    def segment(self, prompts: Sequence[Prompt], tracked: ObjectMasks | None) -> ObjectMasks:
        """One object on one frame, from all its prompts there; `tracked` is what it was followed to before, if anything."""
        ...

    def begin(self, masks: ObjectMasks, earlier: TrackT | None) -> TrackT:
        """A track that sets out from masks that stand. `earlier` followed the same object up to this frame or just before it."""
        ...

    def advance(
        self, tracks: Mapping[int, TrackT], frame_index: int, standing: Mapping[int, ObjectMasks]
    ) -> Mapping[int, tuple[TrackT, ObjectMasks]]:
        """Carry the tracks {object_id: track} to `frame_index`; `standing` holds the objects whose masks there are decided already."""
        ...


@dataclass(frozen=True)
class _Stored:
    """Masks at rest: a sweep's mask takes a bit per point, so that a session of many objects stays small."""

    masks: ObjectMasks
    packed: UInt8Array
    point_count: int

    @classmethod
    def of(cls, masks: ObjectMasks) -> _Stored:
        nothing = np.zeros(0, dtype=np.bool_)
        return cls(replace(masks, lidar_mask=nothing), np.packbits(masks.lidar_mask), len(masks.lidar_mask))

    def restore(self) -> ObjectMasks:
        return replace(self.masks, lidar_mask=np.unpackbits(self.packed, count=self.point_count).astype(np.bool_))


@dataclass
class _Pass(Generic[TrackT]):
    """One object followed in one direction: what it gave so far, and the track at its far end."""

    masks: dict[int, _Stored] = field(default_factory=dict)
    track: tuple[int, TrackT] | None = None


@dataclass
class _TrackedObject(Generic[TrackT]):
    prompts: dict[int, tuple[Prompt, ...]] = field(default_factory=dict)
    corrected: dict[int, _Stored] = field(default_factory=dict)
    """What the object had been followed to where prompts then corrected it: each further prompt there corrects the same."""
    prompted: dict[int, _Stored] = field(default_factory=dict)
    forwards: _Pass[TrackT] = field(default_factory=_Pass)
    backwards: _Pass[TrackT] = field(default_factory=_Pass)

    def passed(self, reverse: bool) -> _Pass[TrackT]:
        return self.backwards if reverse else self.forwards

    def source(self, frame_index: int, reverse: bool) -> int | None:
        """The prompted frame from which `frame_index` is reached in this direction, None where there is none."""
        if reverse:
            return min((frame for frame in self.prompted if frame >= frame_index), default=None)
        return max((frame for frame in self.prompted if frame <= frame_index), default=None)

    def known(self, frame_index: int, reverse: bool | None = None) -> ObjectMasks | None:
        """What stands on the frame: prompted, else followed (in any direction where `reverse` is None)."""
        if frame_index in self.prompted:
            return self.prompted[frame_index].restore()
        for direction in (False, True) if reverse is None else (reverse,):
            if frame_index in self.passed(direction).masks:
                return self.passed(direction).masks[frame_index].restore()
        return None

    def forget_beyond(self, frame_index: int) -> None:
        """New evidence on a frame makes everything that is reached through it worth following again."""
        for reverse in (False, True):
            passed = self.passed(reverse)
            for frame in [frame for frame in passed.masks if (frame <= frame_index if reverse else frame >= frame_index)]:
                del passed.masks[frame]
            if passed.track is not None and (passed.track[0] <= frame_index if reverse else passed.track[0] >= frame_index):
                passed.track = None


class TrackingSession(Generic[TrackT]):
    """Objects being segmented and followed in one clip. Implements `predictor.Session`; for one thread at a time.

    Answers are kept until a prompt of the same object makes them stale, so that asking again costs nothing.
    """

    def __init__(self, clip: Clip, engine: TrackingEngine[TrackT]) -> None:
        self._clip = clip
        self._engine = engine
        self._objects: dict[int, _TrackedObject[TrackT]] = {}

    @property
    def clip(self) -> Clip:
        return self._clip

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Ascending."""
        return tuple(sorted(self._objects))

    def add_prompt(self, prompt: Prompt | Sequence[Prompt], *, replace: bool = False) -> ObjectMasks:
        """Segment one object on one frame; see `predictor.Session.add_prompt`. Nothing changes where it raises InputError."""
        given = check_prompts(prompt, self._clip, self._engine.point_count)
        object_id, frame_index = given[0].object_id, given[0].frame_index
        tracked_object = self._objects.get(object_id) or _TrackedObject[TrackT]()
        earlier = () if replace else tracked_object.prompts.get(frame_index, ())
        tracked = None
        if not replace and frame_index in tracked_object.corrected:
            tracked = tracked_object.corrected[frame_index].restore()
        elif not replace and frame_index not in tracked_object.prompted:
            tracked = tracked_object.known(frame_index)
        if tracked is None and not any(says_where(each) for each in (*earlier, *given)):
            if not tracked_object.prompted:
                raise needs_a_beginning(object_id, frame_index)
            tracked = self._followed_to(object_id, frame_index)
        masks = self._engine.segment((*earlier, *given), tracked)

        self._objects[object_id] = tracked_object
        tracked_object.forget_beyond(frame_index)
        tracked_object.prompts[frame_index] = (*earlier, *given)
        tracked_object.corrected.pop(frame_index, None)
        if tracked is not None:
            tracked_object.corrected[frame_index] = _Stored.of(tracked)
        tracked_object.prompted[frame_index] = _Stored.of(masks)
        return masks

    def propagate(
        self, start: int = 0, stop: int | None = None, *, reverse: bool = False, object_ids: Collection[int] | None = None
    ) -> Iterator[FrameMasks]:
        """Follow objects, lazily, `start` first; see `predictor.Session.propagate`.

        A frame is reached from the nearest prompted frame on the side the pass comes from.
        """
        frames = pass_frames(start, stop, len(self._clip), reverse=reverse)
        return (self._frame_masks(frame_index, reverse, object_ids) for frame_index in frames)

    def remove_object(self, object_id: int) -> None:
        if object_id not in self._objects:
            raise no_such_object(object_id, self.object_ids)
        del self._objects[object_id]

    def prompts_for(self, object_id: int, frame_index: int, lidar_mask: BoolArray) -> tuple[Prompt, ...]:
        """The points as they are: what was found by their geometry is what this engine would say itself."""
        return (MaskPrompt(object_id, frame_index, LIDAR, lidar_mask),)

    def _frame_masks(self, frame_index: int, reverse: bool, object_ids: Collection[int] | None) -> FrameMasks:
        step = -1 if reverse else 1
        standing: dict[int, ObjectMasks] = {}
        tracks: dict[int, TrackT] = {}
        for object_id, tracked_object in self._objects.items():
            if object_ids is not None and object_id not in object_ids:
                continue
            masks = tracked_object.known(frame_index, reverse)
            source = tracked_object.source(frame_index, reverse)
            if masks is None and source is None:
                masks = tracked_object.known(frame_index) or self._nothing(object_id, frame_index)
            if masks is not None:
                standing[object_id] = masks
            elif source is not None:
                tracks[object_id] = self._track_at(object_id, source, frame_index - step, reverse)
        if tracks:
            standing |= self._advance(tracks, frame_index, reverse, standing)
        return FrameMasks(frame_index, {object_id: standing[object_id] for object_id in sorted(standing)})

    def _followed_to(self, object_id: int, frame_index: int) -> ObjectMasks:
        """The object on a frame without prompts, from its nearest prompted frame."""
        nearest = min(self._objects[object_id].prompted, key=lambda frame: abs(frame - frame_index))
        reverse = nearest > frame_index
        track = self._track_at(object_id, nearest, frame_index + 1 if reverse else frame_index - 1, reverse)
        return self._advance({object_id: track}, frame_index, reverse, {})[object_id]

    def _track_at(self, object_id: int, source: int, frame_index: int, reverse: bool) -> TrackT:
        """The object's track at `frame_index`, followed there from what is at hand: its own far end, else the prompted frame `source`."""
        step = -1 if reverse else 1
        tracked_object = self._objects[object_id]
        earlier = tracked_object.passed(reverse).track
        if earlier is not None and (frame_index - earlier[0]) * step >= 0 and (earlier[0] - source) * step >= 0:
            reached, track = earlier
        else:
            before = earlier[1] if earlier is not None and earlier[0] in (source, source - step) else None
            reached, track = source, self._engine.begin(tracked_object.prompted[source].restore(), before)
            tracked_object.passed(reverse).track = (reached, track)
        for frame in range(reached + step, frame_index + step, step):
            self._advance({object_id: track}, frame, reverse, {})
            followed = tracked_object.passed(reverse).track
            assert followed is not None
            track = followed[1]
        return track

    def _advance(
        self, tracks: Mapping[int, TrackT], frame_index: int, reverse: bool, standing: Mapping[int, ObjectMasks]
    ) -> dict[int, ObjectMasks]:
        answers: dict[int, ObjectMasks] = {}
        for object_id, (track, masks) in self._engine.advance(tracks, frame_index, standing).items():
            passed = self._objects[object_id].passed(reverse)
            passed.track = (frame_index, track)
            passed.masks[frame_index] = _Stored.of(masks)
            answers[object_id] = masks
        return answers

    def _nothing(self, object_id: int, frame_index: int) -> ObjectMasks:
        return empty_masks(self._clip, object_id, frame_index, self._engine.point_count(frame_index))


def empty_masks(clip: Clip, object_id: int, frame_index: int, point_count: int) -> ObjectMasks:
    """The object is not there: empty masks for every camera with an image on the frame, score 0."""
    cameras = [clip.cameras[name] for name in clip.frames[frame_index].load_images]
    camera_masks = {camera.name: np.zeros((camera.height_px, camera.width_px), dtype=np.bool_) for camera in cameras}
    return ObjectMasks(object_id, frame_index, camera_masks, np.zeros(point_count, dtype=np.bool_), 0.0)
