"""Pictures of faces with the teacher's labels, for the tracker: `python -m mien.training prepare-tracker`.

The teacher (MediaPipe's FaceLandmarker) looks once at every still and at a few frames of every film, those that are
farthest apart in what the face does. A shard is an .npz: JPEG files end to end, and the faces seen in them.
"""

import csv
import gzip
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mien.media import load_image, read_frames
from mien.portrait.tracking import BLENDSHAPES, Face, Track
from mien.portrait.tracking.mediapipe import MediaPipeTracker
from mien.training.prepare import Clip, read_manifest

FRAMES_EACH = 24  # of a film
FRAME_PX = 192  # side of a stored frame's part with the face
AROUND = 2.2  # that part's side over the face's
JPEG = [cv2.IMWRITE_JPEG_QUALITY, 92]
# What tells frames of a film apart: lips, lids and gaze, brows, and the head's turns.
TELLING = [BLENDSHAPES.index(n) for n in (
    "jawOpen", "mouthFunnel", "mouthPucker", "mouthSmileLeft", "mouthFrownLeft", "mouthUpperUpLeft", "eyeBlinkLeft",
    "eyeBlinkRight", "eyeLookInLeft", "eyeLookOutLeft", "eyeLookDownLeft", "eyeWideLeft", "browInnerUp", "browDownLeft",
)]  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """A picture and all faces in it.

    jpeg: the file. group: photo, synthetic, art, multi, none or film. split: train or val.
    """

    jpeg: bytes
    group: str
    split: str
    faces: list[Face]

    @property
    def pixels(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB."""
        return load_image(self.jpeg)


def prepare(faces: Path, films: list[Path], tracks: Path, out: Path) -> Iterator[str]:
    """Label stills and frames; yields a line of news a shard. Shards that are there are kept.

    faces: folder of tars and their manifest.csv.gz (columns shard, name, group, split). films: folders with a
    manifest.csv, tracked before by `prepare` into `tracks`. Nothing of the split `test` is read.
    Raises FileNotFoundError for what is missing.
    """
    manifest = faces / "manifest.csv.gz"
    if not manifest.is_file():
        raise FileNotFoundError(f"{faces} has no manifest.csv.gz: give the folder of face tars with --faces.")
    with gzip.open(manifest, "rt", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] != "test"]
    out.mkdir(parents=True, exist_ok=True)
    teacher = MediaPipeTracker()
    jobs = {tar: _stills(faces / tar, [r for r in rows if r["shard"] == tar]) for tar in sorted({r["shard"] for r in rows})}
    jobs |= {folder.name: _frames(read_manifest(folder), tracks) for folder in films}
    for name, pictures in jobs.items():
        path = out / f"{Path(name).stem}.npz"
        if path.is_file():
            yield f"{path.name} was there"
            continue
        unlabelled = list(pictures)
        seen = teacher.detect_each((p.pixels for p in unlabelled), close_up=False)
        labelled = [
            Picture(p.jpeg, p.group, p.split, found if p.group != "none" else [])  # it sees faces in some cats
            for p, found in zip(unlabelled, seen, strict=True)
            if found or p.group == "none"
        ]
        save(path, labelled)
        yield f"{path.name}: {len(labelled)} of {len(unlabelled)} pictures, {sum(len(p.faces) for p in labelled)} faces"


def save(path: Path, pictures: list[Picture]) -> None:
    """Write a shard, beside its place first."""
    found = [face for picture in pictures for face in picture.faces]
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(
            file,
            jpeg=np.frombuffer(b"".join(p.jpeg for p in pictures), np.uint8),
            ends=np.cumsum([len(p.jpeg) for p in pictures]),
            group=np.array([p.group for p in pictures]),
            split=np.array([p.split for p in pictures]),
            faces=np.array([len(p.faces) for p in pictures]),
            landmarks=np.array([f.landmarks for f in found], np.float32).reshape(-1, 478, 3),
            blendshapes=np.array([f.blendshapes for f in found], np.float16).reshape(-1, 52),
        )
    part.replace(path)


def load(shards: Path) -> list[Picture]:
    """All pictures of a folder of shards. Raises FileNotFoundError with what to run if there are none."""
    paths = sorted(shards.glob("*.npz"))
    if not paths:
        raise FileNotFoundError(f"{shards} holds no shards: run `python -m mien.training prepare-tracker` first.")
    pictures = []
    for path in paths:
        with np.load(path) as file:
            data = dict(file)
        first, start = 0, 0
        for end, group, split, count in zip(*(data[k] for k in ("ends", "group", "split", "faces")), strict=True):
            here = slice(first, first + count)
            faces = [
                Face(points, shapes.astype(np.float32), np.eye(4, dtype=np.float32))
                for points, shapes in zip(data["landmarks"][here], data["blendshapes"][here], strict=True)
            ]
            pictures.append(Picture(data["jpeg"][start:end].tobytes(), str(group), str(split), faces))
            first, start = first + count, end
    return pictures


def _stills(tar: Path, rows: list[dict[str, str]]) -> Iterator[Picture]:
    with tarfile.open(tar) as archive:
        for row in rows:
            file = archive.extractfile(row["name"])
            assert file is not None, row["name"]
            yield Picture(file.read(), row["group"], row["split"], [])


def _frames(clips: Iterable[Clip], tracks: Path) -> Iterator[Picture]:
    """Frames of films, cut around the face."""
    for clip in clips:
        path = tracks / clip.track
        if clip.split == "test" or not path.is_file():
            continue
        track = Track.load(path)
        chosen = set(telling_frames(track, FRAMES_EACH if clip.split == "train" else FRAMES_EACH // 4))
        for index, frame in enumerate(read_frames(clip.film)):
            if index in chosen:
                yield Picture(_cut(frame, track.face(index)), "film", clip.split, [])


def telling_frames(track: Track, count: int) -> list[int]:
    """Up to `count` frames that are farthest from one another in what the face does, the most extreme first."""
    known = np.flatnonzero(track.tracked)
    turns = track.matrix[known, :3, :3] / np.linalg.norm(track.matrix[known, :3, :3], axis=1, keepdims=True)
    what = np.concatenate([track.blendshapes[known][:, TELLING], turns[:, :, 2]], 1)
    distance = np.linalg.norm(what - np.median(what, 0), axis=1)
    chosen: list[int] = []
    while len(chosen) < min(count, len(known)) and distance.max() > 0.05:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(what - what[chosen[-1]], axis=1))
    return [int(known[i]) for i in chosen]


def _cut(frame: np.ndarray, face: Face) -> bytes:
    x0, y0, x1, y1 = face.box
    half = AROUND * face.size / 2
    cx, cy = (x0 + x1) / 2, (y0 + y1) / 2
    left, top = max(0, round(cx - half)), max(0, round(cy - half))
    part = frame[top : round(cy + half), left : round(cx + half)]
    shrink = min(1.0, FRAME_PX / max(part.shape[:2]))
    small = cv2.resize(part, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), JPEG)[1].tobytes()
