from __future__ import annotations

from pathlib import Path

import pytest

from sam4d.whole_file import write_whole


def test_a_file_is_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "noted.json"
    write_whole(path, "before")
    write_whole(path, "naïve")
    assert path.read_text(encoding="utf-8") == "naïve"

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="no space left"):
        write_whole(path, "after")
    assert path.read_text(encoding="utf-8") == "naïve"
    assert list(tmp_path.iterdir()) == [path]
