"""up, demo and serve: what runs until it is stopped."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import webbrowser
from collections.abc import Iterator

from backend.commands.connection import find_connection
from backend.commands.output import ProgressBars, complain, say, say_json
from backend.commands.projects import describe, preannotate_all, project_url
from backend.embedded import Services, Workplace, gunicorn_command, running_child, running_services
from backend.engine import predictor_of
from backend.projects import ImportOptions, import_sequences
from backend.settings import Settings
from backend.variables import format_settings, shown_settings
from backend.viewer_page import refresh_viewer
from sam4d.structures import InputError

DEMO_PROJECT = "Synthetic drive"
DEMO_SEQUENCE = "synthetic_drive"
DEMO_OPTIONS = ImportOptions(frames_per_task=4, overlap=1)
"""Short tasks: a click waits for Label Studio to read every mask of the page back."""


def run_up(arguments: argparse.Namespace, settings: Settings) -> int:
    with _started(arguments, settings) as services:
        say(welcome(services, services.login.label_studio_url))
        _wait(services)
    return 0


def run_demo(arguments: argparse.Namespace, settings: Settings) -> int:
    workplace = Workplace(arguments.directory.resolve())
    workplace.prepare()
    sequence = workplace.data_root / "sequences" / DEMO_SEQUENCE
    with contextlib.ExitStack() as running:
        recording = None
        if not sequence.exists():
            # beside Label Studio's start, which keeps one processor busy
            command = [sys.executable, "-m", "backend.cli", "simulate", str(sequence), "--frames", str(arguments.frames)]
            log = workplace.logs / "simulation.log"
            recording = running.enter_context(running_child("the simulation", command, log, None, workplace.directory))
        services = running.enter_context(_started(arguments, settings))
        if recording is not None:
            say("recording a synthetic drive ...")
            recording.wait_until_done()
        connection = find_connection(settings.of_engine_only(), arguments.directory)
        with connection.client() as client, ProgressBars() as progress:
            project, imported = import_sequences(
                client,
                DEMO_PROJECT,
                [sequence],
                data_root=services.workplace.data_root,
                backend=connection.backend,
                model_version=predictor_of(connection.settings).version,
                options=DEMO_OPTIONS,
                progress=progress,
            )
            for drive in imported:
                say(describe(drive))
            outcomes = preannotate_all(connection, client, project, masks_per_task=settings.masks_per_task, resume=True, hidden=False)
            address = project_url(client, project)
        if not any(outcome.failure for outcome in outcomes):
            say("pre-annotated: open a task, switch Auto-Annotation on, choose a Click label and the pink tool, click on an object")
        say(welcome(services, address))
        if not arguments.no_browser:
            open_in_browser(address)
        running.enter_context(_prewarming(services.workplace, settings))
        _wait(services)
    return 0


def run_serve(arguments: argparse.Namespace, settings: Settings) -> int:
    """The backend alone. It takes this process's place, signals and environment included."""
    if arguments.show_settings:
        shown = shown_settings(settings)
        if arguments.json:
            say_json({each.variable: {"value": each.value, "default": each.default} for each in shown})
        else:
            say(format_settings(shown))
        return 0
    if settings.data_root is not None:
        with contextlib.suppress(InputError):  # a root that is only to be read from
            refresh_viewer(settings.data_root)
    predictor_of(settings)  # what is wrong with the engine is said here, on one line, and not in a worker's traceback
    command = gunicorn_command(settings.host, settings.port, settings.workers, settings.log_format)
    environment = settings.environment()
    os.execve(command[0], command, environment)  # noqa: S606 # nosec B606 # this very Python, with numbers and a host, by no shell


def run_refresh_viewer(arguments: argparse.Namespace, settings: Settings) -> int:
    """For a data root that the backend itself only reads."""
    if settings.data_root is None:
        raise InputError("SAM4D_DATA_ROOT", "the folder that Label Studio serves as its local files", "nothing")
    refresh_viewer(settings.data_root)
    return 0


def welcome(services: Services, address: str) -> str:
    login = services.login
    return (
        f"\nLabel Studio: {address}\n"
        f"  login     {login.username}\n"
        f"  password  {login.password}\n"
        f"backend       {login.backend_url}\n"
        f"files         {services.workplace.directory}\n"
        "Ctrl-C stops both; everything is kept for the next time."
    )


def open_in_browser(address: str) -> None:
    """In a graphical browser, where there is one; a text browser would take the terminal over."""
    with contextlib.suppress(webbrowser.Error):
        browser = webbrowser.get()
        if type(browser) is not webbrowser.GenericBrowser:
            browser.open(address)


@contextlib.contextmanager
def _started(arguments: argparse.Namespace, settings: Settings) -> Iterator[Services]:
    predictor_of(settings)
    say("starting Label Studio and the backend (the first start takes about a minute) ...")
    workplace = Workplace(arguments.directory.resolve())
    with contextlib.suppress(InputError):
        refresh_viewer(workplace.data_root)
    variables = {**settings.engine_variables(), "MODEL_DIR": _model_dir(workplace, settings)}
    with running_services(workplace, arguments.label_studio, arguments.port, arguments.backend_port, variables) as services:
        yield services


def _prewarming(workplace: Workplace, settings: Settings) -> contextlib.AbstractContextManager[object]:
    """`sam4d prewarm` of the demo's project in the background; clicks go first."""
    command = [*(["nice"] if shutil.which("nice") else []), sys.executable, "-m", "backend.cli", "prewarm", DEMO_PROJECT]
    # Another Label Studio that the user has is not the demo's.
    environment = {**settings.environment(), "LABEL_STUDIO_URL": "", "MODEL_DIR": _model_dir(workplace, settings)}
    command += ["--directory", str(workplace.directory)]
    return running_child("prewarm", command, workplace.logs / "prewarm.log", environment, workplace.directory)


def _model_dir(workplace: Workplace, settings: Settings) -> str:
    return str((settings.model_dir or workplace.cache).resolve())


def _wait(services: Services) -> None:
    try:
        services.wait()
    except KeyboardInterrupt:
        complain("\nstopping ...")
