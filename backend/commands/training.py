"""train: learn from what people submitted in a project, here and now; START_TRAINING of Label Studio does the same in the background."""

from __future__ import annotations

import argparse
from typing import Any

from backend.commands.connection import find_connection
from backend.commands.output import ProgressBars, complain, say, say_json
from backend.engine import predictor_of
from backend.settings import Settings
from backend.training_desk import request_of
from backend.training_jobs import TrainingJob, TrainingJobs, TrainingRequest, training_jobs_of
from backend.training_run import Outcome
from backend.training_worker import TrainingWorker, training_run_of
from sam4d.structures import InputError


def run_train(arguments: argparse.Namespace, settings: Settings) -> int:
    """Exit code 1 where what was learnt is not used, or nothing could be learnt."""
    connection = find_connection(settings, arguments.directory)
    jobs = training_jobs_of(connection.settings)
    if jobs is None:
        raise InputError("MODEL_DIR", "the folder that the backend has as its MODEL_DIR, for what is learnt", "nothing")
    with connection.client() as client:
        project = client.get_project(arguments.project)
    if arguments.stop:
        return _stop(jobs, project.project_id, as_json=arguments.json)
    predictor_of(connection.settings)  # what is wrong with the engine is said before anything is read
    usual = request_of(connection.settings)
    request = TrainingRequest(
        arguments.mode or usual.mode, arguments.steps or usual.steps, arguments.held_out or usual.held_out_share, arguments.use_anyway
    )
    with jobs.one_worker() as alone, ProgressBars(hidden=arguments.json) as progress:
        if not alone:
            running = "; ".join(job.describe() for job in jobs.jobs(states=["running"])) or "another one"
            raise InputError("training", "one at a time on this machine (sam4d jobs says how it goes)", running)
        worker = TrainingWorker(jobs, training_run_of(connection.settings), progress=progress)
        worker.take_over()
        added, _ = jobs.add(project.project_id, request)
        job = jobs.take(added.job_id)
        assert job is not None
        outcome = None
        try:
            outcome = worker.work_on(job, request)
            interrupted = outcome is None and any(each.job_id == job.job_id for each in jobs.jobs(states=["waiting"]))
        except KeyboardInterrupt:
            interrupted = True
        if interrupted:
            # Else a server would go on with it at once.
            jobs.end(job, "stopped", "interrupted; the same training goes on where it was")
            complain("the same command goes on with it")
            raise KeyboardInterrupt
    ended = next(each for each in jobs.jobs(project.project_id) if each.job_id == job.job_id)
    return _say(ended, outcome, as_json=arguments.json)


def _say(job: TrainingJob, outcome: Outcome | None, *, as_json: bool) -> int:
    if as_json:
        say_json(_document(job, outcome))
    elif outcome is None:
        complain(f"sam4d: {job.state}: {job.says}")
    else:
        say(f"{outcome.ending}: {outcome.says}")
        if outcome.old is not None and outcome.new is not None:
            say(f"before  {outcome.old}")
            say(f"after   {outcome.new}")
    return 0 if job.state == "done" else 1


def _document(job: TrainingJob, outcome: Outcome | None) -> dict[str, Any]:
    document: dict[str, Any] = {"job": job.job_id, "project_id": job.project_id, "state": job.state, "says": job.says}
    if outcome is not None and outcome.old is not None and outcome.new is not None:
        document |= {"old": outcome.old.score, "new": outcome.new.score, "objects": len(outcome.new.objects)}
        document["version"] = outcome.version.name if outcome.version is not None else None
    return document


def _stop(jobs: TrainingJobs, project_id: int, *, as_json: bool) -> int:
    stopped = jobs.stop(project_id)
    if as_json:
        say_json([{"job": job.job_id, "project_id": job.project_id} for job in stopped])
    elif not stopped:
        say("no training of this project waits or runs")
    for job in stopped if not as_json else ():
        say(f"training {job.job_id}: {'it ends within seconds' if job.state == 'running' else 'it does not begin'}")
    return 0
