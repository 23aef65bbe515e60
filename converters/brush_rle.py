"""Masks <-> Label Studio's brush RLE: a list of bytes that packs the runs of an RGBA image, bit by bit.

Header: 32 bits number of values (4 per pixel), 5 bits word size - 1, four times 4 bits run-length size - 1. Then tokens: 1 bit
"repeated", 2 bits index of the run-length size, run length - 1 in that size, and the value once (repeated) or all values of the run.

Written anew because label_studio_sdk.converter.brush takes 60 to 110 ms for a mask of 1920x1280 and this 1 to 3 ms; a task of 20 frames
and 6 cameras holds 120 masks per object. `encode_mask` writes the very bytes of the SDK's `mask2rle`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sam4d.geometry import BoolArray
from sam4d.structures import InputError

_RUN_SIZES = (3, 4, 8, 16)
_LONGEST_RUN = 2**16
_WORD_BITS = 8
_HEADER_BITS = 32 + 5 + 4 * len(_RUN_SIZES)
_CHANNELS = 4


def encode_mask(mask: BoolArray) -> list[int]:
    """bool (H, W) -> RLE as Label Studio wants it: 255 in all four channels where the mask is set, 0 elsewhere."""
    flat = np.ascontiguousarray(mask, dtype=np.bool_).ravel()
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1]) if flat.size else np.zeros(0, dtype=np.int64)
    lengths = np.diff(np.append(starts, flat.size)) * _CHANNELS
    values = np.where(flat[starts], 255, 0)

    # Runs longer than a 16-bit length are written as several tokens.
    tokens_per_run = -(-lengths // _LONGEST_RUN)
    is_last = np.zeros(int(tokens_per_run.sum()), dtype=np.bool_)
    is_last[np.cumsum(tokens_per_run) - 1] = True
    token_lengths = np.full(len(is_last), _LONGEST_RUN, dtype=np.int64)
    token_lengths[is_last] = lengths - (tokens_per_run - 1) * _LONGEST_RUN
    token_values = np.repeat(values, tokens_per_run)

    # The SDK keeps the size of the whole run for all its tokens, however short the last.
    size_index = np.repeat(np.searchsorted([2**size for size in _RUN_SIZES[:-1]], lengths, side="left"), tokens_per_run)
    size_bits = np.array(_RUN_SIZES)[size_index]
    words = (((0b100 | size_index) << size_bits | (token_lengths - 1)) << _WORD_BITS) | token_values
    widths = 3 + size_bits + _WORD_BITS

    ends = _HEADER_BITS + np.cumsum(widths)
    bit_count = int(ends[-1]) if len(ends) else _HEADER_BITS
    bits = np.zeros(bit_count + 8 - bit_count % 8, dtype=np.uint8)
    bits[:_HEADER_BITS] = [int(bit) for bit in _header(flat.size * _CHANNELS)]
    for place in range(int(widths.max(initial=0))):
        inside = place < widths
        bits[ends[inside] - 1 - place] = (words[inside] >> place) & 1
    encoded: list[int] = np.packbits(bits).tolist()
    return encoded


def decode_mask(rle: Sequence[int], height_px: int, width_px: int, where: str = "brush") -> BoolArray:
    """RLE -> bool (H, W), True where the brush's alpha is at least half.

    Raises:
        InputError: no list of bytes, a size other than the image's, or data that ends early or runs over.
    """
    try:
        # A number alone would make that many bytes.
        data = bytes(list(rle))
    except (TypeError, ValueError):
        raise InputError(where, "brush RLE: a list of integers 0 to 255", _describe(rle)) from None
    value_count = height_px * width_px * _CHANNELS
    header = int.from_bytes(data[:7], "big") >> 3
    if len(data) * 8 < _HEADER_BITS or header >> 21 != value_count:
        found = f"{header >> 21} values" if len(data) * 8 >= _HEADER_BITS else f"{len(data)} bytes"
        raise InputError(where, f"brush RLE of {value_count} values ({width_px}x{height_px} RGBA)", found)
    if (header >> 16 & 31) + 1 != _WORD_BITS:
        raise InputError(where, f"brush RLE of {_WORD_BITS}-bit words", f"{(header >> 16 & 31) + 1}-bit words")
    sizes = [(header >> shift & 15) + 1 for shift in (12, 8, 4, 0)]
    return _decode_alpha(data, sizes, value_count, where).reshape(height_px, width_px)


def _decode_alpha(data: bytes, sizes: list[int], value_count: int, where: str) -> BoolArray:
    """Whether the last of each four values behind the header is at least half, bool (value_count / 4,)."""
    opaque = np.zeros(value_count // _CHANNELS, dtype=np.bool_)
    position, filled, bit_count = _HEADER_BITS, 0, len(data) * 8
    while filled < value_count:
        # A repeated run is at most 3 + 16 + 8 bits: with the odd bits in front of it, within 8 bytes.
        start = position >> 3
        window = int.from_bytes(data[start : start + 8].ljust(8, b"\0"), "big") << (position & 7)
        repeated, size = window >> 63 & 1, sizes[window >> 61 & 3]
        length = (window >> (61 - size) & ((1 << size) - 1)) + 1
        position += 3 + size
        end = position + (_WORD_BITS if repeated else _WORD_BITS * length)
        if end > bit_count:
            raise InputError(where, f"brush RLE of {value_count} values", f"data that ends after {filled}")
        if filled + length > value_count:
            raise InputError(where, f"brush RLE of {value_count} values", f"a run to {filled + length}")
        pixels = slice(filled // _CHANNELS, (filled + length) // _CHANNELS)
        if not repeated:
            words = int.from_bytes(data[position >> 3 : -(-end // 8)], "big") >> (-end % 8) & ((1 << (end - position)) - 1)
            values = np.frombuffer(words.to_bytes(length, "big"), dtype=np.uint8)
            opaque[pixels] = values[(_CHANNELS - 1 - filled) % _CHANNELS :: _CHANNELS] >= 128
        elif window >> (53 - size) & 128:
            opaque[pixels] = True
        position = end
        filled += length
    return opaque


def _header(value_count: int) -> str:
    return f"{value_count:032b}{_WORD_BITS - 1:05b}" + "".join(f"{size - 1:04b}" for size in _RUN_SIZES)


def _describe(value: object) -> str:
    return f"a list with other entries ({len(value)})" if isinstance(value, list) else type(value).__name__
