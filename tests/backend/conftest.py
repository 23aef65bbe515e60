"""A drive below a data root, and requests as Label Studio sends them."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from backend.asgi import create_app
from backend.settings import Settings
from converters.exports.sequence_folder import write_sequence
from converters.label_config import build_label_config, click_tag
from converters.tasks import TaskWindow, build_task_data
from sam4d.geometry import BirdsEyeView
from sam4d.simulation import SyntheticDrive, simulate_drive
from sam4d.structures import Masklet
from tests.backend.file_server import FileServer

LABELS = ("Car", "Pedestrian", "Object")
SEQUENCE = "/data/local-files/?d=drives/0001"
ANNOTATOR = "anna@example.com"


@dataclass
class Project:
    """A project with one sequence, and what Label Studio would send of it."""

    drive: SyntheticDrive
    data_root: Path
    labels: tuple[str, ...] = LABELS
    clicks: int = field(default=0)

    @property
    def label_config(self) -> str:
        return build_label_config(self.drive.clip.cameras, self.labels)

    @property
    def window(self) -> TaskWindow:
        return TaskWindow(SEQUENCE, 0, len(self.drive.clip), BirdsEyeView(forward=self.drive.clip.forward))

    def task(self, identity: int = 1, **more: Any) -> dict[str, Any]:
        frames = range(len(self.drive.clip))
        images = {
            camera: [f"/data/local-files/?d=drives/0001/{camera}/{frame}.png" for frame in frames] for camera in self.drive.clip.cameras
        }
        data = build_task_data(self.window, images, [f"/data/local-files/?d=drives/0001/bev/{frame}.png" for frame in frames])
        return {"id": identity, "project": 7, "data": data, "drafts": [], "annotations": [], "predictions": [], **more}

    def draft(self, results: Sequence[Mapping[str, Any]], minute: int = 1) -> dict[str, Any]:
        """What Label Studio would have saved: through JSON, as everything that comes back."""
        time = f"2026-01-01T10:{minute:02d}:00.000000Z"
        return {"id": 5, "user": ANNOTATOR, "result": json.loads(json.dumps(list(results))), "created_at": time, "updated_at": time}

    def request(self, *tasks: Mapping[str, Any], context: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        params = {"login": "someone", "password": "a-secret", "context": context}
        return {"tasks": list(tasks), "project": "7.1700000000", "label_config": self.label_config, "params": params, **more}

    def visible(self, frame_index: int = 0, camera: str = "front") -> Masklet:
        """The object that covers most of the camera's image."""

        def area(masklet: Masklet) -> int:
            masks = masklet.masks.get(frame_index)
            return int(masks.camera_masks[camera].sum()) if masks is not None and masks.lidar_mask.sum() > 20 else 0

        return max(self.drive.masklets, key=area)

    def click_on(
        self, masklet: Masklet, frame_index: int = 0, camera: str = "front", *, label: str = "Car", positive: bool = True
    ) -> dict[str, Any]:
        """A click in the middle of the object's mask, as the smart key point sends it."""
        rows, columns = np.nonzero(masklet.masks[frame_index].camera_masks[camera])
        row, column = int(np.median(rows)), 0
        in_row = columns[rows == row]
        column = int(in_row[len(in_row) // 2])
        return self.click(column + 0.5, row + 0.5, frame_index, camera, label=label, positive=positive)

    def click(self, u: float, v: float, frame_index: int, camera: str, *, label: str = "Car", positive: bool = True) -> dict[str, Any]:
        self.clicks += 1
        size = self.drive.clip.cameras[camera]
        value = {"x": 100 * u / size.width_px, "y": 100 * v / size.height_px, "width": 0.36, "keypointlabels": [label], "labels": [label]}
        result = {
            "original_width": size.width_px,
            "original_height": size.height_px,
            "image_rotation": 0,
            "item_index": frame_index,
            "value": value,
            "is_positive": positive,
            "id": f"click{self.clicks}",
            "from_name": click_tag(camera),
            "to_name": camera,
            "type": "keypointlabels",
            "origin": "manual",
        }
        return {"result": [result]}


@pytest.fixture(scope="session")
def data_root(small_drive: SyntheticDrive, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data-root")
    write_sequence(small_drive.clip, root / "drives" / "0001")
    return root


@pytest.fixture
def file_server(data_root: Path) -> Iterator[FileServer]:
    """Stands for a Label Studio that serves the data root."""
    with FileServer(data_root) as server:
        yield server


@pytest.fixture
def project(small_drive: SyntheticDrive, data_root: Path) -> Project:
    return Project(small_drive, data_root)


@pytest.fixture
def settings(data_root: Path) -> Settings:
    # Long enough for all frames on the slowest machine: nothing here depends on the clock.
    return Settings(data_root=data_root, interactive_seconds=600, batch_seconds=600)


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="session")
def tiny_drive() -> SyntheticDrive:
    """Quick to click in thousands of times: 2 frames, 2 cameras of 160 x 100 pixels, about 3 thousand points a sweep."""
    return simulate_drive(
        seed=3, frame_count=2, camera_names=("front_left", "front"), image_size_px=(160, 100), beam_count=16, azimuth_count=200
    )


@pytest.fixture(scope="session")
def tiny_root(tiny_drive: SyntheticDrive, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tiny-root")
    write_sequence(tiny_drive.clip, root / "drives" / "0001")
    return root


@pytest.fixture
def tiny_project(tiny_drive: SyntheticDrive, tiny_root: Path) -> Project:
    return Project(tiny_drive, tiny_root)


@pytest.fixture(scope="session")
def namespaces() -> None:
    """That what stands in for a container can be started here: some machines, most of all containers, let nobody make one."""
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed")
    command = ["bwrap", "--unshare-all", "--share-net", "--uid", "1001", "--gid", "0", "--ro-bind", "/", "/", "--proc", "/proc", "true"]
    tried = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if tried.returncode:
        pytest.skip(f"this machine lets nobody make namespaces: {tried.stderr.strip()}")
