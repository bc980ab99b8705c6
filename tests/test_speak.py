"""Text to sound and to film, through the front door and the `mien` command, with a synthesiser that has learned nothing."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import mien
from mien.cli import app, main
from mien.front import ASSETS
from mien.media import load_sound
from mien.portrait.motion import load_space
from mien.tts.speech import load_narrator
from mien.tts.transcript import heard_phones
from mien.tts.voices import VOICES

PICTURE, POINTS, WELCOME = ASSETS / "astronaut.jpg", ASSETS / "astronaut.json", ASSETS / "welcome.ogg"


def command(*words: object, feed: str | None = None):
    return CliRunner().invoke(app, [str(word) for word in words], input=feed)


def test_a_text_becomes_speech_and_is_loaded_once(engine):
    speech = mien.speak("Hello, you there.", "tom", "happy", speed=1.2, engine=engine)
    assert isinstance(speech, mien.Speech) and speech.emotion.category == "happy"
    assert load_narrator(engine) is load_narrator(engine)
    voice = mien.speak("So it is.", WELCOME, engine=engine)
    assert voice.duration_s > 0.5
    auto = mien.speak("I am so happy! I am furious!", emotion="auto", engine=engine).emotion
    assert len(auto.times_s) == 2 and auto.frames(1)[0].argmax() != auto.frames(500)[-1].argmax()


def test_the_command_writes_sound_subtitles_and_times(engine, tmp_path: Path):
    out, srt, vtt = tmp_path / "a.flac", tmp_path / "a.srt", tmp_path / "a.vtt"
    told = command("speak", "It costs $5. [sad] Oh!", "-o", out, "--srt", srt, "--vtt", vtt, "--engine", engine, "--json")
    assert told.exit_code == 0, told.output
    facts = json.loads(told.stdout)
    assert load_sound(out).duration_s == pytest.approx(facts["duration_s"])
    assert [word["word"] for word in facts["words"]] == ["It", "costs", "five", "dollars", "Oh"]
    assert facts["phones"][0]["phone"] == "sil" and "sad" in facts["emotion"]
    assert "It costs $5." in srt.read_text() and vtt.read_text().startswith("WEBVTT")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.flac", "a.srt", "a.vtt"]


def test_a_text_comes_from_a_file_or_a_pipe(engine, tmp_path: Path):
    (tmp_path / "book.txt").write_text("One.\n\nTwo.", encoding="utf-8-sig")
    told = command("speak", "--file", tmp_path / "book.txt", "-o", tmp_path / "a.wav", "--engine", engine)
    assert told.exit_code == 0 and "2 words, clara" in told.stdout
    told = command("speak", "-", "-o", tmp_path / "a.wav", "--engine", engine, "--voice", "Leo", feed="Three words come.")
    assert told.exit_code == 0 and "3 words, Leo" in told.stdout
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe\x00")
    assert "no text in UTF-8" in command("speak", "--file", tmp_path / "bad.txt", "--engine", engine).stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "Give one text"),
        (["Hi", "--file", "book.txt"], "Give one text"),
        (["--file", "nowhere.txt"], "nowhere.txt is no file"),
        (["..."], "nothing to say"),
        (["Привет"], "Cyrillic"),
        (["Hi", "--voice", "tim"], "did you mean tom?"),
        (["Hi", "--speed", 3], "speed 3 is out of range"),
        (["Hi", "--emotion", "hapy"], "did you mean happy"),
        (["Hi", "--language", "de"], "choose en"),
        (["Hi", "-o", "a.aac"], ".wav, .flac, .ogg, .mp3"),
        (["Hi", "--srt", "a.txt"], ".srt"),
        (["[hapy] Hi"], "Unknown mark"),
    ],
)
def test_a_mistake_is_told_in_one_sentence(engine, words, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = command("speak", "--engine", engine, *words)
    assert told.exit_code == 2 and told.stderr.strip().startswith("mien: ") and sentence in told.stderr
    assert not list(tmp_path.iterdir())


def test_voices_are_listed_and_a_reading_is_shown(monkeypatch, capsys):
    told = command("voices")
    assert told.exit_code == 0 and told.stdout.count(" learned from ") == len(VOICES)
    assert [voice["name"] for voice in json.loads(command("voices", "--json").stdout)] == [voice.name for voice in VOICES]
    monkeypatch.setattr("sys.argv", ["mien", "tts", "read", "Dr. Lee [pause 1] *won*."])
    with pytest.raises(SystemExit, match="0"):
        main()
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split() == ["Doctor", "D", "AA1", "K", "T", "ER"] and "rest 1 s" in shown[1] and "emphasis" in shown[2]


def test_lips_meet_at_every_p_b_and_m_of_a_text(engine, tmp_path: Path):
    """By the phones' own times: the lips meet within a frame of each, and rest in a pause."""
    text = "Bob made a map. [pause 1] Put me up, [happy] maybe! [/happy]"
    video = mien.animate(PICTURE, text=text, voice="max", engine=engine, landmarks=POINTS, size=256)
    assert video.speech is not None and video.sound is not None and len(video) == len(video.speech.tokens)
    apertures = load_space().aperture(video.motion.values)
    times = [(25 * p.start_s, 25 * p.end_s) for p in video.speech.phones if p.phone in ("P", "B", "M")]
    met = [apertures[max(int(a) - 1, 0) : int(np.ceil(b)) + 1].min() < 0.02 for a, b in times]
    assert len(met) == 10 and np.mean(met) >= 0.95
    assert apertures.max() > 0.04
    assert video.settings["emotion"].count(":") >= 2 and video.settings["text"] == text


def test_the_command_animates_a_text_with_subtitles(engine, tmp_path: Path):
    import av

    out, srt = tmp_path / "a.mp4", tmp_path / "a.srt"
    told = command("animate", "--text", "Hi *you*.", "--engine", engine, "-o", out, "--srt", srt, "--size", 128 + 64)
    assert told.exit_code == 0, told.output
    with av.open(str(out)) as film:
        assert film.metadata["comment"] == "Hi *you*." and film.streams.audio
    assert "Hi you." in srt.read_text()
    refused = command("animate", "--srt", srt)
    assert refused.exit_code == 2 and "--srt writes what --text says" in refused.stderr


def test_a_transcript_tells_the_lips_what_the_ear_misses():
    samples = load_sound(WELCOME).mono(16000)
    text = "Hello, and welcome to mien. Give me a picture and a voice, and I will give you a face that speaks."
    phones = heard_phones(text, samples)
    assert phones is not None and [p.phone for p in phones if p.phone in ("P", "B", "M")] == list("MMMPP")
    assert all(a.end_s == pytest.approx(b.start_s) for a, b in zip(phones, phones[1:], strict=False))
    wrong = "The quick brown fox jumped over the lazy dog, and nobody saw it happen today."
    assert heard_phones(wrong, samples) is None and heard_phones("Привет", samples) is None
