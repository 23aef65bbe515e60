"""simulate, evaluate and label-config: what needs no Label Studio."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from backend.commands.output import ProgressBars, say, say_json
from backend.engine import predictor_of
from backend.projects import DEFAULT_LABELS
from backend.settings import Settings
from converters.exports import write_sequence
from converters.label_config import build_label_config
from converters.sequences import open_sequence, read_cuboid_labels
from sam4d.evaluation import evaluate_clicks, format_summary, summarise_clicks
from sam4d.simulation import simulate_drive
from sam4d.structures import InputError


def run_simulate(arguments: argparse.Namespace, settings: Settings) -> int:
    drive = simulate_drive(seed=arguments.seed, frame_count=arguments.frames)
    with ProgressBars() as progress:
        write_sequence(
            drive.clip,
            Path(arguments.output),
            masklets=drive.masklets,
            on_frame=lambda done, total: progress("recording", done, total),
        )
    say(f"{len(drive.clip)} frames, {len(drive.clip.cameras)} cameras, {len(drive.masklets)} objects: {arguments.output}")
    return 0


def run_evaluate(arguments: argparse.Namespace, settings: Settings) -> int:
    clip = open_sequence(arguments.sequence)
    labels = read_cuboid_labels(arguments.sequence)
    predictor = predictor_of(settings)
    with ProgressBars(hidden=arguments.json) as progress:
        results = evaluate_clicks(
            predictor, clip, labels, sensor=arguments.sensor, on_object=lambda done, total: progress("clicking", done, total)
        )
    if not results:
        raise InputError(arguments.sequence, "labelled objects with points enough to click on", "none")
    rows = summarise_clicks(results)
    if arguments.json:
        summary = [asdict(row) for row in rows]
        say_json({"engine": predictor.version, "summary": summary, "objects": [asdict(result) for result in results]})
    else:
        say(f"{clip.name}, {predictor.version}\n\n{format_summary(rows)}")
    return 0


def run_label_config(arguments: argparse.Namespace, settings: Settings) -> int:
    labels = [label.strip() for label in arguments.labels.split(",")] if arguments.labels is not None else list(DEFAULT_LABELS)
    say(build_label_config(open_sequence(arguments.sequence).cameras, labels))
    return 0
