"""What coded speech says, read from its tokens without making a sound: phones every 20 ms, loudness, colour and pitch.

    reading = load_reader().read(codec, codec.encode(samples))
    reading.posteriors_50hz                   # (2 T, 40)

S and G alone are read, whatever enhancement tiers came along: a recording reads the same at 0.27 and at 1.0 kbit/s, and
the same from its file as from its sound.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from mien.codec.front import PhoneOdds
from mien.codec.model import CHUNK, HOPS, LOG_PITCH_MEAN, LOG_PITCH_SPREAD
from mien.codec.phones import PHONES
from mien.layers.conv import CausalBlock

if TYPE_CHECKING:
    from mien.codec.model import Codec
    from mien.codec.tokens import Tokens

BANDS = 20  # of the sketch of a spectrum
LOG_POWER = 3.0  # nats of power in one unit of an envelope
SKETCH = 2 * BANDS + 3  # its halves of a frame, their voicing, and the pitch


@dataclass(frozen=True)
class ReadingConfig:
    """Sizes of the reader. codec: whose tokens it reads."""

    codec: str = "codec-16k"
    levels: tuple[int, ...] = (5, 5, 5, 5, 5)  # of S
    width: int = 96
    dilations: tuple[int, ...] = (1, 1, 2, 2)  # one block each
    kernel_size: int = 5
    expansion: int = 3
    look_ahead: int = 2  # frames of 25 Hz that are read beyond the one that is described
    dropout: float = 0.1


@dataclass(frozen=True)
class Reading(PhoneOdds):
    """T frames of 25 Hz as their tokens tell them.

    semantic: (T, 5) float32, the values of S. hidden: (T, D) float32, the reader's last features. posteriors_50hz:
    (2 T, 40) float32, odds of `PHONES` every 20 ms. sketch: (T, 43) float32 of `sketches`.
    """

    semantic: np.ndarray
    hidden: np.ndarray
    posteriors_50hz: np.ndarray
    sketch: np.ndarray

    @property
    def level_db(self) -> np.ndarray:
        """(T,) loudness in dB, up to a constant."""
        return 10 * np.log10(np.exp(LOG_POWER * self.sketch[:, : 2 * BANDS]).mean(1))


class TokenReader(nn.Module):
    """Digits of S and sketches to phones. `read` takes tokens; `forward` is the bare network."""

    centre: Tensor
    spread: Tensor

    def __init__(self, config: ReadingConfig | None = None):
        super().__init__()
        self.config = c = config or ReadingConfig()
        self.register_buffer("centre", torch.zeros(SKETCH))
        self.register_buffer("spread", torch.ones(SKETCH))
        self.enter = nn.Linear(sum(c.levels) + SKETCH, c.width)
        self.blocks = nn.ModuleList(
            CausalBlock(c.width, kernel_size=c.kernel_size, dilation=d, expansion=c.expansion, dropout=c.dropout)
            for d in c.dilations
        )
        self.norm = nn.LayerNorm(c.width)
        self.phones = nn.Linear(c.width, 2 * len(PHONES))

    def forward(
        self, digits: Tensor, sketch: Tensor, memory: tuple[Tensor, ...] | None = None
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """The next frames of streams: digits (B, T, 5) of S and their sketch (B, T, 43).

        Returns features (B, T, D), phone logits (B, T, 2, 40) of the frame `look_ahead` earlier, and the next memory.
        """
        levels = [nn.functional.one_hot(d, n) for d, n in zip(digits.unbind(-1), self.config.levels, strict=True)]
        x = self.enter(torch.cat([*levels, (sketch - self.centre) / self.spread], -1))
        past: tuple[Tensor | None, ...] = memory or (None,) * len(self.blocks)
        states = []
        for block, state in zip(self.blocks, past, strict=True):
            x, state = block(x, state)
            states.append(state)
        x = self.norm(x)
        return x, self.phones(x).unflatten(-1, (2, len(PHONES))), tuple(states)

    @torch.inference_mode()
    def read(self, codec: "Codec", tokens: "Tokens") -> Reading:
        """What tokens say. Raises ValueError if another codec made them, or if they are not this codec's."""
        for name in (tokens.model, codec.config.name):
            if name != self.config.codec:
                raise ValueError(
                    f"this reader knows the tokens of '{self.config.codec}', not those of '{name}': encode the sound with "
                    f"'{self.config.codec}'."
                )
        ahead, memory, rows = self.config.look_ahead, None, []
        for digits, sketch in _held(sketches(codec, tokens), ahead):
            x, logits, memory = self(torch.from_numpy(digits)[None], torch.from_numpy(sketch)[None], memory)
            rows.append((x[0].numpy(), logits[0].softmax(-1).numpy(), digits, sketch))
        if not rows:
            rows = [(np.zeros((0, self.config.width)), np.zeros((0, 2, 40)), np.zeros((0, 5), int), np.zeros((0, SKETCH)))]
        hidden, odds, digits, sketch = (np.concatenate(column) for column in zip(*rows, strict=True))
        n = len(tokens)
        values = codec.encoder.semantic_quantiser.values(torch.from_numpy(digits[:n])).numpy()
        halves = odds[ahead : ahead + n].reshape(2 * n, len(PHONES))
        return Reading(*(x.astype(np.float32) for x in (values, hidden[ahead : ahead + n], halves, sketch[:n])))


@torch.inference_mode()
def sketches(codec: "Codec", tokens: "Tokens") -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Digits of S (N, 5) int64 and sketches (N, 43) float32, some frames at a time: what the connector makes of S and G.

    A sketch is the spectral envelope in 20 bands, by halves of the frame, the voicing of either half, and the pitch.
    """
    connector, encoder = codec.connector, codec.encoder
    weight, layout = connector.values.weight, codec.config.layout
    voices = tokens.voice_of_frames()
    memory = None
    for begin in range(0, len(tokens), CHUNK):
        at = slice(begin, begin + CHUNK)
        digits = torch.from_numpy(tokens.semantic[at].astype(np.int64))
        voice = torch.from_numpy(tokens.voice[voices[at]].astype(np.int64))
        n = len(digits)
        kept = weight.new_zeros(1, n, 1 + layout.tiers)
        kept[..., 0] = 1
        made, _, memory = connector(
            encoder.semantic_quantiser.values(digits.to(weight.device), weight.dtype)[None],
            weight.new_zeros(1, n, layout.tiers, len(layout.tier)),
            kept,
            encoder.voice_quantiser.values(voice.to(weight.device), weight.dtype)[None],
            weight.new_ones(1, n, 1),
            memory,
        )
        envelope = made.envelope[0].reshape(n, 2, HOPS // 2, BANDS, -1).mean((2, 4)).reshape(n, -1)
        voicing = made.voicing[0].reshape(n, 2, -1).mean(2)
        pitch = ((made.log_pitch[0].reshape(n, -1).mean(1) - LOG_PITCH_MEAN) / LOG_PITCH_SPREAD)[:, None]
        yield digits.numpy(), torch.cat([envelope, voicing, pitch], 1).float().cpu().numpy()


def _held(parts: Iterator[tuple[np.ndarray, np.ndarray]], frames: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Parts of a stream, and its last frame so many times more."""
    last = None
    for last in parts:
        yield last
    if last is not None:
        yield np.repeat(last[0][-1:], frames, 0), np.repeat(last[1][-1:], frames, 0)


@cache
def load_reader(name_or_path: str = "codec-phones") -> TokenReader:
    """The trained reader: by its name among the checkpoints or from a file."""
    from mien import checkpoints

    checkpoint = checkpoints.load(name_or_path)
    reader = TokenReader(checkpoint.built(ReadingConfig))
    reader.load_state_dict({name: tensor.float() for name, tensor in checkpoint.tensors.items()})
    return reader.eval()
