"""Letters to phones: lays the letters of the dictionary's words along their phones, counts, and writes `tts/letters.xz`.

    python -m mien.training.letters            # a minute on one core; prints the errors on words kept back

One word in twenty, picked by its checksum, is kept back from all counting and tells the figures.
"""

import io
import lzma
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from zlib import crc32

import numpy as np

from mien.tts.letters import FILE, ORDER, STEP, Letters
from mien.tts.pronounce import alternatives, dictionary

HELD_OUT = 20  # one word in so many
LEAST = 6  # occurrences below which a graphone is not worth keeping; words that need it are left out
CUTOFF = {1: 1, 2: 1, 3: 1, 4: 1, 5: 2, 6: 2, 7: 2}  # occurrences that a run needs, by order
ROUNDS = 6
BITS = 9  # of a graphone in a packed run, seven of which make an integer
Pair = tuple[str, tuple[str, ...]]


def words() -> tuple[list[Pair], list[Pair]]:
    """Words of letters alone with their first pronunciation: those to learn from, those kept back."""
    pairs = [(word, tuple(said.split())) for word, said in dictionary().items() if word.isalpha() and word.isascii()]
    pairs = [(word, said) for word, said in pairs if len(said) <= 2 * len(word) and len(word) > 1]
    kept = [pair for pair in pairs if crc32(pair[0].encode()) % HELD_OUT == 0]
    return [pair for pair in pairs if crc32(pair[0].encode()) % HELD_OUT], kept


def lay(pairs: list[Pair]) -> list[list[str]]:
    """Graphones of each word, by expectation maximisation over all ways of giving each letter no phone, one or two."""
    plain = sorted({phone.rstrip("012") for _, said in pairs for phone in said})
    number = {phone: i for i, phone in enumerate(plain)}
    n = len(plain)
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, (word, said) in enumerate(pairs):
        groups[len(word), len(said)].append(index)
    batches = []
    for (letters, phones), members in groups.items():
        w = np.array([[ord(c) - 97 for c in pairs[i][0]] for i in members])
        p = np.array([[number[s.rstrip("012")] for s in pairs[i][1]] for i in members])
        batches.append((members, w, p, letters, phones))
    # odds of what a letter gives: [letter, 0] nothing, [letter, 1 + p] one phone, [letter, 1 + n + p n + q] two
    odds = np.full((26, 1 + n + n * n), 0.05)
    odds[:, 1 : 1 + n], odds[:, 1 + n :] = 0.5 / n, 0.02 / n**2
    for _ in range(ROUNDS):
        counts = np.full_like(odds, 1e-9)
        for _, w, p, letters, phones in batches:
            _expect(odds, counts, w, p, letters, phones, n)
        odds = counts / counts.sum(1, keepdims=True)
    laid: list[list[str]] = [[] for _ in pairs]
    for members, w, p, letters, phones in batches:
        for member, sizes in zip(members, _best(np.log(odds), w, p, letters, phones, n), strict=True):
            word, said = pairs[member]
            at = np.concatenate([[0], np.cumsum(sizes)])
            laid[member] = [" ".join((c, *said[a:b])) for c, a, b in zip(word, at, at[1:], strict=False)]
    return laid


def _given(p: np.ndarray, j: int, size: int, n: int) -> np.ndarray:
    """Column of the odds' table for the `size` phones that end before phone j."""
    if size == 0:
        return np.zeros(len(p), np.int64)
    return 1 + p[:, j - 1] if size == 1 else 1 + n + p[:, j - 2] * n + p[:, j - 1]


def _expect(odds, counts, w, p, letters, phones, n) -> None:
    ahead = np.zeros((letters + 1, phones + 1, len(w)))
    behind = np.zeros_like(ahead)
    ahead[0, 0] = behind[letters, phones] = 1
    moves = [(i, j, s) for i in range(1, letters + 1) for j in range(phones + 1) for s in range(3) if s <= j]
    for i, j, s in moves:
        ahead[i, j] += ahead[i - 1, j - s] * odds[w[:, i - 1], _given(p, j, s, n)]
    for i, j, s in reversed(moves):
        behind[i - 1, j - s] += behind[i, j] * odds[w[:, i - 1], _given(p, j, s, n)]
    total = ahead[letters, phones]
    for i, j, s in moves:
        letter, given = w[:, i - 1], _given(p, j, s, n)
        share = ahead[i - 1, j - s] * odds[letter, given] * behind[i, j] / total
        np.add.at(counts, (letter, given), share)


def _best(logs, w, p, letters, phones, n) -> np.ndarray:
    """How many phones each letter gives on the likeliest way (N, letters)."""
    score = np.full((letters + 1, phones + 1, len(w)), -np.inf)
    size = np.zeros((letters + 1, phones + 1, len(w)), np.int64)
    score[0, 0] = 0
    for i in range(1, letters + 1):
        for j in range(phones + 1):
            for s in range(min(j, 2) + 1):
                new = score[i - 1, j - s] + logs[w[:, i - 1], _given(p, j, s, n)]
                better = new > score[i, j]
                score[i, j] = np.where(better, new, score[i, j])
                size[i, j] = np.where(better, s, size[i, j])
    sizes = np.zeros((len(w), letters), np.int64)
    at, rows = np.full(len(w), phones), np.arange(len(w))
    for i in range(letters, 0, -1):
        sizes[:, i - 1] = size[i, at, rows]
        at = at - sizes[:, i - 1]
    return sizes


def count(laid: list[list[str]]) -> dict[str, np.ndarray]:
    """Seven-gram odds of graphones, by interpolated Kneser-Ney smoothing, as the tables that `Letters` reads."""
    often = Counter(graphone for word in laid for graphone in word)
    names = ["<", ">", *sorted(graphone for graphone, times in often.items() if times >= LEAST)]
    assert len(names) < 2**BITS, len(names)
    number = {graphone: i for i, graphone in enumerate(names)}
    runs = np.array(
        [
            sum(number[g] << BITS * (ORDER - 1 - k) for k, g in enumerate(line[i - ORDER + 1 : i + 1]))
            for word in laid
            if all(graphone in number for graphone in word)
            for line in [["<"] * ORDER + word + [">"]]
            for i in range(ORDER - 1, len(line))
        ],
        np.int64,
    )
    mask = np.array([(1 << BITS * n) - 1 for n in range(ORDER + 1)], np.int64)  # of the last n graphones
    raw = {n: np.unique(runs & mask[n], return_counts=True) for n in range(1, ORDER + 1)}
    tables: dict[str, np.ndarray] = {"graphones": np.array("\n".join(names))}
    kept: dict[int, np.ndarray] = {}
    odds: dict[int, np.ndarray] = {}
    off: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for n in range(1, ORDER + 1):
        keys, times = raw[n]
        if n < ORDER:  # what came before it counts, not how often
            ends, first = np.unique(raw[n + 1][0] & mask[n], return_counts=True)
            weight = first[np.searchsorted(ends, keys)].astype(float)
        else:
            weight = times.astype(float)
        weight[keys & mask[1] == 0] = 0  # the start is given, not foretold
        once, twice = (weight == 1).sum(), (weight == 2).sum()
        discount = once / (once + 2 * twice)
        keep = times >= CUTOFF[n]
        contexts, where = np.unique(keys >> BITS, return_inverse=True)
        total = np.bincount(where, weight)
        taken = np.where(keep, np.maximum(weight - discount, 0), 0)
        rest = 1 - np.bincount(where, taken) / total
        if n == 1:
            lower = np.full(len(keys), 1 / len(keys))
        else:
            lower = odds[n - 1][np.searchsorted(kept[n - 1], keys[keep] & mask[n - 1])]
        odds[n] = taken[keep] / total[where[keep]] + rest[where[keep]] * lower
        kept[n], off[n - 1] = keys[keep], (contexts, rest)
    for n in range(1, ORDER + 1):
        tables[f"symbols{n}"] = (kept[n] & mask[1]).astype(np.uint16)
        tables[f"odds{n}"] = _bytes(odds[n])
        if n < ORDER:
            contexts, rest = off[n]
            at = np.searchsorted(contexts, kept[n]).clip(max=len(contexts) - 1)
            tables[f"weights{n}"] = _bytes(np.where(contexts[at] == kept[n], rest[at], 1.0))
            starts = np.searchsorted(kept[n + 1] >> BITS, kept[n], side="left")
            tables[f"children{n}"] = (np.searchsorted(kept[n + 1] >> BITS, kept[n], side="right") - starts).astype(np.uint16)
    return tables


def _bytes(odds: np.ndarray) -> np.ndarray:
    return np.round(-np.log(np.maximum(odds, 1e-7)) / STEP).clip(0, 255).astype(np.uint8)


def errors(model: Letters, pairs: list[Pair]) -> dict[str, float]:
    """Share of phones (by edit distance) and of words said wrong, and of words whose phones or stress are wrong.

    Any of the dictionary's ways of saying a word is right.
    """
    edits = total = words_wrong = stress_wrong = 0
    for word, _ in pairs:
        got = model.say(word)
        right = list(alternatives(word))
        wrong, length = min((distance(_plain(got), _plain(said)), len(said)) for said in right)
        edits, total = edits + wrong, total + length
        words_wrong += wrong > 0
        stress_wrong += got not in right
    n = len(pairs)
    return {
        "words": n,
        "phones_wrong": edits / total,
        "words_wrong": words_wrong / n,
        "words_or_stress_wrong": stress_wrong / n,
    }


def _plain(said: Sequence[str]) -> list[str]:
    return [phone.rstrip("012") for phone in said]


def distance(one: list[str], other: list[str]) -> int:
    """Least number of phones put in, left out or changed that make one of the other."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        last, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (a != b))
    return row[-1]


if __name__ == "__main__":
    learn, kept_back = words()
    tables = count(lay(learn))
    packed = io.BytesIO()
    np.savez(packed, allow_pickle=False, **tables)
    FILE.write_bytes(lzma.compress(packed.getvalue(), preset=9 | lzma.PRESET_EXTREME))
    sizes = [len(tables[f"symbols{n}"]) for n in range(1, ORDER + 1)]
    print(f"{FILE}: {FILE.stat().st_size / 1e6:.2f} MB, runs by order {sizes}", file=sys.stderr)
    print({name: round(value, 4) for name, value in errors(Letters(tables), kept_back).items()})
