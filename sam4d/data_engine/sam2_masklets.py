"""Image masklets of SAM 2: every object that a grid of points finds, followed through the images of its camera."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from sam4d.data_engine.kept_work import Arrays, KeptWork, NothingKept
from sam4d.data_engine.sam2_video import Sam2Video
from sam4d.data_engine.track_images import TrackImages
from sam4d.structures import Camera, Clip, UInt8Array

TRACKS, SEEN_TRACKS, SEEN, USED = "tracks", "seen_tracks", "seen", "used"


@dataclass(frozen=True)
class Sam2Settings:
    """How SAM 2 is asked. The values with a star are those of Segment Anything's automatic masks.

    window_images: so many images after another are followed with what was remembered; on the first of them new objects are looked for,
    those in sight stay. points_per_side*: of the grid, along width and height. points_at_once*: that go through the network together.
    least_score*: the IoU that the network expects of a mask. least_stability*: of a mask, when its threshold is varied. same_iou*: two
    masks that overlap by it are one. part_share: a mask with this share of it inside another one is a part of that. largest_share: of the
    image, that an object may fill. least_area_px: of an object, original image. most_objects: in one image.
    """

    window_images: int = 8
    points_per_side: int = 32
    points_at_once: int = 64
    least_score: float = 0.8
    least_stability: float = 0.95
    same_iou: float = 0.7
    part_share: float = 0.8
    largest_share: float = 0.4
    least_area_px: int = 100
    most_objects: int = 64


def segment_images(
    clip: Clip,
    network: Sam2Video,
    settings: Sam2Settings | None = None,
    progress: Callable[[int, int], None] | None = None,
    kept: KeptWork | None = None,
) -> TrackImages:
    """The masklets of all images of a clip, one camera after the other. Each camera numbers its tracks from 1 on; no number comes twice.

    Memory does not grow with the drive: the network remembers a window of images, the masks lie on disk.

    Args:
        kept: what earlier runs did with the same clip, network and settings; a window is a step.
    """
    settings, kept = settings or Sam2Settings(), kept or NothingKept()
    source = TrackImages(clip)
    total, done = sum(len(frame.load_images) for frame in clip.frames), 0
    for camera_index, (name, camera) in enumerate(clip.cameras.items()):
        frames = [index for index, frame in enumerate(clip.frames) if name in frame.load_images]
        seen: Mapping[int, Tensor] = {}
        used = 0
        for first in range(0, len(frames), settings.window_images):
            # The last of these is the first of the next window, which keeps it.
            images = [clip.frames[index].load_images[name] for index in frames[first : first + settings.window_images + 1]]
            make = partial(_window, images, seen, used, camera, network, settings)
            window = kept.arrays(f"images-{camera_index}-{first:06d}", make)
            for frame_index, tracks in zip(frames[first:], window[TRACKS], strict=False):
                source.keep(frame_index, name, tracks)
            logits = torch.from_numpy(window[SEEN]).to(network.device)
            seen, used = dict(zip(window[SEEN_TRACKS].tolist(), logits, strict=True)), int(window[USED])
            done += min(settings.window_images, len(frames) - first)
            if progress is not None:
                progress(done, total)
    return source


def _window(
    images: Sequence[Callable[[], UInt8Array]],
    seen: Mapping[int, Tensor],
    used: int,
    camera: Camera,
    network: Sam2Video,
    settings: Sam2Settings,
) -> Arrays:
    """A window of images: the tracks of each, int32 (W, height, width), and for the next window, which its last image begins, the tracks in
    sight there, int64 (K,), how they look, float32 (K, h, w), and the last number that was used.

    Args:
        images: of the window, and the first of the next one where there is one.
        seen: the tracks in sight from before. used: the last number so far.
    """
    prepared = network.prepared(images[0]())
    objects, used = _objects_of(prepared, seen, used, camera, network, settings)
    painted, shown = [_painted(objects, camera)], {}
    followed = network.follow(prepared, objects) if objects else None
    for load in images[1:]:
        shown = followed.in_next(network.prepared(load())) if followed is not None else {}
        painted.append(_painted(shown, camera))
    logits = torch.stack([*shown.values()]).float().cpu().numpy() if shown else np.zeros((0, 1, 1), dtype=np.float32)
    return {
        TRACKS: np.stack(painted[: settings.window_images]),
        SEEN_TRACKS: np.array([*shown], dtype=np.int64),
        SEEN: logits,
        USED: np.array(used),
    }


def _objects_of(
    prepared: Tensor, seen: Mapping[int, Tensor], used: int, camera: Camera, network: Sam2Video, settings: Sam2Settings
) -> tuple[dict[int, Tensor], int]:
    """The objects that a window of images begins with: those in sight from before, oldest first, and new ones where a point of the grid
    finds one. Also the last number that was used.

    Args:
        seen: those from before as they look in this image. used: the last number so far.
    """
    grid = (torch.arange(settings.points_per_side) + 0.5) / settings.points_per_side
    points = torch.cartesian_prod(grid, grid).flip(1)  # rows of the image one after the other
    if seen:
        inside = torch.stack(list(seen.values())) > 0
        rows, columns = inside.shape[1:]
        covered = inside.any(dim=0).cpu()[(points[:, 1] * rows).long(), (points[:, 0] * columns).long()]
        points = points[~covered]
    found = network.propose(
        prepared, points * network.image_size_px, settings.points_at_once, settings.least_score, settings.least_stability
    )
    order = torch.argsort(found.scores * found.stability, descending=True, stable=True)
    candidates = [*seen.values(), *found.logits[order]]
    kept = _distinct(candidates, len(seen), camera, settings)
    numbers = list(seen)
    objects = {}
    for index in kept:
        if index >= len(seen):
            used += 1
        objects[numbers[index] if index < len(seen) else used] = candidates[index]
    return objects, used


def _distinct(candidates: Sequence[Tensor], old: int, camera: Camera, settings: Sam2Settings) -> list[int]:
    """Which of the masks to keep, best first: none that is too small or too large, the same as a better one, or a part of another.

    Args:
        old: so many, the first, were followed to here. They may have come near and fill the image, and nothing new makes parts of them.
    """
    if not candidates:
        return []
    masks = (torch.stack(list(candidates)) > 0).flatten(1).float()
    areas = masks.sum(dim=1)
    pixel = camera.width_px * camera.height_px / masks.shape[1]
    sized = (areas * pixel >= settings.least_area_px) & (areas <= settings.largest_share * masks.shape[1])
    sized[:old] = areas[:old] * pixel >= settings.least_area_px
    shared = masks @ masks.T
    iou = (shared / (areas[:, None] + areas[None, :] - shared).clamp(min=1)).cpu()
    within = (shared / areas[:, None].clamp(min=1)).cpu()
    kept: list[int] = []
    for index in torch.nonzero(sized)[:, 0].tolist():
        if all(iou[index, other] < settings.same_iou for other in kept):
            kept.append(index)
    inside = within >= settings.part_share
    parts = inside & ~inside.T
    whole = [index for index in kept if index < old or not parts[index, kept].any()]
    return whole[: settings.most_objects]


def _painted(masks: Mapping[int, Tensor], camera: Camera) -> NDArray[np.int32]:
    """The object of every pixel, int32 (H, W): of those that claim it the one that is surest."""
    tracks = np.zeros((camera.height_px, camera.width_px), dtype=np.int32)
    best = torch.zeros((camera.height_px, camera.width_px))
    for number, logits in masks.items():
        if not (logits > 0).any():
            continue
        whole = functional.interpolate(logits[None, None].cpu(), size=best.shape, mode="bilinear", align_corners=False)[0, 0]
        surer = whole > best
        best = torch.where(surer, whole, best)
        tracks[surer.numpy()] = number
    return tracks
