"""The one reader of the environment: what the server was told, typed and checked once."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar, get_args
from urllib.parse import urlsplit

from backend.allowed_hosts import AllowedHosts
from backend.authentication import Credentials
from backend.limits import MEGABYTE, Limits
from backend.logs import LogFormat
from backend.s3_access import S3Access
from sam4d.predictor import DeviceName, EngineName, Precision, SparseConvolution
from sam4d.structures import InputError

ChoiceT = TypeVar("ChoiceT", bound=str)
TrainingMode: TypeAlias = Literal["heads", "memory", "everything"]

SHORTEST_TOKEN = 16
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


@dataclass(frozen=True)
class Settings:
    """The server's settings.

    host, port: where the server listens. backend_url: where Label Studio finds it, None where that is the same. data_root: folder that
    Label Studio serves as its local files, or None. label_studio_url, label_studio_api_key: where files come from that are not below the
    data root; the key is a legacy token or a personal access token. allowed_hosts: the other hosts that files may come from. engine:
    "auto" is the network where there is a checkpoint. checkpoint: the network's weights; device, precision, compiled, sparse_convolution:
    how it computes, see `sam4d.build_predictor`. interactive_seconds: how long one click may take. batch_seconds: how long one request
    without a click may take for all its tasks together (Label Studio gives up after 100). masks_per_task: how many brush masks a
    pre-annotation may hold at the most. session_count, session_bytes: how many tasks stay open, and how much memory they may hold
    together. workers: processes; open tasks are not shared between them. threads: requests answered at the same time by one process.
    queue, queue_seconds: how many more may wait, and how long; others are asked to come again. limits: of one request and its answer.
    file_bytes, cache_bytes: the largest file that is read, and the disk that downloaded ones may take. prewarm_bytes: the disk that
    prepared frames may take; 0 keeps none. model_dir: where downloaded files and prepared frames are kept between starts; None keeps
    downloaded files in a temporary folder that goes with the process, and no prepared frames. credentials: what a client must show;
    nothing is asked for where there are none. s3: what the storages of imported projects are told. batch_queue: how many
    tasks that found no time in a request without a click may wait for the worker, 0 for none; it needs model_dir, label_studio_url and
    label_studio_api_key. training_mode, training_steps, held_out_share: what Label Studio's "Start Training" does: which part of the
    network learns, for how many steps (0 is the recipe's own number), and the share of the tasks that it is judged by instead.
    """

    host: str = "127.0.0.1"
    port: int = 9090
    backend_url: str | None = None
    data_root: Path | None = None
    label_studio_url: str | None = None
    label_studio_api_key: str | None = field(default=None, repr=False)
    allowed_hosts: AllowedHosts = field(default_factory=AllowedHosts)
    engine: EngineName = "auto"
    checkpoint: Path | None = None
    device: DeviceName = "auto"
    precision: Precision = "auto"
    compiled: bool = False
    sparse_convolution: SparseConvolution = "torch"
    interactive_seconds: float = 8.0
    batch_seconds: float = 80.0
    batch_queue: int = 10_000
    masks_per_task: int = 60
    session_count: int = 32
    session_bytes: int = 2048 * MEGABYTE
    workers: int = 1
    threads: int = 8
    queue: int = 64
    queue_seconds: float = 15.0
    limits: Limits = field(default_factory=Limits)
    file_bytes: int = 512 * MEGABYTE
    cache_bytes: int = 4096 * MEGABYTE
    prewarm_bytes: int = 4096 * MEGABYTE
    log_level: str = "INFO"
    log_format: LogFormat = "text"
    model_dir: Path | None = None
    credentials: Credentials = field(default_factory=Credentials)
    s3: S3Access = field(default_factory=S3Access)
    training_mode: TrainingMode = "heads"
    training_steps: int = 0
    held_out_share: float = 0.2

    def hidden_in_logs(self) -> dict[str, str]:
        """Secrets and folders that no log line holds, and what it says instead."""
        secret = {self.label_studio_api_key, self.credentials.password, self.credentials.bearer_token, self.s3.secret_access_key}
        folders = {"SAM4D_DATA_ROOT": self.data_root, "MODEL_DIR": self.model_dir}
        return {text: "***" for text in secret if text} | {str(folder): f"${name}" for name, folder in folders.items() if folder}

    def engine_variables(self) -> dict[str, str]:
        """The variables that make another process choose the same engine."""
        chosen = {
            "SAM4D_ENGINE": self.engine,
            "SAM4D_DEVICE": self.device,
            "SAM4D_PRECISION": self.precision,
            "SAM4D_COMPILE": "yes" if self.compiled else "no",
            "SAM4D_SPARSE_CONVOLUTION": self.sparse_convolution,
        }
        return chosen if self.checkpoint is None else {**chosen, "SAM4D_CHECKPOINT": str(self.checkpoint)}

    def of_engine_only(self) -> Settings:
        """The defaults with the engine of these settings."""
        return Settings(
            engine=self.engine,
            checkpoint=self.checkpoint,
            device=self.device,
            precision=self.precision,
            compiled=self.compiled,
            sparse_convolution=self.sparse_convolution,
        )

    def environment(self) -> dict[str, str]:
        """This process's whole environment, with the engine of these settings."""
        return {**os.environ, **self.engine_variables()}

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """From these variables, or from the process's own; one that is missing or empty takes its default.

        Raises:
            InputError: names the variable that is wrong.
        """
        variables = os.environ if environment is None else environment
        values = {name: value.strip() for name, value in variables.items() if value.strip()}
        return cls(
            host=values.get("SAM4D_HOST", cls.host),
            port=_integer(values, "SAM4D_PORT", cls.port, 1, 65535),
            backend_url=_url(values, "SAM4D_BACKEND_URL"),
            data_root=_folder(values, "SAM4D_DATA_ROOT"),
            label_studio_url=_url(values, "LABEL_STUDIO_URL"),
            label_studio_api_key=values.get("LABEL_STUDIO_API_KEY"),
            allowed_hosts=AllowedHosts.parse(values.get("SAM4D_ALLOWED_HOSTS", ""), "SAM4D_ALLOWED_HOSTS"),
            engine=_choice(values, "SAM4D_ENGINE", cls.engine, get_args(EngineName)),
            checkpoint=_file(values, "SAM4D_CHECKPOINT"),
            device=_choice(values, "SAM4D_DEVICE", cls.device, get_args(DeviceName)),
            precision=_choice(values, "SAM4D_PRECISION", cls.precision, get_args(Precision)),
            compiled=_choice(values, "SAM4D_COMPILE", "no", ("no", "yes")) == "yes",
            sparse_convolution=_choice(values, "SAM4D_SPARSE_CONVOLUTION", cls.sparse_convolution, get_args(SparseConvolution)),
            interactive_seconds=_number(values, "SAM4D_INTERACTIVE_SECONDS", cls.interactive_seconds, 0.0, 95.0),
            batch_seconds=_number(values, "SAM4D_BATCH_SECONDS", cls.batch_seconds, 0.0, 3600.0),
            batch_queue=_integer(values, "SAM4D_BATCH_QUEUE", cls.batch_queue, 0, 1_000_000),
            masks_per_task=_integer(values, "SAM4D_MASKS_PER_TASK", cls.masks_per_task, 1, 100_000),
            session_count=_integer(values, "SAM4D_SESSIONS", cls.session_count, 1, 10_000),
            session_bytes=_integer(values, "SAM4D_SESSION_MEGABYTES", cls.session_bytes // MEGABYTE, 1, 10_000_000) * MEGABYTE,
            workers=_integer(values, "WORKERS", cls.workers, 1, 64),
            threads=_integer(values, "THREADS", cls.threads, 1, 256),
            queue=_integer(values, "SAM4D_QUEUE", cls.queue, 0, 10_000),
            queue_seconds=_number(values, "SAM4D_QUEUE_SECONDS", cls.queue_seconds, 0.0, 90.0),
            limits=_limits(values),
            file_bytes=_integer(values, "SAM4D_FILE_MEGABYTES", cls.file_bytes // MEGABYTE, 1, 100_000) * MEGABYTE,
            cache_bytes=_integer(values, "SAM4D_CACHE_MEGABYTES", cls.cache_bytes // MEGABYTE, 1, 100_000_000) * MEGABYTE,
            prewarm_bytes=_integer(values, "SAM4D_PREWARM_MEGABYTES", cls.prewarm_bytes // MEGABYTE, 0, 100_000_000) * MEGABYTE,
            log_level=_log_level(values, "LOG_LEVEL", cls.log_level),
            log_format=_choice(values, "SAM4D_LOG_FORMAT", cls.log_format, get_args(LogFormat)),
            model_dir=Path(values["MODEL_DIR"]) if "MODEL_DIR" in values else None,
            credentials=_credentials(values),
            s3=_s3_access(values),
            training_mode=_choice(values, "SAM4D_TRAINING_MODE", cls.training_mode, get_args(TrainingMode)),
            training_steps=_integer(values, "SAM4D_TRAINING_STEPS", cls.training_steps, 0, 10_000_000),
            held_out_share=_number(values, "SAM4D_HELD_OUT_SHARE", cls.held_out_share, 0.01, 0.9),
        )


def prepare_ray(*, alone: bool) -> None:
    """What Ray reads from this process's environment: that it tells its makers nothing, and leaves Python's `print` as it is.

    Args:
        alone: it will be started here, for this process only. Then it listens on the loopback address and nowhere else, and only to who
            has the token: whoever can talk to a Ray can run programs on it.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_TQDM_PATCH_PRINT"] = "0"
    if alone:
        os.environ["RAY_enable_metrics_collection"] = "0"  # noqa: SIM112  # Ray's own spelling
        os.environ["RAY_AUTH_MODE"] = "token"
        # A process keeps the first token that it saw.
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        # Ray would take another address of this machine in place of 127.0.0.1, on Linux too.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"


def _limits(values: Mapping[str, str]) -> Limits:
    default = Limits()
    return Limits(
        request_bytes=_integer(values, "SAM4D_REQUEST_MEGABYTES", default.request_bytes // MEGABYTE, 1, 10_000) * MEGABYTE,
        answer_bytes=_integer(values, "SAM4D_ANSWER_MEGABYTES", default.answer_bytes // MEGABYTE, 1, 10_000) * MEGABYTE,
        tasks=_integer(values, "SAM4D_TASKS_PER_REQUEST", default.tasks, 1, 100_000),
        prompts=_integer(values, "SAM4D_PROMPTS_PER_REQUEST", default.prompts, 1, 100_000),
        objects=_integer(values, "SAM4D_OBJECTS_PER_TASK", default.objects, 1, 100_000),
        frames=_integer(values, "SAM4D_FRAMES_PER_TASK", default.frames, 1, 100_000),
        seconds=_number(values, "SAM4D_DEADLINE_SECONDS", default.seconds, 1.0, 3600.0),
        body_seconds=_number(values, "SAM4D_REQUEST_SECONDS", default.body_seconds, 1.0, 3600.0),
    )


def _credentials(values: Mapping[str, str]) -> Credentials:
    user, password = values.get("BASIC_AUTH_USER"), values.get("BASIC_AUTH_PASS")
    if (user is None) != (password is None):
        missing = "BASIC_AUTH_USER" if user is None else "BASIC_AUTH_PASS"
        raise InputError(missing, "both BASIC_AUTH_USER and BASIC_AUTH_PASS, or neither", "nothing")
    token = values.get("SAM4D_BEARER_TOKEN")
    if token is not None and (len(token) < SHORTEST_TOKEN or not token.isascii() or any(letter.isspace() for letter in token)):
        # The token itself is not repeated.
        raise InputError("SAM4D_BEARER_TOKEN", f"at least {SHORTEST_TOKEN} ASCII characters without spaces", f"{len(token)} characters")
    return Credentials(user, password, token)


def _s3_access(values: Mapping[str, str]) -> S3Access:
    key, secret = values.get("SAM4D_S3_ACCESS_KEY_ID"), values.get("SAM4D_S3_SECRET_ACCESS_KEY")
    if (key is None) != (secret is None):
        missing = "SAM4D_S3_ACCESS_KEY_ID" if key is None else "SAM4D_S3_SECRET_ACCESS_KEY"
        raise InputError(missing, "both SAM4D_S3_ACCESS_KEY_ID and SAM4D_S3_SECRET_ACCESS_KEY, or neither", "nothing")
    return S3Access(_url(values, "SAM4D_S3_ENDPOINT"), values.get("SAM4D_S3_REGION"), key, secret)


def _number(values: Mapping[str, str], name: str, default: float, least: float, most: float) -> float:
    text = values.get(name)
    if text is None:
        return default
    try:
        number = float(text)
    except ValueError:
        raise InputError(name, f"a number from {least:g} to {most:g}", repr(text)) from None
    if not least <= number <= most:
        raise InputError(name, f"a number from {least:g} to {most:g}", repr(text))
    return number


def _integer(values: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = values.get(name)
    if text is None:
        return default
    try:
        number = int(text)
    except ValueError:
        raise InputError(name, f"a whole number from {least} to {most}", repr(text)) from None
    if not least <= number <= most:
        raise InputError(name, f"a whole number from {least} to {most}", repr(text))
    return number


def _folder(values: Mapping[str, str], name: str) -> Path | None:
    if name not in values:
        return None
    folder = Path(values[name])
    if not folder.is_dir():
        raise InputError(name, "an existing folder", str(folder))
    return folder.resolve()


def _url(values: Mapping[str, str], name: str) -> str | None:
    if name not in values:
        return None
    text = values[name].rstrip("/")
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.query or parts.fragment:
        # The address may hold a password: it is not repeated.
        raise InputError(name, "an address such as http://127.0.0.1:8080", "something else")
    return text


def _file(values: Mapping[str, str], name: str) -> Path | None:
    if name not in values:
        return None
    file = Path(values[name])
    if not file.is_file():
        raise InputError(name, "an existing file", str(file))
    return file.resolve()


def _choice(values: Mapping[str, str], name: str, default: ChoiceT, choices: Sequence[ChoiceT]) -> ChoiceT:
    text = values.get(name)
    if text is None:
        return default
    for choice in choices:
        if text == choice:
            return choice
    raise InputError(name, " or ".join(choices), repr(text))


def _log_level(values: Mapping[str, str], name: str, default: str) -> str:
    text = values.get(name, default).upper()
    if text not in LOG_LEVELS:
        raise InputError(name, " or ".join(LOG_LEVELS), repr(values.get(name)))
    return text
