"""A task's address becomes a clip, whichever of the places it means where files may come from, and from nowhere else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from backend.allowed_hosts import AllowedHosts
from backend.errors import MediaError
from backend.media import MediaReader
from backend.settings import Settings
from backend.web_files import WebFiles
from sam4d.simulation import SyntheticDrive
from sam4d.structures import InputError
from tests.backend.conftest import SEQUENCE
from tests.backend.file_server import LEGACY, PERSONAL, FileServer
from tests.backend.web_server import PUBLIC, Network, RawServer, files_below


def test_a_sequence_below_the_data_root_opens(data_root: Path, small_drive: SyntheticDrive) -> None:
    for address in (SEQUENCE, SEQUENCE + "/sequence.json", SEQUENCE + "/"):
        clip = MediaReader(Settings(data_root=data_root)).open_clip(address)
        assert len(clip) == len(small_drive.clip)
        assert set(clip.cameras) == set(small_drive.clip.cameras)
        assert np.allclose(clip.frames[0].load_sweep().points_m, small_drive.clip.frames[0].load_sweep().points_m, equal_nan=True)


@pytest.mark.parametrize(
    "address",
    [
        "/data/local-files/?d=../secrets",
        "/data/local-files/?d=drives/../../secrets",
        "/data/local-files/?d=/etc",
        "/data/local-files/?d=..%2F..%2Fetc",
        "/data/local-files/?d=drives%5C..%5C..%5Cetc",
        "/data/local-files/?d=drives%00",
        "/data/local-files/?d=",
        "/data/local-files/?d=a&d=b",
        "/data/upload/1/sequence.json",
        "file:///etc/passwd",
        "http://169.254.169.254/latest/meta-data",
        "http://127.0.0.1:1/data/local-files/?d=drives/0001",
        "//evil.example.com/data/local-files/?d=drives/0001",
        "http://files.example.com/drives/0001/",
        "http://[",
        "//[/data/local-files/",
        "s3://bucket",
        "s3://bucket/",
        "s3:///drive",
        "s3://bucket/a/../../b",
        "s3://bucket/a\\b",
        "s3://bucket/a?X-Amz-Signature=0123",
        "s3://bucket@127.0.0.1/a",
        "S3://bucket/drive",
        "gs://bucket/drive",
        "",
    ],
)
def test_no_address_leads_out(address: str, data_root: Path, file_server: FileServer) -> None:
    reader = MediaReader(Settings(data_root=data_root, label_studio_url=file_server.url, label_studio_api_key=LEGACY))
    with pytest.raises(InputError) as caught:
        reader.open_clip(address, project_id=7)
    assert "0123" not in str(caught.value)
    assert file_server.requests == []


def test_links_out_of_the_data_root_are_refused(tmp_path: Path, data_root: Path) -> None:
    root = tmp_path / "root"
    (root / "drives").mkdir(parents=True)
    (root / "drives" / "linked").symlink_to(data_root / "drives" / "0001", target_is_directory=True)
    with pytest.raises(MediaError, match="a link that leads out of it"):
        MediaReader(Settings(data_root=root)).open_clip("/data/local-files/?d=drives/linked")


def test_a_description_cannot_point_out_of_its_folder(tmp_path: Path, data_root: Path) -> None:
    folder = tmp_path / "root" / "drive"
    folder.mkdir(parents=True)
    (tmp_path / "secret.pcd").write_bytes((data_root / "drives/0001/sweeps/000000.pcd").read_bytes())
    description = json.loads((data_root / "drives/0001/sequence.json").read_text())
    description["frames"] = description["frames"][:1]
    description["frames"][0].update(sweep="../../secret.pcd", images={})
    (folder / "sequence.json").write_text(json.dumps(description))
    with pytest.raises(InputError):
        MediaReader(Settings(data_root=tmp_path / "root")).open_clip("/data/local-files/?d=drive").frames[0].load_sweep()


def test_files_too_large_are_refused(data_root: Path) -> None:
    with pytest.raises(InputError, match="at most 100 bytes"):
        MediaReader(Settings(data_root=data_root, file_bytes=100)).open_clip(SEQUENCE)


def test_neither_root_nor_address_is_one_clear_line() -> None:
    with pytest.raises(MediaError, match="SAM4D_DATA_ROOT"):
        MediaReader(Settings()).open_clip(SEQUENCE)


@pytest.mark.parametrize("key", [LEGACY, PERSONAL])
def test_label_studio_sends_files_once_for_either_token(key: str, file_server: FileServer, tmp_path: Path) -> None:
    settings = Settings(label_studio_url=file_server.url, label_studio_api_key=key, model_dir=tmp_path)
    clip = MediaReader(settings).open_clip(SEQUENCE)
    assert [path for path in file_server.requests if path != "refresh"] == ["drives/0001/sequence.json"]
    points_m = clip.frames[0].load_sweep().points_m
    count = len(file_server.requests)
    assert np.array_equal(clip.frames[0].load_sweep().points_m, points_m, equal_nan=True)
    assert len(file_server.requests) == count, "the second time it comes from the disk"
    assert file_server.requests.count("refresh") == (1 if key == PERSONAL else 0)


def test_a_drive_on_a_web_server_opens_and_is_kept(data_root: Path, small_drive: SyntheticDrive, tmp_path: Path) -> None:
    with RawServer(files_below(data_root)) as server:
        network = Network({"files.example.com": [PUBLIC]}, {PUBLIC: server})
        web = WebFiles(AllowedHosts.parse("files.example.com", "hosts"), 10**9, resolve=network.resolve, connect=network.connect)
        reader = MediaReader(Settings(model_dir=tmp_path), web)
        for ending in ("", "/", "/sequence.json"):
            clip = reader.open_clip(f"http://files.example.com/drives/0001{ending}")
            assert len(clip) == len(small_drive.clip)
            assert np.array_equal(clip.frames[0].load_sweep().points_m, small_drive.clip.frames[0].load_sweep().points_m, equal_nan=True)
            assert clip.frames[1].load_images["front"]().shape[2] == 3
    targets = [head.split(" ")[1] for head in server.heads]
    # The description is asked for anew each time; what it names comes from the disk.
    assert targets.count("/drives/0001/sequence.json") == 3
    assert len(targets) == 5
    assert all(target.startswith("/drives/0001/") for target in targets)


def test_drives_of_one_description_keep_their_own_files(data_root: Path, tmp_path: Path) -> None:
    for name in ("1", "2"):
        shutil.copytree(data_root / "drives" / "0001", tmp_path / "served" / name)
    shutil.copy(tmp_path / "served/2/sweeps/000001.pcd", tmp_path / "served/2/sweeps/000000.pcd")
    with RawServer(files_below(tmp_path / "served")) as server:
        network = Network({"files.example.com": [PUBLIC]}, {PUBLIC: server})
        web = WebFiles(AllowedHosts.parse("files.example.com", "hosts"), 10**9, resolve=network.resolve, connect=network.connect)
        reader = MediaReader(Settings(model_dir=tmp_path), web)
        first, second = (reader.open_clip(f"http://files.example.com/{name}") for name in ("1", "2"))
        assert np.array_equal(first.frames[1].load_sweep().points_m, second.frames[0].load_sweep().points_m, equal_nan=True)
        assert not np.array_equal(first.frames[0].load_sweep().points_m, second.frames[0].load_sweep().points_m, equal_nan=True)


def test_a_drive_in_a_bucket_opens_with_its_project_alone(file_server: FileServer, data_root: Path, tmp_path: Path) -> None:
    folder = data_root / "drives" / "0001"
    for file in folder.rglob("*.*"):
        file_server.storage[7, f"s3://bucket/recorded/0001/{file.relative_to(folder).as_posix()}"] = file.read_bytes()
    settings = Settings(label_studio_url=file_server.url, label_studio_api_key=LEGACY, model_dir=tmp_path)
    reader = MediaReader(settings)
    for ending in ("", "/", "/sequence.json"):
        clip = reader.open_clip(f"s3://bucket/recorded/0001{ending}", project_id=7)
        assert len(clip.frames[0].load_sweep()) > 0
    assert len(file_server.requests) == 4
    with pytest.raises(MediaError, match="project 8"):
        reader.open_clip("s3://bucket/recorded/0001", project_id=8)
    with pytest.raises(MediaError, match="the number of a project"):
        reader.open_clip("s3://bucket/recorded/0001")
    with pytest.raises(MediaError, match="LABEL_STUDIO_URL"):
        MediaReader(Settings(model_dir=tmp_path)).open_clip("s3://bucket/recorded/0001", project_id=7)


@pytest.mark.parametrize("name", ["../../secret.pcd", "/secret.pcd", "a\\..\\b", "http://elsewhere.example.com/a"])
def test_a_description_from_the_web_names_files_beside_it(name: str, data_root: Path, tmp_path: Path) -> None:
    description = json.loads((data_root / "drives/0001/sequence.json").read_text())
    description["frames"] = [{**description["frames"][0], "sweep": name, "images": {}}]
    (tmp_path / "drive").mkdir()
    (tmp_path / "drive" / "sequence.json").write_text(json.dumps(description))
    with RawServer(files_below(tmp_path)) as server:
        network = Network({"files.example.com": [PUBLIC]}, {PUBLIC: server})
        web = WebFiles(AllowedHosts.parse("files.example.com", "hosts"), 10**9, resolve=network.resolve, connect=network.connect)
        with pytest.raises(InputError):
            MediaReader(Settings(), web).open_clip("http://files.example.com/drive").frames[0].load_sweep()
    assert len(server.heads) == 1


def test_a_drive_at_the_root_of_a_web_server(tmp_path: Path) -> None:
    (tmp_path / "sequence.json").write_text("{}")
    with RawServer(files_below(tmp_path)) as server:
        network = Network({"files.example.com": [PUBLIC]}, {PUBLIC: server})
        web = WebFiles(AllowedHosts.parse("files.example.com", "hosts"), 10**9, resolve=network.resolve, connect=network.connect)
        with pytest.raises(InputError, match=r"^http://files\.example\.com/sequence\.json\b"):
            MediaReader(Settings(), web).open_clip("http://files.example.com/")


def test_files_of_a_web_server_that_are_too_large(data_root: Path) -> None:
    with RawServer(files_below(data_root)) as server:
        network = Network({"files.example.com": [PUBLIC]}, {PUBLIC: server})
        web = WebFiles(AllowedHosts.parse("files.example.com", "hosts"), 100, resolve=network.resolve, connect=network.connect)
        with pytest.raises(MediaError, match="at most 100 bytes"):
            MediaReader(Settings(), web).open_clip("http://files.example.com/drives/0001")
