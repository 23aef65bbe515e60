"""Label maps, and what a format cannot hold stays in the sidecar."""

from __future__ import annotations

from pathlib import Path

import pytest

from converters.exports import LABEL_FORMATS, LabelFormat, labels_as, write_whole_files
from converters.exports.formats import parse_label_map
from converters.exports.whole_output import file_bytes
from converters.sequences import read_masklets
from sam4d.structures import InputError
from tests.converters.tiny_recording import assert_same_masklets, tiny_clip, tiny_masklets


@pytest.mark.parametrize("label_format", LABEL_FORMATS)
def test_nothing_is_lost_for_good(tmp_path: Path, label_format: LabelFormat) -> None:
    clip, masklets = tiny_clip(), tiny_masklets()
    written = labels_as(label_format, clip, masklets)
    assert (written.lost is None) == (label_format in ("sequence", "openlabel"))
    if label_format != "openlabel":
        write_whole_files({tmp_path / path: data for path, data in written.files.items()})
        folder = tmp_path / "tiny" if label_format == "sequence" else tmp_path / "sidecar" / "tiny"
        assert_same_masklets(read_masklets(folder, clip), masklets)


def test_labels_are_renamed_or_left_out() -> None:
    renamed = labels_as("sequence", tiny_clip(), tiny_masklets(), {"Car": "vehicle.car", "Straßenschild": None})
    content = renamed.files["tiny/labels/masks.json"]
    text = file_bytes(content).decode()
    assert '"vehicle.car"' in text
    assert '"Person on a bicycle"' in text, "what the map does not have stays"
    assert "Straßenschild" not in text


@pytest.mark.parametrize(
    ("data", "expected"),
    [(b"[]", "an object"), (b"{", "JSON"), (b'{"Car": 3}', "a text that is not empty"), (b'{"Car": ""}', "a text that is not empty")],
)
def test_what_is_no_label_map_is_refused(data: bytes, expected: str) -> None:
    with pytest.raises(InputError, match=f"^map.json.*expected {expected}"):
        parse_label_map(data, "map.json")
