"""Training jobs on disk: one of a project at a time, and what becomes of each."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.training_jobs import KEPT_JOBS, TrainingJob, TrainingJobs, TrainingJobsError, TrainingRequest

REQUEST = TrainingRequest("memory", 20, 0.3, use_anyway=True)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "training" / "jobs.sqlite3"


@pytest.fixture
def jobs(file: Path) -> TrainingJobs:
    return TrainingJobs(file, clock=lambda: 100.0)


def taken(jobs: TrainingJobs, project_id: int = 7) -> TrainingJob:
    jobs.add(project_id, REQUEST)
    job = jobs.take()
    assert job is not None
    return job


def states(jobs: TrainingJobs) -> list[tuple[int, int, str]]:
    return [(job.job_id, job.project_id, job.state) for job in jobs.jobs()]


def test_nothing_yet(jobs: TrainingJobs, file: Path) -> None:
    assert (jobs.jobs(), jobs.has_work(), jobs.changes()) == ([], False, {})
    assert not file.exists()


def test_a_project_trains_once_at_a_time_and_projects_one_after_the_other(jobs: TrainingJobs, file: Path) -> None:
    first, is_new = jobs.add(7, REQUEST)
    assert (first.request, is_new) == (REQUEST, True)
    assert jobs.add(7, TrainingRequest()) == (first, False)
    jobs.add(8, REQUEST)
    job = TrainingJobs(file).take()
    assert job is not None
    assert (job.job_id, job.state) == (first.job_id, "running")
    assert not jobs.add(7, REQUEST)[1], "one that runs is not followed by another"
    jobs.end(job, "done", "v1")
    assert jobs.add(7, REQUEST)[1]
    assert states(jobs) == [(1, 7, "done"), (2, 8, "waiting"), (3, 7, "waiting")]
    assert jobs.take(3) is not None
    assert jobs.take(3) is None


def test_how_far_it_is_and_that_it_is_to_stop(jobs: TrainingJobs) -> None:
    job = taken(jobs)
    assert jobs.say(job, "reading annotations, 1 of 3")
    assert jobs.jobs()[0].describe() == "training 1 of project 7: running, reading annotations, 1 of 3"
    assert [each.job_id for each in jobs.stop(7)] == [1]
    assert not jobs.say(job, "reading annotations, 2 of 3")
    jobs.put_back(job)
    assert states(jobs) == [(1, 7, "stopped")], "what is to stop does not wait again"
    jobs.add(7, REQUEST)
    jobs.stop(7)
    assert states(jobs)[1:] == [(2, 7, "stopped")]
    assert jobs.stop(7) == []


def test_what_a_killed_process_had_begun_waits_again(jobs: TrainingJobs) -> None:
    job = taken(jobs)
    assert jobs.has_work()
    jobs.put_back_running()
    assert states(jobs) == [(1, 7, "waiting")]
    again = taken(jobs)
    jobs.put_back(again, failed=True)
    assert jobs.jobs()[0].failures == 1
    assert job.failures == 0


def test_changes_are_counted_until_they_are_learnt_from(jobs: TrainingJobs) -> None:
    for project_id in (7, 7, 8):
        jobs.note_change(project_id)
    assert jobs.changes() == {7: 2, 8: 1}
    jobs.note_change(7)
    jobs.forget_changes(7, 2)
    jobs.forget_changes(8, 5)
    assert jobs.changes() == {7: 1}


def test_only_so_many_ended_ones_are_remembered(jobs: TrainingJobs) -> None:
    for _ in range(KEPT_JOBS + 5):
        jobs.end(taken(jobs), "refused", "not better")
    assert len(jobs.jobs()) <= KEPT_JOBS + 1


def test_one_process_trains_at_a_time(jobs: TrainingJobs, file: Path) -> None:
    with jobs.one_worker() as first, TrainingJobs(file).one_worker() as second:
        assert (first, second) == (True, False)
    with jobs.one_worker() as again:
        assert again


def test_a_file_that_is_none_of_ours(jobs: TrainingJobs, file: Path) -> None:
    file.parent.mkdir()
    file.write_bytes(b"something else" * 100)
    with pytest.raises(TrainingJobsError, match="the training jobs in MODEL_DIR: expected a file that can be read and written"):
        jobs.add(7, REQUEST)
    with pytest.raises(TrainingJobsError):
        jobs.jobs()
