"""A network that has learnt nothing yet."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sam4d.modeling.configuration import NetworkConfiguration
from sam4d.modeling.image_encoder import Hiera
from sam4d.modeling.positional_encoding import EgoPoseEncoder
from sam4d.modeling.sam4d import Sam4D
from sam4d.modeling.sparse_conv import DownConv, SubmanifoldConv, UpConv

SMALL_STD = 0.02
"""Of what is added to features, and of the image encoder's linear layers (as in Hiera)."""

MOTION_SCALE_M = 10.0
"""The distance that counts as 1 in the encoding of the vehicle's motion: what it drives in a second or so."""


def new_network(configuration: NetworkConfiguration, seed: int) -> Sam4D:
    """A network to be trained from scratch, on the CPU, in training mode. It is the same for the same sizes and seed, always."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Sam4D(configuration)
        for module in network.modules():
            _begin(module)
        for module in network.pure_model.backbone.image.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=SMALL_STD)
        head = network.head
        for embedding in (network.maskmem_tpos_enc, network.no_mem_embed, network.no_obj_embed_spatial, head.no_obj_ptr):
            nn.init.trunc_normal_(embedding, std=SMALL_STD)
        with torch.no_grad():
            _begin_as_means(network)
    return network


def _begin(module: nn.Module) -> None:
    """What PyTorch would begin in another way. Norms begin as they are, and so do what projects pointers and reads prompts' labels."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        _to_zero(module.bias)
    elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        # Of a transposed convolution whose stride is its size, every output has one tap.
        fan_in = module.weight.shape[0] if isinstance(module, nn.ConvTranspose2d) else module.weight[0].numel()
        # Biases stay as they are, not zero: where a mask given as a prompt is empty, they are all that is normalised next.
        nn.init.normal_(module.weight, std=math.sqrt(2 / fan_in))
    elif isinstance(module, SubmanifoldConv | DownConv | UpConv):
        taps = 1 if isinstance(module, UpConv) else module.kernel_size**3
        nn.init.normal_(module.kernel, std=math.sqrt(2 / (taps * module.kernel.shape[-2])))
        _to_zero(module.bias)
    elif isinstance(module, Hiera):
        nn.init.trunc_normal_(module.pos_embed, std=SMALL_STD)
        nn.init.trunc_normal_(module.pos_embed_window, std=SMALL_STD)
    elif isinstance(module, EgoPoseEncoder):
        module.d_max.fill_(MOTION_SCALE_M)


def _begin_as_means(network: Sam4D) -> None:
    """Masks that are given as prompts come in as the mean of what lies under each logit."""
    for mean in (network.mask_downsample_img.weight, network.mask_downsample_pts.kernel):
        mean.fill_(1 / mean.numel())


def _to_zero(bias: Tensor | None) -> None:
    if bias is not None:
        nn.init.zeros_(bias)
