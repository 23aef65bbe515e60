"""Tables of pandas out of pickles, without pandas: nothing of it is imported or run.

A DataFrame is pickled as blocks, arrays of several columns of one type, and the places of these columns in the table. Read as pandas
0.25 to 3 write them; columns of numbers and of texts. Texts that pyarrow holds are refused.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from converters.safe_pickle import NAMES, SIZE_LIMIT_BYTES, NumberType, PickledArray, RefusedError, load_with
from sam4d.structures import InputError

COLUMNS_LIMIT = 256


def load_table(data: bytes, where: str) -> dict[str, NDArray[np.generic]]:
    """The columns of a pickled DataFrame, {name: (rows,)}; numbers as they are, texts as arrays of objects. Its index is left out.

    Raises:
        InputError: the pickle names anything but a DataFrame and numpy arrays (nothing of it is run), is broken, or too large.
    """
    return load_with(_TABLE_NAMES, _columns, data, where, "a table of numbers and texts")


def decompress(data: bytes, where: str) -> bytes:
    """The content of a gzip file. Raises InputError where it is none, broken off, or holds more than a pickle may."""
    unpacker = zlib.decompressobj(wbits=31)
    try:
        content = unpacker.decompress(data, SIZE_LIMIT_BYTES + 1)
    except zlib.error:
        raise InputError(where, "a gzip file", f"{len(data)} bytes that are none") from None
    if len(content) > SIZE_LIMIT_BYTES:
        raise InputError(where, f"at most {SIZE_LIMIT_BYTES // 2**20} MB once decompressed", "more")
    if not unpacker.eof:
        raise InputError(where, "a whole gzip file", "one that is broken off")
    return content


def number_column(table: Mapping[str, NDArray[np.generic]], name: str, where: str) -> NDArray[np.float64]:
    """A column as numbers, which may be any. Raises InputError where there is none, or one of texts."""
    column = _column(table, name, where)
    if column.dtype.kind not in "fiub":
        raise InputError(f"{where}: {name}", "a column of numbers", "one of texts")
    return column.astype(np.float64)


def text_column(table: Mapping[str, NDArray[np.generic]], name: str, where: str) -> list[str]:
    """A column as texts. Raises InputError where there is none, or where one is empty, no text or not printable."""
    texts: list[str] = []
    for value in _column(table, name, where).tolist():
        if not isinstance(value, str) or not value.strip() or not value.isprintable():
            raise InputError(f"{where}: {name}", "texts that are not empty", repr(value)[:80])
        texts.append(value)
    return texts


def _column(table: Mapping[str, NDArray[np.generic]], name: str, where: str) -> NDArray[np.generic]:
    if name not in table:
        raise InputError(f"{where}: {name}", "a column", "none among " + ", ".join(map(repr, table))[:200])
    return table[name]


class _ObjectType(NumberType):
    """The numpy type of Python objects: only texts, numbers and None come through."""

    def __init__(self) -> None:
        self.dtype = np.dtype(object)

    def __setstate__(self, state: object) -> None:
        pass

    def array(self, raw: object, sides: tuple[int, ...], order: str) -> NDArray[np.generic]:
        count = 1
        for side in sides:
            count *= side
        if not isinstance(raw, list) or len(raw) != count:
            raise RefusedError(f"an array that claims {count} objects and has {len(raw) if isinstance(raw, list) else 'none'}")
        if not all(value is None or isinstance(value, str | bool | int | float) for value in raw):
            raise RefusedError("an array of objects that are neither texts nor numbers")
        values = np.empty(count, dtype=object)
        values[:] = raw
        return values.reshape(sides)


def _number_or_object_type(name: object, *rest: object) -> NumberType:
    return _ObjectType() if name in ("O", "O8", b"O", b"O8") else NumberType(name, *rest)


class _Part:
    """An object of pandas as the pickle gives it: what it was called with, and its state."""

    given: tuple[object, ...] = ()
    state: object = None

    def __init__(self, *given: object) -> None:
        self.given = given

    def __setstate__(self, state: object) -> None:
        self.state = state


class _DataFrame(_Part):
    pass


class _BlockManager(_Part):
    pass


class _Block(_Part):
    pass


class _Index(_Part):
    pass


class _Slice(_Part):
    pass


class _TextArray(_Part):
    pass


_TABLE_NAMES: dict[tuple[str, str], object] = {
    **NAMES,
    ("numpy", "dtype"): _number_or_object_type,
    ("pandas.core.internals.managers", "BlockManager"): _BlockManager,
    ("pandas._libs.internals", "BlockManager"): _BlockManager,
    ("pandas._libs.internals", "_unpickle_block"): _Block,
    ("pandas.core.indexes.base", "_new_Index"): _Index,
    ("builtins", "slice"): _Slice,
    ("__builtin__", "slice"): _Slice,
    ("pandas._libs.arrays", "__pyx_unpickle_NDArrayBacked"): _TextArray,
    ("pandas.arrays", "StringArray"): _Part,
    ("pandas.core.arrays.string_", "StringArray"): _Part,
    ("pandas.core.arrays.string_", "StringDtype"): _Part,
    ("pandas", "StringDtype"): _Part,
    ("pandas", "DataFrame"): _DataFrame,
    ("pandas.core.frame", "DataFrame"): _DataFrame,
}
for _name in ("Index", "RangeIndex"):
    _TABLE_NAMES["pandas", _name] = _Part
for _module, _name in (("base", "Index"), ("range", "RangeIndex"), ("numeric", "Int64Index")):
    _TABLE_NAMES[f"pandas.core.indexes.{_module}", _name] = _Part


def _columns(value: object) -> dict[str, NDArray[np.generic]]:
    if not isinstance(value, _DataFrame) or not isinstance(value.state, Mapping):
        raise RefusedError("no table")
    manager = value.state.get("_mgr", value.state.get("_data"))
    if not isinstance(manager, _BlockManager):
        raise RefusedError("a table without its blocks")
    blocks, names = _blocks(manager)
    columns: dict[str, NDArray[np.generic]] = {}
    for values, placement in blocks:
        rows = _array(values)
        rows = rows[None] if rows.ndim == 1 else rows
        places = _places(placement, len(names))
        if rows.ndim != 2 or len(rows) != len(places):
            raise RefusedError(f"a block of shape {rows.shape} for {len(places)} columns")
        for place, column in zip(places, rows, strict=True):
            columns[names[place]] = column
    if len(columns) != len(names):
        raise RefusedError(f"{len(columns)} columns under {len(names)} names")
    if len({len(column) for column in columns.values()}) > 1:
        raise RefusedError("columns of different lengths")
    return {name: columns[name] for name in names}


def _blocks(manager: _BlockManager) -> tuple[list[tuple[object, object]], list[str]]:
    """(values, their places among the columns) of every block, and the columns' names."""
    if len(manager.given) == 2:
        blocks, axes = manager.given
        pairs = [(block.given[0], block.given[1]) for block in _list(blocks) if isinstance(block, _Block) and len(block.given) == 3]
    else:
        # Before pandas 1.3: (axes, values of the blocks, names of their columns, {"0.14.1": what came later}).
        state = manager.state
        latest = state[3].get("0.14.1") if isinstance(state, tuple) and len(state) == 4 and isinstance(state[3], dict) else None
        if not isinstance(latest, dict):
            raise RefusedError("a table without its blocks")
        blocks, axes = latest.get("blocks"), latest.get("axes")
        pairs = [(block.get("values"), block.get("mgr_locs")) for block in _list(blocks) if isinstance(block, dict)]
    if len(pairs) != len(_list(blocks)):
        raise RefusedError("a block without its parts")
    if len(_list(axes)) != 2:
        raise RefusedError("a table without its names")
    index = _list(axes)[0]
    named = index.given[1] if isinstance(index, _Index) and len(index.given) == 2 else None
    if not isinstance(named, dict) or "data" not in named:
        raise RefusedError("a table without its names")
    names = _array(named["data"]).tolist()
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len(names) > COLUMNS_LIMIT:
        raise RefusedError(f"a table whose columns are not at most {COLUMNS_LIMIT} names")
    if len(set(names)) != len(names):
        raise RefusedError("a table with two columns of one name")
    return pairs, names


def _array(value: object) -> NDArray[np.generic]:
    if isinstance(value, _TextArray):
        # (type, array) of a column of texts
        state = value.state
        parts = state if isinstance(state, tuple) else ()
        value = next((part for part in parts if isinstance(part, PickledArray | np.ndarray)), None)
    if isinstance(value, PickledArray):
        value = value.value
    if not isinstance(value, np.ndarray):
        raise RefusedError("a column of another kind than numbers and texts")
    return value


def _list(value: object) -> tuple[object, ...]:
    if not isinstance(value, list | tuple):
        raise RefusedError("a table without its parts")
    return tuple(value)


def _places(placement: object, count: int) -> list[int]:
    if isinstance(placement, _Slice):
        start, stop, step = placement.given if len(placement.given) == 3 else (None, None, None)
        if not (isinstance(start, int) and isinstance(stop, int) and isinstance(step, int | None) and step != 0):
            raise RefusedError("a block at an impossible place")
        return list(range(count))[start:stop:step]
    places = _array(placement)
    if places.dtype.kind not in "iu" or places.ndim != 1 or (len(places) and not (places.min() >= 0 and places.max() < count)):
        raise RefusedError("a block at an impossible place")
    return [int(place) for place in places]
