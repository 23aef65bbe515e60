"""Pickles from strangers: plain Python values and numpy arrays of numbers, and nothing else.

A pickle is a program. This reader knows no names but those by which numpy writes arrays, and lets not even numpy look at what they are
given: arrays are put together here from their bytes, after their size was checked.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from sam4d.structures import InputError

SIZE_LIMIT_BYTES = 256 * 2**20
_KINDS = ("b", "i", "u", "f")
_MEMO_CODES = ("PUT", "BINPUT", "LONG_BINPUT")
Value = TypeVar("Value")


def load_pickle(data: bytes, where: str) -> object:
    """The value in a pickle, its arrays as numpy arrays.

    Raises:
        InputError: the pickle names anything but numpy arrays of numbers (nothing of it is run), is broken, or too large.
    """
    return load_with(NAMES, lambda value: _finished(value, {}), data, where, "plain values and numpy arrays")


def load_with(names: Mapping[tuple[str, str], object], finish: Callable[[object], Value], data: bytes, where: str, holds: str) -> Value:
    """What `finish` makes of the value in a pickle that may name `names` and nothing else.

    Args:
        names: what stands for {(module, name)}. All of them are called with whatever the pickle says, and must not trust it.
        holds: what such a pickle holds, in words.

    Raises:
        InputError: as `load_pickle`.
    """
    if len(data) > SIZE_LIMIT_BYTES:
        raise InputError(where, f"a pickle of at most {SIZE_LIMIT_BYTES // 2**20} MB", f"{len(data)} bytes")
    try:
        _require_honest_sizes(data)
        return finish(_Unpickler(data, names).load())
    except RefusedError as error:
        raise InputError(where, f"a pickle of {holds}", str(error)) from None
    except RecursionError:
        raise InputError(where, f"a pickle of {holds}", "values nested too deeply") from None
    except Exception as error:  # a broken pickle can raise anything
        raise InputError(where, "a whole pickle", f"a broken one ({type(error).__name__})") from None


def _require_honest_sizes(data: bytes) -> None:
    """Python's unpickler makes room for what a pickle claims before it looks whether it is there. Raises where a claim is none."""
    for count, (code, argument, _) in enumerate(pickletools.genops(data)):
        if code.name in _MEMO_CODES and isinstance(argument, int) and argument > count:
            raise RefusedError("more values than it holds")


class RefusedError(Exception):
    """Something in the pickle that is not let in."""


class NumberType:
    """A numpy type of numbers, by its name."""

    def __init__(self, name: object, *_: object) -> None:
        text = name.decode("ascii", "replace") if isinstance(name, bytes) else name
        if not isinstance(text, str) or len(text) > 4 or not text or text[0] not in _KINDS or not text[1:].isdecimal():
            raise RefusedError(f"an array of {text!r:.40}")
        self.dtype = np.dtype(text)

    def __setstate__(self, state: object) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if order not in ("<", ">", "|", "="):
            raise RefusedError("an array of an unknown byte order")
        self.dtype = self.dtype.newbyteorder(order) if order != "|" else self.dtype

    def array(self, raw: object, sides: tuple[int, ...], order: str) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
        """An array of this type out of its bytes. Raises RefusedError where they are not what the shape says."""
        if not isinstance(raw, bytes | bytearray | pickle.PickleBuffer):
            raise RefusedError("an array that does not hold numbers")
        data = bytes(raw)
        wanted = self.dtype.itemsize
        for side in sides:
            wanted *= side
        if wanted != len(data):
            raise RefusedError(f"an array that claims {wanted} bytes and has {len(data)}")
        return np.frombuffer(data, dtype=self.dtype).reshape(sides, order="F" if order == "F" else "C").copy()


class PickledArray:
    """An array that is being read."""

    def __init__(self) -> None:
        self.value: np.ndarray[tuple[int, ...], np.dtype[np.generic]] | None = None

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise RefusedError("an array without its parts")
        _, shape, dtype, is_fortran, raw = state
        self.value = _array(raw, dtype, shape, "F" if is_fortran else "C")


def _array(raw: object, dtype: object, shape: object, order: object) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    if not isinstance(dtype, NumberType):
        raise RefusedError("an array that does not hold numbers")
    sides = (shape,) if isinstance(shape, int) else shape
    if not isinstance(sides, tuple) or not all(isinstance(side, int) and 0 <= side <= SIZE_LIMIT_BYTES for side in sides) or len(sides) > 8:
        raise RefusedError("an array of an impossible shape")
    return dtype.array(raw, sides, "F" if order == "F" else "C")


def _reconstruct(*_: object) -> PickledArray:
    return PickledArray()


def _from_buffer(raw: object, dtype: object, shape: object, order: object) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    return _array(raw, dtype, shape, order)


def _scalar(dtype: object, raw: object) -> object:
    return _array(raw, dtype, (), "C").item()


def _encode(text: object, encoding: object) -> bytes:
    """How old pickles write bytes."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise RefusedError("an encoding other than latin1")
    return text.encode("latin1")


def _no_bytes(*given: object) -> bytes:
    if given:
        raise RefusedError("a call of bytes")
    return b""


def _bytearray(*given: object) -> bytearray:
    if not given:
        return bytearray()
    if len(given) != 1 or not isinstance(given[0], bytes):
        raise RefusedError("a call of bytearray")
    return bytearray(given[0])


class _NdarrayName:
    """Stands for the name numpy.ndarray, which is an argument of `_reconstruct`."""


NAMES: dict[tuple[str, str], object] = {
    ("numpy", "dtype"): NumberType,
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
    NAMES[f"{_core}.multiarray", "_reconstruct"] = _reconstruct
    NAMES[f"{_core}.multiarray", "scalar"] = _scalar
    NAMES[f"{_core}.numeric", "_frombuffer"] = _from_buffer


"""What stands for the names by which Python and numpy write plain values and arrays."""


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, names: Mapping[tuple[str, str], object]) -> None:
        super().__init__(io.BytesIO(data))
        self._names = names

    def find_class(self, module: str, name: str) -> object:
        try:
            return self._names[module, name]
        except KeyError:
            full = f"{module}.{name}"
            raise RefusedError(f"the name {full if full.isprintable() else ascii(full)}"[:120]) from None

    def persistent_load(self, pid: object) -> object:
        raise RefusedError("a reference to something outside")


def _finished(value: object, done: dict[int, object]) -> object:
    """The value with numpy arrays in place of those that were being read. What stands twice stays one."""
    if id(value) in done:
        return done[id(value)]
    if isinstance(value, PickledArray):
        if value.value is None:
            raise RefusedError("an array without its parts")
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
    if isinstance(value, NumberType | _NdarrayName | type) or callable(value):
        raise RefusedError("a name instead of a value")
    return value


def _finished_tuple(value: Sequence[object], done: dict[int, object]) -> tuple[object, ...]:
    finished = tuple(_finished(each, done) for each in value)
    done[id(value)] = finished
    return finished
