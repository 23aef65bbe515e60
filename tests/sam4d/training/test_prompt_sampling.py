from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from numpy.random import default_rng

from sam4d.geometry import BoolArray
from sam4d.modeling.prompt_encoder import PromptPoints
from sam4d.structures import LIDAR, BoxPrompt, MaskPrompt, PointPrompt
from sam4d.training.prompt_sampling import (
    AskingHabits,
    CorrectedFrame,
    PromptPlan,
    correct,
    corrective_click,
    jittered_box,
    sample_plans,
)
from sam4d.training.windows import TrainingSample
from tests.sam4d.training.tiny_sample import hidden_from_camera, sample, unknown_camera

ALWAYS_TRUTH = CorrectedFrame(0, ("front", LIDAR), 7, 1.0)
NEVER_TRUTH = CorrectedFrame(0, ("front", LIDAR), 7, 0.0)


def plans_of(whole: TrainingSample, count: int, habits: AskingHabits | None = None) -> list[PromptPlan]:
    random = default_rng(0)
    drawn = [sample_plans(whole, random, habits or AskingHabits()) for _ in range(count)]
    return [plan for plans in drawn for plan in plans]


def kinds(plans: list[PromptPlan]) -> Counter[str]:
    return Counter(type(plan.prompts[0]).__name__ for plan in plans)


def test_half_masks_a_quarter_clicks_a_quarter_boxes() -> None:
    plans = plans_of(sample(), 500)
    shares = {kind: count / len(plans) for kind, count in kinds(plans).items()}
    assert len(plans) == 1500
    assert shares["MaskPrompt"] == pytest.approx(0.5, abs=0.04)
    assert shares["PointPrompt"] == pytest.approx(0.25, abs=0.04)
    assert shares["BoxPrompt"] == pytest.approx(0.25, abs=0.04)
    assert all(len({type(prompt) for prompt in plan.prompts}) == 1 for plan in plans)
    assert all(plan.is_mask == isinstance(plan.prompts[0], MaskPrompt) for plan in plans)


def test_in_the_camera_the_lidar_or_both_a_third_each() -> None:
    plans = [plan for plan in plans_of(sample(), 600) if not plan.is_mask]
    sensors = Counter(tuple(prompt.sensor for prompt in plan.prompts) for plan in plans)
    assert set(sensors) == {("front",), (LIDAR,), ("front", LIDAR)}
    assert all(count / len(plans) == pytest.approx(1 / 3, abs=0.06) for count in sensors.values())


def test_an_object_is_asked_for_where_it_is_seen() -> None:
    plans = plans_of(hidden_from_camera(sample(), 1), 200)
    sensors = {prompt.sensor for plan in plans if plan.index == 1 and not plan.is_mask for prompt in plan.prompts}
    assert sensors == {LIDAR}
    masks = [plan.prompts for plan in plans if plan.index == 1 and plan.is_mask]
    assert all(isinstance(camera, MaskPrompt) and not camera.mask.any() for camera, _ in masks)
    assert all(isinstance(lidar, MaskPrompt) and lidar.mask.any() for _, lidar in masks)


def test_where_nobody_looked_at_the_camera_there_are_clicks_and_boxes_in_the_lidar() -> None:
    plans = plans_of(unknown_camera(sample()), 300)
    assert {prompt.sensor for plan in plans for prompt in plan.prompts} == {LIDAR}
    assert kinds(plans)["PointPrompt"] / len(plans) == pytest.approx(0.5, abs=0.05)
    assert kinds(plans)["BoxPrompt"] / len(plans) == pytest.approx(0.5, abs=0.05)
    assert {sensor for plan in plans for each in plan.corrections for sensor in each.sensors} == {LIDAR}


def test_an_object_that_comes_late_begins_late_and_one_that_never_comes_does_not() -> None:
    whole = sample(frame_count=3)
    first = whole.frames[0]
    assert first.camera_truths is not None
    gone = replace(first, camera_truths=first.camera_truths & False, lidar_truths=first.lidar_truths & False)
    plans = sample_plans(replace(whole, frames=(gone, *whole.frames[1:])), default_rng(0))
    assert [(plan.index, plan.place) for plan in plans] == [(0, 1), (1, 1), (2, 1)]
    assert {prompt.frame_index for plan in plans for prompt in plan.prompts} == {1}
    assert all(each.place >= 1 for plan in plans for each in plan.corrections)
    assert sample_plans(replace(whole, frames=(gone, gone)), default_rng(0)) == ()


def test_first_clicks_lie_in_the_object_and_boxes_around_it() -> None:
    whole = sample()
    frame = whole.frames[0]
    assert frame.camera_truths is not None
    for plan in plans_of(whole, 100):
        for prompt in plan.prompts:
            assert prompt.object_id == whole.object_ids[plan.index]
            if isinstance(prompt, PointPrompt):
                assert np.asarray(prompt.labels).tolist() == [1]
                place = np.asarray(prompt.coordinates)[0]
                if prompt.sensor == LIDAR:
                    rows = np.flatnonzero((frame.points_m == place.astype(np.float32)).all(axis=1))
                    assert frame.lidar_truths[plan.index, rows].all()
                else:
                    assert frame.camera_truths[plan.index, int(place[1]), int(place[0])]
            elif isinstance(prompt, BoxPrompt) and prompt.sensor == "front":
                rows, columns = np.nonzero(frame.camera_truths[plan.index])
                tight = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
                assert np.abs(np.asarray(prompt.box) - tight).max() <= 20 / 1024 * 64 + 1e-9
            elif isinstance(prompt, BoxPrompt):
                points_m = frame.points_m[frame.lidar_truths[plan.index], :2]
                assert np.abs(np.asarray(prompt.box) - [*points_m.min(axis=0), *points_m.max(axis=0)]).max() <= 0.5 + 1e-6


def test_up_to_seven_corrections_on_one_or_two_frames() -> None:
    plans = plans_of(sample(frame_count=8), 400)
    assert Counter(len(plan.corrections) for plan in plans).keys() == {1, 2}
    assert sum(len(plan.corrections) == 1 for plan in plans) / len(plans) == pytest.approx(0.5, abs=0.05)
    counts = Counter(each.click_count for plan in plans for each in plan.corrections)
    assert counts.keys() == set(range(1, 8))
    places = [[each.place for each in plan.corrections] for plan in plans]
    assert all(each == sorted(set(each)) for each in places)
    assert all((0 in each) == (not plan.is_mask) for plan, each in zip(plans, places, strict=True))
    assert {place for each in places for place in each} == set(range(8))
    assert {each.from_truth_share for plan in plans for each in plan.corrections} == {0.1}


def test_habits_can_do_without_corrections() -> None:
    plans = plans_of(sample(), 20, AskingHabits(mask_share=0, box_share=0, most_corrected_frames=0))
    assert kinds(plans).keys() == {"PointPrompt"}
    assert all(plan.corrections == () for plan in plans)


def test_the_network_takes_the_prompts_as_they_are() -> None:
    for plan in plans_of(sample(), 40, AskingHabits(mask_share=0)):
        said = [prompt for prompt in plan.prompts if isinstance(prompt, PointPrompt | BoxPrompt)]
        points = PromptPoints.of(said, "front")
        is_box = isinstance(said[0], BoxPrompt)
        asked = {prompt.sensor for prompt in said}
        assert len(points.camera) == ("front" in asked) * (2 if is_box else 1)
        assert len(points.lidar) == (LIDAR in asked) * (2 if is_box else 1)
        assert points.is_ambiguous == (not is_box)


def test_the_same_seed_asks_the_same() -> None:
    ours, theirs = (sample_plans(sample(), default_rng(4)) for _ in range(2))
    assert [(plan.place, plan.corrections) for plan in ours] == [(plan.place, plan.corrections) for plan in theirs]
    assert str([plan.prompts for plan in ours]) == str([plan.prompts for plan in theirs])


def mask(*rows: str) -> BoolArray:
    return np.array([[each == "#" for each in row] for row in rows])


def test_a_corrective_click_is_uniform_over_the_error_and_says_what_is_wrong() -> None:
    truth, answer = mask("##..", "##.."), mask(".###", "##..")
    random = default_rng(0)
    drawn = Counter(corrective_click(truth, answer, random) for _ in range(3000))
    assert drawn.keys() == {((0, 0), 1), ((0, 2), 0), ((0, 3), 0)}
    assert all(count / 3000 == pytest.approx(1 / 3, abs=0.03) for count in drawn.values())


def test_a_click_from_the_truth_does_not_look_at_the_answer() -> None:
    truth, random = mask("##..", "##.."), default_rng(0)
    drawn = Counter(corrective_click(truth, truth, random, from_truth=True) for _ in range(2000))
    assert drawn.keys() == {((0, 0), 1), ((0, 1), 1), ((1, 0), 1), ((1, 1), 1)}
    assert all(count / 2000 == pytest.approx(1 / 4, abs=0.03) for count in drawn.values())


def test_without_an_error_there_is_no_click() -> None:
    truth = mask("##..")
    assert corrective_click(truth, truth, default_rng(0)) is None
    nothing = truth & False
    assert corrective_click(nothing, nothing, default_rng(0), from_truth=True) is None
    assert corrective_click(nothing, truth, default_rng(0), from_truth=True) in (((0, 0), 0), ((0, 1), 0))


def test_corrections_go_to_a_sensor_that_is_wrong() -> None:
    whole = sample()
    frame, plan = whole.frames[0], plans_of(whole, 1)[1]
    assert frame.camera_truths is not None
    camera, lidar = frame.camera_truths[1], frame.lidar_truths[1]
    assert correct(whole, plan, NEVER_TRUTH, camera, lidar, default_rng(0)) is None
    more = lidar.copy()
    more[np.flatnonzero(~lidar)[5]] = True
    for seed in range(5):
        click = correct(whole, plan, NEVER_TRUTH, camera, more, default_rng(seed))
        assert click is not None
        assert (click.sensor, click.object_id, click.frame_index, list(click.labels)) == (LIDAR, 2, 0, [0])
        np.testing.assert_allclose(click.coordinates, frame.points_m[np.flatnonzero(~lidar)[5]][None])
    sensors = Counter(
        click.sensor for seed in range(400) if (click := correct(whole, plan, NEVER_TRUTH, camera & False, more, default_rng(seed)))
    )
    assert sensors[LIDAR] / 400 == pytest.approx(0.5, abs=0.08)
    click = correct(whole, plan, NEVER_TRUTH, camera & False, lidar, default_rng(0))
    assert click is not None
    u, v = np.asarray(click.coordinates)[0]
    assert (u % 1, v % 1) == (0.5, 0.5)
    assert camera[int(v), int(u)]


def test_a_tenth_of_the_corrections_come_from_the_truth() -> None:
    whole = sample()
    frame, plan = whole.frames[0], plans_of(whole, 1)[1]
    assert frame.camera_truths is not None
    camera, lidar = frame.camera_truths[1], frame.lidar_truths[1]
    random = default_rng(0)
    tenth = replace(NEVER_TRUTH, from_truth_share=0.1)
    given = [correct(whole, plan, tenth, camera, lidar, random) for _ in range(2000)]
    assert sum(each is not None for each in given) / 2000 == pytest.approx(0.1, abs=0.02)
    always = [correct(whole, plan, ALWAYS_TRUTH, camera & False, lidar, random) for _ in range(50)]
    assert all(each is not None and list(each.labels) == [1] for each in always)


def test_a_box_is_drawn_about_a_tenth_of_its_side_off_and_never_without_area() -> None:
    random, anywhere = default_rng(0), np.full(2, np.inf)
    box = np.array([100.0, 50.0, 140.0, 130.0])
    off = np.array([jittered_box(box, 50.0, 1.0, -anywhere, anywhere, random) - box for _ in range(3000)])
    assert off.std(axis=0) == pytest.approx([4, 8, 4, 8], rel=0.06)
    assert np.abs(off.mean(axis=0)).max() < 0.5
    bounded = np.array([jittered_box(box, 3.0, 1.0, np.zeros(2), np.array([138.0, 200.0]), random) for _ in range(200)])
    assert np.abs(bounded - box)[:, [0, 1, 3]].max() <= 3
    assert bounded[:, 2].max() <= 138
    point = np.array([[0.0, 0.0, 0.0, 0.0], [63.5, 47.5, 64.0, 48.0]])
    for each in point:
        small = jittered_box(each, 1.0, 1.0, np.zeros(2), np.array([64.0, 48.0]), random)
        assert (small[2:] - small[:2] >= 1 - 1e-9).all()
        assert (small >= 0).all()
        assert (small[2:] <= [64, 48]).all()
