"""LAS and LAZ, the files of surveyors, as sweeps: read by laspy (extra `las`) after the header's claims were checked.

Coordinates come out in the file's own frame, scaled and moved as its header says; they are kept as float32, so that a file in a grid of
a whole country (millions of metres) loses its decimetres: such files are refused. Layout: ASPRS, "LAS Specification 1.4".
"""

from __future__ import annotations

import importlib.util
import io
import struct

import numpy as np

from converters.point_cloud_files import POINTS_LIMIT
from sam4d.geometry import Float64Array
from sam4d.structures import Float32Array, InputError, Sweep

FARTHEST_M = 100_000.0
"""Farther away from the frame's origin, float32 is coarser than a centimetre."""

_HEADER_BYTES = 227
_VLR_BYTES = 54
_CHUNK_POINTS = 250_000
_BYTES_14 = 14
_LAYERS = {10: 9, 11: 1, 12: 2, 13: 1, _BYTES_14: 1}
"""How many separately packed layers a chunk has of each of LAZ's item types from point format 6 on; of extra bytes one for each."""


def parse_las(data: bytes, where: str) -> Sweep:
    """The points of a LAS or LAZ file, row for row, with their intensity (0 to 65535).

    Raises:
        InputError: laspy is not installed; no such file, a broken one, one that claims more points than it holds, or coordinates too
            large for a sweep.
    """
    if importlib.util.find_spec("laspy") is None:
        raise InputError(where, "laspy, which reads LAS and LAZ (pip install '.[las]')", "none installed")
    is_compressed = _require_honest_header(data, where)
    import laspy

    points: list[Float64Array] = [np.empty((0, 3))]
    intensities: list[Float32Array] = [np.empty(0, dtype=np.float32)]
    try:
        if is_compressed:
            _require_honest_chunks(data, where)
        with laspy.LasReader(io.BytesIO(data), laz_backend=laspy.LazBackend.Lazrs, read_evlrs=False) as reader:
            count = reader.header.point_count
            # A chunk at a time: a LAZ file's claim is only known to be one when it does not unpack.
            for chunk in reader.chunk_iterator(_CHUNK_POINTS):
                points.append(np.stack([np.asarray(chunk[axis], dtype=np.float64) for axis in "xyz"], axis=1))
                intensities.append(np.asarray(chunk["intensity"], dtype=np.float32))
    except InputError:
        raise
    except BaseException as error:
        # laspy and its unpackers report broken files with nearly everything; a panic of lazrs is no Exception.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise InputError(where, "a whole LAS or LAZ file", f"a broken one ({type(error).__name__})") from None
    values_m = np.concatenate(points)
    if len(values_m) != count:
        raise InputError(where, f"{count} points", str(len(values_m)))
    if not np.isfinite(values_m).all() or np.abs(values_m).max(initial=0) > FARTHEST_M:
        raise InputError(where, f"coordinates within {FARTHEST_M / 1000:g} km of the LiDAR", "others")
    return Sweep(values_m.astype(np.float32), np.concatenate(intensities))


def _require_honest_header(data: bytes, where: str) -> bool:
    """Whether the points are compressed."""
    if len(data) < _HEADER_BYTES or not data.startswith(b"LASF"):
        raise InputError(where, "a LAS or LAZ file", f"{len(data)} bytes that are none")
    minor = data[25]
    start, vlr_count = struct.unpack_from("<II", data, 96)
    point_format, point_bytes, count = struct.unpack_from("<BHI", data, 104)
    if minor >= 4:
        if len(data) < 375:
            raise InputError(where, "a header of LAS 1.4", f"{len(data)} bytes")
        count = max(count, struct.unpack_from("<Q", data, 247)[0])
    if start > len(data) or vlr_count * _VLR_BYTES > start:
        raise InputError(where, "a whole LAS or LAZ file", f"a header that claims {vlr_count} records before byte {start} of {len(data)}")
    if count > POINTS_LIMIT:
        raise InputError(where, f"at most {POINTS_LIMIT} points", str(count))
    is_compressed = bool(point_format & 0x80)
    if not is_compressed and count * point_bytes > len(data) - start:
        raise InputError(where, f"{count} points of {point_bytes} bytes", f"{len(data) - start} bytes")
    return is_compressed


def _require_honest_chunks(data: bytes, where: str) -> None:
    """The unpacker makes room for what a compressed file says of itself, and ends the whole process where there is none.

    Raises:
        InputError, or anything that reading past an end raises: more chunks than there are bytes, chunks that are longer than the file,
            that are not as long as their layers, or that are too few for the header's points; points of another size than the header's.
    """
    import lazrs

    (header_bytes,), (start, vlr_count) = struct.unpack_from("<H", data, 94), struct.unpack_from("<II", data, 96)
    _, point_bytes, count = struct.unpack_from("<BHI", data, 104)
    if data[25] >= 4:
        count = max(count, struct.unpack_from("<Q", data, 247)[0])
    place, record = header_bytes, b""
    for _ in range(vlr_count):
        _, user, number, length = struct.unpack_from("<H16sHH", data, place)
        if user.rstrip(b"\0") == b"laszip encoded" and number == 22204:
            record = data[place + _VLR_BYTES : place + _VLR_BYTES + length]
        place += _VLR_BYTES + length
    (item_count,) = struct.unpack_from("<H", record, 32)
    items = [struct.unpack_from("<HHH", record, 34 + 6 * index) for index in range(min(item_count, 16))]
    wrong = InputError(where, "a whole LAS or LAZ file", "a broken one (its compression says what cannot be)")
    if item_count > 16 or sum(size for _, size, _ in items) != point_bytes:
        raise wrong
    (table,) = struct.unpack_from("<q", data, start)
    (table,) = struct.unpack_from("<q", data, len(data) - 8) if table == -1 else (table,)
    if not start + 8 <= table <= len(data) - 8 or struct.unpack_from("<I", data, table + 4)[0] > len(data):
        raise wrong
    source = io.BytesIO(data)
    source.seek(start)
    layers = sum(_LAYERS.get(kind, 0) * (size if kind == _BYTES_14 else 1) for kind, size, _ in items)
    place, points = start + 8, 0
    for chunk_points, length in lazrs.read_chunk_table(source, lazrs.LazVlr(record)):
        if not 0 <= length <= table - place:
            raise wrong
        if layers and length:
            sizes = struct.unpack_from(f"<{layers}I", data, place + point_bytes + 4)
            # The unpacker goes on where the layers end, wherever the table says that the next chunk begins.
            if point_bytes + 4 + 4 * layers + sum(sizes) != length:
                raise wrong
        place += length
        points += chunk_points if length else 0
    # It begins with a chunk that the table does not have, too.
    if points < count:
        raise wrong
