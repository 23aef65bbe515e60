"""What the network makes of images, sweeps and calibrations, from a store where it is there, in the precision in which it was computed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sam4d.frame_store import Arrays, FrameStore, Kept, calibration_key, content_key, keep
from sam4d.modeling.encoded_frame import CameraGrid, Levels
from sam4d.modeling.positional_encoding import Rays
from sam4d.network.stored_sweep import StoredSweep
from sam4d.network.stored_tensors import as_arrays, as_tensors
from sam4d.structures import Camera, UInt8Array

GREY = (124, 116, 104)
"""The mean colour of what the network was trained on, which it sees as nothing."""

_LEVELS = ("stride4", "stride8", "stride16")
_GRID = ("sine", "shared")


@dataclass(frozen=True)
class GreyImage:
    """In place of the image of a camera that has none; a loader of `structures.Frame`."""

    width_px: int
    height_px: int

    def __call__(self) -> UInt8Array:
        return np.full((self.height_px, self.width_px, 3), GREY, dtype=np.uint8)

    def content_digest(self) -> str:
        return hashlib.sha256(f"{self} {GREY}".encode()).hexdigest()


@dataclass(frozen=True)
class StoredFeatures:
    """One network's features in a store, which holds other things as well.

    What is found is what was kept, or None. `keep_...` have the store hold what is made; see `frame_store.keep`.

    kind: what computes them, and all of it that may change a bit: network, weights, precision, device. store: None finds and keeps nothing.
    """

    store: FrameStore | None
    kind: str
    device: torch.device

    def find_image(self, load: object) -> Levels | None:
        """Of the image that a loader loads, on the network's device."""
        found = self._find(self._image_key(load))
        return None if found is None else self._levels(found)

    def keep_image(self, load: object, make: Callable[[], Levels]) -> Kept | None:
        return self._keep(self._image_key(load), lambda: as_arrays(dict(zip(_LEVELS, make(), strict=True))), self._levels)

    def find_sweep(self, load: object, cameras: Mapping[str, Camera]) -> StoredSweep | None:
        """Of the sweep that a loader loads, and of which of its points the cameras see."""
        found = self._find(self._sweep_key(load, cameras))
        return None if found is None else StoredSweep.from_arrays(found, cameras)

    def keep_sweep(self, load: object, cameras: Mapping[str, Camera], make: Callable[[], StoredSweep]) -> Kept | None:
        return self._keep(self._sweep_key(load, cameras), lambda: make().arrays(), lambda found: StoredSweep.from_arrays(found, cameras))

    def find_grid(self, camera: Camera) -> CameraGrid | None:
        """Of a camera's calibration, on the network's device."""
        found = self._find(self._grid_key(camera))
        return None if found is None else self._grid(found)

    def keep_grid(self, camera: Camera, make: Callable[[], CameraGrid]) -> Kept | None:
        return self._keep(self._grid_key(camera), lambda: _grid_arrays(make()), self._grid)

    def _find(self, key: str | None) -> Arrays | None:
        return self.store.get(key) if self.store is not None and key is not None else None

    def _keep(self, key: str | None, make: Callable[[], Arrays], read: Callable[[Arrays], object | None]) -> Kept | None:
        return None if self.store is None else keep(self.store, key, make, lambda found: read(found) is not None)

    def _image_key(self, load: object) -> str | None:
        return None if self.store is None else content_key(f"{self.kind}, image", load)

    def _sweep_key(self, load: object, cameras: Mapping[str, Camera]) -> str | None:
        return None if self.store is None else content_key(f"{self.kind}, sweep", load, cameras=cameras)

    def _grid_key(self, camera: Camera) -> str:
        return calibration_key(f"{self.kind}, grid", camera)

    def _levels(self, arrays: Arrays) -> Levels | None:
        tensors = as_tensors(arrays)
        if tensors.keys() != set(_LEVELS):
            return None
        stride4, stride8, stride16 = (tensors[name].to(self.device) for name in _LEVELS)
        return stride4, stride8, stride16

    def _grid(self, arrays: Arrays) -> CameraGrid | None:
        encodings = as_tensors({name: array for name, array in arrays.items() if name.startswith(_GRID)})
        if encodings.keys() != set(_GRID) or not {"origin_m", "directions"} <= arrays.keys():
            return None
        sine, shared = (encodings[name].to(self.device) for name in _GRID)
        return CameraGrid(sine, shared, Rays(arrays["origin_m"], arrays["directions"]))


def _grid_arrays(grid: CameraGrid) -> dict[str, NDArray[Any]]:
    encodings = as_arrays({"sine": grid.sine, "shared": grid.shared})
    return {**encodings, "origin_m": grid.rays.origin_m, "directions": grid.rays.directions}
