"""Speech from text, with a synthesiser that has learned nothing: times, rests, pace, feeling and what a user gets wrong."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mien import checkpoints
from mien.emotion import CATEGORIES
from mien.media import load_sound
from mien.tts import synthesis
from mien.tts.feeling import FEELINGS, change_of, coloured, planned
from mien.tts.speech import BREATH, Narrator, breaths, joined, load_narrator
from mien.tts.subtitles import as_written, lines, srt, vtt
from mien.tts.text import read_text
from mien.tts.voices import VOICES, named


@pytest.fixture(scope="module")
def narrator(engine: Path) -> Narrator:
    return Narrator(engine)


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


def test_the_same_seed_says_the_same_and_subtitles_tell_when(narrator, tmp_path: Path):
    a, b = (narrator.speak("Say it again.", "anna", seed=3) for _ in range(2))
    assert np.array_equal(a.samples, b.samples)
    srt, vtt = (a.save(tmp_path / f"a.{ending}").read_text() for ending in ("srt", "vtt"))
    assert srt.startswith("1\n00:00:00,") and vtt.startswith("WEBVTT\n\n00:00:00.") and "\nSay it again.\n" in srt


def test_a_sentence_is_the_same_in_pieces_as_whole(narrator, monkeypatch: pytest.MonkeyPatch):
    text = "A sentence of some length, which is said in more than one piece, [angry] and then in another mood. [/angry] So!"
    parts = list(narrator.stream(text, "anna"))
    assert len(parts) > 4 and parts[0].duration_s < 0.6
    whole = joined(parts)
    monkeypatch.setattr(synthesis, "FIRST_PIECE", 10_000)
    again = narrator.speak(text, "anna")
    np.testing.assert_allclose(whole.samples, again.samples, atol=1e-5)
    assert [w for w, _, _ in whole.words] == [w for w, _, _ in again.words]
    assert [p.phone for p in whole.phones] == [p.phone for p in again.phones]
    assert all(a.end_s == pytest.approx(b.start_s) for a, b in zip(whole.phones, whole.phones[1:], strict=False))
    assert (
        "".join(whole.written).strip() == "A sentence of some length, which is said in more than one piece, and then in "
        "another mood. So!"
    )
    angry = whole.emotion.frames(len(whole.tokens))[:, CATEGORIES.index("angry")]
    assert angry[0] == 0 and angry.max() == 1 and angry[-1] < 1


def test_a_sentence_without_end_is_said_in_breaths():
    words = read_text("one two three four five six seven, eight nine ten, " * 9)
    parts = list(breaths(words))
    assert sum(map(len, parts)) == len(words) and max(map(len, parts)) <= BREATH
    assert all(part[-1].pause == "," for part in parts)
    assert max(map(len, breaths(read_text("word " * 200)))) <= BREATH


def test_a_text_is_written_as_it_is_said(narrator, tmp_path: Path):
    done: list[tuple[int, int]] = []
    for ending in ("wav", "flac", "ogg", "mp3"):
        done.clear()
        speech = narrator.write(
            tmp_path / f"a.{ending}", "One two. Three.", "anna", progress=lambda *told: done.append(told)
        )
        assert load_sound(tmp_path / f"a.{ending}").duration_s == pytest.approx(speech.duration_s, abs=0.1)
        assert done == [(2, 3), (3, 3)] and not speech.samples.size and len(speech.words) == 3

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        narrator.write(tmp_path / "b.wav", "One two. Three.", "anna", progress=stop)
    with pytest.raises(ValueError, match="choose one of them"):
        narrator.write(tmp_path / "b.doc", "One two.", "anna")
    assert not list(tmp_path.glob("b*"))


def test_the_text_itself_stands_in_the_subtitles():
    text = 'He paid *$5.50* [pause 1] for "it", she said. [sad] Well-known & <old>.[/sad]'
    words = read_text(text)
    written = as_written(text, words)
    assert "".join(written).strip() == 'He paid $5.50 for "it", she said. Well-known & <old>.'
    french = "Est-ce vrai ? Oui !"
    assert as_written(french, read_text(french))[-2:] == ["vrai ? ", "Oui !"]
    times = [(word.text, 0.4 * n, 0.4 * n + 0.4) for n, word in enumerate(words)]
    cues = list(lines(times, written))
    assert [line for line, _, _ in cues][-1] == "Well-known & <old>."
    assert "&lt;old>" in vtt(iter(cues)) and "<old>" in srt(iter(cues))


def test_named_voices_are_blended_from_what_is_stored():
    stored = {"af_heart": np.ones(3), "af_bella": np.zeros(3), "someone": np.ones(3)}
    known = named(stored)
    assert (
        list(known) == ["clara", "ruby", "nora", "af_heart", "af_bella", "someone"] and known["nora"].tolist() == [0.5] * 3
    )
    assert len({voice.name for voice in VOICES}) == 12
    assert all(sum(voice.learned_from.values()) == pytest.approx(1) for voice in VOICES)


def test_the_shipped_synthesiser_has_every_voice():
    if "tts-en" not in {entry.name for entry in checkpoints.index()}:
        pytest.skip("the weights tts-en are not shipped yet")
    narrator = load_narrator()
    assert list(narrator.voices)[: len(VOICES)] == [voice.name for voice in VOICES]
    speech = narrator.speak("Good morning to you all.")
    assert 1 < speech.duration_s < 4 and 0.01 < np.sqrt(np.mean(speech.samples**2)) < 0.2


def test_feelings_move_pitch_and_loudness_by_as_much_as_they_are_felt():
    pitch, durations, weights = 5.0 + 0.1 * torch.linspace(0, 6, 20)[None].sin(), torch.full((1, 20), 8.0), np.zeros(8)
    plans, quiet = [], torch.full((1, 9, 80), -1.0)
    for strength in (0.0, 0.5, 1.0):
        weights[CATEGORIES.index("happy")] = strength
        plans.append(planned(pitch, durations, change_of(weights)))
    heights, spreads = [float(plan.mean()) for plan in plans], [float(plan.std()) for plan in plans]
    assert torch.allclose(plans[0], pitch) and heights == sorted(heights) and spreads == sorted(spreads)
    assert heights[2] - heights[0] == pytest.approx(FEELINGS["happy"].level * np.log(2) / 12, abs=1e-3)
    weights[:] = 0
    assert torch.allclose(coloured(quiet, change_of(weights)), quiet)
    weights[CATEGORIES.index("angry")] = 1.0
    angry, calm = (coloured(envelope, change_of(weights)) for envelope in (quiet + 2.0, quiet - 4.0))
    assert angry[..., 24:64].mean() > angry[..., :16].mean() and angry.mean() > 1.1, "anger is not brighter and louder"
    assert float((calm - quiet + 4.0).abs().max()) < 1.0, "silence is lifted"


def test_what_cannot_be_said_is_told_in_a_sentence(narrator, tmp_path: Path):
    for text, manner, message in (
        ("Hi", {"voice": "bob"}, "no voice 'bob': Give a recording or one of clara, ruby"),
        ("Hi", {"voice": "Ana"}, "did you mean anna"),
        ("Hi", {"voice": (np.zeros(16_000), 16_000)}, "1.0 s long: give 3 s or more"),
        ("Hi", {"intensity": 3.0}, "intensity 3 is out of range"),
        ("Hi", {"speed": 9.0}, "speed 9 is out of range"),
        ("…", {}, "nothing to say"),
        ("Hi", {"emotion": "hapy"}, "happy"),
    ):
        with pytest.raises(ValueError, match=message):
            narrator.speak(text, **{"voice": "anna"} | manner)
