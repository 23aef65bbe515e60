"""Which mask is given: by ambiguity, stability and presence."""

from __future__ import annotations

import torch

from sam4d.modeling.mask_selection import ABSENT_LOGIT, MaskCandidates, select_mask


def candidates(first_mask: torch.Tensor, object_score: float = 5.0) -> MaskCandidates:
    """Four masks of four pixels; mask 2 is the best of 1 to 3; token i is filled with i."""
    logits = torch.stack([first_mask, *(torch.full((4,), float(index)) for index in (1, 2, 3))])[None]
    tokens = torch.arange(4.0)[None, :, None].expand(1, 4, 256)
    return MaskCandidates(logits, torch.tensor([[0.99, 0.2, 0.8, 0.5]]), tokens, torch.tensor([object_score]))


STABLE_MASK = torch.tensor([4.0, 3.0, -2.0, -9.0])


def test_an_ambiguous_prompt_gets_the_best_of_three() -> None:
    selected = select_mask(candidates(STABLE_MASK), ambiguous=True)
    assert (selected.logits == 2).all()
    assert (selected.token == 2).all()
    torch.testing.assert_close(selected.predicted_iou, torch.tensor([0.8]))


def test_a_clear_prompt_gets_the_stable_first_mask() -> None:
    selected = select_mask(candidates(STABLE_MASK), ambiguous=False)
    torch.testing.assert_close(selected.logits, STABLE_MASK[None])
    torch.testing.assert_close(selected.predicted_iou, torch.tensor([0.99]))


def test_an_unstable_first_mask_is_replaced_but_the_pointer_stays() -> None:
    selected = select_mask(candidates(torch.tensor([4.0, 0.01, -2.0, -9.0])), ambiguous=False)
    assert (selected.logits == 2).all()
    assert (selected.token == 0).all()


def test_an_empty_first_mask_is_stable() -> None:
    selected = select_mask(candidates(torch.full((4,), -3.0)), ambiguous=False)
    assert (selected.logits == -3).all()


def test_an_absent_object_has_no_mask() -> None:
    for score in (0.0, -1.0):
        assert (select_mask(candidates(STABLE_MASK, score), ambiguous=True).logits == ABSENT_LOGIT).all()
