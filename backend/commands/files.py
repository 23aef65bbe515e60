"""simulate and label-config: what needs no Label Studio."""

from __future__ import annotations

import argparse
from pathlib import Path

from backend.commands.output import ProgressBars, say
from backend.projects import DEFAULT_LABELS
from backend.settings import Settings
from converters.exports import write_sequence
from converters.label_config import build_label_config
from converters.sequences import open_sequence
from sam4d.simulation import HARD, LENS, USUAL, simulate_drive


def run_simulate(arguments: argparse.Namespace, settings: Settings) -> int:
    drive = simulate_drive(
        seed=arguments.seed,
        frame_count=arguments.frames,
        beam_count=arguments.beams,
        distortion=LENS if arguments.hard else (),
        conditions=HARD if arguments.hard else USUAL,
    )
    with ProgressBars() as progress:
        write_sequence(
            drive.clip,
            Path(arguments.output),
            masklets=drive.masklets,
            on_frame=lambda done, total: progress("recording", done, total),
        )
    say(f"{len(drive.clip)} frames, {len(drive.clip.cameras)} cameras, {len(drive.masklets)} objects: {arguments.output}")
    return 0


def run_label_config(arguments: argparse.Namespace, settings: Settings) -> int:
    labels = [label.strip() for label in arguments.labels.split(",")] if arguments.labels is not None else list(DEFAULT_LABELS)
    say(build_label_config(open_sequence(arguments.sequence).cameras, labels))
    return 0
