"""generate: a whole drive labelled without a click. scene: the drive's reconstruction as a point cloud."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

from backend.commands.output import ProgressBars, complain, say
from backend.commands.projects import read_label_map
from backend.data_engine import SHARED_FRAMES, DataEngine
from backend.engine import predictor_of
from backend.kept_work import WorkFolder, digest_of, digest_of_masklets
from backend.projects import DEFAULT_LABELS
from backend.settings import Settings
from converters.exports import FileContent, labels_as, read_coco, read_waymo_4dseg_label_files, write_whole_files
from converters.exports.formats import loss_note
from converters.scene_file import decode_scene, encode_scene
from converters.scene_ply import scene_ply
from converters.sequences import open_sequence, read_labels
from converters.sequences.sequence_folder import read_file
from sam4d.data_engine.generate import Progress
from sam4d.data_engine.masklet_source import KnownMasklets, MaskletSource
from sam4d.structures import Clip, InputError, Masklet, VoxelScene

SCENE_ENDINGS = (".s4ds", ".ply")

MakeSource: TypeAlias = Callable[[WorkFolder], MaskletSource | None]
"""With what was kept of it."""


def run_generate(arguments: argparse.Namespace, settings: Settings) -> int:
    label_map = read_label_map(arguments.label_map)
    labels = tuple(label.strip() for label in arguments.labels.split(",")) if arguments.labels is not None else DEFAULT_LABELS
    engine = DataEngine(predictor_of(settings), arguments.per_frame)
    clip = open_sequence(arguments.sequence)
    scene_files = [Path(name) for name in arguments.scene or ()]
    _check_scene_files(scene_files, arguments.scene_frame, len(clip))
    if scene_files:
        _require_one_scene(engine, clip)
    output = Path(arguments.output)
    works = WorkFolder(output.resolve().with_name(f".{output.resolve().name}.work"))
    with ProgressBars() as progress:
        if not arguments.per_frame:
            # Before masks are looked for, which may take hours.
            engine.check_poses(clip)
        make_source, source_digest = _masklet_source(arguments, settings, clip, progress)
        wanted = [*labels, source_digest, *(["scene"] if scene_files else [])]
        made_of = digest_of(clip, engine.description, *wanted, progress=partial(progress, "reading the drive"))
        work = works.within(made_of[:16])
        # Before the work: what stands in its way afterwards is mostly there already.
        nothing = labels_as(arguments.format, clip, ())
        _require_place([*(output / name for name in nothing.files), *scene_files], work, overwrite=arguments.overwrite)
        try:
            keep = (lambda first_frame, scene: work.keep_scene(encode_scene(scene))) if scene_files else None
            found = engine.label(clip, labels, work, make_source(work), progress, keep_scene=keep)
            written = labels_as(arguments.format, clip, found, label_map)
            contents = {output / name: content for name, content in written.files.items()}
            if scene_files:
                scene = decode_scene(work.kept_scene(), str(work.folder))
                contents |= {file: _scene_bytes(scene, file, arguments.scene_frame) for file in scene_files}
            _write(contents, work, overwrite=arguments.overwrite)
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


def run_scene(arguments: argparse.Namespace, settings: Settings) -> int:
    """A kept scene as a point cloud, at any of its frames."""
    file, output = Path(arguments.scene), Path(arguments.output)
    scene = decode_scene(read_file(lambda name: (file.parent / name).read_bytes(), file.name, str(file.parent)), str(file))
    _check_scene_files([output], arguments.frame, scene.frame_count)
    write_whole_files({output: _scene_bytes(scene, output, arguments.frame)}, overwrite=arguments.overwrite)
    places_m, _ = scene.at(arguments.frame)
    say(f"{scene.clip_name}, frame {arguments.frame}: {len(places_m)} voxels, {len(scene.objects)} objects: {output}")
    return 0


def _check_scene_files(files: Sequence[Path], frame_index: int, frame_count: int) -> None:
    """Before the long work. Raises InputError where a scene cannot be written so."""
    if not 0 <= frame_index < frame_count:
        raise InputError("frame of the scene", f"one from 0 to {frame_count - 1}", str(frame_index))
    for file in files:
        if file.suffix.lower() not in SCENE_ENDINGS:
            raise InputError(str(file), "a file of a scene (.s4ds) or a point cloud (.ply)", repr(file.suffix))


def _scene_bytes(scene: VoxelScene, file: Path, frame_index: int) -> bytes:
    return scene_ply(scene, frame_index) if file.suffix.lower() == ".ply" else encode_scene(scene)


def _require_one_scene(engine: DataEngine, clip: Clip) -> None:
    """Raises InputError where the clip has none, or one for each of its parts."""
    if engine.per_frame:
        raise InputError("--scene", "no --per-frame, which makes no scene of the drive", "both")
    if len(engine.parts(clip)) > 1:
        raise InputError("--scene", f"a drive of at most {engine.frames_per_part} frames, which has one scene", f"{len(clip)} frames")


def _masklet_source(arguments: argparse.Namespace, settings: Settings, clip: Clip, progress: Progress) -> tuple[MakeSource, str]:
    """What makes the image masklets to start from, none for those of the engine; and a digest that tells them from others."""
    if arguments.vfm is not None:
        from sam4d.data_engine.sam2_masklets import segment_images
        from sam4d.data_engine.sam2_video import Sam2Video

        network = Sam2Video.load(arguments.vfm, settings.device)
        looking = partial(progress, "looking for masks")
        return lambda work: segment_images(clip, network, progress=looking, kept=work), _digest_of_folder(arguments.vfm)
    if arguments.masks:
        given = [masklet for path in arguments.masks for masklet in _read_masks(path, clip)]
        where, option = " ".join(map(str, arguments.masks)), "--masks"
    elif arguments.with_masks:
        given = list(read_labels(arguments.sequence, clip))
        where, option = arguments.sequence, "--with-masks"
    else:
        return lambda work: None, ""
    if not any(mask.any() for masklet in given for masks in masklet.masks.values() for mask in masks.camera_masks.values()):
        raise InputError(where, f"labels with masks in its images ({option})", "none")
    # Numbers of several files may be the same, and 0 means no track.
    numbered = [replace(masklet, object_id=number) for number, masklet in enumerate(given, start=1)]
    source = KnownMasklets(clip, numbered)
    return lambda work: source, digest_of_masklets(numbered, clip)


def _digest_of_folder(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.iterdir() if path.is_file()):
        digest.update(f"{file.name} {file.stat().st_size}\n".encode())
        with file.open("rb") as content:
            while chunk := content.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def _read_masks(path: Path, clip: Clip) -> Sequence[Masklet]:
    return read_waymo_4dseg_label_files(path, clip) if path.is_dir() else read_coco(path, clip)


def _require_place(paths: Iterable[Path], work: WorkFolder, *, overwrite: bool) -> None:
    """Raises InputError where a file is in the way that no earlier run of this work wrote."""
    claimed = work.claimed
    for path in () if overwrite else paths:
        if path.exists() and path.resolve() not in claimed:
            raise InputError(str(path), "nothing (or permission to overwrite)", "a file")


def _write(contents: Mapping[Path, FileContent], work: WorkFolder, *, overwrite: bool) -> None:
    _require_place(contents, work, overwrite=overwrite)
    for path in contents:
        # Of a run that was killed while it wrote.
        for partial_file in path.parent.iterdir() if path.resolve() in work.claimed and path.parent.is_dir() else ():
            if partial_file.name.startswith(f".{path.name}.") and partial_file.suffix == ".partial":
                partial_file.unlink(missing_ok=True)
    work.claim(path.resolve() for path in contents)
    write_whole_files(contents, overwrite=True)
