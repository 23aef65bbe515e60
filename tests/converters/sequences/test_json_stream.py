"""JSON read a piece at a time: the same as read at once, and one line for whatever is no JSON."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.sequences.json_stream import JsonStream
from sam4d.structures import InputError

numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
documents = st.recursive(
    st.none() | st.booleans() | numbers | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4),
    max_leaves=12,
)


def whole(document: JsonStream, value: object) -> object:
    """What the stream gives where `value` stands, asked for member by member."""
    if isinstance(value, dict):
        return {key: whole(document, value[key]) for key in document.members()}
    if isinstance(value, list):
        return [whole(document, value[index]) for index in document.elements()]
    return document.value().value


@given(documents)
def test_it_is_what_is_read_at_once(value: Any) -> None:
    data = json.dumps(value).encode()
    assert JsonStream(io.BytesIO(data), "file").value().value == value
    assert whole(JsonStream(io.BytesIO(data), "file"), value) == value


@given(st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), documents), st.sampled_from(["a", "b", "c", "d"]))
def test_what_nobody_asks_for_is_passed_over(value: dict[str, Any], wanted: str) -> None:
    document = JsonStream(io.BytesIO(json.dumps(value).encode()), "file")
    found = {key: document.value().value for key in document.members() if key == wanted}
    assert found == {key: each for key, each in value.items() if key == wanted}


def test_a_value_knows_its_place(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(b'\xef\xbb\xbf{"x": 1, "list": [[], {"y": {"z": [true]}}]}')
    places = []
    with JsonStream.open(file) as document:
        for key in document.members():
            if key == "list":
                for index in document.elements():
                    if index == 1:
                        for _ in document.members():
                            places.append(document.value()["z"][0].where)
    assert places == [f"{file}: list[1].y.z[0]"]


def read_all(file: Path) -> None:
    """The number of elements of `items`, each an object with a text `name`."""
    with JsonStream.open(file) as document:
        for key in document.members():
            if key == "items":
                for _ in document.elements():
                    document.value()["name"].text()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"expected JSON, found what is none \(at its beginning: parse error: premature EOF"),
        (b'{"items": [{"name": "a"}, {"name', r"none \(at items\[1\]: parse error: premature EOF"),
        (b'{"items": []} {}', r"none \(at its beginning: parse error: trailing garbage"),
        (b'{"items": [{"name": "\xff"}]}', r"none \(at items\[0\]: lexical error: invalid bytes in UTF8 string"),
        (b'{"items": [{"name": NaN}]}', r"none \(at items\[0\]: lexical error: invalid char"),
        (b'{"items": [{"name": 1e999}]}', r"none \(at items\[0\]: parse error: numeric \(floating point\) overflow"),
        (b'{"items": [{"name": %s}]}' % (b"9" * 4000), r"none \(at items\[0\]: parse error: integer overflow"),
        (b'{"items": [' + b"[" * 100_000, r": items\[0\](\[0\])+: expected a value, found one nested too deeply"),
        (b'{"items": [' + b"0," * 10, r"items\[0\]: expected an object, found 0"),
        (b'{"items": [[%s0]]}' % (b"0," * 100_001), r"items\[0\]\[.*\]: expected a value, found one of too many parts"),
        (b'{"other": ' + b"[" * 100_000, r"none \(at other: parse error: premature EOF"),
        (b'{"items": [], "items": []}', r": items: expected one value, found two of this name"),
        (b'{"items": [{"name": "a", "name": "b"}]}', r": items\[0\].name: expected one value, found two of this name"),
        (b"{%s}" % b",".join(b'"%d": 0' % k for k in range(100_001)), r"expected an object, found one of more than 100000 members"),
        (b"[1]", r"a\.json: expected an object, found a list"),
        (b"1", r"a\.json: expected an object, found 1"),
        (b'{"items": {"a": 1}}', r": items: expected a list, found an object"),
        (b'{"items": null}', r": items: expected a list, found null"),
        (b'{"a": "' + b"\xc3\xbc" * 50 + b'", "items": ["\n"]}', r"none \(at items: lexical error: invalid character inside string"),
    ],
)
def test_what_is_no_such_document_is_one_line(tmp_path: Path, data: bytes, message: str) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(data)
    with pytest.raises(InputError, match=message) as error:
        read_all(file)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json: expected a readable file, found no such file"):
        read_all(tmp_path / "none.json")
    with pytest.raises(InputError, match="expected a readable file, found is a directory"):
        read_all(tmp_path)


def test_a_disk_that_fails_midway() -> None:
    class Failing(io.BytesIO):
        def readinto(self, buffer: object) -> int:
            raise OSError(5, "Input/output error")

    with pytest.raises(InputError, match="file: expected a readable file, found Input/output error"):
        JsonStream(Failing(), "file").value()


@pytest.mark.parametrize("key", ["", "a\nb", "x" * 10_000])
def test_keys_of_any_kind_stay_on_one_line(key: str, tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps({key: 1})[:-1])
    with pytest.raises(InputError) as error:
        read_all(file)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600
