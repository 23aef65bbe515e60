"""Files below one folder of this machine, and nothing outside it."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from backend.errors import MediaError
from sam4d.structures import InputError


def relative_path(text: str, where: str) -> PurePosixPath:
    """A path that stays below the folder it is relative to. Raises InputError where it does not."""
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts or "\\" in text or any(ord(letter) < 32 for letter in text):
        raise InputError(where, "a path below the root, without '..'", repr(text))
    return path


@dataclass(frozen=True)
class LocalFolder:
    """A folder below the data root; links that lead out of the root are refused."""

    root: Path
    folder: PurePosixPath
    file_bytes: int

    def has(self, name: str) -> bool:
        try:
            return self.root.joinpath(self.folder, name).is_file()
        except OSError:
            # a name longer than names can be, a folder that is not ours to read
            return False

    def read(self, name: str) -> bytes:
        path = self.root.joinpath(self.folder, relative_path(name, f"file of {self.folder}"))
        where = str(self.folder / name)
        try:
            real = path.resolve(strict=True)
        except (OSError, RuntimeError):
            raise MediaError(where, "a file below the data root", "nothing") from None
        if not real.is_relative_to(self.root):
            raise MediaError(where, "a file below the data root", "a link that leads out of it")
        try:
            status = real.stat()
            if not stat.S_ISREG(status.st_mode):
                # A pipe would be waited for without end.
                raise MediaError(where, "a file", "something else")
            if status.st_size > self.file_bytes:
                raise MediaError(where, f"at most {self.file_bytes} bytes", f"{status.st_size}")
            return real.read_bytes()
        except OSError as error:
            raise MediaError(where, "a readable file", error.strerror or "an error") from None
