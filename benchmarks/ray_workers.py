"""Pre-annotation by one worker and by two on this machine: eight tasks of the synthetic drive, without Label Studio.

    python benchmarks/ray_workers.py [--tasks 8] [--frames 10] [--most-workers 2] [--json]

Seconds by the clock from the first task handed out to the last proposal, workers started and each warmed by one task before; starting is
printed by itself. Needs Ray (extra: cluster) and a machine on which nobody else works: workers that share cores with others measure those.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from backend.cluster import connected_cluster
from backend.label_studio import Project, Task
from backend.settings import Settings
from converters.exports import write_sequence
from converters.label_config import build_label_config
from converters.tasks import TaskWindow, build_task_data
from sam4d.simulation import simulate_drive

LABELS = ("Car", "Pedestrian")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=8)
    parser.add_argument("--frames", type=int, default=10)
    parser.add_argument("--most-workers", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    drive = simulate_drive(seed=0, frame_count=arguments.frames)
    cameras = drive.clip.cameras
    images = {camera: ["/image.png"] * arguments.frames for camera in cameras}
    data = build_task_data(TaskWindow("/data/local-files/?d=drive", 0, arguments.frames), images, ["/bev.png"] * arguments.frames)
    tasks = [Task(number, data) for number in range(arguments.tasks)]
    project = Project(1, "drives", build_label_config(cameras, LABELS))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        write_sequence(drive.clip, Path(folder) / "drive")
        for workers in range(1, arguments.most_workers + 1):
            begun = time.perf_counter()
            with connected_cluster("local", workers, Settings(data_root=Path(folder)), project, masks_per_task=60) as cluster:
                list(cluster.propose_all(tasks[:workers]))
                started = time.perf_counter()
                failures = [proposal.failure for proposal in cluster.propose_all(tasks) if proposal.failure is not None]
                seconds = time.perf_counter() - started
            assert not failures, failures
            rows.append({"workers": workers, "start_s": started - begun, "seconds": seconds, "tasks_per_minute": 60 * len(tasks) / seconds})
    for row in rows:
        row["times_one_worker"] = rows[0]["seconds"] / row["seconds"]
    if arguments.json:
        print(json.dumps(rows, indent=1))
        return
    print("| workers | start, s | tasks, s | tasks per minute | times one worker |\n|---|---|---|---|---|")
    for row in rows:
        figures = [f"{row[name]:.1f}" for name in ("start_s", "seconds", "tasks_per_minute")]
        print(f"| {row['workers']} | {' | '.join(figures)} | {row['times_one_worker']:.2f} |")


if __name__ == "__main__":
    main()
