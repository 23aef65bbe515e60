"""Who is let in: the right user and password, the right token, and nobody else."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from backend.asgi import create_app
from backend.authentication import Credentials
from backend.settings import Settings
from tests.backend.conftest import Project

TOKEN = "a-token-of-forty-hexadecimal-digits"
BOTH = Credentials("user", "pässword", TOKEN)
CLOSED = (("POST", "/setup"), ("POST", "/predict"), ("POST", "/webhook"), ("GET", "/metrics"), ("GET", "/"), ("GET", "/versions"))


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


WRONG = {
    "nothing": None,
    "an empty header": "",
    "the scheme alone": "Bearer",
    "a wrong password": basic("user", "password"),
    "a wrong user": basic("User", "pässword"),
    "no colon": "Basic " + base64.b64encode(b"user").decode(),
    "no base64": "Basic !!!",
    "a wrong token": f"Bearer {TOKEN}x",
    "half a token": f"Bearer {TOKEN[:-1]}",
    "the token as a password": basic("user", TOKEN),
    "the password as a token": "Bearer pass",
    "the token of Label Studio's scheme": f"Token {TOKEN}",
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize(
    "credentials", [Credentials("user", "pässword"), Credentials(bearer_token=TOKEN), BOTH], ids=["basic", "bearer", "both"]
)
def test_the_wrong_ones_get_nowhere(name: str, credentials: Credentials, settings: Settings) -> None:
    authorization = WRONG[name]
    headers = {} if authorization is None else {"Authorization": authorization}
    client = TestClient(create_app(replace(settings, credentials=credentials)))
    for method, path in CLOSED:
        answer = client.request(method, path, headers=headers)
        assert answer.status_code == 401, (method, path)
        assert ("Basic" in answer.headers["WWW-Authenticate"]) == (credentials.password is not None)
        assert ("Bearer" in answer.headers["WWW-Authenticate"]) == (credentials.bearer_token is not None)
    for path in ("/health", "/health/live", "/health/ready"):
        assert client.get(path, headers=headers).status_code == 200


def test_the_right_ones_get_in(settings: Settings, project: Project) -> None:
    client = TestClient(create_app(replace(settings, credentials=BOTH)))
    for authorization in (basic("user", "pässword"), f"Bearer {TOKEN}", f"bearer  {TOKEN}"):
        headers = {"Authorization": authorization}
        assert client.post("/setup", json={"schema": project.label_config}, headers=headers).status_code == 200
        assert client.get("/metrics", headers=headers).status_code == 200


def test_two_headers_are_one_too_many(settings: Settings) -> None:
    client = TestClient(create_app(replace(settings, credentials=BOTH)))
    right, wrong = ("Authorization", f"Bearer {TOKEN}"), ("Authorization", "Bearer wrong")
    assert client.get("/metrics", headers=[right, wrong]).status_code == 401
    assert client.get("/metrics", headers=[wrong, right]).status_code == 401


def test_a_body_is_not_read_before_the_password(settings: Settings) -> None:
    client = TestClient(create_app(replace(settings, credentials=BOTH)))

    read = []

    def body() -> Iterator[bytes]:
        read.append(1)
        yield b"{"

    with TestClient(create_app(settings)) as open_client:
        assert open_client.post("/predict", content=body()).status_code == 400
    assert client.post("/predict", content=body()).status_code == 401
    assert len(read) == 1, "by the open one alone"


@given(st.binary(max_size=200))
def test_no_other_header_is_accepted(value: bytes) -> None:
    assert not BOTH.accept(value)
    assert not BOTH.accept(b"Basic " + value)
    assert not BOTH.accept(b"Bearer " + value)


@given(st.text(min_size=1).filter(lambda text: ":" not in text), st.text(min_size=1))
def test_every_user_and_password_is_understood(user: str, password: str) -> None:
    try:
        header = basic(user, password).encode()
    except UnicodeEncodeError:  # lone surrogates have no bytes
        return
    assert Credentials(user, password).accept(header)
    assert not Credentials(user, password + "x").accept(header)
