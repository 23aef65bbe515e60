"""What a run has done already, so that an interrupted one need not do it again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from sam4d.structures import Clip, Masklet


class KeptWork(Protocol):
    """The results of dear steps, outside of the process. Who makes one sees to it that they are of the same clip, engine and source."""

    def masklets(self, step: str, clip: Clip, make: Callable[[], Sequence[Masklet]]) -> Sequence[Masklet]:
        """What an earlier run kept of the step, else what `make` gives, kept for the next.

        Args:
            step: its name, one for every step of a clip.
            clip: that the masklets are of.
        """
        ...


class NothingKept:
    """Every step is done anew."""

    def masklets(self, step: str, clip: Clip, make: Callable[[], Sequence[Masklet]]) -> Sequence[Masklet]:
        return make()
