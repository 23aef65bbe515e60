"""What this product asks of Label Studio, through its own SDK. Whatever goes wrong there is one clear line here."""

from __future__ import annotations

import contextlib
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, TypeAlias

import httpx
from label_studio_sdk import ImportApiRequest, LabelStudio
from label_studio_sdk.core.api_error import ApiError

from backend.label_studio_answers import listed_versions, reason_of
from backend.s3_access import S3Access
from sam4d.structures import InputError

Result: TypeAlias = Mapping[str, Any]
"""One region of an annotation or prediction, as Label Studio writes it."""

TASKS_PER_REQUEST = 50
REQUEST_SECONDS = 120.0


class LabelStudioError(InputError):
    """Label Studio cannot be reached or does not do what it was asked. `status` is its HTTP status, None where it gave none."""

    def __init__(self, where: str, expected: str, found: str, status: int | None = None) -> None:
        super().__init__(where, expected, found)
        self.status = status


@dataclass(frozen=True)
class Project:
    """A project's number, title and label config (XML)."""

    project_id: int
    title: str
    label_config: str


@dataclass(frozen=True)
class Task:
    """A task's number and data."""

    task_id: int
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Labels:
    """One annotation, draft or prediction: its number, its regions and, of a prediction, which engine made it."""

    number: int
    result: Sequence[Result]
    updated_at: str = ""
    model_version: str = ""
    was_cancelled: bool = False


@dataclass(frozen=True)
class LabelledTask:
    """A task with all that was labelled in it, oldest first."""

    task: Task
    annotations: tuple[Labels, ...]
    drafts: tuple[Labels, ...]
    predictions: tuple[Labels, ...]


@dataclass(frozen=True)
class ConnectedBackend:
    """An ML backend of a project, as Label Studio knows it. `state` is "CO" where it answered last time; `error` says why it did not."""

    url: str
    is_interactive: bool
    state: str
    error: str


class LabelStudioClient:
    """One connection to one Label Studio; close it or use it in a `with` block.

    Args:
        url: for example http://127.0.0.1:8080.
        api_key: a legacy token or a personal access token.

    Every method raises LabelStudioError where Label Studio is unreachable, refuses the token or refuses the request.
    """

    def __init__(self, url: str, api_key: str) -> None:
        self.url = url.rstrip("/")
        self._connection = httpx.Client(timeout=REQUEST_SECONDS, follow_redirects=True)
        try:
            with self._asking("the token"):
                self._sdk: LabelStudio = LabelStudio(  # type: ignore[no-untyped-call]
                    base_url=self.url, api_key=api_key, httpx_client=self._connection
                )
        except InputError:
            self._connection.close()
            raise

    def __enter__(self) -> LabelStudioClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def check_access(self) -> str:
        """The address of the user whose token this is; asks nothing else."""
        with self._asking("the token"):
            return str(self._sdk.users.whoami().email)

    def version(self) -> str:
        """Label Studio's own, such as 1.23.2."""
        with self._asking("its version"):
            return str(self._sdk.versions.get().release)

    def find_project(self, title: str) -> Project | None:
        """The project of exactly that title.

        Raises:
            InputError: several projects have it.
        """
        with self._asking(f"project {title!r}"):
            listed: Iterable[Any] = self._sdk.projects.list(title=title)
            project_ids = [int(project.id) for project in listed if project.title == title]
            if len(project_ids) > 1:
                numbers = ", ".join(map(str, project_ids))
                raise InputError(f"project {title!r} at {self.url}", "one project of this title", f"projects {numbers}")
            if not project_ids:
                return None
            return Project(project_ids[0], title, str(self._sdk.projects.get(project_ids[0]).label_config))

    def get_project(self, title: str) -> Project:
        """The project of exactly that title; InputError names those there are where there is none."""
        project = self.find_project(title)
        if project is not None:
            return project
        with self._asking("the projects"):
            listed: Iterable[Any] = self._sdk.projects.list()
            titles = sorted(str(other.title) for other in listed)
        raise InputError(f"project {title!r} at {self.url}", "one of " + ", ".join(titles) if titles else "a project", "none of this title")

    def project_of(self, project_id: int) -> Project:
        """The project of that number."""
        with self._asking(f"project {project_id}"):
            found: Any = self._sdk.projects.get(project_id)
            return Project(project_id, str(found.title), str(found.label_config))

    def create_project(self, title: str, label_config: str, *, description: str, model_version: str) -> Project:
        """A new project. Its labellers see predictions from `show_predictions_of` on, not before.

        A project that shows predictions makes Label Studio ask the backend for every task that is opened without one, while the labeller
        waits, and starts the labeller on all that was proposed.
        """
        with self._asking(f"project {title!r}"):
            created: Any = self._sdk.projects.create(
                title=title,
                description=description,
                label_config=label_config,
                model_version=model_version,
                show_collab_predictions=False,
                maximum_annotations=1,
            )
            return Project(int(created.id), title, label_config)

    def configure_project(self, project: Project, label_config: str) -> Project:
        """The project with another label config."""
        with self._asking(f"project {project.title!r}"):
            self._sdk.projects.update(project.project_id, label_config=label_config)
            return replace(project, label_config=label_config)

    def delete_project(self, project: Project) -> None:
        with self._asking(f"project {project.title!r}"):
            self._sdk.projects.delete(project.project_id)

    def show_predictions_of(self, project: Project, model_version: str) -> None:
        """Which predictions labellers see; at least one of that version must be there."""
        with self._asking(f"project {project.title!r}"):
            self._sdk.projects.update(project.project_id, model_version=model_version, show_collab_predictions=True)

    def serve_doubtful_first(self, project: Project) -> None:
        """The label stream goes by the score of the shown predictions, the lowest first; no menu of Label Studio's can choose that."""
        with self._asking(f"project {project.title!r}"):
            self._sdk.projects.update(project.project_id, sampling="Uncertainty sampling")

    def ensure_local_files(self, project: Project, folder: str, title: str) -> None:
        """Lets the project's members read the files below a folder of Label Studio's document root."""
        with self._asking(f"the Local Files storage {folder}"):
            if any(storage.path == folder for storage in self._sdk.import_storage.local.list(project=project.project_id)):
                return
            self._sdk.import_storage.local.create(project=project.project_id, path=folder, title=title, use_blob_urls=True)

    def ensure_bucket(self, project: Project, bucket: str, access: S3Access) -> int | None:
        """Lets the project's members read the files of a bucket through Label Studio; the number of the new storage, None where one is
        there. Label Studio keeps what `access` says in its database, and asks the bucket whether it is right."""
        with self._asking(f"the S3 storage of bucket {bucket}"):
            if any(storage.bucket == bucket for storage in self._sdk.import_storage.s3.list(project=project.project_id)):
                return None
        given = {
            "s3endpoint": access.endpoint_url,
            "region_name": access.region,
            "aws_access_key_id": access.access_key_id,
            "aws_secret_access_key": access.secret_access_key,
        }
        try:
            with self._asking(f"the S3 storage of bucket {bucket}"):
                created = self._sdk.import_storage.s3.create(
                    project=project.project_id,
                    title=bucket,
                    bucket=bucket,
                    # Browsers need not reach the bucket, and the 3D view may use what comes from Label Studio's own origin.
                    presign=False,
                    use_blob_urls=True,
                    **{name: value for name, value in given.items() if value is not None},
                )
        except LabelStudioError as error:
            if error.status not in (400, 500):
                raise
            # It says little about a bucket that it cannot read.
            expected = "a bucket that Label Studio can read with what SAM4D_S3_ENDPOINT, _REGION, _ACCESS_KEY_ID and _SECRET_ACCESS_KEY say"
            raise LabelStudioError(error.where, expected, error.found, error.status) from None
        return None if created.id is None else int(created.id)

    def delete_bucket(self, storage_id: int) -> None:
        """Takes back what `ensure_bucket` made."""
        with self._asking(f"S3 storage {storage_id}"):
            self._sdk.import_storage.s3.delete(storage_id)

    def tasks(self, project: Project) -> list[Task]:
        """Every task, without what was labelled in it, in the order of their numbers."""
        with self._asking(f"the tasks of project {project.title!r}"):
            # As they were imported: Label Studio would put its own name for a task's files in place of s3://.
            listed: Iterable[Any] = self._sdk.tasks.list(project=project.project_id, fields="task_only", page_size=100, resolve_uri=False)
            return sorted((Task(task.id, dict(task.data)) for task in listed), key=lambda task: task.task_id)

    def annotated_tasks(self, project: Project) -> list[Task]:
        """Those of `tasks` in which somebody submitted something."""
        with self._asking(f"the tasks of project {project.title!r}"):
            listed: Iterable[Any] = self._sdk.tasks.list(
                project=project.project_id, fields="all", include="id,total_annotations", page_size=100
            )
            annotated = {int(task.id) for task in listed if task.total_annotations}
        return [task for task in self.tasks(project) if task.task_id in annotated] if annotated else []

    def add_tasks(self, project: Project, data: Sequence[Mapping[str, Any]]) -> list[int]:
        """The numbers of the new tasks. Where one request fails, the tasks of those before are taken back."""
        task_ids: list[int] = []
        try:
            for start in range(0, len(data), TASKS_PER_REQUEST):
                requests = [ImportApiRequest(data=dict(values)) for values in data[start : start + TASKS_PER_REQUEST]]
                with self._asking(f"the tasks of project {project.title!r}"):
                    answer = self._sdk.projects.import_tasks(project.project_id, request=requests, return_task_ids=True)
                    task_ids += [int(task_id) for task_id in getattr(answer, "task_ids", None) or []]
        except BaseException:
            self.delete_tasks(task_ids)
            raise
        return task_ids

    def delete_tasks(self, task_ids: Sequence[int]) -> None:
        for task_id in task_ids:
            with self._asking(f"task {task_id}"):
                self._sdk.tasks.delete(str(task_id))

    def find_task(self, task_id: int, project_id: int) -> Task | None:
        """As it was imported; None where the project has no such task any more."""
        try:
            with self._asking(f"task {task_id}"):
                found = self._sdk.tasks.get(str(task_id), request_options={"additional_query_parameters": {"resolve_uri": "false"}})
        except LabelStudioError as error:
            if error.status == 404:
                return None
            raise
        return Task(task_id, dict(found.data)) if getattr(found, "project", None) == project_id else None

    def labelled_task(self, task: Task) -> LabelledTask:
        with self._asking(f"task {task.task_id}"):
            whole = self._sdk.tasks.get(str(task.task_id))
        annotations, drafts, predictions = (
            tuple(sorted((_labels(entry) for entry in getattr(whole, name, None) or []), key=lambda labels: labels.updated_at))
            for name in ("annotations", "drafts", "predictions")
        )
        return LabelledTask(task, annotations, drafts, predictions)

    def predicted_tasks(self, project: Project, model_version: str) -> set[int]:
        """The numbers of the tasks that have one prediction of this version; two are left where replacing the older one was cut off."""
        with self._asking(f"the predictions of project {project.title!r}"):
            listed: Iterable[Any] = self._sdk.tasks.list(
                project=project.project_id, fields="all", include="id,predictions_model_versions,total_predictions", page_size=100
            )
            predicted = [task for task in listed if model_version in listed_versions(task.predictions_model_versions)]
        # Versions are listed once, however many predictions have them; only where there are more predictions is it worth a look.
        unclear = {int(task.id) for task in predicted if task.total_predictions != len(listed_versions(task.predictions_model_versions))}
        doubled = {number for number in unclear if self._count_predictions(number, model_version) > 1}
        return {int(task.id) for task in predicted} - doubled

    def _count_predictions(self, task_id: int, model_version: str) -> int:
        return sum(labels.model_version == model_version for labels in self.labelled_task(Task(task_id, {})).predictions)

    def add_prediction(self, task: Task, result: Sequence[Result], *, score: float, model_version: str) -> None:
        with self._asking(f"the prediction of task {task.task_id}"):
            self._sdk.predictions.create(
                task=task.task_id, result=[dict(region) for region in result], score=score, model_version=model_version
            )

    def replace_prediction(self, task: Task, result: Sequence[Result], *, score: float, model_version: str) -> None:
        """The task's one prediction of this version, there before an earlier one goes.

        The newest stays, whatever was there: an older one, or one of a try whose answer got lost, or of another run at this moment.
        """
        self.add_prediction(task, result, score=score, model_version=model_version)
        ours = [labels for labels in self.labelled_task(task).predictions if labels.model_version == model_version]
        for labels in sorted(ours, key=lambda labels: labels.number)[:-1]:
            try:
                self.delete_prediction(labels)
            except LabelStudioError as error:
                if error.status != 404:
                    raise

    def add_annotation(self, task_id: int, result: Sequence[Result]) -> None:
        """Labels as if a person had submitted them: they can be opened and corrected."""
        with self._asking(f"the annotation of task {task_id}"):
            self._sdk.annotations.create(task_id, result=[dict(region) for region in result])

    def delete_prediction(self, labels: Labels) -> None:
        with self._asking(f"prediction {labels.number}"):
            self._sdk.predictions.delete(labels.number)

    def backends(self, project: Project) -> list[ConnectedBackend]:
        """The project's ML backends, the one that is asked first."""
        with self._asking(f"the ML backends of project {project.title!r}"):
            listed: Iterable[Any] = self._sdk.ml.list(project=project.project_id)
            return [
                ConnectedBackend(str(other.url), bool(other.is_interactive), str(other.state or ""), reason_of(other.error_message or ""))
                for other in listed
            ]

    def connect_backend(self, project: Project, url: str, *, title: str, user: str | None = None, password: str | None = None) -> None:
        """Registers the ML backend for interactive use; one of the same title at another address is replaced."""
        with self._asking(f"the ML backend {url}"):
            before = list(self._sdk.ml.list(project=project.project_id))
            if any(backend.url == url for backend in before):
                self._log_events_in(project, url, user, password)
                return
            login: dict[str, Any] = {"auth_method": "NONE"}
            if user is not None:
                login = {"auth_method": "BASIC_AUTH", "basic_auth_user": user, "basic_auth_pass": password}
            kept = {backend.id for backend in before}
            try:
                self._sdk.ml.create(project=project.project_id, url=url, title=title, is_interactive=True, **login)
            except ApiError:
                # a refused webhook leaves the row of the backend behind
                for backend in self._sdk.ml.list(project=project.project_id):
                    if backend.id is not None and backend.id not in kept:
                        self._sdk.ml.delete(backend.id)
                raise
            for backend in before:
                # Label Studio asks the first of several
                if backend.title == title and backend.id is not None:
                    self._sdk.ml.delete(backend.id)
            self._log_events_in(project, url, user, password)

    def _log_events_in(self, project: Project, url: str, user: str | None, password: str | None) -> None:
        """Label Studio tells a backend of annotations without the login that it has for it."""
        if user is None:
            return
        login = b64encode(f"{user}:{password}".encode()).decode()
        for webhook in self._sdk.webhooks.list(project=str(project.project_id)):
            if webhook.url == f"{url.rstrip('/')}/webhook" and webhook.id is not None:
                self._sdk.webhooks.update(webhook.id, headers={"Authorization": f"Basic {login}"})

    @contextlib.contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        """Turns whatever the SDK raises into one line that says which part of the request was refused and what may help."""
        where = f"Label Studio at {self.url}"
        try:
            yield
        except ApiError as error:
            found = f"{error.status_code}: {reason_of(error.body)}"
            if error.status_code == 401:
                raise LabelStudioError(where, "a token that it accepts (LABEL_STUDIO_API_KEY)", found, 401) from None
            if error.status_code == 403:
                variables = "ML_BLOCK_LOCAL_IP=false and SSRF_PROTECTION_ENABLED=false"
                expected = f"a user who may do this (a backend on a private address needs {variables} in Label Studio's environment)"
                raise LabelStudioError(f"{where}, {what}", expected, found, 403) from None
            raise LabelStudioError(f"{where}, {what}", "to be accepted", found, error.status_code) from None
        except httpx.TimeoutException:
            raise LabelStudioError(f"{where}, {what}", f"an answer within {REQUEST_SECONDS:.0f} s", "none") from None
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise LabelStudioError(
                where, "an answer of Label Studio (is it running? LABEL_STUDIO_URL)", str(error) or type(error).__name__
            ) from None


def _labels(entry: Any) -> Labels:
    """From an entry of a task, which the SDK gives as a model or as a plain dictionary."""
    values = entry if isinstance(entry, dict) else entry.model_dump()
    return Labels(
        number=int(values["id"]),
        result=values.get("result") or (),
        updated_at=str(values.get("updated_at") or values.get("created_at") or ""),
        model_version=str(values.get("model_version") or ""),
        was_cancelled=bool(values.get("was_cancelled")),
    )
