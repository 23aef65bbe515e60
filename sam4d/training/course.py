"""What the network learns from: samples of labelled clips by their number, and the held-out ones that it is judged by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.random import Generator, default_rng
from torch import nn

from sam4d.modeling.sam4d import Sam4D
from sam4d.structures import InputError
from sam4d.training.augmentation import augment, draw_augmentation
from sam4d.training.failures import within_memory
from sam4d.training.group import Losses
from sam4d.training.labelled_clip import LabelledClip
from sam4d.training.plan import TrainingPlan
from sam4d.training.prompt_sampling import PAPER, AskingHabits, PromptPlan, sample_plans
from sam4d.training.unrolling import unroll
from sam4d.training.windows import TrainingSample, read_window, sample_window

ONE_CLICK = AskingHabits(mask_share=0.0, box_share=0.0, most_corrected_frames=0)
"""What is asked of held-out clips."""

TRIES = 20

_LEARNING, _JUDGING = range(2)


@dataclass(frozen=True, eq=False)
class ClipCourse:
    """Implements `training_run.Course` for the network.

    training: clips to learn from. held_out: to be judged by; none of them is learnt from.
    """

    plan: TrainingPlan
    training: Sequence[LabelledClip]
    held_out: Sequence[LabelledClip]
    habits: AskingHabits = PAPER

    def losses(self, network: nn.Module, sample: int) -> Losses:
        """Raises InputError where no clip shows enough of an object, or a file is not as it should be."""
        assert isinstance(network, Sam4D)
        habits = replace(self.habits, most_clicks_per_frame=max(self.plan.clicks, 1))
        if not self.plan.clicks:
            habits = replace(habits, most_corrected_frames=0)
        drawn, plans, random = self._drawn(self.training, (_LEARNING, sample), habits, augmented=self.plan.augmented)
        return unroll(network, drawn, plans, random, through_memory=self.plan.mode != "heads").means()

    def score(self, network: nn.Module, stopped: Callable[[], bool] = lambda: False) -> float | None:
        """Mean IoU of all masks after one click on each object, of those followed too: the mean of both sensors'.

        Raises InterruptedError where it is stopped, asked between windows.
        """
        assert isinstance(network, Sam4D)
        ious: list[list[float]] = [[], []]
        for window in range(self.plan.held_out_windows if self.held_out else 0):
            if stopped():
                raise InterruptedError
            drawn, plans, random = self._drawn(self.held_out, (_JUDGING, window), ONE_CLICK, augmented=False)
            unrolled = unroll(network, drawn, plans, random, through_memory=False)
            ious[0] += unrolled.camera_ious.tolist()
            ious[1] += unrolled.lidar_ious.tolist()
        means = [float(np.mean(of_sensor)) for of_sensor in ious if of_sensor]
        return float(np.mean(means)) if means else None

    def _drawn(
        self, clips: Sequence[LabelledClip], number: tuple[int, int], habits: AskingHabits, *, augmented: bool
    ) -> tuple[TrainingSample, tuple[PromptPlan, ...], Generator]:
        """A sample, what is asked of it, and the chance that is left for corrections: always the same ones for the same number."""
        random = default_rng([self.plan.seed, *number])
        for _ in range(TRIES):
            window = sample_window(clips, random, most_frames=self.plan.frames, most_objects=self.plan.objects)
            sample = read_window(window)
            if augmented:
                sample = augment(sample, draw_augmentation(random))
            plans = sample_plans(sample, random, habits)
            # A mask given on the last frame asks for no answer.
            if any(not plan.is_mask or plan.place < len(sample) - 1 for plan in plans):
                return sample, plans, random
        raise InputError("clips to learn from", "objects that several frames show", f"none in {TRIES} windows")


def prepared(network: Sam4D, plan: TrainingPlan, device: torch.device) -> Sam4D:
    """A copy of the network on the device, as the plan wants it computed.

    Raises TrainingFailed where the device has too little memory for it.
    """
    with within_memory(device):
        copy = Sam4D(network.configuration)
        copy.load_state_dict(network.state_dict())
        copy.checkpointed = plan.checkpointed
        return copy.to(device)
