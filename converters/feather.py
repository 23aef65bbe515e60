"""Columns of feather files (version 2, which is Arrow's file format), read by pyarrow after their claims were checked.

Arrow makes room for what a compressed column says it will be, before it looks at it. So every message of the file is looked at first: the
sizes that its buffers claim, and its rows. The file is then read from its beginning, message by message; its footer is not trusted.
"""

from __future__ import annotations

import importlib.util
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from converters.point_cloud_files import POINTS_LIMIT
from sam4d.structures import InputError

Column: TypeAlias = Literal["number", "text"]

SIZE_LIMIT_BYTES = 512 * 2**20
"""Of a file's columns together, once decompressed."""

_MAGIC = b"ARROW1\0\0"
_BUFFER_BYTES = 16


def read_feather(data: bytes, columns: Mapping[str, Column], where: str) -> dict[str, NDArray[np.generic]]:
    """Columns of a feather file, {name: (rows,)}: numbers as they are, texts as arrays of objects. Other columns are not looked at.

    Raises:
        InputError: pyarrow is not installed; no feather file, a broken one or one that claims too much; a column that is missing, of
            another kind, or has empty places.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise InputError(where, "pyarrow, which reads feather files (pip install '.[argoverse]')", "none installed")
    import pyarrow as pa

    if not data.startswith(_MAGIC):
        raise InputError(where, "a feather file of version 2", f"{len(data)} bytes that are none")
    stream = pa.py_buffer(data)[len(_MAGIC) :]
    try:
        _require_honest_sizes(pa.ipc.MessageReader.open_stream(stream), where)
        table = pa.ipc.open_stream(stream).read_all()
        missing = [name for name in columns if name not in table.column_names]
        if missing:
            raise InputError(f"{where}: {missing[0]}", "a column", "none among " + ", ".join(map(repr, table.column_names))[:200])
        table = table.select(list(columns))
        table.validate(full=True)
        return {name: _values(table.column(name), kind, f"{where}: {name}") for name, kind in columns.items()}
    except InputError:
        raise
    except (pa.ArrowException, OSError, ValueError, TypeError, LookupError, struct.error) as error:
        # Memory that is truly short is not the file's fault: what it claims was checked before.
        raise InputError(where, "a whole feather file", f"a broken one ({type(error).__name__})") from None


def _values(column: Any, kind: Column, where: str) -> NDArray[np.generic]:
    import pyarrow as pa

    if not len(column):
        # A column without a row has no type to speak of.
        return np.empty(0, dtype=object if kind == "text" else np.float64)
    if column.null_count:
        raise InputError(where, "a value in every row", f"{column.null_count} empty places")
    if kind == "text" and pa.types.is_dictionary(column.type) and pa.types.is_string(column.type.value_type):
        # Not decoded by Arrow, which would repeat a long text in every row.
        return np.concatenate(
            [np.empty(0, dtype=object)]
            + [_texts(chunk.dictionary)[chunk.indices.to_numpy(zero_copy_only=False)] for chunk in column.chunks]
        )
    if kind == "text" and (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return _texts(column)
    if kind == "number" and (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        numbers: NDArray[np.generic] = column.to_numpy()
        return numbers
    raise InputError(where, f"a column of {kind}s", str(column.type)[:80])


def _texts(column: Any) -> NDArray[np.object_]:
    values: NDArray[np.object_] = np.empty(len(column), dtype=object)
    values[:] = column.to_pylist()
    return values


def _require_honest_sizes(messages: Any, where: str) -> None:
    claimed, rows = 0, 0
    while True:
        try:
            message = messages.read_next_message()
        except StopIteration:
            return
        if message.type not in ("record batch", "dictionary"):
            continue
        metadata, body = message.metadata.to_pybytes(), message.body
        batch = _Table.root(metadata).table(2)
        if message.type == "dictionary":
            batch = batch.table(1)
        rows += batch.int64(0)
        if not 0 <= rows <= POINTS_LIMIT:
            raise InputError(where, f"at most {POINTS_LIMIT} rows", str(rows))
        is_compressed = batch.has(3)
        for offset, length in batch.structs(2, _BUFFER_BYTES):
            size = length
            if is_compressed and length >= 8:
                size = struct.unpack("<q", body[offset : offset + 8].to_pybytes())[0]
                size = length if size == -1 else size
            if not 0 <= size <= SIZE_LIMIT_BYTES - claimed:
                raise InputError(where, f"columns of at most {SIZE_LIMIT_BYTES // 2**20} MB", f"a claim of {size} bytes")
            claimed += size


class _Table:
    """A table of a flatbuffer: fields by number, each found through the table of their places. Layout: flatbuffers.dev, "Internals"."""

    def __init__(self, data: bytes, place: int) -> None:
        self._data = data
        self._place = place
        (back,) = struct.unpack_from("<i", data, place)
        self._offsets = place - back
        if not 0 <= self._offsets < len(data):
            raise ValueError("a table outside its message")

    @classmethod
    def root(cls, data: bytes) -> _Table:
        return cls(data, *struct.unpack_from("<I", data))

    def has(self, field: int) -> bool:
        return self._field(field) is not None

    def int64(self, field: int) -> int:
        place = self._field(field)
        return 0 if place is None else int(struct.unpack_from("<q", self._data, place)[0])

    def table(self, field: int) -> _Table:
        return _Table(self._data, self._target(field))

    def structs(self, field: int, size: int) -> Sequence[tuple[int, int]]:
        """A list of structs of two int64."""
        start = self._target(field)
        (count,) = struct.unpack_from("<I", self._data, start)
        if count * size > len(self._data):
            raise ValueError("a list longer than its message")
        return [struct.unpack_from("<qq", self._data, start + 4 + size * index) for index in range(count)]

    def _field(self, number: int) -> int | None:
        (length,) = struct.unpack_from("<H", self._data, self._offsets)
        if 4 + 2 * number >= length:
            return None
        (offset,) = struct.unpack_from("<H", self._data, self._offsets + 4 + 2 * number)
        return self._place + int(offset) if offset else None

    def _target(self, number: int) -> int:
        place = self._field(number)
        if place is None:
            raise ValueError("a field that is not there")
        return place + int(struct.unpack_from("<I", self._data, place)[0])
