"""Tracking by face-alignment (extra `fan`), whose 68 points in space are spread over our 478.

Its points are those of the iBUG 300-W annotation. A similarity takes our mean face to them; what is left over (person
and expression) is carried to all other points by smooth interpolation. Blendshapes and gaze cannot be told from 68
points: they stay zero and straight.

Source: A. Bulat, G. Tzimiropoulos, "How far are we from solving the 2D & 3D Face Alignment problem?", ICCV 2017.
"""

import warnings
from collections.abc import Iterable

import cv2
import numpy as np

from mien.layers.extras import install
from mien.portrait.geometry import EYES, N_POINTS
from mien.portrait.motion import load_space
from mien.portrait.tracking import Face, Track, hold_untracked

# The 68 points, in their order, as indices of ours. Laid over our mean face, OpenFace's mean shape of 68 points lies
# within 0.1 IOD of 94 % of them, median 0.03; the jaw, which it shows as an outline, is farthest.
IBUG = np.array([
    127, 234, 93, 132, 58, 136, 149, 176, 152, 400, 378, 365, 288, 361, 323, 454, 356,  # jaw
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300,  # brows
    168, 197, 5, 4, 75, 97, 2, 326, 305,  # nose
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,  # eyes
    61, 40, 37, 0, 267, 270, 291, 321, 314, 17, 84, 91,  # outer lips
    78, 82, 13, 312, 308, 317, 14, 87,  # inner lips
])  # fmt: skip

STEADY = [0, 1, 15, 16, *range(27, 36), 36, 39, 42, 45]  # of the 68: ears, nose, corners of the eyes
NOSE_TIP, EARS = 30, [0, 16]
POSE = np.eye(4, dtype=np.float32)
LONGEST_PX = 1280  # its detector needs seconds and gigabytes for more


class FaceAlignmentTracker:
    """3DFAN-4 behind the S3FD detector, on a GPU if CUDA has one.

    template: (478, 3) canonical mean face; None takes that of the motion space.
    Raises ModuleNotFoundError if the package cannot be loaded, FileNotFoundError if its weights cannot be had.
    """

    def __init__(self, template: np.ndarray | None = None):
        import torch

        try:
            import face_alignment
        except ImportError as error:
            raise ModuleNotFoundError(
                f"The tracker face-alignment could not be loaded ({error}): {install('fan')}, or use the tracker mien."
            ) from error
        self.template = load_space().template if template is None else template
        try:
            self._net = face_alignment.FaceAlignment(
                face_alignment.LandmarksType.THREE_D,
                device="cuda" if torch.cuda.is_available() else "cpu",
                compile=False,  # compiling takes minutes once and is worth it for nothing shorter than a feature film
            )
        except OSError as error:  # URLError is one
            raise FileNotFoundError(
                "The weights of the tracker face-alignment are not on this machine and could not be fetched from "
                "https://www.adrianbulat.com: go online once, or use the tracker mien."
            ) from error

    def detect(self, image: np.ndarray) -> list[Face]:
        """All faces of a picture, largest first."""
        shrink = min(1.0, LONGEST_PX / max(image.shape[:2]))
        small = image if shrink == 1 else cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        faces = self._faces(small, 1 / shrink)
        return faces if faces or shrink == 1 else self._faces(image, 1.0)

    def follow(self, frames: Iterable[np.ndarray]) -> Track:
        """The largest face through a film; where several are seen, the one nearest to where it was."""
        points, tracked, size, last = [], [], (0, 0), None
        for frame in frames:
            size = (frame.shape[1], frame.shape[0])
            found = [face.landmarks for face in self.detect(frame)]
            if found:
                last = found[0] if last is None else min(found, key=lambda face, last=last: np.abs(face - last).mean())
            tracked.append(bool(found))
            points.append(np.zeros((N_POINTS, 3), np.float32) if last is None else last)
        known = np.array(tracked, bool)
        if not known.any():
            raise ValueError("No frame of the film shows a face: one of 60 pixels, not in full profile, is wanted.")
        held = hold_untracked(np.stack(points), known)
        return Track(held, np.zeros((len(held), 52), np.float32), np.tile(POSE, (len(held), 1, 1)), known, size)

    def _faces(self, image: np.ndarray, enlarge: float) -> list[Face]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns where it finds nobody
            found, _, boxes = self._net.get_landmarks_from_image(image, return_bboxes=True)
        faces = []
        for points, box in zip(found or [], boxes if found else [], strict=True):
            landmarks = spread(points * enlarge, self.template)
            faces.append(Face(landmarks, np.zeros(52, np.float32), POSE, float(box[4])))
        return sorted(faces, key=lambda face: -face.size)


def spread(points: np.ndarray, template: np.ndarray) -> np.ndarray:
    """68 points of a face to our 478.

    points: (68, 3) pixels, depth growing in either direction. template: (478, 3) canonical mean face.
    Returns (478, 3) float32 pixels, z away from the camera.
    """
    points = points.astype(np.float64)
    if points[NOSE_TIP, 2] > points[EARS, 2].mean():  # the nose is nearer than the ears
        points[:, 2] *= -1
    rotation, scale, shift = _similarity(template[IBUG[STEADY]], points[STEADY])
    residual = (points - shift) @ rotation / scale - template[IBUG]
    face = template + _interpolate(template[IBUG], residual, template)
    for upper, lower, iris in EYES:
        middle = face[[*upper, *lower[1:-1]]].mean(0)
        face[iris] = template[iris] - template[iris[0]] + middle
    return (face @ rotation.T * scale + shift).astype(np.float32)


def _similarity(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """Rotation (3, 3), scale and shift (3,) that take points a (N, 3) closest to b: a @ rotation.T * scale + shift.

    Source: S. Umeyama, "Least-squares estimation of transformation parameters between two point patterns", 1991.
    """
    middle_a, middle_b = a.mean(0), b.mean(0)
    u, s, vt = np.linalg.svd((b - middle_b).T @ (a - middle_a))
    s[2] *= (flip := np.sign(np.linalg.det(u @ vt)))
    rotation = u @ np.diag([1, 1, flip]) @ vt
    scale = float(s.sum() / ((a - middle_a) ** 2).sum())
    return rotation, scale, middle_b - middle_a @ rotation.T * scale


def _interpolate(places: np.ndarray, values: np.ndarray, at: np.ndarray, smoothing: float = 1e-3) -> np.ndarray:
    """Values (N, C) known at places (N, 3), carried to others (P, 3): space's biharmonic spline and a linear map."""
    n = len(places)

    def kernel(x: np.ndarray) -> np.ndarray:
        return -np.linalg.norm(x[:, None] - places[None], axis=-1)

    plane = np.concatenate([np.ones((n, 1)), places], 1)
    system = np.block([[kernel(places) + smoothing * np.eye(n), plane], [plane.T, np.zeros((4, 4))]])
    weights = np.linalg.solve(system, np.concatenate([values, np.zeros((4, values.shape[1]))]))
    return kernel(at) @ weights[:n] + np.concatenate([np.ones((len(at), 1)), at], 1) @ weights[n:]
