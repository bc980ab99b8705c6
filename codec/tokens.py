"""Tokens: a recording as the codec's digits, and the layout that says how many levels each digit has."""

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Layout:
    """How many levels every digit of a frame and of a voice has, and how frames are cut into blocks.

    semantic: levels of S, every frame. tier: levels of one enhancement tier, every frame. tiers: how many tiers there
    are at most. voice: levels of G. block: frames in a block of the bitstream. voice_spacing: blocks from one voice to
    the next at the least, which bounds what voices cost.
    """

    semantic: tuple[int, ...] = (5, 5, 5, 5, 5)
    tier: tuple[int, ...] = (5, 5, 4, 4, 4)
    tiers: int = 3
    voice: tuple[int, ...] = (5,) * 24
    block: int = 50
    voice_spacing: int = 9


@dataclass(frozen=True)
class Tokens:
    """What a recording of `n_samples` (16 kHz) became: T = ceil(n_samples / 640) frames of 25 Hz.

    semantic: (T, 5) uint8 digits of S. tiers: (T, K, 5) uint8 digits of the K enhancement tiers that were kept. voice:
    (V, 24) uint8 digits of G; voice v counts from frame voice_starts[v] on, the first from frame 0, each at the start of
    a block. model: name of the codec that made them; no other can read them.
    """

    semantic: np.ndarray
    tiers: np.ndarray
    voice: np.ndarray
    voice_starts: np.ndarray
    n_samples: int
    model: str
    layout: Layout = Layout()

    def __len__(self) -> int:
        return len(self.semantic)

    def with_tiers(self, n: int) -> "Tokens":
        """The same recording at a lower rate: the first n tiers. Raises ValueError when there are fewer."""
        if not 0 <= n <= self.tiers.shape[1]:
            raise ValueError(f"these tokens hold {self.tiers.shape[1]} enhancement tiers, not {n}: ask for fewer.")
        return replace(self, tiers=self.tiers[:, :n])

    def voice_of_frames(self) -> np.ndarray:
        """(T,) which voice counts in every frame."""
        return np.searchsorted(self.voice_starts, np.arange(len(self)), side="right") - 1
