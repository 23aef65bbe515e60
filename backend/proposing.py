"""A task's window in, the regions of objects that nobody has clicked yet out: no more of them than a browser bears."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from converters.label_config import LabelConfig
from converters.regions import Region, masklet_to_regions
from converters.task_score import task_score
from converters.tasks import TaskWindow
from sam4d.geometric.predictor import parameters_of
from sam4d.predictor import Predictor
from sam4d.proposals import propose_masklets
from sam4d.structures import Clip, Masklet


@dataclass(frozen=True, eq=False)
class ProposedRegions:
    """What is posted for a task.

    score: how sure it is, 0 to 1 (`converters.task_score`). left_out: objects that were found, too, but would have been too much for the
    page.
    """

    masklets: tuple[Masklet, ...]
    regions: tuple[Region, ...]
    score: float
    left_out: int


class Proposer(Protocol):
    """Finds the objects of a project's tasks, one task after the other."""

    @property
    def version(self) -> str:
        """The model version of its predictions."""
        ...

    def propose(self, window: TaskWindow, drive: Clip, config: LabelConfig, most_masks: int) -> ProposedRegions:
        """A task's objects, as many as `most_masks` allows. `drive`: the whole sequence that the task is a window of.

        Raises:
            InputError: a file that cannot be read, or a drive that the engine cannot work on.
        """
        ...


@dataclass(frozen=True)
class WindowProposer:
    """Looks at each task's frames alone."""

    predictor: Predictor

    @property
    def version(self) -> str:
        return self.predictor.version

    def propose(self, window: TaskWindow, drive: Clip, config: LabelConfig, most_masks: int) -> ProposedRegions:
        return propose_regions(window, drive.window(window.first_frame, window.frame_count), config, self.predictor, most_masks)


def propose_regions(
    window: TaskWindow,
    clip: Clip,
    config: LabelConfig,
    predictor: Predictor,
    most_masks: int,
    progress: Callable[[int, int], None] | None = None,
) -> ProposedRegions:
    """The best objects whose brush masks number at most `most_masks` together; the best object always.

    Label Studio reads every mask of the page back at each click, draft and submit (0.1 s and more per mask), so that a page with
    everything that can be found is one that nobody can work with.

    Args:
        clip: the window's frames only.
        progress: called with (steps done, steps in all).
    """
    found = propose_masklets(predictor.open(clip), config.labels, progress, parameters=parameters_of(predictor))
    return best_regions(found, window, clip, predictor.version, most_masks)


def best_regions(found: Sequence[Masklet], window: TaskWindow, clip: Clip, version: str, most_masks: int) -> ProposedRegions:
    """As `propose_regions`, of objects that have been found.

    Args:
        found: in the window's frames, best first.
        version: of the engine that found them.
    """
    masklets: list[Masklet] = []
    regions: list[Region] = []
    left = most_masks
    for masklet in found:
        added = masklet_to_regions(masklet, window, clip, version)
        left -= sum(region["type"] == "brushlabels" for region in added)
        if masklets and left < 0:
            break
        masklets.append(masklet)
        regions += added
    score = task_score(masklets, regions, clip)
    return ProposedRegions(tuple(masklets), tuple(regions), score, len(found) - len(masklets))
