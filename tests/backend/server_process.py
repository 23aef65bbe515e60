"""A real gunicorn on a loopback port, ended with the block or killed in it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 120.0
REPOSITORY = Path(__file__).parents[2]


WORKER = "--worker-class=uvicorn_worker.UvicornWorker"


@dataclass(frozen=True)
class Server:
    """A server that answers at `address`."""

    address: str
    process: subprocess.Popen[bytes]

    @property
    def worker(self) -> int:
        """The process that does the work."""
        (child,) = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(child)

    def kill(self) -> None:
        """As a machine that loses power ends it: worker and all, at once."""
        worker = self.worker
        self.process.kill()
        os.kill(worker, signal.SIGKILL)
        self.process.wait(30)


@contextmanager
def running_server(app: str, arguments: Sequence[str], variables: Mapping[str, str], log: Path) -> Iterator[Server]:
    command = [sys.executable, "-m", "gunicorn", app, "--bind=127.0.0.1:0", "--workers=1", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield Server(_address(process, log), process)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(30)


@contextmanager
def gunicorn(app: str, arguments: Sequence[str], variables: Mapping[str, str], log: Path) -> Iterator[str]:
    """The address of a server that answers."""
    with running_server(app, arguments, variables, log) as server:
        yield server.address


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        found = re.search(r"Listening at: (http://127\.0\.0\.1:\d+)", log.read_text(errors="replace"))
        if found:
            return found[1]
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise AssertionError(f"no server:\n{log.read_text(errors='replace')}")
