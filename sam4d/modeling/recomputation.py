"""What is kept for gradients: nothing of parts that do not learn, and with activation checkpointing (arXiv 1604.06174) what goes in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from sam4d.modeling.sparse_conv import FeatureBatchNorm


def computed_again(part: nn.Module, *inputs: Any) -> Any:
    """What the part makes of its inputs. Where gradients are wanted, only the inputs are kept until then.

    The part may use no random numbers.
    """
    if not torch.is_grad_enabled():
        return part(*inputs)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return contextlib.nullcontext(), _statistics_untouched(part)

    return checkpoint(part, *inputs, use_reentrant=False, preserve_rng_state=False, context_fn=contexts)


@contextlib.contextmanager
def _statistics_untouched(part: nn.Module) -> Iterator[None]:
    """The running means and variances of normalisations, which the first time has brought up to date."""
    norms = [module for module in part.modules() if isinstance(module, FeatureBatchNorm) and not module.statistics_stand]
    for norm in norms:
        norm.statistics_stand = True
    try:
        yield
    finally:
        for norm in norms:
            norm.statistics_stand = False


def where_it_learns(part: nn.Module) -> AbstractContextManager[Any]:
    """No gradients within, and so all that makes inference quick, where nothing of the part is learnt.

    Only around a part whose inputs have no gradients either.
    """
    learns = torch.is_grad_enabled() and any(parameter.requires_grad for parameter in part.parameters())
    return torch.set_grad_enabled(learns)
