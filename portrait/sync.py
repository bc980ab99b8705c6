"""The judge of lip sync: how surely lips belong to a sound, and by how many frames one is late.

Two small networks, one for the lips' landmarks, one for the sound, learn to agree on frames that belong together (as
SyncNet does with pictures: Chung & Zisserman 2016). The judge knows neither the animator nor its motion space; it was
trained apart (`python -m mien.training sync`) and no other network ever learns from it.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mien.codec.mel import LogMel
from mien.portrait import geometry

REACH = 15  # frames that sound and lips are shifted against each other, each way
LEAST_FRAMES = 50  # of a clip that can be judged: the reach, a window's ends, and most of a second of overlap
HOP = 640  # samples of 16 kHz in a frame
LEAST_SPREAD = 0.01  # of embeddings: lips that hardly move are in time with nothing
MELS_A_FRAME = 4  # log-mel frames of 10 ms in a frame of film

LIPS = sorted({*geometry.OUTER_UPPER, *geometry.OUTER_LOWER, *geometry.INNER_UPPER, *geometry.INNER_LOWER})
CHIN = [152, 148, 377, 176, 400, 149, 378, 199, 200]
WATCHED = [*LIPS, *CHIN]
NUMBERS = 2 * 2 * len(WATCHED)  # x, y and their speeds
POSITION_UNIT, SPEED_UNIT = 0.05, 0.02  # IOD, IOD a frame: about what speaking lips spread


@dataclass(frozen=True)
class SyncConfig:
    """Sizes of the judge. Every frame is judged by a window of 1 + depth * (kernel - 1) frames about it, 0.68 s."""

    width: int = 128
    depth: int = 4
    kernel: int = 5
    embedding: int = 64
    dropout: float = 0.1

    @property
    def margin(self) -> int:
        """Frames at either end of a clip that have no whole window, and no embedding."""
        return self.depth * (self.kernel // 2)


@dataclass(frozen=True)
class Sync:
    """What the judge says of a clip.

    confidence: correlation at the best offset less the median over all offsets, 0 … 1; small if lips and sound are
    strangers, 0 for lips that do not move. offset: frames by which the film is later than its sound.
    curve: (2 * REACH + 1,) correlation by offset, from -REACH.
    """

    confidence: float
    offset: int
    curve: np.ndarray


class Block(nn.Module):
    """ConvNeXt's residual block, looking both ways: a judge may wait for what comes.

    Without padding: the ends of a clip would look alike in both streams, and be taken for sync.
    """

    def __init__(self, width: int, kernel: int, dropout: float):
        super().__init__()
        self.cut = kernel // 2
        self.conv = nn.Conv1d(width, width, kernel, groups=width)
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) to (B, T - 2 * cut, D)."""
        mixed = self.norm(self.conv(x.transpose(1, 2)).transpose(1, 2))
        return x[:, self.cut : -self.cut] + self.dropout(self.down(F.gelu(self.up(mixed))))


class Encoder(nn.Module):
    """A stream of numbers per frame to unit vectors per frame that has a whole window."""

    def __init__(self, channels: int, config: SyncConfig):
        super().__init__()
        self.enter = nn.Linear(channels, config.width)
        self.blocks = nn.Sequential(*(Block(config.width, config.kernel, config.dropout) for _ in range(config.depth)))
        self.norm = nn.LayerNorm(config.width)
        self.leave = nn.Linear(config.width, config.embedding)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) to unit vectors (B, T - 2 * margin, E)."""
        return F.normalize(self.leave(self.norm(self.blocks(self.enter(x)))), dim=-1)


class SyncExpert(nn.Module):
    """The judge. template: (478, 3) the canonical face onto which heads are turned before their lips are read."""

    template: Tensor

    def __init__(self, config: SyncConfig, template: np.ndarray | None = None):
        super().__init__()
        self.config = config
        self.lips = Encoder(NUMBERS, config)
        self.sound = Encoder(MELS_A_FRAME * 80, config)
        start = torch.zeros(geometry.N_POINTS, 3) if template is None else torch.from_numpy(template)
        self.register_buffer("template", start)

    def read_lips(self, landmarks: np.ndarray) -> np.ndarray:
        """Landmarks (T, 478, 3), pixels, to what the lips' network sees, free of rest and pose: (T, NUMBERS)."""
        canonical, _ = geometry.canonicalise(landmarks, self.template.float().numpy())
        return lip_numbers(canonical[:, WATCHED, :2])

    @torch.inference_mode()
    def judge(self, landmarks: np.ndarray, samples: np.ndarray) -> Sync:
        """Judge a clip.

        landmarks: (T, 478, 3) pixels at 25 Hz, T >= LEAST_FRAMES. samples: (S,) 16 kHz mono in [-1, 1] that starts with
        the first frame; both are cut to the shorter. Raises ValueError if that is too short.
        """
        frames = min(len(landmarks), len(samples) // HOP)
        if frames < LEAST_FRAMES:
            raise ValueError(
                f"{frames} frames are too few to judge lip sync: {LEAST_FRAMES} ({LEAST_FRAMES / 25:g} s) are wanted."
            )
        lips = torch.from_numpy(self.read_lips(landmarks[:frames]))[None]
        mel = torch.from_numpy(log_mel(samples[: frames * HOP]))[None]
        return verdict(self.lips(lips)[0], self.sound(mel)[0])


def lip_numbers(points: np.ndarray) -> np.ndarray:
    """Canonical watched points (T, P, 2) to positions about their mean and speeds, in usual units: (T, NUMBERS)."""
    position = points - points.mean(0, keepdims=True)
    speed = np.gradient(position, axis=0)
    parts = [position / POSITION_UNIT, speed / SPEED_UNIT]
    return np.concatenate([part.reshape(len(points), -1) for part in parts], 1).clip(-8, 8).astype(np.float32)


def log_mel(samples: np.ndarray) -> np.ndarray:
    """16 kHz mono (S,) to log-mel, the four frames of a film frame side by side: (S // 640, 320)."""
    frames = len(samples) // HOP
    with torch.inference_mode():
        mel, _ = LogMel()(torch.from_numpy(samples[: frames * HOP].astype(np.float32))[None])
    return mel[0].reshape(frames, -1).numpy()


def agreement(lips: Tensor, sound: Tensor) -> Tensor:
    """Mean product of embeddings (..., T, E) by offset: lips of frame n meet the sound of frame n - offset.

    Returns (..., 2 * REACH + 1), from offset -REACH.
    """
    frames = lips.shape[-2]
    curve = []
    for offset in range(-REACH, REACH + 1):
        first, end = max(0, offset), min(frames, frames + offset)
        curve.append((lips[..., first:end, :] * sound[..., first - offset : end - offset, :]).sum(-1).mean(-1))
    return torch.stack(curve, -1)


def verdict(lips: Tensor, sound: Tensor) -> Sync:
    """What embeddings of a clip's lips and sound (T, E) say: their correlation over time, by offset."""
    lips, sound = lips - lips.mean(0), sound - sound.mean(0)  # what never changes is in time with everything
    spread = (lips.square().sum(-1).mean() * sound.square().sum(-1).mean()).sqrt()
    curve = (agreement(lips, sound) / (spread + LEAST_SPREAD)).numpy()
    return Sync(float(curve.max() - np.median(curve)), int(curve.argmax()) - REACH, curve)


@lru_cache(maxsize=1)
def load_expert(name: str = "sync") -> SyncExpert:
    """The judge that ships with the package, or another by path."""
    from mien import checkpoints

    checkpoint = checkpoints.load(name)
    expert = SyncExpert(checkpoint.built(SyncConfig))
    expert.load_state_dict({key: tensor.float() for key, tensor in checkpoint.tensors.items()})
    return expert.eval()
