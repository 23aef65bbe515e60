"""The composition root: settings, engine, files and open tasks become one service, and the service an ASGI app.

    gunicorn 'backend.asgi:create_app()' --worker-class uvicorn_worker.UvicornWorker

Without --preload: each worker builds its own engine after the fork.
"""

from __future__ import annotations

import logging
import threading

from starlette.applications import Starlette

from backend.batch_keeper import BatchKeeper
from backend.batch_queue import batch_queue_of, why_no_queue
from backend.http import build_app
from backend.logs import configure_logging
from backend.media import MediaReader
from backend.process_keeper import ProcessKeeper
from backend.served_engine import ServedEngine
from backend.service import LabellingService
from backend.sessions import SessionStore
from backend.settings import Settings
from backend.training_desk import TrainingDesk, desk_of, desk_without_keeper
from backend.training_jobs import training_jobs_of, why_no_training
from backend.training_worker import run_training_worker

logger = logging.getLogger(__name__)


def build_service(settings: Settings, keeper: BatchKeeper | None = None, training: TrainingDesk | None = None) -> LabellingService:
    """Everything behind the endpoints. Raises InputError where the engine cannot be had, see `ServedEngine`."""
    engine = ServedEngine(settings)
    return LabellingService(
        engine=engine,
        media=MediaReader(settings),
        sessions=SessionStore(settings.session_count, settings.session_bytes),
        interactive_seconds=settings.interactive_seconds,
        batch_seconds=settings.batch_seconds,
        masks_per_task=settings.masks_per_task,
        limits=settings.limits,
        keeper=keeper,
        training=training or desk_without_keeper(settings),
        version_trouble=lambda: engine.trouble,
    )


def create_app(settings: Settings | None = None) -> Starlette:
    """The app of one process; settings from the environment where none are given."""
    if settings is None:
        settings = Settings.from_environment()
    configure_logging(settings.log_level, settings.log_format, settings.hidden_in_logs())
    queue = batch_queue_of(settings)
    if queue is None:
        logger.info("tasks that find no time are not queued: %s", why_no_queue(settings))
    batch_keeper = BatchKeeper(queue, settings) if queue is not None else None
    jobs = training_jobs_of(settings)
    trainer = ProcessKeeper(jobs, settings, run_training_worker, "training") if jobs is not None and not why_no_training(settings) else None
    desk = desk_of(settings, trainer.wake if trainer is not None else lambda: None)
    keepers = [keeper for keeper in (batch_keeper, trainer) if keeper is not None]
    return build_app(build_service(settings, batch_keeper, desk), settings, keepers)


class _ProcessService:
    """The one service of a process whose server is not ours: the stock servers construct the model class themselves."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._service: LabellingService | None = None

    def __call__(self) -> LabellingService:
        with self._lock:
            if self._service is None:
                self._service = build_service(Settings.from_environment())
            return self._service


process_service = _ProcessService()
