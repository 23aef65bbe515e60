"""Pickles from strangers: data comes through, everything else is refused and nothing of it runs."""

from __future__ import annotations

import collections
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from converters.safe_pickle import load_pickle
from sam4d.structures import InputError
from tests.converters.one_line import one_line_at_most

numbers: st.SearchStrategy[Any] = st.sampled_from(["<f8", "<f4", "<i8", "|u1", "|b1", ">i4"]).flatmap(
    lambda dtype: arrays.arrays(np.dtype(dtype), arrays.array_shapes(min_dims=0, max_dims=3, min_side=0))
)
plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
values = st.recursive(
    plain | numbers, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner), max_leaves=8
)


def assert_equal(found: object, expected: object) -> None:
    if isinstance(expected, np.ndarray):
        assert isinstance(found, np.ndarray)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
        return
    assert type(found) is type(expected)
    if isinstance(expected, dict) and isinstance(found, dict):
        assert list(found) == list(expected)
        for key in expected:
            assert_equal(found[key], expected[key])
    elif isinstance(expected, list | tuple) and isinstance(found, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_equal(one, other)
    else:
        assert found == expected


@given(value=values, protocol=st.integers(0, 5))
def test_plain_values_and_arrays_come_through(value: object, protocol: int) -> None:
    assert_equal(load_pickle(pickle.dumps(value, protocol), "meta.pkl"), value)


def test_scalars_and_ordered_dictionaries_and_fortran_order() -> None:
    value = {"n": np.float32(1.5), "o": collections.OrderedDict(a=1), "f": np.asfortranarray(np.arange(6.0).reshape(2, 3))}
    found: Any = load_pickle(pickle.dumps(value), "meta.pkl")
    assert found["n"] == 1.5
    assert dict(found["o"]) == {"a": 1}
    np.testing.assert_array_equal(found["f"], value["f"])


class Hostile:
    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call[0], self.call[1:]


def test_nothing_is_run(tmp_path: Path) -> None:
    target = tmp_path / "ran"
    for call in ((os.mkdir, str(target)), (eval, f"__import__('os').mkdir({str(target)!r})"), (np.save, str(target), np.ones(1))):
        with pytest.raises(InputError, match=r"meta.pkl: expected a pickle of plain values and numpy arrays, found the name"):
            load_pickle(pickle.dumps({"frames": [Hostile(*call)]}), "meta.pkl")
    assert not target.exists()


def test_arrays_that_claim_too_much_are_refused() -> None:
    honest = pickle.dumps(np.zeros(8, dtype=np.int64), 2)
    claims = honest.replace(b"K\x08\x85", b"J\x00\x00\x00\x01\x85")
    assert claims != honest
    with pytest.raises(InputError, match="claims"):
        load_pickle(claims, "meta.pkl")
    with pytest.raises(InputError, match="an array of 'O8'"):
        load_pickle(pickle.dumps(np.array([{}], dtype=object), 2), "meta.pkl")


@given(data=st.binary(max_size=200))
def test_any_bytes_end_in_a_value_or_a_line(data: bytes) -> None:
    with one_line_at_most():
        load_pickle(data, "meta.pkl")


@given(cut=st.integers(0, 400), flip=st.integers(0, 400), bit=st.integers(0, 7))
def test_a_damaged_pickle_ends_in_a_value_or_a_line(cut: int, flip: int, bit: int) -> None:
    whole = bytearray(pickle.dumps({"frames": [{"pose": np.eye(4), "path": {"pcd": "a.npz"}}] * 2}))
    whole[flip % len(whole)] ^= 1 << bit
    with one_line_at_most():
        load_pickle(bytes(whole[: cut or len(whole)]), "meta.pkl")
