"""What a labelled cuboid says about a sweep: the points that are the object, and those that count neither way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sam4d.geometric.scene import FrameScene, prepare_frame
from sam4d.geometry import BoolArray
from sam4d.structures import Camera, Clip, Cuboid, LabelledCuboid

Labels: TypeAlias = Sequence[Sequence[LabelledCuboid] | None]
"""One entry per frame of a clip, None where nobody labelled."""

FEWEST_POINTS = 30
MARGIN_M = 0.05
LOWEST_M = 0.2


@dataclass(frozen=True, eq=False)
class PointTruth:
    """An object's points, bool (N,), and those that count neither way, bool (N,)."""

    mask: BoolArray
    left_out: BoolArray

    @classmethod
    def of(cls, cuboid: Cuboid, points_m: NDArray[np.floating]) -> PointTruth:
        """Of a cuboid in a sweep (N, 3)."""
        inside = cuboid.contains(points_m, MARGIN_M)
        with np.errstate(invalid="ignore"):
            high = points_m[:, 2] > cuboid.center_m[2] - cuboid.size_lwh_m[2] / 2 + LOWEST_M
        return cls(inside & high, inside & ~high)

    def iou(self, mask: BoolArray) -> float:
        """Of an answer, bool (N,); 1 where both are empty."""
        return mask_iou(mask & ~self.left_out, self.mask)


@dataclass(frozen=True, eq=False)
class LabelledObject:
    """One labelled cuboid on one frame. distance_m from the LiDAR, seen from above."""

    track_id: str
    label: str
    frame_index: int
    cuboid: Cuboid
    truth: PointTruth

    @property
    def point_count(self) -> int:
        return int(self.truth.mask.sum())

    @property
    def distance_m(self) -> float:
        return float(np.hypot(*self.cuboid.center_m[:2]))


def labelled_objects(scene: FrameScene, labels: Labels, fewest_points: int = FEWEST_POINTS) -> tuple[LabelledObject, ...]:
    """The objects of a frame that have points enough, in the labels' order."""
    found = []
    for labelled in labels[scene.frame_index] or ():
        truth = PointTruth.of(labelled.cuboid, scene.points_m)
        truth = PointTruth(truth.mask & scene.valid, truth.left_out)
        if truth.mask.sum() >= fewest_points:
            found.append(LabelledObject(labelled.track_id, labelled.label, scene.frame_index, labelled.cuboid, truth))
    return tuple(found)


def labelled_scenes(clip: Clip, labels: Labels) -> Iterator[FrameScene]:
    """The frames that somebody labelled, prepared one after the other."""
    for frame_index, cuboids in enumerate(labels):
        if cuboids is not None:
            yield prepare_frame(clip, frame_index)


def mask_iou(a: BoolArray, b: BoolArray) -> float:
    """Of two masks of one shape; 1 where both are empty."""
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 1.0


def point_near_median(points_m: NDArray[np.floating], mask: BoolArray) -> int:
    """The row of the masked point nearest to the masked points' median. The mask holds at least one."""
    rows = np.flatnonzero(mask)
    chosen = points_m[rows].astype(np.float64)
    return int(rows[((chosen - np.median(chosen, axis=0)) ** 2).sum(axis=1).argmin()])


def camera_that_sees(scene: FrameScene, clip: Clip, row: int, truth: BoolArray) -> Camera | None:
    """Of the cameras that see the point, the one that sees most of the truth, bool (N,); None where no camera sees it."""
    views = {name: scene.view(clip.cameras[name]) for name in scene.cameras}
    seen = {name: int((view.visible & truth).sum()) for name, view in views.items() if view.visible[row]}
    return clip.cameras[max(seen, key=lambda name: seen[name])] if seen else None
