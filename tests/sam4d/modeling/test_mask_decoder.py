"""The mask decoder: objects in a batch are decoded as they are alone, in either sensor."""

from __future__ import annotations

import pytest
import torch

from sam4d.modeling.mask_decoder import MaskDecoder
from sam4d.modeling.sparse_conv import Cells, SparseTensor


@pytest.fixture(scope="module")
def decoder() -> MaskDecoder:
    torch.manual_seed(3)
    return MaskDecoder().eval()


@torch.no_grad()
def test_camera_objects_do_not_disturb_one_another(decoder: MaskDecoder) -> None:
    torch.manual_seed(1)
    features, prompts = torch.randn(2, 256, 4, 4), torch.randn(2, 3, 256)
    positions, stride8, stride4 = torch.randn(1, 16, 256), torch.randn(1, 64, 8, 8), torch.randn(1, 32, 16, 16)
    together = decoder.decode_camera(features, positions, prompts, stride8, stride4)
    assert together.logits.shape == (2, 4, 256)
    assert together.predicted_iou.shape == (2, 4)
    assert together.tokens.shape == (2, 4, 256)
    for index in range(2):
        alone = decoder.decode_camera(features[index, None], positions, prompts[index, None], stride8, stride4)
        torch.testing.assert_close(together.logits[index], alone.logits[0], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(together.object_score[index], alone.object_score[0], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_lidar_objects_do_not_disturb_one_another(decoder: MaskDecoder) -> None:
    torch.manual_seed(2)
    fine = Cells(torch.unique(torch.randint(0, 20, (300, 3)), dim=0))
    middle = fine.coarser(2).cells
    top = middle.coarser(2).cells
    stride4, stride8 = SparseTensor(fine, torch.randn(len(fine), 32)), SparseTensor(middle, torch.randn(len(middle), 64))
    features, positions, prompts = torch.randn(2, len(top), 256), torch.randn(1, len(top), 256), torch.randn(2, 3, 256)
    together = decoder.decode_lidar(features, positions, prompts, top, stride8, stride4)
    assert together.logits.shape == (2, 4, len(fine))
    for index in range(2):
        alone = decoder.decode_lidar(features[index, None], positions, prompts[index, None], top, stride8, stride4)
        torch.testing.assert_close(together.logits[index], alone.logits[0], rtol=1e-4, atol=1e-4)
