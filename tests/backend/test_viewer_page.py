from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from xml.etree.ElementTree import fromstring

from backend.viewer_page import PAGE, place_viewer, refresh_viewer


def test_the_page_keeps_its_address_and_a_newer_one_takes_its_place(tmp_path: Path) -> None:
    page = tmp_path / "index.html"
    assert place_viewer(tmp_path / "root", page) is None
    page.write_text("one")
    first = place_viewer(tmp_path / "root", page)
    assert first is not None
    assert first.is_new
    page.write_text("two")
    second = place_viewer(tmp_path / "root", page)
    assert second is not None
    assert not second.is_new
    (placed,) = (tmp_path / "root").rglob("*.html")
    assert placed.read_text() == "two"

    page.write_text("three")
    refresh_viewer(tmp_path / "root", page)
    assert placed.read_text() == "three"
    refresh_viewer(tmp_path / "another root", page)
    assert not (tmp_path / "another root").exists(), "the first page is placed by an import"

    frame = fromstring(second.html(Path("derived/a drive/50m_0.1/viewer.json"), 20, 5, "/data/local-files/?d=clouds/20.s4dc"))
    address = urlsplit(frame.attrib["src"])
    assert address.path == "/data/local-files/"
    query = parse_qs(address.query)
    assert query["d"] == [placed.relative_to(tmp_path / "root").as_posix()]
    assert query["clip"] == ["/data/local-files/?d=derived/a%20drive/50m_0.1/viewer.json"]
    assert (query["first"], query["count"]) == (["20"], ["5"])
    assert query["cloud"] == ["/data/local-files/?d=clouds/20.s4dc"]
    second.remove(tmp_path / "root")
    assert not placed.exists()


def test_it_is_looked_for_where_it_is_built() -> None:
    root = Path(__file__).parents[2]
    assert root / "backend" / "viewer" / "dist" / "index.html" == PAGE
    assert (root / "backend" / "viewer" / "package-lock.json").is_file()
