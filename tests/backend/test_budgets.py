"""Budgets of memory, disk and page reach from the settings to where they are kept. Those of one request: test_limits, test_http,
test_slow_bodies, test_labelling, test_media."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from backend.asgi import build_service
from backend.limits import MEGABYTE
from backend.media import MediaReader
from backend.service import LabellingService
from backend.settings import Settings
from tests.backend.conftest import Project
from tests.backend.file_server import LEGACY, FileServer


@pytest.fixture
def settings(data_root: Path) -> Settings:
    """A click is answered on its own frame: what is held then is enough to look at."""
    return Settings(data_root=data_root, interactive_seconds=0, batch_seconds=600)


def click_in_three_tasks(service: LabellingService, project: Project) -> None:
    for number in (1, 2, 3):
        (answer,) = service.predict([project.task(number)], "7", project.label_config, project.click_on(project.visible()))
        assert answer["result"]


def test_no_more_tasks_stay_open_than_are_set(settings: Settings, project: Project) -> None:
    service = build_service(replace(settings, session_count=2))
    click_in_three_tasks(service, project)
    assert [key.task for key in service.sessions.keys] == ["2", "3"]


def test_open_tasks_hold_no_more_than_is_set(settings: Settings, project: Project) -> None:
    service = build_service(settings)
    click_in_three_tasks(service, project)
    assert len(service.sessions.keys) == 3
    held = service.sessions.held_bytes
    tight = build_service(replace(settings, session_bytes=held * 5 // 6))
    click_in_three_tasks(tight, project)
    assert [key.task for key in tight.sessions.keys] == ["2", "3"]
    assert 0 < tight.sessions.held_bytes <= held * 5 // 6


def test_sixteen_tasks_of_a_team_stay_open_by_default(project: Project, settings: Settings) -> None:
    usual = Settings()
    service = build_service(replace(settings, session_count=usual.session_count, session_bytes=usual.session_bytes))
    for number in range(16):
        service.predict([project.task(number)], "7", project.label_config, project.click_on(project.visible()))
    assert len(service.sessions.keys) == 16
    assert usual.session_bytes // 16 >= 120 * MEGABYTE, "what docs/running.md says of a task of 20 frames"


@pytest.mark.parametrize("most_masks", [1, 12])
def test_a_pre_annotation_holds_no_more_masks_than_are_set(settings: Settings, project: Project, most_masks: int) -> None:
    (whole,) = build_service(settings).predict([project.task()], "7", project.label_config, None)
    (few,) = build_service(replace(settings, masks_per_task=most_masks)).predict([project.task()], "7", project.label_config, None)
    masks = [region for region in few["result"] if region["type"] == "brushlabels"]
    objects = {region["meta"]["sam4d"]["object_id"] for region in masks}
    assert len(masks) <= most_masks or len(objects) == 1
    assert 0 < len(few["result"]) < len(whole["result"])


def test_downloaded_files_take_no_more_disk_than_is_set(file_server: FileServer, tmp_path: Path) -> None:
    kept = {}
    for name, cache_bytes in (("all", 100 * MEGABYTE), ("few", 400_000)):
        place = tmp_path / name
        known = Settings(label_studio_url=file_server.url, label_studio_api_key=LEGACY, model_dir=place, cache_bytes=cache_bytes)
        clip = MediaReader(known).open_clip("/data/local-files/?d=drives/0001")
        for frame in clip.frames:
            assert len(frame.load_sweep()) > 0
            assert all(load().any() for load in frame.load_images.values())
        kept[name] = sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
    assert kept["few"] <= 400_000 < kept["all"]
