"""Drives that stay in a bucket: imported, pre-annotated, clicked and exported through a real Label Studio."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from xml.etree.ElementTree import fromstring

import pytest
import requests

from backend.cli import main
from backend.embedded import free_port, running_backend
from backend.label_studio import LabelStudioClient, LabelStudioError
from backend.media import MediaReader
from backend.projects import UNCONFIGURED, Buckets, ImportInterrupted, WithLabels
from backend.s3_access import S3Access
from backend.settings import Settings
from converters.exports import write_sequence
from converters.sequences import open_sequence, read_masklets
from converters.tasks import parse_task_data
from sam4d.predictor import build_predictor
from sam4d.simulation import SyntheticDrive
from sam4d.structures import InputError
from tests.backend.conftest import Project
from tests.backend.file_server import ObjectStorage
from tests.backend.projects.importing import Import, below
from tests.label_studio_server import LabelStudioServer

pytestmark = [pytest.mark.xdist_group("label-studio"), pytest.mark.slow]

DRIVE = "s3://recordings/drives/0001"
SECRET = "a-secret-that-nobody-repeats"


@pytest.fixture
def storage(tmp_path: Path, small_drive: SyntheticDrive) -> Iterator[ObjectStorage]:
    """The small drive in a bucket; the front camera has no image on frame 0, and the left one's key has an equals sign on frame 1."""
    frames = list(small_drive.clip.frames)
    frames[0] = replace(frames[0], load_images={name: load for name, load in frames[0].load_images.items() if name != "front"})
    folder = tmp_path / "bucket" / "drives" / "0001"
    write_sequence(replace(small_drive.clip, frames=tuple(frames)), folder)
    plain = next((folder / "images" / "front_left").glob("*1.*"))
    odd = plain.with_name(f"frame=1{plain.suffix}")
    plain.rename(odd)
    description = folder / "sequence.json"
    description.write_text(description.read_text().replace(f"front_left/{plain.name}", f"front_left/{odd.name}"))
    with ObjectStorage("recordings", tmp_path / "bucket") as storage:
        yield storage


@pytest.fixture
def settings(label_studio: LabelStudioServer, storage: ObjectStorage) -> Settings:
    return Settings(
        data_root=label_studio.data_root,
        label_studio_url=label_studio.url,
        label_studio_api_key=label_studio.token,
        s3=S3Access(storage.url, None, ObjectStorage.ACCESS_KEY, SECRET),
    )


@pytest.fixture
def buckets(settings: Settings) -> Buckets:
    return Buckets(settings.s3, MediaReader(settings).open_clip)


@pytest.mark.timeout(900)
def test_from_the_bucket_to_labels(
    label_studio: LabelStudioServer,
    client: LabelStudioClient,
    data_root: Path,
    storage: ObjectStorage,
    small_drive: SyntheticDrive,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """The commands of a person, the requests of a browser."""
    page = tmp_path / "viewer.html"
    page.write_text("<!doctype html><title>3D</title>")
    monkeypatch.setattr("backend.projects.place_viewer.__defaults__", (page,))
    reads = {
        "SAM4D_DATA_ROOT": str(data_root),
        "LABEL_STUDIO_URL": label_studio.url,
        "LABEL_STUDIO_API_KEY": label_studio.token,
        "SAM4D_INTERACTIVE_SECONDS": "60",
    }
    with running_backend(label_studio.workplace, reads, free_port(0, "port")) as (_, url):
        writes = {
            "SAM4D_S3_ENDPOINT": storage.url,
            "SAM4D_S3_ACCESS_KEY_ID": ObjectStorage.ACCESS_KEY,
            "SAM4D_S3_SECRET_ACCESS_KEY": SECRET,
        }
        for name, value in {**reads, **writes, "SAM4D_BACKEND_URL": url}.items():
            monkeypatch.setenv(name, value)
        assert main(["import", DRIVE, "--project", "in a bucket", "--frames-per-task", "3", "--overlap", "2", "--range", "40"]) == 0
        project = client.get_project("in a bucket")
        try:
            see(label_studio, client, project.project_id, small_drive)
            assert main(["preannotate", "in a bucket"]) == 0
            first, second = client.tasks(project)
            assert all(client.labelled_task(task).predictions for task in (first, second))

            session = requests.Session()
            session.headers["Authorization"] = f"Token {label_studio.token}"
            (backend,) = label_studio.client.ml.list(project=project.project_id)
            clicked = Project(small_drive, data_root)
            context = clicked.click_on(clicked.visible(1), frame_index=1)
            # the second task begins with frame 1
            context["result"][0]["item_index"] = 0
            wanted = {"task": second.task_id, "context": context}
            answer = session.post(f"{label_studio.url}/api/ml/{backend.id}/interactive-annotating", json=wanted, timeout=120)
            assert answer.status_code == 200, answer.text
            result = answer.json()["data"]["result"]
            assert {region["item_index"] for region in result} == {0, 1, 2}
            client.add_annotation(second.task_id, result)

            assert main(["export", "in a bucket", "--format", "sequence", "--output", str(tmp_path / "out")]) == 0
            (folder,) = (tmp_path / "out").iterdir()
            assert folder.name == small_drive.clip.name
            (exported,) = read_masklets(folder, open_sequence(storage.folder / "drives" / "0001"))
            assert set(exported.masks) == {1, 2, 3}
            assert exported.masks[1].camera_masks["front"].any()
            assert main(["doctor", "--project", "in a bucket"]) == 0
        finally:
            client.delete_project(project)
    said = "".join(capsys.readouterr())
    assert "TROUBLE" not in said
    assert "2 new tasks of 2" in said
    log = label_studio.workplace.logs / "backend.log"
    assert SECRET not in said + log.read_text()


def see(label_studio: LabelStudioServer, client: LabelStudioClient, project_id: int, drive: SyntheticDrive) -> None:
    """All that a browser asks for is there, at Label Studio's own origin."""
    session = requests.Session()
    session.headers["Authorization"] = f"Token {label_studio.token}"

    def fetched(address: str) -> bytes:
        answer = session.get(address if address.startswith("http") else label_studio.url + address, allow_redirects=False, timeout=60)
        assert answer.status_code == 200, address
        return answer.content

    first, second = client.tasks(client.get_project("in a bucket"))
    assert parse_task_data(first.data).sequence == DRIVE
    assert first.data["front"][0].startswith("/data/local-files/?d=derived-s3/"), "what stands for an image that is not there"
    assert all(address.startswith(f"{DRIVE}/images/front/") for address in first.data["front"][1:])
    assert [address.startswith(DRIVE) for address in first.data["front_left"]] == [True, False, True]
    shown = session.get(f"{label_studio.url}/api/tasks/{first.task_id}", timeout=60).json()["data"]
    images = [fetched(address) for camera in ("front", "front_left", "bev") for address in shown[camera]]
    assert len(images) == 9
    assert all(image.startswith(b"\x89PNG") for image in images)

    frame = fromstring(second.data["viewer_html"])
    query = parse_qs(urlsplit(frame.attrib["src"]).query)
    assert fetched(frame.attrib["src"]).startswith(b"<!doctype html>")
    described = session.get(label_studio.url + query["clip"][0], timeout=60).json()["frames"]
    assert sorted(described[0]["images"]) == ["front_left"]
    for address in [*described[1]["images"].values(), described[1]["cloud"]]:
        assert address.startswith("/"), "of Label Studio's origin"
        assert fetched(address)
    (storage,) = label_studio.client.import_storage.s3.list(project=project_id)
    assert (storage.bucket, storage.presign) == ("recordings", False)


def test_the_same_again_adds_nothing_and_uses_the_storage_that_is_there(
    import_into: Import, client: LabelStudioClient, label_studio: LabelStudioServer, storage: ObjectStorage, buckets: Buckets
) -> None:
    project, (imported,) = import_into("again from a bucket", DRIVE, buckets=buckets)
    assert (imported.address, imported.new_tasks) == (DRIVE, 2)
    tasks = client.tasks(project)
    without_key = replace(buckets, access=S3Access())
    again, (imported,) = import_into("again from a bucket", f"{DRIVE}/sequence.json", buckets=without_key)
    assert (again, imported.new_tasks, client.tasks(project)) == (project, 0, tasks)
    assert len(list(label_studio.client.import_storage.s3.list(project=project.project_id))) == 1


def test_what_cannot_be_imported_leaves_nothing(
    import_into: Import,
    client: LabelStudioClient,
    label_studio: LabelStudioServer,
    storage: ObjectStorage,
    buckets: Buckets,
    recording: Path,
    data_root: Path,
    tmp_path: Path,
) -> None:
    before = below(data_root)
    stranger = replace(buckets, access=replace(buckets.access, access_key_id="another-key"))
    with pytest.raises(LabelStudioError, match=r"the S3 storage of bucket recordings: expected a bucket that .* can read") as caught:
        import_into("refused", DRIVE, buckets=stranger)
    assert SECRET not in str(caught.value)
    with pytest.raises(InputError, match=r"s3://recordings/drives/none/sequence\.json"):
        import_into("refused", "s3://recordings/drives/none", buckets=buckets)
    with pytest.raises(InputError, match=r"expected a folder of this machine"):
        import_into("refused", DRIVE, buckets=buckets, with_labels=WithLabels(build_predictor(), 100))
    sweep = tmp_path / "bucket/drives/0001/sweeps/000003.pcd"
    sweep.write_bytes(sweep.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"000003\.pcd"):
        import_into("refused", DRIVE, buckets=buckets)
    assert client.find_project("refused") is None

    project, _ = import_into("refused", recording)
    there = below(data_root)
    with pytest.raises(InputError, match=r"000003\.pcd"):
        import_into("refused", DRIVE, buckets=buckets)
    assert not list(label_studio.client.import_storage.s3.list(project=project.project_id))
    assert below(data_root) == there
    assert len(there) > len(before)


def test_an_import_that_is_interrupted_while_it_reads_goes_on(
    import_into: Import, client: LabelStudioClient, storage: ObjectStorage, buckets: Buckets
) -> None:
    def interrupt(step: str, done: int, total: int) -> None:
        if step.startswith("reading") and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(ImportInterrupted):
        import_into("begun", DRIVE, buckets=buckets, progress=interrupt)
    begun = client.get_project("begun")
    assert (begun.label_config, client.tasks(begun)) == (UNCONFIGURED, [])
    project, (imported,) = import_into("begun", DRIVE, buckets=buckets)
    assert (project.project_id, imported.new_tasks) == (begun.project_id, 2)
    assert "Image" in client.get_project("begun").label_config
