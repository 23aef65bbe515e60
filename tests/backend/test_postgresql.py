"""A team's Label Studio on PostgreSQL: with the variables, users and folders of docker-compose.yml, one import and one click."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from backend.embedded import BACKEND_START_SECONDS, LABEL_STUDIO_START_SECONDS, LOOPBACK, Child, free_port, running_child
from backend.label_studio import LabelStudioClient
from converters.exports import write_sequence
from sam4d.simulation import SyntheticDrive
from tests.backend.compose_file import REPOSITORY, compose_document, example_variables, filled
from tests.backend.conftest import Project
from tests.backend.contained import contained
from tests.backend.test_labelling import objects
from tests.label_studio_server import LABEL_STUDIO_ENVIRONMENT

TOKEN = "0123456789" * 4
SECRETS = {
    "LABEL_STUDIO_PASSWORD": "a-password-of-labellers",
    "LABEL_STUDIO_USER_TOKEN": TOKEN,
    "SAM4D_BACKEND_PASSWORD": "a-password-of-the-backend",
    "POSTGRES_PASSWORD": "a-password-of-the-database",
}
SAM4D = ("env", f"PYTHONPATH={REPOSITORY}", sys.executable, "-m", "backend.cli")
PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
"""Debian's, of the version that it has: 15 in Debian 12, where the container has 16."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("label-studio"),
    pytest.mark.skipif(not PROGRAMS, reason="PostgreSQL is not installed"),
    pytest.mark.usefixtures("namespaces"),
    pytest.mark.skipif(not (LABEL_STUDIO_ENVIRONMENT / "bin" / "label-studio").exists(), reason="Label Studio is not installed"),
]


@dataclass
class Team:
    """The services of docker-compose.yml on this machine: folders stand in for volumes, ports of the loopback address for networks."""

    directory: Path
    services: dict[str, Any] = field(default_factory=lambda: compose_document()["services"])
    addresses: dict[str, str] = field(default_factory=dict)

    def inside(self, name: str, **more: str) -> tuple[list[str], dict[str, str]]:
        """The words before a command of a service, and its variables; the same volume is the same folder for all."""
        variables = {key: filled(value, {**example_variables(), **SECRETS}) for key, value in self.services[name]["environment"].items()}
        variables |= {key: self.addresses.get(value, value) for key, value in variables.items()}
        folders = {}
        for volume in self.services[name]["volumes"]:
            source, place = volume.removesuffix(":ro").rsplit(":", 1)
            folders[place] = self.directory / filled(source, example_variables())
            folders[place].mkdir(exist_ok=True)
        path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
        users = self.directory / "passwd"  # every image has its user in it
        users.write_text("database:x:999:999::/:/bin/sh\nsam4d:x:1001:0::/:/bin/sh\n")
        programs = [REPOSITORY, Path(sys.prefix).resolve(), Path(sys.base_prefix), LABEL_STUDIO_ENVIRONMENT.resolve()]
        visible = {"/etc/passwd": users, **{str(folder): folder for folder in programs}}
        return contained(self.services[name], folders, visible), {"PATH": path, **variables, **more}

    def run(self, name: str, *command: str, **more: str) -> str:
        words, variables = self.inside(name, **more)
        result = subprocess.run([*words, *command], env=variables, cwd=self.directory, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    @contextmanager
    def running(self, name: str, *command: str, **more: str) -> Iterator[Child]:
        words, variables = self.inside(name, **more)
        with running_child(name, [*words, *command], self.directory / f"{name}.log", variables, self.directory) as child:
            yield child


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    """Database, Label Studio and backend, started in this order, each after the one before answers."""
    team = Team(tmp_path)
    database, label_studio, backend = (str(free_port(0, name)) for name in ("database", "label-studio", "backend"))
    team.addresses |= {
        "http://localhost:8080": f"http://{LOOPBACK}:{label_studio}",
        "http://label-studio:8080": f"http://{LOOPBACK}:{label_studio}",
        "http://backend:9090": f"http://{LOOPBACK}:{backend}",
    }
    with ExitStack() as running:
        running.enter_context(postgresql(team, database))
        running.enter_context(
            team.running(
                "label-studio",
                *(str(LABEL_STUDIO_ENVIRONMENT.resolve() / "bin" / "label-studio"), "start", "--no-browser"),
                *("--internal-host", LOOPBACK, "--port", label_studio),
                # the image's own; where Label Studio finds a repository around it, it writes beside its code, and the image has none
                LABEL_STUDIO_BASE_DATA_DIR="/label-studio/data",
                GIT_DIR="/none",
                POSTGRE_HOST=LOOPBACK,
                POSTGRE_PORT=database,
            )
        ).wait_until_healthy(f"http://{LOOPBACK}:{label_studio}/health", LABEL_STUDIO_START_SECONDS)
        team.run("data-root", *SAM4D, "refresh-viewer")
        running.enter_context(team.running("backend", *SAM4D, "serve", SAM4D_HOST=LOOPBACK, SAM4D_PORT=backend)).wait_until_healthy(
            f"http://{LOOPBACK}:{backend}/health", BACKEND_START_SECONDS
        )
        yield team


@contextmanager
def postgresql(team: Team, port: str) -> Iterator[None]:
    """What the image's entry point does: a new database with its user and password, over TCP by password alone."""
    place, variables = "/var/lib/postgresql/data", team.inside("database")[1]
    programs, user = PROGRAMS[-1], variables["POSTGRES_USER"]
    script = 'printf %s "$POSTGRES_PASSWORD" >/tmp/password; exec "$@" --pwfile /tmp/password'
    options = ["--pgdata", place, "--username", user, "--auth-host=scram-sha-256", "--auth-local=trust", "--encoding=UTF8", "--no-sync"]
    team.run("database", "sh", "-ec", script, "sh", str(programs / "initdb"), *options)
    server = [str(programs / "postgres"), "-D", place, "-p", port, "-c", f"listen_addresses={LOOPBACK}", "-k", "/var/run/postgresql"]
    words, _ = team.inside("database")
    with team.running("database", *server) as child:
        test = [word for word in team.services["database"]["healthcheck"]["test"][1:] if word != "pg_isready"]
        while subprocess.run([str(programs / "pg_isready"), "--port", port, *test], stdout=subprocess.DEVNULL).returncode:
            child.check()
        create = [str(programs / "createdb"), "--host", LOOPBACK, "--port", port, "--username", user, variables["POSTGRES_DB"]]
        team.run("database", *create, PGPASSWORD=SECRETS["POSTGRES_PASSWORD"])
        refused = subprocess.run([*words, *create, "--no-password"], env={"PATH": "/bin", "PGPASSWORD": "guessed"}, capture_output=True)
        assert b"password authentication failed" in refused.stderr
        yield


def test_an_import_and_a_click_on_postgresql(team: Team, project: Project, small_drive: SyntheticDrive) -> None:
    write_sequence(small_drive.clip, team.directory / "data" / "drives" / "0001")
    said = team.run("import", *SAM4D, "import", "/data/drives/0001", "--project", "City drives", "--frames-per-task", "4", "--overlap", "1")
    assert "City drives" in said

    url = team.addresses["http://label-studio:8080"]
    session = requests.Session()
    session.headers["Authorization"] = f"Token {TOKEN}"
    with LabelStudioClient(url, TOKEN) as client:
        imported = client.get_project("City drives")
        (task,) = client.tasks(imported)
        (backend,) = session.get(f"{url}/api/ml", params={"project": imported.project_id}).json()
        assert backend["url"] == team.addresses["http://backend:9090"]
        wanted = {"task": task.task_id, "context": project.click_on(project.visible())}
        answer = session.post(f"{url}/api/ml/{backend['id']}/interactive-annotating", json=wanted, timeout=120)
        assert answer.status_code == 200, answer.text
        result = answer.json()["data"]["result"]
        assert objects(result) == {1}
        client.add_annotation(task.task_id, result)
        (annotation,) = client.labelled_task(task).annotations
        assert {region["id"] for region in annotation.result} == {region["id"] for region in result}
    assert session.get(f"{url}{task.data['front'][0]}").content[:4] == b"\x89PNG", "Label Studio serves the data root"
    assert list((team.directory / "database").glob("PG_VERSION"))
    others = {str(path.relative_to(team.directory)) for path in team.directory.rglob("*.sqlite3")}
    assert others <= {"cache/training/jobs.sqlite3"}, "the backend's own count of what is new; nothing of Label Studio's went elsewhere"
