from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from sam4d.training.curve_log import EVENTS, LINES, CurveLog, crc32c
from sam4d.training.failures import TrainingFailed
from sam4d.training.learning_curve import CurvePoint

CURVE = (
    CurvePoint(0, held_out=0.25),
    CurvePoint(1, {"total": 2.5, "camera_dice": 0.5}, 1e-4, 3.0),
    CurvePoint(300, {"total": 1.5, "camera_dice": 0.25}, 2e-4, 2.0, 0.5),
)


def test_the_known_checksum() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # RFC 3720's polynomial, the usual check value
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, appendix B.4


def test_lines_of_json(tmp_path: Path) -> None:
    with CurveLog(tmp_path, CURVE[:2], time_s=0.0) as log:
        log.add(CURVE[2])
    lines = [json.loads(line) for line in (tmp_path / LINES).read_text().splitlines()]
    assert lines[0] == {"step": 0, "held_out": 0.25}
    assert [CurvePoint(**line) for line in lines] == list(CURVE)


def test_a_log_that_goes_on_has_every_step_once(tmp_path: Path) -> None:
    with CurveLog(tmp_path, (), time_s=0.0) as log:
        for point in CURVE:
            log.add(point)
    once = (tmp_path / LINES).read_bytes(), (tmp_path / EVENTS).read_bytes()
    with CurveLog(tmp_path, CURVE[:1], time_s=0.0) as log:
        log.add(CURVE[1])
        log.add(CURVE[2])
    assert ((tmp_path / LINES).read_bytes(), (tmp_path / EVENTS).read_bytes()) == once


def test_records_are_as_long_as_they_say(tmp_path: Path) -> None:
    CurveLog(tmp_path, CURVE, time_s=1.0).close()
    content, count, place = (tmp_path / EVENTS).read_bytes(), 0, 0
    while place < len(content):
        (length,) = struct.unpack_from("<Q", content, place)
        place, count = place + 16 + length, count + 1
    assert (place, count) == (len(content), 1 + len(CURVE))


def test_tensorboard_reads_it(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="tensorboard is not installed")
    CurveLog(tmp_path, CURVE, time_s=1.0).close()
    events = accumulator.EventAccumulator(str(tmp_path)).Reload()
    assert sorted(events.Tags()["scalars"]) == ["gradient_norm", "held_out", "learning_rate", "loss/camera_dice", "loss/total"]
    assert [(event.step, event.value) for event in events.Scalars("loss/total")] == [(1, 2.5), (300, 1.5)]
    assert [(event.step, event.value) for event in events.Scalars("held_out")] == [(0, 0.25), (300, 0.5)]


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("")
    with pytest.raises(TrainingFailed, match="cannot be written"):
        CurveLog(tmp_path / "log", (), time_s=0.0)
