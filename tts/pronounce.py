"""How English words are said: the CMU dictionary, words of two sounds by their neighbours, endings, and letters at last.

    pronounce("record", ["to"], ["it"])     # ("R", "AH0", "K", "AO1", "R", "D"), the verb
    pronounce("record", ["a"], [])          # ("R", "EH1", "K", "ER0", "D"), the noun

Phones are those of `mien.codec.phones`, vowels with their stress: 1 primary, 2 secondary, 0 none. The dictionary is that of
Carnegie Mellon University (https://github.com/cmusphinx/cmudict, BSD-2, its licence at the head of `cmudict.xz`); rules for
words of two sounds stand in `heteronyms.tsv` and were written for this project.
"""

import lzma
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from mien.tts.letters import load_letters

LETTERS = {
    "a": "EY1", "b": "B IY1", "c": "S IY1", "d": "D IY1", "e": "IY1", "f": "EH1 F", "g": "JH IY1", "h": "EY1 CH",
    "i": "AY1", "j": "JH EY1", "k": "K EY1", "l": "EH1 L", "m": "EH1 M", "n": "EH1 N", "o": "OW1", "p": "P IY1",
    "q": "K Y UW1", "r": "AA1 R", "s": "EH1 S", "t": "T IY1", "u": "Y UW1", "v": "V IY1", "w": "D AH1 B AH0 L Y UW0",
    "x": "EH1 K S", "y": "W AY1", "z": "Z IY1",
}  # fmt: skip
# Words that the dictionary lacks or says in a way that is not the usual one.
OWN = {
    "covid": "K OW1 V IH0 D", "selfie": "S EH1 L F IY0", "emoji": "IH0 M OW1 JH IY0", "podcast": "P AA1 D K AE2 S T",
    "bitcoin": "B IH1 T K OY2 N", "blockchain": "B L AA1 K CH EY2 N", "vlog": "V L AA1 G", "app": "AE1 P",
    "tweet": "T W IY1 T", "meme": "M IY1 M", "hashtag": "HH AE1 SH T AE2 G", "ok": "OW2 K EY1", "mien": "M IY1 N",
    "email": "IY1 M EY2 L", "emails": "IY1 M EY2 L Z", "e-mail": "IY1 M EY2 L", "wow": "W AW1", "hmm": "HH AH1 M",
    "ugh": "AH1 G", "yuck": "Y AH1 K", "ew": "Y UW1", "eww": "Y UW1", "phew": "F Y UW1", "haha": "HH AA1 HH AA2",
    "hm": "HH AH1 M", "mhm": "AH0 M HH AH1 M", "uh": "AH1", "um": "AH1 M", "shh": "SH AH1", "psst": "P S AH1 T",
    "tsk": "T IH1 S K", "brr": "B ER1", "grr": "G ER1", "pfft": "F AH1 T", "mm": "AH1 M", "aha": "AA2 HH AA1",
    "and": "AE1 N D", "phd": "P IY2 EY2 CH D IY1", "wifi": "W AY1 F AY2", "vs": "V ER1 S AH0 S",
}  # fmt: skip
# Said without stress unless they are emphasised; the others of their kind keep theirs, as the synthesiser's teacher reads.
WEAK = frozenset("a an the of to and for in is".split())
VOICELESS = frozenset(("P", "T", "K", "F", "TH"))
HISSING = frozenset(("S", "Z", "SH", "ZH", "CH", "JH"))
TO = frozenset(
    "to will would can could may might must should shall do does did don't doesn't didn't can't couldn't won't "
    "wouldn't shouldn't i'll you'll we'll they'll he'll she'll it'll i'd you'd we'd they'd let's please not never always "
    "cannot i you we they help helps helped make makes let lets".split()
)
HE = frozenset("he she it who that which this everybody everyone nobody somebody someone".split())
THE = frozenset(
    "the a an this that these those my your his her its our their whose no any some every each another such what one two "
    "three four five six seven eight nine ten first second last next new old big small good bad best great own".split()
)
OF = frozenset("of in on at for from with by without about into under over as than".split())
HAVE = frozenset(
    "have has had having i've you've we've they've haven't hasn't hadn't be been being was were is are am wasn't weren't "
    "isn't aren't get gets got getting it's i'm you're we're they're".split()
)
VERY = frozenset("very so too quite rather really more most as pretty how".split())
OBJECT = frozenset(
    "the a an this that these those my your his her its our their it him them me us you all everything".split()
)
CLASSES = {"@to": TO, "@he": HE, "@have": HAVE, "@very": VERY}
START, END = "^", "$"  # of a sentence, as cues


@dataclass(frozen=True)
class Rule:
    """A way of saying a word, and when: what part of speech it is, words before and after, words anywhere near."""

    word: str
    phones: tuple[str, ...]
    part: str
    before: frozenset[str]
    after: frozenset[str]
    near: frozenset[str]

    def fits(self, word: str, before: Sequence[str], after: Sequence[str]) -> bool:
        """Whether the word, as written, is said so between these; what the rule does not ask for fits."""
        last = before[-1].lower() if before else START
        following = after[0].lower() if after else END
        return (
            (self.word.islower() or word[0].isupper())
            and (not self.part or (_is_verb if self.part == "verb" else _is_noun)(word, last, following))
            and (not self.before or last in self.before)
            and (not self.after or following in self.after)
            and (not self.near or any(other.lower() in self.near for other in (*before[-NEAR:], *after[:NEAR])))
        )


NEAR = 6  # words


def _is_verb(word: str, last: str, following: str) -> bool:
    """Whether what stands around a word makes it a verb: "to record", "record the", "she records"."""
    if word.endswith("s") and last in HE:
        return True
    return last in TO or (following in OBJECT and last not in THE | OF | HAVE)


def _is_noun(word: str, last: str, following: str) -> bool:
    return last in THE | OF or following == "of"


@cache
def dictionary() -> dict[str, str]:
    """Words in small letters to phones with stress; further ways of saying a word stand under "word(2)", "word(3)"."""
    text = lzma.decompress((Path(__file__).parent / "cmudict.xz").read_bytes()).decode()
    return dict(line.split(" ", 1) for line in text.splitlines() if line[0] != ";")


def alternatives(word: str) -> Iterator[tuple[str, ...]]:
    """All pronunciations that the dictionary has of a word."""
    key, n = word, 1
    while (said := dictionary().get(key)) is not None:
        yield tuple(said.split())
        n += 1
        key = f"{word}({n})"


def pronounce(word: str, before: Sequence[str] = (), after: Sequence[str] = (), *, weak: bool = True) -> tuple[str, ...]:
    """Phones of a word of Latin letters without accents.

    word: as written; a single capital letter is a letter's name. before, after: words around it in the same sentence, the
    nearest last and first; they tell "a record" from "to record". weak: whether "the", "to" and their like lose their
    stress. Never empty for a word that has a letter.
    """
    low = word.lower()
    if len(word) == 1 and word.isupper() and (low != "a" or _spelt(before, after)):
        return tuple(LETTERS[low].split())
    if low in WEAK and weak:
        return _weak(low, bool(after) and _starts_with_vowel(after[0]))
    if low in ("a", "the"):
        return ("EY1",) if low == "a" else ("DH", "IY1")
    if (said := _by_neighbours(word, before, after)) is not None:
        return said
    return _known(low)


def _spelt(before: Sequence[str], after: Sequence[str]) -> bool:
    """Whether a capital A is the letter: among other letters, or not at a sentence's beginning."""
    return bool(before) or bool(after and len(after[0]) == 1 and after[0].isupper() and after[0] != "I")


def _weak(word: str, vowel_follows: bool) -> tuple[str, ...]:
    """A word of `WEAK` as it is said in running speech."""
    if word in ("the", "to"):
        return ("DH", "IY0" if vowel_follows else "AH0") if word == "the" else ("T", "UW0" if vowel_follows else "AH0")
    return ("AH0", "N") if word == "an" else tuple(re.sub("[12]", "0", phone) for phone in _known(word))


@lru_cache(50_000)
def _starts_with_vowel(word: str) -> bool:
    return pronounce(word)[0][-1].isdigit()


@lru_cache(50_000)
def _known(word: str) -> tuple[str, ...]:
    """A word in small letters: from the dictionary, from a word it is made of, or letter by letter."""
    if (said := OWN.get(word) or dictionary().get(word)) is not None:
        return tuple(said.split())
    if len(word) == 1 and word in LETTERS:
        return tuple(LETTERS[word].split())
    bare = word.strip("'")
    for ending, put_back, add in ENDINGS:
        stem = bare.removesuffix(ending) + put_back
        if bare.endswith(ending) and len(stem) > 2 and (known := OWN.get(stem) or dictionary().get(stem)):
            return add(tuple(known.split()))
    stem, _, ending = bare.rpartition("'")
    if stem:
        return _s(_known(stem.replace("'", ""))) if ending == "s" else _known(bare.replace("'", ""))
    if parts := _compound(bare):
        return (*_known(parts[0]), *(phone.replace("1", "2") for phone in _known(parts[1])))
    pieces = (load_letters().say(bare[at : at + LONGEST]) for at in range(0, len(bare), LONGEST))
    return tuple(phone for piece in pieces for phone in piece) or tuple(LETTERS.get(bare[:1], "AH1").split())


def _s(said: tuple[str, ...]) -> tuple[str, ...]:
    return (*said, *(("IH0", "Z") if said[-1] in HISSING else ("S",) if said[-1] in VOICELESS else ("Z",)))


def _ed(said: tuple[str, ...]) -> tuple[str, ...]:
    if said[-1] in ("T", "D"):
        return (*said, "IH0", "D")
    return (*said, "T" if said[-1] in VOICELESS | HISSING - {"Z", "ZH", "JH"} else "D")


def _ly(said: tuple[str, ...]) -> tuple[str, ...]:
    return (*said, *(("IY0",) if said[-1] == "L" else ("L", "IY0")))


def _ness(said: tuple[str, ...]) -> tuple[str, ...]:
    return (*said, "N", "AH0", "S")


# What a word may end in beyond one that is known, what the known one has in its place, and how it is said then. Of words
# kept back from the letters' model these are said more often right so than letter by letter; other endings are not.
ENDINGS = [
    ("'s", "", _s), ("s'", "s", lambda said: said), ("ies", "y", _s), ("es", "e", _s), ("s", "", _s), ("ied", "y", _ed),
    ("ed", "", _ed), ("ly", "", _ly), ("ness", "", _ness),
]  # fmt: skip
LEAST_PART = 5  # letters of a part of a compound; with shorter ones the letters' model errs less often
LONGEST = 40  # letters that are read at a time; what is longer is no word


def _compound(word: str) -> tuple[str, str] | None:
    """Two words of the dictionary that make this one, neither of them short; the longest first part counts."""
    for cut in range(min(len(word), LONGEST) - LEAST_PART, LEAST_PART - 1, -1):
        if word[:cut] in dictionary() and word[cut:] in dictionary():
            return word[:cut], word[cut:]
    return None


@cache
def _heteronyms() -> dict[str, list[Rule]]:
    """Rules by word in small letters, in the order in which they are tried; the last one always fits."""
    found: dict[str, list[Rule]] = {}
    _, *lines = (Path(__file__).parent / "heteronyms.tsv").read_text(encoding="utf-8").splitlines()
    for line in lines:
        word, phones, part, before, after, near = (line.split("\t") + [""] * 4)[:6]
        rule = Rule(word, tuple(phones.split()), part, _cues(before), _cues(after), _cues(near))
        found.setdefault(word.lower(), []).append(rule)
    return found


def _cues(text: str) -> frozenset[str]:
    return frozenset(word for cue in text.split() for word in CLASSES.get(cue, (cue,)))


def _by_neighbours(word: str, before: Sequence[str], after: Sequence[str]) -> tuple[str, ...] | None:
    """A word of two sounds, or its form in -s, as its neighbours tell; None for other words."""
    low = word.lower()
    rules, ending = _heteronyms().get(low), False
    if rules is None and low.endswith("s"):
        rules, ending = _heteronyms().get(low.removesuffix("'s") if low.endswith("'s") else low[:-1]), True
    if rules is None:
        return None
    said = next((rule.phones for rule in rules if rule.fits(word, before, after)), rules[-1].phones)
    return _s(said) if ending else said
