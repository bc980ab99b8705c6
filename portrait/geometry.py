"""The face as 478 points: which point is what, canonical space, sealed lips, openness of lips and lids.

Points follow MediaPipe's face mesh (468 of the skin, 10 of the irises). Letters: T frames, P = 478 points.
Canonical space: the head turned to the front, the midpoint of the outer eye corners at the origin, their distance (the
inter-ocular distance, IOD) one; x to the image's right, y down, z away from the camera.
"""

from dataclasses import dataclass

import numpy as np

N_POINTS = 478
EYE_CORNERS = (33, 263)  # outer corners: their distance is the IOD

# Points that speech and feeling move least: they tell the head's pose.
STABLE = [33, 133, 263, 362, 168, 6, 197, 195, 5, 4, 1, 10, 151, 9, 8, 127, 356, 234, 454]

OVAL = [10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149,
        150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109]  # fmt: skip

# Lips, from the image's left corner to its right one. The inner rings share their corners (78, 308).
INNER_UPPER = [78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308]
INNER_LOWER = [78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308]
OUTER_UPPER = [61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291]
OUTER_LOWER = [61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291]
UPPER_LIP = [*OUTER_UPPER[1:-1], *INNER_UPPER[1:-1], 74, 42, 41, 38, 12, 268, 271, 272, 304, 73, 72, 11, 302, 303,
             184, 183, 408, 407, 62, 76, 292, 306]  # fmt: skip
LOWER_LIP = [*OUTER_LOWER[1:-1], *INNER_LOWER[1:-1], 77, 90, 180, 85, 16, 315, 404, 320, 307, 96, 89, 179, 86, 15,
             316, 403, 319, 325]  # fmt: skip

# Eyes: lid edges from the image's left corner to its right one, and iris centre with its four rim points.
RIGHT_EYE_UPPER = [33, 246, 161, 160, 159, 158, 157, 173, 133]
RIGHT_EYE_LOWER = [33, 7, 163, 144, 145, 153, 154, 155, 133]
LEFT_EYE_UPPER = [362, 398, 384, 385, 386, 387, 388, 466, 263]
LEFT_EYE_LOWER = [362, 382, 381, 380, 374, 373, 390, 249, 263]
RIGHT_IRIS = [468, 469, 470, 471, 472]
LEFT_IRIS = [473, 474, 475, 476, 477]
EYES = ((RIGHT_EYE_UPPER, RIGHT_EYE_LOWER, RIGHT_IRIS), (LEFT_EYE_UPPER, LEFT_EYE_LOWER, LEFT_IRIS))

# The head turns about the top of the neck: below and behind the eyes, canonical space.
NECK_PIVOT = np.array([0.0, 1.5, 0.8], np.float32)

# How much of a gap each lip travels when the lips close: the jaw carries most.
UPPER_SHARE, LOWER_SHARE = 0.35, 0.65
CORNER_SHARE = 0.3  # of the lower lip's rise: the corners go with the jaw


@dataclass(frozen=True)
class Pose:
    """How a head stands in the picture: canonical = (pixels - centre) @ rotation.T / iod, row vectors.

    rotation (..., 3, 3), centre (..., 3) pixels, iod (...) pixels.
    """

    rotation: np.ndarray
    centre: np.ndarray
    iod: np.ndarray


def canonicalise(landmarks: np.ndarray, template: np.ndarray) -> tuple[np.ndarray, Pose]:
    """Turn tracked faces to the front: similarity Procrustes of the stable points onto a template.

    landmarks: (..., 478, 3) pixels. template: (478, 3) a canonical face.
    Returns canonical landmarks (..., 478, 3) and the pose that was taken out.
    """
    points = landmarks.astype(np.float64)
    a, r = points[..., STABLE, :], template[STABLE].astype(np.float64)
    centre_a, centre_r = a.mean(-2, keepdims=True), r.mean(0)
    a, r = a - centre_a, r - centre_r
    u, s, vt = np.linalg.svd(np.swapaxes(a, -1, -2) @ r)
    flip = np.sign(np.linalg.det(u @ vt))
    u[..., :, 2] *= flip[..., None]
    rotation = np.swapaxes(u @ vt, -1, -2)  # a @ rotation.T is closest to r
    s[..., 2] *= flip
    scale = s.sum(-1) / (a**2).sum((-1, -2))  # canonical units per pixel
    centre = centre_a[..., 0, :] - (centre_r @ rotation) / scale[..., None]
    canonical = (points - centre[..., None, :]) @ np.swapaxes(rotation, -1, -2) * scale[..., None, None]
    return canonical.astype(np.float32), Pose(rotation, centre, 1 / scale)


def restore(canonical: np.ndarray, pose: Pose) -> np.ndarray:
    """The inverse of `canonicalise`: canonical points (..., P, 3) back to pixels under a pose."""
    return canonical @ pose.rotation * pose.iod[..., None, None] + pose.centre[..., None, :]


def facing(landmarks: np.ndarray, template: np.ndarray) -> tuple[float, float]:
    """Where a face looks: degrees to the picture's right and down; (478, 3) pixels, (478, 3) canonical face."""
    _, pose = canonicalise(landmarks, template)
    x, y, z = -pose.rotation[2]  # the nose's direction in the picture
    return float(np.degrees(np.arctan2(x, -z))), float(np.degrees(np.arctan2(y, np.hypot(x, z))))


def lip_gap(points: np.ndarray) -> np.ndarray:
    """Vertical opening between the inner lips at nine places, corners left out: (..., 478, >=2) -> (..., 9), same unit.

    Negative where the lower lip was drawn over the upper one.
    """
    return points[..., INNER_LOWER[1:-1], 1] - points[..., INNER_UPPER[1:-1], 1]


def aperture(points: np.ndarray) -> np.ndarray:
    """Opening of the lips at their middle third, mean of three places: (..., 478, >=2) -> (...)."""
    return lip_gap(points)[..., 3:6].mean(-1)


def seal(canonical: np.ndarray) -> np.ndarray:
    """Close the lips of canonical faces; the mouth's corners, the skin around and the chin follow as a jaw carries them.

    canonical: (..., 478, 3). Returns the same shape with `lip_gap` zero everywhere.
    """
    out = canonical.copy()
    gap = np.zeros((*canonical.shape[:-2], 11), canonical.dtype)
    gap[..., 1:-1] = lip_gap(canonical)
    opening = np.maximum(gap, 0).max(-1)[..., None]
    seam_y = canonical[..., INNER_UPPER, 1].mean(-1)[..., None] + UPPER_SHARE * gap.mean(-1)[..., None]
    corner_x = np.abs(canonical[..., [78, 308], 0]).mean(-1)[..., None]
    x, y = canonical[..., 0], canonical[..., 1]
    # Skin further from the seam than the opening is high goes wholly with the jaw, or stays with the skull.
    width = np.exp(-((x / (1.6 * corner_x)) ** 2))
    away = (y - seam_y) / np.maximum(0.15, 1.5 * opening)
    below = CORNER_SHARE + (1 - CORNER_SHARE) * np.clip(away, 0, 1)
    lower = np.where(away > 0, below, CORNER_SHARE * np.clip(1 + away, 0, 1))
    upper = np.exp(-((y - seam_y) ** 2) / (2 * np.maximum(0.08, 0.6 * opening) ** 2)) * (y < seam_y)
    out[..., 1] += (0.8 * UPPER_SHARE * upper - LOWER_SHARE * lower) * opening * width
    # Lips rise with the corners, and each goes its share of the gap above or below it.
    rise = -LOWER_SHARE * CORNER_SHARE * np.exp(-((1 / 1.6) ** 2)) * opening
    for lip, inner, share in ((UPPER_LIP, INNER_UPPER, UPPER_SHARE), (LOWER_LIP, INNER_LOWER, -LOWER_SHARE)):
        lip = sorted({*lip, *inner})
        nearest = np.abs(canonical[..., lip, 0][..., None] - canonical[..., INNER_UPPER, 0][..., None, :]).argmin(-1)
        own_gap = np.take_along_axis(gap, nearest, -1)
        out[..., lip, 1] = canonical[..., lip, 1] + 0.95 * share * own_gap + rise
        out[..., inner, 1] = canonical[..., inner, 1] + share * gap + rise
    out[..., [61, 291], 1] = canonical[..., [61, 291], 1] + rise
    return out


def lid_openness(points: np.ndarray) -> np.ndarray:
    """Height of the lid opening over the eye's width: (..., 478, >=2) -> (..., 2), right (33) eye first."""
    out = []
    for upper, lower, _ in EYES:
        height = (points[..., lower[2:7], 1] - points[..., upper[2:7], 1]).mean(-1)
        width = np.linalg.norm(points[..., upper[0], :2] - points[..., upper[-1], :2], axis=-1)
        out.append(height / np.maximum(width, 1e-6))
    return np.stack(out, -1)


def mirrored(points: np.ndarray, partner: np.ndarray) -> np.ndarray:
    """Canonical points or displacements (..., 478, 3) as a mirror shows them. partner (478,): who stands opposite whom."""
    return points[..., partner, :] * np.array([-1, 1, 1], points.dtype)
