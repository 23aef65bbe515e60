"""What an export has read of its tasks, in a hidden folder beside the output: an interrupted one goes on from there.

A task's objects are kept as a sequence folder's labels, under the digest of what was labelled: labels that people changed meanwhile are
read anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from backend.label_studio import Labels, LabelStudioError
from converters.exports import write_labels
from converters.exports.whole_output import readable_errors
from converters.packed_masks import MaskStore
from converters.sequences import read_masklets
from converters.sequences.labels import MASKS_FILE
from sam4d.structures import Clip, InputError, Masklet


class StagedWindows:
    """The objects of tasks. What is given back has its masks on disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._masks = MaskStore()

    def has(self, task_id: int, labels: Labels) -> bool:
        return (self._place(task_id, labels) / MASKS_FILE).is_file()

    def put(self, task_id: int, labels: Labels, masklets: Sequence[Masklet], window: Clip) -> None:
        """The objects of one task. `window`: its frames alone."""
        write_labels(window, masklets, self._place(task_id, labels), overwrite=True)

    def get(self, task_id: int, labels: Labels, window: Clip) -> tuple[Masklet, ...]:
        return read_masklets(self._place(task_id, labels), window, self._masks)

    def keep_only(self, tasks: Mapping[int, Labels]) -> None:
        """What else is there is deleted."""
        kept = {self._place(task_id, labels).name for task_id, labels in tasks.items()}
        for entry in list(self._folder.iterdir()) if self._folder.is_dir() else ():
            if entry.name not in kept:
                shutil.rmtree(entry, ignore_errors=True)

    def _place(self, task_id: int, labels: Labels) -> Path:
        labelled = json.dumps([labels.number, labels.updated_at, labels.result], sort_keys=True, default=str)
        return self._folder / f"{task_id}-{hashlib.sha256(labelled.encode()).hexdigest()[:16]}"


def staging_folder(output: Path) -> Path:
    output = output.resolve()
    return output.with_name(f".{output.name}.read")


@contextlib.contextmanager
def staged_windows(output: Path, *, resume: bool) -> Iterator[StagedWindows]:
    """For one export. An interrupt, or a Label Studio that no longer answers, leaves the folder for `resume`; an error does not.

    Raises:
        InputError: nothing to resume, or the folder cannot be written.
    """
    folder = staging_folder(output)
    if resume and not folder.is_dir():
        raise InputError(str(folder), "what an interrupted export left behind (without --resume a new one begins)", "nothing")
    new_parents = [parent for parent in folder.parents if not parent.exists()]
    with readable_errors(folder):
        if not resume and folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
    try:
        yield StagedWindows(folder)
    except (KeyboardInterrupt, LabelStudioError):
        raise
    except BaseException:
        _remove(folder, new_parents)
        raise
    _remove(folder, new_parents)


def _remove(folder: Path, new_parents: Sequence[Path]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    for parent in new_parents:
        # those that hold something, the output for one, stay
        with contextlib.suppress(OSError):
            parent.rmdir()
