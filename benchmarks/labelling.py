"""How long a labeller waits for the engine, and how that grows with frames, cameras, points and objects."""

from __future__ import annotations

import io
import statistics
from collections.abc import Sequence

from PIL import Image
from scipy.spatial import cKDTree

import sam4d
from benchmarks.drive import Drive, lengthened, lidar_drive, with_cameras
from benchmarks.figure import Figure, growth, seconds_of
from benchmarks.network import boxes, random_weights, unit_s
from converters.sequences.image_file import encode_png
from sam4d.predictor import Predictor, Session

CLICK_TARGETS = 16
TRACKED_OBJECT_S = 0.1
"""What a further object may take on a frame of 168 thousand points."""
SPREAD_M = 0.2


def click(object_id: int, target: Sequence[float], frame_index: int = 0) -> sam4d.PointPrompt:
    return sam4d.PointPrompt(object_id, frame_index, sam4d.LIDAR, [list(target)], [1])


def followed(session: Session) -> tuple[list[sam4d.FrameMasks], float]:
    return seconds_of(lambda: list(session.propagate()))


def least_s(clip: sam4d.Clip) -> tuple[float, float]:
    """What any engine must do at least: a frame's images decoded by Pillow, and scipy's KD-tree of its points."""
    frame = clip.frames[0]
    files = [encode_png(load()) for load in frame.load_images.values()]
    points_m = frame.load_sweep().points_m
    decoding_s = seconds_of(lambda: [Image.open(io.BytesIO(data)).convert("RGB") for data in files], 3)[1]
    return decoding_s, seconds_of(lambda: cKDTree(points_m), 3)[1]


def geometric_clicks(drive: Drive) -> list[Figure]:
    """Clicks are answered in all sensors of their frame; medians over different objects."""
    clip = drive.open()
    predictor = sam4d.build_predictor("geometric")
    targets = drive.targets(clip, CLICK_TARGETS)[: 4 if drive.quick else 8]
    decoding_s, tree_s = least_s(clip)
    # The first session of a process also imports and compiles.
    predictor.open(clip).add_prompt(click(1, targets[0]))
    first_s, again_s, other_s, other_frame_s = [], [], [], []
    for target in targets:
        session = predictor.open(clip)
        first_s.append(seconds_of(lambda: session.add_prompt(click(1, target)))[1])  # noqa: B023
        beside = [target[0] + SPREAD_M, *target[1:]]
        again_s.append(seconds_of(lambda: session.add_prompt(click(1, beside)))[1])  # noqa: B023
        other_frame_s.append(seconds_of(lambda: session.add_prompt(click(2, target, 1)))[1])  # noqa: B023
    session = predictor.open(clip)
    for object_id, target in enumerate(targets, start=1):
        other_s.append(seconds_of(lambda: session.add_prompt(click(object_id, target)))[1])  # noqa: B023
    size = f"{len(clip.frames[0].load_sweep())} points, {len(clip.cameras)} cameras"
    least, least_text = decoding_s + tree_s, "images decoded by Pillow, KD-tree by scipy"
    tree_text = "KD-tree of the sweep by scipy"
    return [
        Figure("open clip", seconds_of(lambda: predictor.open(drive.open()), 3)[1], "s", tree_text, tree_s),
        Figure(f"first click ({size})", statistics.median(first_s), "s", least_text, least),
        Figure("further click on the object", statistics.median(again_s), "s", tree_text, tree_s),
        Figure("click on another object of the frame", statistics.median(other_s[1:]), "s", tree_text, tree_s),
        Figure("click on another frame", statistics.median(other_frame_s), "s", least_text, least),
    ]


def geometric_objects(drive: Drive) -> list[Figure]:
    """Objects followed together over a task's frames."""
    clip = lengthened(drive.open(), 6 if drive.quick else 12)
    predictor = sam4d.build_predictor("geometric")
    targets = drive.targets(clip, CLICK_TARGETS)
    least = sum(least_s(clip))
    seconds: dict[int, float] = {}
    figures = []
    for count in sorted({1, 4, len(targets)}):
        session = predictor.open(clip)
        for object_id, target in enumerate(targets[:count], start=1):
            session.add_prompt(click(object_id, target))
        seconds[count] = followed(session)[1] / (len(clip) - 1)
        name = f"tracked frames per second, {count} object{'s'[: count - 1]}"
        figures.append(Figure(name, 1 / seconds[count], "1/s", "images decoded by Pillow, KD-tree by scipy", 1 / least))
    per_object = (seconds[len(targets)] - seconds[1]) / (len(targets) - 1)
    points = len(clip.frames[0].load_sweep())
    figures.append(
        Figure(
            f"further object on a tracked frame ({points} points, {len(clip.cameras)} cameras)",
            per_object,
            "s",
            "KD-tree of the sweep by scipy",
            least_s(clip)[1],
            at_most=TRACKED_OBJECT_S,
        )
    )
    return [*figures, growth("objects", seconds, "objects on one frame")]


def geometric_growth(drive: Drive) -> list[Figure]:
    predictor = sam4d.build_predictor("geometric")
    clip = drive.open()
    (target,) = drive.targets(clip, 1)

    def one_object_s(clip: sam4d.Clip, target: Sequence[float]) -> float:
        session = predictor.open(clip)
        _, clicked_s = seconds_of(lambda: session.add_prompt(click(1, target)))
        return clicked_s + followed(session)[1]

    front = with_cameras(clip, list(clip.cameras)[:1])
    frames = {count: one_object_s(lengthened(front, count), target) for count in ((5, 10, 20) if drive.quick else (10, 20, 40, 80))}
    names = list(clip.cameras)
    short = lengthened(clip, 4)
    cameras = {count: one_object_s(with_cameras(short, names[:count]), target) for count in range(1, len(names) + 1)}
    points = {}
    for wanted in (50_000, 100_000, 200_000) if drive.quick else (50_000, 100_000, 200_000, 400_000):
        simulated = lidar_drive(wanted)
        masklet = max(simulated.masklets, key=lambda masklet: int(masklet.masks[0].lidar_mask.sum()) if 0 in masklet.masks else 0)
        points_m = simulated.clip.frames[0].load_sweep().points_m
        own = points_m[masklet.masks[0].lidar_mask]
        points[len(points_m)] = one_object_s(simulated.clip, own[len(own) // 2].tolist())
    figures = [growth("frames", frames, "frames, one camera"), growth("points", points, "points of 4 frames, no camera")]
    return figures + ([growth("cameras", cameras, "cameras, 4 frames")] if len(cameras) > 1 else [])


def network(drive: Drive) -> list[Figure]:
    """One camera, random weights: how long it takes does not depend on them. `benchmarks/network.py` has more of it."""
    clip = with_cameras(lengthened(drive.open(), 6), list(drive.open().cameras)[:1])
    (camera,) = clip.cameras.values()
    predictor: Predictor = sam4d.build_predictor("sam4d", checkpoint=random_weights(), device="cpu")
    product_s = unit_s("cpu")
    (box,) = boxes(camera, 1)
    again = sam4d.PointPrompt(1, 0, camera.name, [[camera.width_px / 2, camera.height_px / 2]], [1])
    other = sam4d.PointPrompt(1, 1, camera.name, [[camera.width_px / 2, camera.height_px / 2]], [1])
    session, open_s = seconds_of(lambda: predictor.open(clip))
    timed = {"open clip": open_s}
    timed["first click"] = seconds_of(lambda: session.add_prompt(box))[1]
    timed["further click on the object"] = seconds_of(lambda: session.add_prompt(again))[1]
    timed["click on another frame"] = seconds_of(lambda: session.add_prompt(other))[1]
    figures = [Figure(f"network: {name}", value, "s", "product of two 4096 x 4096 matrices", product_s) for name, value in timed.items()]
    for count in (1, 4):
        session = predictor.open(clip)
        for prompt in boxes(camera, count):
            session.add_prompt(prompt)
        name = f"network: tracked frames per second, {count} object{'s'[: count - 1]}"
        rate = (len(clip) - 1) / followed(session)[1]
        figures.append(Figure(name, rate, "1/s", "product of two 4096 x 4096 matrices", 1 / product_s))
    return figures
