"""A row of upper teeth, in the frame of a mouth: painted in a picture's own colours, and what the picture shows of its own.

s runs along the mouth, t across it towards the chin, both in pixels; `under` is how far a pixel lies below the upper lip.
Planes are (h, w); a layer is (h, w, 4) float32, colour 0..255 and cover.
"""

import cv2
import numpy as np

from mien.portrait.eyes import smoothstep

LONGEST = 0.14  # of a tooth, IOD
ARCH = 0.31  # half the width of the row as it is seen from the front, IOD
BORDERS = np.array([0.0, 0.28, 0.50, 0.69, 0.83, 0.93])  # between teeth, parts of the half row: the arch turns away
LEAST_ROW = 0.6  # share of the mouth's width over which the picture's own teeth must show to be lent


def paleness(colours: np.ndarray) -> np.ndarray:
    """How pale colours (..., 3) are: light less a share of their hue. Teeth are paler than lips in any light."""
    return colours.mean(-1) - 0.7 * np.ptp(colours, axis=-1)


def painted_row(
    s: np.ndarray, under: np.ndarray, length: np.ndarray, half: float, enamel: np.ndarray, detail: float, blur: float
) -> np.ndarray:
    """A row of teeth that hangs `length` (h, w) below the lip and goes on behind it.

    half: half width of the row, pixels. enamel: (3,) colour. detail: 0..1, how much of single teeth is drawn: a picture
    without fine lines gets none. blur: pixels.
    """
    u = np.abs(s) / half
    place = np.clip(np.searchsorted(BORDERS, u) - 1, 0, len(BORDERS) - 1)
    widths = np.diff([*BORDERS, 1.02])
    across = np.clip((u - BORDERS[place]) / widths[place], 0, 1)  # over one tooth, 0 … 1
    gap = np.exp(-((np.minimum(across, 1 - across) * widths[place] * half / (0.07 * widths[0] * half + 0.4)) ** 2))
    longest = max(float(length.max()), 1.0)
    rounded = (2 * np.abs(across - 0.5)) ** 3  # a tooth's lower edge turns up at its corners
    shorter = np.array([0.0, 0.09, 0.03, 0.12, 0.16, 0.2])[place]
    edge = length - longest * detail * (0.10 * rounded + shorter) - longest * 0.35 * np.clip(u, 0, 1.2) ** 2
    cover = np.clip((edge - under) / 1.2 + 0.5, 0, 1) * smoothstep((1.12 - u) / 0.3)
    light = 1 - 0.5 * np.clip(u, 0, 1.2) ** 2 - 0.05 * detail * (2 * across - 1) ** 2
    light *= 1 - 0.13 * detail * gap
    light *= 1 - 0.1 * smoothstep(under / longest)  # the cutting edge lets light through
    row = np.dstack([enamel * light[..., None], cover]).astype(np.float32)
    return cv2.GaussianBlur(row, (0, 0), blur)


def own_teeth(pale: np.ndarray, within: np.ndarray, under: np.ndarray, high: np.ndarray, iod: float) -> np.ndarray:
    """Where a picture shows upper teeth, (h, w) bool: the palest, hanging from the upper lip, not longer than teeth are.

    pale: `paleness` of the picture. within: what can be teeth by its colour. high: how high the mouth is open.
    """
    if not within.any():
        return within
    bright = within & (pale > 0.6 * np.percentile(pale[within], 90)) & (under < LONGEST * iod)
    _, parts = cv2.connectedComponents(bright.astype(np.uint8), connectivity=4)
    hanging = np.setdiff1d(parts[bright & (under < 0.3 * high)], [0])
    return np.isin(parts, [n for n in hanging if (parts == n).sum() > 0.03 * bright.sum()])


def row_length(place: np.ndarray, under: np.ndarray, teeth: np.ndarray) -> np.ndarray:
    """How far teeth (h, w) bool hang down at every place, 0 … 1 along the mouth: the gaps between them belong to the row."""
    bins = np.clip((place * 40).astype(int), 0, 39)
    length = np.zeros(40)
    np.maximum.at(length, bins[teeth], under[teeth])
    found = np.flatnonzero(length)
    if not len(found):
        return np.zeros_like(under)
    length = np.interp(np.arange(40), found, length[found], left=0, right=0)
    length = np.convolve(np.pad(length, 2), [0.1, 0.2, 0.4, 0.2, 0.1], "valid")
    return np.interp(place, (np.arange(40) + 0.5) / 40, length).astype(np.float32)
