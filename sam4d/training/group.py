"""The processes that train one network together, as the training loop sees them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol, TypeAlias

from torch import Tensor, nn

Losses: TypeAlias = dict[str, Tensor]
Lesson: TypeAlias = Callable[[int], Losses]
"""From the number of a sample to its losses, scalars by name; "total" is what is learnt from."""


class Group(Protocol):
    """rank: of this process, 0 to size - 1; the first one judges and writes. size: how many processes."""

    @property
    def rank(self) -> int: ...

    @property
    def size(self) -> int: ...

    def together(self, module: nn.Module) -> Lesson:
        """The module, whose gradients are from now on the mean over the processes after each backward pass."""
        ...

    def apart(self, lesson: Lesson) -> AbstractContextManager[None]:
        """Gradients of what runs within wait for a later backward pass."""
        ...

    def mean(self, values: Tensor) -> Tensor:
        """Over the processes."""
        ...

    def any(self, flag: bool) -> bool:
        """Whether it is so in any of the processes."""
        ...

    def from_first(self, value: float) -> float:
        """What the first process has."""
        ...


class Alone:
    """One process."""

    rank = 0
    size = 1

    def together(self, module: nn.Module) -> Lesson:
        return module

    def apart(self, lesson: Lesson) -> AbstractContextManager[None]:
        return contextlib.nullcontext()

    def mean(self, values: Tensor) -> Tensor:
        return values

    def any(self, flag: bool) -> bool:
        return flag

    def from_first(self, value: float) -> float:
        return value
