"""Manners against feelings, one voice: whether each person stays themselves in every feeling, and each feeling shows in all.

A manner is measured in the first half of a clip. Who a made take is like is judged by the second halves, which the
animator never saw, and by the motion reader, which did not train it; so is what it shows.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mien.emotion import CATEGORIES
from mien.emotion.motion import read_motion
from mien.media import Sound, sheet
from mien.portrait.evaluation import Stage, close_up
from mien.portrait.expression import SEEN, ExpressionJudge
from mien.portrait.manner import EXPRESSION, LEAST_S, USUAL_SPECTRUM, Manner
from mien.portrait.motion import REGIONS, Motion, load_space
from mien.portrait.tracking import Tracker

LOOKS = 6  # frames of a take that are drawn for a judge of pictures
FEELINGS = ("neutral", "happy", "sad", "angry", "surprised")


def halves(motion: Motion) -> tuple[Motion, Motion]:
    """A clip's two halves. Raises ValueError if one would be too short to show a manner."""
    if motion.duration_s < 2 * LEAST_S:
        raise ValueError(f"A clip of {motion.duration_s:.1f} s is too short to be halved: give at least {2 * LEAST_S} s.")
    return motion[: len(motion) // 2], motion[len(motion) // 2 :]


def swap(
    stage: Stage,
    sound: Sound,
    clips: dict[str, Motion],
    feelings: Sequence[str] = FEELINGS,
    *,
    seed: int = 0,
    width: int = 192,
    judge: tuple[ExpressionJudge, Tracker] | None = None,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Every manner with every feeling, the same voice and seed.

    clips: by the names of people. feelings: of `CATEGORIES`. width: of one picture on the sheet. Returns the sheet, a row a
    person, a column a feeling; and figures: `style` and `style_by_numbers`, shares of takes that are most like their own
    person's other half, by the motion reader and by nearness of what `Manner` measures; the same of the `real` first
    halves; `emotion`, share of takes whose feeling the motion reader tells; `emotion_drawn`, the same by a judge of
    pictures and a tracker to find the face, if they are given; and all takes one by one.
    """
    if unknown := set(feelings) - set(CATEGORIES):
        raise ValueError(f"Unknown category '{unknown.pop()}': choose of {', '.join(CATEGORIES)}.")
    names, parts = list(clips), {name: halves(motion) for name, motion in clips.items()}
    known = {name: (read_motion(late.values, late.fps), Manner.of(late)) for name, (_, late) in parts.items()}
    manners = {name: Manner.of(early) for name, (early, _) in parts.items()}
    styles = np.stack([known[name][0].style for name in names])
    marks = np.stack([_marks(known[name][1]) for name in names])
    takes, pictures = [], []
    for name in names:
        for feeling in feelings:
            show = stage.speak_along(sound, feeling, style=manners[name], seed=seed)
            motion = show.motion
            seen, made = read_motion(motion.values, motion.fps), Manner.of(motion)
            odds = seen.probabilities.mean(0)
            takes.append(
                {
                    "person": name,
                    "emotion": feeling,
                    "style_seen": names[int((styles @ seen.style).argmax())],
                    "style_by_numbers": names[int(np.linalg.norm(marks - _marks(made), axis=1).argmin())],
                    "emotion_seen": CATEGORIES[int(odds.argmax())],
                    "odds": dict(zip(CATEGORIES, odds.round(3).tolist(), strict=True)),
                }
            )
            frames = [_drawn(stage, motion, number) for number in _awake(motion, LOOKS if judge else 1)]
            pictures.append(close_up(frames[len(frames) // 2], stage.face))
            if judge is not None:
                takes[-1]["emotion_drawn"] = _seen_in(frames, *judge)
    real = [_marks(manners[name]) for name in names]
    early = np.stack([read_motion(parts[name][0].values, parts[name][0].fps).style for name in names])
    figures = {
        "style": _share(take["style_seen"] == take["person"] for take in takes),
        "style_by_numbers": _share(take["style_by_numbers"] == take["person"] for take in takes),
        "style_chance": 1 / len(names),
        "emotion": _share(take["emotion_seen"] == take["emotion"] for take in takes),
        "emotion_by_feeling": {
            feeling: _share(take["emotion_seen"] == feeling for take in takes if take["emotion"] == feeling)
            for feeling in feelings
        },
        "real_style": _share((early @ styles.T).argmax(1) == np.arange(len(names))),
        "real_style_by_numbers": _share(
            np.linalg.norm(marks - row, axis=1).argmin() == place for place, row in enumerate(real)
        ),
        "takes": takes,
    }
    if judge is not None:
        figures["emotion_drawn"] = _share(take["emotion_drawn"] == take["emotion"] for take in takes)
    labels = [f"{take['person']}, {take['emotion']}" for take in takes]
    return sheet(pictures, len(feelings), width, labels), figures


def _marks(manner: Manner) -> np.ndarray:
    """What `Manner` measures of a face in motion, as a vector in which people lie about as far apart in every part."""
    space = load_space()
    spectrum = np.log(manner.spectrum / USUAL_SPECTRUM + 1e-3).ravel() / 0.8
    rest = (manner.rest - space.mean[EXPRESSION]) / space.std[EXPRESSION]
    return np.r_[spectrum / np.sqrt(spectrum.size), rest / np.sqrt(rest.size), np.log(manner.opening) / 0.35]


def _awake(motion: Motion, count: int) -> list[int]:
    """Frames of a take, evenly chosen among those whose eyes are open."""
    lids = motion.values[:, REGIONS["lids"]].min(1)
    awake = np.flatnonzero(lids >= np.percentile(lids, 50))
    return awake[np.linspace(0, len(awake) - 1, count + 2).round().astype(int)[1:-1]].tolist()


def _drawn(stage: Stage, motion: Motion, number: int) -> np.ndarray:
    return stage.portrait.render(next(motion[number : number + 1].shapes()))


def _seen_in(frames: list[np.ndarray], judge: ExpressionJudge, tracker: Tracker) -> str | None:
    """The feeling that a judge of pictures sees in frames; None where no face is found."""
    found = [(frame, tracker.detect(frame)) for frame in frames]
    logits = [judge.logits(frame, faces[0].landmarks) for frame, faces in found if faces]
    return SEEN[int(np.mean(logits, axis=0).argmax())] if logits else None


def _share(flags: Any) -> float:
    return round(float(np.mean(list(flags))), 3)
