"""The hosts that files may come from, as the setting SAM4D_ALLOWED_HOSTS says."""

from __future__ import annotations

import re
from dataclasses import dataclass

from backend.network_addresses import refusal
from backend.web_address import DEFAULT_PORTS, IPAddress, WebAddress, parse_host
from sam4d.structures import InputError

_ENTRY = re.compile(r"(private:)?(\*\.)?(\[[^\]]*\]|[^:\[\]]*)(?::([0-9]{1,5}))?")


@dataclass(frozen=True)
class AllowedHost:
    """One entry. host: a name, an IP address, or with `subdomains` what names end in. port: None is the scheme's own. private: whether the
    name may lead to the private network."""

    host: str
    port: int | None = None
    subdomains: bool = False
    private: bool = False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        return f"{'private:' * self.private}{'*.' * self.subdomains}{host}{port}"

    @classmethod
    def parse(cls, text: str, where: str) -> AllowedHost:
        """`host`, `host:port`, `*.suffix` or `*.suffix:port`, perhaps with `private:` before it.

        Raises:
            InputError: anything else.
        """
        match = _ENTRY.fullmatch(text)
        if match is None or not match[3] or not 0 < int(match[4] or 1) <= 65535:
            raise InputError(where, "entries such as files.example.com, private:minio:9000 or *.example.com", repr(text[:100]))
        return cls(parse_host(match[3], where), int(match[4]) if match[4] else None, bool(match[2]), bool(match[1]))

    def covers(self, address: WebAddress) -> bool:
        if address.port != (DEFAULT_PORTS[address.scheme] if self.port is None else self.port):
            return False
        return address.host.endswith(f".{self.host}") if self.subdomains else address.host == self.host

    def refusal(self, ip: IPAddress) -> str | None:
        """Why the host may not be connected to at one of its addresses, None where it may.

        A loopback address passes only where the entry is this very address with its port: no name leads there.
        """
        if ip.is_loopback and self.private and self.port is not None and self.host == str(ip):
            return None
        return refusal(ip, private=self.private)


@dataclass(frozen=True)
class AllowedHosts:
    """All entries; none at all is the default."""

    entries: tuple[AllowedHost, ...] = ()

    def __str__(self) -> str:
        return ",".join(map(str, self.entries))

    @classmethod
    def parse(cls, text: str, where: str) -> AllowedHosts:
        """Entries with commas between them. Raises InputError as `AllowedHost.parse` does."""
        return cls(tuple(AllowedHost.parse(entry.strip(), where) for entry in text.split(",") if entry.strip()))

    def entry_for(self, address: WebAddress) -> AllowedHost:
        """The entry that lets an address in, one that lets private networks in before others.

        Raises:
            InputError: there is none.
        """
        covering = [entry for entry in self.entries if entry.covers(address)]
        if not covering:
            raise InputError(str(address), "a host that SAM4D_ALLOWED_HOSTS names, with its port", f"{address.host}:{address.port}")
        return max(covering, key=lambda entry: entry.private)
