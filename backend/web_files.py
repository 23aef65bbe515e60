"""Files over HTTP, from hosts that may be asked and from nowhere else.

A name is looked up once, every address that it has is checked, and the connection goes to a checked one: no second look-up can lead
elsewhere. The name stays what the request, TLS and the certificate's check use. No proxy and no login is taken from the environment,
redirects are followed by hand, and nothing is unpacked.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import ipaddress
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

import certifi

from backend.allowed_hosts import AllowedHosts
from backend.errors import MediaError
from backend.web_address import IPAddress, WebAddress
from sam4d.structures import InputError

CONNECT_SECONDS, READ_SECONDS, TOTAL_SECONDS = 5.0, 30.0, 300.0
"""To be connected (and again for TLS), between two pieces of an answer, and for a whole file with all its redirects."""
MOST_REDIRECTS = 3
MOST_TRIES = 3
"""How many of a name's addresses are tried."""
REDIRECTS = (301, 302, 303, 307, 308)
_PIECE_BYTES = 1 << 20

Resolve: TypeAlias = Callable[[str, int], Sequence[str]]
"""The addresses of a host name, for a port; raises OSError where it has none."""
Connect: TypeAlias = Callable[[tuple[str, int], float], socket.socket]
"""A connection to an IP address and port within so many seconds; raises OSError."""


@dataclass(frozen=True)
class Answer:
    """What a server answered. location: where a redirect leads to. body: empty where the status is not 200."""

    status: int
    location: str | None
    body: bytes


class WebFiles:
    """Reads files over HTTP. Safe to use from many threads; every file is a connection of its own.

    Args:
        allowed: the hosts that `read` may ask.
        file_bytes: the largest file.
        resolve, connect, tls, clock: the system's own, but in tests.
    """

    def __init__(
        self,
        allowed: AllowedHosts,
        file_bytes: int,
        *,
        resolve: Resolve | None = None,
        connect: Connect = socket.create_connection,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._allowed = allowed
        self._file_bytes = file_bytes
        self._resolve = resolve or look_up
        self._connect = connect
        self._tls = tls or default_tls()
        self._clock = clock

    def read(self, address: WebAddress, *, redirects: int = MOST_REDIRECTS) -> bytes:
        """The file at an address; each redirect is checked as the address itself is.

        Raises:
            InputError: a host that SAM4D_ALLOWED_HOSTS does not name, a redirect to an address that is none.
            MediaError: a host at an address that may not be asked; unreachable, no such file, one that is too large, too slow, packed, or
                shorter or longer than it was said to be.
        """
        deadline = _Deadline(self._clock, TOTAL_SECONDS)
        for left in range(redirects, -1, -1):
            entry = self._allowed.entry_for(address)
            places = self._look_up(address, deadline)
            refused = next(filter(None, map(entry.refusal, places)), None)
            if refused is not None:
                expected = "a host at a public address (private:HOST in SAM4D_ALLOWED_HOSTS lets private ones in)"
                raise MediaError(str(address), expected, refused)
            answer = self._exchange(address, places, _Request(), deadline)
            if answer.status not in REDIRECTS or answer.location is None:
                if answer.status != 200:
                    raise MediaError(str(address), "a file", f"status {answer.status}")
                return answer.body
            if left:
                address = address.redirected(answer.location)
        raise MediaError(str(address), f"at most {redirects} redirects", "another")

    def ask(self, address: WebAddress, *, headers: Mapping[str, str] | None = None, post: bytes | None = None) -> Answer:
        """One request to an address that the settings name, wherever in the network that is. No redirect is followed.

        Raises:
            MediaError: as `read` does; a status is no error.
        """
        deadline = _Deadline(self._clock, TOTAL_SECONDS)
        request = _Request("GET" if post is None else "POST", headers or {}, post)
        return self._exchange(address, self._look_up(address, deadline), request, deadline)

    def _look_up(self, address: WebAddress, deadline: _Deadline) -> list[IPAddress]:
        if address.ip is not None:
            return [address.ip]
        expected = "a host name that leads to a server"
        try:
            found = self._resolve_in_time(address, deadline.within(CONNECT_SECONDS))
            places = list(dict.fromkeys(ipaddress.ip_address(text) for text in found))
        except (OSError, ValueError) as error:
            raise MediaError(str(address), expected, _reason(error, "no such name")) from None
        if not places:
            raise MediaError(str(address), expected, "no such name")
        return places

    def _resolve_in_time(self, address: WebAddress, seconds: float) -> Sequence[str]:
        """The system's look-up knows no limit: what hangs is left behind in its thread."""
        outcome: queue.SimpleQueue[Sequence[str] | Exception] = queue.SimpleQueue()

        def run() -> None:
            try:
                outcome.put(self._resolve(address.host, address.port))
            except Exception as error:
                outcome.put(error)

        threading.Thread(target=run, name="look-up", daemon=True).start()
        try:
            found = outcome.get(timeout=seconds)
        except queue.Empty:
            raise TimeoutError from None
        if isinstance(found, Exception):
            raise found
        return found

    def _exchange(self, address: WebAddress, places: Sequence[IPAddress], request: _Request, deadline: _Deadline) -> Answer:
        try:
            with self._connection(address, places, deadline) as connection:
                return _converse(connection, address, request, deadline, self._file_bytes)
        except InputError:
            raise
        except (OSError, http.client.HTTPException, ValueError) as error:
            expected = f"an answer within {TOTAL_SECONDS:g} seconds" if deadline.is_over else "an answer"
            raise MediaError(str(address), expected, _reason(error, "an answer that is not HTTP")) from None

    @contextlib.contextmanager
    def _connection(self, address: WebAddress, places: Sequence[IPAddress], deadline: _Deadline) -> Iterator[socket.socket]:
        for place in places[:MOST_TRIES]:
            try:
                plain = self._connect((str(place), address.port), deadline.within(CONNECT_SECONDS))
                break
            except OSError as error:
                failure = error
        else:
            raise MediaError(str(address), "a server that can be reached", _reason(failure, "nothing"))
        with contextlib.ExitStack() as stack:
            stack.callback(plain.close)
            if address.scheme == "http":
                yield plain
                return
            plain.settimeout(deadline.within(CONNECT_SECONDS))
            # An end of the connection without its notice is an attack on answers that do not say their length.
            secured = self._tls.wrap_socket(plain, server_hostname=address.host, suppress_ragged_eofs=False)
            stack.callback(secured.close)
            yield secured


@dataclass(frozen=True)
class _Request:
    method: Literal["GET", "POST"] = "GET"
    headers: Mapping[str, str] | None = None
    body: bytes | None = None


class _Deadline:
    def __init__(self, clock: Callable[[], float], seconds: float) -> None:
        self._clock = clock
        self._end = clock() + seconds

    @property
    def is_over(self) -> bool:
        return self._clock() >= self._end

    def within(self, seconds: float) -> float:
        """So many seconds, or those that are left. Raises TimeoutError where none are."""
        left = self._end - self._clock()
        if left <= 0:
            raise TimeoutError
        return min(seconds, left)


class _TimedSocket(io.RawIOBase):
    """A connection as http.client wants it, each piece of which must come in time: a server that sends a byte now and then does not hold
    a thread for longer than the whole may take."""

    def __init__(self, connection: socket.socket, deadline: _Deadline) -> None:
        self._connection = connection
        self._deadline = deadline
        self.waits = True

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._connection.settimeout(self._deadline.within(READ_SECONDS) if self.waits else 0)
        return self._connection.recv_into(buffer)

    def sendall(self, data: bytes) -> None:
        self._connection.settimeout(self._deadline.within(READ_SECONDS))
        self._connection.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        return _KeptReader(self)

    def close(self) -> None:
        """The connection is closed by who opened it."""


class _KeptReader(io.BufferedReader):
    """Stays open when http.client thinks the answer read, to see whether more has come."""

    def close(self) -> None:
        pass


def _converse(connection: socket.socket, address: WebAddress, request: _Request, deadline: _Deadline, most_bytes: int) -> Answer:
    """Send the request, read the answer. Raises OSError, HTTPException and ValueError as they come, MediaError where it is not right."""
    sender = http.client.HTTPConnection(address.host, address.port)
    timed = _TimedSocket(connection, deadline)
    sender.sock = cast(socket.socket, timed)
    headers = {"Host": address.authority, "User-Agent": "sam4d", "Accept": "*/*", "Connection": "close", **(request.headers or {})}
    sender.request(request.method, address.target, request.body, headers)  # asks for Accept-Encoding: identity by itself
    answer = sender.getresponse()
    if answer.status != 200:
        return Answer(answer.status, answer.getheader("Location"), b"")
    packed = answer.getheader("Content-Encoding", "identity").strip().lower()
    if not answer.chunked:
        # other ways to transfer would be taken for the file itself
        packed = answer.getheader("Transfer-Encoding", packed).strip().lower()
    if packed != "identity":
        raise MediaError(str(address), "a file that is not packed (Content-Encoding)", repr(packed[:40]))
    length = _content_length(answer, address)
    if length is not None and length > most_bytes:
        raise MediaError(str(address), f"at most {most_bytes} bytes", f"{length}")
    reader = cast(_KeptReader, answer.fp)
    body = io.BytesIO()
    while length is None or body.tell() < length:
        piece = answer.read1(_PIECE_BYTES)
        if not piece:
            break
        body.write(piece)
        if body.tell() > most_bytes:
            raise MediaError(str(address), f"at most {most_bytes} bytes", "more")
    if length is not None and (body.tell() < length or _has_more(reader, timed)):
        raise MediaError(str(address), f"{length} bytes, as its header says", f"{body.tell()}" if body.tell() < length else "more")
    return Answer(200, None, body.getvalue())


def _content_length(answer: http.client.HTTPResponse, address: WebAddress) -> int | None:
    """None where the answer comes in chunks, or ends with the connection."""
    said = set(answer.headers.get_all("Content-Length", []))
    if answer.chunked or not said:
        return None
    text = said.pop()
    if said or not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise MediaError(str(address), "one Content-Length", repr(text[:40]))
    return int(text)


def _has_more(reader: _KeptReader, timed: _TimedSocket) -> bool:
    """Whether bytes have come after the end. Nothing is waited for."""
    timed.waits = False
    with contextlib.suppress(OSError):
        return bool(reader.peek(1))
    return False


def default_tls() -> ssl.SSLContext:
    """Trusts whom the system trusts (SSL_CERT_FILE names another file to OpenSSL), or certifi's list where the system has none."""
    paths = ssl.get_default_verify_paths()
    return ssl.create_default_context(cafile=None if paths.cafile or paths.capath else certifi.where())


def look_up(host: str, port: int) -> list[str]:
    """A name's addresses, by the system."""
    return [str(place[4][0]) for place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def _reason(error: Exception, otherwise: str) -> str:
    """A few words about what went wrong; never what a server said, which may repeat what it was sent."""
    if isinstance(error, TimeoutError):
        return "none in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"a certificate that is refused ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        return "a failure of TLS"
    if isinstance(error, http.client.IncompleteRead):
        return "one that broke off"
    if isinstance(error, OSError):
        return (error.strerror or "a connection that broke off").lower()
    return otherwise
