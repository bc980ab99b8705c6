"""Faces as 478 points, 52 ARKit blendshapes and a head pose, behind one small interface.

`load_tracker(name)` gives a `Tracker`: `detect(image)` for a still, `follow(frames)` for a film.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

# ARKit's 52 in the order of Apple's Live Link Face. MediaPipe gives all but tongueOut, which stays 0.
BLENDSHAPES = (
    "eyeBlinkLeft", "eyeLookDownLeft", "eyeLookInLeft", "eyeLookOutLeft", "eyeLookUpLeft", "eyeSquintLeft",
    "eyeWideLeft", "eyeBlinkRight", "eyeLookDownRight", "eyeLookInRight", "eyeLookOutRight", "eyeLookUpRight",
    "eyeSquintRight", "eyeWideRight", "jawForward", "jawRight", "jawLeft", "jawOpen", "mouthClose", "mouthFunnel",
    "mouthPucker", "mouthRight", "mouthLeft", "mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft",
    "mouthFrownRight", "mouthDimpleLeft", "mouthDimpleRight", "mouthStretchLeft", "mouthStretchRight",
    "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthPressLeft", "mouthPressRight",
    "mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight", "browDownLeft",
    "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff", "cheekSquintLeft",
    "cheekSquintRight", "noseSneerLeft", "noseSneerRight", "tongueOut",
)  # fmt: skip

TRACKERS = ("mien", "mediapipe", "face-alignment")


@dataclass(frozen=True)
class Face:
    """One face in a picture.

    landmarks: (478, 3) float32 pixels, x right, y down, z away from the camera in the same unit.
    blendshapes: (52,) float32 in [0, 1], order of `BLENDSHAPES`; zeros if the tracker has none.
    matrix: (4, 4) float32 head pose as the tracker gives it; identity if it has none.
    confidence: 0 … 1.
    """

    landmarks: np.ndarray
    blendshapes: np.ndarray
    matrix: np.ndarray
    confidence: float = 1.0

    @property
    def box(self) -> tuple[float, float, float, float]:
        """x0, y0, x1, y1 around the landmarks, pixels."""
        low, high = self.landmarks[:, :2].min(0), self.landmarks[:, :2].max(0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])

    @property
    def size(self) -> float:
        """Longer side of the box, pixels."""
        x0, y0, x1, y1 = self.box
        return max(x1 - x0, y1 - y0)

    def save(self, path: str | Path) -> None:
        """Write as JSON: landmarks, blendshapes by name, matrix."""
        data = {
            "landmarks": np.round(self.landmarks.astype(float), 3).tolist(),
            "blendshapes": dict(zip(BLENDSHAPES, np.round(self.blendshapes.astype(float), 4).tolist(), strict=True)),
            "matrix": np.round(self.matrix.astype(float), 5).tolist(),
        }
        Path(path).write_text(json.dumps(data))

    @classmethod
    def load(cls, path: str | Path) -> "Face":
        """Read the JSON that `save` writes; only "landmarks" (478 points of 2 or 3 numbers, pixels) must be there.

        Raises ValueError with one sentence if it is not such a file.
        """
        try:
            data = json.loads(Path(path).read_text())
            points = np.asarray(data["landmarks"], np.float32)
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} holds no landmarks: a JSON object with 'landmarks': 478 [x, y, z] is wanted."
            ) from error
        if points.ndim != 2 or points.shape[0] != 478 or points.shape[1] not in (2, 3) or not np.isfinite(points).all():
            raise ValueError(f"{path} has landmarks of shape {points.shape}; 478 points of [x, y, z] pixels are wanted.")
        if points.shape[1] == 2:
            points = np.concatenate([points, np.zeros((478, 1), np.float32)], 1)
        shapes = data.get("blendshapes") or {}
        blendshapes = np.array([float(shapes.get(name, 0)) for name in BLENDSHAPES], np.float32)
        return cls(points, blendshapes, np.asarray(data.get("matrix", np.eye(4)), np.float32))


@dataclass(frozen=True)
class Track:
    """One face through a film.

    landmarks (T, 478, 3), blendshapes (T, 52), matrix (T, 4, 4): as in `Face`; where `tracked` (T,) is False they
    repeat the nearest tracked frame. size: (W, H) of the film in pixels. fps: frames a second.
    """

    landmarks: np.ndarray
    blendshapes: np.ndarray
    matrix: np.ndarray
    tracked: np.ndarray
    size: tuple[int, int]
    fps: float = 25.0

    def __len__(self) -> int:
        return len(self.landmarks)

    def face(self, index: int) -> Face:
        """The face of one frame."""
        return Face(self.landmarks[index], self.blendshapes[index], self.matrix[index], float(self.tracked[index]))

    def save(self, path: str | Path) -> None:
        """Write as npz, half precision where that is finer than tracking noise."""
        path = Path(path)
        part = path.with_name(path.name + ".part")
        with part.open("wb") as file:
            np.savez_compressed(
                file,
                landmarks=self.landmarks.astype(np.float32),
                blendshapes=self.blendshapes.astype(np.float16),
                matrix=self.matrix.astype(np.float32),
                tracked=self.tracked,
                size=np.array(self.size),
                fps=self.fps,
            )
        part.replace(path)

    @classmethod
    def load(cls, path: str | Path) -> "Track":
        """Read what `save` wrote. Raises ValueError in one sentence for anything else."""
        try:
            with np.load(path) as data:
                width, height = (int(v) for v in data["size"])
                return cls(
                    data["landmarks"].astype(np.float32),
                    data["blendshapes"].astype(np.float32),
                    data["matrix"].astype(np.float32),
                    data["tracked"],
                    (width, height),
                    float(data["fps"]),
                )
        except FileNotFoundError:
            raise
        except Exception as error:
            raise ValueError(f"{path} is no track: make one by `mien track clip.mp4 -o {Path(path).stem}.npz`.") from error


class Tracker(Protocol):
    """What a backend gives."""

    def detect(self, image: np.ndarray) -> list[Face]:
        """All faces of a picture (H, W, 3) uint8 RGB, largest first; an empty list if there is none."""
        ...

    def follow(self, frames: Iterable[np.ndarray]) -> Track:
        """The largest face of a film, frame by frame. Raises ValueError if no frame shows a face."""
        ...


def load_tracker(name: str = "mien", model: str | Path | None = None) -> Tracker:
    """A tracker by name.

    name: one of `TRACKERS`; all but our own need an extra. model: the backend's weights file; None looks where its
    module says.
    Raises ValueError for an unknown name, FileNotFoundError or ModuleNotFoundError with what to do if parts are missing.
    """
    if name == "mien":
        from mien.portrait.tracking.mien import MienTracker

        return MienTracker(model)
    if name == "mediapipe":
        from mien.portrait.tracking.mediapipe import MediaPipeTracker

        return MediaPipeTracker(model)
    if name == "face-alignment":
        from mien.portrait.tracking.fan import FaceAlignmentTracker

        return FaceAlignmentTracker()
    raise ValueError(f"Unknown tracker '{name}': choose one of {', '.join(TRACKERS)}.")


def tiles(height: int, width: int, divisions: int, overlap: float = 0.3) -> Iterator[tuple[int, int, int, int]]:
    """Overlapping windows (x0, y0, x1, y1) that cover a picture, so that small faces fill more of what a detector sees."""
    tile_h, tile_w = (
        int(height / (divisions * (1 - overlap) + overlap)),
        int(width / (divisions * (1 - overlap) + overlap)),
    )
    for row in range(divisions):
        for column in range(divisions):
            y = round(row * (height - tile_h) / max(divisions - 1, 1))
            x = round(column * (width - tile_w) / max(divisions - 1, 1))
            yield x, y, x + tile_w, y + tile_h


def hold_untracked(values: np.ndarray, tracked: np.ndarray) -> np.ndarray:
    """Fill frames that were not tracked from the nearest tracked one: (T, ...) -> (T, ...)."""
    known, frames = np.flatnonzero(tracked), np.arange(len(tracked))
    at = np.searchsorted(known, frames).clip(max=len(known) - 1)
    before, after = known[np.maximum(at - 1, 0)], known[at]
    return values[np.where(frames - before <= after - frames, before, after)]


def distinct(faces: list[Face]) -> list[Face]:
    """Drop faces seen twice: those whose centre lies in the box of one before them."""
    kept: list[Face] = []
    for face in faces:
        cx, cy = face.landmarks[:, :2].mean(0)
        if not any(x0 < cx < x1 and y0 < cy < y1 for x0, y0, x1, y1 in (other.box for other in kept)):
            kept.append(face)
    return kept
