"""Label Studio's local files, over HTTP and with its token."""

from __future__ import annotations

import base64
import binascii
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from urllib.parse import parse_qs, quote, urlsplit

import requests

from backend.errors import MediaError
from backend.local_folder import relative_path
from converters.sequences.sequence_folder import SEQUENCE_FILE
from sam4d.structures import InputError

LOCAL_FILES_PATH = "/data/local-files/"
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
    return relative.parent if relative.name == SEQUENCE_FILE else relative


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
