"""What a session must keep, forget, follow and refuse, with the geometric engine behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sam4d import LIDAR, BoxPrompt, Clip, InputError, Masklet, MaskPrompt, ObjectMasks, PointPrompt, Prompt, build_predictor
from sam4d.predictor import Session
from sam4d.prompt_checks import check_prompt
from sam4d.session import TrackingSession
from sam4d.simulation import SyntheticDrive


def truth_of(drive: SyntheticDrive, least_points: int = 40) -> Masklet:
    """The object with the most points among those on every frame."""
    everywhere = [m for m in drive.masklets if all(k in m.masks for k in range(len(drive.clip)))]
    best = max(everywhere, key=lambda m: min(int(masks.lidar_mask.sum()) for masks in m.masks.values()))
    assert all(masks.lidar_mask.sum() >= least_points for masks in best.masks.values())
    return best


def mask_prompt(masklet: Masklet, frame_index: int, object_id: int = 1) -> MaskPrompt:
    return MaskPrompt(object_id, frame_index, LIDAR, masklet.masks[frame_index].lidar_mask)


def click(clip: Clip, masklet: Masklet, frame_index: int, object_id: int = 1, label: int = 1) -> PointPrompt:
    points = clip.frames[frame_index].load_sweep().points_m[masklet.masks[frame_index].lidar_mask]
    nearest = points[np.argmin(np.linalg.norm(points - np.median(points, axis=0), axis=1))]
    return PointPrompt(object_id, frame_index, LIDAR, [nearest.tolist()], [label])


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / max(1, (a | b).sum()))


def same(a: ObjectMasks, b: ObjectMasks) -> bool:
    cameras = all(np.array_equal(a.camera_masks[name], b.camera_masks[name]) for name in (*a.camera_masks, *b.camera_masks))
    return cameras and np.array_equal(a.lidar_mask, b.lidar_mask) and a.score == b.score


@pytest.fixture
def session(small_drive: SyntheticDrive) -> Session:
    return build_predictor("geometric").open(small_drive.clip)


def test_a_click_is_followed_over_the_clip(session: Session, small_drive: SyntheticDrive) -> None:
    truth = truth_of(small_drive)
    first = session.add_prompt(click(small_drive.clip, truth, 0))
    assert first.object_id == 1
    assert first.frame_index == 0
    assert set(first.camera_masks) == set(small_drive.clip.frames[0].load_images)
    frames = list(session.propagate())
    assert [frame.frame_index for frame in frames] == [0, 1, 2, 3]
    assert same(frames[0].objects[1], first)
    for frame in frames:
        masks = frame.objects[1]
        assert masks.lidar_mask.shape == truth.masks[frame.frame_index].lidar_mask.shape
        assert iou(masks.lidar_mask, truth.masks[frame.frame_index].lidar_mask) > 0.6
        assert 0 < masks.score <= 1


def test_propagation_is_lazy_and_stops_where_asked(session: Session, small_drive: SyntheticDrive) -> None:
    session.add_prompt(mask_prompt(truth_of(small_drive), 2))
    assert next(session.propagate(2)).frame_index == 2
    assert [frame.frame_index for frame in session.propagate(1, 3)] == [1, 2]
    assert [frame.frame_index for frame in session.propagate(3, reverse=True)] == [3, 2, 1, 0]
    assert [frame.frame_index for frame in session.propagate(3, 1, reverse=True)] == [3, 2]
    assert list(session.propagate(2, 2)) == []
    with pytest.raises(InputError, match="0 to 3, found 4"):
        session.propagate(4)


def test_frames_before_the_first_prompt_are_empty_until_a_pass_the_other_way_has_been_there(
    session: Session, small_drive: SyntheticDrive
) -> None:
    truth = truth_of(small_drive)
    session.add_prompt(mask_prompt(truth, 2))
    unknown = next(session.propagate(0)).objects[1]
    assert unknown.is_empty
    assert unknown.score == 0
    assert set(unknown.camera_masks) == set(small_drive.clip.frames[0].load_images)
    backwards = {frame.frame_index: frame.objects[1] for frame in session.propagate(3, reverse=True)}
    assert iou(backwards[0].lidar_mask, truth.masks[0].lidar_mask) > 0.6
    assert backwards[3].is_empty
    assert same(next(session.propagate(0)).objects[1], backwards[0])


def test_a_pass_that_starts_late_gives_what_one_from_the_prompt_gives(session: Session, small_drive: SyntheticDrive) -> None:
    other = build_predictor("geometric").open(small_drive.clip)
    for each in (session, other):
        each.add_prompt(mask_prompt(truth_of(small_drive), 0))
    whole = list(session.propagate())
    late = list(other.propagate(3))
    assert same(whole[3].objects[1], late[0].objects[1])


def test_each_frame_follows_from_the_nearest_prompt_on_the_side_the_pass_comes_from(session: Session, small_drive: SyntheticDrive) -> None:
    truth, others = truth_of(small_drive), [m for m in small_drive.masklets if m is not truth_of(small_drive)]
    elsewhere = max(others, key=lambda m: m.masks[2].lidar_mask.sum() if 2 in m.masks and 3 in m.masks else 0)
    session.add_prompt(mask_prompt(truth, 0))
    session.add_prompt(mask_prompt(elsewhere, 2))
    forwards = [frame.objects[1].lidar_mask for frame in session.propagate()]
    assert iou(forwards[1], truth.masks[1].lidar_mask) > 0.6
    assert np.array_equal(forwards[2], elsewhere.masks[2].lidar_mask)
    assert iou(forwards[3], elsewhere.masks[3].lidar_mask) > 0.5
    backwards = {frame.frame_index: frame.objects[1].lidar_mask for frame in session.propagate(3, reverse=True)}
    assert iou(backwards[1], truth.masks[1].lidar_mask) < 0.1


def test_a_correction_on_a_followed_frame_starts_from_what_stands_there(session: Session, small_drive: SyntheticDrive) -> None:
    truth = truth_of(small_drive)
    session.add_prompt(mask_prompt(truth, 0))
    followed = [frame.objects[1] for frame in session.propagate()]
    corrected = session.add_prompt(click(small_drive.clip, truth, 2, label=0))
    assert corrected.lidar_mask.sum() < followed[2].lidar_mask.sum()
    again = [frame.objects[1] for frame in session.propagate()]
    assert same(again[1], followed[1])
    assert same(again[2], corrected)


def test_further_corrections_keep_what_the_first_one_started_from(session: Session, small_drive: SyntheticDrive) -> None:
    truth = truth_of(small_drive)
    session.add_prompt(mask_prompt(truth, 0))
    list(session.propagate())
    others = [m for m in small_drive.masklets if m is not truth and 2 in m.masks]
    elsewhere = click(small_drive.clip, max(others, key=lambda m: m.masks[2].lidar_mask.sum()), 2, label=0)
    first = session.add_prompt(elsewhere)
    second = session.add_prompt(elsewhere)
    assert iou(first.lidar_mask, truth.masks[2].lidar_mask) > 0.6
    assert np.array_equal(first.lidar_mask, second.lidar_mask)


def test_a_negative_click_on_a_frame_not_yet_followed_refines_what_following_gives(session: Session, small_drive: SyntheticDrive) -> None:
    truth = truth_of(small_drive)
    session.add_prompt(mask_prompt(truth, 0))
    others = [m for m in small_drive.masklets if m is not truth and 2 in m.masks]
    elsewhere = max(others, key=lambda m: m.masks[2].lidar_mask.sum())
    far = click(small_drive.clip, elsewhere, 2, label=0)
    assert iou(session.add_prompt(far).lidar_mask, truth.masks[2].lidar_mask) > 0.6


def test_replace_drops_the_frames_earlier_prompts(session: Session, small_drive: SyntheticDrive) -> None:
    clip, truth = small_drive.clip, truth_of(small_drive)
    alone = build_predictor("geometric").open(clip).add_prompt(click(clip, truth, 1))
    session.add_prompt(click(clip, truth, 1, label=1))
    session.add_prompt(click(clip, truth, 1, label=0))
    assert same(session.add_prompt(click(clip, truth, 1), replace=True), alone)


def test_objects_come_and_go(session: Session, small_drive: SyntheticDrive) -> None:
    truth = truth_of(small_drive)
    assert not list(session.object_ids)
    assert next(session.propagate()).objects == {}
    session.add_prompt(mask_prompt(truth, 0, object_id=7))
    session.add_prompt(mask_prompt(small_drive.masklets[0], 0, object_id=3))
    assert list(session.object_ids) == [3, 7]
    assert list(next(session.propagate()).objects) == [3, 7]
    session.remove_object(3)
    assert list(session.object_ids) == [7]
    with pytest.raises(InputError, match=r"one of the session's objects \(7\), found 3"):
        session.remove_object(3)


def test_an_empty_mask_says_that_the_object_is_not_on_the_frame(session: Session, small_drive: SyntheticDrive) -> None:
    truth = truth_of(small_drive)
    session.add_prompt(mask_prompt(truth, 0))
    masks = session.add_prompt(MaskPrompt(1, 1, LIDAR, np.zeros_like(truth.masks[1].lidar_mask)))
    assert masks.is_empty
    assert masks.score == 0
    assert next(session.propagate(1)).objects[1].is_empty


def bad_prompts(clip: Clip) -> Sequence[tuple[Prompt | list[Prompt], str]]:
    rows = len(clip.frames[0].load_sweep())
    ok: dict[str, Any] = {"coordinates": [[1.0, 2.0, 0.0]], "labels": [1]}
    return [
        ([], "at least one"),
        (PointPrompt(1, 4, LIDAR, **ok), "a frame within 0 to 3"),
        (PointPrompt(1, -1, LIDAR, **ok), "a frame within 0 to 3"),
        (PointPrompt(1, 0, "rear", [[1, 1]], [1]), "front_left, front, lidar, found 'rear'"),
        (PointPrompt(1, 0, LIDAR, [[1.0, 2.0]], [1]), r"shape \(P, 3\).*\(1, 2\)"),
        (PointPrompt(1, 0, "front", [[1.0, 2.0, 3.0]], [1]), r"shape \(P, 2\).*\(1, 3\)"),
        (PointPrompt(1, 0, LIDAR, np.zeros((0, 3)), []), r"\(0, 3\)"),
        (PointPrompt(1, 0, LIDAR, [[np.nan, 0, 0]], [1]), "finite"),
        (PointPrompt(1, 0, "front", [[np.inf, 0]], [1]), "finite"),
        (PointPrompt(1, 0, "front", [[320.0, 10.0]], [1]), "inside the image of 320 x 200"),
        (PointPrompt(1, 0, "front", [[10.0, -0.5]], [1]), "inside the image of 320 x 200"),
        (PointPrompt(1, 0, LIDAR, [[1.0, 2.0, 0.0]], [1, 0]), r"labels of shape \(1,\)"),
        (PointPrompt(1, 0, LIDAR, [[1.0, 2.0, 0.0]], [2]), "1 .positive. or 0"),
        (PointPrompt(1, 0, LIDAR, [[1.0, 2.0, 0.0]], [0]), "a positive click, a box or a mask"),
        (BoxPrompt(1, 0, LIDAR, [1, 1, 1, 3]), "a box with area"),
        (BoxPrompt(1, 0, LIDAR, [1, 1, np.nan, 3]), "finite"),
        (BoxPrompt(1, 0, "front", [400, 10, 500, 20]), "inside the image"),
        (BoxPrompt(1, 0, "front", [10, 10, 5, 20]), "smaller corner first"),
        (BoxPrompt(1, 0, "front", [10, 10, 20]), r"4 numbers, found shape \(3,\)"),
        (MaskPrompt(1, 0, LIDAR, np.zeros(rows + 1, dtype=np.bool_)), rf"shape \({rows},\)"),
        (MaskPrompt(1, 0, "front", np.zeros((320, 200), dtype=np.bool_)), r"shape \(200, 320\), found shape \(320, 200\)"),
        ([PointPrompt(1, 0, LIDAR, **ok), PointPrompt(2, 0, LIDAR, **ok)], "object 1, frame 0"),
        ([PointPrompt(1, 0, LIDAR, **ok), PointPrompt(1, 1, LIDAR, **ok)], "frame 1 as well"),
    ]


def test_bad_prompts_are_refused_in_one_line_and_change_nothing(session: Session, small_drive: SyntheticDrive) -> None:
    for prompt, message in bad_prompts(small_drive.clip):
        with pytest.raises(InputError, match=message) as refused:
            session.add_prompt(prompt)
        assert "\n" not in str(refused.value)
        assert not list(session.object_ids)


def test_a_camera_without_image_on_the_frame_is_refused(small_drive: SyntheticDrive) -> None:
    frames = list(small_drive.clip.frames)
    frames[1] = replace(frames[1], load_images={"front": frames[1].load_images["front"]})
    session = build_predictor("geometric").open(replace(small_drive.clip, frames=tuple(frames)))
    with pytest.raises(InputError, match=r"\(front, lidar\), found no image"):
        session.add_prompt(PointPrompt(1, 1, "front_left", [[5, 5]], [1]))
    session.add_prompt(mask_prompt(truth_of(small_drive), 0))
    assert [set(frame.objects[1].camera_masks) for frame in session.propagate(0, 2)] == [{"front", "front_left"}, {"front"}]


def test_a_box_that_reaches_over_the_image_is_cut_to_it(small_drive: SyntheticDrive) -> None:
    checked = check_prompt(BoxPrompt(1, 0, "front", [-5, 10, 700, 90]), small_drive.clip, lambda frame: 0)
    assert isinstance(checked, BoxPrompt)
    assert np.asarray(checked.box).tolist() == [0, 10, 320, 90]


def test_open_sessions_do_not_share_objects(small_drive: SyntheticDrive) -> None:
    predictor = build_predictor("geometric")
    one, two = predictor.open(small_drive.clip), predictor.open(small_drive.clip)
    one.add_prompt(mask_prompt(truth_of(small_drive), 0))
    assert isinstance(one, TrackingSession)
    assert two.object_ids == ()
