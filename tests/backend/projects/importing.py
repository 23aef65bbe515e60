"""What tests of projects share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from backend.label_studio import Project
from backend.projects import ImportedSequence, ImportOptions

OPTIONS = ImportOptions(frames_per_task=3, overlap=2, range_m=40.0)
Import = Callable[..., tuple[Project, tuple[ImportedSequence, ...]]]


def below(folder: Path) -> list[Path]:
    """Files and folders."""
    return sorted(folder.rglob("*"))


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
