"""Where image masklets come from: anything that says which pixels of a camera belong to which track."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sam4d.structures import Clip, Masklet


class MaskletSource(Protocol):
    """Image masklets of one clip, asked for one image at a time, so that a long drive fits into memory."""

    def tracks_in(self, frame_index: int, camera: str) -> NDArray[np.int32]:
        """The track of every pixel, int32 (H, W), 0 for none. Tracks of different cameras have nothing to do with each other."""
        ...

    def label_of(self, camera: str, track: int) -> str:
        """What the track shows, in the source's own words; "" where it does not say."""
        ...


class KnownMasklets:
    """Masklets that are there already: an engine's, a person's, or those of a file. Of two that overlap the smaller lies in front."""

    def __init__(self, clip: Clip, masklets: Sequence[Masklet]) -> None:
        self._cameras = clip.cameras
        self._masklets: Mapping[int, Masklet] = {masklet.object_id: masklet for masklet in masklets}

    def tracks_in(self, frame_index: int, camera: str) -> NDArray[np.int32]:
        size = self._cameras[camera]
        tracks = np.zeros((size.height_px, size.width_px), dtype=np.int32)
        shown = []
        for object_id, masklet in self._masklets.items():
            masks = masklet.masks.get(frame_index)
            if masks is not None and camera in masks.camera_masks and masks.camera_masks[camera].any():
                shown.append((object_id, masks.camera_masks[camera]))
        for object_id, mask in sorted(shown, key=lambda item: -int(item[1].sum())):
            tracks[mask] = object_id
        return tracks

    def label_of(self, camera: str, track: int) -> str:
        return self._masklets[track].label
