"""Addresses are read in one way or not at all."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.web_address import WebAddress
from sam4d.structures import InputError


def parse(text: str) -> WebAddress:
    return WebAddress.parse(text, "address")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://files.example.com/drives/1/", WebAddress("https", "files.example.com", 443, "/drives/1/")),
        ("HTTP://Files.Example.com:8080", WebAddress("http", "files.example.com", 8080, "/")),
        ("http://label_studio:80/a%20b", WebAddress("http", "label_studio", 80, "/a%20b")),
        ("http://93.184.216.34/a?b=c&d=%2F..", WebAddress("http", "93.184.216.34", 80, "/a", "b=c&d=%2F..")),
        ("https://[2606:2800:220:0001:0:0:0:1]:9000/", WebAddress("https", "2606:2800:220:1::1", 9000, "/")),
        ("https://xn--bcher-kva.example/", WebAddress("https", "xn--bcher-kva.example", 443, "/")),
    ],
)
def test_plain_addresses(text: str, expected: WebAddress) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "files.example.com/drive",
        "//files.example.com/drive",
        "file:///etc/passwd",
        "ftp://files.example.com/",
        "gopher://files.example.com/",
        "http:/files.example.com/",
        "http:files.example.com",
        "http:///drive",
        "http://:80/drive",
        "http://files.example.com:/",
        "http://files.example.com:0/",
        "http://files.example.com:65536/",
        "http://files.example.com:+80/",
        "http://files.example.com:80:81/",
        "http://user@files.example.com/",
        "http://user:hidden@files.example.com/",
        "http://files.example.com@127.0.0.1/",
        "http://files.example.com\\@127.0.0.1/",
        "http://127.0.0.1\\.files.example.com/",
        "http://files.example.com./",
        "http://.files.example.com/",
        "http://files..example.com/",
        "http://-files.example.com/",
        "http://files%2eexample%2ecom/",
        "http://fi\u017fes.example.com/",
        "http://ⓔxample.com/",
        "http://files。example。com/",
        "http://１２７.0.0.1/",
        "http://files.example.com/ä",
        "http://files.example.com /",
        " http://files.example.com/",
        "http://files.example.com/\n",
        "http://files.example.com/a\r\nX-Other: 1",
        "http://files.example.com/a\tb",
        "http://files.example.com/a\\b",
        "http://files.example.com/..",
        "http://files.example.com/a/../b",
        "http://files.example.com/a/./b",
        "http://files.example.com/a/%2e%2e/b",
        "http://files.example.com/a/%252e%252E/b",
        "http://files.example.com/a/.%2e/b",
        "http://files.example.com/a%2F..%2Fb",
        "http://files.example.com/a%2fb",
        "http://files.example.com/a%5c..%5cb",
        "http://files.example.com/a%00",
        "http://files.example.com/a%0d%0aX",
        "http://files.example.com/#fragment",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://0x7f000001/",
        "http://017700000001/",
        "http://127.1/",
        "http://127.0.0.01/",
        "http://1.2.3.4.5/",
        "http://1.2.3.0x4/",
        "http://0x/",
        "http://[::1/",
        "http://::1/",
        "http://[::1%25lo]/",
        "http://[::1]x/",
        "http://[127.0.0.1]/",
        "http://[1::2::3]/",
        f"http://{'a' * 64}.example.com/",
        f"http://files.example.com/{'a' * 9000}",
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(text)
    assert "hidden" not in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text() | st.text("ht:/@[].%2eE\\?#0x127aA-_ "))
def test_any_text_is_read_or_refused(text: str) -> None:
    for address in (text, f"http://{text}", f"https://files.example.com/{text}"):
        with contextlib.suppress(InputError):
            found = parse(address)
            assert parse(f"{found.scheme}://{found.authority}{found.target}") == found


def test_no_message_repeats_a_signature() -> None:
    secret = "X-Amz-Signature=0123"
    for text in (
        f"ftp://host/a?{secret}",
        f"http://host/../a?{secret}",
        f"http://u:{secret}@host/a",
        f"http://host:0/a#{secret}",
        f"?{secret}",
    ):
        with pytest.raises(InputError) as caught:
            parse(text)
        assert secret not in str(caught.value)
    assert secret not in str(parse(f"http://host/a?{secret}"))


def test_files_below_a_folder() -> None:
    for folder in ("https://host/drives/a%20b", "https://host/drives/a%20b/"):
        assert parse(folder).file("front/ä 1?#%.jpg").target == "/drives/a%20b/front/%C3%A4%201%3F%23%25.jpg"
    assert parse("https://host").file("sequence.json").target == "/sequence.json"


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("other.bin", "https://host:8443/drives/other.bin"),
        ("/other.bin?sign=1", "https://host:8443/other.bin"),
        ("../other.bin", "https://host:8443/other.bin"),
        ("//elsewhere/a", "https://elsewhere/a"),
        ("https://elsewhere:9000/a#part", "https://elsewhere:9000/a"),
    ],
)
def test_redirects(location: str, expected: str) -> None:
    assert str(parse("https://host:8443/drives/1.bin").redirected(location)) == expected


@pytest.mark.parametrize(
    "location",
    [
        "http://host:8443/drives/1.bin",
        "file:///etc/passwd",
        "https://user:hidden@host/",
        "https://[",
        "\\\\host\\a",
        "https://host/a\r\nb",
        "/%2e%2e/",
    ],
)
def test_redirects_to_what_is_no_address_or_less_secret(location: str) -> None:
    with pytest.raises(InputError) as caught:
        parse("https://host:8443/drives/1.bin").redirected(location)
    assert "hidden" not in str(caught.value)
