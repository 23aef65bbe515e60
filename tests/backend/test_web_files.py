"""Files over HTTP: from hosts that may be asked, whole, in time, and nothing else."""

from __future__ import annotations

import functools
import gzip
import itertools
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.allowed_hosts import AllowedHost, AllowedHosts
from backend.errors import MediaError
from backend.web_address import IPAddress, WebAddress
from backend.web_files import TOTAL_SECONDS, WebFiles, default_tls
from sam4d.structures import InputError
from tests.backend.refused_hosts import NEVER, PRIVATE, addresses_in, spellings
from tests.backend.web_server import OTHER_PUBLIC, PUBLIC, Network, RawServer, Reply, always, answer, by_path, redirect

HOST = "files.example.com"
FILE = f"http://{HOST}/drive/1.bin"


def address(text: str = FILE) -> WebAddress:
    return WebAddress.parse(text, "address")


def reader(network: Network, allowed: str = HOST, size: int = 10**6, tls: ssl.SSLContext | None = None) -> WebFiles:
    hosts = AllowedHosts.parse(allowed, "SAM4D_ALLOWED_HOSTS")
    return WebFiles(hosts, size, resolve=network.resolve, connect=network.connect, tls=tls or trusting_none())


@functools.cache
def trusting_none() -> ssl.SSLContext:
    """To read the system's certificates takes longer than most of these tests."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def read(reply: Reply | bytes, text: str = FILE, size: int = 10**6) -> bytes:
    """A file of the one host there is."""
    with RawServer(always(reply) if isinstance(reply, bytes) else reply) as server:
        return reader(Network({HOST: [PUBLIC]}, {PUBLIC: server}), size=size).read(address(text))


def test_a_file_arrives() -> None:
    with RawServer(always(answer(b"content"))) as server:
        network = Network({HOST: [PUBLIC, OTHER_PUBLIC]}, {PUBLIC: server})
        assert reader(network).read(address(f"{FILE}?a=b")) == b"content"
    assert network.asked == [HOST]
    assert network.connected == [(PUBLIC, 80)]
    first, *lines = server.heads[0].strip().split("\r\n")
    assert first == "GET /drive/1.bin?a=b HTTP/1.1"
    assert set(lines) == {f"Host: {HOST}", "Accept-Encoding: identity", "User-Agent: sam4d", "Accept: */*", "Connection: close"}


def test_no_proxy_and_no_login_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text(f"machine {HOST} login someone password hidden\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://proxy.invalid:3128")
    with RawServer(always(answer(b"content"))) as server:
        assert reader(Network({HOST: [PUBLIC]}, {PUBLIC: server})).read(address()) == b"content"
    assert "authorization" not in server.heads[0].lower()


@pytest.mark.parametrize(
    "text", ["http://other.example.com/a", f"http://{HOST}:8080/a", f"http://{PUBLIC}/a", "http://localhost/a", "http://127.0.0.1/a"]
)
def test_hosts_that_are_not_named_are_not_even_looked_up(text: str) -> None:
    network = Network()
    with pytest.raises(InputError, match="SAM4D_ALLOWED_HOSTS"):
        reader(network).read(address(text))
    assert network.asked == []
    assert network.connected == []


@given(addresses_in(NEVER + PRIVATE), st.booleans())
def test_names_that_lead_inside_are_refused_before_a_connection(ip: IPAddress, first: bool) -> None:
    places = [str(ip), PUBLIC] if first else [PUBLIC, str(ip)]
    network = Network({HOST: places})
    with pytest.raises(MediaError, match="public address") as caught:
        reader(network).read(address())
    assert network.connected == []
    assert str(ip) not in str(caught.value), "what the inner network is like is nobody's business"


@settings(max_examples=500)
@given(addresses_in(NEVER), st.data())
def test_no_spelling_of_an_address_leads_inside(ip: IPAddress, data: st.DataObject) -> None:
    host = data.draw(spellings(ip))
    # Every entry that an operator could have meant well, and a resolver that knows all spellings.
    hosts = AllowedHosts((AllowedHost(str(ip), private=True), AllowedHost(HOST), AllowedHost("com", subdomains=True, private=True)))
    connected: list[object] = []

    def connect(place: tuple[str, int], seconds: float) -> socket.socket:
        connected.append(place)
        raise AssertionError

    with pytest.raises(InputError):
        WebFiles(hosts, 100, resolve=lambda name, port: [str(ip)], connect=connect, tls=trusting_none()).read(
            address(f"http://{host}/latest/meta-data")
        )
    assert connected == []


def test_private_networks_where_they_are_let_in() -> None:
    with RawServer(always(answer(b"content"))) as server:
        network = Network({"minio": ["10.0.0.5"]}, {"10.0.0.5": server})
        assert reader(network, "private:minio:9000").read(address("http://minio:9000/a")) == b"content"
        assert network.connected == [("10.0.0.5", 9000)]
        with pytest.raises(MediaError, match="a private address"):
            reader(network, "minio:9000").read(address("http://minio:9000/a"))


def test_a_name_that_changes_between_check_and_connection() -> None:
    places = iter([[PUBLIC], ["127.0.0.1"]])
    with RawServer(always(answer(b"content"))) as server:
        network = Network(servers={PUBLIC: server})
        files = WebFiles(AllowedHosts.parse(HOST, "hosts"), 100, resolve=lambda *_: next(places), connect=network.connect)
        assert files.read(address()) == b"content"
        assert network.connected == [(PUBLIC, 80)]
        with pytest.raises(MediaError, match="a loopback address"):
            files.read(address())
    assert network.connected == [(PUBLIC, 80)]


def test_the_next_address_is_tried_where_one_is_dead() -> None:
    with RawServer(always(answer(b"content"))) as server:
        network = Network({HOST: [OTHER_PUBLIC, PUBLIC]}, {PUBLIC: server})

        def connect(place: tuple[str, int], seconds: float) -> socket.socket:
            if place[0] == OTHER_PUBLIC:
                raise TimeoutError
            return network.connect(place, seconds)

        files = WebFiles(AllowedHosts.parse(HOST, "hosts"), 100, resolve=network.resolve, connect=connect)
        assert files.read(address()) == b"content"


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("http://localhost/secret", "SAM4D_ALLOWED_HOSTS"),
        ("http://127.0.0.1/secret", "SAM4D_ALLOWED_HOSTS"),
        ("http://169.254.169.254/latest/meta-data", "SAM4D_ALLOWED_HOSTS"),
        ("http://inside.example.com/secret", "a loopback address"),
        ("//inside.example.com/secret", "a loopback address"),
        ("http://2130706433/", "usual spelling"),
        ("file:///etc/passwd", "an address such as"),
        (f"http://user:hidden@{HOST}/", "user and password"),
        (f"http://{HOST}:8080/", "SAM4D_ALLOWED_HOSTS"),
        ("http://other.example.com/?X-Amz-Signature=hidden", "SAM4D_ALLOWED_HOSTS"),
        ("/a/%2e%2e/b?hidden", "without '..'"),
    ],
)
def test_redirects_are_checked_like_addresses(location: str, expected: str) -> None:
    with RawServer(always(redirect(location))) as server:
        network = Network({HOST: [PUBLIC], "inside.example.com": ["127.0.0.1"]}, {PUBLIC: server})
        with pytest.raises(InputError, match=expected) as caught:
            reader(network, f"{HOST},inside.example.com").read(address())
    assert network.connected == [(PUBLIC, 80)]
    assert "hidden" not in str(caught.value)


def test_three_redirects_and_no_more() -> None:
    replies = {f"/{number}": redirect(f"/{number - 1}", "307 Temporary Redirect") for number in range(1, 9)} | {"/0": answer(b"content")}
    assert read(by_path(replies), f"http://{HOST}/3") == b"content"
    with pytest.raises(MediaError, match="at most 3 redirects"):
        read(by_path(replies), f"http://{HOST}/4")


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (answer(b"content", Content_Length="8"), "8 bytes.*7"),
        (answer(b"content", Content_Length="6"), "6 bytes.*more"),
        (answer(b"content", Content_Length="-1"), "Content-Length"),
        (answer(b"content", Content_Length="7\r\nContent-Length: 8"), "Content-Length"),
        (answer(b"a" * 101), "at most 100 bytes"),
        (answer(b"a" * 101, Content_Length=""), "at most 100 bytes"),
        (answer(b"a", Content_Length="1" * 15), "at most 100 bytes"),
        (answer(b"5\r\nconte", Content_Length="", Transfer_Encoding="chunked"), "broke off"),
        (answer(b"zz\r\nconte", Content_Length="", Transfer_Encoding="chunked"), "broke off"),
        (answer(b"65\r\n" + b"a" * 101, Content_Length="", Transfer_Encoding="chunked"), "at most 100 bytes"),
        (answer(gzip.compress(bytes(10**7)), Content_Encoding="gzip"), "not packed"),
        (answer(b"a", Content_Encoding="identity, br"), "not packed"),
        (answer(gzip.compress(b"a", mtime=0), Content_Length="", Transfer_Encoding="gzip"), "not packed"),
        (answer(b"1\r\na\r\n0\r\n\r\n", Content_Length="", Transfer_Encoding="gzip, chunked"), "not packed"),
        (answer(b"-1\r\na\r\n0\r\n\r\n", Content_Length="", Transfer_Encoding="chunked"), "broke off"),
        (answer(status="404 Not Found"), "status 404"),
        (answer(b"part", status="206 Partial Content"), "status 206"),
        (answer(status="302 Found"), "status 302"),
        (answer(status="304 Not Modified"), "status 304"),
        (b"", "an answer"),
        (b"SSH-2.0-OpenSSH\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 10**5 + b"\r\n\r\n", "not HTTP"),
    ],
)
def test_answers_that_are_not_a_whole_file(reply: bytes, expected: str) -> None:
    with pytest.raises(MediaError, match=expected) as caught:
        read(reply, size=100)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "reply",
    [
        answer(b"content"),
        answer(b"content", Content_Length=""),
        answer(b"3\r\ncon\r\n4;x=y\r\ntent\r\n0\r\nX: y\r\n\r\n", Content_Length="", Transfer_Encoding="chunked"),
        answer(b"content", Content_Encoding="identity"),
        b"HTTP/1.1 100 Continue\r\n\r\n" + answer(b"content"),
        answer(b"content").replace(b"HTTP/1.1", b"HTTP/1.0"),
    ],
)
def test_answers_that_are(reply: bytes) -> None:
    assert read(reply, size=7) == b"content"


def test_an_empty_file() -> None:
    assert read(answer(b"")) == b""


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\n", answer(Content_Length="1000000"), answer(Content_Length="")])
def test_a_server_that_sends_a_byte_now_and_then(start: bytes) -> None:
    now = itertools.count(0.0, TOTAL_SECONDS / 50)

    def drip(connection: socket.socket, head: str) -> None:
        connection.sendall(start)
        while True:
            connection.sendall(b"x")

    with RawServer(drip) as server:
        network = Network({HOST: [PUBLIC]}, {PUBLIC: server})
        files = WebFiles(
            AllowedHosts.parse(HOST, "hosts"), 10**12, resolve=network.resolve, connect=network.connect, clock=lambda: next(now)
        )
        with pytest.raises(MediaError, match=r"300 seconds|not HTTP"):
            files.read(address())


def test_a_server_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.web_files.READ_SECONDS", 0.01)
    turned_away = threading.Event()

    def silent(connection: socket.socket, head: str) -> None:
        assert turned_away.wait(60)

    with RawServer(silent) as server:
        with pytest.raises(MediaError, match="none in time"):
            reader(Network({HOST: [PUBLIC]}, {PUBLIC: server})).read(address())
        turned_away.set()


def test_a_name_server_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.web_files.CONNECT_SECONDS", 0.01)
    given_up = threading.Event()

    def hang(host: str, port: int) -> list[str]:
        assert given_up.wait(60)
        return [PUBLIC]

    with pytest.raises(MediaError, match=r"a host name that leads to a server.*none in time"):
        WebFiles(AllowedHosts.parse(HOST, "hosts"), 100, resolve=hang, connect=Network().connect).read(address())
    given_up.set()


@pytest.mark.parametrize("places", [socket.gaierror(-2, "Name or service not known"), [], ["no address"]])
def test_a_name_that_leads_nowhere(places: list[str] | Exception) -> None:
    def resolve(host: str, port: int) -> list[str]:
        if isinstance(places, Exception):
            raise places
        return places

    with pytest.raises(MediaError, match="a host name that leads to a server"):
        WebFiles(AllowedHosts.parse(HOST, "hosts"), 100, resolve=resolve, connect=Network().connect).read(address())


def test_a_server_that_is_not_there() -> None:
    with RawServer(always(b"")) as server:
        network = Network({HOST: [PUBLIC]}, {PUBLIC: server})
    with pytest.raises(MediaError, match=r"a server that can be reached.*refused"):
        reader(network).read(address())


def test_what_the_settings_name_may_be_anywhere_and_sends_nowhere() -> None:
    with RawServer(always(redirect("http://elsewhere.example.com/"))) as server:
        files = WebFiles(AllowedHosts(), 100)
        told = files.ask(address(f"http://127.0.0.1:{server.port}/a"), headers={"Authorization": "Token abc"}, post=b"{}")
    assert (told.status, told.location, told.body) == (302, "http://elsewhere.example.com/", b"")
    assert server.heads[0].startswith("POST /a HTTP/1.1")
    assert "Authorization: Token abc" in server.heads[0]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secure_server(authority: trustme.CA) -> Iterator[tuple[RawServer, list[str | None]]]:
    """A server with a certificate of HOST, and the names that it was asked for."""
    names: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(context)
    context.sni_callback = lambda connection, name, given: names.append(name)
    with RawServer(by_path({"/a": answer(b"content"), "/down": redirect(f"http://{HOST}/a")}), context) as server:
        yield server, names


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def test_certificates_are_checked_by_name(authority: trustme.CA, secure_server: tuple[RawServer, list[str | None]]) -> None:
    server, names = secure_server
    network = Network({HOST: [PUBLIC], "other.example.com": [PUBLIC]}, {PUBLIC: server})
    files = reader(network, "*.example.com", tls=trusting(authority))
    assert files.read(address(f"https://{HOST}/a")) == b"content"
    assert network.connected == [(PUBLIC, 443)]
    assert names == [HOST]
    with pytest.raises(MediaError, match="a certificate that is refused"):
        files.read(address("https://other.example.com/a"))
    with pytest.raises(MediaError, match="a certificate that is refused"):
        reader(network, HOST, tls=default_tls()).read(address(f"https://{HOST}/a"))
    assert len(server.heads) == 1


def test_nothing_leads_from_https_to_http(authority: trustme.CA, secure_server: tuple[RawServer, list[str | None]]) -> None:
    network = Network({HOST: [PUBLIC]}, {PUBLIC: secure_server[0]})
    with pytest.raises(InputError, match="to stay with https"):
        reader(network, tls=trusting(authority)).read(address(f"https://{HOST}/down"))
    assert network.connected == [(PUBLIC, 443)]


def test_a_server_without_tls() -> None:
    with RawServer(always(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server:
        # The server waits for an end of headers, which no TLS greeting has: it answers what closes its side.
        network = Network({HOST: [PUBLIC]}, {PUBLIC: server})

        def connect(place: tuple[str, int], seconds: float) -> socket.socket:
            connection = network.connect(place, seconds)
            connection.sendall(b"\r\n\r\n")
            return connection

        files = WebFiles(AllowedHosts.parse(HOST, "hosts"), 100, resolve=network.resolve, connect=connect)
        with pytest.raises(MediaError, match=r"a failure of TLS|broke off|reset"):
            files.read(address(f"https://{HOST}/a"))
