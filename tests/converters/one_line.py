"""What damaged input may do: nothing, or end in one line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from sam4d.structures import InputError


@contextlib.contextmanager
def one_line_at_most() -> Iterator[None]:
    message = ""
    try:
        yield
    except InputError as error:
        message = str(error)
    assert "\n" not in message
