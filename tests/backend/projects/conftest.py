"""A Label Studio whose projects and files are taken away after each test."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backend.label_studio import LabelStudioClient, Project
from backend.media import MediaReader
from backend.projects import BackendAddress, ImportedSequence, import_sequences
from backend.settings import Settings
from converters.exports import write_sequence
from sam4d.predictor import build_predictor
from sam4d.simulation import SyntheticDrive
from sam4d.structures import Clip
from tests.backend.projects.importing import OPTIONS, Import, files_below
from tests.label_studio_server import LabelStudioServer


@pytest.fixture
def client(label_studio: LabelStudioServer) -> Iterator[LabelStudioClient]:
    with LabelStudioClient(label_studio.url, label_studio.token) as client:
        yield client


@pytest.fixture
def data_root(label_studio: LabelStudioServer) -> Iterator[Path]:
    """The server's data root, which other tests use too; what a test adds is taken away after it."""
    before = files_below(label_studio.data_root)
    yield label_studio.data_root
    for name in set(files_below(label_studio.data_root)) - set(before):
        (label_studio.data_root / name).unlink()
    for folder in sorted((path for path in label_studio.data_root.rglob("*") if path.is_dir()), reverse=True):
        with contextlib.suppress(OSError):
            folder.rmdir()


@pytest.fixture
def recording(tmp_path: Path, small_drive: SyntheticDrive) -> Path:
    """The small drive as a folder outside the data root; the front camera has no image on frame 1."""
    frames = list(small_drive.clip.frames)
    frames[1] = replace(frames[1], load_images={name: load for name, load in frames[1].load_images.items() if name != "front"})
    folder = tmp_path / "street"
    write_sequence(replace(small_drive.clip, frames=tuple(frames)), folder)
    return folder


@pytest.fixture
def import_into(client: LabelStudioClient, data_root: Path, labelling_backend: BackendAddress) -> Iterator[Import]:
    """Imports into a project, which is deleted afterwards."""
    titles = set()

    def run(title: str, *paths: Path, **more: Any) -> tuple[Project, tuple[ImportedSequence, ...]]:
        titles.add(title)
        chosen: dict[str, Any] = {"backend": labelling_backend, "options": OPTIONS, "model_version": build_predictor().version, **more}
        return import_sequences(chosen.pop("client", client), title, paths, data_root=data_root, **chosen)

    yield run
    for title in titles:
        project = client.find_project(title)
        if project is not None:
            client.delete_project(project)


@pytest.fixture
def open_clip(label_studio: LabelStudioServer) -> Callable[[str], Clip]:
    return MediaReader(Settings(data_root=label_studio.data_root)).open_clip
