"""Open tasks: bounds, one user at a time, renaming, and how a region's content is told from an edit."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.sessions import ABSENT, OpenTask, RegionHistory, SessionStore, TaskKey, held_bytes
from converters.tasks import TaskWindow
from sam4d.simulation import SyntheticDrive

WINDOW = TaskWindow("/data/local-files/?d=drives/0001", 0, 4)


class HoldingSession:
    """Holds as many bytes as it is told; the store asks nothing else of a session."""

    def __init__(self, size: int) -> None:
        self.memory = np.zeros(size, dtype=np.uint8)


def key(task: int, annotator: str = "") -> TaskKey:
    return TaskKey("1", str(task), WINDOW, annotator)


@pytest.fixture
def open_task(small_drive: SyntheticDrive):  # type: ignore[no-untyped-def]
    def opener(size: int = 0):  # type: ignore[no-untyped-def]
        return lambda: OpenTask(WINDOW, small_drive.clip, HoldingSession(size))  # type: ignore[arg-type]

    return opener


def test_the_least_recently_used_task_is_closed_when_there_are_too_many(open_task) -> None:  # type: ignore[no-untyped-def]
    store = SessionStore(2, 10**12)
    for task in (1, 2, 1, 3):
        with store.use(key(task), open_task()):
            pass
    assert store.keys == (key(1), key(3))


def test_tasks_are_closed_when_they_hold_too_much(open_task) -> None:  # type: ignore[no-untyped-def]
    with SessionStore(100, 10**12).use(key(0), open_task()) as task:
        others = held_bytes(task)
    store = SessionStore(100, 2 * (others + 1_000_000) + 500_000)
    for number in (1, 2, 3):
        with store.use(key(number), open_task(1_000_000)):
            pass
    assert store.keys == (key(2), key(3))


def test_a_task_in_use_is_not_closed(open_task) -> None:  # type: ignore[no-untyped-def]
    store = SessionStore(1, 10**12)
    with store.use(key(1), open_task()) as first:
        with store.use(key(2), open_task()):
            assert store.keys == (key(1), key(2))
        with store.use(key(3), open_task()):
            pass
    with store.use(key(1), open_task()) as again:
        assert again is first


def test_a_task_that_cannot_be_opened_leaves_nothing_behind(open_task) -> None:  # type: ignore[no-untyped-def]
    store = SessionStore(2, 10**12)

    def fail() -> OpenTask:
        raise ValueError("no clip")

    with pytest.raises(ValueError, match="no clip"), store.use(key(1), fail):
        pass
    assert store.keys == ()


def test_one_task_serves_one_request_at_a_time_and_two_tasks_two(open_task) -> None:  # type: ignore[no-untyped-def]
    store = SessionStore(10, 10**12)
    inside, second, other, leave = (threading.Event() for _ in range(4))

    def first_user() -> None:
        with store.use(key(1), open_task()):
            inside.set()
            assert leave.wait(60)
            assert not second.is_set()

    def second_user() -> None:
        assert inside.wait(60)
        with store.use(key(1), open_task()):
            second.set()

    def other_user() -> None:
        assert inside.wait(60)
        with store.use(key(2), open_task()):
            other.set()

    threads = [threading.Thread(target=user) for user in (first_user, second_user, other_user)]
    for thread in threads:
        thread.start()
    assert other.wait(60)
    assert not second.is_set()
    leave.set()
    for thread in threads:
        thread.join(60)
    assert second.is_set()


def test_an_annotator_who_becomes_known_keeps_the_open_task(open_task) -> None:  # type: ignore[no-untyped-def]
    store = SessionStore(10, 10**12)
    with store.use(key(1), open_task()) as first:
        pass
    store.rename(key(1), key(1, "anna"), lambda task: False)
    assert list(store.keys) == [key(1)]
    store.rename(key(1), key(1, "anna"), lambda task: task is first)
    assert list(store.keys) == [key(1, "anna")]
    with store.use(key(1), open_task()) as fresh:
        assert fresh is not first
    store.rename(key(1), key(1, "anna"), lambda task: True)
    assert list(store.keys) == [key(1, "anna"), key(1)]


def test_other_frames_of_the_same_task_are_another_key() -> None:
    assert key(1) != replace(key(1), window=replace(WINDOW, frame_count=3))


def test_memory_is_counted_once_and_through_views() -> None:
    array = np.zeros(1000, dtype=np.float64)
    assert held_bytes([array, array[10:], {"again": array}]) == 8000
    assert held_bytes(HoldingSession(123)) == 123
    weights = [np.zeros(1000)]
    assert held_bytes([array, weights], weights) == 8000, "what all tasks share counts for none"


def test_an_answer_that_comes_back_late_is_no_edit() -> None:
    history = RegionHistory(1, 0)
    history.add("first")
    history.add("second")
    assert not history.show("first")
    assert not history.show("second")
    assert history.show("first"), "a person went back to what stood before"
    assert history.show("edited")
    assert not history.show("edited")


def test_a_region_counts_as_deleted_only_after_it_was_shown_and_only_once() -> None:
    history = RegionHistory(1, 0)
    history.add("first")
    assert not history.was_deleted()
    assert not history.show("first")
    assert history.was_deleted()
    assert not history.was_deleted()
    history.add("answered again")
    assert not history.was_deleted(), "the new answer is still on its way"
    assert not history.show("answered again")
    history.add(ABSENT)
    assert not history.was_deleted(), "we emptied it ourselves"


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=8))
def test_answers_shown_in_the_order_given_are_never_edits(answers: list[str]) -> None:
    history = RegionHistory(1, 0)
    for answer in answers:
        history.add(answer)
        assert not history.show(answer)
