"""Which Label Studio and which files a command works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from backend.embedded import BACKEND_USER, Workplace
from backend.label_studio import LabelStudioClient, Project
from backend.media import MediaReader
from backend.projects import BackendAddress
from backend.settings import Settings
from sam4d.structures import Clip, InputError


@dataclass(frozen=True)
class Connection:
    """Settings that name a Label Studio, its token and perhaps the data root, and the backend's address as Label Studio sees it."""

    settings: Settings
    backend: BackendAddress

    def client(self) -> LabelStudioClient:
        settings = self.settings
        assert settings.label_studio_url is not None
        assert settings.label_studio_api_key is not None
        return LabelStudioClient(settings.label_studio_url, settings.label_studio_api_key)

    def open_clip(self, project: Project) -> Callable[[str], Clip]:
        """Opens the sequences of a project's tasks."""
        return partial(MediaReader(self.settings).open_clip, project_id=project.project_id)

    def data_root(self) -> Path:
        """Raises InputError where none is known."""
        if self.settings.data_root is None:
            raise InputError("SAM4D_DATA_ROOT", "the folder that Label Studio serves as its local files", "nothing")
        return self.settings.data_root


def settings_at(settings: Settings, directory: Path) -> Settings:
    """With the MODEL_DIR that `sam4d up` uses in a folder, where the environment names neither one nor a Label Studio."""
    if settings.model_dir is not None or settings.label_studio_url is not None:
        return settings
    workplace = Workplace(directory.resolve())
    return replace(settings, model_dir=workplace.cache) if workplace.login_file.exists() else settings


def find_connection(settings: Settings, directory: Path) -> Connection:
    """The one of the environment where LABEL_STUDIO_URL is set, else the one that `sam4d up` runs in a folder.

    Raises:
        InputError: neither is there.
    """
    if settings.label_studio_url is not None:
        if settings.label_studio_api_key is None:
            raise InputError("LABEL_STUDIO_API_KEY", "a token, because LABEL_STUDIO_URL is set", "nothing")
        url = settings.backend_url or f"http://{settings.host}:{settings.port}"
        return Connection(settings, BackendAddress(url, settings.credentials.user, settings.credentials.password))
    workplace = Workplace(directory.resolve())
    if not workplace.login_file.exists():
        raise InputError("Label Studio", f"`sam4d up` in {directory}, or LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY", "neither")
    login = workplace.read_login()
    found = replace(
        settings,
        label_studio_url=login.label_studio_url,
        label_studio_api_key=login.token,
        data_root=workplace.data_root.resolve(),
        model_dir=settings.model_dir or workplace.cache,
    )
    return Connection(found, BackendAddress(login.backend_url, BACKEND_USER, login.backend_password))
