"""What the animator hears: one interface to speech features at 25 Hz, and to where a voice rests or shuts the lips."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

FEATURES = ("mel", "front")
CHUNK = 500 * 640  # samples of a recording that are heard at once
LEAD = 1  # half frames (20 ms) by which lips are ahead of the sound they make
CERTAIN = (
    0.45  # mean odds a closure must have: lips that shut in a vowel are worse than a p that is left to the network
)
STILL_FRAMES = 7  # of hardly any sound are a pause
TRACKER_LAG = 256  # samples: the films that taught the animator were tracked about 0.4 frame late; it hears that earlier
BURST = 0.7  # share of p and b that passes before the lips part
PARTLY = 0.6  # how shut lips are in a frame that is half closure


@dataclass(frozen=True)
class Heard:
    """A recording as the portrait needs it, T frames of 25 Hz.

    features: (T, A) for the animator. silent: (T,) in [0, 1], 1 where nobody speaks. closed: (T,) in [0, 1], 1 where
    the sound can only be made with shut lips (p, b, m).
    """

    features: np.ndarray
    silent: np.ndarray
    closed: np.ndarray

    def __len__(self) -> int:
        return len(self.features)


def speech_features(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """A function from 16 kHz mono (S,) in [-1, 1] to features (T, A) float32, T = ceil(S / 640).

    name: "mel", four log-mel frames side by side, or "front", the phone recogniser's inner state and odds beside a
    coarse mel (loudness and colour, which a phone recogniser throws away). Raises ValueError for another.
    """
    if name not in FEATURES:
        raise ValueError(f"Unknown speech features '{name}': choose one of {', '.join(FEATURES)}.")
    if name == "mel":
        return _log_mel
    return lambda samples: _front_features(_front().features(samples), samples)


def hear(samples: np.ndarray, name: str) -> Heard:
    """Hear a whole recording, 16 kHz mono (S,), T = ceil(S / 640); name as in `speech_features`."""
    from mien.codec.phones import INDEX

    frames = -(-len(samples) // 640)
    samples = samples[TRACKER_LAG:] if len(samples) > TRACKER_LAG else samples
    front = _front().features(samples)
    features = _front_features(front, samples) if name == "front" else _log_mel(samples)
    odds = front.posteriors_50hz
    parts = (features, _silence(odds[:, INDEX["sil"]], samples), _closures(odds))
    # Heard earlier, a recording may end a frame sooner: its last frame is held.
    return Heard(*(np.concatenate([part, np.repeat(part[-1:], frames - len(part), 0)]) for part in parts))


@cache
def _front():
    from mien.codec.front import load_front

    return load_front()


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


def _silence(odds_50hz: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Where nobody speaks, per frame: the recogniser hears no phone and little sound is left, or hardly any is left.

    Hardly any must last: the closure of a stop is as quiet, and shorter.
    """
    frames = len(odds_50hz) // 2
    power = np.concatenate([(piece.reshape(-1, 640) ** 2).mean(1) for piece in _pieces(samples)])
    level = 10 * np.log10(power + 1e-10)
    loud = np.percentile(level, 95)
    floor = np.percentile(level, 5)
    quiet = np.clip(((loud - 18) - level) / 6, 0, 1) if loud - floor > 12 else np.zeros(frames)
    odds = odds_50hz[: 2 * frames].reshape(frames, 2).mean(1)
    still = np.zeros(frames)
    for a, b in runs_of(level < max(loud - 24, -65)):
        still[a:b] = b - a >= STILL_FRAMES
    return np.maximum(np.minimum(np.clip((odds - 0.3) / 0.4, 0, 1), quiet), still).astype(np.float32)


def _closures(odds_50hz: np.ndarray) -> np.ndarray:
    """Lip closures per frame, from the most likely run of phones; each is at least one whole frame long."""
    from mien.codec.phones import BILABIAL, INDEX, read

    shut = np.zeros(len(odds_50hz) + LEAD, np.float32)
    for segment in read(odds_50hz):
        first, end = round(segment.start_s * 50), round(segment.end_s * 50)
        if segment.phone not in BILABIAL or odds_50hz[first:end, INDEX[segment.phone]].mean() < CERTAIN:
            continue
        if segment.phone != "M":  # lips part at a stop's burst, before its breath has passed
            end = first + max(2, round(BURST * (end - first)))
        shut[first:end] = 1
    pairs = shut[LEAD:][: len(odds_50hz) // 2 * 2].reshape(-1, 2)
    closed = np.where(pairs.min(1) > 0, 1, PARTLY * pairs.max(1))
    for a, b in runs_of(closed > 0):
        if closed[a:b].max() < 1:
            closed[a + (b - a) // 2] = 1
    return closed.astype(np.float32)


def runs_of(flags: np.ndarray) -> list[tuple[int, int]]:
    """Where flags (T,) hold: [first, end) of every run."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
