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
