"""simulate, convert and label-config: what needs no Label Studio."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from backend.commands.output import ProgressBars, complain, say
from backend.commands.projects import read_label_map
from backend.projects import DEFAULT_LABELS
from backend.settings import Settings
from converters.exports import labels_as, write_sequence, write_whole_files
from converters.exports.formats import loss_note, relabelled
from converters.exports.resumable_directory import partial_directory
from converters.label_config import build_label_config
from converters.sequences import open_sequence, read_labels
from converters.sequences.sequence_folder import forward_from_motion
from sam4d.ego_motion import estimate_poses
from sam4d.simulation import HARD, LENS, USUAL, simulate_drive
from sam4d.structures import InputError


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


def run_convert(arguments: argparse.Namespace, settings: Settings) -> int:
    label_map = read_label_map(arguments.label_map)
    clip = open_sequence(
        arguments.input, arguments.sequence, between_keyframes=arguments.between_keyframes, allow_missing=arguments.allow_missing
    )
    labelled = () if arguments.without_labels else read_labels(arguments.input, clip, arguments.sequence)
    masklets = relabelled(labelled, label_map)
    output, lost = Path(arguments.output), None
    if arguments.format != "sequence" and not masklets:
        raise InputError(arguments.input, f"labels to write as {arguments.format}", "none")
    if arguments.format != "sequence" and arguments.resume:
        raise InputError("--resume", "a whole sequence folder to go on with (--format sequence)", arguments.format)
    with ProgressBars() as progress:
        if arguments.estimate_poses:
            clip = estimate_poses(clip, lambda done, total: progress("placing sweeps", done, total))
            clip = replace(clip, forward=forward_from_motion([frame.world_SE3_lidar for frame in clip.frames]))
        if arguments.format == "sequence":
            try:
                write_sequence(
                    clip,
                    output,
                    masklets=masklets,
                    overwrite=arguments.overwrite,
                    resume=arguments.resume,
                    on_frame=lambda done, total: progress("writing", done, total),
                )
            except KeyboardInterrupt:
                complain(f"{partial_directory(output)} holds what was written; the same command with --resume goes on with it")
                raise
        else:
            written = labels_as(arguments.format, clip, masklets)
            write_whole_files({output / path: data for path, data in written.files.items()}, overwrite=arguments.overwrite)
            lost = written.lost
    say(f"{clip.name}: {len(clip)} frames, {len(clip.cameras)} cameras, {len(masklets)} labelled objects: {output}")
    if lost is not None:
        say(loss_note(arguments.format, lost, str(output)))
    return 0


def run_label_config(arguments: argparse.Namespace, settings: Settings) -> int:
    labels = [label.strip() for label in arguments.labels.split(",")] if arguments.labels is not None else list(DEFAULT_LABELS)
    say(build_label_config(open_sequence(arguments.sequence).cameras, labels))
    return 0
