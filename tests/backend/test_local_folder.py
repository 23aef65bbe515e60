"""Files below a folder, and nothing else that may lie there."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest

from backend.errors import MediaError
from backend.local_folder import LocalFolder, relative_path
from sam4d.structures import InputError


def test_only_files_of_a_size_below_the_root(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "drive" / "inner").mkdir(parents=True)
    (root / "drive" / "file").write_bytes(b"content")
    (root / "drive" / "large").write_bytes(bytes(101))
    (root / "drive" / "inside").symlink_to(root / "drive" / "file")
    (tmp_path / "secret").write_bytes(b"secret")
    (root / "drive" / "outside").symlink_to(tmp_path / "secret")
    (root / "drive" / "circle").symlink_to(root / "drive" / "circle")
    os.mkfifo(root / "drive" / "pipe")
    folder = LocalFolder(root.resolve(), PurePosixPath("drive"), 100)
    assert folder.read("file") == folder.read("inside") == b"content"
    for name, found in (
        ("none", "nothing"),
        ("circle", "nothing"),
        ("outside", "a link that leads out"),
        ("large", "101"),
        ("pipe", "something else"),
        ("inner", "something else"),
    ):
        with pytest.raises(MediaError, match=found) as caught:
            folder.read(name)
        assert str(tmp_path) not in str(caught.value)


def test_what_cannot_be_a_file_is_not_there(tmp_path: Path) -> None:
    assert not LocalFolder(tmp_path.resolve(), PurePosixPath("a" * 5000), 100).has("file")
    assert not LocalFolder(tmp_path.resolve(), PurePosixPath("a/" * 5000), 100).has("file")


@pytest.mark.parametrize("text", ["/etc/passwd", "..", "a/../../b", "a\\..\\b", "a\0b", "a\nb"])
def test_paths_that_do_not_stay(text: str) -> None:
    with pytest.raises(InputError, match="below the root"):
        relative_path(text, "file")
