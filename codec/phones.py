"""The phones of English as the project counts them, where they come from, and how frames become a reading.

The set is that of the CMU Pronouncing Dictionary without stress (39 ARPAbet phones) and silence, first. Other languages
are heard with the nearest of these, which is what a mouth needs.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

PHONES: tuple[str, ...] = (
    "sil", "AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY", "F", "G", "HH", "IH", "IY", "JH",
    "K", "L", "M", "N", "NG", "OW", "OY", "P", "R", "S", "SH", "T", "TH", "UH", "UW", "V", "W", "Y", "Z", "ZH",
)  # fmt: skip
INDEX: dict[str, int] = {name: i for i, name in enumerate(PHONES)}
SILENCE = 0
BILABIAL = frozenset({"P", "B", "M"})  # the lips must meet
VOWELS = frozenset({"AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW"})

# misaki's alphabet (https://github.com/hexgrad/misaki), as Kokoro reads it; foreign sounds go to the phone whose mouth
# is nearest (a uvular r opens the mouth as h does, it does not round the lips as the English r). None: no phone of
# ours.
FROM_KOKORO: dict[str, str | None] = {
    "ɑ": "AA", "a": "AA", "ɐ": "AH", "ɒ": "AA", "æ": "AE", "ʌ": "AH", "ə": "AH", "ᵊ": "AH", "ɔ": "AO", "W": "AW",
    "I": "AY", "b": "B", "ʧ": "CH", "d": "D", "ɾ": "D", "r": "D", "ð": "DH", "ɛ": "EH", "e": "EH", "ɜ": "ER", "ɝ": "ER",
    "ɚ": "ER", "œ": "ER", "A": "EY", "f": "F", "ɡ": "G", "g": "G", "ɣ": "G", "h": "HH", "x": "HH", "ʁ": "HH", "ç": "HH",
    "ɪ": "IH", "ᵻ": "IH", "i": "IY", "ʤ": "JH", "k": "K", "l": "L", "ʎ": "L", "m": "M", "n": "N", "ɲ": "N", "ŋ": "NG",
    "O": "OW", "Q": "OW", "o": "OW", "Y": "OY", "p": "P", "ɹ": "R", "s": "S", "ʦ": "S", "ʃ": "SH", "t": "T", "θ": "TH",
    "ʊ": "UH", "ø": "UH", "u": "UW", "y": "UW", "v": "V", "w": "W", "ɥ": "W", "j": "Y", "ʝ": "Y", "z": "Z", "ʣ": "Z",
    "ʒ": "ZH", "β": None, "ʔ": None, "S": None,
}  # fmt: skip
BRITISH = {"a": "AE"}  # trap, which other languages do not have
STRESS = "ˈˌ"  # primary, secondary
LENGTHENS = frozenset("ː\u0303ʰʲ ")  # their time belongs to the sound before
PAUSE = '"()“”—,;:….?!'  # the later, the stronger


@dataclass(frozen=True)
class Segment:
    """A phone from start_s to end_s; `pause` marks silence that punctuation asked for and a reader may have skipped.

    stress: 1 primary, 2 secondary, 0 none. mark: what is written after it: " " where a word ends, punctuation on a pause.
    """

    phone: str | None
    start_s: float
    end_s: float
    pause: bool = False
    stress: int = 0
    mark: str = ""


def from_kokoro(symbols: Iterable[tuple[str, float, float]], language: str = "en-us") -> list[Segment]:
    """Kokoro's symbols with their times, (symbol, start_s, end_s), to phones.

    A stress mark's time goes to the vowel that follows, a length mark's and a space's to the sound before; a space
    beside punctuation is part of the pause. `əɹ` and `ɜɹ` before no vowel are one ER.
    """
    alphabet = FROM_KOKORO | BRITISH if language == "en-gb" else FROM_KOKORO
    out: list[Segment] = []
    stress_start, stress = None, 0
    for symbol, start, end in symbols:
        if symbol in STRESS:
            stress_start = start if stress_start is None else stress_start
            stress = 1 + STRESS.index(symbol)
            continue
        start, stress_start = (start if stress_start is None else stress_start), None
        last = out[-1] if out else None
        if symbol in LENGTHENS:
            if last is not None:
                out[-1] = replace(last, end_s=end, mark=last.mark or symbol.strip("ː\u0303ʰʲ"))
        elif symbol not in PAUSE:
            out.append(Segment(alphabet.get(symbol), start, end, stress=stress))
            stress = 0
        elif last is not None and last.pause:
            out[-1] = replace(last, end_s=end, mark=max(last.mark, symbol, key=PAUSE.find))
        else:
            out.append(Segment("sil", start, end, pause=True, mark=symbol))
    return list(_join_er(out))


def _join_er(segments: list[Segment]) -> Iterable[Segment]:
    i = 0
    while i < len(segments):
        this, after = segments[i], segments[i + 1] if i + 1 < len(segments) else None
        if this.phone in ("AH", "ER") and after is not None and after.phone == "R":
            beyond = segments[i + 2].phone if i + 2 < len(segments) else None
            if this.phone == "ER" or beyond not in VOWELS:
                yield replace(this, phone="ER", end_s=after.end_s, mark=after.mark)
                i += 2
                continue
        yield this
        i += 1


def from_cmudict(pronunciation: Sequence[str]) -> tuple[str, ...]:
    """A CMU dictionary entry (["HH", "AH0", "L", "OW1"]) to phones without stress."""
    return tuple(phone.rstrip("012") for phone in pronunciation)


def viterbi(scores: np.ndarray, before: np.ndarray, cost: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The best path of states through scored frames.

    scores: (T, N) log score of state n in frame t. before: (N, P) the states that may come before each, padded with any
    state at infinite cost. cost: (N, P) what that step costs. start, end: (N,) bool, where a path may begin and end.
    Returns the path (T,) int.
    """
    n_frames, n_states = scores.shape
    back = np.empty((n_frames, n_states), np.int32)
    best = np.where(start, scores[0], -np.inf)
    rows = np.arange(n_states)
    for t in range(1, n_frames):
        arriving = best[before] - cost  # (N, P)
        choice = arriving.argmax(1)
        back[t] = before[rows, choice]
        best = arriving[rows, choice] + scores[t]
    path = np.empty(n_frames, np.int64)
    path[-1] = np.where(end, best, -np.inf).argmax()
    for t in range(n_frames - 1, 0, -1):
        path[t - 1] = back[t, path[t]]
    return path


def read(posteriors: np.ndarray, frame_rate: float = 50.0, switch_cost: float = 1.0) -> list[Segment]:
    """What was said: the most likely run of phones.

    posteriors: (T, 40) at `frame_rate` (Hz). switch_cost: nats that every change of phone costs; it keeps one odd frame
    from being a phone of its own. Returns segments that follow one another without a gap.
    """
    if not len(posteriors):
        return []
    n = len(PHONES)
    before = np.tile(np.arange(n), (n, 1))
    everywhere = np.ones(n, bool)
    path = viterbi(np.log(posteriors + 1e-8), before, switch_cost * (1 - np.eye(n)), everywhere, everywhere)
    return runs(path, frame_rate)


def runs(path: np.ndarray, frame_rate: float) -> list[Segment]:
    """Frame labels (T,) to segments."""
    edges = np.flatnonzero(np.diff(path, prepend=-1, append=-1))
    spans = zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    return [Segment(PHONES[path[a]], a / frame_rate, b / frame_rate) for a, b in spans]


def align(posteriors: np.ndarray, words: Sequence[Sequence[Sequence[str]]]) -> np.ndarray | None:
    """Lay a known sentence over the frames.

    posteriors: (T, 40). words: for every word its possible pronunciations, each a list of phones. Between words, and at
    both ends, there may be silence. Returns the phone index of every frame (T,), or None when the sentence does not
    fit.
    """
    phone: list[int] = [SILENCE]
    into: list[list[int]] = [[]]  # states that may come before, besides the state itself
    exits = [0]  # states from which the next word, or the end, is reached
    first_word: list[int] = []
    for n_word, pronunciations in enumerate(words):
        entries, leaving = [], []
        for pronunciation in pronunciations:
            entries.append(len(phone))
            for k, name in enumerate(pronunciation):
                into.append(list(exits) if k == 0 else [len(phone) - 1])
                phone.append(INDEX[name])
            leaving.append(len(phone) - 1)
        into.append(leaving)
        phone.append(SILENCE)
        exits = [*leaving, len(phone) - 1]
        if n_word == 0:
            first_word = entries
    n_states = len(phone)
    before = np.zeros((n_states, 1 + max(map(len, into))), np.int64)
    cost = np.full(before.shape, np.inf)
    for state, others in enumerate(into):
        before[state, : len(others) + 1] = [state, *others]
        cost[state, : len(others) + 1] = 0.0
    start, end = np.zeros(n_states, bool), np.zeros(n_states, bool)
    start[[0, *first_word]] = True
    end[exits] = True
    index = np.array(phone)
    with np.errstate(invalid="ignore"):
        path = viterbi(np.log(posteriors[:, index] + 1e-8), before, cost, start, end)
    return index[path] if start[path[0]] and end[path[-1]] else None
