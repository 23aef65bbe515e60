"""Label Studio, the backend, a synthetic drive and Chromium: the real ones, each started once."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, sync_playwright

from backend.embedded import free_port, running_backend
from backend.export import export_project
from backend.label_studio import LabelStudioClient, Project
from backend.media import MediaReader
from backend.projects import BackendAddress, ImportOptions, import_sequences
from backend.settings import Settings
from converters.exports import write_sequence
from converters.sequences import open_sequence, read_masklets
from sam4d.predictor import build_predictor
from sam4d.simulation import SyntheticDrive, simulate_drive
from sam4d.structures import Clip, Masklet
from tests.browser.labelling_page import LabellingPage
from tests.browser.viewer_page import ViewerPage
from tests.label_studio_server import LabelStudioServer

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
# Nothing but the pages of the test may be asked for.
CHROMIUM_OPTIONS = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # WebGL without a graphics card; everything else is drawn as it always is without one
    "--enable-unsafe-swiftshader",
)
PICTURES = Path(__file__).parents[2] / "test-output"
LABELS = ("Car", "Truck", "Pedestrian", "Cyclist")


@dataclass
class BackendServer:
    """The backend as `sam4d up` starts it, on one port, so that it can go down and come back."""

    label_studio: LabelStudioServer
    port: int
    _running: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def address(self) -> BackendAddress:
        return BackendAddress(f"http://127.0.0.1:{self.port}")

    def start(self) -> None:
        variables = {
            "SAM4D_DATA_ROOT": str(self.label_studio.data_root),
            "LABEL_STUDIO_URL": self.label_studio.url,
            "LABEL_STUDIO_API_KEY": self.label_studio.token,
        }
        self._running.enter_context(running_backend(self.label_studio.workplace, variables, self.port))

    def stop(self) -> None:
        self._running.close()

    def restart(self) -> None:
        self.stop()
        self.start()


@dataclass(frozen=True)
class LabellingProject:
    """A project made by the import, with one drive in it."""

    client: LabelStudioClient
    project: Project
    clip: Clip
    media: MediaReader

    @property
    def task_ids(self) -> list[int]:
        return [task.task_id for task in self.client.tasks(self.project)]

    def draft_results(self, task_id: int) -> list[dict[str, object]]:
        """What Label Studio has saved of a task that is being labelled."""
        task = next(task for task in self.client.tasks(self.project) if task.task_id == task_id)
        drafts = self.client.labelled_task(task).drafts
        return [dict(result) for draft in drafts for result in draft.result]

    def export(self, folder: Path) -> tuple[Masklet, ...]:
        """Written as a sequence folder's labels and read back."""
        (exported,) = export_project(self.client, self.project, self.media.open_clip, "sequence", folder)
        return read_masklets(folder / exported.name, self.clip)


@pytest.fixture(scope="session")
def drive() -> SyntheticDrive:
    return simulate_drive(seed=1, frame_count=5, image_size_px=(640, 400), azimuth_count=1200)


@pytest.fixture(scope="session")
def drive_folder(drive: SyntheticDrive, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings") / "labelled_in_the_browser"
    write_sequence(drive.clip, folder)
    return folder


@pytest.fixture(scope="session")
def backend(label_studio: LabelStudioServer) -> Iterator[BackendServer]:
    server = BackendServer(label_studio, free_port(0, "--backend-port"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    if not Path(CHROMIUM).exists():
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(CHROMIUM_OPTIONS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def logged_in(chromium: Browser, label_studio: LabelStudioServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cookies of the labeller, logged in once by the form."""
    state = tmp_path_factory.mktemp("browser") / "state.json"
    with contextlib.closing(chromium.new_context()) as context:
        page = context.new_page()
        page.goto(f"{label_studio.url}/user/login/")
        page.fill("input[name=email]", label_studio.login.username)
        page.fill("input[name=password]", label_studio.login.password)
        page.click("button[type=submit]")
        page.wait_for_url(lambda url: "login" not in url)
        context.storage_state(path=state)
    return state


@pytest.fixture
def context(chromium: Browser, logged_in: Path) -> Iterator[BrowserContext]:
    """A browser that has never seen the page but for the log-in: no switch is on yet."""
    context = chromium.new_context(storage_state=logged_in, viewport={"width": 1920, "height": 1200})
    yield context
    context.close()


@pytest.fixture
def pictures(request: pytest.FixtureRequest) -> Path:
    """Where the screenshots of this test go."""
    folder: Path = PICTURES / request.node.name.removeprefix("test_")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def client(label_studio: LabelStudioServer) -> Iterator[LabelStudioClient]:
    with LabelStudioClient(label_studio.url, label_studio.token) as client:
        yield client


@pytest.fixture
def project(
    request: pytest.FixtureRequest, client: LabelStudioClient, label_studio: LabelStudioServer, backend: BackendServer, drive_folder: Path
) -> LabellingProject:
    """The drive imported into a project of this test's own. `@pytest.mark.parametrize("project", [frames], indirect=True)` cuts it up."""
    frames_per_task = getattr(request, "param", 20)
    project, _ = import_sequences(
        client,
        f"{request.node.name.removeprefix('test_')[:40]} {secrets.token_hex(2)}",
        [drive_folder],
        data_root=label_studio.data_root,
        backend=backend.address,
        model_version=build_predictor().version,
        options=ImportOptions(labels=LABELS, frames_per_task=frames_per_task, overlap=0, range_m=40.0),
    )
    media = MediaReader(Settings(data_root=label_studio.data_root))
    return LabellingProject(client, project, open_sequence(drive_folder), media)


@pytest.fixture
def labelling(
    context: BrowserContext, label_studio: LabelStudioServer, project: LabellingProject, pictures: Path
) -> Iterator[LabellingPage]:
    """The labeller's page. Whatever went wrong in the browser fails the test at its end."""
    page = LabellingPage(context.new_page(), label_studio.url, project.project.label_config, pictures)
    yield page
    page.page.screenshot(path=pictures / "at-the-end.png")
    assert page.errors == []


@pytest.fixture(scope="session")
def seen_cars(drive: SyntheticDrive) -> list[Masklet]:
    """Cars on all frames, those with the most points first."""
    shown = [m for m in drive.masklets if m.label == "Car" and all(k in m.masks and m.masks[k].lidar_mask.sum() > 80 for k in range(5))]
    seen = [m for m in shown if max(int(mask.sum()) for mask in m.masks[0].camera_masks.values()) > 500]
    return sorted(seen, key=lambda masklet: -int(masklet.masks[0].lidar_mask.sum()))


@pytest.fixture
def viewer(labelling: LabellingPage, project: LabellingProject, pictures: Path) -> ViewerPage:
    (task_id,) = project.task_ids
    labelling.open_task(project.project.project_id, task_id)
    viewer = ViewerPage(labelling.page, pictures)
    viewer.wait_until_editable()
    return viewer
