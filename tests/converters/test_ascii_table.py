"""Tables of decimal numbers are what Python reads one by one, to the last bit, however they are spaced."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from converters.ascii_table import read_ascii_table
from sam4d.geometry import Float64Array
from sam4d.structures import InputError

decimals = st.from_regex(r"-?[0-9]{0,10}(\.[0-9]{0,18})?", fullmatch=True)
floats = st.floats(width=32).map(lambda value: f"{value:.9g}") | st.floats().map(repr)
words = (
    decimals
    | floats
    | st.sampled_from(["1e5", "+3", "-0", "-.5", "5.", "nan", "-nan", "-inf", "00000001", "123456789.5", "0.12345678901234567", "1e400"])
)


def is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return "_" not in word


def read(written: list[str]) -> Float64Array:
    """As a column and as a line."""
    column = read_ascii_table("\n".join(written).encode(), 0, len(written), 1, [0], "t", "POINTS")
    line = read_ascii_table(" ".join(written).encode(), 0, 1, len(written), range(len(written)), "t", "POINTS")
    np.testing.assert_array_equal(column[:, 0], line[0])
    values: Float64Array = line[0]
    return values


@given(st.lists(words.filter(is_number), min_size=1, max_size=12))
@example(["90071992.54740993", "0.30000000000000004", "-99999999.99999999", "1.7976931348623157e308"])
def test_numbers_are_the_nearest(written: list[str]) -> None:
    np.testing.assert_array_equal(read(written), [float(word) for word in written])


@given(st.lists(st.text("0123456789.-+eE_xnarulTRUEFALS\"'#,", min_size=1, max_size=12), min_size=1, max_size=4))
@example(["true"])
@example(["1", "False"])
@example(['"1"'])
@example(["1_0"])
@example(["#1", "2"])
def test_what_is_no_number_is_refused(written: list[str]) -> None:
    if all(is_number(word) for word in written):
        np.testing.assert_array_equal(read(written), [float(word) for word in written])
    else:
        with pytest.raises(InputError, match="expected numbers"):
            read(written)


@given(
    rows=st.lists(st.lists(st.floats(width=32), min_size=3, max_size=3), min_size=1, max_size=6),
    columns=st.permutations([0, 1, 2]).flatmap(lambda order: st.integers(1, 3).map(lambda count: order[:count])),
    between=st.sampled_from([" ", "  ", "\t"]),
    newline=st.sampled_from(["\n", "\r\n", " \n"]),
    after=st.sampled_from(["", "\n", "\nrest 1 2", "\n\n"]),
)
def test_tables_come_through_however_they_are_spaced(
    rows: list[list[float]], columns: list[int], between: str, newline: str, after: str
) -> None:
    text = "header\n" + newline.join(between.join(f"{value:.9g}" for value in row) for row in rows) + after
    table = read_ascii_table(text.encode(), 7, len(rows), 3, columns, "t", "POINTS")
    np.testing.assert_array_equal(table.astype(np.float32), np.array(rows, dtype=np.float32)[:, columns])


@pytest.mark.parametrize("text", ["1 2\n3 4 5\n6\n", "1 2\n3 4 5\n6 7\n", "1 2\n3 4 5\n6 7 8\n"])
def test_a_line_of_another_width_is_named(text: str) -> None:
    with pytest.raises(InputError, match="t: point 1: expected 2 values, found 3"):
        read_ascii_table(text.encode(), 0, 3, 2, [0, 1], "t", "POINTS")


def test_lines_that_are_all_too_long_are_refused() -> None:
    with pytest.raises(InputError, match="t: point 0: expected 2 values, found 3"):
        read_ascii_table(b"1 2 3\n4 5 6\n", 0, 2, 2, [0, 1], "t", "POINTS")
