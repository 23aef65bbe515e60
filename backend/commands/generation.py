"""generate: a whole drive labelled without a click."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from backend.commands.output import ProgressBars, say
from backend.commands.projects import read_label_map
from backend.engine import predictor_of
from backend.projects import DEFAULT_LABELS
from backend.settings import Settings
from converters.exports import labels_as, read_coco, read_waymo_4dseg_label_files, write_whole_files
from converters.exports.formats import loss_note
from converters.sequences import open_sequence, read_labels
from sam4d.data_engine.generate import Progress, generate_masklets
from sam4d.data_engine.masklet_source import KnownMasklets, MaskletSource
from sam4d.structures import Clip, InputError, Masklet


def run_generate(arguments: argparse.Namespace, settings: Settings) -> int:
    label_map = read_label_map(arguments.label_map)
    labels = tuple(label.strip() for label in arguments.labels.split(",")) if arguments.labels is not None else DEFAULT_LABELS
    predictor = predictor_of(settings)
    clip = open_sequence(arguments.sequence)
    with ProgressBars() as progress:
        source = _masklet_source(arguments, settings, clip, progress)
        found = generate_masklets(clip, predictor, labels, source, progress)
    written = labels_as(arguments.format, clip, found, label_map)
    output = Path(arguments.output)
    write_whole_files({output / path: data for path, data in written.files.items()}, overwrite=arguments.overwrite)
    say(f"{clip.name}: {len(clip)} frames, {len(found)} objects: {output}")
    if written.lost is not None:
        say(loss_note(arguments.format, written.lost, str(output)))
    return 0


def _masklet_source(arguments: argparse.Namespace, settings: Settings, clip: Clip, progress: Progress) -> MaskletSource | None:
    """The image masklets to start from; None for those of the engine."""
    if arguments.vfm is not None:
        from sam4d.data_engine.sam2_masklets import segment_images
        from sam4d.data_engine.sam2_video import Sam2Video

        network = Sam2Video.load(arguments.vfm, settings.device)
        return segment_images(clip, network, progress=lambda done, total: progress("looking for masks", done, total))
    if arguments.masks:
        given = [masklet for path in arguments.masks for masklet in _read_masks(path, clip)]
        where, option = " ".join(map(str, arguments.masks)), "--masks"
    elif arguments.with_masks:
        given = list(read_labels(arguments.sequence, clip))
        where, option = arguments.sequence, "--with-masks"
    else:
        return None
    if not any(mask.any() for masklet in given for masks in masklet.masks.values() for mask in masks.camera_masks.values()):
        raise InputError(where, f"labels with masks in its images ({option})", "none")
    # Numbers of several files may be the same, and 0 means no track.
    return KnownMasklets(clip, [replace(masklet, object_id=number) for number, masklet in enumerate(given, start=1)])


def _read_masks(path: Path, clip: Clip) -> Sequence[Masklet]:
    return read_waymo_4dseg_label_files(path, clip) if path.is_dir() else read_coco(path, clip)
