"""PLY: what a sweep holds comes back from every encoding; damaged and hostile files end in one line."""

from __future__ import annotations

import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.ply_files import parse_ply
from sam4d.structures import InputError
from tests.converters.one_line import one_line_at_most

ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}


def written(
    rows: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    encoding: str,
    names: tuple[str, ...] = ("x", "y", "z", "intensity"),
    newline: str = "\n",
) -> bytes:
    """A file with a camera before the vertices, a byte before every point, and faces after them."""
    properties = ["property uchar flag", *(f"property float {name}" for name in names)]
    lines = [
        "ply",
        f"format {encoding} 1.0",
        "comment made by a test, in Köln",
        "element camera 2",
        "property double focal",
        "property int id",
    ]
    lines += [f"element vertex {len(rows)}", *properties, "element face 1", "property list uchar int vertex_indices", "end_header", ""]
    header = newline.join(lines).encode("latin-1")
    if encoding == "ascii":
        text = "1.5 7\n2.5 8\n" + "".join("9 " + " ".join(f"{float(value):.9g}" for value in row) + "\n" for row in rows) + "3 0 1 2\n"
        return header + text.encode()
    order = ORDERS[encoding]
    body = b"".join(struct.pack(f"{order}di", focal, number) for focal, number in ((1.5, 7), (2.5, 8)))
    body += b"".join(b"\x09" + struct.pack(f"{order}{len(names)}f", *row) for row in rows)
    return header + body + b"\x03" + struct.pack(f"{order}3i", 0, 1, 2)


@given(
    encoding=st.sampled_from(list(ORDERS)),
    rows=st.lists(st.tuples(*[st.floats(width=32)] * 4), max_size=8),
    newline=st.sampled_from(["\n", "\r\n"]),
)
def test_vertices_come_back(encoding: str, rows: list[tuple[float, ...]], newline: str) -> None:
    table = np.array(rows, dtype=np.float32).reshape(-1, 4)
    sweep = parse_ply(written(table, encoding, newline=newline), "a.ply")
    np.testing.assert_array_equal(sweep.points_m, table[:, :3])
    np.testing.assert_array_equal(sweep.intensity, table[:, 3])


@pytest.mark.parametrize("encoding", ORDERS)
def test_properties_in_any_order_and_of_any_case(encoding: str) -> None:
    table = np.arange(10, dtype=np.float32).reshape(2, 5)
    sweep = parse_ply(written(table, encoding, ("Z", "scalar_Intensity", "Y", "nx", "X")), "a.ply")
    np.testing.assert_array_equal(sweep.points_m, table[:, [4, 2, 0]])
    np.testing.assert_array_equal(sweep.intensity, table[:, 1])
    assert parse_ply(written(table, encoding, ("x", "y", "z", "nx", "ny")), "a.ply").intensity is None


def test_doubles_and_whole_numbers_are_converted() -> None:
    header = b"ply\nformat binary_big_endian 1.0\nelement vertex 1\nproperty double x\nproperty short y\nproperty uint8 z\nend_header\n"
    sweep = parse_ply(header + struct.pack(">dhB", 1e300, -2, 200), "a.ply")
    np.testing.assert_array_equal(sweep.points_m, [[np.inf, -2.0, 200.0]])


def header(*lines: str, encoding: str = "binary_little_endian") -> bytes:
    return "\n".join(["ply", f"format {encoding} 1.0", *lines, "end_header", ""]).encode()


XYZ = ("property float x", "property float y", "property float z")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "a.ply: expected a PLY file, found 0 bytes"),
        (b"ply\nformat ascii 1.0\n", "a PLY header .* that ends with end_header, found none"),
        (b"ply\n" + b"comment\n" * 10_000, "a PLY header of at most 65536 bytes"),
        (b"ply\nelement vertex 0\nproperty float x\nend_header\n", "a line format"),
        (header("element face 3", "property list uchar int i"), "an element vertex, found face"),
        (header("element vertex 3", *XYZ[:2]), "element vertex: expected a property z, found x, y"),
        (header("element vertex 3", *XYZ, "property list uchar int i"), "values of a fixed size up to the vertices, found a list"),
        (header("element face 1", "property list uchar int i", "element vertex 3", *XYZ), "found a list"),
        (header("element vertex 3", *XYZ), "expected 36 bytes of data for 3 vertices, found 0 bytes"),
        (header("element vertex 3", *XYZ, encoding="ascii") + b"1 2 3\n1 2 3\n", "element vertex: expected 3 lines of data, found 2"),
        (header("element vertex 2", *XYZ, encoding="ascii") + b"1 2 3\n1 house 3\n", "point 1: expected numbers, found b'house'"),
        (
            header("element camera 5", "property int i", "element vertex 2", *XYZ, encoding="ascii") + b"1\n",
            "the end of the file before them",
        ),
        (header("element vertex -3", *XYZ), "element vertex: expected a whole number from 0"),
        (header("element vertex 99999999999", *XYZ), "element vertex: expected a whole number from 0 to 10000000"),
        (header("element vertex 3", "property colour x"), "properties of a type"),
        (header("element vertex 3", *XYZ, "property float x"), "properties that differ, found two of the name x"),
        (header("property float x"), "format, element or property"),
        (header("element vertex 3", *XYZ, encoding="binary_middle_endian"), "format, element or property"),
    ],
)
def test_bad_files_get_one_clear_line(data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        parse_ply(data, "a.ply")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("encoding", ORDERS)
def test_a_claim_of_gigabytes_in_a_short_header_allocates_nothing(encoding: str) -> None:
    data = header(
        "element camera 9999999", *[f"property double a{k}" for k in range(60)], "element vertex 9999999", *XYZ, encoding=encoding
    )
    tracemalloc.start()
    try:
        with pytest.raises(InputError):
            parse_ply(data + bytes(100), "a.ply")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


BASES = [written(np.arange(20, dtype=np.float32).reshape(5, 4), encoding) for encoding in ORDERS]


@given(
    base=st.sampled_from(BASES),
    changes=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=4),
    cut=st.integers(0, 10_000),
)
def test_damaged_files_end_in_a_sweep_or_a_line(base: bytes, changes: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(base)
    for place, value in changes:
        data[place % len(data)] = value
    with one_line_at_most():
        parse_ply(bytes(data[: cut % len(data)] if cut % 3 == 0 else data), "a.ply")
