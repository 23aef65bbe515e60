"""Lines of numbers, as point cloud files hold them in their readable form."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from converters.decimal_numbers import parse_numbers
from sam4d.structures import InputError

_NEWLINE, _SPACE = 10, 32


def read_ascii_table(
    data: bytes, start: int, rows: int, width: int, columns: Sequence[int], where: str, counted_by: str
) -> NDArray[np.float64]:
    """Some columns of the first lines from a place in a file on, float64 (rows, columns); what follows these lines is not looked at.

    Args:
        start: where the first line begins.
        width: how many numbers a line has.
        counted_by: the header line that says how many lines there are.

    Raises:
        InputError: fewer lines, a line of another width, something that is no number.
    """
    if rows == 0:
        return np.empty((0, len(columns)))
    usual = _single_spaced(data, start, rows, width, columns)
    if usual is not None:
        return usual
    ends = (
        np.flatnonzero(np.frombuffer(data, dtype=np.uint8, offset=start) == _NEWLINE) if start < len(data) else np.empty(0, dtype=np.int64)
    )
    body = data[start : start + int(ends[rows - 1])] if len(ends) >= rows else data[start:].rstrip()
    if not body.strip() or (len(ends) < rows and body.count(b"\n") + 1 < rows):
        raise InputError(f"{where}: {counted_by}", f"{rows} lines of data", str(body.count(b"\n") + 1 if body.strip() else 0))
    try:
        table = np.loadtxt(io.StringIO(body.decode("ascii")), dtype=np.float64, comments=None, usecols=list(columns), ndmin=2)
    except (ValueError, UnicodeDecodeError):
        table = np.empty((0, len(columns)))
    edges = (body[: body.find(b"\n")] if rows > 1 else body, body[body.rfind(b"\n") + 1 :])
    if len(table) == rows and all(len(line.split()) == width for line in edges):
        return table
    raise _error(body.split(b"\n"), rows, width, where)


def _single_spaced(data: bytes, start: int, rows: int, width: int, columns: Sequence[int]) -> NDArray[np.float64] | None:
    """The usual file: numbers with one space or the end of the line after each. None where it is another or not all are numbers."""
    characters = np.frombuffer(data, dtype=np.uint8)[start:]
    ends = np.flatnonzero(characters <= _SPACE)[: rows * width]
    if len(ends) != rows * width:
        return None
    ends_line = (characters[ends] == _NEWLINE).reshape(rows, width)
    if not ends_line[:, -1].all() or ends_line[:, :-1].any():
        return None
    starts = np.concatenate([[0], ends[:-1] + 1])
    chosen = list(columns)
    in_order = chosen == list(range(width))
    if not in_order:
        starts, ends = (places.reshape(rows, width)[:, sorted(chosen)].ravel() for places in (starts, ends))
    try:
        values = parse_numbers(data[start : start + int(ends[-1])], starts, ends, len(starts) // 16 + 16)
    except ValueError:
        return None
    if values is None:
        return None
    table = values.reshape(rows, len(chosen))
    return table if in_order else table[:, np.argsort(np.argsort(chosen))]


def _error(lines: Sequence[bytes], rows: int, width: int, where: str) -> InputError:
    """Which line the fast reader stumbled over."""
    for row, line in enumerate(lines):
        values = line.split()
        if len(values) != width:
            return InputError(f"{where}: point {row}", f"{width} values", f"{len(values)}: {line[:60]!r}")
        for value in values:
            try:
                float(value)
            except ValueError:
                return InputError(f"{where}: point {row}", "numbers", repr(value[:40]))
    return InputError(where, f"{rows} lines of {width} numbers", "something else")
