"""Which part of a picture the film shows: crops by the face, with room above the hair, at the picture's own resolution."""

import numpy as np

# Height of the crop in face heights, its width over its height, and where down the crop the face's middle lies.
CROPS: dict[str, tuple[float, float, float]] = {
    "face": (2.0, 1.0, 0.53),
    "portrait": (3.3, 0.8, 0.42),
    "square": (3.0, 1.0, 0.44),
    "9:16": (4.2, 9 / 16, 0.4),
}


def check_crop(crop: str) -> None:
    """Raise ValueError for a crop that is none of `CROPS` nor "keep"."""
    if crop != "keep" and crop not in CROPS:
        raise ValueError(f"Unknown crop '{crop}': choose keep, {', '.join(CROPS)}.")


def crop_box(crop: str, face: tuple[float, float, float, float], width: int, height: int) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 of a crop inside a picture of width x height pixels; both sides are even.

    face: x0, y0, x1, y1 of the face's landmarks. A picture too small for the wanted room gives the largest part of the
    wanted shape.
    """
    check_crop(crop)
    if crop == "keep":
        return 0, 0, width, height
    faces, aspect, down = CROPS[crop]
    x0, y0, x1, y1 = face
    tall = min(faces * max(x1 - x0, y1 - y0), height, width / aspect)
    size = np.maximum(2 * np.floor(np.array([tall * aspect, tall]) / 2 + 1e-6), 2).astype(int)
    wanted = np.array([(x0 + x1) / 2 - size[0] / 2, (y0 + y1) / 2 - down * size[1]])
    left, top = np.clip(np.round(wanted), 0, np.array([width, height]) - size).astype(int).tolist()
    return left, top, left + int(size[0]), top + int(size[1])
