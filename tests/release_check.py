"""What a release must do: `python -m tests.release_check FOLDER` tries the wheel in that folder, in a clean environment.

Not one of pytest's: it installs everything anew, as a user of the wheel does.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Sequence
from pathlib import Path

import requests

from backend.commands.services import DEMO_PROJECT
from backend.label_studio import LabelStudioClient

REPOSITORY = Path(__file__).parents[1]
PAGE = "backend/viewer/dist/index.html"
READY = "Ctrl-C stops both"
DEMO_SECONDS = 900


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, help="with one wheel and one sdist")
    parser.add_argument("--tag", help="that the release gets: v and the version, which CHANGELOG.md has a heading for")
    parser.add_argument("--label-studio", type=Path, default=REPOSITORY / ".venv-label-studio", help="its virtual environment")
    parsed = parser.parse_args(arguments)
    (wheel,), (sdist,) = parsed.folder.resolve().glob("*.whl"), parsed.folder.resolve().glob("*.tar.gz")
    version = wheel.name.split("-")[1]
    if parsed.tag is not None:
        check_tag(parsed.tag, version)
    check_contents(wheel, sdist)
    with tempfile.TemporaryDirectory(prefix="sam4d-release-") as name:
        folder = Path(name)
        programs = install(wheel, folder / "environment")
        said = run([str(programs / "sam4d"), "--version"], folder).strip()
        require(said == f"sam4d {version}", f"sam4d --version said {said!r}")
        check_files(programs / "sam4d", folder)
        check_demo(programs / "sam4d", folder, parsed.label_studio.resolve())
    print(f"{wheel.name} and {sdist.name} are good")
    return 0


def require(condition: bool, complaint: str) -> None:
    if not condition:
        raise SystemExit(f"not to be released: {complaint}")


def environment() -> dict[str, str]:
    """Ours, without what leads back into the repository."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}


def run(command: Sequence[str], folder: Path) -> str:
    """Its output."""
    print("$", *command, flush=True)
    result = subprocess.run(command, cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True)
    require(result.returncode == 0, f"{' '.join(command)} ended with exit code {result.returncode}")
    return result.stdout


def check_tag(tag: str, version: str) -> None:
    require(tag == f"v{version}", f"the tag is {tag}, the version of pyproject.toml {version}")
    changes = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    require(
        re.search(rf"^## {re.escape(version)} \(\d{{4}}-\d\d-\d\d\)$", changes, re.MULTILINE) is not None, f"no {version} in CHANGELOG.md"
    )


def check_contents(wheel: Path, sdist: Path) -> None:
    built = (REPOSITORY / PAGE).read_bytes()
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        require(PAGE in names and archive.read(PAGE) == built, f"the wheel is without the built {PAGE}")
    require("sam4d/py.typed" in names, "the wheel is without its types")
    ours = {name.partition("/")[0] for name in names if not name.partition("/")[0].endswith(".dist-info")}
    require(ours == {"sam4d", "converters", "backend"}, f"the wheel has {sorted(ours)}")
    require(not any("node_modules" in name for name in names), "the wheel has node_modules")
    with tarfile.open(sdist) as archive_:
        inside = {name.partition("/")[2] for name in archive_.getnames()}
    require({PAGE, "setup.py", "LICENSE", "sam4d/py.typed"} <= inside, "the sdist is not whole")


def install(wheel: Path, place: Path) -> Path:
    """The programs of a new virtual environment with the wheel and its pinned dependencies."""
    run([sys.executable, "-m", "venv", str(place)], place.parent)
    pip = [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", "-c", str(REPOSITORY / "constraints.txt")]
    (torch,) = re.findall(r"^torch==\S+", (REPOSITORY / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    run([*pip, torch], place.parent)
    run([*pip, str(wheel)], place.parent)
    return place / "bin"


def check_files(sam4d: Path, folder: Path) -> None:
    """What needs no server: a drive is made, measured and converted."""
    run([str(sam4d), "simulate", "drive", "--frames", "2", "--beams", "32"], folder)
    evaluated = json.loads(run([str(sam4d), "evaluate", "drive", "--parts", "clicks", "--json"], folder))
    require(bool(evaluated), "sam4d evaluate measured nothing")
    run([str(sam4d), "convert", "drive", "kitti", "--format", "kitti-tracking"], folder)
    require(any((folder / "kitti").rglob("*.txt")), "sam4d convert wrote no labels")


def check_demo(sam4d: Path, folder: Path, label_studio: Path) -> None:
    """The demo until it says that it is ready, both servers then, and its end by Ctrl-C."""
    command = [str(sam4d), "demo", "--no-browser", "--frames", "2", "--port", "0", "--backend-port", "0", "--directory", "demo"]
    print("$", *command, flush=True)
    demo = subprocess.Popen(
        [*command, "--label-studio", str(label_studio)], cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert demo.stdout is not None
    patience = threading.Timer(DEMO_SECONDS, demo.terminate)
    patience.start()
    try:
        said = list(itertools.takewhile(lambda line: READY not in line, demo.stdout))
        require(demo.poll() is None, "".join(["the demo ended before it was ready:\n", *said]))
        login = json.loads((folder / "demo" / "login.json").read_text(encoding="utf-8"))
        requests.get(f"{login['backend_url']}/health", timeout=60).raise_for_status()
        with LabelStudioClient(login["label_studio_url"], login["token"]) as client:
            tasks = [client.labelled_task(task) for task in client.tasks(client.get_project(DEMO_PROJECT))]
        require(bool(tasks) and all(task.predictions for task in tasks), "the demo made no tasks with predictions")
        demo.send_signal(signal.SIGINT)
        require(demo.wait(120) == 0, f"the demo ended with exit code {demo.returncode}")
    finally:
        patience.cancel()
        demo.terminate()
        demo.wait(120)


if __name__ == "__main__":
    sys.exit(main())
