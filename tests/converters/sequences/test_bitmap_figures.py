"""Bitmaps of Supervisely: any part of an image comes back, and one line for what is none."""

from __future__ import annotations

import base64
import io
import json
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image

from converters.sequences.bitmap_figures import decode_bitmap, encode_bitmap
from sam4d.geometry import BoolArray
from sam4d.structures import InputError

HEIGHT, WIDTH = 16, 24
PART: BoolArray = np.array([[True, False, True], [False, True, True]])


@given(arrays.arrays(np.bool_, st.tuples(st.integers(1, HEIGHT), st.integers(1, WIDTH))), st.data())
def test_any_part_comes_back(part: BoolArray, data: st.DataObject) -> None:
    left, top = data.draw(st.integers(0, WIDTH - part.shape[1])), data.draw(st.integers(0, HEIGHT - part.shape[0]))
    bitmap = json.loads(json.dumps(encode_bitmap(part, left, top)))
    expected = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    expected[top : top + part.shape[0], left : left + part.shape[1]] = part
    np.testing.assert_array_equal(decode_bitmap(bitmap, (HEIGHT, WIDTH), "bitmap"), expected)


def packed(png: bytes) -> str:
    return base64.b64encode(zlib.compress(png)).decode()


def png(pixels: NDArray[Any], mode: str | None = None) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(buffer, format="PNG")
    return buffer.getvalue()


def rgba(part: BoolArray) -> NDArray[np.uint8]:
    """White where the object is, and an object that is black where it is not."""
    return np.dstack([*[255 * part] * 3, 128 * part]).astype(np.uint8)


@pytest.mark.parametrize(
    "image",
    [
        png(rgba(PART)),
        png(np.dstack([np.zeros((2, 3, 3)), 255 * PART]).astype(np.uint8)),
        png((255 * PART).astype(np.uint8)),
        png(PART.astype(np.uint8)),
        png(PART),
        png(rgba(PART)[:, :, :3]),
        png(rgba(PART), "LA"),
    ],
)
def test_other_kinds_of_images_show_what_is_not_transparent_or_not_black(image: bytes) -> None:
    found = decode_bitmap({"data": packed(image), "origin": [20, 3]}, (HEIGHT, WIDTH), "bitmap")
    np.testing.assert_array_equal(found[3:5, 20:23], PART)
    assert found.sum() == PART.sum()


WHOLE = dict(encode_bitmap(PART, 1, 2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": None}, "bitmap: expected a bitmap: an object with origin and a text data"),
        ({"data": "é"}, r"bitmap\.data: expected base64 of deflated bytes, found a text of 1 characters"),
        ({"data": "AAAA"}, r"bitmap\.data: expected base64 of deflated bytes, found a text of 4"),
        ({"data": str(WHOLE["data"])[:20]}, r"bitmap\.data: expected base64 of deflated bytes, found what is broken off"),
        ({"data": packed(b"GIF89a")}, r"bitmap\.data: expected a whole PNG, found 6 bytes that are none"),
        ({"data": packed(png(rgba(PART))[:50])}, r"bitmap\.data: expected a whole PNG"),
        ({"data": packed(b"\0" * 10**8)}, r"bitmap\.data: expected at most 67072 bytes once inflated, found more"),
        (
            {"data": packed(png(np.zeros((2000, 2000), dtype=np.bool_)))},
            "expected a part of the image of 24 x 16 pixels, found 2000 x 2000",
        ),
        ({"data": packed(png(np.zeros((10_000, 10_000), dtype=np.bool_)))}, "found one far too large to open"),
        ({"origin": None}, r"bitmap\.origin: expected \[left, top\], whole numbers, found None"),
        ({"origin": [1]}, r"bitmap\.origin: expected \[left, top\]"),
        ({"origin": [1.5, 2]}, r"bitmap\.origin: expected \[left, top\]"),
        ({"origin": [True, 2]}, r"bitmap\.origin: expected \[left, top\]"),
        ({"origin": [22, 2]}, r"bitmap: expected a part of the image of 24 x 16 pixels, found 3 x 2 pixels at \(22, 2\)"),
        ({"origin": [1, -1]}, r"found 3 x 2 pixels at \(1, -1\)"),
        ({"origin": [10**400, 1]}, r"found 3 x 2 pixels at \(10000000000000000000, 1\)"),
    ],
)
def test_what_is_no_bitmap_is_one_line(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        decode_bitmap({**WHOLE, **change}, (HEIGHT, WIDTH), "bitmap")
    assert "\n" not in str(error.value)
