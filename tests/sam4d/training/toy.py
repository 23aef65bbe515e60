"""Something to learn in milliseconds: a line through points, by the names that the network's parts have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sam4d.training.group import Losses
from sam4d.training.plan import TrainingPlan


class ToyNetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        sam = nn.Module()
        sam.sam_mask_decoder = nn.Linear(3, 2)
        sam.obj_ptr_proj = nn.Linear(2, 1)
        head = nn.Module()
        head.sam = sam
        self.pure_model = nn.Module()
        self.pure_model.head = head
        self.pure_model.backbone = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))

    def forward(self, values: Tensor) -> Tensor:
        sam = self.pure_model.head.sam  # type: ignore[union-attr]
        answer: Tensor = sam.obj_ptr_proj(sam.sam_mask_decoder(self.pure_model.backbone(values)))  # type: ignore[operator, union-attr]
        return answer


@dataclass(frozen=True)
class ToyCourse:
    """Raises or fails at a sample of choice. worsens: the score falls with every judgement, whatever is learnt."""

    not_a_number_at: int = -1
    no_memory_at: int = -1
    scores: tuple[float, ...] = ()
    asked: list[int] | None = None

    def losses(self, network: nn.Module, sample: int) -> Losses:
        if self.asked is not None:
            self.asked.append(sample)
        if sample == self.no_memory_at:
            raise MemoryError
        values = torch.randn(8, 3, generator=torch.Generator().manual_seed(sample))
        off = (network(values)[:, 0] - values.sum(dim=1)).square().mean()
        return {"total": off * (torch.nan if sample == self.not_a_number_at else 1), "half": off / 2}

    def score(self, network: nn.Module, stopped: Callable[[], bool] = lambda: False) -> float | None:
        if stopped():
            raise InterruptedError
        if self.scores:
            assert self.asked is not None
            self.asked.append(-1)
            return self.scores[self.asked.count(-1) - 1]
        return float(torch.exp(-self.losses(network, 1_000_000)["total"]))


TOY_PLAN = TrainingPlan(
    mode="everything", steps=30, learning_rate=0.05, encoder_learning_rate=0.01, warm_up_steps=3, evaluate_every=5, save_every=4
)
