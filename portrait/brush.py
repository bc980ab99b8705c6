"""The brush of a picture: few flat colours, as of a woodcut, a line drawing or a flat cartoon, or the countless of a photo.

What is painted into a picture of few colours, teeth, the mouth's dark, lids, is laid on in those alone.
"""

import cv2
import numpy as np

from mien.portrait.eyes import smoothstep

COLOURS, LEAST_SHARE = 8, 0.03  # of a palette; what covers less of the face is the edge between two others
SAMPLES = 8000  # pixels of the face that are looked at
FLAT, SHADED = 0.04, 0.09  # how far colours lie from their palette's, over how far they lie from their mean


class Brush:
    """palette: (K, 3) float32 colours. flat: 0 for photographs and paintings to 1 for pictures of few colours."""

    def __init__(self, face: np.ndarray):
        """face: (h, w, 3) uint8, the part of the picture that shows the face."""
        self.palette, self.flat = np.zeros((1, 3), np.float32), 0.0
        step = max(1, int((face.size / 3 / SAMPLES) ** 0.5))
        seen = face[::step, ::step].reshape(-1, 3).astype(np.float32)
        spread = float(np.median(np.linalg.norm(seen - seen.mean(0), axis=1))) if len(seen) > COLOURS else 0.0
        if spread < 1:
            return
        cv2.setRNGSeed(0)  # the same picture, the same palette
        stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 8, 1.0)
        _, kind, palette = cv2.kmeans(seen, COLOURS, np.zeros((0, 1), np.int32), stop, 1, cv2.KMEANS_PP_CENTERS)
        kind = kind[:, 0].astype(int)
        off = float(np.median(np.linalg.norm(seen - palette[kind], axis=1)))
        self.palette = palette[np.bincount(kind, minlength=COLOURS) > LEAST_SHARE * len(seen)]
        self.flat = 1 - float(smoothstep((off / spread - FLAT) / (SHADED - FLAT)))

    def draw(self, colours: np.ndarray) -> np.ndarray:
        """Colours (..., 3) as this brush would lay them on: float32, drawn to the palette's as far as it is flat."""
        colours = np.asarray(colours, np.float32)
        if not self.flat:
            return colours
        nearest = ((colours[..., None, :] - self.palette) ** 2).sum(-1).argmin(-1)
        return colours + np.float32(self.flat) * (self.palette[nearest] - colours)
