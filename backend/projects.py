"""A recorded drive becomes a Label Studio project: checked first, then files, then the project; all of it or nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from backend.data_root import bring_in, remove_folder
from backend.derived_files import DerivedFiles, Progress
from backend.drive_place import DrivePlace, bucket_place, local_place
from backend.existing_labels import existing_regions
from backend.label_studio import LabelStudioClient, Project
from backend.s3_access import S3Access
from backend.sequence_address import BucketFolder, is_bucket_address, parse_bucket_folder
from backend.viewer_page import NOT_BUILT, PAGE, ViewerPage, place_viewer
from converters.exports.formats import relabelled
from converters.label_config import VIEWER_HTML, build_label_config, camera_tags, parse_label_config
from converters.sequences import check_sequence, open_sequence_folder, read_labels
from converters.sequences.rising_times import require_rising_times
from converters.sequences.sequence_folder import SEQUENCE_FILE
from converters.tasks import BIRDS_EYE_PIXELS, TaskWindow, build_task_data, frame_windows, parse_task_data
from sam4d.geometry import BirdsEyeView
from sam4d.predictor import Predictor
from sam4d.structures import Clip, InputError, Masklet

DEFAULT_LABELS = ("Car", "Truck", "Bus", "Pedestrian", "Cyclist", "Motorcycle", "Object")
BACKEND_TITLE = "SAM4D"
UNCONFIGURED = "<View></View>"
"""The label config of a project that is there for its storages only, until the first drive has been read through them."""


class ImportInterrupted(KeyboardInterrupt):
    """An import that was interrupted after the drives of this machine were checked."""


@dataclass(frozen=True)
class BackendAddress:
    """Where Label Studio finds the backend, and how it logs in there."""

    url: str
    user: str | None = None
    password: str | None = None


@dataclass(frozen=True)
class ImportOptions:
    """How drives become tasks. `labels` is None where an existing project's own, else the default ones, are meant."""

    labels: tuple[str, ...] | None = None
    frames_per_task: int = 20
    overlap: int = 2
    range_m: float = 50.0
    metres_per_pixel: float = 0.1


@dataclass(frozen=True)
class WithLabels:
    """That the labels which drives bring along become annotations of their tasks.

    predictor: finds the cameras' masks of objects that only have cuboids. masks_per_task: brush masks that a task gets at the most.
    label_map: our name for each of theirs, None to leave such objects out.
    """

    predictor: Predictor
    masks_per_task: int
    label_map: Mapping[str, str | None] | None = None


@dataclass(frozen=True)
class Buckets:
    """How drives in buckets are reached: `access` by Label Studio, and by us through the storages of a project (its number).

    open_clip: the sequence at an address with s3://, read through a project's storages.
    """

    access: S3Access
    open_clip: Callable[[str, int], Clip]


@dataclass(frozen=True)
class ImportedSequence:
    """What became of one drive. `notes`: what is odd in it, but no obstacle. labelled_objects: in its new tasks together."""

    name: str
    address: str
    new_tasks: int
    tasks: int
    notes: tuple[str, ...]
    labelled_objects: int = 0


@dataclass(frozen=True)
class _Drive:
    source: Path | BucketFolder
    clip: Clip
    notes: tuple[str, ...]
    windows: tuple[tuple[int, int], ...]
    masklets: tuple[Masklet, ...] = ()


def import_sequences(
    client: LabelStudioClient,
    title: str,
    paths: Sequence[str | Path],
    *,
    data_root: Path,
    backend: BackendAddress | None,
    model_version: str,
    options: ImportOptions = ImportOptions(),
    with_labels: WithLabels | None = None,
    buckets: Buckets | None = None,
    viewer_page: Path = PAGE,
    progress: Progress = lambda step, done, total: None,
) -> tuple[Project, tuple[ImportedSequence, ...]]:
    """Make tasks of drives, in a new project or in the one of this title, which gets only what it does not have yet.

    Args:
        paths: folders, or addresses with s3://.
        data_root: what Label Studio serves as its local files, at the same path for it and for us. Drives outside are brought in
            under `sequences/`, hard-linked where possible; what is made of them lies under `derived/`. Drives in buckets stay there; what
            is made of them lies under `derived-s3/`, by project.
        backend: connected to the project; None connects none.
        model_version: whose predictions the project shows.
        with_labels: the drives' own labels become annotations of the new tasks; a new project has their labels, where `options` names none.
        buckets: needed for addresses with s3://; a project without a storage of such a bucket gets one.
        viewer_page: the built 3D view; where it is not there, a new project goes without.

    Raises:
        InputError: a drive, an option or the existing project is not right, or Label Studio refuses. Nothing is left behind then, and
            the import can be run again.
        ImportInterrupted: what was made stays, and the same import goes on from there.
    """
    if not 3 <= len(title.strip()) <= 50:
        raise InputError("project title", "3 to 50 characters", repr(title))
    view_check = BirdsEyeView(options.range_m, options.metres_per_pixel)
    if not (options.range_m > 0 and 64 <= view_check.size_px <= BIRDS_EYE_PIXELS):
        raise InputError("range", "5 to 400 metres", f"{options.range_m:g}")
    client.check_access()
    data_root = data_root.resolve()
    stored = {path: parse_bucket_folder(str(path)) for path in paths if is_bucket_address(path)}
    if stored and (buckets is None or with_labels is not None):
        raise InputError(str(next(iter(stored))), "a folder of this machine, where the drive's labels are to come along", "a bucket")
    read = {path: _read_drive(Path(path), options, with_labels, progress) for path in paths if path not in stored}

    with _undone_on_failure() as undo:
        project = client.find_project(title)
        if buckets is not None and stored:
            project = _reachable(client, project, title, model_version, stored.values(), buckets.access, undo)
            read |= {path: _read_stored_drive(folder, project, buckets, options, progress) for path, folder in stored.items()}
        drives = tuple(read[path] for path in paths)
        configured = None if project is None or project.label_config == UNCONFIGURED else project
        _require_one_rig(drives, configured, options)
        labels = _labels(drives, configured, options)

        views = [BirdsEyeView(options.range_m, options.metres_per_pixel, drive.clip.forward) for drive in drives]
        places = [_place(drive, project, data_root, undo) for drive in drives]
        made = [_derive(drive, place, view, data_root, undo, progress) for drive, place, view in zip(drives, places, views, strict=True)]
        viewer = place_viewer(data_root, viewer_page)
        if viewer is not None and viewer.is_new:
            undo.append(lambda: viewer.remove(data_root))
        config = build_label_config(drives[0].clip.cameras, labels, viewer=viewer is not None)
        if project is None:
            project = _create_project(client, title, config, model_version, undo)
        elif configured is None:
            project = client.configure_project(project, config)
        served = [place.folder for place in places if place.folder is not None] + [files.folder for files in made]
        for folder in [*served, *([viewer.folder] if viewer is not None else [])]:
            client.ensure_local_files(project, str(data_root / folder), str(folder))
        if backend is not None:
            client.connect_backend(project, backend.url, title=BACKEND_TITLE, user=backend.user, password=backend.password)

        present = _windows_present(client, project)
        imported = []
        for drive, files, view in zip(drives, made, views, strict=True):
            address = files.place.sequence
            missing = _missing_windows(drive, address, present.setdefault(address, {}))
            present[address].update(missing)
            windows = [TaskWindow(address, first, count, view) for first, count in missing]
            data = {window: _task_data(files, window, viewer) for window in windows}
            objects, label_notes = _add_tasks(client, project, drive, data, with_labels, undo, progress)
            notes = (*drive.notes, *label_notes)
            imported.append(ImportedSequence(drive.clip.name, address, len(missing), len(drive.windows), notes, objects))
    return project, tuple(imported)


@contextlib.contextmanager
def _undone_on_failure() -> Iterator[list[Callable[[], None]]]:
    """A list of steps to undo, taken back last first where the block fails. What cannot be undone does not hide why it failed. An interrupt
    undoes nothing: every step is whole, and the next import finds it done."""
    undo: list[Callable[[], None]] = []
    try:
        yield undo
    except KeyboardInterrupt as interrupt:
        raise ImportInterrupted from interrupt
    except BaseException:
        for step in reversed(undo):
            with contextlib.suppress(InputError, OSError):
                step()
        raise


def _add_tasks(
    client: LabelStudioClient,
    project: Project,
    drive: _Drive,
    data: Mapping[TaskWindow, Mapping[str, object]],
    with_labels: WithLabels | None,
    undo: list[Callable[[], None]],
    progress: Progress,
) -> tuple[int, list[str]]:
    """New tasks, with the drive's labels as their annotations: how many objects in all, and what was too much for the page.

    A task with labels is whole before the next one is begun, so that an interrupt leaves none without.
    """
    if with_labels is None:
        task_ids = client.add_tasks(project, list(data.values()))
        undo.append(lambda: client.delete_tasks(task_ids))
        return 0, []
    objects, notes = 0, []
    limit = f"for at most {with_labels.masks_per_task} masks (--masks-per-task)"
    for done, (window, values) in enumerate(data.items(), start=1):
        clip = drive.clip.window(window.first_frame, window.frame_count)
        found = existing_regions(drive.masklets, window, clip, with_labels.predictor, with_labels.masks_per_task)
        with _taken_back_on_interrupt(client) as new:
            new += client.add_tasks(project, [values])
            undo.append(lambda added=new: client.delete_tasks(added))  # type: ignore[misc]
            if found.regions:
                client.add_annotation(new[0], found.regions)
        objects += found.objects
        if found.cuboids_alone:
            notes.append(f"task {new[0]}: {found.cuboids_alone} of {found.objects} labelled objects as cuboids alone, {limit}")
        if found.left_out:
            notes.append(f"task {new[0]}: {found.left_out} labelled objects without cuboids left out, {limit}")
        progress(f"labels of {drive.clip.name}", done, len(data))
    return objects, notes


@contextlib.contextmanager
def _taken_back_on_interrupt(client: LabelStudioClient) -> Iterator[list[int]]:
    """The numbers of tasks that are not whole before the block ends."""
    task_ids: list[int] = []
    try:
        yield task_ids
    except KeyboardInterrupt:
        with contextlib.suppress(InputError):
            client.delete_tasks(task_ids)
        raise


def _labels(drives: Sequence[_Drive], project: Project | None, options: ImportOptions) -> tuple[str, ...]:
    """The labels of the project. Raises InputError where a drive's object has another."""
    known = tuple(dict.fromkeys(masklet.label for drive in drives for masklet in drive.masklets))
    labels = parse_label_config(project.label_config).labels if project is not None else options.labels or known or DEFAULT_LABELS
    for drive in drives:
        strange = next((masklet.label for masklet in drive.masklets if masklet.label not in labels), None)
        if strange is not None:
            raise InputError(
                f"labels of {drive.clip.name}", f"those of the project ({_listed(labels)}); --label-map renames others", repr(strange)[:80]
            )
    return labels


def _read_drive(path: Path, options: ImportOptions, with_labels: WithLabels | None, progress: Progress) -> _Drive:
    if path.is_dir() and not (path / SEQUENCE_FILE).is_file():
        raise InputError(str(path), f"a sequence folder (with a {SEQUENCE_FILE}); `sam4d convert` makes one of other layouts", "none")
    clip = open_sequence_folder(path)
    windows = frame_windows(len(clip), options.frames_per_task, options.overlap)
    notes = check_sequence(clip, lambda done, total: progress(f"checking {clip.name}", done, total))
    source = (path.parent if path.name == SEQUENCE_FILE else path).resolve()
    masklets = () if with_labels is None else relabelled(read_labels(path, clip), with_labels.label_map)
    if with_labels is not None and not masklets:
        notes = (*notes, "no labels to bring along")
    return _Drive(source, clip, notes, tuple(windows), masklets)


def _read_stored_drive(folder: BucketFolder, project: Project, buckets: Buckets, options: ImportOptions, progress: Progress) -> _Drive:
    clip = buckets.open_clip(str(folder), project.project_id)
    require_rising_times(clip, folder.uri(SEQUENCE_FILE))
    windows = frame_windows(len(clip), options.frames_per_task, options.overlap)
    notes = check_sequence(clip, lambda done, total: progress(f"reading {clip.name}", done, total))
    return _Drive(folder, clip, notes, tuple(windows))


def _reachable(
    client: LabelStudioClient,
    project: Project | None,
    title: str,
    model_version: str,
    folders: Iterable[BucketFolder],
    access: S3Access,
    undo: list[Callable[[], None]],
) -> Project:
    """The project, with a storage of each bucket. One that is new is not configured: its drives must be read first, through it."""
    if project is None:
        project = _create_project(client, title, UNCONFIGURED, model_version, undo)
    for bucket in dict.fromkeys(folder.bucket for folder in folders):
        storage_id = client.ensure_bucket(project, bucket, access)
        if storage_id is not None:
            undo.append(lambda made=storage_id: client.delete_bucket(made))  # type: ignore[misc]
    return project


def _create_project(
    client: LabelStudioClient, title: str, label_config: str, model_version: str, undo: list[Callable[[], None]]
) -> Project:
    project = client.create_project(title, label_config, description="Made by `sam4d import`", model_version=model_version)
    undo.append(lambda: client.delete_project(project))
    return project


def _require_one_rig(drives: Sequence[_Drive], project: Project | None, options: ImportOptions) -> None:
    """All drives of a project show the same cameras, because the page is one for all its tasks."""
    for drive in drives[1:]:
        if set(drive.clip.cameras) != set(drives[0].clip.cameras):
            raise InputError(
                f"cameras of {drive.clip.name}",
                f"those of {drives[0].clip.name} ({_listed(drives[0].clip.cameras)}); other cameras need a project of their own",
                _listed(drive.clip.cameras),
            )
    if project is None:
        return
    config = parse_label_config(project.label_config)
    tags = camera_tags(drives[0].clip.cameras).values()
    if set(config.cameras) != set(tags):
        raise InputError(
            f"cameras of {drives[0].clip.name}",
            f"those of project {project.title!r} ({_listed(config.cameras)}); other cameras need a project of their own",
            _listed(tags),
        )
    if options.labels is not None and set(options.labels) != set(config.labels):
        raise InputError("labels", f"those of project {project.title!r} ({_listed(config.labels)})", _listed(options.labels))


def _listed(names: object) -> str:
    return ", ".join(map(str, names)) or "none"  # type: ignore[call-overload]


def _place(drive: _Drive, project: Project | None, data_root: Path, undo: list[Callable[[], None]]) -> DrivePlace:
    if isinstance(drive.source, Path):
        return local_place(bring_in(drive.clip, drive.source, data_root, undo).relative_to(data_root))
    assert project is not None, "it was read through this project"
    return bucket_place(drive.source, project.project_id)


def _derive(
    drive: _Drive, place: DrivePlace, view: BirdsEyeView, data_root: Path, undo: list[Callable[[], None]], progress: Progress
) -> DerivedFiles:
    files = DerivedFiles.of(drive.clip, place, view)
    if files.render(data_root, view, progress):
        undo.append(lambda: remove_folder(data_root / files.folder, data_root))
    return files


def _windows_present(client: LabelStudioClient, project: Project) -> dict[str, dict[int, int]]:
    """{address of a sequence: {first frame: number of frames}} of the project's tasks; tasks of other kinds are not counted."""
    present: dict[str, dict[int, int]] = {}
    for task in client.tasks(project):
        with contextlib.suppress(InputError):
            window = parse_task_data(task.data)
            present.setdefault(window.sequence, {})[window.first_frame] = window.frame_count
    return present


def _missing_windows(drive: _Drive, address: str, present: Mapping[int, int]) -> list[tuple[int, int]]:
    """Raises InputError where the project holds the drive in windows of another length or overlap."""
    wanted = dict(drive.windows)
    if any(wanted.get(first) != count for first, count in present.items()):
        expected = "the frames per task and overlap of the tasks that are there (" + ", ".join(
            f"{first}-{first + count - 1}" for first, count in sorted(present.items())
        )
        raise InputError(
            f"windows of {address}", expected + ")", ", ".join(f"{first}-{first + count - 1}" for first, count in drive.windows)
        )
    return [(first, count) for first, count in drive.windows if first not in present]


def _task_data(files: DerivedFiles, window: TaskWindow, viewer: ViewerPage | None) -> dict[str, object]:
    frames = range(window.first_frame, window.first_frame + window.frame_count)
    images = {camera: [files.image_address(camera, index) for index in frames] for camera in files.clip.cameras}
    data = build_task_data(window, images, [files.birds_eye_address(index) for index in frames])
    # A project with a place for the 3D view refuses tasks that bring none.
    first, count = window.first_frame, window.frame_count
    data[VIEWER_HTML] = NOT_BUILT if viewer is None else viewer.html(files.description_path, first, count, files.cloud_address(first))
    return data
