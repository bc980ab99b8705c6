"""The synthesiser's training: do scores keep what the teacher said and when, and does a run go to its end?"""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from typer.testing import CliRunner

from mien import checkpoints
from mien.codec.model import load_codec
from mien.codec.phones import INDEX, from_kokoro
from mien.training.__main__ import app
from mien.training.tts import load_readings
from mien.tts.model import Notes, Prosody, Synthesiser, SynthesiserConfig
from mien.tts.score import MARKS, score_of_recording, score_of_segments
from mien.tts.text import read_text

HELLO = [
    ("h", 0.2, 0.25), ("ə", 0.25, 0.3), ("l", 0.3, 0.35), ("ˈ", 0.35, 0.4), ("O", 0.4, 0.5), (",", 0.5, 0.6),
    (" ", 0.6, 0.65), ("j", 0.65, 0.7), ("ˈ", 0.7, 0.75), ("u", 0.75, 0.85), (" ", 0.85, 0.9), ("ɪ", 0.9, 0.95),
    ("t", 0.95, 1.0), ("?", 1.0, 1.1),
]  # fmt: skip
SMALL = {
    "width": 16, "heads": 2, "note_blocks": 1, "frame_blocks": 1, "fine_width": 16, "fine_blocks": 1, "flow_blocks": 1,
    "condition": 8,
}  # fmt: skip


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    """Twelve buzzing sentences of two voices, with the times of their phones."""
    folder = tmp_path / "teacher"
    folder.mkdir()
    rows = []
    for n in range(20):
        t = np.arange(19_200) / 16_000
        soundfile.write(folder / f"{n}.wav", 0.1 * np.sign(np.sin(2 * np.pi * (100 + 10 * (n % 2)) * t)), 16_000)
        phones = [(symbol, a / 0.025, b / 0.025) for symbol, a, b in HELLO]
        row = {"file": f"{n}.wav", "voice": f"v{n % 2}", "language": "en-us", "phones": phones}
        rows.append(row | {"split": "train" if n < 12 else "val"})
    (folder / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def test_a_score_says_what_was_said_and_when():
    score = score_of_segments(from_kokoro(HELLO), 1.2)
    assert score is not None and score.durations is not None
    said = ["sil", "HH", "AH", "L", "OW", "sil", "Y", "UW", "IH", "T", "sil"]
    assert [INDEX[phone] for phone in said] == score.phones.tolist()
    assert [MARKS[m] for m in score.marks] == ["^", "", "", "", "", ",", "", " ", "", "", "?"]
    assert score.stress.tolist() == [0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0]
    assert score.durations.tolist() == [20, 5, 5, 5, 15, 15, 5, 20, 5, 5, 20], "ten milliseconds each, to the sound's end"


def test_words_are_laid_over_a_recording_with_the_rests_that_are_heard():
    heard = [("sil", 5), ("HH", 3), ("AH", 3), ("L", 2), ("OW", 8), ("sil", 10), ("DH", 2), ("EH", 5), ("R", 4), ("sil", 6)]
    odds = np.full((sum(n for _, n in heard), 40), 1e-3)
    odds[np.arange(len(odds)), np.repeat([INDEX[phone] for phone, _ in heard], [n for _, n in heard])] = 0.96
    words = read_text("Hello there.")
    score = score_of_recording(words, odds)
    assert score is not None and score.durations is not None
    assert score.phones.tolist() == [INDEX[phone] for phone, _ in heard]
    assert score.durations.tolist() == [2 * n for _, n in heard]
    assert [MARKS[m] for m in score.marks] == ["^", "", "", "", "", ",", "", "", "", "."]
    joined = score_of_recording(words, np.delete(odds, np.s_[21:31], 0))
    assert joined is not None and [MARKS[m] for m in joined.marks] == ["^", "", "", "", " ", "", "", "", "."]
    assert score_of_recording(read_text("Quite another sentence about sheep."), odds) is None


def test_a_run_goes_to_its_end_and_its_weights_speak(tmp_path, teacher):
    runner, shards = CliRunner(), tmp_path / "shards"
    done = runner.invoke(app, ["prepare-tts", "--data", str(teacher), "--out", str(shards)])
    assert done.exit_code == 0, done.output
    readings, codec = load_readings(shards)
    assert codec["codec"] == "codec-16k" and len(readings) == 20 and all(len(r.frames) == 4 * len(r) for r in readings)
    assert np.exp(np.median(readings[0].frames[:, -2])) == pytest.approx(100, abs=3), "F0 is lost on the way"
    loop = {"steps": 2, "batch": 4, "warmup": 1, "evaluate_every": 2, "save_every": 2}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump({"model": SMALL, "training": {"window": 8}, "loop": loop}))
    done = runner.invoke(
        app, ["tts", "--config", str(tmp_path / "small.yaml"), "--shards", str(shards), "--out", str(tmp_path / "run")]
    )
    assert done.exit_code == 0, done.output
    checkpoint = checkpoints.load(str(tmp_path / "run/best.safetensors"))
    assert SynthesiserConfig(**checkpoint.config).layout == load_codec().config.layout, "it speaks another codec's tokens"


def test_notes_last_as_long_as_they_are_told_to():
    torch.manual_seed(0)
    model = Synthesiser(SynthesiserConfig(**SMALL)).eval()
    read = torch.eye(3, 16)[None] * 100
    durations = torch.tensor([[4, 3, 5]])
    silent = Prosody(*torch.zeros(3, 1, 3))
    laid = model.lay_out(read, silent, durations, 3)[0] - model.lay_out(read * 0, silent, durations, 3)[0]
    changes = (laid[1:] - laid[:-1]).abs().sum(1) > 1e-3
    assert changes.nonzero()[:, 0].tolist() == [3, 6]


def test_what_pads_a_batch_changes_nothing():
    torch.manual_seed(0)
    model = Synthesiser(SynthesiserConfig(**SMALL)).eval()
    phones = torch.randint(1, 40, (1, 9))
    notes = [torch.zeros_like(phones) for _ in range(2)]
    condition = model.steer(torch.randn(1, 24))
    short = model.read(Notes(phones[:, :6], *(x[:, :6] for x in notes), torch.ones(1, 6, dtype=torch.bool)), condition)
    long = model.read(Notes(phones, *notes, (torch.arange(9) < 6)[None]), condition)
    assert torch.allclose(short, long[:, :6], atol=1e-5)
