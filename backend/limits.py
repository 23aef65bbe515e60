"""What one request may ask, and how much one answer may hold."""

from __future__ import annotations

from dataclasses import dataclass

MEGABYTE = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """The bounds of one request and its answer.

    request_bytes: the largest request (Label Studio sends a task with all its drafts), and what all that are worked on at the same time
    may be together. answer_bytes: what the regions of one click may
    take; frames far from the click that do not fit are left for later. tasks: of one request. prompts: clicks, boxes, brushes and
    edits that a request holds. objects: of a task; more that people drew are read, but no new one is begun. frames: of a task.
    seconds: after which a request is answered in any case, below the 100 after which Label Studio gives up. body_seconds: how long a
    request may take to come in, once it is read.
    """

    request_bytes: int = 64 * MEGABYTE
    answer_bytes: int = 24 * MEGABYTE
    tasks: int = 1000
    prompts: int = 500
    objects: int = 500
    frames: int = 500
    seconds: float = 90.0
    body_seconds: float = 30.0
