"""Run lengths: the inverse pair, pycocotools' own answers, and texts that are none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as coco_mask

from converters.coco_rle import decode_polygons, decode_rle, encode_rle
from sam4d.geometry import BoolArray
from sam4d.structures import InputError

grids = arrays.arrays(np.bool_, arrays.array_shapes(min_dims=1, max_dims=2, min_side=0, max_side=40))


@given(mask=grids)
def test_decoding_is_the_inverse_of_encoding(mask: BoolArray) -> None:
    rle = encode_rle(mask)
    assert rle["size"] == [mask.shape[0], mask.shape[1] if mask.ndim == 2 else 1]
    back = decode_rle(rle, mask.shape, "mask")
    assert back.dtype == np.bool_
    np.testing.assert_array_equal(back, mask)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in pycocotools' decode, with numpy 2
@given(mask=grids.filter(lambda mask: mask.ndim == 2 and mask.size > 0))
def test_pycocotools_reads_and_writes_the_same(mask: BoolArray) -> None:
    rle = encode_rle(mask)
    np.testing.assert_array_equal(coco_mask.decode({"size": rle["size"], "counts": rle["counts"].encode()}), mask)
    assert coco_mask.area({"size": rle["size"], "counts": rle["counts"].encode()}) == mask.sum()


def test_known_texts() -> None:
    assert encode_rle(np.array([[0, 1, 1], [0, 0, 1]], dtype=np.bool_)) == {"size": [2, 3], "counts": "2111"}
    assert encode_rle(np.array([0, 1, 1, 0, 0, 1], dtype=np.bool_)) == {"size": [6, 1], "counts": "122O"}


@given(mask=grids.filter(lambda mask: mask.ndim == 2 and mask.size > 0))
def test_a_list_of_runs_is_the_same_as_its_text(mask: BoolArray) -> None:
    columns = mask.ravel(order="F")
    starts = np.flatnonzero(np.diff(columns)) + 1
    runs = np.diff([0, *starts, columns.size]).tolist()
    counts = [0, *runs] if columns[:1].any() else runs
    np.testing.assert_array_equal(decode_rle({"size": list(mask.shape), "counts": counts}, mask.shape, "mask"), mask)


def test_polygons_have_the_pixels_that_they_hold() -> None:
    found = decode_polygons([[1, 1, 4, 1, 4, 3, 1, 3], [6, -20, 30, -20, 30, 30, 6, 30]], (5, 8), "mask")
    expected = np.zeros((5, 8), dtype=np.bool_)
    expected[1:3, 1:4] = expected[:, 6:] = True
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(InputError, match="mask: expected polygons with edges of 2600 pixels at the most, found 5200 pixels"):
        decode_polygons([[0, 0, 8, 5, 0, 5] * 200], (5, 8), "mask")


def test_a_long_run_in_a_whole_sweep() -> None:
    mask = np.zeros(168_000, dtype=np.bool_)
    mask[100_000:100_700] = True
    np.testing.assert_array_equal(decode_rle(encode_rle(mask), (168_000,), "mask"), mask)


@pytest.mark.parametrize(
    ("rle", "where", "expected", "found"),
    [
        (None, "a.json: lidar", "size and counts", "None"),
        ({"size": [3, 4], "counts": 12}, "a.json: lidar", "size and counts", "12"),
        ({"size": [3, 4], "counts": []}, "a.json: lidar.counts", "fill 12 pixels", "runs of 0"),
        ({"size": [3, 4], "counts": [11]}, "a.json: lidar.counts", "fill 12 pixels", "runs of 11"),
        ({"size": [3, 4], "counts": [13, -1]}, "a.json: lidar.counts", "runs from 0", "-1"),
        ({"size": [3, 4], "counts": [12, 2**63]}, "a.json: lidar.counts", "runs from 0", "9223372036854775808"),
        ({"size": [3, 4], "counts": [True, 11]}, "a.json: lidar.counts", "runs from 0", "True"),
        ({"size": [3, 4], "counts": [12.0]}, "a.json: lidar.counts", "runs from 0", "12.0"),
        ({"counts": "<"}, "a.json: lidar.size", "[3, 4]", "None"),
        ({"size": [4, 3], "counts": "<"}, "a.json: lidar.size", "[3, 4]", "[4, 3]"),
        ({"size": [3, 4], "counts": ""}, "a.json: lidar.counts", "compressed runs", "0 characters"),
        ({"size": [3, 4], "counts": "é"}, "a.json: lidar.counts", "compressed runs", "breaks"),
        ({"size": [3, 4], "counts": "\n"}, "a.json: lidar.counts", "compressed runs", "breaks"),
        ({"size": [3, 4], "counts": "l"}, "a.json: lidar.counts", "compressed runs", "breaks"),
        ({"size": [3, 4], "counts": "PPPPPPPPPPPP0"}, "a.json: lidar.counts", "at most", "13 characters"),
        ({"size": [3, 4], "counts": "oooooo7"}, "a.json: lidar.counts", "at most", "8589934591"),
        ({"size": [3, 4], "counts": "0"}, "a.json: lidar.counts", "fill 12 pixels", "0"),
        ({"size": [3, 4], "counts": "000"}, "a.json: lidar.counts", "fill 12 pixels", "0"),
        ({"size": [3, 4], "counts": ">N"}, "a.json: lidar.counts", "fill 12 pixels", "1 negative"),
        ({"size": [3, 4], "counts": "5555555"}, "a.json: lidar.counts", "fill 12 pixels", "runs of"),
    ],
)
def test_hostile_runs_are_refused(rle: object, where: str, expected: str, found: str) -> None:
    with pytest.raises(InputError) as error:
        decode_rle(rle, (3, 4), "a.json: lidar")
    assert error.value.where == where
    assert expected in error.value.expected
    assert found in error.value.found


@given(counts=st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=30))
def test_any_text_is_decoded_or_refused(counts: str) -> None:
    try:
        mask = decode_rle({"size": [6, 7], "counts": counts}, (6, 7), "mask")
    except InputError:
        return
    assert mask.shape == (6, 7)
