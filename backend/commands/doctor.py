"""doctor: what is amiss with an installation or a project."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict

from backend.commands.connection import find_connection
from backend.commands.output import say, say_json
from backend.doctor import Finding, examine_backend, examine_installation, examine_label_studio, examine_project, trouble
from backend.settings import Settings
from sam4d.structures import InputError

MARKS = {"ok": "ok     ", "note": "note   ", "trouble": "TROUBLE"}


def run_doctor(arguments: argparse.Namespace, settings: Settings) -> int:
    """Exit code 1 where something keeps clicks from being answered."""
    findings = []
    for finding in _examine(arguments, settings):
        findings.append(finding)
        if not arguments.json:
            say(f"{MARKS[finding.outcome]}  {finding.what}: {finding.found}")
            if finding.outcome != "ok" and finding.mend:
                say(f"         {finding.mend}")
    if arguments.json:
        say_json([asdict(finding) for finding in findings])
    return 1 if any(finding.outcome == "trouble" for finding in findings) else 0


def _examine(arguments: argparse.Namespace, settings: Settings) -> Iterator[Finding]:
    try:
        connection = find_connection(settings, arguments.directory)
    except InputError as error:
        yield from examine_installation(settings)
        yield trouble("Label Studio", error, "start it with sam4d up, or set the variables of docs/running.md")
        return
    # The folder of `sam4d up` brings its own data root.
    yield from examine_installation(connection.settings)
    yield from examine_backend(connection.settings, connection.backend)
    try:
        with connection.client() as client:
            yield from examine_label_studio(client)
            if arguments.project is not None:
                yield from examine_project(client, arguments.project, connection.settings, connection.backend)
    except InputError as error:
        yield trouble(error.where, error, "is it running, and is LABEL_STUDIO_API_KEY a token of it?")
