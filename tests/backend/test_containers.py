"""docker-compose.yml, without an engine: what it promises of every container, and that Compose and a linter take it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from backend.embedded import Login, Workplace, label_studio_environment
from backend.settings import Settings
from tests.backend.compose_file import COMPOSE_FILE, REPOSITORY, compose_document, example_variables, filled

SECRETS = {"LABEL_STUDIO_PASSWORD", "LABEL_STUDIO_USER_TOKEN", "SAM4D_BACKEND_PASSWORD", "POSTGRES_PASSWORD"}
ONCE = {"data-root", "import", "minio-volume", "bucket"}
"""What does its work and ends."""
BACKENDS = ("backend", "backend-gpu")
PROFILES: tuple[list[str], ...] = ([], ["gpu"], ["minio"], ["tools"], ["gpu", "minio", "tools"])


@pytest.fixture
def document() -> dict[str, Any]:
    return compose_document()


@pytest.fixture
def services(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    services: dict[str, dict[str, Any]] = document["services"]
    return services


def test_nobody_is_root_or_can_become_it(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        user, _, group = service["user"].partition(":")
        assert user.isdigit(), f"{name}: a number, which no image can give another meaning"
        assert int(user) > 0, name
        assert group.isdigit(), name
        assert service["cap_drop"] == ["ALL"], name
        assert "cap_add" not in service, name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not {"privileged", "pid", "ipc", "devices", "userns_mode"} & set(service), name


def test_nothing_is_written_but_what_is_named(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert all("size=" in place for place in service.get("tmpfs", [])), f"{name}: what lies in memory has an end"
        assert not any("docker.sock" in volume for volume in service.get("volumes", [])), name


def test_every_container_has_its_limits(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert re.fullmatch(r"\d+[mg]", filled(str(service["mem_limit"]), {})), name
        assert 0 < service["pids_limit"] <= 2048, name
        assert service["logging"]["options"]["max-size"], name


def test_every_server_is_asked_for_its_health_and_waited_for(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        if name in ONCE:
            assert service["healthcheck"] == {"disable": True}, name
            assert "restart" not in service, name
        else:
            assert service["healthcheck"]["test"][0] == "CMD", f"{name}: without a shell"
            assert service["restart"] == "unless-stopped", name
        for other, condition in service.get("depends_on", {}).items():
            wanted = "service_completed_successfully" if other in ONCE else "service_healthy"
            assert condition == {"condition": wanted}, f"{name} after {other}"
            assert set(services[other].get("profiles", [])) <= set(service.get("profiles", [])), f"{name} may start without {other}"


def test_every_image_is_of_one_version(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        image, _, tag = service["image"].rpartition(":")
        assert image, name
        if "build" in service:
            assert tag == service["build"]["target"], name
        else:
            assert re.search(r"\d+\.\d+|\d{4}-\d{2}-\d{2}T", tag), f"{name}: {tag} moves"
            assert "latest" not in tag, name


def test_the_database_is_for_label_studio_alone(document: dict[str, Any]) -> None:
    assert {name for name, service in document["services"].items() if "database" in service.get("networks", [])} == {
        "database",
        "label-studio",
    }
    assert document["services"]["database"]["networks"] == ["database"]
    assert document["networks"]["database"] == {"internal": True}
    assert "ports" not in document["services"]["database"]


def test_ports_are_open_on_this_machine_alone(services: dict[str, dict[str, Any]]) -> None:
    assert {name for name, service in services.items() if "ports" in service} == {"label-studio", "minio"}
    for service in services.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_only_the_import_writes_into_the_data_root(services: dict[str, dict[str, Any]]) -> None:
    root = services["backend"]["environment"]["SAM4D_DATA_ROOT"]
    assert services["label-studio"]["environment"]["LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT"] == root
    mounts = {
        name: volume
        for name, service in services.items()
        for volume in service.get("volumes", [])
        if volume.startswith("${SAM4D_DATA") or volume.startswith("data:")
    }
    assert set(mounts) == {"label-studio", "data-root", "import", *BACKENDS}
    assert {name for name, volume in mounts.items() if not volume.endswith(":ro")} == {"data-root", "import"}
    assert {volume.removesuffix(":ro") for volume in mounts.values()} == {f"${{SAM4D_DATA:-data}}:{root}"}
    # Docker gives a new volume the owner that its place has in the image of the first container; so that one comes first.
    for name in set(mounts) - {"data-root"}:
        assert "data-root" in _before(services, name), name


def _before(services: Mapping[str, Mapping[str, Any]], name: str) -> set[str]:
    """All that must be there before a service starts."""
    direct = set(services[name].get("depends_on", {}))
    return direct.union(*(_before(services, other) for other in direct))


def test_label_studio_is_told_the_same_as_by_up(services: dict[str, dict[str, Any]]) -> None:
    ours = label_studio_environment(Workplace(Path("/work")), Login("name", "password", "token", "backend"), "http://127.0.0.1:8080")
    theirs = services["label-studio"]["environment"]
    database = {"DJANGO_DB", "POSTGRE_HOST", "POSTGRE_PORT", "POSTGRE_NAME", "POSTGRE_USER", "POSTGRE_PASSWORD"}
    # the image has its own folders; a proxy in front of it is a team's
    assert set(theirs) == set(ours) - {"PATH", "LANG", "LABEL_STUDIO_BASE_DATA_DIR"} | database | {
        "CSRF_TRUSTED_ORIGINS",
        "SESSION_COOKIE_SECURE",
    }
    for name in set(ours) & set(theirs) - {"HOME", "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT"}:
        if "$" not in theirs[name]:
            assert theirs[name] == ours[name], name
    assert services["label-studio"]["image"] == "heartexlabs/label-studio:1.23.2"


def test_label_studio_finds_its_database(services: dict[str, dict[str, Any]]) -> None:
    database, variables = services["database"]["environment"], services["label-studio"]["environment"]
    assert variables["POSTGRE_HOST"] in services
    assert variables["POSTGRE_NAME"] == database["POSTGRES_DB"]
    assert variables["POSTGRE_USER"] == database["POSTGRES_USER"]
    assert variables["POSTGRE_PASSWORD"] == database["POSTGRES_PASSWORD"]
    assert services["database"]["image"].startswith("postgres:16.")


@pytest.mark.parametrize("name", [*BACKENDS, "import"])
def test_the_backend_understands_its_variables(services: dict[str, dict[str, Any]], name: str, tmp_path: Path) -> None:
    example = {**example_variables(), **dict.fromkeys(SECRETS, "0" * 40)}
    variables = {key: filled(value, example) for key, value in services[name]["environment"].items()}
    settings = Settings.from_environment(variables | {"SAM4D_DATA_ROOT": str(tmp_path)})
    assert (settings.backend_url, settings.label_studio_url) == ("http://backend:9090", "http://label-studio:8080")
    assert settings.data_root == tmp_path
    assert settings.credentials.user is not None
    assert settings.credentials.password == settings.label_studio_api_key == "0" * 40
    assert f"cache:{settings.model_dir}" in services[name]["volumes"]
    assert settings.device == ("cuda" if name == "backend-gpu" else "auto")


def test_the_gpu_is_asked_for(services: dict[str, dict[str, Any]]) -> None:
    (device,) = services["backend-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    assert services["backend-gpu"]["profiles"] == ["gpu"]
    assert "http://backend-gpu:9090" in (REPOSITORY / ".env.example").read_text(encoding="utf-8")


def test_every_variable_of_the_description_is_in_the_example_with_the_same_value() -> None:
    text, example = re.sub(r"#.*", "", COMPOSE_FILE.read_text(encoding="utf-8")), example_variables()
    used = re.findall(r"\$\{(\w+):([-?])([^}]*)\}", text)
    assert len(used) == len(re.findall(r"\$\{|(?<!\$)\$\w", text)), "every variable has a default or is required"
    assert {name for name, _, _ in used} == set(example)
    for name, kind, default in used:
        assert example[name] == (default if kind == "-" else ""), name


def test_no_secret_has_a_value_that_works(services: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    text = COMPOSE_FILE.read_text(encoding="utf-8")
    assert {name for name, kind in re.findall(r"\$\{(\w+):([-?])", text) if kind == "?"} == SECRETS
    for name, service in services.items():
        for variable, value in service.get("environment", {}).items():
            if re.search("PASS|TOKEN|KEY", variable) and value != "true":
                assert re.fullmatch(r"\$\{\w+:(\?[^}]+|-)\}", value), f"{name}: {variable}"
    # A profile's secret cannot be required of those who do without the profile: its server refuses to start without.
    minio = services["minio"]
    (script,) = minio["command"]
    command = [*minio["entrypoint"], script.replace("$$", "$").replace("exec minio", "echo started")]
    for password, started in (("", False), ("secret", True)):
        result = subprocess.run(command, env={"MINIO_ROOT_PASSWORD": password}, capture_output=True, text=True, cwd=tmp_path)
        assert (result.returncode == 0) is started
        assert ("started" in result.stdout) is started
        assert ("set it in .env" in result.stderr) is not started


def compose(variables: Mapping[str, str], profiles: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    file = folder / "env"
    file.write_text("".join(f"{name}={value}\n" for name, value in variables.items()), encoding="utf-8")
    chosen = [word for profile in profiles for word in ("--profile", profile)]
    command = ["docker-compose", "--env-file", str(file), "--file", str(COMPOSE_FILE), *chosen, "config"]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="docker-compose is not installed")
@pytest.mark.parametrize("profiles", PROFILES, ids="+".join)
def test_compose_accepts_the_description(services: dict[str, dict[str, Any]], profiles: list[str], tmp_path: Path) -> None:
    secrets = {**example_variables(), **dict.fromkeys(SECRETS, "secret")}
    result = compose(secrets, profiles, tmp_path)
    assert result.returncode == 0, result.stderr
    understood = yaml.safe_load(result.stdout)["services"]
    for name, service in services.items():
        if set(service.get("profiles", ["none"])) <= {"none", *profiles}:
            assert understood[name]["read_only"] is True, name


@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="docker-compose is not installed")
@pytest.mark.parametrize("missing", sorted(SECRETS))
def test_compose_refuses_to_go_on_without_a_secret(missing: str, tmp_path: Path) -> None:
    result = compose({**example_variables(), **dict.fromkeys(SECRETS - {missing}, "secret")}, [], tmp_path)
    assert result.returncode != 0
    assert "set it in .env" in result.stderr


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the linter is for Python 3.11 and newer")
def test_a_linter_finds_nothing_in_the_description() -> None:
    linter = Path(sys.executable).with_name("compose-lint")
    options = ["--strict-config", "--no-env", "--config", str(REPOSITORY / ".compose-lint.yml"), "--fail-on", "low"]
    result = subprocess.run([str(linter), "check", *options, str(COMPOSE_FILE)], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
