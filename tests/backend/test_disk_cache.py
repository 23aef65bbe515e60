"""What was downloaded is kept, within a bound."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.disk_cache import DiskCache


def test_the_cache_stays_within_its_bounds(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 25)
    for key in "abc":
        assert cache.get(key, lambda key=key: key.encode() * 10) == key.encode() * 10  # type: ignore[misc]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 25
    assert cache.get("c", lambda: pytest.fail("it was kept")) == b"c" * 10
    assert cache.get("a", lambda: b"again") == b"again"


def test_what_cannot_be_kept_is_had_all_the_same_and_the_log_names_no_place(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    assert DiskCache(tmp_path / "file" / "folder", 25).get("a", lambda: b"content") == b"content"
    assert "a downloaded file is not kept: Not a directory" in caplog.text
    assert str(tmp_path) not in caplog.text
