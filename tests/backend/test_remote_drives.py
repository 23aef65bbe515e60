"""A click in a task whose drive lies elsewhere is answered as one in a drive below the data root."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from backend.allowed_hosts import AllowedHosts
from backend.asgi import create_app
from backend.http import build_app
from backend.media import MediaReader
from backend.service import LabellingService
from backend.sessions import SessionStore
from backend.settings import Settings
from backend.web_files import WebFiles
from sam4d.predictor import build_predictor
from tests.backend.conftest import Project
from tests.backend.file_server import LEGACY, FileServer
from tests.backend.test_labelling import ask, objects
from tests.backend.web_server import PUBLIC, Network, RawServer, files_below

BUCKET = "s3://bucket/recorded/0001"


def from_bucket(server: FileServer, root: Path, project: int) -> TestClient:
    folder = root / "drives" / "0001"
    for file in folder.rglob("*.*"):
        server.storage[project, f"{BUCKET}/{file.relative_to(folder).as_posix()}"] = file.read_bytes()
    settings = Settings(label_studio_url=server.url, label_studio_api_key=LEGACY, interactive_seconds=0, batch_seconds=600)
    return TestClient(create_app(settings), raise_server_exceptions=False)


def test_a_click_in_a_drive_of_a_bucket(tiny_project: Project) -> None:
    with FileServer(tiny_project.data_root) as server:
        client = from_bucket(server, tiny_project.data_root, project=7)
        task = tiny_project.task()
        task["data"]["sequence"] = BUCKET
        click = tiny_project.click_on(tiny_project.visible())
        assert objects(ask(client, tiny_project.request(task, context=click))) == {1}
        assert ask(client, tiny_project.request(task)), "proposals are of the same drive"
        # Another project has no such storage, whatever its tasks name.
        refused = client.post("/predict", json=tiny_project.request({**task, "project": 8}, context=click))
        assert refused.status_code == 422
        assert "project 8" in refused.json()["error"]
        assert LEGACY not in refused.text


def test_a_click_in_a_drive_of_a_web_server(tiny_project: Project) -> None:
    with RawServer(files_below(tiny_project.data_root)) as server:
        network = Network({"files.example.com": [PUBLIC]}, {PUBLIC: server})
        allowed = AllowedHosts.parse("files.example.com", "SAM4D_ALLOWED_HOSTS")
        web = WebFiles(allowed, 10**9, resolve=network.resolve, connect=network.connect)
        predictor = build_predictor()
        service = LabellingService(lambda: predictor, MediaReader(Settings(), web), SessionStore(8, 10**10), 0, 600, 200)
        client = TestClient(build_app(service, Settings()), raise_server_exceptions=False)
        task = tiny_project.task()
        task["data"]["sequence"] = "http://files.example.com/drives/0001/"
        assert objects(ask(client, tiny_project.request(task, context=tiny_project.click_on(tiny_project.visible())))) == {1}


@pytest.mark.parametrize(
    "address",
    [
        "http://169.254.169.254/latest/meta-data/?signature=hidden",
        "http://127.0.0.1:1/drives/0001",
        "http://2130706433/",
        "http://files.example.com@127.0.0.1/",
        "http://[::ffff:127.0.0.1]/",
        "file:///etc/passwd",
        "http://localhost/?signature=hidden",
        "s3://bucket/../a?signature=hidden",
    ],
)
def test_a_task_that_leads_elsewhere_is_one_line(address: str, tiny_project: Project, client: TestClient) -> None:
    task = tiny_project.task()
    task["data"]["sequence"] = address
    refused = client.post("/predict", json=tiny_project.request(task, context=tiny_project.click_on(tiny_project.visible())))
    assert refused.status_code == 422
    assert set(json.loads(refused.text)) == {"error", "id"}
    assert "hidden" not in refused.text
    assert "\n" not in refused.json()["error"]
