"""What feeling does to a voice: how acted takes differ from the same actors' neutral takes of the same sentences.

Measured by `python -m mien.training measure-feeling` on RAVDESS, EmoDB and nEMO (English, German, Polish; training actors
alone). An actor's strong take is half as strong again as full intensity here, a normal one half as strong; loudness is
taken at a quarter, since nobody wants a shout to be twenty decibels louder than the next word.

Pitch changes before there is sound, in the plan: an envelope shows the harmonics of its own pitch, and moved away from them
it loses 5 dB and gets hoarse. What a higher plan does to the spectrum by itself is no longer in `colour`.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mien.codec.vocoder import HOP, SAMPLE_RATE, EnvelopeMeter
from mien.emotion import CATEGORIES

TILT_HZ = (200.0, 6_000.0)  # between these the tilt is laid
BANDS = 10  # of colour and contrast: eight mel bands each, about 0.15, 0.4, 0.7, 1.1, 1.5, 2.1, 2.9, 3.9, 5.1 and 6.7 kHz
# What the bands of a plain voice are on average, in the unit of an envelope: contrast grows and shrinks about it.
PLAIN = (-0.42, 0.08, -0.31, -0.57, -0.82, -0.76, -0.93, -1.16, -1.52, -1.88)
DB = 30 / math.log(10)  # in the unit of an envelope
WIDER, NARROWER = 1.5, 2.2  # on the spread of notes' pitch, as what moves within a note stays as it is
SPEECH_DB = -30.0  # below a take's loud frames; what is fainter is a pause
LOW_BANDS, HIGH_BANDS = slice(4, 24), slice(40, 72)  # of the envelope: about 0.2 to 1 kHz, 2.2 to 6.5 kHz
LEAST_VOICED = 30  # frames of 10 ms, without which nothing can be measured


@dataclass(frozen=True)
class Change:
    """level: of pitch, semitones. spread: log of the factor on pitch's range. energy: dB. tilt: of high bands beside low
    ones, dB, for sound that is there already. pace: log of the factor on durations. pause: the same on rests. colour: of the
    spectrum by BANDS, dB, for sound whose pitch was planned. contrast: by BANDS the log of the factor on how far an envelope
    goes up and down."""

    level: float = 0.0
    spread: float = 0.0
    energy: float = 0.0
    tilt: float = 0.0
    pace: float = 0.0
    pause: float = 0.0
    colour: tuple[float, ...] = (0.0,) * BANDS
    contrast: tuple[float, ...] = (0.0,) * BANDS


MEASURES = ("level", "spread", "energy", "tilt", "pace", "pause")
# At full intensity. Contempt is in none of the sets: it is spoken as half of disgust, drawn out.
FEELINGS = {
    "happy": Change(
        5.5, 0.22, 1.6, 2.3, 0.02, -0.05,
        (1.1, -2.3, 1.9, 2.0, 1.9, 1.9, 1.8, 0.1, -0.3, -0.6),
        (-0.07, -0.03, 0.06, 0.08, 0.09, 0.08, 0.07, 0.06, 0.02, 0.04),
    ),
    "sad": Change(
        -0.5, -0.28, -1.5, -0.5, 0.15, 0.20,
        (-1.9, -3.3, -3.2, -3.5, -2.8, -3.4, -3.5, -3.7, -2.3, -2.9),
        (0.23, 0.02, -0.11, -0.22, -0.12, -0.13, -0.01, 0.06, 0.06, 0.07),
    ),
    "angry": Change(
        5.5, 0.15, 2.8, 5.0, 0.05, 0.00,
        (-1.3, -4.1, 0.8, 2.2, 1.2, 1.8, 2.3, 1.9, 0.2, -0.3),
        (-0.18, -0.09, 0.09, 0.21, 0.20, 0.23, 0.23, 0.23, 0.23, 0.20),
    ),
    "fearful": Change(
        6.5, -0.26, 2.2, 3.0, -0.05, 0.05,
        (4.0, -3.5, -1.5, -0.1, -0.2, -2.0, -0.9, -2.5, -1.3, -1.0),
        (0.0, 0.0, 0.01, 0.02, 0.03, 0.03, 0.01, 0.02, 0.05, 0.07),
    ),
    "disgusted": Change(
        2.0, 0.05, 0.6, 0.8, 0.18, 0.15,
        (-1.7, -1.2, 0.8, -0.1, 0.5, 1.5, 0.7, -0.5, 0.0, 0.8),
        (0.0, 0.0, -0.01, 0.03, 0.02, 0.08, 0.03, 0.08, 0.11, 0.06),
    ),
    "surprised": Change(
        4.2, 0.37, 1.6, -0.2, -0.03, -0.05,
        (0.5, -3.3, -0.4, -1.0, -2.5, -3.3, -3.2, -4.7, -5.3, -6.2),
        (-0.10, 0.09, 0.14, 0.19, 0.22, 0.21, 0.16, 0.18, 0.27, 0.23),
    ),
    "contempt": Change(
        -0.5, -0.05, -0.3, 0.4, 0.15, 0.10,
        (-0.8, -0.6, 0.4, 0.0, 0.2, 0.8, 0.4, -0.2, 0.0, 0.4),
        (0.0, 0.0, 0.0, 0.01, 0.01, 0.04, 0.01, 0.04, 0.05, 0.03),
    ),
}  # fmt: skip


def change_of(weights: np.ndarray) -> Change:
    """Weights of a mixture (8,), in `CATEGORIES` order, to what they do together."""
    parts = [(weights[CATEGORIES.index(name)], change) for name, change in FEELINGS.items()]

    numbers = {name: sum(weight * getattr(change, name) for weight, change in parts) for name in MEASURES}
    colour, contrast = (
        tuple(np.sum([weight * np.array(getattr(change, name)) for weight, change in parts], 0).tolist())
        for name in ("colour", "contrast")
    )
    return Change(**{name: float(value) for name, value in numbers.items()}, colour=colour, contrast=contrast)


def planned(pitch: Tensor, durations: Tensor, change: Change) -> Tensor:
    """Pitch of notes (1, N), ln Hz, as a feeling plans it: around the mean of those that last, `durations` (1, N)."""
    mean = (pitch * durations).sum() / durations.sum().clamp(min=1)
    spread = (WIDER if change.spread > 0 else NARROWER) * change.spread
    return mean + change.level * math.log(2) / 12 + (pitch - mean) * math.exp(spread)


def coloured(envelope: Tensor, change: Change) -> Tensor:
    """Envelopes (..., n_mels) as a feeling would have them. What is far from speech, silence above all, is lifted no more
    than what is near it."""
    colour, contrast, plain = (_in_bands(row, envelope) for row in (change.colour, change.contrast, PLAIN))
    away = (envelope - plain).clamp(-2.0, 2.0)
    return envelope + (contrast.exp() - 1) * away + (colour + change.energy) / DB


def _in_bands(row: tuple[float, ...], envelope: Tensor) -> Tensor:
    width = envelope.shape[-1] / BANDS
    middles = (np.arange(BANDS) + 0.5) * width - 0.5
    return torch.from_numpy(np.interp(np.arange(envelope.shape[-1]), middles, row)).to(envelope)


def measure(sound: np.ndarray, f0: np.ndarray) -> dict[str, float] | None:
    """A take (S,) at 16 kHz in numbers; None where too little of it is voiced. f0: (ceil(S / 160),) Hz, 0 where unvoiced.

    level: median F0, semitones. spread: standard deviation of F0, semitones. energy: RMS of what is said, dB. tilt: high
    bands beside low ones, dB. pace: log of the seconds in which something is said. pause: share of the time between first
    and last sound in which nothing is.
    """
    sound = sound[: len(sound) // HOP * HOP]
    with torch.inference_mode():
        envelope = EnvelopeMeter()(torch.from_numpy(sound.astype(np.float32))[None])[0].numpy() * DB
    loudness = 10 * np.log10(np.square(sound).reshape(-1, HOP).mean(1) + 1e-10)
    speech = loudness > np.percentile(loudness, 95) + SPEECH_DB
    pitch = f0[: len(speech)]
    voiced = (pitch > 0) & speech
    if voiced.sum() < LEAST_VOICED:
        return None
    tone = 12 * np.log2(pitch[voiced])
    tone = tone[np.abs(tone - np.median(tone)) < 15]  # octave errors
    first, last = np.flatnonzero(speech)[[0, -1]]
    return {
        "level": float(np.median(tone)),
        "spread": float(tone.std()),
        "energy": float(10 * np.log10(np.mean(10 ** (loudness[speech] / 10)))),
        "tilt": float(envelope[voiced][:, HIGH_BANDS].mean() - envelope[voiced][:, LOW_BANDS].mean()),
        "pace": float(np.log(speech.sum() * HOP / SAMPLE_RATE)),
        "pause": float(1 - speech[first : last + 1].mean()),
    }
