"""How much memory hostile requests take: bodies of the largest size, all at once, whose JSON grows the most when it is read.

    python benchmarks/hostile_bodies.py [--count 8] [--megabytes 256] [--limit-gigabytes 4]

One backend as `sam4d serve` starts it, with its default settings. Of each kind, COUNT bodies of that size are sent to /predict side by
side, twice, to a server of their own. Memory is what all of its processes held at the most (VmHWM, added up) and hold afterwards (VmRSS).
The server may have no more address space than said, so that the machine survives one that does not hold.
"""

from __future__ import annotations

import argparse
import http.client
import resource
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from backend.embedded import free_port, gunicorn_command, running_child

PIECE_BYTES = 1 << 20
KINDS = {
    "lists": (b'{"tasks": [', b"[],", b"[]]}"),
    "objects": (b'{"tasks": [', b'{"":0},', b"{}]}"),
    "texts": (b'{"tasks": [', b'"ab",', b'""]}'),
    "numbers": (b'{"tasks": [', b"-6,", b"0]}"),
    "decimals": (b'{"tasks": [', b"0.1,", b"0]}"),
    "masks": (b'{"tasks": [', b"255,", b"0]}"),
    "one text": (b'{"tasks": "\xf0\x9f\x98\x80', b"aaaa", b'"}'),
    "not JSON": (b"{", b" ", b"!"),
}
"""Beginning, what is repeated, end. In "one text" a single letter makes Python hold each of the others in four bytes."""


def send(address: str, kind: str, size_bytes: int, statuses: Counter[str]) -> None:
    begin, repeated, end = KINDS[kind]
    times = (size_bytes - len(begin) - len(end)) // len(repeated)
    per_piece = PIECE_BYTES // len(repeated)
    place = urlsplit(address)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=150)
    try:
        connection.putrequest("POST", "/predict")
        connection.putheader("Content-Length", str(len(begin) + times * len(repeated) + len(end)))
        connection.endheaders()
        connection.send(begin)
        for start in range(0, times, per_piece):
            connection.send(repeated * min(per_piece, times - start))
        connection.send(end)
        statuses[str(connection.getresponse().status)] += 1
    except OSError as error:
        # refused before it was all sent
        statuses[type(error).__name__] += 1
    finally:
        connection.close()


def memory_mb(process: int) -> tuple[float, float]:
    """At the most and now, of a process and its children."""
    most, now = 0.0, 0.0
    for number in (process, *map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split())):
        lines = dict(line.split(":", 1) for line in Path(f"/proc/{number}/status").read_text().splitlines())
        most, now = most + int(lines["VmHWM"].split()[0]) / 1024, now + int(lines["VmRSS"].split()[0]) / 1024
    return most, now


def measure(kind: str, count: int, size_bytes: int, limit_bytes: int, folder: Path) -> None:
    address = f"http://127.0.0.1:{free_port(0, '--port')}"
    command = gunicorn_command("127.0.0.1", urlsplit(address).port or 0)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (limit_bytes, hard))
    with running_child("the backend", command, folder / "backend.log", None, folder) as child:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        child.wait_until_healthy(f"{address}/health", 120)
        before = memory_mb(child.process.pid)[1]
        for _ in range(2):
            statuses: Counter[str] = Counter()
            threads = [threading.Thread(target=send, args=(address, kind, size_bytes, statuses)) for _ in range(count)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            most, now = memory_mb(child.process.pid)
            answers = ", ".join(f"{number} x {status}" for status, number in sorted(statuses.items()))
            print(f"{kind:10}  before {before:5.0f} MB  most {most:6.0f} MB  after {now:6.0f} MB  {answers}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--megabytes", type=int, default=256)
    parser.add_argument("--limit-gigabytes", type=float, default=4.0, help="address space of each process; more than memory")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parsed = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        for kind in parsed.kinds:
            measure(kind, parsed.count, parsed.megabytes << 20, int(parsed.limit_gigabytes * 2**30), Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
