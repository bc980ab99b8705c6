"""Speech from text: `Narrator` reads a text sentence by sentence, so that it sounds at once and needs no more memory.

read_text    text -> words: phones, stress, pauses, marks
breaths      words -> sentences, and parts of long ones; each has one feeling
engine       a part, a voice and a feeling -> the times of its phones, and its sound in pieces
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from mien.codec.model import Codec
from mien.codec.phones import Segment
from mien.codec.tokens import Tokens
from mien.codec.vocoder import SAMPLE_RATE
from mien.emotion import Emotion
from mien.media import load_sound, save_sound
from mien.media.sound import Sound, written_in_blocks
from mien.tts import subtitles
from mien.tts.engines import Engine, Utterance, load_engine
from mien.tts.feeling import change_of
from mien.tts.text import Word, read_text
from mien.tts.voices import DEFAULT, no_voice

SPEEDS = (0.5, 2.0)
LEAST_VOICE_S = 3.0  # of a recording whose voice is to be taken
BREATH, LEAST_BREATH = 32, 8  # words that are said in one breath, at most and, where one may choose, at least
STRENGTH = ",;:—….?!"  # of pauses, from weak to strong
AUTO = "auto"
TICK_S = 0.001
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Speech:
    """What was said.

    samples: (S,) float32 in [-1, 1] at `rate` Hz. words: each with the seconds it begins and ends at. written: beside
    them, what the text has for it, see `subtitles.as_written`. phones: their times, rests as "sil". tokens: what the codec
    calls it, a frame every 40 ms. emotion: what is felt along it.
    Of a piece of a stream, words and phones are those that begin in it: the last may end in the next.
    """

    samples: np.ndarray
    words: tuple[tuple[str, float, float], ...]
    written: tuple[str, ...]
    phones: tuple[Segment, ...]
    tokens: Tokens
    emotion: Emotion
    rate: int = SAMPLE_RATE

    @property
    def duration_s(self) -> float:
        """How long it is."""
        return self.tokens.n_samples / SAMPLE_RATE

    @property
    def sound(self) -> Sound:
        """Its sound, as other rooms take it."""
        return Sound(self.samples[:, None], self.rate)

    def save(self, path: str | Path) -> Path:
        """Write it by the path's ending: .wav, .flac, .ogg or .mp3; .srt or .vtt, its sentences as subtitles."""
        path = Path(path)
        if path.suffix.lower() in subtitles.WRITES:
            subtitles.save(path, self.words, self.written)
        else:
            save_sound(path, self.sound)
        return path

    def facts(self) -> dict[str, Any]:
        """What JSON can hold of it: length, words and phones with their times in seconds, emotion."""
        words = [{"word": word, "start_s": round(a, 3), "end_s": round(b, 3)} for word, a, b in self.words]
        phones = [{"phone": p.phone, "start_s": round(p.start_s, 3), "end_s": round(p.end_s, 3)} for p in self.phones]
        return {"duration_s": self.duration_s, "emotion": str(self.emotion), "words": words, "phones": phones}


def joined(parts: Sequence[Speech]) -> Speech:
    """Pieces that follow one another as one."""
    words: list[tuple[str, float, float]] = []
    phones: list[Segment] = []
    feelings: list[tuple[float, tuple[float, ...]]] = []
    start = 0.0
    for part in parts:
        words += [(word, a + start, b + start) for word, a, b in part.words]
        phones += [replace(p, start_s=p.start_s + start, end_s=p.end_s + start) for p in part.phones]
        for at, weights in zip(part.emotion.times_s, part.emotion.weights, strict=True):
            if not feelings or feelings[-1][1] != weights:
                feelings.append((at + start, weights))
        start += part.duration_s
    tokens = {name: np.concatenate([getattr(part.tokens, name) for part in parts]) for name in ("semantic", "tiers")}
    return Speech(
        np.concatenate([part.samples for part in parts]),
        tuple(words),
        tuple(text for part in parts for text in part.written),
        tuple(phones),
        replace(parts[0].tokens, **tokens, n_samples=sum(part.tokens.n_samples for part in parts)),
        Emotion(tuple(at for at, _ in feelings), tuple(weights for _, weights in feelings)),
        parts[0].rate,
    )


class Narrator:
    """An engine and its voices, ready to read any number of texts. engine: itself, or what `load_engine` takes."""

    def __init__(self, engine: Engine | str | Path = "mien"):
        self.engine = load_engine(engine) if isinstance(engine, str | Path) else engine
        read_text("ready")  # opens the dictionary: better now than before the first word

    @property
    def voices(self) -> tuple[str, ...]:
        """The names that `voice` knows."""
        return tuple(self.engine.voices)

    @property
    def codec(self) -> Codec:
        """The codec whose tokens are spoken."""
        return self.engine.codec

    def voice(self, voice: Any) -> Any:
        """A voice by its name, or from a recording of somebody's speech (with their consent), as the engine knows it.

        Raises ValueError for an unknown name or a recording of less than 3 s.
        """
        if isinstance(voice, str) and voice.lower() in self.engine.voices:
            return self.engine.voices[voice.lower()]
        if isinstance(voice, str | Path) and not Path(voice).exists():
            raise no_voice(str(voice), self.engine.voices)
        samples = load_sound(voice).mono(SAMPLE_RATE)
        if len(samples) < LEAST_VOICE_S * SAMPLE_RATE:
            long = len(samples) / SAMPLE_RATE
            raise ValueError(f"The recording of the voice is {long:.1f} s long: give {LEAST_VOICE_S:g} s or more.")
        return self.engine.listen(samples)

    def speak(self, text: str, voice: Any = DEFAULT, emotion: Any = None, **manner: Any) -> Speech:
        """Read a text; arguments as in `stream`."""
        return joined(list(self.stream(text, voice, emotion, **manner)))

    def write(self, path: str | Path, text: str, voice: Any = DEFAULT, emotion: Any = None, **manner: Any) -> Speech:
        """Read a text into a sound file as it is said, in memory that does not grow with the sound; arguments as in
        `stream`. The file is there when it is whole. Returns the speech without its samples."""
        parts: list[Speech] = []

        def said() -> Iterator[np.ndarray]:
            for part in self.stream(text, voice, emotion, **manner):
                parts.append(replace(part, samples=np.zeros(0, np.float32)))
                yield part.samples[:, None]

        written_in_blocks(path, said(), self.engine.rate)
        return joined(parts)

    def stream(
        self,
        text: str,
        voice: Any = DEFAULT,
        emotion: Any = None,
        *,
        intensity: float = 1.0,
        speed: float = 1.0,
        language: str = "en",
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Iterator[Speech]:
        """Read a text in pieces: the first half a second long, later ones longer, none longer than a sentence.

        text: with the marks of `read_text`. voice: see `voice`. emotion, intensity: see `Emotion.read`; marks in the text go
        before, and "auto" takes from each sentence what it expresses. speed: 0.5 to 2, 1 is the voice's own. seed: same
        seed, same sound. progress: called with (words said, words in all). Raises ValueError in one sentence.
        """
        if not SPEEDS[0] <= speed <= SPEEDS[1]:
            raise ValueError(f"speed {speed:g} is out of range: give {SPEEDS[0]:g} (slow) to {SPEEDS[1]:g}, 1 is natural.")
        feeling = None if emotion == AUTO else Emotion.read(emotion, intensity)
        Emotion.read(None, intensity)  # refused before anything is said
        words, chosen = read_text(text, language), self.voice(voice)
        written, done, time_s = subtitles.as_written(text, words), 0, 0.0
        for part in breaths(words):
            felt = part[0].emotion or feeling or Emotion.from_text(" ".join(w.text for w in part)).scaled(intensity)
            weights = felt.frames(1 + round(25 * time_s))[-1]
            said = self.engine.say(part, chosen, change_of(weights), speed, seed + done)
            texts = written[done : done + len(part)]
            emotion_here = Emotion((0.0,), (tuple(weights.tolist()),))
            for piece in _pieces(said, part, texts, emotion_here, self.engine.rate):
                time_s += piece.duration_s
                yield piece
            done += len(part)
            if progress is not None:
                progress(done, len(words))


@lru_cache(2)
def load_narrator(engine: str | Path = "mien") -> Narrator:
    """A narrator by its engine, see `load_engine`; loaded once, kept for the next text."""
    return Narrator(engine)


def breaths(words: Sequence[Word]) -> Iterator[Sequence[Word]]:
    """Sentences, parts of them that feel otherwise, and long ones cut where they pause: what is planned as one."""
    for _, group in groupby(words, lambda word: (word.sentence, word.emotion)):
        rest = list(group)
        while len(rest) > BREATH:
            ends = range(LEAST_BREATH, BREATH + 1)
            end = max(ends, key=lambda n: (STRENGTH.find(rest[n - 1].pause or " "), n))
            yield rest[:end]
            rest = rest[end:]
        yield rest


def _pieces(said: Utterance, words: Sequence[Word], written: Sequence[str], emotion: Emotion, rate: int) -> Iterator[Speech]:
    """An utterance as pieces of speech: each has the words and phones that begin in it."""
    spans: dict[int, tuple[float, float]] = {}
    for phone, owner in zip(said.phones, said.owners, strict=True):
        if owner >= 0:
            spans[owner] = (spans.get(owner, (phone.start_s, 0.0))[0], phone.end_s)
    begin = -TICK_S / 2  # phones begin at ticks, pieces as well: half a tick before there is no doubt which comes first
    for samples, tokens in said.pieces:
        end, start = begin + tokens.n_samples / SAMPLE_RATE, begin + TICK_S / 2
        here = [n for n, (a, _) in spans.items() if begin <= a < end]
        phones = [p for p in said.phones if begin <= p.start_s < end]
        yield Speech(
            samples,
            tuple((words[n].text, spans[n][0] - start, spans[n][1] - start) for n in here),
            tuple(written[n] for n in here),
            tuple(replace(p, start_s=p.start_s - start, end_s=p.end_s - start) for p in phones),
            tokens,
            emotion,
            rate,
        )
        begin = end
