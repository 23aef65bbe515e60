"""Where a drive lies, and by which addresses tasks and the 3D view name its files."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from backend.label_studio_files import LOCAL_FILES_PATH
from backend.sequence_address import BucketFolder


@dataclass(frozen=True)
class DrivePlace:
    """A drive's folder as others see it.

    sequence: the address that tasks give. folder: the drive's own, relative to the data root, None where it lies elsewhere. derived: the
    folder of what is made of it, likewise. in_tasks, in_viewer: the address of a file by its path below the drive, as a task names it, and
    as a page of Label Studio's origin can load it.
    """

    sequence: str
    folder: Path | None
    derived: Path
    in_tasks: Callable[[str], str]
    in_viewer: Callable[[str], str]


def local_files_address(path: Path | PurePosixPath) -> str:
    """The address, relative to Label Studio's own, of a file or folder below its document root."""
    return f"{LOCAL_FILES_PATH}?d={quote(path.as_posix())}"


def local_place(folder: Path) -> DrivePlace:
    """Of a drive below the data root. folder: relative to it."""

    def address(name: str) -> str:
        return local_files_address(folder / name)

    return DrivePlace(local_files_address(folder), folder, Path("derived") / folder, address, address)


def bucket_place(folder: BucketFolder, project_id: int) -> DrivePlace:
    """Of a drive in a bucket, which means one drive to this project, and may mean another one to another project.

    Label Studio puts addresses of its own in place of s3:// in a task's data, and sends the files itself where the storage says so; what
    the 3D view loads it does not look into.
    """

    def in_viewer(name: str) -> str:
        encoded = base64.urlsafe_b64encode(folder.uri(name).encode()).decode()
        return f"/projects/{project_id}/resolve/?fileuri={encoded}"

    def in_tasks(name: str) -> str:
        uri = folder.uri(name)
        # In a list of addresses Label Studio finds none that holds an equals sign.
        return in_viewer(name) if "=" in uri else uri

    derived = Path("derived-s3") / str(project_id) / folder.bucket / folder.folder
    return DrivePlace(str(folder), None, derived, in_tasks, in_viewer)
