"""train: learn from what people submitted in a project, here and now; START_TRAINING of Label Studio does the same in the background."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from backend.collecting import LabelledTaskClip, split
from backend.commands.connection import find_connection, settings_at
from backend.commands.output import ProgressBars, complain, say, say_json
from backend.engine import predictor_of
from backend.labelled_folders import open_labelled_folder
from backend.learners import StoppedError
from backend.settings import Settings
from backend.training_desk import request_of
from backend.training_jobs import TrainingJob, TrainingJobs, TrainingRequest, training_jobs_of
from backend.training_run import Origin, Outcome
from backend.training_worker import TrainingWorker, teaching_of, training_run_of
from sam4d.structures import InputError


def run_train(arguments: argparse.Namespace, settings: Settings) -> int:
    """Exit code 1 where what was learnt is not used, or nothing could be learnt."""
    sources = [arguments.project is not None, arguments.folders is not None, arguments.synthetic is not None]
    if sum(sources) != 1:
        raise InputError("sam4d train", "a PROJECT, or --from FOLDER ..., or --synthetic FOLDER", f"{sum(sources)} of them")
    if arguments.synthetic is not None:
        return _from_scratch(arguments, settings)
    if arguments.folders is not None:
        return _from_folders(arguments, settings)
    connection = find_connection(settings, arguments.directory)
    jobs = _jobs(connection.settings)
    with connection.client() as client:
        project = client.get_project(arguments.project)
    if arguments.stop:
        return _stop(jobs, project.project_id, as_json=arguments.json)
    predictor_of(connection.settings)  # what is wrong with the engine is said before anything is read
    with _alone(jobs), ProgressBars(hidden=arguments.json) as progress:
        worker = TrainingWorker(jobs, training_run_of(connection.settings), progress=progress)
        worker.take_over()
        request = _request(arguments, connection.settings)
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


def _from_folders(arguments: argparse.Namespace, settings: Settings) -> int:
    """Drives on disk in place of a project; a folder is what a task is."""
    settings = settings_at(settings, arguments.directory)
    jobs = _jobs(settings)
    predictor_of(settings)
    request = _request(arguments, settings)
    names = sorted({str(Path(folder).resolve()) for folder in arguments.folders})
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
    with _alone(jobs), ProgressBars(hidden=arguments.json) as progress:
        drives = []
        for done, name in enumerate(names):
            progress("opening drives", done, len(names))
            number = int(hashlib.sha256(name.encode()).hexdigest()[:12], 16)
            drives.append(LabelledTaskClip(number, 0, "", open_labelled_folder(name)))
        parts = split(drives, "--from", request.held_out_share, "drives")
        note = "from " + ", ".join(Path(name).name for name in names)
        try:
            outcome = teaching_of(settings).teach(f"folders-{digest}", parts, request, progress, lambda: False, Origin(note=note))
        except StoppedError:
            complain("the same command goes on with it")
            raise KeyboardInterrupt from None
    if arguments.json:
        say_json({"state": outcome.ending, "says": outcome.says, **_figures(outcome)})
    else:
        _say_outcome(outcome)
    return 0 if outcome.ending == "done" else 1


def _from_scratch(arguments: argparse.Namespace, settings: Settings) -> int:
    """A small network that nobody has trained, on simulated drives: a checkpoint that a server can be pointed at."""
    from sam4d.training.failures import TrainingFailed
    from sam4d.training.from_scratch import PLAN, train_from_scratch

    folder: Path = arguments.synthetic
    plan = replace(PLAN, steps=arguments.steps or PLAN.steps, device=settings.device)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ProgressBars(hidden=arguments.json) as progress:
            result = train_from_scratch(
                plan,
                folder,
                lambda point, steps: progress("training sam4d-tiny", point.step, steps),
                on_clip=lambda done, total: progress("simulating drives", done, total),
            )
    except OSError as error:
        raise InputError(str(folder), "a folder that can be written, with room", error.strerror or "an error") from None
    except TrainingFailed as error:
        raise InputError("training", "to come to its end", str(error)) from None
    if result.checkpoint is None:
        complain("the same command goes on with it")
        raise KeyboardInterrupt
    score = result.best.score if result.best is not None else None
    if arguments.json:
        say_json({"checkpoint": str(result.checkpoint), "held_out": score, "ending": result.ending})
    else:
        held_out = f", {score:.3f} on held-out drives" if score is not None else ""
        say(f"{result.checkpoint}: sam4d-tiny after {result.curve[-1].step} steps{held_out} (SAM4D_CHECKPOINT, or --checkpoint)")
    return 0


def _jobs(settings: Settings) -> TrainingJobs:
    jobs = training_jobs_of(settings)
    if jobs is None:
        raise InputError("MODEL_DIR", "the folder that the backend has as its MODEL_DIR, for what is learnt", "nothing")
    return jobs


@contextlib.contextmanager
def _alone(jobs: TrainingJobs) -> Iterator[None]:
    """Raises InputError where another process trains on this machine."""
    with jobs.one_worker() as alone:
        if not alone:
            running = "; ".join(job.describe() for job in jobs.jobs(states=["running"])) or "another one"
            raise InputError("training", "one at a time on this machine (sam4d jobs says how it goes)", running)
        yield


def _request(arguments: argparse.Namespace, settings: Settings) -> TrainingRequest:
    usual = request_of(settings)
    return TrainingRequest(
        arguments.mode or usual.mode, arguments.steps or usual.steps, arguments.held_out or usual.held_out_share, arguments.use_anyway
    )


def _say(job: TrainingJob, outcome: Outcome | None, *, as_json: bool) -> int:
    if as_json:
        say_json(_document(job, outcome))
    elif outcome is None:
        complain(f"sam4d: {job.state}: {job.says}")
    else:
        _say_outcome(outcome)
    return 0 if job.state == "done" else 1


def _say_outcome(outcome: Outcome) -> None:
    say(f"{outcome.ending}: {outcome.says}")
    if outcome.old is not None and outcome.new is not None:
        say(f"before  {outcome.old}")
        say(f"after   {outcome.new}")


def _document(job: TrainingJob, outcome: Outcome | None) -> dict[str, Any]:
    document: dict[str, Any] = {"job": job.job_id, "project_id": job.project_id, "state": job.state, "says": job.says}
    return document | (_figures(outcome) if outcome is not None else {})


def _figures(outcome: Outcome) -> dict[str, Any]:
    if outcome.old is None or outcome.new is None:
        return {}
    version = outcome.version.name if outcome.version is not None else None
    return {"old": outcome.old.score, "new": outcome.new.score, "objects": len(outcome.new.objects), "version": version}


def _stop(jobs: TrainingJobs, project_id: int, *, as_json: bool) -> int:
    stopped = jobs.stop(project_id)
    if as_json:
        say_json([{"job": job.job_id, "project_id": job.project_id} for job in stopped])
    elif not stopped:
        say("no training of this project waits or runs")
    for job in stopped if not as_json else ():
        say(f"training {job.job_id}: {'it ends within seconds' if job.state == 'running' else 'it does not begin'}")
    return 0
