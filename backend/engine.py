"""The engine that the settings ask for."""

from __future__ import annotations

from backend.settings import Settings
from sam4d.predictor import Predictor, build_predictor


def predictor_of(settings: Settings) -> Predictor:
    """Raises InputError: the network without a checkpoint, a checkpoint that is not its own, a device that is not there."""
    return build_predictor(
        settings.engine,
        checkpoint=settings.checkpoint,
        device=settings.device,
        precision=settings.precision,
        compiled=settings.compiled,
        sparse_convolution=settings.sparse_convolution,
    )
