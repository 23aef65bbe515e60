"""backend/Dockerfile, without an engine: its commands in a clean virtual environment, and what they install in a container's place."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from backend.embedded import Child, free_port, running_child
from tests.backend.compose_file import REPOSITORY, compose_document, example_variables, filled
from tests.backend.conftest import Project
from tests.backend.contained import contained
from tests.backend.test_labelling import objects

DOCKERFILE = REPOSITORY / "backend" / "Dockerfile"


@dataclass(frozen=True)
class Stage:
    """One FROM of the Dockerfile and its instructions."""

    base: str
    name: str
    instructions: tuple[tuple[str, str], ...]

    def of(self, instruction: str) -> list[str]:
        return [rest for name, rest in self.instructions if name == instruction]


@pytest.fixture(scope="module")
def stages() -> dict[str, Stage]:
    text = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE))
    found = {}
    for part in text.split("FROM ")[1:]:
        head, *lines = (line for line in part.splitlines() if line.strip())
        base, name = head.split(" AS ")
        found[name] = Stage(base, name, tuple((line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines))
    return found


def test_the_targets_of_the_description_are_there(stages: dict[str, Stage]) -> None:
    services = compose_document()["services"].values()
    assert {service["build"]["target"] for service in services if "build" in service} == {"cpu", "cuda"}
    for target in ("cpu", "cuda"):
        assert stages[target].base == "base"
        assert stages[target].instructions[-1] == ("USER", "1001:0")
    assert list(stages)[-1] == "cpu", "what is built where nobody says which"


def test_the_image_gets_what_its_commands_need(stages: dict[str, Stage]) -> None:
    allowed = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")}
    copied = {source for stage in stages.values() for rest in stage.of("COPY") if "--from" not in rest for source in rest.split()[:-1]}
    assert {source.partition("/")[0] for source in copied} == allowed
    assert all((REPOSITORY / source).exists() for source in copied)


def test_what_it_starts_from_and_installs_is_pinned(stages: dict[str, Stage]) -> None:
    for stage in stages.values():
        assert stage.base in stages or re.fullmatch(r"[\w/]+:\d+\.\d+\.\d+-[\w-]+", stage.base), stage.base
    assert stages["base"].base.startswith("python:3.11."), "spconv-cu120 has no wheels for newer ones"
    pins = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    installs = [rest for stage in stages.values() for rest in stage.of("RUN") if rest.startswith("pip install")]
    assert len(installs) == 4
    for install in installs:
        assert "-c constraints.txt" in install
        assert {word for word in install.split() if "==" in word} <= set(pins)


def test_a_linter_finds_nothing(stages: dict[str, Stage]) -> None:
    linter = Path(sys.executable).with_name("hadolint")
    result = subprocess.run([str(linter), str(DOCKERFILE)], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, ""), result.stderr


def test_user_and_folders_are_made_by_the_first_command(stages: dict[str, Stage], namespaces: None, tmp_path: Path) -> None:
    """As root of an empty system with this machine's programs."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a file another user's")
    (command,) = stages["base"].of("RUN")
    etc = tmp_path / "etc"
    etc.mkdir()
    for name in ("passwd", "group", "shadow", "gshadow", "login.defs", "nsswitch.conf"):
        if Path("/etc", name).exists():
            shutil.copy(Path("/etc", name), etc)
    words = ["bwrap", "--unshare-pid", "--unshare-net", "--die-with-parent", "--tmpfs", "/", "--ro-bind", "/usr", "/usr"]
    for path in (path for path in sorted(Path("/").iterdir()) if path.is_symlink()):
        words += ["--symlink", str(path.readlink()), str(path)]
    words += ["--bind", str(etc), "/etc", "--dir", "/home", "--proc", "/proc", "--dev", "/dev", "--chdir", "/"]
    looked_at = "id --user sam4d && stat --format '%n %a %u %g' /data /cache /models /home/sam4d"
    result = subprocess.run([*words, "sh", "-ec", f"{command}; {looked_at}"], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    user, data, cache, models, home = result.stdout.splitlines()
    assert user == "1001"
    # What both services write is the group's; what is downloaded into the image is read only.
    assert (data, cache, models) == ("/data 2775 1001 0", "/cache 2775 1001 0", "/models 755 0 0")
    assert home.endswith(" 1001 0")


@dataclass(frozen=True)
class Image:
    """A virtual environment in which the commands of the stages that lead to the target `cpu` were run."""

    app: Path
    environment: Path
    variables: dict[str, str]

    def run(self, command: str) -> str:
        result = subprocess.run(["sh", "-ec", command], cwd=self.app, env=self.variables, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout


@pytest.fixture(scope="module")
def image(stages: dict[str, Stage], tmp_path_factory: pytest.TempPathFactory) -> Image:
    """COPY and the pip commands of RUN, in order; the first RUN has a test of its own. The stage that builds the 3D view is left to `make`,
    which runs the same commands."""
    folder = tmp_path_factory.mktemp("image")
    app, environment = folder / "app", folder / "environment"
    app.mkdir()
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    variables = {**os.environ, "PATH": f"{environment}/bin:{os.environ['PATH']}", "TORCH_INDEX": "https://pypi.org/simple"}
    variables.pop("PYTHONPATH", None)
    image = Image(app, environment, variables)
    for name, rest in [*stages["base"].instructions, *stages["wheel"].instructions, *stages["cpu"].instructions]:
        if name == "COPY" and rest.startswith("--from=viewer "):
            page = app / rest.split()[-1]
            page.parent.mkdir(parents=True)
            page.write_text("the 3D view")
        elif name == "COPY" and rest.startswith("--from=wheel "):
            assert rest.split()[1:] == ["/app/wheels", "wheels"], "where they were made"
        elif name == "COPY":
            *sources, target = rest.split()
            for source in sources:
                place = app / target / (source if target == "./" else "")
                if (REPOSITORY / source).is_dir():
                    shutil.copytree(REPOSITORY / source, place, ignore=shutil.ignore_patterns("__pycache__", "node_modules", "dist"))
                else:
                    shutil.copyfile(REPOSITORY / source, place)
        elif name == "RUN" and rest.startswith("pip "):
            image.run(rest)
    return image


@pytest.mark.slow
@pytest.mark.xdist_group("image")
@pytest.mark.timeout(900)
def test_the_commands_of_the_image_in_a_clean_environment(stages: dict[str, Stage], image: Image) -> None:
    assert stages["base"].of("CMD") == ['["sam4d", "serve"]']
    assert image.run("sam4d --version").startswith("sam4d ")
    for name in ("sam4d", "converters", "backend"):
        shutil.rmtree(image.app / name)  # what answers from here on is the wheel
    assert image.run("python -c 'from backend.viewer_page import PAGE; print(PAGE.read_text())'").strip() == "the 3D view"
    unwanted = {"pytest", "flask", "werkzeug", "jinja2"}  # the last three are label-studio-ml's old ones
    program = f"import backend.asgi, sys; backend.asgi.create_app(); print(sys.prefix, {unwanted} & set(sys.modules))"
    assert image.run(f'python -c "{program}"').strip() == f"{image.environment} set()"


@pytest.mark.slow
@pytest.mark.xdist_group("image")
@pytest.mark.timeout(900)
def test_the_packages_of_the_cuda_image_are_there(stages: dict[str, Stage], image: Image) -> None:
    """Found and resolved, but for the gigabytes that torch brings along."""
    torch, ours = (rest for rest in stages["cuda"].of("RUN") if rest.startswith("pip install"))
    found = image.run(torch.replace("pip install", "pip install --dry-run --no-deps --ignore-installed"))
    assert re.search(r"Would install spconv-cu120-2\.3\.6 torch-2\.13\.0", found), found
    spconv = image.run("pip install --dry-run -c constraints.txt spconv-cu120==2.3.6")
    assert "cumm-cu120" in spconv.partition("Would install")[2]
    assert "Would install" not in image.run(ours.replace("pip install", "pip install --dry-run")), "the same wheel is there already"


@contextmanager
def served(command: list[str], variables: dict[str, str], log: Path, folder: Path) -> Iterator[tuple[Child, str]]:
    port = free_port(0, "port")
    told = {**variables, "SAM4D_HOST": "127.0.0.1", "SAM4D_PORT": str(port)}
    with running_child("the backend", command, log, told, folder) as child:
        child.wait_until_healthy(f"http://127.0.0.1:{port}/health", 120)
        yield child, f"http://127.0.0.1:{port}"


@pytest.mark.slow
@pytest.mark.xdist_group("image")
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("namespaces")
def test_the_backend_serves_from_a_read_only_container(image: Image, project: Project, tmp_path: Path) -> None:
    services = compose_document()["services"]
    root, cache, models = tmp_path / "root", tmp_path / "cache", tmp_path / "models"
    shutil.copytree(project.data_root, root)
    page = root / "viewer" / "sam4d.html"
    page.parent.mkdir()
    page.write_text("an older view")
    for folder in (cache, models):
        folder.mkdir()
    folders = {"/data": root, "/cache": cache, "/models": models}
    example = {**example_variables(), **dict.fromkeys(("LABEL_STUDIO_USER_TOKEN", "SAM4D_BACKEND_PASSWORD"), "0" * 40)}

    def inside(name: str) -> tuple[list[str], dict[str, str]]:
        variables = {key: filled(value, example) for key, value in services[name]["environment"].items()}
        visible = {str(folder): folder for folder in (image.environment.parent, Path(sys.base_prefix))}
        return contained(services[name], folders, visible), {"PATH": image.variables["PATH"], **variables}

    words, variables = inside("backend")
    attempt = "for place in / /app /data /models /usr /root; do ! touch $place/x 2>/dev/null || echo $place; done"
    command = [*words, "sh", "-c", f"{attempt}; touch /tmp/x /cache/x; id -u"]
    tried = subprocess.run(command, env=variables, capture_output=True, text=True)
    assert (tried.stdout, tried.stderr) == ("1001\n", ""), "what can be written to is what the service names"

    words, variables = inside("data-root")
    command = services["data-root"]["command"]
    subprocess.run([*words, *command], env=variables, check=True)
    assert page.read_text() == "the 3D view"

    words, variables = inside("backend")
    log = tmp_path / "backend.log"
    with served([*words, "sam4d", "serve"], variables, log, tmp_path) as (_, url):
        request = project.request(project.task(), context=project.click_on(project.visible()))
        answer = requests.post(f"{url}/predict", json=request, timeout=120, auth=("label-studio", "0" * 40))
        assert answer.status_code == 200, answer.text
        assert objects(answer.json()["results"][0]["result"]) == {1}
        assert requests.post(f"{url}/predict", json=request, timeout=120).status_code == 401
    said = log.read_text()
    assert not re.search("Traceback|Read-only|Permission denied|ERROR|control socket", said), said
