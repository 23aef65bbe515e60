"""How a training went, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class CurvePoint:
    """One step.

    step: from 1 on; 0 is before the first. losses: means over the step's samples by name, "total" among them; empty at step 0.
    learning_rate: the highest of all weights. gradient_norm: before it is clipped. held_out: the average's score on held-out clips, 0 to
    1, None where it was not judged.
    """

    step: int
    losses: Mapping[str, float] = field(default_factory=dict)
    learning_rate: float = 0.0
    gradient_norm: float = 0.0
    held_out: float | None = None

    def as_fields(self) -> dict[str, object]:
        """By name, for JSON; without what there is not."""
        fields: dict[str, object] = {"step": self.step}
        if self.losses:
            fields |= {"losses": dict(self.losses), "learning_rate": self.learning_rate, "gradient_norm": self.gradient_norm}
        if self.held_out is not None:
            fields["held_out"] = self.held_out
        return fields

    def scalars(self) -> dict[str, float]:
        """By the names of a chart."""
        values = {f"loss/{name}": value for name, value in self.losses.items()}
        if self.losses:
            values |= {"learning_rate": self.learning_rate, "gradient_norm": self.gradient_norm}
        if self.held_out is not None:
            values["held_out"] = self.held_out
        return values
