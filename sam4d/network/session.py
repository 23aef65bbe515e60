"""Objects being segmented and followed in one clip by the SAM4D network (arXiv 2506.21547), on rigs of one camera and of several.

With one camera this is what the released network's own session does. The released weights know one camera: on a rig every camera is a
pass of its own over the shared sweep, with memories of its own. LiDAR logits are fused over the passes, and an object that was clicked
in one camera reaches another one, at once or when it comes into its view, by way of its points.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sam4d.geometry import BoolArray, Float64Array
from sam4d.modeling.encoded_frame import ConditionedFeatures, Decoded
from sam4d.modeling.memory import FrameMemory
from sam4d.modeling.memory_recall import PROMPTED_WITHIN, Recall
from sam4d.modeling.prompt_encoder import PromptPoints
from sam4d.modeling.sam4d import Sam4D
from sam4d.network.asked_passes import Clicks, asked_passes
from sam4d.network.encoded_clip import EncodedClip, FrameOfClip, Network, fused_logits
from sam4d.network.free_memory import give_back_free_memory
from sam4d.network.kept_apart import keep_apart
from sam4d.network.masks import filled_masks, object_masks, sample_of, spread_points
from sam4d.network.tracked_object import Basis, FrameAnswer, TrackedObject, frames_of
from sam4d.prompt_checks import check_prompts, needs_a_beginning, no_such_object, pass_frames, says_where
from sam4d.session import empty_masks
from sam4d.structures import LIDAR, BoxPrompt, Clip, Float32Array, FrameMasks, MaskPrompt, ObjectMasks, PointPrompt, Prompt

POINTS_SEEN = 3
"""A camera that sees fewer of an object's points does not show it."""

TIDY_EVERY = 4
"""Frames that are followed before memory is tidied."""

OBJECTS_AT_ONCE = 8
"""Objects in one batch; more take their turns, so that memory is bounded."""


@dataclass(frozen=True, eq=False)
class _Following:
    """One object on its way to a frame: by pass, what it looks at; and what its answer there will be made from."""

    object_id: int
    recalls: Mapping[str, Recall]
    basis: Basis


@dataclass(frozen=True, eq=False)
class _Told:
    """What the passes of other cameras need to know: the clicks, what these correct, and how a pass sees the frame."""

    clicks: Clicks
    standing: FrameAnswer | None
    features: Callable[[str], ConditionedFeatures]


class NetworkSession:
    """Implements `predictor.Session`; for one thread at a time.

    What is remembered is bounded whatever the clip's length: prompted frames, the frames that attention reaches at the moment, and
    `memory_bytes` of other tracked frames. A pass over a frame that was forgotten follows the object there again.
    """

    def __init__(self, network: Network, encoded: EncodedClip, memory_bytes: int) -> None:
        self._network = network
        self._encoded = encoded
        self._memory_bytes = memory_bytes
        self._objects: dict[int, TrackedObject] = {}
        self._versions = itertools.count(1)
        self._steps = 0

    @property
    def clip(self) -> Clip:
        return self._encoded.clip

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Ascending."""
        return tuple(sorted(self._objects))

    def add_prompt(self, prompt: Prompt | Sequence[Prompt], *, replace: bool = False) -> ObjectMasks:
        """Segment one object on one frame; see `predictor.Session.add_prompt`. Nothing changes where it raises.

        A mask begins the frame anew; clicks and boxes refine what stands there.

        Raises:
            InputError: see the protocol; also an image or sweep that the network cannot use.
            MemoryError: the device has too little memory for the frame.
        """
        with self._network.computing() as model:
            given = check_prompts(prompt, self.clip, self._encoded.point_count)
            object_id, frame_index = given[0].object_id, given[0].frame_index
            known = self._objects.get(object_id) or TrackedObject()
            masks = [each for each in given if isinstance(each, MaskPrompt)]
            clicks = [each for each in given if not isinstance(each, MaskPrompt)]
            earlier = () if replace or masks else known.prompts.get(frame_index, ())
            standing = known.tracked.get(frame_index) if replace else known.standing(frame_index)
            if masks:
                standing = self._answer_masks(model, masks)
            elif standing is None and not any(says_where(each) for each in (*earlier, *clicks)):
                if not known.prompted:
                    raise needs_a_beginning(object_id, frame_index)
                standing = self._glimpse(model, known, object_id, frame_index)
            if clicks:
                all_clicks = [each for each in (*earlier, *clicks) if not isinstance(each, MaskPrompt)]
                answer = self._answer_clicks(model, known, all_clicks, standing, anew=bool(masks) or (replace and standing is None))
            else:
                assert standing is not None
                answer = standing
        self._objects[object_id] = known
        known.prompts[frame_index] = (*earlier, *given)
        known.waiting[frame_index] = answer
        return answer.masks

    def propagate(
        self, start: int = 0, stop: int | None = None, *, reverse: bool = False, object_ids: Collection[int] | None = None
    ) -> Iterator[FrameMasks]:
        """Follow objects, lazily, `start` first; see `predictor.Session.propagate`.

        An answer is made anew only where something that it rests on has changed.

        Raises:
            InputError: `start` outside the clip; while it goes, a frame that the network cannot use.
            MemoryError: while it goes, the device has too little memory; all answers so far stand.
        """
        frames = pass_frames(start, stop, len(self.clip), reverse=reverse)
        return (self._frame_masks(frame_index, reverse, object_ids) for frame_index in frames)

    def remove_object(self, object_id: int) -> None:
        """Raises InputError where there is no such object."""
        if object_id not in self._objects:
            raise no_such_object(object_id, self.object_ids)
        del self._objects[object_id]

    def prompts_for(self, object_id: int, frame_index: int, lidar_mask: BoolArray) -> tuple[Prompt, ...]:
        """Clicks on three of the points, and a box around them in the camera that shows most of them, where one does."""
        frame = self._encoded.frame(frame_index)
        points_m = frame.points_m[lidar_mask[frame.finite]]
        clicks = PointPrompt(object_id, frame_index, LIDAR, *_as_clicks(spread_points(points_m)))
        boxes = []
        for name in frame.camera_names:
            pixels, _, visible = frame.cameras[name].project(points_m)
            if visible.sum() >= POINTS_SEEN and (np.ptp(pixels[visible], axis=0) >= 1).all():
                boxes.append((int(visible.sum()), name, [*pixels[visible].min(axis=0), *pixels[visible].max(axis=0)]))
        if not boxes:
            return (clicks,)
        _, camera, box = max(boxes)
        return clicks, BoxPrompt(object_id, frame_index, camera, box)

    def _frame_masks(self, frame_index: int, reverse: bool, object_ids: Collection[int] | None) -> FrameMasks:
        wanted = [object_id for object_id in self.object_ids if object_ids is None or object_id in object_ids]
        with self._network.computing() as model:
            self._settle(model, wanted)
            following = []
            for object_id in wanted:
                known = self._objects[object_id]
                if frame_index in known.conditioning:
                    known.passed[frame_index] = reverse
                elif known.source(frame_index, reverse=reverse) is not None:
                    self._fill_the_way(model, object_id, frame_index, reverse)
                    following.append(object_id)
            self._follow(model, following, frame_index, reverse)
        return FrameMasks(frame_index, {object_id: self._masks_of(object_id, frame_index) for object_id in wanted})

    def _masks_of(self, object_id: int, frame_index: int) -> ObjectMasks:
        answer = self._objects[object_id].standing(frame_index)
        if answer is None:
            return empty_masks(self.clip, object_id, frame_index, self._encoded.point_count(frame_index))
        return answer.masks

    def _settle(self, model: Sam4D, object_ids: Iterable[int]) -> None:
        """Answers to prompts since the last propagation are remembered from now on."""
        for object_id in object_ids:
            known = self._objects[object_id]
            for frame_index in sorted(known.waiting):
                frame = self._encoded.frame(frame_index)
                passes = known.waiting[frame_index].passes
                known.settle(frame_index, {name: model.remember(frame.to_remember(name), decoded) for name, decoded in passes.items()})

    def _fill_the_way(self, model: Sam4D, object_id: int, frame_index: int, reverse: bool) -> None:
        """Follow an object over the frames before this one that it was never followed over, or where that was forgotten."""
        known, step = self._objects[object_id], -1 if reverse else 1
        nearest = frame_index - step
        while known.standing(nearest) is None:
            nearest -= step
        for between in range(nearest + step, frame_index, step):
            self._follow(model, [object_id], between, reverse)

    def _follow(self, model: Sam4D, object_ids: Sequence[int], frame_index: int, reverse: bool) -> None:
        """Objects to a frame without prompts, as their memories say; their answers stand afterwards."""
        self._steps += 1
        due: list[_Following] = []
        for object_id in object_ids:
            known = self._objects[object_id]
            following = self._following(object_id, known, frame_index, reverse)
            for _, recall, _ in following.basis:
                known.used.update(dict.fromkeys(frames_of(recall), self._steps))
            known.used[frame_index] = self._steps
            if frame_index not in known.tracked or known.tracked[frame_index].basis != following.basis:
                due.append(following)
        if due:
            self._encode_for(due, frame_index)
            half = len(due) // 2
            if half:
                both = self._network.both(
                    lambda: self._carry(model, due[:half], frame_index), lambda: self._carry(model, due[half:], frame_index)
                )
                answers = both[0] | both[1]
            else:
                answers = self._carry(model, due, frame_index)
            for object_id, answer in answers.items():
                self._objects[object_id].tracked[frame_index] = answer
        for object_id in object_ids:
            self._objects[object_id].passed[frame_index] = reverse
        self._forget()
        if due and self._steps % TIDY_EVERY == 0:
            give_back_free_memory()

    def _encode_for(self, due: Sequence[_Following], frame_index: int) -> None:
        """Before the work is shared out, so that it is done with all processors."""
        frame = self._encoded.frame(frame_index)
        for camera in sorted({camera for each in due for camera in each.recalls}):
            frame.to_remember(camera)

    def _carry(self, model: Sam4D, due: Sequence[_Following], frame_index: int) -> dict[int, FrameAnswer]:
        """The objects' answers on the frame, and what is remembered of them."""
        frame = self._encoded.frame(frame_index)
        decoded = self._decode_followed(model, frame, due)
        answers = {each.object_id: self._answer(model, each.object_id, frame_index, decoded[each.object_id]) for each in due}
        memories = _remember_together(model, frame, {object_id: answer.passes for object_id, answer in answers.items()})
        return {each.object_id: replace(answers[each.object_id], memories=memories[each.object_id], basis=each.basis) for each in due}

    def _following(self, object_id: int, known: TrackedObject, frame_index: int, reverse: bool) -> _Following:
        """By the passes worth computing: cameras that will see the object where it was, or that showed it just before; at least one."""
        cameras = self._encoded.cameras(frame_index)
        recalls = {name: known.recall(frame_index, name, len(self.clip), reverse=reverse) for name in cameras}
        recalls = {name: recall for name, recall in recalls.items() if recall.memories}
        before = known.standing(frame_index + 1 if reverse else frame_index - 1)
        if before is not None and len(recalls) > 1:
            moved = self.clip.lidar_SE3_lidar(frame_index, before.masks.frame_index).apply(before.points_m)
            shown = before.masks.camera_masks
            expected = [name for name in recalls if (name in shown and shown[name].any()) or cameras[name].project(moved)[2].any()]
            expected = expected or [name for name in recalls if name in before.passes] or list(recalls)[:1]
            recalls = {name: recalls[name] for name in expected}
        return _Following(object_id, recalls, known.basis(recalls))

    def _decode_followed(self, model: Sam4D, frame: FrameOfClip, due: Sequence[_Following]) -> dict[int, dict[str, Decoded]]:
        """By object, what the passes say that look at memories. Objects that look at the same frames go in batches."""
        groups: dict[tuple[str, Recall], list[int]] = defaultdict(list)
        for each in due:
            for camera, recall in each.recalls.items():
                groups[camera, recall].append(each.object_id)
        decoded: dict[int, dict[str, Decoded]] = {each.object_id: {} for each in due}
        for (camera, recall), members in groups.items():
            encoded = frame.encoded(camera)
            nothing_said = model.encode_prompts(encoded, PromptPoints())
            for first in range(0, len(members), OBJECTS_AT_ONCE):
                batch = members[first : first + OBJECTS_AT_ONCE]
                features = self._conditioned(model, frame, camera, recall, [self._objects[object_id] for object_id in batch])
                answers = model.decode(encoded, features, nothing_said, ambiguous=True)
                keep_apart(answers)
                for index, object_id in enumerate(batch):
                    decoded[object_id][camera] = answers.of_object(index)
        return decoded

    def _conditioned(
        self, model: Sam4D, frame: FrameOfClip, camera: str, recall: Recall, objects: Sequence[TrackedObject]
    ) -> ConditionedFeatures:
        memories = {index: FrameMemory.join([known.remembered(index).memories[camera] for known in objects]) for index in frames_of(recall)}
        return model.condition(frame.encoded(camera), recall, memories)

    def _glimpse(self, model: Sam4D, known: TrackedObject, object_id: int, frame_index: int) -> FrameAnswer:
        """An object on a frame that no pass went over, by what is remembered of its prompted frames, to be corrected there."""
        self._settle(model, [object_id])
        nearest = min(known.conditioning, key=lambda prompted: abs(prompted - frame_index))
        reverse = nearest > frame_index
        if abs(nearest - frame_index) > PROMPTED_WITHIN:
            self._fill_the_way(model, object_id, frame_index, reverse)
        self._follow(model, [object_id], frame_index, reverse)
        return known.tracked[frame_index]

    def _answer_clicks(
        self, model: Sam4D, known: TrackedObject, clicks: Clicks, standing: FrameAnswer | None, *, anew: bool
    ) -> FrameAnswer:
        """Clicks and boxes of one object on one frame, all that count there, after the answer that they correct.

        Args:
            anew: the frame is seen as where an object begins, also where a propagation went over it.
        """
        object_id, frame_index = clicks[0].object_id, clicks[0].frame_index
        frame = self._encoded.frame(frame_index)

        def features(camera: str) -> ConditionedFeatures:
            if not anew and frame_index in known.passed:
                recall = known.recall(frame_index, camera, len(self.clip), reverse=known.passed[frame_index])
                if recall.memories:
                    return self._conditioned(model, frame, camera, recall, [known])
            return model.begin(frame.encoded(camera))

        passes: dict[str, Decoded] = {}
        for camera in asked_passes(clicks, frame.cameras):
            points = PromptPoints.of(clicks, camera)
            prompts = model.encode_prompts(frame.encoded(camera), points, *_earlier_logits(standing, camera))
            passes[camera] = model.decode(frame.encoded(camera), features(camera), prompts, ambiguous=points.is_ambiguous)
        told = _Told(clicks, standing, features)
        return self._answer(model, object_id, frame_index, passes, told)

    def _answer_masks(self, model: Sam4D, given: Sequence[MaskPrompt]) -> FrameAnswer:
        """Masks of one object on one frame, as an answer: the masks themselves."""
        object_id, frame_index = given[0].object_id, given[0].frame_index
        frame = self._encoded.frame(frame_index)
        camera_masks, lidar_mask = filled_masks(self.clip, given)
        points = lidar_mask[frame.finite]
        showing = [
            name
            for name in frame.cameras
            if (name in camera_masks and camera_masks[name].any()) or (points & frame.seen(name)).sum() >= POINTS_SEEN
        ]
        passes = {}
        # Where no camera shows it, the LiDAR's memory still needs a pass.
        for name in showing or list(frame.cameras)[:1]:
            camera = frame.cameras[name]
            nothing = np.zeros((camera.height_px, camera.width_px), dtype=np.bool_)
            passes[name] = model.decode_mask(frame.encoded(name), camera_masks.get(name, nothing), points)
        return self._finished(object_id, frame_index, frame, passes)

    def _answer(
        self, model: Sam4D, object_id: int, frame_index: int, passes: Mapping[str, Decoded], told: _Told | None = None
    ) -> FrameAnswer:
        """An answer from what some passes say, and from the other cameras that see the points found, which are told where to look."""
        frame = self._encoded.frame(frame_index)
        if not passes:
            nothing = empty_masks(self.clip, object_id, frame_index, len(frame.finite))
            return FrameAnswer(next(self._versions), nothing, {}, frame.points_m[:0])
        passes = dict(passes)
        logits = fused_logits(frame, [(name, decoded.lidar_logits[0]) for name, decoded in passes.items()])
        found = (logits > 0).cpu().numpy()
        others = [name for name in frame.cameras if name not in passes and (found & frame.seen(name)).sum() >= POINTS_SEEN]
        if others:
            coarse = torch.stack([decoded.lidar_low_res_logits for decoded in passes.values()]).mean(dim=0)
            places = PointPrompt(object_id, frame_index, LIDAR, *_as_clicks(spread_points(frame.points_m[found])))
        for name in others:
            in_lidar = [each for each in told.clicks if each.sensor == LIDAR] if told is not None else []
            camera_logits = _earlier_logits(told.standing if told is not None else None, name)[0]
            prompts = model.encode_prompts(frame.encoded(name), PromptPoints.of([*in_lidar, places], name), camera_logits, coarse)
            features = told.features(name) if told is not None else model.begin(frame.encoded(name))
            passes[name] = model.decode(frame.encoded(name), features, prompts, ambiguous=False)
        return self._finished(object_id, frame_index, frame, passes)

    def _finished(self, object_id: int, frame_index: int, frame: FrameOfClip, passes: Mapping[str, Decoded]) -> FrameAnswer:
        fused = fused_logits(frame, [(name, decoded.lidar_logits[0]) for name, decoded in passes.items()])[None]
        passes = {name: replace(decoded, lidar_logits=fused) for name, decoded in passes.items()}
        points_m = sample_of(frame.points_m[(fused[0] > 0).cpu().numpy()])
        return FrameAnswer(next(self._versions), object_masks(object_id, frame_index, frame, passes), passes, points_m)

    def _forget(self) -> None:
        """Let go of tracked answers that no attention reached lately, the longest unused first, down to what is allowed."""
        tracked = [
            (known.used.get(frame_index, 0), known, frame_index, answer.held_bytes)
            for known in self._objects.values()
            for frame_index, answer in known.tracked.items()
        ]
        total = sum(held for _, _, _, held in tracked)
        for used, known, frame_index, held in sorted(tracked, key=lambda each: each[0]):
            if total <= self._memory_bytes or used == self._steps:
                return
            del known.tracked[frame_index]
            known.passed.pop(frame_index, None)
            total -= held


def _remember_together(model: Sam4D, frame: FrameOfClip, answers: Mapping[int, Mapping[str, Decoded]]) -> dict[int, dict[str, FrameMemory]]:
    """What is remembered of a frame, by object and camera; objects in batches."""
    memories: dict[int, dict[str, FrameMemory]] = {object_id: {} for object_id in answers}
    for camera in frame.cameras:
        members = [object_id for object_id, passes in answers.items() if camera in passes]
        for first in range(0, len(members), OBJECTS_AT_ONCE):
            batch = members[first : first + OBJECTS_AT_ONCE]
            together = model.remember(frame.to_remember(camera), Decoded.join([answers[object_id][camera] for object_id in batch]))
            keep_apart((together.camera, together.lidar))
            for index, object_id in enumerate(batch):
                memories[object_id][camera] = together.of_object(index)
    return memories


def _earlier_logits(standing: FrameAnswer | None, camera: str) -> tuple[Tensor | None, Tensor | None]:
    """What a pass corrects, of the camera and of the LiDAR; of the LiDAR any other pass's where this one was not there."""
    if standing is None or not standing.passes:
        return None, None
    if camera in standing.passes:
        return standing.passes[camera].camera_low_res_logits, standing.passes[camera].lidar_low_res_logits
    return None, next(iter(standing.passes.values())).lidar_low_res_logits


def _as_clicks(points_m: Float32Array) -> tuple[Float64Array, NDArray[np.int64]]:
    return points_m.astype(np.float64), np.ones(len(points_m), dtype=np.int64)
