"""Exact image masks, worn as those of a segmenter are: some missing, the others too small, too large or beside the object."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from sam4d.simulation.drive import SyntheticDrive


class WornMasklets:
    """A `data_engine.MaskletSource` of a synthetic drive. Each camera numbers its tracks for itself.

    Args:
        missing: share of the masks that are left out.
        worn_px: by how much the others are eroded, dilated or shifted, a third of them each.
    """

    def __init__(self, drive: SyntheticDrive, missing: float = 0.2, worn_px: int = 3, seed: int = 0) -> None:
        self._drive = drive
        self._missing = missing
        self._worn_px = worn_px
        self._seed = seed
        self._cameras = list(drive.clip.cameras)
        self._labels = {masklet.object_id: masklet.label for masklet in drive.masklets}

    def tracks_in(self, frame_index: int, camera: str) -> NDArray[np.int32]:
        """int32 (H, W), 0 for none."""
        model = self._drive.clip.cameras[camera]
        random = np.random.default_rng([self._seed, frame_index, self._cameras.index(camera)])
        tracks = np.zeros((model.height_px, model.width_px), dtype=np.int32)
        kernel = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
        for masklet in self._drive.masklets:
            masks = masklet.masks.get(frame_index)
            exact = None if masks is None else masks.camera_masks.get(camera)
            if exact is None or not exact.any():
                continue
            mask = exact.astype(np.uint8)
            if random.random() < self._missing:
                continue
            wear = random.integers(3)
            if wear == 0:
                mask = np.asarray(cv2.erode(mask, kernel, iterations=self._worn_px), dtype=np.uint8)
            elif wear == 1:
                mask = np.asarray(cv2.dilate(mask, kernel, iterations=self._worn_px), dtype=np.uint8)
            else:
                by = tuple(int(step) for step in random.choice([-self._worn_px, self._worn_px], 2))
                mask = np.roll(mask, by, (0, 1))
            tracks[mask > 0] = self._track(camera, masklet.object_id)
        return tracks

    def label_of(self, camera: str, track: int) -> str:
        return self._labels[self.object_of(camera, track)]

    def object_of(self, camera: str, track: int) -> int:
        """The object of the drive that a track shows."""
        return track - 1000 * (self._cameras.index(camera) + 1)

    def _track(self, camera: str, object_id: int) -> int:
        return object_id + 1000 * (self._cameras.index(camera) + 1)
