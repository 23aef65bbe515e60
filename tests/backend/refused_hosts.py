"""IP addresses that no task may lead to, and the many ways to write them."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from hypothesis import strategies as st

from backend.web_address import IPAddress

NEVER = (
    *("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "192.0.0.0/29", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24"),
    *("203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "100.100.100.200/32", "168.63.129.16/32", "255.255.255.255/32"),
    *("::/128", "::1/128", "::/96", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/32", "2001:db8::/32"),
    *("2002::/16", "fe80::/10", "fec0::/10", "ff00::/8", "fd00:ec2::254/128", "4000::/3", "e000::/4"),
)
"""Refused even where private networks are let in."""

PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
METADATA = frozenset(map(ipaddress.ip_address, ("100.100.100.200", "fd00:ec2::254")))


def addresses_in(networks: tuple[str, ...]) -> st.SearchStrategy[IPAddress]:
    """Any address of any of the networks, the first and the last of each among them."""

    def of(text: str) -> st.SearchStrategy[IPAddress]:
        network = ipaddress.ip_network(text)
        return st.sampled_from([network[0], network[-1]]) | st.integers(0, network.num_addresses - 1).map(lambda index: network[index])

    return st.sampled_from(networks).flatmap(of)


@st.composite
def spellings(draw: st.DrawFn, ip: IPAddress) -> str:
    """A host as some library or other takes it for this address."""
    if isinstance(ip, ipaddress.IPv6Address):
        text = draw(st.sampled_from([str(ip), ip.exploded, ip.exploded.upper(), f"{ip}%25lo", f"{ip}%lo"]))
        return f"[{text}]" if draw(st.booleans()) else text
    number = int(ip)
    parts = draw(st.sampled_from([[number], [number >> 24, number & 0xFFFFFF], [number >> 24, number >> 16 & 255, number & 0xFFFF]]))
    quad = list(ip.packed)
    numbers = [
        draw(st.sampled_from([f"{part}", f"0x{part:x}", f"0X{part:08X}", f"0{part:o}"])) for part in draw(st.sampled_from([parts, quad]))
    ]
    text = draw(st.sampled_from([str(ip), ".".join(numbers), f"[::ffff:{ip}]", f"[::{ip}]", f"[64:ff9b::{ip}]"]))
    changes: list[Callable[[str], str]] = [
        str,
        lambda host: host + ".",
        lambda host: host.replace(".", "。"),
        lambda host: host.translate({48 + digit: 0xFF10 + digit for digit in range(10)}),
        lambda host: host.replace("1", "%31").replace("2", "%32"),
        lambda host: f"files.example.com@{host}",
        lambda host: f"files.example.com:80@{host}",
        lambda host: f"{host}\\@files.example.com",
        lambda host: f"{host}\t",
        lambda host: f" {host}",
    ]
    return draw(st.sampled_from(changes))(text)
