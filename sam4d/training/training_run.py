"""The training loop: samples in, weights out, the same whatever interrupts it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

import torch
from torch import Tensor, nn

from sam4d.checkpoint import digest_of
from sam4d.training import parameters
from sam4d.training.averaging import WeightAverage
from sam4d.training.curve_log import CurveLog
from sam4d.training.failures import TrainingFailed, within_memory
from sam4d.training.group import Alone, Group, Losses
from sam4d.training.learning_curve import CurvePoint
from sam4d.training.plan import TrainingPlan
from sam4d.training.run_state import Best, RunState, read_last_state, write_state

Ending: TypeAlias = Literal["finished", "stopped early", "interrupted"]

Progress: TypeAlias = Callable[[CurvePoint, int], None]
"""Told of every step as it is done, and how many there are."""


class Course(Protocol):
    """What is learnt, and how it is judged."""

    def losses(self, network: nn.Module, sample: int) -> Losses:
        """Of the sample of this number, which is always the same one: scalars by name, with "total"."""
        ...

    def score(self, network: nn.Module, stopped: Callable[[], bool]) -> float | None:
        """0 to 1 on what was held out, always the same; None where nothing was. Raises InterruptedError once it is stopped."""
        ...


@dataclass(frozen=True, eq=False)
class Trained:
    """How a run ended.

    ending: "interrupted" where it can be gone on with. curve: of all steps, those of earlier runs included. weights: what training changes,
    by name, of the best average: of the last where nothing was judged. best: None likewise.
    """

    ending: Ending
    curve: tuple[CurvePoint, ...]
    weights: Mapping[str, Tensor]
    best: Best | None


class TrainingRun:
    """A run in a folder, which goes on from the state that lies there.

    Args:
        network: on the device where it is trained; learns in place.
        group: processes that train together; each has the same network and makes its own part of every step.

    Raises:
        InputError: a state in the folder that is damaged, or of another plan or network.
        TrainingFailed: nothing can be written to the folder.
    """

    def __init__(self, plan: TrainingPlan, network: nn.Module, course: Course, folder: Path, group: Group | None = None) -> None:
        self._plan = plan
        self._network = network
        self._course = course
        self._folder = folder
        self._group = group or Alone()
        if plan.accumulation % self._group.size:
            raise ValueError(f"{plan.accumulation} samples in a step cannot be shared evenly among {self._group.size} processes")
        self._beginning = digest_of(network.state_dict())
        self._device = next(network.parameters()).device
        self._learnt = parameters.choose(network, plan)
        self._changing = parameters.changing(network, plan)
        self._optimiser = parameters.optimiser_for(self._learnt, plan)
        self._average = WeightAverage(self._changing, plan.average_decay)
        self._lesson = self._group.together(_Lesson(network, course))
        self._step = 0
        self._curve = [CurvePoint(0)]
        self._best: Best | None = None
        self._best_weights: dict[str, Tensor] = {}
        self._finished = False
        self._kept: CurvePoint | None = None
        state = read_last_state(folder, plan, self._beginning, self._changing)
        if state is not None:
            self._go_on_from(state)

    def run(self, progress: Progress = lambda point, steps: None, stopped: Callable[[], bool] = lambda: False) -> Trained:
        """Take the steps that are left.

        Args:
            progress: told of the step from which it goes on, too.
            stopped: asked between samples; once it says so, the state is written and the run ends as interrupted.

        Raises:
            TrainingFailed: a loss that is no number, too little memory, no space for states or logs. The last state stands.
        """
        with contextlib.ExitStack() as stack:
            log = None
            if self._group.rank == 0:
                log = stack.enter_context(CurveLog(self._folder, self._curve[:-1]))
            stack.enter_context(within_memory(self._device))
            while True:
                if not self._judged(stopped):
                    self._write()
                    return self._trained("interrupted")
                if log is not None:
                    log.add(self._curve[-1])
                progress(self._curve[-1], self._plan.steps)
                ended = self._step == self._plan.steps or self._finished
                if ended or (self._step and self._step % self._plan.save_every == 0):
                    self._write()
                if ended:
                    return self._trained("stopped early" if self._finished else "finished")
                if not self._step_taken(stopped):
                    self._write()
                    return self._trained("interrupted")

    def _step_taken(self, stopped: Callable[[], bool]) -> bool:
        """One step; false, and nothing has changed, where it was stopped."""
        plan, group = self._plan, self._group
        rate = parameters.set_rates(self._optimiser, plan.rate_share(self._step))
        self._optimiser.zero_grad(set_to_none=True)
        parts = plan.accumulation // group.size
        sums: Losses = {}
        for part in range(parts):
            if group.any(stopped()):
                return False
            sample = self._step * plan.accumulation + part * group.size + group.rank
            with contextlib.nullcontext() if part == parts - 1 else group.apart(self._lesson):
                with self._precision():
                    losses = self._lesson(sample)
                torch.autograd.backward([losses["total"] / parts])
            for name, loss in losses.items():
                sums[name] = sums.get(name, torch.zeros_like(loss.detach())) + loss.detach() / parts
        means = dict(zip(sums, group.mean(torch.stack(list(sums.values()))).tolist(), strict=True))
        norm = float(nn.utils.clip_grad_norm_(self._learnt.values(), plan.gradient_clip))
        if not (math.isfinite(means["total"]) and math.isfinite(norm)):
            raise TrainingFailed(
                f"the loss of step {self._step + 1} is {means['total']} and its gradient {norm}, which is nothing to learn from: "
                "a lower learning_rate or float32 may help; the last state stands"
            )
        self._optimiser.step()
        self._step += 1
        self._average.update(self._changing, self._step)
        self._curve.append(CurvePoint(self._step, means, rate, norm))
        return True

    def _judged(self, stopped: Callable[[], bool]) -> bool:
        """The last step has been judged, where it is time for that; false, and nothing has changed, where it was stopped meanwhile."""
        due = self._step % self._plan.evaluate_every == 0 or self._step == self._plan.steps
        if not due or self._curve[-1].held_out is not None:
            return True
        score = math.nan
        if self._group.rank == 0:
            self._network.eval()
            with self._average.in_place_of(self._changing), torch.no_grad(), self._precision():
                try:
                    found = self._course.score(self._network, stopped)
                    score = math.nan if found is None else found
                except InterruptedError:
                    score = math.inf
            parameters.choose(self._network, self._plan)
        score = self._group.from_first(score)
        if math.isnan(score):
            return True
        if math.isinf(score):
            return False
        self._curve[-1] = replace(self._curve[-1], held_out=score)
        if self._best is None or score > self._best.score:
            self._best = Best(self._step, score, 0)
            self._best_weights = {name: tensor.clone() for name, tensor in self._average.tensors.items()}
        else:
            self._best = Best(self._best.step, self._best.score, self._best.waited + 1)
            self._finished = 0 < self._plan.patience <= self._best.waited
        return True

    def _go_on_from(self, state: RunState) -> None:
        with torch.no_grad():
            for name, tensor in self._changing.items():
                tensor.copy_(state.weights[name])
        for name, tensor in self._average.tensors.items():
            tensor.copy_(state.average[name])
        parameters.put_moments(self._optimiser, self._learnt, state.moments)
        self._step, self._best, self._finished = state.step, state.best, state.finished
        self._curve = list(state.curve)
        self._kept = self._curve[-1]
        self._best_weights = {name: tensor.to(self._device) for name, tensor in state.best_weights.items()}

    def _write(self) -> None:
        if self._group.rank or self._kept == self._curve[-1]:
            return
        moments = parameters.moments(self._optimiser, self._learnt)
        state = RunState(
            self._step,
            self._changing,
            self._average.tensors,
            moments,
            tuple(self._curve),
            self._best,
            self._best_weights,
            self._finished,
        )
        write_state(self._folder, state, self._plan, self._beginning)
        self._kept = self._curve[-1]

    def _trained(self, ending: Ending) -> Trained:
        weights = self._best_weights if self._best is not None else self._average.tensors
        return Trained(ending, tuple(self._curve), {name: tensor.detach().cpu() for name, tensor in weights.items()}, self._best)

    def _precision(self) -> torch.autocast:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._plan.precision == "bfloat16")


class _Lesson(nn.Module):
    """The losses of a sample as the answer of a module, so that processes can share its gradients."""

    def __init__(self, network: nn.Module, course: Course) -> None:
        super().__init__()
        self.network = network
        self._course = course

    def forward(self, sample: int) -> Losses:
        return self._course.losses(self.network, sample)
