"""What the released network computes with known weights on real input, where a developer's checkout has it beside it."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

REFERENCE = Path(__file__).parents[3] / ".." / "shared" / "reference"
POINT_STRIDE = 4
"""Every fourth point of a sweep is given to the network, to be quick."""

FIRST_FRAME = 1
"""Frame 0 of the reference is frame 1 of the recording."""


def reference_folder() -> Path:
    folder = REFERENCE.resolve()
    if not folder.is_dir():
        pytest.skip("the reference numbers are not beside this checkout")
    return folder


def tensor_shapes() -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of the released checkpoint."""
    shapes = json.loads((reference_folder() / "tensors.json").read_text(encoding="utf-8"))
    return {name: tuple(shape) for name, shape in shapes.items()}


def reference_weights(model: torch.nn.Module, prefix: str = "") -> dict[str, Tensor]:
    """The reference's weights for a model whose names, after the prefix, are the checkpoint's. Geometry stays as the model has it."""
    spec = importlib.util.spec_from_file_location("reference_weights", reference_folder() / "weights.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {
        name: tensor if name.endswith("frustum") else torch.from_numpy(np.asarray(module.fill(prefix + name, tuple(tensor.shape))))
        for name, tensor in model.state_dict().items()
    }


def reference_arrays(name: str) -> Mapping[str, NDArray[np.generic]]:
    """`reference.npz` or `reference_prompts.npz`."""
    with np.load(reference_folder() / name) as arrays:
        return {key: arrays[key] for key in arrays.files}
