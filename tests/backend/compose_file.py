"""docker-compose.yml, read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

REPOSITORY = Path(__file__).parents[2]
COMPOSE_FILE = REPOSITORY / "docker-compose.yml"
EXAMPLE = REPOSITORY / ".env.example"


def compose_document() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(COMPOSE_FILE.read_text(encoding="utf-8"))
    return document


def example_variables() -> dict[str, str]:
    """What .env.example sets; secrets are empty there."""
    return dict(re.findall(r"^(\w+)=(.*)$", EXAMPLE.read_text(encoding="utf-8"), re.MULTILINE))


def filled(text: str, variables: Mapping[str, str]) -> str:
    """The text with its variables in their places; raises KeyError for one that is required and empty, as Compose refuses to start."""

    def value(match: re.Match[str]) -> str:
        name, kind, rest = match.groups()
        if variables.get(name):
            return variables[name]
        if kind == ":?":
            raise KeyError(name)
        return rest

    return re.sub(r"\$\{(\w+)(:[-?])([^}]*)\}", value, text).replace("$$", "$")
