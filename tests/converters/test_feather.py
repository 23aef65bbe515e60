"""Feather files: columns come through, claims are looked at before Arrow makes room for them."""

from __future__ import annotations

import importlib.util
import io
import resource
import struct
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import feather

from converters.feather import Column, read_feather
from sam4d.structures import InputError
from tests.converters.one_line import one_line_at_most

COLUMNS: dict[str, Column] = {"x": "number", "label": "text", "kind": "text"}


def written(table: Any, compression: str = "lz4", chunksize: int | None = None, version: int = 2) -> bytes:
    stream = io.BytesIO()
    if version == 1:
        feather.write_feather(table, stream, version=1)  # type: ignore[no-untyped-call]
    else:
        feather.write_feather(table, stream, compression=compression, chunksize=chunksize)  # type: ignore[no-untyped-call]
    return stream.getvalue()


def table(rows: int) -> Any:
    labels = [f"label {row % 3}" for row in range(rows)]
    return pa.table(
        {
            "x": np.arange(rows, dtype=np.float16),
            "label": pa.array(labels, pa.string()),
            "kind": pa.array(labels, pa.string()).dictionary_encode(),
        }
    )


@given(rows=st.integers(0, 40), compression=st.sampled_from(["uncompressed", "lz4", "zstd"]), chunksize=st.integers(1, 40))
def test_columns_come_through(rows: int, compression: str, chunksize: int) -> None:
    found = read_feather(written(table(rows), compression, chunksize), COLUMNS, "t")
    assert found["x"].tolist() == list(range(rows))
    for name in ("label", "kind"):
        assert found[name].tolist() == [f"label {row % 3}" for row in range(rows)]


def test_other_columns_are_refused() -> None:
    for column, message in (
        (pa.array(["a"]), "t: x: expected a column of numbers, found string"),
        (pa.array([None, 1]), "t: x: expected a value in every row, found 1 empty places"),
        (pa.array([[1]]), "t: x: expected a column of numbers, found list"),
        (pa.array([1]).dictionary_encode(), "t: x: expected a column of numbers, found dictionary"),
    ):
        with pytest.raises(InputError, match=message):
            read_feather(written(pa.table({"x": column})), {"x": "number"}, "t")
    with pytest.raises(InputError, match="t: y: expected a column, found none among 'x'"):
        read_feather(written(pa.table({"x": [1]})), {"y": "number"}, "t")
    with pytest.raises(InputError, match="t: expected a feather file of version 2, found"):
        read_feather(b"FEA1" + bytes(100), {"x": "number"}, "t")


def test_a_claim_of_ten_gigabytes_allocates_nothing() -> None:
    data = written(pa.table({"x": np.zeros(50_000)}), "zstd")
    size = struct.pack("<q", 400_000)
    assert data.count(size) >= 1
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match="t: expected columns of at most 512 MB, found a claim of 10737418240 bytes"):
        read_feather(data.replace(size, struct.pack("<q", 10 * 2**30)), {"x": "number"}, "t")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024


def test_too_many_rows_are_refused() -> None:
    data = written(pa.table({"x": pa.nulls(10_000_001)}), "uncompressed")
    with pytest.raises(InputError, match="t: expected at most 10000000 rows, found 10000001"):
        read_feather(data, {"x": "number"}, "t")


def test_without_pyarrow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"t: expected pyarrow, .*\.\[argoverse\].* found none installed"):
        read_feather(b"", {"x": "number"}, "t")


BASES = [written(table(20), compression) for compression in ("uncompressed", "lz4", "zstd")]


@given(
    base=st.sampled_from(BASES),
    changes=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=4),
    cut=st.integers(0, 10_000),
)
def test_damaged_files_end_in_columns_or_a_line(base: bytes, changes: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(base)
    for place, value in changes:
        data[place % len(data)] = value
    with one_line_at_most():
        read_feather(bytes(data[: cut % len(data) or len(data)] if cut % 3 == 0 else data), COLUMNS, "t")


@given(data=st.binary(max_size=300))
def test_garbage_ends_in_a_line(data: bytes) -> None:
    for start in (b"", b"ARROW1\0\0", b"ARROW1\0\0\xff\xff\xff\xff"):
        with pytest.raises(InputError):
            read_feather(start + data, COLUMNS, "t")
