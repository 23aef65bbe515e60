"""Versions on disk: whole or not there, one of them serves, and the way back."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from backend.versions import ABOUT, BASE, POINTER, About, Standing, VersionError, VersionStore

ABOUT_ONE = About("geometric", "geometric-0+1", "2026-11-29T20:00:00+00:00", BASE, 7, {1: 11, 2: 12}, {3: 13}, 0.5, 0.75, "better")


@pytest.fixture
def store(tmp_path: Path) -> VersionStore:
    return VersionStore(tmp_path / "versions" / "geometric", "geometric")


def add(store: VersionStore, text: str = "{}") -> str:
    return store.add(ABOUT_ONE, lambda path: path.write_text(text)).name


def test_nothing_learnt_yet(store: VersionStore) -> None:
    assert (store.standing(), store.versions(), store.stamp()) == (Standing(BASE, ()), [], None)
    assert not store.folder.exists(), "who only looks makes nothing"
    with pytest.raises(VersionError, match="expected one that served before, found none before base"):
        store.roll_back()
    with pytest.raises(VersionError, match="version v1: expected one of base, found none of this name"):
        store.use("v1")


def test_a_version_comes_back_as_it_was_and_does_not_serve_by_itself(store: VersionStore) -> None:
    assert add(store, '{"gap_m": 0.25}') == "v1"
    assert add(store) == "v2"
    first, second = VersionStore(store.folder, "geometric").versions()
    assert first.about == ABOUT_ONE
    assert first.learnt_file.read_text() == '{"gap_m": 0.25}'
    assert second.name == "v2"
    assert store.standing().current == BASE
    assert sorted(path.name for path in store.folder.iterdir()) == ["v1", "v2"]


def test_using_and_rolling_back(store: VersionStore) -> None:
    for _ in range(3):
        add(store)
    stamps = [store.stamp()]
    for name in ("v1", "v3", "v3", BASE, "v2"):
        store.use(name)
        stamps.append(store.stamp())
    assert len(set(stamps)) == 6, "every change is seen, also one to the same"
    assert store.standing() == Standing("v2", (BASE, "v1", "v3", BASE))
    assert [store.roll_back().current for _ in range(4)] == [BASE, "v3", "v1", BASE]
    with pytest.raises(VersionError):
        store.roll_back()


def test_rolling_back_passes_over_what_is_damaged_since(store: VersionStore) -> None:
    for _ in range(2):
        store.use(add(store))
    store.use(add(store))
    (store.folder / "v2" / "parameters.json").unlink()
    assert store.roll_back() == Standing("v1", (BASE,))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda folder: (folder / ABOUT).write_bytes(b"\x00" * 50), "about.json is damaged"),
        (lambda folder: (folder / ABOUT).write_text("[]"), "about.json is damaged"),
        (lambda folder: (folder / ABOUT).write_text(json.dumps({"engine": "geometric"})), "about.json is damaged"),
        (lambda folder: (folder / ABOUT).unlink(), "about.json: No such file or directory"),
        (lambda folder: (folder / "parameters.json").unlink(), "no parameters.json"),
    ],
)
def test_a_damaged_version_says_so_and_cannot_be_used(store: VersionStore, damage: Any, says: str) -> None:
    add(store)
    damage(store.folder / add(store))
    assert [(version.name, version.trouble) for version in store.versions()] == [("v1", ""), ("v2", says)]
    with pytest.raises(VersionError, match=f"version v2: expected a whole version, found {says}"):
        store.use("v2")
    assert store.use("v1").current == "v1"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"current": 1, "history": []}', b'{"current": "v1", "history": 3}'])
def test_a_damaged_pointer_says_so_and_is_written_anew(store: VersionStore, content: bytes) -> None:
    add(store)
    (store.folder / POINTER).write_bytes(content)
    with pytest.raises(VersionError, match=r"current\.json in MODEL_DIR: expected .*found a damaged file"):
        store.standing()
    assert store.use("v1") == Standing("v1", (BASE,))


def test_a_full_disk_leaves_nothing_half_written(store: VersionStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.use(add(store))
    before = sorted(store.folder.rglob("*"))

    def full(path: Path) -> None:
        path.write_text("the first")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(VersionError, match="expected room, and a folder that can be written, found No space left on device"):
        store.add(ABOUT_ONE, full)

    def no_room(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    add(store)
    with monkeypatch.context() as short:
        short.setattr(os, "fsync", no_room)
        with pytest.raises(VersionError, match="No space left on device"):
            store.use("v2")
    assert store.standing().current == "v1"
    assert [path for path in sorted(store.folder.rglob("*")) if "v2" not in str(path)] == before


def test_what_another_process_left_half_done_is_no_version(store: VersionStore) -> None:
    add(store)
    (store.folder / ".new-abc").mkdir()
    (store.folder / "notes").mkdir()
    assert [version.name for version in store.versions()] == ["v1"]
