"""A feeling that lasts from turn to turn, and passes from one speaker to the other.

    moods = follow([("ana", "We won!"), ("ben", "Oh no, I forgot my keys."), ("ana", "They are here.")])

Two numbers say how: inertia, how much of a mood outlives a turn, and contagion, how much of what is heard is taken over.
"""

from collections.abc import Iterable

import numpy as np

from mien.emotion.value import Emotion

INERTIA, CONTAGION = 0.4, 0.2


def carry(
    mood: Emotion, said: Emotion, heard: Emotion, *, inertia: float = INERTIA, contagion: float = CONTAGION
) -> Emotion:
    """The mood of a speaker in a turn: a mean of the mood before, of what is said now and of what was heard before it.

    inertia, contagion: 0 … 1. With both at 0 only the words count; at inertia 1 nothing changes a mood; at contagion 1 a
    speaker feels what the other does. Raises ValueError when a number is out of range.
    """
    for name, value in (("inertia", inertia), ("contagion", contagion)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} {value:g} is out of range: give 0 (none) to 1 (all).")
    before, now, other = (np.array(feeling.weights).mean(0) for feeling in (mood, said, heard))
    row = inertia * before + (1 - inertia) * ((1 - contagion) * now + contagion * other)
    return Emotion((0.0,), (tuple(row.round(3).tolist()),))


def follow(
    turns: Iterable[tuple[str, str | Emotion]], *, inertia: float = INERTIA, contagion: float = CONTAGION
) -> list[Emotion]:
    """The mood of each turn of a dialogue: (speaker, sentence or feeling) pairs, in order."""
    moods: dict[str, Emotion] = {}
    lasting: list[tuple[str, Emotion]] = []
    for speaker, words in turns:
        said = words if isinstance(words, Emotion) else Emotion.from_text(words)
        heard = next((mood for other, mood in reversed(lasting) if other != speaker), said)
        moods[speaker] = carry(moods.get(speaker, said), said, heard, inertia=inertia, contagion=contagion)
        lasting.append((speaker, moods[speaker]))
    return [mood for _, mood in lasting]
