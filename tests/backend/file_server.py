"""A server that gives files as Label Studio does."""

from __future__ import annotations

import base64
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

LEGACY = "0123456789abcdef0123456789abcdef01234567"
PERSONAL = ".".join(
    base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (b'{"alg":"HS256","typ":"JWT"}', b'{"sub":1}', b"signature")
)


class FileServer:
    """Speaks Label Studio's side of the conversation: local files for a token, bearer tokens that expire on command, cloud storages.

    storage: by project and address, a file's bytes, or where Label Studio sends on to.
    """

    def __init__(self, root: Path) -> None:
        self.requests: list[str] = []
        self.bearer = "bearer-1"
        self.refuse = False
        self.storage: dict[tuple[int, str], bytes | str] = {}
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
                stored = None
                path = parse_qs(parts.query).get("d", [""])[0]
                resolve = re.fullmatch(r"/projects/(\d+)/resolve/", parts.path)
                if resolve is not None:
                    path = base64.urlsafe_b64decode(parse_qs(parts.query)["fileuri"][0]).decode()
                    stored = owner.storage.get((int(resolve[1]), path))
                owner.requests.append(path)
                if self.headers.get("Authorization") not in (f"Token {LEGACY}", f"Bearer {owner.bearer}") or owner.refuse:
                    self._answer(401, b"{}")
                elif stored is not None:
                    self._answer(303, b"", stored) if isinstance(stored, str) else self._answer(200, stored)
                elif path == "moved":
                    self._answer(302, b"", "http://127.0.0.1:1/elsewhere")
                elif not (root / path).is_file():
                    self._answer(404, b"")
                else:
                    self._answer(200, (root / path).read_bytes())

            def _answer(self, status: int, body: bytes, location: str | None = None) -> None:
                self.send_response(status)
                if location is not None:
                    self.send_header("Location", location)
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
