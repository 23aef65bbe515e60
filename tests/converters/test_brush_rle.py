from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from label_studio_sdk.converter import brush as sdk_brush

from converters.brush_rle import decode_mask, encode_mask
from sam4d.geometry import BoolArray
from sam4d.structures import InputError

masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=40))


def sdk_encode(mask: BoolArray) -> list[int]:
    return list(sdk_brush.mask2rle(mask.astype(np.uint8) * 255))  # type: ignore[no-untyped-call]


def large_masks() -> list[BoolArray]:
    """Runs at and around every length at which the code changes, and beyond 16 bits."""
    empty = np.zeros((300, 500), dtype=np.bool_)
    square = empty.copy()
    square[100:220, 50:460] = True
    lengths = np.repeat(np.arange(14) % 2 == 1, [1, 2, 3, 4, 5, 63, 64, 65, 16383, 16384, 16385, 32768, 49152, 99999])
    return [empty, ~empty, square, lengths[:200000].reshape(500, 400)]


@given(masks)
def test_decoding_inverts_encoding(mask: BoolArray) -> None:
    assert (decode_mask(encode_mask(mask), mask.shape[0], mask.shape[1]) == mask).all()


@given(masks)
def test_bytes_are_those_of_label_studios_own_encoder(mask: BoolArray) -> None:
    assert encode_mask(mask) == sdk_encode(mask)


@pytest.mark.parametrize("mask", large_masks(), ids=["empty", "full", "square", "run lengths"])
def test_long_runs_both_ways_with_label_studios_own_codec(mask: BoolArray) -> None:
    rle = encode_mask(mask)
    assert rle == sdk_encode(mask)
    assert (sdk_brush.decode_rle(rle).reshape(*mask.shape, 4) == mask[..., None] * 255).all()
    assert (decode_mask(rle, mask.shape[0], mask.shape[1]) == mask).all()


@given(arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12), st.just(4))))
def test_any_image_is_read_as_label_studio_reads_it(rgba: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    """A brush stroke in the browser has soft edges: values other than 0 and 255, mostly in runs of one."""
    rle = sdk_brush.encode_rle(rgba.ravel())  # type: ignore[no-untyped-call]
    expected = sdk_brush.decode_rle(rle).reshape(rgba.shape)[..., 3] >= 128
    assert (decode_mask(rle, rgba.shape[0], rgba.shape[1]) == expected).all()


@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(4))), st.randoms(use_true_random=False))
def test_runs_of_different_values_are_read(rgba: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], random: object) -> None:
    """The browser's encoder writes several different values as one literal run; the SDK's never does."""
    values = rgba.ravel()
    bits, start = f"{len(values):032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in (3, 4, 8, 16)), 0
    while start < len(values):
        length = min(len(values) - start, random.randint(1, 20))  # type: ignore[attr-defined]
        bits += f"010{length - 1:08b}" + "".join(f"{value:08b}" for value in values[start : start + length])
        start += length
    bits += "0" * (-len(bits) % 8)
    rle = [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]
    assert (decode_mask(rle, rgba.shape[0], rgba.shape[1]) == (rgba[..., 3] >= 128)).all()
    assert (sdk_brush.decode_rle(rle) == values).all()


GOOD = encode_mask(np.eye(10, dtype=np.bool_))


@pytest.mark.parametrize(
    ("rle", "found"),
    [
        (None, "NoneType"),
        ("abc", "str"),
        (5.5, "float"),
        ([1, 2, 300], "a list with other entries (3)"),
        ([1, "x"], "a list with other entries (2)"),
        ([], "0 bytes"),
        ([255] * 6, "6 bytes"),
        (encode_mask(np.zeros((10, 11), dtype=np.bool_)), "440 values"),
        ([255] * 4 + GOOD[4:], "4294967295 values"),
        (GOOD[:4] + [0] * 20, "1-bit words"),
        (GOOD[:12], "data that ends after 44"),
        (GOOD[:6] + [GOOD[6] | 7] + [255] * 40, "a run to 65536"),
    ],
)
def test_what_is_no_brush_of_the_image_is_refused(rle: object, found: str) -> None:
    with pytest.raises(InputError) as error:
        decode_mask(rle, 10, 10, where="region o1-f0-brush_front")  # type: ignore[arg-type]
    assert str(error.value).startswith("region o1-f0-brush_front: expected brush RLE")
    assert str(error.value).endswith(f"found {found}")


@given(st.lists(st.integers(0, 255), max_size=60))
def test_hostile_bytes_are_refused_or_give_a_mask(tail: list[int]) -> None:
    try:
        mask = decode_mask(GOOD[:7] + tail, 10, 10)
    except InputError:
        return
    assert mask.shape == (10, 10)
