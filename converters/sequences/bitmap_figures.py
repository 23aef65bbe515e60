"""Masks of images as Supervisely has them: a PNG of the part around the object, transparent beside it, deflated once more, as base64."""

from __future__ import annotations

import base64
import io
import zlib
from collections.abc import Mapping
from typing import TypedDict

import numpy as np
from PIL import Image

from sam4d.geometry import BoolArray
from sam4d.structures import InputError, UInt8Array

_PALETTE = [0, 0, 0, 255, 255, 255]
_BYTES_PER_PIXEL = 4
_PNG_OVERHEAD_BYTES = 2**16


class Bitmap(TypedDict):
    """`origin` is [left, top] of the part in its image, in pixels; `data` the part."""

    data: str
    origin: list[int]


def encode_bitmap(part: BoolArray, left: int, top: int) -> Bitmap:
    """A part of a mask, bool (h, w) with h and w above 0, whose upper left pixel lies at (left, top)."""
    image = Image.fromarray(part.astype(np.uint8))
    image.putpalette(_PALETTE)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", transparency=0, bits=1)
    return Bitmap(data=base64.b64encode(zlib.compress(buffer.getvalue())).decode("ascii"), origin=[left, top])


def decode_bitmap(bitmap: object, shape: tuple[int, int], where: str) -> BoolArray:
    """The whole mask, bool of the image's shape (H, W), whose part a `Bitmap` is. Inverse of `encode_bitmap`.

    Raises:
        InputError: not such a dictionary, no PNG, one that reaches beyond the image, or that claims to be larger than it.
    """
    if not isinstance(bitmap, Mapping) or not isinstance(bitmap.get("data"), str):
        raise InputError(where, "a bitmap: an object with origin and a text data", repr(bitmap)[:80])
    origin = bitmap.get("origin")
    if not isinstance(origin, list) or len(origin) != 2 or not all(type(value) is int for value in origin):
        raise InputError(f"{where}.origin", "[left, top], whole numbers", repr(origin)[:80])
    left, top = origin
    png = _inflated(bitmap["data"], _BYTES_PER_PIXEL * shape[0] * shape[1] + _PNG_OVERHEAD_BYTES, f"{where}.data")
    mask: BoolArray = np.zeros(shape, dtype=np.bool_)
    try:
        with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
            width, height = image.size
            # The header's word is enough to refuse an image before its pixels are unpacked.
            if not (0 <= left <= shape[1] - width and 0 <= top <= shape[0] - height):
                found = f"{width} x {height} pixels at ({str(left)[:20]}, {str(top)[:20]})"
                raise InputError(where, f"a part of the image of {shape[1]} x {shape[0]} pixels", found)
            mask[top : top + height, left : left + width] = _shown(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InputError(f"{where}.data", f"a part of the image of {shape[1]} x {shape[0]} pixels", "one far too large to open") from None
    except InputError:
        raise
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError) as error:
        # Pillow reports broken files with all of these; what is no PNG is an OSError, too.
        raise InputError(f"{where}.data", "a whole PNG", f"{len(png)} bytes that are none ({type(error).__name__})") from None
    return mask


def _inflated(data: str, limit: int, where: str) -> bytes:
    try:
        unpacker = zlib.decompressobj()
        content = unpacker.decompress(base64.b64decode(data, validate=True), limit + 1)
    except (ValueError, zlib.error):
        raise InputError(where, "base64 of deflated bytes", f"a text of {len(data)} characters that is none") from None
    if len(content) > limit:
        raise InputError(where, f"at most {limit} bytes once inflated", "more")
    if not unpacker.eof:
        raise InputError(where, "base64 of deflated bytes", "what is broken off")
    return content


def _shown(image: Image.Image) -> BoolArray:
    """Which pixels of a PNG belong to the object: those that are not transparent; of one without transparency, those that are not black."""
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        opaque: UInt8Array = np.asarray(image.convert("RGBA"))[:, :, 3]
        return opaque > 0
    pixels = np.asarray(image.convert("RGB"))
    return np.asarray(pixels.any(axis=2))
