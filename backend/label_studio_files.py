"""Label Studio's files, over HTTP and with its token: local files, and those of its cloud storages."""

from __future__ import annotations

import base64
import binascii
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import quote

from backend.errors import MediaError
from backend.web_address import WebAddress
from backend.web_files import MOST_REDIRECTS, REDIRECTS, Answer, WebFiles

LOCAL_FILES_PATH = "/data/local-files/"
BEARER_SECONDS = 240.0
"""Label Studio's access tokens live 300 seconds; they are renewed before."""


@dataclass
class LabelStudioFiles:
    """Label Studio's files, with a legacy token or a personal access token. Safe to use from many threads.

    url: Label Studio's address, which may lie anywhere in the network: it is the operator's word. The token goes there and nowhere else.
    """

    url: str
    api_key: str = field(repr=False)
    web: WebFiles
    clock: Callable[[], float] = time.monotonic
    _bearer: tuple[float, str] | None = field(default=None, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def read(self, path: str) -> bytes:
        """The local file at a path below the local files' root.

        Raises:
            MediaError: unreachable, the token refused, no such file, too large.
        """
        answer = self._ask(f"{LOCAL_FILES_PATH}?d={quote(path)}", path)
        if answer.status == 404:
            raise MediaError(self.url, f"Label Studio to have {path} in a Local Files storage", "status 404")
        return self._body(answer, path)

    def read_from_storage(self, uri: str, project_id: int) -> bytes:
        """The file that an address such as s3://bucket/key means to a project's cloud storages.

        Label Studio sends it, or sends on to the storage, which must be one of the hosts that files may come from; it gets no token.

        Raises:
            InputError, MediaError: as `WebFiles.read` does; the token refused, no storage of the project that has this bucket.
        """
        encoded = base64.urlsafe_b64encode(uri.encode()).decode()
        request = f"/projects/{project_id}/resolve/?fileuri={encoded}"
        answer = self._ask(request, uri)
        if answer.status in REDIRECTS and answer.location is not None:
            storage = self._address(request).redirected(answer.location)
            # To the login is where a refused token leads.
            if "/user/login" not in storage.path:
                return self.web.read(storage, redirects=MOST_REDIRECTS - 1)
        if answer.status == 404:
            raise MediaError(self.url, f"a cloud storage with {uri} in project {project_id}, and a token of a member", "status 404")
        return self._body(answer, uri)

    def _body(self, answer: Answer, what: str) -> bytes:
        if answer.status in (401, 403, *REDIRECTS):
            found = f"status {answer.status}: the token in LABEL_STUDIO_API_KEY is refused"
            raise MediaError(self.url, f"Label Studio to send {what}", found)
        if answer.status != 200:
            raise MediaError(self.url, f"Label Studio to send {what}", f"status {answer.status}")
        return answer.body

    def _ask(self, request: str, what: str) -> Answer:
        try:
            answer = self.web.ask(self._address(request), headers={"Authorization": self._authorization(renew=False)})
            if answer.status == 401 and is_personal_access_token(self.api_key):
                answer = self.web.ask(self._address(request), headers={"Authorization": self._authorization(renew=True)})
            return answer
        except MediaError as error:
            raise MediaError(f"{self.url}, {what}", error.expected, error.found) from None

    def _address(self, request: str) -> WebAddress:
        return WebAddress.parse(f"{self.url}{request}", "LABEL_STUDIO_URL")

    def _authorization(self, renew: bool) -> str:
        if not is_personal_access_token(self.api_key):
            return f"Token {self.api_key}"
        with self._lock:
            if renew or self._bearer is None or self._bearer[0] <= self.clock():
                self._bearer = (self.clock() + BEARER_SECONDS, self._refresh())
            return f"Bearer {self._bearer[1]}"

    def _refresh(self) -> str:
        expected = "Label Studio to accept the personal access token in LABEL_STUDIO_API_KEY"
        answer = self.web.ask(
            self._address("/api/token/refresh/"),
            headers={"Content-Type": "application/json"},
            post=json.dumps({"refresh": self.api_key}).encode(),
        )
        if answer.status != 200:
            raise MediaError(self.url, expected, f"status {answer.status}")
        try:
            return str(json.loads(answer.body)["access"])
        except (ValueError, KeyError, TypeError, RecursionError):
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
