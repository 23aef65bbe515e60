"""Two pieces of work at the same time, each on its share of the processors.

Parts of the network use one processor however many there are (gathering, scattering, sorting): two of them beside each other use two.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import TypeVar

import torch

FirstT = TypeVar("FirstT")
SecondT = TypeVar("SecondT")


def side_by_side(
    first: Callable[[], FirstT], second: Callable[[], SecondT], context: Callable[[], AbstractContextManager[object]]
) -> tuple[FirstT, SecondT]:
    """What both give. Where one raises, so does this, after the other has ended.

    Args:
        context: entered by the thread that the second one runs on, since inference mode and precision belong to a thread.
    """
    threads = torch.get_num_threads()
    if threads < 2:
        return first(), second()

    def elsewhere() -> SecondT:
        torch.set_num_threads(threads // 2)
        with context():
            return second()

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="sam4d") as pool:
        future = pool.submit(elsewhere)
        torch.set_num_threads(threads - threads // 2)
        try:
            result = first()
        finally:
            torch.set_num_threads(threads)
        return result, future.result()
