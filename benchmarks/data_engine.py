"""How good and how fast labelling without a click is, on a synthetic drive with exact truth and worn image masks.

    python benchmarks/data_engine.py [--seed 11] [--frames 20] [--beams 64] [--azimuths 1800] [--json]
    python benchmarks/data_engine.py --frames 10 20 40 --azimuths 2770      # about 168 thousand points a sweep: does time grow with frames?

Image masks: a fifth missing, the others eroded, dilated or shifted by 3 pixels. "Projected" gives each frame's points the masks that they
fall on. "Ghosts": of the moving objects, those that left more than 20 voxels in the static scene. Seconds are the processor's, those of the
steps between one report of progress and the next; memory is the most since the start, the simulation included.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections import defaultdict
from dataclasses import asdict

from sam4d.data_engine.generate import generate_masklets
from sam4d.evaluation.generated import count_haunting, judge_generated
from sam4d.predictor import build_predictor
from sam4d.simulation import simulate_drive
from sam4d.simulation.worn_masklets import WornMasklets
from sam4d.structures import VoxelScene

LABELS = ("Car", "Truck", "Pedestrian", "Cyclist", "Object")


class StepClock:
    """Processor seconds by step; called as progress is reported."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._last = time.process_time()

    def __call__(self, step: str, done: int, total: int) -> None:
        now = time.process_time()
        self.seconds[step] += now - self._last
        self._last = now


def measure(frame_count: int, arguments: argparse.Namespace) -> dict[str, float | str]:
    drive = simulate_drive(seed=arguments.seed, frame_count=frame_count, beam_count=arguments.beams, azimuth_count=arguments.azimuths)
    source = WornMasklets(drive)
    clock = StepClock()
    scenes: list[VoxelScene] = []
    masklets = generate_masklets(drive.clip, build_predictor("geometric"), LABELS, source, clock, keep_scene=scenes.append)
    clock("fitting cuboids", 1, 1)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "frames": frame_count,
        "points per sweep": len(drive.clip.frames[0].load_sweep()),
        **asdict(judge_generated(drive, masklets, source)),
        "ghosts": str(count_haunting(drive, scenes[0])),
        "masklets": len(masklets),
        **clock.seconds,
        "processor seconds": sum(clock.seconds.values()),
        "peak_mb": peak_mb,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--frames", type=int, nargs="+", default=[20])
    parser.add_argument("--beams", type=int, choices=(32, 64, 128), default=64)
    parser.add_argument("--azimuths", type=int, default=1800, help="shots of each beam per turn (default %(default)s)")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    figures = [measure(frame_count, arguments) for frame_count in sorted(arguments.frames)]
    if arguments.json:
        print(json.dumps(figures, indent=1))
        return
    for name in figures[0]:
        values = (drive[name] for drive in figures)
        print(f"{name:>20}" + "".join(f" {value:10.3f}" if isinstance(value, float) else f" {value:>10}" for value in values))


if __name__ == "__main__":
    main()
