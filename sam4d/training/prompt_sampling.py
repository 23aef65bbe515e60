"""What is asked of each object of a sample, and how answers are corrected: simulated people.

The set-up of arXiv 2506.21547, and of arXiv 2408.00714 where that leaves something open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from sam4d.geometry import BoolArray, Float64Array
from sam4d.structures import LIDAR, BoxPrompt, MaskPrompt, PointPrompt, Prompt
from sam4d.training.windows import TrainingFrame, TrainingSample

BOX_JITTER = 0.1
"""Standard deviation of a box's corners, in shares of its side."""

MOST_JITTER_SHARE, MOST_JITTER_M = 20 / 1024, 0.5
"""Corners move by no more: in shares of the image's longer side, and in the LiDAR in metres."""

LEAST_SIDE_PX, LEAST_SIDE_M = 1.0, 0.1


@dataclass(frozen=True)
class AskingHabits:
    """How the simulated people ask. Clicks are what is left of the shares of masks and boxes."""

    mask_share: float = 0.5
    box_share: float = 0.25
    most_corrected_frames: int = 2
    most_clicks_per_frame: int = 7
    from_truth_share: float = 0.1


PAPER = AskingHabits()


@dataclass(frozen=True)
class CorrectedFrame:
    """A frame on which an object's answer is looked at and corrected.

    place: of the frame in the sample. sensors: in which clicks are given, the camera's name or `LIDAR`. click_count: at the most.
    from_truth_share: how likely a click is given inside the object without a look at the answer.
    """

    place: int
    sensors: tuple[str, ...]
    click_count: int
    from_truth_share: float


@dataclass(frozen=True, eq=False)
class PromptPlan:
    """What one object is asked with over a sample.

    index: of the object in the sample. place: of the frame where it begins; nothing is asked of it before. prompts: given together there,
    either masks of both sensors, or one click or one box in one sensor or in both; their frame_index is the place in the sample.
    corrections: by ascending place, none before `place`, each place once.
    """

    index: int
    place: int
    prompts: tuple[Prompt, ...]
    corrections: tuple[CorrectedFrame, ...]

    @property
    def is_mask(self) -> bool:
        return isinstance(self.prompts[0], MaskPrompt)


def sample_plans(sample: TrainingSample, random: Generator, habits: AskingHabits = PAPER) -> tuple[PromptPlan, ...]:
    """A plan for every object that can be asked for, in the sample's order; one of which no frame shows enough has none."""
    plans = []
    for index in range(len(sample.object_ids)):
        place = sample.first_shown(index)
        if place is not None:
            plans.append(_plan(sample, index, place, random, habits))
    return tuple(plans)


def corrective_click(
    truth: BoolArray, answer: BoolArray, random: Generator, *, from_truth: bool = False
) -> tuple[tuple[int, ...], int] | None:
    """Where to click next, uniformly among all wrong places, and the label: positive (1) where the answer lacks it, else negative (0).

    Args:
        truth, answer: bool of one shape, (H, W) or (N,).
        from_truth: uniformly inside the truth instead, whatever the answer is; as usual where the truth is empty.

    Returns:
        Indices into the arrays, and the label; None where nothing is wrong.
    """
    places = np.flatnonzero(truth) if from_truth else np.zeros(0, dtype=np.int64)
    if not len(places):
        places = np.flatnonzero(truth != answer)
    if not len(places):
        return None
    place = np.unravel_index(int(places[random.integers(len(places))]), truth.shape)
    return tuple(int(axis) for axis in place), int(truth[place])


def correct(
    sample: TrainingSample,
    plan: PromptPlan,
    correction: CorrectedFrame,
    camera_answer: BoolArray,
    lidar_answer: BoolArray,
    random: Generator,
) -> PointPrompt | None:
    """One corrective click on an answer, in one of the correction's sensors, by chance among those in which something is wrong.

    Args:
        camera_answer: bool (H, W), at the camera's own size. lidar_answer: bool (N,).

    Returns:
        None where nothing is wrong in any of the sensors.
    """
    frame = sample.frames[correction.place]
    from_truth = bool(random.random() < correction.from_truth_share)
    for chosen in random.permutation(len(correction.sensors)):
        sensor = correction.sensors[chosen]
        answer = lidar_answer if sensor == LIDAR else camera_answer
        clicked = corrective_click(_truth(frame, plan.index, sensor), answer, random, from_truth=from_truth)
        if clicked is not None:
            where, label = clicked
            coordinates = _coordinates(frame, sensor, where)
            return PointPrompt(sample.object_ids[plan.index], correction.place, sensor, coordinates[None], np.array([label]))
    return None


def jittered_box(
    box: Float64Array, most: float, least_side: float, low: Float64Array, high: Float64Array, random: Generator
) -> Float64Array:
    """A box [x0, y0, x1, y1] as a person draws it: each corner moved by a normally distributed share of the side, by `most` at the most.

    It lies within `low` and `high`, (2,) each, and its sides are no shorter than `least_side`.
    """
    sides = np.tile(box[2:] - box[:2], 2)
    drawn = box + np.clip(random.normal(size=4) * BOX_JITTER * sides, -most, most)
    lower, upper = np.minimum(drawn[:2], drawn[2:]), np.maximum(drawn[:2], drawn[2:])
    lack = np.maximum(least_side - (upper - lower), 0) / 2
    lower, upper = np.clip(lower - lack, low, high - least_side), np.clip(upper + lack, low + least_side, high)
    return np.concatenate([lower, upper])


def _plan(sample: TrainingSample, index: int, place: int, random: Generator, habits: AskingHabits) -> PromptPlan:
    frame, object_id = sample.frames[place], sample.object_ids[index]
    sensors = _some_sensors(frame, index, random)
    kind = random.random()
    if kind < habits.mask_share and frame.camera_truths is not None:
        # A mask is of both sensors, as the network takes it: what is not given is filled in before it sees it.
        prompts: tuple[Prompt, ...] = (
            MaskPrompt(object_id, place, frame.camera.name, frame.camera_truths[index]),
            MaskPrompt(object_id, place, LIDAR, frame.lidar_truths[index]),
        )
        return PromptPlan(index, place, prompts, _corrections(sample, place, sensors, random, habits, is_mask=True))
    # Where a mask cannot be given, the others keep their shares among themselves.
    kind = habits.mask_share + random.random() * (1 - habits.mask_share) if kind < habits.mask_share else kind
    ask = _box if kind < habits.mask_share + habits.box_share else _click
    prompts = tuple(ask(frame, index, sensor, object_id, place, random) for sensor in sensors)
    return PromptPlan(index, place, prompts, _corrections(sample, place, sensors, random, habits, is_mask=False))


def _corrections(
    sample: TrainingSample, place: int, sensors: tuple[str, ...], random: Generator, habits: AskingHabits, *, is_mask: bool
) -> tuple[CorrectedFrame, ...]:
    """On the frame where the object begins, unless its mask is given there, and on later ones; on each another number of clicks."""
    if not habits.most_corrected_frames:
        return ()
    count = int(random.integers(1, habits.most_corrected_frames + 1))
    begun = [] if is_mask else [place]
    later = random.permutation(np.arange(place + 1, len(sample)))[: count - len(begun)]
    corrections = []
    for each in [*begun, *sorted(int(chosen) for chosen in later)]:
        # Also where the object is not: the answer may say that it is.
        known = _known_sensors(sample.frames[each])
        clicks = int(random.integers(1, habits.most_clicks_per_frame + 1))
        there = tuple(sensor for sensor in sensors if sensor in known) or known
        corrections.append(CorrectedFrame(each, there, clicks, habits.from_truth_share))
    return tuple(corrections)


def _some_sensors(frame: TrainingFrame, index: int, random: Generator) -> tuple[str, ...]:
    """The camera, the LiDAR or both, a third each where both show the object."""
    showing = [frame.camera.name] if frame.camera_shows(index) else []
    showing += [LIDAR] if frame.lidar_shows(index) else []
    choice = int(random.integers(3)) if len(showing) == 2 else 2
    return tuple(showing) if choice == 2 else (showing[choice],)


def _known_sensors(frame: TrainingFrame) -> tuple[str, ...]:
    return (LIDAR,) if frame.camera_truths is None else (frame.camera.name, LIDAR)


def _click(frame: TrainingFrame, index: int, sensor: str, object_id: int, place: int, random: Generator) -> Prompt:
    truth = _truth(frame, index, sensor)
    clicked = corrective_click(truth, np.zeros_like(truth), random, from_truth=True)
    assert clicked is not None
    return PointPrompt(object_id, place, sensor, _coordinates(frame, sensor, clicked[0])[None], np.array([1]))


def _box(frame: TrainingFrame, index: int, sensor: str, object_id: int, place: int, random: Generator) -> Prompt:
    truth = _truth(frame, index, sensor)
    if sensor == LIDAR:
        points_m = frame.points_m[truth, :2].astype(np.float64)
        tight = np.concatenate([points_m.min(axis=0), points_m.max(axis=0)])
        anywhere = np.full(2, np.inf)
        return BoxPrompt(object_id, place, LIDAR, jittered_box(tight, MOST_JITTER_M, LEAST_SIDE_M, -anywhere, anywhere, random))
    rows, columns = np.nonzero(truth)
    tight = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], dtype=np.float64)
    size = np.array([frame.camera.width_px, frame.camera.height_px], dtype=np.float64)
    most = MOST_JITTER_SHARE * float(size.max())
    return BoxPrompt(object_id, place, sensor, jittered_box(tight, most, LEAST_SIDE_PX, np.zeros(2), size, random))


def _truth(frame: TrainingFrame, index: int, sensor: str) -> BoolArray:
    truths = frame.lidar_truths if sensor == LIDAR else frame.camera_truths
    assert truths is not None
    truth: BoolArray = truths[index]
    return truth


def _coordinates(frame: TrainingFrame, sensor: str, where: Sequence[int]) -> Float64Array:
    """The middle of a pixel (row, column), or a point's place."""
    if sensor == LIDAR:
        return np.asarray(frame.points_m[where[0]], dtype=np.float64)
    row, column = where
    return np.array([column + 0.5, row + 0.5])
