"""What a fleet's tasks take in Label Studio's database, and pre-annotation's processor time.

    python -m benchmarks.database [--tasks 1] [--cameras 3] [--masks-per-task 240] [--label-studio .venv-label-studio] [--json]

A synthetic task of 20 frames and 168 thousand points a sweep is imported (several times over) into a Label Studio of its own on SQLite,
pre-annotated, and the pre-annotation submitted as an annotation. Bytes are those by which the database grew. Where PostgreSQL is installed
(Debian's place), the same regions are also stored there as Label Studio stores them (jsonb), in a database of its own. Seconds are the
processor's, a command's start included. Takes three to five minutes on two cores, of which Label Studio's first start is one or two;
each further task takes one or two.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from backend.embedded import Workplace, running_services, terminated_like_interrupted
from backend.label_studio import LabelStudioClient
from benchmarks.drive import CAMERAS, TASK_FRAMES, write_synthetic_drive

PROJECT = "Database"
INTERRUPTED = 130
POSTGRESQL, POSTGRESQL_USER = Path("/usr/lib/postgresql"), "postgres"
"""As Debian has them."""


def sam4d(*arguments: str, **variables: str) -> float:
    """A command's processor time in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "backend.cli", *arguments]
    subprocess.run(command, check=True, stdout=sys.stderr, env={**os.environ, **variables})  # noqa: S603 (this very Python)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def size(data: Path) -> int:
    """Bytes of the database with all that is still in its log."""
    (file,) = data.rglob("*.sqlite3")
    with contextlib.closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA wal_checkpoint(PASSIVE)")
        pages, free, page = (database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size"))
    return int((pages - free) * page)


def results(data: Path) -> list[list[dict[str, Any]]]:
    """Every prediction's regions."""
    (file,) = data.rglob("*.sqlite3")
    with contextlib.closing(sqlite3.connect(file)) as database:
        return [json.loads(row[0]) for row in database.execute("SELECT result FROM prediction")]


def size_as_jsonb(regions: Sequence[list[dict[str, Any]]]) -> int | None:
    """Bytes of a PostgreSQL table of these results; None where there is no PostgreSQL."""
    programs = sorted(POSTGRESQL.glob("*/bin"))
    if not programs:
        return None
    # It refuses root.
    user = POSTGRESQL_USER if os.geteuid() == 0 else None

    def run(program: str, *arguments: str, text: str | None = None) -> str:
        command = [str(programs[-1] / program), *arguments]
        # Debian's programs
        return subprocess.run(command, check=True, input=text, stdout=subprocess.PIPE, text=True, cwd="/", user=user).stdout  # noqa: S603

    rows = "".join(json.dumps(result).replace("\\", "\\\\") + "\n" for result in regions)
    with tempfile.TemporaryDirectory() as folder:
        if user:
            shutil.chown(folder, POSTGRESQL_USER)
        data, options = f"{folder}/data", f"-c listen_addresses= -c unix_socket_directories={folder}"
        run("initdb", "--pgdata", data, "--username", "benchmark", "--no-sync", "--auth", "trust")
        run("pg_ctl", "start", "--silent", "--pgdata", data, "--options", options, "--log", f"{folder}/log")
        try:
            table = f"CREATE TABLE prediction (result jsonb);\nCOPY prediction FROM stdin;\n{rows}\\.\n"
            asked = "SELECT pg_total_relation_size('prediction');\n"
            return int(run("psql", "-qAt", "--host", folder, "--username", "benchmark", "postgres", text=table + asked))
        finally:
            run("pg_ctl", "stop", "--silent", "--mode", "immediate", "--pgdata", data)


def measure(tasks: int, cameras: int, most_masks: int, label_studio: Path, folder: Path, say: Callable[[str], None]) -> dict[str, float]:
    say(f"writing {tasks} drives of {TASK_FRAMES} frames and {cameras} cameras")
    first = write_synthetic_drive(folder / "drive_0", quick=True, camera_count=cameras).folder
    drives = [first, *(shutil.copytree(first, folder / f"drive_{number}") for number in range(1, tasks))]
    workplace = Workplace(folder / "workplace")
    say("starting Label Studio, which makes its database: a minute of processor time")
    with running_services(workplace, label_studio, 0, 0, {"SAM4D_ENGINE": "geometric"}) as services:
        place = ["--directory", str(workplace.directory)]
        sizes = [size(workplace.label_studio_data)]
        say("importing")
        imported_s = sam4d("import", *map(str, drives), "--project", PROJECT, *place)
        sizes.append(size(workplace.label_studio_data))
        say("pre-annotating")
        predicted_s = sam4d("preannotate", PROJECT, *place, SAM4D_MASKS_PER_TASK=str(most_masks))
        sizes.append(size(workplace.label_studio_data))
        say("submitting annotations")
        regions = results(workplace.label_studio_data)
        with LabelStudioClient(services.login.label_studio_url, services.login.token) as client:
            for task, result in zip(client.tasks(client.get_project(PROJECT)), regions, strict=True):
                client.add_annotation(task.task_id, result)
        sizes.append(size(workplace.label_studio_data))
        say("ending Label Studio")
    jsonb_bytes = size_as_jsonb(regions)
    shown = {(number, _object_id(region), region["item_index"]) for number, result in enumerate(regions) for region in result}
    masks = sum(region["type"] == "brushlabels" for result in regions for region in result)
    frames = TASK_FRAMES * tasks
    task_bytes, predicted_bytes, annotated_bytes = (after - before for before, after in itertools.pairwise(sizes))
    return {
        "tasks": tasks,
        "cameras": cameras,
        "processor seconds of the import, per frame": imported_s / frames,
        "processor seconds of the pre-annotation, per frame (a_p)": predicted_s / frames,
        "objects, per task": len({key[:2] for key in shown}) / tasks,
        "objects x frames, per task": len(shown) / tasks,
        "brush masks, per task": masks / tasks,
        "SQLite, bytes per task without labels": task_bytes / tasks,
        "SQLite, bytes per object and frame, pre-annotation (b)": predicted_bytes / len(shown),
        "SQLite, bytes per object and frame, annotation": annotated_bytes / len(shown),
        "JSON, bytes per object and frame": sum(len(json.dumps(result)) for result in regions) / len(shown),
        **({} if jsonb_bytes is None else {"PostgreSQL, bytes per object and frame, either": jsonb_bytes / len(shown)}),
    }


def _object_id(region: dict[str, Any]) -> int:
    return int(region["meta"]["sam4d"]["object_id"])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.database", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--label-studio", type=Path, default=Path(".venv-label-studio"), help="its virtual environment")
    parser.add_argument("--tasks", type=int, default=1)
    parser.add_argument("--cameras", type=int, default=3, choices=range(1, len(CAMERAS) + 1), metavar="1..6")
    parser.add_argument("--masks-per-task", type=int, default=240, help="so many a pre-annotation may hold (default %(default)s)")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    began = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {what}", file=sys.stderr, flush=True)

    try:
        with terminated_like_interrupted(), tempfile.TemporaryDirectory() as scratch:
            figures = measure(arguments.tasks, arguments.cameras, arguments.masks_per_task, arguments.label_studio, Path(scratch), say)
    except KeyboardInterrupt:
        say("interrupted; Label Studio and the backend have ended")
        return INTERRUPTED
    say("done")
    print(json.dumps(figures, indent=1) if arguments.json else "\n".join(f"{name:58} {value:12.3f}" for name, value in figures.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
