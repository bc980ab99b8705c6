"""The emotion reader: what it makes of a recording, and that it learns."""

import csv
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from mien import checkpoints
from mien.codec import emotion
from mien.codec.emotion import CATEGORIES, EmotionConfig, EmotionReader, at_level, load_reader, statistics
from mien.codec.model import Codec, CodecConfig, Features
from mien.codec.phones import PHONES, SILENCE
from mien.media.sound import Sound, save_sound
from mien.training import emotion as training

D = 6  # numbers of a frame where no codec is needed


@pytest.fixture(scope="module")
def codec():
    torch.manual_seed(0)
    return Codec(CodecConfig(semantic_width=16, acoustic_width=16, width=24, frame_width=16, voice_width=8)).ready()


@pytest.fixture
def reader():
    torch.manual_seed(0)
    return EmotionReader(EmotionConfig(n_features=48, hidden=8)).eval()


def speech(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, int(seconds * 16_000)).astype(np.float32)


@dataclass
class Listener:
    """Stands for a codec: hears every loud frame as speech whose features are its own number."""

    config = CodecConfig()
    mark: float = 0.0

    def float(self):
        return self

    def features(self, samples):
        n = -(-len(samples) // 640)
        loud = np.abs(np.pad(samples, (0, n * 640 - len(samples))).reshape(n, 640)).max(1) > 0.01
        odds = np.zeros((2 * n, len(PHONES)), np.float32)
        odds[np.arange(2 * n), np.where(loud.repeat(2), SILENCE + 1, SILENCE)] = 1
        rows = np.full((n, D // 2), self.mark, np.float32)
        return Features(rows, rows[:, :0], odds, rows[:, :0], 2 * rows)


def test_categories_are_the_projects():
    from mien.emotion.value import CATEGORIES as ours

    assert ours == CATEGORIES


@pytest.mark.parametrize(("seconds", "ends"), [(0, [0]), (0.01, [0.04]), (4, [4]), (6.5, [4, 5, 6, 6.52])])
def test_a_reading_a_second(codec, reader, seconds, ends):
    feeling = reader.read(codec, speech(seconds))
    np.testing.assert_allclose(feeling.times_s, ends)
    assert feeling.probabilities.shape == (len(ends), 8) and feeling.dimensions.shape == (len(ends), 3)
    np.testing.assert_allclose(feeling.probabilities.sum(1), 1, rtol=1e-5)
    assert (np.abs(feeling.dimensions) <= 1).all() and (feeling.probabilities[:, CATEGORIES.index("contempt")] == 0).all()
    assert list(feeling.odds) == list(CATEGORIES) and sum(feeling.odds.values()) == pytest.approx(1)
    assert feeling.odds[feeling.category] == max(feeling.odds.values())
    assert max(abs(feeling.valence), abs(feeling.arousal), abs(feeling.dominance)) <= 1


def test_the_microphones_gain_tells_nothing(codec, reader):
    loud, quiet = (reader.read(codec, gain * speech(2)) for gain in (1.0, 0.02))
    np.testing.assert_allclose(loud.probabilities, quiet.probabilities, atol=1e-4)
    assert np.sqrt(np.mean(at_level(0.001 * speech(1)) ** 2)) == pytest.approx(emotion.LEVEL, rel=0.01)
    assert not at_level(np.zeros(16_000, np.float32)).any()


def test_where_nobody_speaks_is_neutral_and_does_not_count(reader):
    torch.manual_seed(0)
    small = EmotionReader(EmotionConfig(n_features=D, hidden=8)).eval()
    frames = np.random.default_rng(0).normal(size=(300, D)).astype(np.float32)
    silent = small.feel(frames, np.zeros(300, bool))
    assert silent.category == "neutral" and silent.odds["neutral"] == 1 and silent.arousal == 0
    first = np.arange(300) < 100
    half = small.feel(frames, first)
    assert half.probabilities[-1, 0] == 1 and half.speech[-1] == 0
    alone = small.feel(frames[:100], first[:100])
    assert half.odds == pytest.approx(alone.odds, abs=0.1)


def test_another_codec_and_broken_sound_are_refused(codec, reader):
    other = EmotionReader(replace(reader.config, codec="codec-24k"))
    with pytest.raises(ValueError, match="learned from the codec 'codec-24k', not from 'codec-16k'"):
        other.read(codec, speech(1))
    with pytest.raises(ValueError, match="not numbers"):
        reader.read(codec, np.array([0.0, np.nan], np.float32))
    with pytest.raises(ValueError, match="one channel"):
        reader.read(codec, np.zeros((100, 2), np.float32))


def test_the_codec_reads_by_the_shipped_checkpoint(codec, reader, monkeypatch):
    monkeypatch.setattr(emotion, "load_reader", lambda: reader)
    assert codec.emotion(speech(1)).odds == reader.read(codec, speech(1)).odds


def test_statistics_are_those_of_speech():
    frames = np.array([[9.0], [1.0], [2.0], [4.0], [9.0]], np.float32)
    spoken = np.array([False, True, True, True, False])
    expected = np.array([7 / 3, np.std([1, 2, 4]), 1.5])
    np.testing.assert_allclose(statistics(frames, spoken), expected, rtol=1e-6)


def clips(seed: int, split: str = "train", n: int = 60) -> list[training.Clip]:
    """Clips of three feelings whose frames differ in mean, spread and pace, and some with a known arousal alone."""
    rng = np.random.default_rng(seed)
    out = []
    for i in range(n):
        kind = i % 4
        frames = rng.normal(size=(int(rng.integers(30, 120)), D))
        frames[:, 0] += 2.0 * (kind == 1)
        frames[:, 1] *= 3.0 if kind in (2, 3) else 1.0
        dimensions = training.DIMENSIONS_OF[("neutral", "happy", "angry", "angry")[kind]]
        if kind == 3:
            dimensions = (np.nan, 0.59, np.nan)
        category = ("neutral", "happy", "angry", None)[kind]
        spoken = rng.random(len(frames)) < 0.8
        corpus = "baved" if kind == 3 else "emodb"
        out.append(
            training.Clip(corpus, "a", split, category, np.array(dimensions, np.float32), frames.astype(np.float16), spoken)
        )
    return out


def test_it_learns_and_learns_the_same_again(tmp_path):
    settings = training.EmotionTraining(steps=150, batch=32)
    reader, again = (training.fit(clips(0), "codec-16k", settings) for _ in range(2))
    for name, tensor in reader.state_dict().items():
        torch.testing.assert_close(tensor, again.state_dict()[name], rtol=0, atol=0)
    found = training.evaluate(reader, clips(1, "test"))
    assert found["emodb"]["macro_f1"] > 0.85
    assert found["emodb"]["agreement"]["arousal"] > 0.5
    assert list(found["baved"]["agreement"]) == ["arousal"] and "macro_f1" not in found["baved"]
    table = found["emodb"]["confusion"]
    assert {name: sum(row.values()) for name, row in table.items()} == {"neutral": 15, "happy": 15, "angry": 15}
    assert len(training.table_of(table).splitlines()) == 4

    training.save(reader, tmp_path / "reader.safetensors")
    loaded = load_reader(str(tmp_path / "reader.safetensors"))
    one = clips(1)[0]
    said = [r.feel(one.frames.astype(np.float32), one.spoken).probabilities for r in (reader, loaded)]
    np.testing.assert_allclose(*said, atol=0.01)
    assert loaded.config == reader.config
    assert checkpoints.load(tmp_path / "reader.safetensors").config["codec"] == "codec-16k"


def test_concordance():
    truth = np.array([0.0, 1.0, 2.0])
    assert training.concordance(truth, truth) == pytest.approx(1)
    assert training.concordance(truth, truth + 1) == pytest.approx(2 * (2 / 3) / (4 / 3 + 1))
    assert training.concordance(truth, -truth + 2) == pytest.approx(-1)
    assert training.concordance(truth, np.ones(3)) == 0


COLUMNS = ("file", "speaker_id", "corpus", "emotion", "intensity", "split")
ROWS = [
    ("a.wav", "1", "ravdess", "calm", "strong", "train"),
    ("b.wav", "2", "emodb", "boredom", "", "val"),
    ("c.wav", "3", "baved", "", "high", "test"),
    ("d.wav", "4", "ravdess", "fear", "normal", "train"),
    ("missing.wav", "5", "librispeech", "", "", "train"),
    ("silent.wav", "6", "emodb", "happy", "", "train"),
]


def test_clips_are_those_of_acted_corpora(tmp_path):
    with pytest.raises(FileNotFoundError, match="no manifest.csv"):
        training.load_clips(tmp_path, Listener())
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *ROWS])
    for name in "abcd":
        save_sound(tmp_path / f"{name}.wav", Sound(speech(1)[:, None], 16_000))
    save_sound(tmp_path / "silent.wav", Sound.silence(1.0))
    heard = training.load_clips(tmp_path, Listener(mark=3.0))
    assert [clip.category for clip in heard] == ["neutral", None, None, "fearful"]  # nobody speaks in silent.wav
    np.testing.assert_allclose(heard[1].dimensions, 0.85 * np.array([-0.65, -0.62, -0.33]), rtol=1e-6)
    np.testing.assert_allclose(heard[2].dimensions, [np.nan, 0.6, np.nan], rtol=1e-6)
    np.testing.assert_allclose(heard[3].dimensions, 0.7 * np.array([-0.64, 0.60, -0.43]), rtol=1e-6)
    assert heard[0].frames.shape == (25, D) and heard[0].spoken.all()
    (tmp_path / "manifest.csv").write_text(",".join(COLUMNS) + "\nx.wav,1,kathleen,,,train\n")
    with pytest.raises(ValueError, match="lists none of ravdess"):
        training.load_clips(tmp_path, Listener())


def test_the_codec_that_hears_stays_as_it_is(codec, tmp_path):
    (tmp_path / "manifest.csv").write_text(",".join(COLUMNS) + "\na.wav,1,ravdess,calm,strong,train\n")
    save_sound(tmp_path / "a.wav", Sound(speech(1)[:, None], 16_000))
    before = {name: tensor.dtype for name, tensor in codec.state_dict().items()}
    training.load_clips(tmp_path, codec)
    assert {name: tensor.dtype for name, tensor in codec.state_dict().items()} == before


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("file,corpus,emotion,intensity,split\na.wav,ravdess,calm,strong,train", "no column 'speaker_id'"),
        (",".join(COLUMNS) + "\na.wav,1,ravdess,envy,strong,train", "a.wav has the emotion 'envy'"),
        (",".join(COLUMNS) + "\na.wav,1,ravdess,calm,huge,train", "a.wav has the intensity 'huge'"),
        (",".join(COLUMNS) + "\na.wav,1,baved,,huge,train", "are known low, normal, high"),
    ],
)
def test_a_list_that_cannot_be_learned_from_is_refused(table, words, tmp_path):
    (tmp_path / "manifest.csv").write_text(table)
    with pytest.raises(ValueError, match=words):
        training.load_clips(tmp_path, Listener())


def test_nothing_to_learn_from_is_refused():
    with pytest.raises(ValueError, match="of split 'train'"):
        training.fit([], "codec-16k")
