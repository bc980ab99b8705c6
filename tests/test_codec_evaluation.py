"""The codec's judges: identity is best, noise is worse, what cannot be judged is no score; the peers; the probes."""

import json
import shutil
import sys
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

import av
import numpy as np
import pytest

from mien.codec import baselines, evaluation, metrics, probes
from mien.codec.metrics import TOOLS, Judge, Verdict
from mien.layers.torchaudio_guard import guard
from mien.media import Sound, load_sound
from mien.media.sound import save_sound

WELCOME = Path(str(files("mien"))) / "assets" / "welcome.ogg"
QUICK = {"pesq": "pesq", "stoi": "pystoi", "f0": "pyworld"}  # tools that are ready at once


@pytest.fixture(scope="module")
def voice() -> np.ndarray:
    """The shipped voice, (S,) float32 at 16 kHz."""
    return load_sound(WELCOME).mono(16_000)


def quick_judge() -> Judge:
    for module in QUICK.values():
        pytest.importorskip(module, reason="needs the extra `eval`")
    return Judge(leave_out=TOOLS.keys() - QUICK.keys())


def noisy(voice: np.ndarray, level: float) -> np.ndarray:
    return (voice + level * np.random.default_rng(0).standard_normal(len(voice))).astype(np.float32).clip(-1, 1)


# -- figures -----------------------------------------------------------------------------------------------------------


def test_identity_is_best_and_noise_worse_the_more_there_is(voice):
    judge = quick_judge()
    original = judge.hear(voice)
    same = judge.compare(original, judge.hear(voice.copy())).figures
    assert same["pesq_wb"] > 4.6 and same["pesq_nb"] > 4.5 and same["stoi"] > 0.999 and same["estoi"] > 0.999
    assert same["log_mel"] == same["f0"] == same["voicing"] == 0
    rows = [same, *(judge.compare(original, judge.hear(noisy(voice, n))).figures for n in (0.003, 0.02, 0.1))]
    for name in ("pesq_wb", "pesq_nb", "stoi", "estoi", "log_mel", "voicing"):
        better = metrics.FIGURES[name][1]
        values = [row[name] if better == "higher" else -row[name] for row in rows]
        assert values == sorted(values, reverse=True) and values[0] > values[-1], name


@pytest.mark.parametrize("name", ["speaker", "wer", pytest.param("dnsmos", marks=pytest.mark.slow)])
def test_larger_tools_know_a_voice_from_noise(voice, name):
    module = {"speaker": "resemblyzer", "wer": "faster_whisper", "dnsmos": "speechmos"}[name]
    pytest.importorskip(module, reason="needs the extra `eval`")
    judge = Judge(leave_out=TOOLS.keys() - {name})
    if name not in judge.tools:
        pytest.skip(judge.notes[0])
    text = "Give me a picture and a voice, and I will give you a face that speaks."
    original = judge.hear(voice[3 * 16_000 // 2 :])
    clean = judge.compare(original, judge.hear(original.samples), text).figures
    worse = judge.compare(original, judge.hear(noisy(original.samples, 0.3)), text).figures
    if name == "speaker":
        assert clean["speaker"] == pytest.approx(1) and worse["speaker"] < 0.9
    elif name == "dnsmos":
        assert clean["dnsmos"] > 3 > 2 > worse["dnsmos"]
    else:
        assert clean["word_errors"] / clean["words"] < 0.35 < worse["word_errors"] / worse["words"]


def test_silence_fails_and_is_no_score(voice):
    judge = quick_judge()
    silence = np.zeros(16_000, np.float32)
    dead = judge.compare(judge.hear(silence), judge.hear(silence))
    assert not dead.figures and {"pesq_wb", "stoi", "log_mel", "f0"} <= dead.failed.keys()
    fine = judge.compare(judge.hear(voice), judge.hear(voice))
    found = metrics.summary([fine, dead, dead])["pesq_wb"]
    assert found["mean"] == fine.figures["pesq_wb"] and (found["n"], found["failed"]) == (1, 2)
    assert sum(found["reasons"].values()) == 2
    assert metrics.summary([dead])["stoi"]["mean"] is None


def test_a_codec_that_goes_mute_has_left_all_words_out(voice):
    judge = Judge(leave_out=TOOLS)
    judge.tools = {"wer": lambda samples: "you", "stoi": lambda *_: 1.0}  # Whisper makes up words in silence
    mute = np.zeros_like(voice)
    found = judge.compare(judge.hear(voice), judge.hear(mute), "give me a picture")
    assert found.figures == {"word_errors": 4, "words": 4, "letter_errors": 14, "letters": 14}
    assert found.failed["stoi"] == "what was decoded is silent"
    dead = judge.compare(judge.hear(mute), judge.hear(mute), "give me a picture")
    assert not dead.figures and dead.failed["wer"] == "there is nothing to hear"


def test_too_little_speech_is_a_failure_with_its_reason(voice):
    judge = quick_judge()
    scrap = judge.hear(voice[20_000:22_400])
    failed = judge.compare(scrap, scrap).failed
    assert "1/4 of a second" in failed["pesq_wb"] and "Not enough STFT frames" in failed["stoi"]


@pytest.mark.parametrize("name", sorted(TOOLS))
def test_a_missing_library_is_a_note(monkeypatch, voice, name):
    modules = {"pesq": "pesq", "stoi": "pystoi", "f0": "pyworld", "speaker": "resemblyzer", "dnsmos": "speechmos"}
    monkeypatch.setitem(sys.modules, modules.get(name, "faster_whisper"), None)
    judge = Judge(leave_out=TOOLS.keys() - {name})
    (note,) = judge.notes
    assert note.startswith(f"{name} is left out: {TOOLS[name][0]} is missing") and "pip install '.[eval]'" in note
    assert list(judge.compare(judge.hear(voice), judge.hear(voice), "hello").figures) == ["log_mel"]


def test_what_is_unknown_is_refused_in_a_sentence():
    with pytest.raises(ValueError, match="'mos' is no figure that can be left out"):
        Judge(leave_out=["mos"])
    pytest.importorskip("faster_whisper", reason="needs the extra `eval`")
    with pytest.raises(ValueError, match="no Whisper 'gigantic' is on this machine"):
        Judge(leave_out=TOOLS.keys() - {"wer"}, whisper="gigantic")


def test_distances_by_hand():
    noise = noisy(np.zeros(16_000, np.float32), 0.2)
    assert metrics.log_mel_distance(noise, noise / 2) == pytest.approx(20 * np.log10(2), rel=0.01)
    pitch = np.full(50, 200.0)
    pitch[:10] = 0
    assert metrics.f0_error(pitch, pitch * 2) == pytest.approx(1200)
    with pytest.raises(ValueError, match="voiced in both"):
        metrics.f0_error(pitch, 200 - pitch)


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("Mr. O'Brien didn't pay $5.", "mister obrien didnt pay five dollars"),
        ("In 1864, the 21st man [applause]", "in eighteen sixty four the twenty first man"),
        ("2,250 men", "two thousand two hundred fifty men"),
        ("Café – well-known & 3.5%", "cafe well known and three point five percent"),
        ("the 3rd, 12th and 40th", "the third twelfth and fortieth"),
    ],
)  # fmt: skip
def test_english_is_compared_as_spoken(written, spoken):
    assert metrics.normalised(written) == spoken


def test_word_errors_by_hand():
    found = metrics.word_errors("The cat sat on on a mat!", "the cat sat on the mat")
    assert found == {"word_errors": 2, "words": 6, "letter_errors": 3, "letters": 17}
    assert metrics.edits("kitten", "sitting") == 3 and metrics.edits("", "abc") == 3


def test_bootstrap_holds_the_mean_and_repeats_itself():
    values = np.random.default_rng(1).normal(2, 0.5, 40)
    found = metrics.bootstrap(values, np.ones(40), seed=3)
    assert found["mean_95"][0] < found["mean"] < found["mean_95"][1]
    assert found["median_95"][0] <= found["median"] <= found["median_95"][1]
    assert 0.15 < found["mean_95"][1] - found["mean_95"][0] < 0.5  # 4 * 0.5 / sqrt(40) is 0.32
    assert found == metrics.bootstrap(values, np.ones(40), seed=3)


def test_word_error_rate_is_that_of_the_whole():
    rows = [Verdict({"word_errors": 1, "words": 2}, {}), Verdict({"word_errors": 1, "words": 18}, {})]
    assert metrics.summary(rows)["wer"]["mean"] == pytest.approx(0.1)


def test_codebook_use_of_all_and_of_one_code():
    grid = np.stack(np.meshgrid(*map(np.arange, (5, 3, 2)), indexing="ij"), -1).reshape(-1, 3)
    full = metrics.codebook_use(grid, (5, 3, 2))
    assert full["code_perplexity"] == pytest.approx(1) and full["levels_used"] == [5, 3, 2] and full["frames"] == 30
    stuck = metrics.codebook_use(grid * 0, (5, 3, 2))
    assert stuck["code_perplexity"] == pytest.approx(1 / 30) and stuck["digit_perplexity"] == pytest.approx(
        [0.2, 1 / 3, 0.5]
    )


# -- the peers ---------------------------------------------------------------------------------------------------------


def in_time(voice: np.ndarray, decoded: np.ndarray) -> int:
    """By how many samples the loudness of what was decoded is late."""
    kernel = np.ones(160) / 160
    a, b = (np.convolve(np.abs(x), kernel, "same") for x in (voice, decoded))
    a, b = a - a.mean(), b - b.mean()
    return max(range(-800, 801, 16), key=lambda lag: float(np.dot(a[800:-800], np.roll(b, -lag)[800:-800])))


@pytest.mark.parametrize(("mode", "kbps"), [("700C", 0.7), ("1200", 1.2), ("2400", 2.4), ("3200", 3.2)])
def test_codec2_comes_back_in_time_at_its_rate(voice, mode, kbps):
    if not shutil.which("c2enc"):
        pytest.skip("needs the program c2enc")
    system = baselines.Codec2(mode)
    data = system.encode(voice)
    assert len(data) * 8 / (len(voice) / 16) == pytest.approx(kbps, rel=0.015)
    decoded = system.decode(data, len(voice))
    assert decoded.shape == voice.shape and decoded.dtype == np.float32
    assert abs(in_time(voice, decoded)) <= 80, "late by more than 5 ms"


def test_opus_comes_back_in_time_and_its_container_is_known(voice):
    if not shutil.which("opusenc"):
        pytest.skip("needs the program opusenc")
    system = baselines.Opus(6)
    data = system.encode(voice)
    assert 4 < len(data) * 8 / (len(voice) / 16) < 7.5
    assert 0.01 < baselines.container_bytes(data) / len(data) < 0.3
    assert abs(in_time(voice, system.decode(data, len(voice)))) <= 16


def test_container_is_what_is_not_sound(tmp_path, voice):
    path = tmp_path / "x.opus"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libopus", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(Sound(voice[:, None], 16_000).mono(48_000)[None], format="flt", layout="mono")
        frame.sample_rate = 48_000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            out.mux(packet)
    with av.open(str(path)) as back:
        sound = sum(packet.size for packet in back.demux() if packet.size)
    assert baselines.container_bytes(path.read_bytes()) == path.stat().st_size - sound
    assert baselines.container_bytes(b"no container") == 0


def test_codes_are_packed_to_the_bit():
    codes = np.random.default_rng(0).integers(0, 2048, (37, 3))
    data = baselines.pack(codes, 11)
    assert len(data) == -(-37 * 3 * 11 // 8)
    np.testing.assert_array_equal(baselines.unpack(data, 3, 11), codes)


@pytest.mark.slow
def test_codecs_of_transformers_by_their_folder(tmp_path, voice):
    guard()
    transformers = pytest.importorskip("transformers", reason="needs the extra `eval`")
    small = {"hidden_size": 16, "num_filters": 4, "upsampling_ratios": [8, 5, 4, 2], "codebook_dim": 16}
    made = {
        "encodec": transformers.EncodecModel(transformers.EncodecConfig(**small)),
        "mimi": transformers.MimiModel(
            transformers.MimiConfig(
                hidden_size=32, num_filters=4, num_hidden_layers=1, intermediate_size=32, num_attention_heads=2,
                num_key_value_heads=2, codebook_dim=16, vector_quantization_hidden_dimension=16, upsample_groups=32,
                num_quantizers=4,
            )
        ),
        "dac": transformers.DacModel(transformers.DacConfig(encoder_hidden_size=4, decoder_hidden_size=16, n_codebooks=4)),
    }  # fmt: skip
    for kind, model in made.items():
        model.save_pretrained(tmp_path / kind)
        peer = baselines.Peer(str(tmp_path / kind), 2)
        data = peer.encode(voice[:16_001])
        rate = {"encodec": 1.5, "mimi": 2 * 12.5 * 11 / 1000, "dac": 2 * 31.25 * 10 / 1000}[kind]
        assert peer.name == f"{kind} 2" and len(data) * 8 / 1000 == pytest.approx(rate, rel=0.1)
        assert peer.decode(data, 16_001).shape == (16_001,)
    with pytest.raises(ValueError, match="has 4 codebooks, not 9"):
        baselines.Peer(str(tmp_path / "mimi"), 9)
    with pytest.raises(ValueError, match="no rate with 3 codebooks"):
        baselines.Peer(str(tmp_path / "encodec"), 3)
    with pytest.raises(ValueError, match="is not on this machine"):
        baselines.Peer("facebook/encodec_of_nobody")


def test_programs_that_are_missing_are_told(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    systems, notes = baselines.installed()
    assert not systems and ["c2enc" in note or "opusenc" in note for note in notes] == [True, True]


# -- clips -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, voice) -> Path:
    lines = ["file,speaker_id,corpus,text,language,split,duration_s"]
    for number, (speaker, corpus, split, start) in enumerate(
        [
            ("ann", "a", "test", 0),
            ("ann", "a", "test", 1),
            ("ann", "a", "test", 2),
            ("bob", "b", "test", 3),
            ("cyd", "b", "val", 0),
        ]
    ):
        piece = voice[start * 16_000 : start * 16_000 + 40_000]
        save_sound(tmp_path / f"{number}.wav", Sound(piece[:, None], 16_000))
        lines.append(f"{number}.wav,{speaker},{corpus},give me a picture,en,{split},2.5")
    (tmp_path / "manifest.csv").write_text("\n".join(lines))
    return tmp_path


def test_clips_of_a_manifest_are_chosen_evenly(folder):
    assert [clip.path.name for clip in evaluation.read_clips(folder)] == ["0.wav", "1.wav", "2.wav", "3.wav"]
    assert [clip.path.name for clip in evaluation.read_clips(folder, None, ["b"])] == ["3.wav", "4.wav"]
    two = evaluation.read_clips(folder, limit=2)
    assert [clip.speaker for clip in two] == ["ann", "bob"] and two == evaluation.read_clips(folder, limit=2)
    drawn = {evaluation.read_clips(folder, limit=2, seed=seed)[0].path.name for seed in range(12)}
    assert drawn == {"0.wav", "1.wav", "2.wav"}
    with pytest.raises(ValueError, match="holds no such clip"):
        evaluation.read_clips(folder, shortest_s=3)
    with pytest.raises(FileNotFoundError, match="is no folder"):
        evaluation.read_clips(folder / "nowhere")


def test_clips_of_a_bare_folder_have_their_words_beside_them(folder):
    (folder / "manifest.csv").unlink()
    (folder / "1.txt").write_text("hello\n")
    clips = evaluation.read_clips(folder, shortest_s=1)
    assert len(clips) == 5 and [clip.text for clip in clips] == ["", "hello", "", "", ""]


# -- the whole ---------------------------------------------------------------------------------------------------------


@dataclass
class Coarse:
    """PCM of so many bits: a codec whose rate and damage are known."""

    bits: int
    note = "plain"

    @property
    def name(self) -> str:
        return f"pcm {self.bits}"

    def encode(self, samples):
        levels = ((samples + 1) / 2 * (2**self.bits - 1)).round().astype(np.int64)
        return baselines.pack(levels[:, None], self.bits)

    def decode(self, data, n_samples):
        levels = baselines.unpack(data, 1, self.bits)[:, 0][: n_samples - 7]  # a decoder that stops early
        return levels / (2**self.bits - 1) * 2 - 1


def test_a_trial_from_files_to_plot(folder, tmp_path):
    judge, steps = quick_judge(), []
    clips = evaluation.read_clips(folder)
    result = evaluation.evaluate(
        [Coarse(12), Coarse(6)], clips, judge, notes=["one more thing"], progress=lambda *step: steps.append(step)
    )
    fine, rough = (result["systems"][name]["figures"] for name in ("pcm 12", "pcm 6"))
    assert fine["kbps"]["mean"] == pytest.approx(192) and rough["kbps"]["mean"] == pytest.approx(96)
    assert fine["pesq_wb"]["mean"] > rough["pesq_wb"]["mean"] and fine["stoi"]["mean"] > rough["stoi"]["mean"]
    assert steps[-1] == (8, 8) and len(result["clips"]) == 4 and result["speakers"] == 2
    assert result["duration_s"] == pytest.approx(10)
    evaluation.write_json(result, tmp_path / "x.json")
    assert json.loads((tmp_path / "x.json").read_text()) == json.loads(json.dumps(result))
    shown = evaluation.table(result)
    assert "pcm 12" in shown and "one more thing" in shown and "4 clips, 0.2 min of 2 speakers" in shown
    with pytest.raises(ValueError, match="two systems have one name"):
        evaluation.evaluate([Coarse(6), Coarse(6)], clips, judge)
    pytest.importorskip("matplotlib", reason="needs the extra `eval`")
    evaluation.plot(result, tmp_path / "rate.png")
    assert (tmp_path / "rate.png").stat().st_size > 10_000


@dataclass
class Failing(Coarse):
    """One that fails on every second clip."""

    calls: int = 0

    def encode(self, samples):
        self.calls += 1
        if self.calls % 2:
            raise OSError("the program failed")
        return super().encode(samples)


def test_a_system_that_fails_on_a_clip_does_not_end_the_trial(folder, tmp_path):
    judge = Judge(leave_out=TOOLS)
    judge.tools = {"stoi": lambda *_: 1.0}
    result = evaluation.evaluate([Failing(6), Coarse(12)], evaluation.read_clips(folder), judge)
    failing, fine = (result["systems"][name]["figures"] for name in ("pcm 6", "pcm 12"))
    for name in ("kbps", "stoi", "log_mel"):
        assert (failing[name]["n"], failing[name]["failed"], fine[name]["n"]) == (2, 2, 4)
    assert failing["kbps"]["mean"] == pytest.approx(96)
    shown = evaluation.table(result)
    assert "pcm 6: the means of kbps, stoi, estoi, log_mel leave out 2 clips that failed: the program failed" in shown
    pytest.importorskip("matplotlib", reason="needs the extra `eval`")
    without = evaluation.evaluate([Coarse(12)], evaluation.read_clips(folder), Judge(leave_out=TOOLS))
    with pytest.raises(ValueError, match="nothing to plot"):
        evaluation.plot(without, tmp_path / "x.png")


# -- probes ------------------------------------------------------------------------------------------------------------


def clouds(apart: float, seed: int = 0) -> tuple[list[np.ndarray], list[str]]:
    """Frames of 120 clips by six people, whose means lie `apart` from one another."""
    rng = np.random.default_rng(seed)
    centres = apart * rng.standard_normal((6, 8))
    people = [n for n in range(6) for _ in range(20)]
    return [rng.standard_normal((30, 8)) + centres[n] for n in people], [f"s{n}" for n in people]


def test_speaker_probe_knows_what_is_there_and_not_what_is_not():
    clear = probes.probe_speaker(*clouds(1.0))
    assert clear["accuracy"] > 0.95 and clear["speakers"] == 6 and clear["clips"] == 120
    blind = probes.probe_speaker(*clouds(0.0))
    assert abs(blind["accuracy"] - 1 / 6) < 0.12 and blind["chance"] == pytest.approx(1 / 6)
    with pytest.raises(ValueError, match="two clips each"):
        probes.probe_speaker([np.zeros((3, 2))] * 2, ["a", "b"])


def test_emotion_probe_asks_actors_it_has_not_heard():
    rng = np.random.default_rng(0)
    moods, actors = rng.integers(0, 3, 120), [f"a{n % 6}" for n in range(120)]
    told = [rng.standard_normal((30, 4)) + np.eye(4)[mood] for mood in moods]
    names = [f"m{mood}" for mood in moods]
    assert probes.probe_emotion(told, names, actors, {"a4", "a5"})["macro_f1"] > 0.95
    silent = [rng.standard_normal((30, 4)) for _ in moods]
    assert probes.probe_emotion(silent, names, actors, {"a4", "a5"})["macro_f1"] < 0.5
    with pytest.raises(ValueError, match="to learn from and others to ask"):
        probes.probe_emotion(told, names, actors, set(actors))


def test_macro_f1_by_hand():
    truth, guess = np.array(list("aabb")), np.array(list("aaba"))
    assert probes.macro_f1(truth, guess) == pytest.approx((0.8 + 2 / 3) / 2)
    np.testing.assert_array_equal(probes.one_hot(np.array([[1, 0]]), (3, 2)), [[0, 1, 0, 1, 0]])


# -- our own codec -----------------------------------------------------------------------------------------------------


def test_our_codec_goes_through_its_bytes(folder):
    """An untrained one: what is counted is what was written, and the digits are those that were read back."""
    from mien.codec.model import Codec

    codec = Codec().ready()
    clips = evaluation.read_clips(folder, limit=2)
    systems = [evaluation.Ours(codec, 0, "0.27"), evaluation.Ours(codec, 3, "1.0")]
    result = evaluation.evaluate(systems, clips, Judge(leave_out=TOOLS))
    low, high = (result["systems"][name] for name in ("mien 0.27", "mien 1.0"))
    assert low["figures"]["kbps"]["mean"] < 0.5 < high["figures"]["kbps"]["mean"] < 1.3
    frames = sum(-(-len(load_sound(clip.path).mono(16_000)) // 640) for clip in clips)
    assert low["codebooks"]["semantic"]["frames"] == frames
    assert list(high["codebooks"]) == ["semantic", "tier 1", "tier 2", "tier 3", "voice"]


def test_codec_is_probed_on_unseen_speakers(folder):
    from mien.codec.model import Codec

    codec, clips = Codec().ready(), evaluation.read_clips(folder, None)
    found = probes.probe_codec(codec, clips)
    assert "left_out" in found["speaker"], "of test, only ann has two clips"
    assert "left_out" in found["emotion"], "no clip has a feeling"
    acted = [
        replace(clip, speaker="ab"[n % 2], split=["train", "test"][n % 2], emotion=["sad", "happy"][n // 2 % 2])
        for n, clip in enumerate(clips)
    ]
    found = probes.probe_codec(codec, acted)
    assert {name: row["clips"] for name, row in found["emotion"].items()} == {"S": 2, "G": 2, "log_mel": 2}
    found = probes.probe_codec(codec, [replace(clip, split="test") for clip in acted], clips_each=2)
    assert {name: row["clips"] for name, row in found["speaker"].items()} == {"S": 4, "G": 4, "log_mel": 4}
