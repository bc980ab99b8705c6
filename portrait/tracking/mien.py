"""Our own tracker: small networks that come with the package, a teacher's pupils; see checkpoints/tracker.md.

A still is searched at several sizes; each face is looked at, turned upright, and looked at again. In a film the last frame
says where to look. What is seen in a mirror is seen anew: the mean of both looks is nearer to the truth than either.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from mien import checkpoints
from mien.portrait import geometry
from mien.portrait.motion import load_space, region_weights
from mien.portrait.tracking import Face, Track, distinct, hold_untracked
from mien.portrait.tracking.crops import MOUTH, RIGHT_EYE, Crop, eye_crops, face_crop, mouth_crop
from mien.portrait.tracking.network import (
    COARSEST,
    STRIDE,
    Points,
    TrackerConfig,
    TrackerNetwork,
    as_input,
    for_use,
)

SIDES = (160, 320, 640, 1280)  # longer side of the picture as it is searched, pixels; the first two always
CLOSE_PX = 400  # side of a face's crop of which eyes and mouth are cut; a larger one is shrunk once for all of them
LEAST_HEAT, LEAST_CONFIDENCE = 0.3, 0.5
SURE = 0.99  # confidence of a face that was not followed but found
MAX_FACES = 10
MOST_LOOKS, SETTLED = 4, 0.15  # radians, and log of the size
STEADY_IOD = 0.02  # slow parts that move less than this are trembling
STEADY_SHARE = 0.7  # of the last frame, in slow parts that do not move
FAINT = 96  # grey levels from the darkest to the lightest part; a picture with fewer is faded, and seen stretched
NOTHING = 4  # grey levels in which no face can be told
EVERY = 5  # a film that has shown no face for so many frames is searched in each of so many only

# MediaPipe's pose, which ours imitates: centimetres before a camera of 63 degrees; 400 frames of 40 films agree within
# 2.1 degrees (median) and 0.9 cm.
CAMERA_FOV = np.radians(63)
IOD_CM = 9.25
ORIGIN_CM = np.array([-0.05, -2.64, -2.32])  # of its canonical face from the middle of the eyes
TO_CAMERA = np.diag([1.0, -1.0, -1.0])  # y up, z towards the camera
TILT = cv2.Rodrigues(np.array([0.0461, 0.0059, 0.0013]))[0]  # of its canonical face against our mean face


class MienTracker:
    """Detector, face, eye and mouth networks on one core of the CPU.

    model: name or path of a checkpoint.
    """

    def __init__(self, model: str | Path | None = None):
        saved = checkpoints.load(model or "tracker")
        network = TrackerNetwork(saved.built(TrackerConfig))
        network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in saved.tensors.items()})
        for_use(network)
        self.network, self.config = network, network.config
        space = load_space()
        self.template, self._partner = space.template, space.partner
        self._left_eye = space.partner[RIGHT_EYE]
        place = {point: row for row, point in enumerate(MOUTH)}
        self._mouth_partner = [place[point] for point in space.partner[MOUTH]]
        self._slowness = region_weights(space.template)["cheeks"][:, None]

    @torch.inference_mode()
    def detect(self, image: np.ndarray) -> list[Face]:
        """All faces of a picture, largest first; small ones are looked for in larger copies of it."""
        lit = _in_light(image)
        return [] if lit is None else self._detect(lit)

    def _detect(self, image: np.ndarray) -> list[Face]:
        """`detect` in a picture whose contrast is as it should be."""
        faces: list[Face] = []
        by = min(1.0, SIDES[2] / max(image.shape[:2]))
        smaller = image if by == 1 else cv2.resize(image, None, fx=by, fy=by, interpolation=cv2.INTER_AREA)
        for step, side in enumerate(SIDES):
            if step > 1 and (faces or side / 2 >= max(image.shape[:2])):
                break
            picture, scale = (smaller, by) if side <= SIDES[2] else (image, 1.0)
            for crop in self._search(picture, side):
                crop = crop.scaled(1 / scale)
                if any(_is_of(crop, face) for face in faces):
                    continue
                if (face := self._find(image, crop)) is not None:
                    faces.append(face)
        surest = distinct(sorted(faces, key=lambda face: -face.confidence))
        return sorted(surest, key=lambda face: -face.size)[:MAX_FACES]

    @torch.inference_mode()
    def follow(self, frames: Iterable[np.ndarray]) -> Track:
        """The largest face through a film; where it was lost, the one nearest to where it was.

        Raises ValueError if no frame shows a face.
        """
        found: list[Face | None] = []
        size, last, missed = (0, 0), None, 0
        passed: list[np.ndarray | None] = []  # frames since the last search
        for frame in frames:
            size, face, lit = (frame.shape[1], frame.shape[0]), None, _in_light(frame)
            if lit is not None and last is not None and not missed:
                face = self._look(lit, face_crop(last.landmarks), steady=last)
            if face is None and missed > EVERY and missed % EVERY:
                passed.append(lit)
            elif face is None:
                seen = [] if lit is None else self._detect(lit)
                face = min(seen, key=lambda f, last=last: _distance(f, last) if last else 0, default=None)
                if face is not None and passed:
                    found[-len(passed) :] = self._look_back(passed, face)
                passed.clear()
            last, missed = face or last, 0 if face is not None else missed + 1
            found.append(face)
        if last is None:
            raise ValueError("No frame of the film shows a face: one of at least 40 pixels, not in full profile, is wanted.")
        known = np.array([face is not None for face in found])
        columns = (
            hold_untracked(np.stack([getattr(face or last, name) for face in found]), known)
            for name in ("landmarks", "blendshapes", "matrix")
        )
        return Track(*columns, tracked=known, size=size)

    def _look_back(self, passed: Sequence[np.ndarray | None], face: Face) -> list[Face | None]:
        """The face of frames that were passed over before it was found, as far back as it is seen."""
        found: list[Face | None] = [None] * len(passed)
        for place in range(len(passed) - 1, -1, -1):
            lit, crop = passed[place], face_crop(face.landmarks)
            if lit is None or (before := self._look(lit, crop, steady=face)) is None:
                break
            found[place] = face = before
        return found

    def _search(self, image: np.ndarray, side: int) -> Iterator[Crop]:
        """Where faces may be, the surest first."""
        height, width = image.shape[:2]
        scale = side / max(height, width)
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        small = cv2.resize(image, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=how)
        bottom, right = (-length % COARSEST for length in small.shape[:2])
        small = cv2.copyMakeBorder(small, 0, bottom, 0, right, cv2.BORDER_CONSTANT)
        said = self.network.detector(as_input(torch.from_numpy(small[None])))
        heat = torch.sigmoid(said[:, :1])
        peaks = (heat == torch.nn.functional.max_pool2d(heat, 3, 1, 1)) & (heat > LEAST_HEAT)
        rows, columns = np.nonzero(peaks[0, 0].numpy())
        heats, where = heat[0, 0].numpy()[rows, columns], said[0, 1:].numpy()[:, rows, columns]
        for i in np.argsort(-heats)[: 2 * MAX_FACES]:
            dx, dy, size, cos, sin = where[:, i].tolist()
            x, y = (columns[i] + 0.5 + dx) * STRIDE / scale, (rows[i] + 0.5 + dy) * STRIDE / scale
            yield Crop(x, y, float(np.arctan2(sin, cos)), float(np.exp(size)) * 8 * STRIDE / scale)

    def _find(self, image: np.ndarray, crop: Crop) -> Face | None:
        """A still's face: the detector's crop is coarse; it is drawn anew around what was seen until it holds still."""
        for _ in range(MOST_LOOKS):
            points, confidence = self._face_points(image, [crop])
            if confidence < LEAST_CONFIDENCE:
                return None
            before, crop = crop, face_crop(points)
            turned, grown = abs(crop.angle - before.angle), abs(np.log(crop.side / before.side))
            if confidence >= SURE and max(turned, grown) < SETTLED:
                break
        face = self._look(image, crop)
        return face if face is not None and face.confidence >= SURE else None

    def _look(self, image: np.ndarray, crop: Crop, steady: Face | None = None) -> Face | None:
        """The face of a crop, or None if it shows none. steady: the last frame's face, in a film."""
        times = int(crop.side / CLOSE_PX)
        part, near = crop.shrunk(image, times) if times > 1 else (image, crop)
        points, confidence = self._face_points(part, [near, replace(near, mirrored=True)])
        if confidence < LEAST_CONFIDENCE:
            return None
        eyes = self._part_points(self.network.eye, part, eye_crops(points), self.config.eye_px)
        mouth = mouth_crop(points)
        lips = self._part_points(self.network.mouth, part, (mouth, replace(mouth, mirrored=True)), self.config.mouth_px)
        points[RIGHT_EYE, :2], points[self._left_eye, :2] = eyes
        points[MOUTH, :2] = (lips[0] + lips[1][self._mouth_partner]) / 2
        points = near.moved(points, crop)
        canonical, pose = geometry.canonicalise(points, self.template)
        if steady is not None:
            before, _ = geometry.canonicalise(steady.landmarks, self.template)
            moved = np.linalg.norm(canonical - before, axis=1, keepdims=True)
            hold = STEADY_SHARE * self._slowness * np.exp(-((moved / STEADY_IOD) ** 2))
            points = geometry.restore(canonical + hold * (before - canonical), pose).astype(np.float32)
        shapes = self.network.read_shapes(torch.from_numpy(canonical)[None])[0].numpy()
        height, width = image.shape[:2]
        return Face(points, np.append(shapes, np.float32(0)), _matrix(pose, height, width), confidence)

    def _face_points(self, image: np.ndarray, crops: Sequence[Crop]) -> tuple[np.ndarray, float]:
        """Mean landmarks (478, 3) of one face in several crops, pixels, and the least confidence."""
        seen = np.stack([crop.cut(image, self.config.face_px) for crop in crops])
        said, logits = self.network.see_face(as_input(torch.from_numpy(seen)))
        points = [crop.to_picture(p) for crop, p in zip(crops, said.numpy(), strict=True)]
        points = [p[self._partner] if crop.mirrored else p for crop, p in zip(crops, points, strict=True)]
        return np.mean(points, 0), float(torch.sigmoid(logits).min())

    def _part_points(self, network: Points, image: np.ndarray, crops: Sequence[Crop], px: int) -> np.ndarray:
        """Points of a part in several crops: (N, P, 2) pixels."""
        seen = np.stack([crop.cut(image, px) for crop in crops])
        said = network(as_input(torch.from_numpy(seen)))[0].numpy()
        return np.stack([crop.to_picture(points) for crop, points in zip(crops, said, strict=True)])


def _in_light(image: np.ndarray) -> np.ndarray | None:
    """The picture; one that is faded towards black or white with its contrast back; None if it shows nothing at all."""
    k = max(1, min(image.shape[:2]) // 96)  # single pixels are noise
    rows, columns = image.shape[0] // k, image.shape[1] // k
    parts = cv2.resize(image[: rows * k, : columns * k], (columns, rows), interpolation=cv2.INTER_AREA)
    low, high = int(parts.min()), int(parts.max())
    if high - low < NOTHING:
        return None
    if high - low >= FAINT:
        return image
    return cv2.LUT(image, np.clip((np.arange(256) - low) * (255 / (high - low)), 0, 255).astype(np.uint8))


def _is_of(crop: Crop, face: Face) -> bool:
    """Has the detector found a face again that is known?"""
    known = face_crop(face.landmarks)
    return np.hypot(crop.x - known.x, crop.y - known.y) < 0.3 * known.side and 0.6 < crop.side / known.side < 1.6


def _distance(face: Face, other: Face) -> float:
    return float(np.abs(face.landmarks - other.landmarks)[:, :2].mean())


def _matrix(pose: geometry.Pose, height: int, width: int) -> np.ndarray:
    """The pose (4, 4) as MediaPipe tells it, from ours."""
    focal = height / 2 / np.tan(CAMERA_FOV / 2)
    rotation = TO_CAMERA @ pose.rotation.T @ TO_CAMERA
    from_middle = np.array([pose.centre[0] - width / 2, height / 2 - pose.centre[1], -focal])
    matrix = np.eye(4, dtype=np.float32)
    matrix[:3, :3] = rotation @ TILT
    matrix[:3, 3] = from_middle * IOD_CM / pose.iod + rotation @ ORIGIN_CM
    return matrix
