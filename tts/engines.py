"""What can speak: one small interface to our own synthesiser and to others.

engine = load_engine("mien")                        # or "kokoro", with its files
said = engine.say(words, engine.voices["clara"])    # when every phone sounds is known at once, the sound comes in pieces
for samples, tokens in said.pieces: ...
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mien.codec.model import Codec
from mien.codec.phones import Segment
from mien.codec.tokens import Tokens
from mien.tts.feeling import Change
from mien.tts.text import Word

NATURAL = Change()


@dataclass(frozen=True)
class Utterance:
    """Words as they are being said.

    phones: from 0 to the end without a gap, rests as "sil". owners: beside them, the number of the word each is of, -1 a
    rest. pieces: sound (S,) float32 in [-1, 1] at the engine's rate, a whole number of frames of 40 ms, and its tokens.
    """

    phones: tuple[Segment, ...]
    owners: tuple[int, ...]
    pieces: Iterator[tuple[np.ndarray, Tokens]]


class Engine(Protocol):
    """Whoever says words. rate: Hz of its sound. voices: what it knows by name. codec: the one whose tokens it gives."""

    rate: int
    voices: Mapping[str, Any]

    @property
    def codec(self) -> Codec: ...

    def listen(self, samples: np.ndarray) -> Any:
        """The voice of a recording, 16 kHz mono (S,). Raises ValueError where it cannot be taken over."""
        ...

    def say(
        self, words: Sequence[Word], voice: Any, change: Change = NATURAL, speed: float = 1.0, seed: int = 0
    ) -> Utterance:
        """Say the words of a sentence or of a part of one. voice: a value of `voices` or of `listen`. change: what a
        feeling does to it. speed: factor, 1 is the voice's own. The same seed gives the same sound."""
        ...


def _mien(model: str | Path | None) -> Engine:
    from mien.tts.synthesis import Synthesis

    return Synthesis("tts-en" if model is None else model)


def _kokoro(model: str | Path | None) -> Engine:
    from mien.tts.kokoro import Kokoro

    return Kokoro(model)


ENGINES: dict[str, Callable[[str | Path | None], Engine]] = {"mien": _mien, "kokoro": _kokoro}


def load_engine(name: str = "mien", model: str | Path | None = None) -> Engine:
    """An engine by its name.

    model: of mien, a checkpoint's name or path (`tts-en` if None); of kokoro, the folder of its files (what the variable
    MIEN_KOKORO names if None). Raises ValueError for another name, and what the engine raises for what it lacks.
    """
    if name not in ENGINES:
        raise ValueError(f"Unknown engine '{name}': choose {' or '.join(ENGINES)}.")
    return ENGINES[name](model)
