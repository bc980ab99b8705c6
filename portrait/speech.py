"""What the animator hears: one interface to speech features at 25 Hz, and to where a voice rests or shuts the lips."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mien.codec.model import Codec
    from mien.codec.phones import Segment
    from mien.codec.reading import Reading
    from mien.codec.tokens import Tokens

FEATURES = ("mel", "front", "codec")
CODEC = "codec-16k"  # whose tokens lead a portrait
TOLD = 184  # of the features "codec", how many the tokens tell; the rest is heard in the sound
CHUNK = 500 * 640  # samples of a recording that are heard at once
LEAD = 2  # half frames (40 ms) by which lips that a rule shuts are ahead of the sound they make
CERTAIN = 0.45  # mean odds a closure must have: lips that shut in a vowel are worse than a p that is left to the network
STILL_FRAMES = 7  # of hardly any sound are a pause
LEAST_PAUSE = 4  # half frames of silence between known phones that are a pause; shorter ones belong to a stop
BURST = 0.7  # share of p and b that passes before the lips part
HELD = 2  # whole frames at the least for which lips stay shut: of one, a viewer sees lips that nearly met
PARTLY = 0.6  # how shut lips are in a frame that is half closure


@dataclass(frozen=True)
class Heard:
    """A recording as the portrait needs it, T frames of 25 Hz.

    features: (T, A) for the animator. silent: (T,) in [0, 1], 1 where nobody speaks. closed: (T,) in [0, 1], 1 where
    the sound can only be made with shut lips (p, b, m). level_db: (T,) loudness.
    """

    features: np.ndarray
    silent: np.ndarray
    closed: np.ndarray
    level_db: np.ndarray

    def __len__(self) -> int:
        return len(self.features)


def speech_features(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """A function from 16 kHz mono (S,) in [-1, 1] to features (T, A) float32, T = ceil(S / 640).

    name: "codec", what the codec's tokens at 0.27 kbit/s tell (S, the phones read from it, and the sketch of a spectrum
    that S and G make) beside the codec's features before they are quantised; "front", the phone recogniser's inner state
    and odds beside a coarse mel; or "mel", four log-mel frames side by side.
    Raises ValueError for another.
    """
    if name not in FEATURES:
        raise ValueError(f"Unknown speech features '{name}': choose one of {', '.join(FEATURES)}.")
    return {
        "mel": _log_mel,
        "front": lambda samples: _front_features(_front().features(samples), samples),
        "codec": _codec_features,
    }[name]


def check_codec(name: str, codec: str) -> None:
    """Raises ValueError if features `name` were learned through another codec than the one that makes them here."""
    if name == "codec" and codec != CODEC:
        raise ValueError(
            f"This animator learned to hear through the codec '{codec}', not '{CODEC}': train it again on the features of "
            f"'{CODEC}', or give another model."
        )


def hear(samples: np.ndarray, name: str, phones: "Iterable[Segment] | None" = None) -> Heard:
    """Hear a whole recording, 16 kHz mono (S,), T = ceil(S / 640); name as in `speech_features`.

    phones: what is said and when, where that is known: lips then shut and rest by it and not by ear.
    """
    front = _front().features(samples)
    features = _front_features(front, samples) if name == "front" else speech_features(name)(samples)
    power = np.concatenate([(piece.reshape(-1, 640) ** 2).mean(1) for piece in _pieces(samples)])
    level_db = 10 * np.log10(power + 1e-10)
    told = said(phones, len(features)) if phones is not None else _by_ear(front.posteriors_50hz, level_db)
    return Heard(features, *told, level_db)


def hear_tokens(tokens: "Tokens", name: str = "codec", phones: "Iterable[Segment] | None" = None) -> Heard:
    """As `hear`, from a coded recording. Features "codec" are those that tokens tell; for others they are made to sound.

    Raises ValueError for another codec's tokens.
    """
    if name != "codec":
        return hear(_codec().decode(tokens), name, phones)
    reading = _read(tokens)
    features = _token_features(reading)
    told = said(phones, len(features)) if phones is not None else _by_ear(reading.posteriors_50hz, reading.level_db)
    return Heard(features, *told, reading.level_db)


def said(phones: "Iterable[Segment]", frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Where known phones are silent and where they shut the lips, (T,) and (T,) in [0, 1], as in `Heard`."""
    from mien.codec.phones import PHONES

    phones = list(phones)
    spoken = np.zeros(2 * frames, bool)
    for phone in phones:
        if phone.phone != PHONES[0]:
            spoken[round(phone.start_s * 50) : round(phone.end_s * 50)] = True
    silent = np.zeros(2 * frames, np.float32)
    for a, b in runs_of(~spoken):
        silent[a:b] = b - a >= LEAST_PAUSE
    closed = closures(phones, frames)
    return silent.reshape(frames, 2).min(1) * (closed == 0), closed  # lips that shut before the first p are no rest


def _by_ear(odds_50hz: np.ndarray, level_db: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Silent and closed (T,) from odds of phones (2 T, 40) and the loudness (T,)."""
    from mien.codec.phones import BILABIAL, INDEX, Segment

    heard = odds_50hz[:, [INDEX[phone] for phone in sorted(BILABIAL)]]
    closed = [
        Segment("M" if odds_50hz[a:b, INDEX["M"]].sum() > 0.5 * heard[a:b].sum() else "P", a / 50, b / 50)
        for a, b in runs_of(heard.sum(1) > CERTAIN)  # which of them it is, the lips need not know
    ]
    return _silence(odds_50hz[:, 0], level_db), closures(closed, len(level_db))


@cache
def _front():
    from mien.codec.front import load_front

    return load_front()


@cache
def _codec() -> "Codec":
    from mien.codec.model import load_codec

    return load_codec(CODEC)


def _read(tokens: "Tokens") -> "Reading":
    from mien.codec.reading import load_reader

    return load_reader().read(_codec(), tokens)


def _codec_features(samples: np.ndarray) -> np.ndarray:
    told = _token_features(_read(_codec().encode(samples, tiers=0)))
    told[:, TOLD:-1] = _codec().features(samples).continuous
    told[:, -1] = 1
    return told


def _token_features(reading: "Reading") -> np.ndarray:
    unheard = np.zeros((len(reading.semantic), _codec().config.width + 1), np.float32)
    return np.concatenate([reading.semantic, reading.hidden, reading.posteriors, reading.sketch, unheard], 1)


def as_tokens(features: np.ndarray) -> np.ndarray:
    """Features "codec" (..., A) of a sound as its tokens alone would have them."""
    out = features.copy()
    out[..., TOLD:] = 0
    return out


def _front_features(heard, samples: np.ndarray) -> np.ndarray:
    coarse = _log_mel(samples).reshape(-1, 4, 20, 4).mean((1, 3))
    return np.concatenate([heard.hidden, heard.posteriors, coarse], 1).astype(np.float32)


def _log_mel(samples: np.ndarray) -> np.ndarray:
    import torch

    from mien.codec.mel import LogMel

    mel, state, parts = LogMel(), None, []
    with torch.inference_mode():
        for piece in _pieces(samples):
            frames, state = mel(torch.from_numpy(piece)[None], state)
            parts.append(frames[0].numpy())
    return np.concatenate(parts).reshape(-1, 4 * parts[0].shape[1])


def _pieces(samples: np.ndarray) -> Iterator[np.ndarray]:
    """A recording in pieces of whole frames, the last one filled with silence: memory stays flat in its length."""
    for begin in range(0, len(samples), CHUNK):
        piece = samples[begin : begin + CHUNK].astype(np.float32)
        yield np.pad(piece, (0, -len(piece) % 640))


def _silence(odds_50hz: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Where nobody speaks, per frame: no phone is heard and little sound is left, or hardly any is left.

    odds_50hz: (2 T,) of silence. level: (T,) dB. Hardly any must last: the closure of a stop is as quiet, and shorter.
    """
    frames = len(level)
    loud = np.percentile(level, 95)
    floor = np.percentile(level, 5)
    quiet = np.clip(((loud - 18) - level) / 6, 0, 1) if loud - floor > 12 else np.zeros(frames)
    odds = odds_50hz[: 2 * frames].reshape(frames, 2).mean(1)
    still = np.zeros(frames)
    for a, b in runs_of(level < max(loud - 24, -65)):
        still[a:b] = b - a >= STILL_FRAMES
    return np.maximum(np.minimum(np.clip((odds - 0.3) / 0.4, 0, 1), quiet), still).astype(np.float32)


def closures(phones: "Iterable[Segment]", frames: int) -> np.ndarray:
    """Where the lips are shut, (T,) in [0, 1]: by p, b and m with their times, each for `HELD` whole frames or more."""
    from mien.codec.phones import BILABIAL

    shut = np.zeros(2 * frames + LEAD, np.float32)
    for segment in phones:
        if segment.phone not in BILABIAL:
            continue
        first, end = round(segment.start_s * 50), round(segment.end_s * 50)
        if segment.phone != "M":  # lips part at a stop's burst, before its breath has passed
            end = first + max(2, round(BURST * (end - first)))
        shut[first:end] = 1
    pairs = shut[LEAD:].reshape(frames, 2)
    closed = np.where(pairs.min(1) > 0, 1, PARTLY * pairs.max(1))
    for a, b in runs_of(closed > 0):
        first = a + int(closed[a:b].argmax()) if closed[a:b].max() == 1 else a + (b - a) // 2
        closed[first : first + HELD] = 1
    return closed.astype(np.float32)


def runs_of(flags: np.ndarray) -> list[tuple[int, int]]:
    """Where flags (T,) hold: [first, end) of every run."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
