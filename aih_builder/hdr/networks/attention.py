"""The transformer block of HDRM's generator: PVT-v2's, of depth 1.

Source: Wang et al., PVT v2 (2022), section 3; HDR (ECCV 2022), section 3.3. Pre-norm, attention with spatial
reduction, a depth-wise convolution inside the MLP, no position encoding.
"""

import torch.nn.functional as F
from torch import Tensor, nn


class TransformerBlock(nn.Module):
    """Map (B, C, H, W) -> (B, C, H, W): x += attention(norm x), x += mlp(norm x), then a last norm."""

    def __init__(self, dim: int, heads: int, mlp_ratio: int, reduction: int) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(dim, eps=1e-6) for _ in range(3))
        self.attention = _Attention(dim, heads, reduction)
        self.mlp = _Mlp(dim, mlp_ratio * dim)

    def forward(self, x: Tensor) -> Tensor:
        size = (x.shape[-2], x.shape[-1])
        tokens = x.flatten(2).transpose(1, 2)  # (B, C, H, W) -> (B, H W, C)
        tokens = tokens + self.attention(self.norm1(tokens), size)
        tokens = tokens + self.mlp(self.norm2(tokens), size)
        return _as_map(self.norm3(tokens), size)


class _Attention(nn.Module):
    def __init__(self, dim: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key_value, self.project = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)
        self.reduce = nn.Conv2d(dim, dim, reduction, reduction) if reduction > 1 else None
        self.norm = nn.LayerNorm(dim, eps=1e-6) if reduction > 1 else None

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        context = tokens
        if self.reduce is not None and self.norm is not None:
            context = self.norm(self.reduce(_as_map(tokens, size)).flatten(2).transpose(1, 2))  # (B, H W / r^2, C)
        q = self.query(tokens).unflatten(2, (self.heads, -1)).transpose(1, 2)  # (B, heads, H W, C / heads)
        k, v = self.key_value(context).unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.project(mixed.transpose(1, 2).flatten(2))


class _Mlp(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.widen, self.narrow = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        self.local = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        wide = self.local(_as_map(self.widen(tokens), size)).flatten(2).transpose(1, 2)
        return self.narrow(F.gelu(wide))


def _as_map(tokens: Tensor, size: tuple[int, int]) -> Tensor:
    return tokens.transpose(1, 2).unflatten(2, size)  # (B, H W, C) -> (B, C, H, W)
