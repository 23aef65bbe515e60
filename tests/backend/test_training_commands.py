"""The words of the command line that learn, and that choose what answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from backend.cli import main
from backend.embedded import Workplace
from backend.engine import version_store_of
from backend.learners import Lesson
from backend.settings import Settings
from backend.training_jobs import TrainingRequest, training_jobs_of
from backend.versions import BASE, About, VersionStore
from converters.exports import write_sequence
from converters.exports.sequence_folder import write_labels
from sam4d.geometric.parameters import DEFAULT_PARAMETERS, GeometricParameters, write_parameters
from sam4d.predictor import build_predictor
from sam4d.simulation import simulate_drive
from sam4d.training.failures import TrainingFailed
from sam4d.training.learning_curve import CurvePoint
from sam4d.training.plan import TrainingPlan
from sam4d.training.run_state import Best
from sam4d.training.trainer import TrainingResult
from sam4d.training.training_run import Progress

BAD = GeometricParameters(gap_m=0.08, gap_per_metre=0.002, vertical_scale=1.0)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODEL_DIR", str(tmp_path / "model"))
    return Settings.from_environment()


@pytest.fixture
def store(settings: Settings) -> VersionStore:
    store = version_store_of(settings)
    assert store is not None
    return store


def add(store: VersionStore, parameters: GeometricParameters) -> str:
    version = build_predictor(parameters=parameters).version
    about = About("geometric", version, "2026-11-29T20:00:00+00:00", BASE, 7, {1: 11, 2: 12}, {3: 13}, 0.5, 0.75, "better")
    return store.add(about, lambda path: write_parameters(path, parameters)).name


def test_listing_using_and_going_back(store: VersionStore, capsys: pytest.CaptureFixture[str]) -> None:
    for gap_m in (0.3, 0.4):
        add(store, GeometricParameters(gap_m=gap_m))
    (store.folder / "v2" / "parameters.json").unlink()
    assert main(["checkpoint", "list"]) == 0
    base, first, damaged = capsys.readouterr().out.splitlines()
    assert base == "* base  what the settings name: the geometric engine as it is"
    assert "project 7, 2 tasks learnt from, 1 held out, held out 0.500 -> 0.750, better" in first
    assert damaged == "  v2    DAMAGED: no parameters.json"
    assert main(["checkpoint", "use", "v1"]) == 0
    assert capsys.readouterr().out.startswith("v1 answers from now on")
    assert main(["checkpoint", "use", "v2"]) == 2
    assert capsys.readouterr().err == "sam4d: version v2: expected a whole version, found no parameters.json\n"
    assert main(["checkpoint", "roll-back", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["current"], document["history"]) == (BASE, [])
    assert [version["name"] for version in document["versions"]] == ["v1", "v2"]
    assert main(["checkpoint", "roll-back"]) == 2


def test_without_a_folder_of_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["checkpoint", "list"]) == 2
    assert "MODEL_DIR" in capsys.readouterr().err
    assert main(["train", "--from", "a", "b"]) == 2
    assert "MODEL_DIR" in capsys.readouterr().err
    # Beside `sam4d up` its own folder is meant.
    Workplace(tmp_path / ".sam4d").prepare()
    assert main(["checkpoint", "list"]) == 0


@pytest.mark.parametrize(
    "arguments", [[], ["PROJECT", "--from", "a"], ["PROJECT", "--synthetic", "a"], ["--from", "a", "--synthetic", "b"]]
)
def test_one_source(settings: Settings, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *arguments]) == 2
    assert "sam4d train: expected a PROJECT, or --from FOLDER ..., or --synthetic FOLDER" in capsys.readouterr().err


def test_learning_from_drives_on_disk(
    settings: Settings, store: VersionStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = []
    for seed in (3, 4):
        drive = simulate_drive(
            seed=seed, frame_count=2, camera_names=("front",), image_size_px=(160, 100), beam_count=32, azimuth_count=400
        )
        folder = tmp_path / f"street{seed}"
        write_sequence(drive.clip, folder)
        write_labels(drive.clip, drive.masklets, folder)
        folders.append(str(folder))
    assert main(["train", "--from", folders[0]]) == 2
    assert "--from: expected at least 2 drives with labelled objects" in capsys.readouterr().err

    def found(parameters: GeometricParameters, lesson: Lesson) -> Path:
        assert (len(lesson.training), len(lesson.held_out)) == (1, 1)
        write_parameters(lesson.folder / "found.json", parameters)
        return lesson.folder / "found.json"

    monkeypatch.setattr("backend.training_worker.learner_of", lambda kind: lambda lesson: found(BAD, lesson))
    assert main(["train", "--from", *folders]) == 1
    said = capsys.readouterr().out
    assert "refused: what was learnt is not better than geometric-" in said
    store.use(add(store, BAD))
    monkeypatch.setattr(
        "backend.training_worker.learner_of", lambda kind: lambda lesson: found(replace(DEFAULT_PARAMETERS, gap_m=0.21), lesson)
    )
    assert main(["train", "--from", *folders, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["state"], document["version"]) == ("done", "v2")
    about = store.get("v2").about
    assert about is not None
    assert about.note == "from street3, street4, better on the held-out tasks"
    assert about.project_id is None


def test_another_training_on_this_machine(settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = training_jobs_of(settings)
    assert jobs is not None
    jobs.add(7, TrainingRequest())
    jobs.take()
    with jobs.one_worker():
        assert main(["train", "--from", "a", "b"]) == 2
    assert "expected one at a time on this machine" in capsys.readouterr().err


@pytest.mark.parametrize("share", ["0", "1", "x", "nan"])
def test_a_share_that_is_none(share: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["train", "PROJECT", "--held-out", share])
    assert caught.value.code == 2
    assert "expected a number from 0.01 to 0.9" in capsys.readouterr().err


def test_a_small_network_from_scratch(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[TrainingPlan] = []

    def teach(plan: TrainingPlan, folder: Path, progress: Progress, *, on_clip: Callable[[int, int], None]) -> TrainingResult:
        asked.append(plan)
        on_clip(1, 1)
        curve = (CurvePoint(0, held_out=0.01), CurvePoint(plan.steps, {"total": 1.0}, held_out=0.5))
        progress(curve[-1], plan.steps)
        if plan.steps == 1:
            return TrainingResult("interrupted", curve, None, None)
        if plan.steps == 2:
            raise TrainingFailed("no space")
        return TrainingResult("finished", curve, Best(plan.steps, 0.5, 0), folder / "network.safetensors")

    monkeypatch.setattr("sam4d.training.from_scratch.train_from_scratch", teach)
    folder = tmp_path / "tiny"
    assert main(["train", "--synthetic", str(folder), "--steps", "3", "--device", "cpu"]) == 0
    assert (asked[0].steps, asked[0].device, asked[0].mode) == (3, "cpu", "everything")
    assert capsys.readouterr().out.startswith(f"{folder / 'network.safetensors'}: sam4d-tiny after 3 steps, 0.500 on held-out drives")
    assert main(["train", "--synthetic", str(folder), "--steps", "1"]) == 130
    assert "the same command goes on with it" in capsys.readouterr().err
    assert main(["train", "--synthetic", str(folder), "--steps", "2"]) == 2
    assert capsys.readouterr().err.endswith("training: expected to come to its end, found no space\n")
    (tmp_path / "file").touch()
    assert main(["train", "--synthetic", str(tmp_path / "file" / "below")]) == 2
