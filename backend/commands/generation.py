"""generate: a whole drive labelled without a click. scene: the drive's reconstruction as a point cloud."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from backend.commands.output import ProgressBars, complain, say
from backend.commands.projects import read_label_map
from backend.engine import predictor_of
from backend.projects import DEFAULT_LABELS
from backend.settings import Settings
from converters.exports import labels_as, read_coco, read_waymo_4dseg_label_files, write_whole_files
from converters.exports.formats import loss_note
from converters.scene_file import decode_scene, encode_scene
from converters.scene_ply import scene_ply
from converters.sequences import open_sequence, read_labels
from converters.sequences.sequence_folder import read_file
from sam4d.data_engine.generate import Progress, generate_masklets
from sam4d.data_engine.masklet_source import KnownMasklets, MaskletSource
from sam4d.structures import Clip, InputError, Masklet, VoxelScene

SCENE_ENDINGS = (".s4ds", ".ply")


def run_generate(arguments: argparse.Namespace, settings: Settings) -> int:
    label_map = read_label_map(arguments.label_map)
    labels = tuple(label.strip() for label in arguments.labels.split(",")) if arguments.labels is not None else DEFAULT_LABELS
    predictor = predictor_of(settings)
    clip = open_sequence(arguments.sequence)
    scene_files = [Path(name) for name in arguments.scene or ()]
    _check_scene_files(scene_files, arguments.scene_frame, len(clip), overwrite=arguments.overwrite)
    scenes: list[VoxelScene] = []
    with ProgressBars() as progress:
        source = _masklet_source(arguments, settings, clip, progress)
        found = generate_masklets(clip, predictor, labels, source, progress, keep_scene=scenes.append)
    written = labels_as(arguments.format, clip, found, label_map)
    output = Path(arguments.output)
    files = {output / path: data for path, data in written.files.items()}
    files |= {file: _scene_bytes(scene, file, arguments.scene_frame) for file in scene_files for scene in scenes}
    write_whole_files(files, overwrite=arguments.overwrite)
    say(f"{clip.name}: {len(clip)} frames, {len(found)} objects: {output}")
    if scene_files and not scenes:
        complain(f"{scene_files[0]}: no scene was made, because the frames were labelled one by one")
    if written.lost is not None:
        say(loss_note(arguments.format, written.lost, str(output)))
    return 0


def run_scene(arguments: argparse.Namespace, settings: Settings) -> int:
    """A kept scene as a point cloud, at any of its frames."""
    file, output = Path(arguments.scene), Path(arguments.output)
    scene = decode_scene(read_file(lambda name: (file.parent / name).read_bytes(), file.name, str(file.parent)), str(file))
    _check_scene_files([output], arguments.frame, scene.frame_count, overwrite=arguments.overwrite)
    write_whole_files({output: _scene_bytes(scene, output, arguments.frame)}, overwrite=arguments.overwrite)
    places_m, _ = scene.at(arguments.frame)
    say(f"{scene.clip_name}, frame {arguments.frame}: {len(places_m)} voxels, {len(scene.objects)} objects: {output}")
    return 0


def _check_scene_files(files: Sequence[Path], frame_index: int, frame_count: int, *, overwrite: bool) -> None:
    """Before the long work. Raises InputError where a scene cannot be written so."""
    if not 0 <= frame_index < frame_count:
        raise InputError("frame of the scene", f"one from 0 to {frame_count - 1}", str(frame_index))
    for file in files:
        if file.suffix.lower() not in SCENE_ENDINGS:
            raise InputError(str(file), "a file of a scene (.s4ds) or a point cloud (.ply)", repr(file.suffix))
        if file.exists() and not overwrite:
            raise InputError(str(file), "nothing (or permission to overwrite)", "a file")


def _scene_bytes(scene: VoxelScene, file: Path, frame_index: int) -> bytes:
    return scene_ply(scene, frame_index) if file.suffix.lower() == ".ply" else encode_scene(scene)


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
