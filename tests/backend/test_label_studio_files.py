"""Label Studio's files and those of its storages, with either token; no token goes anywhere else."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from backend.allowed_hosts import AllowedHosts
from backend.errors import MediaError
from backend.label_studio_files import LabelStudioFiles, is_personal_access_token
from backend.web_files import WebFiles
from sam4d.structures import InputError
from tests.backend.file_server import LEGACY, PERSONAL, FileServer
from tests.backend.web_server import PUBLIC, Network, RawServer, always, answer, redirect

PROJECT = 7
URI = "s3://bucket/drives/a b/ä+?.bin"
SIGNED = "http://minio.example.com:9000/bucket/1.bin?X-Amz-Signature=0123"


def files(server: FileServer, key: str = LEGACY, size: int = 10**9) -> LabelStudioFiles:
    return LabelStudioFiles(server.url, key, WebFiles(AllowedHosts(), size))


def files_and_storage(server: FileServer, storage: RawServer, key: str = LEGACY) -> tuple[LabelStudioFiles, Network]:
    """Label Studio where it is, and MinIO at a private address."""
    port = int(server.url.rpartition(":")[2])
    network = Network({"minio.example.com": ["10.0.0.9"], "other.example.com": [PUBLIC]}, {"10.0.0.9": storage})
    connect = network.connect

    def connect_to_either(place: tuple[str, int], seconds: float) -> socket.socket:
        return socket.create_connection(place, seconds) if place == ("127.0.0.1", port) else connect(place, seconds)

    allowed = AllowedHosts.parse("private:minio.example.com:9000", "SAM4D_ALLOWED_HOSTS")
    return LabelStudioFiles(server.url, key, WebFiles(allowed, 1000, resolve=network.resolve, connect=connect_to_either)), network


def test_an_expired_bearer_token_is_renewed(file_server: FileServer) -> None:
    client = files(file_server, PERSONAL)
    client.read("drives/0001/sequence.json")
    file_server.bearer = "bearer-2"
    client.read("drives/0001/sequence.json")
    assert file_server.requests.count("refresh") == 2


def test_a_bearer_token_is_renewed_before_it_expires(file_server: FileServer) -> None:
    now = [0.0]
    client = LabelStudioFiles(file_server.url, PERSONAL, WebFiles(AllowedHosts(), 10**9), clock=lambda: now[0])
    client.read("drives/0001/sequence.json")
    now[0] = 250.0
    client.read("drives/0001/sequence.json")
    assert file_server.requests.count("refresh") == 2


@pytest.mark.parametrize("key", [LEGACY, PERSONAL])
def test_a_refused_token_is_said_without_the_token(key: str, file_server: FileServer) -> None:
    file_server.refuse = True
    with pytest.raises(MediaError, match="LABEL_STUDIO_API_KEY") as caught:
        files(file_server, key).read("drives/0001/sequence.json")
    assert key not in str(caught.value)


def test_what_file_server_lacks_or_sends_elsewhere_is_refused(file_server: FileServer) -> None:
    with pytest.raises(MediaError, match="404"):
        files(file_server).read("drives/none/sequence.json")
    with pytest.raises(MediaError, match="302"):
        files(file_server).read("moved")
    with pytest.raises(MediaError, match="at most 10 bytes"):
        files(file_server, size=10).read("drives/0001/sequence.json")


def test_an_unreachable_file_server_is_said(data_root: Path) -> None:
    with FileServer(data_root) as server:
        url = server.url
    with pytest.raises(MediaError, match=r"a server that can be reached.*refused"):
        LabelStudioFiles(url, LEGACY, WebFiles(AllowedHosts(), 100)).read("drives/0001/sequence.json")


def test_tokens_are_told_apart_by_their_shape() -> None:
    assert is_personal_access_token(PERSONAL)
    for other in (LEGACY, "a.b.c", "a.b", "", "bm8=.x.y"):
        assert not is_personal_access_token(other)


@pytest.mark.parametrize("key", [LEGACY, PERSONAL])
def test_label_studio_sends_a_file_of_a_storage_itself(key: str, file_server: FileServer) -> None:
    file_server.storage[PROJECT, URI] = b"content"
    assert files(file_server, key).read_from_storage(URI, PROJECT) == b"content"
    for project, uri in ((8, URI), (PROJECT, "s3://bucket/other")):
        with pytest.raises(MediaError, match=f"project {project}.*404"):
            files(file_server, key).read_from_storage(uri, project)


@pytest.mark.parametrize("key", [LEGACY, PERSONAL])
def test_the_storage_gets_the_signature_and_no_token(key: str, file_server: FileServer) -> None:
    file_server.storage[PROJECT, URI] = SIGNED
    with RawServer(always(answer(b"content"))) as storage:
        client, network = files_and_storage(file_server, storage, key)
        assert client.read_from_storage(URI, PROJECT) == b"content"
    assert network.connected == [("10.0.0.9", 9000)]
    assert storage.heads[0].startswith("GET /bucket/1.bin?X-Amz-Signature=0123 HTTP/1.1")
    for secret in ("authorization", LEGACY, PERSONAL, file_server.bearer, "cookie"):
        assert secret not in storage.heads[0].lower()


@pytest.mark.parametrize(
    "location",
    [
        "http://other.example.com/1.bin?X-Amz-Signature=0123",
        "http://minio.example.com/1.bin?X-Amz-Signature=0123",
        "http://127.0.0.1:9000/1.bin?X-Amz-Signature=0123",
        "http://169.254.169.254/latest/meta-data?X-Amz-Signature=0123",
        "ftp://minio.example.com:9000/1.bin?X-Amz-Signature=0123",
    ],
)
def test_storages_that_are_not_allowed(location: str, file_server: FileServer) -> None:
    file_server.storage[PROJECT, URI] = location
    with RawServer(always(answer(b"content"))) as storage:
        client, network = files_and_storage(file_server, storage)
        with pytest.raises(InputError) as caught:
            client.read_from_storage(URI, PROJECT)
    assert network.connected == []
    assert "0123" not in str(caught.value)


def test_a_storage_may_send_on_twice_and_fail(file_server: FileServer) -> None:
    file_server.storage[PROJECT, URI] = SIGNED
    for reply, expected in ((redirect(SIGNED), "at most 2 redirects"), (answer(status="403 Forbidden"), "status 403")):
        with RawServer(always(reply)) as storage:
            client, _ = files_and_storage(file_server, storage)
            with pytest.raises(MediaError, match=expected) as caught:
                client.read_from_storage(URI, PROJECT)
        assert "0123" not in str(caught.value)
    assert len(storage.heads) == 1


def test_a_login_page_is_no_storage(file_server: FileServer) -> None:
    file_server.storage[PROJECT, URI] = f"{file_server.url}/user/login/?next=/"
    with pytest.raises(MediaError, match="the token in LABEL_STUDIO_API_KEY is refused"):
        files(file_server).read_from_storage(URI, PROJECT)
