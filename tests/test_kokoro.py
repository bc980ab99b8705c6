"""Kokoro as an engine, its network stood in for by one that lets every symbol last 50 ms: times, rests, feelings, files."""

from pathlib import Path

import numpy as np
import pytest

from mien.tts import kokoro
from mien.tts.engines import load_engine
from mien.tts.feeling import Change
from mien.tts.kokoro import FRAME_LENGTH, MODEL_RATE, NUMBER, Kokoro, Reading, felt, read_voices
from mien.tts.speech import Narrator


class Even:
    """Reads a symbol in two frames, after as many of silence: a hum that rises with the symbol's number."""

    def __init__(self, model: bytes):
        pass

    def read(self, spelled: str, voice: np.ndarray, speed: float = 1.0) -> Reading:
        phones = [(symbol, 2 + 2 * n, 4 + 2 * n) for n, symbol in enumerate(spelled)]
        assert all(symbol in NUMBER for symbol in spelled)
        t = np.arange((4 + 2 * len(phones)) * FRAME_LENGTH) / MODEL_RATE
        return Reading((0.2 * np.sin(2 * np.pi * 150 * t)).astype(np.float32), phones)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(kokoro, "Reader", Even)
    (tmp_path / "kokoro-v1.0.onnx").write_bytes(b"")
    for name in ("af_heart", "af_bella", "zf_xiaoni"):
        np.ones((510, 256), np.float32).tofile(tmp_path / f"{name}.bin")
    return tmp_path


def test_words_phones_and_rests_have_their_times(files: Path):
    narrator = Narrator(files)
    assert narrator.voices[:3] == ("clara", "ruby", "nora") and narrator.engine.rate == 24_000
    speech = narrator.speak("Bob paid, [pause 1] then *left*.", "nora")
    assert [word for word, _, _ in speech.words] == ["Bob", "paid", "then", "left"]
    assert "".join(speech.written) == "Bob paid, then left."
    assert all(a.end_s == pytest.approx(b.start_s) for a, b in zip(speech.phones, speech.phones[1:], strict=False))
    assert [p.phone for p in speech.phones][:5] == ["sil", "B", "AA", "B", "P"]
    assert speech.phones[-1].end_s == pytest.approx(speech.duration_s)
    (_, _, paid), (_, then, _) = speech.words[1:3]
    assert then - paid == pytest.approx(1.1, abs=0.06)
    assert len(speech.samples) == len(speech.tokens) * 960
    middle = speech.samples[round((paid + 0.3) * 24_000) : round((then - 0.3) * 24_000)]
    assert np.abs(middle).max() == 0 and np.abs(speech.samples).max() > 0.1


def test_a_feeling_raises_the_pitch_it_is_given(files: Path):
    pytest.importorskip("pyworld")
    t = np.arange(24_000) / MODEL_RATE
    voice = sum(np.sin(2 * np.pi * 150 * k * t) / k for k in range(1, 12)).astype(np.float32) * 0.1
    higher = felt(voice, Change(level=12.0))
    spectrum = np.abs(np.fft.rfft(higher[6000:18000] * np.hanning(12000)))
    assert len(higher) == len(voice) and spectrum[:400].argmax() * 2 == pytest.approx(300, abs=6)
    assert felt(voice, Change(pace=0.3)) is voice


def test_what_is_missing_is_told_in_a_sentence(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MIEN_KOKORO", raising=False)
    with pytest.raises(FileNotFoundError, match="Kokoro needs its files"):
        load_engine("kokoro")
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("MIEN_KOKORO", str(tmp_path / "empty"))
    with pytest.raises(FileNotFoundError, match="holds no model"):
        load_engine("kokoro")
    with pytest.raises(ValueError, match="cannot take a voice from a recording"):
        Kokoro(files).listen(np.zeros(48_000, np.float32))
    with pytest.raises(ValueError, match="break it with a comma"):
        Narrator(files).speak("Unbelievableness" * 1 + " strengthlessnesses" * 31)


def test_voices_come_in_one_file_or_in_many(tmp_path: Path):
    np.ones((510, 256), np.float32).tofile(tmp_path / "af_heart.bin")
    assert list(read_voices(tmp_path)) == ["af_heart"]
    with (tmp_path / "voices-v1.0.bin").open("wb") as file:
        np.savez(file, af_sky=np.ones((510, 1, 256), np.float32))
    assert {name: style.shape for name, style in read_voices(tmp_path).items()} == {"af_sky": (510, 256)}
