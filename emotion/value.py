"""The `Emotion` value: read from words, mixtures, time lines, sentences, voices, faces; written out as weights per frame."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mien.emotion.ontology import CATEGORIES, dimensions, find
from mien.emotion.text import feel

MAX_INTENSITY = 1.5
RAMP_S = 0.5  # a feeling of a time line takes this long to take over
FAINT = 0.05  # odds below which a face is not said to show something
LEAST = 0.25  # weight below which a feeling is too faint to name
HEARD_S = 4.0  # of a voice that each reading heard: it tells of the middle of that time
SURE = (0.3, 0.7)  # odds from which a feeling heard in a voice shows, and from which it shows in full
ENTRY = re.compile(r"(?:^|\s)(\d+(?:\.\d*)?)\s*:")  # where an entry of a time line begins, as text


class Heard(Protocol):
    """What a voice tells, as from `mien.codec.emotion`: when each reading ends (N,), and its odds (N, 8)."""

    @property
    def times_s(self) -> np.ndarray: ...
    @property
    def probabilities(self) -> np.ndarray: ...


class Moving(Protocol):
    """A face in motion, as from `mien.portrait.motion`: (T, 36) numbers in natural units, frames a second."""

    @property
    def values(self) -> np.ndarray: ...
    @property
    def fps(self) -> float: ...


@dataclass(frozen=True)
class Emotion:
    """What is felt, at one time or along a line of times.

    times_s: (N,) when each entry begins, ascending, the first 0. weights: (N, 8) in `CATEGORIES` order, each in
    [0, 1.5]; their sum but for neutral is the intensity.
    """

    times_s: tuple[float, ...]
    weights: tuple[tuple[float, ...], ...]

    @classmethod
    def read(cls, source: "Emotion | str | dict | Sequence | None", intensity: float = 1.0) -> "Emotion":
        """An emotion from what a user writes.

        source: None (neutral), a word or phrase of the ontology ("furious", "a bit nervous", "over the moon"), a mixture
        ("happy:0.6+surprised:0.4"), a dict {"happy": 0.6}, a time line [(0.0, "calm"), (2.5, "furious")] or its text
        "0:calm 2.5:furious".
        intensity: factor on all weights, 0 … 1.5. Raises ValueError in one sentence for anything unknown.
        """
        if not 0 <= intensity <= MAX_INTENSITY:
            raise ValueError(f"intensity {intensity:g} is out of range: give 0 (neutral) to {MAX_INTENSITY:g}, 1 is full.")
        if isinstance(source, Emotion):
            return source.scaled(intensity)
        if isinstance(source, str) and ENTRY.match(source.strip()):
            _, *parts = ENTRY.split(source.strip())
            source = [(float(time), words) for time, words in zip(parts[::2], parts[1::2], strict=True)]
        if source is None or isinstance(source, str | dict):
            source = [(0.0, source)]
        times, weights = [], []
        for entry in source:
            if not isinstance(entry, Sequence) or isinstance(entry, str) or len(entry) != 2:
                raise ValueError(f"{entry!r} is no entry of a time line: give (seconds, emotion) pairs.")
            times.append(float(entry[0]))
            weights.append(_mixture(entry[1]))
        if not times:
            raise ValueError("An empty time line says nothing: give (seconds, emotion) pairs, or None for neutral.")
        if times != sorted(times) or times[0] < 0:
            raise ValueError(f"The times {times} of the emotion line must ascend from 0.")
        times[0] = 0.0
        return cls(tuple(times), tuple(tuple(row) for row in weights)).scaled(intensity)

    @classmethod
    def from_text(cls, sentence: str) -> "Emotion":
        """What a sentence expresses, by `mien.emotion.text`: "I can't believe you did this!" is anger and sorrow."""
        return cls((0.0,), (feel(sentence),))

    @classmethod
    def from_voice(cls, heard: Heard) -> "Emotion":
        """What a voice expresses along its time: `Emotion.from_voice(codec.emotion(samples))`.

        Odds are averaged over three readings, and only what they are sure of counts: a reader is wrong about every third
        calm voice, though seldom sure of it.
        """
        odds = np.asarray(heard.probabilities, float)
        held = np.concatenate([odds[:1], odds, odds[-1:]])
        odds = 0.25 * held[:-2] + 0.5 * odds + 0.25 * held[2:]
        weights = np.clip((odds - SURE[0]) / (SURE[1] - SURE[0]), 0, 1)
        weights[:, 0] = 0
        return cls._along(heard.times_s, HEARD_S, weights)

    @classmethod
    def from_motion(cls, motion: Moving) -> "Emotion":
        """What a face in motion shows along its time, by `mien.emotion.motion`: of `Motion.load("take.npz")`, say."""
        from mien.emotion.motion import WINDOW_S, read_motion

        seen = read_motion(motion.values, motion.fps)
        weights = np.where(seen.probabilities > FAINT, seen.probabilities, 0)
        weights[:, 0] = 0
        return cls._along(seen.times_s, WINDOW_S, weights)

    @classmethod
    def _along(cls, times_s: np.ndarray, span_s: float, weights: np.ndarray) -> "Emotion":
        """Weights (N, 8) of readings that end at times_s (N,) and look span_s back, each held about its middle."""
        middles = np.maximum(np.asarray(times_s) - span_s / 2, 0)
        starts = [0.0, *((middles[1:] + middles[:-1]) / 2)]
        rows = weights.astype(float).round(3).tolist()
        return cls(tuple(float(time) for time in starts), tuple(tuple(row) for row in rows))

    @property
    def category(self) -> str:
        """The category felt most, over all entries; neutral when none is strong enough to be named."""
        felt = np.array(self.weights).mean(0)[1:]
        return CATEGORIES[1 + int(felt.argmax())] if felt.max() >= LEAST else "neutral"

    @property
    def dimensions(self) -> np.ndarray:
        """Valence, arousal and dominance (N, 3) of each entry, in [-1, 1]."""
        return dimensions(np.array(self.weights))

    def scaled(self, intensity: float) -> "Emotion":
        """The same feeling, stronger or weaker."""
        rows = np.clip(np.array(self.weights) * intensity, 0, MAX_INTENSITY)
        return Emotion(self.times_s, tuple(tuple(float(v) for v in row) for row in rows))

    def frames(self, count: int, fps: float = 25.0) -> np.ndarray:
        """Weights per frame (count, 8) float32, neutral left at 0; entries of a time line ramp in over half a second."""
        rows = np.array(self.weights, np.float32)
        rows[:, 0] = 0
        t = np.arange(count) / fps
        out = np.repeat(rows[:1], count, axis=0)
        for start, before, after in zip(self.times_s[1:], rows, rows[1:], strict=False):
            phase = np.clip((t - start) / RAMP_S, 0, 1)[:, None]
            smooth = phase**2 * (3 - 2 * phase)
            out = np.where(t[:, None] >= start, before + smooth * (after - before), out)
        return out.astype(np.float32)

    def __str__(self) -> str:
        lines = []
        for time, row in zip(self.times_s, self.weights, strict=True):
            parts = [f"{name}:{weight:g}" for name, weight in zip(CATEGORIES, row, strict=True) if weight]
            lines.append((time, "+".join(parts) or "neutral"))
        return lines[0][1] if len(lines) == 1 else " ".join(f"{time:g}:{text}" for time, text in lines)


def _mixture(source: str | dict | None) -> list[float]:
    """Weights of one mixture in `CATEGORIES` order."""
    row = [0.0] * len(CATEGORIES)
    if source is None:
        return row
    if isinstance(source, str):
        parts = [part.strip() for part in source.split("+")]
        pairs = [(part.split(":", 1) + [""])[:2] for part in parts]
    elif isinstance(source, dict):
        pairs = [[str(name), str(weight)] for name, weight in source.items()]
    else:
        raise ValueError(f"{source!r} is no emotion: give a word such as 'happy', or a mixture 'happy:0.6+surprised:0.4'.")
    for word, amount in pairs:
        meant, strength = find(word)
        try:
            weight = float(amount) if amount else 1.0
        except ValueError:
            weight = float("nan")
        if not 0 <= weight <= MAX_INTENSITY:
            raise ValueError(f"'{amount}' is no weight for '{word}': give a number from 0 to {MAX_INTENSITY:g}.")
        row = [sum_ + weight * strength * part for sum_, part in zip(row, meant.weights, strict=True)]
    return row
