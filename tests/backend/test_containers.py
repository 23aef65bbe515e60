"""The containers, without an engine: their description, and every command of the image in a clean virtual environment."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from backend.embedded import Login, Workplace, label_studio_environment
from backend.settings import Settings

REPOSITORY = Path(__file__).parents[2]
DOCKERFILE = REPOSITORY / "backend" / "Dockerfile"


@pytest.fixture
def services() -> dict[str, Any]:
    document = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8"))
    services: dict[str, Any] = document["services"]
    return services


def test_label_studio_is_told_the_same_as_by_up(services: dict[str, Any]) -> None:
    ours = label_studio_environment(Workplace(Path("/work")), Login("name", "password", "token", "backend"), "http://127.0.0.1:8080")
    theirs = services["label-studio"]["environment"]
    # the image has its own folders
    assert set(theirs) == set(ours) - {"PATH", "HOME", "LANG", "LABEL_STUDIO_BASE_DATA_DIR"}
    for name, value in theirs.items():
        if "$" not in value and name != "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT":
            assert value == ours[name], name
    assert services["label-studio"]["image"] == "heartexlabs/label-studio:1.23.2"


def test_both_see_the_data_root_at_the_same_path(services: dict[str, Any]) -> None:
    root = services["backend"]["environment"]["SAM4D_DATA_ROOT"]
    assert services["label-studio"]["environment"]["LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT"] == root
    (backend_volume,) = services["backend"]["volumes"]
    assert backend_volume.endswith(f":{root}")
    assert f"{backend_volume}:ro" in services["label-studio"]["volumes"]


def test_the_backend_understands_its_variables(services: dict[str, Any], tmp_path: Path) -> None:
    variables = dict(services["backend"]["environment"])
    variables |= {
        "SAM4D_DATA_ROOT": str(tmp_path),
        "SAM4D_INTERACTIVE_SECONDS": "8",
        "LABEL_STUDIO_API_KEY": "0" * 40,
        "SAM4D_ALLOWED_HOSTS": "",
    }
    settings = Settings.from_environment(variables)
    assert (settings.backend_url, settings.label_studio_url) == ("http://backend:9090", "http://label-studio:8080")
    assert settings.data_root == tmp_path
    assert settings.credentials.password is not None


def test_every_variable_of_the_description_is_in_the_example(services: dict[str, Any]) -> None:
    used = set(re.findall(r"\$\{(\w+)", (REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8")))
    example = (REPOSITORY / ".env.example").read_text(encoding="utf-8")
    assert used == set(re.findall(r"^(\w+)=", example, re.MULTILINE))


@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="docker-compose is not installed")
def test_compose_accepts_the_description(tmp_path: Path) -> None:
    secrets = re.sub(r"^(\w+)=$", r"\1=secret", (REPOSITORY / ".env.example").read_text(encoding="utf-8"), flags=re.MULTILINE)
    (tmp_path / "env").write_text(secrets)
    command = ["docker-compose", "--env-file", str(tmp_path / "env"), "--file", str(REPOSITORY / "docker-compose.yml"), "config", "--quiet"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr

    (tmp_path / "env").write_text((REPOSITORY / ".env.example").read_text(encoding="utf-8"))
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode != 0
    assert "set it in .env" in result.stderr


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n\s*", "", DOCKERFILE.read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


def test_the_image_gets_what_its_commands_need() -> None:
    allowed = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")}
    copied = {source for name, rest in instructions() if name == "COPY" and "--from" not in rest for source in rest.split()[:-1]}
    assert {source.partition("/")[0] for source in copied} == allowed
    assert all((REPOSITORY / source).exists() for source in copied)
    users = [rest for name, rest in instructions() if name == "USER"]
    assert users[-1] not in ("root", "0")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_commands_of_the_image_in_a_clean_environment(tmp_path: Path) -> None:
    """COPY and the pip commands of RUN, in order, then the health check's and the start command's programs.

    The stage that builds the 3D view is left to `make`, which runs the same commands.
    """
    app, environment = tmp_path / "app", tmp_path / "environment"
    app.mkdir()
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    variables = {**os.environ, "PATH": f"{environment}/bin:{os.environ['PATH']}", "TORCH_INDEX": "https://pypi.org/simple"}
    done = 0
    stages = "\n".join(f"{name} {rest}" for name, rest in instructions()).split("FROM ")
    assert "npm ci" in stages[1]
    for name, rest in instructions()[stages[1].count("\n") :]:
        if name == "COPY" and rest.startswith("--from=viewer"):
            page = app / rest.split()[-1]
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text("the 3D view")
        elif name == "COPY":
            *sources, target = rest.split()
            for source in sources:
                place = app / target / (source if target == "./" else "")
                if (REPOSITORY / source).is_dir():
                    shutil.copytree(REPOSITORY / source, place, ignore=shutil.ignore_patterns("__pycache__", "node_modules", "dist"))
                else:
                    shutil.copyfile(REPOSITORY / source, place)
        elif name == "RUN" and rest.startswith("pip "):
            subprocess.run(["sh", "-ec", rest], cwd=app, env=variables, check=True)
            done += 1
    assert done == 2

    start = next(rest for name, rest in instructions() if name == "CMD")
    assert start == '["sam4d", "serve"]'
    result = subprocess.run(["sam4d", "serve", "--help"], cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    program = "from backend.viewer_page import PAGE; print(PAGE.read_text())"
    result = subprocess.run([*shlex.split("python -c"), program], cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert result.stdout.strip() == "the 3D view", result.stderr
    program = "import backend.asgi, sys; backend.asgi.create_app(); print(sys.prefix, 'pytest' in sys.modules)"
    result = subprocess.run([*shlex.split("python -c"), program], cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert result.stdout.strip() == f"{environment} False", result.stderr
