"""How often the feeling of a sentence is read right, on sentences that people labelled.

    python -m mien.emotion.evaluation GoEmotions/test.tsv     # accuracy, mean F1, and both by category

Lines hold the text, a tab, and labels: names, or numbers of GoEmotions (Demszky et al. 2020, https://arxiv.org/abs/2005.00547),
a public set of Reddit comments under Apache-2.0 that is read where the user has it and is no part of mien. Its 28 labels are
grouped as its authors group them (Ekman's six and neutral); comments with labels of two groups are left out. Ekman's set
has no contempt: a reading of it counts as anger.
"""

import sys
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from mien.emotion.value import Emotion

GROUPS = {
    "happy": "happy joy amusement approval excitement gratitude love optimism relief pride admiration desire caring",
    "sad": "sad sadness disappointment embarrassment grief remorse shame guilt",
    "angry": "angry anger annoyance disapproval contempt",
    "fearful": "fearful fear nervousness",
    "disgusted": "disgusted disgust",
    "surprised": "surprised surprise realization confusion curiosity",
    "neutral": "neutral",
}
GROUP = {label: group for group, labels in GROUPS.items() for label in labels.split()}
GOEMOTIONS = (
    "admiration amusement anger annoyance approval caring confusion curiosity desire disappointment disapproval disgust "
    "embarrassment excitement fear gratitude grief joy love nervousness optimism pride realization relief remorse sadness "
    "surprise neutral"
).split()


@dataclass(frozen=True)
class Score:
    """accuracy: share read right. chance: share of the commonest category. macro_f1: mean of `f1` by category."""

    sentences: int
    accuracy: float
    chance: float
    macro_f1: float
    f1: dict[str, float]


def labelled(path: str | Path) -> list[tuple[str, str]]:
    """Sentences and their group, from a table of text and labels."""
    pairs = []
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        text, labels, *_ = line.split("\t")
        names = [GOEMOTIONS[int(label)] if label.isdigit() else label for label in labels.split(",")]
        groups = {GROUP[name] for name in names}
        if len(groups) == 1:
            pairs.append((text, groups.pop()))
    return pairs


def score(pairs: list[tuple[str, str]]) -> Score:
    """Read every sentence and compare."""
    told = Counter(want for _, want in pairs)
    read = [(want, GROUP[Emotion.from_text(text).category]) for text, want in pairs]
    right = Counter(want for want, got in read if want == got)
    found = Counter(got for _, got in read)
    f1 = {group: round(2 * right[group] / (told[group] + found[group]), 3) for group in told}
    n = len(pairs)
    return Score(n, round(right.total() / n, 3), round(max(told.values()) / n, 3), round(sum(f1.values()) / len(f1), 3), f1)


if __name__ == "__main__":
    for file in sys.argv[1:]:
        print(file, asdict(score(labelled(file))))
