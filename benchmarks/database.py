"""How many bytes a task, a pre-annotation and their regions take in Label Studio's database (SQLite), and pre-annotation's processor time.

    python -m benchmarks.database [--tasks 4] [--label-studio .venv-label-studio] [--json]

A synthetic task of 20 frames and 3 cameras is imported several times over into a Label Studio of its own and pre-annotated.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from backend.embedded import Workplace, running_services
from benchmarks.drive import write_synthetic_drive

PROJECT = "Database"


def sam4d(*arguments: str) -> float:
    """A command's processor time in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "backend.cli", *arguments], check=True, stdout=sys.stderr)  # noqa: S603 (this very Python)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def size(data: Path) -> int:
    """Bytes of the database with all that is still in its log."""
    (file,) = data.rglob("*.sqlite3")
    with contextlib.closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA wal_checkpoint(PASSIVE)")
        pages, free, page = (database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size"))
    return int((pages - free) * page)


def results(data: Path) -> Sequence[str]:
    """The JSON of every prediction's regions."""
    (file,) = data.rglob("*.sqlite3")
    with contextlib.closing(sqlite3.connect(file)) as database:
        return [row[0] for row in database.execute("SELECT result FROM prediction")]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.database", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--label-studio", type=Path, default=Path(".venv-label-studio"), help="its virtual environment")
    parser.add_argument("--tasks", type=int, default=4)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    tasks = arguments.tasks
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        first = write_synthetic_drive(folder / "drive_0", quick=True).folder
        drives = [first, *(shutil.copytree(first, folder / f"drive_{number}") for number in range(1, tasks))]
        workplace = Workplace(folder / "workplace")
        with running_services(workplace, arguments.label_studio, 0, 0, {"SAM4D_ENGINE": "geometric"}):
            place = ["--directory", str(workplace.directory)]
            empty = size(workplace.label_studio_data)
            imported_s = sam4d("import", *map(str, drives), "--project", PROJECT, *place)
            imported = size(workplace.label_studio_data)
            predicted_s = sam4d("preannotate", PROJECT, *place)
            predicted = size(workplace.label_studio_data)
            regions = [json.loads(text) for text in results(workplace.label_studio_data)]
    masks = sum(region["type"] == "brushlabels" for result in regions for region in result)
    figures = {
        "tasks": tasks,
        "processor seconds of the import, per task": imported_s / tasks,
        "processor seconds of the pre-annotation, per task": predicted_s / tasks,
        "regions, per task": sum(map(len, regions)) / tasks,
        "brush masks, per task": masks / tasks,
        "bytes in the database, per task": (imported - empty) / tasks,
        "bytes in the database, per pre-annotation": (predicted - imported) / tasks,
        "bytes of its JSON": sum(len(json.dumps(result)) for result in regions) / tasks,
    }
    print(json.dumps(figures, indent=1) if arguments.json else "\n".join(f"{name:52} {value:12.1f}" for name, value in figures.items()))


if __name__ == "__main__":
    main()
