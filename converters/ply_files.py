"""PLY, the Stanford polygon format: the element `vertex` of a file as a sweep. ASCII and binary, of either byte order.

Elements before it (cameras, for example) are passed over where all their values have a fixed size; those after it are not looked at.
Layout: G. Turk, "The PLY Polygon File Format".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from converters.ascii_table import read_ascii_table
from converters.point_cloud_files import INTENSITY_NAMES, POINTS_LIMIT, rows_to_sweep
from sam4d.structures import InputError, Sweep

_HEADER_LIMIT_BYTES = 65536
_ENCODINGS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4", "double": "f8"},
    **{"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4", "float32": "f4", "float64": "f8"},
}
_INTENSITY_NAMES = (*INTENSITY_NAMES, "scalar_intensity")


@dataclass
class _Element:
    """types: of its properties, by name; None where one is a list."""

    name: str
    count: int
    types: dict[str, str] | None


def parse_ply(data: bytes, where: str) -> Sweep:
    """The vertices of a PLY file, row for row, with their intensity where a property is called like one of PCD's, or scalar_Intensity.

    Raises:
        InputError: no such file, no vertices with x, y and z, more vertices than the file holds, lists where they cannot be passed over.
    """
    order, elements, start = _parse_header(data, where)
    place = next((index for index, element in enumerate(elements) if element.name == "vertex"), None)
    if place is None:
        raise InputError(where, "an element vertex", ", ".join(element.name for element in elements)[:200] or "no element")
    vertex, before = elements[place], elements[:place]
    if vertex.types is None or any(element.types is None for element in before):
        raise InputError(where, "values of a fixed size up to the vertices", "a list")
    names = {name.lower(): name for name in vertex.types}
    missing = [axis for axis in "xyz" if axis not in names]
    if missing:
        raise InputError(f"{where}: element vertex", f"a property {missing[0]}", ", ".join(vertex.types)[:200])
    chosen = [names[axis] for axis in "xyz"] + [names[name] for name in _INTENSITY_NAMES if name in names][:1]
    properties = list(vertex.types)
    if not order:
        from_line = start
        for _ in range(sum(element.count for element in before)):
            from_line = data.find(b"\n", from_line) + 1
            if not from_line:
                raise InputError(f"{where}: element vertex", f"{vertex.count} lines of data", "the end of the file before them")
        columns = [properties.index(name) for name in chosen]
        table = read_ascii_table(data, from_line, vertex.count, len(properties), columns, where, "element vertex")
        with np.errstate(over="ignore", invalid="ignore"):
            values = table.astype(np.float32)
        return Sweep(np.ascontiguousarray(values[:, :3]), values[:, 3].copy() if len(chosen) > 3 else None)
    start += sum(element.count * _layout(element, order).itemsize for element in before)
    layout = _layout(vertex, order)
    needed = vertex.count * layout.itemsize
    if len(data) - start < needed:
        found = f"{max(len(data) - start, 0)} bytes"
        raise InputError(f"{where}: element vertex", f"{needed} bytes of data for {vertex.count} vertices", found)
    fields: Mapping[str, tuple[np.dtype[np.generic], int]] = {name: each[:2] for name, each in (layout.fields or {}).items()}
    offsets = [fields[name][1] for name in chosen]
    return rows_to_sweep(data, start, vertex.count, layout.itemsize, offsets, [fields[name][0] for name in chosen])


def _layout(element: _Element, order: str) -> np.dtype[np.void]:
    return np.dtype([(name, f"{order}{kind}") for name, kind in (element.types or {}).items()])


def _parse_header(data: bytes, where: str) -> tuple[str, list[_Element], int]:
    """Byte order ("" for ASCII), elements, and where the data begin."""
    lines, start = _header_lines(data, where)
    order: str | None = None
    elements: list[_Element] = []
    for line in lines:
        words = line.split()
        if not words or words[0] in ("comment", "obj_info"):
            continue
        if words[0] == "format" and len(words) == 3 and words[1] in _ENCODINGS:
            order = _ENCODINGS[words[1]]
        elif words[0] == "element" and len(words) == 3:
            elements.append(_Element(words[1], _count(words[2], f"{where}: element {words[1][:40]}"), {}))
        elif words[0] == "property" and elements:
            _add_property(elements[-1], words, where)
        else:
            raise InputError(f"{where}: header", "format, element or property", repr(line[:60]))
    if order is None:
        raise InputError(f"{where}: header", f"a line format ({', '.join(_ENCODINGS)})", "none")
    return order, elements, start


def _header_lines(data: bytes, where: str) -> tuple[list[str], int]:
    if not data.startswith((b"ply\n", b"ply\r\n")):
        raise InputError(where, "a PLY file", f"{len(data)} bytes that are none")
    lines: list[str] = []
    position = data.find(b"\n") + 1
    while True:
        end = data.find(b"\n", position, _HEADER_LIMIT_BYTES)
        if end < 0:
            raise InputError(where, f"a PLY header of at most {_HEADER_LIMIT_BYTES} bytes that ends with end_header", "none")
        line = data[position:end].strip()
        position = end + 1
        if line == b"end_header":
            return lines, position
        if not line.startswith((b"comment", b"obj_info")):
            text = line.decode("latin-1").replace("\t", " ")
            if not (text.isascii() and text.isprintable()):
                raise InputError(where, "a PLY header of printable ASCII lines", repr(line[:40]))
            lines.append(text)


def _add_property(element: _Element, words: Sequence[str], where: str) -> None:
    if len(words) == 5 and words[1] == "list":
        element.types = None
        return
    if len(words) != 3 or words[1] not in _TYPES:
        raise InputError(f"{where}: element {element.name[:40]}", f"properties of a type ({', '.join(_TYPES)})", repr(" ".join(words)[:60]))
    if element.types is not None:
        if words[2] in element.types:
            raise InputError(f"{where}: element {element.name[:40]}", "properties that differ", f"two of the name {words[2][:40]}")
        element.types[words[2]] = _TYPES[words[1]]


def _count(text: str, where: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18 and int(text) <= POINTS_LIMIT):
        raise InputError(where, f"a whole number from 0 to {POINTS_LIMIT}", repr(text[:40]))
    return int(text)


def format_ply(columns: Mapping[str, NDArray[np.generic]], comments: Sequence[str] = ()) -> bytes:
    """Vertices as a binary little-endian file, one property per column (N,) of float32, float64, or whole numbers of up to 32 bits.

    Raises:
        ValueError: a column of another type, or a comment that is not one line of printable ASCII.
    """
    names = {kind: name for name, kind in _TYPES.items() if not name[-1].isdecimal()}
    if not all(comment.isascii() and comment.isprintable() for comment in comments):
        raise ValueError("comments of printable ASCII expected")
    unknown = [name for name, column in columns.items() if column.dtype.str[1:] not in names]
    if unknown:
        raise ValueError(f"numbers that PLY knows expected, found {columns[unknown[0]].dtype} in {unknown[0]}")
    count = len(next(iter(columns.values()), ()))
    rows = np.empty(count, dtype=[(name, column.dtype.newbyteorder("<")) for name, column in columns.items()])
    for name, column in columns.items():
        rows[name] = column
    lines = ["ply", "format binary_little_endian 1.0", *(f"comment {comment}" for comment in comments), f"element vertex {count}"]
    lines += [f"property {names[column.dtype.str[1:]]} {name}" for name, column in columns.items()]
    return ("\n".join([*lines, "end_header"]) + "\n").encode("ascii") + rows.tobytes()
