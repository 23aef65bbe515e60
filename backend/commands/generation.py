"""generate: a whole drive labelled without a click."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from backend.commands.output import ProgressBars, complain, say
from backend.commands.projects import read_label_map
from backend.data_engine import SHARED_FRAMES, DataEngine
from backend.engine import predictor_of
from backend.kept_work import WorkFolder, digest_of, digest_of_masklets
from backend.projects import DEFAULT_LABELS
from backend.settings import Settings
from converters.exports import FileContent, labels_as, write_whole_files
from converters.exports.formats import loss_note
from converters.sequences import open_sequence, read_labels
from sam4d.data_engine.masklet_source import KnownMasklets
from sam4d.structures import InputError


def run_generate(arguments: argparse.Namespace, settings: Settings) -> int:
    label_map = read_label_map(arguments.label_map)
    labels = tuple(label.strip() for label in arguments.labels.split(",")) if arguments.labels is not None else DEFAULT_LABELS
    engine = DataEngine(predictor_of(settings), arguments.per_frame)
    clip = open_sequence(arguments.sequence)
    source, source_digest = None, ""
    if arguments.with_masks:
        masklets = read_labels(arguments.sequence, clip)
        if not any(mask.any() for masklet in masklets for masks in masklet.masks.values() for mask in masks.camera_masks.values()):
            raise InputError(arguments.sequence, "labels with masks in its images (--with-masks)", "none")
        source, source_digest = KnownMasklets(clip, masklets), digest_of_masklets(masklets, clip)
    output = Path(arguments.output)
    works = WorkFolder(output.resolve().with_name(f".{output.resolve().name}.work"))
    with ProgressBars() as progress:
        made_of = digest_of(clip, engine.description, *labels, source_digest, progress=partial(progress, "reading the drive"))
        work = works.within(made_of[:16])
        # Before the work: what stands in its way afterwards is mostly there already.
        nothing = labels_as(arguments.format, clip, ())
        _require_place(nothing.files, output, work, overwrite=arguments.overwrite)
        try:
            found = engine.label(clip, labels, work, source, progress)
            written = labels_as(arguments.format, clip, found, label_map)
            _write(written.files, output, work, overwrite=arguments.overwrite)
        except KeyboardInterrupt:
            if work.is_begun:
                complain(f"{works.folder} holds what was done; the same command goes on with it")
            raise
    works.remove()
    parts = len(engine.parts(clip))
    joined = f" (worked on in {parts} parts that share {SHARED_FRAMES} frames)" if parts > 1 else ""
    say(f"{clip.name}: {len(clip)} frames, {len(found)} objects: {output}{joined}")
    if written.lost is not None:
        say(loss_note(arguments.format, written.lost, str(output)))
    return 0


def _require_place(files: Mapping[str, FileContent], output: Path, work: WorkFolder, *, overwrite: bool) -> None:
    """Raises InputError where a file is in the way that no earlier run of this work wrote."""
    claimed = work.claimed
    for name in () if overwrite else files:
        if (output / name).exists() and (output / name).resolve() not in claimed:
            raise InputError(str(output / name), "nothing (or permission to overwrite)", "a file")


def _write(files: Mapping[str, FileContent], output: Path, work: WorkFolder, *, overwrite: bool) -> None:
    _require_place(files, output, work, overwrite=overwrite)
    paths = {output / name: data for name, data in files.items()}
    for path in paths:
        # Of a run that was killed while it wrote.
        for partial_file in path.parent.iterdir() if path.resolve() in work.claimed and path.parent.is_dir() else ():
            if partial_file.name.startswith(f".{path.name}.") and partial_file.suffix == ".partial":
                partial_file.unlink(missing_ok=True)
    work.claim(path.resolve() for path in paths)
    write_whole_files(paths, overwrite=True)
