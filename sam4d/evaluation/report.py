"""The whole protocol on one recording, and its figures as tables."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

import numpy as np

from sam4d.evaluation.boxes import CuboidError
from sam4d.evaluation.clicks import CLICKS, ENOUGH_IOU, MOST_CLICKS, ClickResult, Progress, evaluate_boxes, evaluate_clicks
from sam4d.evaluation.images import ImageResult, evaluate_images
from sam4d.evaluation.proposals import ProposalResult, ProposalsOnFrame, evaluate_proposals
from sam4d.evaluation.tables import Column, Row, Table, mean_of, median_of, tabulate
from sam4d.evaluation.tracks import CuboidResult, TrackResult, evaluate_tracks
from sam4d.evaluation.truth import Labels
from sam4d.object_kinds import is_vehicle
from sam4d.predictor import Predictor
from sam4d.structures import Clip, Masklet

Part: TypeAlias = Literal["clicks", "camera-clicks", "camera-boxes", "tracks", "proposals", "camera-masks"]
PARTS: tuple[Part, ...] = get_args(Part)

FEWEST_POINTS_OF_VEHICLES = 50
"""Fitted cuboids of vehicles are summed up from here on."""


@dataclass(frozen=True)
class Report:
    """Everything that was measured on one recording with one engine. Parts that were not asked for, or not possible, are empty."""

    recording: str
    engine: str
    clicks: tuple[ClickResult, ...] = ()
    camera_clicks: tuple[ClickResult, ...] = ()
    camera_boxes: tuple[ClickResult, ...] = ()
    tracks: tuple[TrackResult, ...] = ()
    cuboids: tuple[CuboidResult, ...] = ()
    proposals: tuple[ProposalResult, ...] = ()
    proposals_on_frames: tuple[ProposalsOnFrame, ...] = ()
    camera_masks: tuple[ImageResult, ...] = ()
    camera_masks_from_cameras: tuple[ImageResult, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not self.tables()

    @property
    def vehicle_cuboids(self) -> tuple[CuboidResult, ...]:
        return tuple(r for r in self.cuboids if is_vehicle(r.label) and r.point_count >= FEWEST_POINTS_OF_VEHICLES)

    def tables(self) -> tuple[Table, ...]:
        """One for every part that has results."""
        later = [track for track in self.tracks if track.later_iou]
        tables = [
            tabulate("clicks in the LiDAR", "objects", _CLICK_COLUMNS, self.clicks),
            tabulate("clicks in a camera", "objects", _CLICK_COLUMNS, self.camera_clicks),
            tabulate("boxes in a camera", "objects", _BOX_COLUMNS, self.camera_boxes),
            tabulate("tracks from one click", "tracks", _TRACK_COLUMNS, later),
            tabulate("cuboids from one click", "cuboids", _CUBOID_COLUMNS, self.cuboids),
            tabulate(f"of these, vehicles of {FEWEST_POINTS_OF_VEHICLES} points or more", "cuboids", _CUBOID_COLUMNS, self.vehicle_cuboids),
            tabulate("objects found without a click", "objects", _PROPOSAL_COLUMNS, self.proposals),
            tabulate("camera masks, click in the LiDAR", "masks", _IMAGE_COLUMNS, self.camera_masks),
            tabulate("camera masks, click in the camera", "masks", _IMAGE_COLUMNS, self.camera_masks_from_cameras),
        ]
        return tuple(table for table in tables if table.rows)

    @property
    def proposals_per_frame(self) -> float | None:
        return mean_of([frame.count for frame in self.proposals_on_frames])


def evaluate(
    predictor: Predictor,
    clip: Clip,
    labels: Labels,
    exact: Sequence[Masklet] = (),
    *,
    parts: Collection[Part] = PARTS,
    on_part: Callable[[str, int, int], None] | None = None,
) -> Report:
    """Measure an engine on one labelled recording.

    Args:
        labels: cuboids, one entry per frame.
        exact: masklets whose camera masks are exact; without any, camera masks are not measured.
        on_part: told (what is being done, done, all).
    """

    def progress(name: str) -> Progress | None:
        return None if on_part is None else lambda done, total: on_part(name, done, total)

    report = Report(clip.name, predictor.version)
    has_images = any(frame.load_images for frame in clip.frames)
    if "clicks" in parts:
        report = replace(report, clicks=evaluate_clicks(predictor, clip, labels, on_object=progress("clicks in the LiDAR")))
    if "camera-clicks" in parts and has_images:
        clicks = evaluate_clicks(predictor, clip, labels, where="camera", on_object=progress("clicks in cameras"))
        report = replace(report, camera_clicks=clicks)
    if "camera-boxes" in parts and has_images:
        report = replace(report, camera_boxes=evaluate_boxes(predictor, clip, labels, on_object=progress("boxes in cameras")))
    if "tracks" in parts:
        tracks, cuboids = evaluate_tracks(predictor, clip, labels, on_object=progress("tracks and cuboids"))
        report = replace(report, tracks=tracks, cuboids=cuboids)
    if "proposals" in parts:
        proposals, counts = evaluate_proposals(predictor, clip, labels, on_step=progress("objects without a click"))
        report = replace(report, proposals=proposals, proposals_on_frames=counts)
    if "camera-masks" in parts and has_images and exact:
        masks = evaluate_images(predictor, clip, exact, on_object=progress("camera masks, clicks in the LiDAR"))
        from_cameras = evaluate_images(predictor, clip, exact, where="camera", on_object=progress("camera masks, clicks in cameras"))
        report = replace(report, camera_masks=masks, camera_masks_from_cameras=from_cameras)
    return report


def headlines(reports: Sequence[Report]) -> Table:
    """One row per recording: the figures that say most."""
    names = tuple(name for name, _, _ in _HEADLINES)
    rows = [Row(report.recording, len(report.clicks), tuple(figure(report) for _, _, figure in _HEADLINES)) for report in reports]
    shown = [k for k in range(len(names)) if any(row.figures[k] is not None for row in rows)]
    return Table(
        "recording",
        "objects",
        tuple(names[k] for k in shown),
        tuple(_HEADLINES[k][1] for k in shown),
        tuple(replace(row, figures=tuple(row.figures[k] for k in shown)) for row in rows),
    )


def _iou_after(count: int) -> Callable[[Sequence[ClickResult]], float | None]:
    return lambda results: mean_of([result.iou_after[count - 1] for result in results if len(result.iou_after) >= count])


def _clicks_needed(results: Sequence[ClickResult]) -> float | None:
    """Where they did not suffice, the most that were made."""
    return mean_of([result.clicks_needed() or MOST_CLICKS for result in results])


def _share_clicked(results: Sequence[ClickResult]) -> float | None:
    return mean_of([float(result.clicks_needed() is not None) for result in results])


def _seconds(results: Sequence[ClickResult]) -> float | None:
    return mean_of([second for result in results for second in result.seconds])


def _error(of: Callable[[CuboidError], float], how: Callable[[Sequence[float]], float | None]) -> _CuboidFigure:
    return lambda results: how([of(result.error) for result in results if result.error is not None])


def _overlap(of: Callable[[CuboidError], float]) -> _CuboidFigure:
    """A cuboid that was not fitted overlaps nothing."""
    return lambda results: mean_of([of(result.error) if result.error is not None else 0.0 for result in results])


def _labels_correct(results: Sequence[ProposalResult]) -> float | None:
    return mean_of([float(result.label_correct) for result in results if result.label_correct is not None])


_CuboidFigure: TypeAlias = Callable[[Sequence[CuboidResult]], float | None]

_CLICK_COLUMNS: tuple[Column[ClickResult], ...] = (
    *(Column(f"IoU, {count} click{'s' if count > 1 else ''}", _iou_after(count)) for count in CLICKS),
    Column(f"clicks for {ENOUGH_IOU:g}", _clicks_needed, 1),
    Column(f"share that reach {ENOUGH_IOU:g}", _share_clicked, 2),
    Column("s per click", _seconds),
)
_BOX_COLUMNS: tuple[Column[ClickResult], ...] = (Column("IoU", _iou_after(1)), Column("s per box", _seconds))
_TRACK_COLUMNS: tuple[Column[TrackResult], ...] = (
    Column("mean IoU", lambda results: mean_of([result.mean_iou for result in results])),
    Column("without the clicked frame", lambda results: mean_of([float(np.mean(result.later_iou)) for result in results])),
    Column("still tracked", lambda results: mean_of([float(result.still_tracked) for result in results]), 2),
    Column("id switches", lambda results: float(sum(result.id_switches for result in results)), 0),
    Column("s per frame", lambda results: mean_of([second for result in results for second in result.seconds])),
)
_CUBOID_COLUMNS: tuple[Column[CuboidResult], ...] = (
    Column("bird's-eye IoU", _overlap(lambda error: error.birds_eye_iou)),
    Column("3D IoU", _overlap(lambda error: error.iou)),
    Column("centre, median m", _error(lambda error: error.center_m, median_of), 2),
    Column("yaw, median degrees", _error(lambda error: float(np.degrees(error.yaw_rad)), median_of), 1),
    Column("height, mean m", _error(lambda error: error.height_m, mean_of), 2),
)
_PROPOSAL_COLUMNS: tuple[Column[ProposalResult], ...] = (
    Column("recall", lambda results: mean_of([float(result.found) for result in results])),
    Column("labels correct", _labels_correct, 2),
)
_IMAGE_COLUMNS: tuple[Column[ImageResult], ...] = (Column("IoU", lambda results: mean_of([result.iou for result in results])),)

_HEADLINES: tuple[tuple[str, int, Callable[[Report], float | None]], ...] = (
    *((f"{column.name}", column.decimals, lambda report, column=column: column.figure(report.clicks)) for column in _CLICK_COLUMNS[:4]),
    ("1 click in a camera", 3, lambda report: _iou_after(1)(report.camera_clicks)),
    ("box in a camera", 3, lambda report: _iou_after(1)(report.camera_boxes)),
    ("track IoU", 3, lambda report: mean_of([track.mean_iou for track in report.tracks if track.later_iou])),
    ("still tracked", 2, lambda report: mean_of([float(track.still_tracked) for track in report.tracks if track.later_iou])),
    ("vehicles' bird's-eye IoU", 3, lambda report: _CUBOID_COLUMNS[0].figure(report.vehicle_cuboids)),
    ("yaw, median degrees", 1, lambda report: _CUBOID_COLUMNS[3].figure(report.vehicle_cuboids)),
    ("recall without a click", 3, lambda report: _PROPOSAL_COLUMNS[0].figure(report.proposals)),
    ("proposals per frame", 0, lambda report: report.proposals_per_frame),
    ("camera masks", 3, lambda report: _IMAGE_COLUMNS[0].figure(report.camera_masks)),
    ("s per click", 3, lambda report: _seconds(report.clicks)),
    ("s per tracked frame", 3, lambda report: mean_of([second for track in report.tracks for second in track.seconds])),
)
