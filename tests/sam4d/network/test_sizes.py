"""The engine with a small network: by its file, as far as a session goes, and with a store of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from converters.exports import write_sequence
from converters.sequences import open_sequence
from sam4d import LIDAR, BoxPrompt, Clip, InputError, Masklet, MaskPrompt, ObjectMasks, PointPrompt, build_predictor
from sam4d.checkpoint import write_checkpoint
from sam4d.modeling.configuration import TINY
from sam4d.modeling.initialisation import new_network
from sam4d.network.predictor import NetworkPredictor
from sam4d.simulation import SyntheticDrive
from tests.sam4d.frame_stores import DictStore


def tiny_weights() -> dict[str, Tensor]:
    """They know nothing, but say of every object that it is there."""
    network = new_network(TINY, 0)
    torch.nn.init.constant_(network.head.sam_mask_decoder.pred_obj_score_head.layers[-1].bias, 5.0)  # type: ignore[arg-type]
    return dict(network.state_dict())


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny") / "weights.safetensors"
    write_checkpoint(path, tiny_weights(), TINY)
    return path


@pytest.fixture(scope="module")
def truth(small_drive: SyntheticDrive) -> Masklet:
    """The object that covers most of the front camera's image on frame 1."""
    return max(small_drive.masklets, key=lambda m: int(m.masks[1].camera_masks["front"].sum()) if 1 in m.masks else 0)


def test_a_session_of_a_rig(checkpoint: Path, small_drive: SyntheticDrive, truth: Masklet) -> None:
    predictor = build_predictor("sam4d", checkpoint=checkpoint, device="cpu")
    session = predictor.open(small_drive.clip)
    masks = truth.masks[1]
    rows, columns = np.nonzero(masks.camera_masks["front"])
    place = [float(np.median(columns)), float(np.median(rows))]
    clicked = session.add_prompt(PointPrompt(1, 1, "front", [place], [1]))
    assert clicked.camera_logits["front"].shape == (96, 96)
    assert clicked.lidar_logits is not None
    assert clicked.lidar_logits.shape == clicked.lidar_mask.shape == (len(small_drive.clip.frames[1].load_sweep()),)
    assert clicked.camera_masks["front"].shape == (200, 320)
    corrected = session.add_prompt(PointPrompt(1, 1, LIDAR, [[float(each) for each in (5.0, 2.0, 0.0)]], [0]))
    assert not np.array_equal(corrected.lidar_logits, clicked.lidar_logits)  # type: ignore[arg-type]
    session.add_prompt(BoxPrompt(2, 1, "front", [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]))
    given = session.add_prompt(MaskPrompt(3, 1, LIDAR, masks.lidar_mask))
    assert np.array_equal(given.lidar_mask, masks.lidar_mask)
    forwards = {frame.frame_index: frame.objects for frame in session.propagate(1)}
    backwards = {frame.frame_index: frame.objects for frame in session.propagate(1, reverse=True)}
    assert sorted(forwards) == [1, 2, 3]
    assert sorted(backwards) == [0, 1]
    for objects in (*forwards.values(), *backwards.values()):
        assert sorted(objects) == [1, 2, 3]
        assert all(np.isfinite(each.lidar_logits).all() for each in objects.values() if each.lidar_logits is not None)
    assert forwards[3][1].lidar_logits is not None


@pytest.fixture
def clip(tmp_path: Path, small_drive: SyntheticDrive) -> Clip:
    write_sequence(replace(small_drive.clip, frames=small_drive.clip.frames[:2]), tmp_path / "drive")
    return open_sequence(tmp_path / "drive")


def answer(predictor: NetworkPredictor, clip: Clip) -> ObjectMasks:
    return predictor.open(clip).add_prompt(PointPrompt(1, 0, "front", [[160, 100]], [1]))


def test_prepared_frames_are_found_by_the_same_sizes_only(clip: Clip) -> None:
    store, weights = DictStore(), tiny_weights()
    predictor = NetworkPredictor(weights, "cpu", store=store, configuration=TINY)
    assert predictor.prewarm(clip, 0)
    fresh = answer(NetworkPredictor(weights, "cpu", configuration=TINY), clip)
    again = NetworkPredictor(weights, "cpu", store=store, configuration=TINY)
    found = answer(again, clip)
    assert store.found
    assert np.array_equal(found.lidar_logits, fresh.lidar_logits)  # type: ignore[arg-type]
    # The same tensors with other windows are another network.
    other = replace(TINY, hiera_global_blocks=(5, 9))
    before = store.found
    answer(NetworkPredictor(weights, "cpu", store=store, configuration=other), clip)
    assert store.found == before


def test_tensors_of_other_sizes_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected the 904 tensors of Sam4D, found"):
        NetworkPredictor(tiny_weights(), "cpu")
    write_checkpoint(tmp_path / "weights.safetensors", tiny_weights(), replace(TINY, memory_hidden_width=256))
    with pytest.raises(InputError, match=r"6 misshaped \(pure_model.fusion.memory_attention.layers.0.linear1.bias"):
        NetworkPredictor(tmp_path / "weights.safetensors", "cpu")
    assert NetworkPredictor(checkpoint, "cpu").version.startswith("sam4d-")
