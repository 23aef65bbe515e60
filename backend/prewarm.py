"""What a first click on a frame waits for, done before: a project's frames prepared and kept where the server looks for them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from backend.label_studio import Task
from backend.limits import MEGABYTE
from converters.tasks import parse_task_data
from sam4d.predictor import PrewarmingPredictor
from sam4d.structures import Clip, InputError


@dataclass(frozen=True)
class FrameOutcome:
    """What became of one frame of a sequence: the bytes it takes beside what frames before it take as well, or `failure`, one line.

    Of a sequence that cannot be opened at all, only the first frame has an outcome."""

    sequence: str
    frame_index: int
    kept_bytes: int = 0
    failure: str | None = None


@dataclass(frozen=True)
class Prewarmed:
    """What became of a project: of `frames` in all, those that were looked at; and of each task that is none of ours, what is wrong."""

    frames: int
    outcomes: tuple[FrameOutcome, ...]
    task_failures: Mapping[int, str]

    @property
    def kept(self) -> tuple[FrameOutcome, ...]:
        return tuple(outcome for outcome in self.outcomes if outcome.failure is None)

    @property
    def failed(self) -> bool:
        return bool(self.task_failures) or len(self.kept) < len(self.outcomes)

    @property
    def is_full(self) -> bool:
        """Whether there was no room for more frames."""
        return not self.failed and len(self.outcomes) < self.frames

    @property
    def megabytes(self) -> float:
        return sum(outcome.kept_bytes for outcome in self.kept) / MEGABYTE

    def describe(self) -> str:
        return f"{len(self.kept)} of {self.frames} frames are prepared, {self.megabytes:.0f} MB"

    def as_json(self) -> dict[str, Any]:
        return {
            "frames": self.frames,
            "kept": len(self.kept),
            "megabytes": round(self.megabytes, 1),
            "failures": [asdict(outcome) for outcome in self.outcomes if outcome.failure is not None],
            "task_failures": [{"task_id": task_id, "failure": failure} for task_id, failure in self.task_failures.items()],
        }


def frames_of(tasks: Iterable[Task]) -> tuple[dict[str, list[int]], dict[int, str]]:
    """The frames that tasks show, each once, in the order of the tasks: {sequence: frames}; and {task: what is wrong with its data}."""
    frames: dict[str, dict[int, None]] = {}
    failures = {}
    for task in tasks:
        try:
            window = parse_task_data(task.data)
        except InputError as error:
            failures[task.task_id] = str(error)
            continue
        shown = range(window.first_frame, window.first_frame + window.frame_count)
        frames.setdefault(window.sequence, {}).update(dict.fromkeys(shown))
    return {sequence: list(indices) for sequence, indices in frames.items()}, failures


def prewarm(
    frames: Mapping[str, Sequence[int]], predictor: PrewarmingPredictor, open_clip: Callable[[str], Clip], most_bytes: int
) -> Generator[FrameOutcome, None, None]:
    """Prepare frame after frame; what is kept already is passed over, so that an interrupted run goes on where it was.

    Ends before a frame would drive out an earlier one: what is kept of these frames takes at most `most_bytes`.

    Args:
        frames: {sequence: frames}.
        open_clip: the whole sequence at an address.
    """
    taken: dict[str, int] = {}
    taken_bytes, largest = 0, 0
    for sequence, indices in frames.items():
        try:
            clip = open_clip(sequence)
        except InputError as error:
            yield FrameOutcome(sequence, indices[0], failure=str(error))
            continue
        for frame_index in indices:
            if taken_bytes + largest > most_bytes:
                return
            outcome = _prewarm_frame(predictor, clip, sequence, frame_index, taken)
            taken_bytes, largest = taken_bytes + outcome.kept_bytes, max(largest, outcome.kept_bytes)
            yield outcome


def _prewarm_frame(predictor: PrewarmingPredictor, clip: Clip, sequence: str, frame_index: int, taken: dict[str, int]) -> FrameOutcome:
    """taken: what earlier frames take, to which this one's is added."""
    try:
        kept = predictor.prewarm(clip, frame_index)
    except InputError as error:
        return FrameOutcome(sequence, frame_index, failure=str(error))
    if kept is None:
        return FrameOutcome(sequence, frame_index, failure="it cannot be kept: expected a folder that can be written, with room in it")
    kept_bytes = sum(size for key, size in kept.items() if key not in taken)
    taken.update(kept)
    return FrameOutcome(sequence, frame_index, kept_bytes)
