"""generate: a whole drive labelled without a click."""

from __future__ import annotations

import argparse
from pathlib import Path

from backend.commands.output import ProgressBars, say
from backend.commands.projects import read_label_map
from backend.engine import predictor_of
from backend.projects import DEFAULT_LABELS
from backend.settings import Settings
from converters.exports import labels_as, write_whole_files
from converters.exports.formats import loss_note
from converters.sequences import open_sequence, read_labels
from sam4d.data_engine.generate import generate_masklets
from sam4d.data_engine.masklet_source import KnownMasklets
from sam4d.structures import InputError


def run_generate(arguments: argparse.Namespace, settings: Settings) -> int:
    label_map = read_label_map(arguments.label_map)
    labels = tuple(label.strip() for label in arguments.labels.split(",")) if arguments.labels is not None else DEFAULT_LABELS
    predictor = predictor_of(settings)
    clip = open_sequence(arguments.sequence)
    source = None
    if arguments.with_masks:
        masklets = read_labels(arguments.sequence, clip)
        if not any(mask.any() for masklet in masklets for masks in masklet.masks.values() for mask in masks.camera_masks.values()):
            raise InputError(arguments.sequence, "labels with masks in its images (--with-masks)", "none")
        source = KnownMasklets(clip, masklets)
    with ProgressBars() as progress:
        found = generate_masklets(clip, predictor, labels, source, progress)
    written = labels_as(arguments.format, clip, found, label_map)
    output = Path(arguments.output)
    write_whole_files({output / path: data for path, data in written.files.items()}, overwrite=arguments.overwrite)
    say(f"{clip.name}: {len(clip)} frames, {len(found)} objects: {output}")
    if written.lost is not None:
        say(loss_note(arguments.format, written.lost, str(output)))
    return 0
