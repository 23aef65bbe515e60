"""Servers on this machine's own loopback address, and the network as a test imagines it: no request leaves the machine."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias
from urllib.parse import unquote

import pytest

Reply: TypeAlias = Callable[[socket.socket, str], None]
"""What a server does with a connection, once it has read the head of its request."""

PUBLIC = "93.184.216.34"
OTHER_PUBLIC = "2606:2800:220:1::1"


def answer(body: bytes = b"", status: str = "200 OK", **headers: str) -> bytes:
    """An answer's bytes; Content-Length is right where none is given, and `Content_Length=""` leaves it out."""
    lines = {"Content-Length": str(len(body)), **{name.replace("_", "-"): value for name, value in headers.items()}}
    return (
        f"HTTP/1.1 {status}\r\n{''.join(f'{name}: {value}{chr(13)}{chr(10)}' for name, value in lines.items() if value)}\r\n".encode()
        + body
    )


def redirect(location: str, status: str = "302 Found") -> bytes:
    return answer(status=status, Location=location)


def always(reply: bytes) -> Reply:
    return lambda connection, head: connection.sendall(reply)


def by_path(replies: Mapping[str, bytes]) -> Reply:
    """Answers by the request's target as it was sent."""
    return lambda connection, head: connection.sendall(replies.get(head.split(" ")[1], answer(status="404 Not Found")))


def files_below(root: Path) -> Reply:
    """The files of a folder, as a web server gives them."""

    def reply(connection: socket.socket, head: str) -> None:
        file = root / unquote(head.split(" ")[1].partition("?")[0]).lstrip("/")
        connection.sendall(answer(file.read_bytes()) if file.is_file() else answer(status="404 Not Found"))

    return reply


class RawServer:
    """Replies on a port of 127.0.0.1 with whatever bytes a test wants. heads: of the requests so far."""

    def __init__(self, reply: Reply, tls: ssl.SSLContext | None = None) -> None:
        self.heads: list[str] = []
        self._reply = reply
        self._tls = tls
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> RawServer:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            # What a client does that turns away is no matter here.
            with contextlib.suppress(OSError), connection:
                self._answer(self._tls.wrap_socket(connection, server_side=True) if self._tls else connection)

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            head = b""
            while b"\r\n\r\n" not in head:
                piece = connection.recv(65536)
                if not piece:
                    return
                head += piece
            self.heads.append(head.decode("latin-1"))
            self._reply(connection, head.decode("latin-1"))


@dataclass
class Network:
    """Names and addresses that lead to servers of a test. A name or an address that is not listed fails the test.

    names: addresses by host name. servers: by address. asked, connected: in order.
    """

    names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    servers: Mapping[str, RawServer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    connected: list[tuple[str, int]] = field(default_factory=list)

    def resolve(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        if host not in self.names:
            pytest.fail(f"{host} was looked up")
        return self.names[host]

    def connect(self, place: tuple[str, int], seconds: float) -> socket.socket:
        self.connected.append(place)
        if place[0] not in self.servers:
            pytest.fail(f"{place} was connected to")
        return socket.create_connection(("127.0.0.1", self.servers[place[0]].port), seconds)
