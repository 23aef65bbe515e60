"""jobs: what waits of "Retrieve Predictions" and of training, and what failed."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from backend.batch_queue import batch_queue_of, why_no_queue
from backend.commands.connection import find_connection
from backend.commands.output import say, say_json
from backend.settings import Settings
from backend.training_jobs import training_jobs_of
from sam4d.structures import InputError


def run_jobs(arguments: argparse.Namespace, settings: Settings) -> int:
    """Exit code 1 where a task failed."""
    connection = find_connection(settings, arguments.directory)
    queue = batch_queue_of(connection.settings)
    training = training_jobs_of(connection.settings)
    if queue is None:
        raise InputError("queue of Retrieve Predictions", "the variables of the backend", why_no_queue(connection.settings))
    project_id = None
    if arguments.project is not None:
        with connection.client() as client:
            project_id = client.get_project(arguments.project).project_id
    tasks = queue.tasks(project_id)
    counts = {state: sum(task.state == state for task in tasks) for state in ("waiting", "running", "failed", "done")}
    trainings = training.jobs(project_id) if training is not None else []
    if arguments.json:
        say_json({"tasks": [asdict(task) for task in tasks], "trainings": [asdict(job) for job in trainings]})
    else:
        for job in trainings:
            say(job.describe())
        for changed, count in training.changes().items() if training is not None else ():
            if project_id in (None, changed):
                say(f"project {changed}: {count} annotations came, changed or went since its last training")
        for task in tasks:
            if task.state != "done":
                note = f", {task.failures} failures, the last one: {task.failure}" if task.failure else ""
                say(f"task {task.task_id} of project {task.project_id}: {task.state}{note}")
        say(", ".join(f"{count} {state}" for state, count in counts.items()))
    return 1 if counts["failed"] else 0
