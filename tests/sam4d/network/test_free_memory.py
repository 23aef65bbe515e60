"""Memory that is free is not held: small things that stay do not keep what lay between them."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from sam4d.network.free_memory import give_back_free_memory

BLOCK_BYTES = 100_000


def resident_mb() -> float:
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_gaps_between_what_stays_are_given_back() -> None:
    blocks = [bytearray(BLOCK_BYTES) for _ in range(3000)]
    stays = blocks[::100]
    del blocks
    before = resident_mb()
    give_back_free_memory()
    assert resident_mb() < before - 200
    assert len(stays) == 30
