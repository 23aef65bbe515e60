"""A drive that is labelled as a whole gives each task what its frames show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from backend.cli import main
from backend.data_engine import DataEngine
from backend.drive_proposing import DriveProposer
from backend.kept_work import WorkFolder
from converters.label_config import LabelConfig
from converters.reconcile import regions_to_masklets
from converters.tasks import TaskWindow
from sam4d.predictor import build_predictor
from sam4d.simulation import SyntheticDrive
from sam4d.structures import Clip, InputError, Masklet

STREET, ROAD = "/data/local-files/?d=street", "/data/local-files/?d=road"


@dataclass(frozen=True)
class KnownDrive(DataEngine):
    """Says the truth, and how often it was asked for it; of a clip of one frame, nothing."""

    truth: tuple[Masklet, ...] = ()
    asked: list[Sequence[str]] = field(default_factory=list)

    def label(self, clip: Clip, labels: Sequence[str], work: WorkFolder, *given: object, **more: object) -> tuple[Masklet, ...]:
        self.asked.append(labels)
        if len(clip) == 1:
            raise InputError("clip road", "ego poses", "none")
        return self.truth


def test_objects_keep_their_ids_over_the_tasks_and_a_drive_is_labelled_once(small_drive: SyntheticDrive, tmp_path: Path) -> None:
    engine = KnownDrive(build_predictor("geometric"), truth=small_drive.masklets)
    proposer = DriveProposer(engine, WorkFolder(tmp_path / "work"))
    config = LabelConfig(tuple({masklet.label for masklet in small_drive.masklets}), tuple(small_drive.clip.cameras))
    for first in (0, 2):
        window = TaskWindow(STREET, first, 2)
        proposed = proposer.propose(window, small_drive.clip, config, 10_000)
        part = small_drive.clip.window(first, 2)
        read_back = {masklet.object_id: masklet for masklet in regions_to_masklets(proposed.regions, window, part)}
        shown = [masklet for masklet in small_drive.masklets if {first, first + 1} & masklet.masks.keys()]
        assert sorted(read_back) == sorted(masklet.object_id for masklet in shown)
        for exact in shown:
            for frame_index, masks in read_back[exact.object_id].masks.items():
                assert (masks.lidar_mask == exact.masks[first + frame_index].lidar_mask).all()
        assert {region["meta"]["sam4d"]["version"] for region in proposed.regions} == {proposer.version}  # type: ignore[index]
    assert len(engine.asked) == 1
    assert proposer.version == "data-engine-0.2.0-geometric-0.2.0"


def test_what_is_wrong_with_a_drive_is_wrong_with_its_tasks_alone(small_drive: SyntheticDrive, tmp_path: Path) -> None:
    engine = KnownDrive(build_predictor("geometric"), truth=small_drive.masklets)
    proposer = DriveProposer(engine, WorkFolder(tmp_path / "work"))
    config = LabelConfig(("Car",), tuple(small_drive.clip.cameras))
    for _ in range(2):
        with pytest.raises(InputError, match="clip road: expected ego poses"):
            proposer.propose(TaskWindow(ROAD, 0, 1), small_drive.clip.window(0, 1), config, 100)
    assert len(engine.asked) == 1, "what failed for one of its tasks is not tried for the next"
    assert proposer.propose(TaskWindow(STREET, 0, 2), small_drive.clip, config, 100).masklets


def test_per_frame_is_the_data_engines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["preannotate", "drives", "--per-frame"]) == 2
    assert (
        capsys.readouterr().err
        == "sam4d: --per-frame: expected --engine data-engine, which looks at whole drives otherwise, found no --engine\n"
    )
