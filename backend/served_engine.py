"""The engine that answers, which follows what `sam4d checkpoint` and training say: no restart, and no request waits for the new one."""

from __future__ import annotations

import logging
import threading

from backend.engine import load_serving, load_version, version_store_of
from backend.errors import one_line
from backend.settings import Settings
from sam4d.predictor import PrewarmingPredictor

logger = logging.getLogger(__name__)


class ServedEngine:
    """Called with every request: the engine that is to answer it. Safe to use from many threads.

    Another version is loaded beside the one that answers, which goes on meanwhile, and on where the other one cannot be loaded. What holds
    an engine that was given keeps it: requests under way and open tasks end with the one they began with.

    Raises InputError on construction, see `backend.engine.load_serving`.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store = version_store_of(settings)
        self._stamp = self._store.stamp() if self._store is not None else None
        self._lock = threading.Lock()
        self._loading: threading.Thread | None = None
        serving = load_serving(settings)
        self._predictor, self._trouble = serving.predictor, serving.trouble
        if self._trouble:
            logger.error("%s; %s answers", self._trouble, self._predictor.version)

    def __call__(self) -> PrewarmingPredictor:
        if self._store is not None:
            stamp = self._store.stamp()
            if stamp != self._stamp:
                with self._lock:
                    if stamp != self._stamp and self._loading is None:
                        self._stamp = stamp
                        self._loading = threading.Thread(target=self._follow, name="loads another version", daemon=True)
                        self._loading.start()
        return self._predictor

    @property
    def trouble(self) -> str:
        """Why an older version answers than should, one line; "" where none does."""
        self()
        return self._trouble

    def settle(self) -> None:
        """Wait for a version that is being loaded."""
        loading = self._loading
        if loading is not None:
            loading.join()

    def _follow(self) -> None:
        assert self._store is not None
        name = "?"
        try:
            name = self._store.standing().current
            predictor = load_version(self._settings, name)
        except Exception as error:  # whatever it is, the engine at hand goes on
            self._trouble = f"version {name} cannot be loaded: {one_line(str(error) or type(error).__name__)}"
            logger.error("%s; %s answers on", self._trouble, self._predictor.version)
        else:
            before, self._predictor, self._trouble = self._predictor.version, predictor, ""
            logger.info("version %s (%s) answers from now on, after %s", name, predictor.version, before)
        finally:
            self._loading = None
