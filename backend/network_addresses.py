"""Which IP addresses may be connected to for a task's sake: those of the public internet, and private ones where that was allowed."""

from __future__ import annotations

import ipaddress

from backend.web_address import IPAddress

_PRIVATE = tuple(ipaddress.ip_network(text) for text in ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"))

# IPv4 addresses in the dress of IPv6: mapped, compatible, translated (NAT64), Teredo, 6to4. Where they lead, no check of the whole tells.
_EMBEDDING = tuple(
    ipaddress.ip_network(text)
    for text in ("::ffff:0:0/96", "::/96", "64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16", "::ffff:0:0:0/96", "192.88.99.0/24")
)

# Where clouds tell a machine its own secrets; not all of them are link-local.
_METADATA = frozenset(ipaddress.ip_address(text) for text in ("169.254.169.254", "100.100.100.200", "168.63.129.16", "fd00:ec2::254"))


def refusal(ip: IPAddress, *, private: bool) -> str | None:
    """What kind of address it is where it may not be connected to, None where it may. private: whether the networks of a site may be."""
    if ip in _METADATA:
        return "a cloud's metadata address"
    if ip.is_unspecified:
        return "an unspecified address"
    if ip.is_loopback:
        return "a loopback address"
    if ip.is_link_local or (ip.version == 6 and ip.is_site_local):
        return "a link-local address"
    if ip.is_multicast:
        return "a multicast address"
    if ip.version == 6 and ip.scope_id is not None:
        return "an address of one network card"
    if _within(ip, _EMBEDDING):
        return "an IPv4 address inside an IPv6 one"
    if _within(ip, _PRIVATE):
        return None if private else "a private address"
    if ip.is_reserved or not ip.is_global:
        return "a reserved address"
    return None


def _within(ip: IPAddress, networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]) -> bool:
    return any(ip.version == network.version and ip in network for network in networks)
