"""Masks of B objects on one sensor from the frame's features and the objects' prompts: the mask decoder (arXiv 2506.21547).

Camera and LiDAR are decoded one after the other with the same weights; only the upscaling is each sensor's own.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sam4d.modeling.attention import Perceptron
from sam4d.modeling.configuration import RELEASED, NetworkConfiguration
from sam4d.modeling.layer_norm import LayerNorm2d
from sam4d.modeling.mask_selection import MaskCandidates
from sam4d.modeling.sparse_conv import Cells, FeatureBatchNorm, SparseTensor, SubmanifoldConv, UpConv
from sam4d.modeling.two_way_transformer import TwoWayTransformer

MASKS = 4


class MaskDecoder(nn.Module):
    """Two-way transformer, upscaling with the finer levels of the encoder added, and a hypernetwork for each of four masks."""

    def __init__(self, configuration: NetworkConfiguration = RELEASED) -> None:
        super().__init__()
        width = configuration.width
        width8, width4 = width // 4, width // 8
        self.transformer = TwoWayTransformer(width, configuration.decoder_hidden_width)
        self.iou_token = nn.Embedding(1, width)
        self.mask_tokens = nn.Embedding(MASKS, width)
        self.obj_score_token = nn.Embedding(1, width)
        self.output_upscaling = nn.ModuleList(
            [
                nn.ConvTranspose2d(width, width8, kernel_size=2, stride=2),
                LayerNorm2d(width8),
                nn.GELU(),
                nn.ConvTranspose2d(width8, width4, kernel_size=2, stride=2),
                nn.GELU(),
            ]
        )
        self.output_upscaling_pts = nn.ModuleList(
            [UpConv(width, width8, 2), FeatureBatchNorm(width8), nn.Identity(), UpConv(width8, width4, 2, bias=True), nn.Identity()]
        )
        self.conv_s0 = nn.Conv2d(width, width4, kernel_size=1)
        self.conv_s1 = nn.Conv2d(width, width8, kernel_size=1)
        lidar_width8, lidar_width4 = configuration.lidar_decoder_widths
        self.conv_s0_pts = SubmanifoldConv(lidar_width4, width4, 1)
        self.conv_s1_pts = SubmanifoldConv(lidar_width8, width8, 1)
        self.output_hypernetworks_mlps = nn.ModuleList(Perceptron((width, width, width, width4)) for _ in range(MASKS))
        self.iou_prediction_head = Perceptron((width, width, width, MASKS))
        self.pred_obj_score_head = Perceptron((width, width, width, 1))

    def decode_camera(self, features: Tensor, positions: Tensor, prompts: Tensor, stride8: Tensor, stride4: Tensor) -> MaskCandidates:
        """Masks at stride 4, L = 4 G * 4 G row by row.

        Args:
            features: float32 (B, C, G, G), the dense prompt added.
            positions: (1, G * G, C), position encoding of the grid, row by row.
            prompts: (B, T, C), prompt tokens, the same number for every object.
            stride8, stride4: (1, C / 4, 2 G, 2 G) and (1, C / 8, 4 G, 4 G), after `conv_s1` and `conv_s0`.
        """
        tokens, grid = self.transformer(self._tokens(prompts), features.flatten(2).transpose(1, 2), positions)
        up_to_8, norm, gelu, up_to_4, last_gelu = self.output_upscaling
        upscaled = gelu(norm(up_to_8(grid.transpose(1, 2).unflatten(2, features.shape[2:])) + stride8))
        upscaled = last_gelu(up_to_4(upscaled) + stride4)
        return self._candidates(tokens, upscaled.flatten(2))

    def decode_lidar(
        self, features: Tensor, positions: Tensor, prompts: Tensor, stride16: Cells, stride8: SparseTensor, stride4: SparseTensor
    ) -> MaskCandidates:
        """One logit per stride-4 voxel.

        Args:
            features: float32 (B, M, C) of the stride-16 voxels, the dense prompt added.
            positions: (1, M, C). prompts: (B, T, C), as for a camera.
            stride16: the cells. stride8, stride4: C / 4 and C / 8 channels, after `conv_s1_pts` and `conv_s0_pts`.
        """
        tokens, grid = self.transformer(self._tokens(prompts), features, positions)
        up_to_8, norm, _, up_to_4, _ = self.output_upscaling_pts
        # Sparse features are (cells, objects, channels); the objects share the finer levels.
        middle = up_to_8(SparseTensor(stride16, grid.transpose(0, 1).contiguous()), stride8.cells)
        middle = middle.with_features(norm(middle.features + stride8.features[:, None]))
        upscaled = up_to_4(middle, stride4.cells).features + stride4.features[:, None]
        return self._candidates(tokens, upscaled.permute(1, 2, 0))

    def _tokens(self, prompts: Tensor) -> Tensor:
        """Object score, IoU, four masks, then the prompts: (B, 6 + T, C)."""
        own = torch.cat([self.obj_score_token.weight, self.iou_token.weight, self.mask_tokens.weight])
        return torch.cat([own.expand(len(prompts), -1, -1), prompts], dim=1)

    def _candidates(self, tokens: Tensor, upscaled: Tensor) -> MaskCandidates:
        """Tokens (B, 6 + T, C) and upscaled features (B, C / 8, L)."""
        mask_tokens = tokens[:, 2 : 2 + MASKS]
        kernels = torch.stack([network(mask_tokens[:, index]) for index, network in enumerate(self.output_hypernetworks_mlps)], dim=1)
        return MaskCandidates(
            logits=kernels @ upscaled,
            predicted_iou=torch.sigmoid(self.iou_prediction_head(tokens[:, 1])),
            tokens=mask_tokens,
            object_score=self.pred_obj_score_head(tokens[:, 0])[:, 0],
        )
