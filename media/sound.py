"""Sound in and out: whatever can be heard becomes float32 in [-1, 1] at its own rate, in time with its pictures."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
from av.container import InputContainer

from mien.media import limits
from mien.media.container import decode, open_media, origin_s
from mien.media.files import source_name, written_beside

WRITES = {".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG", ".mp3": "MP3"}
CODES = {"WAV": "PCM_16", "FLAC": "PCM_16", "OGG": "VORBIS", "MP3": "MPEG_LAYER_III"}
MP3_RATES = (48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)  # Hz; others become the first
GAP_S = 0.05  # a hole in the time stamps longer than this is silence, a shorter one is rounding
LAYOUTS = {1: "mono", 2: "stereo"}
CHUNK = 65536  # samples that are resampled at a time


@dataclass(frozen=True)
class Sound:
    """Sound as it was recorded.

    samples: (S, C) float32 in [-1, 1], C one or two. sample_rate: Hz.
    """

    samples: np.ndarray
    sample_rate: int

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.sample_rate

    def mono(self, rate: int = 16000) -> np.ndarray:
        """One channel, the mean of all, at `rate` Hz: (S,) float32."""
        return self.resampled(rate, mono=True).samples[:, 0]

    def resampled(self, rate: int, mono: bool = False) -> "Sound":
        """The same sound at `rate` Hz, in one channel if `mono`; its length is the nearest whole number of samples."""
        channels = 1 if mono else self.samples.shape[1]
        if rate == self.sample_rate:
            samples = self.samples if channels == self.samples.shape[1] else self.samples.mean(1, keepdims=True)
            return Sound(samples, rate)
        length = round(len(self.samples) * rate / self.sample_rate)
        resampler = av.AudioResampler(format="flt", layout=LAYOUTS[channels], rate=rate)
        out, filled = np.zeros((length, channels), np.float32), 0
        for frame in chain(_frames(self, channels), [None]):
            for piece in resampler.resample(frame):
                block = piece.to_ndarray().reshape(-1, channels)[: length - filled]
                out[filled : filled + len(block)] = block
                filled += len(block)
        return Sound(out, rate)

    @staticmethod
    def silence(duration_s: float, sample_rate: int = 16000, channels: int = 1) -> "Sound":
        """Nothing to hear for a while."""
        return Sound(np.zeros((round(duration_s * sample_rate), channels), np.float32), sample_rate)


def load_sound(source: Any) -> Sound:
    """Any sound as a `Sound`; of more than two channels a stereo mix.

    source: a path to any sound file or film, the bytes of one, a pair (samples, rate) or, as Gradio gives it,
        (rate, samples), or a `Sound`. Samples are (S,), (S, C) or (C, S), integer or float in [-1, 1].
    The soundtrack of a film starts with its first picture: silence is set before it, or a lead-in cut, as players do.
    Raises FileNotFoundError or ValueError with one sentence.
    """
    if isinstance(source, str | os.PathLike | bytes):
        sound, name = _from_file(source), source_name(source, "sound")
    elif isinstance(source, Sound):
        sound, name = source, "the sound"
    elif isinstance(source, tuple | list) and len(source) == 2:
        sound, name = _from_pair(*source), "the sound"
    else:
        raise ValueError(
            f"a sound came as {type(source).__name__}: give a path, the bytes of a file or a pair (samples, sample_rate)."
        )
    if not sound.samples.size:
        raise ValueError(f"{name} is empty: give a sound of at least one sample.")
    limits.check_duration(name, sound.duration_s)
    low, high = float(sound.samples.min()), float(sound.samples.max())
    if not np.isfinite(high - low):
        raise ValueError(f"{name} holds NaN or infinite samples: save it again without them.")
    if low < -1 or high > 1:  # the overshoot of a codec or a synthesiser
        return Sound(sound.samples.clip(-1, 1), sound.sample_rate)
    return sound


def save_sound(path: str | os.PathLike, sound: Sound) -> None:
    """Write a sound by the path's ending: .wav or .flac of 16 bits, .ogg (Vorbis) or .mp3."""
    if Path(path).suffix.lower() == ".mp3" and sound.sample_rate not in MP3_RATES:
        sound = sound.resampled(MP3_RATES[0])
    blocks = (sound.samples[start : start + CHUNK] for start in range(0, len(sound.samples), CHUNK))
    written_in_blocks(path, blocks, sound.sample_rate, sound.samples.shape[1])


def written_in_blocks(path: str | os.PathLike, blocks: Iterable[np.ndarray], sample_rate: int, channels: int = 1) -> None:
    """Write a sound as it comes, blocks (S, channels) float32: it appears at `path` when it is whole, or not at all.

    Endings as in `save_sound`; sample_rate is one that the ending can hold. Raises FileNotFoundError or ValueError with one
    sentence before the first block is asked for; whatever `blocks` raises passes through.
    """
    with written_beside(path, WRITES) as part:
        kind = WRITES[Path(path).suffix.lower()]
        with soundfile.SoundFile(part, "w", sample_rate, channels, CODES[kind], format=kind) as file:
            for block in blocks:
                file.write(block)


def _from_file(source: str | os.PathLike | bytes) -> Sound:
    name = source_name(source, "sound")
    buffer = bytearray()  # grows in place: the sound is held once
    with open_media(source, "sound") as container:
        stream = container.streams.audio[0]
        if stream.codec_context is None:
            raise ValueError(f"the sound of {name} is in a code that is unknown here: save it as wav, mp3 or m4a.")
        origin, channels, rate = origin_s(container), min(stream.channels, 2), stream.rate
        for start_s, samples in _decoded(container, stream, channels, rate):
            here = len(buffer) // (4 * channels)
            if start_s is not None:
                target = round((start_s - origin) * rate)
                limits.check_duration(name, target / rate)
                if here == 0 and target < 0:
                    samples = samples[-target:]
                elif here == 0 or target - here > GAP_S * rate:
                    buffer += bytes((target - here) * 4 * channels)
            buffer += samples.tobytes()
            limits.check_duration(name, len(buffer) / (4 * channels * rate))
    return Sound(np.frombuffer(buffer, np.float32).reshape(-1, channels), rate)


def _decoded(
    container: InputContainer, stream: av.AudioStream, channels: int, rate: int
) -> Iterator[tuple[float | None, np.ndarray]]:
    """Blocks (S, channels) float32 at one rate with their start in seconds, even if the stream changes midway."""
    resampler, setup = av.AudioResampler(format="flt", layout=LAYOUTS[channels], rate=rate), None
    for frame in decode(container, stream):
        start_s = None if frame.pts is None else float(frame.pts * frame.time_base)
        came = (frame.format.name, frame.layout.name, frame.sample_rate)
        if setup not in (None, came):
            resampler = av.AudioResampler(format="flt", layout=LAYOUTS[channels], rate=rate)
        setup = came
        # A codec's last block is as long as any; a container that counts samples knows how many of them are sound.
        exact = frame.time_base == Fraction(1, frame.sample_rate) and 0 < frame.duration < frame.samples
        for piece in resampler.resample(frame):
            yield start_s, piece.to_ndarray().reshape(-1, channels)[: frame.duration if exact else None]


def _from_pair(first: Any, second: Any) -> Sound:
    rate, samples = (first, second) if np.ndim(first) == 0 else (second, first)
    if not isinstance(rate, int | float | np.number):
        raise ValueError("a pair without a number came as sound: give (samples, sample_rate).")
    rate = limits.check_sample_rate("the sound", float(rate))
    samples = np.asarray(samples.detach().cpu() if hasattr(samples, "detach") else samples)
    if samples.ndim == 1:
        samples = samples[:, None]
    if samples.ndim != 2:
        raise ValueError(f"the sound has shape {samples.shape}: give (samples,) or (samples, channels).")
    if samples.shape[0] < samples.shape[1] and samples.shape[0] <= 8:  # (C, S), as torch has it
        samples = samples.T
    if samples.shape[1] > 8:
        raise ValueError(f"the sound has {samples.shape[1]} channels: give one or two.")
    if samples.dtype.kind in "iu":
        info = np.iinfo(samples.dtype)
        half = 2.0 ** (info.bits - 1)
        samples = ((samples - (half if info.min == 0 else 0.0)) / half).astype(np.float32)
    elif samples.dtype.kind == "f":
        samples = samples.astype(np.float32)
        peak = float(np.abs(samples).max(initial=0))
        if np.isfinite(peak) and peak > 8:
            raise ValueError(f"the sound has float samples up to {peak:g}: scale them to [-1, 1] or give int16.")
    else:
        raise ValueError(f"the sound has samples of type {samples.dtype}: give int16 or float in [-1, 1].")
    if samples.shape[1] > 2:
        samples = samples.mean(1, keepdims=True)
    return Sound(np.array(samples, np.float32, order="C"), rate)


def _frames(sound: Sound, channels: int) -> Iterator[av.AudioFrame]:
    """The samples as PyAV's packed frames, a chunk at a time."""
    for start in range(0, len(sound.samples), CHUNK):
        yield audio_frame(sound.samples[start : start + CHUNK], sound.sample_rate, start, channels)


def audio_frame(samples: np.ndarray, sample_rate: int, start: int, channels: int) -> av.AudioFrame:
    """Samples (S, C) float32 as a packed PyAV frame of one or two channels that begins at sample `start`."""
    if samples.shape[1] != channels:
        samples = samples.mean(1, keepdims=True)
    packed = np.ascontiguousarray(samples, np.float32).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=LAYOUTS[channels])
    frame.sample_rate, frame.time_base, frame.pts = sample_rate, Fraction(1, sample_rate), start
    return frame
