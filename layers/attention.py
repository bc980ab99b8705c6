"""Attention and its parts, shared by the rooms: rotary positions, RMS norm, banded self- and cross-attention, SwiGLU.

All attention runs through torch's scaled_dot_product_attention: FlashAttention on CUDA, a fused kernel on a CPU.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


def rotary_angles(positions: Tensor, head_width: int, base: float = 1000.0) -> tuple[Tensor, Tensor]:
    """Cosine and sine of RoPE (Su et al. 2021, arXiv 2104.09864): (T,) frame numbers to two (T, E / 2) tensors."""
    frequency = base ** (-torch.arange(0, head_width, 2, device=positions.device) / head_width)
    angle = positions.float()[:, None] * frequency
    return angle.cos(), angle.sin()


def rotate(x: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
    """Turn queries or keys (B, N, T, E) by their positions."""
    cos, sin = (a.to(x.dtype) for a in angles)
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


def band_mask(queries: int, keys: int, reach: int, device: torch.device | str = "cpu") -> Tensor:
    """(queries, keys) bool: True where a frame may look, at most `reach` frames away."""
    return (torch.arange(queries, device=device)[:, None] - torch.arange(keys, device=device)[None]).abs() <= reach


class SelfAttention(nn.Module):
    """Multi-head self-attention with rotary positions and normalised queries and keys."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width)
        self.norm_q, self.norm_k = nn.RMSNorm(width // heads), nn.RMSNorm(width // heads)

    def forward(self, x: Tensor, angles: tuple[Tensor, Tensor], mask: Tensor | None = None) -> Tensor:
        """x (B, T, D); angles of `rotary_angles`; mask (T, T) bool, True where a frame may look."""
        q, k, v = rearrange(self.qkv(x), "b t (three n e) -> three b n t e", three=3, n=self.heads)
        q, k = rotate(self.norm_q(q), angles), rotate(self.norm_k(k), angles)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(rearrange(y, "b n t e -> b t (n e)"))


class CrossAttention(nn.Module):
    """Multi-head attention from frames to another sequence; rotary when both run on the same clock."""

    def __init__(self, width: int, heads: int, context: int):
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width, bias=False)
        self.kv = nn.Linear(context, 2 * width, bias=False)
        self.out = nn.Linear(width, width)
        self.norm_q, self.norm_k = nn.RMSNorm(width // heads), nn.RMSNorm(width // heads)

    def forward(
        self, x: Tensor, context: Tensor, mask: Tensor | None = None, angles: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """x (B, T, D), context (B, S, C) to (B, T, D).

        mask: bool or additive, broadcast to (B, N, T, S). angles: rotary positions of both sides, if they share a clock.
        """
        q = rearrange(self.q(x), "b t (n e) -> b n t e", n=self.heads)
        k, v = rearrange(self.kv(context), "b s (two n e) -> two b n s e", two=2, n=self.heads)
        q, k = self.norm_q(q), self.norm_k(k)
        if angles is not None:
            q, k = rotate(q, angles), rotate(k, angles)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(rearrange(y, "b n t e -> b t (n e)"))


class SwiGLU(nn.Module):
    """Gated feed-forward (Shazeer 2020, arXiv 2002.05202)."""

    def __init__(self, width: int, hidden: int, dropout: float = 0.0):
        super().__init__()
        self.up, self.down = nn.Linear(width, 2 * hidden), nn.Linear(hidden, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        value, gate = self.up(x).chunk(2, dim=-1)
        return self.down(self.dropout(value * F.silu(gate)))


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """adaLN (Peebles & Xie 2022, arXiv 2212.09748): x (B, T, D) by shift and scale (B, T or 1, D)."""
    return x * (1 + scale) + shift


class TimeEmbedding(nn.Module):
    """A flow's time in [0, 1] as sines and an MLP: (B,) to (B, D)."""

    def __init__(self, width: int, frequencies: int = 64):
        super().__init__()
        self.frequencies = frequencies
        self.mlp = nn.Sequential(nn.Linear(2 * frequencies, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        """t (B,) to (B, D)."""
        f = torch.exp(torch.linspace(0, 6, self.frequencies, device=t.device))
        angle = t[:, None].float() * f
        return self.mlp(torch.cat([angle.sin(), angle.cos()], -1).to(next(self.parameters()).dtype))
