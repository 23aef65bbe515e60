"""The network with weights that a test can know."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sam4d.modeling.sam4d import Sam4D
from sam4d.network.predictor import NetworkPredictor
from tests.sam4d.modeling.reference import reference_weights


def random_weights(seed: int = 0) -> dict[str, Tensor]:
    """Weights of the right names and shapes that know nothing, but say of every object that it is there."""
    torch.manual_seed(seed)
    model = Sam4D()
    with torch.no_grad():
        model.head.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(5.0)  # type: ignore[operator]
    return dict(model.state_dict())


@pytest.fixture(scope="session")
def released() -> NetworkPredictor:
    """With the reference's weights."""
    return NetworkPredictor(reference_weights(Sam4D()), "cpu")


@pytest.fixture(scope="session")
def untrained() -> NetworkPredictor:
    return NetworkPredictor(random_weights(), "cpu")
