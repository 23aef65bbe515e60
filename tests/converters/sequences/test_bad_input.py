"""Every layout against the same list of bad input: one line, and nothing of it runs."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from converters.sequences import check_sequence, open_sequence, read_labels
from sam4d.structures import InputError
from tests.converters.sequences.bad_input import LAYOUTS, TABLE, Bad
from tests.converters.sequences.damage import Case


def test_no_cell_is_forgotten() -> None:
    assert set(TABLE) == set(LAYOUTS)
    assert {layout: set(row) for layout, row in TABLE.items()} == {layout: {*get_args(Bad)} for layout in LAYOUTS}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_whole_drives_are_read(tmp_path: Path, layout: str) -> None:
    LAYOUTS[layout].write(tmp_path / "drive")
    read_everything(tmp_path / "drive" / LAYOUTS[layout].place)


CELLS = [
    pytest.param(layout, bad, case, id=f"{layout}-{bad}-{Path(case.file).name}")
    for layout, row in TABLE.items()
    for bad, cases in row.items()
    if not isinstance(cases, str)
    for case in cases
]


@pytest.mark.parametrize(("layout", "bad", "case"), CELLS)
def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], layout: str, bad: Bad, case: Case) -> None:
    LAYOUTS[layout].write(tmp_path / "drive")
    place = tmp_path / "drive" / LAYOUTS[layout].place
    case.change(place / case.file)
    with pytest.raises(InputError, match=case.message) as error:
        read_everything(place)
    assert "\n" not in str(error.value)
    assert "ran" not in capsys.readouterr().out


def read_everything(place: Path) -> None:
    """Sweeps, images and labels."""
    clip = open_sequence(place)
    check_sequence(clip)
    read_labels(place, clip)
