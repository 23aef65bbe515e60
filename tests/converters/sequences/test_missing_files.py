"""What is missing beside the sweeps, or between them, is noticed; and allowed where somebody says so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from backend import cli
from converters.sequences import open_sequence
from converters.sequences.missing_files import holes, require_none_missing
from sam4d.structures import InputError
from tests.converters.sequences.bad_input import LAYOUTS


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["000002", "000004", "000005"], ["000003"]),
        (["s8", "s9", "s11"], ["s10"]),
        (["s10", "s11", "s8"], ["s9"]),
        (["0", "10", "20", "40"], ["30"]),
        (["000007"], []),
        (["3", "70"], []),
        # A selection of frames, times in microseconds, names without a number, numbers of two countings.
        (["000001", "000002", "000090"], []),
        (["1557539924499810", "1557539924599807", "1557539924799804"], []),
        (["first", "second", "third"], []),
        (["a1", "a2", "b4"], []),
    ],
)
def test_holes_in_a_numbering(names: Sequence[str], expected: Sequence[str]) -> None:
    assert holes(names) == expected


def test_a_long_list_is_cut_and_the_way_on_is_named() -> None:
    names = [f"{number:03}" for number in range(20)]
    with pytest.raises(InputError) as error:
        require_none_missing(Path("drive"), "lidar", [*names[:5], *names[11:]], {"camera": []}, {"times.txt": 20})
    assert str(error.value) == (
        "drive/lidar: expected a file for each of the 20 entries of times.txt (--allow-missing goes on without), "
        "found none for 005, 006, 007, 008 and 2 more"
    )
    with pytest.raises(InputError, match=r"^drive/times.txt: expected an entry for every file of lidar .*, found none for 018, 019$"):
        require_none_missing(Path("drive"), "lidar", names, {}, {"times.txt": 18})
    with pytest.raises(InputError, match=r"^drive/lidar: expected a file for every frame from 000 to 019 .*, found none for 007$"):
        require_none_missing(Path("drive"), "lidar", [name for name in names if name != "007"], {}, {})


@pytest.mark.parametrize(
    ("layout", "sweep", "image"),
    [
        ("KITTI raw", "velodyne_points/data/0000000001.bin", "image_02/data/0000000002.png"),
        ("KITTI tracking", "velodyne/0000/000001.bin", "image_02/0000/000002.png"),
        ("PandaSet", "lidar/01.pkl.gz", "camera/front/02.jpg"),
    ],
)
def test_frames_that_are_missing_may_be_left_out(tmp_path: Path, layout: str, sweep: str, image: str) -> None:
    LAYOUTS[layout].write(tmp_path)
    place = tmp_path / LAYOUTS[layout].place
    before = open_sequence(place)
    for file in (sweep, image):
        (place / file).unlink()
        with pytest.raises(InputError, match="--allow-missing"):
            open_sequence(place)
    found = open_sequence(place, allow_missing=True)
    assert [frame.timestamp_ns for frame in found.frames] == [before.frames[index].timestamp_ns for index in (0, 2)]
    assert [len(frame.load_images) for frame in found.frames] == [len(before.cameras), len(before.cameras) - 1]


def test_the_command_says_so_in_one_line_and_goes_on_where_it_may(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    LAYOUTS["KITTI tracking"].write(tmp_path / "training")
    (tmp_path / "training/velodyne/0000/000001.bin").unlink()
    command = ["convert", str(tmp_path / "training"), str(tmp_path / "drive")]
    assert cli.main(command) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "drive").exists()
    assert cli.main([*command, "--allow-missing"]) == 0
    assert len(open_sequence(tmp_path / "drive")) == 2


def test_a_camera_may_have_images_of_some_sweeps_alone(tmp_path: Path) -> None:
    LAYOUTS["CVAT 3D upload"].write(tmp_path)
    (tmp_path / "related_images/s1_pcd/rear.png").unlink()
    assert [set(frame.load_images) for frame in open_sequence(tmp_path, allow_missing=True).frames] == [
        {"front", "rear"},
        {"front"},
        {"front", "rear"},
    ]
