"""Every reader of files takes ten thousand damaged ones: each is read or refused in one line, no process ends, no memory stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.converters.damaged_files import READERS

FILES = 10_000
MEGABYTE = 2**20
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Any]:
    """By reader. They run outside of this process: a reader in C or Rust that aborts must fail its test, not end the others."""
    command = [sys.executable, "-W", "error", "-m", "tests.converters.damaged_files", str(FILES)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RUST_BACKTRACE": "0"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    found = {line.pop("reader"): line for line in map(json.loads, done.stdout.splitlines())}
    (ROOT / "test-output").mkdir(exist_ok=True)
    (ROOT / "test-output" / "damaged-files.json").write_text(json.dumps(found, indent=1) + "\n")
    return {**dict.fromkeys(READERS, done.stderr[-3000:]), **found}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.xdist_group("damaged-files")
@pytest.mark.parametrize("name", READERS)
def test_damaged_files_are_read_or_refused(name: str, outcomes: dict[str, Any]) -> None:
    outcome = outcomes[name]
    assert not isinstance(outcome, str), outcome
    assert outcome["read"] + outcome["refused"] == FILES
    # Damage that a reader never sees, or always, would show nothing.
    assert outcome["read"] > 0
    assert outcome["refused"] > FILES // 100
    assert outcome["growth_bytes"] < 16 * MEGABYTE
    # No reader makes room for more than its file may claim: half a gigabyte.
    assert outcome["peak_bytes"] < 1024 * MEGABYTE
