"""Entropy coding: digits that can be guessed from the ones before cost less than log2 of their levels.

A range coder with integer tables: the same bytes on every machine. The digits of a frame, S first and then the tiers, are
coded one after the other. What a digit is likely to be is read from a table, by the same digit of the frame before, the
digit before it in the frame and, for tiers, by how much of S has moved since the frame before. Nothing is
remembered from one block to the next.
"""

import zlib
from collections.abc import Iterable, Mapping

import numpy as np

from mien.codec.tokens import Layout, Tokens

BITS = 12  # the frequencies of a digit add up to 2^BITS
TOP, BOTTOM = 1 << 32, 1 << 24  # width of the coder's interval: at the start, and where it is stretched by a byte
MOVES = np.array([0, 1, 1, 2])  # class of the number of digits of S that moved; beyond the last, the last
ROUNDS = 8  # how often a tier's digits are made cheaper before the next tier's are
BACK_OFF = 32  # how many seen digits weigh as much as what a coarser context says


def fit_tables(recordings: Iterable[Tokens]) -> dict[str, np.ndarray]:
    """Count what follows what in recordings of one layout; more speech than an hour makes little difference.

    Returns {"frequencies": (D, 3, L + 1, L + 1, L) uint16}, D digits of a frame with all tiers and L levels of the richest
    digit: how often a digit takes each level, by class of movement of S, the same digit before and the digit to the left
    (L: there is none). They add up to 4096, none that can occur is 0. Raises ValueError if there are no recordings.
    """
    recordings = list(recordings)
    if not recordings:
        raise ValueError("tables are counted from tokens, and there are none: give some recordings.")
    layout = recordings[0].layout
    levels = _levels(layout)
    shape = _shape(layout)
    counts = np.zeros(shape)
    for tokens in recordings:
        digits = np.concatenate([tokens.semantic, *np.moveaxis(tokens.tiers, 1, 0)], axis=1)
        for start in range(0, len(digits), layout.block):
            block = digits[start : start + layout.block]
            np.add.at(counts, (*_contexts(block, layout), block), 1)

    # From coarse to fine: what is hardly ever seen is taken to be like what is.
    possible = np.arange(shape[-1]) < np.array(levels)[:, None]  # (D, L)
    chance = (possible / np.array(levels)[:, None])[:, None, None, None]
    for coarser in ((1, 2, 3), (1, 3), ()):
        seen = counts.sum(coarser, keepdims=True)
        chance = (seen + BACK_OFF * chance) / (seen.sum(-1, keepdims=True) + BACK_OFF)
    free = (1 << BITS) - np.array(levels).reshape(-1, 1, 1, 1, 1)
    frequencies = np.where(possible[:, None, None, None], np.floor(chance * free).astype(np.int64) + 1, 0)
    rest = (1 << BITS) - frequencies.sum(-1, keepdims=True)
    frequencies += np.where(np.arange(shape[-1]) == frequencies.argmax(-1)[..., None], rest, 0)
    return {"frequencies": frequencies.astype(np.uint16)}


class Coder:
    """Codes the digits of one block at a time with fixed tables."""

    def __init__(self, tables: Mapping[str, np.ndarray], layout: Layout) -> None:
        """tables: as `fit_tables` gives them. Raises ValueError if they are of another layout."""
        frequencies = np.asarray(tables["frequencies"], "<u2")
        if frequencies.shape != _shape(layout):
            raise ValueError(
                f"the tables are of shape {frequencies.shape}, this layout wants {_shape(layout)}: fit them to its tokens."
            )
        self.layout = layout
        self.fingerprint = zlib.crc32(frequencies.tobytes()).to_bytes(4, "little")
        self.edges = np.zeros((*frequencies.shape[:-1], frequencies.shape[-1] + 1), np.int64)
        np.cumsum(frequencies, axis=-1, out=self.edges[..., 1:])
        self.rows: list = self.edges.tolist()  # plain lists are read faster, one by one

    def encode(self, digits: np.ndarray) -> bytes:
        """Turn the digits of a block, (F, 5 + 5 K), into bytes."""
        contexts = _contexts(digits, self.layout)
        lower = self.edges[(*contexts, digits)].ravel().tolist()
        upper = self.edges[(*contexts, digits + 1)].ravel().tolist()
        low, width, stretched = 0, TOP, 4
        for a, b in zip(lower, upper, strict=True):
            step = width >> BITS
            low += step * a
            width = step * (b - a)
            while width < BOTTOM:
                low <<= 8
                width <<= 8
                stretched += 1
        # Of all numbers in the interval the one with the most zeros at its end, which need not be stored.
        zeros = next(zeros for zeros in range(8 * stretched, -1, -8) if -(-low >> zeros) << zeros < low + width)
        return (-(-low >> zeros) << zeros).to_bytes(stretched, "big").rstrip(b"\0")

    def within(self, digits: np.ndarray, most: int) -> np.ndarray:
        """The digits of a block, (F, 5 + 5 K), such that they take at most so many bytes.

        Where they take more, digits that cost much become those that are likeliest where they stand: of the last tier
        first, of S last. That may still not be enough for digits that no speech has.
        """
        digits, n_semantic, width = digits.copy(), len(self.layout.semantic), len(self.layout.tier)
        groups = [slice(k, k + width) for k in range(digits.shape[1] - width, n_semantic - 1, -width)]
        for group in [*groups, slice(0, n_semantic)]:
            for _ in range(ROUNDS):
                over = len(self.encode(digits)) - most
                if over <= 0:
                    return digits
                chances = np.diff(self.edges[_contexts(digits, self.layout)])[:, group]
                chosen = np.take_along_axis(chances, digits[:, group, None].astype(np.int64), -1)[..., 0]
                saving = np.log2(chances.max(-1) / chosen)
                order = saving.ravel().argsort()[::-1]
                enough = 1 + int(np.searchsorted(saving.ravel()[order].cumsum(), 8 * over))
                rows, columns = np.unravel_index(order[:enough], saving.shape)
                digits[rows, columns + group.start] = chances.argmax(-1)[rows, columns]
        return digits

    def decode(self, data: bytes, n_frames: int, n_tiers: int) -> np.ndarray:
        """Undo `encode`: (F, 5 + 5 K) uint8 digits. Raises ValueError for bytes that no digits are coded as."""
        n_semantic = len(self.layout.semantic)
        width_of_frame = n_semantic + n_tiers * len(self.layout.tier)
        none = self.edges.shape[-1] - 1
        stream = iter(data)
        code = 0
        for _ in range(4):
            code = code << 8 | next(stream, 0)
        width = TOP
        before = [none] * width_of_frame
        frames = []
        for _ in range(n_frames):
            frame: list[int] = []
            moved, left = 0, none
            for j, rows in enumerate(self.rows[:width_of_frame]):
                if j == n_semantic:
                    moved = _move(sum(a != b for a, b in zip(frame, before, strict=False)))
                edges = rows[moved][before[j]][left]
                step = width >> BITS
                target = min(code // step, (1 << BITS) - 1)
                left = 0
                while edges[left + 1] <= target:
                    left += 1
                code -= step * edges[left]
                width = step * (edges[left + 1] - edges[left])
                while width < BOTTOM:
                    code = code << 8 | next(stream, 0)
                    width <<= 8
                frame.append(left)
            frames.append(frame)
            before = frame
        digits = np.array(frames, np.uint8).reshape(n_frames, width_of_frame)
        if self.encode(digits) != data:
            raise ValueError("these bytes are not what any digits are coded as: they are damaged.")
        return digits


def _levels(layout: Layout) -> tuple[int, ...]:
    return layout.semantic + layout.tier * layout.tiers


def _shape(layout: Layout) -> tuple[int, ...]:
    most = max(_levels(layout))
    return len(_levels(layout)), int(MOVES.max()) + 1, most + 1, most + 1, most


def _move(digits: int) -> int:
    return int(MOVES[min(digits, len(MOVES) - 1)])


def _contexts(digits: np.ndarray, layout: Layout) -> tuple[np.ndarray, ...]:
    """Return the indices of tables for all digits of a block (F, D): which digit, movement, the one before, the left one."""
    n_semantic, none = len(layout.semantic), max(_levels(layout))
    before = np.full(digits.shape, none)
    before[1:] = digits[:-1]
    left = np.full(digits.shape, none)
    left[:, 1:] = digits[:, :-1]
    moved = np.zeros(digits.shape, np.int64)
    changes = (digits[:, :n_semantic] != before[:, :n_semantic]).sum(1)
    moved[:, n_semantic:] = MOVES[np.minimum(changes, len(MOVES) - 1)][:, None]
    which = np.broadcast_to(np.arange(digits.shape[1]), digits.shape)
    return which, moved, before, left
