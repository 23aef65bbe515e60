"""Which layout a path holds, and how any of them becomes a sequence folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend import cli
from converters.sequences import open_sequence, read_labels
from converters.sequences.sequence_folder import SweepFile
from sam4d.structures import InputError, Sweep
from tests.converters.sequences.recordings import (
    assert_same_recording,
    straight,
    write_tiny_nuscenes,
)
from tests.converters.tiny_recording import tiny_clip


def test_an_unknown_layout_says_what_is_known(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a known layout .*KITTI raw.*found none of them"):
        open_sequence(tmp_path)


class TestConvert:
    def test_any_layout_becomes_a_sequence_folder_with_its_labels(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write_tiny_nuscenes(tmp_path / "nuscenes")
        assert cli.main(["convert", str(tmp_path / "nuscenes"), str(tmp_path / "drive")]) == 0
        assert "tiny: 3 frames, 2 cameras, 2 labelled objects" in capsys.readouterr().out
        clip = open_sequence(tmp_path / "drive")
        assert_same_recording(clip, straight(tiny_clip()))
        assert [masklet.label for masklet in read_labels(tmp_path / "drive", clip)] == ["vehicle.car", "human"]

    def test_a_label_map_renames_in_a_sequence_folder_too(self, tmp_path: Path) -> None:
        write_tiny_nuscenes(tmp_path / "nuscenes")
        (tmp_path / "map.json").write_text('{"vehicle.car": "Car", "human": null}')
        command = ["convert", str(tmp_path / "nuscenes"), str(tmp_path / "drive"), "--label-map", str(tmp_path / "map.json")]
        assert cli.main(command) == 0
        labels = read_labels(tmp_path / "drive", open_sequence(tmp_path / "drive"))
        assert [masklet.label for masklet in labels] == ["Car"]

    def test_labels_become_another_format(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write_tiny_nuscenes(tmp_path / "nuscenes")
        (tmp_path / "map.json").write_text('{"vehicle.car": "Car", "human": null}')
        command = [
            "convert",
            str(tmp_path / "nuscenes"),
            str(tmp_path / "out"),
            "--format",
            "kitti-tracking",
            "--label-map",
            str(tmp_path / "map.json"),
        ]
        assert cli.main(command) == 0
        assert "kitti-tracking cannot hold masks, points and scores; these are in" in capsys.readouterr().out
        lines = (tmp_path / "out/label_02/tiny.txt").read_text().splitlines()
        assert [line.split()[:3] for line in lines] == [[str(k), "1", "Car"] for k in range(3)]

    def test_an_interrupted_run_is_gone_on_with(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_tiny_nuscenes(tmp_path / "nuscenes")
        command = ["convert", str(tmp_path / "nuscenes"), str(tmp_path / "drive")]
        read: list[str] = []

        def load(sweep: SweepFile) -> Sweep:
            read.append(sweep.path)
            if len(read) == 2:
                raise KeyboardInterrupt
            return sweep.parse(sweep.read_bytes(sweep.path), sweep.path)

        monkeypatch.setattr(SweepFile, "__call__", load)
        assert cli.main(command) == 130
        assert "the same command with --resume goes on with it" in capsys.readouterr().err
        assert sorted(path.name for path in tmp_path.iterdir()) == [".drive.partial", "nuscenes"]
        assert cli.main([*command, "--format", "coco", "--resume"]) == 2
        write_tiny_nuscenes(tmp_path / "other/nuscenes")
        assert cli.main(["convert", str(tmp_path / "other/nuscenes"), str(tmp_path / "drive"), "--resume"]) == 2
        assert "expected what an interrupted run with the same input and options left behind" in capsys.readouterr().err

        assert cli.main([*command, "--resume"]) == 0
        assert [Path(path).name for path in read] == ["0.pcd.bin", "1.pcd.bin", "1.pcd.bin", "2.pcd.bin"]
        assert sorted(path.name for path in tmp_path.iterdir()) == ["drive", "nuscenes", "other"]
        monkeypatch.undo()
        assert_same_recording(open_sequence(tmp_path / "drive"), straight(tiny_clip()))
        assert not list((tmp_path / "drive").rglob(".*"))
        assert cli.main([*command, "--resume", "--overwrite"]) == 2
        assert "found nothing" in capsys.readouterr().err
        assert cli.main([*command, "--overwrite"]) == 0

    def test_an_interrupted_run_is_begun_anew_without_resume_and_an_error_leaves_nothing(self, tmp_path: Path) -> None:
        write_tiny_nuscenes(tmp_path / "nuscenes")
        (tmp_path / ".drive.partial/sweeps").mkdir(parents=True)
        (tmp_path / ".drive.partial/sweeps/000000.pcd").write_bytes(b"of another drive")
        assert cli.main(["convert", str(tmp_path / "nuscenes"), str(tmp_path / "drive")]) == 0
        assert_same_recording(open_sequence(tmp_path / "drive"), straight(tiny_clip()))
        assert sorted(path.name for path in tmp_path.iterdir()) == ["drive", "nuscenes"]

    def test_what_cannot_be_converted_is_one_line_and_leaves_nothing(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "empty").mkdir()
        assert cli.main(["convert", str(tmp_path / "empty"), str(tmp_path / "out")]) == 2
        assert len(capsys.readouterr().err.strip().splitlines()) == 1
        write_tiny_nuscenes(tmp_path / "nuscenes")
        (tmp_path / "nuscenes/samples/LIDAR_TOP/1.pcd.bin").write_bytes(b"123")
        assert cli.main(["convert", str(tmp_path / "nuscenes"), str(tmp_path / "out")]) == 2
        assert "1.pcd.bin: expected rows of 5 float32 numbers" in capsys.readouterr().err
        assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "nuscenes"]
