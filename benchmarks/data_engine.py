"""How good and how fast labelling without a click is, on a synthetic drive with exact truth and worn image masks.

    python benchmarks/data_engine.py [--seed 11] [--frames 20] [--beams 64] [--json]

Image masks: a fifth missing, the others eroded, dilated or shifted by 3 pixels. "Projected" gives each frame's points the masks that they
fall on.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from dataclasses import asdict

from sam4d.data_engine.generate import generate_masklets
from sam4d.evaluation.generated import judge_generated
from sam4d.predictor import build_predictor
from sam4d.simulation import simulate_drive
from sam4d.simulation.worn_masklets import WornMasklets

LABELS = ("Car", "Truck", "Pedestrian", "Cyclist", "Object")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--beams", type=int, choices=(32, 64, 128), default=64)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    drive = simulate_drive(seed=arguments.seed, frame_count=arguments.frames, beam_count=arguments.beams)
    source = WornMasklets(drive)
    began = time.perf_counter()
    masklets = generate_masklets(drive.clip, build_predictor("geometric"), LABELS, source)
    seconds = time.perf_counter() - began
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures = {**asdict(judge_generated(drive, masklets, source)), "masklets": len(masklets), "seconds": seconds, "peak_mb": peak_mb}
    if arguments.json:
        print(json.dumps(figures, indent=1))
        return
    for name, value in figures.items():
        print(f"{name:>16} {value:10.3f}" if isinstance(value, float) else f"{name:>16} {value:10d}")


if __name__ == "__main__":
    main()
