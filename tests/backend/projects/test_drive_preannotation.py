"""`sam4d preannotate --engine data-engine` in a real Label Studio."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backend.cli import main
from backend.label_studio import LabelStudioClient
from converters.exports import write_sequence
from converters.reconcile import regions_to_masklets
from converters.tasks import parse_task_data
from sam4d.data_engine.per_frame import without_poses
from sam4d.simulation import SyntheticDrive
from sam4d.structures import Clip
from tests.backend.projects.importing import Import
from tests.label_studio_server import LabelStudioServer

pytestmark = [pytest.mark.xdist_group("label-studio"), pytest.mark.slow]


def test_a_projects_drives_are_labelled_as_a_whole(
    import_into: Import,
    client: LabelStudioClient,
    label_studio: LabelStudioServer,
    small_drive: SyntheticDrive,
    open_clip: Callable[[str], Clip],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_sequence(small_drive.clip, tmp_path / "street")
    write_sequence(replace(without_poses(small_drive.clip), name="unposed"), tmp_path / "unposed")
    project, _ = import_into("whole drives", tmp_path / "street", tmp_path / "unposed")
    monkeypatch.setenv("LABEL_STUDIO_URL", label_studio.url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", label_studio.token)
    monkeypatch.setenv("SAM4D_DATA_ROOT", str(label_studio.data_root))
    work = tmp_path / "work"

    def run(*more: str) -> tuple[int, list[dict[str, Any]], str]:
        code = main(
            ["preannotate", "whole drives", "--engine", "data-engine", "--directory", str(work), "--masks-per-task", "500", "--json", *more]
        )
        said = capsys.readouterr()
        assert said.out, said.err
        return code, json.loads(said.out)["tasks"], said.err

    code, outcomes, complaints = run()
    assert code == 1
    assert [outcome["failure"] is None for outcome in outcomes] == [True, True, False, False]
    assert (
        complaints.count("clip unposed: expected ego poses (")
        == complaints.count("--per-frame does without), found none on any frame")
        == 2
    )
    assert list(work.glob("preannotate-*/*/frames-000000/labelled"))

    version = "data-engine-0.2.0-geometric-0.2.0"
    tasks = client.tasks(project)
    assert client.predicted_tasks(project, version) == {task.task_id for task in tasks[:2]}
    # The windows share frames 1 and 2, and what they say of them is the same.
    shared: list[dict[int, list[int]]] = []
    for task in tasks[:2]:
        window = parse_task_data(task.data)
        # Label Studio may have asked the backend for one as well.
        (prediction,) = (labels for labels in client.labelled_task(task).predictions if labels.model_version == version)
        part = open_clip(window.sequence).window(window.first_frame, window.frame_count)
        masklets = regions_to_masklets(prediction.result, window, part)
        frame = 1 - window.first_frame
        shared.append({each.object_id: each.masks[frame].lidar_mask.tolist() for each in masklets if frame in each.masks})
    assert shared[0] == shared[1]
    assert shared[0]

    # Once more with --resume: what is there is passed over.
    code, outcomes, _ = run("--resume")
    assert code == 1
    assert [outcome["objects"] for outcome in outcomes] == [None] * 4

    code, outcomes, _ = run("--per-frame")
    assert code == 0
    assert all(outcome["objects"] for outcome in outcomes)
    assert not list(work.iterdir())
    assert client.predicted_tasks(project, "data-engine-0.2.0-per-frame-geometric-0.2.0") == {task.task_id for task in tasks}
