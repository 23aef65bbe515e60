"""Lines of numbers, as point cloud files hold them in their readable form."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sam4d.structures import InputError

_NEWLINE = 10
_LETTERS_OF_TRUE_AND_FALSE = (b"r", b"R", b"l", b"L")
"""pandas takes these words for 1 and 0."""
_NOT_A_NUMBER = ("nan", "NaN", "NAN", "-nan", "-NaN")


def read_ascii_table(
    data: bytes, start: int, rows: int, width: int, columns: Sequence[int], where: str, counted_by: str
) -> NDArray[np.float64]:
    """Some columns of the first lines from a place in a file on, float64 (rows, columns), each number the nearest to what is written.

    What follows these lines is not looked at.

    Args:
        start: where the first line begins.
        width: how many numbers a line has.
        counted_by: the header line that says how many lines there are.

    Raises:
        InputError: fewer lines, a line of another width, something that is no number.
    """
    if rows == 0:
        return np.empty((0, len(columns)))
    usual = _single_spaced(data, start, rows, width)
    if usual is not None:
        return usual[:, list(columns)]
    ends = (
        np.flatnonzero(np.frombuffer(data, dtype=np.uint8, offset=start) == _NEWLINE) if start < len(data) else np.empty(0, dtype=np.int64)
    )
    body = data[start : start + int(ends[rows - 1])] if len(ends) >= rows else data[start:].rstrip()
    if not body.strip() or (len(ends) < rows and body.count(b"\n") + 1 < rows):
        raise InputError(f"{where}: {counted_by}", f"{rows} lines of data", str(body.count(b"\n") + 1 if body.strip() else 0))
    try:
        table = np.loadtxt(io.StringIO(body.decode("ascii")), dtype=np.float64, comments=None, ndmin=2)
    except (ValueError, UnicodeDecodeError):
        table = np.empty((0, 0))
    if table.shape == (rows, width):
        return table[:, list(columns)]
    raise _error(body.split(b"\n"), rows, width, where)


def _single_spaced(data: bytes, start: int, rows: int, width: int) -> NDArray[np.float64] | None:
    """All columns (rows, width) of the usual file: one space between numbers. None where it is another or not all are numbers."""
    if len(data) - start < 2 * rows * width - 1:
        return None  # Before anything is made as large as the header claims.
    import pandas as pd  # Takes a third of a second, and few drives have readable sweeps.

    body = data[start:]
    if any(letter in body for letter in _LETTERS_OF_TRUE_AND_FALSE):
        return None
    try:
        table = pd.read_csv(
            io.BytesIO(body),
            sep=" ",
            header=None,
            nrows=rows,
            dtype=np.float64,
            na_filter=b"a" in body or b"A" in body,
            keep_default_na=False,
            na_values=_NOT_A_NUMBER,
            skip_blank_lines=False,
            quoting=csv.QUOTE_NONE,
            low_memory=False,
        )
    except (ValueError, OverflowError):  # pandas' own errors are ValueErrors.
        return None
    return table.to_numpy() if table.shape == (rows, width) else None


def _error(lines: Sequence[bytes], rows: int, width: int, where: str) -> InputError:
    """Which line the fast reader stumbled over."""
    for row, line in enumerate(lines):
        values = line.split()
        if len(values) != width:
            return InputError(f"{where}: point {row}", f"{width} values", f"{len(values)}: {line[:60]!r}")
        for value in values:
            if not _is_number(value):
                return InputError(f"{where}: point {row}", "numbers", repr(value[:40]))
    return InputError(where, f"{rows} lines of {width} numbers", "something else")


def _is_number(value: bytes) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return b"_" not in value  # Python's own, in no file format.
