from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sam4d.checkpoint import read_checkpoint
from sam4d.training.from_scratch import LEAST_POINTS, PLAN, near_objects, train_from_scratch
from sam4d.training.synthetic_clips import SMALL
from tests.sam4d.training.small_network import SMALLEST, small_drive


def test_from_nothing_to_a_checkpoint(tmp_path: Path) -> None:
    plan = replace(PLAN, steps=2, warm_up_steps=1, frames=2, held_out_windows=1, device="cpu")
    drives, held_out = (replace(SMALL, seeds=(seed,), frame_count=2) for seed in (11, 2))
    told: list[tuple[int, int]] = []
    result = train_from_scratch(
        plan,
        tmp_path,
        configuration=SMALLEST,
        drives=drives,
        held_out=held_out,
        on_clip=lambda done, count: told.append((done, count)),
    )
    assert told == [(1, 1)]
    assert result.ending == "finished"
    assert result.score_before is not None
    assert result.checkpoint is not None
    assert read_checkpoint(result.checkpoint).configuration == SMALLEST


def test_objects_far_away_are_left_out() -> None:
    kept = near_objects(small_drive())
    assert 0 < len(kept.masklets) < len(small_drive().masklets)
    assert all(max(int(masks.lidar_mask.sum()) for masks in masklet.masks.values()) >= LEAST_POINTS for masklet in kept.masklets)
