"""A motion taken apart into what stays and what changes, by learned lifting: manner from the one, feeling from the other.

After IFDD (Implicit Facial Dynamics Disentanglement, https://arxiv.org/abs/2412.13168), on numbers of motion instead of
pictures. A level splits frames into two groups at learned fractional times (ISSM), then lifts them (LADM): the
approximation is updated by the detail, the detail gives up what the approximation predicts. Levels follow each other on
the approximation, so it grows slow.

What differs: the split's times keep within half a frame of their own, so it can be undone, as lifting can: `join` gives
back the very motion. And the networks that update and predict are convolutions, so any length will do.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

REACH = 0.45  # frames by which a frame's time may move: below one half, where a split can always be undone


@dataclass(frozen=True)
class LiftingConfig:
    """Sizes. channels: numbers of a frame. levels: of lifting; each halves the frames of the approximation.

    style, emotion: numbers that manner and feeling are told by; the second is narrow, to leave little room for who it is.
    """

    channels: int = 36
    width: int = 48
    levels: int = 3
    style: int = 64
    emotion: int = 24
    categories: int = 8
    dropout: float = 0.2


class Split(nn.Module):
    """ISSM: frames into an even and an odd group, each frame read at a time of its own near its place."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.look = nn.Conv1d(2 * channels, width, 5, padding=2)
        self.choose = nn.Conv1d(width, 2, 2, stride=2)
        nn.init.zeros_(self.choose.weight)  # begins as the plain split
        nn.init.zeros_(self.choose.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, C, T), T even, to two groups (B, C, T / 2) and by how many frames each time moved, (B, T)."""
        seen = F.silu(self.look(torch.cat([x, F.pad(x.diff(dim=-1), (1, 0))], 1)))
        shift = rearrange(REACH * torch.tanh(self.choose(seen)), "b two t -> b (t two)")
        moved = _read_at(x, shift)
        return moved[..., 0::2], moved[..., 1::2], shift

    @staticmethod
    def undo(even: Tensor, odd: Tensor, shift: Tensor) -> Tensor:
        """The frames that were split: reading is linear in them, so a linear system gives them back."""
        moved = rearrange([even, odd], "two b c t -> b (t two) c")
        frames = moved.shape[1]
        reading = _read_at(torch.eye(frames, dtype=even.dtype, device=even.device)[None], shift)  # (B, from, to)
        return torch.linalg.solve(reading.transpose(1, 2), moved).transpose(1, 2)


def _read_at(x: Tensor, shift: Tensor) -> Tensor:
    """Frames (B, C, T) read off their own times, by shift (B, T) in -1 … 1, on the line to the neighbour; ends are held."""
    before, after = torch.cat([x[..., :1], x[..., :-1]], -1), torch.cat([x[..., 1:], x[..., -1:]], -1)
    late, early = shift.relu()[:, None], (-shift).relu()[:, None]
    return x + late * (after - x) + early * (before - x)


class Lift(nn.Module):
    """One level, LADM: update the approximation, then take from the detail what the approximation predicts."""

    def __init__(self, config: LiftingConfig):
        super().__init__()
        self.split = Split(config.channels, config.width)
        self.update, self.predict = _small(config), _small(config)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, C, T), T even, to approximation and detail (B, C, T / 2), and the split's times (B, T)."""
        even, odd, shift = self.split(x)
        slow = even + self.update(odd)
        return slow, odd - self.predict(slow), shift

    def undo(self, slow: Tensor, detail: Tensor, shift: Tensor) -> Tensor:
        """The frames that were lifted."""
        odd = detail + self.predict(slow)
        return self.split.undo(slow - self.update(odd), odd, shift)


def _small(config: LiftingConfig) -> nn.Sequential:
    """A network from one group to the other that begins by saying nothing."""
    last = nn.Conv1d(config.width, config.channels, 3, padding=1)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)  # pyright: ignore[reportArgumentType]
    return nn.Sequential(nn.Conv1d(config.channels, config.width, 5, padding=2), nn.SiLU(), last)


@dataclass
class Lifted:
    """slow (B, C, T / 2^levels); details (B, C, T / 2), (B, C, T / 4), …; times (B, T), (B, T / 2), … of the splits."""

    slow: Tensor
    details: list[Tensor]
    times: list[Tensor]


class MotionReader(nn.Module):
    """Manner and feeling of a motion. mean, std: (36,) of the motion space, so that natural units can be given."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: LiftingConfig):
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.zeros(config.channels))
        self.register_buffer("std", torch.ones(config.channels))
        self.levels = nn.ModuleList(Lift(config) for _ in range(config.levels))
        d = 2 * config.width
        self.stays = nn.Sequential(nn.Conv1d(config.channels, d, 3, padding=1), nn.SiLU())
        self.manner = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(2 * d, d), nn.SiLU(), nn.Linear(d, config.style))
        self.changes = nn.ModuleList(
            nn.Sequential(nn.Conv1d(config.channels, config.width, 3, padding=1), nn.SiLU()) for _ in range(config.levels)
        )
        pooled = 2 * config.width * config.levels
        self.feeling = nn.Sequential(
            nn.Dropout(config.dropout), nn.Linear(pooled, config.emotion), nn.LayerNorm(config.emotion)
        )
        self.category = nn.Linear(config.emotion, config.categories)
        self.dimensions = nn.Linear(config.emotion, 3)

    def lift(self, x: Tensor) -> Lifted:
        """z-scored motion (B, C, T), T a multiple of 2^levels, taken apart."""
        details, times = [], []
        for level in self.levels:
            x, detail, shift = level(x)
            details.append(detail)
            times.append(shift)
        return Lifted(x, details, times)

    def join(self, lifted: Lifted) -> Tensor:
        """The motion (B, C, T) that was lifted."""
        x = lifted.slow
        for level, detail, shift in zip(reversed(self.levels), lifted.details[::-1], lifted.times[::-1], strict=True):
            assert isinstance(level, Lift)
            x = level.undo(x, detail, shift)
        return x

    def style(self, lifted: Lifted) -> Tensor:
        """Manner as a direction (B, style) of length one, from what stays alone."""
        return F.normalize(self.manner(_pooled(self.stays(lifted.slow))), dim=-1)

    def emotion(self, lifted: Lifted) -> Tensor:
        """Feeling as numbers (B, emotion), from what changes alone; `category` and `dimensions` read them."""
        seen = [_pooled(look(detail)) for look, detail in zip(self.changes, lifted.details, strict=True)]
        return self.feeling(torch.cat(seen, 1))


def _pooled(x: Tensor) -> Tensor:
    """Mean and spread over time: (B, C, T) to (B, 2 C)."""
    return torch.cat([x.mean(-1), (x.var(-1, unbiased=False) + 1e-5).sqrt()], 1)
