"""How good an engine is on labelled drives: clicks are simulated on labelled objects and what comes back is compared with the labels.

The protocol stands in docs/evaluation.md.
"""

from sam4d.evaluation.boxes import CuboidError, birds_eye_iou, volume_iou, yaw_difference
from sam4d.evaluation.clicks import ClickResult, evaluate_boxes, evaluate_clicks, next_click
from sam4d.evaluation.images import ImageResult, evaluate_images
from sam4d.evaluation.pictures import draw_worst
from sam4d.evaluation.proposals import ProposalResult, ProposalsOnFrame, evaluate_proposals
from sam4d.evaluation.report import PARTS, Part, Report, evaluate, headlines
from sam4d.evaluation.tables import Table
from sam4d.evaluation.tracks import CuboidResult, TrackResult, evaluate_tracks
from sam4d.evaluation.truth import LabelledObject, Labels, PointTruth, mask_iou, point_near_median

__all__ = [
    "PARTS",
    "ClickResult",
    "CuboidError",
    "CuboidResult",
    "ImageResult",
    "LabelledObject",
    "Labels",
    "Part",
    "PointTruth",
    "ProposalResult",
    "ProposalsOnFrame",
    "Report",
    "Table",
    "TrackResult",
    "birds_eye_iou",
    "draw_worst",
    "evaluate",
    "evaluate_boxes",
    "evaluate_clicks",
    "evaluate_images",
    "evaluate_proposals",
    "evaluate_tracks",
    "headlines",
    "mask_iou",
    "next_click",
    "point_near_median",
    "volume_iou",
    "yaw_difference",
]
