"""How a word that no dictionary knows is said: letters to phones by a small model of our own.

Every letter gives no phone, one or two; letter and phones together are a graphone, and words are runs of graphones whose
odds a seven-gram model holds (Bisani & Ney 2008, "Joint-sequence models for grapheme-to-phoneme conversion"). It learned
from the CMU dictionary: `python -m mien.training.letters` makes `letters.xz` and tells how often it errs.
"""

import io
import lzma
from bisect import bisect_left
from functools import cache
from pathlib import Path

import numpy as np

ORDER = 7
STEP = 1 / 16  # of the logarithms of odds, nats, as they are kept in bytes
BEAM = 8
FILE = Path(__file__).parent / "letters.xz"
State = tuple[tuple[int, int], ...]  # (order, node) of what was read last, the longest known run first, then its ends


class Letters:
    """The seven-gram model as a trie, read from `letters.xz`.

    graphones: letter and phones of each, as "c K" or "e"; 0 and 1 are a word's start and end. Of the runs of each order,
    sorted: symbols, their last graphone; odds, its logarithm after those before it; weights, that of backing off from the
    run; first, where in the next order the runs begin that go on from it.
    """

    def __init__(self, tables: dict[str, np.ndarray]):
        self.graphones = str(tables["graphones"]).split("\n")
        self.symbols = [tables[f"symbols{n}"].tolist() for n in range(1, ORDER + 1)]
        self.odds = [(-STEP * tables[f"odds{n}"].astype(np.float64)).tolist() for n in range(1, ORDER + 1)]
        self.weights = [(-STEP * tables[f"weights{n}"].astype(np.float64)).tolist() for n in range(1, ORDER)]
        self.first = [[0, *np.cumsum(tables[f"children{n}"]).tolist()] for n in range(1, ORDER)]
        self.of_letter: dict[str, list[int]] = {}
        self.phones = [tuple(graphone.split()[1:]) for graphone in self.graphones]
        for index, graphone in enumerate(self.graphones[2:], 2):
            self.of_letter.setdefault(graphone[0], []).append(index)

    def say(self, word: str) -> tuple[str, ...]:
        """The likeliest phones of a word in small letters, with stress ("K", "AE1", "T"); other signs are passed over."""
        start: State = ()
        for _ in range(ORDER - 1):
            start = self._advance(start, 0)
        runs: list[tuple[float, State, tuple[str, ...], bool]] = [(0.0, start, (), False)]
        for letter in word:
            if letter not in self.of_letter:
                continue
            found = []
            for score, state, said, stressed in runs:
                for graphone in self.of_letter[letter]:
                    primary = any(phone[-1] == "1" for phone in self.phones[graphone])
                    if not (primary and stressed):  # one primary stress a word
                        odds = score + self._odds(state, graphone)
                        found.append((odds, state, graphone, said, stressed or primary))
            found.sort(key=lambda run: -run[0])
            runs = [
                (odds, self._advance(state, graphone), said + self.phones[graphone], stressed)
                for odds, state, graphone, said, stressed in found[:BEAM]
            ]
        whole = max(runs, key=lambda run: run[0] + self._odds(run[1], 1) + (0 if run[3] else -2))
        return whole[2]

    def _odds(self, state: State, graphone: int) -> float:
        """Logarithm of the odds of a graphone after what was read, backing off to shorter runs where it is unknown."""
        off = 0.0
        for order, node in state:
            child = self._child(order, node, graphone)
            if child is not None:
                return off + self.odds[order][child]
            off += self.weights[order - 1][node]
        return off + self.odds[0][graphone]

    def _advance(self, state: State, graphone: int) -> State:
        """What is known of the runs that end with this graphone."""
        longer = ((order + 1, self._child(order, node, graphone)) for order, node in state if order + 1 < ORDER)
        return (*((order, node) for order, node in longer if node is not None), (1, graphone))

    def _child(self, order: int, node: int, graphone: int) -> int | None:
        low, high = self.first[order - 1][node], self.first[order - 1][node + 1]
        at = bisect_left(self.symbols[order], graphone, low, high)
        return at if at < high and self.symbols[order][at] == graphone else None


@cache
def load_letters() -> Letters:
    """The model that came with mien."""
    return Letters(dict(np.load(io.BytesIO(lzma.decompress(FILE.read_bytes())), allow_pickle=False)))
