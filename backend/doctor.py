"""Is this installation whole, and does a project of it work? Each thing is looked at as a click would need it, and nothing is changed."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal, TypeAlias

import requests

from backend.batch_queue import QueueError, batch_queue_of, why_no_queue
from backend.engine import predictor_of, version_store_of
from backend.label_studio import LabelStudioClient, Project
from backend.media import MediaReader
from backend.projects import BackendAddress
from backend.settings import Settings
from backend.training_desk import TrainingDesk
from backend.training_jobs import training_jobs_of, why_no_training
from backend.versions import VersionError
from backend.viewer_page import PAGE
from backend.web_address import shown
from converters.label_config import VIEWER_HTML, parse_label_config
from converters.tasks import TaskWindow, parse_task_data
from sam4d.structures import Clip, InputError

LABEL_STUDIO_VERSION = "1.23.2"
PACKAGES = ("label-studio-ml", "label-studio-sdk", "torch", "numpy", "gunicorn", "starlette")
SECONDS = 10.0
LEAST_FREE_BYTES = 2 * 1024**3

Outcome: TypeAlias = Literal["ok", "note", "trouble"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `mend`: what to do about it, where something is to be done."""

    what: str
    outcome: Outcome
    found: str
    mend: str = ""


def trouble(what: str, error: InputError, mend: str) -> Finding:
    """What an error says, without saying again where."""
    where = error.where.removeprefix(what).strip(", ")
    return Finding(what, "trouble", f"{where}{where and ': '}expected {error.expected}, found {error.found}", mend)


def examine_installation(settings: Settings) -> Iterator[Finding]:
    """What this machine has: packages, engine, 3D page, folders."""
    yield Finding("Python", "ok", sys.version.split()[0])
    yield _examined("packages", _packages, "install again: make install, or pip install in a new environment")
    yield _examined("engine", lambda: predictor_of(settings).version, "see SAM4D_ENGINE, SAM4D_CHECKPOINT, SAM4D_DEVICE in docs/running.md")
    if PAGE.is_file():
        yield Finding("3D view", "ok", "built")
    else:
        yield Finding("3D view", "note", "not built: projects go without", "make, with Node 20 or newer, then import again")
    yield from _data_root(settings.data_root)
    if settings.model_dir is not None:
        yield _writable("MODEL_DIR", settings.model_dir)
    yield _queue(settings)
    yield _learnt(settings)


def examine_backend(settings: Settings, backend: BackendAddress) -> Iterator[Finding]:
    """The server that Label Studio asks, seen from here."""
    what = f"backend at {backend.url}"
    login = (backend.user, backend.password) if backend.user is not None and backend.password is not None else None
    try:
        health = requests.get(f"{backend.url}/health", timeout=SECONDS, allow_redirects=False)
        status = health.json()
        running, is_ready = str(status["model_version"]), bool(status["ready"])
    except (requests.RequestException, ValueError, KeyError, TypeError) as error:
        # Only its kind: what it says repeats the address, which may hold a password.
        yield Finding(what, "trouble", f"no answer of ours at /health ({type(error).__name__})", "sam4d serve; else see SAM4D_BACKEND_URL")
        return
    if is_ready:
        yield Finding(what, "ok", f"ready, {running}")
    else:
        yield Finding(what, "trouble", f"not ready: {', '.join(map(str, status.get('trouble', [])))}", "its log says more")
    if status.get("version_trouble"):
        yield Finding("version of the backend", "note", str(status["version_trouble"]), "sam4d checkpoint roll-back, or use another one")
    yield _examined("engine of the backend", lambda: _same_engine(running, settings), "start the backend again with the same settings")
    yield _access(backend, login)


def examine_label_studio(client: LabelStudioClient) -> Iterator[Finding]:
    """Label Studio, its version and what the token may do."""
    what = f"Label Studio at {client.url}"
    finding = _examined(what, client.version, "see LABEL_STUDIO_URL; is it running?")
    if finding.outcome == "ok" and finding.found != LABEL_STUDIO_VERSION:
        finding = replace(
            finding,
            outcome="note",
            found=f"{finding.found}, made for {LABEL_STUDIO_VERSION}",
            mend="smart tools and 3D view may need that one",
        )
    yield finding
    if finding.outcome != "trouble":
        yield _examined("token", lambda: f"of {client.check_access()}", "a token of Account & Settings in LABEL_STUDIO_API_KEY")


def examine_project(client: LabelStudioClient, title: str, settings: Settings, backend: BackendAddress) -> Iterator[Finding]:
    """Whether a click in a project of ours would be answered: configuration, connection, files."""
    what = f"project {title!r}"
    try:
        project = client.get_project(title)
        config = parse_label_config(project.label_config)
    except InputError as error:
        yield trouble(what, error, "sam4d import makes projects of the right kind")
        return
    yield Finding(what, "ok", f"{len(config.cameras)} cameras, labels {', '.join(config.labels)}")
    yield _connection(client, project, backend)
    tasks = client.tasks(project)
    if not tasks:
        yield Finding(f"{what}, tasks", "note", "none", "sam4d import SEQUENCE --project NAME")
        return
    try:
        windows = [parse_task_data(task.data) for task in tasks]
    except InputError as error:
        yield trouble(f"{what}, tasks", error, "take away tasks that sam4d import did not make")
        return
    yield Finding(f"{what}, tasks", "ok", str(len(tasks)))
    if not all(VIEWER_HTML in task.data for task in tasks):
        yield Finding(f"{what}, 3D view", "note", "some tasks have no place for it", "import into a new project, with the 3D view built")
    mend = "the backend must see the folder that Label Studio serves (SAM4D_DATA_ROOT)"
    yield _examined("files, for the backend", lambda: _opened(MediaReader(settings), windows, project), mend)
    through = MediaReader(replace(settings, data_root=None, model_dir=None))
    mend = "Label Studio needs LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED, its DOCUMENT_ROOT, and a Local Files storage in the project"
    yield _examined("files, for the labellers", lambda: _opened(through, windows[:1], project), mend)


def _packages() -> str:
    try:
        return ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    except PackageNotFoundError as error:
        raise InputError("packages", "all of them", f"no {error.name}") from None


def _data_root(root: Path | None) -> Iterator[Finding]:
    if root is None:
        found = "no SAM4D_DATA_ROOT: every file comes through Label Studio, and nothing can be imported"
        yield Finding("data root", "note", found, "SAM4D_DATA_ROOT is the folder that Label Studio serves")
        return
    if not os.access(root, os.R_OK | os.X_OK):
        yield Finding("data root", "trouble", "it cannot be read", f"let this user (uid {os.getuid()}) read it")
        return
    if not os.access(root, os.W_OK):
        yield Finding("data root", "ok", "to be read only: import from where it can be written")
    free = shutil.disk_usage(root).free
    if free < LEAST_FREE_BYTES:
        yield Finding("data root", "note", f"{free // 2**20} MB are free", "an import copies or links the drive and adds views from above")
    elif os.access(root, os.W_OK):
        yield Finding("data root", "ok", f"{free // 2**30} GB are free")


def _queue(settings: Settings) -> Finding:
    what = "queue of Retrieve Predictions"
    queue = batch_queue_of(settings)
    if queue is None:
        return Finding(what, "note", f"none: {why_no_queue(settings)}", "without it, tasks that find no time stay without a prediction")
    try:
        counts = queue.counts()
    except QueueError as error:
        return Finding(what, "trouble", str(error), "take the file away: the tasks in it are then asked for anew")
    waiting, failed = counts["waiting"] + counts["running"], counts["failed"]
    return Finding(what, "note" if failed else "ok", f"{waiting} tasks wait, {failed} failed", "sam4d jobs says which, and why")


def _learnt(settings: Settings) -> Finding:
    what = "learning"
    store, missing = version_store_of(settings), why_no_training(settings)
    if store is None or missing:
        return Finding(what, "note", f"none: {missing}", "without it, Label Studio's Start Training is refused")
    try:
        standing, versions = store.standing(), store.versions()
        training = TrainingDesk(training_jobs_of(settings)).says()
    except VersionError as error:
        return trouble(what, error, "sam4d checkpoint use base begins anew")
    damaged = [version.name for version in versions if version.trouble]
    found = f"{standing.current} answers, {len(versions)} versions learnt" + "".join(f"; {line}" for line in training)
    if damaged:
        return Finding(what, "note", f"{found}; damaged: {', '.join(damaged)}", "sam4d checkpoint list says how")
    return Finding(what, "ok", found)


def _writable(what: str, folder: Path) -> Finding:
    parent = next(place for place in (folder, *folder.parents) if place.exists())
    if os.access(parent, os.W_OK):
        return Finding(what, "ok", f"{shutil.disk_usage(parent).free // 2**30} GB are free")
    return Finding(
        what, "note", "it cannot be written: downloaded files are fetched anew each time", f"let this user (uid {os.getuid()}) write it"
    )


def _same_engine(running: str, settings: Settings) -> str:
    here = predictor_of(settings).version
    if here != running:
        raise InputError("backend", f"{here}, as the settings here say", running)
    return running


def _access(backend: BackendAddress, login: tuple[str, str] | None) -> Finding:
    what = "access to the backend"
    address = f"{backend.url}/metrics"
    try:
        stranger = requests.get(address, timeout=SECONDS, allow_redirects=False).status_code
        known = requests.get(address, timeout=SECONDS, allow_redirects=False, auth=login).status_code if login else stranger
    except requests.RequestException as error:
        return Finding(what, "trouble", type(error).__name__, "see the backend's log")
    if known != 200:
        return Finding(
            what, "trouble", f"status {known} for Label Studio's user", "BASIC_AUTH_USER and BASIC_AUTH_PASS as the backend has them"
        )
    if stranger == 200:
        return Finding(what, "note", "open to everyone who reaches it", "BASIC_AUTH_USER and BASIC_AUTH_PASS, unless only this machine can")
    return Finding(what, "ok", "with user and password only")


def _connection(client: LabelStudioClient, project: Project, backend: BackendAddress) -> Finding:
    what = f"project {project.title!r}, backend"
    mend = "sam4d import into the project connects it; else Settings, Model"
    connected = client.backends(project)
    ours = [other for other in connected if other.url.rstrip("/") == backend.url.rstrip("/")]
    if not ours:
        # Somebody may have typed a password into one.
        found = ", ".join(shown(other.url) for other in connected) or "none"
        return Finding(what, "trouble", f"{found}, not {backend.url}", mend)
    if ours[0].state != "CO":
        found = f"state {ours[0].state} {ours[0].error}".strip()
        return Finding(what, "trouble", found, "Label Studio must reach the backend (SAM4D_BACKEND_URL) and know its password")
    if not ours[0].is_interactive:
        return Finding(what, "trouble", "not for interactive use", "Settings, Model, Edit: Use for interactive preannotations")
    if connected[0] is not ours[0]:
        return Finding(what, "note", f"Label Studio asks {shown(connected[0].url)} first", "take away the others")
    return Finding(what, "ok", "connected, interactive")


def _opened(reader: MediaReader, windows: list[TaskWindow], project: Project) -> str:
    """Each sequence's description, and of each the first sweep and images of one task."""
    clips: dict[str, Clip] = {}
    for window in windows:
        if window.sequence in clips:
            clips[window.sequence].window(window.first_frame, window.frame_count)
            continue
        clip = clips[window.sequence] = reader.open_clip(window.sequence, project.project_id)
        frame = clip.window(window.first_frame, window.frame_count).frames[0]
        frame.load_sweep()
        for load_image in frame.load_images.values():
            load_image()
    return f"{len(clips)} drive{'s' if len(clips) > 1 else ''} opened, a sweep and its images read"


def _examined(what: str, look: Callable[[], str], mend: str) -> Finding:
    try:
        return Finding(what, "ok", look())
    except InputError as error:
        return trouble(what, error, mend)
