"""Tasks that are being labelled: their clips, engine sessions and objects stay open between clicks, within bounds."""

from __future__ import annotations

import gc
import logging
import threading
import types
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from backend.errors import BusyError
from converters.tasks import TaskWindow
from sam4d.predictor import Session
from sam4d.structures import Clip, Cuboid, Masklet, Prompt

logger = logging.getLogger(__name__)

RETRY_SECONDS = 10
ABSENT, DELETED = "absent", "deleted"
"""In place of a region's content: replaced by an empty one in an answer, deleted by a person."""


@dataclass(frozen=True)
class TaskKey:
    """Whose work on what. `annotator` is "" until a draft says who it is: Label Studio does not tell it with a click."""

    project: str
    task: str
    window: TaskWindow
    annotator: str = ""


@dataclass(eq=False)
class LabelledObject:
    """One object of an open task: what stands, and what people gave to make it so.

    prompts: clicks, boxes and the masks of frames that people changed, in the order given. frames_by_hand: frames whose masks people
    changed; answers leave them as they are. cuboids_by_hand: likewise their cuboids. frames_deleted: frames on which people deleted
    the object.
    """

    masklet: Masklet
    prompts: list[Prompt] = field(default_factory=list)
    frames_by_hand: set[int] = field(default_factory=set)
    cuboids_by_hand: dict[int, Cuboid] = field(default_factory=dict)
    frames_deleted: set[int] = field(default_factory=set)

    def copy(self) -> LabelledObject:
        """One that can be changed without changing this."""
        return LabelledObject(
            self.masklet, list(self.prompts), set(self.frames_by_hand), dict(self.cuboids_by_hand), set(self.frames_deleted)
        )


@dataclass(eq=False)
class RegionHistory:
    """Every content that one region has had, oldest first, and the newest of them that Label Studio has shown us (-1: none).

    `answer` is a digest of all that was answered last, also of what nobody can change.

    Drafts arrive late: content that we answered before is an old draft, not an edit, until the draft has shown something newer.
    """

    object_id: int
    frame_index: int
    contents: list[str] = field(default_factory=list)
    shown: int = -1
    answer: str = ""

    def stands(self, content: str) -> bool:
        """Whether Label Studio has shown this content, and nothing else was answered since."""
        return self.shown == len(self.contents) - 1 >= 0 and self.contents[-1] == content

    def add(self, content: str) -> None:
        """Note content that we answer."""
        if not self.contents or self.contents[-1] != content:
            self.contents.append(content)

    def show(self, content: str) -> bool:
        """Note content that Label Studio shows; True where a person made it."""
        for index in range(len(self.contents) - 1, max(self.shown, 0) - 1, -1):
            if self.contents[index] == content:
                self.shown = index
                return False
        # Also where a person went back to what stood before.
        self.contents.append(content)
        self.shown = len(self.contents) - 1
        return True

    def was_deleted(self) -> bool:
        """Note that a newer record lacks the region; True where a person deleted it, False where it is still on its way or was emptied."""
        if self.shown < 0 or ABSENT in (self.contents[-1], self.contents[self.shown]) or self.contents[self.shown] == DELETED:
            return False
        self.contents.append(DELETED)
        self.shown = len(self.contents) - 1
        return True


@dataclass(eq=False)
class OpenTask:
    """One task being labelled by one person. Guarded by the store's lock of its key.

    answered_prompts: the object that each prompt was answered with. regions: by region, how its content went. record_time: of the
    newest draft, annotation or prediction taken in. highest_object_id: that the 3D view knows of; after a restart it may show objects that
    no draft holds yet. most_objects: no new one is begun beyond. model_version: that answers, from the task's first click to its closing.
    engine: the session's, which many tasks share; None where there is nothing to share.
    """

    window: TaskWindow
    clip: Clip
    session: Session
    objects: dict[int, LabelledObject] = field(default_factory=dict)
    last_touched: int | None = None
    answered_prompts: dict[str, int] = field(default_factory=dict)
    regions: dict[str, RegionHistory] = field(default_factory=dict)
    record_time: str = ""
    highest_object_id: int = 0
    most_objects: int = 500
    model_version: str = ""
    engine: object = None


@dataclass(eq=False)
class _Slot:
    lock: threading.Lock = field(default_factory=threading.Lock)
    users: int = 0
    task: OpenTask | None = None
    held_bytes: int = 0


class SessionStore:
    """Open tasks by key, the least recently used ones closed when there are too many or they hold too much. Safe to use from many threads.

    A task in use is never closed, so the bounds may be passed while many are in use at once. What tasks share, the engine with its weights,
    counts for none of them.
    """

    def __init__(self, most_count: int, most_bytes: int) -> None:
        self._most_count = most_count
        self._most_bytes = most_bytes
        self._slots: OrderedDict[TaskKey, _Slot] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def keys(self) -> tuple[TaskKey, ...]:
        """Open tasks, the least recently used first."""
        with self._lock:
            return tuple(self._slots)

    @property
    def held_bytes(self) -> int:
        """What all open tasks held when they were last used."""
        with self._lock:
            return sum(slot.held_bytes for slot in self._slots.values())

    @contextmanager
    def use(self, key: TaskKey, open_task: Callable[[], OpenTask], patience_seconds: float = -1) -> Iterator[OpenTask]:
        """The open task of a key for the duration of the block, alone; opened where it is not open.

        Raises:
            BusyError: another request works on the task and does not end within `patience_seconds`; negative waits as long as it takes.
        """
        with self._lock:
            slot = self._slots.setdefault(key, _Slot())
            self._slots.move_to_end(key)
            slot.users += 1
        try:
            if not slot.lock.acquire(timeout=patience_seconds if patience_seconds < 0 else min(patience_seconds, threading.TIMEOUT_MAX)):
                raise BusyError("no other request on this task", f"one that takes longer than {patience_seconds:.0f} s", RETRY_SECONDS)
            try:
                if slot.task is None:
                    slot.task = open_task()
                try:
                    yield slot.task
                finally:
                    slot.held_bytes = held_bytes(slot.task, slot.task.engine)
            finally:
                slot.lock.release()
        finally:
            with self._lock:
                slot.users -= 1
                if slot.task is None and not slot.users:
                    self._slots = OrderedDict((name, other) for name, other in self._slots.items() if other is not slot)
                self._close_oldest()

    def close(self, key: TaskKey) -> None:
        """Forget a task, unless it is in use."""
        with self._lock:
            slot = self._slots.get(key)
            if slot is not None and not slot.users:
                del self._slots[key]

    def rename(self, key: TaskKey, new_key: TaskKey, accepts: Callable[[OpenTask], bool]) -> None:
        """Give an open task another key, if it is open, `accepts` agrees and the new key is free: its annotator has become known."""
        with self._lock:
            slot = self._slots.get(key)
            if slot is None or new_key in self._slots:
                return
            slot.users += 1
        try:
            with slot.lock:
                agreed = slot.task is not None and accepts(slot.task)
        finally:
            with self._lock:
                slot.users -= 1
                # Whoever waits for it under the old key holds the slot itself and is served all the same.
                if agreed and new_key not in self._slots and self._slots.get(key) is slot:
                    self._slots[new_key] = self._slots.pop(key)

    def _close_oldest(self) -> None:
        total = sum(slot.held_bytes for slot in self._slots.values())
        for key, slot in list(self._slots.items()):
            if len(self._slots) <= self._most_count and total <= self._most_bytes:
                return
            if not slot.users:
                del self._slots[key]
                total -= slot.held_bytes
                logger.info("task %s of project %s closed: %d bytes", key.task, key.project, slot.held_bytes)


def held_bytes(root: object, shared: object = None) -> int:
    """Memory of all arrays and tensors that can be reached from an object, each buffer once; an estimate of what closing it would free.

    What can be reached through `shared` alone does not count.

    It follows references instead of asking, so that it holds for any engine.
    """
    total, seen, waiting = 0, {id(shared)}, [root]
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, (type, types.ModuleType, types.FunctionType, types.MethodType, str, int, float)):
            continue
        seen.add(id(thing))
        base = getattr(thing, "base", None) if hasattr(thing, "nbytes") else None
        if base is not None:
            waiting.append(base)
        elif isinstance(thing, (bytes, bytearray)):
            total += len(thing)
        elif hasattr(thing, "nbytes"):
            total += int(thing.nbytes)
        else:
            waiting.extend(gc.get_referents(thing))
    return total
