"""Training of what moves a portrait, on made-up clips: going on from another animator, the lip expert, reading of tokens."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mien import checkpoints
from mien.codec.reading import SKETCH
from mien.emotion import CATEGORIES
from mien.portrait.animator import EMOTIONS, Animator, AnimatorConfig
from mien.portrait.feelings import felt
from mien.portrait.motion import load_space
from mien.portrait.speech import TOLD
from mien.training import animator
from mien.training.animator import AnimatorTask, AnimatorTraining, Shard, calmed
from mien.training.lips import LipTask, LipTraining, load_lip_expert
from mien.training.loop import LoopConfig, train
from mien.training.prepare import Clip
from mien.training.reading import Coded, ReadingTask, ReadingTraining

FRAMES, WIDTH = 200, TOLD + 17
SMALL = AnimatorConfig(width=64, depth=1, heads=2, audio="codec")


def shard_of(audio: str) -> Shard:
    """Six clips whose lips open as their first feature says; "mel" hears the half of it."""
    rng, space = np.random.default_rng(0), load_space()
    lips = space.aperture_direction / (space.aperture_direction @ space.aperture_direction)
    clips, motion, sound = [], [], []
    for n in range(6):
        said = np.convolve(rng.normal(size=FRAMES), np.ones(3) / 2, "same")
        feeling = [0.0] * EMOTIONS
        feeling[3 * (n == 0)] = 1.0
        split = "val" if n > 3 else "train"
        clips.append(Clip(f"{n}.mp4", "", f"s{n}", split, True, 0, feeling, n == 0))
        motion.append((space.mean + 0.03 * said[:, None] * lips).astype(np.float32))
        features = rng.normal(0, 0.1, (FRAMES, WIDTH))
        features[:, 0] = said * (0.5 if audio == "mel" else 1)
        sound.append(features)
    views = np.stack([np.concatenate(sound)] * 3).astype(np.float16)
    return Shard(clips, FRAMES * np.arange(7), np.concatenate(motion), views)


@pytest.fixture
def shards(monkeypatch, tmp_path):
    monkeypatch.setattr(animator, "build_shard", lambda _, audio, __: shard_of(audio))
    return tmp_path


def test_a_calmed_feeling_is_one_that_can_be_laid_on_again():
    space, rng = load_space(), np.random.default_rng(0)
    motion = (space.mean + rng.normal(size=(20, 36)) * space.std).astype(np.float32)
    feeling = np.eye(EMOTIONS, dtype=np.float32)[CATEGORIES.index("sad")]
    calm = calmed(motion, feeling)
    assert np.abs(calm - motion).max() > 0.01
    again = felt(calm, np.repeat(feeling[None], 20, 0))
    assert np.allclose(again[:, :10], motion[:, :10], atol=1e-4)  # beyond, `felt` may widen open lips


def test_an_animator_goes_on_from_one_with_other_ears(shards):
    torch.manual_seed(0)
    old = Animator(replace(SMALL, audio="mel", audio_width=WIDTH))
    path = shards / "old.safetensors"
    checkpoints.save(path, dict(old.state_dict()), replace(SMALL, audio="mel", audio_width=WIDTH).__dict__)
    task = AnimatorTask(SMALL, AnimatorTraining(anew=["emotion"]), shards, str(path))
    before = old.audio_in(torch.from_numpy(shard_of("mel").audio[0, :FRAMES].astype(np.float32)))
    after = task.model.audio_in(torch.from_numpy(shard_of("codec").audio[0, :FRAMES].astype(np.float32)))
    assert torch.corrcoef(torch.stack([before.flatten(), after.flatten()]))[0, 1] > 0.8
    assert torch.equal(task.model.memory_in.weight, old.memory_in.weight)
    assert not torch.equal(task.model.emotion_tokens, old.emotion_tokens) and task.config.codec == "codec-16k"


def test_windows_hear_tokens_alone_as_often_as_they_are_told_to(shards):
    for coded, share in ((0.0, 0), (1.0, 1)):
        task = AnimatorTask(SMALL, AnimatorTraining(coded=coded), shards)
        audio = task.batch(torch.Generator().manual_seed(0), 8)["audio"]
        assert ((audio[..., TOLD:] == 0).all((1, 2)).float().mean()) == share and audio[..., 0].any()


def test_the_lip_expert_tells_own_from_strange_sound_and_teaches_without_learning(shards):
    task = LipTask(LipTraining(), shard_of("codec"), TOLD)
    best = train(task, LoopConfig(20, batch=4, lr=4e-3, warmup=3, ema=0.7, evaluate_every=20, threads=1), shards / "lips")
    assert best["confidence"] > 2 * best["wrong_audio"]
    expert = load_lip_expert(shards / "lips" / "best.safetensors")
    training = AnimatorTraining(expert=str(shards / "lips" / "best.safetensors"))
    pupil = AnimatorTask(SMALL, training, shards)
    batch = pupil.batch(torch.Generator().manual_seed(0), 4)
    losses = pupil.losses(pupil.model, batch)
    assert 0 < losses["sync"] < 2 and set(losses) == set(training.weights)
    losses["sync"].backward()
    assert all(p.grad is None for p in expert.parameters()) and pupil.expert is not None
    assert all(p.grad is None for p in pupil.expert.parameters())


def test_phones_are_learned_from_tokens(tmp_path):
    rng = np.random.default_rng(0)
    digits = rng.integers(0, 5, (600, 5)).astype(np.uint8)
    labels = np.repeat(3 * digits[:, :1], 4, 1)  # a phone a frame, told by the first digit
    splits = np.array(["train", "val"])
    coded = Coded(digits, np.zeros((600, SKETCH), np.float16), labels, np.array([400, 200]), splits)
    task = ReadingTask(ReadingTraining(crop_s=2), coded, "codec-16k")
    loop = LoopConfig(30, batch=4, lr=5e-3, warmup=5, ema=0.8, evaluate_every=30, threads=1)
    assert train(task, loop, tmp_path)["frame_accuracy"] > 0.6  # 0.2 by chance
