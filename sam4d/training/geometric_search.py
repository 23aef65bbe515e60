"""The geometric engine's parameters, estimated anew from what people labelled.

A pattern search: one parameter after the other is made larger or smaller by a factor, and stays so where the objects of the clips are then
answered better, not one of them alone; where a whole round gains nothing, the factor becomes smaller. Nothing in it is left to chance.

Masks in cameras follow from the points, and take most of the time: they are compared on the clicked frames alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sam4d.evaluation.clicks import Progress
from sam4d.geometric.parameters import BOUNDS, DEFAULT_PARAMETERS, GeometricParameters, parameters_from_json, parameters_to_json
from sam4d.geometric.predictor import VERSION, GeometricPredictor
from sam4d.structures import CameraMasks, InputError
from sam4d.training.frames_in_memory import FramesInMemory, named
from sam4d.training.held_out import OBJECTS_PER_CLIP, HeldOut, Stop, Stopped, clicked_frames, judge
from sam4d.training.labelled_clip import LabelledClip
from sam4d.whole_file import write_whole

MOST_EVALUATIONS = 60
"""About three rounds."""

STEPS = (1.5, 1.22, 1.1)
"""Factors, largest first; what is off by less is within what the objects of another drive would want."""

LEAST_GAIN = 0.0005
"""Of the score, for a step to be taken, and more than its standard error over the objects: what one of them alone gains is chance."""

MEMORY_BYTES = 1 << 30


@dataclass(frozen=True)
class SearchResult:
    """What was found; `best` is `start` where nothing was better. Scores as `held_out.judge` gives them, on the clips of the search
    without the images of frames that are not clicked on.

    evaluations: how many parameters were judged, those included that an interrupted search had judged.
    """

    start: GeometricParameters
    best: GeometricParameters
    start_score: float
    best_score: float
    evaluations: int

    def __str__(self) -> str:
        before, after = parameters_to_json(self.start), parameters_to_json(self.best)
        changes = ", ".join(f"{name} {before[name]:.3g} -> {value:.3g}" for name, value in after.items() if value != before[name])
        return f"{self.start_score:.3f} -> {self.best_score:.3f} after {self.evaluations} evaluations ({changes or 'nothing is better'})"


def search_parameters(
    clips: Sequence[LabelledClip],
    start: GeometricParameters = DEFAULT_PARAMETERS,
    *,
    most_evaluations: int = MOST_EVALUATIONS,
    kept: Path | None = None,
    progress: Progress | None = None,
    stop: Stop | None = None,
    objects_per_clip: int = OBJECTS_PER_CLIP,
    memory_bytes: int = MEMORY_BYTES,
) -> SearchResult:
    """Look for parameters that answer the clips' objects better than `start`, within `parameters.BOUNDS`.

    Args:
        most_evaluations: each goes through all clips once.
        kept: a file of what was judged: an interrupted search of the same clips goes on from there, to the same result.
        progress: told (done, all) after each evaluation; it may end before all are done.
        stop: asked before each frame.
        memory_bytes: for prepared frames.

    Raises:
        Stopped: `stop` said so; `kept` holds what was judged until then.
        InputError: no clip has an object that could be judged, or a clip cannot be read.
        OSError: `kept` cannot be written.
    """
    judged = _Judged(clips, kept, objects_per_clip, memory_bytes, stop)
    best, best_scores = start, judged.scores(start)
    start_score = _mean(best_scores)
    if progress is not None:
        progress(1, most_evaluations)
    tried = {_key(start)}
    larger_first = dict.fromkeys(BOUNDS, True)
    for step in STEPS:
        gained = True
        while gained:
            gained = False
            for name in BOUNDS:
                for larger in (larger_first[name], not larger_first[name]):
                    before = best
                    while (candidate := _changed(best, name, step if larger else 1 / step)) is not None and _key(candidate) not in tried:
                        if len(tried) >= most_evaluations:
                            return SearchResult(start, best, start_score, _mean(best_scores), len(tried))
                        tried.add(_key(candidate))
                        scores = judged.scores(candidate)
                        if progress is not None:
                            progress(len(tried), most_evaluations)
                        if not _is_gain(best_scores, scores):
                            break
                        best, best_scores = candidate, scores
                    if best != before:
                        gained, larger_first[name] = True, larger
                        break
    return SearchResult(start, best, start_score, _mean(best_scores), len(tried))


def _is_gain(before: tuple[float, ...], after: tuple[float, ...]) -> bool:
    gains = np.subtract(after, before)
    standard_error = float(gains.std(ddof=1)) / len(gains) ** 0.5 if len(gains) > 1 else 0.0
    return float(gains.mean()) > max(LEAST_GAIN, standard_error)


def _mean(scores: tuple[float, ...]) -> float:
    return float(np.mean(scores))


def _changed(parameters: GeometricParameters, name: str, factor: float) -> GeometricParameters | None:
    """None where the bounds leave no room."""
    least, most = BOUNDS[name]
    value = getattr(parameters, name)
    # Three digits are all that matters, and the same ones on every machine.
    changed = min(max(float(f"{value * factor:.3g}"), least), most)
    return None if changed == value else replace(parameters, **{name: changed})


def _key(parameters: GeometricParameters) -> tuple[float, ...]:
    return tuple(parameters_to_json(parameters).values())


class _Judged:
    """The objects' scores by parameters, those that an interrupted search left included."""

    def __init__(
        self, clips: Sequence[LabelledClip], kept: Path | None, objects_per_clip: int, memory_bytes: int, stop: Stop | None
    ) -> None:
        self._clips = [named(labelled, str(index), clicked_frames(labelled, objects_per_clip)) for index, labelled in enumerate(clips)]
        self._store = FramesInMemory(memory_bytes)
        self._fits = True
        self._kept = kept
        self._objects_per_clip = objects_per_clip
        self._stop = stop
        self._of = _fingerprint(clips, objects_per_clip)
        self._scores = _read(kept, self._of) if kept is not None else {}

    def scores(self, parameters: GeometricParameters) -> tuple[float, ...]:
        key = _key(parameters)
        if key not in self._scores:
            held_out = self._judge(parameters)
            if not held_out.objects:
                raise InputError("clips to learn from", "a labelled object with points or pixels enough to be clicked on", "none")
            self._scores[key] = tuple(judged.score for judged in held_out.objects)
            if self._kept is not None:
                _write(self._kept, self._of, self._scores)
        return self._scores[key]

    def _judge(self, parameters: GeometricParameters) -> HeldOut:
        predictor = GeometricPredictor(self._store if self._fits else None, parameters)
        if self._fits:
            self._fits = self._prepare(predictor)
        return judge(predictor, self._clips, stop=self._stop, objects_per_clip=self._objects_per_clip)

    def _prepare(self, predictor: GeometricPredictor) -> bool:
        """Whether the frames found room together: else each would be prepared once to be dropped, and again to be used."""
        size = 0
        for labelled in self._clips:
            for frame_index in range(min(labelled.labelled_frames, default=0), max(labelled.labelled_frames, default=-1) + 1):
                if self._stop is not None and self._stop():
                    raise Stopped("the search was stopped")
                kept = predictor.prewarm(labelled.clip, frame_index)
                size += sum((kept or {}).values())
                if kept is None or size > self._store.most_bytes:
                    return False
        return True


def _fingerprint(clips: Sequence[LabelledClip], objects_per_clip: int) -> str:
    """Of all that the scores depend on, but the recordings' own content, which does not change under its name."""
    digest = hashlib.sha256(f"{VERSION} {objects_per_clip}\n".encode())
    for labelled in clips:
        digest.update(f"{labelled.clip.name} {labelled.labelled_cameras} {labelled.labelled_frames}\n".encode())
        for masklet in labelled.masklets:
            digest.update(f"{masklet.object_id}\n".encode())
            for frame_index, masks in sorted(masklet.masks.items()):
                crops = CameraMasks({name: masks.camera_masks[name] for name in sorted(masks.camera_masks)}).crops
                digest.update(f"{frame_index} {[(name, *crop[:3]) for name, crop in crops.items()]}\n".encode())
                for mask in (masks.lidar_mask, *(crop[3] for crop in crops.values())):
                    digest.update(np.packbits(mask).tobytes())
    return digest.hexdigest()


def _read(kept: Path, of: str) -> dict[tuple[float, ...], tuple[float, ...]]:
    """Nothing where the file is not there, or of other clips, or damaged: it saves time, and nothing else."""
    try:
        content = json.loads(kept.read_text(encoding="utf-8"))
        if content["of"] != of:
            return {}
        return {_key(parameters_from_json(each["parameters"])): tuple(map(float, each["scores"])) for each in content["judged"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _write(kept: Path, of: str, scores: dict[tuple[float, ...], tuple[float, ...]]) -> None:
    judged = [{"parameters": dict(zip(BOUNDS, key, strict=True)), "scores": of_objects} for key, of_objects in scores.items()]
    write_whole(kept, json.dumps({"of": of, "judged": judged}, indent=1) + "\n")
