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
LEAST_FRAMES = 40  # of a clip that can be judged: the reach, and a second of overlap
HOP = 640  # samples of 16 kHz in a frame
MELS_A_FRAME = 4  # log-mel frames of 10 ms in a frame of film

LIPS = sorted({*geometry.OUTER_UPPER, *geometry.OUTER_LOWER, *geometry.INNER_UPPER, *geometry.INNER_LOWER})
CHIN = [152, 148, 377, 176, 400, 149, 378, 199, 200]
WATCHED = [*LIPS, *CHIN]
NUMBERS = 2 * 2 * len(WATCHED)  # x, y and their speeds
POSITION_UNIT, SPEED_UNIT = 0.05, 0.02  # IOD, IOD a frame: about what speaking lips spread


@dataclass(frozen=True)
class SyncConfig:
    """Sizes of the judge. A window of kernel and depth: 1 + depth * (kernel - 1) frames, 0.84 s."""

    width: int = 128
    depth: int = 5
    kernel: int = 5
    embedding: int = 64
    dropout: float = 0.1


@dataclass(frozen=True)
class Sync:
    """What the judge says of a clip.

    confidence: agreement at the best offset less the median over all offsets; about 0 if lips and sound are strangers.
    offset: frames by which the film is later than its sound. curve: (2 * REACH + 1,) agreement by offset from -REACH.
    """

    confidence: float
    offset: int
    curve: np.ndarray


class Block(nn.Module):
    """ConvNeXt's residual block, looking both ways: a judge may wait for what comes."""

    def __init__(self, width: int, kernel: int, dropout: float):
        super().__init__()
        self.conv = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        mixed = self.norm(self.conv(x.transpose(1, 2)).transpose(1, 2))
        return x + self.dropout(self.down(F.gelu(self.up(mixed))))


class Encoder(nn.Module):
    """A stream of numbers per frame to unit vectors per frame: (B, T, C) to (B, T, E)."""

    def __init__(self, channels: int, config: SyncConfig):
        super().__init__()
        self.enter = nn.Linear(channels, config.width)
        self.blocks = nn.Sequential(*(Block(config.width, config.kernel, config.dropout) for _ in range(config.depth)))
        self.norm = nn.LayerNorm(config.width)
        self.leave = nn.Linear(config.width, config.embedding)

    def forward(self, x: Tensor) -> Tensor:
        """Unit vectors (B, T, E)."""
        return F.normalize(self.leave(self.norm(self.blocks(self.enter(x)))), dim=-1)


class SyncExpert(nn.Module):
    """The judge. template: (478, 3) the canonical face onto which heads are turned before their lips are read."""

    def __init__(self, config: SyncConfig, template: np.ndarray | None = None):
        super().__init__()
        self.config = config
        self.lips = Encoder(NUMBERS, config)
        self.sound = Encoder(MELS_A_FRAME * 80, config)
        start = torch.zeros(geometry.N_POINTS, 3) if template is None else torch.from_numpy(template)
        self.register_buffer("template", start)

    def read_lips(self, landmarks: np.ndarray) -> np.ndarray:
        """Tracked landmarks (T, 478, 3) in pixels to what the lips' network sees: (T, NUMBERS), free of rest and pose."""
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
            raise ValueError(f"{frames} frames are too few to judge lip sync: {LEAST_FRAMES} ({LEAST_FRAMES / 25:g} s) are wanted.")
        lips = torch.from_numpy(self.read_lips(landmarks[:frames]))[None]
        mel = torch.from_numpy(log_mel(samples[: frames * HOP]))[None]
        curve = agreement(self.lips(lips)[0], self.sound(mel)[0]).numpy()
        return Sync(float(curve.max() - np.median(curve)), int(curve.argmax()) - REACH, curve)


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
    """Mean cosine by offset, (..., T, E) twice to (..., 2 * REACH + 1): lips of frame n meet the sound of frame n - offset."""
    frames = lips.shape[-2]
    curve = []
    for offset in range(-REACH, REACH + 1):
        first, end = max(0, offset), min(frames, frames + offset)
        curve.append((lips[..., first:end, :] * sound[..., first - offset : end - offset, :]).sum(-1).mean(-1))
    return torch.stack(curve, -1)


@lru_cache(maxsize=1)
def load_expert(name: str = "sync") -> SyncExpert:
    """The judge that ships with the package, or another by path."""
    from mien import checkpoints

    checkpoint = checkpoints.load(name)
    expert = SyncExpert(SyncConfig(**checkpoint.config))
    expert.load_state_dict({key: tensor.float() for key, tensor in checkpoint.tensors.items()})
    return expert.eval()
