"""Which hosts an allow-list lets in, and at which addresses of theirs."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given

from backend.allowed_hosts import AllowedHost, AllowedHosts
from backend.network_addresses import refusal
from backend.web_address import IPAddress, WebAddress
from sam4d.structures import InputError
from tests.backend.refused_hosts import METADATA, NEVER, PRIVATE, addresses_in


def entries(text: str) -> AllowedHosts:
    return AllowedHosts.parse(text, "SAM4D_ALLOWED_HOSTS")


def lets_in(hosts: AllowedHosts, address: str) -> bool:
    try:
        hosts.entry_for(WebAddress.parse(address, "address"))
    except InputError:
        return False
    return True


def test_entries_are_read() -> None:
    hosts = entries(" Files.example.com, private:minio:9000 ,*.example.org,, private:*.corp:8443, private:[fd00::1]:9000, 93.184.216.34 ")
    assert hosts.entries == (
        AllowedHost("files.example.com"),
        AllowedHost("minio", 9000, private=True),
        AllowedHost("example.org", subdomains=True),
        AllowedHost("corp", 8443, subdomains=True, private=True),
        AllowedHost("fd00::1", 9000, private=True),
        AllowedHost("93.184.216.34"),
    )
    assert entries("") == entries(" , ") == AllowedHosts()


@pytest.mark.parametrize(
    "text",
    [
        "*",
        "*.",
        "https://host",
        "host/path",
        "host:",
        "host:0",
        "host:99999",
        "host name",
        "private:",
        "public:host",
        "user@host",
        "*.*.a",
        "a.*",
        "127.1",
        "[::1",
        "::1",
        "[::1%lo]",
        "host.",
        "ⓔxample.com",
    ],
)
def test_wrong_entries_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="SAM4D_ALLOWED_HOSTS"):
        entries(f"files.example.com,{text}")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://files.example.com/", True),
        ("http://files.example.com/", True),
        ("https://FILES.example.com:443/", True),
        ("https://files.example.com:8443/", False),
        ("http://files.example.com:443/", False),
        ("https://example.com/", False),
        ("https://a.files.example.com/", False),
        ("https://files.example.com.evil.org/", False),
        ("http://minio:9000/", True),
        ("http://minio/", False),
        ("https://a.example.org/", True),
        ("https://a.b.example.org/", True),
        ("https://example.org/", False),
        ("https://evilexample.org/", False),
        ("https://a.example.org:8443/", False),
        ("http://10.0.0.5/", False),
    ],
)
def test_only_what_is_named_is_let_in(address: str, expected: bool) -> None:
    assert lets_in(entries("files.example.com,private:minio:9000,*.example.org"), address) is expected
    assert not lets_in(AllowedHosts(), address)


@given(addresses_in(NEVER))
def test_what_no_entry_lets_in(ip: IPAddress) -> None:
    assert refusal(ip, private=False) is not None
    assert refusal(ip, private=True) is not None


@given(addresses_in(PRIVATE))
def test_private_networks_need_their_word(ip: IPAddress) -> None:
    assert refusal(ip, private=False) is not None
    assert (refusal(ip, private=True) is None) is (ip not in METADATA)


@pytest.mark.parametrize("text", ["93.184.216.34", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:2800:220:1::1", "2a00:1450:4001::8a"])
def test_public_addresses_pass(text: str) -> None:
    assert refusal(ipaddress.ip_address(text), private=False) is None


def test_no_address_of_one_network_card_passes() -> None:
    for text in ("2606:4700::1111%eth0", "fd00::1%1", "fd00:ec2::254%1", "fe80::1%1"):
        assert refusal(ipaddress.ip_address(text), private=True) is not None


def test_loopback_passes_only_where_it_is_named_itself() -> None:
    loopback = ipaddress.ip_address("127.0.0.1")
    assert AllowedHost("127.0.0.1", 9000, private=True).refusal(loopback) is None
    for entry in (AllowedHost("127.0.0.1", 9000), AllowedHost("127.0.0.1", private=True), AllowedHost("minio", 9000, private=True)):
        assert entry.refusal(loopback) is not None
    assert AllowedHost("127.0.0.1", 9000, private=True).refusal(ipaddress.ip_address("127.0.0.2")) is not None


def test_the_entry_that_lets_more_in_counts() -> None:
    address = WebAddress.parse("https://minio.corp/", "address")
    assert entries("*.corp,private:minio.corp").entry_for(address).private
    assert entries("private:minio.corp,*.corp").entry_for(address).private
    assert not entries("*.corp,private:other.corp").entry_for(address).private
