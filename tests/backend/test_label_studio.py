"""Label Studio's client against a real Label Studio, and against none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from backend.embedded import free_port
from backend.label_studio import LabelStudioClient, LabelStudioError
from converters.label_config import build_label_config
from sam4d.structures import InputError
from tests.label_studio_server import LabelStudioServer

CONFIG = build_label_config(["front"], ["Car"])


@pytest.fixture
def client(label_studio: LabelStudioServer) -> Iterator[LabelStudioClient]:
    with LabelStudioClient(label_studio.url, label_studio.token) as client:
        yield client


def test_nobody_answers() -> None:
    url = f"http://127.0.0.1:{free_port(0, 'port')}"
    with LabelStudioClient(url, "0" * 40) as client, pytest.raises(LabelStudioError) as caught:
        client.check_access()
    assert str(caught.value).startswith(
        f"Label Studio at {url}: expected an answer of Label Studio (is it running? LABEL_STUDIO_URL), found "
    )
    assert "\n" not in str(caught.value)


def test_an_address_that_is_none() -> None:
    with LabelStudioClient("nonsense", "0" * 40) as client, pytest.raises(LabelStudioError, match="Label Studio at nonsense"):
        client.check_access()


@pytest.mark.xdist_group("label-studio")
@pytest.mark.parametrize("token", ["0" * 40, "not a token", "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjF9.c2ln"], ids=["wrong", "nonsense", "expired"])
def test_a_token_that_is_refused(label_studio: LabelStudioServer, token: str) -> None:
    with pytest.raises(LabelStudioError) as caught, LabelStudioClient(label_studio.url, token) as client:
        client.check_access()
    assert caught.value.status == 401
    assert "expected a token that it accepts (LABEL_STUDIO_API_KEY), found 401" in str(caught.value)
    assert token not in str(caught.value)


@pytest.mark.xdist_group("label-studio")
@pytest.mark.filterwarnings("ignore:The `parse_obj` method")  # the SDK's own
def test_a_personal_access_token(label_studio: LabelStudioServer) -> None:
    label_studio.client.jwt_settings.update(api_token_ttl_days=1, api_tokens_enabled=True, legacy_api_tokens_enabled=True)
    token = label_studio.client.tokens.create().token
    assert token is not None
    try:
        with LabelStudioClient(label_studio.url, token) as client:
            assert client.check_access() == label_studio.login.username
    finally:
        # a user has one at a time
        label_studio.client.tokens.blacklist(refresh=token)


@pytest.mark.xdist_group("label-studio")
def test_a_project_from_making_to_deleting(client: LabelStudioClient, label_studio: LabelStudioServer) -> None:
    assert client.find_project("a project") is None
    project = client.create_project("a project", CONFIG, description="", model_version="engine-1")
    assert client.get_project("a project") == project

    task_ids = client.add_tasks(project, [{"front": ["a"], "bev": ["b"], "first_frame": index} for index in range(60)])
    tasks = client.tasks(project)
    assert [task.task_id for task in tasks] == task_ids
    assert [task.data["first_frame"] for task in tasks] == list(range(60))

    region = {
        "id": "r",
        "type": "rectanglelabels",
        "from_name": "cuboid_bev",
        "to_name": "bev",
        "original_width": 10,
        "original_height": 10,
    }
    region |= {
        "value": {"x": 1.0, "y": 2.0, "width": 3.0, "height": 4.0, "rotation": 5.0, "rectanglelabels": ["Car"]},
        "meta": {"a": [1, 2.5]},
    }
    client.add_prediction(tasks[3], [region], score=0.25, model_version="engine-1")
    assert client.predicted_tasks(project, "engine-1") == {tasks[3].task_id}
    assert client.predicted_tasks(project, "engine") == set()
    (prediction,) = client.labelled_task(tasks[3]).predictions
    assert [dict(result) for result in prediction.result] == [region]
    client.delete_prediction(prediction)
    assert client.labelled_task(tasks[3]).predictions == ()

    assert client.annotated_tasks(project) == []
    client.add_annotation(task_ids[5], [region])
    assert client.annotated_tasks(project) == [tasks[5]]
    assert client.project_of(project.project_id) == project
    client.delete_tasks(task_ids[1:])
    assert [task.task_id for task in client.tasks(project)] == task_ids[:1]
    client.delete_project(project)
    assert client.find_project("a project") is None


@pytest.mark.xdist_group("label-studio")
def test_a_missing_project_names_those_that_are_there(client: LabelStudioClient) -> None:
    project = client.create_project("the only one", CONFIG, description="", model_version="")
    try:
        with pytest.raises(InputError, match=r"project 'another'.*the only one.*none of this title"):
            client.get_project("another")
    finally:
        client.delete_project(project)


@pytest.mark.xdist_group("label-studio")
def test_two_projects_of_one_title_are_not_guessed_between(client: LabelStudioClient) -> None:
    projects = [client.create_project("twice", CONFIG, description="", model_version="") for _ in range(2)]
    try:
        with pytest.raises(InputError, match="expected one project of this title"):
            client.find_project("twice")
    finally:
        for project in projects:
            client.delete_project(project)


@pytest.mark.xdist_group("label-studio")
def test_a_backend_that_does_not_answer_leaves_no_row(client: LabelStudioClient, label_studio: LabelStudioServer) -> None:
    project = client.create_project("no backend", CONFIG, description="", model_version="")
    url = f"http://127.0.0.1:{free_port(0, 'port')}"
    with pytest.raises(LabelStudioError, match="the ML backend"):
        client.connect_backend(project, url, title="SAM4D")
    assert list(label_studio.client.ml.list(project=project.project_id)) == []
    client.delete_project(project)
