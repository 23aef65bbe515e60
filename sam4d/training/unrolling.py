"""A sample through the network as a session does it: objects asked for, followed, corrected, remembered; and what all answers cost."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from sam4d.geometry import BoolArray
from sam4d.modeling.encoded_frame import ConditionedFeatures, Decoded, EncodedFrame
from sam4d.modeling.memory import FrameMemory
from sam4d.modeling.memory_recall import Recall, recall
from sam4d.modeling.prompt_encoder import EncodedPrompts, PromptPoints
from sam4d.modeling.sam4d import Sam4D
from sam4d.structures import LIDAR, BoxPrompt, MaskPrompt, PointPrompt
from sam4d.training.losses import Losses, at_points, camera_truth, mask_losses
from sam4d.training.prompt_sampling import CorrectedFrame, PromptPlan, correct
from sam4d.training.windows import TrainingFrame, TrainingSample


@dataclass(frozen=True, eq=False)
class Unrolled:
    """What the answers to a sample cost, one entry per answer (first ones, followed ones and corrected ones).

    camera: where the camera's truth is known. lidar: of the sweep. Given masks are no answers. camera_ious, lidar_ious: float32 (A,), of
    the answers' masks with the truth, where the object is there. final: by place and the object's index, what stood in the end.
    """

    camera: tuple[Losses, ...]
    lidar: tuple[Losses, ...]
    camera_ious: Tensor
    lidar_ious: Tensor
    final: Mapping[tuple[int, int], Decoded]

    def means(self) -> dict[str, Tensor]:
        """Scalars: "total", which is what is learnt from, the mean over all answers of a sensor, both sensors together; and its parts."""
        means: dict[str, Tensor] = {}
        totals = []
        for sensor, losses in (("camera", self.camera), ("lidar", self.lidar)):
            if losses:
                totals.append(torch.cat([each.total() for each in losses]).mean())
                for part in ("focal", "dice", "iou", "presence"):
                    means[f"{sensor}_{part}"] = torch.cat([getattr(each, part) for each in losses]).mean()
        return {"total": torch.stack(totals).sum(), **means}


@dataclass(eq=False)
class _Followed:
    """An object from where it begins. prompted, tracked: what is remembered, by place."""

    plan: PromptPlan
    prompted: dict[int, FrameMemory] = field(default_factory=dict)
    tracked: dict[int, FrameMemory] = field(default_factory=dict)

    def memory(self, place: int) -> FrameMemory:
        return self.prompted[place] if place in self.prompted else self.tracked[place]


@dataclass(frozen=True, eq=False)
class _Place:
    """A frame of the sample, encoded. camera_truths: float32 (K, L) or None. lidar_truths: float32 (K, N)."""

    index: int
    frame: TrainingFrame
    encoded: EncodedFrame
    camera_truths: Tensor | None
    lidar_truths: Tensor


def unroll(network: Sam4D, sample: TrainingSample, plans: Sequence[PromptPlan], random: Generator, *, through_memory: bool) -> Unrolled:
    """Go over a sample's frames in their order, each object from the frame of its plan on.

    Args:
        random: where corrective clicks are.
        through_memory: whether what a frame's answers cost teaches the frames that are remembered there. Otherwise every frame learns for
            itself, which takes half the time and a fraction of the memory where memories are not learnt.
    """
    return _Unrolling(network, sample, random, through_memory).over(plans)


class _Unrolling:
    def __init__(self, network: Sam4D, sample: TrainingSample, random: Generator, through_memory: bool) -> None:
        self._network = network
        self._sample = sample
        self._random = random
        self._through_memory = through_memory
        self._camera_losses: list[Losses] = []
        self._lidar_losses: list[Losses] = []
        self._camera_ious: list[Tensor] = []
        self._lidar_ious: list[Tensor] = []
        self._final: dict[tuple[int, int], Decoded] = {}

    def over(self, plans: Sequence[PromptPlan]) -> Unrolled:
        objects = [_Followed(plan) for plan in plans]
        for index in range(min((plan.place for plan in plans), default=len(self._sample)), len(self._sample)):
            place = self._encode(index)
            answers = self._follow(place, [each for each in objects if each.plan.place < index])
            answers += [(each, self._begin(place, each)) for each in objects if each.plan.place == index]
            final = [(each, *self._corrected(place, each, answer)) for each, answer in answers]
            self._final |= {(index, each.plan.index): answer for each, answer, _ in final}
            self._remember(place, final)
        ious = [torch.cat(some) if some else torch.zeros(0) for some in (self._camera_ious, self._lidar_ious)]
        return Unrolled(tuple(self._camera_losses), tuple(self._lidar_losses), ious[0], ious[1], self._final)

    def _encode(self, index: int) -> _Place:
        frame, device = self._sample.frames[index], self._network.device
        encoded = self._network.encode_frame(frame.image, frame.camera, frame.points_m, frame.world_SE3_lidar)
        size = encoded.camera.stride4.shape[-1]
        camera_truths = None if frame.camera_truths is None else camera_truth(frame.camera_truths, size, device)
        return _Place(index, frame, encoded, camera_truths, torch.from_numpy(frame.lidar_truths).to(device, torch.float32))

    def _follow(self, place: _Place, objects: Sequence[_Followed]) -> list[tuple[_Followed, Decoded]]:
        """Objects that look at the same frames go together."""
        groups: dict[Recall, list[_Followed]] = defaultdict(list)
        for each in objects:
            groups[self._recall(place, each)].append(each)
        answers = []
        for looked_at, members in groups.items():
            features = self._conditioned(place, looked_at, members)
            prompts = self._network.encode_prompts(place.encoded, PromptPoints())
            decoded = self._answer(place, [each.plan.index for each in members], features, prompts, ambiguous=True)
            answers += [(each, decoded.of_object(row)) for row, each in enumerate(members)]
        return answers

    def _begin(self, place: _Place, known: _Followed) -> Decoded:
        masks = [prompt for prompt in known.plan.prompts if isinstance(prompt, MaskPrompt)]
        if masks:
            given = {prompt.sensor: prompt.mask for prompt in masks}
            return self._network.decode_mask(place.encoded, given[place.frame.camera.name], given[LIDAR])
        points = self._points(place, known, ())
        prompts = self._network.encode_prompts(place.encoded, points)
        return self._answer(place, [known.plan.index], self._network.begin(place.encoded), prompts, ambiguous=points.is_ambiguous)

    def _corrected(self, place: _Place, known: _Followed, answer: Decoded) -> tuple[Decoded, bool]:
        """The answer that stands in the end, and whether prompts made it: those that the object begins with, or clicks."""
        begins = known.plan.place == place.index
        correction = next((each for each in known.plan.corrections if each.place == place.index), None)
        if correction is None:
            return answer, begins
        features = None
        clicks: list[PointPrompt] = []
        for _ in range(correction.click_count):
            click = self._click(place, known, answer, correction)
            if click is None:
                break
            clicks.append(click)
            points = self._points(place, known, clicks)
            prompts = self._network.encode_prompts(
                place.encoded, points, answer.camera_low_res_logits.detach().float(), answer.lidar_low_res_logits.detach().float()
            )
            if features is None:
                seen_anew = begins or not known.prompted
                features = (
                    self._network.begin(place.encoded) if seen_anew else self._conditioned(place, self._recall(place, known), [known])
                )
            answer = self._answer(place, [known.plan.index], features, prompts, ambiguous=points.is_ambiguous)
        return answer, begins or bool(clicks)

    def _click(self, place: _Place, known: _Followed, answer: Decoded, correction: CorrectedFrame) -> PointPrompt | None:
        camera = place.frame.camera
        with torch.no_grad():
            camera_mask = _as_mask(answer.camera_logits(camera.height_px, camera.width_px)[0])
            lidar_mask = _as_mask(answer.lidar_logits[0])
        return correct(self._sample, known.plan, correction, camera_mask, lidar_mask, self._random)

    def _points(self, place: _Place, known: _Followed, clicks: Sequence[PointPrompt]) -> PromptPoints:
        """All that was said on this frame."""
        first = known.plan.prompts if known.plan.place == place.index else ()
        said = [prompt for prompt in first if isinstance(prompt, PointPrompt | BoxPrompt)]
        return PromptPoints.of([*said, *clicks], place.frame.camera.name)

    def _answer(
        self, place: _Place, indices: Sequence[int], features: ConditionedFeatures, prompts: EncodedPrompts, *, ambiguous: bool
    ) -> Decoded:
        """Of the objects of these indices, what the network says; notes what it costs."""
        head = self._network.head
        camera, lidar = head.candidates(place.encoded, features, prompts)
        rows = torch.tensor(indices, device=self._network.device)
        everywhere = torch.ones(len(indices), dtype=torch.bool, device=self._network.device)
        if place.camera_truths is not None:
            losses = mask_losses(camera, place.camera_truths[rows], everywhere, ambiguous=ambiguous)
            self._camera_losses.append(losses)
            self._camera_ious.append(losses.actual_iou[place.camera_truths[rows].any(dim=1)])
        at_sweep = at_points(lidar, place.encoded.lidar.mixing)
        losses = mask_losses(at_sweep, place.lidar_truths[rows], everywhere, ambiguous=ambiguous)
        self._lidar_losses.append(losses)
        self._lidar_ious.append(losses.actual_iou[place.lidar_truths[rows].any(dim=1)])
        return head.decoded(place.encoded, camera, lidar, ambiguous=ambiguous)

    def _recall(self, place: _Place, known: _Followed) -> Recall:
        return recall(place.index, known.prompted.keys(), known.tracked.keys(), len(self._sample))

    def _conditioned(self, place: _Place, looked_at: Recall, members: Sequence[_Followed]) -> ConditionedFeatures:
        frames = sorted({frame for frame, _ in (*looked_at.memories, *looked_at.pointers)})
        memories = {frame: FrameMemory.join([each.memory(frame) for each in members]) for frame in frames}
        with self._memory_gradients():
            return self._network.condition(place.encoded, looked_at, memories)

    def _remember(self, place: _Place, answers: Sequence[tuple[_Followed, Decoded, bool]]) -> None:
        """Given masks are remembered finer than answers, so apart from these."""
        if place.index == len(self._sample) - 1:
            return
        for given in (False, True):
            some = [each for each in answers if (each[1].camera_given_logits is not None) == given]
            if not some:
                continue
            with self._memory_gradients():
                memory = self._network.remember(place.encoded, Decoded.join([answer for _, answer, _ in some]))
            for row, (known, _, prompted) in enumerate(some):
                (known.prompted if prompted else known.tracked)[place.index] = memory.of_object(row)

    def _memory_gradients(self) -> AbstractContextManager[None]:
        return contextlib.nullcontext() if self._through_memory else torch.no_grad()


def _as_mask(logits: Tensor) -> BoolArray:
    return np.asarray((logits > 0).cpu().numpy())
