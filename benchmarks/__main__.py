"""How fast, how much memory: one table, each figure beside a peer or a physical limit measured in the same run.

    python -m benchmarks [--quick] [--network] [--sequence FOLDER | --cameras N] [--parts PART ...] [--json]

A synthetic drive with about 168 thousand points a sweep is made first, unless a sequence is given. Every part runs in a process of its own,
on one core. Exit code 1 where a figure is not what is wanted. Other questions have scripts of their own in this folder.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from backend.embedded import terminated_like_interrupted
from benchmarks.drive import CAMERAS, Drive, write_synthetic_drive
from benchmarks.figure import Figure
from benchmarks.parts import NETWORK_PARTS, PARTS, apart

INTERRUPTED = 130
ONE_CORE = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def line(figure: Figure) -> str:
    beside = "" if figure.beside_value is None else f"{figure.beside_value:10.3f}  "
    wanted = [f"at {side} {bound:.4g}" for side, bound in (("most", figure.at_most), ("least", figure.at_least)) if bound is not None]
    verdict = f"   wanted {wanted[0]}: {'yes' if figure.is_kept else 'NO'}" if wanted else ""
    return f"{figure.name:72} {figure.value:10.3f} {figure.unit:6} {beside}{figure.beside}{verdict}".rstrip()


def processor() -> str:
    names = [row.partition(":")[2].strip() for row in Path("/proc/cpuinfo").read_text().splitlines() if row.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, {os.getloadavg()[0]:.1f} others running"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds, sizes and cameras")
    parser.add_argument("--network", action="store_true", help="also the SAM4D network, with random weights: some minutes")
    drives = parser.add_mutually_exclusive_group()
    drives.add_argument("--sequence", type=Path, metavar="FOLDER", help="a sequence folder, instead of the synthetic drive")
    cameras = range(1, len(CAMERAS) + 1)
    drives.add_argument("--cameras", type=int, choices=cameras, metavar="N", help="of the synthetic drive (default 6, with --quick 3)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, metavar="PART", help=f"only these: {', '.join(PARTS)}")
    parser.add_argument("--json", action="store_true", help="the figures as JSON on standard output")
    arguments = parser.parse_args()
    names = arguments.parts or [name for name in PARTS if name not in NETWORK_PARTS or arguments.network]
    os.environ.update(dict.fromkeys(ONE_CORE, "1"))
    found: dict[str, list[Figure]] = {}
    with terminated_like_interrupted(), tempfile.TemporaryDirectory() as scratch:
        if arguments.sequence is None:
            drive = write_synthetic_drive(Path(scratch) / "drive", quick=arguments.quick, camera_count=arguments.cameras)
        else:
            drive = Drive(arguments.sequence, arguments.quick)
        if not arguments.json:
            print(f"{processor()}\nseconds are the processor's unless they are said to be the clock's\n", flush=True)
        for name in names:
            found[name] = apart(name, drive)
            if not arguments.json:
                print("\n".join(map(line, found[name])), flush=True)
    if arguments.json:
        shown = {name: [asdict(figure) for figure in figures] for name, figures in found.items()}
        print(json.dumps({"processor": processor(), "figures": shown}, indent=1))
    return 0 if all(figure.is_kept for figures in found.values() for figure in figures) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
