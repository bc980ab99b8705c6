"""How true a portrait moves: real films made again from their first frame, compared frame by frame with themselves.

The motion of a film, 36 numbers a frame, moves its own first picture; the film is the truth. Two baselines stand beside
it: the picture held still, and a plain piecewise-affine warp of it that is given the film's true landmarks.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mien.media import read_frames
from mien.portrait import geometry
from mien.portrait.evaluation import Clip, change_outside, read_clips
from mien.portrait.likeness import can_identify, describe, sharpness
from mien.portrait.motion import REGIONS, Motion, MotionSpace, Rest, iris_offset, load_space, rotation_vector
from mien.portrait.tracking import Track, Tracker, load_tracker
from mien.portrait.warp import Portrait

MARGIN = 1.3  # pictures are compared in this multiple of the box of all landmarks
STEP = 4  # every so many frames of a film are described for who they show
LIPS = sorted({*geometry.UPPER_LIP, *geometry.LOWER_LIP, 61, 291, 78, 308})
METHODS = ("still", "affine", "made")

FIGURES: dict[str, tuple[str, str]] = {
    "psnr": ("dB", "peak signal to noise within the head's box"),
    "ssim": ("0 … 1", "structural similarity of the grey head (Wang 2004)"),
    "gmsd": ("lower is better", "gradient magnitude similarity deviation of the head (Xue 2014)"),
    "landmarks": ("IOD", "mean distance of the landmarks that a tracker sees to the film's"),
    "lips": ("IOD", "the same of the lips alone"),
    "sharpness_face": ("ratio", "rms gradient of the face over the first frame's"),
    "sharpness_mouth": ("ratio", "rms gradient about the lips over the film's own, frame by frame"),
    "identity": ("cosine", "of dlib's face descriptor to the film's own, frame by frame"),
    "frechet": ("distance", "between the descriptors of all frames of all films and of the made ones"),
    "flicker": ("grey levels", "largest change of any pixel outside the portrait's box"),
}


def motion_from_first(track: Track, space: MotionSpace) -> Motion:
    """A film's motion relative to its own first frame: pose, lids and gaze start at rest, the expression where it is."""
    canonical, pose = geometry.canonicalise(track.landmarks, space.template)
    first = track.face(0)
    rest = Rest(
        canonical[0] + space.rest_offset(first),
        np.maximum(geometry.lid_openness(canonical[:1])[0], 0.05),
        iris_offset(canonical[:1])[0],
    )
    values = space.encode(track, rest).values.copy()
    turn = np.swapaxes(pose.rotation, -1, -2) @ pose.rotation[0]
    pivot = geometry.NECK_PIVOT @ pose.rotation[0] * pose.iod[0]
    carried = pivot - np.einsum("tij,j->ti", turn, pivot)
    values[:, REGIONS["rotation"]] = rotation_vector(turn)
    values[:, REGIONS["translation"]] = ((pose.centre - pose.centre[0]) - carried)[:, :2] / pose.iod[0]
    values[:, 5] = np.log(pose.iod / pose.iod[0])
    return Motion(values)


class AffineWarp:
    """The plain baseline: triangles between landmarks, each moved by an affine map, the picture's border held."""

    def __init__(self, image: np.ndarray, landmarks: np.ndarray):
        self.image = image
        height, width = image.shape[:2]
        u = np.linspace(0, 1, 5)
        rim = [*((x, y) for x in u for y in (0, 1)), *((x, y) for x in (0, 1) for y in u[1:-1])]
        self.rim = np.array(rim, np.float32) * (width - 1, height - 1)
        self.points = np.concatenate([landmarks[:468, :2], self.rim]).astype(np.float32)
        inside = np.clip(self.points, 0, (width - 1, height - 1))
        plane = cv2.Subdiv2D((0, 0, width, height))
        ids: dict[int, int] = {}
        for number, (x, y) in enumerate(inside.tolist()):
            ids.setdefault(plane.insert((x, y)), number)
        corners = [plane.locate((x, y))[2] for x, y in np.array(plane.getTriangleList()).reshape(-1, 2).tolist()]
        self.triangles = np.array([ids.get(c, -1) for c in corners]).reshape(-1, 3)
        self.triangles = self.triangles[(self.triangles >= 0).all(1)]

    def render(self, landmarks: np.ndarray) -> np.ndarray:
        """The picture with its landmarks at other places (478, >=2) pixels."""
        height, width = self.image.shape[:2]
        moved = np.concatenate([landmarks[:468, :2], self.rim]).astype(np.float32)
        a, b = moved[self.triangles], self.points[self.triangles]  # (T, 3, 2) there and here
        sides = np.concatenate([a, np.ones((len(a), 3, 1))], 2)
        whole = np.abs(np.linalg.det(sides)) > 1e-3
        maps = np.linalg.solve(sides[whole], b[whole].astype(np.float64)).astype(np.float32)  # (T, 3, 2)
        label = np.full((height, width), -1, np.int32)
        for number, corners in enumerate(np.round(a[whole] * 16).astype(np.int32)):
            cv2.fillConvexPoly(label, corners, number, cv2.LINE_8, 4)
        y, x = np.indices(label.shape, dtype=np.float32)
        found = maps[np.maximum(label, 0)]
        where = x[..., None] * found[..., 0, :] + y[..., None] * found[..., 1, :] + found[..., 2, :]
        where = np.where(label[..., None] < 0, np.dstack([x, y]), where)
        return cv2.remap(self.image, where, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)  # pyright: ignore[reportCallIssue, reportArgumentType]


# -- comparing ---------------------------------------------------------------------------------------------------------


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal to noise of two uint8 pictures, dB; 60 where they are equal."""
    error = float(np.mean((a.astype(np.float32) - b) ** 2))
    return min(60.0, 10 * np.log10(255**2 / max(error, 1e-9)))


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Structural similarity of two grey pictures (H, W) float32, 0 … 255: Gaussian windows of 1.5 pixels (Wang 2004)."""
    blur = lambda x: cv2.GaussianBlur(x, (11, 11), 1.5)  # noqa: E731
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    ma, mb = blur(a), blur(b)
    va, vb, both = blur(a * a) - ma * ma, blur(b * b) - mb * mb, blur(a * b) - ma * mb
    return float(np.mean((2 * ma * mb + c1) * (2 * both + c2) / ((ma * ma + mb * mb + c1) * (va + vb + c2))))


def gmsd(a: np.ndarray, b: np.ndarray) -> float:
    """Gradient magnitude similarity deviation of two grey pictures (Xue, Zhang, Mou, Bovik 2014): 0 is equal."""
    sizes = []
    for grey in (a, b):
        small = cv2.blur(grey, (2, 2))[::2, ::2]
        kernel = np.array([[1, 0, -1]] * 3, np.float32) / 3
        sizes.append(cv2.magnitude(cv2.filter2D(small, -1, kernel), cv2.filter2D(small, -1, kernel.T)))
    return float(np.std((2 * sizes[0] * sizes[1] + 170) / (sizes[0] ** 2 + sizes[1] ** 2 + 170)))


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet distance of two clouds of descriptors (N, D), as normal distributions."""
    ca, cb = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    values, vectors = np.linalg.eigh(ca)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ cb @ root), 0)).sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(ca) + np.trace(cb) - 2 * cross)


# -- the trial ---------------------------------------------------------------------------------------------------------


def reenact(
    folders: Sequence[Path],
    *,
    split: str = "val",
    limit: int | None = None,
    longest_s: float = 4.0,
    tracker: Tracker | None = None,
    news: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Make held-out films again from their first frames and compare.

    folders, split, limit, news: as in `evaluation.evaluate`. longest_s: more of a clip is not looked at. tracker: the
    judge, which also measures the motion. Returns clips, their means by method, definitions.
    Raises as `read_clips`; ValueError if no clip can be used.
    """
    started = time.perf_counter()
    clips = [clip for folder in folders for clip in read_clips(folder, split)]
    if limit is not None and limit < len(clips):
        clips = [clips[i] for i in np.linspace(0, len(clips) - 1, limit).round().astype(int)]
    tracker = tracker or load_tracker("mediapipe")
    rows, described = [], {name: [] for name in ("real", *METHODS)}
    for number, clip in enumerate(clips):
        row = _try(clip, round(longest_s * 25), tracker, described)
        if isinstance(row, str):
            news(f"{number + 1}/{len(clips)} {clip.path.name}: left out: {row}")
            continue
        rows.append({"file": clip.path.name, **row})
        line = ", ".join(f"{name} {row[name]['psnr']:.1f} dB, lips {row[name]['lips']:.3f}" for name in METHODS)
        news(f"{number + 1}/{len(clips)} {clip.path.name}: {line}")
    if not rows:
        raise ValueError(f"None of the {len(clips)} clips of {', '.join(map(str, folders))} could be used.")
    means = {name: {key: float(np.mean([row[name][key] for row in rows])) for key in rows[0][name]} for name in METHODS}
    if described["real"]:
        real = np.array(described["real"])
        for name in METHODS:
            means[name]["frechet"] = frechet(real, np.array(described[name]))
    return {
        "clips": rows,
        "means": means,
        "definitions": {name: {"unit": unit, "definition": text} for name, (unit, text) in FIGURES.items()},
        "seconds": round(time.perf_counter() - started, 1),
    }


def _try(clip: Clip, count: int, tracker: Tracker, described: dict[str, list[np.ndarray]]) -> dict[str, Any] | str:
    """One clip by all methods, or why it cannot be used."""
    space = load_space()
    frames = list(islice(read_frames(clip.path), count))
    try:
        track = tracker.follow(iter(frames))
    except ValueError as error:
        return str(error)
    if not track.tracked[0] or track.tracked.mean() < 0.9:
        return "its face is not seen in the first frame, or in too few"
    first = track.face(0)
    portrait = Portrait(frames[0], first.landmarks, space.template, space.rest_offset(first))
    plain = AffineWarp(frames[0], first.landmarks)
    films: dict[str, Iterator[np.ndarray]] = {
        "still": (frames[0] for _ in frames),
        "affine": (plain.render(points) for points in track.landmarks),
        "made": (portrait.render(shape) for shape in motion_from_first(track, space).shapes(space)),
    }
    low, high = track.landmarks[..., :2].min((0, 1)), track.landmarks[..., :2].max((0, 1))
    middle, half = (low + high) / 2, MARGIN * (high - low) / 2
    (x0, y0), (x1, y1) = np.maximum(middle - half, 0).astype(int), np.ceil(middle + half).astype(int)
    box = np.s_[y0:y1, x0:x1]
    row: dict[str, Any] = {"frames": len(frames)}
    chosen = range(0, len(frames), STEP) if can_identify() else range(0)
    real = [describe(frames[i], track.landmarks[i]) for i in chosen]
    described["real"] += real
    for name, film in films.items():
        made = list(film)
        row[name] = _compare(frames, made, box, track, tracker)
        row[name]["flicker"] = float(max(change_outside(frame, portrait) for frame in made)) if name == "made" else 0.0
        own = [describe(made[i], track.landmarks[i]) for i in chosen]
        described[name] += own
        if real:
            cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(own, real, strict=True)]
            row[name]["identity"] = float(np.mean(cosines))
    return row


def _compare(
    real: list[np.ndarray], made: list[np.ndarray], box: tuple[slice, slice], track: Track, tracker: Tracker
) -> dict[str, float]:
    """The figures of one made film beside the real one."""
    grey = [[cv2.cvtColor(f[box], cv2.COLOR_RGB2GRAY).astype(np.float32) for f in film] for film in (real, made)]
    pairs = list(zip(*grey, strict=True))
    try:
        seen = tracker.follow(iter(made)).landmarks
    except ValueError:  # nothing is left of the face
        seen = np.full_like(track.landmarks, np.nan)
    iod = np.linalg.norm(track.landmarks[:, 33, :2] - track.landmarks[:, 263, :2], axis=-1)
    off = np.linalg.norm(seen[..., :2] - track.landmarks[..., :2], axis=-1) / iod[:, None]
    source = sharpness(real[0], track.landmarks[0])[0]
    sharp = [(sharpness(m, p), sharpness(r, p)) for r, m, p in zip(real, made, track.landmarks, strict=True)]
    return {
        "psnr": float(np.mean([psnr(a[box], b[box]) for a, b in zip(real, made, strict=True)])),
        "ssim": float(np.mean([ssim(a, b) for a, b in pairs])),
        "gmsd": float(np.mean([gmsd(a, b) for a, b in pairs])),
        "landmarks": float(np.mean(off)),
        "lips": float(np.mean(off[:, LIPS])),
        "sharpness_face": float(np.median([m[0] for m, _ in sharp])) / source,
        "sharpness_mouth": float(np.median([m[1] / r[1] for m, r in sharp])),
    }


def table(result: dict[str, Any]) -> str:
    """What `reenact` found, a line a figure."""
    lines = [f"{'':18}" + "".join(f"{name:>10}" for name in METHODS)]
    for name, (unit, _) in FIGURES.items():
        if name in result["means"]["made"]:
            values = "".join(f"{result['means'][method][name]:10.3f}" for method in METHODS)
            lines.append(f"{name:18}{values}   {unit}")
    return "\n".join([*lines, f"{len(result['clips'])} clips, {result['seconds']:.0f} s"])
