"""The engine that the settings ask for."""

from __future__ import annotations

from backend.disk_cache import DiskCache
from backend.disk_frame_store import DiskFrameStore
from backend.settings import Settings
from sam4d.frame_store import FrameStore
from sam4d.predictor import PrewarmingPredictor, build_predictor

FRAMES = "frames"
"""The folder of prepared frames within MODEL_DIR."""


def predictor_of(settings: Settings) -> PrewarmingPredictor:
    """Raises InputError: the network without a checkpoint, a checkpoint that is not its own, a device that is not there."""
    return build_predictor(
        settings.engine,
        checkpoint=settings.checkpoint,
        device=settings.device,
        precision=settings.precision,
        compiled=settings.compiled,
        sparse_convolution=settings.sparse_convolution,
        store=frame_store_of(settings),
    )


def frame_store_of(settings: Settings) -> FrameStore | None:
    """Where prepared frames are kept; None where no folder outlives the process, or none may be kept."""
    if settings.model_dir is None or settings.prewarm_bytes == 0:
        return None
    return DiskFrameStore(DiskCache(settings.model_dir / FRAMES, settings.prewarm_bytes, "a prepared frame"))
