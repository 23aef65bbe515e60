"""Tables out of pickles: as pandas wrote them then and now, and hostile ones."""

from __future__ import annotations

import gzip
import io
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.pickled_table import decompress, load_table
from converters.safe_pickle import load_pickle
from sam4d.structures import InputError
from tests.converters.one_line import one_line_at_most

GOLDEN = Path(__file__).parent / "golden"


def pickled(table: Any, protocol: int = 4) -> bytes:
    stream = io.BytesIO()
    table.to_pickle(stream, compression=None, protocol=protocol)
    return stream.getvalue()


def frame(columns: dict[Any, Any]) -> Any:
    """A DataFrame whose texts are Python objects, as they were before pandas 3."""
    values = {name: np.array(list(column), dtype=object) if _is_text(column) else column for name, column in columns.items()}
    table = pd.DataFrame(
        {name: pd.Series(column, dtype=column.dtype if hasattr(column, "dtype") else None) for name, column in values.items()}
    )
    table.columns = pd.Index(list(columns), dtype=object)
    return table


def _is_text(column: Any) -> bool:
    return isinstance(column, list) and all(isinstance(value, str) for value in column)


def test_tables_of_the_pandas_that_pandaset_was_written_with() -> None:
    data = (GOLDEN / "table_pandas_1_0_5.pkl.gz").read_bytes()
    table = load_table(decompress(data, "t"), "t")
    assert list(table) == ["x", "y", "d", "label", "stationary", "uuid"]
    assert {name: column.tolist() for name, column in table.items()} == {
        "x": [0.0, 0.5, 1.0, 1.5],
        "y": [0.0, 2.0, 4.0, 6.0],
        "d": [0, 1, 0, 1],
        "label": ["Car", "Bus", None, "Car"],
        "stationary": [True, False, True, True],
        "uuid": ["q", "r", "s", "t"],
    }
    data = (GOLDEN / "rows_pandas_1_0_5.pkl.gz").read_bytes()
    assert load_table(decompress(data, "t"), "t")["label"].tolist() == ["Car", None]


@given(
    rows=st.integers(0, 5),
    kinds=st.lists(st.sampled_from(["f8", "f4", "i8", "bool", "text"]), min_size=1, max_size=6),
    protocol=st.integers(2, 5),
    transposed=st.booleans(),
)
def test_tables_come_through(rows: int, kinds: list[str], protocol: int, transposed: bool) -> None:
    columns: dict[str, Any] = {}
    for place, kind in enumerate(kinds):
        values = np.arange(rows) + 10 * place
        columns[f"column {place}"] = [f"a{value}" for value in values] if kind == "text" else values.astype(kind)
    table = frame(columns)
    if transposed:
        table = pd.DataFrame(table.to_numpy(dtype=object).T.copy().T, columns=pd.Index(list(columns), dtype=object), dtype=object)
    found = load_table(pickled(table, protocol), "t")
    assert list(found) == list(columns)
    for name, values in columns.items():
        assert found[name].tolist() == list(values)


def test_what_is_no_table_of_numbers_and_texts_is_refused() -> None:
    for table, found in (
        (pickle.dumps([1, 2]), "no table"),
        (pickled(frame({"t": pd.to_datetime(["2020-01-01"])})), ".*"),
        (pickled(frame({"t": pd.Categorical(["a", "b"])})), "the name"),
        (pickled(frame({"t": [[1], [2]]})), "an array of objects that are neither texts nor numbers"),
        (pickled(frame({1: [1.0], 2: [2.0]})), "a table whose columns"),
    ):
        with pytest.raises(InputError, match=f"^t: expected a pickle of a table of numbers and texts, found {found}"):
            load_table(table, "t")


def test_nothing_is_run(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> Any:
            return Path.mkdir, (tmp_path / "ran",)

    table = frame({"x": [1.0, 2.0]})
    table.attrs["note"] = Hostile()
    with pytest.raises(InputError, match="found the name pathlib"):
        load_table(pickled(table), "t")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "claim",
    [
        b"\x80\x04\x8e" + (10 * 2**30).to_bytes(8, "little") + b"abc",  # bytes
        b"\x80\x05\x96" + (10 * 2**30).to_bytes(8, "little") + b"abc",  # a bytearray
        b"\x80\x04\x8d" + (10 * 2**30).to_bytes(8, "little") + b"abc",  # a text
        b"\x80\x04Nr" + (2**31 - 1).to_bytes(4, "little") + b".",  # a place among the values that stand twice
        b"\x80\x04\x95" + (10 * 2**30).to_bytes(8, "little") + b"N.",  # a frame
    ],
)
def test_claims_of_ten_gigabytes_allocate_nothing(claim: bytes) -> None:
    for load in (load_table, load_pickle):
        tracemalloc.start()
        try:
            with pytest.raises(InputError, match=r"^t: expected"):
                load(claim, "t")
            assert tracemalloc.get_traced_memory()[1] < 2**20
        finally:
            tracemalloc.stop()


def test_gzip_that_is_none_cut_or_grows_without_end() -> None:
    with pytest.raises(InputError, match="t: expected a gzip file, found 3 bytes that are none"):
        decompress(b"abc", "t")
    with pytest.raises(InputError, match="t: expected a whole gzip file, found one that is broken off"):
        decompress(gzip.compress(bytes(100))[:-4], "t")
    bomb = gzip.compress(bytes(2**20))
    assert decompress(bomb, "t") == bytes(2**20)
    with pytest.raises(InputError, match="t: expected at most 256 MB once decompressed, found more"):
        decompress(gzip.compress(bytes(257 * 2**20), 1), "t")


BASE = pickled(frame({"x": np.arange(3.0), "label": ["a", "b", "c"], "d": [1, 2, 3]}))
OLD = gzip.decompress((GOLDEN / "table_pandas_1_0_5.pkl.gz").read_bytes())


@given(
    base=st.sampled_from([BASE, OLD]),
    changes=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=4),
    cut=st.integers(0, 10_000),
)
def test_damaged_tables_end_in_a_table_or_a_line(base: bytes, changes: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(base)
    for place, value in changes:
        data[place % len(data)] = value
    with one_line_at_most():
        load_table(bytes(data[: cut % len(data) or len(data)] if cut % 3 == 0 else data), "t")


@given(data=st.binary(max_size=300))
def test_garbage_ends_in_a_line(data: bytes) -> None:
    for start in (b"", b"\x80\x04"):
        with pytest.raises(InputError):
            load_table(start + data, "t")
