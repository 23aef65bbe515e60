"""Settings as the environment variables that make them, for whoever wants to see or copy what a server runs with."""

from __future__ import annotations

from dataclasses import dataclass

from backend.limits import MEGABYTE
from backend.settings import Settings

SECRETS = ("LABEL_STUDIO_API_KEY", "BASIC_AUTH_PASS", "SAM4D_BEARER_TOKEN", "SAM4D_S3_SECRET_ACCESS_KEY")
HIDDEN = "***"


@dataclass(frozen=True)
class ShownSetting:
    """One variable, with what it is and what it is where nobody sets it; "" is nothing. Secrets are hidden."""

    variable: str
    value: str
    default: str


def settings_as_variables(settings: Settings) -> dict[str, str]:
    """Every variable, secrets included: the inverse of `Settings.from_environment`. "" where there is nothing."""
    limits, credentials = settings.limits, settings.credentials
    values: dict[str, object] = {
        "SAM4D_HOST": settings.host,
        "SAM4D_PORT": settings.port,
        "SAM4D_BACKEND_URL": settings.backend_url,
        "SAM4D_DATA_ROOT": settings.data_root,
        "LABEL_STUDIO_URL": settings.label_studio_url,
        "LABEL_STUDIO_API_KEY": settings.label_studio_api_key,
        "SAM4D_ALLOWED_HOSTS": settings.allowed_hosts,
        "SAM4D_CHECKPOINT": settings.checkpoint,
        **settings.engine_variables(),
        "SAM4D_INTERACTIVE_SECONDS": settings.interactive_seconds,
        "SAM4D_BATCH_SECONDS": settings.batch_seconds,
        "SAM4D_BATCH_QUEUE": settings.batch_queue,
        "SAM4D_DEADLINE_SECONDS": limits.seconds,
        "SAM4D_REQUEST_SECONDS": limits.body_seconds,
        "SAM4D_MASKS_PER_TASK": settings.masks_per_task,
        "SAM4D_SESSIONS": settings.session_count,
        "SAM4D_SESSION_MEGABYTES": settings.session_bytes // MEGABYTE,
        "WORKERS": settings.workers,
        "THREADS": settings.threads,
        "SAM4D_QUEUE": settings.queue,
        "SAM4D_QUEUE_SECONDS": settings.queue_seconds,
        "SAM4D_REQUEST_MEGABYTES": limits.request_bytes // MEGABYTE,
        "SAM4D_ANSWER_MEGABYTES": limits.answer_bytes // MEGABYTE,
        "SAM4D_TASKS_PER_REQUEST": limits.tasks,
        "SAM4D_PROMPTS_PER_REQUEST": limits.prompts,
        "SAM4D_OBJECTS_PER_TASK": limits.objects,
        "SAM4D_FRAMES_PER_TASK": limits.frames,
        "SAM4D_FILE_MEGABYTES": settings.file_bytes // MEGABYTE,
        "SAM4D_CACHE_MEGABYTES": settings.cache_bytes // MEGABYTE,
        "SAM4D_PREWARM_MEGABYTES": settings.prewarm_bytes // MEGABYTE,
        "MODEL_DIR": settings.model_dir,
        "SAM4D_TRAINING_MODE": settings.training_mode,
        "SAM4D_TRAINING_STEPS": settings.training_steps,
        "SAM4D_HELD_OUT_SHARE": settings.held_out_share,
        "BASIC_AUTH_USER": credentials.user,
        "BASIC_AUTH_PASS": credentials.password,
        "SAM4D_BEARER_TOKEN": credentials.bearer_token,
        "SAM4D_S3_ENDPOINT": settings.s3.endpoint_url,
        "SAM4D_S3_REGION": settings.s3.region,
        "SAM4D_S3_ACCESS_KEY_ID": settings.s3.access_key_id,
        "SAM4D_S3_SECRET_ACCESS_KEY": settings.s3.secret_access_key,
        "LOG_LEVEL": settings.log_level,
        "SAM4D_LOG_FORMAT": settings.log_format,
    }
    return {name: _text(value) for name, value in values.items()}


def shown_settings(settings: Settings) -> list[ShownSetting]:
    defaults = settings_as_variables(Settings())
    return [
        ShownSetting(name, HIDDEN if value and name in SECRETS else value, defaults[name])
        for name, value in settings_as_variables(settings).items()
    ]


def format_settings(shown: list[ShownSetting]) -> str:
    """A table: variable, value, and the default where it is another."""
    widths = [max(len(getattr(each, column)) for each in shown) for column in ("variable", "value")]
    lines = (
        f"{each.variable:<{widths[0]}}  {each.value or '-':<{widths[1]}}"
        + (f"  default {each.default or '-'}" * (each.value != each.default))
        for each in shown
    )
    return "\n".join(line.rstrip() for line in lines)


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.15g}" if isinstance(value, float) else str(value)
