"""Pickles from strangers: plain Python values and numpy arrays of numbers, and nothing else.

A pickle is a program. This reader knows no names but those by which numpy writes arrays, and lets not even numpy look at what they are
given: arrays are put together here from their bytes, after their size was checked.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from sam4d.structures import InputError

SIZE_LIMIT_BYTES = 256 * 2**20
_KINDS = ("b", "i", "u", "f")


def load_pickle(data: bytes, where: str) -> object:
    """The value in a pickle, its arrays as numpy arrays.

    Raises:
        InputError: the pickle names anything but numpy arrays of numbers (nothing of it is run), is broken, or too large.
    """
    if len(data) > SIZE_LIMIT_BYTES:
        raise InputError(where, f"a pickle of at most {SIZE_LIMIT_BYTES // 2**20} MB", f"{len(data)} bytes")
    try:
        return _finished(_Unpickler(io.BytesIO(data)).load(), {})
    except _RefusedError as error:
        raise InputError(where, "a pickle of plain values and numpy arrays", str(error)) from None
    except RecursionError:
        raise InputError(where, "a pickle of plain values and numpy arrays", "values nested too deeply") from None
    except Exception as error:  # a broken pickle can raise anything
        raise InputError(where, "a whole pickle", f"a broken one ({type(error).__name__})") from None


class _RefusedError(Exception):
    """Something in the pickle that is not let in."""


class _Dtype:
    """A numpy type of numbers, by its name."""

    def __init__(self, name: object, *_: object) -> None:
        text = name.decode("ascii", "replace") if isinstance(name, bytes) else name
        if not isinstance(text, str) or len(text) > 4 or not text or text[0] not in _KINDS or not text[1:].isdecimal():
            raise _RefusedError(f"an array of {text!r:.40}")
        self.dtype = np.dtype(text)

    def __setstate__(self, state: object) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if order not in ("<", ">", "|", "="):
            raise _RefusedError("an array of an unknown byte order")
        self.dtype = self.dtype.newbyteorder(order) if order != "|" else self.dtype


class _Array:
    """An array that is being read."""

    def __init__(self) -> None:
        self.value: np.ndarray[tuple[int, ...], np.dtype[np.generic]] | None = None

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise _RefusedError("an array without its parts")
        _, shape, dtype, is_fortran, raw = state
        self.value = _array(raw, dtype, shape, "F" if is_fortran else "C")


def _array(raw: object, dtype: object, shape: object, order: object) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes | bytearray | pickle.PickleBuffer):
        raise _RefusedError("an array that does not hold numbers")
    data = bytes(raw)
    sides = (shape,) if isinstance(shape, int) else shape
    if not isinstance(sides, tuple) or not all(isinstance(side, int) and 0 <= side <= SIZE_LIMIT_BYTES for side in sides) or len(sides) > 8:
        raise _RefusedError("an array of an impossible shape")
    wanted = dtype.dtype.itemsize
    for side in sides:
        wanted *= side
    if wanted != len(data):
        raise _RefusedError(f"an array that claims {wanted} bytes and has {len(data)}")
    return np.frombuffer(data, dtype=dtype.dtype).reshape(sides, order="F" if order == "F" else "C").copy()


def _reconstruct(*_: object) -> _Array:
    return _Array()


def _from_buffer(raw: object, dtype: object, shape: object, order: object) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    return _array(raw, dtype, shape, order)


def _scalar(dtype: object, raw: object) -> object:
    return _array(raw, dtype, (), "C").item()


def _encode(text: object, encoding: object) -> bytes:
    """How old pickles write bytes."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise _RefusedError("an encoding other than latin1")
    return text.encode("latin1")


def _no_bytes(*given: object) -> bytes:
    if given:
        raise _RefusedError("a call of bytes")
    return b""


def _bytearray(*given: object) -> bytearray:
    if not given:
        return bytearray()
    if len(given) != 1 or not isinstance(given[0], bytes):
        raise _RefusedError("a call of bytearray")
    return bytearray(given[0])


class _NdarrayName:
    """Stands for the name numpy.ndarray, which is an argument of `_reconstruct`."""


_NAMES: dict[tuple[str, str], object] = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _NdarrayName,
    ("_codecs", "encode"): _encode,
    ("collections", "OrderedDict"): OrderedDict,
    # Old protocols write bytes that are empty as a call.
    ("__builtin__", "bytes"): _no_bytes,
    ("builtins", "bytes"): _no_bytes,
    ("__builtin__", "bytearray"): _bytearray,
    ("builtins", "bytearray"): _bytearray,
}
for _core in ("numpy.core", "numpy._core"):
    _NAMES[f"{_core}.multiarray", "_reconstruct"] = _reconstruct
    _NAMES[f"{_core}.multiarray", "scalar"] = _scalar
    _NAMES[f"{_core}.numeric", "_frombuffer"] = _from_buffer


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        try:
            return _NAMES[module, name]
        except KeyError:
            raise _RefusedError(f"the name {module}.{name}"[:120]) from None

    def persistent_load(self, pid: object) -> object:
        raise _RefusedError("a reference to something outside")


def _finished(value: object, done: dict[int, object]) -> object:
    """The value with numpy arrays in place of those that were being read. What stands twice stays one."""
    if id(value) in done:
        return done[id(value)]
    if isinstance(value, _Array):
        if value.value is None:
            raise _RefusedError("an array without its parts")
        return value.value
    if isinstance(value, dict):
        finished: dict[object, object] = {}
        done[id(value)] = finished
        finished.update((_finished(key, done), _finished(each, done)) for key, each in value.items())
        return finished
    if isinstance(value, list):
        items: list[object] = []
        done[id(value)] = items
        items.extend(_finished(each, done) for each in value)
        return items
    if isinstance(value, tuple):
        return _finished_tuple(value, done)
    if isinstance(value, _Dtype | _NdarrayName | type) or callable(value):
        raise _RefusedError("a name instead of a value")
    return value


def _finished_tuple(value: Sequence[object], done: dict[int, object]) -> tuple[object, ...]:
    finished = tuple(_finished(each, done) for each in value)
    done[id(value)] = finished
    return finished
