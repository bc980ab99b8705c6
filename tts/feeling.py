"""What feeling does to a voice: how acted takes differ from the same actors' neutral takes of the same sentences.

Measured by `python -m mien.training measure-feeling` on RAVDESS, EmoDB and nEMO (English, German, Polish; training actors
alone). An actor's strong take is half as strong again as full intensity here, a normal one half as strong; loudness is
taken at a quarter, since nobody wants a shout to be twenty decibels louder than the next word.
"""

import math
from dataclasses import dataclass, fields

import numpy as np
import torch

from mien.codec.vocoder import HOP, SAMPLE_RATE, Acoustics, EnvelopeMeter, mel_centres
from mien.emotion import CATEGORIES

TILT_HZ = (200.0, 6_000.0)  # between these the tilt is laid
DB = 30 / math.log(10)  # in the unit of an envelope
SPEECH_DB = -30.0  # below a take's loud frames; what is fainter is a pause
LOW_BANDS, HIGH_BANDS = slice(4, 24), slice(40, 72)  # of the envelope: about 0.2 to 1 kHz, 2.2 to 6.5 kHz
LEAST_VOICED = 30  # frames of 10 ms, without which nothing can be measured


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


MEASURES = tuple(field.name for field in fields(Change))


def change_of(weights: np.ndarray) -> Change:
    """Weights of a mixture (8,), in `CATEGORIES` order, to what they do together."""
    parts = [(weights[CATEGORIES.index(name)], change) for name, change in FEELINGS.items()]
    return Change(*(float(sum(w * getattr(c, field) for w, c in parts)) for field in MEASURES))


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
