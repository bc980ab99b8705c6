"""Train our own face tracker, `python -m mien.training tracker`: crops of labelled faces and canvases with faces on them.

Every network is taught by itself: the face network on crops as the detector and the last frame hand them over, those of
eyes and mouth on crops as the face network hands them over, the blendshapes on the teacher's points and our faults.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mien import checkpoints
from mien.portrait import geometry
from mien.portrait.motion import load_space
from mien.portrait.tracking import BLENDSHAPES
from mien.portrait.tracking.crops import MOUTH, RIGHT_EYE, Crop, eye_crops, face_crop, iod, mouth_crop
from mien.portrait.tracking.network import N_SHAPES, STRIDE, TrackerConfig, TrackerNetwork, as_input
from mien.training.faces import load

BORDERS = (cv2.BORDER_REPLICATE, cv2.BORDER_REFLECT, cv2.BORDER_CONSTANT)
# Left and right change places in a mirror. Where the head goes, so do "Left" and "Right" of jaw and mouth.
MIRRORED_SHAPES = [
    BLENDSHAPES.index(n.replace("Left", "_").replace("Right", "Left").replace("_", "Right")) for n in BLENDSHAPES
]


@dataclass(frozen=True)
class TrackerTraining:
    """What is drawn and how it is weighed.

    canvases: share of a batch's rows that get a canvas for the detector. no_face: share of face crops without one.
    weights: of the losses. Points are weighed by `point_weights`.
    """

    canvas_px: int = 160
    canvases: float = 0.16
    no_face: float = 0.25
    weights: dict[str, float] = field(
        default_factory=lambda: {
            "face": 10.0, "eye": 10.0, "mouth": 10.0, "shapes": 5.0, "is_face": 1.0, "heat": 1.0, "where": 1.0,
        }
    )  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """A labelled face. image (H, W, 3) uint8; landmarks (478, 3) pixels; shapes (52,); canonical (478, 3)."""

    image: np.ndarray
    landmarks: np.ndarray
    shapes: np.ndarray
    canonical: np.ndarray
    rarity: float


def point_weights() -> np.ndarray:
    """(478,): lips, lids and irises count three times."""
    weights = np.ones(geometry.N_POINTS, np.float32)
    weights[[*MOUTH, *(i for upper, lower, iris in geometry.EYES for i in (*upper, *lower, *iris))]] = 3
    return weights / weights.mean()


class Augmenter:
    """All that happens to pictures of faces between a face and a tracker. backgrounds: pictures without a face."""

    def __init__(self, backgrounds: Sequence[np.ndarray], partner: np.ndarray):
        self.backgrounds, self.partner = backgrounds, partner
        self._noise = np.random.default_rng(0).normal(0, 1, (256, 256, 3)).astype(np.float32)

    def mirrored(self, sample: Sample) -> Sample:
        """The sample as a mirror shows it."""
        points = sample.landmarks[self.partner].copy()
        points[:, 0] = sample.image.shape[1] - points[:, 0]
        return Sample(
            np.ascontiguousarray(sample.image[:, ::-1]), points, sample.shapes[MIRRORED_SHAPES],
            geometry.mirrored(sample.canonical, self.partner), sample.rarity,
        )  # fmt: skip

    def stretched(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Another person's proportions."""
        by = np.exp(rng.normal(0, 0.06, 2))
        image = cv2.resize(sample.image, None, fx=by[0], fy=by[1], interpolation=cv2.INTER_LINEAR)
        actual = np.array([image.shape[1] / sample.image.shape[1], image.shape[0] / sample.image.shape[0], 1])
        return replace(sample, image=image, landmarks=(sample.landmarks * actual).astype(np.float32))

    def disturbed(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Light, colour, drawing, focus, noise and compression."""
        height, width = image.shape[:2]
        if rng.random() < 0.08:
            image = _drawn(image, rng)
        if rng.random() < 0.6:
            ramp = np.linspace(0, 1, 256)[:, None] ** np.exp(rng.normal(0, 0.3) + rng.normal(0, 0.08, 3))
            ramp = (ramp - 0.5) * np.exp(rng.normal(0, 0.25)) + 0.5 + rng.normal(0, 0.1) + rng.normal(0, 0.03, 3)
            image = cv2.LUT(image, (ramp * 255).clip(0, 255).astype(np.uint8)[:, None])
        if rng.random() < 0.2:
            grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
            image = cv2.addWeighted(image, amount := rng.choice([0.0, 0.5]), grey, 1 - amount, 0)
        if rng.random() < 0.12:  # light from one side
            slope = np.linspace(-1, 1, width)[None] * rng.normal() + np.linspace(-1, 1, height)[:, None] * rng.normal()
            image = (image * np.exp(0.5 * slope)[..., None]).clip(0, 255).astype(np.uint8)
        if rng.random() < 0.25:
            small = cv2.resize(image, None, fx=(by := rng.uniform(0.25, 0.8)), fy=by, interpolation=cv2.INTER_AREA)
            image = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
        if rng.random() < 0.12:
            image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.8))
        if rng.random() < 0.25:
            y, x = rng.integers(0, 257 - min(height, 256)), rng.integers(0, 257 - min(width, 256))
            noise = self._noise[y : y + height, x : x + width] * rng.uniform(2, 18)
            if noise.shape == image.shape:
                image = (image + noise).clip(0, 255).astype(np.uint8)
        if rng.random() < 0.25:
            file = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(15, 80))])[1]
            image = np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR))
        return image

    def hidden(self, sample: Sample, rng: np.random.Generator) -> np.ndarray:
        """The picture with something before a part of the face."""
        image, crop = sample.image.copy(), face_crop(sample.landmarks)
        x, y = (np.array([crop.x, crop.y]) + rng.normal(0, 0.3, 2) * crop.side).round().astype(int).tolist()
        axes = (rng.uniform(0.05, 0.22, 2) * crop.side).round().astype(int).tolist()
        mask = cv2.ellipse(np.zeros(image.shape[:2], np.uint8), (x, y), axes, rng.uniform(0, 180), 0, 360, 1, -1)
        if rng.random() < 0.5:
            other = self.background(rng, 96)
            fill = cv2.resize(other, image.shape[1::-1])
        else:
            fill = np.broadcast_to(rng.integers(0, 256, 3, np.uint8), image.shape)
        np.copyto(image, fill, where=mask[..., None].astype(bool))
        return image

    def background(self, rng: np.random.Generator, px: int) -> np.ndarray:
        """(px, px, 3) of a picture without a face, or of nothing."""
        if rng.random() < 0.1:
            low = rng.integers(0, 256, (*rng.integers(1, 5, 2), 3), np.uint8)
            return cv2.resize(low, (px, px), interpolation=cv2.INTER_CUBIC)
        image = self.backgrounds[int(rng.integers(len(self.backgrounds)))]
        side = min(image.shape[:2]) * rng.uniform(0.4, 1.2)
        x, y = (rng.uniform(0.2, 0.8, 2) * image.shape[1::-1]).tolist()
        return Crop(x, y, rng.uniform(-0.5, 0.5), side, bool(rng.random() < 0.5)).cut(image, px, cv2.BORDER_REFLECT)


def _drawn(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As if drawn or painted: flat regions with edges kept, few tones, and sometimes ink along the edges."""
    flat = cv2.bilateralFilter(image, 5, rng.uniform(20, 60), 4)
    tones = int(rng.integers(5, 14))
    flat = cv2.LUT(flat, ((np.arange(256) * tones // 256 + 0.5) * 256 / tones).clip(0, 255).astype(np.uint8))
    if rng.random() < 0.5:
        grey = cv2.medianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), 3)
        ink = cv2.adaptiveThreshold(grey, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY, 9, int(rng.integers(3, 8)))
        flat = cv2.bitwise_and(flat, cv2.cvtColor(ink, cv2.COLOR_GRAY2RGB))
    return flat


def _jittered(crop: Crop, rng: np.random.Generator, roll: float, scale: float, shift: float) -> Crop:
    """roll: degrees; scale: log; shift: sides; all standard deviations."""
    x, y = rng.normal(0, shift, 2) * crop.side
    return replace(
        crop, x=crop.x + x, y=crop.y + y, angle=crop.angle + np.radians(rng.normal(0, roll)),
        side=crop.side * float(np.exp(rng.normal(0, scale))),
    )  # fmt: skip


class TrackerTask:
    """Crops and canvases for the loop; see `loop.Task`."""

    def __init__(self, config: TrackerConfig, training: TrackerTraining, shards: Path):
        self.config, self.training, self.weights = config, training, training.weights
        space = load_space()
        samples: dict[str, list[Sample]] = {"train": [], "val": []}
        backgrounds: dict[str, list[np.ndarray]] = {"train": [], "val": []}
        self.scenes: list[tuple[np.ndarray, list[np.ndarray]]] = []
        for picture in load(shards):
            image = picture.pixels
            if picture.group == "none":
                backgrounds[picture.split].append(image)
                continue
            if picture.group in ("multi", "film") and picture.split == "train":
                self.scenes.append((image, [face.landmarks for face in picture.faces]))
            largest = picture.faces[0]
            if picture.group != "multi":
                canonical, pose = geometry.canonicalise(largest.landmarks, space.template)
                turned = abs(np.degrees(np.arctan2(pose.rotation[0, 2], pose.rotation[2, 2])))
                rarity = _rarity(largest.blendshapes, turned) * (1.5 if picture.group == "art" else 1)
                samples[picture.split].append(Sample(image, largest.landmarks, largest.blendshapes, canonical, rarity))
        self.samples, self.held_out = samples["train"], samples["val"]
        self.share = np.array([s.rarity for s in self.samples], float)
        self.share /= self.share.sum()
        self.augmenter = Augmenter(backgrounds["train"], space.partner)
        self.judge = Augmenter(backgrounds["val"], space.partner)
        self.model = TrackerNetwork(config)
        self.model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.point_weights = torch.from_numpy(point_weights())
        self.left_eye = space.partner[RIGHT_EYE].tolist()
        self._begin()

    def _begin(self) -> None:
        """Give the three point networks the training faces' mean shapes and components."""
        rng, rows = np.random.default_rng(0), []
        for sample in self.samples[:: max(1, len(self.samples) // 1500)]:
            rows.append(self._crops(sample, rng, self.augmenter, disturb=False))
        rows = [row for row in rows if row["is_face"]]
        networks = {"points": self.model.face, "eye_points": self.model.eye, "mouth_points": self.model.mouth}
        for name, network in networks.items():
            network.begin(torch.from_numpy(np.stack([row[name] for row in rows])))

    def batch(self, generator: torch.Generator, size: int) -> dict[str, Tensor]:
        """Draw a batch; see `loop.Task`. Crops are (B, 3, px, px) in -0.5 … 0.5, canvases fewer, (…, 3, 160, 160)."""
        rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
        rows = []
        for index in rng.choice(len(self.samples), size, p=self.share):
            rows.append(self._crops(self.samples[index], rng, self.augmenter))
        canvases = [self._canvas(rng) for _ in range(max(1, round(size * self.training.canvases)))]
        return _collated(rows) | _collated(canvases)

    def _crops(self, sample: Sample, rng: np.random.Generator, augmenter: Augmenter, disturb: bool = True) -> dict:
        """What the three point networks see of a sample, and where its points are in that."""
        if rng.random() < 0.5:
            sample = augmenter.mirrored(sample)
        if disturb:
            if rng.random() < 0.4:
                sample = augmenter.stretched(sample, rng)
            sample = replace(sample, image=augmenter.disturbed(sample.image, rng))
        image, points = sample.image, sample.landmarks
        if disturb and rng.random() < 0.15:
            image = augmenter.hidden(sample, rng)
        border = BORDERS[rng.integers(3)]
        truth = face_crop(points)
        is_face = rng.random() >= self.training.no_face
        if not is_face:
            face, crop = self._no_face(image, truth, rng, augmenter)
        else:
            coarse = rng.random() < 0.25
            crop = _jittered(truth, rng, *((12, 0.12, 0.06) if coarse else (4, 0.05, 0.025)))
            face = crop.cut(image, self.config.face_px, border)
        eye_side = int(rng.integers(2))
        eye = _jittered(eye_crops(points)[eye_side], rng, 3, 0.07, 0.04)
        mouth = _jittered(mouth_crop(points), rng, 3, 0.07, 0.04)
        eye_points = RIGHT_EYE if eye_side == 0 else augmenter.partner[RIGHT_EYE]
        near = iod(points)
        return {
            "face": face,
            "points": crop.to_crop(points),
            "iod": np.float32(near / crop.side),
            "is_face": np.float32(is_face),
            "eye": eye.cut(image, self.config.eye_px, border),
            "eye_points": eye.to_crop(points[eye_points])[:, :2],
            "mouth": mouth.cut(image, self.config.mouth_px, border),
            "mouth_points": mouth.to_crop(points[MOUTH])[:, :2],
            "eye_iod": np.float32(near / eye.side),
            "mouth_iod": np.float32(near / mouth.side),
            "canonical": sample.canonical,
            "shapes": sample.shapes[:N_SHAPES],
        }

    def _no_face(
        self, image: np.ndarray, truth: Crop, rng: np.random.Generator, augmenter: Augmenter
    ) -> tuple[np.ndarray, Crop]:
        """A crop that a detector may offer though it holds no face: a background, an ear, a face that it missed by far."""
        if rng.random() < 0.45:
            return augmenter.disturbed(augmenter.background(rng, self.config.face_px), rng), truth
        while True:
            side = truth.side * float(np.exp(rng.uniform(np.log(0.15), np.log(3.5))))
            x, y = (rng.uniform(0, 1, 2) * image.shape[1::-1]).tolist()
            far = np.hypot(x - truth.x, y - truth.y) > 0.5 * max(side, truth.side)
            if far or not 0.45 < side / truth.side < 2.2:
                break
        crop = Crop(x, y, truth.angle + rng.normal(0, 0.3), side)
        return crop.cut(image, self.config.face_px, BORDERS[rng.integers(3)]), crop

    def _canvas(self, rng: np.random.Generator) -> dict:
        """A picture with some faces, or none, and what the detector shall say of it."""
        px, crops = self.training.canvas_px, []
        if self.scenes and rng.random() < 0.35:  # as it was taken
            image, faces = self.scenes[rng.integers(len(self.scenes))]
            side = max(image.shape[:2]) * float(np.exp(rng.uniform(-0.7, 0.7)))
            x, y = (rng.uniform(0.3, 0.7, 2) * image.shape[1::-1]).tolist()
            window = Crop(x, y, np.radians(rng.normal(0, 12)), side, bool(rng.random() < 0.5))
            canvas = window.cut(image, px, cv2.BORDER_CONSTANT)
            crops = [self._seen(points, window) for points in faces]
        else:
            canvas = self.augmenter.background(rng, px).copy()
            for _ in range(rng.choice(4, p=[0.2, 0.5, 0.2, 0.1])):
                sample = self.samples[rng.choice(len(self.samples), p=self.share)]
                truth, side = face_crop(sample.landmarks), float(np.exp(rng.uniform(np.log(22), np.log(200))))
                middle = rng.uniform(0, px, 2)
                if any(np.hypot(*(middle - [c.x, c.y])) < 0.45 * (c.side + side) for c in crops):
                    continue
                zoom, angle = truth.side / side, truth.angle - np.radians(rng.normal(0, 20))
                # The window of the face's picture that covers the canvas, so that the face comes to lie at `middle`.
                offset = Crop(0, 0, angle, zoom).to_picture(px / 2 - middle)
                window = Crop(truth.x + float(offset[0]), truth.y + float(offset[1]), angle, zoom * px)
                mask = window.cut(_patch(sample.image.shape[:2], truth, rng), px, cv2.BORDER_CONSTANT)[..., None] / 255
                face = window.cut(self.augmenter.disturbed(sample.image, rng), px, cv2.BORDER_REFLECT)
                canvas = (canvas * (1 - mask) + face * mask).astype(np.uint8)
                crops.append(self._seen(sample.landmarks, window))
        canvas = self.augmenter.disturbed(canvas, rng)
        return {"canvas": canvas} | _targets(crops, px)

    def _seen(self, landmarks: np.ndarray, window: Crop) -> Crop:
        """A face's crop in the pixels of a canvas."""
        px = self.training.canvas_px
        points = landmarks[self.augmenter.partner] if window.mirrored else landmarks
        return face_crop((window.to_crop(points) + [0.5, 0.5, 0]) * px)

    def losses(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Distances of points in IOD, errors of blendshapes, odds of faces, what the detector says."""
        assert isinstance(model, TrackerNetwork)
        points, logits = model.see_face(batch["face"])
        real = batch["is_face"]
        flat = _apart(points[..., :2], batch["points"][..., :2]) + 0.3 * (points - batch["points"])[..., 2].abs()
        face = (flat * self.point_weights.to(flat)).mean(1) / batch["iod"]
        eye, mouth = model.eye(batch["eye"])[0], model.mouth(batch["mouth"])[0]
        with torch.no_grad():  # blendshapes are read from points as wrong as these, or less
            wrong = (points - batch["points"]) / batch["iod"][:, None, None]
            wrong[:, MOUTH, :2] = (mouth - batch["mouth_points"]) / batch["mouth_iod"][:, None, None]
            eye_wrong = (eye - batch["eye_points"]) / batch["eye_iod"][:, None, None]
            wrong[:, RIGHT_EYE, :2], wrong[:, self.left_eye, :2] = eye_wrong, eye_wrong * eye_wrong.new_tensor([-1, 1])
            wrong = wrong - wrong[:, geometry.STABLE].mean(1, keepdim=True)
            share = torch.rand(len(real), 1, 1, device=real.device) * real[:, None, None]
        shapes = model.read_shapes(batch["canonical"] + share * wrong)
        said, inside = model.detector(batch["canvas"]).float(), batch["inside"]
        where = F.smooth_l1_loss(said[:, 1:], batch["where"], reduction="none", beta=0.2).sum(1)
        return {
            "face": (face * real).sum() / real.sum().clamp(min=1),
            "eye": _part_loss(eye, batch["eye_points"], LIDS, batch["eye_iod"]),
            "mouth": _part_loss(mouth, batch["mouth_points"], LIPS, batch["mouth_iod"]),
            "shapes": (shapes.float() - batch["shapes"]).abs().mean(),
            "is_face": F.binary_cross_entropy_with_logits(logits.float(), real),
            "heat": _focal(said[:, 0], batch["heat"]),
            "where": (where * inside).sum() / inside.sum().clamp(min=1),
        }

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Errors on held-out people, undisturbed, crops as the tracker's own steps hand them over; in IOD."""
        assert isinstance(model, TrackerNetwork)
        rng = np.random.default_rng(1)
        batch = _collated([self._crops(s, rng, self.judge, disturb=False) for s in self.held_out])
        with torch.inference_mode():
            points, logits = model.see_face(batch["face"])
            eye, mouth = model.eye(batch["eye"])[0], model.mouth(batch["mouth"])[0]
            shapes = model.read_shapes(batch["canonical"])
        real = batch["is_face"].bool()
        figures = {
            "all": (_apart(points[..., :2], batch["points"][..., :2]).mean(1) / batch["iod"])[real].mean(),
            "eyes": (_apart(eye, batch["eye_points"]).mean(1) / batch["eye_iod"]).mean(),
            "lips": (_apart(mouth, batch["mouth_points"]).mean(1) / batch["mouth_iod"]).mean(),
            "shapes": (shapes - batch["shapes"]).abs().mean(),
            "is_face": ((logits > 0) == real).float().mean(),
        }
        figures = {name: float(value) for name, value in figures.items()}
        return figures | {"score": -(figures["all"] + figures["lips"] + figures["eyes"])}

    def save(self, model: nn.Module, path: Path) -> None:
        """Write the networks, in half precision."""
        assert isinstance(model, TrackerNetwork)
        tensors = {name: t.half() if t.is_floating_point() else t for name, t in model.state_dict().items()}
        checkpoints.save(path, tensors, asdict(model.config))


def _pairs(upper: list[int], lower: list[int], points: list[int]) -> tuple[list[int], list[int]]:
    return [points.index(i) for i in upper[1:-1]], [points.index(i) for i in lower[1:-1]]


LIDS = _pairs(geometry.RIGHT_EYE_UPPER, geometry.RIGHT_EYE_LOWER, RIGHT_EYE)
LIPS = _pairs(geometry.INNER_UPPER, geometry.INNER_LOWER, MOUTH)


def _part_loss(said: Tensor, truth: Tensor, edges: tuple[list[int], list[int]], iods: Tensor) -> Tensor:
    """Distance of all points, and how wrong the opening between two edges is."""
    gap = (said - truth)[:, edges[1], 1] - (said - truth)[:, edges[0], 1]
    return ((_apart(said, truth).mean(1) + 0.5 * gap.abs().mean(1)) / iods).mean()


def _apart(a: Tensor, b: Tensor) -> Tensor:
    """Distances (..., P) of points (..., P, 2), smooth at zero."""
    return ((a - b).square().sum(-1) + 1e-6).sqrt()


def _focal(logits: Tensor, heat: Tensor) -> Tensor:
    """Cross-entropy that forgives cells beside a middle and dwells on what is wrong (Law, Deng: CornerNet, eq. 1)."""
    odds = torch.sigmoid(logits)
    middle = heat == 1
    hit = F.logsigmoid(logits) * (1 - odds) ** 2 * middle
    miss = F.logsigmoid(-logits) * odds**2 * (1 - heat) ** 4 * ~middle
    return -(hit + miss).sum() / middle.sum().clamp(min=1)


def _targets(crops: Sequence[Crop], px: int) -> dict:
    """What the detector shall say of a canvas.

    heat (h, w): 1 at faces' middles, falling off around. where (5, h, w): as `Detector` says it. inside (h, w): is it asked?
    """
    cells = px // STRIDE
    grid = (np.stack(np.meshgrid(np.arange(cells), np.arange(cells)), -1) + 0.5).astype(np.float32)
    heat = np.zeros((cells, cells), np.float32)
    where, inside = np.zeros((5, cells, cells), np.float32), np.zeros((cells, cells), np.float32)
    for crop in sorted(crops, key=lambda c: -c.side):
        middle = np.array([crop.x, crop.y], np.float32) / STRIDE
        if not (0 <= middle.min() and middle.max() < cells):
            continue
        offset = middle - grid
        squared = (offset**2).sum(-1)
        radius = max(0.7, 0.12 * crop.side / STRIDE)
        heat = np.maximum(heat, np.exp(-squared / (2 * radius**2)))
        column, row = middle.astype(int)
        heat[row, column] = 1
        near = squared <= radius**2
        near[row, column] = True
        inside[near] = 1
        size, angle = np.log(crop.side / (8 * STRIDE)), crop.angle
        where[:, near] = np.stack(
            [offset[near][:, 0], offset[near][:, 1], *(np.full(near.sum(), v) for v in (size, np.cos(angle), np.sin(angle)))]
        )
    return {"heat": heat, "where": where, "inside": inside}


def _patch(shape: tuple[int, int], truth: Crop, rng: np.random.Generator) -> np.ndarray:
    """What of a face's picture is laid on a canvas, 0 or 255: all of it, or a head-sized part with a soft rim."""
    if rng.random() < 0.4:
        return np.full(shape, 255, np.uint8)
    axes = (truth.side * rng.uniform(0.42, 0.6, 2)).round().astype(int).tolist()
    mask = cv2.ellipse(
        np.zeros(shape, np.uint8), (round(truth.x), round(truth.y)), axes, np.degrees(truth.angle), 0, 360, 255, -1
    )
    return cv2.GaussianBlur(mask, (0, 0), truth.side * rng.uniform(0.01, 0.06))


def _collated(rows: Sequence[dict]) -> dict[str, Tensor]:
    """Rows to a batch; pictures (H, W, 3) uint8 to (B, 3, H, W) in -0.5 … 0.5, laid out channels last."""
    out = {}
    for name in rows[0]:
        tensor = torch.from_numpy(np.stack([row[name] for row in rows]))
        out[name] = as_input(tensor) if tensor.dtype == torch.uint8 else tensor
    return out


def _rarity(shapes: np.ndarray, turned: float) -> float:
    """How often a face is drawn: open mouths, closed eyes and turned heads more often than they come."""
    value = dict(zip(BLENDSHAPES, shapes.tolist(), strict=True))
    blink = (value["eyeBlinkLeft"] + value["eyeBlinkRight"]) / 2
    return 1 + 2 * (value["jawOpen"] > 0.25) + 2 * (blink > 0.5) + (turned > 20) + (value["mouthPucker"] > 0.6)
