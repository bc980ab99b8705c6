"""Feelings laid on a talker: as strong as asked, never at the lips' cost, and what is read in them told truly."""

import numpy as np
import pytest

from mien.emotion import CATEGORIES, Emotion
from mien.portrait.expression import SEEN, ExpressionJudge
from mien.portrait.feelings import felt, offsets
from mien.portrait.motion import load_space, rest_values
from mien.portrait.readings import INTENSITIES, MIXTURES, summary, table

FELT = CATEGORIES[1:]


def weights(words: str, frames: int, intensity: float = 1.0) -> np.ndarray:
    return Emotion.read(words, intensity).frames(frames)


@pytest.fixture(scope="module")
def talk() -> np.ndarray:
    """Lips that open and shut, a head that turns: (50, 36)."""
    space, values = load_space(), rest_values(50)
    opening = space.aperture_direction
    values += np.outer(np.abs(np.sin(np.arange(50) / 3)) * 0.12, opening / (opening @ opening))
    values[:, 1] = 0.1 * np.sin(np.arange(50) / 8)
    values[25] = rest_values(1)
    return values


@pytest.mark.parametrize("name", FELT)
def test_shut_lips_stay_shut_and_open_ones_keep_their_time(talk, name):
    space = load_space()
    before, after = space.aperture(talk), space.aperture(felt(talk, weights(name, len(talk))))
    assert abs(after[25] - before[25]) < 1e-4
    assert np.corrcoef(before, after)[0, 1] > 0.99 and (after > -1e-3).all()


def test_anger_opens_what_speech_opens_and_sorrow_does_not(talk):
    space = load_space()
    calm, angry, sad = (space.aperture(felt(talk, weights(name, 50))).max() for name in ("neutral", "angry", "sad"))
    assert angry > calm + 0.02 and sad < calm + 0.02


def test_strength_and_mixtures_are_exact(talk):
    calm, half, full = (felt(talk, weights("angry", 50, k))[:, 6:] for k in (0, 0.5, 1))
    assert np.array_equal(calm, talk[:, 6:]) and np.allclose(half - calm, (full - calm) / 2, atol=1e-5)
    mixed, other = felt(talk, weights("angry:0.5+sad:0.5", 50))[:, 6:], felt(talk, weights("sad", 50))[:, 6:]
    assert np.allclose(mixed, (full + other) / 2, atol=1e-5)


def test_neutral_adds_nothing():
    assert not offsets()[0].any()


def test_sorrow_slows_the_head_and_anger_does_not(talk):
    calm, sad, angry = (np.ptp(felt(talk, weights(name, 50))[:, 1]) for name in ("neutral", "sad", "angry"))
    assert sad < 0.7 * calm < calm < angry


def test_what_is_read_is_told_truly():
    """Two portraits: all is read rightly in one; in the other anger is taken for sorrow, and fades as it should grow."""
    sure = {name: np.eye(7)[SEEN.index(name)] for name in SEEN}
    odds = {"neutral": [sure["neutral"]] * 2}
    odds |= {f"{n} {s:g}": [s * sure[n] + (1 - s) * sure["neutral"]] * 2 for n in SEEN[1:] for s in INTENSITIES}
    odds |= {f"{a}+{b}": [(sure[a] + sure[b]) / 2] * 2 for a, b in MIXTURES}
    odds["angry 1"] = [sure["sad"], 0.4 * sure["angry"] + 0.6 * sure["sad"]]
    found = {"odds": odds, "identity": {"neutral": [1.0, 0.9]}, "sync": dict.fromkeys(odds, 0.5)}
    sums = summary(found)
    assert sums["right"] == {name: 0 if name == "angry" else 1 for name in SEEN} and sums["confusion"]["angry"][2] == 2
    assert [name for name, grows in sums["grows"].items() if not grows] == ["angry"]
    assert sums["between"]["happy+surprised"] and not sums["between"]["sad+angry"]  # more of anger than anger alone
    assert sums["identity"] == {"neutral": 0.95} and set(sums["sync"].values()) == {1.0}
    assert "86%" in table(sums)


def test_a_folder_without_the_network_is_told_in_a_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"face-api\.js"):
        ExpressionJudge(tmp_path)
