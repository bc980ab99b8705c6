"""Light that stays where it is while a head turns: low-order spherical harmonics read from the picture.

The face's luminance is fitted as a smooth function of the relief's normals; a turned normal looks it up anew. What comes
out is a gain per node of the relief, near one and smooth: a cheek that turns to the light becomes lighter.
"""

import cv2
import numpy as np

SLIGHTEST, STRONGEST = 0.85, 1.15  # of the gain
STILL = 0.005  # radians: smaller turns leave the light alone


def harmonics(normals: np.ndarray) -> np.ndarray:
    """Real spherical harmonics up to the second order, unscaled: unit normals (..., 3) to (..., 9)."""
    x, y, z = np.moveaxis(normals, -1, 0)
    return np.stack([np.ones_like(x), x, y, z, x * y, y * z, x * z, x * x - y * y, 3 * z * z - 1], -1)


class Light:
    """The light on one face. Grids are (rows, columns)."""

    def __init__(self, image: np.ndarray, relief: np.ndarray, inside: np.ndarray):
        """image (H, W, 3) uint8; relief (rows, columns, 3), pixels, z away from the camera; inside (rows, columns) bool."""
        z = cv2.GaussianBlur(np.ascontiguousarray(relief[..., 2]), (0, 0), 1.5)
        cell = float(relief[0, 1, 0] - relief[0, 0, 0])
        slope_y, slope_x = np.gradient(z, cell)
        normals = np.dstack([slope_x, slope_y, -np.ones_like(z)])
        self.normals = (normals / np.linalg.norm(normals, axis=-1, keepdims=True)).astype(np.float32)
        height, width = image.shape[:2]
        x, y = (np.clip(np.round(relief[..., i]), 0, size - 1).astype(int) for i, size in ((0, width), (1, height)))
        grey = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (0, 0), 1.5 * cell).astype(np.float32)
        seen = np.log(np.maximum(grey[y, x][inside], 8))
        basis = harmonics(self.normals[inside])
        weights = np.ones(len(seen))
        ridge = 0.02 * len(seen) * np.diag([0, 1, 1, 1, 3, 3, 3, 3, 3])
        self.coefficients = np.zeros(9)
        for _ in range(4 if len(seen) > 20 else 0):  # brows, beards and lips are no light
            weighed = basis * weights[:, None]
            self.coefficients = np.linalg.solve(basis.T @ weighed + ridge, weighed.T @ seen)
            off = np.abs(seen - basis @ self.coefficients)
            weights = 1 / (1 + (off / max(1.5 * float(np.median(off)), 0.02)) ** 2)
        self.before = harmonics(self.normals) @ self.coefficients

    def gain(self, rotation: np.ndarray) -> np.ndarray | None:
        """How much lighter every node is after a turn (3, 3), row vectors @ rotation.T; None if it hardly turns."""
        if np.abs(rotation - np.eye(3)).max() < STILL:
            return None
        after = harmonics(self.normals @ rotation.T.astype(np.float32)) @ self.coefficients
        return np.clip(np.exp(0.7 * (after - self.before)), SLIGHTEST, STRONGEST).astype(np.float32)
