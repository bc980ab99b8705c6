"""Train the matte: `python -m mien.training prepare-matte`, then `python -m mien.training matte`.

The teacher is MediaPipe's selfie segmentation (Apache-2.0; npm `@mediapipe/selfie_segmentation`, run by PyPI
`ai-edge-litert`). Pictures are stills of faces and frames of films, of split train and val; people are laid on other
backgrounds, some of them with other people, so that the network learns whose matte is wanted.
"""

import csv
import gzip
import tarfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mien import checkpoints
from mien.media import load_image, probe, read_frames
from mien.portrait.geometry import OVAL
from mien.portrait.matte import SIDE, MatteConfig, MatteNet, as_input
from mien.portrait.tracking import Tracker, load_tracker
from mien.training.prepare import read_manifest

STORED = 160  # pixels of a stored picture's sides
FRAMES_EACH = 3  # of a film
STILLS_STEP = 2  # every other still: each is seen often enough before other backgrounds
STRIP = 24  # pixels at a picture's foot of which a longer body is made
MOST_FILLED = 0.1  # of a still's side may be invented


@dataclass(frozen=True)
class MatteTraining:
    """What is drawn and how it is weighed.

    zoom: least and largest size of a stored picture in the view. roll in degrees. Those after `wide` are the odds of each
    change.
    """

    zoom: tuple[float, float] = (0.45, 1.3)
    roll: float = 15.0
    wide: float = 0.3  # share of pictures that show more than a head
    other_background: float = 0.6
    painted: float = 0.15
    grey: float = 0.12
    rough: float = 0.3
    weights: dict[str, float] = field(default_factory=lambda: {"matte": 1.0, "edge": 1.0})


def prepare(faces: Path, films: Path, portraits: Path, teacher: Path, out: Path) -> Iterator[str]:
    """Label pictures and write `matte.npz` into `out`; yields news.

    faces: folder of tars with manifest.csv.gz (columns shard, name, group, split, fill_fraction). films: folder with
    manifest.csv (columns file, split). portraits: folder of pictures that show more than a head; every other one is
    learned from. teacher: selfie_segmentation.tflite.
    """
    segment, tracker = _teacher(teacher), load_tracker("mediapipe")
    rows: dict[str, list[np.ndarray | bool]] = {"images": [], "mattes": [], "ovals": [], "held": [], "wide": []}
    for source in (_stills(faces), _frames(films), _portraits(portraits)):
        for image, held, wide in source:
            if (labelled := _labelled(image, segment, tracker)) is None:
                continue
            for name, value in zip(rows, (*labelled, held, wide), strict=True):
                rows[name].append(value)
            if len(rows["held"]) % 500 == 0:
                yield f"{len(rows['held'])} pictures"
    empty = [cv2.resize(image, (STORED, STORED), interpolation=cv2.INTER_AREA) for image in _empty(faces)]
    out.mkdir(parents=True, exist_ok=True)
    stacked = {name: np.stack(values) for name, values in (rows | {"empty": empty}).items()}
    np.savez(out / "matte.npz", **stacked)  # pyright: ignore[reportArgumentType]
    yield f"{len(rows['held'])} people, {sum(map(bool, rows['held']))} of them held out, and {len(empty)} empty scenes"


def _teacher(path: Path):
    """A function from a picture to the teacher's matte of it and of its mirror image, (256, 256) float32."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    given, made = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def said(view: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(given, np.ascontiguousarray(view, np.float32)[None] / 255)
        interpreter.invoke()
        return interpreter.get_tensor(made)[0, ..., 0].copy()

    def segment(image: np.ndarray) -> np.ndarray:
        view = cv2.resize(image, (256, 256), interpolation=cv2.INTER_AREA)
        return (said(view) + said(view[:, ::-1])[:, ::-1]) / 2

    return segment


def _labelled(image: np.ndarray, segment, tracker: Tracker) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """A picture of STORED size, its matte (both uint8) and the face's outline (36, 2) in [0, 1]; None without a face."""
    found = tracker.detect(image)
    if not found:
        return None
    small = cv2.resize(image, (STORED, STORED), interpolation=cv2.INTER_AREA)
    matte = cv2.resize(segment(image), (STORED, STORED), interpolation=cv2.INTER_AREA)
    oval = found[0].landmarks[OVAL, :2] / image.shape[1::-1]
    return small, np.round(matte * 255).astype(np.uint8), oval.astype(np.float16)


def _listed(faces: Path) -> Iterator[tuple[dict[str, str], bytes]]:
    """Lines of the stills' manifest and their files."""
    with gzip.open(faces / "manifest.csv.gz", "rt", encoding="utf-8") as file:
        lines = {line["name"]: line for line in csv.DictReader(file)}
    for path in sorted(faces.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name in lines and (content := tar.extractfile(member)) is not None:
                    yield lines[member.name], content.read()


def _stills(faces: Path) -> Iterator[tuple[np.ndarray, bool, bool]]:
    """Pictures, whether each is held out, and whether it shows more than a head; so do the next two."""

    def wanted(listed: tuple[dict[str, str], bytes]) -> bool:
        line = listed[0]
        people, whole = line["group"] in ("photo", "synthetic", "art"), float(line["fill_fraction"] or 0) <= MOST_FILLED
        return people and whole and line["split"] in ("train", "val")

    for line, content in islice(filter(wanted, _listed(faces)), 0, None, STILLS_STEP):
        yield load_image(content), line["split"] == "val", False


def _empty(faces: Path) -> Iterator[np.ndarray]:
    for line, content in _listed(faces):
        if line["split"] == "train" and line["group"] == "none":
            yield load_image(content)


def _frames(films: Path) -> Iterator[tuple[np.ndarray, bool, bool]]:
    """A few frames of every film, far apart."""
    for clip in read_manifest(films):
        if clip.split in ("train", "val"):
            step = FRAMES_EACH / probe(clip.film).duration_s
            for image in islice(read_frames(clip.film, step), FRAMES_EACH):
                yield image, clip.split == "val", False


def _portraits(folder: Path) -> Iterator[tuple[np.ndarray, bool, bool]]:
    """Squares of every other portrait, as wide as it is and smaller, from its top and lower down."""
    for path in sorted(folder.glob("*.jpg"))[1::2]:
        image = load_image(path)
        height, width = image.shape[:2]
        for part in (1.0, 0.8):
            side = int(part * min(height, width))
            left = (width - side) // 2
            for top in {0, (height - side) // 3}:
                yield image[top : top + side, left : left + side], False, True


class MatteTask:
    """Views of people before their own and other backgrounds, for the loop; see `loop.Task`."""

    def __init__(self, config: MatteConfig, training: MatteTraining, shards: Path):
        path = shards / "matte.npz"
        if not path.is_file():
            raise FileNotFoundError(f"{path} is not there: run `python -m mien.training prepare-matte` first.")
        with np.load(path) as data:
            self.images, self.mattes, self.empty = data["images"], data["mattes"], data["empty"]
            self.ovals, held, wide = data["ovals"].astype(np.float32), data["held"], data["wide"]
        self.train, self.held = np.flatnonzero(~held), np.flatnonzero(held)
        wide = wide[self.train]
        self.odds = np.where(wide, training.wide / max(wide.sum(), 1), (1 - training.wide) / (~wide).sum())
        self.odds /= self.odds.sum()
        self.training, self.weights = training, training.weights
        self.model = MatteNet(config)

    # -- batches ------------------------------------------------------------------------------------------------------

    def batch(self, generator: torch.Generator, size: int) -> dict[str, Tensor]:
        """Draw views; see `loop.Task`."""
        rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
        return self._views(rng, rng.choice(self.train, size, p=self.odds), rough=self.training.rough)

    def _views(self, rng: np.random.Generator, rows: np.ndarray, rough: float) -> dict[str, Tensor]:
        """view (B, 4, S, S); matte and known (B, S, S): where the picture lies, and so the truth."""
        views, faces, mattes, known = zip(*(self._view(rng, int(row), rough) for row in rows), strict=True)
        return {
            "view": torch.from_numpy(as_input(np.stack(views), np.stack(faces))),
            "matte": torch.from_numpy(np.stack(mattes).astype(np.float32) / 255),
            "known": torch.from_numpy(np.stack(known).astype(np.float32)),
        }

    def _view(self, rng: np.random.Generator, row: int, rough: float) -> tuple[np.ndarray, ...]:
        place = self._place(rng)
        image, matte, oval = self.images[row], self.mattes[row], self.ovals[row] * STORED
        if rng.random() < 0.5:
            image, matte, oval = image[:, ::-1], matte[:, ::-1], oval * (-1, 1) + (STORED, 0)
        image, matte = _longer(image), _longer(matte)
        view, cut = _warped(image, place, cv2.BORDER_REPLICATE), _warped(matte, place, cv2.BORDER_CONSTANT)
        known = _warped(np.full_like(matte, 255), place, cv2.BORDER_CONSTANT) > 250
        if rng.random() < self.training.other_background:
            share = cut[..., None] / np.float32(255)
            view = np.round(share * view + (1 - share) * self._background(rng)).astype(np.uint8)
            known = np.ones_like(known)
        oval = oval @ place[:, :2].T + place[:, 2] + rng.normal(0, 1.0, 2)
        face = cv2.fillPoly(np.zeros((SIDE, SIDE), np.uint8), [np.round(oval).astype(np.int32)], 255)
        return self._looks(rng, view, rough), face, cut, known

    def _place(self, rng: np.random.Generator) -> np.ndarray:
        """An affine map (2, 3) from a stored picture to the view."""
        zoom = np.exp(rng.uniform(*np.log(self.training.zoom)))
        size, room = zoom * SIDE, (1 - zoom) * SIDE
        x, y = rng.uniform(min(0, room), max(0, room), 2) + rng.normal(0, 4, 2)
        turn = cv2.getRotationMatrix2D((STORED / 2, STORED / 2), rng.uniform(-1, 1) * self.training.roll, size / STORED)
        turn[:, 2] += (x + size / 2 - STORED / 2, y + size / 2 - STORED / 2)
        return turn

    def _background(self, rng: np.random.Generator) -> np.ndarray:
        """A scene, other people, or a flat colour that shades off: (S, S, 3) uint8."""
        kind = rng.random()
        if kind < 0.25:
            ends = rng.uniform(0, 255, (2, 3)) * (1, 0.6)[rng.random() < 0.5]
            ramp = np.linspace(0, 1, SIDE)[:, None, None]
            return np.broadcast_to(ends[0] + ramp * (ends[1] - ends[0]), (SIDE, SIDE, 3)).astype(np.uint8)
        scene = self.empty[rng.integers(len(self.empty))] if kind < 0.65 else self.images[rng.choice(self.train)]
        part = int(rng.uniform(0.4, 1) * STORED)
        x, y = rng.integers(STORED - part + 1, size=2)
        view = cv2.resize(scene[y : y + part, x : x + part], (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
        return cv2.GaussianBlur(view, (0, 0), rng.uniform(0.5, 6)) if rng.random() < 0.5 else view

    def _looks(self, rng: np.random.Generator, view: np.ndarray, rough: float) -> np.ndarray:
        """Light, colour, brush and camera."""
        if rough and rng.random() < self.training.painted:
            view = cv2.bilateralFilter(cv2.bilateralFilter(view, 7, 60, 4), 7, 60, 4)
        if rng.random() < self.training.grey:
            tint = rng.uniform(0.85, 1.1, 3) if rng.random() < 0.5 else np.ones(3)
            view = np.clip(view.mean(-1, keepdims=True) * tint, 0, 255).astype(np.uint8)
        light = (view / np.float32(255)) ** np.exp(rng.normal(0, 0.25)) * rng.normal(1, 0.08, 3) + rng.normal(0, 0.04)
        if rng.random() < rough:
            noise = rng.normal(0, rng.uniform(0.01, 0.06), light.shape)
            light = cv2.GaussianBlur(light, (0, 0), rng.uniform(0.4, 1.6)) + noise
        return np.clip(light * 255, 0, 255).astype(np.uint8)

    # -- losses and figures -------------------------------------------------------------------------------------------

    def losses(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """matte: cross entropy with the teacher. edge: distance of the gradients."""
        said, wanted, known = model(batch["view"]), batch["matte"], batch["known"]
        matte = (F.binary_cross_entropy_with_logits(said, wanted, reduction="none") * known).mean()
        miss = (said.sigmoid() - wanted) * known
        return {"matte": matte, "edge": miss.diff(dim=-1).abs().mean() + miss.diff(dim=-2).abs().mean()}

    @torch.inference_mode()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """On held-out people: mean distance to the teacher, and overlap of what is more than half covered."""
        rng = np.random.default_rng(5)
        distance, both, either = [], 0.0, 0.0
        for rows in np.array_split(rng.choice(self.held, min(320, len(self.held)), replace=False), 10):
            batch = self._views(rng, rows, rough=0.0)
            said, known = model(batch["view"]).sigmoid(), batch["known"] > 0
            distance.append((said - batch["matte"])[known].abs().mean().item())
            a, b = (said > 0.5) & known, (batch["matte"] > 0.5) & known
            both, either = both + (a & b).sum().item(), either + (a | b).sum().item()
        return {"score": both / either, "iou": both / either, "distance": float(np.mean(distance))}

    def save(self, model: nn.Module, path: Path) -> None:
        """Write as the checkpoint that `portrait.matte` reads."""
        core = getattr(model, "module", model)  # of whatever wraps it for training on several devices
        assert isinstance(core, MatteNet)
        tensors = {name: value.half() if value.is_floating_point() else value for name, value in core.state_dict().items()}
        checkpoints.save(path, tensors, asdict(core.config))


def _longer(plane: np.ndarray) -> np.ndarray:
    """A stored picture or matte with more body below: its lowest part, mirrored down and up."""
    strip = plane[-STRIP:]
    return np.concatenate([plane, *([strip[::-1], strip] * 3)])


def _warped(plane: np.ndarray, place: np.ndarray, border: int) -> np.ndarray:
    """A stored plane in the view, without the jags of a picture made smaller."""
    zoom = float(np.hypot(*place[:, 0]))
    plane = cv2.GaussianBlur(plane, (0, 0), 0.4 / zoom) if zoom < 0.7 else np.ascontiguousarray(plane)
    return cv2.warpAffine(plane, place, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=border)
