"""Our own engine: the synthesiser's plan of a sentence, then its sound piece by piece, so that it begins at once.

    notes -> durations, pitch, energy of the whole sentence; pace, emphasis and feeling change them here
    -> hidden frames and tokens of the whole sentence
    -> acoustic frames of a piece, coloured by the feeling -> the codec's vocoder -> its sound

A piece is drawn with as many frames on either side as its convolutions reach, from the sentence's one noise: cut or whole,
the sound is the same.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mien import checkpoints
from mien.codec.model import Codec, bend
from mien.codec.phones import PHONES, SILENCE, Segment
from mien.codec.tokens import Tokens
from mien.codec.vocoder import SAMPLE_RATE, Acoustics
from mien.tts.engines import NATURAL, Utterance, kept_codec
from mien.tts.feeling import DB, Change, coloured, planned
from mien.tts.model import SUB, Notes, Prosody, Synthesiser, SynthesiserConfig
from mien.tts.score import FRAME_RATE, Score, score_of_words
from mien.tts.text import Word
from mien.tts.voices import named

FIRST_REST = 5  # frames of 10 ms, at least, that are left of the rest before the first word
EMPHASIS = Change(level=2.5, energy=3.0, pace=0.2)  # of an emphasised word's stressed vowel; the rest of it half
FIRST_PIECE, GROWTH = 12, 4  # frames of 40 ms; each piece is so many times as long as the one before
STEPS = 4  # of the flow


class Synthesis:
    """The synthesiser of a checkpoint, its codec and its voices; see `engines.Engine`."""

    rate = SAMPLE_RATE

    def __init__(self, name_or_path: str | Path = "tts-en"):
        checkpoint = checkpoints.load(name_or_path)
        tensors = {name: tensor.float() for name, tensor in checkpoint.tensors.items()}
        stored = {name.removeprefix("voices."): tensors.pop(name) for name in sorted(tensors) if name.startswith("voices.")}
        self.voices: dict[str, Tensor] = named(stored)
        self.model = Synthesiser(checkpoint.built(SynthesiserConfig))
        self.model.load_state_dict(tensors)
        self.model.eval()

    @property
    def codec(self) -> Codec:
        """The codec whose tokens are spoken. Raises ValueError where the one that is there is another."""
        return kept_codec(self.model.config.codec)

    def listen(self, samples: np.ndarray) -> Tensor:
        """Values of G (24,) of a recording, 16 kHz mono."""
        digits = torch.from_numpy(self.codec.encode(samples, 0).voice[-1].astype(np.int64))
        return self.codec.encoder.voice_quantiser.values(digits)

    @torch.inference_mode()
    def say(
        self, words: Sequence[Word], voice: Tensor, change: Change = NATURAL, speed: float = 1.0, seed: int = 0
    ) -> Utterance:
        """See `engines.Engine.say`."""
        model, score = self.model, score_of_words(words)
        phones, stress, marks = (torch.from_numpy(x)[None] for x in (score.phones, score.stress, score.marks))
        notes = Notes(phones, stress, marks, torch.ones(1, len(score), dtype=torch.bool))
        condition = model.steer(voice[None])
        read = model.read(notes, condition)
        plan, durations = _as_said(model.plan(read, condition, notes.present), score, words, change, speed)
        n_frames = int(durations.sum()) // SUB
        laid = model.lay_out(read, plan, durations, n_frames)
        hidden = model.decode(laid, condition, torch.ones(1, n_frames, dtype=torch.bool))
        digits = torch.stack([part[0].argmax(-1) for part in model.logits(hidden)], -1).numpy().astype(np.uint8)
        # The first rest is planned as long as it was learned, or else its end is spoken; most of it is not made to sound.
        begin = max(int(durations[0, 0]) - FIRST_REST, 0) // SUB
        ends = ((durations[0].cumsum(0).numpy() - SUB * begin) / FRAME_RATE).tolist()
        segments = [Segment(PHONES[p], a, b) for p, a, b in zip(score.phones.tolist(), [0.0, *ends], ends, strict=False)]
        assert score.words is not None
        pieces = self._pieces(hidden, laid, condition, digits, begin, voice, change, seed)
        return Utterance(tuple(segments), tuple(score.words.tolist()), pieces)

    @torch.inference_mode()
    def _pieces(
        self,
        hidden: Tensor,
        laid: Tensor,
        condition: Tensor,
        digits: np.ndarray,
        begin: int,
        voice: Tensor,
        change: Change,
        seed: int,
    ) -> Iterator[tuple[np.ndarray, Tokens]]:
        """Sound and tokens of hidden frames (1, T, D) from `begin` on, in pieces."""
        model, n_frames, size = self.model, hidden.shape[1], FIRST_PIECE
        reach = -(-model.reach(STEPS) // SUB)
        width = model.config.n_mels + 2
        noise = torch.randn(1, SUB * n_frames, width, generator=torch.Generator().manual_seed(seed))
        state = self.codec.vocoder.start()
        while begin < n_frames:
            end = n_frames if n_frames - begin <= 2 * size else begin + size
            a, b = max(begin - reach, 0), min(end + reach, n_frames)
            expected, known = model.sharpen(hidden[:, a:b], laid[:, SUB * a : SUB * b], condition)
            frames = model.draw(expected, known, condition, noise[:, SUB * a : SUB * b], STEPS)
            frames = (frames * model.spread + model.mean)[:, SUB * (begin - a) : SUB * (end - a)]
            envelope, pitch, voicing = 1.0 + frames[..., :-2], 5.0 + 0.4 * frames[..., -2], (frames[..., -1] + 1) / 2
            samples, state = self.codec.vocoder(Acoustics(coloured(envelope, change), pitch, voicing.clamp(0, 1)), state)
            sound = bend(samples[0]).numpy()
            yield sound, self._tokens(digits[begin:end], voice, len(sound))
            begin, size = end, GROWTH * size

    def _tokens(self, digits: np.ndarray, voice: Tensor, n_samples: int) -> Tokens:
        layout, model = self.model.config.layout, self.model.config.codec
        levels, n = np.array(layout.voice), len(layout.semantic)
        voice_digits = np.clip(np.floor((voice.numpy() / 12**0.5 + 0.5) * levels), 0, levels - 1).astype(np.uint8)
        tiers = digits[:, n:].reshape(len(digits), layout.tiers, -1)
        return Tokens(digits[:, :n], tiers, voice_digits[None], np.zeros(1, int), n_samples, model, layout)


def _as_said(plan: Prosody, score: Score, words: Sequence[Word], change: Change, speed: float) -> tuple[Prosody, Tensor]:
    """The plan as it is to be said, and durations (1, N) in whole frames of 10 ms, their sum whole frames of 25 Hz."""
    assert score.words is not None
    loud = [w >= 0 and words[w].emphasis for w in score.words]
    accent = torch.from_numpy(loud * np.where(score.stress == 1, 1.0, 0.5)).float()
    rests = torch.from_numpy(score.words < 0)
    natural = plan.durations.expm1().clamp(min=2.0)
    length = natural / speed * torch.where(rests, change.pause, change.pace).exp() * (EMPHASIS.pace * accent).exp()
    length[0, 0] = natural[0, 0]
    for note in np.flatnonzero(score.words < 0)[1:].tolist():
        length[0, note] += FRAME_RATE * words[int(score.words[note - 1])].rest_s
    ends = length.cumsum(1).round()
    ends[0, -1] = SUB * torch.ceil(ends[0, -1] / SUB)
    sounds = ends.diff(dim=1, prepend=torch.zeros(1, 1)) * (torch.from_numpy(score.phones) != SILENCE)
    pitch = (planned(5.0 + 0.4 * plan.pitch, sounds, change) - 5.0) / 0.4 + accent * EMPHASIS.level * np.log(2) / 12 / 0.4
    energy = plan.energy + accent * EMPHASIS.energy / DB
    return Prosody(plan.durations, pitch, energy), ends.diff(dim=1, prepend=torch.zeros(1, 1)).long()
