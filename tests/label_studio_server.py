"""A real Label Studio for the tests that need one: started once per test session by the code behind `sam4d up`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from label_studio_sdk import LabelStudio

from backend.embedded import Login, Workplace, free_port, running_backend, running_label_studio
from backend.projects import BackendAddress

LABEL_STUDIO_ENVIRONMENT = Path(__file__).parents[1] / ".venv-label-studio"


@dataclass(frozen=True)
class LabelStudioServer:
    """Where it answers and who may log in. Files under `data_root` are what it serves.

    client: the SDK's own client, to look at what the code under test did.
    """

    url: str
    login: Login
    workplace: Workplace
    client: LabelStudio

    @property
    def token(self) -> str:
        return self.login.token

    @property
    def data_root(self) -> Path:
        return self.workplace.data_root


@pytest.fixture(scope="session")
def label_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudioServer]:
    """A Label Studio 1.23.2 with an empty database. Mark tests that use it with xdist_group("label-studio"): one server is enough."""
    if not (LABEL_STUDIO_ENVIRONMENT / "bin" / "label-studio").exists():
        pytest.skip("Label Studio is not installed in .venv-label-studio (`make .venv-label-studio`)")
    workplace = Workplace(tmp_path_factory.mktemp("label-studio"))
    login = workplace.prepare()
    port = free_port(0, "--port")
    with running_label_studio(workplace, login, LABEL_STUDIO_ENVIRONMENT, port) as (_, url), httpx.Client(timeout=60) as connection:
        client = LabelStudio(base_url=url, api_key=login.token, httpx_client=connection)  # type: ignore[no-untyped-call]
        yield LabelStudioServer(url, login, workplace, client)


@pytest.fixture(scope="session")
def labelling_backend(label_studio: LabelStudioServer) -> Iterator[BackendAddress]:
    """Our backend beside that Label Studio, started by the same code, asking for a password."""
    variables = {"SAM4D_DATA_ROOT": str(label_studio.data_root), "BASIC_AUTH_USER": "label-studio", "BASIC_AUTH_PASS": "secret"}
    with running_backend(label_studio.workplace, variables, free_port(0, "--backend-port")) as (_, url):
        yield BackendAddress(url, "label-studio", "secret")
