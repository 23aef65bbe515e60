"""PCD 0.7, the point cloud files of PCL: bytes in, `Sweep` out, and back.

The three encodings (`ascii`, `binary`, `binary_compressed`) and the odd files that real recorders write: repeated `_` padding fields,
fields of COUNT 0 or more than 1, a missing COUNT line, integer or double coordinates, CRLF header lines, organised clouds, bytes after
the data. Other fields than coordinates and intensity are skipped, VIEWPOINT is not applied. Nothing is allocated that the bytes
at hand could not fill. Layout: pointclouds.org, "The PCD file format".
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import cv2
import lzf
import numpy as np
from numpy.typing import NDArray

from converters.ascii_table import read_ascii_table
from sam4d.structures import InputError, Sweep

PcdEncoding: TypeAlias = Literal["ascii", "binary", "binary_compressed"]

INTENSITY_NAMES = ("intensity", "i", "reflectivity", "reflectance", "remission")
"""Field names read as intensity, the first that the file has; upper and lower case are the same."""

POINTS_LIMIT = 10_000_000
"""Sweeps of more points are refused."""

_HEADER_LIMIT_BYTES = 65536
_POINT_LIMIT_BYTES = 65536
_RAW_LIMIT_BYTES = 2**29
# A back reference of LZF is 3 bytes long and yields at most 264.
_LZF_LARGEST_RATIO = 88
_DTYPE_KINDS = {"F": ("f", (2, 4, 8)), "I": ("i", (1, 2, 4, 8)), "U": ("u", (1, 2, 4, 8))}


@dataclass(frozen=True)
class _Field:
    """One field of the header. `column` counts the values before it in a point, `offset` the bytes."""

    name: str
    dtype: np.dtype[np.generic]
    count: int
    column: int
    offset: int


@dataclass(frozen=True)
class _Header:
    fields: tuple[_Field, ...]
    point_count: int
    data_mode: str
    body_start: int

    @property
    def point_bytes(self) -> int:
        return sum(field.dtype.itemsize * field.count for field in self.fields)

    @property
    def columns(self) -> int:
        return sum(field.count for field in self.fields)


def parse_pcd(data: bytes, where: str) -> Sweep:
    """A PCD file's coordinates and intensity.

    Args:
        data: the whole file.
        where: what errors call the file.

    Returns:
        The sweep, row for row as in the file, points that are not finite included. Intensity in the file's own range, or None where
        no field of `INTENSITY_NAMES` holds one number per point.

    Raises:
        InputError: the header or the data are not those of a PCD file with x, y and z, or the data end early.
    """
    header = _parse_header(data, where)
    chosen = [_coordinate_field(header.fields, name, where) for name in "xyz"]
    intensity = _intensity_field(header.fields)
    if intensity is not None:
        chosen.append(intensity)
    columns: Sequence[NDArray[np.generic]]
    if header.data_mode == "ascii":
        places = [field.column for field in chosen]
        columns = list(read_ascii_table(data, header.body_start, header.point_count, header.columns, places, where, "POINTS").T)
    elif header.data_mode == "binary":
        _require_bytes(len(data) - header.body_start, header.point_count * header.point_bytes, header, where)
        places = [field.offset for field in chosen]
        formats = [field.dtype for field in chosen]
        return rows_to_sweep(data, header.body_start, header.point_count, header.point_bytes, places, formats)
    else:
        columns = _compressed_columns(data, header, chosen, where)
    return columns_to_sweep(columns)


def columns_to_sweep(columns: Sequence[NDArray[np.generic]]) -> Sweep:
    """x, y, z and, where there are four, intensity: numbers (N,) of any type."""
    values = np.empty((len(columns[0]), 3), dtype=np.float32)
    # A double beyond float32 becomes infinite, which is what a point that is not there looks like.
    with np.errstate(over="ignore", invalid="ignore"):
        for axis in range(3):
            values[:, axis] = columns[axis]
        return Sweep(values, columns[3].astype(np.float32) if len(columns) > 3 else None)


def rows_to_sweep(
    data: bytes, start: int, count: int, row_bytes: int, offsets: Sequence[int], formats: Sequence[np.dtype[np.generic]]
) -> Sweep:
    """A sweep out of rows of bytes: where in a row x, y, z and perhaps the intensity stand, and as what. The bytes must be there."""
    floats = set(formats) == {np.dtype("<f4")}
    if floats and row_bytes == 16 and list(offsets) == [0, 4, 8, 12] and count:
        # The usual file, four floats a row: OpenCV drops the fourth as it drops an image's opacity, many times faster than a copy of parts.
        whole = np.frombuffer(data, dtype="<f4", count=4 * count, offset=start).reshape(1, count, 4)
        points_m = cv2.cvtColor(whole, cv2.COLOR_BGRA2BGR).reshape(count, 3).astype(np.float32, copy=False)
        return Sweep(points_m, cv2.extractChannel(whole, 3).reshape(count).astype(np.float32, copy=False))
    names = ["x", "y", "z", "intensity"][: len(offsets)]
    layout = np.dtype({"names": names, "formats": list(formats), "offsets": list(offsets), "itemsize": row_bytes})
    table = np.frombuffer(data, layout, count=count, offset=start)
    if not floats or row_bytes < 12 or [offset - offsets[0] for offset in offsets[:3]] != [0, 4, 8]:
        return columns_to_sweep([table[name] for name in names])
    # Twelve bytes at once are copied several times faster than three numbers.
    places = np.dtype({"names": ["xyz"], "formats": ["V12"], "offsets": [offsets[0]], "itemsize": row_bytes})
    xyz = np.ascontiguousarray(np.frombuffer(data, places, count=count, offset=start)["xyz"]).view("<f4").reshape(-1, 3)
    return Sweep(xyz, table["intensity"].copy() if len(offsets) > 3 else None)


def format_pcd(sweep: Sweep, encoding: PcdEncoding = "binary") -> bytes:
    """A PCD 0.7 file with the fields x y z, and intensity where the sweep has one, all float32. Inverse of `parse_pcd`, bit for bit
    except that ASCII keeps NaN without its payload.
    """
    columns = [*sweep.points_m.T] + ([] if sweep.intensity is None else [sweep.intensity])
    table = np.stack(columns, axis=1).astype("<f4", copy=False)
    names = "x y z" if sweep.intensity is None else "x y z intensity"
    width = len(columns)
    header = (
        "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\n"
        f"FIELDS {names}\nSIZE{' 4' * width}\nTYPE{' F' * width}\nCOUNT{' 1' * width}\n"
        f"WIDTH {len(sweep)}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {len(sweep)}\nDATA {encoding}\n"
    ).encode("ascii")
    if encoding == "binary":
        return header + table.tobytes()
    if encoding == "binary_compressed":
        raw = table.T.tobytes()
        packed = _compress(raw)
        return header + struct.pack("<II", len(packed), len(raw)) + packed
    # Nine significant digits bring every float32 back unchanged.
    row = "%.9g " * (width - 1) + "%.9g\n"
    text = row * len(table) % tuple(table.ravel().tolist())
    return header + text.encode("ascii")


def _parse_header(data: bytes, where: str) -> _Header:
    entries, body_start = _header_entries(data, where)
    fields = _header_fields(entries, where)
    data_mode = entries["DATA"][0].lower() if entries["DATA"] else ""
    if data_mode not in ("ascii", "binary", "binary_compressed"):
        raise InputError(f"{where}: DATA", "ascii, binary or binary_compressed", repr(" ".join(entries["DATA"])))
    point_count = _point_count(entries, where)
    return _Header(fields, point_count, data_mode, body_start)


def _header_entries(data: bytes, where: str) -> tuple[dict[str, list[str]], int]:
    """The header's lines by their first word, and where the data begin."""
    entries: dict[str, list[str]] = {}
    position = 0
    while "DATA" not in entries:
        end = data.find(b"\n", position, _HEADER_LIMIT_BYTES)
        if end < 0:
            found = "the end of the file" if len(data) < _HEADER_LIMIT_BYTES else f"none in the first {_HEADER_LIMIT_BYTES} bytes"
            raise InputError(where, "a PCD header that ends with a DATA line", found)
        line = data[position:end].strip()
        position = end + 1
        if not line or line.startswith(b"#"):
            continue
        text = line.decode("latin-1").replace("\t", " ")
        if not (text.isascii() and text.isprintable()):
            raise InputError(where, "a PCD header of printable ASCII lines", repr(line[:40]))
        key, *values = text.split()
        entries["FIELDS" if key.upper() == "COLUMNS" else key.upper()] = values
    return entries, position


def _header_fields(entries: Mapping[str, Sequence[str]], where: str) -> tuple[_Field, ...]:
    for key in ("FIELDS", "SIZE", "TYPE"):
        if not entries.get(key):
            raise InputError(f"{where}: {key}", "a header line with one entry per field", "none")
    names, sizes, types = entries["FIELDS"], entries["SIZE"], entries["TYPE"]
    counts = entries.get("COUNT", ["1"] * len(names))
    for key, values in (("SIZE", sizes), ("TYPE", types), ("COUNT", counts)):
        if len(values) != len(names):
            raise InputError(f"{where}: {key}", f"{len(names)} entries, one per field", f"{len(values)}")
    fields: list[_Field] = []
    column = offset = 0
    for name, size, kind, count in zip(names, sizes, types, counts, strict=True):
        if kind.upper() not in _DTYPE_KINDS:
            raise InputError(f"{where}: TYPE of field {name}", "F, I or U", repr(kind))
        letter, widths = _DTYPE_KINDS[kind.upper()]
        width = _whole_number(size, f"{where}: SIZE of field {name}")
        if width not in widths:
            raise InputError(f"{where}: SIZE of field {name}", f"one of {', '.join(map(str, widths))} bytes for type {kind}", str(width))
        field = _Field(name, np.dtype(f"<{letter}{width}"), _whole_number(count, f"{where}: COUNT of field {name}"), column, offset)
        fields.append(field)
        column += field.count
        offset += field.count * width
        if offset > _POINT_LIMIT_BYTES:
            raise InputError(f"{where}: COUNT of field {name}", f"points of at most {_POINT_LIMIT_BYTES} bytes", f"{offset} bytes")
    return tuple(fields)


def _point_count(entries: Mapping[str, Sequence[str]], where: str) -> int:
    sizes = {}
    for key in ("WIDTH", "HEIGHT", "POINTS"):
        if key in entries:
            sizes[key] = _whole_number(" ".join(entries[key]), f"{where}: {key}")
    if "POINTS" not in sizes and "WIDTH" not in sizes:
        raise InputError(f"{where}: POINTS", "a header line with the number of points", "none")
    product = sizes["WIDTH"] * sizes.get("HEIGHT", 1) if "WIDTH" in sizes else sizes["POINTS"]
    points = sizes.get("POINTS", product)
    if points != product:
        raise InputError(f"{where}: POINTS", f"WIDTH times HEIGHT, {product}", str(points))
    if points > POINTS_LIMIT:
        raise InputError(f"{where}: POINTS", f"at most {POINTS_LIMIT} points", str(points))
    return points


def _whole_number(text: str, where: str) -> int:
    # Digits only: int() would also take "+4", "1_000" and "٣"; eighteen of them still fit 64 bits.
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise InputError(where, "a whole number that is not negative", repr(text[:40]))
    return int(text)


def _coordinate_field(fields: Sequence[_Field], name: str, where: str) -> _Field:
    found = [field for field in fields if field.name.lower() == name]
    if len(found) != 1:
        raise InputError(f"{where}: FIELDS", f"one field {name}", " ".join(field.name for field in fields)[:200])
    if found[0].count != 1:
        raise InputError(f"{where}: COUNT of field {name}", "1", str(found[0].count))
    return found[0]


def _intensity_field(fields: Sequence[_Field]) -> _Field | None:
    single = {field.name.lower(): field for field in reversed(fields) if field.count == 1}
    return next((single[name] for name in INTENSITY_NAMES if name in single), None)


def _compressed_columns(data: bytes, header: _Header, chosen: Sequence[_Field], where: str) -> list[NDArray[np.generic]]:
    start = header.body_start + 8
    if len(data) < start:
        raise InputError(f"{where}: compressed data", "two sizes of 4 bytes each", f"{len(data) - header.body_start} bytes")
    packed_bytes, raw_bytes = struct.unpack_from("<II", data, header.body_start)
    if raw_bytes != header.point_count * header.point_bytes:
        raise InputError(
            f"{where}: uncompressed size",
            f"{header.point_count * header.point_bytes} bytes for {header.point_count} points of {header.point_bytes} bytes",
            f"{raw_bytes} bytes",
        )
    if packed_bytes > len(data) - start:
        raise InputError(f"{where}: compressed size", f"at most the {len(data) - start} bytes that follow", f"{packed_bytes} bytes")
    limit_bytes = min(packed_bytes * _LZF_LARGEST_RATIO, _RAW_LIMIT_BYTES)
    if raw_bytes > limit_bytes:
        raise InputError(
            f"{where}: uncompressed size", f"at most {limit_bytes} bytes out of {packed_bytes} compressed ones", f"{raw_bytes} bytes"
        )
    raw = _decompress(data[start : start + packed_bytes], raw_bytes, where)
    # The fields lie one after the other, each with all its points.
    return [np.frombuffer(raw, field.dtype, count=header.point_count, offset=field.offset * header.point_count) for field in chosen]


def _require_bytes(available: int, needed: int, header: _Header, where: str) -> None:
    if available < needed:
        raise InputError(
            f"{where}: POINTS",
            f"{needed} bytes of data for {header.point_count} points of {header.point_bytes} bytes",
            f"{max(available, 0)} bytes",
        )


def _compress(raw: bytes) -> bytes:
    if not raw:
        return b""
    packed = lzf.compress(raw, len(raw) + len(raw) // 16 + 64)
    if packed is None:
        raise ValueError("LZF grew beyond its bound")
    return bytes(packed)


def _decompress(packed: bytes, raw_bytes: int, where: str) -> bytes:
    if raw_bytes == 0:
        return b""
    try:
        raw = lzf.decompress(packed, raw_bytes)
    except ValueError:
        raise InputError(f"{where}: compressed data", "LZF", "bytes that are not") from None
    if raw is None or len(raw) != raw_bytes:
        raise InputError(f"{where}: compressed data", f"{raw_bytes} bytes once decompressed", "more" if raw is None else f"{len(raw)}")
    return bytes(raw)
