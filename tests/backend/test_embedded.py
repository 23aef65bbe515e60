"""Child processes: started, watched, ended; and `sam4d up` as a user runs it. Label Studio's own start is what other tests begin with."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from backend.embedded import ChildProcessFailedError, Workplace, free_port, running_child, running_services
from sam4d.structures import InputError

REPOSITORY = Path(__file__).parents[2]
# In Label Studio's place: answers /health, and has a child of its own.
SMALL_SERVER = """\
import http.server, subprocess, sys
port = int(sys.argv[sys.argv.index("--port") + 1])
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


@pytest.fixture
def small_server(tmp_path: Path) -> Path:
    """A virtual environment's folder whose `label-studio` is the small server."""
    program = tmp_path / "environment" / "bin" / "label-studio"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!{sys.executable}\n{SMALL_SERVER}")
    program.chmod(0o755)
    return tmp_path / "environment"


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not within the time"
        time.sleep(0.05)


def processes_below(directory: Path) -> list[str]:
    """Processes that run in a folder, as /proc tells."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").resolve().is_relative_to(directory) and (process / "stat").read_text().split(") ")[1][0] != "Z":
                found.append(process.name)
        except OSError:
            continue
    return found


def test_the_login_is_private_and_stays(tmp_path: Path) -> None:
    workplace = Workplace(tmp_path / "work")
    login = workplace.prepare()
    assert stat.S_IMODE(workplace.login_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(workplace.directory.stat().st_mode) == 0o700
    assert not workplace.login_file.is_relative_to(workplace.data_root)
    assert workplace.prepare() == login
    assert Workplace(tmp_path / "other").prepare().password != login.password
    workplace.login_file.write_text("{")
    with pytest.raises(InputError, match=r"login\.json"):
        workplace.prepare()


def test_a_taken_port_is_named(taken_port: int) -> None:
    with pytest.raises(InputError, match=f"--port: expected a free port .* found port {taken_port}"):
        free_port(taken_port, "--port")
    with pytest.raises(InputError, match="--port"):
        free_port(70_000, "--port")


def test_a_child_that_dies_shows_the_end_of_its_log(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('first'); raise SystemExit('the reason')"]
    with (
        pytest.raises(ChildProcessFailedError, match=r"(?s)server ended with exit code 1.*first.*the reason"),
        running_child("server", command, tmp_path / "log", None, tmp_path) as child,
    ):
        child.wait_until_healthy(f"http://127.0.0.1:{free_port(0, 'port')}/health", 60)


def test_a_child_that_will_not_end_is_ended_with_its_children(tmp_path: Path) -> None:
    program = (
        "import signal, subprocess, sys, time\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('asked', flush=True))\n"
        "print('ready', flush=True)\n"
        "while True: time.sleep(0.1)\n"
    )
    log = tmp_path / "log"
    folder = tmp_path / "folder"
    folder.mkdir()
    with running_child("stubborn", [sys.executable, "-c", program], log, None, folder, stop_seconds=0.5):
        wait_for(lambda: "ready" in log.read_text())
        assert len(processes_below(folder)) == 2
    assert "asked" in log.read_text()
    assert processes_below(folder) == []


def test_without_label_studio_the_way_to_it_is_told(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match=r"make \.venv-label-studio"),
        running_services(Workplace(tmp_path / "work"), tmp_path / "nothing", 0, 0, {}),
    ):
        pass


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_prints_address_and_login_and_leaves_no_process(small_server: Path, tmp_path: Path, number: signal.Signals) -> None:
    work = tmp_path / "work"
    command = [sys.executable, "-m", "backend.cli", "up", "--directory", str(work), "--label-studio", str(small_server)]
    command += ["--port", "0", "--backend-port", "0"]
    output = tmp_path / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=REPOSITORY, stdout=file, stderr=subprocess.STDOUT, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
    try:
        wait_for(lambda: "Ctrl-C" in output.read_text() or process.poll() is not None, 240)
        login = Workplace(work).read_login()
        text = output.read_text()
        assert login.label_studio_url in text
        assert login.username in text
        assert login.password in text
        assert login.token not in text
        assert requests.get(f"{login.backend_url}/health", timeout=10).json()["status"] == "UP"
        assert requests.post(f"{login.backend_url}/predict", json={}, timeout=10).status_code == 401

        second = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=240)
        assert (second.returncode, second.stderr.count("\n")) == (2, 1)
        assert "a folder in which no `sam4d up` runs" in second.stderr
    finally:
        process.send_signal(number)
        code = process.wait(60)
    assert code == 0, output.read_text()
    assert processes_below(work) == []
