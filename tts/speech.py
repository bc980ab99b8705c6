"""Speech from text: `Narrator` reads sentence by sentence, so that a long text sounds at once and needs no more memory.

    read_text    text -> words: phones, stress, pauses, marks
    score        words of one sentence and feeling -> notes
    plan         notes -> durations, pitch, energy; pace, emphasis and feeling change them here
    draw         acoustic frames, moved by the feeling -> the codec's vocoder -> sound
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mien import checkpoints
from mien.codec.model import Codec, bend, load_codec
from mien.codec.phones import PHONES, Segment
from mien.codec.tokens import Tokens
from mien.codec.vocoder import SAMPLE_RATE, Acoustics, VocoderState
from mien.emotion import Emotion
from mien.media import load_sound, save_sound
from mien.media.sound import Sound
from mien.tts.feeling import DB, Change, change_of, moved
from mien.tts.model import SUB, Notes, Prosody, Synthesiser, SynthesiserConfig
from mien.tts.score import FRAME_RATE, score_of_words
from mien.tts.text import Word, read_text

FIRST_REST = 5  # frames of 10 ms before the first word
EMPHASIS = Change(level=2.5, energy=3.0, pace=0.2)  # of an emphasised word's stressed vowel; the rest of it half
SPEEDS = (0.5, 2.0)
LEAST_VOICE_S = 3.0  # of a recording whose voice is to be taken


@dataclass(frozen=True)
class Speech:
    """What was said.

    samples: (S,) float32 in [-1, 1] at 16 kHz. words: each with the seconds it begins and ends at. phones: the same for
    phones, rests as "sil". tokens: what the codec calls it, T = S / 640 frames.
    """

    samples: np.ndarray
    words: tuple[tuple[str, float, float], ...]
    phones: tuple[Segment, ...]
    tokens: Tokens
    rate: int = SAMPLE_RATE

    @property
    def duration_s(self) -> float:
        """How long it is."""
        return len(self.samples) / self.rate

    def save(self, path: str | Path) -> None:
        """Write the sound: .wav or .flac."""
        save_sound(path, Sound(self.samples[:, None], self.rate))

    def srt(self) -> str:
        """Its sentences as subtitles."""
        return "\n".join(
            f"{n}\n{_clock(a, ',')} --> {_clock(b, ',')}\n{line}\n" for n, (line, a, b) in enumerate(self._lines(), 1)
        )

    def vtt(self) -> str:
        """The same for the web."""
        cues = (f"{_clock(a, '.')} --> {_clock(b, '.')}\n{line}\n" for line, a, b in self._lines())
        return "WEBVTT\n\n" + "\n".join(cues)

    def _lines(self, longest_s: float = 4.0) -> Iterator[tuple[str, float, float]]:
        """Words in lines: a new one after a rest, or when one gets long."""
        line: list[tuple[str, float, float]] = []
        for word in self.words:
            if line and (word[1] - line[-1][2] > 0.15 or word[2] - line[0][1] > longest_s):
                yield " ".join(text for text, _, _ in line), line[0][1], line[-1][2]
                line = []
            line.append(word)
        if line:
            yield " ".join(text for text, _, _ in line), line[0][1], line[-1][2]


def _clock(seconds: float, point: str) -> str:
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}{point}{ms % 1000:03}"


class Narrator:
    """A synthesiser and its voices, ready to read any number of texts."""

    def __init__(self, name_or_path: str = "tts-en"):
        checkpoint = checkpoints.load(name_or_path)
        tensors = {name: tensor.float() for name, tensor in checkpoint.tensors.items()}
        self.voices = {
            name.removeprefix("voices."): tensors.pop(name) for name in sorted(tensors) if name.startswith("voices.")
        }
        self.model = Synthesiser(checkpoint.built(SynthesiserConfig))
        self.model.load_state_dict(tensors)
        self.model.eval()

    @cached_property
    def codec(self) -> Codec:
        """The codec whose tokens are spoken. Raises ValueError where the one that is there is another."""
        return load_codec(self.model.config.codec)

    def voice(self, voice: Any) -> torch.Tensor:
        """Values of G (24,) of a named voice, or of a recording of somebody's speech (with their consent).

        Raises ValueError for an unknown name or a recording of less than 3 s.
        """
        if isinstance(voice, str) and voice in self.voices:
            return self.voices[voice]
        if isinstance(voice, str) and not Path(voice).exists():
            raise ValueError(f"There is no voice '{voice}': give a recording or one of {', '.join(self.voices)}.")
        samples = load_sound(voice).mono(SAMPLE_RATE)
        if len(samples) < LEAST_VOICE_S * SAMPLE_RATE:
            long = len(samples) / SAMPLE_RATE
            raise ValueError(f"The recording of the voice is {long:.1f} s long: give {LEAST_VOICE_S:g} s or more.")
        digits = torch.from_numpy(self.codec.encode(samples, 0).voice[-1].astype(np.int64))
        return self.codec.encoder.voice_quantiser.values(digits)

    def speak(self, text: str, voice: Any = "af_heart", **manner: Any) -> Speech:
        """Read a text; arguments as in `stream`."""
        parts, words, phones, start = list(self.stream(text, voice, **manner)), [], [], 0.0
        for part in parts:
            words += [(word, a + start, b + start) for word, a, b in part.words]
            phones += [replace(p, start_s=p.start_s + start, end_s=p.end_s + start) for p in part.phones]
            start += part.duration_s
        tokens = parts[0].tokens
        joined = {name: np.concatenate([getattr(part.tokens, name) for part in parts]) for name in ("semantic", "tiers")}
        tokens = replace(tokens, **joined, n_samples=sum(part.tokens.n_samples for part in parts))
        return Speech(np.concatenate([part.samples for part in parts]), tuple(words), tuple(phones), tokens)

    def stream(
        self,
        text: str,
        voice: Any = "af_heart",
        emotion: Any = None,
        *,
        intensity: float = 1.0,
        speed: float = 1.0,
        language: str = "en",
        seed: int = 0,
    ) -> Iterator[Speech]:
        """Read a text, sentence by sentence.

        text: with the marks of `read_text`. voice: see `voice`. emotion, intensity: see `Emotion.read`; marks in the text go
        before. speed: 0.5 to 2, 1 is the voice's own. seed: same seed, same sound. Raises ValueError in one sentence.
        """
        if not SPEEDS[0] <= speed <= SPEEDS[1]:
            raise ValueError(f"speed {speed:g} is out of range: give {SPEEDS[0]:g} (slow) to {SPEEDS[1]:g}, 1 is natural.")
        feeling, words, values = Emotion.read(emotion, intensity), read_text(text, language), self.voice(voice)
        generator, state = torch.Generator().manual_seed(seed), self.codec.vocoder.start()
        for _, group in groupby(words, lambda word: (word.sentence, word.emotion)):
            said = list(group)
            weights = np.array((said[0].emotion or feeling).weights).mean(0)
            part, state = self._read(said, values, change_of(weights), speed, generator, state)
            yield part

    @torch.inference_mode()
    def _read(
        self,
        words: Sequence[Word],
        voice: torch.Tensor,
        change: Change,
        speed: float,
        generator: torch.Generator,
        state: VocoderState,
    ) -> tuple[Speech, VocoderState]:
        model, score = self.model, score_of_words(words)
        assert score.words is not None
        phones, stress, marks = (torch.from_numpy(x)[None] for x in (score.phones, score.stress, score.marks))
        notes = Notes(phones, stress, marks, torch.ones(1, len(score), dtype=torch.bool))
        condition = model.steer(voice[None])
        read = model.read(notes, condition)
        plan = model.plan(read, condition, notes.present)
        accent = np.array([w >= 0 and words[w].emphasis for w in score.words]) * np.where(score.stress == 1, 1.0, 0.5)
        plan, durations = _said(plan, score.words, words, torch.from_numpy(accent).float(), change, speed)
        n_frames = int(durations.sum()) // SUB
        laid = model.lay_out(read, plan, durations, n_frames)
        hidden = model.decode(laid, condition, torch.ones(1, n_frames, dtype=torch.bool))
        expected, known = model.sharpen(hidden, laid, condition)
        noise = torch.randn(expected.shape, generator=generator)
        frames = model.draw(expected, known, condition, noise) * model.spread + model.mean
        acoustics = moved(
            Acoustics(1.0 + frames[..., :-2], 5.0 + 0.4 * frames[..., -2], ((frames[..., -1] + 1) / 2).clamp(0, 1)), change
        )
        samples, state = self.codec.vocoder(acoustics, state)
        digits = torch.stack([part[0].argmax(-1) for part in model.logits(hidden)], -1).numpy().astype(np.uint8)
        ends = durations[0].cumsum(0).numpy() / FRAME_RATE
        return self._speech(bend(samples[0]).numpy(), digits, voice, score.phones, score.words, words, ends), state

    def _speech(
        self,
        samples: np.ndarray,
        digits: np.ndarray,
        voice: torch.Tensor,
        phones: np.ndarray,
        owners: np.ndarray,
        words: Sequence[Word],
        ends: np.ndarray,
    ) -> Speech:
        starts = np.r_[0.0, ends[:-1]]
        layout, n = self.model.config.layout, len(self.model.config.layout.semantic)
        levels = np.array(layout.voice)
        voice_digits = np.clip(np.floor((voice.numpy() / 12**0.5 + 0.5) * levels), 0, levels - 1).astype(np.uint8)
        tiers = digits[:, n:].reshape(len(digits), layout.tiers, -1)
        tokens = Tokens(
            digits[:, :n], tiers, voice_digits[None], np.zeros(1, int), len(samples), self.model.config.codec, layout
        )
        said = []
        for number, word in enumerate(words):
            at = np.flatnonzero(owners == number)
            said.append((word.text, float(starts[at[0]]), float(ends[at[-1]])))
        segments = tuple(
            Segment(PHONES[p], float(a), float(b)) for p, a, b in zip(phones.tolist(), starts, ends, strict=True)
        )
        return Speech(samples, tuple(said), segments, tokens)


def _said(
    plan: Prosody, owners: np.ndarray, words: Sequence[Word], accent: torch.Tensor, change: Change, speed: float
) -> tuple[Prosody, torch.Tensor]:
    """The plan as it is to be said, and durations (1, N) in whole frames of 10 ms, their sum whole frames of 25 Hz."""
    rests = torch.from_numpy(owners < 0)
    length = plan.durations.expm1().clamp(min=2.0) / speed
    length = length * torch.where(rests, change.pause, change.pace).exp() * (EMPHASIS.pace * accent).exp()
    length[0, 0] = FIRST_REST
    for note in np.flatnonzero(owners < 0)[1:].tolist():
        length[0, note] += FRAME_RATE * words[int(owners[note - 1])].rest_s
    ends = length.cumsum(1).round()
    ends[0, -1] = SUB * torch.ceil(ends[0, -1] / SUB)
    pitch = plan.pitch + accent * EMPHASIS.level * np.log(2) / 12 / 0.4
    energy = plan.energy + accent * EMPHASIS.energy / DB
    return Prosody(plan.durations, pitch, energy), ends.diff(dim=1, prepend=torch.zeros(1, 1)).long()
