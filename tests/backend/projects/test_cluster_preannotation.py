"""`sam4d preannotate --cluster local` in a real Label Studio."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from backend.cli import main
from backend.label_studio import LabelStudioClient
from tests.backend.projects.importing import Import
from tests.label_studio_server import LabelStudioServer


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.xdist_group("label-studio")
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="no Ray")
def test_workers_find_what_one_process_finds(
    import_into: Import,
    recording: Path,
    client: LabelStudioClient,
    label_studio: LabelStudioServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    project, _ = import_into("by workers", recording)
    (stranger,) = client.add_tasks(project, [{"front": ["a"], "front_left": ["a"], "bev": ["a"]}])
    monkeypatch.setenv("LABEL_STUDIO_URL", label_studio.url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", label_studio.token)
    monkeypatch.setenv("SAM4D_DATA_ROOT", str(label_studio.data_root))

    def run(*more: str) -> list[dict[str, object]]:
        assert main(["preannotate", "by workers", "--masks-per-task", "500", "--json", *more]) == 1
        said = capsys.readouterr()
        assert [line.partition(": ")[0] for line in said.err.splitlines()] == [f"task {stranger}"]
        outcomes: list[dict[str, object]] = json.loads(said.out)["tasks"]
        return sorted(outcomes, key=lambda outcome: str(outcome["task_id"]))

    def predicted() -> list[list[object]]:
        # Not the stranger's: Label Studio asks the backend itself for a task that is looked at and has none.
        ours = [task for task in client.tasks(project) if task.task_id != stranger]
        return [[(labels.model_version, labels.result) for labels in client.labelled_task(task).predictions] for task in ours]

    alone, found_alone = run(), predicted()
    assert [len(predictions) for predictions in found_alone] == [1, 1]
    assert run("--cluster", "local", "--workers", "2") == alone
    assert predicted() == found_alone


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--workers", "2"], "--workers: expected --cluster, found none"),
        (
            ["--cluster", "local", "--engine", "data-engine"],
            "--cluster: expected another engine than data-engine, which looks at whole drives on one machine, found local",
        ),
    ],
)
def test_what_does_not_go_together(arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["preannotate", "drives", *arguments]) == 2
    assert capsys.readouterr().err == f"sam4d: {line}\n"
