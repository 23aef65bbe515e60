"""The network's features from a store: the same answers without the encoders, in the precision that they were computed in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from converters.exports import write_sequence
from converters.sequences import open_sequence
from converters.sequences.sequence_folder import ImageFile, SweepFile
from sam4d.modeling.lidar_encoder import VoxelisedSweep
from sam4d.modeling.sam4d import Sam4D
from sam4d.modeling.sparse_conv import Cells
from sam4d.network.predictor import NetworkPredictor
from sam4d.network.stored_features import GreyImage, StoredFeatures
from sam4d.network.stored_tensors import as_tensors
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


def assert_same_answers(expected: list[ObjectMasks], found: list[ObjectMasks]) -> None:
    for one, other in zip(expected, found, strict=True):
        assert np.array_equal(one.lidar_logits, other.lidar_logits)  # type: ignore[arg-type]
        assert one.score == other.score
        for name, mask in one.camera_masks.items():
            assert np.array_equal(mask, other.camera_masks[name])
        for name, logits in one.camera_logits.items():
            assert np.array_equal(logits, other.camera_logits[name])


def test_answers_are_the_same_without_the_encoders(
    clip: Clip, prompts: list[PointPrompt], untrained: NetworkPredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, weights = DictStore(), random_weights()
    fresh = answers(untrained, clip, prompts)
    assert any(not masks.is_empty for masks in fresh), "answers without anything in them prove nothing"
    predictor = NetworkPredictor(weights, "cpu", store=store)
    sizes = [predictor.prewarm(clip, frame_index) for frame_index in range(len(clip))]
    assert all(size is not None and sum(size.values()) > 5e6 for size in sizes)
    assert len(store.arrays) == 2 + 3 + 2, "two sweeps, three images, two calibrations"
    assert [predictor.prewarm(clip, frame_index) for frame_index in range(len(clip))] == sizes
    for name in ("look_at", "encode_sweep", "camera_grid"):
        monkeypatch.setattr(Sam4D, name, lambda *_: pytest.fail("a stored frame is not encoded again"))
    for file in (SweepFile, ImageFile):
        monkeypatch.setattr(file, "__call__", lambda *_: pytest.fail("a stored file is not decoded"))
    # After a restart.
    assert_same_answers(fresh, answers(NetworkPredictor(weights, "cpu", store=store), clip, prompts))


def test_a_click_on_a_stored_frame_finds_no_voxels(clip: Clip, prompts: list[PointPrompt], monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = NetworkPredictor(random_weights(), "cpu", store=DictStore())
    predictor.prewarm(clip, 0)
    monkeypatch.setattr(Cells, "_find_coarser", lambda *_: pytest.fail("the coarser cells are stored"))
    monkeypatch.setattr(VoxelisedSweep, "point_cells", property(lambda _: pytest.fail("no click needs them")))
    session = predictor.open(clip)
    answered = [session.add_prompt(prompt) for prompt in (*prompts, *prompts)]
    assert any(not masks.is_empty for masks in answered)


@pytest.mark.parametrize("damage", ["an array is missing", "rows are missing", "rows of another sweep"])
def test_what_is_stored_but_wrong_is_made_anew(clip: Clip, prompts: list[PointPrompt], untrained: NetworkPredictor, damage: str) -> None:
    clip = replace(clip, frames=clip.frames[:1])
    store = DictStore()
    predictor = NetworkPredictor(random_weights(), "cpu", store=store)
    sizes = predictor.prewarm(clip, 0)
    whole = dict(store.arrays)
    for key, arrays in whole.items():
        name = max(arrays)
        changed = dict(arrays)
        if damage == "an array is missing":
            del changed[name]
        elif "mixed_voxels" in arrays:
            voxels = arrays["mixed_voxels"]
            changed["mixed_voxels"] = voxels[:-1] if damage == "rows are missing" else voxels + len(arrays["cells4"])
        store.arrays[key] = changed
    assert_same_answers([untrained.open(clip).add_prompt(prompts[1])], [predictor.open(clip).add_prompt(prompts[1])])
    assert predictor.prewarm(clip, 0) == sizes
    for key, arrays in whole.items():
        assert store.arrays[key].keys() == arrays.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(store.arrays[key][name], array)


def test_features_keep_their_precision_and_belong_to_one_network() -> None:
    store, load = DictStore(), GreyImage(4, 3)
    first, second = (StoredFeatures(store, kind, torch.device("cpu")) for kind in ("first", "second"))
    numbers = torch.linspace(-3, 3, 24).view(1, 2, 3, 4)
    levels = numbers.to(torch.bfloat16), numbers, numbers.to(torch.bfloat16).to(memory_format=torch.channels_last)
    kept = first.keep_image(load, lambda: levels)
    assert kept is not None
    assert list(kept.values()) == [24 * (2 + 4 + 2)]
    found = first.find_image(load)
    assert found is not None
    for one, other in zip(levels, found, strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)
        assert one.stride() == other.stride()
    assert first.find_sweep(load, {}) is None
    assert first.find_image(GreyImage(3, 4)) is None
    assert second.find_image(load) is None


def test_tensors_lie_in_arrays_that_are_theirs() -> None:
    own = np.arange(6, dtype=np.float32)
    foreign = own.copy()
    foreign.setflags(write=False)
    tensors = as_tensors({"own": own, "foreign": foreign})
    assert tensors["own"].data_ptr() == own.ctypes.data
    assert tensors["foreign"].data_ptr() != foreign.ctypes.data
    assert torch.equal(tensors["own"], tensors["foreign"])


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
