"""Emotions as a user writes them."""

import json
import math

import numpy as np
import pytest
from typer.testing import CliRunner

from mien.cli import app
from mien.emotion import CATEGORIES, Emotion, ontology
from mien.emotion.dialogue import follow
from mien.emotion.facs import RECIPES, spread
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
    assert not weights[:50].any() and weights[-1] == 1 and (np.diff(weights) >= 0).all() and np.diff(weights).max() < 0.2
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
        assert spread(RECIPES[category].shapes, BLENDSHAPES).any() == (category != "neutral")


def test_words_and_phrases_of_everyday():
    def intensity(text):
        return Emotion.read(text).frames(1).sum()

    assert Emotion.read("a bit nervous").category == "fearful" and Emotion.read("fed up").category == "angry"
    assert intensity("slightly sad") < intensity("sad") < intensity("extremely sad")
    assert Emotion.read("over the moon").frames(1)[0, HAPPY] > 1
    assert Emotion.read("not happy").category == "sad" and Emotion.read("not not happy").category == "happy"
    assert Emotion.read("very happy:0.4 + astonished:0.2").frames(1)[0, HAPPY] == pytest.approx(0.52)
    line = Emotion.read("0:calm 2.5:a bit on edge 4: over the moon")
    assert line.times_s == (0, 2.5, 4) and line.frames(200)[-1, HAPPY] > 1


def test_the_ontology_hangs_together():
    found = ontology.words()
    assert len(found) >= 150 and {word.tier for word in found.values()} == {1, 2, 3}
    assert len(ontology.names()) == sum(1 + len(word.also) for word in found.values()), "a name means two things"
    for word in found.values():
        assert word.opposite in found and word.leads_to in found, word.name
        assert max(map(abs, (word.valence, word.arousal, word.dominance))) <= 1 and 0 < sum(word.weights) <= 2, word.name
        other = found[word.opposite]
        ours, theirs = ((w.valence, w.arousal, w.dominance) for w in (word, other))
        assert math.dist(ours, theirs) > 0.3, f"{word.name} and {other.name} are much alike"
    for name in CATEGORIES:
        word, factor = ontology.find(name)
        assert factor == 1 and word.weights[CATEGORIES.index(name)] == sum(word.weights) == 1
        assert ontology.nearest(np.array(word.weights)) == word


def test_feelings_have_opposites_and_a_course():
    assert [ontology.find(f"not {name}")[0].name for name in ("love", "calm")] == ["hatred", "agitation"]
    assert ontology.leads_to("betrayed", 2) == ("betrayal", "bitterness", "resentment")
    assert ontology.family("delight") == ("joy", "cheerfulness", "delight")


def test_dimensions_of_a_mixture_lie_where_they_should():
    valence, arousal, dominance = Emotion.read("furious").dimensions[0]
    assert valence < -0.5 and arousal > 0.5 and dominance > 0
    assert Emotion.read(None).dimensions.tolist() == [[0, 0, 0]]
    assert Emotion.read("terrified").dimensions[0, 2] < 0 < Emotion.read("delighted").dimensions[0, 0]


def test_a_voice_gives_a_time_line():
    class Heard:
        times_s = np.array([4.0, 5.0, 6.0, 7.0, 8.0, 9.0])
        probabilities = np.eye(8)[[HAPPY] * 3 + [ANGRY] * 3]

    line = Emotion.from_voice(Heard()).frames(225)
    assert line[0, HAPPY] == 1 and line[0, ANGRY] == 0 and line[-1, ANGRY] == 1 and line[-1, HAPPY] == 0
    change = (line[:, ANGRY] > line[:, HAPPY]).argmax() / 25
    assert 4 < change < 5.5  # at seven seconds the reader has heard only the new feeling, from three seconds on


def test_a_voice_that_might_be_anything_leaves_a_face_calm():
    class Unsure:
        times_s = np.array([4.0, 5.0])
        probabilities = np.full((2, 8), 1 / 8)

    assert not Emotion.from_voice(Unsure()).frames(125).any() and Emotion.from_voice(Unsure()).category == "neutral"


def test_a_mood_lasts_and_passes_over():
    turns = [("ana", "I am furious."), ("ben", "The bus is late."), ("ana", "The bus is here.")]
    words, moods = follow(turns, inertia=0, contagion=0), follow(turns, inertia=0.5, contagion=0.3)
    assert [mood.category for mood in words] == ["angry", "neutral", "neutral"]
    first, second, third = (mood.frames(1)[0, ANGRY] for mood in moods)
    assert first > third > second > 0
    assert follow(turns, inertia=1)[2].frames(1)[0, ANGRY] == pytest.approx(first, abs=0.01)
    with pytest.raises(ValueError, match="contagion 2"):
        follow(turns, contagion=2)


def test_the_command_reads_a_sentence():
    result = CliRunner().invoke(app, ["emotion", "I can't believe you did this!", "--json"])
    answer = json.loads(result.stdout)
    assert result.exit_code == 0 and answer["category"] == "angry" and answer["valence"] < 0
    assert "angry" in CliRunner().invoke(app, ["emotion", "Leave me alone!"]).stdout
