"""How fast PCD files are read, in all three encodings, beside pypcd4 in the same run.

    python benchmarks/point_clouds.py [--points 170000] [--rounds 15]

Both read the same file and hand out x, y, z and intensity as float32: ours as points and intensity, pypcd4 as one array. They take turns,
and the fastest of each one's rounds counts. Time is that of the processor, so that other programs on the machine disturb little.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
from pypcd4.pypcd4 import PointCloud

from converters.point_cloud_files import PcdEncoding, format_pcd, parse_pcd
from sam4d.structures import Float32Array, Sweep


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--points", type=int, default=170_000)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    random = np.random.default_rng(0)
    points_m = random.normal(0, 30, (arguments.points, 3)).astype(np.float32)
    intensity = random.uniform(0, 255, arguments.points).astype(np.float32)
    sweep = Sweep(points_m, intensity)
    print(f"{'encoding':<20}{'ours':>10}{'pypcd4':>10}   milliseconds for {arguments.points} points")
    with tempfile.TemporaryDirectory() as folder:
        for encoding in get_args(PcdEncoding):
            file = Path(folder) / f"{encoding}.pcd"
            file.write_bytes(format_pcd(sweep, encoding))
            ours, theirs = _fastest(arguments.rounds, lambda file=file: _ours(file), lambda file=file: _theirs(file))  # type: ignore[misc]
            read, table = _ours(file), _theirs(file)
            same = np.array_equal(read.points_m, sweep.points_m) and np.array_equal(table, np.column_stack([points_m, intensity]))
            if not same:
                print(f"{encoding}: the points that were read are not those written", file=sys.stderr)
                return 1
            print(f"{encoding:<20}{1000 * ours:>10.2f}{1000 * theirs:>10.2f}")
    return 0


def _ours(file: Path) -> Sweep:
    return parse_pcd(file.read_bytes(), str(file))


def _theirs(file: Path) -> Float32Array:
    table: Float32Array = PointCloud.from_path(str(file)).numpy(("x", "y", "z", "intensity")).astype(np.float32, copy=False)
    return table


def _fastest(rounds: int, *calls: Callable[[], object]) -> list[float]:
    """Seconds of each call's fastest round."""
    fastest = [float("inf")] * len(calls)
    for _ in range(rounds):
        for place, call in enumerate(calls):
            began = time.process_time()
            call()
            fastest[place] = min(fastest[place], time.process_time() - began)
    return fastest


if __name__ == "__main__":
    sys.exit(main())
