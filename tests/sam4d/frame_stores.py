"""A store for prepared frames that tests can look into."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam4d.frame_store import Arrays


class DictStore:
    """Implements `FrameStore` in memory. found: how often something was. full: it keeps nothing."""

    def __init__(self, *, full: bool = False) -> None:
        self.arrays: dict[str, Arrays] = {}
        self.found = 0
        self._full = full

    def get(self, key: str) -> Arrays | None:
        self.found += key in self.arrays
        return self.arrays.get(key)

    def put(self, key: str, arrays: Arrays) -> bool:
        if self._full:
            return False
        kept: dict[str, NDArray[Any]] = {name: np.array(array) for name, array in arrays.items()}
        for array in kept.values():
            array.setflags(write=False)
        self.arrays[key] = kept
        return True
