"""Scalars in few levels: the codec's quantisers behind one interface.

Two rules of vector-quantize-pytorch: `fsp`, finite scalar perturbation (https://arxiv.org/abs/2602.17133), where training
adds noise as wide as a level half of the time, and `fsq`, finite scalar quantisation (Mentzer et al. 2023,
https://arxiv.org/abs/2309.15505). Both run in at least single precision whatever the network around them does.
"""

import torch
from torch import Tensor, nn
from vector_quantize_pytorch import FSP, FSQ

UNIT = 12.0**0.5  # a uniform value in [0, 1] times this has unit variance


class Quantiser(nn.Module):
    """Pre-activations (..., D), about normal, to values of unit variance and their digits (..., D), one of levels[d]."""

    levels: Tensor

    def __init__(self, levels: tuple[int, ...], rule: str = "fsp"):
        super().__init__()
        if rule not in ("fsp", "fsq"):
            raise ValueError(f"there is no quantiser '{rule}': use fsp or fsq.")
        self.register_buffer("levels", torch.tensor(levels), persistent=False)
        if rule == "fsp":
            self.rule = FSP(levels, act_name="normal", quantize_rate=0.5, vector_norm="var")
        else:  # without indices, whose codebook would have a row for each of 5^24 voices
            self.rule = FSQ(levels, preserve_symmetry=True, force_quantization_f32=False, return_indices=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Values, digits and, in training, the rule's own loss (zero for fsq)."""
        with torch.autocast(x.device.type, enabled=False):
            x = x if x.dtype == torch.float64 else x.float()
            if isinstance(self.rule, FSQ):
                codes, _ = self.rule(x.reshape(1, -1, x.shape[-1]))
                digits = ((codes + 1) / 2 * (self.levels - 1)).round().long()
                return codes.reshape(x.shape) * 3.0**0.5, digits.reshape(x.shape), x.new_zeros(())
            if self.training:
                values, _, loss, more = self.rule(x)
                return values, more["level_indices"].long(), loss
            share = self.rule.act_func(x)
            digits = (share * self.levels).floor().long().clamp(min=0).minimum(self.levels - 1)
            return self.values(digits, x.dtype), digits, x.new_zeros(())

    def values(self, digits: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Digits (..., D) to the values that `forward` gave for them."""
        if isinstance(self.rule, FSQ):
            return (digits.to(dtype) * 2 / (self.levels - 1) - 1) * 3.0**0.5
        return ((digits.to(dtype) + 0.5) / self.levels - 0.5) * UNIT
