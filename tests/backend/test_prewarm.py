"""A project's frames, prepared: each once, what fails in a line, never more than there is room for, interrupted and gone on with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from backend.engine import predictor_of
from backend.label_studio import Task
from backend.prewarm import Prewarmed, frames_of, prewarm
from backend.settings import Settings
from converters.exports import write_sequence
from converters.sequences import open_sequence
from converters.tasks import TaskWindow, build_task_data
from sam4d.predictor import Session
from sam4d.simulation import SyntheticDrive
from sam4d.structures import Clip, InputError

ROOM = 10**9


def task(number: int, sequence: str, first_frame: int, frame_count: int) -> Task:
    addresses = ["a"] * frame_count
    return Task(number, build_task_data(TaskWindow(sequence, first_frame, frame_count), {"front": addresses}, addresses))


@pytest.fixture
def drive(tmp_path: Path, small_drive: SyntheticDrive) -> Path:
    write_sequence(small_drive.clip, tmp_path / "drive")
    return tmp_path / "drive"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(engine="geometric", model_dir=tmp_path / "cache")


def kept(settings: Settings) -> set[tuple[str, int]]:
    """Files and when they were made."""
    assert settings.model_dir is not None
    return {(path.name, path.stat().st_ino) for path in (settings.model_dir / "frames").iterdir()}


def test_frames_that_tasks_share_are_looked_at_once() -> None:
    frames, failures = frames_of([task(1, "one", 0, 3), task(2, "one", 2, 2), task(3, "two", 5, 1), Task(4, {"text": "a"})])
    assert frames == {"one": [0, 1, 2, 3], "two": [5]}
    assert list(failures) == [4]
    assert "a task of another project type" in failures[4]


def test_an_interrupted_run_goes_on(drive: Path, settings: Settings) -> None:
    outcomes = prewarm({str(drive): [0, 1, 2, 3]}, predictor_of(settings), open_sequence, ROOM)
    assert [next(outcomes).frame_index, next(outcomes).frame_index] == [0, 1]
    outcomes.close()
    before = kept(settings)
    assert len(before) == 2 * 3
    done = list(prewarm({str(drive): [0, 1, 2, 3]}, predictor_of(settings), open_sequence, ROOM))
    assert [outcome.frame_index for outcome in done] == [0, 1, 2, 3]
    assert before < kept(settings)
    assert len(kept(settings)) == 4 * 3


def test_it_ends_before_frames_drive_out_one_another(drive: Path, settings: Settings) -> None:
    predictor = predictor_of(settings)
    (first,) = prewarm({str(drive): [0]}, predictor, open_sequence, ROOM)
    done = Prewarmed(4, tuple(prewarm({str(drive): [0, 1, 2, 3]}, predictor, open_sequence, int(2.5 * first.kept_bytes))), {})
    assert len(done.outcomes) == 2
    assert done.is_full
    assert not done.failed


class SharingPredictor:
    """Every frame takes 10 bytes of its own and 90 that all share."""

    version = "sharing"

    def open(self, clip: Clip) -> Session:
        raise NotImplementedError

    def prewarm(self, clip: Clip, frame_index: int) -> Mapping[str, int]:
        return {f"frame {frame_index}": 10, "calibration": 90}


def test_what_frames_share_is_counted_once(drive: Path) -> None:
    outcomes = list(prewarm({str(drive): [0, 1, 2]}, SharingPredictor(), open_sequence, ROOM))
    assert [outcome.kept_bytes for outcome in outcomes] == [100, 10, 10]
    assert len(list(prewarm({str(drive): [0, 1, 2, 3]}, SharingPredictor(), open_sequence, 210))) == 3


def test_what_fails_is_said_and_the_others_are_prepared(drive: Path, settings: Settings) -> None:
    def open_clip(sequence: str) -> Clip:
        if sequence == "gone":
            raise InputError(sequence, "a folder", "nothing")
        return open_sequence(sequence)

    clip = open_sequence(drive)
    (drive / clip.frames[1].load_sweep.path).write_bytes(b"no sweep")  # type: ignore[attr-defined]
    done = Prewarmed(9, tuple(prewarm({"gone": [0, 1], str(drive): [0, 1, 2, 7]}, predictor_of(settings), open_clip, ROOM)), {})
    assert done.failed
    assert not done.is_full
    assert [(outcome.sequence == "gone", outcome.frame_index) for outcome in done.outcomes if outcome.failure] == [
        (True, 0),
        (False, 1),
        (False, 7),
    ]
    assert [outcome.frame_index for outcome in done.kept] == [0, 2]
    assert done.as_json()["kept"] == 2


def test_a_folder_that_cannot_be_written_is_a_failure(drive: Path, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    (outcome,) = prewarm({str(drive): [0]}, predictor_of(settings), open_sequence, ROOM)
    assert outcome.failure is not None
    assert "room" in outcome.failure
