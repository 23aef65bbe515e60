from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from sam4d.modeling.mask_selection import MaskCandidates
from sam4d.modeling.point_logits import PointMixing
from sam4d.training.losses import LossWeights, actual_iou, at_points, camera_truth, dice_loss, focal_loss, mask_losses

OBJECTS, PLACES = 3, 40


def candidates(seed: int = 0, dtype: torch.dtype = torch.float64) -> MaskCandidates:
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(OBJECTS, 4, PLACES, generator=random, dtype=dtype)
    iou = torch.rand(OBJECTS, 4, generator=random, dtype=dtype)
    score = torch.randn(OBJECTS, generator=random, dtype=dtype)
    return MaskCandidates(logits, iou, torch.zeros(OBJECTS, 4, 256, dtype=dtype), score)


def truths(seed: int = 1) -> Tensor:
    return (torch.rand(OBJECTS, PLACES, generator=torch.Generator().manual_seed(seed)) < 0.3).double()


EVERYTHING = torch.ones(OBJECTS, dtype=torch.bool)


@pytest.mark.parametrize("ambiguous", [True, False])
def test_gradients(ambiguous: bool) -> None:
    given, truth = candidates(), truths()
    truth[1] = 0
    known = torch.tensor([True, True, False])

    def total(logits: Tensor, iou: Tensor, score: Tensor) -> Tensor:
        return mask_losses(MaskCandidates(logits, iou, given.tokens, score), truth, known, ambiguous=ambiguous).total()

    inputs = [each.clone().requires_grad_() for each in (given.logits, given.predicted_iou, given.object_score)]
    assert torch.autograd.gradcheck(total, inputs)


def test_focal_and_dice_are_what_their_papers_say() -> None:
    logits, truth = candidates().logits[:, 0], truths()
    probability = logits.sigmoid()
    right = torch.where(truth > 0, probability, 1 - probability)
    balance = torch.where(truth > 0, 0.25, 0.75)
    torch.testing.assert_close(focal_loss(logits, truth), (-balance * (1 - right) ** 2 * right.log()).mean(dim=1))
    dice = 1 - (2 * (probability * truth).sum(1) + 1) / (probability.sum(1) + truth.sum(1) + 1)
    torch.testing.assert_close(dice_loss(logits, truth), dice)


def test_extreme_logits_cost_finite_amounts() -> None:
    logits = torch.tensor([[500.0, -500.0]], requires_grad=True)
    loss = focal_loss(logits, torch.tensor([[0.0, 1.0]])).sum()
    torch.autograd.backward(loss)
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_a_soft_truth_costs_what_its_pixels_cost() -> None:
    """A cell's logit against its share of object pixels is the same as each pixel with that logit."""
    cells, pixels = torch.randn(2, 5, 5, dtype=torch.float64), torch.rand(2, 20, 20) < 0.4
    spread = cells.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2).flatten(1)
    whole = pixels.double().flatten(1)
    soft = camera_truth(pixels.numpy(), 5).double()
    torch.testing.assert_close(focal_loss(cells.flatten(1), soft), focal_loss(spread, whole))
    torch.testing.assert_close(actual_iou(cells.flatten(1), soft), actual_iou(spread, whole))


def test_a_camera_truth_is_the_mean_of_its_cells() -> None:
    masks = np.random.default_rng(0).random((2, 60, 96)) < 0.3
    even = camera_truth(masks, 12).view(2, 12, 12)
    expected = functional.avg_pool2d(torch.from_numpy(masks).float()[:, None], (5, 8))[:, 0]
    torch.testing.assert_close(even, expected, atol=1e-5, rtol=0)
    uneven = camera_truth(masks, 7)
    torch.testing.assert_close(uneven.mean(dim=1), torch.from_numpy(masks).float().mean(dim=(1, 2)), atol=1e-5, rtol=0)
    finer = camera_truth(masks, 192).view(2, 192, 192)
    assert ((finer >= 0) & (finer <= 1)).all()
    torch.testing.assert_close(finer.mean(dim=(1, 2)), torch.from_numpy(masks).float().mean(dim=(1, 2)), atol=1e-4, rtol=0)


def test_a_cell_on_a_border_of_pixels_takes_its_part_of_each() -> None:
    masks = np.zeros((1, 3, 3), dtype=bool)
    masks[0, :, 1] = True
    torch.testing.assert_close(camera_truth(masks, 2), torch.full((1, 4), 1 / 3))


def test_no_cell_of_an_absent_object_says_that_it_is_there() -> None:
    """Sums that are taken apart again must leave nothing behind, or an object would be present by rounding alone."""
    masks = np.random.default_rng(1).random((1, 601, 961)) < 0.5
    masks[:, 300:] = False
    assert (camera_truth(masks, 96).view(96, 96)[50:] == 0).all()
    assert (camera_truth(np.zeros_like(masks), 96) == 0).all()


def test_of_three_masks_the_best_alone_is_taught() -> None:
    given, truth = candidates(), truths()
    logits = given.logits.clone()
    logits[:, 2] = 8 * (2 * truth - 1)
    logits.requires_grad_()
    losses = mask_losses(replace(given, logits=logits), truth, EVERYTHING, ambiguous=True)
    torch.autograd.backward((losses.focal + losses.dice).sum())
    assert logits.grad is not None
    assert (logits.grad[:, 2] != 0).all()
    assert (logits.grad[:, [0, 1, 3]] == 0).all()
    assert losses.actual_iou.tolist() == [1, 1, 1]


def test_without_ambiguity_mask_0_alone_is_taught() -> None:
    given = candidates()
    logits, iou = given.logits.clone().requires_grad_(), given.predicted_iou.clone().requires_grad_()
    losses = mask_losses(replace(given, logits=logits, predicted_iou=iou), truths(), EVERYTHING, ambiguous=False)
    torch.autograd.backward(losses.total().sum())
    assert logits.grad is not None
    assert iou.grad is not None
    assert (logits.grad[:, 1:] == 0).all()
    assert (iou.grad[:, 1:] == 0).all()
    assert (iou.grad[:, 0] != 0).all()


def test_predicted_iou_is_held_against_the_actual_one_of_each_mask() -> None:
    given, truth = candidates(), truths()
    actual = torch.stack([actual_iou(given.logits[:, mask], truth) for mask in range(4)], dim=1)
    losses = mask_losses(replace(given, predicted_iou=actual), truth, EVERYTHING, ambiguous=True)
    torch.testing.assert_close(losses.iou, torch.zeros_like(losses.iou))
    off = mask_losses(replace(given, predicted_iou=actual + 0.1), truth, EVERYTHING, ambiguous=True)
    torch.testing.assert_close(off.iou, torch.full_like(losses.iou, 0.1))


def test_an_absent_object_costs_presence_alone() -> None:
    truth = truths()
    truth[1] = 0
    given = candidates()
    losses = mask_losses(given, truth, EVERYTHING, ambiguous=False)
    assert [losses.focal[1], losses.dice[1], losses.iou[1], losses.actual_iou[1]] == [0, 0, 0, 0]
    torch.testing.assert_close(losses.presence[1], functional.softplus(given.object_score[1]))
    torch.testing.assert_close(losses.presence[0], functional.softplus(-given.object_score[0]))


def test_what_nobody_looked_at_costs_nothing() -> None:
    known = torch.tensor([True, False, True])
    losses = mask_losses(candidates(), truths(), known, ambiguous=True)
    assert losses.total()[1] == 0
    assert (losses.total()[[0, 2]] > 0).all()


def test_the_weights_are_20_1_1_1() -> None:
    losses = mask_losses(candidates(), truths(), EVERYTHING, ambiguous=False)
    torch.testing.assert_close(losses.total(), 20 * losses.focal + losses.dice + losses.iou + losses.presence)
    torch.testing.assert_close(losses.total(LossWeights(0, 0, 0, 2)), 2 * losses.presence)


def test_half_precision_is_widened() -> None:
    losses = mask_losses(candidates(dtype=torch.bfloat16), truths(), EVERYTHING, ambiguous=True)
    assert losses.total().dtype == torch.float32


def test_voxels_become_points_by_the_mixing_of_answers() -> None:
    mixing = PointMixing(torch.tensor([[0, 1, 0, 0], [2, 0, 0, 0]], dtype=torch.int32), torch.tensor([[0.25, 0.75, 0, 0], [1.0, 0, 0, 0]]))
    given = candidates(dtype=torch.float32)
    points = at_points(given, mixing)
    assert points.logits.shape == (OBJECTS, 4, 2)
    torch.testing.assert_close(points.logits[1, 2, 0], 0.25 * given.logits[1, 2, 0] + 0.75 * given.logits[1, 2, 1])
    torch.testing.assert_close(points.logits[..., 1], given.logits[..., 2])
    assert points.predicted_iou is given.predicted_iou
