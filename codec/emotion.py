"""How speech feels: odds of categories, and valence, arousal and dominance, read from the codec's frozen features.

    feeling = codec.emotion(samples)      # or load_reader().read(codec, samples)
    feeling.odds                          # {"neutral": 0.1, "happy": 0.6, …}
    feeling.valence, feeling.arousal, feeling.dominance

A small network looks at the statistics of up to four seconds of speech; it has weights of its own, because the acted
speech that it learned from is not free for every use, as the codec is. Longer sound is read once a second.
"""

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from mien.codec.front import FRAME_LENGTH, check_sound
from mien.codec.phones import SILENCE

if TYPE_CHECKING:
    from mien.codec.model import Codec, Features

CATEGORIES = ("neutral", "happy", "sad", "angry", "fearful", "disgusted", "surprised", "contempt")
LEARNED = CATEGORIES[:-1]  # no corpus that we have acts contempt: its odds are always 0
DIMENSIONS = ("valence", "arousal", "dominance")
FRAME_RATE = 25
WINDOW, STEP = 4 * FRAME_RATE, FRAME_RATE  # frames that a reading hears, and from one reading to the next
LEVEL = 0.07  # RMS of the louder frames, to which every recording is brought
LOUD_DB = 30.0  # below the loudest frame, where loud frames end
LEAST_SPEECH = 5  # frames without which there is nothing to read


@dataclass(frozen=True)
class EmotionConfig:
    """Sizes of the reader.

    codec: whose features it reads. n_features: numbers of a frame, the codec's continuous and acoustic features together.
    """

    codec: str = "codec-16k"
    n_features: int = 512
    hidden: int = 96
    input_dropout: float = 0.3
    dropout: float = 0.5


@dataclass(frozen=True)
class Feeling:
    """What was felt along a recording, in N readings, the last of which ends with it.

    times_s: (N,) when what a reading heard ends; it heard up to four seconds before that. probabilities: (N, 8) odds of
    `CATEGORIES`. dimensions: (N, 3) valence, arousal and dominance in [-1, 1], 0 is neutral. speech: (N,) share of its
    time in which somebody spoke; where nobody does, a reading is neutral.

    The properties tell of the whole, every reading weighted by its speech.
    """

    times_s: np.ndarray
    probabilities: np.ndarray
    dimensions: np.ndarray
    speech: np.ndarray

    @property
    def odds(self) -> dict[str, float]:
        """Odds by category; they sum to 1."""
        return dict(zip(CATEGORIES, self._whole(self.probabilities).tolist(), strict=True))

    @property
    def category(self) -> str:
        """The most likely category."""
        return CATEGORIES[int(self._whole(self.probabilities).argmax())]

    @property
    def valence(self) -> float:
        """From unpleasant, -1, to pleasant, 1."""
        return float(self._whole(self.dimensions)[0])

    @property
    def arousal(self) -> float:
        """From asleep, -1, to excited, 1."""
        return float(self._whole(self.dimensions)[1])

    @property
    def dominance(self) -> float:
        """From helpless, -1, to in control, 1."""
        return float(self._whole(self.dimensions)[2])

    def _whole(self, rows: np.ndarray) -> np.ndarray:
        weight = self.speech + 1e-6
        return weight @ rows / weight.sum()


class EmotionReader(nn.Module):
    """Statistics of speech to a feeling. `read` takes a recording; `forward` is the bare network."""

    centre: Tensor
    spread: Tensor

    def __init__(self, config: EmotionConfig | None = None):
        super().__init__()
        self.config = config = config or EmotionConfig()
        n_statistics = 3 * config.n_features
        self.register_buffer("centre", torch.zeros(n_statistics))
        self.register_buffer("spread", torch.ones(n_statistics))
        self.body = nn.Sequential(
            nn.Dropout(config.input_dropout), nn.Linear(n_statistics, config.hidden), nn.SiLU(), nn.Dropout(config.dropout)
        )
        self.categories = nn.Linear(config.hidden, len(LEARNED))
        self.dimensions = nn.Linear(config.hidden, len(DIMENSIONS))

    def forward(self, statistics: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3 n_features) of `statistics` to logits of `LEARNED` (B, 7) and dimensions (B, 3) in [-1, 1]."""
        x = self.body(((statistics - self.centre) / self.spread).clamp(-4, 4))
        return self.categories(x), self.dimensions(x).tanh()

    def read(self, codec: "Codec", samples: np.ndarray) -> Feeling:
        """(S,) float32 samples at 16 kHz, of any level, to the feeling of a recording.

        Raises ValueError when the samples are not one channel of finite numbers, or this reader learned from another
        codec's features.
        """
        if codec.config.name != self.config.codec:
            raise ValueError(
                f"this emotion reader learned from the codec '{self.config.codec}', not from '{codec.config.name}': "
                "load the one that belongs to it."
            )
        return self.feel(*frames_of(codec.features(at_level(samples))))

    @torch.inference_mode()
    def feel(self, frames: np.ndarray, spoken: np.ndarray) -> Feeling:
        """Frames (T, D) and where in them somebody speaks (T,), as from `frames_of`, to a feeling."""
        ends = np.array([*range(WINDOW, len(frames), STEP), len(frames)])
        windows = [slice(max(end - WINDOW, 0), end) for end in ends]
        speech = np.array([spoken[w].mean() if spoken[w].sum() >= LEAST_SPEECH else 0.0 for w in windows])
        probabilities = np.tile(np.eye(len(CATEGORIES), dtype=np.float32)[0], (len(ends), 1))
        dimensions = np.zeros((len(ends), len(DIMENSIONS)), np.float32)
        if (told := speech > 0).any():
            rows = [statistics(frames[w], spoken[w]) for w, tell in zip(windows, told, strict=True) if tell]
            logits, values = self(torch.from_numpy(np.stack(rows)).to(self.centre.device))
            probabilities[told, : len(LEARNED)] = logits.softmax(-1).cpu().numpy()
            dimensions[told] = values.cpu().numpy()
        return Feeling(ends / FRAME_RATE, probabilities, dimensions, speech)


def at_level(samples: np.ndarray) -> np.ndarray:
    """(S,) samples brought to the level at which feelings are read, so that a microphone's gain tells nothing."""
    samples = check_sound(samples)
    whole = samples[: len(samples) // FRAME_LENGTH * FRAME_LENGTH].reshape(-1, FRAME_LENGTH)
    power = np.square(whole, dtype=np.float64).mean(1)
    loud = power[power > power.max(initial=0.0) * 10 ** (-LOUD_DB / 10)]
    if not loud.size:
        return samples
    return (samples * (LEVEL / np.sqrt(loud.mean()))).clip(-1, 1).astype(np.float32)


def frames_of(features: "Features") -> tuple[np.ndarray, np.ndarray]:
    """The codec's features as frames (T, D), and in which of them somebody speaks (T,) bool."""
    spoken = features.posteriors[:, SILENCE] < 0.5
    return np.concatenate([features.continuous, features.acoustic], 1), spoken


def statistics(frames: np.ndarray, spoken: np.ndarray) -> np.ndarray:
    """Frames (T, D) to what a reading is made of (3 D,): mean, spread and mean change of those in which somebody speaks."""
    change = np.abs(np.diff(frames, axis=0))[spoken[1:] & spoken[:-1]]
    change = change.mean(0) if len(change) else np.zeros_like(frames[0])
    return np.concatenate([frames[spoken].mean(0), frames[spoken].std(0), change])


@cache
def load_reader(name_or_path: str = "codec-emotion") -> EmotionReader:
    """The trained reader, ready to use: by its name among the checkpoints or from a file."""
    from mien import checkpoints

    checkpoint = checkpoints.load(name_or_path)
    reader = EmotionReader(EmotionConfig(**checkpoint.config))
    reader.load_state_dict({name: tensor.float() for name, tensor in checkpoint.tensors.items()})
    return reader.eval()
