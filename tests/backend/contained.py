"""A service's container without an engine: the same user, read-only but for what it names, and nothing to be gained (bubblewrap)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NOT_SHOWN = {"proc", "dev", "tmp", "run", "var", "opt", "data", "cache", "models"}
"""Of this machine: a container has its own."""
UNITS = {"k": 2**10, "m": 2**20, "g": 2**30}


def contained(service: Mapping[str, Any], folders: Mapping[str, Path], visible: Mapping[str, Path]) -> list[str]:
    """The words to put before a command.

    Args:
        service: of docker-compose.yml.
        folders: {place in the container: what stands in for its volume}; all that the service mounts.
        visible: {place: what else of this machine is read there}.
    """
    user, _, group = service["user"].partition(":")
    words = ["bwrap", "--unshare-all", "--share-net", "--die-with-parent", "--uid", user, "--gid", group, "--tmpfs", "/"]
    for path in sorted(Path("/").iterdir()):
        if path.is_symlink():
            words += ["--symlink", str(path.readlink()), str(path)]
        elif path.name not in NOT_SHOWN:
            words += ["--ro-bind", str(path), str(path)]
    words += ["--proc", "/proc", "--dev", "/dev", "--dir", "/app"]
    for described in service.get("tmpfs", ()):
        path, _, options = described.partition(":")
        given = dict(option.split("=") for option in options.split(","))
        size = re.fullmatch(r"(\d+)([kmg])", given["size"])
        assert size is not None, described
        words += ["--perms", given["mode"], "--size", str(int(size[1]) * UNITS[size[2]]), "--tmpfs", path]
    for place, source in visible.items():
        words += ["--ro-bind", str(source), place]
    for volume in service.get("volumes", ()):
        # the source may hold a colon: ${SAM4D_DATA:-data}
        place, mode = re.fullmatch(r".*?:(/[^:]+)(:ro)?", volume).groups()  # type: ignore[union-attr]
        words += ["--ro-bind" if mode else "--bind", str(folders[place]), place]
    return [*words, *(["--remount-ro", "/"] if service.get("read_only") else []), "--chdir", "/app"]
