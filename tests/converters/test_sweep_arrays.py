"""Bare sweeps: rows of float32 and numpy archives, and hostile ones."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.sweep_arrays import ARRAY_LIMIT_BYTES, parse_bin, parse_npz
from sam4d.structures import InputError
from tests.converters.one_line import one_line_at_most


def npz(array: object, name: str = "data") -> bytes:
    stream = io.BytesIO()
    arrays: dict[str, Any] = {name: np.asarray(array)}
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


@pytest.mark.parametrize("columns", [3, 4, 5])
def test_rows_of_numbers(columns: int) -> None:
    rows = np.arange(7 * columns, dtype=np.float32).reshape(7, columns)
    sweep = parse_bin(rows.tobytes(), columns, "a.bin")
    np.testing.assert_array_equal(sweep.points_m, rows[:, :3])
    if columns == 3:
        assert sweep.intensity is None
    else:
        np.testing.assert_array_equal(sweep.intensity, rows[:, 3])
    with pytest.raises(InputError, match=f"a.bin: expected rows of {columns} float32 numbers"):
        parse_bin(rows.tobytes()[:-1], columns, "a.bin")


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
def test_archives(order: str, dtype: type) -> None:
    rows = np.asarray(np.arange(30).reshape(6, 5), dtype=dtype, order=order)  # type: ignore[call-overload]
    for data in (npz(rows), npz(rows, "anything")):
        sweep = parse_npz(data, "a.npz")
        np.testing.assert_array_equal(sweep.points_m, rows[:, :3].astype(np.float32))
        np.testing.assert_array_equal(sweep.intensity, rows[:, 3].astype(np.float32))


def test_what_is_no_sweep_is_refused() -> None:
    for array, found in (
        (np.zeros((4, 2)), r"float64 \(4, 2\)"),
        (np.zeros(4), r"float64 \(4,\)"),
        (np.array([["a", "b", "c"]]), "<U1"),
        (np.zeros((1, 65)), r"\(1, 65\)"),
    ):
        with pytest.raises(InputError, match=f"^a.npz: expected numbers.*found.*{found}"):
            parse_npz(npz(array), "a.npz")
    with pytest.raises(InputError, match="numpy archive"):
        parse_npz(b"PK\x03\x04 no archive", "a.npz")
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("notes.txt", "nothing")
    with pytest.raises(InputError, match="an array in the archive, found 1 other files"):
        parse_npz(stream.getvalue(), "a.npz")


def test_a_header_that_claims_ten_gigabytes_allocates_nothing() -> None:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (9000000, 60), }"
    member = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header + b"\n"
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("data.npy", member)
    with pytest.raises(InputError, match="9000000 rows of 60 numbers, found 0 bytes"):
        parse_npz(stream.getvalue(), "a.npz")


@pytest.mark.parametrize("header", [b"{'descr': '<f4', 'fortran_order': False, 'shape': (100000000, 1), }\n", b"0" * 2**26])
def test_a_bomb_is_refused_by_its_header(header: bytes) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("data.npy", "w", force_zip64=True) as member:
        member.write(b"\x93NUMPY\x02\x00" + struct.pack("<I", len(header)) + header)
        member.write(bytes(2**25))
    data = stream.getvalue()
    tracemalloc.start()
    with pytest.raises(InputError):
        parse_npz(data, "a.npz")
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 2**21


def test_an_array_that_claims_more_than_the_limit() -> None:
    data = bytearray(npz(np.ones((20, 4), dtype=np.float32)))
    directory = data.index(b"PK\x01\x02")
    struct.pack_into("<I", data, directory + 24, ARRAY_LIMIT_BYTES + 1)
    with pytest.raises(InputError, match=f"at most {ARRAY_LIMIT_BYTES // 2**20} MB"):
        parse_npz(bytes(data), "a.npz")


@given(flip=st.integers(0, 10_000), cut=st.integers(0, 10_000), value=st.integers(0, 255))
def test_damaged_archives_end_in_a_sweep_or_a_line(flip: int, cut: int, value: int) -> None:
    data = bytearray(npz(np.ones((20, 4), dtype=np.float32)))
    data[flip % len(data)] = value
    with one_line_at_most():
        parse_npz(bytes(data[: cut % len(data) or len(data)]), "a.npz")


@given(data=st.binary(max_size=100), columns=st.integers(3, 6))
def test_garbage_is_rows_of_numbers_or_a_line(data: bytes, columns: int) -> None:
    with one_line_at_most():
        assert len(parse_bin(data, columns, "a.bin")) == len(data) // (4 * columns)


@given(data=st.binary(max_size=100))
def test_garbage_is_no_archive(data: bytes) -> None:
    with pytest.raises(InputError, match=r"a\.npz"):
        parse_npz(data, "a.npz")
