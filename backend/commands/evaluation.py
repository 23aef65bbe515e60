"""evaluate: how good an engine is on labelled drives."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from backend.commands.output import ProgressBars, complain, say, say_json
from backend.engine import predictor_of
from backend.settings import Settings
from converters.exports.whole_output import write_whole_files
from converters.sequences import open_sequence, read_cuboid_labels, read_masklets
from converters.sequences.image_file import encode_png
from converters.sequences.labels import CUBOIDS_FILE, MASKS_FILE
from sam4d.evaluation import PARTS, Labels, Report, draw_worst, evaluate, headlines
from sam4d.predictor import Predictor
from sam4d.structures import Clip, InputError, Masklet

PICTURES = 10


def run_evaluate(arguments: argparse.Namespace, settings: Settings) -> int:
    # All of them before the first is measured: that takes minutes.
    drives = [_open(sequence) for sequence in arguments.sequences]
    predictor = predictor_of(settings)
    reports: list[Report] = []
    with ProgressBars(hidden=arguments.json) as progress:
        for clip, labels, exact in drives:
            report = evaluate(
                predictor,
                clip,
                labels,
                exact,
                parts=arguments.parts or PARTS,
                on_part=lambda part, done, total, name=clip.name: progress(f"{name}: {part}", done, total),  # type: ignore[misc]
            )
            if report.is_empty:
                complain(f"sam4d: {clip.name}: no labelled objects with points enough to measure anything on")
            reports.append(report)
    if all(report.is_empty for report in reports):
        raise InputError(", ".join(arguments.sequences), "labelled objects with points enough", "none")
    if arguments.json:
        say_json({"engine": predictor.version, "recordings": [_document(report) for report in reports]})
    else:
        _say_tables(predictor, reports)
    if arguments.pictures is not None:
        pictures = _worst(predictor, drives, reports)
        write_whole_files({arguments.pictures / name: data for name, data in pictures.items()}, overwrite=True)
        complain(f"sam4d: the {len(pictures)} answers that fit worst: {arguments.pictures}")
    return 0


def _open(sequence: str) -> tuple[Clip, Labels, tuple[Masklet, ...]]:
    clip = open_sequence(sequence)
    folder = Path(sequence) if Path(sequence).is_dir() else Path(sequence).parent
    if not (folder / CUBOIDS_FILE).is_file():
        raise InputError(sequence, f"a drive with {CUBOIDS_FILE}", "none")
    labels = read_cuboid_labels(sequence)
    if len(labels) != len(clip):
        raise InputError(str(folder / CUBOIDS_FILE), f"{len(clip)} frames as in the sequence", str(len(labels)))
    return clip, labels, read_masklets(sequence, clip) if (folder / MASKS_FILE).is_file() else ()


def _say_tables(predictor: Predictor, reports: Sequence[Report]) -> None:
    say(f"{predictor.version}\n\n{headlines(reports).markdown()}")
    for report in reports:
        for table in report.tables():
            say(f"\n{report.recording}\n\n{table.markdown()}")


def _document(report: Report) -> dict[str, object]:
    """Every single result, and the tables."""
    return {**asdict(report), "tables": [asdict(table) for table in report.tables()]}


def _worst(predictor: Predictor, drives: Sequence[tuple[Clip, Labels, tuple[Masklet, ...]]], reports: Sequence[Report]) -> dict[str, bytes]:
    """{file name: PNG}, the worst of all recordings together."""
    rated = sorted((result.iou_after[0], k) for k, report in enumerate(reports) for result in report.clicks)[:PICTURES]
    pictures: dict[str, bytes] = {}
    for k, (clip, labels, _) in enumerate(drives):
        ranks = [rank for rank, (_, of) in enumerate(rated, start=1) if of == k]
        for rank, picture in zip(ranks, draw_worst(predictor, clip, labels, reports[k].clicks, len(ranks)), strict=True):
            pictures[f"{rank:02d}_{clip.name}.png"] = encode_png(picture)
    return pictures
