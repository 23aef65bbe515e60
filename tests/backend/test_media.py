"""Files come from below the data root or from Label Studio, and from nowhere else."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from backend.errors import MediaError
from backend.label_studio_files import LabelStudioFiles, is_personal_access_token, local_files_path
from backend.media import MediaReader
from backend.settings import Settings
from sam4d.simulation import SyntheticDrive
from sam4d.structures import InputError
from tests.backend.conftest import SEQUENCE

LEGACY = "0123456789abcdef0123456789abcdef01234567"
PERSONAL = ".".join(
    base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (b'{"alg":"HS256","typ":"JWT"}', b'{"sub":1}', b"signature")
)


class FileServer:
    """Speaks Label Studio's side of the conversation: local files for a token, bearer tokens that expire on command."""

    def __init__(self, root: Path) -> None:
        self.requests: list[str] = []
        self.bearer = "bearer-1"
        self.refuse = False
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.path == "/api/token/refresh/" and body == {"refresh": PERSONAL} and not owner.refuse:
                    owner.requests.append("refresh")
                    self._answer(200, json.dumps({"access": owner.bearer}).encode())
                else:
                    self._answer(401, b"{}")

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                path = parse_qs(parts.query).get("d", [""])[0]
                owner.requests.append(path)
                if self.headers.get("Authorization") not in (f"Token {LEGACY}", f"Bearer {owner.bearer}") or owner.refuse:
                    self._answer(401, b"{}")
                elif path == "moved":
                    self.send_response(302)
                    self.send_header("Location", "http://127.0.0.1:1/elsewhere")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                elif not (root / path).is_file():
                    self._answer(404, b"")
                else:
                    self._answer(200, (root / path).read_bytes())

            def _answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever)

    def __enter__(self) -> FileServer:
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def label_studio(data_root: Path) -> Iterator[FileServer]:
    with FileServer(data_root) as server:
        yield server


def files(server: FileServer, key: str = LEGACY, size: int = 10**9) -> LabelStudioFiles:
    return LabelStudioFiles(server.url, key, size)


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
        "s3://bucket/drive",
        "",
    ],
)
def test_no_address_leads_out(address: str, data_root: Path, label_studio: FileServer) -> None:
    reader = MediaReader(Settings(data_root=data_root, label_studio_url=label_studio.url, label_studio_api_key=LEGACY))
    with pytest.raises(InputError):
        reader.open_clip(address)
    assert label_studio.requests == []


def test_own_address_with_a_prefix_is_accepted() -> None:
    path = local_files_path("https://host/studio/data/local-files/?d=a%20b/c", "https://host/studio")
    assert str(path) == "a b/c"


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
def test_label_studio_sends_files_once_for_either_token(key: str, label_studio: FileServer, tmp_path: Path) -> None:
    settings = Settings(label_studio_url=label_studio.url, label_studio_api_key=key, model_dir=tmp_path)
    clip = MediaReader(settings).open_clip(SEQUENCE)
    assert [path for path in label_studio.requests if path != "refresh"] == ["drives/0001/sequence.json"]
    points_m = clip.frames[0].load_sweep().points_m
    count = len(label_studio.requests)
    assert np.array_equal(clip.frames[0].load_sweep().points_m, points_m, equal_nan=True)
    assert len(label_studio.requests) == count, "the second time it comes from the disk"
    assert label_studio.requests.count("refresh") == (1 if key == PERSONAL else 0)


def test_an_expired_bearer_token_is_renewed(label_studio: FileServer) -> None:
    client = files(label_studio, PERSONAL)
    client.read("drives/0001/sequence.json")
    label_studio.bearer = "bearer-2"
    client.read("drives/0001/sequence.json")
    assert label_studio.requests.count("refresh") == 2


def test_a_bearer_token_is_renewed_before_it_expires(label_studio: FileServer) -> None:
    now = [0.0]
    client = LabelStudioFiles(label_studio.url, PERSONAL, 10**9, clock=lambda: now[0])
    client.read("drives/0001/sequence.json")
    now[0] = 250.0
    client.read("drives/0001/sequence.json")
    assert label_studio.requests.count("refresh") == 2


@pytest.mark.parametrize("key", [LEGACY, PERSONAL])
def test_a_refused_token_is_said_without_the_token(key: str, label_studio: FileServer) -> None:
    label_studio.refuse = True
    with pytest.raises(MediaError, match="LABEL_STUDIO_API_KEY") as caught:
        files(label_studio, key).read("drives/0001/sequence.json")
    assert key not in str(caught.value)


def test_what_label_studio_lacks_or_sends_elsewhere_is_refused(label_studio: FileServer) -> None:
    with pytest.raises(MediaError, match="404"):
        files(label_studio).read("drives/none/sequence.json")
    with pytest.raises(MediaError, match="302"):
        files(label_studio).read("moved")
    with pytest.raises(MediaError, match="at most 10 bytes"):
        files(label_studio, size=10).read("drives/0001/sequence.json")


def test_an_unreachable_label_studio_is_said(data_root: Path) -> None:
    with FileServer(data_root) as server:
        url = server.url
    with pytest.raises(MediaError, match="ConnectionError"):
        LabelStudioFiles(url, LEGACY, 10**9).read("drives/0001/sequence.json")


def test_tokens_are_told_apart_by_their_shape() -> None:
    assert is_personal_access_token(PERSONAL)
    for other in (LEGACY, "a.b.c", "a.b", "", "bm8=.x.y"):
        assert not is_personal_access_token(other)
