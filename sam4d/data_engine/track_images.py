"""Image masklets that were made once, image by image, and lie packed on disk."""

from __future__ import annotations

import tempfile
import weakref
import zlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sam4d.structures import Camera, Clip


class TrackImages:
    """A `MaskletSource` in one temporary file, which goes with it: of a long drive only what is asked for is in memory."""

    def __init__(self, clip: Clip) -> None:
        self._cameras: Mapping[str, Camera] = clip.cameras
        self._places: dict[tuple[int, str], tuple[int, int]] = {}
        self._file = tempfile.TemporaryFile(prefix="sam4d-tracks-")  # noqa: SIM115 (closed with the source)
        weakref.finalize(self, self._file.close)

    def keep(self, frame_index: int, camera: str, tracks: NDArray[np.int32]) -> None:
        """tracks: int32 (H, W), 0 for none. Raises OSError where the disk is full."""
        packed = zlib.compress(np.asarray(tracks, dtype=np.int32).tobytes(), level=1)
        self._places[frame_index, camera] = self._file.seek(0, 2), len(packed)
        self._file.write(packed)

    def tracks_in(self, frame_index: int, camera: str) -> NDArray[np.int32]:
        """int32 (H, W); 0 everywhere where nothing was kept."""
        shape = self._cameras[camera].height_px, self._cameras[camera].width_px
        if (frame_index, camera) not in self._places:
            return np.zeros(shape, dtype=np.int32)
        offset, size = self._places[frame_index, camera]
        self._file.seek(offset)
        return np.frombuffer(zlib.decompress(self._file.read(size)), dtype=np.int32).reshape(shape)

    def label_of(self, camera: str, track: int) -> str:
        """None of these has a name."""
        return ""
