"""By which addresses a drive's files are named."""

from __future__ import annotations

import base64
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from backend.drive_place import bucket_place, local_place
from backend.sequence_address import parse_bucket_folder, parse_sequence_address


def test_a_drive_below_the_data_root() -> None:
    place = local_place(Path("sequences/a street"))
    assert place.sequence == "/data/local-files/?d=sequences/a%20street"
    assert place.in_tasks("front/0.png") == place.in_viewer("front/0.png") == "/data/local-files/?d=sequences/a%20street/front/0.png"
    assert (place.folder, place.derived) == (Path("sequences/a street"), Path("derived/sequences/a street"))


@pytest.mark.parametrize("address", ["s3://bucket/drives/0001", "s3://bucket/drives/0001/", "s3://bucket/drives/0001/sequence.json"])
def test_a_drive_in_a_bucket(address: str) -> None:
    folder = parse_bucket_folder(address)
    place = bucket_place(folder, 7)
    assert place.sequence == "s3://bucket/drives/0001"
    assert parse_sequence_address(place.sequence, None) == folder
    assert place.in_tasks("front/0.png") == "s3://bucket/drives/0001/front/0.png"
    assert place.folder is None
    assert place.derived == Path("derived-s3/7/bucket/drives/0001")
    assert bucket_place(folder, 8).derived != place.derived, "another project's bucket may be another one"


@pytest.mark.parametrize("name", ["front/0.png", "day=1/0.png"])
def test_what_a_page_of_label_studio_loads(name: str) -> None:
    place = bucket_place(parse_bucket_folder("s3://bucket/drives/ä"), 7)
    parts = urlsplit(place.in_viewer(name))
    assert (parts.scheme, parts.netloc, parts.path) == ("", "", "/projects/7/resolve/")
    assert base64.urlsafe_b64decode(parse_qs(parts.query)["fileuri"][0]).decode() == f"s3://bucket/drives/ä/{name}"
    assert place.in_tasks(name) == (place.in_viewer(name) if "=" in name else f"s3://bucket/drives/ä/{name}")
