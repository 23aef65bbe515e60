"""The rooms and the direction of their imports, as drawn in README.md."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("sam4d", "converters", "backend")
FILE_ROOMS = ("converters/sequences/", "converters/exports/", "converters/point_cloud_files.py")


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported_names(path: Path) -> Iterator[str]:
    """Every module that the file imports, wherever in it the import stands; `from a import b` gives a and a.b."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides the direction"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


@pytest.mark.parametrize("path", modules("sam4d"), ids=lambda p: str(p.relative_to(ROOT)))
def test_the_model_has_never_heard_of_label_studio(path: Path) -> None:
    forbidden = ("backend", "converters", "label_studio_ml", "label_studio_sdk", "starlette", "requests")
    assert [name for name in imported_names(path) if within(name, forbidden)] == []


@pytest.mark.parametrize("path", modules("converters"), ids=lambda p: str(p.relative_to(ROOT)))
def test_converters_know_only_the_nouns(path: Path) -> None:
    allowed = ("sam4d.structures", "sam4d.geometry")
    ours = [name for name in imported_names(path) if within(name, ("sam4d", "backend"))]
    assert [name for name in ours if not within(name, allowed) and name != "sam4d"] == []
    forbidden = ("torch", "starlette", "uvicorn", "flask", "label_studio_ml", "requests")
    assert [name for name in imported_names(path) if within(name, forbidden)] == []


@pytest.mark.parametrize("path", modules("converters"), ids=lambda p: str(p.relative_to(ROOT)))
def test_converters_touch_files_only_in_their_file_rooms(path: Path) -> None:
    if str(path.relative_to(ROOT)).startswith(FILE_ROOMS):
        return
    calls = [node.func for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    # A member of an archive in memory is no file.
    names = {ast.unparse(func).rpartition(".")[2] for func in calls if ast.unparse(func) != "archive.open"}
    assert names & {"open", "read_text", "read_bytes", "write_text", "write_bytes", "mkdir", "unlink", "rename"} == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_only_the_settings_read_the_environment(package: str) -> None:
    readers = []
    for path in modules(package):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        if names & {"environ", "getenv"} or any(name in ("os.environ", "os.getenv") for name in imported_names(path)):
            readers.append(str(path.relative_to(ROOT)))
    assert set(readers) <= {"backend/settings.py"}


@pytest.mark.parametrize("package", PACKAGES)
def test_no_drawers(package: str) -> None:
    assert [path.name for path in modules(package) if path.stem in ("utils", "util", "misc", "helpers", "common")] == []


def test_the_structures_and_the_converters_need_no_torch() -> None:
    program = (
        "import sys, pkgutil, importlib, converters\n"
        "import sam4d.structures\n"
        "for module in pkgutil.walk_packages(converters.__path__, 'converters.'):\n"
        "    importlib.import_module(module.name)\n"
        "print(sorted({'torch', 'starlette', 'flask', 'label_studio_ml'} & set(sys.modules)))\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == "[]"


def test_the_public_surface() -> None:
    import sam4d

    assert sorted(sam4d.__all__, key=str.lower) == sorted((name for name in sam4d.__all__ if hasattr(sam4d, name)), key=str.lower)
    public = {name for name in vars(sam4d) if not name.startswith("_")}
    submodules = {path.stem for path in (ROOT / "sam4d").glob("*.py")} | {path.name for path in (ROOT / "sam4d").iterdir() if path.is_dir()}
    assert public - submodules == set(sam4d.__all__) - submodules
