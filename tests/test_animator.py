"""The motion DiT and its sampling: properties a user would notice if they failed."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mien.portrait.animator import EMOTIONS, GATE_REGIONS, MEMORY, WINDOW, Animator, AnimatorConfig, Conditions
from mien.portrait.motion import CHANNELS, REGIONS
from mien.portrait.sampling import Guidance, windows

CONFIG = AnimatorConfig(width=48, depth=2, heads=2, audio_width=11, style_width=24, audio_reach=5)
FRAMES = MEMORY + WINDOW
APERTURE = np.eye(CHANNELS, dtype=np.float32)[REGIONS["mouth"].start]


@pytest.fixture(scope="module")
def model() -> Animator:
    """Random weights, with those that start at zero made random, too, so that every path counts."""
    torch.manual_seed(3)
    model = Animator(CONFIG).eval()
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def conditions(batch: int = 1, **changes) -> Conditions:
    torch.manual_seed(5)
    yes = torch.ones(batch, dtype=torch.bool)
    given = Conditions(
        audio=torch.randn(batch, FRAMES, 11),
        style=torch.randn(batch, CONFIG.style_tokens, CONFIG.style_width),
        emotion=torch.zeros(batch, FRAMES, EMOTIONS),
        memory=torch.randn(batch, MEMORY, CHANNELS),
        has_audio=yes, has_style=yes, has_memory=yes,
    )  # fmt: skip
    return replace(given, **changes)


def out(model: Animator, given: Conditions, **more) -> torch.Tensor:
    torch.manual_seed(7)
    batch = len(given.audio)
    with torch.inference_mode():
        return model(torch.randn(1, WINDOW, CHANNELS).expand(batch, -1, -1), torch.full((batch,), 0.5), given, **more)


def test_a_fresh_model_moves_nothing():
    assert not out(Animator(CONFIG).eval(), conditions()).any()


def test_rows_do_not_touch_each_other(model):
    both = conditions(2)
    alone = replace(both, **{name: getattr(both, name)[1:] for name in both.__dataclass_fields__})
    assert torch.allclose(out(model, both)[1], out(model, alone)[0], atol=1e-5)


@pytest.mark.parametrize("name", ["audio", "style", "memory"])
def test_an_absent_condition_is_not_looked_at(model, name):
    no = torch.zeros(1, dtype=torch.bool)
    given = conditions(**{f"has_{name}": no})
    other = replace(given, **{name: getattr(given, name) + 1})
    assert torch.equal(out(model, given), out(model, other))
    assert not torch.allclose(out(model, given), out(model, conditions()))


def test_emotion_mixes_between_its_parts_and_zero_is_neutral(model):
    def felt(**weights: float) -> torch.Tensor:
        emotion = torch.zeros(1, FRAMES, EMOTIONS)
        for index, weight in weights.items():
            emotion[..., int(index[1])] = weight
        return out(model, conditions(emotion=emotion))

    calm, one, two, mixed = felt(), felt(e1=1.0), felt(e2=1.0), felt(e1=0.5, e2=0.5)
    assert not torch.allclose(calm, one)
    assert (mixed - one).norm() < (two - one).norm() and (mixed - two).norm() < (two - one).norm()


def test_gates_reach_their_own_region_and_can_be_turned(model):
    _, gates = model.with_gates(torch.randn(1, WINDOW, CHANNELS), torch.tensor([0.5]), conditions())
    assert gates.shape == (CONFIG.depth, 1, FRAMES, 2, len(GATE_REGIONS)) and gates.abs().max() <= 1
    off = torch.ones(2, len(GATE_REGIONS))
    off[:, 3] = 0
    assert not torch.allclose(out(model, conditions(), gate_gain=off), out(model, conditions()))


def sampled(model, audio, emotion=None, seed=0, **more) -> np.ndarray:
    emotion = np.zeros((len(audio), EMOTIONS), np.float32) if emotion is None else emotion
    return np.concatenate(list(windows(model, audio, emotion, None, APERTURE, seed=seed, **more)))


def test_any_length_and_the_same_seed_the_same_motion(model):
    audio = np.random.default_rng(0).normal(size=(131, 11)).astype(np.float32)
    first = sampled(model, audio)
    assert first.shape == (131, CHANNELS) and np.isfinite(first).all()
    assert np.array_equal(first, sampled(model, audio))
    assert not np.allclose(first, sampled(model, audio, seed=1))
    assert sampled(model, audio[:1]).shape == (1, CHANNELS)


def test_a_window_does_not_depend_on_sound_far_in_the_future(model):
    audio = np.random.default_rng(0).normal(size=(3 * WINDOW, 11)).astype(np.float32)
    later = audio.copy()
    later[2 * WINDOW :] += 1
    assert np.array_equal(sampled(model, audio)[:WINDOW], sampled(model, later)[:WINDOW])


def test_guidance_one_is_the_conditional_model_and_more_only_pushes_the_mouth_further(model):
    audio = np.random.default_rng(0).normal(size=(WINDOW, 11)).astype(np.float32)
    plain = sampled(model, audio, guidance=Guidance(audio=1))
    mild, strong = (sampled(model, audio, guidance=Guidance(audio=g)) for g in (1.25, 2.0))
    assert not np.allclose(plain, mild)
    assert not np.allclose(mild[:, REGIONS["mouth"]], strong[:, REGIONS["mouth"]])


def test_emotion_leaves_the_opening_of_the_lips_alone(model):
    """One step from noise: whatever is felt, the part of the clean motion along the lips' opening is the same."""
    from mien.portrait.sampling import guided

    lips = torch.from_numpy(APERTURE)
    emotion = torch.zeros(1, FRAMES, EMOTIONS)
    emotion[..., 2] = 1
    x, sigma = torch.randn(1, WINDOW, CHANNELS), torch.tensor(0.7)
    with torch.inference_mode():
        calm = guided(model, x, sigma, conditions(), lips, Guidance())
        felt = guided(model, x, sigma, conditions(emotion=emotion), lips, Guidance())
    assert not torch.allclose(calm, felt)
    assert torch.allclose(calm @ lips, felt @ lips, atol=1e-4)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="heads"):
        AnimatorConfig(width=50, heads=6)
