"""JSON made while it is written: the document that the standard library would write."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.exports.json_pieces import JsonArray, JsonMembers, json_file, json_pieces

documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def made_later(value: object) -> object:
    """The same document, every array and object of it made while it is written."""
    if isinstance(value, list):
        return JsonArray(lambda: map(made_later, value))
    if isinstance(value, dict):
        return JsonMembers(lambda: ((key, made_later(member)) for key, member in value.items()))
    return value


@given(documents)
def test_it_is_the_same_document(document: object) -> None:
    assert json.loads(b"".join(json_pieces(made_later(document)))) == document
    assert json.loads(b"".join(json_pieces({"now": document, "later": [made_later(document)]}))) == {"now": document, "later": [document]}


def test_elements_stand_on_lines_of_their_own_and_are_made_one_at_a_time() -> None:
    made: list[int] = []

    def elements() -> object:
        for number in range(3):
            made.append(number)
            yield {"number": number}

    content = json_file({"all": JsonArray(elements)})  # type: ignore[arg-type]
    pieces = content()
    assert next(pieces) == b"{"
    assert not made, "nothing before it is written"
    assert b"".join(pieces).decode().splitlines() == ["", '"all": [', '{"number":0},', '{"number":1},', '{"number":2}]}']
    assert json.loads(b"".join(content())) == json.loads(b"".join(content())), "as often as asked for"


def test_what_is_no_number_is_not_written() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        list(json_pieces({"score": float("nan")}))
