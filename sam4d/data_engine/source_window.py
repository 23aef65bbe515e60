"""A window of a clip asks for the image masklets of the whole clip."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sam4d.data_engine.masklet_source import MaskletSource


@dataclass(frozen=True, eq=False)
class SourceWindow:
    """A `MaskletSource` whose frame 0 is the other one's `first_frame`; tracks keep their numbers."""

    source: MaskletSource
    first_frame: int

    def tracks_in(self, frame_index: int, camera: str) -> NDArray[np.int32]:
        """int32 (H, W), 0 for none."""
        return self.source.tracks_in(self.first_frame + frame_index, camera)

    def label_of(self, camera: str, track: int) -> str:
        return self.source.label_of(camera, track)
