"""Pre-annotation by one worker and by two on this machine: eight tasks of the synthetic drive, without Label Studio.

    python -m benchmarks.ray_workers [--tasks 8] [--frames 10] [--most-workers 2] [--json]

Seconds by the clock from the first task handed out to the last proposal, workers started and each warmed by one task before; starting is
printed by itself. Needs Ray (extra: cluster) and a machine on which nobody else works: workers that share cores with others measure those.
Exit code 1 where two workers are not WANTED times as fast as one.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from backend.cluster import LOCAL, connected_cluster
from backend.embedded import terminated_like_interrupted
from backend.label_studio import Project, Task
from backend.settings import Settings
from converters.exports import write_sequence
from converters.label_config import build_label_config
from converters.tasks import TaskWindow, build_task_data
from sam4d.simulation import simulate_drive

LABELS = ("Car", "Pedestrian")
WANTED = 1.7
INTERRUPTED = 130


def measure(task_count: int, frame_count: int, most_workers: int) -> list[dict[str, float]]:
    """A row for each number of workers, seconds by the clock."""
    say(f"simulating a drive of {frame_count} frames")
    drive = simulate_drive(seed=0, frame_count=frame_count)
    cameras = drive.clip.cameras
    images = {camera: ["/image.png"] * frame_count for camera in cameras}
    data = build_task_data(TaskWindow("/data/local-files/?d=drive", 0, frame_count), images, ["/bev.png"] * frame_count)
    tasks = [Task(number, data) for number in range(task_count)]
    project = Project(1, "drives", build_label_config(cameras, LABELS))
    rows: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        write_sequence(drive.clip, Path(folder) / "drive")
        for workers in range(1, most_workers + 1):
            say(f"{workers} worker{'s'[: workers - 1]}: starting")
            begun = time.perf_counter()
            with connected_cluster(LOCAL, workers, Settings(data_root=Path(folder)), project, masks_per_task=60) as cluster:
                list(cluster.propose_all(tasks[:workers]))
                started = time.perf_counter()
                failures = []
                for done, proposal in enumerate(cluster.propose_all(tasks), start=1):
                    failures += [proposal.failure] if proposal.failure is not None else []
                    say(f"{workers} worker{'s'[: workers - 1]}: {done} of {task_count} tasks")
                seconds = time.perf_counter() - started
            if failures:
                raise SystemExit(f"benchmarks: expected objects in every task, found {failures[0]}")
            rows.append({"workers": workers, "start_s": started - begun, "seconds": seconds, "tasks_per_minute": 60 * task_count / seconds})
    return [{**row, "times_one_worker": rows[0]["seconds"] / row["seconds"]} for row in rows]


def say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=8)
    parser.add_argument("--frames", type=int, default=10)
    parser.add_argument("--most-workers", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    try:
        with terminated_like_interrupted():
            rows = measure(arguments.tasks, arguments.frames, arguments.most_workers)
    except KeyboardInterrupt:
        return INTERRUPTED
    two = [row["times_one_worker"] for row in rows if row["workers"] == 2]
    kept = all(times >= WANTED for times in two)
    if arguments.json:
        print(json.dumps(rows, indent=1))
        return 0 if kept else 1
    print("| workers | start, s | tasks, s | tasks per minute | times one worker |\n|---|---|---|---|---|")
    for row in rows:
        figures = [f"{row[name]:.1f}" for name in ("start_s", "seconds", "tasks_per_minute")]
        print(f"| {row['workers']} | {' | '.join(figures)} | {row['times_one_worker']:.2f} |")
    if two:
        print(f"two workers: {two[0]:.2f} times one, wanted at least {WANTED:g}: {'yes' if kept else 'NO'}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
