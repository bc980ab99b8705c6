"""How a feeling is laid on a calm talker: its FACS recipe as motion, exactly as strong as it is asked for.

The network makes a person talk; what a feeling does to the face is added after it, a known vector a feeling, so it grows
with intensity, mixes, and has no part along the opening of the lips: what is said stays to be seen.
"""

from functools import cache

import numpy as np

from mien.emotion import CATEGORIES
from mien.emotion.facs import RECIPES, blendshapes
from mien.portrait.motion import REGIONS, MotionSpace, load_space, rest_values
from mien.portrait.tracking import BLENDSHAPES

FARTHEST = 3.0  # spreads of a channel that a feeling goes at most: rare shapes would tear


@cache
def offsets() -> np.ndarray:
    """The recipes in motion: (8, 36) what each of `CATEGORIES` adds at intensity 1; nothing to the lips' opening."""
    space = load_space()
    shapes = np.stack([blendshapes(name, BLENDSHAPES) for name in CATEGORIES])
    paint = space.from_blendshapes(shapes) - rest_values(1)
    paint[:, 10:] = FARTHEST * np.tanh(paint[:, 10:] / FARTHEST)
    for row, recipe in zip(paint, RECIPES.values(), strict=True):
        row[0], row[2], row[5] = recipe.pitch, recipe.roll, recipe.lean
    return off_the_lips(paint, space)


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
    return (out + weights @ offsets()).astype(np.float32)
