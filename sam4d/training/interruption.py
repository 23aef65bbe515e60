"""Someone wants the training to end: it does so between two samples, with its state written."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def asked_to_stop(also: Callable[[], bool] = lambda: False) -> Iterator[Callable[[], bool]]:
    """A question whether to stop: after Ctrl-C or SIGTERM, or where `also` says so. A second Ctrl-C interrupts at once.

    Signals are heard in the main thread only; in another one the question is `also` alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield also
        return
    heard = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        if heard.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        heard.set()

    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield lambda: heard.is_set() or also()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)  # None where it was not Python's
