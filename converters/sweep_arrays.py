"""Sweeps that are bare numbers: rows of float32 (`.bin`) and numpy archives (`.npz`). Nothing is allocated that the bytes do not fill."""

from __future__ import annotations

import io
import struct
import tokenize
import zipfile
import zlib
from typing import IO

import numpy as np
from numpy.typing import NDArray

from converters.point_cloud_files import POINTS_LIMIT
from sam4d.structures import InputError, Sweep

COLUMNS_LIMIT = 64
ARRAY_LIMIT_BYTES = 2**29
"""An archive that claims a larger array is refused before it is unpacked: packed zeros are a thousandth of their size."""
HEADER_LIMIT_BYTES = 65536
"""Only so much is unpacked before the array's own header is known to be right."""


def parse_bin(data: bytes, columns: int, where: str) -> Sweep:
    """Rows of little-endian float32, x y z first, intensity fourth where there are four columns or more (KITTI: 4, nuScenes: 5).

    Raises:
        InputError: a length that is no whole number of rows, or too many rows.
    """
    row_bytes = 4 * columns
    if len(data) % row_bytes:
        raise InputError(where, f"rows of {columns} float32 numbers", f"{len(data)} bytes, {len(data) % row_bytes} too many")
    _require_count(len(data) // row_bytes, where)
    rows = np.frombuffer(data, dtype="<f4").reshape(-1, columns)
    return _sweep(rows)


def parse_npz(data: bytes, where: str) -> Sweep:
    """The array "data" of a numpy archive, else its first one: numbers (N, 3 or more), x y z first, intensity fourth where there is one.

    Raises:
        InputError: no such archive, no such array, an array of objects, or one that claims more than the archive holds.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {info.filename: info for info in archive.infolist()}
            chosen = members.get("data.npy") or next((info for name, info in members.items() if name.endswith(".npy")), None)
            if chosen is None:
                raise InputError(where, "an array in the archive", f"{len(members)} other files")
            if chosen.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise InputError(where, "an archive as numpy writes it", "another compression")
            if chosen.file_size > ARRAY_LIMIT_BYTES:
                raise InputError(where, f"an array of at most {ARRAY_LIMIT_BYTES // 2**20} MB", f"one of {chosen.file_size} bytes")
            with archive.open(chosen) as member:
                return _sweep(_read_array(member, chosen.file_size, where))
    except InputError:
        raise
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, EOFError, OSError, RuntimeError, zlib.error) as error:
        raise InputError(where, "a numpy archive (.npz)", f"{len(data)} bytes that are none ({error})") from None
    except (ValueError, struct.error, UserWarning):
        # Places and lengths in the directory that cannot be.
        raise InputError(where, "a numpy archive (.npz)", f"{len(data)} bytes with a broken directory") from None


def _read_array(member: IO[bytes], size: int, where: str) -> NDArray[np.generic]:
    """The array of a member that claims so many bytes; its header is looked at before the rest is unpacked."""
    start = member.read(min(size, HEADER_LIMIT_BYTES))
    stream = io.BytesIO(start)
    try:
        version = np.lib.format.read_magic(stream)  # type: ignore[no-untyped-call]
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read_header(stream)  # type: ignore[no-untyped-call]
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError, tokenize.TokenError, UserWarning) as error:
        # The header is a line of Python, and numpy lets through whatever Python says of one that is broken.
        raise InputError(where, "a numpy array", " ".join(str(error).split())[:120]) from None
    if dtype.kind not in "fiu" or len(shape) != 2 or not 3 <= shape[1] <= COLUMNS_LIMIT:
        raise InputError(where, f"numbers (N, 3 to {COLUMNS_LIMIT})", f"{dtype} {shape}")
    _require_count(shape[0], where)
    needed = shape[0] * shape[1] * dtype.itemsize
    if size - stream.tell() < needed:
        raise InputError(where, f"{shape[0]} rows of {shape[1]} numbers", f"{size - stream.tell()} bytes")
    body = start[stream.tell() :] + member.read(max(0, stream.tell() + needed - len(start)))
    if len(body) < needed:
        raise InputError(where, f"{shape[0]} rows of {shape[1]} numbers", f"{len(body)} bytes")
    values = np.frombuffer(body, dtype=dtype, count=shape[0] * shape[1])
    return values.reshape(shape, order="F" if fortran else "C")


def _require_count(count: int, where: str) -> None:
    if not 0 <= count <= POINTS_LIMIT:
        raise InputError(where, f"at most {POINTS_LIMIT} points", str(count))


def _sweep(rows: NDArray[np.generic]) -> Sweep:
    with np.errstate(over="ignore", invalid="ignore"):
        numbers = rows[:, :4].astype(np.float32)
    return Sweep(np.ascontiguousarray(numbers[:, :3]), numbers[:, 3].copy() if numbers.shape[1] > 3 else None)
