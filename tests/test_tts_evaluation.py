"""Trials of speech from text: what is read, whose voice is compared, what is counted, and the picture."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mien.codec.metrics import TOOLS, Judge
from mien.media.sound import Sound, save_sound
from mien.tts.cli import app
from mien.tts.evaluation import FIVE, Trial, evaluate, judge_feelings, learned_from, read_readers, read_sentences, table
from mien.tts.speech import Narrator


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Recordings of two speakers, one of whom is in one split alone."""
    rows = []
    for n, (voice, split, text) in enumerate(
        [
            ("af_heart", "train", "Nobody knows."),
            ("mix-1", "test", "A bird is singing."),
            ("af_heart", "test", "Good morning, all."),
            ("af_heart", "test", "Nobody knows."),
            ("af_heart", "test", "Send an S O S."),
        ]
    ):
        t = np.arange(64_000) / 16_000
        save_sound(tmp_path / f"{n}.wav", Sound(0.2 * np.sign(np.sin(2 * np.pi * 120 * t))[:, None], 16_000))
        rows.append(
            {"file": f"{n}.wav", "voice": voice, "split": split, "text": text, "language": "en-us", "duration_s": 4.0}
        )
    (tmp_path / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


def f0_judge() -> Judge:
    pytest.importorskip("pyworld", reason="needs the extra `eval`")
    return Judge(leave_out=TOOLS.keys() - {"f0"})


def test_sentences_are_unseen_and_readers_unknown(folder):
    texts = [clip.text for clip in read_sentences(folder, "test", "af_heart")]
    assert texts == ["Good morning, all.", "A bird is singing."], "seen, spelled or in the wrong order"
    assert [clip.speaker for clip in read_readers(folder, "test")] == ["mix-1"]
    assert learned_from("clara") == "af_heart" and learned_from("nora") == "nora"
    with pytest.raises(ValueError, match="no such clip|no English sentence"):
        read_sentences(folder, "val")


def test_a_trial_tells_all_parts(folder, engine):
    narrator, steps = Narrator(engine), []
    found = evaluate(
        narrator,
        read_sentences(folder, "test", "af_heart"),
        f0_judge(),
        readers={"blends": read_readers(folder, "test")},
        per_voice=1,
        progress=lambda done, total: steps.append((done, total)),
    )
    assert list(found["sentences"]) == ["recording", "codec 1.0", "codec 0.27", "mien"]
    assert found["sentences"]["mien"]["rtf"]["mean"] > 0 and "clara" in found["voices"]
    assert steps[-1][0] == steps[-1][1] and "blends: mien" in found["readers"] and found["feelings"] == {}
    assert "mien" in table(found) and json.dumps(found)


def test_one_take_beside_itself_is_the_same():
    judge, trial = f0_judge(), None
    t = np.arange(32_000) / 16_000
    take = (0.2 * np.sign(np.sin(2 * np.pi * np.cumsum(120 + 20 * np.sin(3 * t)) / 16_000))).astype(np.float32)
    trial = Trial(judge)
    measured = trial.hear("first", take, "a b")
    trial.hear("second", take, "a b", beside=measured)
    figures = trial.figures()["second"]
    assert figures["length"]["mean"] == pytest.approx(1) and figures["level"]["mean"] == pytest.approx(0)
    assert figures["spread"]["mean"] == pytest.approx(1) and "length" not in trial.figures()["first"]


def test_feelings_have_a_course_and_a_judgement(engine):
    found = judge_feelings(Narrator(engine), ["Good morning, all of you."], f0_judge(), "clara")
    assert set(found["heard"]) == set(FIVE) and all(sum(row.values()) == 1 for row in found["heard"].values())
    assert all(len(rows) == 4 for rows in found["course"].values()) and set(found["told"]) == {"0.33", "0.66", "1"}


def test_a_picture_has_a_panel_for_every_feeling(engine, tmp_path):
    pytest.importorskip("pyworld", reason="needs the extra `eval`")
    out = tmp_path / "said.png"
    told = ["plot", "Good morning.", "-o", str(out), "--engine", str(engine), "--emotion", "happy", "--emotion", "sad"]
    done = CliRunner().invoke(app, told)
    assert done.exit_code == 0, done.output
    assert out.read_bytes().startswith(b"\x89PNG")
    done = CliRunner().invoke(app, [*told[:3], str(tmp_path / "said.txt"), *told[4:]])
    assert done.exit_code == 2 and "said.txt" in done.output
