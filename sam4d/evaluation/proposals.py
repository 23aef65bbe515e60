"""Objects found without a click against the labelled ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sam4d.evaluation.clicks import Progress
from sam4d.evaluation.truth import LabelledObject, Labels, labelled_objects, labelled_scenes
from sam4d.geometric.predictor import parameters_of
from sam4d.object_kinds import kind_of_label
from sam4d.predictor import Predictor
from sam4d.proposals import propose_masklets
from sam4d.structures import Clip, Masklet

FOUND_IOU = 0.5
FARTHEST_M = 50.0
FEWEST_POINTS_TO_FIND = 50
MOST_PROPOSALS = 150


@dataclass(frozen=True)
class ProposalResult:
    """One labelled object on one frame. iou of the proposal that fits best; label_correct is None where it was not found."""

    track_id: str
    label: str
    frame_index: int
    point_count: int
    distance_m: float
    iou: float
    label_correct: bool | None

    @property
    def found(self) -> bool:
        return self.iou >= FOUND_IOU


@dataclass(frozen=True)
class ProposalsOnFrame:
    """How many proposals a labelled frame shows."""

    frame_index: int
    count: int


def evaluate_proposals(
    predictor: Predictor, clip: Clip, labels: Labels, *, most: int = MOST_PROPOSALS, on_step: Progress | None = None
) -> tuple[tuple[ProposalResult, ...], tuple[ProposalsOnFrame, ...]]:
    """Recall over the labelled objects with points enough near the vehicle.

    A proposal's label is chosen among the drive's own labels; it is correct where both name the same kind of road user.
    """
    known = sorted({labelled.label for cuboids in labels if cuboids is not None for labelled in cuboids})
    if not known:
        return (), ()
    masklets = propose_masklets(predictor.open(clip), known, on_step, most, parameters_of(predictor))
    results: list[ProposalResult] = []
    counts: list[ProposalsOnFrame] = []
    for scene in labelled_scenes(clip, labels):
        shown = [masklet for masklet in masklets if scene.frame_index in masklet.masks]
        counts.append(ProposalsOnFrame(scene.frame_index, len(shown)))
        for labelled in labelled_objects(scene, labels, FEWEST_POINTS_TO_FIND):
            if labelled.distance_m <= FARTHEST_M:
                results.append(_result(labelled, shown))
    return tuple(results), tuple(counts)


def same_kind(label: str, other: str) -> bool:
    """Whether two labels are the same, or name the same kind of road user."""
    kind = kind_of_label(label)
    return label == other or (kind is not None and kind == kind_of_label(other))


def _result(labelled: LabelledObject, shown: Sequence[Masklet]) -> ProposalResult:
    ious = [labelled.truth.iou(masklet.masks[labelled.frame_index].lidar_mask) for masklet in shown]
    best = int(np.argmax(ious)) if ious else None
    iou = ious[best] if best is not None else 0.0
    correct = same_kind(shown[best].label, labelled.label) if best is not None and iou >= FOUND_IOU else None
    return ProposalResult(labelled.track_id, labelled.label, labelled.frame_index, labelled.point_count, labelled.distance_m, iou, correct)
