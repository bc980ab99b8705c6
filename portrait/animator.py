"""The motion DiT: speech, style and feeling to 36 numbers a frame, by flow matching.

What differs from a textbook DiT: the clean motion is predicted (not the velocity); speech enters twice, added frame by
frame and by cross-attention to near frames; audio and style attend in parallel to the same query (DiTalker's fusion,
arXiv 2508.06511, section 3), but their gates are per frame and per region of the face, not per block; emotion comes
last, from a zero-initialised cross-attention over category tokens weighted per frame, so mixtures and time lines cost
nothing. The width is cut into one group per region, and a region's numbers are read from its own group: a gate on a
group is a gate on that part of the face.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn

from mien.layers.attention import (
    CrossAttention,
    SelfAttention,
    SwiGLU,
    TimeEmbedding,
    band_mask,
    modulate,
    rotary_angles,
)
from mien.portrait.motion import CHANNELS, REGIONS

# Regions with gates of their own, and the motion channels each speaks for.
GATE_REGIONS: dict[str, tuple[str, ...]] = {
    "head": ("rotation", "translation", "scale"),
    "eyes": ("gaze", "lids"),
    "upper": ("brows", "cheeks"),
    "mouth": ("mouth",),
}
EMOTIONS = 8
WINDOW = 64  # frames made at a time
MEMORY = 10  # frames of the past each window sees


@dataclass(frozen=True)
class AnimatorConfig:
    """Sizes of the DiT. audio: the name of the speech features (of `portrait.speech`) and audio_width their size; codec: by
    which codec they are made, "" for those that need none."""

    width: int = 192
    depth: int = 5
    heads: int = 6
    audio: str = "front"
    audio_width: int = 320
    codec: str = ""
    audio_reach: int = 13  # frames of speech seen by cross-attention on either side
    motion_reach: int = 32
    style_width: int = 96
    style_tokens: int = 4
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.width % (self.heads * 2) or self.width % len(GATE_REGIONS):
            raise ValueError(f"width {self.width} must be a multiple of twice the heads ({self.heads}) and of 4 regions.")


@dataclass
class Conditions:
    """What leads a window of T = MEMORY + WINDOW frames.

    audio: (B, T, A) speech features at 25 Hz. style: (B, K, style_width) tokens of `StyleEncoder`.
    emotion: (B, T, 8) weights of the categories, their sum the intensity in [0, about 1.2]; zeros are neutral.
    memory: (B, MEMORY, 36) z-scored motion just before the window.
    has_audio, has_style, has_memory: (B,) bool; False puts a learned absence in a row's place.
    """

    audio: Tensor
    style: Tensor
    emotion: Tensor
    memory: Tensor
    has_audio: Tensor
    has_style: Tensor
    has_memory: Tensor


class StyleEncoder(nn.Module):
    """How somebody moves, from a clip of their motion: a few tokens.

    Attention pooling of the frames beside a token of statistics: mean, spread and speed of every channel, which a mean
    over time would lose.
    """

    def __init__(self, config: AnimatorConfig):
        super().__init__()
        width = config.style_width
        self.project = nn.Linear(2 * CHANNELS, width)
        self.mix = nn.Conv1d(width, width, 5, padding=2)
        self.queries = nn.Parameter(torch.randn(config.style_tokens - 1, width) * width**-0.5)
        self.pool = CrossAttention(width, 4, width)
        self.statistics = nn.Sequential(nn.Linear(3 * CHANNELS, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, motion: Tensor) -> Tensor:
        """z-scored motion (B, T, 36), T >= 2, to tokens (B, K, style_width)."""
        speed = F.pad(motion.diff(dim=1), (0, 0, 1, 0))
        x = self.project(torch.cat([motion, 3 * speed], -1))
        x = x + F.silu(self.mix(x.transpose(1, 2))).transpose(1, 2)
        pooled = self.pool(repeat(self.queries, "k d -> b k d", b=len(x)), x)
        statistics = self.statistics(torch.cat([motion.mean(1), motion.std(1), 3 * speed.std(1)], -1))
        return torch.cat([pooled, statistics[:, None]], 1)


class Block(nn.Module):
    """adaLN-Zero -> self-attention -> audio and style cross-attention, gated -> emotion -> SwiGLU."""

    def __init__(self, config: AnimatorConfig):
        super().__init__()
        d, n = config.width, config.heads
        self.norm_self, self.norm_cross = nn.LayerNorm(d, elementwise_affine=False), nn.LayerNorm(d)
        self.norm_emotion, self.norm_mlp = nn.LayerNorm(d), nn.LayerNorm(d, elementwise_affine=False)
        self.attention = SelfAttention(d, n)
        self.audio, self.style = CrossAttention(d, n, d), CrossAttention(d, n, config.style_width)
        self.emotion = CrossAttention(d, n, d)
        self.gates = nn.Linear(d, 2 * len(GATE_REGIONS))
        self.mlp = SwiGLU(d, round(8 * d / 3), config.dropout)
        self.modulation = nn.Parameter(torch.zeros(6, d))
        nn.init.zeros_(self.gates.weight)
        nn.init.ones_(self.gates.bias)  # both start open by tanh(1) = 0.76
        nn.init.zeros_(self.emotion.out.weight)
        nn.init.zeros_(self.emotion.out.bias)

    def forward(self, x: Tensor, c: "BlockContext") -> tuple[Tensor, Tensor]:
        """x (B, T, D) to (B, T, D) and the gates (B, T, 2, regions) that were used."""
        shift1, scale1, gate1, shift2, scale2, gate2 = (c.modulation + self.modulation[:, None, None]).unbind(0)
        x = x + gate1 * self.attention(modulate(self.norm_self(x), shift1, scale1), c.angles, c.motion_mask)
        query = self.norm_cross(x)
        gates = torch.tanh(rearrange(self.gates(query), "b t (two r) -> b t two r", two=2)) * c.gate_gain
        spread = repeat(gates, "b t two r -> two b t (r g)", g=x.shape[-1] // gates.shape[-1])
        x = x + spread[0] * self.audio(query, c.audio, c.audio_mask, c.angles) + spread[1] * self.style(query, c.style)
        x = x + self.emotion(self.norm_emotion(x), c.emotion, c.emotion_mask) * c.intensity
        return x + gate2 * self.mlp(modulate(self.norm_mlp(x), shift2, scale2)), gates


@dataclass
class BlockContext:
    """What all blocks share in one pass: conditions as tokens, masks, rotary angles, adaLN numbers (6, B, 1, D)."""

    audio: Tensor
    style: Tensor
    emotion: Tensor
    intensity: Tensor
    modulation: Tensor
    angles: tuple[Tensor, Tensor]
    motion_mask: Tensor
    audio_mask: Tensor
    emotion_mask: Tensor
    gate_gain: Tensor


class Animator(nn.Module):
    """The DiT. Give it noisy motion, the noise level and conditions; it gives the clean motion."""

    def __init__(self, config: AnimatorConfig):
        super().__init__()
        self.config = config
        d = config.width
        self.motion_in = nn.Linear(CHANNELS, d)
        self.memory_in = nn.Linear(CHANNELS, d)
        self.no_memory = nn.Parameter(torch.zeros(MEMORY, d))
        self.audio_in = nn.Linear(config.audio_width, d)
        self.audio_mix = nn.ModuleList(nn.Conv1d(d, d, 5, padding=2, groups=4) for _ in range(2))
        self.audio_add = nn.Linear(d, d)
        self.no_audio = nn.Parameter(torch.zeros(d))
        self.style_encoder = StyleEncoder(config)
        self.no_style = nn.Parameter(torch.randn(config.style_tokens, config.style_width) * 0.02)
        self.emotion_tokens = nn.Parameter(torch.randn(EMOTIONS, d) * d**-0.5)
        self.emotion_add = nn.Linear(EMOTIONS, d, bias=False)
        self.time = TimeEmbedding(d)
        self.dropout = nn.Dropout(config.dropout)
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(d, 6 * d))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm_out = nn.LayerNorm(d)
        group = d // len(GATE_REGIONS)
        self.out = nn.ModuleList(nn.Linear(group, _channel_count(names)) for names in GATE_REGIONS.values())
        for layer in (self.modulation, self.emotion_add, self.out):
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)

    def forward(self, noisy: Tensor, sigma: Tensor, conditions: Conditions, gate_gain: Tensor | None = None) -> Tensor:
        """noisy (B, WINDOW, 36) z-scored motion at noise level sigma (B,) in [0, 1] to the clean motion, same shape.

        gate_gain: (2, regions) or (T, 2, regions) factors on the audio and style gates, for whoever turns them by hand.
        """
        return self.with_gates(noisy, sigma, conditions, gate_gain)[0]

    def with_gates(
        self, noisy: Tensor, sigma: Tensor, conditions: Conditions, gate_gain: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """As `forward`, and the gates (depth, B, MEMORY + WINDOW, 2, regions): audio, style x `GATE_REGIONS`."""
        memory = _or_absent(self.memory_in(conditions.memory), self.no_memory, conditions.has_memory)
        audio = _or_absent(self._audio(conditions.audio), self.no_audio, conditions.has_audio)  # (B, T, D)
        x = self.dropout(torch.cat([memory, self.motion_in(noisy)], 1) + self.audio_add(audio))
        context = self._context(sigma, audio, conditions, gate_gain)
        gates = []
        for block in self.blocks:
            x, used = block(x, context)
            gates.append(used)
        x = self.norm_out(x)[:, MEMORY:]
        groups = x.chunk(len(self.out), dim=-1)
        out = torch.zeros_like(noisy)
        for head, group, names in zip(self.out, groups, GATE_REGIONS.values(), strict=True):
            out[..., _channels(names)] = head(group)
        return out, torch.stack(gates)

    def _audio(self, audio: Tensor) -> Tensor:
        """Speech features with a little context: (B, T, A) to (B, T, D)."""
        x = self.audio_in(audio)
        for conv in self.audio_mix:
            x = x + F.silu(conv(x.transpose(1, 2))).transpose(1, 2)
        return x

    def _context(self, sigma: Tensor, audio: Tensor, conditions: Conditions, gate_gain: Tensor | None) -> BlockContext:
        batch, frames = audio.shape[:2]
        device = audio.device
        style = _or_absent(conditions.style, self.no_style, conditions.has_style)
        weights = conditions.emotion
        intensity = weights.sum(-1, keepdim=True)
        condition = self.time(sigma) + self.emotion_add(weights.mean(1))  # (B, D)
        share = weights / intensity.clamp(min=1e-4)
        return BlockContext(
            audio=audio,
            style=style,
            emotion=repeat(self.emotion_tokens, "k d -> b k d", b=batch),
            intensity=intensity,
            modulation=rearrange(self.modulation(condition), "b (six d) -> six b 1 d", six=6),
            angles=rotary_angles(torch.arange(frames, device=device), self.config.width // self.config.heads),
            motion_mask=band_mask(frames, frames, self.config.motion_reach, device),
            audio_mask=band_mask(frames, frames, self.config.audio_reach, device),
            emotion_mask=share.clamp(min=1e-4).log()[:, None],  # a category's token is seen as much as it weighs
            gate_gain=audio.new_ones(2, len(GATE_REGIONS)) if gate_gain is None else gate_gain,
        )


def _or_absent(value: Tensor, absent: Tensor, present: Tensor) -> Tensor:
    """Rows of value (B, T, D) where present (B,), else the learned absence (T, D) or (D,)."""
    return torch.where(present[:, None, None], value, absent.expand_as(value))


def _channels(names: tuple[str, ...]) -> list[int]:
    return [i for name in names for i in range(REGIONS[name].start, REGIONS[name].stop)]


def _channel_count(names: tuple[str, ...]) -> int:
    return len(_channels(names))
