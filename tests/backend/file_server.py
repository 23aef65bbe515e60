"""Servers that give files as Label Studio and as object storages do."""

from __future__ import annotations

import base64
import json
import re
import threading
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

ServerT = TypeVar("ServerT", bound="LoopbackServer")

LEGACY = "0123456789abcdef0123456789abcdef01234567"
PERSONAL = ".".join(
    base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (b'{"alg":"HS256","typ":"JWT"}', b'{"sub":1}', b"signature")
)


@dataclass(frozen=True)
class Reply:
    """An answer. location: where a redirect leads to."""

    status: int
    body: bytes = b""
    location: str | None = None


class LoopbackServer:
    """Answers on a port of 127.0.0.1 for the duration of a block, as `get` and `post` say."""

    def __init__(self) -> None:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._send(owner.get(self.path, self.headers))

            do_HEAD = do_GET

            def do_POST(self) -> None:
                self._send(owner.post(self.path, self.rfile.read(int(self.headers["Content-Length"]))))

            def _send(self, reply: Reply) -> None:
                self.send_response(reply.status)
                if reply.location is not None:
                    self.send_header("Location", reply.location)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(reply.body)

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.place = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"http://{self.place}"
        self._thread = threading.Thread(target=self._server.serve_forever)

    def get(self, target: str, headers: Message) -> Reply:
        return Reply(404)

    def post(self, target: str, body: bytes) -> Reply:
        return Reply(404)

    def __enter__(self: ServerT) -> ServerT:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class FileServer(LoopbackServer):
    """Speaks Label Studio's side of the conversation: local files for a token, bearer tokens that expire on command, cloud storages.

    storage: by project and address, a file's bytes, or where Label Studio sends on to.
    """

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root
        self.requests: list[str] = []
        self.bearer = "bearer-1"
        self.refuse = False
        self.storage: dict[tuple[int, str], bytes | str] = {}

    def get(self, target: str, headers: Message) -> Reply:
        parts = urlsplit(target)
        stored = None
        path = parse_qs(parts.query).get("d", [""])[0]
        resolve = re.fullmatch(r"/projects/(\d+)/resolve/", parts.path)
        if resolve is not None:
            path = base64.urlsafe_b64decode(parse_qs(parts.query)["fileuri"][0]).decode()
            stored = self.storage.get((int(resolve[1]), path))
        self.requests.append(path)
        if headers.get("Authorization") not in (f"Token {LEGACY}", f"Bearer {self.bearer}") or self.refuse:
            return Reply(401, b"{}")
        if stored is not None:
            return Reply(303, location=stored) if isinstance(stored, str) else Reply(200, stored)
        if path == "moved":
            return Reply(302, location="http://127.0.0.1:1/elsewhere")
        return Reply(200, (self.root / path).read_bytes()) if (self.root / path).is_file() else Reply(404)

    def post(self, target: str, body: bytes) -> Reply:
        if target == "/api/token/refresh/" and json.loads(body) == {"refresh": PERSONAL} and not self.refuse:
            self.requests.append("refresh")
            return Reply(200, json.dumps({"access": self.bearer}).encode())
        return Reply(401, b"{}")


class ObjectStorage(LoopbackServer):
    """As much of S3 as Label Studio and a signed address need: one bucket, a folder. It takes one access key and does not check signatures.

    signed, authorized: the keys that were asked for, by a signed address and by a header.
    """

    ACCESS_KEY = "a-key"

    def __init__(self, bucket: str, folder: Path) -> None:
        super().__init__()
        self.bucket = bucket
        self.folder = folder
        self.signed: list[str] = []
        self.authorized: list[str] = []

    def get(self, target: str, headers: Message) -> Reply:
        parts = urlsplit(target)
        name, _, key = unquote(parts.path).removeprefix("/").partition("/")
        authorization = headers.get("Authorization", "")
        if authorization.startswith(f"AWS4-HMAC-SHA256 Credential={self.ACCESS_KEY}/"):
            self.authorized.append(key)
        elif "Signature=" in parts.query and not authorization:
            self.signed.append(key)
        else:
            return Reply(403)
        file = self.folder / key
        if name != self.bucket or not (file.is_file() or not key):
            return Reply(404)
        return Reply(200, file.read_bytes() if key else b"")
