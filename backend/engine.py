"""The engine that the settings ask for, in the version that serves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from backend.disk_cache import DiskCache
from backend.disk_frame_store import DiskFrameStore
from backend.errors import one_line
from backend.settings import Settings
from backend.versions import BASE, EngineKind, Standing, VersionError, VersionStore
from sam4d.frame_store import FrameStore
from sam4d.predictor import PrewarmingPredictor, build_predictor
from sam4d.structures import InputError

FRAMES = "frames"
"""The folder of prepared frames within MODEL_DIR."""


def engine_kind(settings: Settings) -> EngineKind:
    """Which engine the settings mean: "auto" is the network where there is a checkpoint."""
    if settings.engine == "auto":
        return "geometric" if settings.checkpoint is None else "sam4d"
    return settings.engine


def version_store_of(settings: Settings) -> VersionStore | None:
    """Where versions of the settings' engine are kept; None without MODEL_DIR."""
    if settings.model_dir is None:
        return None
    kind = engine_kind(settings)
    return VersionStore(settings.model_dir / "versions" / kind, kind)


def predictor_of(settings: Settings) -> PrewarmingPredictor:
    """The version that serves; for a process that stays with it. See `load_serving`."""
    return load_serving(settings).predictor


@dataclass(frozen=True)
class Serving:
    """An engine, the name of its version, and why it is an older one than should serve; "" where it is not."""

    predictor: PrewarmingPredictor
    name: str
    trouble: str


def load_serving(settings: Settings) -> Serving:
    """The version that serves.

    One that cannot be loaded is passed over for the one that served before it, down to what the settings themselves name.

    Raises:
        InputError: not even that can be had: the network without a checkpoint, one that is not its own, a device that is not there.
    """
    store = version_store_of(settings)
    trouble = ""
    try:
        standing = store.standing() if store is not None else Standing()
    except VersionError as error:
        standing, trouble = Standing(), one_line(str(error))
    for name in (standing.current, *reversed(standing.history)):
        if name == BASE:
            break
        try:
            return Serving(load_version(settings, name), name, trouble)
        except (InputError, OSError, MemoryError) as error:
            trouble = trouble or f"version {name} cannot be loaded: {one_line(str(error))}"
    return Serving(load_version(settings, BASE), BASE, trouble)


def load_version(settings: Settings, name: str) -> PrewarmingPredictor:
    """One version, whatever serves. Raises InputError where it is not there, damaged, or see `load_serving`."""
    if name == BASE:
        return learnt_predictor(settings, None)
    store = version_store_of(settings)
    if store is None:
        raise VersionError(f"version {name}", "MODEL_DIR, the folder of versions", "nothing")
    return learnt_predictor(settings, store.get(name).learnt_file)


def learnt_predictor(settings: Settings, learnt: Path | None) -> PrewarmingPredictor:
    """The settings' engine with these weights or parameters; None is what the settings name. Raises InputError, see `load_serving`."""
    kind = engine_kind(settings)
    parameters = None
    if learnt is not None and kind == "geometric":
        from sam4d.geometric.parameters import read_parameters

        parameters = read_parameters(learnt)
    return build_predictor(
        kind,
        checkpoint=learnt if learnt is not None and kind == "sam4d" else settings.checkpoint,
        device=settings.device,
        precision=settings.precision,
        compiled=settings.compiled,
        sparse_convolution=settings.sparse_convolution,
        store=frame_store_of(settings),
        parameters=parameters,
    )


def frame_store_of(settings: Settings) -> FrameStore | None:
    """Where prepared frames are kept; None where no folder outlives the process, or none may be kept."""
    if settings.model_dir is None or settings.prewarm_bytes == 0:
        return None
    return DiskFrameStore(DiskCache(settings.model_dir / FRAMES, settings.prewarm_bytes, "a prepared frame"))
