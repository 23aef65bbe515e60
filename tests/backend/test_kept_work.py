"""Labelling a drive without a click, interrupted: the next run goes on, and gives the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backend.cli import main
from backend.commands import generation
from backend.data_engine import DataEngine
from backend.kept_work import WorkFolder, digest_of, digest_of_masklets
from converters.exports import write_sequence, write_whole_files
from sam4d.data_engine import generate
from sam4d.geometry import SE3
from sam4d.predictor import build_predictor
from sam4d.simulation import SyntheticDrive
from sam4d.structures import Clip, InputError, Masklet
from tests.backend.interruption import Interrupted, files_of


@pytest.fixture
def recording(tmp_path: Path, small_drive: SyntheticDrive) -> Path:
    write_sequence(small_drive.clip, tmp_path / "drive")
    return tmp_path / "drive"


def work_of(output: Path) -> Path:
    return output.with_name(f".{output.name}.work")


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("--per-frame",)], ids=["poses", "per-frame"])
def test_a_run_that_is_interrupted_again_and_again_gives_the_same_files(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], more: tuple[str, ...]
) -> None:
    def command(output: Path) -> list[str]:
        return ["generate", str(recording), str(output), "--format", "waymo-4dseg", *more]

    assert main(command(tmp_path / "whole")) == 0
    assert not work_of(tmp_path / "whole").exists()
    looked: list[Sequence[str]] = []
    output = tmp_path / "pieces"
    for step, done in (("looking for objects", 3), ("asking the images", 2), ("bringing objects back", 2), ("bringing objects back", 4)):
        capsys.readouterr()
        with monkeypatch.context() as patched:
            bars = Interrupted(step, done)
            patched.setattr(generation, "ProgressBars", lambda bars=bars: bars)
            assert main(command(output)) == 130
        looked.append(bars.steps)
        assert not output.exists()
        said = capsys.readouterr().err
        assert (str(work_of(output)) in said) == (step != "looking for objects")
    with monkeypatch.context() as patched:
        patched.setattr(generation, "write_whole_files", interrupted_between_files(write_whole_files))
        assert main(command(output)) == 130
    assert 0 < len(files_of(output)) < len(files_of(tmp_path / "whole"))
    assert main(command(output)) == 0
    assert files_of(output) == files_of(tmp_path / "whole")
    assert not work_of(output).exists()
    assert ["looking for objects" in steps for steps in looked] == [True, True, False, False], "what was found is not looked for again"


def interrupted_between_files(write: Callable[..., None]) -> Callable[..., None]:
    def write_one(contents: dict[Path, object], *, overwrite: bool) -> None:
        first = next(iter(contents))
        write({first: contents[first]}, overwrite=overwrite)
        raise KeyboardInterrupt

    return write_one


KILLED_AFTER = """
import os, signal, sys
from backend import kept_work
from backend.cli import main

write, left = kept_work.write_labels, int(sys.argv[1])

def write_and_die(*given, **more):
    global left
    write(*given, **more)
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)

kept_work.write_labels = write_and_die
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on(recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["generate", str(recording), str(tmp_path / "pieces")]
    for left in (1, 2):
        killed = subprocess.run(
            [sys.executable, "-c", KILLED_AFTER, str(left), *command],
            env={**os.environ, "PYTHONPATH": str(Path.cwd())},
            capture_output=True,
        )
        assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    kept = sorted(path.name for path in work_of(tmp_path / "pieces").glob("*/frames-000000/*"))
    assert kept == ["frame-000000", "frame-000001", "objects"]
    assert main(command) == 0
    assert main(["generate", str(recording), str(tmp_path / "whole")]) == 0
    assert files_of(tmp_path / "pieces") == files_of(tmp_path / "whole")


def test_files_in_the_way_are_said_before_the_work_and_left_alone(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_drive: SyntheticDrive
) -> None:
    in_the_way = tmp_path / "labels" / small_drive.clip.name / "labels" / "cuboids.json"
    in_the_way.parent.mkdir(parents=True)
    in_the_way.write_text("mine")
    monkeypatch.setattr(DataEngine, "label", lambda *given: pytest.fail("worked in vain"))
    assert main(["generate", str(recording), str(tmp_path / "labels")]) == 2
    assert in_the_way.read_text() == "mine"
    assert not work_of(tmp_path / "labels").exists()


def test_what_is_kept_is_read_back_and_made_anew_where_it_is_broken(small_drive: SyntheticDrive, tmp_path: Path) -> None:
    work = WorkFolder(tmp_path / "work")
    made = work.masklets("objects", small_drive.clip, lambda: small_drive.masklets)
    again = work.masklets("objects", small_drive.clip, lambda: pytest.fail("made twice"))
    for one, two, given in zip(made, again, small_drive.masklets, strict=True):
        assert one.cuboids == two.cuboids == dict(given.cuboids)
        assert [masks.lidar_mask.tolist() for masks in one.masks.values()] == [masks.lidar_mask.tolist() for masks in given.masks.values()]
    (tmp_path / "work/objects/labels/masks.json").write_bytes(b"")
    assert len(work.masklets("objects", small_drive.clip, lambda: small_drive.masklets)) == len(made)
    assert (tmp_path / "work/objects/labels/masks.json").stat().st_size > 0
    arrays = {"numbers": np.arange(3), "none": np.zeros((0, 1))}
    assert work.arrays("images", lambda: arrays) is arrays
    kept = work.arrays("images", lambda: pytest.fail("made twice"))
    assert {name: array.tolist() for name, array in kept.items()} == {"numbers": [0, 1, 2], "none": []}
    whole = (tmp_path / "work/images.npz").read_bytes()
    for broken in (b"", whole[:40], whole[:-40], b"PK" + whole):
        (tmp_path / "work/images.npz").write_bytes(broken)
        assert work.arrays("images", lambda: arrays) is arrays
        assert (tmp_path / "work/images.npz").read_bytes() == whole
    work.remove()
    assert not work.is_begun


def test_work_is_another_one_where_anything_is_another(small_drive: SyntheticDrive) -> None:
    clip = small_drive.clip

    def changed(**given: object) -> Clip:
        return replace(clip, frames=(*clip.frames[:-1], replace(clip.frames[-1], **given)))  # type: ignore[arg-type]

    sweep = clip.frames[-1].load_sweep()
    image = clip.frames[-1].load_images["front"]()
    digests = [
        digest_of(clip, "engine", "Car"),
        digest_of(clip, "engine-2", "Car"),
        digest_of(clip, "engine", "Car", "Truck"),
        digest_of(changed(world_SE3_lidar=SE3.from_yaw(0.0, [1.0, 0, 0])), "engine", "Car"),
        digest_of(changed(load_sweep=lambda: replace(sweep, points_m=sweep.points_m + 1)), "engine", "Car"),
        digest_of(changed(load_images={**clip.frames[-1].load_images, "front": lambda: image // 2}), "engine", "Car"),
        digest_of(clip.window(0, 3), "engine", "Car"),
    ]
    assert len(set(digests)) == len(digests)
    assert digest_of(clip, "engine", "Car") == digests[0]
    assert digest_of_masklets(small_drive.masklets, clip) != digest_of_masklets(small_drive.masklets[:-1], clip)


def test_a_long_drive_is_labelled_in_parts_whose_objects_are_joined(
    small_drive: SyntheticDrive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the truth in place of the engine, under other numbers and labels in each part."""
    parts: list[Clip] = []
    truth = [masklet for masklet in small_drive.masklets if len(masklet.masks) == len(small_drive.clip)]

    def found(part: Clip, *_: object) -> list[Masklet]:
        first = next(index for index, frame in enumerate(small_drive.clip.frames) if frame is part.frames[0])
        parts.append(part)
        shown = []
        for number, masklet in enumerate(reversed(truth) if first else truth, start=1):
            frames = [index for index in masklet.masks if first <= index < first + len(part)]
            masks = {index - first: replace(masklet.masks[index], object_id=number, frame_index=index - first) for index in frames}
            cuboids = {index - first: masklet.cuboids[index] for index in frames}
            if masks:
                shown.append(Masklet(number, masklet.label if not first else "Other", masks, cuboids))
        return shown

    monkeypatch.setattr("backend.data_engine.generate_masklets", found)
    monkeypatch.setattr("backend.data_engine.check_poses", lambda clip: None)
    engine = DataEngine(predictor=None, frames_per_part=3)  # type: ignore[arg-type]
    monkeypatch.setattr("backend.data_engine.SHARED_FRAMES", 2)
    masklets = engine.label(small_drive.clip, ("Car",), WorkFolder(tmp_path / "work"))
    assert [len(part) for part in parts] == [3, 3]
    assert [masklet.object_id for masklet in masklets] == list(range(1, len(truth) + 1))
    assert len(truth) > 3
    for masklet in masklets:
        (exact,) = (each for each in truth if each.cuboids == masklet.cuboids)
        assert masklet.label == exact.label
        for index, masks in masklet.masks.items():
            assert masks.object_id == masklet.object_id
            assert (masks.lidar_mask == exact.masks[index].lidar_mask).all()
    before = len(parts)
    engine.label(small_drive.clip, ("Car",), WorkFolder(tmp_path / "work"))
    assert len(parts) == before, "parts that are done are not done again"


def test_no_part_is_begun_where_the_poses_of_one_are_wrong(small_drive: SyntheticDrive, tmp_path: Path) -> None:
    frames = list(small_drive.clip.frames)
    frames[-1] = replace(frames[-1], world_SE3_lidar=None)
    engine = DataEngine(predictor=None, frames_per_part=3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="--per-frame"):
        engine.label(replace(small_drive.clip, frames=tuple(frames)), ("Car",), WorkFolder(tmp_path / "work"))
    assert not (tmp_path / "work").exists()
    assert generate.VERSION in DataEngine(build_predictor("geometric"), per_frame=True).version
