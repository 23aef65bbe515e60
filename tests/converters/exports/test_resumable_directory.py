"""What an interrupt leaves is gone on with; what an error leaves is nothing, unless all was written already."""

from __future__ import annotations

from pathlib import Path

import pytest

from converters.exports.resumable_directory import partial_directory, resumable_directory, was_begun, write_whole
from sam4d.structures import InputError


def test_an_interrupt_leaves_the_work_and_an_error_does_not(tmp_path: Path) -> None:
    target = tmp_path / "drive"
    for error in (KeyboardInterrupt, ValueError):
        with pytest.raises(error), resumable_directory(target, "a drive") as folder:  # noqa: PT012
            write_whole(folder / "file", b"1")
            raise error
        assert partial_directory(target).exists() == (error is KeyboardInterrupt)
    assert not target.exists()


def test_what_keeps_a_whole_folder_from_its_place_does_not_cost_it(tmp_path: Path) -> None:
    target = tmp_path / "drive"
    with pytest.raises(InputError), resumable_directory(target, "a drive") as folder:  # noqa: PT012
        write_whole(folder / "file", b"1")
        target.write_bytes(b"somebody put a file here meanwhile")
    assert (partial_directory(target) / "file").read_bytes() == b"1"
    target.unlink()
    with resumable_directory(target, "a drive", resume=True) as folder:
        assert (folder / "file").read_bytes() == b"1"
    assert [path.name for path in target.iterdir()] == ["file"]
    assert [path.name for path in tmp_path.iterdir()] == ["drive"]


def test_who_was_quicker_wins(tmp_path: Path) -> None:
    """Two runs write the same folder; the slower one must not put its rest in the place of the whole."""
    target = tmp_path / "drive"
    with pytest.raises(InputError, match="another run took it away meanwhile"), resumable_directory(target, "a drive") as slow:  # noqa: PT012
        write_whole(slow / "first", b"1")
        assert was_begun(target, "a drive")
        assert not was_begun(target, "another")
        with resumable_directory(target, "a drive", resume=True) as quick:
            write_whole(quick / "second", b"2")
        assert not was_begun(target, "a drive")
        write_whole(slow / "third", b"3")
    assert sorted(path.name for path in target.iterdir()) == ["first", "second"]
    assert [path.name for path in tmp_path.iterdir()] == ["drive"]
