"""What a face in motion shows: feeling along its time, and its manner as a direction, by the lifting of `lifting`.

    seen = read_motion(values)       # (T, 36) of `mien.portrait.motion`, 25 a second
    Emotion.from_motion(motion)      # the same as a feeling with a time line

Each reading looks at 2.6 s, one a second; a shorter take is read at once.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from mien import checkpoints
from mien.emotion.lifting import LiftingConfig, MotionReader

FPS = 25
WINDOW, STEP = 64, 25  # frames that a reading sees, and from one to the next
WINDOW_S = WINDOW / FPS
LEAST = 16  # frames without which there is nothing to read


@dataclass(frozen=True)
class Seen:
    """N readings of a take, the last of which ends with it.

    times_s: (N,) when what a reading saw ends. probabilities: (N, 8) odds of `CATEGORIES`; what is not felt is neutral.
    dimensions: (N, 3) valence, arousal, dominance in [-1, 1]. style: (64,) length one, the manner of the whole; two takes
    of a person point the same way, whatever is felt.
    """

    times_s: np.ndarray
    probabilities: np.ndarray
    dimensions: np.ndarray
    style: np.ndarray


@torch.inference_mode()
def read_motion(values: np.ndarray, fps: float = FPS, model: str = "motion-reader") -> Seen:
    """Read a take (T, 36) in natural units. Raises ValueError if it is shorter than 0.64 s."""
    if len(values) / fps < LEAST / FPS:
        raise ValueError(f"{len(values) / fps:.2f} s of a face show no feeling: give at least {LEAST / FPS:g} s.")
    reader = load_reader(model)
    times = np.arange(round(len(values) / fps * FPS)) * fps / FPS
    values = np.stack([np.interp(times, np.arange(len(values)), column) for column in values.T], 1)
    size = min(WINDOW, len(values) // 2**reader.config.levels * 2**reader.config.levels)
    ends = np.arange(len(values), size - 1, -STEP)[::-1]
    windows = torch.from_numpy(np.stack([values[end - size : end] for end in ends]).astype(np.float32))
    lifted = reader.lift(((windows - reader.mean) / reader.std).transpose(1, 2))
    feeling, style = reader.emotion(lifted), reader.style(lifted).mean(0)
    return Seen(
        times_s=ends / FPS,
        probabilities=reader.category(feeling).softmax(1).numpy(),
        dimensions=reader.dimensions(feeling).clamp(-1, 1).numpy(),
        style=(style / style.norm()).numpy(),
    )


@cache
def load_reader(model: str = "motion-reader") -> MotionReader:
    """The reader that ships with the package, or another by name or path."""
    checkpoint = checkpoints.load(model)
    reader = MotionReader(checkpoint.built(LiftingConfig))
    reader.load_state_dict({name: tensor.float() for name, tensor in checkpoint.tensors.items()})
    return reader.eval()
