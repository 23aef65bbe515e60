"""Where a task's address of a sequence leads."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.sequence_address import BucketFolder, LocalFiles, SequenceAddress, WebFolder, parse_sequence_address
from backend.web_address import WebAddress
from sam4d.structures import InputError

STUDIO = "https://labels.example.com/studio"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("/data/local-files/?d=a%20b/c", LocalFiles(PurePosixPath("a b/c"))),
        ("/data/local-files?d=a/sequence.json", LocalFiles(PurePosixPath("a"))),
        (f"{STUDIO}/data/local-files/?d=a%20b/c", LocalFiles(PurePosixPath("a b/c"))),
        ("https://host/drives/1/", WebFolder(WebAddress("https", "host", 443, "/drives/1"))),
        ("http://host:81/sequence.json", WebFolder(WebAddress("http", "host", 81, "/"))),
        (f"{STUDIO}/elsewhere", WebFolder(WebAddress("https", "labels.example.com", 443, "/studio/elsewhere"))),
        ("s3://bucket/drives/ä 1/", BucketFolder("bucket", PurePosixPath("drives/ä 1"))),
        ("s3://bucket/sequence.json", BucketFolder("bucket", PurePosixPath("."))),
    ],
)
def test_each_kind_of_address(address: str, expected: SequenceAddress) -> None:
    assert parse_sequence_address(address, STUDIO) == expected


def test_files_in_a_bucket() -> None:
    assert BucketFolder("bucket", PurePosixPath("drives/1")).uri("front/1.jpg") == "s3://bucket/drives/1/front/1.jpg"
    assert BucketFolder("bucket", PurePosixPath(".")).uri("sequence.json") == "s3://bucket/sequence.json"


@pytest.mark.parametrize(
    "address",
    [
        "https://host/drives/1/?X-Amz-Signature=hidden",
        "https://other.example.com/data/local-files/?d=a&X-Amz-Signature=hidden",
        "https://user:hidden@labels.example.com/studio/data/local-files/?d=a",
        f"{STUDIO}/data/local-files/../../?d=hidden",
        f"{STUDIO}/data/local-files@evil.example.com/?d=hidden",
        f"{STUDIO}/tasks/3/resolve/?fileuri=hidden",
        "data:application/json,hidden?hidden",
    ],
)
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_sequence_address(address, STUDIO)
    assert "?hidden" not in str(caught.value)
    assert "=hidden" not in str(caught.value)
    assert ":hidden" not in str(caught.value)


@given(st.text() | st.text("/?d=.%2e:[]@s3htp\\\0#&"))
def test_any_text_is_read_or_refused(text: str) -> None:
    for address in (
        text,
        f"/data/local-files/?d={text}",
        f"{STUDIO}{text}",
        f"{STUDIO}/data/local-files/{text}",
        f"s3://{text}",
        f"s3://bucket/{text}",
    ):
        try:
            found = parse_sequence_address(address, STUDIO)
        except InputError:
            continue
        if not isinstance(found, WebFolder):
            assert ".." not in found.folder.parts
            assert not found.folder.is_absolute()
