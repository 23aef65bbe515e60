from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.random import default_rng

from sam4d.network.predictor import NetworkPredictor
from sam4d.structures import LIDAR, BoxPrompt, MaskPrompt, PointPrompt
from sam4d.training import parameters, unrolling
from sam4d.training.plan import Mode
from sam4d.training.prompt_sampling import AskingHabits, CorrectedFrame, PromptPlan, correct, sample_plans
from sam4d.training.unrolling import Unrolled, unroll
from sam4d.training.windows import TrainingSample, TrainingWindow, read_window
from tests.sam4d.training.small_network import SMALL_PLAN, SMALLEST, small_drive, smallest_network

CAR, OTHER = 21, 1


def sample_of(frame_count: int = 4, object_ids: tuple[int, ...] = (OTHER, CAR)) -> TrainingSample:
    return read_window(TrainingWindow(small_drive(), "front", tuple(range(frame_count)), object_ids))


def clicked(sample: TrainingSample, index: int, place: int = 0, corrections: tuple[CorrectedFrame, ...] = ()) -> PromptPlan:
    """One click, in the middle of the object's points."""
    frame = sample.frames[place]
    rows = np.flatnonzero(frame.lidar_truths[index])
    where = frame.points_m[rows[len(rows) // 2]].astype(np.float64)[None]
    return PromptPlan(index, place, (PointPrompt(sample.object_ids[index], place, LIDAR, where, [1]),), corrections)


def given(sample: TrainingSample, index: int) -> PromptPlan:
    frame, object_id = sample.frames[0], sample.object_ids[index]
    assert frame.camera_truths is not None
    masks = MaskPrompt(object_id, 0, "front", frame.camera_truths[index]), MaskPrompt(object_id, 0, LIDAR, frame.lidar_truths[index])
    return PromptPlan(index, 0, masks, ())


def unrolled(sample: TrainingSample, *plans: PromptPlan, through_memory: bool = True) -> Unrolled:
    return unroll(smallest_network(), sample, plans, default_rng(0), through_memory=through_memory)


def test_answers_are_those_of_a_session() -> None:
    """Two objects, one of which begins later, clicked once and followed; and one of which the mask is given."""
    sample = sample_of()
    plans = (clicked(sample, 0), clicked(sample, 1, place=1))
    network, drive = smallest_network(), small_drive()
    with torch.no_grad():
        answers = unroll(network, sample, plans, default_rng(0), through_memory=True).final
    predictor = NetworkPredictor(dict(network.state_dict()), "cpu", configuration=SMALLEST)
    session = predictor.open(drive.clip)
    for plan in plans:
        session.add_prompt(plan.prompts)
    for frame in session.propagate():
        for index, object_id in enumerate(sample.object_ids):
            answer = answers.get((frame.frame_index, index))
            masks = frame.objects[object_id]
            if answer is None:
                assert frame.frame_index < plans[index].place
                continue
            assert masks.lidar_logits is not None
            np.testing.assert_allclose(masks.lidar_logits, answer.lidar_logits[0].numpy(), atol=2e-3)
            np.testing.assert_allclose(masks.camera_logits["front"], answer.camera_low_res_logits[0].numpy(), atol=2e-3)


def test_a_given_mask_is_followed_as_in_a_session() -> None:
    sample = sample_of()
    plan = given(sample, 1)
    network = smallest_network()
    with torch.no_grad():
        answers = unroll(network, sample, (plan,), default_rng(0), through_memory=True).final
    session = NetworkPredictor(dict(network.state_dict()), "cpu", configuration=SMALLEST).open(small_drive().clip)
    session.add_prompt(plan.prompts)
    for frame in session.propagate(1):
        np.testing.assert_allclose(
            frame.objects[CAR].camera_logits["front"], answers[frame.frame_index, 1].camera_low_res_logits[0].numpy(), atol=2e-3
        )


def test_corrections_are_answered_as_in_a_session() -> None:
    """Clicks on the first frame and on a later one, given again to a session."""
    sample = sample_of(3, (CAR,))
    corrections = tuple(CorrectedFrame(place, ("front", LIDAR), 2, 0.0) for place in (0, 2))
    plan = clicked(sample, 0, corrections=corrections)
    network = smallest_network()
    said: list[PointPrompt] = []
    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:

        def noted(*arguments: object) -> PointPrompt | None:
            click = correct(*arguments)  # type: ignore[arg-type]
            if click is not None:
                said.append(click)
            return click

        patch.setattr(unrolling, "correct", noted)
        result = unroll(network, sample, (plan,), default_rng(0), through_memory=True)
    assert [click.frame_index for click in said] == [0, 0, 2, 2]
    assert len(result.lidar) == len(result.camera) == 1 + 2 + 1 + 1 + 2
    session = NetworkPredictor(dict(network.state_dict()), "cpu", configuration=SMALLEST).open(small_drive().clip)
    session.add_prompt(plan.prompts)
    for click in said[:2]:
        session.add_prompt(click)
    list(session.propagate(0, 3))
    for click in said[2:]:
        masks = session.add_prompt(click)
    np.testing.assert_allclose(masks.camera_logits["front"], result.final[2, 0].camera_low_res_logits[0].numpy(), atol=2e-3)


def test_a_given_mask_costs_nothing_and_later_frames_do() -> None:
    sample = sample_of(3, (CAR,))
    result = unrolled(sample, given(sample, 0))
    assert len(result.camera) == len(result.lidar) == 2


def test_a_camera_that_nobody_labelled_costs_nothing() -> None:
    sample = sample_of(2, (CAR,))
    blind = replace(sample, frames=tuple(replace(frame, camera_truths=None) for frame in sample.frames))
    result = unrolled(blind, clicked(blind, 0))
    assert not result.camera
    assert result.camera_ious.numel() == 0
    assert "camera_dice" not in result.means()
    assert result.means()["total"].isfinite()


def test_checkpointing_changes_no_loss_and_no_gradient() -> None:
    sample = sample_of(3)
    plans = sample_plans(sample, default_rng(3), AskingHabits(most_clicks_per_frame=1))
    found = []
    for checkpointed in (False, True):
        network = smallest_network()
        network.checkpointed = checkpointed
        learnt = parameters.choose(network, replace(SMALL_PLAN, statistics="learnt"))
        means = unroll(network, sample, plans, default_rng(0), through_memory=True).means()
        torch.autograd.backward([means["total"]])
        buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
        found.append((means, {name: each.grad for name, each in learnt.items() if each.grad is not None}, buffers))
    (losses, gradients, buffers), (again, gradients_again, buffers_again) = found
    torch.testing.assert_close(again, losses)
    assert gradients_again.keys() == gradients.keys()
    for name, gradient in gradients.items():
        # Sums in another order; memories are rounded to bfloat16, and some gradients are 0 but for rounding.
        close = 2e-3 * float(gradient.abs().max()) + 1e-3
        torch.testing.assert_close(gradients_again[name], gradient, rtol=0, atol=close, msg=name)
    torch.testing.assert_close(buffers_again, buffers)


@pytest.mark.parametrize("mode", ["heads", "memory", "everything"])
def test_a_mode_reaches_all_that_it_learns_and_nothing_else(mode: Mode) -> None:
    network, sample = smallest_network(), sample_of(4)
    learnt = parameters.choose(network, replace(SMALL_PLAN, mode=mode))
    corrections = (CorrectedFrame(0, ("front", LIDAR), 2, 0.0), CorrectedFrame(1, ("front",), 1, 0.0))
    plans = (given(sample, 0), clicked(sample, 1, corrections=corrections))
    boxes = BoxPrompt(CAR, 0, "front", [10.0, 10.0, 90.0, 90.0]), BoxPrompt(CAR, 0, LIDAR, [0.0, 0.0, 9.0, 9.0])
    not_there = PointPrompt(CAR, 0, LIDAR, [[5.0, 5.0, 0.0]], [0])
    for each in (plans, (PromptPlan(1, 0, (*boxes, not_there), ()),)):
        torch.autograd.backward([unroll(network, sample, each, default_rng(0), through_memory=mode != "heads").means()["total"]])
    with torch.no_grad():  # an object that is not there has tensors of its own
        network.head.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(-9.0)  # type: ignore[operator]
    torch.autograd.backward([unroll(network, sample, plans, default_rng(0), through_memory=mode != "heads").means()["total"]])
    reached = {name for name, parameter in network.named_parameters() if parameter.grad is not None and parameter.grad.any()}
    assert reached <= learnt.keys()
    assert sorted(learnt.keys() - reached) == []
