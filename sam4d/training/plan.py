"""How a network is trained: everything that decides what comes out, but for the clips and the weights that it begins with."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Literal, TypeAlias, get_args

from sam4d.predictor import DeviceName
from sam4d.structures import InputError

Mode: TypeAlias = Literal["heads", "memory", "everything"]
TrainingPrecision: TypeAlias = Literal["float32", "bfloat16"]
Statistics: TypeAlias = Literal["fixed", "learnt"]

FRAMES_MOST = 8
OBJECTS_MOST = 6
CLICKS_MOST = 7

CPU_FRAMES, CPU_OBJECTS, CPU_CLICKS, CPU_WINDOWS = 3, 3, 2, 4

WITHOUT_EFFECT = ("device", "checkpointed")
"""Fields that change nothing but time and memory; a run may go on with others."""


@dataclass(frozen=True)
class TrainingPlan:
    """A plan of training.

    mode: what is learnt; "heads": mask decoder and prompt encoders, "memory": memory attention, memory encoders and object pointers too,
    "everything": the encoders too. steps: changes of the weights. learning_rate: the highest, reached after `warm_up_steps`, from where it
    falls to 0 as a cosine. encoder_learning_rate: likewise, of the image and LiDAR encoders. weight_decay: of AdamW, of matrices and
    kernels only. gradient_clip: largest norm of all gradients together. accumulation: samples that a step learns from. precision:
    "bfloat16" computes in half the bits, weights stay float32. checkpointed: activations are computed again instead of kept.
    statistics: of batch normalisation, "fixed" as they are or "learnt" from the sweeps. seed: chooses the samples. average_decay: of the
    moving average of the weights, which is what is judged and kept. evaluate_every: steps between judgements on held-out clips.
    patience: judgements in a row that are no better than the best before training stops, 0 for no end. save_every: steps between states
    from which training can go on. held_out_windows: that are judged. frames, objects: the most in a window. clicks: the most
    that correct an answer. augmented: images are turned,
    sweeps scaled and mirrored. device: "auto" is CUDA where PyTorch sees one.

    Raises InputError, naming the field, where one is out of its range.
    """

    mode: Mode = "heads"
    steps: int = 300
    learning_rate: float = 1e-4
    encoder_learning_rate: float = 2e-5
    warm_up_steps: int = 20
    weight_decay: float = 0.01
    gradient_clip: float = 1.0
    accumulation: int = 1
    precision: TrainingPrecision = "float32"
    checkpointed: bool = False
    statistics: Statistics = "fixed"
    seed: int = 0
    average_decay: float = 0.99
    evaluate_every: int = 50
    patience: int = 4
    save_every: int = 50
    held_out_windows: int = 8
    frames: int = FRAMES_MOST
    objects: int = OBJECTS_MOST
    clicks: int = CLICKS_MOST
    augmented: bool = True
    device: DeviceName = "auto"

    def __post_init__(self) -> None:
        for name, allowed in (("mode", get_args(Mode)), ("precision", get_args(TrainingPrecision)), ("statistics", get_args(Statistics))):
            self._check(name, ", ".join(allowed[:-1]) + f" or {allowed[-1]}", lambda value, allowed=allowed: value in allowed)
        for name in ("steps", "accumulation", "evaluate_every", "save_every"):
            self._check(name, "a whole number from 1 on", lambda value: _is_whole(value) and value >= 1)
        for name in ("warm_up_steps", "patience", "held_out_windows", "seed"):
            self._check(name, "a whole number from 0 on", lambda value: _is_whole(value) and value >= 0)
        for name, most in (("frames", FRAMES_MOST), ("objects", OBJECTS_MOST), ("clicks", CLICKS_MOST)):
            least = 0 if name == "clicks" else 1
            expected = f"a whole number from {least} to {most}"
            self._check(name, expected, lambda value, least=least, most=most: _is_whole(value) and least <= value <= most)
        for name in ("learning_rate", "gradient_clip"):
            self._check(name, "a number above 0", lambda value: _is_number(value) and value > 0)
        for name in ("weight_decay", "encoder_learning_rate"):
            self._check(name, "a number from 0 on", lambda value: _is_number(value) and value >= 0)
        self._check("average_decay", "a number from 0 to below 1", lambda value: _is_number(value) and 0 <= value < 1)
        for name in ("checkpointed", "augmented"):
            self._check(name, "true or false", lambda value: isinstance(value, bool))

    def on_a_cpu(self) -> TrainingPlan:
        """The same with windows of at most `CPU_FRAMES` frames, `CPU_OBJECTS` objects and `CPU_CLICKS` clicks, which a CPU can bear."""
        return replace(
            self,
            frames=min(self.frames, CPU_FRAMES),
            objects=min(self.objects, CPU_OBJECTS),
            clicks=min(self.clicks, CPU_CLICKS),
            held_out_windows=min(self.held_out_windows, CPU_WINDOWS),
        )

    def rate_share(self, step: int) -> float:
        """The share of the highest learning rate that step `step`, from 0 on, learns with."""
        if step < self.warm_up_steps:
            return (step + 1) / self.warm_up_steps
        done = (step - self.warm_up_steps) / max(self.steps - self.warm_up_steps, 1)
        return 0.5 * (1 + math.cos(math.pi * done))

    def as_fields(self) -> dict[str, object]:
        """By name, for JSON."""
        return asdict(self)

    def difference(self, other: Mapping[str, object]) -> str | None:
        """How another plan, as `as_fields` gives it, differs in what decides what comes out; None where it does not."""
        own = self.as_fields()
        for field in fields(self):
            if field.name not in WITHOUT_EFFECT and own[field.name] != other.get(field.name):
                return f"{field.name} {other.get(field.name)!r}, not {own[field.name]!r}"
        return None

    def _check(self, name: str, expected: str, is_right: Callable[..., bool]) -> None:
        value = getattr(self, name)
        if not is_right(value):
            raise InputError(f"training plan, {name}", expected, repr(value))


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
