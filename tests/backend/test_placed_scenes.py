"""Scenes beside a drive's other files: one per window, found by the drive's description, and gone with it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backend.derived_files import DerivedFiles
from backend.drive_place import local_files_address, local_place
from backend.placed_scenes import place_scene
from backend.sequence_address import LocalFiles, parse_sequence_address
from converters.exports import write_sequence
from converters.scene_file import decode_scene
from converters.sequences import open_sequence
from converters.tasks import TaskWindow
from sam4d.geometry import BirdsEyeView
from sam4d.structures import InputError, VoxelScene
from tests.converters.tiny_recording import tiny_clip
from tests.converters.tiny_scene import tiny_scene

VIEW = BirdsEyeView(40.0, 0.2)
DRIVE = Path("sequences/a drive")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with an imported drive."""
    write_sequence(tiny_clip(), tmp_path / DRIVE)
    files = DerivedFiles.of(open_sequence(tmp_path / DRIVE), local_place(DRIVE), VIEW)
    files.render(tmp_path, VIEW, lambda step, done, total: None)
    return tmp_path


def window(first_frame: int = 0, frame_count: int = 4) -> TaskWindow:
    return TaskWindow(local_files_address(DRIVE), first_frame, frame_count, VIEW)


def listed(root: Path) -> list[dict[str, Any]]:
    return json.loads((root / DerivedFiles.of(tiny_clip(), local_place(DRIVE), VIEW).description_path).read_bytes()).get("scenes", [])  # type: ignore[no-any-return]


def read(root: Path, address: str) -> VoxelScene:
    place = parse_sequence_address(address, None)
    assert isinstance(place, LocalFiles)
    return decode_scene((root / place.folder).read_bytes(), address)


def test_a_scene_is_found_by_the_description_and_a_new_one_takes_its_place(root: Path) -> None:
    description = root / DerivedFiles.of(tiny_clip(), local_place(DRIVE), VIEW).description_path
    before = json.loads(description.read_bytes())
    assert place_scene(root, window(), tiny_scene())
    assert place_scene(root, window(3), tiny_scene())
    assert [(entry["first_frame"], entry["frame_count"]) for entry in listed(root)] == [(0, 4), (3, 4)]
    assert len(read(root, listed(root)[0]["address"])) == len(tiny_scene())

    newer = replace(tiny_scene(), moving=())
    assert place_scene(root, window(3), newer)
    assert [(entry["first_frame"], entry["frame_count"]) for entry in listed(root)] == [(0, 4), (3, 4)]
    assert read(root, listed(root)[1]["address"]).moving == ()
    assert len(list(root.rglob("*.s4ds"))) == 2
    assert place_scene(root, window(3), newer), "the same one once more"
    assert len(list(root.rglob("*.s4ds"))) == 2
    after = json.loads(description.read_bytes())
    assert {key: after[key] for key in before} == before
    assert not list(root.rglob("*.unfinished"))


def test_where_nothing_shows_it_nothing_is_written(root: Path, tmp_path: Path) -> None:
    before = sorted(root.rglob("*"))
    other_view = replace(window(), birds_eye=BirdsEyeView(50.0, 0.1))
    assert not place_scene(root, other_view, tiny_scene())
    assert not place_scene(root, replace(window(), sequence="https://host/drive/"), tiny_scene())
    with pytest.raises(InputError, match="expected one of 2 frames, found 4"):
        place_scene(root, window(0, 2), tiny_scene())
    description = root / DerivedFiles.of(tiny_clip(), local_place(DRIVE), VIEW).description_path
    assert place_scene(root, replace(window(), sequence=f"http://ls:8080{window().sequence}"), tiny_scene(), "http://ls:8080")
    (placed,) = root.rglob("*.s4ds")
    placed.unlink()
    placed.parent.rmdir()
    assert sorted(root.rglob("*")) == before
    description.write_text("[1")
    with pytest.raises(InputError, match="expected the description of a drive"):
        place_scene(root, window(), tiny_scene())
