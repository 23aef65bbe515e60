"""What people changed in Label Studio between clicks, taken over into an open task; after a restart, everything they have.

The backend keeps no truth: a task's draft, annotation or prediction does. But drafts arrive late, so what a draft lacks or shows
differently is compared with every answer given so far before it counts as a person's doing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from backend.sessions import ABSENT, LabelledObject, OpenTask, RegionHistory
from converters.brush_rle import encode_mask
from converters.brush_strokes import painted_mask
from converters.finite_numbers import is_finite_number
from converters.label_config import CUBOID, CUBOID_HEIGHT, CUBOID_Z, brush_tag
from converters.reconcile import regions_to_masklets
from converters.region_meta import parse_meta
from sam4d.structures import LIDAR, Cuboid, InputError, Masklet, MaskPrompt, ObjectMasks, Prompt

Result = Mapping[str, Any]

PERCENT_DECIMALS = 4
"""A rectangle that differs by less was not moved: 0.0001 % of a bird's-eye view of 100 m is 0.1 mm."""


@dataclass(frozen=True, eq=False)
class Record:
    """A task's newest draft, annotation or prediction. `annotator` is "" where Label Studio does not say whose click it is."""

    results: Sequence[Result]
    time: str
    annotator: str

    def shows(self, task: OpenTask) -> bool:
        """Whether it holds something that the open task answered."""
        shown = ((task.regions.get(_key(result)), result) for result in self.results)
        return any(history is not None and _content(result, history) in history.contents for history, result in shown)


def newest_record(task: Mapping[str, Any]) -> Record | None:
    """The newest draft (Label Studio sends only those of who clicks), else the newest annotation, else the newest prediction."""
    for name in ("drafts", "annotations", "predictions"):
        found = task.get(name)
        records = [record for record in found if _is_record(record)] if isinstance(found, list) else []
        if records:
            newest = max(records, key=_time)
            results = [result for result in newest["result"] if isinstance(result, Mapping) and _is_ours(result)]
            return Record(results, _time(newest), str(newest.get("user") or "") if name == "drafts" else "")
    return None


def take_in(task: OpenTask, record: Record, pending: Iterable[int] = ()) -> None:
    """Bring an open task up to what a record shows: objects it does not know yet, edits and deletions.

    Args:
        pending: objects whose prompts are still on the screen: not accepted yet, so a record that lacks them says nothing.

    Raises:
        InputError: a region of ours that cannot be read.
    """
    results: dict[int, list[Result]] = {}
    edited: dict[int, set[int]] = {}
    placed = _placed(task, record)
    for key, result in placed.items():
        history = task.regions[key]
        results.setdefault(history.object_id, []).append(result)
        if history.show(_content(result, history)) or history.object_id not in task.objects:
            edited.setdefault(history.object_id, set()).add(history.frame_index)
    if record.time > task.record_time:
        task.record_time = record.time
        for key, history in task.regions.items():
            if key not in placed and history.object_id not in pending and history.was_deleted():
                edited.setdefault(history.object_id, set()).add(history.frame_index)
    for object_id, frames in edited.items():
        shown = _read(task, object_id, results.get(object_id, []))
        if object_id in task.objects:
            _change(task, shown, frames)
        else:
            _restore(task, shown, results.get(object_id, []))


def take_viewer_edits(
    task: OpenTask, gone: Iterable[tuple[int, int]], cuboids: Mapping[tuple[int, int], Cuboid], labels: Mapping[int, str]
) -> None:
    """What a person did in the 3D view since the last draft: deleted an (object, frame) or moved its cuboid, gave an object another label.

    Of objects that are not there any more it says nothing.
    """
    for object_id in {object_id for object_id, _ in gone} & set(task.objects):
        frames = {frame_index for other, frame_index in gone if other == object_id}
        _change(task, replace(task.objects[object_id].masklet, masks={}, cuboids={}), frames & set(task.objects[object_id].masklet.masks))
    for (object_id, frame_index), cuboid in cuboids.items():
        labelled = task.objects.get(object_id)
        if labelled is not None and frame_index in labelled.masklet.masks:
            labelled.cuboids_by_hand[frame_index] = cuboid
            labelled.masklet = replace(labelled.masklet, cuboids={**labelled.masklet.cuboids, frame_index: cuboid})
    for object_id in labels.keys() & task.objects.keys():
        task.objects[object_id].masklet = replace(task.objects[object_id].masklet, label=labels[object_id])


def remember(task: OpenTask, results: Sequence[dict[str, Any]], object_id: int, sent_anyway: Collection[int] = ()) -> list[dict[str, Any]]:
    """Note what is answered, to know it again when a draft shows it, and in the regions what a restart must know.

    `meta.sam4d.content` tells a brush that a person changed from one that stands as answered; `meta.sam4d.prompted` tells the frames
    that a person clicked from those that were followed.

    Args:
        sent_anyway: frames whose regions do not stay out.

    Returns:
        What must be sent. A region that a draft has shown just so stays out: a person may have changed it since without our knowing,
        and the browser is spared the work.
    """
    prompted = {prompt.frame_index for prompt in task.objects[object_id].prompts}
    changed = set()
    for result in results:
        history = task.regions.setdefault(_key(result), RegionHistory(object_id, _frame_index(result)))
        content = _content(result, history)
        notes = result["meta"]["sam4d"]
        if result.get("type") == "brushlabels":
            notes["content"] = content
        if _frame_index(result) in prompted:
            notes["prompted"] = True
        answer = _digest(json.dumps([result["value"], notes], sort_keys=True).encode())
        if _frame_index(result) in sent_anyway or not history.stands(content) or history.answer != answer:
            changed.add(result.get("id"))
        history.add(content)
        history.answer = answer
    return [result for result in results if result.get("id") in changed]


def as_prompts(masks: ObjectMasks) -> list[Prompt]:
    """What stands on a frame, as mask prompts for every sensor that shows the object."""
    prompts: list[Prompt] = []
    if masks.lidar_mask.any():
        prompts.append(MaskPrompt(masks.object_id, masks.frame_index, LIDAR, masks.lidar_mask))
    for camera, mask in masks.camera_masks.items():
        if mask.any():
            prompts.append(MaskPrompt(masks.object_id, masks.frame_index, camera, mask))
    return prompts


def _placed(task: OpenTask, record: Record) -> dict[str, Result]:
    """The record's results by key, each with a history that says whose it is; a region drawn by hand is an object of its own."""
    placed: dict[str, Result] = {}
    drawn: dict[object, int] = {}
    metas = {_key(result): parse_meta(result.get("meta"), f"region {result.get('id')}") for result in record.results}
    highest = max([*task.objects, task.last_touched or 0, *(meta.object_id for meta in metas.values() if meta is not None)], default=0)
    for result in record.results:
        key, meta = _key(result), metas[_key(result)]
        placed[key] = result
        if key in task.regions:
            continue
        if meta is not None:
            task.regions[key] = RegionHistory(meta.object_id, meta.frame_index)
            continue
        if result.get("id") not in drawn:
            highest += 1
            drawn[result.get("id")] = highest
        task.regions[key] = RegionHistory(drawn[result.get("id")], _frame_index(result))
    return placed


def _read(task: OpenTask, object_id: int, results: Sequence[Result]) -> Masklet:
    """One object as the record shows it; without masks where nothing of it is left."""
    masklets = regions_to_masklets(results, task.window, task.clip)
    if not masklets:
        known = task.objects.get(object_id)
        return Masklet(object_id, known.masklet.label if known else "", {})
    shown = next((masklet for masklet in masklets if masklet.object_id == object_id), masklets[0])
    masks = {frame_index: replace(masks, object_id=object_id) for frame_index, masks in shown.masks.items() if not masks.is_empty}
    return replace(shown, object_id=object_id, masks=masks)


def _change(task: OpenTask, shown: Masklet, frames: set[int]) -> None:
    """Take over what a record shows of a known object on the frames that a person changed."""
    labelled = task.objects[shown.object_id]
    masks, cuboids = dict(labelled.masklet.masks), dict(labelled.masklet.cuboids)
    for frame_index in frames:
        now, before = shown.masks.get(frame_index), masks.pop(frame_index, None)
        cuboid, cuboid_before = shown.cuboids.get(frame_index), cuboids.pop(frame_index, None)
        if now is None:
            _forget_frame(labelled, frame_index)
            labelled.frames_deleted.add(frame_index)
            continue
        masks[frame_index] = now
        labelled.frames_deleted.discard(frame_index)
        if before is None or not _same_masks(now, before):
            _forget_frame(labelled, frame_index)
            labelled.frames_by_hand.add(frame_index)
            labelled.prompts += as_prompts(now)
        if cuboid is not None:
            cuboids[frame_index] = cuboid
            if _differs(cuboid, cuboid_before):
                labelled.cuboids_by_hand[frame_index] = cuboid
    labelled.masklet = replace(labelled.masklet, label=shown.label, masks=dict(sorted(masks.items())), cuboids=cuboids)
    # The engine gets the object anew, from all its prompts, when it is clicked next.
    if shown.object_id in task.session.object_ids:
        task.session.remove_object(shown.object_id)
    if not masks:
        del task.objects[shown.object_id]


def _restore(task: OpenTask, shown: Masklet, results: Sequence[Result]) -> None:
    """An object that only the record knows: after a restart, from pre-annotation, or drawn by hand.

    Frames that a person clicked or changed hold; the others may be followed anew.
    """
    if not shown.masks:
        return
    labelled = LabelledObject(shown)
    prompted = set()
    for result in results:
        frame_index, notes = _frame_index(result), _notes(result)
        meta = parse_meta(result.get("meta"), f"region {result.get('id')}")
        if frame_index not in shown.masks:
            continue
        if notes.get("prompted") is True:
            prompted.add(frame_index)
        if meta is None or (result.get("type") == "brushlabels" and _is_changed_brush(result, notes)):
            labelled.frames_by_hand.add(frame_index)
        cuboid = shown.cuboids.get(frame_index)
        if cuboid is not None and (meta is None or meta.by_hand or (meta.cuboid is not None and _differs(cuboid, meta.cuboid))):
            labelled.cuboids_by_hand[frame_index] = cuboid
    for frame_index in sorted(prompted | labelled.frames_by_hand):
        labelled.prompts += as_prompts(shown.masks[frame_index])
    task.objects[shown.object_id] = labelled


def _forget_frame(labelled: LabelledObject, frame_index: int) -> None:
    labelled.prompts = [prompt for prompt in labelled.prompts if prompt.frame_index != frame_index]
    labelled.frames_by_hand.discard(frame_index)
    labelled.cuboids_by_hand.pop(frame_index, None)


def _same_masks(a: ObjectMasks, b: ObjectMasks) -> bool:
    """A camera that shows nothing is the same as one without a mask."""
    seen = {name: mask for name, mask in a.camera_masks.items() if mask.any()}
    other = {name: mask for name, mask in b.camera_masks.items() if mask.any()}
    cameras_same = seen.keys() == other.keys() and all(np.array_equal(mask, other[name]) for name, mask in seen.items())
    points_same: bool = np.array_equal(a.lidar_mask, b.lidar_mask)
    return cameras_same and points_same


def _differs(cuboid: Cuboid, other: Cuboid | None) -> bool:
    """By more than Label Studio's rounding: its Numbers have two decimals."""
    if other is None:
        return True
    values = (*cuboid.center_m, *cuboid.size_lwh_m, cuboid.yaw_rad)
    others = (*other.center_m, *other.size_lwh_m, other.yaw_rad)
    return any(abs(one - another) > 0.0051 for one, another in zip(values, others, strict=True))


def _is_record(record: object) -> bool:
    return isinstance(record, Mapping) and isinstance(record.get("result"), list) and not record.get("was_cancelled")


def _is_ours(result: Result) -> bool:
    """Whether it is of a tag that masks and cuboids are in; prompts that were left over are not."""
    tag = str(result.get("from_name"))
    return tag in (CUBOID, CUBOID_Z, CUBOID_HEIGHT) or (
        result.get("type") == "brushlabels" and tag == brush_tag(str(result.get("to_name")))
    )


def _time(record: Mapping[str, Any]) -> str:
    """ISO 8601 in UTC, as Label Studio writes it: the order of the texts is the order of the times."""
    return str(record.get("updated_at") or record.get("created_at") or "")


def _key(result: Result) -> str:
    return f"{result.get('id')} {result.get('from_name')}"


def _frame_index(result: Result) -> int:
    index = result.get("item_index")
    return index if isinstance(index, int) else 0


def _notes(result: Result) -> Mapping[str, Any]:
    meta = result.get("meta")
    notes = meta.get("sam4d") if isinstance(meta, Mapping) else None
    return notes if isinstance(notes, Mapping) else {}


def _is_changed_brush(result: Result, notes: Mapping[str, Any]) -> bool:
    if "content" in notes:
        answered = str(notes["content"])
        return _content(result, RegionHistory(0, 0, [answered])) != answered
    return result.get("origin") == "prediction-changed"


def _content(result: Result, history: RegionHistory) -> str:
    """A digest of what a person can change in a result. The same mask has the same digest, however its runs are written."""
    value = result.get("value")
    if not isinstance(value, Mapping):
        return ""
    if _notes(result).get("absent") is True:
        return ABSENT
    rle, touches = value.get("rle"), value.get("touches")
    if not isinstance(rle, list) and not touches:
        numbers = {name: round(float(item), PERCENT_DECIMALS) for name, item in value.items() if is_finite_number(item)}
        texts = {name: item for name, item in value.items() if isinstance(item, list)}
        return _digest(json.dumps([numbers, texts], sort_keys=True).encode())
    label = json.dumps(value.get("brushlabels"))
    digest = _mask_digest(rle or [], label)
    if digest in history.contents and not touches:
        return digest
    # The browser may have packed the same mask in other runs, and drafts keep strokes apart.
    height, width = result.get("original_height"), result.get("original_width")
    if not (isinstance(height, int) and isinstance(width, int)):
        return digest
    return _mask_digest(encode_mask(painted_mask(value, height, width, f"region {result.get('id')}")), label)


def _mask_digest(rle: Sequence[int], label: str) -> str:
    try:
        # A number alone would make that many bytes.
        return _digest(bytes(list(rle)) + label.encode())
    except (TypeError, ValueError):
        raise InputError("brush", "brush RLE: a list of integers 0 to 255", "other values") from None


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]
