"""The whole network in training: gradients through frames, memories and corrections; what is computed again; where it begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from sam4d.modeling.configuration import RELEASED, TINY, NetworkConfiguration
from sam4d.modeling.encoded_frame import Decoded, EncodedFrame
from sam4d.modeling.initialisation import new_network
from sam4d.modeling.memory_recall import recall
from sam4d.modeling.prompt_encoder import PromptPoints, SensorPoints
from sam4d.modeling.sam4d import Sam4D
from sam4d.simulation import SyntheticDrive
from sam4d.structures import InputError
from tests.sam4d.modeling.small import SMALL

POINT_STRIDE = 4
NEVER_READ = ("no_mem_pos_enc", "cross_attn_image.k_proj.bias")
"""The first is in the released file only; what the second adds is the same for every key and leaves the softmax as it is."""


def encoded(network: Sam4D, drive: SyntheticDrive, index: int) -> EncodedFrame:
    frame = drive.clip.frames[index]
    points_m = frame.load_sweep().points_m[::POINT_STRIDE]
    assert frame.world_SE3_lidar is not None
    points_m = points_m[np.isfinite(points_m).all(axis=1)]
    return network.encode_frame(frame.load_images["front"](), drive.clip.cameras["front"], points_m, frame.world_SE3_lidar)


CAMERA_CLICK = SensorPoints(np.array([[160.0, 120.0]]), np.array([1]))
LIDAR_CLICK = SensorPoints(np.array([[12.0, 1.0, 0.5]]), np.array([0]))


def unrolled(network: Sam4D, drive: SyntheticDrive) -> Tensor:
    """Every way through the network, as one number: a click, a correction, a mask, what is remembered, what is followed."""
    first, second = encoded(network, drive, 0), encoded(network, drive, 1)
    head = network.head
    click = network.encode_prompts(first, PromptPoints(camera=CAMERA_CLICK))
    candidates = head.candidates(first, network.begin(first), click)
    answer = head.decoded(first, *candidates, ambiguous=True)
    points = PromptPoints(camera=CAMERA_CLICK, lidar=LIDAR_CLICK)
    correction = network.encode_prompts(first, points, answer.camera_low_res_logits, answer.lidar_low_res_logits)
    corrected = network.decode(first, network.begin(first), correction, ambiguous=False)
    rows, columns = np.mgrid[:200, :320]
    mask = (abs(rows - 120) < 30) & (abs(columns - 160) < 40)
    given = network.decode_mask(second, mask, np.arange(len(second.lidar.sweep)) % 3 == 0)
    nowhere = network.decode_mask(second, mask, np.zeros(len(second.lidar.sweep), dtype=np.bool_))
    memories = {0: network.remember(first, corrected), 1: network.remember(second, Decoded.join([given, nowhere]))}
    features = network.condition(second, recall(1, {0}, set(), 8), {0: memories[0]})
    followed = head.candidates(second, features, network.encode_prompts(second, PromptPoints()))
    seen_again = network.condition(first, recall(0, {1}, set(), 8, reverse=True), {1: memories[1]})
    losses: list[Tensor] = [seen_again.camera, seen_again.lidar, corrected.lidar_logits, corrected.predicted_iou, answer.lidar_pointer]
    for each in (*candidates, *followed):
        losses += [each.logits, each.predicted_iou, each.object_score]
    return torch.stack([torch.tanh(each).square().mean() for each in losses]).sum()


def small_network(seed: int = 0) -> Sam4D:
    """Without absent objects, whose masks depend on nothing."""
    network = new_network(SMALL, seed)
    for name, parameter in network.named_parameters():
        if name.endswith("gamma"):
            torch.nn.init.ones_(parameter)
    torch.nn.init.constant_(network.head.sam_mask_decoder.pred_obj_score_head.layers[-1].bias, 5.0)  # type: ignore[arg-type]
    return network


def gradients(network: Sam4D, drive: SyntheticDrive) -> tuple[float, dict[str, Tensor]]:
    network.zero_grad()
    loss = unrolled(network, drive)
    loss.backward()  # type: ignore[no-untyped-call]
    return float(loss.detach()), {name: each.grad for name, each in network.named_parameters() if each.grad is not None}


def test_gradients_reach_every_weight(small_drive: SyntheticDrive) -> None:
    network = small_network()
    _, found = gradients(network, small_drive)
    without = {name for name, _ in network.named_parameters() if name not in found or not found[name].any()}
    # Not every label of points occurs here.
    assert {name for name in without if not name.endswith(NEVER_READ) and "point_embeddings" not in name} == set()
    assert all(torch.isfinite(each).all() for each in found.values())


PARTS = ("backbone.image", "backbone.point", "memory_encoder", "memory_attention", "head", "union_pe_func")


@pytest.mark.parametrize("training", [True, False], ids=["training", "answering"])
@pytest.mark.parametrize("part", PARTS)
def test_a_part_s_gradient_is_that_of_differences(
    small_drive: SyntheticDrive, part: str, training: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float32, along the gradient itself, to 3 % at one of three steps: larger ones meet kinks, smaller ones rounding.

    Memories are not rounded to bfloat16 here, which differences as small as these would not pass.
    """
    monkeypatch.setattr(Tensor, "bfloat16", lambda tensor: tensor)
    network = small_network().train(training)
    own = {name: gradient for name, gradient in gradients(network, small_drive)[1].items() if part in name}
    length = float(torch.cat([each.flatten() for each in own.values()]).norm())

    @torch.no_grad()
    def moved(by: float) -> float:
        for name, gradient in own.items():
            network.get_parameter(name).add_(gradient, alpha=by / length)
        loss = float(unrolled(network, small_drive))
        for name, gradient in own.items():
            network.get_parameter(name).sub_(gradient, alpha=by / length)
        return loss

    found = [(moved(step) - moved(-step)) / (2 * step) for step in (3e-4, 1e-4, 3e-5)]
    assert min(abs(each / length - 1) for each in found) < 0.03, (found, length)


@pytest.mark.parametrize("training", [True, False], ids=["training", "answering"])
def test_what_is_computed_again_changes_nothing(small_drive: SyntheticDrive, training: bool) -> None:
    kept, again = small_network().train(training), small_network().train(training)
    again.checkpointed = True
    assert again.checkpointed
    assert not kept.checkpointed
    loss, wanted = gradients(kept, small_drive)
    loss_again, found = gradients(again, small_drive)
    assert loss == loss_again
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-5, atol=1e-7, msg=name)
    # The running statistics of the normalisations are brought up to date once.
    for name, value in kept.named_buffers():
        assert torch.equal(value, again.get_buffer(name)), name


def test_training_sees_the_answers_that_people_get(small_drive: SyntheticDrive) -> None:
    network = small_network().eval()
    with torch.inference_mode():
        answered = unrolled(network, small_drive)
    torch.testing.assert_close(unrolled(network, small_drive).detach(), answered.clone(), rtol=1e-4, atol=1e-5)


def test_the_answer_is_one_of_the_candidates(small_drive: SyntheticDrive) -> None:
    network = small_network().eval()
    with torch.no_grad():
        frame = encoded(network, small_drive, 0)
        prompts = network.encode_prompts(frame, PromptPoints(camera=CAMERA_CLICK))
        camera, lidar = network.head.candidates(frame, network.begin(frame), prompts)
        decoded = network.head.decoded(frame, camera, lidar, ambiguous=True)
    assert camera.logits.shape == (1, 4, SMALL.mask_size**2)
    assert lidar.logits.shape == (1, 4, len(frame.lidar.stride4.cells))
    assert any(torch.equal(decoded.lidar_low_res_logits[0], each) for each in lidar.logits[0, 1:])
    assert any(torch.equal(decoded.camera_low_res_logits[0].flatten(), each) for each in camera.logits[0, 1:])


def test_a_new_network_is_the_same_for_the_same_seed() -> None:
    torch.manual_seed(1)
    first = new_network(SMALL, 7)
    drawn = torch.rand(3)
    torch.manual_seed(2)
    again, other = new_network(SMALL, 7), new_network(SMALL, 8)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    assert not torch.equal(first.head.no_obj_ptr, other.head.no_obj_ptr)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(3), drawn), "what others draw is not touched"


def test_a_new_network_has_answers_of_a_size_to_learn_from(small_drive: SyntheticDrive) -> None:
    network = new_network(TINY, 0)
    with torch.no_grad():
        frame = encoded(network, small_drive, 0)
        prompts = network.encode_prompts(frame, PromptPoints(camera=CAMERA_CLICK))
        sensors = network.head.candidates(frame, network.begin(frame), prompts)
    for candidates in sensors:
        assert 0.05 < float(candidates.logits.std()) < 20
        assert float(candidates.object_score.abs().max()) < 10
    values = sum(parameter.numel() for parameter in network.parameters())
    assert values < RELEASED_VALUES / 5


RELEASED_VALUES = 121_800_000


@pytest.mark.parametrize("configuration", [RELEASED, TINY, SMALL])
def test_sizes_as_json(configuration: NetworkConfiguration) -> None:
    assert NetworkConfiguration.from_json(configuration.to_json(), "here") == configuration
    with torch.device("meta"):
        network = Sam4D(configuration)
    assert network.configuration is configuration
    assert len(network.state_dict()) == 904 or configuration is not RELEASED


@pytest.mark.parametrize(
    ("sizes", "where"),
    [
        ({"image_size_px": 390}, "image_size_px"),
        ({"width": 24}, "width"),
        ({"lidar_widths": (16, 32, 64, 64)}, "lidar_widths"),
        ({"hiera_windows": (8, 3, 12, 6)}, "hiera_windows"),
        ({"hiera_global_blocks": (12,)}, "hiera_global_blocks"),
        ({"memory_kernel_size": 4}, "memory_kernel_size"),
        ({"memory_layers": 200}, "blocks and layers"),
        ({"memory_hidden_width": 0}, "memory_hidden_width"),
        ({"hiera_blocks": (1, 2, 7)}, "hiera_blocks"),
        ({"decoder_hidden_width": 1.5}, "decoder_hidden_width"),
    ],
)
def test_sizes_of_no_network(sizes: dict[str, int | Sequence[int]], where: str) -> None:
    with pytest.raises(InputError) as refused:
        replace(TINY, **sizes)  # type: ignore[arg-type]
    assert refused.value.where == where
