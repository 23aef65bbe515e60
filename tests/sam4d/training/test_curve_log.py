from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from sam4d.training.curve_log import EVENTS, LINES, CurveLog
from sam4d.training.failures import TrainingFailed
from sam4d.training.learning_curve import CurvePoint

CURVE = (
    CurvePoint(0, held_out=0.25),
    CurvePoint(1, {"total": 2.5, "camera_dice": 0.5}, 1e-4, 3.0),
    CurvePoint(300, {"total": 1.5, "camera_dice": 0.25}, 2e-4, 2.0, 0.5),
)


def scalars_in(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """As TensorBoard reads them."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="tensorboard is not installed")
    events = accumulator.EventAccumulator(str(folder)).Reload()
    return {name: [(event.step, event.value) for event in events.Scalars(name)] for name in events.Tags()["scalars"]}


def test_lines_of_json(tmp_path: Path) -> None:
    with CurveLog(tmp_path, CURVE[:2]) as log:
        log.add(CURVE[2])
    lines = [json.loads(line) for line in (tmp_path / LINES).read_text().splitlines()]
    assert lines[0] == {"step": 0, "held_out": 0.25}
    assert [CurvePoint(**line) for line in lines] == list(CURVE)


def test_tensorboard_reads_it(tmp_path: Path) -> None:
    CurveLog(tmp_path, CURVE).close()
    scalars = scalars_in(tmp_path)
    assert sorted(scalars) == ["gradient_norm", "held_out", "learning_rate", "loss/camera_dice", "loss/total"]
    assert scalars["loss/total"] == [(1, 2.5), (300, 1.5)]
    assert scalars["held_out"] == [(0, 0.25), (300, 0.5)]


def test_a_log_that_goes_on_has_every_step_once(tmp_path: Path) -> None:
    CurveLog(tmp_path, CURVE).close()
    lines, scalars = (tmp_path / LINES).read_bytes(), scalars_in(tmp_path)
    with CurveLog(tmp_path, CURVE[:1]) as log:
        log.add(CURVE[1])
        log.add(CURVE[2])
    assert (tmp_path / LINES).read_bytes() == lines
    assert scalars_in(tmp_path) == scalars


def test_without_tensorboard_the_lines_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    CurveLog(tmp_path, CURVE).close()
    assert len((tmp_path / LINES).read_text().splitlines()) == len(CURVE)
    assert list(tmp_path.glob(f"{EVENTS}*")) == []


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("")
    with pytest.raises(TrainingFailed, match="cannot be written"):
        CurveLog(tmp_path / "log", ())
