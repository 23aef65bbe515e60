"""The files a task names: below the shared data root, or from Label Studio itself, lazily, bounded, and from nowhere else."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import logging
import os
import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, quote, urlsplit

import requests

from backend.errors import MediaError
from backend.settings import Settings
from converters.sequences import read_sequence
from sam4d.structures import Clip, InputError

logger = logging.getLogger(__name__)

LOCAL_FILES_PATH = "/data/local-files/"
DESCRIPTION = "sequence.json"
CONNECT_SECONDS, READ_SECONDS = 5.0, 30.0
BEARER_SECONDS = 240.0
"""Label Studio's access tokens live 300 seconds; they are renewed before."""


def local_files_path(address: str, label_studio_url: str | None) -> PurePosixPath:
    """The path below the local files' root that a task's address of a sequence means; the folder, where it names sequence.json.

    Raises:
        InputError: another kind of address, another host, a path that leaves the root.
    """
    where = "sequence address of the task"
    expected = f"an address such as {LOCAL_FILES_PATH}?d=drives/0001"
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        home = urlsplit(label_studio_url or "")
        if label_studio_url is None or (parts.scheme, parts.netloc) != (home.scheme, home.netloc):
            raise InputError(where, f"{expected}, of this Label Studio", repr(address))
        path = parts.path.removeprefix(home.path)
    else:
        path = parts.path
    names = parse_qs(parts.query).get("d", [])
    if path.rstrip("/") != LOCAL_FILES_PATH.rstrip("/") or len(names) != 1 or not names[0]:
        raise InputError(where, expected, repr(address))
    relative = relative_path(names[0], where)
    return relative.parent if relative.name == DESCRIPTION else relative


def relative_path(text: str, where: str) -> PurePosixPath:
    """A path that stays below the folder it is relative to. Raises InputError where it does not."""
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts or "\\" in text or any(ord(letter) < 32 for letter in text):
        raise InputError(where, "a path below the root, without '..'", repr(text))
    return path


@dataclass(frozen=True)
class LocalFolder:
    """A folder below the data root; links that lead out of the root are refused."""

    root: Path
    folder: PurePosixPath
    file_bytes: int

    def has(self, name: str) -> bool:
        return self.root.joinpath(self.folder, name).is_file()

    def read(self, name: str) -> bytes:
        path = self.root.joinpath(self.folder, relative_path(name, f"file of {self.folder}"))
        where = str(self.folder / name)
        try:
            real = path.resolve(strict=True)
        except (OSError, RuntimeError):
            raise MediaError(where, "a file below the data root", "nothing") from None
        if not real.is_relative_to(self.root):
            raise MediaError(where, "a file below the data root", "a link that leads out of it")
        try:
            size = real.stat().st_size
            if size > self.file_bytes:
                raise MediaError(where, f"at most {self.file_bytes} bytes", f"{size}")
            return real.read_bytes()
        except OSError as error:
            raise MediaError(where, "a readable file", error.strerror or "an error") from None


@dataclass(frozen=True)
class RemoteFolder:
    """A folder of Label Studio's local files, fetched file by file.

    What is fetched is kept on disk under the description's digest, so that a sequence imported anew is fetched anew.
    """

    client: LabelStudioFiles
    cache: DiskCache
    folder: PurePosixPath
    version: str

    def read(self, name: str) -> bytes:
        path = str(self.folder / relative_path(name, f"file of {self.folder}"))
        key = hashlib.sha256(f"{self.client.url}\n{path}\n{self.version}".encode()).hexdigest()
        return self.cache.get(key, lambda: self.client.read(path))


@dataclass
class LabelStudioFiles:
    """Label Studio's local files over HTTP, with a legacy token or a personal access token. Safe to use from many threads."""

    url: str
    api_key: str = field(repr=False)
    file_bytes: int
    clock: Callable[[], float] = time.monotonic
    _bearer: tuple[float, str] | None = field(default=None, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def read(self, path: str) -> bytes:
        """The file at a path below the local files' root.

        Raises:
            MediaError: unreachable, the token refused, no such file, too large.
        """
        address = f"{self.url}{LOCAL_FILES_PATH}?d={quote(path)}"
        for attempt in (1, 2):
            headers = {"Authorization": self._authorization(renew=attempt == 2)}
            try:
                # A redirect would be the login page, or would carry the token elsewhere: neither is followed.
                with requests.get(
                    address, headers=headers, timeout=(CONNECT_SECONDS, READ_SECONDS), stream=True, allow_redirects=False
                ) as response:
                    if response.status_code == 401 and attempt == 1 and is_personal_access_token(self.api_key):
                        continue
                    self._check(response, path)
                    return self._body(response, path)
            except requests.RequestException as error:
                raise MediaError(self.url, f"Label Studio to send {path}", type(error).__name__) from None
        raise AssertionError("unreachable")

    def _check(self, response: requests.Response, path: str) -> None:
        if response.status_code in (401, 403) or 300 <= response.status_code < 400:
            found = f"status {response.status_code}: the token in LABEL_STUDIO_API_KEY is refused"
            raise MediaError(self.url, f"Label Studio to send {path}", found)
        if response.status_code == 404:
            raise MediaError(self.url, f"Label Studio to have {path} in a Local Files storage", "status 404")
        if response.status_code != 200:
            raise MediaError(self.url, f"Label Studio to send {path}", f"status {response.status_code}")

    def _body(self, response: requests.Response, path: str) -> bytes:
        chunks, size = [], 0
        deadline = self.clock() + 10 * READ_SECONDS
        for chunk in response.iter_content(1 << 20):
            size += len(chunk)
            if size > self.file_bytes:
                raise MediaError(f"{self.url}, {path}", f"at most {self.file_bytes} bytes", "more")
            if self.clock() > deadline:
                raise MediaError(f"{self.url}, {path}", f"the file within {10 * READ_SECONDS:g} seconds", f"{size} bytes of it")
            chunks.append(chunk)
        return b"".join(chunks)

    def _authorization(self, renew: bool) -> str:
        if not is_personal_access_token(self.api_key):
            return f"Token {self.api_key}"
        with self._lock:
            if renew or self._bearer is None or self._bearer[0] <= self.clock():
                self._bearer = (self.clock() + BEARER_SECONDS, self._refresh())
            return f"Bearer {self._bearer[1]}"

    def _refresh(self) -> str:
        expected = "Label Studio to accept the personal access token in LABEL_STUDIO_API_KEY"
        try:
            response = requests.post(
                f"{self.url}/api/token/refresh/",
                json={"refresh": self.api_key},
                timeout=(CONNECT_SECONDS, READ_SECONDS),
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise MediaError(self.url, expected, type(error).__name__) from None
        if response.status_code != 200:
            raise MediaError(self.url, expected, f"status {response.status_code}")
        try:
            return str(response.json()["access"])
        except (ValueError, KeyError, TypeError):
            raise MediaError(self.url, expected, "an answer without an access token") from None


def is_personal_access_token(api_key: str) -> bool:
    """Whether the key has the shape of a JWT, as Label Studio's personal access tokens have."""
    parts = api_key.split(".")
    if len(parts) != 3:
        return False
    try:
        header = json.loads(base64.urlsafe_b64decode(parts[0] + "=" * (-len(parts[0]) % 4)))
    except (binascii.Error, ValueError):
        return False
    return isinstance(header, dict) and "alg" in header


class DiskCache:
    """Downloaded files in one folder, the least recently used ones deleted when they take too much. Safe to use from many threads."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self.folder = folder
        self._most_bytes = most_bytes
        self._lock = threading.Lock()

    def get(self, key: str, fetch: Callable[[], bytes]) -> bytes:
        path = self.folder / key
        try:
            content = path.read_bytes()
            os.utime(path)
            return content
        except OSError:
            content = fetch()
        with self._lock:
            self._put(path, content)
        return content

    def _put(self, path: Path, content: bytes) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, temporary = tempfile.mkstemp(dir=self.folder, prefix=".new-")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(content)
                Path(temporary).replace(path)
            except BaseException:
                # What is half written would take the little that is left, and no bound counts it.
                Path(temporary).unlink(missing_ok=True)
                raise
            self._make_room()
        except OSError as error:
            # A full disk costs speed, not the answer.
            logger.warning("a downloaded file is not kept: %s", error)

    def _make_room(self) -> None:
        files = [(entry, entry.stat()) for entry in self.folder.iterdir() if not entry.name.startswith(".")]
        total = sum(status.st_size for _, status in files)
        for entry, status in sorted(files, key=lambda item: item[1].st_mtime_ns):
            if total <= self._most_bytes:
                return
            entry.unlink(missing_ok=True)
            total -= status.st_size


class MediaReader:
    """Opens the sequences that tasks name. Safe to use from many threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        if settings.model_dir:
            self._cache = DiskCache(settings.model_dir / "downloads", settings.cache_bytes)
        else:
            self._cache = DiskCache(Path(tempfile.mkdtemp(prefix="sam4d-")), settings.cache_bytes)
            # Clips may be read longer than this reader lives.
            weakref.finalize(self._cache, shutil.rmtree, self._cache.folder, ignore_errors=True)
        self._client = None
        if settings.label_studio_url and settings.label_studio_api_key:
            self._client = LabelStudioFiles(settings.label_studio_url, settings.label_studio_api_key, settings.file_bytes)

    def open_clip(self, address: str) -> Clip:
        """The whole sequence at a task's address; sweeps and images are read when they are asked for.

        Raises:
            InputError: another kind of address, a path that leaves the root, a sequence that is not right.
            MediaError: the files cannot be had.
        """
        folder = local_files_path(address, self._settings.label_studio_url)
        root = self._settings.data_root
        if root is not None:
            local = LocalFolder(root.resolve(), folder, self._settings.file_bytes)
            if local.has(DESCRIPTION):
                return read_sequence(local.read, str(folder))
        if self._client is None:
            missing = "SAM4D_DATA_ROOT" if root is None else "LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY"
            found = f"no {DESCRIPTION} there and no {missing} to look elsewhere"
            raise MediaError(str(folder), "a sequence below the data root, or an address and token of Label Studio", found)
        description = self._client.read(str(folder / DESCRIPTION))
        remote = RemoteFolder(self._client, self._cache, folder, hashlib.sha256(description).hexdigest())
        return read_sequence(lambda name: description if name == DESCRIPTION else remote.read(name), f"{self._client.url}, {folder}")
