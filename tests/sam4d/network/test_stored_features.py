"""The network's features from a store: the same answers without the encoders, in the precision that they were computed in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from converters.exports import write_sequence
from converters.sequences import open_sequence
from sam4d.modeling.sam4d import Sam4D
from sam4d.network.predictor import NetworkPredictor
from sam4d.network.stored_features import GreyImage, StoredFeatures
from sam4d.simulation import SyntheticDrive
from sam4d.structures import LIDAR, Clip, InputError, ObjectMasks, PointPrompt
from tests.sam4d.frame_stores import DictStore
from tests.sam4d.network.conftest import random_weights


@pytest.fixture
def clip(tmp_path: Path, small_drive: SyntheticDrive) -> Clip:
    """Two frames; the front camera has no image on the second."""
    first, second = small_drive.clip.frames[:2]
    second = replace(second, load_images={"front_left": second.load_images["front_left"]})
    write_sequence(replace(small_drive.clip, frames=(first, second)), tmp_path / "drive")
    return open_sequence(tmp_path / "drive")


@pytest.fixture
def prompts(small_drive: SyntheticDrive) -> list[PointPrompt]:
    points_m = small_drive.clip.frames[0].load_sweep().points_m
    mask = max((masklet.masks[0].lidar_mask for masklet in small_drive.masklets if 0 in masklet.masks), key=np.count_nonzero)
    return [PointPrompt(1, 0, LIDAR, [points_m[mask][0]], [1]), PointPrompt(2, 0, "front", [[100, 90]], [1])]


def answers(predictor: NetworkPredictor, clip: Clip, prompts: list[PointPrompt]) -> list[ObjectMasks]:
    session = predictor.open(clip)
    given = [session.add_prompt(prompt) for prompt in prompts]
    return given + [masks for frame in session.propagate() for masks in frame.objects.values()]


def test_answers_are_the_same_without_the_encoders(
    clip: Clip, prompts: list[PointPrompt], untrained: NetworkPredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, weights = DictStore(), random_weights()
    fresh = answers(untrained, clip, prompts)
    assert any(not masks.is_empty for masks in fresh), "answers without anything in them prove nothing"
    predictor = NetworkPredictor(weights, "cpu", store=store)
    sizes = [predictor.prewarm(clip, frame_index) for frame_index in range(len(clip))]
    assert all(size is not None and size > 5e6 for size in sizes)
    assert len(store.arrays) == 2 + 3, "two sweeps, three images"
    assert [predictor.prewarm(clip, frame_index) for frame_index in range(len(clip))] == sizes
    for name in ("look_at", "encode_sweep"):
        monkeypatch.setattr(Sam4D, name, lambda *_: pytest.fail("a stored frame is not encoded again"))
    # After a restart.
    stored = answers(NetworkPredictor(weights, "cpu", store=store), clip, prompts)
    for one, other in zip(fresh, stored, strict=True):
        assert np.array_equal(one.lidar_logits, other.lidar_logits)  # type: ignore[arg-type]
        assert one.score == other.score
        for name, mask in one.camera_masks.items():
            assert np.array_equal(mask, other.camera_masks[name])


def test_features_keep_their_precision_and_belong_to_one_network() -> None:
    store, load = DictStore(), GreyImage(4, 3)
    first, second = (StoredFeatures(store, kind, torch.device("cpu")) for kind in ("first", "second"))
    numbers = torch.linspace(-3, 3, 24).view(1, 2, 3, 4)
    levels = numbers.to(torch.bfloat16), numbers, numbers.to(torch.bfloat16).to(memory_format=torch.channels_last)
    assert first.keep("image", load, lambda: levels) == 24 * (2 + 4 + 2)
    found = first.find("image", load)
    assert found is not None
    for one, other in zip(levels, found, strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)
        assert one.stride() == other.stride()
    assert first.find("sweep", load) is None
    assert first.find("image", GreyImage(3, 4)) is None
    assert second.find("image", load) is None


@pytest.mark.parametrize("other", ["weights", "precision"])
def test_what_may_change_a_bit_has_a_store_of_its_own(untrained: NetworkPredictor, other: str) -> None:
    changed = NetworkPredictor(random_weights(int(other == "weights")), "cpu", "bfloat16" if other == "precision" else "float32")
    assert changed.features.kind != untrained.features.kind
    assert NetworkPredictor(random_weights(), "cpu").features.kind == untrained.features.kind


def test_a_drive_without_images_is_prewarmed_too(clip: Clip, prompts: list[PointPrompt], monkeypatch: pytest.MonkeyPatch) -> None:
    blind = replace(clip, cameras={}, frames=(replace(clip.frames[0], load_images={}),))
    predictor = NetworkPredictor(random_weights(), "cpu", store=DictStore())
    assert predictor.prewarm(blind, 0)
    monkeypatch.setattr(Sam4D, "look_at", lambda *_: pytest.fail("it is not encoded again"))
    assert predictor.open(blind).add_prompt(prompts[0]).lidar_logits is not None


def test_without_a_store_or_a_frame(clip: Clip, untrained: NetworkPredictor) -> None:
    assert untrained.prewarm(clip, 0) is None
    with pytest.raises(InputError, match="0 to 1, found 2"):
        untrained.prewarm(clip, 2)
