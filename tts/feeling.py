"""What feeling does to a voice: how acted takes differ from the same actors' neutral takes of the same sentences.

Measured by `python -m mien.training measure-feeling` on RAVDESS, EmoDB and nEMO (English, German, Polish; training actors
alone). An actor's strong take is half as strong again as full intensity here, a normal one half as strong; loudness is
taken at a quarter, since nobody wants a shout to be twenty decibels louder than the next word.
"""

import math
from dataclasses import dataclass, fields

import numpy as np
import torch

from mien.codec.vocoder import Acoustics, mel_centres
from mien.emotion import CATEGORIES

TILT_HZ = (200.0, 6_000.0)  # between these the tilt is laid
DB = 30 / math.log(10)  # in the unit of an envelope


@dataclass(frozen=True)
class Change:
    """level: of pitch, semitones. spread: log of the factor on pitch's range. energy: dB. tilt: of high bands beside low
    ones, dB. pace: log of the factor on durations. pause: the same on rests."""

    level: float = 0.0
    spread: float = 0.0
    energy: float = 0.0
    tilt: float = 0.0
    pace: float = 0.0
    pause: float = 0.0


# At full intensity. Contempt is in none of the sets: it is spoken as half of disgust, drawn out.
FEELINGS = {
    "happy": Change(5.5, 0.22, 1.6, 2.3, 0.02, -0.05),
    "sad": Change(-0.5, -0.28, -1.5, -0.5, 0.15, 0.20),
    "angry": Change(5.5, 0.15, 2.8, 5.0, 0.05, 0.00),
    "fearful": Change(6.5, -0.26, 2.2, 3.0, -0.05, 0.05),
    "disgusted": Change(2.0, 0.05, 0.6, 0.8, 0.18, 0.15),
    "surprised": Change(4.2, 0.37, 1.6, -0.2, -0.03, -0.05),
    "contempt": Change(-0.5, -0.05, -0.3, 0.4, 0.15, 0.10),
}


def change_of(weights: np.ndarray) -> Change:
    """Weights of a mixture (8,), in `CATEGORIES` order, to what they do together."""
    names = [field.name for field in fields(Change)]
    parts = [(weights[CATEGORIES.index(name)], change) for name, change in FEELINGS.items()]
    return Change(*(float(sum(w * getattr(c, field) for w, c in parts)) for field in names))


def moved(frames: Acoustics, change: Change, pitch: float | None = None) -> Acoustics:
    """Acoustic frames as a feeling would have them: their envelopes, and their pitch around its mean.

    pitch: that mean, ln Hz, where the frames are a piece of an utterance; None: they are a whole one.
    """
    voiced = frames.voicing + 1e-6
    mean = (frames.log_pitch * voiced).sum(1, keepdim=True) / voiced.sum(1, keepdim=True) if pitch is None else pitch
    log_pitch = mean + change.level * math.log(2) / 12 + (frames.log_pitch - mean) * math.exp(change.spread)
    low, high = (math.log(hertz) for hertz in TILT_HZ)
    centres = torch.from_numpy(mel_centres(frames.envelope.shape[-1])).float().log()
    ramp = ((centres - low) / (high - low)).clamp(0, 1) - 0.5
    return Acoustics(frames.envelope + (change.energy + change.tilt * ramp) / DB, log_pitch, frames.voicing)
