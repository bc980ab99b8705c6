"""Speech from text, with a synthesiser that has learned nothing: times, rests, pace, feeling and what a user gets wrong."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from mien import checkpoints
from mien.codec.model import load_codec
from mien.codec.vocoder import Acoustics
from mien.emotion import CATEGORIES
from mien.tts.feeling import FEELINGS, change_of, moved
from mien.tts.model import Synthesiser, SynthesiserConfig
from mien.tts.speech import Narrator

SMALL = {
    "width": 16, "heads": 2, "note_blocks": 1, "frame_blocks": 1, "fine_width": 16, "fine_blocks": 1, "flow_blocks": 1,
    "condition": 8,
}  # fmt: skip


@pytest.fixture(scope="module")
def narrator(tmp_path_factory: pytest.TempPathFactory) -> Narrator:
    torch.manual_seed(0)
    model = Synthesiser(SynthesiserConfig(layout=load_codec().config.layout, **SMALL))
    torch.nn.init.constant_(model.prosody_head.bias, 2.2)  # notes of 80 ms
    path = tmp_path_factory.mktemp("tts") / "tts.safetensors"
    checkpoints.save(path, {**model.state_dict(), "voices.anna": torch.zeros(24)}, asdict(model.config))
    return Narrator(str(path))


def test_words_and_phones_have_their_times(narrator):
    speech = narrator.speak("Hello, you there. Good night!", "anna")
    assert [word for word, _, _ in speech.words] == ["Hello", "you", "there", "Good", "night"]
    edges = [t for _, a, b in speech.words for t in (a, b)]
    assert edges == sorted(edges) and edges[-1] <= speech.duration_s
    assert all(a.end_s == pytest.approx(b.start_s) for a, b in zip(speech.phones, speech.phones[1:], strict=False))
    assert speech.phones[-1].end_s == pytest.approx(speech.duration_s)
    assert len(speech.samples) == 640 * len(speech.tokens) and np.abs(speech.samples).max() <= 1
    assert len(narrator.codec.decode(speech.tokens)) == len(speech.samples), "the codec cannot read the tokens"


def test_pauses_and_pace_are_as_written(narrator):
    plain = narrator.speak("One two", "anna").duration_s
    assert narrator.speak("One [pause 1.5] two", "anna").duration_s == pytest.approx(plain + 1.5, abs=0.15)
    assert narrator.speak("One two three four five six", "anna", speed=2.0).duration_s == pytest.approx(
        narrator.speak("One two three four five six", "anna").duration_s / 2, rel=0.15
    )


def test_the_same_seed_says_the_same_and_subtitles_tell_when(narrator):
    a, b = (narrator.speak("Say it again.", "anna", seed=3) for _ in range(2))
    assert np.array_equal(a.samples, b.samples)
    assert a.srt().startswith("1\n00:00:00,") and a.vtt().startswith("WEBVTT\n\n00:00:00.") and "Say it again" in a.srt()


def test_feelings_move_pitch_and_loudness_by_as_much_as_they_are_felt():
    t = torch.linspace(0, 6, 200)[None]
    frames = Acoustics(torch.ones(1, 200, 80), 5.0 + 0.1 * t.sin(), torch.ones(1, 200))
    weights = np.zeros(8)
    heights, spreads = [], []
    for strength in (0.0, 0.5, 1.0):
        weights[CATEGORIES.index("happy")] = strength
        pitch = moved(frames, change_of(weights)).log_pitch
        heights.append(float(pitch.mean()))
        spreads.append(float(pitch.std()))
    assert heights == sorted(heights) and spreads == sorted(spreads)
    assert heights[2] - heights[0] == pytest.approx(FEELINGS["happy"].level * np.log(2) / 12, abs=1e-3)
    weights[:] = 0
    weights[CATEGORIES.index("angry")] = 1.0
    angry = moved(frames, change_of(weights)).envelope
    assert angry[..., 60:].mean() > angry[..., :20].mean() > 0.9, "anger is not brighter"


def test_what_cannot_be_said_is_told_in_a_sentence(narrator, tmp_path: Path):
    for text, manner, message in (
        ("Hi", {"voice": "bob"}, "no voice 'bob': give a recording or one of anna"),
        ("Hi", {"speed": 9.0}, "speed 9 is out of range"),
        ("…", {}, "nothing to say"),
        ("Hi", {"emotion": "hapy"}, "happy"),
    ):
        with pytest.raises(ValueError, match=message):
            narrator.speak(text, **{"voice": "anna"} | manner)
