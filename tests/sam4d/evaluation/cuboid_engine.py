"""An engine whose quality is known: it answers with the points in a labelled cuboid, or with a shift, with some of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from sam4d.evaluation import Labels, PointTruth
from sam4d.geometry import BoolArray
from sam4d.simulation import SyntheticDrive
from sam4d.structures import LIDAR, Clip, FrameMasks, LabelledCuboid, MaskPrompt, ObjectMasks, PointPrompt, Prompt


def labels_of(drive: SyntheticDrive) -> Labels:
    return [
        tuple(LabelledCuboid(str(m.object_id), m.label, m.cuboids[k]) for m in drive.masklets if k in m.cuboids)
        for k in range(len(drive.clip))
    ]


@dataclass
class CuboidSession:
    """Answers with the points in the labelled cuboid nearest to the first click: perfect, or with a shift imperfect."""

    clip: Clip
    labels: Labels
    shift_m: float = 0.0
    asked: dict[int, LabelledCuboid] = field(default_factory=dict)

    @property
    def object_ids(self) -> tuple[int, ...]:
        return tuple(self.asked)

    def add_prompt(self, prompt: Prompt | Sequence[Prompt], *, replace: bool = False) -> ObjectMasks:
        first = prompt[0] if isinstance(prompt, Sequence) else prompt
        assert isinstance(first, PointPrompt)
        place = np.asarray(first.coordinates)[0]
        cuboids = self.labels[first.frame_index] or ()
        nearest = min(cuboids, key=lambda c: float(np.linalg.norm(np.array(c.cuboid.center_m) - place) - max(c.cuboid.size_lwh_m) / 2))
        self.asked[first.object_id] = nearest
        return self._answer(first.object_id, first.frame_index)

    def propagate(
        self, start: int = 0, stop: int | None = None, *, reverse: bool = False, object_ids: Collection[int] | None = None
    ) -> Iterator[FrameMasks]:
        for k in range(start, len(self.clip)):
            yield FrameMasks(k, {object_id: self._answer(object_id, k) for object_id in self.asked})

    def remove_object(self, object_id: int) -> None:
        del self.asked[object_id]

    def prompts_for(self, object_id: int, frame_index: int, lidar_mask: BoolArray) -> tuple[Prompt, ...]:
        return (MaskPrompt(object_id, frame_index, LIDAR, lidar_mask),)

    def _answer(self, object_id: int, frame_index: int) -> ObjectMasks:
        points_m = self.clip.frames[frame_index].load_sweep().points_m
        mask: BoolArray = np.zeros(len(points_m), dtype=np.bool_)
        for labelled in self.labels[frame_index] or ():
            if labelled.track_id == self.asked[object_id].track_id:
                mask = PointTruth.of(labelled.cuboid, points_m + np.float32(self.shift_m)).mask
        return ObjectMasks(object_id, frame_index, {}, mask, 1.0)


@dataclass(frozen=True)
class CuboidPredictor:
    labels: Labels
    shift_m: float = 0.0

    @property
    def version(self) -> str:
        return "cuboids"

    def open(self, clip: Clip) -> CuboidSession:
        return CuboidSession(clip, self.labels, self.shift_m)
