"""Label Studio and the backend as child processes on this machine: started, watched and ended together.

Everything lies in one folder: the private login file, the logs, Label Studio's own data and the data root that both share. The login is
kept outside the data root, because Label Studio serves files from there.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import signal
import socket
import string
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import requests

from backend.logs import GunicornLogger, JsonGunicornLogger, LogFormat
from sam4d.structures import InputError

LOOPBACK = "127.0.0.1"
USERNAME = "labeller@sam4d.local"
BACKEND_USER = "label-studio"
LABEL_STUDIO_START_SECONDS = 600.0  # the first start migrates an empty database: 47 s of processor time, minutes on a busy machine
BACKEND_START_SECONDS = 120.0
STOP_SECONDS = 15.0


class ChildProcessFailedError(RuntimeError):
    """A child process ended or did not answer. The message holds the end of its log."""


@dataclass(frozen=True)
class Login:
    """Who may use the Label Studio of a folder, and where it answered last."""

    username: str
    password: str
    token: str
    backend_password: str
    label_studio_url: str = ""
    backend_url: str = ""


@dataclass(frozen=True)
class Workplace:
    """The folder that `sam4d up` works in."""

    directory: Path

    @property
    def data_root(self) -> Path:
        """What Label Studio serves and the backend reads."""
        return self.directory / "data"

    @property
    def cache(self) -> Path:
        """The backend's MODEL_DIR, where none is named: downloaded files, prepared frames, the queue of tasks."""
        return self.directory / "cache"

    @property
    def logs(self) -> Path:
        return self.directory / "logs"

    @property
    def label_studio_data(self) -> Path:
        return self.directory / "label-studio"

    @property
    def login_file(self) -> Path:
        return self.directory / "login.json"

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else starts anything in this folder meanwhile: two servers would share one database."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.directory / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(str(self.directory), "a folder in which no `sam4d up` runs", "one that runs") from None
            yield

    def prepare(self) -> Login:
        """Makes the folders and, the first time, a login that only this user can read."""
        for folder in (self.directory, self.data_root, self.logs, self.label_studio_data):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self.login_file.exists():
            return self.read_login()
        letters = string.ascii_letters + string.digits
        password = "".join(secrets.choice(letters) for _ in range(16))
        login = Login(USERNAME, password, secrets.token_hex(20), secrets.token_hex(16))
        self.write_login(login)
        return login

    def read_login(self) -> Login:
        """Raises InputError where there is none or it cannot be read."""
        try:
            return Login(**json.loads(self.login_file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise InputError(str(self.login_file), "the login that `sam4d up` writes", "no such file") from None
        except (OSError, TypeError, ValueError) as error:
            raise InputError(str(self.login_file), "the login that `sam4d up` writes", str(error)) from None

    def write_login(self, login: Login) -> None:
        write_private(self.login_file, json.dumps(asdict(login), indent=1))


def write_private(path: Path, text: str) -> None:
    """A file that only its owner can read, from the first byte on."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    temporary.replace(path)


def free_port(wanted: int, option: str) -> int:
    """The wanted port, or any free one where 0 is wanted.

    Raises:
        InputError: something listens on the port already.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, wanted))
        except (OSError, OverflowError) as error:
            raise InputError(option, "a free port (0 picks one)", f"port {wanted}: {error}") from None
        return int(listener.getsockname()[1])


@dataclass(frozen=True)
class Child:
    """A process of ours in its own process group, writing to its own log."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def failure(self, what: str) -> ChildProcessFailedError:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:]
        return ChildProcessFailedError(f"{self.name} {what}; the end of {self.log}:\n" + "\n".join(f"    {line}" for line in lines))

    def check(self) -> None:
        """Raises ChildProcessFailedError where the process has ended."""
        code = self.process.poll()
        if code is not None:
            raise self.failure(f"ended with exit code {code}")

    def wait_until_healthy(self, url: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while True:
            self.check()
            with contextlib.suppress(requests.RequestException):
                if requests.get(url, timeout=5).ok:
                    return
            if time.monotonic() > deadline:
                raise self.failure(f"did not answer at {url} within {seconds:.0f} s")
            time.sleep(0.2)

    def wait_until_done(self) -> None:
        """For a process that ends by itself. Raises ChildProcessFailedError where it did not end well."""
        if self.process.wait() != 0:
            raise self.failure(f"ended with exit code {self.process.returncode}")

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Ends the whole process group, first politely; after so many seconds not."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:
                break
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                continue
        self.process.wait()


@contextlib.contextmanager
def running_child(
    name: str,
    command: Sequence[str],
    log: Path,
    environment: Mapping[str, str] | None,
    directory: Path,
    stop_seconds: float = STOP_SECONDS,
) -> Iterator[Child]:
    """A child process for the duration of the block, its whole process group ended afterwards.

    environment: the child's entire environment; None hands on our own.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 # nosec B603 # programs of our own environments; what users type is an argument of its own
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=directory,
            start_new_session=True,  # a Ctrl-C in the terminal reaches us alone, and we end the children in order
        )
    child = Child(name, process, log)
    try:
        yield child
    finally:
        child.stop(stop_seconds)


def label_studio_environment(workplace: Workplace, login: Login, url: str) -> dict[str, str]:
    """Made from nothing, so that variables a user set for another Label Studio do not reach this one."""
    return {
        "PATH": os.defpath,
        "HOME": str(workplace.label_studio_data),
        "LANG": "C.UTF-8",
        "LABEL_STUDIO_BASE_DATA_DIR": str(workplace.label_studio_data),
        "LABEL_STUDIO_USERNAME": login.username,
        "LABEL_STUDIO_PASSWORD": login.password,
        "LABEL_STUDIO_USER_TOKEN": login.token,
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "LABEL_STUDIO_HOST": url,
        "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(workplace.data_root),
        "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
        "LOG_LEVEL": "WARNING",
        # Label Studio refuses a backend on a loopback address unless both are off
        "ML_BLOCK_LOCAL_IP": "false",
        "SSRF_PROTECTION_ENABLED": "false",
    }


@contextlib.contextmanager
def running_label_studio(workplace: Workplace, login: Login, environment: Path, port: int) -> Iterator[tuple[Child, str]]:
    """Label Studio on SQLite, answering when the block begins.

    Args:
        environment: the virtual environment that Label Studio is installed in.
        port: a free port.

    Raises:
        InputError: no Label Studio in that environment.
        ChildProcessFailedError: it ended or never answered.
    """
    program = environment.resolve() / "bin" / "label-studio"
    if not program.exists():
        raise InputError(str(environment), "a virtual environment with Label Studio (`make .venv-label-studio`)", f"no {program}")
    url = f"http://{LOOPBACK}:{port}"
    command = [str(program), "start", "--no-browser", "--internal-host", LOOPBACK, "--port", str(port)]
    variables = label_studio_environment(workplace, login, url)
    with running_child("Label Studio", command, workplace.logs / "label-studio.log", variables, workplace.label_studio_data) as child:
        child.wait_until_healthy(f"{url}/health", LABEL_STUDIO_START_SECONDS)
        yield child, url


@contextlib.contextmanager
def running_backend(workplace: Workplace, variables: Mapping[str, str], port: int) -> Iterator[tuple[Child, str]]:
    """The backend under gunicorn, answering when the block begins.

    Args:
        variables: what it finds in its environment beyond our own; they may be secret, so they travel in a private file.
        port: a free port.

    Raises:
        ChildProcessFailedError: it ended or never answered.
    """
    url = f"http://{LOOPBACK}:{port}"
    configuration = workplace.directory / "gunicorn.conf.py"
    write_private(configuration, f"raw_env = {[f'{name}={value}' for name, value in variables.items()]!r}\n")
    command = [*gunicorn_command(LOOPBACK, port), "--config", str(configuration)]
    with running_child("the backend", command, workplace.logs / "backend.log", None, workplace.directory) as child:
        child.wait_until_healthy(f"{url}/health", BACKEND_START_SECONDS)
        yield child, url


def gunicorn_command(host: str, port: int, workers: int = 1, log_format: LogFormat = "text") -> list[str]:
    """One process by default: it holds the open tasks, and its threads answer them side by side."""
    command = [sys.executable, "-m", "gunicorn", "backend.asgi:create_app()", "--worker-class", "uvicorn_worker.UvicornWorker"]
    logger = JsonGunicornLogger if log_format == "json" else GunicornLogger
    command += ["--logger-class", f"{logger.__module__}.{logger.__qualname__}"]
    command += ["--workers", str(workers), "--bind", f"{host}:{port}", "--timeout", "150", "--graceful-timeout", "5"]
    # nobody uses it, two servers of one user would share it, and it wants a home that can be written to
    return [*command, "--no-control-socket"]


@dataclass(frozen=True)
class Services:
    """Label Studio and the backend, running; `login` holds their addresses."""

    workplace: Workplace
    login: Login
    children: tuple[Child, ...]

    def wait(self) -> None:
        """Until interrupted. Raises ChildProcessFailedError where one of them ends by itself."""
        while True:
            for child in self.children:
                child.check()
            time.sleep(0.5)


@contextlib.contextmanager
def running_services(
    workplace: Workplace, label_studio: Path, port: int, backend_port: int, backend_variables: Mapping[str, str]
) -> Iterator[Services]:
    """Label Studio and the backend for the duration of the block; both are ended afterwards, whatever happens.

    Args:
        label_studio: the virtual environment that Label Studio is installed in.
        port, backend_port: where they listen; 0 picks a free port.
        backend_variables: those that choose the backend's engine, and where it keeps files.

    Raises:
        InputError: a port is taken, the folder is in use, or there is no Label Studio.
        ChildProcessFailedError: one of them does not start.
    """
    with workplace.alone():
        port, backend_port = free_port(port, "--port"), free_port(backend_port, "--backend-port")
        login = workplace.prepare()
        with running_label_studio(workplace, login, label_studio, port) as (label_studio_child, url):
            variables = {
                "LABEL_STUDIO_URL": url,
                "LABEL_STUDIO_API_KEY": login.token,
                "SAM4D_DATA_ROOT": str(workplace.data_root),
                "BASIC_AUTH_USER": BACKEND_USER,
                "BASIC_AUTH_PASS": login.backend_password,
                **backend_variables,
            }
            with running_backend(workplace, variables, backend_port) as (backend_child, backend_url):
                login = replace(login, label_studio_url=url, backend_url=backend_url)
                workplace.write_login(login)
                try:
                    yield Services(workplace, login, (label_studio_child, backend_child))
                finally:
                    # a second Ctrl-C must not leave children behind; they are ended within seconds
                    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM and a closed terminal end the block as Ctrl-C does, so that children are ended and what is half done is undone.

    Ctrl-C's own signal too is set anew: what a script starts in the background begins with it ignored.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for number in before:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
