"""What lies behind a portrait that was cut out: a blur of its own background, a colour, another picture, or nothing."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mien.media import load_image

THIN = 48  # of 255: colours of what is more transparent are too coarse to be told, and lean on those around
WORDS = ("keep", "blur", "transparent")
BLUR = 0.16  # spread of the blur, face sizes: a portrait lens at a few steps' distance


@dataclass(frozen=True)
class Backdrop:
    """A background that was asked for.

    behind: (H, W, 3) uint8, or None for a film with alpha. rim: (H, W, 3) uint8, the colours that such a film has where
    nothing is seen, so that its edges keep theirs.
    """

    behind: np.ndarray | None
    rim: np.ndarray | None = None

    def compose(self, cut: np.ndarray) -> np.ndarray:
        """A cutout (H, W, 4) uint8, premultiplied, before the background: (H, W, 3), or (H, W, 4) straight with alpha."""
        alpha = cut[..., 3]
        if self.behind is not None:
            through = cv2.multiply(self.behind, cv2.merge([255 - alpha] * 3), scale=1 / 255)
            return cv2.add(cut[..., :3], through)
        assert self.rim is not None
        thin = cv2.merge([np.maximum(alpha, THIN)] * 3)
        colours = cv2.add(cut[..., :3], cv2.multiply(self.rim, cv2.subtract(thin, cv2.merge([alpha] * 3)), scale=1 / 255))
        return cv2.merge([*cv2.split(cv2.divide(colours, thin, scale=255)), alpha])


def check_background(background: Any) -> None:
    """Raise ValueError or FileNotFoundError for a background that nobody could draw, before there is work to lose."""
    word = str(background) if isinstance(background, str | Path) else "keep"
    if word.startswith("#"):
        if not re.fullmatch("#[0-9a-fA-F]{6}", word):
            raise ValueError(f"'{word}' is no colour: give # and six hexadecimal digits, for example #00ff00.")
    elif word not in WORDS and not Path(word).exists():
        if Path(word).suffix:
            raise FileNotFoundError(f"{word} does not exist: check the path of the background.")
        words = ", ".join(WORDS)
        raise ValueError(f"Unknown background '{word}': give {words}, a colour such as #00ff00, or a picture.")


def make_backdrop(
    background: Any, image: np.ndarray, matte: np.ndarray, plate: np.ndarray, face_px: float
) -> Backdrop | None:
    """A background in the size of a picture; None to keep the picture's own.

    background: "keep", "blur", "transparent", "#rrggbb", or a picture as `media.load_image` takes it, which is cut to the
    picture's shape. image, plate: (H, W, 3) uint8. matte: (H, W) in [0, 1]. face_px: the face's size.
    """
    check_background(background)
    height, width = matte.shape
    word = background if isinstance(background, str) else ""
    if word == "keep":
        return None
    if word == "blur":
        return Backdrop(_blurred(plate, BLUR * face_px))
    if word == "transparent":
        seen = _blurred(matte, 0.1 * face_px)
        rim = _blurred(image * matte[..., None], 0.1 * face_px) / np.maximum(seen, 1e-3)[..., None]
        return Backdrop(None, np.clip(rim, 0, 255).astype(np.uint8))
    if word.startswith("#"):
        return Backdrop(np.full((height, width, 3), list(bytes.fromhex(word[1:])), np.uint8))
    return Backdrop(_covering(load_image(background), width, height))


def _blurred(plane: np.ndarray, spread: float) -> np.ndarray:
    """A wide Gaussian blur, done small."""
    height, width = plane.shape[:2]
    factor = min(1.0, 4 / max(spread, 1e-6))
    small = cv2.resize(plane, (max(1, round(width * factor)), max(1, round(height * factor))), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), max(spread * factor, 0.5), borderType=cv2.BORDER_REPLICATE)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


def _covering(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """The middle of a picture, in the size asked for."""
    factor = max(width / picture.shape[1], height / picture.shape[0])
    size = max(width, round(picture.shape[1] * factor)), max(height, round(picture.shape[0] * factor))
    shrink = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    resized = cv2.resize(picture, size, interpolation=shrink)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return np.ascontiguousarray(resized[top : top + height, left : left + width])
