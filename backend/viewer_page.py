"""The built 3D view, placed among the files that Label Studio serves, so that it has Label Studio's origin.

`make` builds it from `backend/viewer/` into one file, `dist/index.html`; without Node it is not there and projects go without.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

from backend.drive_place import local_files_address
from converters.exports.whole_output import write_whole_files
from sam4d.structures import InputError

PAGE = Path(__file__).parent / "viewer" / "dist" / "index.html"
NOT_BUILT = "The 3D view was not built where this drive was imported (`make` builds it, with Node 20 or newer)."
_PLACE = Path("viewer") / "sam4d.html"
_HEIGHT = "max(600px, 80vh)"


@dataclass(frozen=True)
class ViewerPage:
    """The page in the data root. Its address stays the same, so that a newer page reaches the tasks that are there already.

    is_new: there was none before.
    """

    is_new: bool

    @property
    def folder(self) -> Path:
        """Relative to the data root."""
        return _PLACE.parent

    def html(self, description: Path, first_frame: int, frame_count: int, first_cloud: str) -> str:
        """The frame to be shown in a task. `description`: the clip's, relative to the data root; `first_cloud`: address of the first sweep,
        so that it comes along with the page."""
        clip, cloud = (quote(address, safe="") for address in (local_files_address(description), first_cloud))
        address = f"{local_files_address(_PLACE)}&clip={clip}&first={first_frame}&count={frame_count}&cloud={cloud}"
        style = f"width:100%;height:{_HEIGHT};border:0"
        return f'<iframe src="{escape(address)}" title="The drive in 3D" allow="fullscreen" style="{style}"></iframe>'

    def remove(self, data_root: Path) -> None:
        """What `place_viewer` did where there was none before."""
        (data_root / _PLACE).unlink()
        with contextlib.suppress(OSError):  # something else is in it
            (data_root / self.folder).rmdir()


def place_viewer(data_root: Path, page: Path = PAGE) -> ViewerPage | None:
    """Put the built page into the data root, in place of another version of it; None where it was not built.

    Raises:
        InputError: it cannot be written.
    """
    if not page.is_file():
        return None
    content, place = page.read_bytes(), data_root / _PLACE
    is_new = not place.exists()
    if is_new or place.read_bytes() != content:
        write_whole_files({place: content}, overwrite=True)
    return ViewerPage(is_new)


def refresh_viewer(data_root: Path, page: Path = PAGE) -> None:
    """Where an import placed a page of another version, this one takes its place: page and backend speak to each other.

    Raises:
        InputError: it cannot be written.
    """
    place = data_root / _PLACE
    try:
        if place.is_file():
            place_viewer(data_root, page)
    except OSError as error:
        raise InputError(str(place), "a file that this version's can take the place of", error.strerror or str(error)) from error
