"""One prompt in an open task: give it to the engine, follow the object outward from there, and say what changed."""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from backend.answer_size import frames_that_fit
from backend.edits import as_prompts, remember
from backend.sessions import LabelledObject, OpenTask
from converters.label_config import LabelConfig
from converters.prompts import UserPrompt, choose_object, parse_context
from converters.regions import Region, blank_regions, masklet_to_regions
from sam4d.cuboids import fit_cuboids
from sam4d.predictor import Session
from sam4d.structures import FrameMasks, InputError, Masklet, ObjectMasks, Prompt

logger = logging.getLogger(__name__)

FOLLOWING_SHARE = 0.85
"""Of the time for an answer; the rest is for the cuboids, the regions and the way back."""


@dataclass(frozen=True)
class Answer:
    """Regions of one object to be shown, its score, the frames that were looked at, and the one that the request was about."""

    object_id: int
    regions: list[Region]
    score: float
    frames: tuple[int, ...]
    asked_frame: int = 0

    def cut_to(self, most_bytes: int) -> Answer:
        """Without the frames that do not fit, as if they had not been looked at; they come with a later answer."""
        kept = frames_that_fit(self.regions, most_bytes, self.asked_frame)
        left_out = {region["item_index"] for region in self.regions} - kept
        if not left_out:
            return self
        regions = [region for region in self.regions if region["item_index"] in kept]
        return replace(self, regions=regions, frames=tuple(frame for frame in self.frames if frame not in left_out))


def answer_click(
    task: OpenTask, context: Mapping[str, Any], config: LabelConfig, version: str, seconds: float, clock: Callable[[], float]
) -> Answer:
    """One interactive request of Label Studio's own tools, as `answer_prompt`.

    A click that was answered before is answered again from what stands.

    Raises:
        InputError: the click cannot be understood or answered; the task is then as before.
    """
    fresh = _unanswered(context, task)
    if fresh is None:
        labelled = task.objects[task.answered_prompts[_prompt_ids(context)[-1]]]
        return Answer(labelled.masklet.object_id, regions_of(labelled, task, version), labelled.masklet.score, ())
    answer = answer_prompt(task, parse_context(fresh, config, task.window, task.clip), version, seconds, clock)
    task.answered_prompts.update(dict.fromkeys(_prompt_ids(fresh), answer.object_id))
    return answer


def answer_prompt(task: OpenTask, user_prompt: UserPrompt, version: str, seconds: float, clock: Callable[[], float]) -> Answer:
    """The regions of the object that was prompted, on all frames that were reached in time, and its score.

    The prompted frame is always reached. Regions that stand in Label Studio just so already are left out. Regions that stood on these
    frames and are gone come back empty, because an interactive answer cannot delete.

    Raises:
        InputError: the prompt cannot be answered; the task is then as before.
    """
    deadline = clock() + FOLLOWING_SHARE * seconds
    object_id = choose_object(user_prompt, [labelled.masklet for labelled in task.objects.values()], task.last_touched, task.clip)
    if object_id in task.objects:
        labelled = task.objects[object_id].copy()
    else:
        if user_prompt.object_id is None:
            object_id = unused_object_id(task, object_id)
        labelled = LabelledObject(Masklet(object_id, user_prompt.label, {}))
    with engine_keeps_up(task, object_id):
        found = _segment(task.session, labelled, user_prompt)
        untouched = labelled.frames_by_hand | labelled.frames_deleted | set(found)
        for frame_index, masks in _outward(task.session, object_id, user_prompt.frame_index, deadline, clock):
            if frame_index not in untouched:
                found[frame_index] = masks
        return replace(take_over(task, labelled, found, version), asked_frame=user_prompt.frame_index)


def unused_object_id(task: OpenTask, least: int = 1) -> int:
    """The id of an object that was deleted is not given again: its regions may come back by an undo."""
    known = [task.highest_object_id, *task.objects, *(history.object_id for history in task.regions.values())]
    return max(least, max(known) + 1)


@contextmanager
def engine_keeps_up(task: OpenTask, object_id: int) -> Iterator[None]:
    """Where the block fails the engine may have taken some of it: it gets the object anew, as it stood, with the next click."""
    try:
        yield
    except Exception:
        if object_id in task.session.object_ids:
            task.session.remove_object(object_id)
        raise


def take_over(
    task: OpenTask, labelled: LabelledObject, found: Mapping[int, ObjectMasks], version: str, fitted: Collection[int] = ()
) -> Answer:
    """The object with the masks found becomes the task's own; what must be shown of it.

    Args:
        fitted: frames whose cuboid is shown even if it is as before: who asked may have changed it since without saying so.

    Raises:
        InputError: it would be one object too many.
    """
    object_id = labelled.masklet.object_id
    if object_id not in task.objects and len(task.objects) >= task.most_objects:
        raise InputError("task", f"at most {task.most_objects} objects", "one more")
    before = task.objects[object_id].masklet if object_id in task.objects else Masklet(object_id, labelled.masklet.label, {})
    labelled.masklet = _updated(labelled, found, task)
    task.objects[object_id] = labelled
    task.last_touched = object_id

    # One size for all frames: cuboids change on frames, too, that were not looked at.
    cuboids = labelled.masklet.cuboids
    refitted = [frame for frame in cuboids if frame not in found and (frame in fitted or before.cuboids.get(frame) != cuboids[frame])]
    regions = masklet_to_regions(
        labelled.masklet,
        task.window,
        task.clip,
        version,
        sorted({*found, *refitted}),
        by_hand=labelled.cuboids_by_hand,
        without_brushes=[frame for frame in refitted if frame in before.cuboids],
    )
    lost = [frame_index for frame_index in sorted(found) if _shows_less(labelled.masklet, before, frame_index)]
    if lost:
        regions += blank_regions(masklet_to_regions(before, task.window, task.clip, version, lost), regions)
    return Answer(object_id, remember(task, regions, object_id, fitted), labelled.masklet.score, tuple(sorted(found)))


def regions_of(labelled: LabelledObject, task: OpenTask, version: str) -> list[Region]:
    """All of an object as it stands."""
    return masklet_to_regions(labelled.masklet, task.window, task.clip, version, by_hand=labelled.cuboids_by_hand)


def pending_objects(task: OpenTask, context: Mapping[str, Any]) -> set[int]:
    """Objects whose prompts are still on the screen: answered, but not accepted yet, so that no draft can show them."""
    return {task.answered_prompts[prompt_id] for prompt_id in _prompt_ids(context) if prompt_id in task.answered_prompts}


def _segment(session: Session, labelled: LabelledObject, user_prompt: UserPrompt) -> dict[int, ObjectMasks]:
    """Give the engine the new prompts after all earlier ones of the object; masks by prompted frame."""
    object_id = labelled.masklet.object_id
    if object_id not in session.object_ids:
        feed(session, labelled, user_prompt.frame_index)
    new_prompts = user_prompt.prompts_for(object_id)
    found = {prompt.frame_index: session.add_prompt(prompt) for prompt in new_prompts}
    labelled.prompts.extend(new_prompts)
    for frame_index in found:
        labelled.frames_by_hand.discard(frame_index)
        labelled.frames_deleted.discard(frame_index)
        labelled.cuboids_by_hand.pop(frame_index, None)
    return found


def feed(session: Session, labelled: LabelledObject, frame_index: int) -> None:
    """Bring an object to the engine that it does not know: after a restart, an edit, or a proposal."""
    shown = [frame for frame, masks in labelled.masklet.masks.items() if not masks.is_empty]
    if not labelled.prompts and shown:
        nearest = min(shown, key=lambda frame: abs(frame - frame_index))
        labelled.prompts = as_prompts(labelled.masklet.masks[nearest])
    for _, prompts in groupby(sorted(labelled.prompts, key=_frame_index), key=_frame_index):
        session.add_prompt(list(prompts))


def _frame_index(prompt: Prompt) -> int:
    return prompt.frame_index


def _outward(
    session: Session, object_id: int, start: int, deadline: float, clock: Callable[[], float]
) -> Iterator[tuple[int, ObjectMasks]]:
    """One object on the other frames, nearest first, forwards and backwards in turn, while a further one fits before the deadline.

    A frame that cannot be read ends its direction: what was clicked is answered all the same.
    """
    passes: deque[Iterator[FrameMasks]] = deque()
    if start + 1 < len(session.clip):
        passes.append(session.propagate(start + 1, object_ids=(object_id,)))
    if start > 0:
        passes.append(session.propagate(start - 1, reverse=True, object_ids=(object_id,)))
    slowest = 0.0
    while passes:
        began = clock()
        if began + slowest > deadline:
            return
        direction = passes.popleft()
        try:
            frame = next(direction, None)
        except InputError as error:
            logger.warning("object %d is not followed any further: %s", object_id, error)
            continue
        if frame is None:
            continue
        passes.append(direction)
        slowest = max(slowest, clock() - began)
        yield frame.frame_index, frame.objects[object_id]


def _updated(labelled: LabelledObject, found: Mapping[int, ObjectMasks], task: OpenTask) -> Masklet:
    """The object with the masks found and cuboids fitted anew; cuboids that people set stay."""
    masks = {**labelled.masklet.masks, **found}
    kept = labelled.cuboids_by_hand
    masks = {frame_index: masks[frame_index] for frame_index in sorted(masks) if frame_index in kept or not masks[frame_index].is_empty}
    masklet = replace(labelled.masklet, masks=masks)
    fitted = fit_cuboids(masklet, task.clip)
    cuboids = {frame_index: cuboid for frame_index, cuboid in enumerate(fitted) if cuboid is not None and frame_index in masks}
    return replace(masklet, cuboids={**cuboids, **{frame: cuboid for frame, cuboid in labelled.cuboids_by_hand.items() if frame in masks}})


def _shows_less(now: Masklet, before: Masklet, frame_index: int) -> bool:
    """Whether a region may be gone from the frame: a sensor no longer shows the object, or it has no cuboid any more."""
    if frame_index not in before.masks:
        return False
    if frame_index not in now.masks:
        return True
    seen, was_seen = now.masks[frame_index], before.masks[frame_index]
    cameras_lost = any(mask.any() and not seen.camera_masks[camera].any() for camera, mask in was_seen.camera_masks.items())
    points_lost = bool(was_seen.lidar_mask.any()) and not seen.lidar_mask.any()
    return cameras_lost or points_lost or (frame_index in before.cuboids and frame_index not in now.cuboids)


def _prompt_ids(context: Mapping[str, Any]) -> list[str]:
    """A name for each thing drawn: its id and where it is, so that one that was moved counts as new."""
    results = context.get("result")
    if not isinstance(results, Sequence):
        return []
    return [_prompt_id(result) for result in results if isinstance(result, Mapping) and result.get("id") is not None]


def _prompt_id(result: Mapping[str, Any]) -> str:
    value = result.get("value")
    place = {key: item for key, item in value.items() if key not in ("rle", "touches")} if isinstance(value, Mapping) else value
    strokes = hash(json.dumps(value["rle"])) if isinstance(value, Mapping) and isinstance(value.get("rle"), list) else 0
    where = f"{result.get('from_name')} {result.get('to_name')} {result.get('item_index')}"
    return f"{result.get('id')} {where} {place!r} {strokes} {result.get('is_positive')}"


def _unanswered(context: Mapping[str, Any], task: OpenTask) -> Mapping[str, Any] | None:
    """The context without what was answered before; None where nothing is left of something."""
    answered = {prompt_id for prompt_id in _prompt_ids(context) if task.answered_prompts.get(prompt_id) in task.objects}
    if not answered:
        return context
    fresh = [result for result in context["result"] if not isinstance(result, Mapping) or _prompt_id(result) not in answered]
    return {**context, "result": fresh} if fresh else None
