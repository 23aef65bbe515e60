"""No format refuses or loses a label that its usual classes do not have."""

from __future__ import annotations

from dataclasses import replace

import pytest

from converters.exports.formats import LABEL_FORMATS, SIDECAR, LabelFormat, labels_as
from converters.exports.whole_output import file_bytes
from tests.converters.tiny_recording import tiny_clip, tiny_masklets

UNHEARD = "unheard_of"


@pytest.mark.parametrize("export_format", LABEL_FORMATS)
def test_a_label_of_no_class_keeps_its_name(export_format: LabelFormat) -> None:
    car, *others = tiny_masklets()
    files = labels_as(export_format, tiny_clip(), [replace(car, label=UNHEARD), *others]).files
    named = [path for path, data in files.items() if SIDECAR not in path and UNHEARD.encode() in file_bytes(data)]
    assert named
