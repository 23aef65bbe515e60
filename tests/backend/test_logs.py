"""The log: one line per event, as text or JSON, with the request's id, without secrets, folders and tracebacks."""

from __future__ import annotations

import io
import json
import logging
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
import requests

from backend.logs import LineFormatter, configure_logging, current_request_id, describe_error
from backend.sessions import held_bytes
from backend.settings import Settings
from tests.backend.conftest import Project
from tests.backend.server_process import gunicorn

HIDDEN = {"secret-key": "***", "secret": "###", "/mnt/drives": "$SAM4D_DATA_ROOT"}


def record(message: str, error: BaseException | None = None) -> logging.LogRecord:
    information = (type(error), error, error.__traceback__) if error is not None else None
    return logging.LogRecord("backend.media", logging.WARNING, "media.py", 1, message, None, information)


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_record_is_one_line_without_what_is_hidden(log_format: Literal["text", "json"]) -> None:
    token = current_request_id.set("0123456789abcdef")
    try:
        line = LineFormatter(log_format, HIDDEN).format(
            record("read\n/mnt/drives/0001 with secret-key", raised(ValueError("a secret\nof two lines")))
        )
    finally:
        current_request_id.reset(token)
    assert "\n" not in line
    assert "secret" not in line
    assert "/mnt" not in line
    assert "read $SAM4D_DATA_ROOT/0001 with ***" in line
    assert "ValueError: a ### of two lines" in line
    assert "0123456789abcdef" in line
    if log_format == "json":
        fields = json.loads(line)
        assert list(fields) == ["time", "level", "logger", "request", "message", "error"]
        assert (fields["level"], fields["logger"], fields["request"]) == ("WARNING", "backend.media", "0123456789abcdef")


def test_an_error_says_where_in_our_packages_it_came_from() -> None:
    class Odd:
        @property
        def nbytes(self) -> int:
            raise RuntimeError("odd")

    with pytest.raises(RuntimeError) as caught:
        held_bytes(Odd())
    said = describe_error(caught.value)
    assert said.startswith("RuntimeError: odd, at backend.sessions:")
    assert str(Path(__file__)) not in said


def test_an_error_of_the_system_does_not_say_where_on_the_disk() -> None:
    with pytest.raises(OSError, match="/no/such/place") as caught:
        Path("/no/such/place").read_bytes()
    assert describe_error(caught.value) == "FileNotFoundError: No such file or directory"


def test_tracebacks_are_whole_where_they_are_asked_for() -> None:
    line = LineFormatter("text", HIDDEN, with_tracebacks=True).format(record("failed", raised(ValueError("why"))))
    assert "Traceback (most recent call last)" in line
    fields = json.loads(LineFormatter("json", HIDDEN, with_tracebacks=True).format(record("failed", raised(ValueError("why")))))
    assert "Traceback (most recent call last)" in fields["error"]


def test_of_a_source_file_only_the_name_is_said() -> None:
    said = "/opt/venv/lib/python3.11/site-packages/numpy/core.py:12: RuntimeWarning: Mean of an empty slice"
    assert LineFormatter("text").format(record(said)).endswith(": core.py:12: RuntimeWarning: Mean of an empty slice")


@pytest.fixture
def served() -> Iterator[io.StringIO]:
    """What gunicorn, and so uvicorn, writes in this process."""
    output, logger = io.StringIO(), logging.getLogger("gunicorn.error")
    handler = logging.StreamHandler(output)
    logger.addHandler(handler)
    yield output
    logger.removeHandler(handler)
    logging.captureWarnings(False)
    for package in ("backend", "converters", "sam4d"):
        logging.getLogger(package).setLevel(logging.NOTSET)


def test_the_server_says_its_errors_as_we_say_ours(served: io.StringIO) -> None:
    configure_logging("INFO", "text", HIDDEN)
    logging.getLogger("gunicorn.error").error("Exception in ASGI application\n", exc_info=raised(ValueError("secret-key of\n/mnt/drives")))
    (line,) = served.getvalue().splitlines()
    assert line.endswith("ERROR gunicorn.error: Exception in ASGI application | ValueError: *** of $SAM4D_DATA_ROOT")


def test_warnings_are_lines_of_the_log(served: io.StringIO, caplog: pytest.LogCaptureFixture) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        configure_logging("INFO", "json", HIDDEN)
        warnings.warn("odd", stacklevel=1)
    assert [entry.name for entry in caplog.records] == ["py.warnings"]


def test_debugging_is_for_our_own_packages(served: io.StringIO) -> None:
    before = logging.getLogger("urllib3").getEffectiveLevel()
    configure_logging("DEBUG", "text", HIDDEN)
    assert logging.getLogger("backend.media").isEnabledFor(logging.DEBUG)
    assert logging.getLogger("urllib3").getEffectiveLevel() == before > logging.DEBUG


def test_settings_say_what_is_hidden(tmp_path: Path) -> None:
    variables = {
        "SAM4D_DATA_ROOT": str(tmp_path),
        "LABEL_STUDIO_API_KEY": "key",
        "BASIC_AUTH_USER": "user",
        "BASIC_AUTH_PASS": "password",
        "SAM4D_BEARER_TOKEN": "token-for-the-metrics",
    }
    hidden = Settings.from_environment(variables).hidden_in_logs()
    assert hidden == {"key": "***", "password": "***", "token-for-the-metrics": "***", str(tmp_path.resolve()): "$SAM4D_DATA_ROOT"}


@pytest.mark.skipif(sys.platform != "linux", reason="the server's child is found by /proc")
def test_a_real_server_logs_json_that_explains_its_answers_and_holds_no_secret(project: Project, tmp_path: Path) -> None:
    """gunicorn's own lines included: not one line is anything but JSON."""
    variables = {
        "SAM4D_DATA_ROOT": str(project.data_root),
        "SAM4D_LOG_FORMAT": "json",
        "BASIC_AUTH_USER": "user",
        "BASIC_AUTH_PASS": "a-password-of-ours",
        "SAM4D_BEARER_TOKEN": "a-token-for-metrics",
        "LABEL_STUDIO_URL": "http://127.0.0.1:9",
        "LABEL_STUDIO_API_KEY": "a-key-of-label-studio",
    }
    log = tmp_path / "server.log"
    arguments = ["--worker-class=uvicorn_worker.UvicornWorker", "--logger-class=backend.logs.JsonGunicornLogger"]
    with gunicorn("backend.asgi:create_app()", arguments, variables, log) as address:
        login = ("user", "a-password-of-ours")
        setup = {"project": "1.1", "schema": project.label_config, "hostname": "http://evil.example", "access_token": "a-delivered-token"}
        assert requests.post(f"{address}/setup", json=setup, auth=login, timeout=60).status_code == 200
        request = project.request(project.task(data={"sequence": "file:///etc/passwd"}), context={"result": [{"id": "a"}]})
        refused = requests.post(f"{address}/predict", json=request, auth=login, headers={"X-Request-ID": "from-the-proxy-1"}, timeout=60)
        request = project.request(project.task(), context={"result": [{"id": "a"}]})
        request["tasks"][0]["data"]["sequence"] = "/data/local-files/?d=nowhere"
        unreachable = requests.post(f"{address}/predict", json=request, auth=login, timeout=60)
        wrong = requests.post(f"{address}/predict", json=request, auth=("user", "wrong"), timeout=60)
        metrics = requests.get(f"{address}/metrics", headers={"Authorization": "Bearer a-token-for-metrics"}, timeout=60)
    assert (refused.status_code, unreachable.status_code, wrong.status_code, metrics.status_code) == (422, 422, 401, 200)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert any("Listening at" in line["message"] for line in lines)
    by_request: dict[str, list[str]] = {line["request"]: [] for line in lines}
    for line in lines:
        by_request[line["request"]].append(line["message"])
    assert refused.headers["X-Request-ID"] == refused.json()["id"] == "from-the-proxy-1"
    assert len(by_request["from-the-proxy-1"]) == 2, "why, and the line of the request itself"
    assert unreachable.json()["error"] in "".join(by_request[unreachable.json()["id"]])
    assert any("/predict -: 401" in message for message in by_request[wrong.headers["X-Request-ID"]])
    everything = log.read_text() + refused.text + unreachable.text + wrong.text + metrics.text
    for secret in ("a-password-of-ours", "a-token-for-metrics", "a-key-of-label-studio", "a-delivered-token", "a-secret", "evil.example"):
        assert secret not in everything
    assert str(project.data_root) not in everything
    assert "Traceback" not in everything
