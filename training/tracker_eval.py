"""How near our tracker comes to its teacher on people it has not met: `python -m mien.training tracker-eval`.

The teacher (MediaPipe, with its close-up) is the measure, not the truth: beside our distance from it stands its own
distance from itself when the picture is moved by two pixels. Distances are means over points in the picture's plane, in
inter-ocular distances (of the outer corners in space, so that turned heads do not count more).
"""

import csv
import gzip
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from mien.media import load_image
from mien.portrait import geometry
from mien.portrait.tracking import BLENDSHAPES, Face
from mien.portrait.tracking.crops import MOUTH, Crop, face_crop, iod
from mien.portrait.tracking.mediapipe import MediaPipeTracker
from mien.portrait.tracking.mien import MienTracker

LIDS = sorted({i for upper, lower, _ in geometry.EYES for i in (*upper, *lower)})
SMALL_PX = 45  # to which faces are shrunk for the group `small`
BACKGROUNDS = 500
SHIFT_PX = 2
FRAMES = 60  # of which one film's step is timed


def evaluate(faces: Path, split: str, tracker: MienTracker, news: Callable[[str], None] = print) -> dict[str, dict]:
    """Figures by group, of detection and of speed.

    faces: folder of tars and manifest.csv.gz (columns shard, name, group, split). split: val or test; pictures without a
    face are taken from both. Raises FileNotFoundError without the manifest.
    """
    manifest = faces / "manifest.csv.gz"
    if not manifest.is_file():
        raise FileNotFoundError(f"{faces} has no manifest.csv.gz: give the folder of face tars with --faces.")
    with gzip.open(manifest, "rt", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] in ("val", "test")]
    asked = [row for row in rows if row["split"] == split and row["group"] != "none"]
    images = list(_read(faces, asked))
    teacher = MediaPipeTracker()
    truth = list(teacher.detect_each(images))
    shifted = list(teacher.detect_each(_shifted(image) for image in images))
    news(f"the teacher saw {sum(map(len, truth))} faces in {len(images)} pictures")
    tallies: dict[str, list[dict[str, float]]] = {}
    seen = total = false = 0
    for row, image, theirs, again in zip(asked, images, truth, shifted, strict=True):
        ours = tracker.detect(image)
        false += sum(_match(face, theirs) is None for face in ours)
        for number, face in enumerate(theirs):
            found = _match(face, ours)
            total, seen = total + 1, seen + (found is not None)
            if found is None:
                continue
            same = _match(face, [_moved(f) for f in again])
            itself = _differences(same, face) if same else {}
            figures = _differences(found, face) | {f"teacher_{name}": value for name, value in itself.items()}
            for group in _groups(row["group"], face):
                tallies.setdefault(group, []).append(figures)
            if number == 0 and row["group"] == "photo":
                tallies.setdefault("small", []).extend(_small(image, face, tracker))
    nothing = list(_read(faces, [row for row in rows if row["group"] == "none"]))
    crops = list(_backgrounds(list(zip(images, truth, strict=True)), nothing))
    detection = {
        "faces": total, "recall": seen / total, "faces_the_teacher_did_not_see": false,
        "none_pictures": len(nothing), "false_alarms_none": sum(bool(tracker.detect(image)) for image in nothing),
        "background_crops": len(crops), "false_alarms_background": sum(bool(tracker.detect(image)) for image in crops),
    }  # fmt: skip
    groups = {name: _means(rows) for name, rows in sorted(tallies.items())}
    return {"groups": groups, "detection": detection, "speed": _speed(images[0], tracker)}


def table(found: dict[str, dict]) -> str:
    """The figures as Markdown."""
    names = ["all", "lips", "lids", "shapes", "teacher_all", "teacher_lips", "teacher_shapes"]
    lines = ["| group | faces | " + " | ".join(names) + " |", "|" + "---|" * (len(names) + 2)]
    for group, figures in found["groups"].items():
        cells = " | ".join(f"{figures[name]:.4f}" if name in figures else "" for name in names)
        lines.append(f"| {group} | {figures['n']:.0f} | {cells} |")
    for part in ("detection", "speed"):
        lines.append(", ".join(f"{k} {v:.4g}" for k, v in found[part].items()))
    return "\n".join(lines)


def _read(faces: Path, rows: Sequence[dict[str, str]]) -> Iterator[np.ndarray]:
    archives = {name: tarfile.open(faces / name) for name in {row["shard"] for row in rows}}
    for row in rows:
        file = archives[row["shard"]].extractfile(row["name"])
        assert file is not None, row["name"]
        yield load_image(file.read())
    for archive in archives.values():
        archive.close()


def _shifted(image: np.ndarray) -> np.ndarray:
    return cv2.copyMakeBorder(image, SHIFT_PX, 0, SHIFT_PX, 0, cv2.BORDER_REPLICATE)


def _moved(face: Face) -> Face:
    return replace(face, landmarks=face.landmarks - np.array([SHIFT_PX, SHIFT_PX, 0], np.float32))


def _match(face: Face, others: Sequence[Face]) -> Face | None:
    """The one of others that is the same face: its middle within a third of the size, its size within a factor of 1.6."""
    middle = face.landmarks[:, :2].mean(0)
    near = min(others, key=lambda f: float(np.linalg.norm(f.landmarks[:, :2].mean(0) - middle)), default=None)
    if near is None or np.linalg.norm(near.landmarks[:, :2].mean(0) - middle) > face.size / 3:
        return None
    return near if 1 / 1.6 < near.size / face.size < 1.6 else None


def _differences(face: Face, truth: Face) -> dict[str, float]:
    apart = np.linalg.norm((face.landmarks - truth.landmarks)[:, :2], axis=1) / iod(truth.landmarks)
    shapes = float(np.abs(face.blendshapes - truth.blendshapes)[: len(BLENDSHAPES) - 1].mean())
    parts = {"all": slice(None), "lips": MOUTH, "lids": LIDS}
    return {name: float(apart[points].mean()) for name, points in parts.items()} | {"shapes": shapes}


def _groups(group: str, face: Face) -> list[str]:
    value = dict(zip(BLENDSHAPES, face.blendshapes.tolist(), strict=True))
    turn = face.matrix[:3, :3] / np.linalg.norm(face.matrix[:3, :3], axis=0)
    yaw = np.degrees(np.arctan2(turn[0, 2], turn[2, 2]))
    more = {
        "turned > 30": abs(yaw) > 30,
        "open mouth": value["jawOpen"] > 0.3,
        "closed eyes": (value["eyeBlinkLeft"] + value["eyeBlinkRight"]) / 2 > 0.5,
    }
    return [group, *(name for name, is_so in more.items() if is_so)]


def _small(image: np.ndarray, face: Face, tracker: MienTracker) -> list[dict[str, float]]:
    """The same face in a picture shrunk until it is `SMALL_PX` long; what it should be is known from the large one."""
    by = SMALL_PX / face.size
    small = cv2.resize(image, None, fx=by, fy=by, interpolation=cv2.INTER_AREA)
    true = replace(face, landmarks=face.landmarks * (small.shape[1] / image.shape[1]))
    found = _match(true, tracker.detect(small))
    return [_differences(found, true)] if found else []


def _backgrounds(pictures: Sequence[tuple[np.ndarray, list[Face]]], nothing: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """Square parts of pictures that no face's crop touches."""
    rng, made = np.random.default_rng(0), 0
    choice = [*pictures, *((image, []) for image in nothing)]
    while made < BACKGROUNDS:
        image, faces = choice[rng.integers(len(choice))]
        height, width = image.shape[:2]
        side = int(rng.integers(32, max(33, min(height, width) // 2)))
        x, y = int(rng.integers(0, width - side + 1)), int(rng.integers(0, height - side + 1))
        if any(_overlaps(face_crop(face.landmarks), x, y, side) for face in faces):
            continue
        made += 1
        yield cv2.resize(image[y : y + side, x : x + side], (160, 160), interpolation=cv2.INTER_LINEAR)


def _overlaps(crop: Crop, x: int, y: int, side: int) -> bool:
    reach = (crop.side + side) / 2
    return abs(crop.x - x - side / 2) < reach and abs(crop.y - y - side / 2) < reach


def _means(rows: list[dict[str, float]]) -> dict[str, float]:
    names = {name for row in rows for name in row}
    return {"n": len(rows)} | {name: float(np.mean([row[name] for row in rows if name in row])) for name in sorted(names)}


def _speed(image: np.ndarray, tracker: MienTracker) -> dict[str, float]:
    """Milliseconds of one core's work, whatever else the machine does."""
    film = [cv2.resize(image, (512, 512))] * (FRAMES + 1)
    tracker.follow(film[:2])
    started = time.process_time()
    tracker.follow(film)
    out = {"ms_film_step": (time.process_time() - started) / FRAMES * 1e3}
    for side in (512, 2000):
        still = cv2.resize(image, (side, side))
        started = time.process_time()
        for _ in range(5):
            tracker.detect(still)
        out[f"ms_still_{side}"] = (time.process_time() - started) / 5 * 1e3
    return out
