"""The space a face's motion lives in: 36 numbers a frame, each with a meaning and a region, and the `Motion` value.

A `MotionSpace` turns tracked landmarks into numbers and back. Pose, gaze and lids are measured; brows, cheeks and mouth
are principal components of the landmarks' displacement from the person's rest, so identity and pose are taken out.
It is fitted by `python -m mien.training fit-motion` and shipped as checkpoint "motion".
"""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from mien.portrait import geometry
from mien.portrait.shape import FaceShape
from mien.portrait.tracking import BLENDSHAPES, Face, Track

# Region -> its place in the vector. Units: rotation radians; translation and scale IOD and log; gaze radians; lids 1 = open.
REGIONS: dict[str, slice] = {
    "rotation": slice(0, 3),
    "translation": slice(3, 5),
    "scale": slice(5, 6),
    "gaze": slice(6, 8),
    "lids": slice(8, 10),
    "brows": slice(10, 16),
    "cheeks": slice(16, 20),
    "mouth": slice(20, 36),
}
CHANNELS = 36
FRAME_RATE = 25
PCA_REGIONS = ("brows", "cheeks", "mouth")
# An iris that moves by one eye's width has turned by about 2.5 radians: eyeball radius 12 mm, eye width 30 mm.
RADIANS_PER_EYE_WIDTH = 2.5


def region_weights(template: np.ndarray) -> dict[str, np.ndarray]:
    """Smooth share of every landmark in each region, (478,), summing to one; lid edges and irises belong to none."""
    y = template[:, 1]
    nose_tip, brow_line = template[4, 1], template[[105, 334], 1].mean()
    mouth = 1 / (1 + np.exp(-(y - (nose_tip + 0.06)) / 0.04))
    brows = 1 / (1 + np.exp((y - (brow_line * 0.25)) / 0.04))
    free = np.ones(len(template))
    eyes = [i for upper, lower, iris in geometry.EYES for i in (*upper, *lower, *iris)]
    distance = np.linalg.norm(template[:, None, :2] - template[None, eyes, :2], axis=-1).min(1)
    free = np.clip((distance - 0.01) / 0.06, 0, 1)
    cheeks = np.clip(1 - mouth - brows, 0, 1)
    return {"brows": brows * free, "cheeks": cheeks * free, "mouth": mouth * free}


@dataclass(frozen=True)
class Rest:
    """A person at rest: sealed lips, calm, eyes open.

    landmarks: (478, 3) canonical. openness: (2,) lid opening over eye width. iris: (2, 2) iris centres from the middle of
    the eye, in eye widths.
    """

    landmarks: np.ndarray
    openness: np.ndarray
    iris: np.ndarray


@dataclass(frozen=True)
class MotionSpace:
    """Fitted constants (see the module's head).

    template: (478, 3) canonical mean face, symmetric; partner: (478,) who stands opposite whom.
    shapes: (52, 478, 3) displacement per unit of each ARKit blendshape.
    bases: (26, 478, 3) displacement per unit of each brow, cheek and mouth channel. encoders: (26, 478, 3) the reverse.
    lids: (2, 478, 3) displacement of the lid edges per unit of lid opening. mean, std: (36,) of real talking faces.
    arkit: (31, 52) map from the 30 channels after the pose, and one, to blendshapes.
    """

    template: np.ndarray
    partner: np.ndarray
    shapes: np.ndarray
    bases: np.ndarray
    encoders: np.ndarray
    lids: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    arkit: np.ndarray

    # -- rest ---------------------------------------------------------------------------------------------------------

    def rest_of(self, canonical: np.ndarray, blendshapes: np.ndarray) -> np.ndarray:
        """A person's rest landmarks (478, 3) from canonical frames (T, 478, 3): blendshapes taken back, lips sealed."""
        free = canonical - np.einsum("tb,bpc->tpc", without_eyes(blendshapes), self.shapes)
        return geometry.seal(np.median(free, axis=0).astype(np.float32))

    def rest_offset(self, face: Face) -> np.ndarray:
        """How a picture's landmarks must move to be at rest: (478, 3) canonical, for `warp.Portrait`."""
        canonical, _ = geometry.canonicalise(face.landmarks, self.template)
        return self.rest_of(canonical[None], face.blendshapes[None]) - canonical

    # -- landmarks to numbers -----------------------------------------------------------------------------------------

    def encode(self, track: Track, rest: Rest | None = None) -> "Motion":
        """A tracked film as motion, pose relative to its median, expression relative to the person's rest."""
        canonical, pose = geometry.canonicalise(track.landmarks, self.template)
        rest = rest or self.person(canonical, track.blendshapes)
        values = np.zeros((len(track), CHANNELS), np.float32)
        values[:, :6] = relative_pose(pose)
        values[:, REGIONS["gaze"]] = (iris_offset(canonical) - rest.iris).mean(-2) * RADIANS_PER_EYE_WIDTH
        values[:, REGIONS["lids"]] = np.clip(geometry.lid_openness(canonical) / rest.openness, 0, 2)
        values[:, 10:] = self.expression_numbers(canonical - rest.landmarks)
        return Motion(values)

    def encode_absolute(self, track: Track, landmarks: np.ndarray) -> "Motion":
        """As `encode`, but head and eyes turn as the camera sees them, whatever a picture's own (478, 3) landmarks show."""
        canonical, pose = geometry.canonicalise(track.landmarks, self.template)
        own, own_pose = geometry.canonicalise(landmarks, self.template)
        values = self.encode(track).values
        values[:, REGIONS["rotation"]] = rotation_vector(np.swapaxes(pose.rotation, -1, -2) @ own_pose.rotation)
        values[:, REGIONS["gaze"]] = (iris_offset(canonical) - iris_offset(own)).mean(-2) * RADIANS_PER_EYE_WIDTH
        return Motion(values)

    def person(self, canonical: np.ndarray, blendshapes: np.ndarray) -> Rest:
        """What is constant in a film of one person."""
        openness = np.percentile(geometry.lid_openness(canonical), 75, axis=0)
        iris = np.median(iris_offset(canonical), axis=0)
        return Rest(self.rest_of(canonical, blendshapes), np.maximum(openness, 0.05), iris)

    def expression_numbers(self, displacement: np.ndarray) -> np.ndarray:
        """(T, 478, 3) displacement from rest to the (T, 26) brow, cheek and mouth channels."""
        return np.einsum("tpc,kpc->tk", displacement, self.encoders)

    # -- numbers to landmarks -----------------------------------------------------------------------------------------

    def expression(self, values: np.ndarray) -> np.ndarray:
        """(T, 36) to the displacement of every landmark from rest, lids left out: (T, 478, 3) canonical."""
        return np.einsum("tk,kpc->tpc", values[:, 10:], self.bases)

    def landmarks(self, values: np.ndarray, rest: np.ndarray) -> np.ndarray:
        """(T, 36) to canonical landmarks (T, 478, 3) of a person whose rest is (478, 3), lids included."""
        lids = np.einsum("te,epc->tpc", values[:, REGIONS["lids"]] - 1, self.lids)
        return rest + self.expression(values) + lids

    def aperture(self, values: np.ndarray) -> np.ndarray:
        """(T, 36) to the opening of the lips in IOD, (T,): 0 where they meet. Linear in the channels."""
        return geometry.aperture(self.expression(values))

    @property
    def aperture_direction(self) -> np.ndarray:
        """(36,) gradient of `aperture`: what a unit of each channel adds to the opening of the lips."""
        return self.aperture(np.eye(CHANNELS, dtype=np.float32)) - self.aperture(np.zeros((1, CHANNELS), np.float32))

    def from_blendshapes(self, blendshapes: np.ndarray) -> np.ndarray:
        """(T, 52) ARKit blendshapes to motion (T, 36), pose zero."""
        values = rest_values(len(blendshapes))
        values[:, 10:] = self.expression_numbers(np.einsum("tb,bpc->tpc", without_eyes(blendshapes), self.shapes))
        score: dict[str, np.ndarray] = dict(zip(BLENDSHAPES, blendshapes.T, strict=True))
        for side, name in enumerate(("Right", "Left")):  # the image's left eye is the person's right one
            widening = 0.35 * score["eyeWide" + name] - 0.3 * score["eyeSquint" + name]
            values[:, 8 + side] = np.clip((1 + widening) * (1 - score["eyeBlink" + name]), 0, 1.4)
        to_right = score["eyeLookInRight"] + score["eyeLookOutLeft"]
        to_left = score["eyeLookOutRight"] + score["eyeLookInLeft"]
        down = score["eyeLookDownRight"] + score["eyeLookDownLeft"]
        up = score["eyeLookUpRight"] + score["eyeLookUpLeft"]
        values[:, 6], values[:, 7] = 0.5 * (to_right - to_left), 0.25 * (down - up)
        return values

    def to_blendshapes(self, values: np.ndarray) -> np.ndarray:
        """(T, 36) to ARKit blendshapes (T, 52) in [0, 1], order of `tracking.BLENDSHAPES`."""
        features = np.concatenate([values[:, 6:], np.ones((len(values), 1), np.float32)], 1)
        return np.clip(features @ self.arkit, 0, 1)


@lru_cache(maxsize=1)
def load_space() -> MotionSpace:
    """The fitted space that ships with the package."""
    from mien import checkpoints

    tensors = checkpoints.load("motion").tensors
    return MotionSpace(**{name: tensor.numpy() for name, tensor in tensors.items()})


def without_eyes(blendshapes: np.ndarray) -> np.ndarray:
    """Blendshapes with those of lids and gaze set to zero: they have channels of their own."""
    keep = np.array([not name.startswith("eye") for name in BLENDSHAPES])
    return blendshapes * keep


def iris_offset(points: np.ndarray) -> np.ndarray:
    """Iris centres from the middle of the eye in eye widths: (..., 478, >=2) to (..., 2 eyes, 2)."""
    out = []
    for upper, _, iris in geometry.EYES:
        a, b = points[..., upper[0], :2], points[..., upper[-1], :2]
        out.append((points[..., iris[0], :2] - (a + b) / 2) / np.linalg.norm(b - a, axis=-1, keepdims=True))
    return np.stack(out, -2)


def relative_pose(pose: geometry.Pose) -> np.ndarray:
    """Poses of a film (T, ...) to (T, 6): rotation vector about the neck, translation, log scale, relative to the median."""
    reference = mean_rotation(pose.rotation)
    centre, iod = np.median(pose.centre, axis=0), np.median(pose.iod)
    turn = np.swapaxes(pose.rotation, -1, -2) @ reference  # camera axes, see FaceShape.rotation
    pivot = geometry.NECK_PIVOT @ reference * iod
    carried = np.einsum("tij,j->ti", turn, -pivot) + pivot  # where the turn about the neck alone takes the eyes' middle
    translation = ((pose.centre - centre) - carried)[:, :2] / iod
    return np.concatenate([rotation_vector(turn), translation, np.log(pose.iod / iod)[:, None]], 1)


def mean_rotation(rotations: np.ndarray) -> np.ndarray:
    """Chordal mean of rotations (T, 3, 3)."""
    u, _, vt = np.linalg.svd(np.median(rotations, axis=0))
    return u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt


def rotation_vector(rotation: np.ndarray) -> np.ndarray:
    """Rotation matrices (..., 3, 3) to axis times angle (..., 3), radians; angles below pi."""
    twice = rotation - np.swapaxes(rotation, -1, -2)
    skew = np.stack([twice[..., 2, 1], twice[..., 0, 2], twice[..., 1, 0]], -1) / 2
    sine = np.linalg.norm(skew, axis=-1, keepdims=True)
    cosine = (np.trace(rotation, axis1=-2, axis2=-1)[..., None] - 1) / 2
    angle = np.arctan2(sine, cosine)
    return skew * np.where(sine > 1e-6, angle / np.maximum(sine, 1e-6), 1)


def rotation_matrix(vector: np.ndarray) -> np.ndarray:
    """The inverse of `rotation_vector` (Rodrigues): (3,) to (3, 3)."""
    angle = float(np.linalg.norm(vector))
    x, y, z = vector / max(angle, 1e-9)
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * skew + (1 - np.cos(angle)) * skew @ skew


def rest_values(frames: int) -> np.ndarray:
    """A face at rest, (frames, 36): all zero but for open lids."""
    values = np.zeros((frames, CHANNELS), np.float32)
    values[:, REGIONS["lids"]] = 1
    return values


def without_blinks(values: np.ndarray) -> np.ndarray:
    """Lids as they were but for blinks, which the guarantees make: (T, 36) to the same."""
    out = values.copy()
    lids = values[:, REGIONS["lids"]]
    usual = np.stack([np.median(lids[max(0, i - 12) : i + 13], axis=0) for i in range(len(lids))])
    shut = (lids < 0.75 * usual).any(1)
    shut = np.convolve(shut, np.ones(5), "same") > 0
    if shut.any() and not shut.all():
        open_frames = np.flatnonzero(~shut)
        for column in range(REGIONS["lids"].start, REGIONS["lids"].stop):
            out[shut, column] = np.interp(np.flatnonzero(shut), open_frames, values[open_frames, column])
    out[:, REGIONS["lids"]] = np.clip(out[:, REGIONS["lids"]], 0.3, 1.4)
    return out


def check_take_suffix(path: Path) -> None:
    """Raise ValueError if motion cannot be written as a file of this ending."""
    if path.suffix.lower() not in (".npz", ".csv", ".json"):
        raise ValueError(
            f"Motion cannot be written as '{path.suffix}': use .npz, .csv (Live Link Face) or .json (ARKit-52)."
        )


@dataclass(frozen=True)
class Motion:
    """A take: what a face does, free of identity. values: (T, 36) float32 in natural units; fps frames a second."""

    values: np.ndarray
    fps: float = FRAME_RATE

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, frames: slice) -> "Motion":
        return replace(self, values=self.values[frames])

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self) / self.fps

    def joined(self, other: "Motion") -> "Motion":
        """This take, then another one of the same frame rate."""
        if other.fps != self.fps:
            raise ValueError(f"Takes of {self.fps:g} and {other.fps:g} fps cannot be joined: resample one of them.")
        return replace(self, values=np.concatenate([self.values, other.values]))

    def scaled(self, region: str, gain: float) -> "Motion":
        """A region's motion made larger or smaller about rest. Raises ValueError for an unknown region."""
        if region not in REGIONS:
            raise ValueError(f"Unknown region '{region}': choose one of {', '.join(REGIONS)}.")
        values = self.values.copy()
        rest = rest_values(1)[:, REGIONS[region]]
        values[:, REGIONS[region]] = rest + gain * (values[:, REGIONS[region]] - rest)
        return replace(self, values=values)

    def shapes(self, space: MotionSpace | None = None) -> Iterator[FaceShape]:
        """Frame by frame what the renderer draws."""
        space = space or load_space()
        for row in self.values:
            yield FaceShape(
                expression=space.expression(row[None])[0],
                rotation=rotation_matrix(row[REGIONS["rotation"]]).astype(np.float32),
                translation=row[REGIONS["translation"]],
                scale=float(np.exp(row[5])),
                lids=row[REGIONS["lids"]],
                gaze=row[REGIONS["gaze"]],
            )

    def save(self, path: str | Path) -> None:
        """Write the take: .npz (this program's), .csv (Live Link Face, ARKit-52) or .json (ARKit-52 by name)."""
        path = Path(path)
        check_take_suffix(path)
        writers = {".npz": self._npz, ".csv": self._live_link_csv, ".json": self._json}
        part = path.with_name(path.name + ".part")
        part.write_bytes(writers[path.suffix.lower()]())
        part.replace(path)

    @classmethod
    def load(cls, path: str | Path) -> "Motion":
        """Read a take that `save` wrote as .npz. Raises ValueError in one sentence for anything else."""
        try:
            with np.load(path) as data:
                values, fps = data["motion"].astype(np.float32), float(data["fps"])
        except FileNotFoundError:
            raise
        except Exception as error:
            raise ValueError(f"{path} is no take: a .npz written by Motion.save or --motion is wanted.") from error
        if values.ndim != 2 or values.shape[1] != CHANNELS:
            raise ValueError(f"{path} holds motion of shape {values.shape}; (frames, {CHANNELS}) is wanted.")
        return cls(values, fps)

    def _npz(self) -> bytes:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, motion=self.values.astype(np.float32), fps=self.fps)
        return buffer.getvalue()

    def _live_link_csv(self) -> bytes:
        """Rows as Apple's Live Link Face writes them: time code, 52 blendshapes, head and eye angles in radians."""
        head = [name[0].upper() + name[1:] for name in BLENDSHAPES]
        angles = [part + axis for part in ("Head", "LeftEye", "RightEye") for axis in ("Yaw", "Pitch", "Roll")]
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["Timecode", "BlendShapeCount", *head, *angles])
        for i, (shapes, row) in enumerate(zip(load_space().to_blendshapes(self.values), self.values, strict=True)):
            second, frame = divmod(i, round(self.fps))
            stamp = f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}:{frame:02d}.000"
            pitch, yaw, roll = row[:3]
            eye = [row[6], row[7], 0.0]
            table.writerow([stamp, 61, *(f"{v:.6f}" for v in [*shapes, yaw, pitch, roll, *eye, *eye])])
        return text.getvalue().encode()

    def _json(self) -> bytes:
        shapes = load_space().to_blendshapes(self.values)
        data = {
            "fps": self.fps,
            "names": list(BLENDSHAPES),
            "blendshapes": np.round(shapes.astype(float), 4).tolist(),
            "head_rotation_rad": np.round(self.values[:, :3].astype(float), 5).tolist(),
            "head_translation_iod": np.round(self.values[:, 3:5].astype(float), 5).tolist(),
            "gaze_rad": np.round(self.values[:, 6:8].astype(float), 5).tolist(),
        }
        return json.dumps(data).encode()
