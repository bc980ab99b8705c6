"""What a sentence expresses, by a lexicon and a few rules of how English turns a feeling up, down and around.

    feel("I'm not angry, just really disappointed.")   # (8,) weights in `CATEGORIES` order, mostly sad

Words and phrases stand in `lexicon.tsv` (written for this project), one line for each mixture; the names of the ontology
are known besides. The longest phrase that fits is taken, so an everyday phrase can overrule its words.
"""

import re
from functools import cache
from pathlib import Path

import numpy as np

from mien.emotion.ontology import CATEGORIES, INTENSITY, names, weights_of

# A word, a number of marks, or any single sign; faces and emoji are put before these when the lexicon is read.
WORD = r"[a-z]+(?:'[a-z]+)?|[0-9]+|[!?]+|[.,;:…]+|\S"
SHORT = {
    "can't": "can not", "cant": "can not", "cannot": "can not", "won't": "will not", "wont": "will not", "im": "i am",
    "ive": "i have", "dont": "do not", "didnt": "did not", "doesnt": "does not", "isnt": "is not", "wasnt": "was not",
    "couldnt": "could not", "shouldnt": "should not", "wouldnt": "would not", "havent": "have not", "u": "you",
    "ur": "your", "ain't": "is not", "youre": "you are", "thats": "that is", "whats": "what is", "'cause": "because",
    "'m": " am", "'re": " are", "'s": " is", "'ll": " will", "'ve": " have", "'d": " would", "n't": " not",
}  # fmt: skip
DENIAL = frozenset("not no never without nobody none neither nor cannot hardly barely nothing lack lacks lacking".split())
NO_DENIAL = frozenset("only just sure wonder matter".split())  # "not only good", "no wonder", "no matter"
REACH = 4  # words back to which a feeling is denied or made stronger
TURN = frozenset(("but", "however", "yet"))
BEFORE_TURN, AFTER_TURN = 0.5, 1.3
# What is left of a feeling that is denied. Not to be surprised, angry or disgusted is to be calm.
DENIED = {"happy": weights_of("sad:0.5+angry:0.3"), "sad": weights_of("happy:0.2"), "fearful": weights_of("happy:0.2")}
QUESTION = 0.2  # a question lifts the brows a little, too little to be called surprise
MOST_WORDS = 8


def feel(sentence: str) -> tuple[float, ...]:
    """Weights (8,) in `CATEGORIES` order of what a text expresses; neutral 1 where nothing is felt."""
    lexicon, pattern = _lexicon()
    tokens, loud = _tokens(sentence, pattern)
    hits: list[tuple[float, np.ndarray]] = []
    said: list[str] = []  # since the last stop, without what already took part in a hit
    factor, at = 1.0, 0
    while at < len(tokens):
        size, row = _longest(tokens[at:], lexicon)
        if row is None:
            if tokens[at][0] in ".,;:…!?":
                said = []
            elif tokens[at] in TURN:
                hits = [(weight * BEFORE_TURN, felt) for weight, felt in hits]
                factor, said = AFTER_TURN, []
            else:
                said.append(tokens[at])
        else:
            denied, strength = _context(said)
            strength *= 1.2 if loud[at] else 1.0
            hits.append((factor * strength, _denied(row) if denied else row))
            if row[1:].any():
                said = []
            elif size == 1:  # "nothing" denies what follows, though a phrase such as "no doubt" does not
                said.append(tokens[at])
        at += size
    return _sum(hits, tokens)


def _sum(hits: list[tuple[float, np.ndarray]], tokens: list[str]) -> tuple[float, ...]:
    """All that was found as one mixture: the strongest of each category counts in full, what repeats it a third."""
    felt = np.zeros(len(CATEGORIES))
    if hits:
        rows = np.array([weight * row for weight, row in hits])
        felt = rows.max(0) + (rows.sum(0) - rows.max(0)) / 3
    felt[0] = 0
    marks = [token for token in tokens if token[0] in "!?"]
    if any(set("!?") <= set(mark) or mark.count("?") > 1 for mark in marks):
        felt[CATEGORIES.index("surprised")] += 0.4
    elif marks and "?" in marks[-1] and not felt.any():
        felt[CATEGORIES.index("surprised")] = QUESTION
    calls = sum(mark.count("!") for mark in marks)
    felt *= 1 + 0.1 * min(calls, 3)
    felt[felt < 0.25 * felt.max(initial=0.0)] = 0  # a mixture of two or three, not a trace of everything
    felt = felt.clip(0, 1.2).round(2)
    if not felt.any():
        felt[0] = 1
    return tuple(felt.tolist())


def _context(said: list[str]) -> tuple[bool, float]:
    """Whether the words before a feeling deny it, and the factor that they put on it."""
    near = said[-REACH:]
    denied = any(w in DENIAL and (near[k + 1 :] + [""])[0] not in NO_DENIAL for k, w in enumerate(near))
    strength = 1.0
    for n in (3, 2, 1):
        if (adverb := " ".join(near[-n:])) in INTENSITY:
            strength = INTENSITY[adverb]
            break
    return denied, strength


def _denied(row: np.ndarray) -> np.ndarray:
    return sum((row[CATEGORIES.index(name)] * np.array(left) for name, left in DENIED.items()), np.zeros(len(row)))


def _longest(tokens: list[str], lexicon: dict[tuple[str, ...], np.ndarray]) -> tuple[int, np.ndarray | None]:
    """How many tokens the longest known phrase at their head has, and its weights; (1, None) if none is known."""
    for size in range(min(MOST_WORDS, len(tokens)), 0, -1):
        if (row := lexicon.get(tuple(tokens[:size]))) is not None:
            return size, row
    return 1, next((lexicon[(stem,)] for stem in _stems(tokens[0]) if (stem,) in lexicon), None)


def _stems(word: str) -> list[str]:
    """What a word may be a form of, likeliest first: "worrying" of "worry", "hopefully" of "hopeful"."""
    endings = [("ies", "y"), ("ied", "y"), ("es", ""), ("es", "e"), ("s", ""), ("ed", ""), ("ed", "e"), ("ing", ""),
               ("ing", "e"), ("ly", ""), ("ily", "y"), ("er", ""), ("ier", "y"), ("est", ""), ("iest", "y"),
               ("ness", ""), ("in", "ing")]  # fmt: skip
    stems = [word.removesuffix(end) + put for end, put in endings if word.endswith(end) and len(word) > len(end) + 2]
    double = [stem[:-1] for stem in stems if len(stem) > 3 and stem[-1] == stem[-2]]  # "sobbing"
    drawn = re.sub(r"(.)\1{2,}", r"\1\1", word), re.sub(r"(.)\1{2,}", r"\1", word)  # "soooo", "nooo"
    return [*stems, *double, *drawn]


def _tokens(text: str, pattern: re.Pattern) -> tuple[list[str], list[bool]]:
    """Words, marks and faces, short forms written out; and which of them are in capitals."""
    tokens, loud = [], []
    for token in pattern.findall(text.replace("’", "'").replace("`", "'")):
        low = token.lower() if token[0].isalpha() else token
        cut = next((ending for ending in ("n't", "'m", "'re", "'s", "'ll", "'ve", "'d") if low.endswith(ending)), "")
        full = SHORT.get(low) or (low.removesuffix(cut) + SHORT[cut] if cut else low)
        for word in full.split():
            tokens.append(word)
            loud.append(len(token) > 2 and token.isupper())
    return tokens, loud


@cache
def _lexicon() -> tuple[dict[tuple[str, ...], np.ndarray], re.Pattern]:
    """Weights by the tokens of a phrase, and the pattern that cuts a text into tokens."""
    lines = (Path(__file__).parent / "lexicon.tsv").read_text(encoding="utf-8").splitlines()
    entries = {name: np.array(word.weights) for name, word in names().items()}
    for line in lines:
        if not line.startswith("#"):
            weights, phrases = line.split("\t")
            entries |= dict.fromkeys(phrases.split(", "), np.array(weights_of(weights)))
    faces = sorted((e for e in entries if not re.search("[a-z]{2}|[a-z ]$", e)), key=len, reverse=True)
    pattern = re.compile("|".join([*(_alone(face) for face in faces), WORD]), re.IGNORECASE)
    return {tuple(_tokens(phrase, pattern)[0]): row for phrase, row in entries.items()}, pattern


def _alone(face: str) -> str:
    """A face as a pattern; one of letters or digits must not be part of a word or a time."""
    inside = any(sign.isalnum() for sign in face)
    return rf"(?<!\w){re.escape(face)}(?!\w)" if inside else re.escape(face)
