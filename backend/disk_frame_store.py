"""Prepared frames on disk: one file of arrays per key, within a bound, shared by all processes that are given the same folder."""

from __future__ import annotations

import json
import mmap
import os
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.disk_cache import DiskCache
from sam4d.frame_store import Arrays

DTYPES = {np.dtype(kind).str: np.dtype(kind) for kind in ("?", "u1", "<i2", "<i4", "<i8", "<f4", "<f8")}
"""By their names in the files; of other ones there are none in here."""

ALIGNED_BYTES = 64
"""Arrays begin at multiples of this, as PyTorch's own do: with others the last bits of sums may differ."""

_MAGIC = b"SAM4D 2\n"
_NUMBER_BYTES = 8
_PREAMBLE_BYTES = len(_MAGIC) + 2 * _NUMBER_BYTES


class DiskFrameStore:
    """Implements `sam4d.frame_store.FrameStore` with files that are mapped into memory: what is not looked at is not copied, and what is
    written into an array copies the page that it is written to.

    A file is eight bytes that say what it is, the length and a cyclic check of its header, the header (JSON: name, dtype, shape, place and
    sum of each array), and the arrays. Sums over an array's bytes are checked; a file that is damaged, cut short or none of ours counts as
    not there.
    """

    def __init__(self, cache: DiskCache) -> None:
        self._cache = cache

    def get(self, key: str) -> dict[str, NDArray[Any]] | None:
        path = self._cache.folder / key
        try:
            with path.open("rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            # The least recently used ones go first.
            os.utime(path)
            return dict(_arrays(mapped))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def put(self, key: str, arrays: Arrays) -> bool:
        contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        fields, place = [], 0
        for name, array in contiguous.items():
            fields.append({"name": name, "dtype": array.dtype.str, "shape": array.shape, "place": place, "sum": _sum_of(array)})
            place = _aligned(place + array.nbytes)
        header = json.dumps(fields).encode()
        preamble = _MAGIC + len(header).to_bytes(_NUMBER_BYTES, "little") + zlib.crc32(header).to_bytes(_NUMBER_BYTES, "little")
        parts = [preamble + header, *(array.tobytes() for array in contiguous.values())]
        return self._cache.put(key, b"".join(part.ljust(_aligned(len(part)), b"\0") for part in parts))


def _aligned(length: int) -> int:
    return -(-length // ALIGNED_BYTES) * ALIGNED_BYTES


def _arrays(mapped: mmap.mmap) -> Iterator[tuple[str, NDArray[Any]]]:
    """The arrays of a file by name. Raises ValueError, KeyError or TypeError where it is not right."""
    length, check = (
        int.from_bytes(mapped[begin : begin + _NUMBER_BYTES], "little") for begin in (len(_MAGIC), len(_MAGIC) + _NUMBER_BYTES)
    )
    header = mapped[_PREAMBLE_BYTES : _PREAMBLE_BYTES + length]
    if mapped[: len(_MAGIC)] != _MAGIC or len(header) != length or zlib.crc32(header) != check:
        raise ValueError("another header expected")
    start = _aligned(_PREAMBLE_BYTES + length)
    for field in json.loads(header):
        dtype, shape = DTYPES[field["dtype"]], tuple(field["shape"])
        count = int(np.prod(shape, dtype=np.int64))
        array = np.frombuffer(mapped, dtype, count, start + field["place"]).reshape(shape) if count else np.zeros(shape, dtype)
        if _sum_of(array) != field["sum"]:
            raise ValueError("other content expected")
        yield field["name"], array


def _sum_of(array: NDArray[Any]) -> str:
    """Changes with every damaged bit and every lost page; some five times as fast as a cyclic check."""
    content = array.reshape(-1).view(np.uint8)
    whole = len(content) // 8 * 8
    total = int(content[:whole].view(np.uint64).sum(dtype=np.uint64)) + int.from_bytes(content[whole:].tobytes(), "little")
    return f"{total:x}-{zlib.crc32(f'{array.dtype} {array.shape}'.encode()):x}"
