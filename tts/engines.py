"""What can speak: one small interface to our own synthesiser and to others.

engine = load_engine("mien")                        # or "kokoro", with its files
said = engine.say(words, engine.voices["clara"])    # when every phone sounds is known at once, the sound comes in pieces
for samples, tokens in said.pieces: ...
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mien import checkpoints
from mien.codec.model import Codec, load_codec
from mien.codec.phones import Segment
from mien.codec.tokens import Tokens
from mien.tts.feeling import Change
from mien.tts.text import Word

NATURAL = Change()
kept_codec = lru_cache(1)(load_codec)  # a codec that is loaded when it is first needed


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

    @property
    def rate(self) -> int: ...
    @property
    def voices(self) -> Mapping[str, Any]: ...
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


def load_engine(name_or_path: str | Path = "mien") -> Engine:
    """An engine by its name.

    name_or_path: "mien", a synthesiser's checkpoint (name or file), "kokoro" (its folder is named by the variable
    MIEN_KOKORO) or the folder of kokoro's files. Raises ValueError for anything else, and what the engine raises for what
    it lacks.
    """
    from mien.tts.kokoro import Kokoro
    from mien.tts.synthesis import Synthesis

    if name_or_path == "mien":
        return Synthesis()
    if name_or_path == "kokoro":
        return Kokoro()
    if Path(name_or_path).is_dir():
        return Kokoro(name_or_path)
    if Path(name_or_path).is_file() or name_or_path in {entry.name for entry in checkpoints.index()}:
        return Synthesis(name_or_path)
    raise ValueError(
        f"Unknown engine '{name_or_path}': choose mien, kokoro, a synthesiser's file or the folder of kokoro's files."
    )
