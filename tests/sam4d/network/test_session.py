"""What a session of the network must do on a rig, keep, forget and refuse, with weights that know nothing."""

from __future__ import annotations

import gc
import types
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from sam4d import LIDAR, BoxPrompt, Clip, InputError, Masklet, MaskPrompt, PointPrompt, Sweep, build_predictor
from sam4d.network.encoded_clip import EncodedClip
from sam4d.network.predictor import NetworkPredictor
from sam4d.network.session import NetworkSession
from sam4d.simulation import SyntheticDrive

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def truth(small_drive: SyntheticDrive) -> Masklet:
    """The object that covers most of the front camera's image on frame 1."""
    return max(small_drive.masklets, key=lambda m: int(m.masks[1].camera_masks["front"].sum()) if 1 in m.masks else 0)


def click(truth: Masklet, frame_index: int = 1, object_id: int = 1, label: int = 1) -> PointPrompt:
    rows, columns = np.nonzero(truth.masks[frame_index].camera_masks["front"])
    return PointPrompt(object_id, frame_index, "front", [[float(np.median(columns)), float(np.median(rows))]], [label])


def counted(monkeypatch: pytest.MonkeyPatch, target: object, name: str) -> list[int]:
    """One entry per call of a method from now on."""
    calls: list[int] = []
    original: Callable[..., Any] = getattr(target, name)

    def counting(*arguments: Any, **more: Any) -> Any:
        calls.append(1)
        return original(*arguments, **more)

    monkeypatch.setattr(target, name, counting)
    return calls


def test_one_click_in_one_camera_reaches_the_whole_rig(
    untrained: NetworkPredictor, small_drive: SyntheticDrive, truth: Masklet, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = untrained.open(small_drive.clip)
    sweeps = counted(monkeypatch, untrained.model, "encode_sweep")
    images = counted(monkeypatch, untrained.model, "look_at")
    first = session.add_prompt(click(truth))
    assert set(first.camera_masks) == {"front_left", "front"}
    assert {name: logits.shape for name, logits in first.camera_logits.items()} == {"front_left": (192, 192), "front": (192, 192)}
    assert first.lidar_logits is not None
    assert first.lidar_logits.shape == first.lidar_mask.shape == (len(small_drive.clip.frames[1].load_sweep()),)
    assert 0 < first.score <= 1
    assert (len(sweeps), len(images)) == (1, 2), "each once"

    second = session.add_prompt(click(truth, label=0))
    assert (len(sweeps), len(images)) == (1, 2), "a further click encodes nothing anew"
    assert not np.array_equal(second.lidar_logits, first.lidar_logits)  # type: ignore[arg-type]

    decoded = counted(monkeypatch, untrained.model, "condition")
    frames = list(session.propagate(1, 3))
    assert [frame.frame_index for frame in frames] == [1, 2]
    assert frames[0].objects[1] is second
    asked = len(decoded)
    assert asked >= 1
    assert [frame.objects[1] for frame in session.propagate(1, 3)] == [frame.objects[1] for frame in frames]
    assert len(decoded) == asked, "what stands is not computed again"

    corrected = session.add_prompt(click(truth, frame_index=2, label=0))
    assert len(decoded) > asked, "a correction looks at the memories"
    assert next(session.propagate(2)).objects[1] is corrected
    with pytest.raises(InputError, match="positive click"):
        session.add_prompt(click(truth, object_id=2, label=0))
    assert list(session.object_ids) == [1]
    session.remove_object(1)
    assert list(session.object_ids) == []
    with pytest.raises(InputError, match="remove_object"):
        session.remove_object(1)


def test_a_pass_gives_nothing_before_the_first_prompt_and_follows_the_way_to_where_it_starts(
    untrained: NetworkPredictor, small_drive: SyntheticDrive, truth: Masklet
) -> None:
    session = untrained.open(small_drive.clip)
    session.add_prompt(MaskPrompt(1, 1, LIDAR, truth.masks[1].lidar_mask))
    assert next(session.propagate(0)).objects[1].is_empty
    late = next(session.propagate(3)).objects[1]
    whole = {frame.frame_index: frame.objects[1] for frame in session.propagate(1)}
    assert whole[3] is late
    backwards = {frame.frame_index: frame.objects[1] for frame in session.propagate(1, reverse=True)}
    assert set(backwards) == {0, 1}
    assert not backwards[0].is_empty
    assert next(session.propagate(0)).objects[1] is backwards[0]
    assert next(session.propagate(2, object_ids=())).objects == {}


def test_a_mask_of_one_sensor_is_filled_in_on_the_others(untrained: NetworkPredictor, small_drive: SyntheticDrive, truth: Masklet) -> None:
    session, masks = untrained.open(small_drive.clip), truth.masks[1]
    by_points = session.add_prompt(MaskPrompt(1, 1, LIDAR, masks.lidar_mask))
    assert np.array_equal(by_points.lidar_mask, masks.lidar_mask)
    camera = masks.camera_masks["front"]
    assert (by_points.camera_masks["front"] & camera).sum() > 0.5 * (by_points.camera_masks["front"] | camera).sum()
    by_image = session.add_prompt(MaskPrompt(2, 1, "front", camera))
    assert (by_image.camera_masks["front"] & camera).sum() > 0.95 * (by_image.camera_masks["front"] | camera).sum()
    assert (by_image.lidar_mask & masks.lidar_mask).sum() > 0.5 * (by_image.lidar_mask | masks.lidar_mask).sum()
    nothing = session.add_prompt(MaskPrompt(3, 1, LIDAR, np.zeros_like(masks.lidar_mask)))
    assert nothing.is_empty
    assert nothing.score == 0


def test_a_rig_without_images_poses_or_all_its_points(untrained: NetworkPredictor, small_drive: SyntheticDrive, truth: Masklet) -> None:
    place = small_drive.clip.frames[1].load_sweep().points_m[truth.masks[1].lidar_mask][0].astype(np.float64)

    def load_sweep() -> Sweep:
        points_m = small_drive.clip.frames[1].load_sweep().points_m.copy()
        points_m[5] = np.nan
        return Sweep(points_m)

    frame = replace(small_drive.clip.frames[1], load_images={}, world_SE3_lidar=None, load_sweep=load_sweep)
    for cameras in ({}, small_drive.clip.cameras):
        session = untrained.open(replace(small_drive.clip, cameras=cameras, frames=(frame,)))
        answer = session.add_prompt(PointPrompt(1, 0, LIDAR, [place], [1]))
        assert answer.camera_masks == {}
        assert answer.lidar_logits is not None
        assert not answer.lidar_mask[5]
        assert answer.lidar_logits[5] < -1000


def test_what_is_remembered_is_bounded(untrained: NetworkPredictor, small_drive: SyntheticDrive, truth: Masklet) -> None:
    frames = tuple(replace(small_drive.clip.frames[k % 4], load_images=_front_only(small_drive.clip, k % 4)) for k in range(12))
    clip = replace(small_drive.clip, cameras={"front": small_drive.clip.cameras["front"]}, frames=frames)
    session = NetworkSession(untrained, EncodedClip(untrained, clip, 2), memory_bytes=0)
    session.add_prompt(click(truth))
    found, held = [], []
    for frame in session.propagate(1):
        found.append(frame.objects[1])
        held.append(sum(_buffers(session).values()))
    # Of frames 1 to 11 the last look at no more frames than that after nine: flat from there on.
    assert held[-1] < held[-3] + 1_000_000
    kept = session._objects[1].tracked
    assert max(kept) == 11
    assert len(kept) <= 8, "the frames that the last one looked at"
    again = [frame.objects[1] for frame in session.propagate(1, 4)]
    for one, other in zip(found, again, strict=False):
        assert np.array_equal(one.lidar_logits, other.lidar_logits)  # type: ignore[arg-type]


def test_what_an_answer_holds_is_counted_whole(untrained: NetworkPredictor, small_drive: SyntheticDrive, truth: Masklet) -> None:
    session = NetworkSession(untrained, EncodedClip(untrained, small_drive.clip, 2), memory_bytes=1 << 30)
    session.add_prompt(click(truth))
    assert all(not frame.objects[1].is_empty for frame in session.propagate(1, 4)), "random weights that find nothing prove nothing"
    shared = _buffers(untrained) | _buffers(session._encoded)
    for answer in session._objects[1].tracked.values():
        own = sum(size for address, size in _buffers(answer).items() if address not in shared)
        assert own * 0.95 <= answer.held_bytes <= own * 1.2, (own, answer.held_bytes)


def _buffers(root: object) -> dict[int, int]:
    """Bytes of every buffer of arrays and tensors that can be reached from an object, by address."""
    found: dict[int, int] = {}
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, (type, types.ModuleType, types.FunctionType, types.MethodType)):
            continue
        seen.add(id(thing))
        if isinstance(thing, torch.Tensor):
            found[thing.untyped_storage().data_ptr()] = thing.untyped_storage().nbytes()
        elif isinstance(thing, np.ndarray):
            while isinstance(thing.base, np.ndarray):
                thing = thing.base
            base: object = thing.base
            if isinstance(base, torch.Tensor):
                waiting.append(base)
            else:
                found.setdefault(thing.__array_interface__["data"][0], thing.nbytes)
        else:
            waiting.extend(gc.get_referents(thing))
    return found


def _front_only(clip: Clip, frame_index: int) -> dict[str, Any]:
    return {"front": clip.frames[frame_index].load_images["front"]}


def test_memory_that_runs_out_ends_the_request_and_nothing_else(
    untrained: NetworkPredictor, small_drive: SyntheticDrive, truth: Masklet, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = untrained.open(small_drive.clip)
    first = session.add_prompt(click(truth))

    def out_of_memory(*arguments: Any, **more: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate a lot")

    with monkeypatch.context() as patch:
        patch.setattr(untrained.model, "decode", out_of_memory)
        with pytest.raises(MemoryError, match="too little memory on the CPU"):
            session.add_prompt(click(truth, label=0))
        with pytest.raises(MemoryError):
            next(session.propagate(2))
        with pytest.raises(MemoryError):
            session.add_prompt(click(truth, object_id=2))
    assert session.object_ids == (1,)
    assert next(session.propagate(1)).objects[1] is first
    assert not next(session.propagate(2)).objects[1].is_empty


def test_bfloat16_gives_nearly_the_same_masks(untrained: NetworkPredictor, small_drive: SyntheticDrive, truth: Masklet) -> None:
    rounded = NetworkPredictor(untrained.model.state_dict(), "cpu", "bfloat16")
    assert rounded.version == f"{untrained.version}-bf16"
    answers = []
    for predictor in (untrained, rounded):
        session = predictor.open(small_drive.clip)
        session.add_prompt(BoxPrompt(1, 1, "front", [100, 60, 220, 160]))
        answers.append([frame.objects[1] for frame in session.propagate(1, 3)])
    for exact, other in zip(*answers, strict=True):
        assert exact.lidar_logits is not None
        assert other.lidar_logits is not None
        scale = float(np.abs(exact.lidar_logits).max())
        assert np.corrcoef(exact.lidar_logits, other.lidar_logits)[0, 1] > 0.98
        assert float(np.abs(exact.lidar_logits - other.lidar_logits).mean()) < 0.05 * scale


def test_what_is_no_input_for_the_network_is_refused(untrained: NetworkPredictor, small_drive: SyntheticDrive, truth: Masklet) -> None:
    clip = small_drive.clip

    def small_image() -> Any:
        return np.zeros((10, 10, 3), dtype=np.uint8)

    def few_points() -> Sweep:
        return Sweep(np.zeros((5, 3), dtype=np.float32))

    def far_points() -> Sweep:
        points_m = clip.frames[1].load_sweep().points_m.copy()
        points_m[0] = 1e9
        return Sweep(points_m)

    odd = (
        (replace(clip.frames[1], load_images={"front": small_image}), "image of camera front of frame 0: expected 320 x 200"),
        (replace(clip.frames[1], load_sweep=few_points), "sweep of frame 0: expected at least 10 points"),
        (replace(clip.frames[1], load_sweep=far_points), "sweep of frame 0: expected points within"),
    )
    for frame, message in odd:
        session = untrained.open(replace(clip, frames=(frame,)))
        with pytest.raises(InputError, match=message):
            session.add_prompt(replace(click(truth), frame_index=0))
        assert not session.object_ids


def test_an_engine_that_cannot_be_had_is_refused(untrained: NetworkPredictor) -> None:
    weights = dict(untrained.model.state_dict())
    with pytest.raises(InputError, match="checkpoint: expected the network's weights"):
        build_predictor("sam4d")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="PyTorch sees no GPU"):
            build_predictor("sam4d", checkpoint=weights, device="cuda")
    weights.pop("no_mem_embed")
    weights["another"] = torch.zeros(3)
    with pytest.raises(InputError, match=r"1 missing \(no_mem_embed\); 1 unexpected \(another\)"):
        build_predictor("auto", checkpoint=weights)
    with pytest.raises(InputError, match="auto, geometric or sam4d"):
        build_predictor("magic")  # type: ignore[arg-type]
