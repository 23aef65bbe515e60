"""Prepared frames on disk: one file of arrays per key, within a bound, shared by all processes that are given the same folder."""

from __future__ import annotations

import json
import mmap
import os
import zlib
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from backend.disk_cache import DiskCache
from sam4d.frame_store import Arrays

DTYPES = {"BOOL": np.bool_, "U8": np.uint8, "I16": np.int16, "I64": np.int64, "F32": np.float32, "F64": np.float64}
"""By their names in safetensors files; of other ones there are none in here."""

_LENGTH_BYTES = 8


class DiskFrameStore:
    """Implements `sam4d.frame_store.FrameStore` with safetensors files, which are mapped into memory: what is not looked at is not copied.

    Every array has a sum over its bytes, which is checked; a file that is damaged, cut short or none of ours counts as not there.
    """

    def __init__(self, cache: DiskCache) -> None:
        self._cache = cache

    def get(self, key: str) -> dict[str, NDArray[Any]] | None:
        path = self._cache.folder / key
        try:
            with path.open("rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            # The least recently used ones go first.
            os.utime(path)
            return _arrays(mapped)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            return None

    def put(self, key: str, arrays: Arrays) -> bool:
        contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        sums = {name: _sum_of(array) for name, array in contiguous.items()}
        return self._cache.put(key, safetensors.numpy.save(contiguous, metadata=sums))


def _arrays(mapped: mmap.mmap) -> dict[str, NDArray[Any]]:
    """Read-only arrays of a safetensors file. Raises ValueError, KeyError, TypeError or AttributeError where it is not right."""
    length = int.from_bytes(mapped[:_LENGTH_BYTES], "little")
    header = json.loads(mapped[_LENGTH_BYTES : _LENGTH_BYTES + length])
    sums = header.pop("__metadata__")
    if sums.keys() != header.keys():
        raise ValueError("a sum for every array expected")
    arrays = {}
    for name, field in header.items():
        begin, end = field["data_offsets"]
        dtype, shape = np.dtype(DTYPES[field["dtype"]]), tuple(field["shape"])
        count = int(np.prod(shape, dtype=np.int64))
        if count * dtype.itemsize != end - begin:
            raise ValueError("another length expected")
        array = np.frombuffer(mapped, dtype, count, _LENGTH_BYTES + length + begin).reshape(shape) if count else np.zeros(shape, dtype)
        if _sum_of(array) != sums[name]:
            raise ValueError("other content expected")
        arrays[name] = array
    return arrays


def _sum_of(array: NDArray[Any]) -> str:
    """Changes with every damaged bit and every lost page; some five times as fast as a cyclic check."""
    content = array.reshape(-1).view(np.uint8)
    whole = len(content) // 8 * 8
    total = int(content[:whole].view(np.uint64).sum(dtype=np.uint64)) + int.from_bytes(content[whole:].tobytes(), "little")
    return f"{total:x}-{zlib.crc32(f'{array.dtype} {array.shape}'.encode()):x}"
