"""The speech front: a small causal phone recogniser, 25 frames a second of what a mouth is doing.

Log-mel → causal convolutions at 50 Hz → 64 numbers and the odds of 40 phones every 20 ms → pairs packed to 25 Hz. The
trunk runs at 50 Hz because the lips are often shut for less than one 40 ms frame. The model hears `look_ahead` frames
(80 ms) beyond the frame that it describes, which is its whole latency: a stop is told from another by what follows it.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from mien.codec.mel import LogMel
from mien.codec.phones import PHONES
from mien.layers.conv import CausalBlock, CausalConv1d

FRAME_LENGTH = 640  # samples of 16 kHz in one frame of 25 Hz
OFFLINE_CHUNK = 500  # frames that `features` computes at once, so that memory stays flat in the sound's length


@dataclass(frozen=True)
class FrontConfig:
    """Sizes of the speech front."""

    sample_rate: int = 16_000
    n_mels: int = 80
    width: int = 128
    kernel_size: int = 7
    dilations: tuple[int, ...] = (1, 1, 2, 4, 1, 2, 4)  # one block each
    expansion: int = 4
    hidden: int = 64  # numbers every 20 ms; a 25 Hz frame holds two of them
    look_ahead: int = 2  # frames of 25 Hz
    dropout: float = 0.05

    def __post_init__(self):
        object.__setattr__(self, "dilations", tuple(self.dilations))

    @property
    def latency_ms(self) -> float:
        """How much sound after a frame's end the frame needs."""
        return 1000.0 * self.look_ahead * FRAME_LENGTH / self.sample_rate


class PhoneOdds:
    """What has posteriors_50hz, (2 T, 40) odds of `PHONES` every 20 ms, has them at 25 Hz, too."""

    posteriors_50hz: np.ndarray

    @property
    def posteriors(self) -> np.ndarray:
        """(T, 40) odds of `PHONES`, mean of the frame's two halves."""
        return self.posteriors_50hz.reshape(-1, 2, len(PHONES)).mean(1)


@dataclass(frozen=True)
class SpeechFeatures(PhoneOdds):
    """What the front hears in T frames of 25 Hz.

    hidden: (T, 128) float32, the two 20 ms halves of a frame side by side. posteriors_50hz: (2 T, 40) float32, odds of
    `PHONES` every 20 ms. posteriors: (T, 40), their mean over the frame.
    """

    hidden: np.ndarray
    posteriors_50hz: np.ndarray


@dataclass(frozen=True)
class FrontState:
    """Where a stream stands: samples that do not fill a frame yet, every layer's past, and how many outputs are still
    those of before the stream's beginning."""

    pending: Tensor  # (1, < FRAME_LENGTH)
    memory: tuple[Tensor, ...] | None  # None: nothing was heard yet
    frames_to_drop: int


class Trunk(nn.Module):
    """Log-mel at 100 Hz to normalised features at 50 Hz: a stem that halves the rate and a stack of causal blocks."""

    def __init__(
        self, n_mels: int, width: int, kernel_size: int, dilations: tuple[int, ...], expansion: int, dropout: float = 0.0
    ):
        super().__init__()
        self.stem = CausalConv1d(n_mels, width, 5, stride=2)
        self.blocks = nn.ModuleList(
            CausalBlock(width, kernel_size=kernel_size, dilation=d, expansion=expansion, dropout=dropout) for d in dilations
        )
        self.norm = nn.LayerNorm(width)

    def listen(self, mel: Tensor, memory: tuple[Tensor, ...] | None = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The next frames (B, 2 N, n_mels) of streams to (B, N, D) and the next memory; None starts streams."""
        past: tuple[Tensor | None, ...] = memory if memory is not None else (None,) * (1 + len(self.blocks))
        x, state = self.stem(mel.transpose(1, 2), past[0])
        x, states = x.transpose(1, 2), [state]
        for block, state in zip(self.blocks, past[1:], strict=True):
            x, state = block(x, state)
            states.append(state)
        return self.norm(x), tuple(states)


class Front(Trunk):
    """The phone recogniser. `features` reads a whole recording, `step` a stream; `forward` is the bare network."""

    def __init__(self, config: FrontConfig | None = None):
        config = config or FrontConfig()
        super().__init__(
            config.n_mels, config.width, config.kernel_size, config.dilations, config.expansion, config.dropout
        )
        self.config = config
        self.mel = LogMel(config.sample_rate, config.n_mels)
        self.hidden = nn.Linear(config.width, config.hidden)
        self.phones = nn.Linear(config.hidden, len(PHONES))

    def forward(
        self, samples: Tensor, memory: tuple[Tensor, ...] | None = None
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """The network on the next samples of streams, not yet shifted by the look-ahead.

        samples: (B, S) float in [-1, 1], S a multiple of 320. memory: what the last call returned; None starts streams.
        Returns hidden (B, S / 320, 64), phone logits (B, S / 320, 40) and the next memory. Output t speaks of the 20 ms
        that lie `2 * look_ahead` outputs earlier.
        """
        mel, mel_state = self.mel(samples, memory[0] if memory is not None else None)  # (B, S / 160, n_mels)
        x, states = self.listen(mel, memory[1:] if memory is not None else None)
        hidden = self.hidden(x)
        return hidden, self.phones(hidden), (mel_state, *states)

    @torch.inference_mode()
    def step(
        self, samples: np.ndarray, state: FrontState | None = None, *, last: bool = False
    ) -> tuple[SpeechFeatures, FrontState]:
        """Hear the next samples of a stream, as many as there are.

        samples: (S,) float32 at 16 kHz in [-1, 1]. state: what the last call returned; None starts a stream. last: the
        sound ends here; a frame that is not full is filled with silence, and the frames held back are given. Returns
        the frames that are ready, each once `latency_ms` after its end has been heard, and the next state. Over a whole
        stream they are ceil(total samples / 640).
        """
        x = torch.from_numpy(check_sound(samples)).to(self.stem.weight.device)[None]
        state = state or FrontState(x[:, :0], None, self.config.look_ahead)
        x = torch.cat([state.pending, x], dim=1)
        if last:
            silence = -x.shape[1] % FRAME_LENGTH + self.config.look_ahead * FRAME_LENGTH
            x = nn.functional.pad(x, (0, silence))
        whole = x.shape[1] // FRAME_LENGTH * FRAME_LENGTH
        hidden = x.new_zeros(0, self.config.hidden)
        logits = x.new_zeros(0, len(PHONES))
        memory = state.memory
        if whole:
            hidden, logits, memory = self(x[:, :whole], memory)
            hidden, logits = hidden[0], logits[0]
        dropped = min(state.frames_to_drop, whole // FRAME_LENGTH)
        hidden, logits = hidden[2 * dropped :], logits[2 * dropped :]
        features = SpeechFeatures(
            hidden.reshape(-1, 2 * self.config.hidden).cpu().numpy(), logits.softmax(-1).cpu().numpy()
        )
        return features, FrontState(x[:, whole:], memory, state.frames_to_drop - dropped)

    def features(self, samples: np.ndarray) -> SpeechFeatures:
        """Hear a whole recording: (S,) float32 at 16 kHz in [-1, 1] to T = ceil(S / 640) frames.

        Raises ValueError when the samples are not one channel of finite numbers.
        """
        samples = check_sound(samples)
        size, state, parts = OFFLINE_CHUNK * FRAME_LENGTH, None, []
        for begin in range(0, max(len(samples), 1), size):
            chunk = samples[begin : begin + size]
            part, state = self.step(chunk, state, last=begin + size >= len(samples))
            parts.append(part)
        return SpeechFeatures(
            np.concatenate([p.hidden for p in parts]), np.concatenate([p.posteriors_50hz for p in parts])
        )


def check_sound(samples: np.ndarray) -> np.ndarray:
    """One channel of finite float32 samples, or a ValueError that says what came."""
    samples = np.asarray(samples, dtype=np.float32)
    if samples.ndim != 1:
        raise ValueError(
            f"the speech front wants one channel of samples (S,), got an array of shape {samples.shape}: "
            "mix the channels first."
        )
    if not np.isfinite(samples).all():
        raise ValueError("the sound holds samples that are not numbers (NaN or infinity): read it again from its file.")
    return samples


def load_front(name_or_path: str = "front") -> Front:
    """The trained speech front, ready to use: by its name among the checkpoints or from a file."""
    from mien import checkpoints

    checkpoint = checkpoints.load(name_or_path)
    front = Front(checkpoint.built(FrontConfig))
    front.load_state_dict({name: tensor.float() for name, tensor in checkpoint.tensors.items()})
    return front.eval()
