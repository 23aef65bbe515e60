"""How much memory import and export take, by the length of the drive; and that both can be interrupted and resumed.

    python benchmarks/long_drive.py [--frames 50 200] [--label-studio .venv-label-studio]

Drives of 6 cameras and 10 labelled objects are made of a few synthetic frames, whose files are linked again and again under new poses and
times. Each is imported with its labels into a Label Studio of its own (`sam4d up`'s, in a temporary folder) and exported twice. The longest
is interrupted (Ctrl-C) while it is rendered, while labels are sent, and while the first export reads; the same commands go on from there.
Memory is the most that a command's process held at one moment (VmHWM), over all of its runs.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from backend.embedded import Workplace, running_services, terminated_like_interrupted
from converters.exports import write_labels, write_sequence
from converters.sequences import open_sequence
from converters.sequences.sequence_folder import pose_to_json
from sam4d.geometry import SE3
from sam4d.simulation import simulate_drive
from sam4d.structures import Masklet

CAMERAS = ("front", "front_left", "front_right", "left", "right", "back")
IMAGE_SIZE_PX = (640, 400)
BASE_FRAMES = 4
OBJECTS = 10
METRES_PER_FRAME = 0.7
NS_PER_FRAME = 100_000_000
MASKS_PER_TASK = 10_000
"""No limit: every object of every frame goes through in all cameras."""
SECONDS_BETWEEN_LOOKS = 0.02
INTERRUPTED = 130
TERMINAL_SIZE = (24, 120)
"""Rows and columns; one without any gets no bars."""


@dataclass(frozen=True)
class Run:
    """One command. bar: how far its last progress bars came, {step: (done, total)}."""

    exit_code: int
    peak_mb: float
    bars: dict[str, tuple[int, int]]
    output: str


@dataclass(frozen=True)
class Interrupt:
    """That a command gets Ctrl-C where its progress bar of this step (its beginning) is half through."""

    step: str


def write_drives(folder: Path, lengths: Sequence[int]) -> list[Path]:
    """Sequence folders of these numbers of frames."""
    drive = simulate_drive(frame_count=BASE_FRAMES, camera_names=CAMERAS, image_size_px=IMAGE_SIZE_PX)
    write_sequence(drive.clip, folder / "base")
    description = json.loads((folder / "base/sequence.json").read_text())
    everywhere = [masklet for masklet in drive.masklets if len(masklet.masks) == BASE_FRAMES]
    everywhere.sort(key=lambda masklet: -sum(int(masks.lidar_mask.sum()) for masks in masklet.masks.values()))
    print(f"{len(drive.clip.frames[0].load_sweep())} points, {len(CAMERAS)} cameras of {IMAGE_SIZE_PX[0]} x {IMAGE_SIZE_PX[1]}", flush=True)
    return [_write_drive(folder / f"drive_{length:04}", length, folder / "base", description, everywhere[:OBJECTS]) for length in lengths]


def _write_drive(folder: Path, length: int, base: Path, description: dict[str, object], masklets: Sequence[Masklet]) -> Path:
    shown = description["frames"]
    assert isinstance(shown, list)
    frames = []
    for index in range(length):
        frame = shown[index % BASE_FRAMES]
        paths = {"lidar": frame["sweep"], **frame["images"]}
        for name, path in paths.items():
            target = f"{name}/{index:06}{Path(path).suffix}"
            (folder / name).mkdir(parents=True, exist_ok=True)
            os.link(base / path, folder / target)
            paths[name] = target
        pose = SE3.from_yaw(0.0, [METRES_PER_FRAME * index, 0.0, 0.0])
        sweep = paths.pop("lidar")
        frames.append({"sweep": sweep, "images": paths, "world_SE3_lidar": pose_to_json(pose), "timestamp_ns": NS_PER_FRAME * (index + 1)})
    (folder / "sequence.json").write_text(json.dumps({**description, "name": folder.name, "forward": "+x", "frames": frames}))
    long = [
        Masklet(
            masklet.object_id,
            masklet.label,
            {index: replace(masklet.masks[index % BASE_FRAMES], frame_index=index) for index in range(length)},
            {index: masklet.cuboids[index % BASE_FRAMES] for index in range(length) if index % BASE_FRAMES in masklet.cuboids},
        )
        for masklet in masklets
    ]
    write_labels(open_sequence(folder), long, folder)
    return folder


def run(arguments: Sequence[str], interrupt: Interrupt | None = None) -> Run:
    """A `sam4d` command whose standard error is a terminal, as somebody who waits has it."""
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("4H", *TERMINAL_SIZE, 0, 0))
    command = [sys.executable, "-m", "backend.cli", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=end, text=True)  # noqa: S603 (this very Python)
    os.close(end)
    heard: list[bytes] = []
    listener = threading.Thread(target=_listen, args=(terminal, heard))
    listener.start()
    peak_kb, sent = 0, False
    while process.poll() is None:
        with contextlib.suppress(OSError, StopIteration):
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            peak_kb = max(peak_kb, next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")))
        if interrupt is not None and not sent:
            done, total = next((bar for step, bar in _bars(heard).items() if step.startswith(interrupt.step)), (0, 1))
            if 2 * done >= total:
                process.send_signal(signal.SIGINT)
                sent = True
        time.sleep(SECONDS_BETWEEN_LOOKS)
    assert process.stdout is not None
    output = process.stdout.read()
    process.stdout.close()
    listener.join()
    os.close(terminal)
    complaints = b"".join(heard).decode("utf-8", "replace")
    finished = Run(process.returncode, peak_kb / 1024, _bars(heard), output)
    if finished.exit_code != (0 if interrupt is None else INTERRUPTED):
        raise SystemExit(f"sam4d {' '.join(arguments)} ended with {finished.exit_code}: {complaints[-2000:]}{output}")
    if not finished.bars:
        raise SystemExit(f"sam4d {' '.join(arguments)} showed no progress")
    return finished


def _listen(terminal: int, heard: list[bytes]) -> None:
    """Until the other end is closed, which Linux reports as an error."""
    with contextlib.suppress(OSError):
        while data := os.read(terminal, 65536):
            heard.append(data)


def _bars(heard: Sequence[bytes]) -> dict[str, tuple[int, int]]:
    text = b"".join(heard).decode("utf-8", "replace")
    return {step: (int(done), int(total)) for step, done, total in re.findall(r"([a-z][\w ]*):\s+\d+%[^\r\n]*?(\d+)/(\d+)", text)}


def measure(folder: Path, directory: Path, output: Path, *, interrupted: bool) -> dict[str, float]:
    """{command: peak in MB} of one drive."""
    project, place = folder.name, ["--directory", str(directory)]
    imports = ["import", str(folder), "--project", project, "--with-labels", "--masks-per-task", str(MASKS_PER_TASK), *place]
    export = ["export", project, "--format", "openlabel", "--output", str(output / f"{project}-openlabel"), *place]
    whole = ["export", project, "--format", "sequence", "--output", str(output / f"{project}-sequence"), *place]
    import_runs = []
    if interrupted:
        import_runs += [run(imports, Interrupt("rendering")), run(imports, Interrupt("labels"))]
    import_runs.append(run(imports))
    say_progress(project, import_runs)
    runs = [run(export, Interrupt("reading")), run([*export, "--resume"])] if interrupted else [run(export)]
    say_progress(project, runs)
    sequence = run(whole)
    say_progress(project, [sequence])
    objects = json.loads(next((output / f"{project}-sequence").rglob("masks.json")).read_text())["objects"]
    frames = {len(each["frames"]) for each in objects}
    print(f"{project}: {len(objects)} objects exported, each on {', '.join(map(str, sorted(frames)))} frames", flush=True)
    return {
        "import --with-labels": max(each.peak_mb for each in import_runs),
        "export openlabel": max(each.peak_mb for each in runs),
        "export sequence": sequence.peak_mb,
    }


def say_progress(project: str, runs: Sequence[Run]) -> None:
    for each in runs:
        print(f"{project}: exit code {each.exit_code}, {each.peak_mb:.0f} MB, {each.bars} {each.output.strip()!r}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs="+", default=[50, 200])
    parser.add_argument("--label-studio", type=Path, default=Path(".venv-label-studio"), help="its virtual environment")
    arguments = parser.parse_args()
    lengths = sorted(arguments.frames)
    with terminated_like_interrupted(), tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        drives = write_drives(folder / "recordings", lengths)
        with running_services(Workplace(folder / "workplace"), arguments.label_studio, 0, 0, {"SAM4D_ENGINE": "geometric"}):
            figures = {
                length: measure(drive, folder / "workplace", folder / "exports", interrupted=length == lengths[-1])
                for length, drive in zip(lengths, drives, strict=True)
            }
    print(f"{'peak memory, MB':24}" + "".join(f"{length:>8} frames" for length in lengths))
    for command in next(iter(figures.values())):
        print(f"{command:24}" + "".join(f"{figures[length][command]:15.0f}" for length in lengths))


if __name__ == "__main__":
    main()
