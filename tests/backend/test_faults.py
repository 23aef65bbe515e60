"""Things that break in a team's week. After each the next click is right, and nothing is lost or there twice."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import pytest
import requests
import torch
from starlette.testclient import TestClient

from backend.allowed_hosts import AllowedHosts
from backend.asgi import create_app
from backend.http import build_app
from backend.label_studio_files import LabelStudioFiles
from backend.media import MediaReader
from backend.service import LabellingService
from backend.sessions import SessionStore
from backend.settings import Settings
from backend.web_files import WebFiles
from sam4d.network.predictor import NetworkPredictor
from sam4d.structures import Masklet
from tests.backend.conftest import Project
from tests.backend.file_server import LEGACY, PERSONAL, FileServer
from tests.backend.server_process import WORKER, running_server
from tests.backend.test_labelling import Results, ask, merged, objects
from tests.sam4d.network.conftest import random_weights


def as_drawn(results: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, Any]]:
    """What a labeller sees of an answer; ids and places, without the time it took."""
    return sorted((str(result["id"]), result["from_name"], json.dumps(result["value"], sort_keys=True)) for result in results)


def other_object(project: Project, first: Masklet) -> Masklet:
    """The one that covers most of the camera's image after the first."""

    def area(masklet: Masklet) -> int:
        masks = masklet.masks.get(0)
        return int(masks.camera_masks["front"].sum()) if masks is not None and masks.lidar_mask.sum() > 20 else 0

    return max((masklet for masklet in project.drive.masklets if masklet is not first), key=area)


def test_a_backend_that_is_killed_during_a_click(project: Project, tmp_path: Path) -> None:
    wanted = project.visible()
    begin = project.click_on(wanted)
    go_on = project.click_on(other_object(project, wanted))
    variables = {"SAM4D_DATA_ROOT": str(project.data_root), "SAM4D_INTERACTIVE_SECONDS": "60"}

    undisturbed = TestClient(create_app(Settings(data_root=project.data_root, interactive_seconds=60)))
    first = ask(undisturbed, project.request(project.task(), context=begin))
    request = project.request(project.task(drafts=[project.draft(first)]), context=go_on)
    expected = ask(undisturbed, request)

    with running_server("backend.asgi:create_app()", [WORKER], variables, tmp_path / "killed.log") as server:
        answer = requests.post(f"{server.address}/predict", json=project.request(project.task(), context=begin), timeout=120)
        assert as_drawn(answer.json()["results"][0]["result"]) == as_drawn(first)
        # A connection of our own: the click is on its way when the server dies, and nothing asks again.
        body = json.dumps(request).encode()
        host, port = server.address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            head = f"POST /predict HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
            while "sam4d_requests_running 1.0" not in requests.get(f"{server.address}/metrics", timeout=60).text:
                assert not select.select([connection], [], [], 0)[0], "the click was answered before the server died"
            server.kill()
            with contextlib.suppress(ConnectionError):
                assert connection.recv(1) == b"", "the click was answered before the server died"
    with running_server("backend.asgi:create_app()", [WORKER], variables, tmp_path / "restarted.log") as server:
        answer = requests.post(f"{server.address}/predict", json=request, timeout=120)
        assert answer.status_code == 200, answer.text
        found = answer.json()["results"][0]["result"]
    assert as_drawn(found) == as_drawn(expected)
    standing = merged(first, found)
    assert objects(standing) == {1, 2}
    assert len({(result["id"], result["from_name"]) for result in standing}) == len(standing)


def test_a_disk_that_is_full_costs_no_answer(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    full = threading.Event()
    real_fdopen = os.fdopen

    def fdopen(handle: int, mode: str) -> IO[Any]:
        if full.is_set():
            # The kernel's own full device: what is written ends as on a full disk.
            device = os.open("/dev/full", os.O_WRONLY)
            os.dup2(device, handle)
            os.close(device)
        return real_fdopen(handle, mode)

    monkeypatch.setattr("backend.disk_cache.os.fdopen", fdopen)
    cache = tmp_path / "downloads"
    expected = ask(
        TestClient(create_app(Settings(data_root=project.data_root, interactive_seconds=60))),
        project.request(project.task(), context=project.click_on(project.visible())),
    )
    with FileServer(project.data_root) as server:
        settings = Settings(label_studio_url=server.url, label_studio_api_key=LEGACY, model_dir=tmp_path, interactive_seconds=60)
        client = TestClient(create_app(settings), raise_server_exceptions=False)
        context = project.click_on(project.visible())
        context["result"][0]["id"] = "click1"
        full.set()
        assert as_drawn(ask(client, project.request(project.task(1), context=context))) == as_drawn(expected)
        assert "No space left on device" in caplog.text
        assert list(cache.iterdir()) == [], "nothing half-written takes what is left"
        full.clear()
        assert as_drawn(ask(client, project.request(project.task(2), context=context))) == as_drawn(expected)
        assert list(cache.iterdir())


def test_a_sweep_that_is_deleted_under_an_open_task(project: Project, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(project.data_root, root)
    shutil.copytree(root / "drives" / "0001", root / "drives" / "0002")
    client = TestClient(create_app(Settings(data_root=root, interactive_seconds=0)), raise_server_exceptions=False)
    wanted = project.visible()
    sweep = root / "drives" / "0001" / "sweeps" / "000002.pcd"
    content = sweep.read_bytes()

    first = ask(client, project.request(project.task(), context=project.click_on(wanted)))
    sweep.unlink()
    drafts = [project.draft(first)]
    # Nothing was followed to the other frames, so that their sweeps were not read yet; the clicks there name their object.
    there, request = (
        project.request(project.task(drafts=drafts), context={**project.click_on(wanted, frame), "object_id": 1}) for frame in (1, 2)
    )
    for _ in range(2):
        refused = client.post("/predict", json=request)
        assert refused.status_code == 422
        assert refused.json()["error"].startswith("drives/0001")
        assert "sweeps/000002.pcd" in refused.json()["error"]
        assert str(root) not in refused.text

    elsewhere = project.task(2)
    elsewhere["data"]["sequence"] = "/data/local-files/?d=drives/0002"
    assert objects(ask(client, project.request(elsewhere, context=project.click_on(wanted, 2)))) == {1}
    # The frames that are there go on as well.
    assert objects(ask(client, there)) == {1}
    sweep.write_bytes(content)
    answer = ask(client, request)
    assert objects(answer) == {1}
    assert 2 in {result["item_index"] for result in answer}


def test_a_frame_that_cannot_be_read_ends_the_following_and_not_the_click(
    project: Project, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "root"
    shutil.copytree(project.data_root, root)
    client = TestClient(create_app(Settings(data_root=root, interactive_seconds=600)), raise_server_exceptions=False)
    sweep = root / "drives" / "0001" / "sweeps" / "000002.pcd"
    content = sweep.read_bytes()
    sweep.unlink()
    wanted = project.visible()
    first = ask(client, project.request(project.task(), context=project.click_on(wanted, 1)))
    assert {result["item_index"] for result in first} == {0, 1}
    assert "object 1 is not followed any further: drives/0001" in caplog.text
    follow = {"result": [], "sam4d": {"action": "follow", "object": 1, "frame": 2, "direction": "forwards"}}
    request = project.request(project.task(drafts=[project.draft(first)]), context=follow)
    assert "sweeps/000002.pcd" in client.post("/predict", json=request).json()["results"][0]["sam4d"]["error"]
    sweep.write_bytes(content)
    rest = ask(client, request)
    assert {result["item_index"] for result in rest} >= {2, 3}
    undisturbed = TestClient(create_app(Settings(data_root=project.data_root, interactive_seconds=600)))
    whole = ask(undisturbed, project.request(project.task(), context=project.click_on(wanted, 1)))
    assert as_drawn(merged(first, rest)) == as_drawn(whole)


@pytest.mark.slow
def test_a_device_that_runs_out_of_memory(tiny_project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(data_root=tiny_project.data_root, interactive_seconds=0)
    predictor = NetworkPredictor(random_weights(), "cpu")
    service = LabellingService(lambda: predictor, MediaReader(settings), SessionStore(8, 10**10), 0, 600, 200)
    client = TestClient(build_app(service, settings), raise_server_exceptions=False)
    wanted = tiny_project.visible()
    first = ask(client, tiny_project.request(tiny_project.task(1), context=tiny_project.click_on(wanted)))
    drafts = [tiny_project.draft(first)]

    with monkeypatch.context() as short:

        def out_of_memory(*_: object, **__: object) -> None:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

        short.setattr("sam4d.modeling.image_encoder.ImageEncoder.forward", out_of_memory)
        request = tiny_project.request(tiny_project.task(2), context=tiny_project.click_on(wanted, 1))
        refused = client.post("/predict", json=request)
        assert refused.status_code == 503, refused.text
        assert "too little memory on the CPU" in refused.json()["error"]
        assert "20.00 GiB" not in refused.text
        # The frame that is known needs no more memory: its task goes on.
        again = tiny_project.request(tiny_project.task(1, drafts=drafts), context=tiny_project.click_on(wanted, label="Pedestrian"))
        assert objects(ask(client, again)) == {2}
    assert objects(ask(client, request)) == {1}


class JumpingClock:
    """The wall clock of a machine whose time is set while it works; the monotonic clock is left as it is."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.offset_s = 0.0
        real_time, real_time_ns = time.time, time.time_ns
        monkeypatch.setattr("time.time", lambda: real_time() + self.offset_s)
        monkeypatch.setattr("time.time_ns", lambda: real_time_ns() + int(self.offset_s * 1e9))


YEARS_S = 3 * 365 * 86400.0


def test_a_clock_that_jumps(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = JumpingClock(monkeypatch)
    wanted = project.visible()
    with FileServer(project.data_root) as server:
        settings = Settings(label_studio_url=server.url, label_studio_api_key=PERSONAL, model_dir=tmp_path, interactive_seconds=600)
        client = TestClient(create_app(settings), raise_server_exceptions=False)
        results: Results = []
        seen = []
        for minute, offset_s in enumerate((0.0, YEARS_S, -YEARS_S, 0.0)):
            clock.offset_s = offset_s
            drafts = [project.draft(results, minute)] if results else []
            answer = ask(client, project.request(project.task(drafts=drafts), context=project.click_on(wanted, minute)))
            results = merged(results, answer)
            seen.append(objects(results))
        # No frame was left out for lack of time, and the token was not renewed.
        assert {result["item_index"] for result in results} == {0, 1, 2, 3}
        assert seen == [{1}] * 4
        assert server.requests.count("refresh") == 1
        assert LabelStudioFiles(server.url, PERSONAL, WebFiles(AllowedHosts(), 10**9)).clock is time.monotonic


def test_two_backends_on_one_project(project: Project) -> None:
    settings = Settings(data_root=project.data_root, interactive_seconds=600)
    backends = [TestClient(create_app(settings), raise_server_exceptions=False) for _ in range(2)]
    wanted = project.visible()
    places = [project.click_on(wanted), project.click_on(other_object(project, wanted)), project.click_on(wanted, 1)]
    standing: Results = []
    for minute, context in enumerate(places):
        drafts = [project.draft(standing, minute)] if standing else []
        request = project.request(project.task(drafts=drafts), context=context)
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(lambda client, request=request: ask(client, request), backends))
        assert as_drawn(answers[0]) == as_drawn(answers[1])
        standing = merged(standing, *answers)
    assert objects(standing) == {1, 2}
    # Then one of them alone for a while: the other learns it all from the draft.
    alone = ask(backends[0], project.request(project.task(drafts=[project.draft(standing, 5)]), context=project.click_on(wanted, 2)))
    standing = merged(standing, alone)
    last = project.request(project.task(drafts=[project.draft(standing, 6)]), context=project.click_on(wanted, 3))
    standing = merged(standing, ask(backends[1], last))
    assert objects(standing) == {1, 2}
    assert len({(result["id"], result["from_name"]) for result in standing}) == len(standing)
