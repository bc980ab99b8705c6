"""Where the tracker's networks look: upright squares around a face, its eyes and its mouth.

A crop's own units: its middle is the origin, its side is one, x along the eyes, y from the brow to the chin.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from mien.portrait.geometry import EYE_CORNERS, LEFT_EYE_UPPER, LOWER_LIP, RIGHT_EYE_UPPER, UPPER_LIP

FACE_SIDE = 1.4  # of the longer side of the landmarks' box
EYE_SIDE, MOUTH_SIDE = 0.62, 1.1  # inter-ocular distances

# Points that are looked at a second time from near: lids, skin around them and iris; lips.
RIGHT_EYE = [7, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 33, 56, 110, 112, 113, 120, 121, 128, 130, 133, 144, 145, 153,
             154, 155, 157, 158, 159, 160, 161, 163, 173, 189, 190, 221, 222, 223, 226, 228, 229, 230, 231, 232, 233,
             243, 244, 245, 246, 247, 468, 469, 470, 471, 472]  # fmt: skip
MOUTH = sorted({*UPPER_LIP, *LOWER_LIP, 61, 291, 78, 308})


@dataclass(frozen=True)
class Crop:
    """A square of a picture. x, y: its middle, pixels; angle: of its x axis, radians clockwise; side: pixels.

    mirrored: it is looked at in a mirror, so that a left eye looks like a right one.
    """

    x: float
    y: float
    angle: float
    side: float
    mirrored: bool = False

    def _axes(self) -> np.ndarray:
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return np.array([[-cos if self.mirrored else cos, -sin], [-sin if self.mirrored else sin, cos]])  # columns: x, y

    def to_crop(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2 or 3) from the picture's pixels to the crop's units."""
        flat = (points[..., :2] - [self.x, self.y]) @ self._axes()
        return (np.concatenate([flat, points[..., 2:]], -1) / self.side).astype(np.float32)

    def to_picture(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2 or 3) from the crop's units to the picture's pixels."""
        scaled = points * self.side
        flat = scaled[..., :2] @ self._axes().T + [self.x, self.y]
        return np.concatenate([flat, scaled[..., 2:]], -1).astype(np.float32)

    def cut(self, image: np.ndarray, px: int, border: int = cv2.BORDER_REPLICATE) -> np.ndarray:
        """The crop as (px, px, ...) of a picture (H, W, ...); a large one is shrunk first, so that nothing is skipped."""
        if min(self.side, *image.shape[:2]) >= 2 * px:
            part, crop = self.shrunk(image, int(self.side / px))
            return crop.cut(part, px, border)
        axes = self._axes() * self.side / px
        middle = np.array([self.x, self.y]) - 0.5  # pixels are squares: the first one's middle is at 0.5
        shift = middle - axes @ np.full(2, (px - 1) / 2)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(image, np.c_[axes, shift], (px, px), flags=flags, borderMode=border)

    def shrunk(self, image: np.ndarray, times: int) -> tuple[np.ndarray, "Crop"]:
        """The part of a picture that the crop needs, so many times smaller, and the crop there."""
        height, width = image.shape[:2]
        times = min(times, height, width)
        left, top = (int(np.clip(v - 0.75 * self.side, 0, end - times)) for v, end in ((self.x, width), (self.y, height)))
        right, bottom = int(self.x + 0.75 * self.side) + 2, int(self.y + 0.75 * self.side) + 2
        part = image[top : max(bottom, top + times), left : max(right, left + times)]
        rows, columns = part.shape[0] // times, part.shape[1] // times  # whole ones, so that both axes shrink alike
        small = cv2.resize(part[: rows * times, : columns * times], (columns, rows), interpolation=cv2.INTER_AREA)
        return small, Crop((self.x - left) / times, (self.y - top) / times, self.angle, self.side / times, self.mirrored)

    def scaled(self, by: float) -> "Crop":
        """The same crop of the picture made larger."""
        return replace(self, x=self.x * by, y=self.y * by, side=self.side * by)

    def moved(self, points: np.ndarray, to: "Crop") -> np.ndarray:
        """Points (..., 3) of the picture in which this crop lies, as they lie about another crop of the same angle."""
        by = to.side / self.side
        return ((points - [self.x, self.y, 0]) * by + [to.x, to.y, 0]).astype(np.float32)


def iod(landmarks: np.ndarray) -> float:
    """Distance of the outer corners of the eyes in space, which a turned head does not change much; pixels."""
    return float(np.linalg.norm(landmarks[EYE_CORNERS[0]] - landmarks[EYE_CORNERS[1]]))


def face_crop(landmarks: np.ndarray) -> Crop:
    """The crop for the face network; landmarks (478, 3) pixels."""
    across = landmarks[EYE_CORNERS[1], :2] - landmarks[EYE_CORNERS[0], :2]
    upright = Crop(0, 0, float(np.arctan2(across[1], across[0])), 1)
    points = upright.to_crop(landmarks)[:, :2]
    low, high = points.min(0), points.max(0)
    x, y = upright.to_picture((low + high) / 2)
    return replace(upright, x=float(x), y=float(y), side=FACE_SIDE * float((high - low).max()))


def eye_crops(landmarks: np.ndarray) -> tuple[Crop, Crop]:
    """Crops for the eye network: the right eye (33), and the left one mirrored."""
    angle, side = face_crop(landmarks).angle, EYE_SIDE * iod(landmarks)
    (rx, ry), (lx, ly) = (landmarks[[eye[0], eye[-1]], :2].mean(0) for eye in (RIGHT_EYE_UPPER, LEFT_EYE_UPPER))
    return Crop(float(rx), float(ry), angle, side), Crop(float(lx), float(ly), angle, side, mirrored=True)


def mouth_crop(landmarks: np.ndarray) -> Crop:
    """The crop for the mouth network."""
    x, y = landmarks[MOUTH, :2].mean(0)
    return Crop(float(x), float(y), face_crop(landmarks).angle, MOUTH_SIDE * iod(landmarks))
