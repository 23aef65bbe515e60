"""Which frames of an object's past are looked at from a given frame (arXiv 2506.21547, memory; window sizes of the released model)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

PROMPTED_WITHIN = 8
"""Prompted frames farther away than this are treated like tracked ones."""

RECENT_FRAMES = 6
"""Tracked frames whose memory is looked at: the last ones before the frame."""

POINTER_FRAMES = 8
"""Object pointers are taken from frames nearer than this, and from all prompted frames that are looked at."""


@dataclass(frozen=True)
class Recall:
    """Frames to look at.

    memories: (frame, t_pos), t_pos 0 for prompted frames, else 1 (oldest) to 6 (the frame just before).
    pointers: (frame, distance in frames), distances from 0 on. pointer_span: the distance that counts as 1.
    """

    memories: tuple[tuple[int, int], ...]
    pointers: tuple[tuple[int, int], ...]
    pointer_span: int


def recall(frame_index: int, prompted: Collection[int], tracked: Collection[int], frame_count: int, *, reverse: bool = False) -> Recall:
    """What frame `frame_index` of a clip of `frame_count` frames looks at.

    Args:
        frame_index: the frame to be decoded.
        prompted: frames with prompts of this object.
        tracked: frames without, that the object was followed to in this direction.
        frame_count: frames of the clip.
        reverse: whether the past lies at higher frame indices.
    """
    step = -1 if reverse else 1
    near = [frame for frame in sorted(prompted) if abs(frame_index - frame) <= PROMPTED_WITHIN]
    others = {*tracked, *prompted} - {*near}
    recent = [(frame_index - step * (RECENT_FRAMES + 1 - t_pos), t_pos) for t_pos in range(1, RECENT_FRAMES + 1)]
    span = min(frame_count, POINTER_FRAMES) - 1
    distances = [(frame, (frame_index - frame) * step) for frame in near]
    following = [(frame_index - step * distance, distance) for distance in range(1, span + 1)]
    return Recall(
        memories=(*((frame, 0) for frame in near), *(each for each in recent if each[0] in others)),
        pointers=(*(each for each in distances if each[1] >= 0), *(each for each in following if each[0] in others)),
        pointer_span=max(span, 1),
    )
