"""`mien codec`: files and streams through the real commands, and a sentence for every mistake."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from test_codec import small_codec
from typer.testing import CliRunner

from mien import checkpoints
from mien.codec import evaluation, stream
from mien.codec.cli import app
from mien.codec.entropy import fit_tables
from mien.codec.metrics import TOOLS
from mien.codec.model import Codec, load_codec
from mien.front import ASSETS, animate
from mien.media import Sound, load_sound, save_sound

VOICE = ASSETS / "welcome.ogg"
RATES = {0.27: 0, 0.52: 1, 0.77: 2, 1.0: 3}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    codec = small_codec().float()
    checkpoints.save(path, codec.state_dict(), asdict(codec.config))
    return path


@pytest.fixture(scope="module")
def codec(model) -> Codec:
    return load_codec(str(model))


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    """A little more than three seconds, stereo at 22,050 Hz."""
    path = tmp_path_factory.mktemp("sound") / "in.flac"
    samples = load_sound(VOICE).resampled(22_050).samples[:70_001]
    save_sound(path, Sound(np.concatenate([samples[:, :1], samples[:, :1] / 2], 1), 22_050))
    return path


@pytest.fixture
def coded(sound, model, tmp_path) -> Path:
    assert command("encode", sound, "-o", tmp_path / "x.mc", "--model", model).exit_code == 0
    return tmp_path / "x.mc"


def command(*words: object, feed: bytes | None = None):
    return CliRunner().invoke(app, [str(word) for word in words], input=feed)


def refused(result, *words: str) -> None:
    """One sentence, no trace."""
    assert result.exit_code == 2 and result.stderr.startswith("mien: ") and result.stderr.count("\n") == 1, result.output
    for word in words:
        assert word in result.stderr


@pytest.mark.parametrize("kbps", RATES)
def test_a_file_and_back_at_every_rate(kbps, sound, model, codec, tmp_path):
    made = command("encode", sound, "-o", tmp_path / "x.mc", "--kbps", kbps, "--model", model, "--json")
    facts = json.loads(made.stdout)
    assert facts["bytes"] == (tmp_path / "x.mc").stat().st_size
    assert facts["kbps"] == pytest.approx(8 * facts["bytes"] / facts["duration_s"] / 1000)
    assert kbps < facts["kbps"] < 1.1 * kbps + 0.09, "header, checks and voice over three seconds"
    assert command("decode", tmp_path / "x.mc", "-o", tmp_path / "y.wav", "--model", model).exit_code == 0
    decoded, samples = load_sound(tmp_path / "y.wav"), load_sound(sound).mono(16_000)
    assert decoded.sample_rate == 16_000 and len(decoded.samples) == len(samples)
    wanted = codec.decode(codec.encode(samples, RATES[kbps]))
    np.testing.assert_allclose(decoded.mono(16_000), wanted, atol=1e-4)


def test_the_sound_can_be_had_at_another_rate(coded, model, tmp_path):
    assert command("decode", coded, "-o", tmp_path / "y.flac", "--rate", 48_000, "--model", model).exit_code == 0
    sound = load_sound(tmp_path / "y.flac")
    assert sound.sample_rate == 48_000 and sound.duration_s == pytest.approx(70_001 / 22_050, abs=1e-3)


def test_a_damaged_file_is_refused_or_concealed(coded, model, tmp_path):
    data = bytearray(coded.read_bytes())
    data[-3] ^= 0x55
    coded.write_bytes(data)
    out = tmp_path / "y.wav"
    refused(command("decode", coded, "-o", out, "--model", model), "damaged")
    assert not out.exists() and not list(tmp_path.glob("*.part"))
    found = command("decode", coded, "-o", out, "--damaged", "conceal", "--model", model, "--json")
    facts = json.loads(found.stdout)
    assert 0 < facts["frames_lost"] < facts["frames"] and load_sound(out).duration_s == facts["duration_s"]
    refused(command("decode", coded, "-o", out, "--damaged", "guess", "--model", model), "refuse or conceal")


def test_mistakes_are_answered_with_a_sentence(sound, coded, model, tmp_path):
    use = ("--model", model)
    refused(command("encode", sound, "-o", tmp_path / "x.mc", "--kbps", 0.3, *use), "0.27, 0.52, 0.77, 1.0")
    refused(command("encode", sound, "-o", tmp_path / "x.wav", *use), ".mc")
    refused(command("encode", tmp_path / "none.wav", "-o", tmp_path / "a.mc", *use), "does not exist")
    refused(command("decode", tmp_path / "none.mc", "-o", tmp_path / "y.wav", *use), "does not exist")
    refused(command("decode", sound, "-o", tmp_path / "y.wav", *use), "no mien file")
    refused(command("decode", coded, "-o", tmp_path / "y.aac", *use), ".wav or .flac or .ogg or .mp3")
    refused(command("decode", coded, "-o", tmp_path / "no" / "y.wav", *use), "folder")
    refused(command("decode", coded, "-o", tmp_path / "y.wav", "--model", "small"), "no weights are called 'small'")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.mc"]


def test_another_codecs_file_is_refused(coded, codec, tmp_path):
    config = asdict(codec.config) | {"name": "other"}
    checkpoints.save(tmp_path / "other.safetensors", codec.float().state_dict(), config)
    codec.ready()
    answer = command("decode", coded, "-o", tmp_path / "y.wav", "--model", tmp_path / "other.safetensors")
    refused(answer, "another codec than 'other'")


def test_tables_in_the_checkpoint_make_files_smaller(sound, codec, model, tmp_path):
    samples = load_sound(sound).mono(16_000)
    frequencies = torch.from_numpy(fit_tables([codec.encode(samples)])["frequencies"])
    checkpoint = checkpoints.load(str(model))
    checkpoints.save(
        tmp_path / "tables.safetensors", checkpoint.tensors | {"tables.frequencies": frequencies}, checkpoint.config
    )
    use = ("--model", tmp_path / "tables.safetensors")
    assert command("encode", sound, "-o", tmp_path / "coded.mc", *use).exit_code == 0
    assert command("encode", sound, "-o", tmp_path / "plain.mc", "--no-entropy", *use).exit_code == 0
    assert (tmp_path / "coded.mc").stat().st_size < 0.9 * (tmp_path / "plain.mc").stat().st_size
    for name in ("coded", "plain"):
        assert command("decode", tmp_path / f"{name}.mc", "-o", tmp_path / f"{name}.wav", *use).exit_code == 0
    assert (tmp_path / "coded.wav").read_bytes() == (tmp_path / "plain.wav").read_bytes()


def raw(n: int) -> bytes:
    return stream.pcm(load_sound(VOICE).mono(16_000)[8000 : 8000 + n])


@pytest.mark.parametrize("n", [0, 1, 16_123])
def test_a_stream_gives_as_many_samples_as_came(n, model):
    result = command("stream", "--model", model, feed=raw(n))
    assert result.exit_code == 0 and len(result.stdout_bytes) == 2 * n


def test_two_ends_of_a_line_say_what_one_command_says(model):
    packets = command("stream", "--encode", "--kbps", 0.52, "--model", model, feed=raw(32_000))
    assert len(packets.stdout_bytes) < 32_000 / 16_000 * 1500 / 8
    there = command("stream", "--decode", "--model", model, feed=packets.stdout_bytes)
    here = command("stream", "--kbps", 0.52, "--model", model, feed=raw(32_000))
    # A packet's voice counts for all its frames: the first comes a frame earlier than without packets.
    assert len(there.stdout_bytes) == len(here.stdout_bytes) == 64_000
    assert there.stdout_bytes[: 2 * 640 * 9] == here.stdout_bytes[: 2 * 640 * 9]
    refused(command("stream", "--decode", "--model", model, feed=raw(2000)), "no stream of mien packets")


@pytest.mark.parametrize("loss", [0.1, 0.5, 0.9])
def test_a_bad_network_leaves_a_sound_of_the_same_length(loss, model):
    found = command("stream", "--loss", loss, "--model", model, feed=raw(32_000))
    again = command("stream", "--loss", loss, "--model", model, feed=raw(32_000))
    assert found.exit_code == 0 and len(found.stdout_bytes) == 64_000
    assert found.stdout_bytes == again.stdout_bytes
    assert found.stdout_bytes != command("stream", "--model", model, feed=raw(32_000)).stdout_bytes


def test_a_listener_who_leaves_ends_the_stream_quietly(model):
    line = [sys.executable, "-m", "mien.codec", "stream", "--model", str(model)]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdin is not None and child.stdout is not None and child.stderr is not None
        child.stdin.write(raw(6400))
        child.stdin.flush()
        assert len(child.stdout.read(1280)) == 1280, "the first frame comes while more is awaited"
        child.stdout.close()
        try:
            child.stdin.write(raw(64_000))
            child.stdin.close()
        except BrokenPipeError:
            pass
        assert child.stderr.read() == b""
        assert child.wait(60) == 0


def test_packets_come_in_whole_frames_and_tell_their_rate(model):
    packets = command("stream", "--encode", "--kbps", 0.27, "--model", model, feed=raw(2000))
    n_bytes = len(packets.stdout_bytes) - packets.stdout_bytes.index(b"\n") - 1
    assert packets.stderr == f"mien: 2 packets, {n_bytes} bytes, {8 * n_bytes / 125:.2f} kbit/s\n"
    decoded = command("stream", "--decode", "--model", model, feed=packets.stdout_bytes)
    assert len(decoded.stdout_bytes) == 2 * 4 * 640 and not decoded.stderr
    lossy = command("stream", "--loss", 0.5, "--kbps", 0.27, "--model", model, feed=raw(2000))
    assert f" {n_bytes - 2} bytes" in lossy.stderr, "no lengths on the way"
    assert not command("stream", "--encode", "--model", model, feed=b"\0").stderr


def test_convert_asks_for_consent_and_keeps_the_length(sound, model, tmp_path):
    result = command("convert", sound, "--voice", VOICE, "-o", tmp_path / "y.wav", "--model", model)
    assert result.exit_code == 0 and "consent" in result.stderr and result.stderr.count("\n") == 1
    assert load_sound(tmp_path / "y.wav").duration_s == pytest.approx(load_sound(sound).duration_s, abs=1e-3)


def test_a_voice_needs_a_second(sound, model, tmp_path):
    save_sound(tmp_path / "ah.wav", Sound(load_sound(VOICE).samples[:4000], load_sound(VOICE).sample_rate))
    result = command("convert", sound, "--voice", tmp_path / "ah.wav", "-o", tmp_path / "y.wav", "--model", model)
    assert result.exit_code == 2 and "give some seconds of speech" in result.stderr.splitlines()[-1]


def test_graphs_are_not_written_over_a_file(model, tmp_path):
    (tmp_path / "out").write_text("mine")
    refused(command("export", "-o", tmp_path / "out", "--model", model), "is a file")


def test_features_are_arrays_of_25_hz(sound, model, tmp_path):
    assert command("features", sound, "-o", tmp_path / "x.npz", "--model", model).exit_code == 0
    with np.load(tmp_path / "x.npz") as found:
        assert found["semantic"].shape == (80, 5) and found["posteriors"].shape == (80, len(found["phones"]))
        np.testing.assert_allclose(found["posteriors"].sum(1), 1, atol=1e-5)


def test_bench_says_how_fast_and_how_large(model, codec):
    found = json.loads(command("bench", "--seconds", 2, "--model", model, "--json").stdout)
    assert found["latency_ms"] == codec.config.latency_ms
    assert found["parameters"]["all"] == sum(p.numel() for p in codec.parameters())
    for side in ("encode", "decode"):
        assert 0 < found[side]["rtf"] and 0 < found[side]["step_ms"]["p50"] <= found[side]["step_ms"]["p99"]
    assert "latency" in command("bench", "--seconds", 1, "--model", model).stdout


def test_eval_judges_a_folder(sound, model, tmp_path):
    clips = tmp_path / "clips"
    clips.mkdir()
    (clips / "a.flac").write_bytes(sound.read_bytes())
    leave_out = [word for name in ("pesq", "stoi", "speaker", "dnsmos", "f0", "wer") for word in ("--leave-out", name)]
    line = ["eval", clips, "--no-peers", *leave_out, "--model", model]
    found = json.loads(command(*line, "--json", "-o", tmp_path / "found.json").stdout)
    assert set(found["systems"]) == {"original", "mien 0.27", "mien 1.0"}
    assert json.loads((tmp_path / "found.json").read_text())["systems"].keys() == found["systems"].keys()
    assert "mien 0.27" in command(*line).stdout
    refused(command("eval", tmp_path / "none", "--model", model), "no folder")


def test_eval_refuses_before_it_judges_what_it_could_not_write(sound, model, tmp_path, monkeypatch):
    def judged(*_, **__):
        raise AssertionError("judged")

    monkeypatch.setattr(evaluation, "evaluate", judged)
    clips = tmp_path / "clips"
    clips.mkdir()
    (clips / "a.flac").write_bytes(sound.read_bytes())
    leave_out = [word for name in TOOLS for word in ("--leave-out", name)]
    line = ["eval", clips, "--no-peers", *leave_out, "--model", model]
    refused(command(*line, "-o", tmp_path / "no" / "x.json"), "folder")
    refused(command(*line, "-o", tmp_path / "x.txt"), ".json")
    refused(command(*line, "--plot", tmp_path / "x.jpg"), ".png or .svg or .pdf")
    assert command(*line, "--limit", 0).exit_code == 2
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "matplotlib", None)
        refused(command(*line, "--plot", tmp_path / "x.png"), "needs matplotlib")
    pytest.importorskip("matplotlib", reason="needs the extra `eval`")
    refused(command(*line, "--plot", tmp_path / "x.png"), "nothing to plot")


# With the trained weights


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (22_050, 2), (44_100, 1), (48_000, 2)])
def test_sounds_of_every_rate_through_the_trained_codec(rate, channels, tmp_path):
    if not (checkpoints.FOLDER / "codec-16k.safetensors").is_file():
        pytest.skip("needs the trained codec")
    sound = load_sound(VOICE).resampled(rate, mono=True)
    save_sound(tmp_path / "in.wav", Sound(np.repeat(sound.samples, channels, 1), rate))
    assert command("encode", tmp_path / "in.wav", "-o", tmp_path / "x.mc", "--kbps", 1.0).exit_code == 0
    assert command("decode", tmp_path / "x.mc", "-o", tmp_path / "out.wav", "--rate", rate).exit_code == 0
    decoded = load_sound(tmp_path / "out.wav")
    assert abs(decoded.duration_s - sound.duration_s) < 1e-3
    loudness = [20 * np.log10(s.mono(16_000).std()) for s in (sound, decoded)]
    assert abs(loudness[0] - loudness[1]) < 6


def test_a_coded_file_leads_a_portrait(sound, tmp_path):
    assert command("encode", sound, "-o", tmp_path / "call.mc", "--kbps", 0.27).exit_code == 0
    astronaut = {"landmarks": ASSETS / "astronaut.json", "size": 240}
    film = animate(ASSETS / "astronaut.jpg", tmp_path / "call.mc", **astronaut)
    assert len(film) == 80 and film.sound is not None
    assert film.sound.duration_s == pytest.approx(load_sound(sound).duration_s, abs=1e-3)
    assert next(iter(film)).shape == (240, 240, 3)
    (tmp_path / "broken.mc").write_bytes((tmp_path / "call.mc").read_bytes()[:-3])
    with pytest.raises(ValueError, match="cut off"):
        animate(ASSETS / "astronaut.jpg", tmp_path / "broken.mc", **astronaut)
