"""How fast the SAM4D network is, and how much memory it takes, beside what the authors' own code needs for the same.

    python benchmarks/network.py SEQUENCE [--camera NAME] [--checkpoint FILE] [--device cpu|cuda] [--repeats 3] [--frames 60] [--json]

Times are in units of one float32 product of two 4096 x 4096 matrices on the same machine, so that machines compare. A machine that others
use too changes its speed from minute to minute: each figure is the median of several, each over a unit taken right before and after. The
original's figures were taken with two CPU cores, full sweeps of 168 thousand points and one camera. Without a checkpoint the weights are
random: how long it takes does not depend on them.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch

import sam4d
from converters.sequences import open_sequence
from sam4d.modeling.sam4d import Sam4D

Answer = TypeVar("Answer")

ORIGINAL = {
    "encode one frame": 4.1,
    "first click on a new frame": 4.8,
    "further click on the frame": 0.25,
    "one object, 1 frame remembered": 8.9,
    "one object, 2 frames remembered": 11.0,
    "one object, 3 frames remembered": 15.5,
    "one object, 4 frames remembered": 16.5,
    "four objects, 1 frame remembered": 29.0,
    "four objects, 2 frames remembered": 34.0,
    "four objects, 3 frames remembered": 46.0,
    "four objects, 4 frames remembered": 52.0,
}
NUMBERS = {1: "one object", 4: "four objects", 16: "sixteen objects"}


def synchronised(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def timed(action: Callable[[], Answer], device: str) -> tuple[Answer, float]:
    started = synchronised(device)
    answer = action()
    return answer, synchronised(device) - started


def unit_s(device: str) -> float:
    """One 4096^3 product, the best of three."""
    one, other = torch.randn(4096, 4096, device=device), torch.randn(4096, 4096, device=device)
    return min(timed(lambda: one @ other, device)[1] for _ in range(3))


def in_units(actions: Iterable[Callable[[], object]], device: str) -> list[float]:
    """How long each takes, one after the other, over the mean of the units before and after it."""
    found, before_s = [], unit_s(device)
    for action in actions:
        seconds = timed(action, device)[1]
        after_s = unit_s(device)
        found.append(2 * seconds / (before_s + after_s))
        before_s = after_s
    return found


def medians(repeats: Iterable[Sequence[float]]) -> list[float]:
    return [statistics.median(values) for values in zip(*repeats, strict=True)]


def random_weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return dict(Sam4D().state_dict())


def one_camera(clip: sam4d.Clip, camera: str, frame_count: int) -> sam4d.Clip:
    """A drive of any length with one camera, made of the recording's frames over and over."""
    frames = [clip.frames[k % len(clip)] for k in range(frame_count)]
    return replace(
        clip,
        cameras={camera: clip.cameras[camera]},
        frames=tuple(replace(frame, load_images={camera: frame.load_images[camera]}) for frame in frames),
    )


def boxes(camera: sam4d.Camera, count: int, first_id: int = 1) -> list[sam4d.BoxPrompt]:
    width, height = camera.width_px / (count + 1), camera.height_px
    corners = [(k * width, 0.45 * height, (k + 1) * width, 0.65 * height) for k in range(count)]
    return [sam4d.BoxPrompt(first_id + k, 0, camera.name, box) for k, box in enumerate(corners)]


def peak_mb() -> float:
    """Since the process began."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class FramePeak:
    """The most memory that was resident since it was last asked, MB; where the system cannot say (Linux can), since the process began."""

    def __init__(self) -> None:
        self.read_mb()

    def read_mb(self) -> float:
        try:
            (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            return peak_mb()
        return int(line.split()[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sequence")
    parser.add_argument("--camera", help="default: the first one")
    parser.add_argument("--checkpoint")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--objects", type=int, nargs="*", default=[1, 4], help="how many at a time (default 1 4)")
    parser.add_argument("--repeats", type=int, default=3, help="of each figure, whose median counts (default 3)")
    parser.add_argument("--frames", type=int, default=60, help="of the long drive whose memory is watched; 0 leaves it out")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()

    recording = open_sequence(arguments.sequence)
    camera = recording.cameras[arguments.camera or next(iter(recording.cameras))]
    weights = arguments.checkpoint or random_weights()
    predictor = sam4d.build_predictor("sam4d", checkpoint=weights, device=arguments.device, precision=arguments.precision)
    del weights
    device, repeats = arguments.device, range(arguments.repeats)
    figures: dict[str, float] = {}

    clip = one_camera(recording, camera.name, 6)
    (prompt,) = boxes(camera, 1)
    click = sam4d.PointPrompt(1, 0, camera.name, [[camera.width_px / 2, camera.height_px / 2]], [1])

    # First, so that nothing but the drive has used memory.
    drive: dict[str, float] = {}
    if arguments.frames:
        session = predictor.open(one_camera(recording, camera.name, arguments.frames))
        session.add_prompt(prompt)
        watch, last = FramePeak(), arguments.frames
        for frame in session.propagate():
            in_frame_mb = watch.read_mb()
            if (count := frame.frame_index + 1) in (10, 20, 40, last):
                drive[f"peak memory in frame {count} of a drive, MB"] = in_frame_mb
        del session

    def clicks() -> list[float]:
        session = predictor.open(clip)
        return in_units([lambda: session.add_prompt(prompt), *[lambda: session.add_prompt(click)] * 3], device)

    def follow(count: int) -> list[float]:
        """With 1, 2, 3 and 4 frames remembered."""
        session = predictor.open(clip)
        for box in boxes(camera, count):
            session.add_prompt(box)
        frames = session.propagate()
        next(frames)
        return in_units([lambda: next(frames)] * 4, device)

    first, *further = medians(clicks() for _ in repeats)
    figures["first click on a new frame"] = first
    figures["further click on the frame"] = statistics.median(further)
    for count in arguments.objects:
        for remembered, value in enumerate(medians(follow(count) for _ in repeats), start=1):
            figures[f"{NUMBERS.get(count, f'{count} objects')}, {remembered} frame{'s'[: remembered - 1]} remembered"] = value
    figures["peak memory, MB"] = max([peak_mb(), *drive.values()])
    figures |= drive
    if device == "cuda":
        figures["peak memory on the GPU, MB"] = torch.cuda.max_memory_allocated() / 2**20

    if arguments.json:
        print(json.dumps({"unit_s": unit_s(device), "figures": figures, "original": ORIGINAL}))
        return
    print(f"{predictor.version} on {device}, one unit = {unit_s(device):.3f} s\n")
    print(f"{'':42} {'here':>8} {'original':>9}")
    for name, value in figures.items():
        original = f"{ORIGINAL[name]:9.2f}" if name in ORIGINAL else f"{2300:9}" if name == "peak memory, MB" else ""
        print(f"{name:42} {value:8.2f} {original}")


if __name__ == "__main__":
    main()
