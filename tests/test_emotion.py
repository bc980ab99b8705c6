"""Emotions as a user writes them."""

import numpy as np
import pytest

from mien.emotion import CATEGORIES, Emotion
from mien.emotion.facs import RECIPES, blendshapes
from mien.portrait.tracking import BLENDSHAPES

HAPPY, SURPRISED, ANGRY = (CATEGORIES.index(name) for name in ("happy", "surprised", "angry"))


def test_words_mixtures_and_dicts_mean_the_same():
    mixed = Emotion.read("happy:0.6+surprised:0.4").frames(2)[0]
    assert mixed[HAPPY] == pytest.approx(0.6) and mixed[SURPRISED] == pytest.approx(0.4)
    assert np.array_equal(mixed, Emotion.read({"happy": 0.6, "surprised": 0.4}).frames(1)[0])
    assert Emotion.read(" Furious ").frames(1)[0, ANGRY] > Emotion.read("annoyed").frames(1)[0, ANGRY] > 0


def test_none_and_neutral_are_calm():
    for source in (None, "neutral", "calm", "neutral:0.3"):
        assert not Emotion.read(source).frames(3).any()


def test_intensity_scales():
    for intensity in (0, 0.5, 1.5):
        assert Emotion.read("sad", intensity).frames(1).sum() == pytest.approx(intensity)


def test_a_time_line_takes_over_smoothly():
    line = Emotion.read([(0, "calm"), (2.0, "angry")])
    weights = line.frames(100)[:, ANGRY]
    assert (
        not weights[:50].any() and weights[-1] == 1 and (np.diff(weights) >= 0).all() and np.diff(weights).max() < 0.2
    )
    assert np.array_equal(weights, Emotion.read("0:calm 2.0:angry").frames(100)[:, ANGRY])
    assert str(Emotion.read(str(line))) == str(line)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("hapy", "happy"),
        ("xyzzy", "known are neutral"),
        ("happy:lots", "no weight"),
        ("happy:-1", "no weight"),
        ([(2, "happy"), (1, "sad")], "ascend"),
        ([], "empty"),
        (["happy"], "time line"),
        ([(0, 3.2)], "no emotion"),
    ],
)
def test_mistakes_are_named(source, words):
    with pytest.raises(ValueError, match="(?i)" + words):
        Emotion.read(source)


def test_intensity_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"1\.5"):
        Emotion.read("happy", 2)


def test_recipes_name_real_shapes():
    sideless = {name.removesuffix("Left").removesuffix("Right") for name in BLENDSHAPES}
    for category, recipe in RECIPES.items():
        assert set(recipe.shapes) <= sideless | set(BLENDSHAPES), category
        assert blendshapes(category, BLENDSHAPES).any() == (category != "neutral")
