"""The codec's training: do all stages run to their end and give a codec, and do the losses say what they should?"""

import json
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from typer.testing import CliRunner

from mien import checkpoints
from mien.codec.front import Front, FrontConfig
from mien.codec.model import load_codec
from mien.codec.pretrained import SpeechEncoder
from mien.codec.vocoder import PITCH_LEAD, Acoustics, EnvelopeMeter, Vocoder
from mien.layers.torchaudio_guard import guard
from mien.training import codec as tasks
from mien.training import speech
from mien.training.__main__ import CONFIGS, app, read_config
from mien.training.adversary import Adversary
from mien.training.listener import WhisperEar
from mien.training.loop import LoopConfig
from mien.training.spectra import SpectralLoss
from mien.training.speech import Augmentation

SMALL = {
    "name": "codec-small", "semantic_width": 16, "semantic_dilations": [1, 2], "acoustic_width": 16,
    "acoustic_dilations": [1], "width": 24, "decoder_dilations": [1], "frame_width": 16, "frame_dilations": [1],
    "voice_width": 8, "vocoder": {"width": 16, "dilations": [1]},
}  # fmt: skip


def voice(seconds: float, hertz: float) -> tuple[np.ndarray, np.ndarray]:
    """A buzz that comes and goes, and its pitch every 10 ms."""
    t = np.arange(int(seconds * 16_000)) / 16_000
    on = np.arange(len(t)) % 8_000 >= 2_000
    buzz = sum(np.sin(2 * np.pi * k * hertz * t) / k for k in range(1, 12)) * on
    return (buzz * 8_000).astype(np.int16), np.where(on[::160], hertz, 0).astype(np.float16)


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Eight recordings of four voices, labelled all silence, in the way that `prepare` writes them."""
    folder = tmp_path / "speech"
    folder.mkdir()
    pieces = [voice(3.0, 100.0 + 20 * n) for n in range(8)]
    split = ["train", "train", "train", "val"]
    about = [{"speaker": f"v{n % 4}", "corpus": "buzz", "split": split[n % 4], "words": None} for n in range(8)]
    samples, pitch = (np.concatenate(column) for column in zip(*pieces, strict=True))
    np.savez(
        folder / "buzz-000.npz", samples=samples, pitch=pitch,
        labels=np.zeros(8 * 300, np.uint8), sizes=np.full(8, 48_000), about=json.dumps(about),
    )  # fmt: skip
    return folder


def loudness(samples: np.ndarray) -> torch.Tensor:
    """Stands for a big speech encoder: two numbers every 20 ms."""
    level = torch.from_numpy(samples).unflatten(0, (-1, 320)).square().mean(1).sqrt()
    return torch.stack([level, -level], 1)


def test_what_a_speech_encoder_hears_stays_with_its_clip(shards):
    encoder = SpeechEncoder(loudness, 2)
    assert list(speech.hear(shards, encoder)) == ["shard 1 of 1: buzz-000.heard.npy"]
    for clip in speech.load_clips(shards):
        assert clip.heard is not None
        assert np.allclose(clip.heard, encoder.features(clip.samples.astype(np.float32) / 32768), atol=1e-3)
    augmenter = speech.Augmenter(Augmentation(), [clip], np.zeros((0, 16_000)))
    crop = augmenter.crop(clip, 32_000, np.random.default_rng(0), Fraction(5, 4))
    assert crop.heard is not None and crop.heard.shape == (50, 2)
    level = loudness(crop.sound).unflatten(0, (50, 2)).mean(1)[:, 0]
    assert np.corrcoef(level, crop.heard[:, 0])[0, 1] > 0.8, "what was heard does not follow the sound at another speed"


def test_all_stages_run_to_their_end_and_give_a_codec(tmp_path, shards, monkeypatch):
    monkeypatch.setattr(tasks, "pesq_of", lambda pairs: 1.0 + len(pairs))
    list(speech.hear(shards, SpeechEncoder(loudness, 2)))
    front = Front(FrontConfig(width=16, dilations=(1, 2), hidden=8))
    checkpoints.save(tmp_path / "front.safetensors", dict(front.state_dict()), asdict(front.config))
    loop = {"steps": 2, "batch": 4, "warmup": 1, "evaluate_every": 2, "save_every": 2}
    loops = {f"{stage}_loop": loop for stage in ("vocoder", "codec", "joint", "decoder")}
    stages = {"codec": {}, "joint": {"sound": True}, "decoder": {"adversarial": True}}
    config = {"model": SMALL, **{name: {"crop_s": 0.64, **more} for name, more in stages.items()}, **loops}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(config))
    run = CliRunner().invoke(
        app,
        ["codec", "--config", str(tmp_path / "small.yaml"), "--shards", str(shards), "--out", str(tmp_path / "run"),
         "--front", str(tmp_path / "front.safetensors")],
    )  # fmt: skip
    assert run.exit_code == 0, run.output
    codec = load_codec(str(tmp_path / "run/codec-small.safetensors"))
    assert codec.tables is not None
    before = checkpoints.load(tmp_path / "run/joint/best.safetensors").tensors
    after = checkpoints.load(tmp_path / "run/decoder/best.safetensors").tensors
    assert all(torch.equal(before[name], after[name]) for name in before if name.startswith("encoder.")), "tokens moved"
    assert any(not torch.equal(before[name], after[name]) for name in before if name.startswith("connector."))
    sound = voice(1.0, 150.0)[0].astype(np.float32) / 32768
    assert len(codec.decode(codec.encode(sound))) == len(sound)


def test_every_shipped_codec_config_builds():
    for name, least, most in (("codec-nano", 2, 4), ("codec-base", 6, 7.5)):
        loops = {f"{stage}_loop": LoopConfig for stage in ("vocoder", "codec", "joint", "decoder")}
        parts = read_config(
            name, model=tasks.CodecConfig, augmentation=Augmentation, vocoder=tasks.VocoderTraining,
            codec=tasks.CodecTraining, joint=tasks.CodecTraining, decoder=tasks.DecoderTraining, **loops,
        )  # fmt: skip
        size = sum(p.numel() for p in tasks.Codec(parts["model"]).parameters()) / 1e6
        assert least < size < most
    assert (CONFIGS / "codec-base.yaml").is_file()


def test_the_untrained_vocoder_already_follows_envelope_and_pitch():
    samples, pitch = voice(1.0, 200.0)
    sound = samples.astype(np.float32)[:16_000] / 32768
    meter = EnvelopeMeter()
    envelope = meter(torch.from_numpy(sound)[None])
    log_pitch, voicing = tasks.through_silence(np.pad(pitch.astype(np.float32), (0, PITCH_LEAD))[PITCH_LEAD:])
    with torch.inference_mode():
        frames = Acoustics(envelope, torch.from_numpy(log_pitch)[None], torch.from_numpy(voicing)[None])
        made = Vocoder().eval()(frames)[0][0].numpy()
    loud, quiet = made[6_000:8_000].std(), made[8_600:9_400].std()
    assert 0.3 < loud / sound[6_000:8_000].std() < 3 and quiet < 5e-3 * loud
    spectrum = np.abs(np.fft.rfft(made[4_000:8_000] * np.hanning(4_000)))
    peak = np.argmax(spectrum[20:200]) + 20
    assert abs(peak * 4 % 200) in (0, 4, 196), "the loudest line is no harmonic of 200 Hz"


def test_a_recogniser_that_listens_along_hears_what_differs_and_says_where_to_go(tmp_path):
    guard()
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "max_source_positions": 100, "vocab_size": 40}
    special = {"pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0, "decoder_start_token_id": 0}
    WhisperModel(WhisperConfig(**sizes, **heads, **special)).save_pretrained(tmp_path)
    WhisperFeatureExtractor().save_pretrained(tmp_path)
    ear = WhisperEar(str(tmp_path))
    said = torch.from_numpy(voice(1.0, 150.0)[0].astype(np.float32) / 32768)[None]
    near, far = said + 1e-3 * torch.randn_like(said), torch.randn_like(said).mul(0.1).requires_grad_(True)
    assert ear(said, said) == 0 < ear(near, said) < ear(far, said)
    ear(far, said).backward()
    assert far.grad is not None and far.grad.abs().sum() > 0
    with pytest.raises(FileNotFoundError, match="give a folder"):
        WhisperEar(str(tmp_path / "nothing"))


def test_pitch_is_drawn_on_through_what_is_unvoiced():
    log_pitch, voicing = tasks.through_silence(np.array([0, 100, 0, 0, 400, 0], np.float32))
    assert np.allclose(np.exp(log_pitch), [100, 100, 158.74, 251.98, 400, 400], atol=0.1)
    assert voicing.tolist() == [0, 1, 0, 0, 1, 0]
    assert tasks.through_silence(np.zeros(5, np.float32))[1].sum() == 0


def test_spectra_are_zero_for_the_same_sound_and_grow_with_noise():
    rng = np.random.default_rng(0)
    sound = torch.from_numpy(voice(1.0, 130.0)[0].astype(np.float32) / 32768)[None]
    noise = torch.from_numpy(rng.standard_normal(sound.shape[1]).astype(np.float32))[None]
    loss = SpectralLoss()
    assert all(value < 2e-4 for value in loss(sound, sound).values())
    silent = torch.zeros(1, 16_000, requires_grad=True)
    sum(loss(silent, torch.zeros(1, 16_000)).values()).backward()
    assert silent.grad is not None and silent.grad.isfinite().all()
    little, much = loss(sound + 0.001 * noise, sound), loss(sound + 0.05 * noise, sound)
    assert all(0 < little[name] < much[name] for name in little)


def test_judges_and_maker_do_not_learn_from_each_others_losses():
    torch.manual_seed(0)
    made, recorded = torch.randn(2, 4_000, requires_grad=True), torch.randn(2, 4_000)
    adversary = Adversary()
    losses = adversary.losses(made, recorded)
    (losses["adversarial"] + losses["matching"]).backward(retain_graph=True)
    assert made.grad is not None and made.grad.abs().sum() > 0
    assert all(p.grad is None for p in adversary.parameters())
    made.grad = None
    losses["judge"].backward()
    assert made.grad is None and any(p.grad is not None for p in adversary.parameters())


def test_another_throat_leaves_time_alone():
    training = tasks.CodecTraining(perturb=1.0)
    torch.manual_seed(0)
    mel = torch.zeros(4, 20, 152)
    mel[:, 10, [30, 120]] = 5.0
    bent = tasks.perturb(mel, 80, training)
    assert bent.shape == mel.shape
    moved = (bent - bent[:, :1]).abs().sum(2).argmax(1)
    assert moved.tolist() == [10] * 4
    assert torch.equal(tasks.perturb(mel, 80, tasks.CodecTraining(perturb=0.0)), mel)


def test_what_is_kept_is_the_lower_tiers_and_losses_come_in_bursts():
    torch.manual_seed(0)
    training = tasks.CodecTraining(lose=1.0)
    kept = tasks.draw_kept(64, 40, training, torch.device("cpu"))
    assert kept.shape == (64, 40, 4)
    assert (kept[..., 1:] <= kept[..., :-1]).all(), "a tier without those below it"
    lost = kept[..., 0] == 0
    assert (lost.sum(1) <= 7).all() and lost.any(1).float().mean() > 0.2
    assert (~lost.any(1)).any(), "S is sent again with the next packet, half of the time"
