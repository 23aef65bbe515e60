"""Freed memory goes back to the operating system.

Memories of frames, which stay, lie among what a frame's computation takes for a moment. glibc keeps such gaps for itself: over a drive of
60 frames half a gigabyte, of which nothing is in use.
"""

from __future__ import annotations

import ctypes
import sys


def give_back_free_memory() -> None:
    """At once, where the C library can do so (glibc); elsewhere nothing happens."""
    if sys.platform != "linux":
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
