"""The contract between the product and an engine, and the one place where engines are chosen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, Protocol, TypeAlias

from sam4d.structures import Clip, FrameMasks, InputError, ObjectMasks, Prompt

EngineName: TypeAlias = Literal["auto", "geometric"]


class Session(Protocol):
    """Objects being segmented and followed in one clip. For one thread at a time."""

    @property
    def clip(self) -> Clip: ...

    @property
    def object_ids(self) -> tuple[int, ...]: ...

    def add_prompt(self, prompt: Prompt | Sequence[Prompt], *, replace: bool = False) -> ObjectMasks:
        """Segment one object on one frame.

        Args:
            prompt: one prompt, or several of the same object and frame (for any sensors). They add to those given before.
            replace: drop the object's earlier prompts on that frame first.

        Raises:
            InputError: unknown sensor, frame outside the clip, image missing on the frame, coordinates outside the image
                or not finite, a mask of the wrong shape, prompts of several objects or frames.
        """
        ...

    def propagate(self, start: int = 0, stop: int | None = None, *, reverse: bool = False) -> Iterator[FrameMasks]:
        """Follow every object, lazily, one frame at a time, `start` first, up to but not including `stop`
        (the clip's end, or with `reverse` down to frame 0, where it is None). A frame that holds prompts of an object keeps what they gave.
        """
        ...

    def remove_object(self, object_id: int) -> None:
        """Raises InputError where there is no such object."""
        ...


class Predictor(Protocol):
    """An engine. Safe to use from many threads; each session from one at a time."""

    @property
    def version(self) -> str:
        """Shown in Label Studio as the model version: engine and what distinguishes its answers."""
        ...

    def open(self, clip: Clip) -> Session: ...


def build_predictor(engine: EngineName = "auto") -> Predictor:
    """The engine by name; "auto" is the geometric engine, which needs no weights.

    Raises:
        InputError: an unknown engine.
    """
    from sam4d.geometric.predictor import GeometricPredictor

    if engine not in ("auto", "geometric"):
        raise InputError("engine", "auto or geometric", repr(engine))
    return GeometricPredictor()
