"""Prompt tokens and one sensor's grid look at each other: the mask decoder's two-way transformer (as in SAM, arXiv 2304.02643)."""

from __future__ import annotations

from torch import Tensor, nn

from sam4d.modeling.attention import Attention, Perceptron


class TwoWayBlock(nn.Module):
    """Self-attention of the tokens, tokens to grid, perceptron, grid to tokens; each is added, then normalised.

    In the first block the self-attention knows no positions (the tokens are their own) and replaces the tokens instead of adding to them.
    """

    def __init__(self, width: int, heads: int, hidden_width: int, *, first: bool) -> None:
        super().__init__()
        self.first = first
        self.self_attn = Attention(width, width, heads)
        self.norm1 = nn.LayerNorm(width)
        self.cross_attn_token_to_image = Attention(width, width // 2, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Perceptron((width, hidden_width, width))
        self.norm3 = nn.LayerNorm(width)
        self.norm4 = nn.LayerNorm(width)
        self.cross_attn_image_to_token = Attention(width, width // 2, heads)

    def forward(self, tokens: Tensor, grid: Tensor, token_positions: Tensor, grid_positions: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, T, C), grid (B, L, C), their positions (B, T, C) and (1 or B, L, C) -> tokens and grid, shapes unchanged."""
        if self.first:
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            placed = tokens + token_positions
            tokens = tokens + self.self_attn(placed, placed, tokens)
        tokens = self.norm1(tokens)
        placed_grid = grid + grid_positions
        tokens = self.norm2(tokens + self.cross_attn_token_to_image(tokens + token_positions, placed_grid, grid))
        tokens = self.norm3(tokens + self.mlp(tokens))
        grid = self.norm4(grid + self.cross_attn_image_to_token(placed_grid, tokens + token_positions, tokens))
        return tokens, grid


class TwoWayTransformer(nn.Module):
    """Two-way blocks, then the tokens look at the grid once more."""

    def __init__(self, width: int, hidden_width: int, heads: int = 8, depth: int = 2) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TwoWayBlock(width, heads, hidden_width, first=index == 0) for index in range(depth))
        self.final_attn_token_to_image = Attention(width, width // 2, heads)
        self.norm_final_attn = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, grid: Tensor, grid_positions: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, T, C), grid (B, L, C) and its positions (1 or B, L, C) -> tokens (B, T, C), grid (B, L, C).

        The tokens as they come in are the tokens' positions throughout.
        """
        token_positions = tokens
        for layer in self.layers:
            tokens, grid = layer(tokens, grid, token_positions, grid_positions)
        attended = self.final_attn_token_to_image(tokens + token_positions, grid + grid_positions, grid)
        return self.norm_final_attn(tokens + attended), grid
