"""import, preannotate and export: what happens to a project."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from pathlib import Path

from backend.cluster import connected_cluster
from backend.commands.connection import Connection, find_connection
from backend.commands.output import ProgressBars, complain, say, say_json
from backend.data_engine import DATA_ENGINE, DataEngine
from backend.drive_proposing import DriveProposer
from backend.engine import predictor_of
from backend.export import export_project
from backend.kept_work import WorkFolder
from backend.label_studio import LabelStudioClient, LabelStudioError, Project
from backend.limits import MEGABYTE
from backend.media import MediaReader
from backend.placed_scenes import place_scene
from backend.preannotate import TaskOutcome, post_proposals, preannotate
from backend.prewarm import Prewarmed, frames_of, prewarm
from backend.projects import Buckets, ImportedSequence, ImportInterrupted, ImportOptions, WithLabels, import_sequences
from backend.proposing import Proposer, WindowProposer
from backend.settings import Settings
from backend.staged_windows import staging_folder
from converters.exports.formats import loss_note, parse_label_map
from converters.sequences.sequence_folder import read_file
from converters.tasks import TaskWindow
from sam4d.predictor import Predictor
from sam4d.structures import InputError, VoxelScene


def run_import(arguments: argparse.Namespace, settings: Settings) -> int:
    connection = find_connection(settings, arguments.directory)
    backend = replace(connection.backend, url=arguments.backend) if arguments.backend else connection.backend
    labels = tuple(label.strip() for label in arguments.labels.split(",")) if arguments.labels is not None else None
    predictor = predictor_of(connection.settings)
    label_map = read_label_map(arguments.label_map)
    masks_per_task = arguments.masks_per_task or settings.masks_per_task
    with_labels = WithLabels(predictor, masks_per_task, label_map) if arguments.with_labels else None
    if arguments.prewarm:
        require_frame_store(connection.settings)
    with connection.client() as client, ProgressBars(hidden=arguments.json) as progress:
        try:
            project, imported = import_sequences(
                client,
                arguments.project,
                arguments.sequences,
                data_root=connection.data_root(),
                backend=backend,
                model_version=predictor.version,
                options=ImportOptions(labels, arguments.frames_per_task, arguments.overlap, arguments.range),
                with_labels=with_labels,
                buckets=Buckets(connection.settings.s3, MediaReader(connection.settings).open_clip),
                progress=progress,
            )
        except ImportInterrupted:
            complain(f"what was made of project {arguments.project!r} so far stays; the same command goes on with it")
            raise
        url = project_url(client, project)
        if not arguments.json:
            for sequence in imported:
                say(describe(sequence))
            say(f"project {project.title!r}: {url}")
        prewarmed = prewarm_all(connection, client, project, hidden=arguments.json) if arguments.prewarm else None
    if arguments.json:
        document = {"project_id": project.project_id, "url": url, "sequences": [asdict(sequence) for sequence in imported]}
        say_json(document if prewarmed is None else {**document, "prewarmed": prewarmed.as_json()})
    elif prewarmed is not None:
        say(prewarmed.describe())
    return 1 if prewarmed is not None and prewarmed.failed else 0


def run_preannotate(arguments: argparse.Namespace, settings: Settings) -> int:
    if arguments.per_frame and arguments.engine != DATA_ENGINE:
        raise InputError(
            "--per-frame", f"--engine {DATA_ENGINE}, which looks at whole drives otherwise", str(arguments.engine or "no --engine")
        )
    if arguments.cluster is not None and arguments.engine == DATA_ENGINE:
        raise InputError("--cluster", f"another engine than {DATA_ENGINE}, which looks at whole drives on one machine", arguments.cluster)
    if arguments.workers is not None and arguments.cluster is None:
        raise InputError("--workers", "--cluster", "none")
    connection = find_connection(settings, arguments.directory)
    with connection.client() as client:
        project = client.get_project(arguments.project)
        work = WorkFolder(arguments.directory.resolve() / f"preannotate-{project.project_id}")

        def show_scene(window: TaskWindow, scene: VoxelScene) -> None:
            settings = connection.settings
            if settings.data_root is None:
                return
            try:
                place_scene(settings.data_root, window, scene, settings.label_studio_url, project.project_id)
            except InputError as error:
                # The labels are worth more than the picture.
                complain(f"the 3D view gets no scene: {error}")

        def proposer(predictor: Predictor, progress: ProgressBars) -> Proposer:
            if arguments.engine == DATA_ENGINE:
                return DriveProposer(DataEngine(predictor, arguments.per_frame), work, progress, show_scene)
            return WindowProposer(predictor)

        masks_per_task, resume = arguments.masks_per_task or settings.masks_per_task, arguments.resume
        try:
            if arguments.cluster is None:
                outcomes = preannotate_all(
                    connection, client, project, masks_per_task=masks_per_task, resume=resume, hidden=arguments.json, proposer=proposer
                )
            else:
                with (
                    connected_cluster(
                        arguments.cluster, arguments.workers, connection.settings, project, masks_per_task=masks_per_task
                    ) as cluster,
                    ProgressBars(hidden=arguments.json) as progress,
                ):
                    posted = post_proposals(
                        client, project, cluster.propose_all, cluster.version, resume=resume, most_waiting=2 * cluster.count
                    )
                    outcomes = _follow(posted, len(client.tasks(project)), masks_per_task, progress)
            if arguments.doubtful_first:
                client.serve_doubtful_first(project)
        except KeyboardInterrupt:
            complain("the same command with --resume goes on with it")
            raise
    failed = [outcome for outcome in outcomes if outcome.failure is not None]
    if not failed:
        work.remove()
    predicted = [outcome for outcome in outcomes if outcome.objects is not None]
    if arguments.json:
        say_json({"project_id": project.project_id, "tasks": [asdict(outcome) for outcome in outcomes]})
    else:
        skipped = len(outcomes) - len(predicted) - len(failed)
        objects = sum(outcome.objects or 0 for outcome in predicted)
        say(f"project {project.title!r}: {objects} objects in {len(predicted)} tasks, {skipped} tasks skipped, {len(failed)} failed")
    return 1 if failed else 0


def run_prewarm(arguments: argparse.Namespace, settings: Settings) -> int:
    connection = find_connection(settings, arguments.directory)
    require_frame_store(connection.settings)
    with connection.client() as client:
        project = client.get_project(arguments.project)
        prewarmed = prewarm_all(connection, client, project, hidden=arguments.json)
    if arguments.json:
        say_json({"project_id": project.project_id, **prewarmed.as_json()})
    else:
        say(f"project {project.title!r}: {prewarmed.describe()}")
    return 1 if prewarmed.failed else 0


def require_frame_store(settings: Settings) -> None:
    """Raises InputError where prepared frames would not be kept."""
    if settings.model_dir is None:
        raise InputError("MODEL_DIR", "the folder that the backend has as its MODEL_DIR, to keep prepared frames in", "nothing")
    if settings.prewarm_bytes == 0:
        raise InputError("SAM4D_PREWARM_MEGABYTES", "room for prepared frames", "0")


def prewarm_all(connection: Connection, client: LabelStudioClient, project: Project, *, hidden: bool) -> Prewarmed:
    """Every frame's outcome, with a progress bar; failures are complained about as they come."""
    settings = connection.settings
    frames, task_failures = frames_of(client.tasks(project))
    for task_id, failure in task_failures.items():
        complain(f"task {task_id}: {failure}")
    total = sum(len(indices) for indices in frames.values())
    outcomes = []
    with ProgressBars(hidden=hidden) as progress:
        progress("preparing frames", 0, total)
        for outcome in prewarm(frames, predictor_of(settings), connection.open_clip(project), settings.prewarm_bytes):
            outcomes.append(outcome)
            if outcome.failure is not None:
                complain(f"{outcome.sequence}, frame {outcome.frame_index}: {outcome.failure}")
            progress("preparing frames", len(outcomes), total)
    prewarmed = Prewarmed(total, tuple(outcomes), task_failures)
    if prewarmed.is_full:
        complain(f"SAM4D_PREWARM_MEGABYTES ({settings.prewarm_bytes // MEGABYTE}) holds no more of this project's frames")
    return prewarmed


def run_export(arguments: argparse.Namespace, settings: Settings) -> int:
    label_map = read_label_map(arguments.label_map)
    connection = find_connection(settings, arguments.directory)
    with connection.client() as client, ProgressBars(hidden=arguments.json) as progress:
        project = client.get_project(arguments.project)
        try:
            exported = export_project(
                client,
                project,
                connection.open_clip(project),
                arguments.format,
                Path(arguments.output),
                include=arguments.include,
                overwrite=arguments.overwrite,
                resume=arguments.resume,
                label_map=label_map,
                progress=lambda done, total: progress("reading tasks", done, total),
            )
        except (KeyboardInterrupt, LabelStudioError):
            complain(f"{staging_folder(Path(arguments.output))} holds what was read; the same command with --resume goes on with it")
            raise
    if arguments.json:
        say_json({"output": arguments.output, "sequences": [asdict(sequence) for sequence in exported]})
        return 0
    for sequence in exported:
        say(f"{sequence.name}: {sequence.objects} objects from {sequence.labelled_tasks} of {sequence.tasks} tasks")
    lost = next((sequence.lost for sequence in exported if sequence.lost), None)
    if lost is not None:
        say(loss_note(arguments.format, lost, arguments.output))
    say(f"written to {arguments.output}")
    return 0


def read_label_map(path: str | None) -> dict[str, str | None] | None:
    """Raises InputError where the file cannot be read or is no label map."""
    if path is None:
        return None
    file = Path(path)
    return parse_label_map(read_file(lambda name: (file.parent / name).read_bytes(), file.name, str(file.parent)), path)


def preannotate_all(
    connection: Connection,
    client: LabelStudioClient,
    project: Project,
    *,
    masks_per_task: int,
    resume: bool,
    hidden: bool,
    proposer: Callable[[Predictor, ProgressBars], Proposer] = lambda predictor, progress: WindowProposer(predictor),
) -> list[TaskOutcome]:
    """Every task's outcome, with a progress bar; failures are complained about as they come."""
    total = len(client.tasks(project))
    with ProgressBars(hidden=hidden) as progress:
        proposes = proposer(predictor_of(connection.settings), progress)
        posted = preannotate(client, project, proposes, connection.open_clip(project), masks_per_task=masks_per_task, resume=resume)
        return _follow(posted, total, masks_per_task, progress)


def _follow(posted: Iterable[TaskOutcome], total: int, masks_per_task: int, progress: ProgressBars) -> list[TaskOutcome]:
    """Say what is to be said of each outcome as it comes."""
    outcomes = []
    progress("pre-annotating tasks", 0, total)
    for outcome in posted:
        outcomes.append(outcome)
        if outcome.failure is not None:
            complain(f"task {outcome.task_id}: {outcome.failure}")
        if outcome.left_out:
            found = (outcome.objects or 0) + outcome.left_out
            complain(f"task {outcome.task_id}: the best {outcome.objects} of {found} objects, for at most {masks_per_task} masks")
        progress("pre-annotating tasks", len(outcomes), total)
    return outcomes


def project_url(client: LabelStudioClient, project: Project) -> str:
    return f"{client.url}/projects/{project.project_id}/data"


def describe(sequence: ImportedSequence) -> str:
    """One line on a drive that was imported, and one on everything odd in it."""
    line = f"{sequence.name}: {sequence.new_tasks} new tasks of {sequence.tasks}"
    if sequence.labelled_objects:
        line += f", {sequence.labelled_objects} labelled objects"
    return "\n".join([line, *(f"  note: {note}" for note in sequence.notes)])
