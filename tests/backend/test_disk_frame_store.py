"""Prepared frames on disk: what comes back is what was put, or nothing."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from backend.disk_cache import DiskCache
from backend.disk_frame_store import ALIGNED_BYTES, DiskFrameStore
from sam4d.frame_store import Arrays

ARRAYS: Arrays = {
    "points_m": np.arange(33, dtype=np.float32).reshape(11, 3),
    "valid": np.arange(11) % 3 == 0,
    "plane": np.array([0.25, -1.0, 3.0]),
    "nothing": np.zeros((0, 2), dtype=np.float32),
    "front/image": np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3),
    "halves": np.arange(6, dtype=np.int16),
    "rows": np.arange(-3, 4, dtype=np.int32),
    "long rows": np.arange(-3, 4),
    "turned": np.arange(12, dtype=np.float32).reshape(3, 4).T,
}


def store_in(folder: Path, most_bytes: int = 10**9) -> DiskFrameStore:
    return DiskFrameStore(DiskCache(folder, most_bytes, "a prepared frame"))


def assert_same(found: Arrays | None, expected: Arrays = ARRAYS) -> None:
    assert found is not None
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_what_was_put_comes_back_after_a_restart_too(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    assert store.get("key") is None
    assert store.put("key", ARRAYS)
    assert_same(store.get("key"))
    assert_same(store_in(tmp_path).get("key"))


def test_what_is_written_into_found_arrays_changes_nothing_stored(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    store.put("key", ARRAYS)
    found = store.get("key")
    assert found is not None
    for array in found.values():
        assert array.ctypes.data % ALIGNED_BYTES == 0 or not array.size
        array[...] = 1
    assert_same(store.get("key"))


def test_any_reader_of_safetensors_sees_the_bytes(tmp_path: Path) -> None:
    store_in(tmp_path).put("key", ARRAYS)
    contents = safetensors.numpy.load((tmp_path / "key").read_bytes())
    assert contents.keys() == ARRAYS.keys()
    assert contents["points_m"].tobytes().startswith(ARRAYS["points_m"].tobytes())


@pytest.fixture(scope="module")
def whole_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("whole")
    store_in(folder).put("key", ARRAYS)
    return (folder / "key").read_bytes()


@given(st.data())
def test_a_damaged_file_counts_as_not_there(tmp_path_factory: pytest.TempPathFactory, whole_file: bytes, data: st.DataObject) -> None:
    content = bytearray(whole_file)
    position = data.draw(st.integers(0, len(content) - 1))
    match data.draw(st.sampled_from(["bit", "cut", "zeros"])):
        case "bit":
            content[position] ^= 1 << data.draw(st.integers(0, 7))
        case "cut":
            del content[position:]
        case _:
            content[position:] = bytes(len(content) - position)
    folder = tmp_path_factory.mktemp("damaged")
    (folder / "key").write_bytes(content)
    found = store_in(folder).get("key")
    if bytes(content) == whole_file:
        assert_same(found)
    elif found is not None:
        # What lies between the arrays stands for nothing.
        assert_same(found)
    else:
        store = store_in(folder)
        assert store.put("key", ARRAYS)
        assert_same(store.get("key"))


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00" * 8, b"\xff" * 64, b"\x02\0\0\0\0\0\0\0{}", b"\x04\0\0\0\0\0\0\0null", b"[" * 100_000],
)
def test_a_file_of_another_kind_counts_as_not_there(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    assert store_in(tmp_path).get("key") is None


def test_the_least_recently_used_frame_makes_room(tmp_path: Path) -> None:
    one = {"image": np.zeros(10_000, dtype=np.uint8)}
    store = store_in(tmp_path, 25_000)
    for age, key in enumerate(("a", "b")):
        store.put(key, one)
        os.utime(tmp_path / key, (1000 + age, 1000 + age))
    assert store.get("a") is not None
    store.put("c", one)
    assert [key for key in "abc" if store.get(key) is not None] == ["a", "c"]


def test_a_frame_that_is_looked_at_stays_whole_when_its_file_is_deleted(tmp_path: Path) -> None:
    store = store_in(tmp_path, 25_000)
    store.put("a", ARRAYS)
    found = store.get("a")
    (tmp_path / "a").unlink()
    assert_same(found)
    assert store.get("a") is None


def test_what_cannot_be_kept_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    assert not store_in(tmp_path / "file" / "folder").put("key", ARRAYS)
    assert store_in(tmp_path / "file" / "folder").get("key") is None
    assert "a prepared frame is not kept" in caplog.text
    assert str(tmp_path) not in caplog.text


def test_files_that_a_killed_process_left_half_written_go(tmp_path: Path) -> None:
    (tmp_path / ".new-old").write_bytes(b"half")
    (tmp_path / ".new-now").write_bytes(b"half")
    before = time.time() - 7200
    os.utime(tmp_path / ".new-old", (before, before))
    store_in(tmp_path).put("key", ARRAYS)
    assert {path.name for path in tmp_path.iterdir()} == {".new-now", "key"}


def _put_and_get(folder: Path, start: int) -> int:
    """How often the content was another one's."""
    store, wrong = store_in(folder, 60_000), 0
    for turn in range(60):
        number = (start + turn) % 10
        arrays = {"image": np.full(10_000, number, dtype=np.uint8)}
        assert store.put(str(number), arrays)
        found = store.get(str((number + 3) % 10))
        wrong += found is not None and bool((found["image"] != (number + 3) % 10).any())
    return wrong


def test_two_processes_share_a_folder(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.starmap(_put_and_get, [(tmp_path, 0), (tmp_path, 5)]) == [0, 0]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 60_000 + 11_000
