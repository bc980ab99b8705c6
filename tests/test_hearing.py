"""What leads a portrait: features of a sound and of its tokens, known phones, lips that shut, and gates turned by hand."""

from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch

from mien.codec.model import load_codec
from mien.codec.phones import INDEX, PHONES, Segment
from mien.codec.reading import SKETCH, ReadingConfig, TokenReader, load_reader, sketches
from mien.media import load_sound
from mien.portrait.animator import Animator, AnimatorConfig
from mien.portrait.gates import NAMES, gains, plot, read_gates, watch
from mien.portrait.performer import Performer
from mien.portrait.speech import (
    HELD,
    TOLD,
    _by_ear,
    as_tokens,
    check_codec,
    closures,
    hear,
    hear_tokens,
    said,
)


@pytest.fixture(scope="module")
def voice() -> np.ndarray:
    return load_sound(Path(str(files("mien"))) / "assets" / "welcome.ogg").mono(16000)[: 3 * 16000]


@pytest.fixture(scope="module")
def codec():
    return load_codec()


@pytest.fixture(scope="module")
def heard(voice):
    return hear(voice, "codec")


def test_a_file_leads_as_its_sound_does_but_for_what_it_leaves_out(codec, voice, heard):
    tokens = codec.encode(voice)
    for kept in (0, 3):  # enhancement tiers change nothing
        read = hear_tokens(tokens.with_tiers(kept))
        assert np.array_equal(read.features, as_tokens(heard.features))
    assert len(read) == len(heard) == 75 and heard.features[:, TOLD:].any()
    assert np.abs(read.silent - heard.silent).mean() < 0.15


def test_tokens_read_the_same_in_any_cutting(codec, voice, monkeypatch):
    tokens, reader = codec.encode(voice, tiers=0), load_reader()
    whole = reader.read(codec, tokens)
    assert whole.posteriors_50hz.shape == (150, 40) and np.allclose(whole.posteriors_50hz.sum(1), 1, atol=1e-5)
    assert whole.posteriors_50hz.argmax(1).std() > 3  # several phones
    monkeypatch.setattr("mien.codec.reading.CHUNK", 7)
    parts = reader.read(codec, tokens)
    for name in ("semantic", "hidden", "posteriors_50hz", "sketch"):
        assert np.allclose(getattr(whole, name), getattr(parts, name), atol=1e-4), name
    loud = 10 * np.log10((voice.reshape(75, 640) ** 2).mean(1) + 1e-6)
    assert np.corrcoef(whole.level_db, loud)[0, 1] > 0.7


def test_nothing_said_is_nothing_read(codec):
    reading = load_reader().read(codec, codec.encode(np.zeros(0, np.float32)))
    assert reading.sketch.shape == (0, SKETCH) and reading.posteriors_50hz.shape == (0, 40)


def test_another_codecs_tokens_and_animators_are_refused(codec, voice):
    strange = replace(codec.encode(voice[:16000]), model="codec-24k")
    with pytest.raises(ValueError, match="codec-24k"):
        hear_tokens(strange)
    with pytest.raises(ValueError, match="codec-16k-v2"):
        check_codec("codec", "codec-16k-v2")
    check_codec("mel", "")


def test_known_phones_shut_and_rest_the_lips_where_they_are(heard, voice):
    phones = [Segment("AA", 0.4, 0.8), Segment("P", 0.8, 0.9), Segment("AA", 0.9, 1.2), Segment("sil", 1.2, 3.0, True)]
    silent, closed = said(phones, 75)
    assert silent[:10].all() and not silent[10:30].any() and silent[30:].all()
    assert closed[19:22].max() == 1 and not closed[:18].any() and not closed[24:].any()
    known = hear(voice, "codec", phones)
    assert np.array_equal(known.closed, closed) and np.array_equal(known.features, heard.features)


def test_closures_last_long_enough_to_be_seen():
    for start in np.arange(0.5, 1.0, 0.013):
        closed = closures([Segment("B", start, start + 0.03)], 50)
        assert (closed == 1).sum() >= HELD
    assert not closures([Segment("T", 0.5, 0.6)], 50).any()
    assert closures([Segment("M", 1.9, 2.4)], 50)[-1] == 1  # to the last frame and not beyond


def test_lips_shut_though_it_is_not_known_whether_for_p_or_b():
    odds = np.full((100, 40), 0.1 / 38)
    odds[:, INDEX["AA"]] += 0.9
    odds[50:55] = 0.2 / 38
    odds[50:55, INDEX["P"]], odds[50:55, INDEX["B"]] = 0.4, 0.4
    _, closed = _by_ear(odds / odds.sum(1, keepdims=True), np.zeros(50))
    assert (closed == 1).sum() >= HELD and not closed[30:].any() and not closed[:20].any()


def test_reader_hears_no_more_than_its_look_ahead():
    torch.manual_seed(0)
    reader = TokenReader(ReadingConfig(width=16)).eval()
    digits, sketch = torch.randint(0, 5, (1, 30, 5)), torch.randn(1, 30, SKETCH)
    before = reader(digits, sketch)[1]
    sketch[:, 20:] = 0
    after = reader(digits, sketch)[1]
    assert torch.equal(before[:, :20], after[:, :20]) and not torch.equal(before[:, 20:], after[:, 20:])
    assert before.shape == (1, 30, 2, len(PHONES))


def test_sketches_need_no_tiers(codec, voice):
    tokens = codec.encode(voice)
    for (a, x), (b, y) in zip(sketches(codec, tokens), sketches(codec, tokens.with_tiers(0)), strict=True):
        assert np.array_equal(a, b) and np.array_equal(x, y)


# -- gates -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def performer(heard, tmp_path_factory) -> Performer:
    """A small animator that has learned nothing, but moves."""
    from mien import checkpoints

    torch.manual_seed(1)
    config = AnimatorConfig(
        width=64, depth=2, heads=2, audio="codec", audio_width=heard.features.shape[1], codec="codec-16k"
    )
    model = Animator(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    path = tmp_path_factory.mktemp("animator") / "small.safetensors"
    checkpoints.save(path, dict(model.state_dict()), config.__dict__)
    return Performer(str(path))


def moved(performer, heard, **more) -> np.ndarray:
    return np.concatenate(list(performer.perform(heard, np.zeros((len(heard), 8), np.float32), **more)))


def test_gates_can_be_watched_and_turned(performer, heard):
    seen = watch(performer, heard)
    assert seen.shape == (75, 2, 4) and np.abs(seen).max() <= 1
    shut = watch(performer, heard, gates={"audio.mouth": 0})
    assert not shut[:, 0, 3].any() and shut[:, 0, 0].any()
    plain, turned = moved(performer, heard), moved(performer, heard, gates={"audio.mouth": 0})
    assert np.array_equal(plain, moved(performer, heard, gates={})) and not np.array_equal(plain, turned)
    assert plot(seen, heard).shape[2] == 3


def test_gates_that_are_none_are_told_by_name():
    assert read_gates(["audio.mouth=1.3", "style.head = 0"]) == {"audio.mouth": 1.3, "style.head": 0}
    assert np.array_equal(gains(None), np.ones((2, 4))) and len(NAMES) == 8
    for words, told in ((["audio.nose=1"], "audio.nose"), (["audio.mouth=7"], "out of range"), (["mouth"], "NAME=GAIN")):
        with pytest.raises(ValueError, match=told):
            read_gates(words)


def test_an_animator_of_another_codec_is_refused_when_it_is_loaded(performer, tmp_path):
    from mien import checkpoints

    config = replace(performer.config, codec="codec-other")
    checkpoints.save(tmp_path / "other.safetensors", dict(performer.model.state_dict()), config.__dict__)
    with pytest.raises(ValueError, match="codec-other"):
        Performer(str(tmp_path / "other.safetensors"))
