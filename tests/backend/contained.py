"""A service's container without an engine: the same user, read-only but for what it names, and nothing to be gained (bubblewrap)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

UNITS = {"k": 2**10, "m": 2**20, "g": 2**30}


def contained(service: Mapping[str, Any], folders: Mapping[str, Path], visible: Sequence[Path]) -> list[str]:
    """The words to put before a command.

    Args:
        service: of docker-compose.yml.
        folders: {place in the container: what stands in for its volume}; all that the service mounts.
        visible: what else of this machine's temporary folder the command reads.
    """
    user, _, group = service["user"].partition(":")
    words = ["bwrap", "--unshare-all", "--share-net", "--die-with-parent", "--uid", user, "--gid", group, "--tmpfs", "/"]
    for path in sorted(Path("/").iterdir()):
        if path.is_symlink():
            words += ["--symlink", str(path.readlink()), str(path)]
        elif path.name not in ("tmp", "proc", "dev", "data", "cache", "models"):
            words += ["--ro-bind", str(path), str(path)]
    words += ["--proc", "/proc", "--dev", "/dev", "--dir", "/app"]
    for place in service.get("tmpfs", ()):
        path, _, options = place.partition(":")
        given = dict(option.split("=") for option in options.split(","))
        size = re.fullmatch(r"(\d+)([kmg])", given["size"])
        assert size is not None, place
        words += ["--perms", given["mode"], "--size", str(int(size[1]) * UNITS[size[2]]), "--tmpfs", path]
    for path in visible:
        words += ["--ro-bind", str(path), str(path)]
    for volume in service.get("volumes", ()):
        # the source may hold a colon: ${SAM4D_DATA:-data}
        place, mode = re.fullmatch(r".*?:(/[^:]+)(:ro)?", volume).groups()  # type: ignore[union-attr]
        words += ["--ro-bind" if mode else "--bind", str(folders[place]), place]
    return [*words, *(["--remount-ro", "/"] if service.get("read_only") else []), "--chdir", "/app"]
