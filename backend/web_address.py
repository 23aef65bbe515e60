"""Addresses on the web, read strictly: what two programs could read in two ways is refused."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, cast
from urllib.parse import quote, unquote, urljoin

from sam4d.structures import InputError

Scheme: TypeAlias = Literal["http", "https"]
IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

DEFAULT_PORTS: dict[str, int] = {"http": 80, "https": 443}
LONGEST_ADDRESS = 8192

# No space, control character, letter beyond ASCII, backslash, quote or bracket that programs disagree about.
_ADDRESS = re.compile(r"(https?)://([^/?#]+)((?:/[^?#]*)?)(?:\?([^#]*))?", re.IGNORECASE)
_LETTERS = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")
_PLACE = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


@dataclass(frozen=True)
class WebAddress:
    """An http or https address.

    host: a name in lower case, or an IP address in its usual spelling, without brackets. path: as it is sent, from the first slash on.
    query: as it is sent, without the question mark; it may hold a signature and is never shown.
    """

    scheme: Scheme
    host: str
    port: int
    path: str
    query: str = ""

    @classmethod
    def parse(cls, text: str, where: str) -> WebAddress:
        """Read an address.

        Raises:
            InputError: another scheme, a user or password, a host that is no plain name or IP address (numbers in other spellings, letters
                beyond ASCII, a dot at the end), a path with '..' or a backslash, however encoded. The message repeats no query and no
                password.
        """
        match = _ADDRESS.fullmatch(text) if len(text) <= LONGEST_ADDRESS and _LETTERS.fullmatch(text) else None
        if match is None:
            raise InputError(where, "an address such as https://host/path/to/drive/", f"{shown(text)!r}")
        scheme, place, path, query = cast(Scheme, match[1].lower()), match[2], match[3] or "/", match[4] or ""
        if "@" in place:
            raise InputError(where, "an address without user and password", f"{shown(text)!r}")
        found = _PLACE.fullmatch(place)
        if found is None or not 0 < int(found[2] or 1) <= 65535:
            raise InputError(where, "an address with a host and perhaps a port", f"{shown(text)!r}")
        host = parse_host(found[1], where)
        require_plain_path(path, where)
        return cls(scheme, host, int(found[2] or DEFAULT_PORTS[scheme]), path, query)

    @property
    def ip(self) -> IPAddress | None:
        """The host where it is an IP address itself."""
        return _ip(self.host)

    @property
    def authority(self) -> str:
        """Host and, where it is not the scheme's own, port: what the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def target(self) -> str:
        """Path and query, as the request's first line says them."""
        return f"{self.path}?{self.query}" if self.query else self.path

    def __str__(self) -> str:
        """For people: without the query, which may hold a signature."""
        return f"{self.scheme}://{self.authority}{self.path}"

    def file(self, path: str) -> WebAddress:
        """A file below this folder. path: relative, not encoded, checked by `local_folder.relative_path`."""
        return replace(self, path=f"{self.path.rstrip('/')}/{quote(path)}", query="")

    def redirected(self, location: str) -> WebAddress:
        """Where this address's answer sends on to. Raises InputError as `parse` does, and from https back to http."""
        where = f"redirect of {self}"
        try:
            # Only what parse lets through is joined: the standard library drops line ends without a word.
            whole = urljoin(str(self), location.partition("#")[0]) if _LETTERS.fullmatch(location) else location
        except ValueError:
            raise InputError(where, "an address", f"{shown(location)!r}") from None
        target = WebAddress.parse(whole, where)
        if self.scheme == "https" and target.scheme != "https":
            raise InputError(where, "to stay with https", str(target))
        return target


def parse_host(text: str, where: str) -> str:
    """A host in the one spelling that is compared. text: a name, an IPv4 address, or an IPv6 address in brackets.

    Raises:
        InputError: anything else. Whatever ends in a number is an IPv4 address to some resolvers, so that only the usual spelling of four
            decimal numbers passes.
    """
    expected = "a host name or an IP address in its usual spelling"
    host = text.lower()
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else None
    labels = host.split(".")
    if bare is not None or _NUMBER.fullmatch(labels[-1]):
        ip = _ip(host if bare is None else bare)
        if ip is None or (ip.version == 6) != (bare is not None):
            raise InputError(where, expected, repr(text[:100]))
        return str(ip)
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise InputError(where, expected, repr(text[:100]))
    return host


def require_plain_path(path: str, where: str) -> None:
    """Raises InputError where a path, once or twice decoded, has '.' or '..' in it, a slash that was encoded, a backslash, or characters
    that are not printed."""
    for text in (path, unquote(path), unquote(unquote(path))):
        if {".", ".."} & set(text.split("/")) or "\\" in text or any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
            raise InputError(where, "a path without '..' and backslashes", repr(path[:200]))
    if "%2f" in path.lower():
        raise InputError(where, "a path without encoded slashes", repr(path[:200]))


def shown(text: str) -> str:
    """An address that may be no address, for a message: without query, fragment, user and password, and not too long."""
    text = re.split(r"[?#]", text, maxsplit=1)[0]
    return (f"...{text.rpartition('@')[2]}" if "@" in text else text)[:200]


def _ip(text: str) -> IPAddress | None:
    try:
        return None if "%" in text else ipaddress.ip_address(text)
    except ValueError:
        return None
