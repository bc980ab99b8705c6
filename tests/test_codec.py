"""The codec: the same for every cutting, never hearing the future, and unshaken by whatever comes in."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from mien import checkpoints
from mien.codec import stream
from mien.codec.conversion import convert
from mien.codec.front import FRAME_LENGTH
from mien.codec.model import Codec, CodecConfig, DecoderState, FrameCodes, load_codec
from mien.codec.quantise import Quantiser
from mien.codec.vocoder import VocoderConfig
from mien.front import ASSETS
from mien.media import load_sound

SMALL = CodecConfig(
    name="small", n_mels=20, semantic_width=16, semantic_dilations=(1, 2), semantic_expansion=2, acoustic_width=16,
    acoustic_dilations=(1,), width=24, expansion=2, decoder_dilations=(1, 2), frame_width=16, frame_dilations=(1,),
    voice_width=12, vocoder=VocoderConfig(n_mels=20, width=24, dilations=(1,), expansion=2),
)  # fmt: skip


def small_codec(quantiser: str = "fsp") -> Codec:
    """A small codec with random weights, in which everything has a say."""
    torch.manual_seed(0)
    codec = Codec(replace(SMALL, quantiser=quantiser))
    for name, parameter in codec.named_parameters():
        if "modulation" in name or "head" in name:
            nn.init.normal_(parameter, std=0.2)
    return codec.ready()


@pytest.fixture(scope="module")
def codec() -> Codec:
    return small_codec()


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    """Three seconds that end within a frame."""
    return load_sound(ASSETS / "welcome.ogg").mono(16_000)[8000 : 8000 + 48_123]


@pytest.fixture(scope="module")
def trained() -> Codec:
    if not (checkpoints.FOLDER / "codec-16k.safetensors").is_file():
        pytest.skip("needs the trained codec")
    return load_codec()


def cuts(n_frames: int, rng: np.random.Generator) -> list[slice]:
    """A random cutting of so many frames."""
    edges = np.unique(np.concatenate([[0, n_frames], rng.integers(0, n_frames, rng.integers(1, n_frames))]))
    return [slice(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]


def all_codes(codec: Codec, samples: np.ndarray, pieces: list[slice]) -> FrameCodes:
    """Whole frames of samples through the encoder, cut into pieces."""
    state, found = codec.start_encoding(), []
    for piece in pieces:
        codes, state = codec.encode_step(samples[FRAME_LENGTH * piece.start : FRAME_LENGTH * piece.stop], state)
        found.append(codes)
    return FrameCodes(*(np.concatenate([getattr(c, name) for c in found]) for name in ("semantic", "tiers", "voice")))


def all_samples(codec: Codec, codes: FrameCodes, pieces: list[slice]) -> np.ndarray:
    state, found = codec.start_decoding(), []
    for piece in pieces:
        part = FrameCodes(codes.semantic[piece], codes.tiers[piece], codes.voice[piece])
        samples, state = codec.decode_step(part, state)
        found.append(samples)
    return np.concatenate(found)


@pytest.mark.parametrize("quantiser", ["fsp", "fsq"])
def test_codes_and_sound_are_the_same_for_any_cutting(quantiser, speech):
    codec = small_codec(quantiser)
    n = -(-len(speech) // FRAME_LENGTH)
    padded = np.pad(speech, (0, FRAME_LENGTH * (n + 1) - len(speech)))
    tokens = codec.encode(speech)
    sound = codec.decode(tokens)
    voices = tokens.voice[tokens.voice_of_frames()]
    whole = all_codes(codec, padded, [slice(0, n + 1)])
    for seed in range(4):
        rng = np.random.default_rng(seed)
        codes = all_codes(codec, padded, cuts(n + 1, rng))
        np.testing.assert_array_equal(codes.semantic, tokens.semantic)
        np.testing.assert_array_equal(codes.tiers, tokens.tiers)
        np.testing.assert_array_equal(codes.voice, whole.voice)
        cut = all_samples(codec, replace(codes, voice=voices), cuts(n, rng))
        np.testing.assert_allclose(cut[: len(speech)], sound, atol=1e-5)


def test_rows_of_a_batch_do_not_touch_each_other(codec, speech):
    a, b = codec.encode(speech[:16_000]), codec.encode(speech[16_000:32_000])
    n, k = len(a), SMALL.layout.tiers

    def tensor(*digits: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.stack(digits).astype(np.int64))

    def voice(tokens):
        return tokens.voice[tokens.voice_of_frames()]

    kept, known = torch.ones(2, n, 1 + k, dtype=torch.float64), torch.ones(2, n, 1, dtype=torch.float64)
    digits = tensor(a.semantic, b.semantic), tensor(a.tiers, b.tiers), tensor(voice(a), voice(b))
    start = DecoderState(None, codec.vocoder.start(2))
    with torch.inference_mode():
        both, _ = codec.utter(digits[0], digits[1], kept, digits[2], known, start)
    for row, tokens in zip(both.numpy(), (a, b), strict=True):
        np.testing.assert_allclose(row, codec.decode(tokens), atol=1e-5)


def test_recordings_heard_side_by_side_are_what_each_is_alone(codec, speech):
    sounds = torch.from_numpy(np.stack([speech[:6400], speech[9000:15400], speech[20000:26400]]))
    with torch.inference_mode():
        together = codec.encoder.listen(sounds, codec.start_encoding(3))
        for row, sound in enumerate(sounds):
            alone = codec.encoder.listen(sound[None], codec.start_encoding())
            for a, b in zip(together[:-1], alone[:-1], strict=True):
                assert torch.allclose(a[row], b[0], atol=1e-12)


def test_a_step_takes_whole_frames_and_gives_nothing_for_nothing(codec, speech):
    for n in (0, 320, 700):
        with pytest.raises(ValueError, match="whole frames of 640"):
            codec.encode_step(speech[:n], codec.start_encoding())
    none, _ = codec.encode_step(speech[:640], codec.start_encoding())
    sound, _ = codec.decode_step(none, codec.start_decoding())
    assert len(none) == 0 and sound.shape == (0,)


def test_the_future_never_changes_the_past_and_the_latency_is_as_stated(codec, speech):
    noise = np.random.default_rng(0).uniform(-1, 1, len(speech)).astype(np.float32)
    said = codec.encode(speech)
    before, reach = codec.decode(said), []
    for n in range(20_000, 20_000 + FRAME_LENGTH, 67):
        changed = np.concatenate([speech[:n], noise[n:]])
        # Blocks speak of their voice at their beginning; live, where latency counts, the voice comes when it is known.
        tokens = replace(codec.encode(changed), voice=said.voice, voice_starts=said.voice_starts)
        first = int(np.flatnonzero(codec.decode(tokens) != before)[0])
        reach.append(n - first)
    latency = SMALL.latency_ms * 16
    assert SMALL.latency_ms <= 80
    assert latency - 200 <= max(reach) <= latency, "between a sample's arrival and the first one it is heard in"


def test_the_latency_of_a_live_stream_holds_for_its_voice_too(codec, speech):
    def live(samples: np.ndarray) -> np.ndarray:
        frames = stream.encoded(codec, samples[: 60 * FRAME_LENGTH].reshape(-1, FRAME_LENGTH), 3)
        return np.concatenate(list(stream.decoded(codec, frames)))

    noise = np.random.default_rng(0).uniform(-1, 1, len(speech)).astype(np.float32)
    before = live(speech)
    for n in (FRAME_LENGTH * 12 - 1, 20_000, FRAME_LENGTH * 26 - 1):
        after = live(np.concatenate([speech[:n], noise[n:]]))
        assert np.array_equal(after[: n - int(16 * SMALL.latency_ms)], before[: n - int(16 * SMALL.latency_ms)])
        assert not np.array_equal(after, before)


def test_a_live_stream_says_what_a_file_says(codec, speech):
    tokens = codec.encode(speech, 2)
    blocks = [speech[i : i + FRAME_LENGTH] for i in range(0, len(speech), FRAME_LENGTH)]
    frames = list(stream.encoded(codec, blocks, 2))
    np.testing.assert_array_equal([f.semantic for f in frames], tokens.semantic)
    np.testing.assert_array_equal([f.tiers for f in frames], tokens.tiers)
    assert [i + 1 for i, f in enumerate(frames) if f.voice is not None] == [10, 25, 50]
    assert sum(len(s) for s in stream.decoded(codec, frames)) == FRAME_LENGTH * len(tokens)


@pytest.mark.parametrize("n", [0, 1, 160, 639, 640, 641, 1600])
def test_sounds_of_any_length_come_back_as_long(codec, speech, n):
    tokens = codec.encode(speech[:n])
    assert len(tokens) == -(-n // FRAME_LENGTH) == len(codec.features(speech[:n]).semantic)
    sound = codec.decode(tokens)
    assert sound.shape == (n,) and sound.dtype == np.float32 and np.isfinite(sound).all()


def test_what_is_no_sound_is_refused_with_a_sentence(codec, speech):
    holed = speech.copy()
    holed[7] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        codec.encode(holed)
    with pytest.raises(ValueError, match="one channel"):
        codec.encode(np.stack([speech, speech], 1))
    with pytest.raises(ValueError, match="voice lasts 0.00 s"):
        convert(codec, speech, speech[:0])


def test_another_codecs_tokens_are_refused(codec, speech):
    with pytest.raises(ValueError, match="made by the codec 'another'"):
        codec.decode(replace(codec.encode(speech), model="another"))


def test_lost_frames_are_bridged(codec, speech):
    tokens = codec.encode(speech)
    lost = np.zeros(len(tokens), bool)
    lost[20:26] = True
    whole, holed = codec.decode(tokens), codec.decode(tokens, lost)
    garbled = replace(tokens, semantic=np.where(lost[:, None], 0, tokens.semantic))
    assert np.isfinite(holed).all()
    assert np.array_equal(holed[: 20 * FRAME_LENGTH], whole[: 20 * FRAME_LENGTH])
    assert not np.array_equal(holed, whole)
    assert np.array_equal(codec.decode(garbled, lost), holed), "the digits of a lost frame mean nothing"


def test_an_unknown_voice_is_a_voice_of_its_own(codec, speech):
    tokens = codec.encode(speech)
    codes = FrameCodes(tokens.semantic, tokens.tiers, tokens.voice[tokens.voice_of_frames()])
    unknown = replace(codes, known=np.zeros(len(tokens)))
    heard, _ = codec.decode_step(unknown, codec.start_decoding())
    other, _ = codec.decode_step(replace(unknown, voice=(codes.voice + 1) % 5), codec.start_decoding())
    known, _ = codec.decode_step(codes, codec.start_decoding())
    assert np.array_equal(heard, other) and not np.allclose(heard, known, atol=1e-3)


@pytest.mark.parametrize("kind", ["square", "noise", "loud codec"])
def test_nothing_ever_clips(codec, speech, kind):
    rng = np.random.default_rng(0)
    if kind == "loud codec":
        codec = copy.deepcopy(codec)
        codec.connector.frames.bias.data[:-2] += 3.0
    samples = {"square": np.sign(speech), "noise": np.sign(rng.standard_normal(16_000))}.get(kind, speech)
    sound = codec.decode(codec.encode(samples.astype(np.float32)))
    assert np.abs(sound).max() <= 1.0
    assert kind != "loud codec" or np.abs(sound).max() > 0.95


def test_tiers_can_be_left_out_before_and_after(codec, speech):
    whole = codec.encode(speech)
    for n in range(SMALL.layout.tiers + 1):
        fewer = codec.encode(speech, n)
        assert fewer.tiers.shape == (len(whole), n, 5)
        np.testing.assert_array_equal(codec.decode(whole.with_tiers(n)), codec.decode(fewer))
    with pytest.raises(ValueError, match="0 enhancement tiers"):
        codec.encode(speech, 0).with_tiers(1)


@pytest.mark.parametrize("rule", ["fsp", "fsq"])
def test_digits_tell_the_values(rule):
    levels = (5, 4, 3, 2)
    quantiser = Quantiser(levels, rule).eval()
    x = torch.randn(7, 400, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 3
    values, digits, _ = quantiser(x)
    torch.testing.assert_close(quantiser.values(digits, torch.float64), values)
    for d, n in enumerate(levels):
        assert digits[..., d].unique().tolist() == list(range(n))
        order = x[..., d].flatten().argsort()
        assert (digits[..., d].flatten()[order].diff() >= 0).all(), "a larger value has no smaller digit"


def test_an_unknown_quantiser_is_refused():
    with pytest.raises(ValueError, match="no quantiser 'vq'"):
        Quantiser((3, 3), "vq")


def test_single_precision_hears_the_same(codec, speech):
    single = copy.deepcopy(codec).float()
    a, b = codec.encode(speech), single.encode(speech)
    digits = [np.concatenate([t.semantic.ravel(), t.tiers.ravel()]) for t in (a, b)]
    assert np.mean(digits[0] == digits[1]) >= 0.999


def test_words_are_kept_and_the_voice_is_exchanged(codec, speech):
    other = np.random.default_rng(0).standard_normal(16_000).astype(np.float32) * 0.1
    converted = convert(codec, speech, other)
    assert converted.shape == speech.shape
    assert not np.allclose(converted, convert(codec, speech, speech), atol=1e-3)


# With the trained weights


def test_silence_stays_silent(trained):
    sound = trained.decode(trained.encode(np.zeros(32_000, np.float32)))
    assert np.abs(sound).max() < 1e-3


def test_full_scale_speech_stays_within_bounds(trained, speech):
    sound = trained.decode(trained.encode(speech / np.abs(speech).max()))
    assert np.abs(sound).max() <= 1.0 and sound.std() > 0.3 * (speech / np.abs(speech).max()).std()


def test_trained_codes_are_the_same_for_any_cutting_and_precision(trained, speech):
    n = -(-len(speech) // FRAME_LENGTH)
    padded = np.pad(speech, (0, FRAME_LENGTH * (n + 1) - len(speech)))
    tokens = trained.encode(speech)
    codes = all_codes(trained, padded, cuts(n + 1, np.random.default_rng(0)))
    np.testing.assert_array_equal(codes.semantic, tokens.semantic)
    np.testing.assert_array_equal(codes.tiers, tokens.tiers)
    single = copy.deepcopy(trained).float().encode(speech)
    assert np.mean(single.semantic == tokens.semantic) >= 0.999
