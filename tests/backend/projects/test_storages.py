"""Drives in the cloud storages of a real Label Studio: sent by it, or fetched from where it sends on to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from backend.allowed_hosts import AllowedHosts
from backend.errors import MediaError
from backend.label_studio import LabelStudioClient, Project
from backend.media import MediaReader
from backend.settings import Settings
from converters.exports import write_sequence
from converters.label_config import build_label_config
from converters.tasks import parse_task_data
from sam4d.simulation import SyntheticDrive
from sam4d.structures import InputError
from tests.backend.file_server import ObjectStorage
from tests.label_studio_server import LabelStudioServer

pytestmark = [pytest.mark.xdist_group("label-studio"), pytest.mark.slow]

SEQUENCE = "s3://recordings/drives/0001"


@pytest.fixture
def storage(tmp_path: Path, small_drive: SyntheticDrive) -> Iterator[ObjectStorage]:
    write_sequence(small_drive.clip, tmp_path / "drives" / "0001")
    with ObjectStorage("recordings", tmp_path) as storage:
        yield storage


@pytest.fixture
def project(client: LabelStudioClient, small_drive: SyntheticDrive) -> Iterator[Project]:
    config = build_label_config(small_drive.clip.cameras, ["Car"])
    project = client.create_project("in a bucket", config, description="", model_version="none")
    data = {"bev": ["x"], "sequence": SEQUENCE, "first_frame": 0, "birds_eye": {"range_m": 40, "metres_per_pixel": 0.1, "forward": "+x"}}
    images = {name: ["x"] for name in small_drive.clip.cameras}
    client.add_tasks(project, [{**images, **data}])
    yield project
    client.delete_project(project)


@pytest.fixture
def personal_access_token(label_studio: LabelStudioServer) -> Iterator[str]:
    """A user has one at a time."""
    label_studio.client.jwt_settings.update(api_token_ttl_days=1, api_tokens_enabled=True, legacy_api_tokens_enabled=True)
    token = str(label_studio.client.tokens.create().token)
    yield token
    label_studio.client.tokens.blacklist(refresh=token)


@pytest.mark.parametrize("presign", [False, True])
@pytest.mark.parametrize("personal", [False, True])
@pytest.mark.filterwarnings("ignore:The `parse_obj` method")  # the SDK's own
def test_a_drive_in_a_storage_of_label_studio(
    presign: bool,
    personal: bool,
    personal_access_token: str,
    label_studio: LabelStudioServer,
    client: LabelStudioClient,
    project: Project,
    storage: ObjectStorage,
    small_drive: SyntheticDrive,
    tmp_path: Path,
) -> None:
    (task,) = client.tasks(project)
    assert parse_task_data(task.data).sequence == SEQUENCE, "as it was imported"
    allowed = AllowedHosts.parse(f"private:{storage.place}", "SAM4D_ALLOWED_HOSTS")
    key = personal_access_token if personal else label_studio.token
    settings = Settings(label_studio_url=label_studio.url, label_studio_api_key=key, allowed_hosts=allowed)
    with pytest.raises(MediaError, match=f"a cloud storage with {SEQUENCE}.* in project {project.project_id}"):
        MediaReader(settings).open_clip(SEQUENCE, project.project_id)

    label_studio.client.import_storage.s3.create(
        project=project.project_id,
        title="recordings",
        bucket="recordings",
        s3endpoint=storage.url,
        region_name="us-east-1",
        aws_access_key_id=ObjectStorage.ACCESS_KEY,
        aws_secret_access_key="secret",
        presign=presign,
        use_blob_urls=True,
    )
    clip = MediaReader(settings).open_clip(SEQUENCE, project.project_id)
    assert len(clip) == len(small_drive.clip)
    points_m = clip.frames[0].load_sweep().points_m
    assert np.array_equal(points_m, small_drive.clip.frames[0].load_sweep().points_m, equal_nan=True)
    keys = [key for key in (storage.signed if presign else storage.authorized) if key]
    assert keys == ["drives/0001/sequence.json", "drives/0001/sweeps/000000.pcd"]
    with pytest.raises(MediaError):
        MediaReader(settings).open_clip("s3://recordings/drives/none", project.project_id)

    if presign:
        elsewhere = Settings(label_studio_url=label_studio.url, label_studio_api_key=label_studio.token)
        with pytest.raises(InputError, match="SAM4D_ALLOWED_HOSTS") as caught:
            MediaReader(elsewhere).open_clip(SEQUENCE, project.project_id)
        assert "Signature" not in str(caught.value)
