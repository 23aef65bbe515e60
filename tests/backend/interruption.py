"""A run that is interrupted at a given place, and what it left."""

from __future__ import annotations

from pathlib import Path


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Interrupted:
    """Ctrl-C at the nth report of a step."""

    def __init__(self, step: str, done: int) -> None:
        self._where = (step, done)
        self.steps: list[str] = []

    def __enter__(self) -> Interrupted:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __call__(self, step: str, done: int, total: int) -> None:
        self.steps.append(step)
        if (step, done) == self._where:
            raise KeyboardInterrupt
