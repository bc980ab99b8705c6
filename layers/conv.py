"""Causal convolutions over time whose memory is a value: passed in, handed back, never kept inside.

A layer called on a whole recording and on any cutting of it gives the same frames, because "offline" is one call with a
fresh state on the same path. An output frame depends on no input after its own.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mien.layers.attention import modulate


class CausalConv1d(nn.Conv1d):
    """1-D convolution that looks back only.

    Output frame j is computed from input frames up to (j + 1) * stride - 1; what lies before the stream is zero.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
    ):
        super().__init__(
            in_channels, out_channels, kernel_size, stride=stride, dilation=dilation, groups=groups, bias=bias
        )
        self.memory = (kernel_size - 1) * dilation + 1 - stride  # input frames that a chunk needs from the past
        assert self.memory >= 0, "a stride longer than the kernel would skip input"

    def init_state(
        self, batch_size: int, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """The past of a stream that has just begun: zeros (B, C, memory)."""
        return torch.zeros(batch_size, self.in_channels, self.memory, device=device, dtype=dtype)

    # A convolution with a past takes and gives one more thing than nn.Conv1d.
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, x: Tensor, state: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Convolve the next chunk of a stream.

        x: (B, C, T) with T a multiple of the stride. state: what the last call returned; None starts a stream.
        Returns (B, C', T / stride) and the next state (B, C, memory).
        """
        if state is None:
            state = self.init_state(x.shape[0], x.device, x.dtype)
        x = torch.cat([state, x], dim=-1)
        return super().forward(x), x[..., x.shape[-1] - self.memory :]


class CausalBlock(nn.Module):
    """Residual block: depth-wise causal convolution over time, then a small MLP over channels in every frame.

    The ConvNeXt block (Liu et al. 2022, https://arxiv.org/abs/2201.03545) turned causal, without its layer
    scale: stacks as small and runs as short as ours only lose by a quiet start. With a `condition` width the norm's
    shift and scale come from a condition, too (adaLN), and begin at none.
    """

    def __init__(
        self,
        width: int,
        *,
        kernel_size: int = 7,
        dilation: int = 1,
        expansion: int = 4,
        dropout: float = 0.0,
        condition: int = 0,
    ):
        super().__init__()
        self.conv = CausalConv1d(width, width, kernel_size, dilation=dilation, groups=width)
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, expansion * width)
        self.down = nn.Linear(expansion * width, width)
        self.dropout = nn.Dropout(dropout)
        if condition:
            self.modulation = nn.Linear(condition, 2 * width)
            nn.init.zeros_(self.modulation.weight)
            nn.init.zeros_(self.modulation.bias)

    def init_state(
        self, batch_size: int, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """The past of a stream that has just begun (B, D, memory)."""
        return self.conv.init_state(batch_size, device, dtype)

    def forward(
        self, x: Tensor, state: Tensor | None = None, condition: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The next chunk (B, T, D) and the last state to the chunk's output (B, T, D) and the next state.

        condition: (B, T or 1, C), for a block that was made with one.
        """
        mixed, memory = self.conv(x.transpose(1, 2), state)
        mixed = self.norm(mixed.transpose(1, 2))
        if condition is not None:
            shift, scale = self.modulation(condition).chunk(2, -1)
            mixed = modulate(mixed, shift, scale)
        return x + self.dropout(self.down(F.gelu(self.up(mixed)))), memory
