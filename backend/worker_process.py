"""How a process begins that works beside the server: of the lowest priority, so that no click waits for it, and ended in order."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from types import FrameType

from backend.logs import configure_logging
from backend.settings import Settings

LOWEST_PRIORITY = 19


def begin_worker(settings: Settings) -> threading.Event:
    """To be called first in the process. The event is set when it is terminated, or the server that started it ends."""
    stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.set()

    signal.signal(signal.SIGTERM, stop)
    # A Ctrl-C in the terminal reaches the server too, which ends this process in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_stop_with_parent, args=(stopped,), daemon=True).start()
    os.nice(LOWEST_PRIORITY)
    configure_logging(settings.log_level, settings.log_format, settings.hidden_in_logs())
    # or each task has a line for each of its requests, with their addresses
    logging.getLogger("httpx").setLevel(logging.WARNING)
    return stopped


def _stop_with_parent(stopped: threading.Event) -> None:
    """Ends a worker whose server was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        stopped.set()
