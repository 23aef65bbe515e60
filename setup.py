"""What pyproject.toml cannot say: a wheel without the built 3D view is not built by accident."""

from __future__ import annotations

import os
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

PAGE = Path(__file__).parent / "backend" / "viewer" / "dist" / "index.html"


class BuildWithViewer(build_py):
    """Refuses where the page is missing; SAM4D_WITHOUT_VIEWER=yes goes on without. Editable installs find the page wherever it is."""

    def run(self) -> None:
        if not self.editable_mode and not PAGE.is_file() and os.environ.get("SAM4D_WITHOUT_VIEWER") != "yes":
            raise SystemExit(f"{PAGE} is missing: `make install` builds it; SAM4D_WITHOUT_VIEWER=yes goes on without the 3D view")
        super().run()


setup(cmdclass={"build_py": BuildWithViewer})
