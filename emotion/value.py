"""The `Emotion` value: read from words, mixtures and time lines, written out as weights per frame."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Weights are kept for these, in this order; neutral is the absence of the others.
CATEGORIES = ("neutral", "happy", "sad", "angry", "fearful", "disgusted", "surprised", "contempt")

# Other words for the categories, with the intensity they suggest.
WORDS: dict[str, tuple[str, float]] = {
    "calm": ("neutral", 1.0), "none": ("neutral", 1.0), "serious": ("neutral", 1.0),
    "happiness": ("happy", 1.0), "joy": ("happy", 1.0), "joyful": ("happy", 1.0), "glad": ("happy", 0.7),
    "cheerful": ("happy", 0.8), "friendly": ("happy", 0.5), "delighted": ("happy", 1.1), "amused": ("happy", 0.7),
    "sadness": ("sad", 1.0), "unhappy": ("sad", 0.7), "sorrow": ("sad", 1.0), "gloomy": ("sad", 0.7),
    "anger": ("angry", 1.0), "annoyed": ("angry", 0.5), "irritated": ("angry", 0.4), "furious": ("angry", 1.2),
    "fear": ("fearful", 1.0), "afraid": ("fearful", 1.0), "scared": ("fearful", 1.0), "anxious": ("fearful", 0.5),
    "worried": ("fearful", 0.5), "terrified": ("fearful", 1.2),
    "disgust": ("disgusted", 1.0), "revolted": ("disgusted", 1.1),
    "surprise": ("surprised", 1.0), "astonished": ("surprised", 1.1), "amazed": ("surprised", 1.0),
    "contemptuous": ("contempt", 1.0), "scornful": ("contempt", 1.0), "smug": ("contempt", 0.7),
}  # fmt: skip

MAX_INTENSITY = 1.5
RAMP_S = 0.5  # a feeling of a time line takes this long to take over


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

        source: None (neutral), a word ("happy", "furious"), a mixture ("happy:0.6+surprised:0.4"), a dict
        {"happy": 0.6}, a time line [(0.0, "calm"), (2.5, "furious")] or its text "0:calm 2.5:furious".
        intensity: factor on all weights, 0 … 1.5. Raises ValueError in one sentence for anything unknown.
        """
        if not 0 <= intensity <= MAX_INTENSITY:
            raise ValueError(
                f"intensity {intensity:g} is out of range: give 0 (neutral) to {MAX_INTENSITY:g}, 1 is full."
            )
        if isinstance(source, Emotion):
            return source.scaled(intensity)
        if isinstance(source, str) and _is_line(source):
            source = [(float(entry.split(":", 1)[0]), entry.split(":", 1)[1]) for entry in source.split()]
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


def _is_line(text: str) -> bool:
    """Whether every word starts with a time, as in "0:calm 2.5:furious"."""
    words = text.split()
    return bool(words) and all(":" in w and w.split(":", 1)[0].replace(".", "", 1).isdigit() for w in words)


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
        raise ValueError(
            f"{source!r} is no emotion: give a word such as 'happy', or a mixture 'happy:0.6+surprised:0.4'."
        )
    for word, amount in pairs:
        category, strength = _lookup(word)
        try:
            weight = float(amount) if amount else 1.0
        except ValueError:
            weight = float("nan")
        if not 0 <= weight <= MAX_INTENSITY:
            raise ValueError(f"'{amount}' is no weight for '{word}': give a number from 0 to {MAX_INTENSITY:g}.")
        row[CATEGORIES.index(category)] += weight * strength
    return row


def _lookup(word: str) -> tuple[str, float]:
    word = word.strip().lower()
    known = {name: (name, 1.0) for name in CATEGORIES} | WORDS
    if word in known:
        return known[word]
    near = difflib.get_close_matches(word, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(CATEGORIES)}."
    raise ValueError(f"Unknown emotion '{word}': {hint}")
