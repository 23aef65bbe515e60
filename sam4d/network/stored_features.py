"""The network's features of images and sweeps, from a store where they are there, in the precision in which they were computed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from sam4d.frame_store import Arrays, FrameStore, content_key, keep
from sam4d.modeling.encoded_frame import Levels
from sam4d.structures import UInt8Array

Source = Literal["image", "sweep"]

GREY = (124, 116, 104)
"""The mean colour of what the network was trained on, which it sees as nothing."""

_NAMES = ("stride4", "stride8", "stride16")
_CHANNELS_LAST = "/channels_last"
"""In the name of an array (B, H, W, C) of features (B, C, H, W): the order in memory decides on the last bits of what is computed
with them."""
_BFLOAT16 = "/bfloat16"
"""Ends the name of an array that holds the bits of bfloat16 numbers, int16: NumPy has no such numbers."""


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

    kind: what computes them, and all of it that may change a bit: network, weights, precision, device. store: None finds and keeps nothing.
    """

    store: FrameStore | None
    kind: str
    device: torch.device

    def find(self, source: Source, load: object) -> Levels | None:
        """What is known of what a loader loads."""
        key = self._key(source, load)
        found = self.store.get(key) if self.store is not None and key is not None else None
        return None if found is None else _levels(found, self.device)

    def keep(self, source: Source, load: object, make: Callable[[], Levels]) -> int | None:
        """See `frame_store.keep`."""
        return None if self.store is None else keep(self.store, self._key(source, load), lambda: _arrays(make()))

    def _key(self, source: Source, load: object) -> str | None:
        return None if self.store is None else content_key(f"{self.kind}, {source}", load)


def _arrays(levels: Levels) -> dict[str, NDArray[Any]]:
    arrays = {}
    for name, features in zip(_NAMES, levels, strict=True):
        if not features.is_contiguous() and features.ndim == 4 and features.is_contiguous(memory_format=torch.channels_last):
            name, features = name + _CHANNELS_LAST, features.permute(0, 2, 3, 1)
        if features.dtype == torch.bfloat16:
            name, features = name + _BFLOAT16, features.contiguous().view(torch.int16)
        arrays[name] = features.cpu().numpy()
    return arrays


def _levels(arrays: Arrays, device: torch.device) -> Levels:
    levels = {}
    for name, array in arrays.items():
        # Copied, for what a store gives may not be written to.
        features = torch.from_numpy(np.array(array)).to(device)
        if name.endswith(_BFLOAT16):
            features = features.view(torch.bfloat16)
        if _CHANNELS_LAST in name:
            features = features.permute(0, 3, 1, 2)
        levels[name.partition("/")[0]] = features
    stride4, stride8, stride16 = (levels[name] for name in _NAMES)
    return stride4, stride8, stride16
