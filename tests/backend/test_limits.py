"""What is too much is refused, put off or cut, each with a line that says so."""

from __future__ import annotations

import asyncio
import gc
import queue
import threading
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient
from starlette.types import Message

from backend.admission import Admission
from backend.answer_size import frames_that_fit, region_bytes
from backend.asgi import create_app
from backend.errors import BusyError
from backend.limits import Limits
from backend.settings import Settings
from tests.backend.conftest import Project
from tests.backend.test_http import GatedPredictor, gated_app
from tests.backend.test_slow_bodies import sent_to


def limited(settings: Settings, limits: Limits) -> TestClient:
    return TestClient(create_app(replace(settings, limits=limits)), raise_server_exceptions=False)


def click(project: Project, identity: int = 1, frame_index: int = 0) -> dict[str, Any]:
    return project.request(project.task(identity), context=project.click_on(project.visible(), frame_index=frame_index))


def test_tasks_prompts_and_frames_are_counted(settings: Settings, project: Project) -> None:
    client = limited(settings, Limits(tasks=2, prompts=3, frames=4))
    answer = client.post("/predict", json=project.request(*[project.task(number) for number in range(3)]))
    assert (answer.status_code, answer.json()["error"]) == (413, "field 'tasks' of the request: expected at most 2 tasks, found 3")
    body = click(project)
    assert client.post("/predict", json=body).status_code == 200
    body["params"]["context"]["result"] *= 4
    answer = client.post("/predict", json=body)
    assert (answer.status_code, answer.json()["error"]) == (413, "context, result: expected at most 3 entries, found 4")
    points = [{"position_m": [1, 2, 3], "positive": True}] * 4
    view = {"result": [], "sam4d": {"action": "prompt", "object": "new", "label": "Car", "frame": 0, "points": points}}
    answer = client.post("/predict", json=project.request(project.task(), context=view))
    assert answer.json()["results"][0]["sam4d"]["error"] == "context, sam4d, points: expected at most 3 entries, found 4"
    answer = limited(settings, Limits(frames=3)).post("/predict", json=click(project))
    assert (answer.status_code, answer.json()["error"]) == (422, "task data: expected at most 3 frames, found 4")


def test_no_object_too_many_is_begun_and_those_that_are_there_go_on(settings: Settings, project: Project) -> None:
    client = limited(settings, Limits(objects=1))
    first = click(project)
    regions = client.post("/predict", json=first).json()["results"][0]["result"]
    shown = {
        number: int(masklet.masks[0].camera_masks["front"].sum())
        for number, masklet in enumerate(project.drive.masklets)
        if 0 in masklet.masks
    }
    other = project.drive.masklets[sorted(shown, key=lambda number: shown[number])[-2]]
    drafts = [project.draft(regions)]
    second = project.request(project.task(drafts=drafts), context=project.click_on(other))
    answer = client.post("/predict", json=second)
    assert (answer.status_code, answer.json()["error"]) == (422, "task: expected at most 1 objects, found one more")
    again = project.request(project.task(drafts=drafts), context=project.click_on(project.visible(), frame_index=1))
    answer = client.post("/predict", json=again)
    assert answer.status_code == 200
    assert {region["meta"]["sam4d"]["object_id"] for region in answer.json()["results"][0]["result"]} == {1}


def test_an_answer_is_cut_to_the_frames_near_the_click_and_the_rest_comes_later(
    settings: Settings, project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    whole = TestClient(create_app(settings)).post("/predict", json=click(project, frame_index=1)).json()["results"][0]
    sizes: dict[int, int] = {}
    for region in whole["result"]:
        sizes[region["item_index"]] = sizes.get(region["item_index"], 0) + region_bytes(region)
    assert set(sizes) == {0, 1, 2, 3}
    client = limited(settings, Limits(answer_bytes=sizes[1] + sizes[0]))
    first = client.post("/predict", json=click(project, frame_index=1)).json()["results"][0]
    assert {region["item_index"] for region in first["result"]} == {0, 1}
    assert (first["sam4d"]["frames"], first["sam4d"]["left_out"]) == ([0, 1], [2, 3])
    assert "frames [2, 3] are left for later" in caplog.text
    follow = {"result": [], "sam4d": {"action": "follow", "object": 1, "frame": 2, "direction": "forwards"}}
    task = project.task(drafts=[project.draft(first["result"])])
    second = client.post("/predict", json=project.request(task, context=follow)).json()["results"][0]
    assert {region["item_index"] for region in second["result"]} == {2}
    follow["sam4d"] |= {"frame": 3}  # type: ignore[operator]
    third = client.post("/predict", json=project.request(task, context=follow)).json()["results"][0]

    def by_id(regions: list[dict[str, Any]]) -> dict[str, Any]:
        return {f"{region['id']} {region['from_name']}": region["value"] for region in regions}

    assert by_id(first["result"] + second["result"] + third["result"]) == by_id(whole["result"])


@given(st.dictionaries(st.integers(0, 30), st.integers(0, 50), min_size=1), st.integers(0, 300_000), st.integers(0, 30))
def test_what_is_kept_fits_is_nearest_and_is_never_nothing(numbers: dict[int, int], most_bytes: int, asked: int) -> None:
    regions: list[dict[str, object]] = [
        {"item_index": frame, "value": {"rle": [0] * count * 100}} for frame, count in numbers.items() for _ in range(2)
    ]
    kept = frames_that_fit(regions, most_bytes, asked)
    assert kept
    if len(kept) > 1:
        assert sum(region_bytes(region) for region in regions if region["item_index"] in kept) <= most_bytes
    farthest = max(abs(frame - asked) for frame in kept)
    assert all(abs(frame - asked) >= farthest for frame in set(numbers) - kept)


def test_a_request_whose_time_is_over_is_answered_and_its_work_is_not_lost(
    settings: Settings, project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    predictor = GatedPredictor()
    short = replace(settings, limits=Limits(seconds=0.2), threads=1, queue=0)
    with gated_app(short, predictor) as client:
        body = click(project)
        answer = client.post("/predict", json=body)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")
        assert answer.json()["error"] == "server: expected an answer within 0.2 s, found none yet"
        assert answer.json()["id"] in caplog.text
        # Its thread goes on, and so it keeps its place.
        assert client.post("/predict", json=body).json()["error"].startswith("server: expected fewer requests at a time")
        assert client.get("/health/ready").status_code == 503
        assert client.get("/health").status_code == 200


def test_who_waits_for_another_request_on_the_same_task_does_not_wait_for_ever(settings: Settings, project: Project) -> None:
    predictor = GatedPredictor()
    service_limits = Limits(seconds=0.3)
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with gated_app(replace(settings, limits=replace(service_limits, seconds=120)), predictor, service_limits) as client:
        threads = [threading.Thread(target=lambda: answers.put(client.post("/predict", json=click(project)))) for _ in range(2)]
        threads[0].start()
        assert predictor.arrived.acquire(timeout=60)
        threads[1].start()
        second = answers.get(timeout=60)
        assert (second.status_code, second.headers["Retry-After"]) == (503, "10")
        assert "no other request on this task" in second.json()["error"]
        predictor.gate.set()
        for thread in threads:
            thread.join(120)
        # The first one's time was over, too, when its clip stood open; the next click finds it open.
        assert answers.get(timeout=1).status_code == 503


def test_places_and_memory_are_shared_out_and_a_small_request_passes_a_large_one() -> None:
    async def run() -> list[str]:
        admission = Admission(places=2, queue=3, most_seconds=60, most_bytes=100)
        order: list[str] = []

        async def work(name: str, size_bytes: int, until: anyio.Event) -> None:
            async with admission.place(size_bytes):
                order.append(name)
                await until.wait()

        first, second, third = anyio.Event(), anyio.Event(), anyio.Event()
        async with anyio.create_task_group() as group:
            for number, (name, size_bytes, until) in enumerate([("large", 90, first), ("larger", 1000, second), ("small", 10, third)]):
                group.start_soon(work, name, size_bytes, until)
                while admission.running + admission.waiting <= number:
                    await anyio.lowlevel.checkpoint()
            while "small" not in order:
                await anyio.lowlevel.checkpoint()
            assert (order, admission.running, admission.waiting) == (["large", "small"], 2, 1)
            first.set()
            third.set()
            second.set()
        assert (admission.running, admission.waiting) == (0, 0)
        return order

    assert anyio.run(run) == ["large", "small", "larger"]


def test_who_finds_no_room_in_time_is_put_off_and_takes_none() -> None:
    async def run() -> None:
        admission = Admission(places=2, queue=0, most_seconds=0, most_bytes=100)
        async with admission.place(60):
            with pytest.raises(BusyError):
                async with admission.place(60):
                    pytest.fail("there was room")
            async with admission.place(40):
                assert admission.is_full
        assert (admission.running, admission.waiting) == (0, 0)

    anyio.run(run)


@pytest.mark.parametrize("value", ["[]", "{}", '"a"'])
def test_what_python_takes_many_times_the_memory_for_is_counted(client: TestClient, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.http.MOST_OF_JSON", {"[{": 100, '"': 200})
    answers = [client.post("/predict", content=f'{{"tasks": [{",".join([value] * count)}]}}') for count in (90, 110)]
    assert [answer.status_code for answer in answers] == [400, 413]
    assert "expected at most" in answers[1].json()["error"]


@pytest.mark.parametrize("end", [b"", b'"}'], ids=["broken off", "no tasks"])
def test_a_request_that_is_refused_leaves_nothing_in_memory(end: bytes) -> None:
    """Frames, futures and errors hold each other: without care, until the garbage collector comes by."""
    app, half_bytes = create_app(Settings()), 10_000_000

    def pieces() -> Iterator[Message]:
        yield {"type": "http.request", "body": b'{"tasks": "' + b"a" * half_bytes, "more_body": True}
        yield {"type": "http.request", "body": b"a" * half_bytes + end, "more_body": False}

    async def held_bytes() -> int:
        answers = await sent_to(app, "/predict", pieces())
        assert answers[0]["status"] == 400
        # The thread that read it lets go of it a moment after its answer.
        for _ in range(1000):
            if tracemalloc.get_traced_memory()[0] < half_bytes:
                break
            await asyncio.sleep(0.01)
        return tracemalloc.get_traced_memory()[0]

    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        assert asyncio.run(held_bytes()) < half_bytes
    finally:
        tracemalloc.stop()
        gc.enable()
