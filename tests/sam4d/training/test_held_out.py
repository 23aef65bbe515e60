from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sam4d.geometric.predictor import GeometricPredictor
from sam4d.simulation import SyntheticDrive
from sam4d.structures import CameraMasks, Masklet, ObjectMasks
from sam4d.training.held_out import HeldOut, JudgedObject, Stopped, innermost_pixel, is_better, judge
from sam4d.training.labelled_clip import LabelledClip


@pytest.fixture(scope="module")
def labelled(small_drive: SyntheticDrive) -> LabelledClip:
    return LabelledClip.whole(small_drive.clip, small_drive.masklets)


@pytest.fixture(scope="module")
def held_out(labelled: LabelledClip) -> HeldOut:
    return judge(GeometricPredictor(), [labelled], objects_per_clip=4)


def scored(*scores: float) -> HeldOut:
    return HeldOut("test", tuple(JudgedObject(0, "clip", k, score, None, None, None) for k, score in enumerate(scores)))


def test_every_part_is_judged_and_the_same_again(labelled: LabelledClip, held_out: HeldOut) -> None:
    assert len(held_out.objects) == 4
    for part in (held_out.clicked_camera, held_out.clicked_lidar, held_out.followed_camera, held_out.followed_lidar):
        assert part is not None
        assert 0.5 < part <= 1
    assert 0.5 < held_out.score <= 1
    assert (held_out.clip_count, held_out.version) == (1, GeometricPredictor().version)
    told: list[tuple[int, int]] = []
    assert judge(GeometricPredictor(), [labelled], objects_per_clip=4, progress=lambda *done: told.append(done)) == held_out
    assert [done for done, _ in told] == list(range(1, told[-1][1] + 1))


def test_what_nobody_labelled_does_not_count(labelled: LabelledClip, held_out: HeldOut) -> None:
    one_camera = replace(labelled, labelled_cameras=("front",))
    spoilt = replace(one_camera, masklets=tuple(with_wrong_camera(masklet, "front_left") for masklet in labelled.masklets))
    judged = judge(GeometricPredictor(), [spoilt], objects_per_clip=3)
    assert judged == judge(GeometricPredictor(), [one_camera], objects_per_clip=3)
    assert judged.clicked_camera is not None
    blind = judge(GeometricPredictor(), [replace(labelled, labelled_cameras=())], objects_per_clip=3)
    assert (blind.clicked_camera, blind.followed_camera) == (None, None)
    first_only = judge(GeometricPredictor(), [replace(labelled, labelled_frames=(0,))], objects_per_clip=3)
    assert (first_only.followed_camera, first_only.followed_lidar) == (None, None)
    assert judge(GeometricPredictor(), [replace(labelled, labelled_frames=())]).objects == ()


def with_wrong_camera(masklet: Masklet, camera: str) -> Masklet:
    def wrong(masks: ObjectMasks) -> ObjectMasks:
        return replace(masks, camera_masks=CameraMasks({**masks.camera_masks, camera: ~masks.camera_masks[camera]}))

    return replace(masklet, masks={index: wrong(masks) for index, masks in masklet.masks.items()})


def test_frames_without_labels_are_followed_over(labelled: LabelledClip) -> None:
    ends = judge(GeometricPredictor(), [replace(labelled, labelled_frames=(0, 3))], objects_per_clip=3)
    assert ends.followed_lidar is not None
    assert ends.followed_lidar > 0.4


def test_judging_can_be_stopped(labelled: LabelledClip) -> None:
    with pytest.raises(Stopped):
        judge(GeometricPredictor(), [labelled], stop=lambda: True)


def test_better_is_what_exceeds_chance_and_matters() -> None:
    old = scored(0.2, 0.5, 0.7, 0.9)
    assert is_better(old, scored(0.25, 0.56, 0.74, 0.95))
    assert not is_better(old, old)
    assert not is_better(scored(0.25, 0.56, 0.74, 0.95), old)
    # A mean gain of 0.025 by one object alone is chance; one of 0.001 does not matter, however sure.
    assert not is_better(old, scored(0.2, 0.5, 0.8, 0.9))
    assert not is_better(old, scored(0.201, 0.501, 0.701, 0.901))
    assert is_better(scored(0.5), scored(0.55))
    assert not is_better(scored(0.5), scored(0.51))
    assert not is_better(scored(), scored(0.9))


def test_a_careful_labeller_clicks_in_the_middle() -> None:
    mask = np.zeros((20, 30), dtype=np.bool_)
    mask[5:10, 0:9] = True
    mask[7, 9:25] = True
    u, v = innermost_pixel(mask)
    assert mask[int(v), int(u)]
    assert (2 <= u <= 7, v) == (True, 7.5)
    mask[:] = True
    assert np.abs(innermost_pixel(mask) - (15, 10)).max() < 6
