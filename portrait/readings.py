"""What another network reads in portraits' faces: every feeling at three strengths, mixtures, and what they cost.

One voice is spoken along calmly and with every feeling, with the same seed; a few frames of each take are drawn on every
portrait, blinks left out, and judged by `ExpressionJudge`. Lips are judged by the sync expert, on the takes' own landmarks.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mien.media import Sound
from mien.portrait.evaluation import INTENSITIES, Stage
from mien.portrait.expression import SEEN, ExpressionJudge
from mien.portrait.likeness import Likeness, can_identify
from mien.portrait.motion import REGIONS, Motion, load_space
from mien.portrait.sync import load_expert
from mien.portrait.tracking import Tracker

MIXTURES = (("happy", "surprised"), ("sad", "angry"), ("fearful", "surprised"))
DRAWN = 4  # frames of a take that are drawn
LARGE = 100.0  # pixels between the eyes: landmarks are given to the sync expert as a film's would be
SLACK = 0.02  # odds by which a mean over portraits may fall from one strength to the next, or a mixture lie outside


def takes(stage: Stage, sound: Sound, seed: int = 0) -> dict[str, Motion]:
    """A voice in every feeling: "neutral", "happy 0.33" …, "happy+surprised" to motion."""
    asked: dict[str, tuple[str, float]] = {"neutral": ("neutral", 1.0)}
    asked |= {f"{name} {strength:g}": (name, strength) for name in SEEN[1:] for strength in INTENSITIES}
    asked |= {f"{a}+{b}": (f"{a}:0.5+{b}:0.5", 1.0) for a, b in MIXTURES}
    return {
        key: stage.speak_along(sound, feeling, intensity=strength, seed=seed).motion
        for key, (feeling, strength) in asked.items()
    }


def readings(
    stages: Sequence[Stage],
    sound: Sound,
    judge: ExpressionJudge,
    tracker: Tracker,
    *,
    seed: int = 0,
    samples: int = DRAWN,
) -> dict[str, Any]:
    """Judge the feelings of some portraits that speak along one voice.

    tracker: finds the faces in what is drawn. samples: frames drawn of each take.

    Returns, by take, "odds" (portraits, 7) of `SEEN` and "identity" (portraits,) the cosine to the picture (where the
    extra `eval` is installed), and "sync", the lips' confidence; see `summary`.
    """
    motions = takes(stages[0], sound, seed)
    space, expert = load_space(), load_expert()
    lids = np.min([motion.values[:, REGIONS["lids"]].min(1) for motion in motions.values()], axis=0)
    awake = np.flatnonzero(lids >= np.percentile(lids, 50))
    chosen = awake[np.linspace(0, len(awake) - 1, min(samples, len(awake))).round().astype(int)]
    found: dict[str, Any] = {"odds": {key: [] for key in motions}, "identity": {}, "sync": {}}
    for key, motion in motions.items():
        points = LARGE * space.landmarks(motion.values, space.template)
        found["sync"][key] = expert.judge(points, sound.mono(16000)).confidence
    for stage in stages:
        source = Likeness(stage.portrait.image, stage.face.landmarks)
        for key, motion in motions.items():
            shown = Motion(motion.values[chosen], motion.fps)
            frames = [stage.portrait.render(shape) for shape in shown.shapes(space)]
            places = [(tracker.detect(frame) or [stage.face])[0].landmarks for frame in frames]
            logits = np.mean([judge.logits(*seen) for seen in zip(frames, places, strict=True)], axis=0)
            raised = np.exp(logits - logits.max())
            found["odds"][key].append((raised / raised.sum()).round(4).tolist())
            if can_identify() and (key == "neutral" or key.endswith(" 1")):
                cosines = [source.compare(*seen)["identity"] for seen in zip(frames, places, strict=True)]
                found["identity"].setdefault(key, []).append(float(np.median(cosines)))
    return found


def summary(found: dict[str, Any]) -> dict[str, Any]:
    """What `readings` found, over portraits.

    right: share of portraits in which each of `SEEN` is read as itself at full strength. odds: mean odds of a feeling in
    calm and at `INTENSITIES`. grows: whether these never fall. between: whether, in a mixture, the odds of both parts lie
    between those of the one and of the other alone. identity: median cosine by feeling. sync: confidence over calm.
    """
    odds = {key: np.array(rows) for key, rows in found["odds"].items()}
    full = {name: odds["neutral" if name == "neutral" else f"{name} 1"] for name in SEEN}
    right = {name: float((rows.argmax(1) == SEEN.index(name)).mean()) for name, rows in full.items()}
    means = {
        name: [odds[key][:, k].mean().item() for key in ("neutral", *(f"{name} {s:g}" for s in INTENSITIES))]
        for k, name in enumerate(SEEN)
        if k
    }
    calm = found["sync"]["neutral"]
    return {
        "right": right,
        "right_of_all": float(np.mean(list(right.values()))),
        "confusion": {n: np.bincount(rows.argmax(1), minlength=len(SEEN)).tolist() for n, rows in full.items()},
        "odds": means,
        "grows": {name: bool((np.diff(row) > -SLACK).all()) for name, row in means.items()},
        "between": {f"{a}+{b}": _between(odds, a, b) for a, b in MIXTURES},
        "identity": {key.removesuffix(" 1"): float(np.median(row)) for key, row in found["identity"].items()},
        "sync": {name: found["sync"][f"{name} 1"] / calm for name in SEEN[1:]},
    }


def _between(odds: dict[str, np.ndarray], a: str, b: str) -> bool:
    for name in (a, b):
        mixed, *ends = (odds[key][:, SEEN.index(name)].mean() for key in (f"{a}+{b}", f"{a} 1", f"{b} 1"))
        if not min(ends) - SLACK <= mixed <= max(ends) + SLACK:
            return False
    return True


def table(sums: dict[str, Any]) -> str:
    """A summary for reading."""
    lines = [f"{'':10}  right  odds by strength         identity  sync"]
    for name in SEEN:
        row = f"{name:10}  {sums['right'][name]:5.0%}  "
        row += " ".join(f"{value:.2f}" for value in sums["odds"].get(name, [])).ljust(24)
        row += f"  {sums['identity'][name]:.3f}" if name in sums["identity"] else "       "
        lines.append(row + (f"   {sums['sync'][name]:.2f}" if name in sums["sync"] else ""))
    lines.append(f"{'all':10}  {sums['right_of_all']:5.0%}   grow: {', '.join(n for n, g in sums['grows'].items() if g)}")
    return "\n".join(
        [*lines, *(f"{name}: {'between' if ok else 'NOT between'} its parts" for name, ok in sums["between"].items())]
    )
