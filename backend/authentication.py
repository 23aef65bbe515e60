"""Who may ask: HTTP basic authentication, a bearer token, or either."""

from __future__ import annotations

import base64
import binascii
import secrets
from dataclasses import dataclass, field

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

OPEN_PATHS = frozenset({"/health", "/health/live", "/health/ready"})
"""Orchestrators ask these without a password, and Label Studio does before it has one."""


@dataclass(frozen=True)
class Credentials:
    """What is accepted. user, password: Label Studio sends them. bearer_token: for scripts and for what collects the metrics."""

    user: str | None = None
    password: str | None = field(default=None, repr=False)
    bearer_token: str | None = field(default=None, repr=False)

    @property
    def any_given(self) -> bool:
        return self.password is not None or self.bearer_token is not None

    def accept(self, authorization: bytes) -> bool:
        """Whether the header's value is right; takes as long for a wrong secret as for the right one (RFC 7617, RFC 6750)."""
        scheme, _, given = authorization.partition(b" ")
        given = given.strip()
        if scheme.lower() == b"basic" and self.user is not None and self.password is not None:
            try:
                decoded = base64.b64decode(given, validate=True)
            except binascii.Error:
                return False
            return secrets.compare_digest(decoded, f"{self.user}:{self.password}".encode())
        if scheme.lower() == b"bearer" and self.bearer_token is not None:
            return secrets.compare_digest(given, self.bearer_token.encode())
        return False


class Authentication:
    """ASGI middleware: everything but the health pages is answered 401 without the right credentials, before its body is read."""

    def __init__(self, app: ASGIApp, credentials: Credentials) -> None:
        self._app = app
        self._credentials = credentials
        schemes = [] if credentials.password is None else [('Basic realm="sam4d"', "user and password (HTTP basic authentication)")]
        schemes += [] if credentials.bearer_token is None else [('Bearer realm="sam4d"', "a bearer token")]
        self._challenge = ", ".join(challenge for challenge, _ in schemes)
        self._expected = " or ".join(expected for _, expected in schemes) + " expected"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS or self._is_allowed(scope):
            await self._app(scope, receive, send)
            return
        response = JSONResponse({"error": self._expected}, status_code=401, headers={"WWW-Authenticate": self._challenge})
        await response(scope, receive, send)

    def _is_allowed(self, scope: Scope) -> bool:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        return len(given) == 1 and self._credentials.accept(given[0])
