"""Training: a stopped run goes on as if it had not been, configs name their mistakes, and the whole path runs to its end."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from mien.codec.model import CodecConfig
from mien.training.__main__ import CONFIGS, app, read_config
from mien.training.codec import CodecTraining
from mien.training.loop import LoopConfig, train


class Line:
    """The smallest task: learn y = 3 x + 1 from noisy points."""

    def __init__(self):
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(1, 8), nn.Dropout(0.2), nn.Linear(8, 1))
        self.weights = {"error": 1.0}

    def batch(self, generator, size):
        x = torch.randn(size, 1, generator=generator)
        return {"x": x, "y": 3 * x + 1 + 0.1 * torch.randn(size, 1, generator=generator)}

    def losses(self, model, batch):
        return {"error": ((model(batch["x"]) - batch["y"]) ** 2).mean()}

    def evaluate(self, model):
        with torch.inference_mode():
            return {"score": -float((model(torch.ones(1, 1)) - 4).abs())}

    def save(self, model, path):
        torch.save(model.state_dict(), path)


def test_a_stopped_run_goes_on_exactly_where_it_was(tmp_path, monkeypatch):
    config = LoopConfig(steps=30, batch=16, lr=1e-2, warmup=3, ema=0.9, evaluate_every=30, save_every=10)
    whole = Line()
    train(whole, config, tmp_path / "whole")

    class Stop(Exception):
        pass

    stopped, calls = Line(), []
    draw = stopped.batch

    def until_14(generator, size):
        if len(calls) == 14:
            raise Stop
        calls.append(1)
        return draw(generator, size)

    stopped.batch = until_14
    with pytest.raises(Stop):
        train(stopped, config, tmp_path / "parts")
    resumed = Line()
    train(resumed, config, tmp_path / "parts")
    for a, b in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_learning_lowers_the_loss_and_leaves_a_log_and_a_plot(tmp_path):
    task = Line()
    best = train(task, LoopConfig(steps=200, batch=32, lr=2e-2, warmup=5, ema=0.9, evaluate_every=50), tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    losses = [row["error"] for row in rows if "error" in row]
    assert losses[-1] < 0.5 * losses[0] and best["score"] > -1
    assert (tmp_path / "loss.png").stat().st_size > 1000 and (tmp_path / "best.safetensors").is_file()


def test_every_shipped_animator_config_builds():
    from mien.portrait.animator import Animator, AnimatorConfig
    from mien.training.animator import AnimatorTraining

    for name, most in (("smoke", 1), ("nano", 6), ("base", 15)):
        parts = read_config(name, model=AnimatorConfig, training=AnimatorTraining, loop=LoopConfig)
        assert sum(p.numel() for p in Animator(parts["model"]).parameters()) < most * 1e6
    assert {"smoke", "nano", "base"} <= {path.stem for path in CONFIGS.glob("*.yaml")}


def test_mistakes_in_configs_and_folders_are_one_sentence(tmp_path):
    (tmp_path / "bad.yaml").write_text("loop: {stepz: 3}")
    with pytest.raises(ValueError, match="stepz"):
        read_config(str(tmp_path / "bad.yaml"), loop=LoopConfig)
    (tmp_path / "bad.yaml").write_text("training: {weights: {syllables: 1}}")
    with pytest.raises(ValueError, match="syllables"):
        read_config(str(tmp_path / "bad.yaml"), training=CodecTraining)
    (tmp_path / "bad.yaml").write_text("model: {vocoder: {widht: 3}}")
    with pytest.raises(ValueError, match="widht"):
        read_config(str(tmp_path / "bad.yaml"), model=CodecConfig)
    (tmp_path / "good.yaml").write_text("training: {weights: {phones: 7}}")
    weights = read_config(str(tmp_path / "good.yaml"), training=CodecTraining)["training"].weights
    assert weights == CodecTraining().weights | {"phones": 7}
    with pytest.raises(FileNotFoundError, match="nano"):
        read_config("giant", loop=LoopConfig)
    run = CliRunner().invoke(app, ["prepare", "--data", str(tmp_path), "--out", str(tmp_path / "shards")])
    assert run.exit_code == 2 and "manifest.csv" in run.output
    (tmp_path / "manifest.csv").write_text("file,split\na.mp4,train\n")
    run = CliRunner().invoke(app, ["prepare", "--data", str(tmp_path), "--out", str(tmp_path / "shards")])
    assert run.exit_code == 2 and "speaker_id" in run.output
    run = CliRunner().invoke(app, ["animator", "--shards", str(tmp_path / "none")])
    assert run.exit_code == 2 and "prepare" in run.output


def test_blinks_are_taken_out_of_lids_and_nothing_else():
    from mien.portrait.motion import REGIONS, rest_values, without_blinks

    values = rest_values(60)
    values[:, REGIONS["lids"]] = 0.9
    values[20:25, REGIONS["lids"]] = np.array([0.5, 0.1, 0.05, 0.4, 0.8])[:, None]
    values[:, 20] = np.arange(60)
    cleaned = without_blinks(values)
    assert np.abs(cleaned[:, REGIONS["lids"]] - 0.9).max() < 1e-6
    assert np.array_equal(np.delete(cleaned, [8, 9], 1), np.delete(values, [8, 9], 1))


def test_a_mirrored_mirror_is_the_motion_itself():
    from mien.portrait.motion import load_space
    from mien.training.animator import mirror_matrix

    space = load_space()
    mirror = mirror_matrix(space)
    motion = space.mean + np.random.default_rng(0).normal(size=(20, 36)) * space.std
    back = motion @ mirror @ mirror
    assert np.corrcoef(back[:, 20:24].ravel(), motion[:, 20:24].ravel())[0, 1] > 0.98
    assert np.allclose(space.aperture(motion @ mirror), space.aperture(motion), atol=0.01)


@pytest.mark.slow
def test_films_become_shards_and_shards_a_trained_animator(tmp_path, astronaut_path):
    """`prepare` and `animator --config smoke` by their commands, on films that mien draws itself."""
    from mien import front
    from mien.media import Sound
    from mien.portrait.motion import Motion, load_space

    space, rng = load_space(), np.random.default_rng(0)
    portrait = front.Animator(astronaut_path, landmarks=astronaut_path.with_suffix(".json"), size=256)
    rows = []
    for index, split in enumerate(("train", "train", "val")):
        steps = np.cumsum(rng.normal(0, 0.15, (90, 36)), 0)
        motion = Motion((space.mean + np.tanh(steps) * space.std).astype(np.float32))
        noise = rng.normal(0, 0.1, (90 * 640, 1)).astype(np.float32)
        portrait.follow(motion, audio=Sound(noise, 16000)).save(tmp_path / f"{index}.mp4")
        rows.append(
            {"file": f"{index}.mp4", "speaker_id": f"s{index}", "split": split, "has_audio": "yes", "emotion": ""}
        )
    with (tmp_path / "manifest.csv").open("w") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    shards, run = tmp_path / "shards", tmp_path / "run"
    for _ in range(2):  # the second time there is nothing left to do
        done = CliRunner().invoke(app, ["prepare", "--data", str(tmp_path), "--out", str(shards), "--workers", "1"])
        assert done.exit_code == 0, done.output
    assert "3 done before" in done.output
    done = CliRunner().invoke(app, ["animator", "--config", "smoke", "--shards", str(shards), "--out", str(run)])
    assert done.exit_code == 0, done.output
    made = front.Animator(
        astronaut_path, landmarks=astronaut_path.with_suffix(".json"), size=256, model=str(run / "best.safetensors")
    ).speak_along(Sound(rng.normal(0, 0.1, (16000, 1)).astype(np.float32), 16000))
    assert len(list(made)) == 25
    assert Path(run / "loss.png").is_file()
