"""What an engine has learnt, version by version, in a folder of MODEL_DIR, and which of them serves.

    MODEL_DIR/versions/sam4d/v1/weights.safetensors, about.json
    MODEL_DIR/versions/sam4d/current.json

A version is there whole or not at all and never changes. `current.json` is replaced in one step, so that a process reads the old one or
the new one. `base` is what the settings name: the checkpoint, or the geometric engine as it is. It has no folder.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from sam4d.structures import InputError
from sam4d.whole_file import flush, write_whole

EngineKind: TypeAlias = Literal["geometric", "sam4d"]

BASE = "base"
POINTER = "current.json"
ABOUT = "about.json"
LEARNT_FILES: Mapping[EngineKind, str] = {"geometric": "parameters.json", "sam4d": "weights.safetensors"}

Stamp: TypeAlias = tuple[int, int, int] | None
"""Of the file that says which version serves: another one where it was replaced."""


class VersionError(InputError):
    """The folder of versions, or a version in it, cannot be read or written."""


@dataclass(frozen=True)
class About:
    """What is known of a version.

    model_version: as Label Studio shows it. made: when, UTC, as ISO 8601. parent: the version it began from. project_id: whose annotations
    it learnt from. training, held_out: {task: annotation} that it learnt from and was judged by. old_score, new_score: of the parent and of
    itself on the held-out tasks, in [0, 1]. note: how it came to be, one line.
    """

    engine: EngineKind
    model_version: str
    made: str
    parent: str
    project_id: int | None = None
    training: Mapping[int, int] = field(default_factory=dict)
    held_out: Mapping[int, int] = field(default_factory=dict)
    old_score: float | None = None
    new_score: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Version:
    """A learnt version. `about` is None where its folder is damaged, and `trouble` says how."""

    name: str
    folder: Path
    about: About | None
    trouble: str = ""

    @property
    def learnt_file(self) -> Path:
        """The weights or parameters. Raises VersionError where the version is damaged."""
        if self.about is None:
            raise VersionError(f"version {self.name}", "a whole version", self.trouble)
        return self.folder / LEARNT_FILES[self.about.engine]


@dataclass(frozen=True)
class Standing:
    """Which version serves, and which ones served before it, the oldest first."""

    current: str = BASE
    history: tuple[str, ...] = ()


class VersionStore:
    """The versions of one kind of engine. Safe to use from many processes.

    Args:
        folder: made with the first version.
    """

    def __init__(self, folder: Path, engine: EngineKind) -> None:
        self.folder = folder
        self.engine = engine

    def stamp(self) -> Stamp:
        """Cheap: for a look with every request."""
        try:
            status = (self.folder / POINTER).stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    def standing(self) -> Standing:
        """Raises VersionError where the file that says so is damaged."""
        where = f"versions/{self.engine}/{POINTER} in MODEL_DIR"
        try:
            content = json.loads((self.folder / POINTER).read_bytes())
            standing = Standing(content["current"], tuple(content["history"]))
        except FileNotFoundError:
            return Standing()
        except OSError as error:
            raise VersionError(where, "a file that can be read", error.strerror or "an error") from None
        except (ValueError, KeyError, TypeError):
            raise VersionError(where, "the names of versions (sam4d checkpoint use writes it anew)", "a damaged file") from None
        if not all(isinstance(name, str) for name in (standing.current, *standing.history)):
            raise VersionError(where, "the names of versions (sam4d checkpoint use writes it anew)", "a damaged file")
        return standing

    def versions(self) -> list[Version]:
        """The learnt ones, the oldest first; damaged ones, too. Raises VersionError where the folder cannot be read."""
        try:
            names = [entry.name for entry in self.folder.iterdir() if _number(entry.name)] if self.folder.is_dir() else []
        except OSError as error:
            raise VersionError(f"versions/{self.engine} in MODEL_DIR", "a folder that can be read", error.strerror or "an error") from None
        return [self._read(name) for name in sorted(names, key=_number)]

    def get(self, name: str) -> Version:
        """Raises VersionError where there is no such version or it is damaged."""
        found = {version.name: version for version in self.versions()}
        if name not in found:
            raise VersionError(f"version {name}", f"one of {', '.join([BASE, *found])}", "none of this name")
        found[name].learnt_file  # noqa: B018  # says what is wrong with it
        return found[name]

    def add(self, about: About, write: Callable[[Path], object]) -> Version:
        """A new version, which does not serve yet. `write` puts the weights or parameters at a path.

        Raises:
            VersionError: no room, or nothing can be written; nothing of it is left then.
        """
        with self._writable():
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            temporary = Path(tempfile.mkdtemp(dir=self.folder, prefix=".new-"))
            try:
                write(temporary / LEARNT_FILES[about.engine])
                (temporary / ABOUT).write_text(json.dumps(asdict(about), indent=1), encoding="utf-8")
                for path in (*temporary.iterdir(), temporary):
                    flush(path)
                return self._place(temporary, about)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)

    def use(self, name: str) -> Standing:
        """From now on this one serves. Raises VersionError where it is not there, damaged, or nothing can be written."""
        if name != BASE:
            self.get(name)
        try:
            before = self.standing()
        except VersionError:
            before = Standing()
        if name == before.current:
            return self._write(before)
        return self._write(Standing(name, (*before.history, before.current)))

    def roll_back(self) -> Standing:
        """The version that served before serves again; those that are gone or damaged since are passed over.

        Raises VersionError where none served before.
        """
        before = self.standing()
        history = list(before.history)
        while history:
            name = history.pop()
            with contextlib.suppress(VersionError):
                if name != BASE:
                    self.get(name)
                return self._write(Standing(name, tuple(history)))
        raise VersionError("version", "one that served before", f"none before {before.current}")

    def _read(self, name: str) -> Version:
        folder = self.folder / name
        try:
            content: dict[str, Any] = json.loads((folder / ABOUT).read_bytes())
            numbers = {key: {int(task): int(number) for task, number in content[key].items()} for key in ("training", "held_out")}
            about = About(**{**content, **numbers})
        except OSError as error:
            return Version(name, folder, None, f"{ABOUT}: {error.strerror or 'an error'}")
        except (ValueError, KeyError, TypeError, AttributeError):
            return Version(name, folder, None, f"{ABOUT} is damaged")
        if about.engine not in get_args(EngineKind) or about.engine != self.engine:
            return Version(name, folder, None, f"{ABOUT} is of another engine")
        file = LEARNT_FILES[about.engine]
        if not (folder / file).is_file():
            return Version(name, folder, None, f"no {file}")
        return Version(name, folder, about)

    def _place(self, temporary: Path, about: About) -> Version:
        number = max((_number(entry.name) for entry in self.folder.iterdir()), default=0)
        while True:
            # Another process may take the same number; a folder that holds something is not replaced.
            number += 1
            target = self.folder / f"v{number}"
            with contextlib.suppress(FileExistsError):
                if not target.exists():
                    try:
                        temporary.rename(target)
                    except OSError as error:
                        if not target.exists():
                            raise
                        raise FileExistsError(error.errno, error.strerror) from None
                    flush(self.folder)
                    return Version(target.name, target, about)

    def _write(self, standing: Standing) -> Standing:
        with self._writable():
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_whole(self.folder / POINTER, json.dumps({"current": standing.current, "history": list(standing.history)}))
        return standing

    @contextlib.contextmanager
    def _writable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            where = f"versions/{self.engine} in MODEL_DIR"
            raise VersionError(where, "room, and a folder that can be written", error.strerror or "an error") from None


def _number(name: str) -> int:
    """Of a version's name; 0 where it is none."""
    digits = name[1:]
    return int(digits) if name.startswith("v") and digits.isascii() and digits.isdigit() and len(digits) < 10 else 0
