"""The synthesiser: a score and a voice to the codec's tokens and to acoustic frames, all at once.

    notes                embeddings -> blocks with attention over the whole sentence
    prosody              every note's duration, pitch and loudness, under the voice
    length regulator     notes laid out at 100 Hz, four by four to frames of 25 Hz
    decoder              25 Hz blocks -> logits of every digit of S and of the tiers
                         100 Hz blocks -> acoustic frames as expected, and a flow that gives them their grain

Non-autoregressive after FastSpeech 2 (Ren et al. 2021, https://arxiv.org/abs/2006.04558); the flow after Matcha-TTS (Mehta
et al. 2024, https://arxiv.org/abs/2309.03199). A voice is the codec's G, so whoever can be heard can be read with. The
acoustic frames are what the codec's connector would make of the tokens, without the tokens' rounding.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mien.codec.phones import PHONES
from mien.codec.tokens import Layout
from mien.layers.attention import SelfAttention, TimeEmbedding, modulate, rotary_angles
from mien.tts.score import MARKS

SUB = 4  # acoustic frames in a codec frame
REACH = 3  # places to either side that a block's convolution sees


@dataclass(frozen=True)
class SynthesiserConfig:
    """Sizes of the synthesiser, and the codec whose tokens it speaks."""

    name: str = "tts-en"
    codec: str = "codec-16k"
    width: int = 192
    heads: int = 4
    note_blocks: int = 4
    frame_blocks: int = 4  # at 25 Hz
    fine_width: int = 160
    fine_blocks: int = 3  # at 100 Hz
    flow_blocks: int = 3
    condition: int = 128
    expansion: int = 3
    dropout: float = 0.1
    n_mels: int = 80
    layout: Layout = field(default_factory=Layout)

    def __post_init__(self):
        if isinstance(self.layout, dict):
            layout: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in self.layout.items()}
            object.__setattr__(self, "layout", Layout(**layout))


@dataclass(frozen=True)
class Notes:
    """Scores of a batch, padded at their ends: phones, stress, marks (B, N) integers; present (B, N) bool."""

    phones: Tensor
    stress: Tensor
    marks: Tensor
    present: Tensor


@dataclass(frozen=True)
class Prosody:
    """How notes are said, (B, N) each. durations: log of 1 + frames of 10 ms. pitch: mean log F0, (ln Hz - 5) / 0.4.
    energy: mean of the envelope less 1."""

    durations: Tensor
    pitch: Tensor
    energy: Tensor


class Block(nn.Module):
    """Residual block under a condition: attention over all (if it has heads), a depth-wise convolution over both sides, an
    MLP in every place. The norms' shifts and scales come from the condition (adaLN), and begin at none."""

    def __init__(self, width: int, condition: int, *, heads: int = 0, expansion: int = 3, dropout: float = 0.0):
        super().__init__()
        self.attention = SelfAttention(width, heads) if heads else None
        self.conv = nn.Conv1d(width, width, 2 * REACH + 1, padding=REACH, groups=width)
        self.norms = nn.ModuleList(nn.LayerNorm(width, elementwise_affine=False) for _ in range(2 if heads else 1))
        self.modulation = nn.Linear(condition, 2 * width * len(self.norms))
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        self.up, self.down = nn.Linear(width, expansion * width), nn.Linear(expansion * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, condition: Tensor, present: Tensor) -> Tensor:
        """x (B, N, D), condition (B, N or 1, C), present (B, N) bool to (B, N, D)."""
        shifts = self.modulation(condition).chunk(2 * len(self.norms), -1)
        if self.attention is not None:
            angles = rotary_angles(torch.arange(x.shape[1], device=x.device), x.shape[2] // self.attention.heads)
            mixed = self.attention(modulate(self.norms[0](x), *shifts[2:]), angles, present[:, None, None])
            x = x + self.dropout(mixed)
        mixed = self.conv((x * present[..., None]).transpose(1, 2)).transpose(1, 2)
        mixed = modulate(self.norms[-1](mixed), *shifts[:2])
        return x + self.dropout(self.down(F.gelu(self.up(mixed))))


class Flow(nn.Module):
    """The velocity that carries noise to acoustic frames, given those that are expected and what is known of them."""

    def __init__(self, config: SynthesiserConfig):
        super().__init__()
        c = config
        self.time = TimeEmbedding(c.condition)
        self.stem = nn.Linear(2 * (c.n_mels + 2) + c.fine_width, c.fine_width)
        self.blocks = nn.ModuleList(Block(c.fine_width, c.condition, expansion=c.expansion) for _ in range(c.flow_blocks))
        self.head = nn.Linear(c.fine_width, c.n_mels + 2)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor, t: Tensor, expected: Tensor, hidden: Tensor, condition: Tensor) -> Tensor:
        """x, expected (B, J, 82), t (B,), hidden (B, J, D), condition (B, 1, C) to the velocity (B, J, 82)."""
        condition = condition + self.time(t)[:, None]
        x = self.stem(torch.cat([x, expected, hidden], -1))
        present = x.new_ones(x.shape[:2], dtype=torch.bool)
        for block in self.blocks:
            x = block(x, condition, present)
        return self.head(x)


class Synthesiser(nn.Module):
    """Scores to prosody (`plan`), to hidden frames (`lay_out`, `decode`), to acoustic frames (`draw`).

    Acoustic frames are normalised: (envelope, pitch, voicing logit's sign as -1 or 1), less `mean`, over `spread`.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, config: SynthesiserConfig | None = None):
        super().__init__()
        self.config = c = config or SynthesiserConfig()
        self.register_buffer("mean", torch.zeros(c.n_mels + 2))
        self.register_buffer("spread", torch.ones(c.n_mels + 2))
        sizes = {"phones": len(PHONES), "stress": 3, "marks": len(MARKS)}
        self.embed = nn.ModuleDict({name: nn.Embedding(n, c.width) for name, n in sizes.items()})
        self.condition = nn.Sequential(
            nn.Linear(len(c.layout.voice), c.condition), nn.SiLU(),
            nn.Linear(c.condition, c.condition), nn.SiLU(),
        )  # fmt: skip
        more = {"expansion": c.expansion, "dropout": c.dropout}
        self.notes = nn.ModuleList(Block(c.width, c.condition, heads=c.heads, **more) for _ in range(c.note_blocks))
        self.prosody = nn.ModuleList(Block(c.width, c.condition, **more) for _ in range(2))
        self.prosody_head = nn.Linear(c.width, 3)
        self.told = nn.Linear(2, c.width)  # pitch and energy, as they are or as they are foretold
        self.place = nn.Linear(3, c.fine_width)
        self.fine_stem = nn.Linear(c.width, c.fine_width)
        self.join = nn.Linear(SUB * c.fine_width, c.width)
        self.frames = nn.ModuleList(Block(c.width, c.condition, **more) for _ in range(c.frame_blocks))
        self.norm = nn.LayerNorm(c.width)
        self.digits = nn.Linear(c.width, sum(c.layout.semantic) + c.layout.tiers * sum(c.layout.tier))
        self.part = nn.Linear(c.width, SUB * c.fine_width)
        self.fine = nn.ModuleList(Block(c.fine_width, c.condition, **more) for _ in range(c.fine_blocks))
        self.fine_norm = nn.LayerNorm(c.fine_width)
        self.expected = nn.Linear(c.fine_width, c.n_mels + 2)
        self.flow = Flow(c)

    def steer(self, voice: Tensor) -> Tensor:
        """Values of G (B, 24) to a condition (B, 1, C)."""
        return self.condition(voice)[:, None]

    def read(self, notes: Notes, condition: Tensor) -> Tensor:
        """Notes in their sentence (B, N, D)."""
        x = torch.stack([layer(getattr(notes, name)) for name, layer in self.embed.items()]).sum(0)
        for block in self.notes:
            x = block(x, condition, notes.present)
        return x

    def plan(self, read: Tensor, condition: Tensor, present: Tensor) -> Prosody:
        """How the notes would be said."""
        x = read
        for block in self.prosody:
            x = block(x, condition, present)
        return Prosody(*self.prosody_head(x).float().unbind(-1))

    def lay_out(self, read: Tensor, prosody: Prosody, durations: Tensor, n_frames: int) -> Tensor:
        """Notes (B, N, D) that last durations (B, N) frames of 10 ms to (B, 4 n_frames, E), the length regulator.

        Every place knows its note, how far it is through it, from either end, and how long the note is.
        """
        x = read + self.told(torch.stack([prosody.pitch, prosody.energy], -1).to(read.dtype))
        ends = durations.cumsum(1)
        at = torch.arange(SUB * n_frames, device=x.device).expand(len(x), -1).contiguous()
        note = torch.searchsorted(ends.contiguous(), at, right=True).clamp(max=x.shape[1] - 1)
        length = durations.gather(1, note).clamp(min=1).float()
        left = (ends.gather(1, note) - at).float()  # frames to the note's end, 1 at its last
        place = torch.stack([1 - left / length, left.clamp(0, 8) / 8, length.log() / 3], -1)
        laid = x.gather(1, note[..., None].expand(-1, -1, x.shape[2]))
        return self.fine_stem(laid) + self.place(place.to(laid.dtype))

    def decode(self, laid: Tensor, condition: Tensor, present: Tensor) -> Tensor:
        """(B, 4 T, E) to hidden frames (B, T, D); present (B, T) bool."""
        x = self.join(laid.unflatten(1, (-1, SUB)).flatten(2))
        for block in self.frames:
            x = block(x, condition, present)
        return self.norm(x)

    def logits(self, hidden: Tensor) -> list[Tensor]:
        """Logits of every digit of a frame, S first, then tier by tier: (B, T, levels) each."""
        layout = self.config.layout
        return list(self.digits(hidden).float().split([*layout.semantic, *layout.tier * layout.tiers], -1))

    def sharpen(self, hidden: Tensor, laid: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden frames (B, T, D) and (B, 4 T, E) to acoustic frames as expected (B, 4 T, 82) and what is known of them."""
        x = laid + self.part(hidden).unflatten(2, (SUB, -1)).flatten(1, 2)
        present = x.new_ones(x.shape[:2], dtype=torch.bool)
        for block in self.fine:
            x = block(x, condition, present)
        x = self.fine_norm(x)
        return self.expected(x), x

    def reach(self, steps: int = 4) -> int:
        """Acoustic frames to either side on which a frame of `sharpen` and `draw` together depends."""
        return REACH * (self.config.fine_blocks + steps * self.config.flow_blocks)

    def draw(
        self, expected: Tensor, known: Tensor, condition: Tensor, noise: Tensor, steps: int = 4, temperature: float = 0.7
    ) -> Tensor:
        """Acoustic frames with their grain (B, J, 82): Euler steps from noise of the same shape; none: as expected."""
        if not steps:
            return expected
        x = temperature * noise
        for n in range(steps):
            t = torch.full((len(x),), n / steps, device=x.device)
            x = x + self.flow(x, t, expected, known, condition).float() / steps
        return x
