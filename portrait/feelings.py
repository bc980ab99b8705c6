"""How a feeling is laid on a calm talker: its FACS recipe as motion, exactly as strong as it is asked for.

The network makes a person talk; what a feeling does to the face is added after it, a known vector a feeling, so it grows
with intensity and mixes. Where speech shuts the lips they stay shut: the part of a recipe that opens them (anger bares
teeth, surprise drops the jaw) comes only as far as speech has opened them already.
"""

from functools import cache

import numpy as np

from mien.emotion import CATEGORIES
from mien.emotion.facs import RECIPES, spread
from mien.portrait.motion import REGIONS, MotionSpace, load_space, rest_values
from mien.portrait.tracking import BLENDSHAPES

FARTHEST = 3.6  # spreads of a channel that a feeling goes at most: rare shapes would tear
# Many of the films that taught the animator show spokespersons, who smile by trade: what their calm has of a smile.
TRADE = {"mouthSmile": 0.2, "mouthStretch": 0.2}
SPOKEN = 0.6  # opening of the lips, IOD, at which a feeling would open them by all that its recipe says: lips pay else


@cache
def recipes() -> np.ndarray:
    """The FACS recipes in motion: (8, 36) what each of `CATEGORIES` adds at intensity 1."""
    shapes = np.stack([spread(RECIPES[name].shapes, BLENDSHAPES) for name in CATEGORIES])
    paint = load_space().from_blendshapes(shapes) - rest_values(1)
    paint[:, 10:] = FARTHEST * np.tanh(paint[:, 10:] / FARTHEST)
    for row, recipe in zip(paint, RECIPES.values(), strict=True):
        row[0], row[2], row[5] = recipe.pitch, recipe.roll, recipe.lean
    return paint


@cache
def trade_smile() -> np.ndarray:
    """The smile (36,) that the animator's calm talkers wear on top of a calm face."""
    space = load_space()
    return off_the_lips(space.from_blendshapes(spread(TRADE, BLENDSHAPES)[None]) - rest_values(1), space)[0]


@cache
def offsets() -> np.ndarray:
    """What each feeling adds to any face, talking or not: (8, 36), nothing of it along the opening of the lips."""
    return off_the_lips(recipes(), load_space())


def off_the_lips(change: np.ndarray, space: MotionSpace) -> np.ndarray:
    """A change of motion (T, 36) without its part along the lips' opening, taken back by what real mouths do most easily."""
    opening = space.aperture_direction
    easily = np.zeros_like(opening)
    mouth = REGIONS["mouth"]
    easily[mouth] = opening[mouth] * space.std[mouth] ** 2
    return change - (change @ opening)[:, None] * easily / (opening @ easily)


def liveliness(weights: np.ndarray) -> np.ndarray:
    """(T, 8) weights to a factor (T, 1) on the head's motion: sorrow is slow, anger and joy are not."""
    gains = np.array([recipe.gain for recipe in RECIPES.values()], np.float32)
    return np.exp(weights @ np.log(gains))[:, None]


def felt(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Calm motion (T, 36) in natural units and the weights of what is felt (T, 8) to motion that shows it."""
    out = values.copy()
    out[:, : REGIONS["scale"].stop] *= liveliness(weights)
    opened = np.maximum(load_space().aperture(values) / SPOKEN, 0)[:, None]
    return (out + weights @ offsets() + opened * (weights @ (recipes() - offsets()))).astype(np.float32)
