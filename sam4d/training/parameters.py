"""Which of a network's weights a plan learns, and how fast."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sam4d.training.plan import Mode, TrainingPlan

ENCODERS = ("pure_model.backbone.",)
HEADS = (
    "pure_model.head.sam.sam_prompt_encoder.",
    "pure_model.head.sam.psam_prompt_encoder.",
    "pure_model.head.sam.sam_mask_decoder.",
)
WITHOUT_EFFECT = ("no_mem_pos_enc", "cross_attn_image.k_proj.bias")
"""In the released file, and changing nothing: never read, or the same for everything that is looked at."""


def is_learnt(name: str, mode: Mode) -> bool:
    """Whether a mode learns the tensor of this name in the network."""
    if name.endswith(WITHOUT_EFFECT):
        return False
    if mode == "heads":
        return name.startswith(HEADS)
    return mode == "everything" or not name.startswith(ENCODERS)


def choose(network: nn.Module, plan: TrainingPlan) -> dict[str, nn.Parameter]:
    """Let gradients reach what the plan learns and nothing else, and put all layers in the state in which they learn.

    Only normalisation of batches differs between learning and serving. With fixed statistics all of it is as in serving.
    """
    network.train(plan.statistics == "learnt")
    for name, module in network.named_modules():
        if isinstance(module, _BatchNorm) and not is_learnt(f"{name}.weight", plan.mode):
            module.eval()
    learnt = {}
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(is_learnt(name, plan.mode))
        if parameter.requires_grad:
            learnt[name] = parameter
    return learnt


def changing(network: nn.Module, plan: TrainingPlan) -> dict[str, Tensor]:
    """All that training changes, by name: what is learnt, and the statistics where they are."""
    tensors: dict[str, Tensor] = {name: each for name, each in network.named_parameters() if is_learnt(name, plan.mode)}
    if plan.statistics == "learnt":
        tensors |= {name: each for name, each in network.named_buffers() if is_learnt(name, plan.mode) and _is_statistic(name)}
    return tensors


def optimiser_for(learnt: Mapping[str, nn.Parameter], plan: TrainingPlan) -> torch.optim.AdamW:
    """AdamW; vectors (biases, normalisation, embeddings of one entry) do not decay. Each group knows its highest rate as `highest`."""
    groups = []
    for encoder, rate in ((False, plan.learning_rate), (True, plan.encoder_learning_rate)):
        for decays in (True, False):
            chosen = [
                parameter
                for name, parameter in learnt.items()
                if name.startswith(ENCODERS) == encoder and _decays(name, parameter) == decays
            ]
            if chosen:
                groups.append({"params": chosen, "lr": rate, "highest": rate, "weight_decay": plan.weight_decay if decays else 0.0})
    return torch.optim.AdamW(groups)


def set_rates(optimiser: torch.optim.Optimizer, share: float) -> float:
    """Have every group learn with this share of its highest rate. Returns the highest of all."""
    for group in optimiser.param_groups:
        group["lr"] = group["highest"] * share
    return max(float(group["lr"]) for group in optimiser.param_groups)


def moments(optimiser: torch.optim.Optimizer, learnt: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """What the optimiser remembers of every tensor, as "kind/name"."""
    return {f"{kind}/{name}": value for name, parameter in learnt.items() for kind, value in optimiser.state[parameter].items()}


def put_moments(optimiser: torch.optim.Optimizer, learnt: Mapping[str, nn.Parameter], values: Mapping[str, Tensor]) -> None:
    """Inverse of `moments`."""
    for key, value in values.items():
        kind, _, name = key.partition("/")
        parameter = learnt[name]
        optimiser.state[parameter][kind] = value.clone() if kind == "step" else value.to(parameter.device, copy=True)


def _is_statistic(name: str) -> bool:
    return name.rpartition(".")[2] in ("running_mean", "running_var", "num_batches_tracked")


def _decays(name: str, parameter: Tensor) -> bool:
    return parameter.ndim > 1 and max(parameter.shape) < parameter.numel() and "norm" not in name
