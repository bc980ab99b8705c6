"""Feeling as a value: eight categories with weights, mixtures, an intensity and a time line.

`Emotion` is what every room takes and gives; `ontology` knows the words for feelings, `text` reads what a sentence
expresses, `dialogue` carries a feeling from turn to turn; `facs` says what a face does with each category.
"""

from mien.emotion.ontology import CATEGORIES
from mien.emotion.value import Emotion

__all__ = ["CATEGORIES", "Emotion"]
