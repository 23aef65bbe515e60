"""What one interactive request of Label Studio asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from sam4d.geometry import Float64Array
from sam4d.structures import Prompt

PromptKind: TypeAlias = Literal["point", "box", "mask"]


@dataclass(frozen=True, eq=False)
class UserPrompt:
    """One interactive request: what was clicked, boxed or brushed, on whatever frames of the task, for one object with one label.

    frame_index: the newest prompt's, in the task's window (Label Studio's item_index). sensor: a camera's name or "lidar".
    positive: False where every click is negative. object_id: named by the 3D view, else None. new_object: the 3D view
    asks for a new one.
    prompts: one per frame, the newest last, with object id 0; clicks of a frame come in one PointPrompt, the newest last.
    clicks_m: {frame: float64 (P, 2)}, where clicks on the bird's-eye view were before they were lifted to a point of the sweep; x and y
    in the LiDAR frame, metres.
    """

    label: str
    frame_index: int
    sensor: str
    kind: PromptKind
    positive: bool
    prompts: tuple[Prompt, ...]
    object_id: int | None = None
    new_object: bool = False
    clicks_m: Mapping[int, Float64Array] = field(default_factory=dict)

    def prompts_for(self, object_id: int) -> list[Prompt]:
        """The prompts, of this object."""
        return [replace(prompt, object_id=object_id) for prompt in self.prompts]
