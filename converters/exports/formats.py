"""A clip's objects in the layout that somebody trains on, and what of them that layout cannot hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

from converters.exports.coco import coco_files
from converters.exports.cvat_datumaro import cvat_datumaro_files
from converters.exports.cvat_tracklets import cvat_tracklet_files
from converters.exports.kitti_tracking import kitti_object_files, kitti_tracking_files
from converters.exports.nuscenes import nuscenes_files
from converters.exports.open_label import open_label_files
from converters.exports.segments import segments_files
from converters.exports.semantic_kitti import semantic_kitti_files
from converters.exports.sequence_folder import label_files
from converters.exports.supervisely import supervisely_files
from converters.exports.waymo_4dseg import waymo_4dseg_label_files
from converters.exports.whole_output import FileContent, file_name
from converters.sequences.json_field import JsonField
from sam4d.structures import Clip, Masklet

LabelFormat: TypeAlias = Literal[
    "sequence",
    "kitti-tracking",
    "kitti-object",
    "semantic-kitti",
    "nuscenes",
    "coco",
    "openlabel",
    "waymo-4dseg",
    "cvat-datumaro",
    "cvat-kitti-raw",
    "supervisely",
    "segments",
]
LABEL_FORMATS: tuple[LabelFormat, ...] = get_args(LabelFormat)

SIDECAR = "sidecar"
"""Folder for what a format cannot hold: the labels as the sequence folder has them, which is everything."""


@dataclass(frozen=True)
class FormattedLabels:
    """{relative path: content}, and one line on what the format cannot hold, None where it holds everything."""

    files: Mapping[str, FileContent]
    lost: str | None


@dataclass(frozen=True)
class _Format:
    """What makes the files of a clip's labels, and what the format cannot hold (the end of a sentence), None where it holds everything."""

    files: Callable[[Clip, Sequence[Masklet]], Mapping[str, FileContent]]
    lost: str | None


def _sequence_files(clip: Clip, masklets: Sequence[Masklet]) -> Mapping[str, FileContent]:
    return {f"{file_name(clip.name)}/{path}": data for path, data in label_files(clip, masklets).items()}


_FORMATS: Mapping[LabelFormat, _Format] = {
    "sequence": _Format(_sequence_files, None),
    "kitti-tracking": _Format(kitti_tracking_files, "masks, points and scores"),
    "kitti-object": _Format(kitti_object_files, "which object is which over the frames, masks, points and scores"),
    "semantic-kitti": _Format(semantic_kitti_files, "camera masks, cuboids, scores, and all but one owner of a point"),
    "nuscenes": _Format(nuscenes_files, "camera masks, scores, lens distortion, and all but one owner of a point"),
    "coco": _Format(coco_files, "points and cuboids"),
    "openlabel": _Format(open_label_files, None),
    "waymo-4dseg": _Format(waymo_4dseg_label_files, "cuboids"),
    "cvat-datumaro": _Format(cvat_datumaro_files, "masks, points and scores"),
    "cvat-kitti-raw": _Format(cvat_tracklet_files, "masks, points, scores, and which object is which over gaps and changes of size"),
    "supervisely": _Format(supervisely_files, "scores"),
    "segments": _Format(segments_files, "scores, and all but one owner of a point or pixel"),
}


def loss_note(label_format: LabelFormat, lost: str, output: str) -> str:
    """What a person is told of it."""
    return f"note: {label_format} cannot hold {lost}; these are in {output}/{SIDECAR}"


def labels_as(
    label_format: LabelFormat, clip: Clip, masklets: Sequence[Masklet], label_map: Mapping[str, str | None] | None = None
) -> FormattedLabels:
    """The labels of one clip.

    Args:
        label_map: their name for each of our labels; None leaves objects of this label out. Labels that it does not have stay as they are.

    Raises:
        InputError: what the format's own function says.
    """
    masklets = relabelled(masklets, label_map)
    made = _FORMATS[label_format]
    files = made.files(clip, masklets)
    lost = made.lost
    if lost is not None:
        files = {**files, **{f"{SIDECAR}/{path}": data for path, data in _sequence_files(clip, masklets).items()}}
    return FormattedLabels(files, lost)


def relabelled(masklets: Sequence[Masklet], label_map: Mapping[str, str | None] | None) -> tuple[Masklet, ...]:
    """The masklets under the names of a label map, see `labels_as`; as they are where there is no map."""
    renamed = [(masklet, (label_map or {}).get(masklet.label, masklet.label)) for masklet in masklets]
    return tuple(replace(masklet, label=label) for masklet, label in renamed if label is not None)


def parse_label_map(data: bytes, where: str) -> dict[str, str | None]:
    """A JSON object {our label: their name, or null to leave such objects out}. Raises InputError where it is none."""
    root = JsonField.parse(data, where)
    return {label: None if name.value is None else name.text() for label, name in root.items()}
