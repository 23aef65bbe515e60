"""The engine that answers follows the version that serves, and goes on where another one cannot be had."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from backend.asgi import build_service
from backend.engine import predictor_of, version_store_of
from backend.http import build_app
from backend.served_engine import ServedEngine
from backend.settings import Settings
from backend.versions import BASE, About, VersionStore
from sam4d.geometric.parameters import GeometricParameters, write_parameters
from sam4d.predictor import build_predictor
from tests.backend.conftest import Project
from tests.backend.test_labelling import ask

USUAL = build_predictor().version


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    return replace(settings, model_dir=tmp_path / "model")


@pytest.fixture
def store(settings: Settings) -> VersionStore:
    store = version_store_of(settings)
    assert store is not None
    return store


def learn(store: VersionStore, gap_m: float) -> tuple[str, str]:
    """The name and model version of new parameters."""
    parameters = GeometricParameters(gap_m=gap_m)
    version = build_predictor(parameters=parameters).version
    about = About("geometric", version, "2026-11-29T20:00:00+00:00", BASE)
    return store.add(about, lambda path: write_parameters(path, parameters)).name, version


def test_it_follows_forwards_and_back(settings: Settings, store: VersionStore) -> None:
    engine = ServedEngine(settings)
    before = engine()
    assert before.version == USUAL
    name, version = learn(store, 0.3)
    assert engine() is before, "one that does not serve changes nothing"
    store.use(name)
    engine()
    engine.settle()
    assert engine().version == version
    assert predictor_of(settings).version == version
    assert ServedEngine(settings)().version == version
    assert before.version == USUAL
    store.roll_back()
    engine()
    engine.settle()
    assert engine().version == USUAL


def test_one_that_cannot_be_loaded_leaves_the_one_that_answers(
    settings: Settings, store: VersionStore, caplog: pytest.LogCaptureFixture
) -> None:
    good, version = learn(store, 0.3)
    store.use(good)
    engine = ServedEngine(settings)
    bad, _ = learn(store, 0.4)
    (store.folder / bad / "parameters.json").write_text('{"gap_m": 1e9}')
    store.use(bad)
    engine()
    engine.settle()
    assert engine().version == version
    assert "version v2 cannot be loaded" in engine.trouble
    assert caplog.text.count("version v2 cannot be loaded") == 1
    assert f"{version} answers on" in caplog.text
    # A server that starts now falls back in the same way.
    anew = ServedEngine(settings)
    assert (anew().version, "version v2 cannot be loaded" in anew.trouble) == (version, True)
    store.roll_back()
    engine()
    engine.settle()
    assert engine.trouble == ""


def test_a_damaged_pointer_changes_nothing(settings: Settings, store: VersionStore) -> None:
    name, version = learn(store, 0.3)
    store.use(name)
    engine = ServedEngine(settings)
    (store.folder / "current.json").write_text("{")
    engine()
    engine.settle()
    assert engine().version == version
    assert "current.json" in engine.trouble
    assert ServedEngine(settings)().version == USUAL


def test_without_a_folder_there_is_nothing_to_follow() -> None:
    engine = ServedEngine(Settings())
    assert engine() is engine()
    assert engine.trouble == ""


@pytest.fixture
def served(settings: Settings) -> Iterator[tuple[TestClient, ServedEngine]]:
    service = build_service(settings)
    engine = service._engine
    assert isinstance(engine, ServedEngine)
    with TestClient(build_app(service, settings), raise_server_exceptions=False) as client:
        yield client, engine


def test_open_tasks_end_with_the_engine_that_they_began_with(
    served: tuple[TestClient, ServedEngine], store: VersionStore, project: Project
) -> None:
    client, engine = served
    setup = {"project": "7.17", "schema": project.label_config, "hostname": "", "access_token": ""}
    wanted = project.visible()
    first = ask(client, project.request(project.task(1), context=project.click_on(wanted)))
    name, version = learn(store, 0.3)
    store.use(name)
    client.get("/health")
    engine.settle()
    assert client.get("/health").json()["model_version"] == version
    assert client.post("/setup", json=setup).json()["model_version"] == version
    assert f'sam4d_engine_info{{version="{version}"}} 1.0' in client.get("/metrics").text

    task = project.task(1, drafts=[project.draft(first)])
    open_still = client.post("/predict", json=project.request(task, context=project.click_on(wanted, 1))).json()
    assert open_still["results"][0]["model_version"] == USUAL
    new = client.post("/predict", json=project.request(project.task(2), context=project.click_on(wanted))).json()
    assert new["results"][0]["model_version"] == version
    (store.folder / name / "parameters.json").write_text("{")
    store.use(BASE)
    store.use(name)
    client.get("/health")
    engine.settle()
    health = client.get("/health").json()
    assert (health["ready"], health["model_version"]) == (True, version)
    assert "version v1 cannot be loaded" in health["version_trouble"]
