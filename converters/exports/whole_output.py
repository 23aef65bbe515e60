"""Output that is there whole or not at all: written under a temporary name beside its place, then renamed."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

from sam4d.structures import InputError

FileContent: TypeAlias = bytes | Callable[[], bytes] | Callable[[], Iterator[bytes]]
"""A file's bytes, or what gives them when the file is written, at once or in pieces: a drive's do not fit into memory together."""


def file_name(text: str) -> str:
    """A name for one file or folder: letters, digits, `_`, `-` and dots that do not lead; all else becomes `_`."""
    return re.sub(r"^\.|[^\w.-]", "_", text)


@contextlib.contextmanager
def whole_directory(directory: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A folder to write into, which takes the place of `directory` when the block ends well and vanishes when it does not.

    Raises:
        InputError: `directory` is a file, or holds something and may not be overwritten, or cannot be written.
    """
    target = Path(directory)
    require_writable_target(target, overwrite=overwrite)
    with readable_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        with readable_errors(target):
            # A second level, because mkdtemp makes folders that only their owner may read.
            output = scratch / "new"
            output.mkdir()
            yield output
            take_place(output, target, overwrite=overwrite)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def require_writable_target(target: Path, *, overwrite: bool) -> None:
    """Raises InputError where a folder may not be written there."""
    if target.exists() and not target.is_dir():
        raise InputError(str(target), "a folder or nothing", "a file")
    if not overwrite and target.is_dir() and any(target.iterdir()):
        raise InputError(str(target), "an empty folder or nothing (or permission to overwrite)", "a folder with files")


def take_place(folder: Path, target: Path, *, overwrite: bool) -> None:
    """The folder in the place of the target, which is removed; both on one file system. What came there meanwhile is not overwritten
    unless it may be: raises InputError as `require_writable_target`."""
    require_writable_target(target, overwrite=overwrite)
    if not target.exists():
        folder.rename(target)
        return
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as scratch:
        old = Path(scratch) / "old"
        target.rename(old)
        try:
            folder.rename(target)
        except BaseException:
            old.rename(target)
            raise


def write_whole_files(contents: Mapping[Path, FileContent], *, overwrite: bool = False) -> None:
    """Write files so that each is there whole or not at all, and none if one of them cannot be written or already exists.

    Raises:
        InputError: a file exists and may not be overwritten, or cannot be written.
    """
    for path in contents:
        if path.exists() and not overwrite:
            raise InputError(str(path), "nothing (or permission to overwrite)", "a file")
    temporary: dict[Path, Path] = {}
    new_folders: list[Path] = []
    try:
        for path, data in contents.items():
            with readable_errors(path):
                new_folders += [folder for folder in reversed(path.parents) if not folder.exists()]
                path.parent.mkdir(parents=True, exist_ok=True)
                temporary[path] = path.with_name(f".{path.name}.{os.getpid()}.partial")
                with temporary[path].open("wb") as file:
                    file.writelines(_pieces(data))
        for path, partial in temporary.items():
            with readable_errors(path):
                partial.replace(path)
    finally:
        for partial in temporary.values():
            partial.unlink(missing_ok=True)
        for folder in reversed(new_folders):
            # Those that hold something are not for removal, and say so.
            with contextlib.suppress(OSError):
                folder.rmdir()


def file_bytes(content: FileContent) -> bytes:
    """All of a file."""
    return b"".join(_pieces(content))


def _pieces(content: FileContent) -> Iterator[bytes]:
    given = content if isinstance(content, bytes) else content()
    return iter((given,)) if isinstance(given, bytes) else given


@contextlib.contextmanager
def readable_errors(target: Path) -> Iterator[None]:
    """Turns what the system says of a place that cannot be written into an InputError."""
    try:
        yield
    except OSError as error:
        raise InputError(str(target), "a place that can be written", error.strerror or str(error)) from error
