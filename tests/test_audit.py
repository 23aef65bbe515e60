"""Known vulnerabilities that are let pass are explained, and the explanation holds."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
UNUSED = {"flask", "werkzeug", "jinja2"}
"""Pinned by label-studio-ml 1.0.9 for a server that is not ours."""


def exceptions() -> list[list[str]]:
    """Identifier, package and reason of each."""
    lines = (ROOT / "audit-exceptions.txt").read_text(encoding="utf-8").splitlines()
    return [line.split(maxsplit=2) for line in lines if not line.startswith("#")]


def test_every_exception_is_of_a_package_that_our_server_does_not_load() -> None:
    assert {package for _, package, _ in exceptions()} == UNUSED
    program = f"import sys, backend.asgi; backend.asgi.create_app(); print({UNUSED} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.stdout.strip() == "set()", done.stderr


def test_the_audit_is_told_of_every_exception_for_our_own_pins_alone() -> None:
    said = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", "audit"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert re.findall(r"--ignore-vuln ([\w-]+)", said) == [identifier for identifier, _, _ in exceptions()]
    assert all(re.fullmatch(r"CVE-\d{4}-\d{4,}", identifier) for identifier, _, _ in exceptions())
    assert "test $pins = constraints.txt && explained=" in said
