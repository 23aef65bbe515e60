"""A folder that takes long to write: what was written outlasts an interrupt, hidden beside its place, and is gone on with."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from converters.exports.whole_output import readable_errors, require_writable_target, take_place
from sam4d.structures import InputError

STAMP = ".made_of"


def partial_directory(directory: Path) -> Path:
    """Where the folder is until it is whole."""
    return directory.with_name(f".{directory.name}.partial")


def was_begun(directory: Path, made_of: str) -> bool:
    """Whether an interrupted run with the same input left the folder to be gone on with."""
    with contextlib.suppress(OSError):
        return (partial_directory(directory) / STAMP).read_text(encoding="utf-8", errors="replace") == made_of
    return False


@contextlib.contextmanager
def resumable_directory(directory: str | Path, made_of: str, *, overwrite: bool = False, resume: bool = False) -> Iterator[Path]:
    """A folder to write into, which takes the place of `directory` when the block ends well. An interrupt (or the end of the machine)
    leaves it beside its place, for `resume`; an error does not, unless all was written.

    Files in it must be there whole or not at all: `write_whole`.

    Args:
        made_of: what the folder is made of, in one line: what was begun of something else is not gone on with.

    Raises:
        InputError: as `whole_directory`; nothing to resume, or something that was begun of other input.
    """
    target = Path(directory)
    require_writable_target(target, overwrite=overwrite)
    partial = partial_directory(target)
    begun = (partial / STAMP).is_file()
    if resume and begun and not was_begun(target, made_of):
        raise InputError(str(partial), "what an interrupted run with the same input and options left behind", "what another one did")
    if resume and not begun:
        raise InputError(str(partial), "what an interrupted run left behind (without --resume a new one begins)", "nothing")
    with readable_errors(target):
        if not resume and partial.exists():
            shutil.rmtree(partial)
        partial.mkdir(parents=True, exist_ok=True)
        write_whole(partial / STAMP, made_of.encode())
    try:
        with readable_errors(target):
            yield partial
        if not was_begun(target, made_of):
            raise InputError(str(partial), "what this run wrote", "that another run took it away meanwhile")
    except Exception:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    # All of it is written: whatever keeps it from its place now, the work is there to be gone on with.
    with readable_errors(target):
        take_place(partial, target, overwrite=overwrite)
        (target / STAMP).unlink()


def write_whole(file: Path, data: bytes) -> None:
    """The file is there whole or not at all, whatever happens meanwhile."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f"{file.name}.{os.getpid()}.unfinished")
    unfinished.write_bytes(data)
    unfinished.replace(file)
