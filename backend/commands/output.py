"""What commands say: results on standard output, progress and complaints on standard error."""

from __future__ import annotations

import json
import sys
from types import TracebackType
from typing import Any

from tqdm import tqdm


def say(line: str) -> None:
    print(line, flush=True)


def say_json(document: object) -> None:
    print(json.dumps(document, ensure_ascii=False, indent=1), flush=True)


def complain(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class ProgressBars:
    """One bar after the other, on standard error; none where that is no terminal or nobody is to be shown any."""

    def __init__(self, *, hidden: bool = False) -> None:
        self._hidden = True if hidden else None  # None lets tqdm look whether there is a terminal
        self._bar: Any = None  # tqdm's type says what it iterates over, and it iterates over nothing here
        self._step = ""

    def __enter__(self) -> ProgressBars:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, step: str, done: int, total: int) -> None:
        """`done` of `total` of a step, which is a new one where its name is."""
        if self._bar is None or step != self._step:
            if self._bar is not None:
                self._bar.close()
            self._step = step
            self._bar = tqdm(total=total, desc=step, disable=self._hidden, file=sys.stderr)
        self._bar.update(done - self._bar.n)
