"""How somebody moves, whatever they feel: measured in a clip, kept in a file of a few kilobytes, laid on a talker.

    manner = Manner.of(motion)      # of at least three seconds
    manner.save("ana.npz")

A `Manner` leads in two ways. A stretch of the person's motion goes into the animator's style encoder. What is then still
missing is laid on after sampling, before the guarantees: the spectrum of head and brows and the expression at rest by
`laid_on`, which measures what was made so far; the opening of the mouth and the rate of blinks by dials that are there
anyway.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mien.media.files import written_beside
from mien.portrait.controls import Controls
from mien.portrait.feelings import off_the_lips
from mien.portrait.figures import find_blinks
from mien.portrait.motion import CHANNELS, FRAME_RATE, REGIONS, Motion, load_space, without_blinks
from mien.portrait.retime import retimed

LEAST_S = 3  # a shorter clip shows no manner
SAMPLE = 75  # frames kept for the style encoder, as many as it learned from
MOVING = np.r_[0:6, REGIONS["brows"]]  # channels whose spectrum is manner: nods, sways, raised brows
EXPRESSION = np.r_[REGIONS["brows"], REGIONS["cheeks"], REGIONS["mouth"]]
BANDS_HZ = (0.5, 2.0)  # sway | nods and beats | quick brows, tremor
SURE_S = 20.0  # seconds of usual blinking that a clip has to outweigh: in three seconds nobody's rate shows

# Of real people who talk (medians of the training clips): rms of pitch, yaw, roll, x, y, size and the brows in the three
# bands, spread of the lips' opening in IOD, blinks a minute.
USUAL_SPECTRUM = np.array(
    [[0.0499, 0.0247, 0.0134], [0.0587, 0.0267, 0.0133], [0.0377, 0.0172, 0.0081], [0.0662, 0.0269, 0.0136],
     [0.0352, 0.0184, 0.0104], [0.0121, 0.0056, 0.0033], [0.392, 0.183, 0.110], [0.469, 0.242, 0.159],
     [0.535, 0.285, 0.185], [0.640, 0.371, 0.275], [0.518, 0.321, 0.240], [0.483, 0.313, 0.266]]
)  # fmt: skip
USUAL_OPENING, USUAL_BLINKS = 0.051, 20.0

PRIOR = 25  # frames of usual motion that are taken as made before a film begins
GAINS = (0.3, 2.5)  # of a band, and of the mouth
QUICK_HEAD = 1.3  # most of the head's quickest band: in a tracked clip it is half noise
FARTHEST = 2.5  # spreads that the rest of a channel moves at most


@dataclass(frozen=True)
class Manner:
    """A manner, free of identity.

    sample: (75, 36) float32, a typical stretch of motion in natural units, blinks taken out. spectrum: (12, 3) rms of the
    `MOVING` channels below, between and above `BANDS_HZ`. rest: (26,) mean of the `EXPRESSION` channels. opening: IOD,
    spread of the lips' opening. blinks_per_min. seconds: of film that it was measured in.
    """

    sample: np.ndarray
    spectrum: np.ndarray
    rest: np.ndarray
    opening: float
    blinks_per_min: float
    seconds: float

    @classmethod
    def of(cls, motion: Motion) -> "Manner":
        """Measure a take. Raises ValueError if it is too short to show a manner."""
        if motion.duration_s < LEAST_S:
            raise ValueError(f"The style clip shows {motion.duration_s:.1f} s of a face; at least {LEAST_S} s are wanted.")
        frames = round(motion.duration_s * FRAME_RATE)
        seen = np.concatenate(list(retimed([motion.values], motion.fps, FRAME_RATE, frames)))
        values = without_blinks(seen)
        blinks = find_blinks(seen[:, REGIONS["lids"]].mean(1)) or []
        return cls(
            sample=_typical(values),
            spectrum=np.stack([band.std(0) for band in Bands().split(values[:, MOVING])], 1).astype(np.float32),
            rest=values[:, EXPRESSION].mean(0),
            opening=float(load_space().aperture(values).std()),
            blinks_per_min=(60 * len(blinks) + USUAL_BLINKS * SURE_S) / (len(seen) / FRAME_RATE + SURE_S),
            seconds=motion.duration_s,
        )

    @property
    def tempo_hz(self) -> float:
        """Mean frequency of the head's turning: 0.3 sways, 1 nods along."""
        power = (self.spectrum[:3] ** 2).sum(0)
        return float(power @ (0.25, 1.0, 4.0) / max(power.sum(), 1e-9))

    def facts(self) -> dict[str, float]:
        """What can be said of it in a line: degrees of head, Hz, blinks a minute, opening beside the usual, seconds seen."""
        return {
            "head_deg": round(float(np.degrees(np.sqrt((self.spectrum[:3] ** 2).sum()))), 1),
            "tempo_hz": round(self.tempo_hz, 2),
            "blinks_per_min": round(self.blinks_per_min, 1),
            "mouth": round(self.opening / USUAL_OPENING, 2),
            "seconds": round(self.seconds, 1),
        }

    def dials(self, controls: Controls) -> Controls:
        """A user's controls with the person's blinks and opening of the mouth."""
        opening = float(np.clip(self.opening / USUAL_OPENING, *GAINS))
        return replace(
            controls,
            mouth=_within("mouth", controls.mouth * opening),
            blink=_within("blink", controls.blink * self.blinks_per_min / USUAL_BLINKS),
        )

    def laid_on(self, windows: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Windows of an animator's motion (n, 36) in natural units with the person's sway, nods, brows and rest.

        What is missing is what the person's figures are beyond those of the film so far; it changes from window to window
        without a step, and adds nothing to the lips' opening.
        """
        space = load_space()
        bands, middle = Bands(), space.mean[MOVING]
        count, total, power = PRIOR, np.zeros_like(USUAL_SPECTRUM), PRIOR * USUAL_SPECTRUM**2
        shown = PRIOR * space.mean[EXPRESSION]
        held: np.ndarray | None = None
        for values in windows:
            parts = bands.split(values[:, MOVING] - middle)  # (3, n, 12)
            count, total, power = count + len(values), total + parts.sum(1).T, power + (parts**2).sum(1).T
            shown = shown + values[:, EXPRESSION].sum(0)
            mean = total / count  # (12, 3)
            gains = np.clip(self.spectrum / np.sqrt(power / count - mean**2 + 1e-9), *GAINS)
            gains[:6, 2] = np.minimum(gains[:6, 2], QUICK_HEAD)
            now = np.concatenate([gains.ravel(), self._rest_beyond(shown / count)])
            held = now if held is None else held
            way = held + np.linspace(0, 1, len(values) + 1)[1:, None] * (now - held)  # (n, 36 gains and 36 numbers)
            gain, held = way[:, : gains.size].reshape(-1, *gains.shape), now
            out = values + way[:, gains.size :]
            out[:, MOVING] += np.einsum("btc,tcb->tc", parts - mean.T[:, None], gain - 1)
            yield out.astype(np.float32)

    def _rest_beyond(self, made: np.ndarray) -> np.ndarray:
        """(36,) from the mean expression (26,) of what was made to the person's, nothing along the lips' opening."""
        space = load_space()
        far = (self.rest - made) / space.std[EXPRESSION]
        change = np.zeros((1, CHANNELS), np.float32)
        change[0, EXPRESSION] = FARTHEST * np.tanh(far / FARTHEST) * space.std[EXPRESSION]
        return off_the_lips(change, space)[0]

    def save(self, path: str | Path) -> None:
        """Write a file of about 6 kB, .npz."""
        half: dict[str, Any] = {name: np.asarray(getattr(self, name), np.float16) for name in self.__dataclass_fields__}
        with written_beside(path, (".npz",)) as part, part.open("wb") as file:
            np.savez_compressed(file, **half)

    @classmethod
    def load(cls, path: str | Path) -> "Manner | None":
        """Read what `save` wrote; None for anything else, such as a take."""
        try:
            with np.load(path) as data:
                arrays = {name: data[name].astype(np.float32) for name in cls.__dataclass_fields__}
        except FileNotFoundError:
            raise
        except Exception:  # numpy says that a file is none of ours in many ways
            return None
        fields: dict[str, Any] = {name: array if array.ndim else float(array) for name, array in arrays.items()}
        return cls(**fields)


class Bands:
    """Slow, middling and quick parts of channels, which sum to them; causal, and carried from window to window."""

    def __init__(self) -> None:
        self.held: np.ndarray | None = None  # (2, C) the two low passes as they stand

    def split(self, x: np.ndarray) -> np.ndarray:
        """The next frames (T, C) as (3, T, C)."""
        share = 1 - np.exp(-2 * math.pi * np.array(BANDS_HZ) / FRAME_RATE)[:, None]  # of one-pole low passes
        state = np.stack([x[0], x[0]]) if self.held is None else self.held
        low = np.empty((2, *x.shape))
        for t, row in enumerate(x):
            state = low[:, t] = state + share * (row - state)
        self.held = state
        return np.stack([low[0], low[1] - low[0], x - low[1]])


def _typical(values: np.ndarray) -> np.ndarray:
    """The stretch (SAMPLE, 36) of a take whose means and spreads are nearest to those of the whole."""
    std = load_space().std
    marks = lambda part: np.r_[part.mean(0), part.std(0)] / np.r_[std, std]  # noqa: E731
    whole = marks(values)
    starts = range(0, len(values) - SAMPLE + 1, FRAME_RATE // 2)
    best = min(starts, key=lambda start: float(np.linalg.norm(marks(values[start : start + SAMPLE]) - whole)))
    return values[best : best + SAMPLE]


def _within(name: str, value: float) -> float:
    dial = Controls.dial(name)
    return float(np.clip(value, dial.low, dial.high))
