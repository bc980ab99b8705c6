"""Motion taken apart and put together again; what a face in motion is read to feel, and whose manner it has."""

import numpy as np
import pytest
import torch

from mien.emotion import CATEGORIES, Emotion
from mien.emotion.lifting import REACH, LiftingConfig, MotionReader
from mien.emotion.motion import read_motion
from mien.portrait.feelings import felt
from mien.portrait.motion import REGIONS, Motion, load_space, rest_values


@pytest.fixture(scope="module")
def reader() -> MotionReader:
    """Random weights everywhere, so that every path counts."""
    torch.manual_seed(1)
    reader = MotionReader(LiftingConfig(width=16)).double().eval()
    for parameter in reader.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return reader


@pytest.mark.parametrize("frames", [8, 64, 104])
def test_what_is_lifted_can_be_joined_again(reader, frames):
    x = torch.randn(2, 36, frames, dtype=torch.float64)
    lifted = reader.lift(x)
    assert [part.shape[-1] for part in (*lifted.details, lifted.slow)] == [frames // n for n in (2, 4, 8, 8)]
    assert all(0.01 < times.abs().max() <= REACH for times in lifted.times), "frames are read at times of their own"
    assert torch.allclose(reader.join(lifted), x, atol=1e-9)


def test_a_fresh_reader_keeps_every_eighth_frame():
    lifted = MotionReader(LiftingConfig()).lift(x := torch.randn(1, 36, 32))
    assert torch.equal(lifted.slow, x[..., ::8]) and torch.equal(lifted.details[0], x[..., 1::2])


def test_manner_comes_from_what_stays_and_feeling_from_what_changes(reader):
    lifted = reader.lift(torch.randn(1, 36, 64, dtype=torch.float64))
    style, emotion = reader.style(lifted), reader.emotion(lifted)
    lifted.details = [detail + 1 for detail in lifted.details]
    assert torch.equal(reader.style(lifted), style) and not torch.allclose(reader.emotion(lifted), emotion)


def talking(frames: int = 150) -> np.ndarray:
    """A calm head that nods while its lips move."""
    values, t = rest_values(frames), np.arange(frames) / 25
    values[:, 0] = 0.04 * np.sin(2 * np.pi * 0.7 * t)
    opening = load_space().aperture_direction
    return (values + 0.03 * (1 + np.sin(2 * np.pi * 3 * t))[:, None] * opening / (opening @ opening)).astype(np.float32)


@pytest.mark.parametrize("name", CATEGORIES[1:])
def test_a_feeling_on_a_talking_face_is_read(name):
    weights = np.zeros((150, 8), np.float32)
    weights[:, CATEGORIES.index(name)] = 1
    assert Emotion.from_motion(Motion(felt(talking(), weights))).category == name


def test_a_change_of_feeling_is_read_where_it_happens():
    weights = np.zeros((250, 8), np.float32)
    weights[125:, CATEGORIES.index("happy")] = 1
    line = Emotion.from_motion(Motion(felt(talking(250), weights))).frames(250)[:, CATEGORIES.index("happy")]
    assert line[:60].max() < 0.3 and line[-60:].min() > 0.6


def test_takes_of_other_rates_are_read_alike_and_blinks_are_no_feeling():
    weights = np.zeros((150, 8), np.float32)
    weights[:, CATEGORIES.index("angry")] = 1
    values = felt(talking(), weights)
    fast = np.repeat(values, 2, 0)
    blinking = values.copy()
    blinking[40:45, REGIONS["lids"]] *= 0.2
    seen = [read_motion(values).probabilities.mean(0), read_motion(fast, 50).probabilities.mean(0)]
    assert np.abs(seen[0] - seen[1]).max() < 0.1
    assert np.abs(read_motion(blinking).probabilities.mean(0) - seen[0]).max() < 0.2


def test_a_take_too_short_to_read_is_told_in_a_sentence():
    with pytest.raises(ValueError, match="0.40 s of a face show no feeling"):
        Emotion.from_motion(Motion(rest_values(10)))
