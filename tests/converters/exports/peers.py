"""The field's own tools, which live in an environment of their own (make peers) because they do not go with our versions of numpy."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

PEERS = Path(__file__).parents[3] / ".venv-peers/bin/python"

needs_peers = pytest.mark.skipif(not PEERS.exists(), reason="the field's own tools are not installed (make peers)")


def ask_peer(program: str, *arguments: object) -> Any:
    """What the program prints as JSON on its last line, run with their Python."""
    command = [str(PEERS), "-W", "ignore", "-c", program, *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])
