"""The doctor finds what is broken in a real installation, and nothing in a whole one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from backend.cli import main
from backend.doctor import Finding, examine_backend, examine_installation, examine_label_studio, examine_project
from backend.embedded import free_port, running_backend
from backend.label_studio import ConnectedBackend, LabelStudioClient, Project
from backend.projects import BackendAddress
from backend.settings import Settings
from converters.label_config import build_label_config
from sam4d.simulation import SyntheticDrive
from tests.backend.projects.importing import Import
from tests.label_studio_server import LabelStudioServer

pytestmark = pytest.mark.xdist_group("label-studio")

TITLE = "examined drives"


def troubles(findings: Iterator[Finding]) -> dict[str, str]:
    return {finding.what: f"{finding.found} / {finding.mend}" for finding in findings if finding.outcome == "trouble"}


@pytest.fixture
def settings(label_studio: LabelStudioServer) -> Settings:
    return Settings(data_root=label_studio.data_root, label_studio_url=label_studio.url, label_studio_api_key=label_studio.token)


def test_a_whole_installation_has_no_trouble(
    import_into: Import,
    recording: Path,
    label_studio: LabelStudioServer,
    labelling_backend: BackendAddress,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    import_into(TITLE, recording)
    monkeypatch.chdir(tmp_path)
    variables = {
        "LABEL_STUDIO_URL": label_studio.url,
        "LABEL_STUDIO_API_KEY": label_studio.token,
        "SAM4D_DATA_ROOT": str(label_studio.data_root),
        "SAM4D_BACKEND_URL": labelling_backend.url,
        "BASIC_AUTH_USER": labelling_backend.user or "",
        "BASIC_AUTH_PASS": labelling_backend.password or "",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert main(["doctor", "--project", TITLE]) == 0
    said = capsys.readouterr().out
    for line in (
        "access to the backend: with user and password only",
        f"Label Studio at {label_studio.url}: 1.23.2",
        f"project '{TITLE}', backend: connected, interactive",
        "files, for the backend: 1 drive opened",
        "files, for the labellers: 1 drive opened",
    ):
        assert f"ok       {line}" in said
    assert "TROUBLE" not in said
    assert label_studio.token not in said
    assert (labelling_backend.password or "") not in said.replace("BASIC_AUTH", "")
    assert main(["doctor", "--project", TITLE, "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)
    assert {finding["outcome"] for finding in findings} <= {"ok", "note"}
    assert main(["doctor", "--project", "no such project"]) == 1
    assert "TROUBLE  project 'no such project': at " in capsys.readouterr().out


def test_without_anything_configured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("LABEL_STUDIO_URL", "SAM4D_DATA_ROOT"):
        monkeypatch.delenv(name, raising=False)
    assert main(["doctor"]) == 1
    assert "TROUBLE  Label Studio: expected `sam4d up`" in capsys.readouterr().out
    address = f"http://127.0.0.1:{free_port(0, 'port')}"
    monkeypatch.setenv("LABEL_STUDIO_URL", address)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "0" * 40)
    assert main(["doctor"]) == 1
    assert f"TROUBLE  Label Studio at {address}: expected an answer of Label Studio" in capsys.readouterr().out


def test_files_that_one_of_both_cannot_read(
    import_into: Import,
    recording: Path,
    client: LabelStudioClient,
    label_studio: LabelStudioServer,
    labelling_backend: BackendAddress,
    settings: Settings,
    tmp_path: Path,
) -> None:
    project, _ = import_into(TITLE, recording)

    def look(changed: Settings) -> dict[str, str]:
        return troubles(examine_project(client, TITLE, changed, labelling_backend))

    assert look(settings) == {}
    elsewhere = replace(settings, data_root=tmp_path, label_studio_api_key="no token")
    assert set(look(elsewhere)) == {"files, for the backend", "files, for the labellers"}
    assert "the token in LABEL_STUDIO_API_KEY is refused" in look(elsewhere)["files, for the backend"]
    for storage in label_studio.client.import_storage.local.list(project=project.project_id):
        label_studio.client.import_storage.local.delete(storage.id)
    found = look(settings)
    assert set(found) == {"files, for the labellers"}
    assert "a Local Files storage" in found["files, for the labellers"]
    lost = min(label_studio.data_root.glob("sequences/street/**/*.pcd"))
    kept = lost.read_bytes()
    lost.unlink()
    try:
        assert "files, for the backend" in look(settings)
    finally:
        lost.write_bytes(kept)


def test_a_backend_that_label_studio_does_not_ask(
    import_into: Import,
    recording: Path,
    client: LabelStudioClient,
    label_studio: LabelStudioServer,
    labelling_backend: BackendAddress,
    settings: Settings,
) -> None:
    project, _ = import_into(TITLE, recording)

    def look(backend: BackendAddress) -> dict[str, str]:
        return troubles(examine_project(client, TITLE, settings, backend))

    where = f"project '{TITLE}', backend"
    assert f"{labelling_backend.url}, not http://127.0.0.1:1" in look(BackendAddress("http://127.0.0.1:1"))[where]
    (connected,) = label_studio.client.ml.list(project=project.project_id)
    assert connected.id is not None
    login = {"auth_method": "BASIC_AUTH", "basic_auth_user": labelling_backend.user, "basic_auth_pass": labelling_backend.password}
    changed = {"is_interactive": False, "project": project.project_id, "url": labelling_backend.url}
    label_studio.client.ml.update(connected.id, **changed, **login)
    assert "not for interactive use" in look(labelling_backend)[where]
    label_studio.client.ml.delete(connected.id)
    assert "none, not http" in look(labelling_backend)[where]


def test_a_password_that_somebody_typed_into_an_address_is_not_repeated(small_drive: SyntheticDrive) -> None:
    class Client:
        def get_project(self, title: str) -> Project:
            return Project(1, title, build_label_config(small_drive.clip.cameras, ["Car"]))

        def backends(self, project: Project) -> list[ConnectedBackend]:
            return [ConnectedBackend("http://someone:hidden@other:9090", True, "CO", "")]

        def tasks(self, project: Project) -> list[object]:
            return []

    findings = [*examine_project(cast(LabelStudioClient, Client()), TITLE, Settings(), BackendAddress("http://backend:9090"))]
    assert "other:9090, not http://backend:9090" in findings[1].found
    assert "hidden" not in str(findings)


def test_a_project_of_another_kind(client: LabelStudioClient, settings: Settings, labelling_backend: BackendAddress) -> None:
    config = "<View><Text name='t' value='$t'/><Choices name='c' toName='t'><Choice value='a'/></Choices></View>"
    project = client.create_project("a project of texts", config, description="", model_version="")
    try:
        found = troubles(examine_project(client, project.title, settings, labelling_backend))
        assert "sam4d import makes projects of the right kind" in found["project 'a project of texts'"]
    finally:
        client.delete_project(project)


def test_a_label_studio_that_is_not_there_or_refuses_the_token(label_studio: LabelStudioServer) -> None:
    with LabelStudioClient(label_studio.url, "0" * 40) as stranger:
        assert "LABEL_STUDIO_API_KEY" in troubles(examine_label_studio(stranger))["token"]


def test_backends_that_are_gone_open_or_of_another_engine(
    label_studio: LabelStudioServer, settings: Settings, labelling_backend: BackendAddress
) -> None:
    nobody = BackendAddress(f"http://127.0.0.1:{free_port(0, 'port')}")
    assert "no answer of ours at /health" in troubles(examine_backend(settings, nobody))[f"backend at {nobody.url}"]
    wrong = replace(labelling_backend, password="wrong")
    assert "status 401 for Label Studio's user" in troubles(examine_backend(settings, wrong))["access to the backend"]
    assert troubles(examine_backend(settings, labelling_backend)) == {}
    with running_backend(label_studio.workplace, {"SAM4D_DATA_ROOT": str(label_studio.data_root)}, free_port(0, "port")) as (_, url):
        findings = {finding.what: finding for finding in examine_backend(settings, BackendAddress(url))}
    assert (findings["access to the backend"].outcome, findings["access to the backend"].found) == (
        "note",
        "open to everyone who reaches it",
    )


def test_a_backend_of_another_engine_and_a_folder_that_cannot_be_read(
    label_studio: LabelStudioServer, labelling_backend: BackendAddress, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Other:
        version = "geometric-0"

    monkeypatch.setattr("backend.doctor.predictor_of", lambda settings: Other())
    found = troubles(examine_backend(settings, labelling_backend))
    assert "geometric-0, as the settings here say" in found["engine of the backend"]
    gone = replace(settings, data_root=label_studio.data_root / "gone")
    assert "it cannot be read" in troubles(examine_installation(gone))["data root"]
