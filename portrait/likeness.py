"""What a film's pictures keep of their source: who it is, how sharp it is. Needs the extra `eval` for the former.

Identity is dlib's face descriptor (ResNet-34 on 128 numbers, CC0 weights of the package face_recognition_models), which
no network here was trained on.
"""

import importlib.util
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from mien.portrait import geometry

INSTALL = "pip install --no-deps dlib-bin face_recognition_models"


class Likeness:
    """A source picture to which frames are compared. image: (H, W, 3) uint8 RGB; landmarks: (478, 3) pixels."""

    def __init__(self, image: np.ndarray, landmarks: np.ndarray):
        self.descriptor = describe(image, landmarks) if can_identify() else None
        self.face, self.mouth = sharpness(image, landmarks)

    def compare(self, image: np.ndarray, landmarks: np.ndarray) -> dict[str, float]:
        """identity (if the extra is there), sharpness_face, sharpness_mouth of a frame; see `figures.FIGURES`."""
        face, mouth = sharpness(image, landmarks)
        out = {"sharpness_face": face / self.face, "sharpness_mouth": mouth / self.mouth}
        if self.descriptor is not None:
            other = describe(image, landmarks)
            out["identity"] = float(other @ self.descriptor / np.linalg.norm(other) / np.linalg.norm(self.descriptor))
        return out


def sharpness(image: np.ndarray, landmarks: np.ndarray) -> tuple[float, float]:
    """Rms gradient of the grey picture within the face's outline, and within a box about the lips."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    energy = cv2.Sobel(grey, cv2.CV_32F, 1, 0) ** 2 + cv2.Sobel(grey, cv2.CV_32F, 0, 1) ** 2
    face = np.zeros(grey.shape, np.uint8)
    cv2.fillConvexPoly(face, cv2.convexHull(landmarks[geometry.OVAL, :2].astype(np.int32)), 1)
    lips = landmarks[[*geometry.OUTER_UPPER, *geometry.OUTER_LOWER], :2]
    margin = 0.15 * np.ptp(lips[:, 0])
    (x0, y0), (x1, y1) = np.floor(lips.min(0) - margin).astype(int).clip(0), np.ceil(lips.max(0) + margin).astype(int)
    mouth = energy[y0:y1, x0:x1]
    return float(np.sqrt(energy[face > 0].mean()) + 1e-6), float(np.sqrt(mouth.mean()) + 1e-6)


def can_identify() -> bool:
    """Whether dlib and its weights are installed."""
    return all(importlib.util.find_spec(name) for name in ("dlib", "face_recognition_models"))


@lru_cache(maxsize=1)
def _networks():
    """dlib's landmark and descriptor networks; their package is found, not imported: it needs an old setuptools."""
    if not can_identify():
        raise ModuleNotFoundError(f"Identity is judged by dlib, which is not installed: {INSTALL}")
    import dlib

    spec = importlib.util.find_spec("face_recognition_models")
    folder = Path(spec.origin).parent / "models"  # pyright: ignore[reportOptionalMemberAccess, reportArgumentType]
    points = dlib.shape_predictor(str(folder / "shape_predictor_5_face_landmarks.dat"))  # pyright: ignore
    return points, dlib.face_recognition_model_v1(str(folder / "dlib_face_recognition_resnet_model_v1.dat"))  # pyright: ignore


def describe(image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """dlib's descriptor (128,) of the face at landmarks (478, 3), cut out by dlib's own five points.

    Raises ModuleNotFoundError, with what to do, if the extra `eval` is not installed.
    """
    points, network = _networks()
    import dlib

    # dlib's detector frames a face from the brows to the chin.
    low, high = landmarks[[105, 334, 152, 234, 454], :2].min(0), landmarks[[105, 334, 152, 234, 454], :2].max(0)
    centre, half = (low + high) / 2, (high - low).max() / 2
    (left, top), (right, bottom) = np.round(centre - half).astype(int), np.round(centre + half).astype(int)
    rgb = np.ascontiguousarray(image)
    shape = points(rgb, dlib.rectangle(int(left), int(top), int(right), int(bottom)))  # pyright: ignore
    return np.array(network.compute_face_descriptor(rgb, shape))
