"""What the 3D view asks of an open task beyond a click: follow an object on, take a person's cuboids over, fit them anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import cast

from backend.answers import Answer, answer_prompt, engine_keeps_up, feed, take_over, unused_object_id
from backend.edits import take_viewer_edits
from backend.sessions import LabelledObject, OpenTask
from converters.columns import standing_inside
from converters.drawn_regions import BIRDS_EYE_BRUSH
from converters.reconcile import regions_to_masklets
from converters.regions import masklet_to_regions
from converters.viewer_requests import CuboidsRequest, FitRequest, FollowRequest, ReadRequest, ViewerRequest
from sam4d.session import empty_masks
from sam4d.structures import LIDAR, Cuboid, InputError, Masklet, MaskPrompt, ObjectMasks


def answer_viewer(task: OpenTask, request: ViewerRequest, version: str, seconds: float, clock: Callable[[], float]) -> Answer:
    """Answer one request.

    Raises:
        InputError: an object that is not there, or a prompt that cannot be answered; the task is then as before.
    """
    task.highest_object_id = max(task.highest_object_id, request.highest_object_id)
    take_viewer_edits(task, request.gone, request.edits, request.labels)
    action = request.action
    if isinstance(action, FollowRequest):
        return _follow(task, action, version, clock() + seconds, clock)
    if isinstance(action, CuboidsRequest):
        return _place_cuboids(task, action, version)
    if isinstance(action, FitRequest):
        labelled = _known(task, action.object_id)
        for frame_index in action.frames:
            labelled.cuboids_by_hand.pop(frame_index, None)
        return take_over(task, labelled, {}, version, fitted=action.frames)
    if isinstance(action, ReadRequest):
        return _read(task, action, version)
    return answer_prompt(task, action, version, seconds, clock)


def _follow(task: OpenTask, request: FollowRequest, version: str, deadline: float, clock: Callable[[], float]) -> Answer:
    """As many further frames as fit before the deadline, at least one. What people changed or deleted stays."""
    object_id, session = request.object_id, task.session
    labelled = _known(task, object_id)
    untouched = labelled.frames_by_hand | labelled.frames_deleted | {prompt.frame_index for prompt in labelled.prompts}
    found: dict[int, ObjectMasks] = {}
    looked_at = []
    with engine_keeps_up(task, object_id):
        if object_id not in session.object_ids:
            feed(session, labelled, request.start_frame)
        slowest = 0.0
        began = clock()
        for frame in session.propagate(request.start_frame, reverse=request.reverse, object_ids=(object_id,)):
            looked_at.append(frame.frame_index)
            if frame.frame_index not in untouched:
                found[frame.frame_index] = frame.objects[object_id]
            slowest = max(slowest, clock() - began)
            began = clock()
            if began + slowest > deadline:
                break
        return replace(take_over(task, labelled, found, version), frames=tuple(looked_at), asked_frame=request.start_frame)


def _place_cuboids(task: OpenTask, request: CuboidsRequest, version: str) -> Answer:
    """A person's cuboids. On a frame that does not show the object yet it gets the standing points inside, and what the cameras see."""
    if request.object_id is None:
        labelled = LabelledObject(Masklet(unused_object_id(task), request.label, {}))
    else:
        labelled = _known(task, request.object_id)
    object_id = labelled.masklet.object_id
    found: dict[int, ObjectMasks] = {}
    with engine_keeps_up(task, object_id):
        for frame_index, cuboid in request.cuboids.items():
            labelled.cuboids_by_hand[frame_index] = cuboid
            if frame_index in labelled.masklet.masks and not labelled.masklet.masks[frame_index].is_empty:
                continue
            labelled.frames_deleted.discard(frame_index)
            found[frame_index] = _inside(task, labelled, frame_index, cuboid)
        return take_over(task, labelled, found, version)


def _inside(task: OpenTask, labelled: LabelledObject, frame_index: int, cuboid: Cuboid) -> ObjectMasks:
    object_id = labelled.masklet.object_id
    frame = task.clip.frames[frame_index]
    points_m = frame.load_sweep().points_m
    inside = standing_inside(points_m, cuboid)
    if not inside.any():
        return replace(empty_masks(task.clip, object_id, frame_index, len(points_m)), score=1.0)
    if object_id not in task.session.object_ids and labelled.masklet.masks:
        feed(task.session, labelled, frame_index)
    prompt = MaskPrompt(object_id, frame_index, LIDAR, inside)
    labelled.prompts.append(prompt)
    return task.session.add_prompt(prompt)


def _read(task: OpenTask, request: ReadRequest, version: str) -> Answer:
    """What a painted mask makes of the points: to be looked at, nothing is changed."""
    labelled = _known(task, request.object_id)
    frame_index = request.frame_index
    regions = masklet_to_regions(labelled.masklet, task.window, task.clip, version, [frame_index], by_hand=labelled.cuboids_by_hand)
    for region in regions:
        if region["from_name"] == BIRDS_EYE_BRUSH:
            region["value"] = {**cast("Mapping[str, object]", region["value"]), "rle": list(request.rle)}
    found = [masklet for masklet in regions_to_masklets(regions, task.window, task.clip) if masklet.object_id == request.object_id]
    read = masklet_to_regions(found[0], task.window, task.clip, version, [frame_index]) if found else []
    return Answer(request.object_id, read, labelled.masklet.score, (frame_index,))


def _known(task: OpenTask, object_id: int) -> LabelledObject:
    """A copy, so that a request that fails changes nothing."""
    if object_id not in task.objects:
        known = ", ".join(map(str, sorted(task.objects))) or "none"
        raise InputError("object of the 3D view", f"one of the task's objects ({known})", str(object_id))
    return task.objects[object_id].copy()
