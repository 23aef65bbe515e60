"""Images from bytes: the declared size, all their rows, no decompression bombs."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, UnidentifiedImageError

from sam4d.structures import InputError, UInt8Array

IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
"""What Pillow may decode here: what browsers show too, and no more ways in than that."""
PIXEL_LIMIT = 64_000_000
"""Larger images are refused; Pillow warns from 89 million pixels on."""


def decode_image(data: bytes, width_px: int, height_px: int, where: str) -> UInt8Array:
    """A camera image, uint8 (height_px, width_px, 3), RGB. Greyscale and 16-bit images are converted; EXIF rotation is not applied, because
    the calibration describes the stored pixels.

    Raises:
        InputError: no image of a known format, of another size than declared, or broken off.
    """
    try:
        with Image.open(io.BytesIO(data), formats=IMAGE_FORMATS) as image:
            # The header's word is enough to refuse an image before its pixels are unpacked.
            if image.size != (width_px, height_px):
                raise InputError(where, f"an image of {width_px} x {height_px} pixels", f"{image.size[0]} x {image.size[1]}")
            if image.mode.startswith("I;16"):
                grey = (np.asarray(image) >> 8).astype(np.uint8)
                return np.repeat(grey[:, :, None], 3, axis=2)
            return np.array(image.convert("RGB"), dtype=np.uint8)
    except UnidentifiedImageError:
        raise InputError(where, f"an image ({', '.join(IMAGE_FORMATS)})", f"{len(data)} bytes that are none") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InputError(where, f"an image of {width_px} x {height_px} pixels", "one far too large to open") from None
    except InputError:
        raise
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError) as error:
        # Pillow reports broken files with all of these.
        raise InputError(where, "a whole image", f"a broken one ({error})") from None


def image_size(data: bytes, where: str) -> tuple[int, int]:
    """Width and height by the file's header, in pixels. Raises InputError where it is no image of a known format, or far too large."""
    try:
        with Image.open(io.BytesIO(data), formats=IMAGE_FORMATS) as image:
            width, height = image.size
    except (UnidentifiedImageError, Image.DecompressionBombError, Image.DecompressionBombWarning, OSError, ValueError, SyntaxError):
        raise InputError(where, f"an image ({', '.join(IMAGE_FORMATS)})", f"{len(data)} bytes that are none") from None
    if width * height > PIXEL_LIMIT:
        raise InputError(where, f"an image of at most {PIXEL_LIMIT} pixels", f"{width} x {height}")
    return width, height


def encode_png(image: UInt8Array) -> bytes:
    """A PNG file of uint8 (H, W, 3), RGB; without loss, fast rather than small."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()
