"""Label Studio's side of a click: a real server with its usual settings, one labeller, then sixteen at once."""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import requests

from backend.embedded import Child, free_port, gunicorn_command, running_child
from backend.settings import Settings
from benchmarks.drive import Drive
from benchmarks.figure import Figure, peak_megabytes
from converters.label_config import build_label_config
from converters.tasks import TaskWindow, build_task_data
from sam4d.geometry import BirdsEyeView

ANNOTATORS = 16
TIMES_OF_ONE = 16.0
"""What sixteen who click at once may wait, over what one alone does: no worse than one after the other."""
FIRST_ANSWER_SECONDS = 0.6
"""As the 3D view asks first."""
START_SECONDS = 120.0
LONGEST_ANSWER_S = 240.0
PROCESS_MEGABYTES = 1024
"""What a process may hold beside its open tasks: the engine's code, and requests in progress."""


class Bodies:
    """Requests of the 3D view on a drive, in tasks of their own."""

    def __init__(self, drive: Drive) -> None:
        clip = drive.open()
        address = f"/data/local-files/?d={drive.folder.name}"
        window = TaskWindow(address, 0, len(clip), BirdsEyeView(forward=clip.forward))
        frames = range(len(clip))
        images = {name: [f"{address}/{name}/{frame}.png" for frame in frames] for name in clip.cameras}
        self._data = build_task_data(window, images, [f"{address}/bev/{frame}.png" for frame in frames])
        self._label_config = build_label_config(clip.cameras, ("Car", "Pedestrian"))
        self.targets = drive.targets(clip, ANNOTATORS)
        self.frames = len(clip)

    def click(self, task: int, target: Sequence[float], seconds: float | None = FIRST_ANSWER_SECONDS) -> bytes:
        point = {"position_m": list(target), "positive": True}
        asked: dict[str, Any] = {"action": "prompt", "object": "new", "label": "Car", "frame": 0, "points": [point]}
        if seconds is not None:
            asked["seconds"] = seconds
        entry = {"id": task, "project": 1, "data": self._data, "drafts": [], "annotations": [], "predictions": []}
        params = {"context": {"result": [], "sam4d": asked}}
        return json.dumps({"tasks": [entry], "project": "1.1", "label_config": self._label_config, "params": params}).encode()


def worker_of(child: Child) -> int:
    """The one process that answers."""
    pid = child.process.pid
    (worker,) = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return int(worker)


def processor_s(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ask(session: requests.Session, url: str, body: bytes) -> tuple[float, int, list[Mapping[str, Any]]]:
    """Seconds by the clock, bytes of the answer, and its regions. Raises SystemExit where the answer is an error."""
    began = time.perf_counter()
    answer = session.post(f"{url}/predict", data=body, timeout=LONGEST_ANSWER_S)
    seconds = time.perf_counter() - began
    said = answer.json()
    if answer.status_code != 200 or "error" in said["results"][0].get("sam4d", {}):
        raise SystemExit(f"benchmarks: a click was answered {answer.status_code}: {answer.text[:300]}")
    return seconds, len(answer.content), said["results"][0]["result"]


def one_labeller(url: str, bodies: Bodies, task: int, clicks: int, start: int = 0) -> list[float]:
    """Seconds of each click, one right after the other, on different objects; the first opens the task."""
    targets = bodies.targets[start % len(bodies.targets) :] + bodies.targets[: start % len(bodies.targets)]
    with requests.Session() as session:
        return [ask(session, url, bodies.click(task, targets[number % len(targets)]))[0] for number in range(clicks)]


def labellers(drive: Drive) -> list[Figure]:
    bodies = Bodies(drive)
    clicks = 4 if drive.quick else 8
    settings = Settings()
    port = free_port(0, "the benchmark's port")
    url = f"http://127.0.0.1:{port}"
    variables = {**os.environ, "SAM4D_DATA_ROOT": str(drive.folder.parent.resolve()), "SAM4D_ENGINE": "geometric", "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as scratch:
        command = gunicorn_command("127.0.0.1", port)
        log = Path(scratch) / "server.log"
        with running_child("the server", command, log, variables, Path(__file__).parents[1]) as child:
            child.wait_until_healthy(f"{url}/health", START_SECONDS)
            worker = worker_of(child)
            one_labeller(url, bodies, 1000, 2)
            with requests.Session() as session:
                began = time.perf_counter()
                for _ in range(20):
                    session.get(f"{url}/health", timeout=LONGEST_ANSWER_S)
                health_s = (time.perf_counter() - began) / 20
                before_s = processor_s(worker)
                own_frame = [ask(session, url, bodies.click(1001, target, 0.0)) for target in bodies.targets[:clicks]]
                click_s = (processor_s(worker) - before_s) / len(own_frame)
                whole = ask(session, url, bodies.click(1002, bodies.targets[0], None))
            frames = len({region["item_index"] for region in whole[2]})
            before_s = processor_s(worker)
            alone = one_labeller(url, bodies, 1003, 2 * clicks)
            alone_s = (processor_s(worker) - before_s) / len(alone)
            before_s, began = processor_s(worker), time.perf_counter()
            with ThreadPoolExecutor(ANNOTATORS) as pool:
                running = [pool.submit(one_labeller, url, bodies, task, clicks, task) for task in range(ANNOTATORS)]
                together = [seconds for each in running for seconds in each.result()]
            clock_s, together_s = time.perf_counter() - began, processor_s(worker) - before_s
            metrics = requests.get(f"{url}/metrics", timeout=LONGEST_ANSWER_S).text
            peak_mb = peak_megabytes(worker)
    median_s, slow_s = float(np.median(alone)), float(np.percentile(together, 95))
    open_tasks, held_mb = _metric(metrics, "sam4d_open_tasks"), _metric(metrics, "sam4d_open_tasks_bytes") / 2**20
    budget_mb = settings.session_bytes / 2**20
    cores = together_s / clock_s
    in_turn_s = ANNOTATORS * together_s / len(together) / cores
    own_frame_s = float(np.median([seconds for seconds, _, _ in own_frame]))
    return [
        Figure("/predict, click answered on its frame, by the clock", own_frame_s, "s", "/health, by the clock", health_s),
        Figure("/predict, click answered on its frame, worker's processor", click_s, "s"),
        Figure(f"/predict, click answered on {frames} of {bodies.frames} frames, by the clock", whole[0], "s"),
        Figure("answer of that click", whole[1] / 1e6, "MB", "most (SAM4D_ANSWER_MEGABYTES)", settings.limits.answer_bytes / 1e6),
        Figure("one labeller's click in the 3D view, median, by the clock", median_s, "s", "what it asks for", FIRST_ANSWER_SECONDS),
        Figure(f"{ANNOTATORS} labellers at once, 95 of 100 clicks within, by the clock", slow_s, "s", "one labeller's median", median_s),
        Figure("the same over one labeller's median", slow_s / median_s, "times", at_most=TIMES_OF_ONE),
        Figure("a click of those at once, worker's processor", together_s / len(together), "s", "a click of one alone", alone_s),
        Figure("cores that the worker had meanwhile", cores, "cores", "of the machine", os.cpu_count()),
        Figure("95 of 100 of those within, over one turn of all on these cores", slow_s / in_turn_s, "times", "a turn, s", in_turn_s),
        Figure("tasks open afterwards", open_tasks, "tasks", "most (SAM4D_SESSIONS)", settings.session_count, at_least=ANNOTATORS),
        Figure("memory they hold", held_mb, "MB", "most (SAM4D_SESSION_MEGABYTES)", budget_mb, at_most=budget_mb),
        Figure("peak memory of the worker", peak_mb, "MB", "", None, at_most=budget_mb + PROCESS_MEGABYTES),
    ]


def _metric(text: str, name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
    if found is None:
        raise SystemExit(f"benchmarks: expected {name} in /metrics, found none")
    return float(found[1])
