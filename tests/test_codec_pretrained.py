"""Big speech encoders of transformers, tried with tiny ones of random weights."""

import numpy as np
import pytest
import torch

from mien.codec.pretrained import CONTEXT, WINDOW, load_speech_encoder
from mien.layers.torchaudio_guard import guard

guard()
transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Saved models by kind, each with its preprocessor."""
    torch.manual_seed(0)
    waveform = {
        "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16,
        "conv_dim": (8,) * 7, "feat_extract_norm": "layer", "do_stable_layer_norm": True,
        "num_conv_pos_embeddings": 3, "num_conv_pos_embedding_groups": 1,
    }  # fmt: skip
    whisper = transformers.WhisperConfig(
        vocab_size=8, d_model=12, encoder_layers=3, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=16, decoder_ffn_dim=16, pad_token_id=0, bos_token_id=0, eos_token_id=0, decoder_start_token_id=0,
    )  # fmt: skip
    models = {
        "wav2vec2": transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**waveform)),
        "hubert": transformers.HubertModel(transformers.HubertConfig(**waveform)),
        "whisper": transformers.WhisperModel(whisper),
    }
    out = {}
    for name, model in models.items():
        out[name] = tmp_path_factory.mktemp(name)
        model.save_pretrained(out[name])
        kind = transformers.WhisperFeatureExtractor if name == "whisper" else transformers.Wav2Vec2FeatureExtractor
        kind(**({} if name == "whisper" else {"do_normalize": False})).save_pretrained(out[name])
    return out


@pytest.mark.parametrize("kind", ["wav2vec2", "hubert", "whisper"])
def test_frames_are_the_codecs(folders, kind):
    encoder = load_speech_encoder(folders[kind])
    rng = np.random.default_rng(0)
    for n in (0, 1, 640, 641, 16_000):
        features = encoder.features(rng.normal(0, 0.1, n).astype(np.float32))
        assert features.shape == (-(-n // 640), 12) and features.dtype == np.float32
        assert np.isfinite(features).all()


@pytest.mark.parametrize("kind", ["wav2vec2", "hubert", "whisper"])
@pytest.mark.parametrize("at", [0.25, 0.5, 0.75])
def test_a_click_is_heard_in_its_frame(folders, kind, at):
    encoder = load_speech_encoder(folders[kind], layer=0)
    clicks = np.zeros((2, 60 * 640), np.float32)
    for row, frame in zip(clicks, (13, 40), strict=True):
        row[int((frame + at) * 640)] = 0.9
    heard = [encoder.features(row) for row in clicks]
    difference = np.abs(heard[0] - heard[1]).sum(1)  # what does not depend on the click's place is in both
    assert set(np.argsort(difference)[-2:]) == {13, 40}


@pytest.mark.parametrize("kind", ["wav2vec2", "whisper"])
def test_long_sound_is_heard_in_windows(folders, kind):
    encoder = load_speech_encoder(folders[kind], layer=0)
    sound = np.random.default_rng(1).normal(0, 0.1, 640 * (2 * WINDOW - 4 * CONTEXT)).astype(np.float32)
    features = encoder.features(sound)
    assert features.shape == (2 * WINDOW - 4 * CONTEXT, 12)
    assert (np.abs(features).sum(1) > 0).all()
    first = encoder.features(sound[: 640 * WINDOW])
    np.testing.assert_allclose(features[: WINDOW - CONTEXT], first[: WINDOW - CONTEXT], atol=1e-5)
    if kind == "wav2vec2":  # whose first layer does not know where in its window it is: no seam
        start = WINDOW - CONTEXT
        part = encoder.features(sound[640 * (start - 40) : 640 * (start + 40)])
        np.testing.assert_allclose(features[start - 5 : start + 5], part[35:45], atol=1e-4)


def test_layers_differ_and_are_counted_from_either_end(folders):
    sound = np.random.default_rng(0).normal(0, 0.1, 8_000).astype(np.float32)
    heard = [load_speech_encoder(folders["whisper"], layer).features(sound) for layer in (0, 3, -1)]
    assert not np.allclose(heard[0], heard[1])
    np.testing.assert_array_equal(heard[1], heard[2])
    with pytest.raises(ValueError, match="has 3 layers, not a layer 4"):
        load_speech_encoder(folders["whisper"], 4)


def test_what_cannot_be_loaded_gets_a_sentence(folders, tmp_path):
    with pytest.raises(FileNotFoundError, match="not on this machine"):
        load_speech_encoder("nobody/has-this-model")
    with pytest.raises(FileNotFoundError, match="not on this machine"):
        load_speech_encoder(tmp_path)
    transformers.BertConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=1).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="kind 'bert'"):
        load_speech_encoder(tmp_path)
    transformers.WhisperConfig(d_model=12).save_pretrained(tmp_path)  # a config alone is no model
    with pytest.raises(FileNotFoundError, match="not on this machine"):
        load_speech_encoder(tmp_path)
    with pytest.raises(ValueError, match="one channel"):
        load_speech_encoder(folders["hubert"]).features(np.zeros((640, 2), np.float32))
