"""Label Studio goes away while `preannotate` works: `--resume` completes what is missing, and no task has two predictions."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from backend.embedded import Workplace, free_port, running_label_studio
from backend.label_studio import LabelStudioClient, Project
from backend.media import MediaReader
from backend.preannotate import TaskOutcome, preannotate
from backend.projects import import_sequences
from backend.proposing import WindowProposer
from backend.settings import Settings
from converters.exports import write_sequence
from sam4d.predictor import build_predictor
from sam4d.simulation import SyntheticDrive
from tests.backend.projects.importing import OPTIONS
from tests.label_studio_server import LABEL_STUDIO_ENVIRONMENT, LabelStudioServer

pytestmark = [pytest.mark.xdist_group("label-studio"), pytest.mark.slow]
DATABASE = "label_studio.sqlite3"


@dataclass
class OwnLabelStudio:
    """One that may be stopped, at the same address each time it runs."""

    workplace: Workplace
    token: str
    port: int
    stop: Callable[[], None] = field(default=lambda: None)

    @contextmanager
    def running(self) -> Iterator[str]:
        with ExitStack() as stack:
            running = running_label_studio(self.workplace, self.workplace.read_login(), LABEL_STUDIO_ENVIRONMENT, self.port)
            child, url = stack.enter_context(running)
            self.stop = child.stop
            yield url


@pytest.fixture
def own_label_studio(label_studio: LabelStudioServer, tmp_path: Path) -> OwnLabelStudio:
    """With a copy of the other one's database, so that its tables need not be made again."""
    workplace = Workplace(tmp_path / "own")
    workplace.prepare()
    workplace.write_login(label_studio.login)
    source = label_studio.workplace.label_studio_data / DATABASE
    with closing(sqlite3.connect(source)) as theirs, closing(sqlite3.connect(workplace.label_studio_data / DATABASE)) as ours:
        theirs.backup(ours)
    return OwnLabelStudio(workplace, label_studio.token, free_port(0, "--port"))


class InterruptedClient(LabelStudioClient):
    """Label Studio stops right before one request of this name, the `count`th."""

    def __init__(self, server: OwnLabelStudio, url: str, name: str, count: int) -> None:
        super().__init__(url, server.token)
        self._server, self._name, self._left = server, name, count

    def _before(self, name: str) -> None:
        self._left -= name == self._name
        if not self._left:
            self._server.stop()

    def add_prediction(self, *given: Any, **more: Any) -> None:
        self._before("add")
        super().add_prediction(*given, **more)

    def delete_prediction(self, *given: Any) -> None:
        self._before("delete")
        super().delete_prediction(*given)


def test_label_studio_stops_during_preannotation(own_label_studio: OwnLabelStudio, small_drive: SyntheticDrive, tmp_path: Path) -> None:
    predictor = build_predictor()
    data_root = own_label_studio.workplace.data_root
    open_clip = MediaReader(Settings(data_root=data_root)).open_clip
    write_sequence(small_drive.clip, tmp_path / "street")

    def run(client: LabelStudioClient, project: Project, resume: bool) -> list[TaskOutcome]:
        return list(preannotate(client, project, WindowProposer(predictor), open_clip, masks_per_task=5, resume=resume, pauses_s=()))

    def kept(client: LabelStudioClient, project: Project) -> list[list[str]]:
        tasks = client.tasks(project)
        return [[labels.model_version for labels in client.labelled_task(task).predictions] for task in tasks]

    with own_label_studio.running() as url, InterruptedClient(own_label_studio, url, "add", 2) as client:
        project, _ = import_sequences(
            client,
            "interrupted",
            [tmp_path / "street"],
            data_root=data_root,
            backend=None,
            model_version=predictor.version,
            options=OPTIONS,
            viewer_page=tmp_path / "none",
        )
        first, second = run(client, project, resume=False)
        assert first.failure is None
        assert "is it running?" in str(second.failure)

    with own_label_studio.running() as url:
        with LabelStudioClient(url, own_label_studio.token) as client:
            skipped, done = run(client, project, resume=True)
            assert (skipped.objects, skipped.failure, done.failure) == (None, None, None)
            assert done.objects
            assert kept(client, project) == [[predictor.version]] * 2
        # All of it once more: it stops when the new prediction is there and the old one is not yet gone.
        with InterruptedClient(own_label_studio, url, "delete", 1) as client:
            assert [outcome.failure is None for outcome in run(client, project, resume=False)] == [False, False]

    with own_label_studio.running() as url, LabelStudioClient(url, own_label_studio.token) as client:
        assert sorted(map(len, kept(client, project))) == [1, 2]
        assert [outcome.failure for outcome in run(client, project, resume=True)] == [None, None]
        assert kept(client, project) == [[predictor.version]] * 2
