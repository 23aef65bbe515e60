"""What a run has done already, so that an interrupted one need not do it again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from numpy.typing import NDArray

from sam4d.structures import Clip, Masklet

Arrays: TypeAlias = Mapping[str, NDArray[Any]]
"""By name, of numbers."""


class KeptWork(Protocol):
    """The results of dear steps, outside of the process. Who makes one sees to it that they are of the same clip, engine and source."""

    def masklets(self, step: str, clip: Clip, make: Callable[[], Sequence[Masklet]]) -> Sequence[Masklet]:
        """What an earlier run kept of the step, else what `make` gives, kept for the next.

        Args:
            step: its name, one for every step of a clip.
            clip: that the masklets are of.
        """
        ...

    def arrays(self, step: str, make: Callable[[], Arrays]) -> Arrays:
        """The same of a step whose result is arrays."""
        ...


class NothingKept:
    """Every step is done anew."""

    def masklets(self, step: str, clip: Clip, make: Callable[[], Sequence[Masklet]]) -> Sequence[Masklet]:
        return make()

    def arrays(self, step: str, make: Callable[[], Arrays]) -> Arrays:
        return make()
