"""Feeling as a value: eight categories with weights, mixtures, an intensity and a time line.

`Emotion` is what every room takes and gives; `facs` says what a face does with each category.
"""

from mien.emotion.value import CATEGORIES, Emotion

__all__ = ["CATEGORIES", "Emotion"]
