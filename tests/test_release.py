"""What a release leans on. `make release-check` builds one and tries it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from tests.release_check import check_tag

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """What a wheel is built of, without the built 3D view."""
    folder = tmp_path / "sources"
    for name in ("sam4d", "converters", "backend"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules", "dist"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, folder / name)
    return folder


def build(sources: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "setup.py", "--quiet", "build_py", "--build-lib", "built"]
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "SAM4D_WITHOUT_VIEWER")}
    return subprocess.run(command, cwd=sources, env=environment | variables, capture_output=True, text=True)


def test_a_wheel_without_the_3d_view_is_not_built_by_accident(sources: Path) -> None:
    page = Path("backend/viewer/dist/index.html")
    refused = build(sources)
    assert refused.returncode != 0
    assert f"{page} is missing" in refused.stderr
    assert not (sources / "built").exists()
    wanted = build(sources, SAM4D_WITHOUT_VIEWER="yes")
    assert wanted.returncode == 0, wanted.stderr
    assert (sources / "built" / "backend" / "cli.py").is_file()
    (sources / page).parent.mkdir()
    (sources / page).write_text("the 3D view")
    assert build(sources).returncode == 0
    assert (sources / "built" / page).read_text() == "the 3D view"
    assert not list((sources / "built").rglob("*.ts")), "the page alone"


def test_the_version_stands_in_one_place() -> None:
    viewer = ROOT / "backend" / "viewer"
    lock = json.loads((viewer / "package-lock.json").read_text(encoding="utf-8"))
    for package in (json.loads((viewer / "package.json").read_text(encoding="utf-8")), lock, lock["packages"][""]):
        assert "version" not in package


def test_a_tag_is_the_version_and_has_its_changes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tests.release_check.REPOSITORY", tmp_path)
    changes = tmp_path / "CHANGELOG.md"
    changes.write_text("# Changelog\n\n## Unreleased\n\n## 1.2.3 (2026-01-31)\n")
    check_tag("v1.2.3", "1.2.3")
    with pytest.raises(SystemExit, match=r"the tag is v1\.2\.4, the version of pyproject\.toml 1\.2\.3"):
        check_tag("v1.2.4", "1.2.3")
    changes.write_text("# Changelog\n\n## Unreleased\n")
    with pytest.raises(SystemExit, match=r"no 1\.2\.3 in CHANGELOG\.md"):
        check_tag("v1.2.3", "1.2.3")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_run_nothing_that_may_change_under_them(path: Path) -> None:
    workflow: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert re.fullmatch(r"ubuntu-\d\d\.04", job["runs-on"])
        assert job["timeout-minutes"] <= 60
        for step in job["steps"]:
            assert "uses" not in step or re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", step["uses"])
            # what strangers may name goes into a variable, not into a script
            assert "${{" not in step.get("run", "")


def test_every_make_target_that_a_workflow_calls_is_there() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    called = {name for path in WORKFLOWS for name in re.findall(r"\bmake ([\w-]+)", path.read_text(encoding="utf-8"))}
    assert called == {"audit", "release-check"}
    assert called <= targets
