"""`sam4d generate` from image masks that are there already, and from those of SAM 2."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.cli import main
from backend.commands import generation
from converters.exports import LabelFormat, labels_as, read_waymo_4dseg_label_files, write_sequence, write_whole_files
from converters.sequences import open_sequence
from sam4d.data_engine.sam2_video import ProposedMasks, Sam2Video
from sam4d.geometry import BoolArray
from sam4d.simulation import SyntheticDrive
from sam4d.structures import Masklet
from tests.backend.interruption import Interrupted, files_of
from tests.sam4d.data_engine.tiny_sam2 import write_tiny_sam2


@pytest.fixture
def recording(tmp_path: Path, small_drive: SyntheticDrive) -> Path:
    write_sequence(small_drive.clip, tmp_path / "drive")
    return tmp_path / "drive"


def front_mask(masklet: Masklet) -> BoolArray:
    """On frame 0, bool (200, 320)."""
    masks = masklet.masks[0].camera_masks if 0 in masklet.masks else {}
    return masks["front"] if "front" in masks else np.zeros((200, 320), dtype=np.bool_)


def iou(one: BoolArray, other: BoolArray) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))


@pytest.mark.parametrize("label_format", ["coco", "waymo-4dseg"])
def test_a_drive_is_labelled_from_masks_in_files(
    recording: Path, small_drive: SyntheticDrive, tmp_path: Path, capsys: pytest.CaptureFixture[str], label_format: LabelFormat
) -> None:
    clip = open_sequence(recording)
    exact = [replace(masklet, label=f"our {masklet.label}") for masklet in small_drive.masklets]
    files = labels_as(label_format, clip, exact).files
    write_whole_files({tmp_path / "masks" / path: data for path, data in files.items()})
    given = tmp_path / "masks" / next(iter(files)) if label_format == "coco" else tmp_path / "masks"
    assert main(["generate", str(recording), str(tmp_path / "out"), "--masks", str(given), "--format", "waymo-4dseg"]) == 0
    assert "4 frames" in capsys.readouterr().out
    found = read_waymo_4dseg_label_files(tmp_path / "out", clip)
    large = [masklet for masklet in exact if front_mask(masklet).sum() >= 300]
    best = [found[int(np.argmax([iou(front_mask(each), front_mask(masklet)) for each in found]))] for masklet in large]
    assert len(large) >= 2
    assert np.median([iou(front_mask(one), front_mask(other)) for one, other in zip(best, large, strict=True)]) > 0.9
    assert all(each.label.startswith("our ") for each in best)


def test_a_drive_is_labelled_from_masks_of_sam_2(recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tiny_sam2(tmp_path / "weights")
    assert main(["generate", str(recording), str(tmp_path / "out"), "--vfm", str(tmp_path / "weights"), "--device", "cpu"]) == 0
    captured = capsys.readouterr()
    assert "4 frames" in captured.out
    assert captured.err == ""


def test_images_that_sam_2_went_through_are_not_looked_at_again(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tiny_sam2(tmp_path / "weights")

    def command(output: str) -> list[str]:
        return ["generate", str(recording), str(tmp_path / output), "--vfm", str(tmp_path / "weights"), "--device", "cpu"]

    looked: list[int] = []
    propose = Sam2Video.propose

    def noted(network: Sam2Video, *given: Any) -> ProposedMasks:
        looked.append(1)
        return propose(network, *given)

    monkeypatch.setattr(Sam2Video, "propose", noted)
    assert main(command("whole")) == 0
    assert len(looked) == 2, "the four images of two cameras are a window each"
    with monkeypatch.context() as patched:
        patched.setattr(generation, "ProgressBars", lambda: Interrupted("looking for masks", 4))
        assert main(command("pieces")) == 130
    assert "the same command goes on" in capsys.readouterr().err
    kept = next((tmp_path / ".pieces.work").glob("*/images-0-000000.npz"))
    assert main(command("pieces")) == 0
    assert len(looked) == 4, "one camera before, the other one after"
    assert files_of(tmp_path / "pieces") == files_of(tmp_path / "whole")
    assert not kept.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--vfm", "."], "expected a folder with SAM 2's config.json"),
        (["--masks", "nothing.json"], "nothing.json"),
        (["--masks", "images"], "expected labels of Waymo-4DSeg"),
    ],
)
def test_masks_that_are_not_there(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    monkeypatch.chdir(recording)
    assert main(["generate", str(recording), str(tmp_path / "out"), *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "out").exists()
