"""Words for feelings in three tiers, and what each means in numbers.

    word, factor = find("a bit nervous")   # nervousness, 0.5
    word.weights, word.valence             # over `CATEGORIES`; -1 … 1
    family("delight")                      # ("joy", "cheerfulness", "delight")

The tree is Parrott's (2001), primary, secondary and tertiary, with the neutral state as a seventh root; relations between
words are after TONE (https://arxiv.org/abs/2401.06810). Words, weights and relations were written for this project; they
stand in `ontology.tsv`, one feeling a line.
"""

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

# Weights are kept for these, in this order; neutral is the absence of the others.
CATEGORIES = ("neutral", "happy", "sad", "angry", "fearful", "disgusted", "surprised", "contempt")

# The words that stand for a category alone, whose dimensions are the category's.
PLAIN = ("neutral", "joy", "sadness", "anger", "fear", "disgust", "surprise", "contempt")

# How much stronger, or weaker, a feeling is for the words before it.
INTENSITY: dict[str, float] = {
    "a touch": 0.4, "slightly": 0.4, "mildly": 0.4, "vaguely": 0.4, "hardly": 0.2, "barely": 0.2, "a tiny bit": 0.3,
    "a bit": 0.5, "a little": 0.5, "a little bit": 0.5, "a tad": 0.4, "kind of": 0.6, "kinda": 0.6, "sort of": 0.6,
    "somewhat": 0.6, "moderately": 0.7, "fairly": 0.8, "rather": 0.8, "pretty": 0.9, "quite": 0.9, "just": 1.0,
    "feeling": 1.0, "really": 1.2, "so": 1.2, "truly": 1.2, "very": 1.25,
    "genuinely": 1.2, "seriously": 1.2, "deeply": 1.3, "terribly": 1.3, "awfully": 1.3, "super": 1.3, "too": 1.2,
    "bloody": 1.3, "damn": 1.3, "freaking": 1.3, "fucking": 1.4, "incredibly": 1.4, "extremely": 1.4, "absolutely": 1.4,
    "completely": 1.4, "totally": 1.4, "utterly": 1.4, "insanely": 1.4, "unbelievably": 1.4, "overwhelmingly": 1.4,
    "beyond": 1.3, "more": 1.1, "most": 1.3, "such": 1.1, "much": 1.1, "less": 0.6,
}  # fmt: skip
MOST_WORDS = 8  # of a phrase; what is longer is taken for a sentence
DENIED = 0.5  # who says "not happy" says half of the opposite


@dataclass(frozen=True)
class Word:
    """One feeling of the ontology.

    parent: the word above it; None for a primary. weights: (8,) in `CATEGORIES` order. valence, arousal, dominance: -1 …
    1. opposite, leads_to: other words. also: other names for it, everyday phrases among them.
    """

    name: str
    parent: str | None
    weights: tuple[float, ...]
    valence: float
    arousal: float
    dominance: float
    opposite: str
    leads_to: str
    also: tuple[str, ...]

    @property
    def strength(self) -> float:
        """How much is felt when the word is used alone: 0 for calm, 1 for plain joy or anger, more for fury."""
        return sum(self.weights[1:])

    @property
    def tier(self) -> int:
        """1 for a primary, 2 for a secondary, 3 for a tertiary feeling."""
        return len(family(self.name))


@cache
def words() -> dict[str, Word]:
    """All feelings by their first name, each family together."""
    _, *lines = (Path(__file__).parent / "ontology.tsv").read_text(encoding="utf-8").splitlines()
    found = {}
    for line in lines:
        name, parent, weights, numbers, opposite, leads_to, also = line.split("\t")
        others = tuple(filter(None, also.split(", ")))
        valence, arousal, dominance = map(float, numbers.split())
        row = weights_of(weights)
        found[name] = Word(name, parent or None, row, valence, arousal, dominance, opposite, leads_to, others)
    return found


@cache
def names() -> dict[str, Word]:
    """Every name and phrase that is understood."""
    return {name: word for word in words().values() for name in (word.name, *word.also)}


def weights_of(text: str) -> tuple[float, ...]:
    """Weights (8,) of "happy:0.6+sad:0.3", categories alone."""
    parts = dict(part.split(":") for part in text.split("+"))
    return tuple(float(parts.get(name, 0)) for name in CATEGORIES)


def find(text: str) -> tuple[Word, float]:
    """A feeling by name or phrase, and how strongly it is meant: "very sad", "a bit on edge", "not happy".

    Raises ValueError in one sentence, with the nearest known names, when it is none of ours.
    """
    if not text.strip():
        raise ValueError(f"No emotion is named: give a word such as {CATEGORIES[1]}, or leave it out for neutral.")
    phrase, factor, denied = " ".join(text.lower().replace("’", "'").split()), 1.0, False
    while phrase not in names():
        starts = [" ".join(phrase.split()[:n]) for n in (3, 2, 1)]
        adverb = next((start for start in starts if start in INTENSITY and start != phrase), None)
        if adverb:
            phrase, factor = phrase.removeprefix(adverb + " "), factor * INTENSITY[adverb]
        elif phrase.startswith("not "):
            phrase, factor, denied = phrase.removeprefix("not "), factor * DENIED, not denied
        else:
            raise ValueError(f"Unknown emotion '{text.strip()}': {_hint(phrase)}")
    word = names()[phrase]
    return (words()[word.opposite] if denied else word), factor


def _hint(phrase: str) -> str:
    if len(phrase.split()) > MOST_WORDS:
        return "give a word or a short phrase; what a sentence expresses is read by Emotion.from_text."
    near = difflib.get_close_matches(phrase, names(), n=3, cutoff=0.6)
    return f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(CATEGORIES)} and many other words."


def family(name: str) -> tuple[str, ...]:
    """From the primary feeling down to this one, one to three names."""
    word = words()[names()[name].name]
    return (word.name,) if word.parent is None else (*family(word.parent), word.name)


def leads_to(name: str, steps: int = 3) -> tuple[str, ...]:
    """What a feeling turns into as time goes by, itself first: ("betrayal", "bitterness", "resentment", "bitterness")."""
    path = [names()[name].name]
    for _ in range(steps):
        path.append(words()[path[-1]].leads_to)
    return tuple(path)


def dimensions(weights: np.ndarray) -> np.ndarray:
    """Valence, arousal and dominance (…, 3) in [-1, 1] of weights (…, 8): their sum over what each category has."""
    plain = np.array([[word.valence, word.arousal, word.dominance] for word in (words()[name] for name in PLAIN)])
    return np.clip(weights @ plain, -1, 1)


def nearest(weights: Sequence[float] | np.ndarray) -> Word:
    """The word whose weights lie nearest to these (8,); neutral does not count."""
    return min(words().values(), key=lambda word: math.dist(weights[1:], word.weights[1:]))
