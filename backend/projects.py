"""A recorded drive becomes a Label Studio project: checked first, then files, then the project; all of it or nothing."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from backend.derived_files import DerivedFiles, Progress, local_files_address
from backend.existing_labels import existing_regions
from backend.label_studio import LabelStudioClient, Project
from backend.viewer_page import NOT_BUILT, PAGE, ViewerPage, place_viewer
from converters.exports.formats import relabelled
from converters.exports.whole_output import whole_directory
from converters.label_config import VIEWER_HTML, build_label_config, camera_tags, parse_label_config
from converters.sequences import check_sequence, open_sequence_folder, read_labels
from converters.sequences.sequence_folder import SEQUENCE_FILE, ImageFile, SweepFile
from converters.tasks import BIRDS_EYE_PIXELS, TaskWindow, build_task_data, frame_windows, parse_task_data
from sam4d.geometry import BirdsEyeView
from sam4d.predictor import Predictor
from sam4d.structures import Clip, InputError, Masklet

DEFAULT_LABELS = ("Car", "Truck", "Bus", "Pedestrian", "Cyclist", "Motorcycle", "Object")
BACKEND_TITLE = "SAM4D"


class ImportInterrupted(KeyboardInterrupt):
    """An import that was interrupted after the drives were checked."""


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
    source: Path
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
    viewer_page: Path = PAGE,
    progress: Progress = lambda step, done, total: None,
) -> tuple[Project, tuple[ImportedSequence, ...]]:
    """Make tasks of drives, in a new project or in the one of this title, which gets only what it does not have yet.

    Args:
        data_root: what Label Studio serves as its local files, at the same path for it and for us. Drives outside are brought in
            under `sequences/`, hard-linked where possible; what is made of them lies under `derived/`.
        backend: connected to the project; None connects none.
        model_version: whose predictions the project shows.
        with_labels: the drives' own labels become annotations of the new tasks; a new project has their labels, where `options` names none.
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
    drives = tuple(_read_drive(Path(path), options, with_labels, progress) for path in paths)
    project = client.find_project(title)
    _require_one_rig(drives, project, options)
    labels = _labels(drives, project, options)

    with _undone_on_failure() as undo:
        views = [BirdsEyeView(options.range_m, options.metres_per_pixel, drive.clip.forward) for drive in drives]
        folders = [_bring_in(drive, data_root, undo) for drive in drives]
        made = [_derive(drive, folder, view, data_root, undo, progress) for drive, folder, view in zip(drives, folders, views, strict=True)]
        viewer = place_viewer(data_root, viewer_page)
        if viewer is not None and viewer.is_new:
            undo.append(lambda: viewer.remove(data_root))
        if project is None:
            config = build_label_config(drives[0].clip.cameras, labels, viewer=viewer is not None)
            project = client.create_project(title, config, description="Made by `sam4d import`", model_version=model_version)
            undo.append(lambda created=project: client.delete_project(created))  # type: ignore[misc]
        served = [*folders, *(data_root / files.folder for files in made), *([data_root / viewer.folder] if viewer is not None else [])]
        for folder in served:
            client.ensure_local_files(project, str(folder), str(folder.relative_to(data_root)))
        if backend is not None:
            client.connect_backend(project, backend.url, title=BACKEND_TITLE, user=backend.user, password=backend.password)

        present = _windows_present(client, project)
        imported = []
        for drive, folder, files, view in zip(drives, folders, made, views, strict=True):
            address = local_files_address(folder.relative_to(data_root))
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


def _bring_in(drive: _Drive, data_root: Path, undo: list[Callable[[], None]]) -> Path:
    """The drive's folder below the data root, where it is or brought in."""
    if drive.source.is_relative_to(data_root):
        if drive.source == data_root:
            raise InputError(str(drive.source), "a folder below the data root", "the data root itself")
        return drive.source
    target = data_root / "sequences" / drive.source.name
    if target.exists():
        if not _same_files(drive, target):
            raise InputError(
                str(target), f"the drive of {drive.source}, or nothing", "another drive of this name; rename the new one's folder"
            )
        return target
    try:
        with whole_directory(target) as folder:
            for name in (SEQUENCE_FILE, *_files(drive.clip)):
                place = folder / name
                place.parent.mkdir(parents=True, exist_ok=True)
                _link_or_copy((drive.source / name).resolve(), place)
    except OSError as error:
        raise InputError(str(target), "room for the drive's files", error.strerror or str(error)) from None
    undo.append(lambda: _remove(target, data_root))
    return target


def _files(clip: Clip) -> Iterator[str]:
    for frame in clip.frames:
        for load in (frame.load_sweep, *frame.load_images.values()):
            if isinstance(load, SweepFile | ImageFile):
                yield load.path


def _same_files(drive: _Drive, folder: Path) -> bool:
    """By description and file sizes: sweeps of different drives hardly ever agree in all of them."""
    with contextlib.suppress(OSError):
        return (folder / SEQUENCE_FILE).read_bytes() == (drive.source / SEQUENCE_FILE).read_bytes() and all(
            (folder / name).stat().st_size == (drive.source / name).stat().st_size for name in _files(drive.clip)
        )
    return False


def _link_or_copy(source: Path, target: Path) -> None:
    if target.exists():
        return
    try:
        os.link(source, target)
    except OSError:
        # another file system, or one without links
        shutil.copyfile(source, target)


def _derive(
    drive: _Drive, folder: Path, view: BirdsEyeView, data_root: Path, undo: list[Callable[[], None]], progress: Progress
) -> DerivedFiles:
    files = DerivedFiles.of(drive.clip, folder.relative_to(data_root), view)
    if files.render(data_root, view, progress):
        undo.append(lambda: _remove(data_root / files.folder, data_root))
    return files


def _remove(folder: Path, data_root: Path) -> None:
    """The folder with all that is in it, and the folders above it that are left empty, below the data root."""
    shutil.rmtree(folder)
    for parent in folder.parents:
        if parent == data_root or any(parent.iterdir()):
            return
        parent.rmdir()


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
