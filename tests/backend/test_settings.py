"""The environment becomes settings, or one line that names the variable."""

from __future__ import annotations

import ast
import re
from dataclasses import fields, replace
from pathlib import Path

import pytest

from backend.allowed_hosts import AllowedHost, AllowedHosts
from backend.authentication import Credentials
from backend.limits import MEGABYTE, Limits
from backend.s3_access import S3Access
from backend.settings import Settings
from backend.variables import HIDDEN, SECRETS, settings_as_variables, shown_settings
from sam4d.structures import InputError

REPOSITORY = Path(__file__).parents[2]


def test_nothing_set_gives_the_defaults() -> None:
    assert Settings.from_environment({}) == Settings()
    assert Settings.from_environment({"SAM4D_PORT": " ", "UNKNOWN": "x"}) == Settings()


def test_every_variable_arrives(tmp_path: Path) -> None:
    checkpoint = tmp_path / "weights.pth"
    checkpoint.touch()
    settings = Settings.from_environment(
        {
            "SAM4D_HOST": "0.0.0.0",
            "SAM4D_PORT": "9191",
            "SAM4D_DATA_ROOT": str(tmp_path),
            "LABEL_STUDIO_URL": "https://labels.example.com/studio/",
            "LABEL_STUDIO_API_KEY": "abc",
            "SAM4D_ALLOWED_HOSTS": "files.example.com, private:minio:9000",
            "SAM4D_ENGINE": "sam4d",
            "SAM4D_CHECKPOINT": str(checkpoint),
            "SAM4D_DEVICE": "cpu",
            "SAM4D_PRECISION": "bfloat16",
            "SAM4D_COMPILE": "yes",
            "SAM4D_SPARSE_CONVOLUTION": "spconv",
            "SAM4D_INTERACTIVE_SECONDS": "2.5",
            "SAM4D_BATCH_SECONDS": "60",
            "SAM4D_BATCH_QUEUE": "70",
            "SAM4D_SESSIONS": "3",
            "SAM4D_SESSION_MEGABYTES": "100",
            "WORKERS": "2",
            "THREADS": "4",
            "SAM4D_REQUEST_MEGABYTES": "10",
            "SAM4D_ANSWER_MEGABYTES": "11",
            "SAM4D_TASKS_PER_REQUEST": "12",
            "SAM4D_PROMPTS_PER_REQUEST": "13",
            "SAM4D_OBJECTS_PER_TASK": "14",
            "SAM4D_FRAMES_PER_TASK": "15",
            "SAM4D_DEADLINE_SECONDS": "16",
            "SAM4D_REQUEST_SECONDS": "17",
            "SAM4D_FILE_MEGABYTES": "20",
            "SAM4D_CACHE_MEGABYTES": "30",
            "SAM4D_PREWARM_MEGABYTES": "31",
            "LOG_LEVEL": "debug",
            "SAM4D_LOG_FORMAT": "json",
            "MODEL_DIR": str(tmp_path / "model"),
            "BASIC_AUTH_USER": "user",
            "BASIC_AUTH_PASS": "pass",
            "SAM4D_BEARER_TOKEN": "a-token-of-its-own",
            "SAM4D_S3_ENDPOINT": "http://minio:9000/",
            "SAM4D_S3_REGION": "eu-central-1",
            "SAM4D_S3_ACCESS_KEY_ID": "key",
            "SAM4D_S3_SECRET_ACCESS_KEY": "not-told",
            "SAM4D_TRAINING_MODE": "memory",
            "SAM4D_TRAINING_STEPS": "40",
            "SAM4D_HELD_OUT_SHARE": "0.3",
        }
    )
    assert settings == Settings(
        host="0.0.0.0",
        port=9191,
        data_root=tmp_path.resolve(),
        label_studio_url="https://labels.example.com/studio",
        label_studio_api_key="abc",
        allowed_hosts=AllowedHosts((AllowedHost("files.example.com"), AllowedHost("minio", 9000, private=True))),
        engine="sam4d",
        checkpoint=checkpoint.resolve(),
        device="cpu",
        precision="bfloat16",
        compiled=True,
        sparse_convolution="spconv",
        interactive_seconds=2.5,
        batch_seconds=60,
        batch_queue=70,
        session_count=3,
        session_bytes=100 * MEGABYTE,
        workers=2,
        threads=4,
        limits=Limits(10 * MEGABYTE, 11 * MEGABYTE, tasks=12, prompts=13, objects=14, frames=15, seconds=16, body_seconds=17),
        file_bytes=20 * MEGABYTE,
        cache_bytes=30 * MEGABYTE,
        prewarm_bytes=31 * MEGABYTE,
        log_level="DEBUG",
        log_format="json",
        model_dir=tmp_path / "model",
        credentials=Credentials("user", "pass", "a-token-of-its-own"),
        s3=S3Access("http://minio:9000", "eu-central-1", "key", "not-told"),
        training_mode="memory",
        training_steps=40,
        held_out_share=0.3,
    )
    assert settings.hidden_in_logs()["not-told"] == "***"
    others = replace(
        settings,
        backend_url="http://backend:1",
        masks_per_task=5,
        queue=6,
        queue_seconds=7,
    )
    untouched = [field.name for field in fields(Settings) if getattr(others, field.name) == getattr(Settings(), field.name)]
    assert untouched == [], "this test must say what becomes of them"
    assert Settings.from_environment(settings_as_variables(others)) == others


def test_variables_and_settings_are_inverse() -> None:
    assert Settings.from_environment(settings_as_variables(Settings())) == Settings()
    hosts = AllowedHosts.parse("*.example.com:81, private:[fd00::1]:9000", "hosts")
    assert AllowedHosts.parse(str(hosts), "hosts") == hosts


def test_every_variable_that_is_read_is_shown_and_documented() -> None:
    source = ast.parse((REPOSITORY / "backend/settings.py").read_text())
    texts = {node.value for node in ast.walk(source) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    names = {text for text in texts if re.fullmatch(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+|WORKERS|THREADS", text)}
    read = {name for name in names if not name.startswith("RAY_")}  # These are set for Ray, not read.
    assert read == set(settings_as_variables(Settings()))
    documented = (REPOSITORY / "docs/running.md").read_text()
    assert [name for name in read if f"`{name}`" not in documented] == []


def test_secrets_are_shown_as_stars() -> None:
    settings = Settings(
        label_studio_api_key="key-secret",
        credentials=Credentials("user", "pass-secret", "token-secret"),
        s3=S3Access(None, None, "key", "key-secret"),
        port=1234,
    )
    shown = {each.variable: each for each in shown_settings(settings)}
    assert "secret" not in str(shown)
    assert [shown[name].value for name in SECRETS] == [HIDDEN] * len(SECRETS)
    assert (shown["SAM4D_PORT"].value, shown["SAM4D_PORT"].default) == ("1234", "9090")
    assert {each.value for each in shown_settings(Settings()) if each.variable in SECRETS} == {""}, "nothing is not a secret"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SAM4D_PORT", "ninety"),
        ("SAM4D_PORT", "70000"),
        ("SAM4D_DATA_ROOT", "/no/such/folder"),
        ("LABEL_STUDIO_URL", "localhost:8080"),
        ("LABEL_STUDIO_URL", "ftp://localhost"),
        ("LABEL_STUDIO_URL", "http://user:hidden@localhost"),
        ("LABEL_STUDIO_URL", "http://:hidden@localhost"),
        ("SAM4D_ALLOWED_HOSTS", "https://files.example.com"),
        ("SAM4D_ENGINE", "magic"),
        ("SAM4D_CHECKPOINT", "/no/such/file.pth"),
        ("SAM4D_DEVICE", "toaster"),
        ("SAM4D_PRECISION", "float8"),
        ("SAM4D_COMPILE", "perhaps"),
        ("SAM4D_SPARSE_CONVOLUTION", "minkowski"),
        ("SAM4D_INTERACTIVE_SECONDS", "nan"),
        ("SAM4D_INTERACTIVE_SECONDS", "-1"),
        ("SAM4D_BATCH_SECONDS", "-1"),
        ("SAM4D_BATCH_QUEUE", "-1"),
        ("SAM4D_SESSIONS", "0"),
        ("LOG_LEVEL", "loud"),
        ("SAM4D_LOG_FORMAT", "xml"),
        ("SAM4D_DEADLINE_SECONDS", "0"),
        ("SAM4D_REQUEST_SECONDS", "0"),
        ("BASIC_AUTH_USER", "alone"),
        ("SAM4D_S3_ENDPOINT", "http://user:hidden@minio:9000"),
        ("SAM4D_S3_SECRET_ACCESS_KEY", "hidden"),
        ("SAM4D_BEARER_TOKEN", "hidden"),
        ("SAM4D_BEARER_TOKEN", "hidden words of a sentence"),
    ],
)
def test_a_wrong_value_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(InputError) as caught:
        Settings.from_environment({name: value})
    assert caught.value.where in (name, "BASIC_AUTH_PASS", "SAM4D_S3_ACCESS_KEY_ID")
    assert "hidden" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_secrets_are_not_printed() -> None:
    s3 = S3Access(access_key_id="key", secret_access_key="s3-secret")
    text = repr(Settings(label_studio_api_key="key-secret", credentials=Credentials("u", "pass-secret", "token-secret"), s3=s3))
    assert "secret" not in text


def test_another_process_is_told_the_same_engine(tmp_path: Path) -> None:
    checkpoint = tmp_path / "weights.pth"
    checkpoint.touch()
    settings = Settings(engine="sam4d", checkpoint=checkpoint.resolve(), device="cpu", precision="float32", compiled=True, port=1)
    assert Settings.from_environment(settings.engine_variables()) == settings.of_engine_only()
    assert Settings.from_environment(Settings().engine_variables()) == Settings()
