"""Numbers written in decimal, many at once: as exact as one by one, several times faster.

Eight digits are taken as one 64-bit word and added up within it. Where whole and decimal digits together stay below 2**53, one division by
a power of ten gives the nearest float64, as David Gay and William Clinger have shown; all other numbers (exponents, nan, very many digits)
are left to Python, one by one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sam4d.geometry import BoolArray, Float64Array

_EXACT = 2**53
_WORD = 8
_PADDING = 2 * _WORD
_BLOCK = 16384
"""Numbers at a time: what is worked on stays in the processor's cache."""
_ZEROS, _BOUND, _HIGH_BITS = np.uint64(0x3030303030303030), np.uint64(0x4646464646464646), np.uint64(0x8080808080808080)
_EVERY_FOURTH = np.uint64(0x000000FF000000FF)
_BYTES = np.arange(_WORD + 1)
_LAST = np.array([sum(0xFF << (8 * byte) for byte in range(_WORD - count, _WORD)) for count in _BYTES.tolist()], dtype=np.uint64)
"""Masks of the last 0 to 8 bytes of a word: the least digits, which stand at the highest addresses."""
_FIRST = np.array([sum(0xFF << (8 * byte) for byte in range(count)) for count in _BYTES.tolist()], dtype=np.uint64)


def parse_numbers(text: bytes, starts: NDArray[np.int64], ends: NDArray[np.int64], most_by_one: int) -> Float64Array | None:
    """The numbers between these places in a text, ascending, float64 (N,), each the nearest to what is written.

    Returns:
        None where more than `most_by_one` of them would have to be read one by one.

    Raises:
        ValueError: something that is no number.
    """
    padding = b"0" * _PADDING
    padded = padding + text + padding
    values: Float64Array = np.empty(len(starts))
    left = most_by_one
    for begin in range(0, len(starts), _BLOCK):
        block = slice(begin, begin + _BLOCK)
        values[block], unusual = _block(padded, starts[block] + _PADDING, ends[block] + _PADDING)
        left -= len(unusual)
        if left < 0:
            return None
        for index in (begin + unusual).tolist():
            written = text[starts[index] : ends[index]]
            if b"_" in written:
                raise ValueError("an underscore in a number")
            values[index] = float(written)
    return values


def _block(padded: bytes, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> tuple[Float64Array, NDArray[np.int64]]:
    """The numbers, and the indices of those that are to be read one by one."""
    characters = np.frombuffer(padded, dtype=np.uint8)
    # A word at every place, aligned or not.
    words: NDArray[np.uint64] = np.ndarray((len(padded) - _WORD + 1,), dtype="<u8", buffer=padded, strides=(1,))
    negative = characters[starts] == ord("-")
    first = starts + negative
    points = _points(characters, starts, ends)
    whole_length = points - first
    decimals = np.maximum(ends - points - 1, 0)
    usual = (whole_length <= _WORD) & (decimals <= 2 * _WORD) & (whole_length + decimals > 0)

    whole, is_digits = _digits(words[points - _WORD], _LAST[np.clip(whole_length, 0, _WORD)])
    usual &= is_digits
    part, is_digits = _digits(words[points + 1], _FIRST[np.minimum(decimals, _WORD)])
    usual &= is_digits
    mantissa = whole * 10**_WORD + part
    divisor = np.full(len(starts), 1e8)
    usual &= mantissa < _EXACT
    long = np.flatnonzero(usual & (decimals > _WORD))
    if len(long):
        more = decimals[long] - _WORD
        rest, is_digits = _digits(words[points[long] + 1 + _WORD], _FIRST[more])
        factor = 10**more
        usual[long] = is_digits & (mantissa[long] < _EXACT // factor)
        mantissa[long] = np.where(usual[long], mantissa[long], 0) * factor + rest // 10 ** (_WORD - more)
        divisor[long] = 10.0 ** (_WORD + more)
    values: Float64Array = mantissa / divisor
    np.negative(values, out=values, where=negative)
    return values, np.flatnonzero(~usual)


def _points(characters: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each number's decimal point stands; its end where it has none."""
    begin = int(starts[0])
    found = begin + np.flatnonzero(characters[begin : int(ends[-1])] == ord("."))
    if len(found) == len(starts) and (starts <= found).all() and (found < ends).all():
        return found
    places = ends.copy()
    owners = np.searchsorted(ends, found)
    owned = owners < len(starts)
    found, owners = found[owned], owners[owned]
    # From the last to the first, so that of several points in one number the first counts and the others are no digits.
    inside = found >= starts[owners]
    places[owners[inside][::-1]] = found[inside][::-1]
    return places


def _digits(words: NDArray[np.uint64], kept: NDArray[np.uint64]) -> tuple[NDArray[np.int64], BoolArray]:
    """The number that the kept bytes of each word write, others counting as zeros, and whether all kept bytes are digits."""
    words = (words & kept) | (_ZEROS & ~kept)
    is_digits = (((words + _BOUND) | (words - _ZEROS)) & _HIGH_BITS) == 0
    words = words - _ZEROS
    words = words * np.uint64(10) + (words >> np.uint64(8))
    even = (words & _EVERY_FOURTH) * np.uint64(0x000F424000000064)
    odd = ((words >> np.uint64(16)) & _EVERY_FOURTH) * np.uint64(0x0000271000000001)
    return ((even + odd) >> np.uint64(32)).astype(np.int64), is_digits
