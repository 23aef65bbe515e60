"""A clip with what people say is in it: what is learnt from, and what an engine is judged by."""

from __future__ import annotations

from dataclasses import dataclass

from sam4d.structures import Clip, Masklet


@dataclass(frozen=True, eq=False)
class LabelledClip:
    """A clip and its objects.

    masklets: a frame without an entry does not show the object. labelled_cameras: those whose masks somebody looked at; of the others
    nothing is known. labelled_frames: frame indices that somebody looked at, ascending; nothing is known of the others.
    """

    clip: Clip
    masklets: tuple[Masklet, ...]
    labelled_cameras: tuple[str, ...]
    labelled_frames: tuple[int, ...]

    @classmethod
    def whole(cls, clip: Clip, masklets: tuple[Masklet, ...]) -> LabelledClip:
        """Every camera and every frame was looked at, as in a synthetic drive."""
        return cls(clip, masklets, tuple(clip.cameras), tuple(range(len(clip))))
