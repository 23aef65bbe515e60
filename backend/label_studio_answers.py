"""What Label Studio's answers say, whatever shape they have."""

from __future__ import annotations

from typing import Any


def listed_versions(listed: Any) -> list[str]:
    """A list on PostgreSQL, one text with commas on SQLite, where a version may not hold a comma itself."""
    return listed.split(",") if isinstance(listed, str) else list(listed or ())


def reason_of(body: Any) -> str:
    """What Label Studio says, on one line."""
    if isinstance(body, dict):
        body = body.get("validation_errors") or body.get("detail") or body
    text = " ".join(str(body).split())
    return text if len(text) <= 300 else f"{text[:300]}..."
