"""Prepared frames on disk: one file of arrays per key, within a bound, shared by all processes that are given the same folder."""

from __future__ import annotations

import json
import mmap
import os
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from backend.disk_cache import DiskCache
from sam4d.frame_store import Arrays
from sam4d.structures import UInt8Array

DTYPES = {np.dtype(kind).str: np.dtype(kind) for kind in ("?", "u1", "<i2", "<i4", "<i8", "<f4", "<f8")}
"""By their names in the files; of other ones there are none in here."""

ALIGNED_BYTES = 64
"""Arrays begin at multiples of this, as PyTorch's own do: with others the last bits of sums may differ."""

_LENGTH_BYTES = 8
_FILLING = ""
"""The name of what fills up the header; no array has it."""


class DiskFrameStore:
    """Implements `sam4d.frame_store.FrameStore` with safetensors files that are mapped into memory: what is not looked at is not copied,
    and what is written into an array copies the page that it is written to.

    Every array lies there as bytes, filled up with zeros so that the next one begins where it should; the file's metadata says what they
    are: dtype, shape and the sum of its bytes, which is checked. A file that is damaged, cut short or none of ours counts as not there.
    """

    def __init__(self, cache: DiskCache) -> None:
        self._cache = cache

    def get(self, key: str) -> Arrays | None:
        path = self._cache.folder / key
        try:
            with path.open("rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            # The least recently used ones go first.
            os.utime(path)
            return dict(_arrays(mapped))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            return None

    def put(self, key: str, arrays: Arrays) -> bool:
        contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        fields = {name: json.dumps([array.dtype.str, array.shape, _sum_of(array)]) for name, array in contiguous.items()}
        contents = {name: _filled_up(array) for name, array in contiguous.items()}
        return self._cache.put(key, safetensors.numpy.save(contents, metadata=fields | _alignment(contents, fields)))


def _filled_up(array: NDArray[Any]) -> UInt8Array:
    content = array.reshape(-1).view(np.uint8)
    return np.pad(content, (0, -len(content) % ALIGNED_BYTES))


def _alignment(contents: Mapping[str, UInt8Array], fields: Mapping[str, str]) -> dict[str, str]:
    """A field that makes the header, whose length is a multiple of 8 anyway, as long as it must be for the first array."""
    without = safetensors.numpy.save(dict(contents), metadata=dict(fields) | {_FILLING: ""})
    missing = -(_LENGTH_BYTES + int.from_bytes(without[:_LENGTH_BYTES], "little")) % ALIGNED_BYTES
    return {_FILLING: " " * missing}


def _arrays(mapped: mmap.mmap) -> Iterator[tuple[str, NDArray[Any]]]:
    """The arrays of a file by name. Raises one of what `get` catches where it is not right."""
    length = int.from_bytes(mapped[:_LENGTH_BYTES], "little")
    header = json.loads(mapped[_LENGTH_BYTES : _LENGTH_BYTES + length])
    fields = header.pop("__metadata__")
    del fields[_FILLING]
    if fields.keys() != header.keys():
        raise ValueError("what every array is expected")
    for name, field in fields.items():
        kind, shape, expected_sum = json.loads(field)
        dtype, count = DTYPES[kind], int(np.prod(shape, dtype=np.int64))
        begin, end = header[name]["data_offsets"]
        if count * dtype.itemsize > end - begin:
            raise ValueError("another length expected")
        array = np.frombuffer(mapped, dtype, count, _LENGTH_BYTES + length + begin).reshape(shape) if count else np.zeros(shape, dtype)
        if _sum_of(array) != expected_sum:
            raise ValueError("other content expected")
        yield name, array


def _sum_of(array: NDArray[Any]) -> str:
    """Changes with every damaged bit and every lost page; some five times as fast as a cyclic check."""
    content = array.reshape(-1).view(np.uint8)
    whole = len(content) // 8 * 8
    total = int(content[:whole].view(np.uint64).sum(dtype=np.uint64)) + int.from_bytes(content[whole:].tobytes(), "little")
    return f"{total:x}-{zlib.crc32(f'{array.dtype} {array.shape}'.encode()):x}"
