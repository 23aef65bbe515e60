"""LAS and LAZ as laspy writes them; damaged and hostile files end in one line."""

from __future__ import annotations

import importlib.util
import io
import resource
import struct
from typing import Any

import laspy
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.las_files import parse_las
from sam4d.structures import InputError
from tests.converters.one_line import one_line_at_most


def written(points_m: Any, intensity: Any, *, compressed: bool = False, version: str = "1.2", point_format: int = 1) -> bytes:
    header = laspy.LasHeader(version=version, point_format=point_format)
    header.scales, header.offsets = np.full(3, 0.001), np.array([10.0, -20.0, 1.0])
    las = laspy.LasData(header)
    las.x, las.y, las.z = np.asarray(points_m, dtype=np.float64).T
    las.intensity = np.asarray(intensity, dtype=np.uint16)
    stream = io.BytesIO()
    las.write(stream, do_compress=compressed)
    return stream.getvalue()


RANDOM = np.random.default_rng(0)
POINTS_M, INTENSITY = np.round(RANDOM.uniform(-100, 100, (60, 3)), 3), RANDOM.integers(0, 65536, 60)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(("version", "point_format"), [("1.2", 1), ("1.2", 3), ("1.4", 6), ("1.4", 8)])
def test_points_come_back(compressed: bool, version: str, point_format: int) -> None:
    sweep = parse_las(written(POINTS_M, INTENSITY, compressed=compressed, version=version, point_format=point_format), "a.las")
    np.testing.assert_allclose(sweep.points_m, POINTS_M, atol=1e-5)
    np.testing.assert_array_equal(sweep.intensity, INTENSITY)


def test_a_file_without_points_is_an_empty_sweep() -> None:
    assert len(parse_las(written(np.empty((0, 3)), []), "a.las")) == 0


def changed(data: bytes, place: int, form: str, value: int) -> bytes:
    copy = bytearray(data)
    struct.pack_into(form, copy, place, value)
    return bytes(copy)


PLAIN, PACKED, LATE = (
    written(POINTS_M, INTENSITY),
    written(POINTS_M, INTENSITY, compressed=True),
    written(POINTS_M, INTENSITY, version="1.4", point_format=6),
)


LAYERED = written(POINTS_M, INTENSITY, compressed=True, version="1.4", point_format=7)
CHUNKS = struct.unpack_from("<q", PACKED, struct.unpack_from("<I", PACKED, 96)[0])[0] + 4
LAYERED_WITHOUT_CHUNKS = changed(LAYERED, struct.unpack_from("<q", LAYERED, struct.unpack_from("<I", LAYERED, 96)[0])[0] + 4, "<I", 0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"LASF", "a.las: expected a LAS or LAZ file, found 4 bytes that are none"),
        (b"x" * 500, "a.las: expected a LAS or LAZ file"),
        (PLAIN[:-1], r"expected 60 points of 28 bytes, found \d+ bytes"),
        (changed(PLAIN, 107, "<I", 9_000_000), "expected 9000000 points of 28 bytes"),
        (changed(PLAIN, 107, "<I", 400_000_000), "expected at most 10000000 points, found 400000000"),
        (changed(LATE, 247, "<Q", 2**60), "expected at most 10000000 points"),
        (changed(PLAIN, 100, "<I", 2**32 - 1), "a header that claims 4294967295 records"),
        (changed(PLAIN, 96, "<I", 2**31), "a whole LAS or LAZ file, found a header that claims"),
        (changed(PLAIN, 104, "<B", 77), "a whole LAS or LAZ file, found a broken one"),
        (changed(PACKED, 107, "<I", 9_000_000), "a whole LAS or LAZ file, found a broken one"),
        (changed(PACKED, CHUNKS, "<I", 2**31), "a broken one .its compression says what cannot be"),
        (changed(LAYERED, struct.unpack_from("<I", LAYERED, 96)[0] + 8 + 36 + 4 + 8, "<I", 2**31), "its compression says what cannot be"),
        (LAYERED_WITHOUT_CHUNKS, "its compression says what cannot be"),
        (PACKED[:-40], "a whole LAS or LAZ file, found a broken one"),
        (written(POINTS_M + 400_000.0, INTENSITY), "coordinates within 100 km of the LiDAR, found others"),
    ],
)
def test_bad_files_get_one_clear_line(data: bytes, message: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=message):
        parse_las(data, "a.las")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024


def test_without_laspy_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"a.las: expected laspy, .*\.\[las\].* found none installed"):
        parse_las(PLAIN, "a.las")


@given(
    base=st.sampled_from([PLAIN, PACKED, LATE, LAYERED]),
    changes=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=4),
    cut=st.integers(0, 10_000),
)
def test_damaged_files_end_in_a_sweep_or_a_line(base: bytes, changes: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(base)
    for place, value in changes:
        data[place % (len(data) if place % 2 else 400)] = value
    with one_line_at_most():
        parse_las(bytes(data[: cut % len(data)] if cut % 3 == 0 else data), "a.las")
