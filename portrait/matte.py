"""Who is in the picture: a soft matte of head, hair and body, and the plate, which is the picture without them.

A small U-Net looks at the head's surroundings, and at the whole picture if that is larger; a fourth channel shows it the
face, so that it takes this person and not the one beside. Colours tell where the body goes on below, and a guided filter
draws the edge along the picture's own.
The network learned from MediaPipe's selfie segmentation: `python -m mien.training matte`.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mien.portrait.geometry import OVAL

SIDE = 128  # pixels of the network's square view
VIEW = 3.4  # side of the close view in face sizes
VIEW_DOWN = 0.45  # how far its middle lies below the face's, face sizes: shoulders count as well
FACE_PX = 64  # the edge is found in a picture shrunk so that the face has this size
MOST_PX = 1_000_000  # of that picture: small faces in large ones are looked at more coarsely, in seconds and megabytes
BODY_PX = 40  # and the rest of the body in one still smaller
EDGE = 0.05  # radius of the guided filter, face sizes
SMOOTH = 1e-4  # variance of the picture, in [0, 1] squared, that is no edge
SURE = 0.2  # a matte this close to 0 or 1 is 0 or 1: the network is seldom wholly sure
DOUBT = 0.2  # share of the head's surroundings that may be neither person nor background
PLATE_SIDE = 320  # pixels of the longer side at which the plate is filled


@dataclass(frozen=True)
class MatteConfig:
    """Channels at 1/2, 1/4, 1/8 and 1/16 of the view, and at its full size."""

    widths: tuple[int, ...] = (16, 32, 64, 96)
    fine: int = 8


def _layer(inward: int, outward: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inward, outward, 3, stride, 1, bias=False), nn.BatchNorm2d(outward), nn.ReLU(inplace=True)
    )


class MatteNet(nn.Module):
    """U-Net from a view (B, 4, S, S), colours and face in [-1, 1], to logits of the matte (B, S, S); S a multiple of 16."""

    def __init__(self, config: MatteConfig):
        super().__init__()
        self.config = config
        widths = config.widths
        before = (4, *widths[:-1])
        self.down = nn.ModuleList(nn.Sequential(_layer(a, b, 2), _layer(b, b)) for a, b in zip(before, widths, strict=True))
        self.deep = _layer(widths[-1], widths[-1])
        self.across = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in zip(widths[:-1], widths[1:], strict=True))
        self.up = nn.ModuleList(_layer(a, a) for a in widths[:-1])
        self.fine = _layer(widths[0] + 4, config.fine)
        self.out = nn.Conv2d(config.fine, 1, 3, padding=1)
        self.to(memory_format=torch.channels_last)  # twice as fast on a CPU  # pyright: ignore[reportCallIssue]

    def forward(self, view: Tensor) -> Tensor:
        """Logits, see the class."""
        seen, x = [], view.contiguous(memory_format=torch.channels_last)
        for down in self.down:
            x = down(x)
            seen.append(x)
        x = self.deep(x)
        for across, up, skip in zip(self.across[::-1], self.up[::-1], seen[-2::-1], strict=True):
            x = up(_doubled(across(x)) + skip)
        x = self.fine(torch.cat([_doubled(x), view], 1))
        return self.out(x)[:, 0]


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def as_input(views: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Views (..., S, S, 3) uint8 and face masks (..., S, S) uint8, 255 inside, to (..., 4, S, S) float32 in [-1, 1]."""
    stacked = np.concatenate([views, faces[..., None]], -1).astype(np.float32) / 127.5 - 1
    return np.ascontiguousarray(np.moveaxis(stacked, -1, -3))


@lru_cache(maxsize=1)
def _network() -> MatteNet:
    from mien import checkpoints

    checkpoint = checkpoints.load("matte")
    network = MatteNet(MatteConfig(tuple(checkpoint.config["widths"]), checkpoint.config["fine"]))
    network.load_state_dict({name: tensor.float() for name, tensor in checkpoint.tensors.items()})
    return network.eval()


def find_matte(image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """The matte of the person whose face is given: (H, W) float32 in [0, 1], 1 on head, hair and body.

    image: (H, W, 3) uint8 RGB. landmarks: (478, >=2) pixels.
    """
    height, width = image.shape[:2]
    oval = landmarks[OVAL, :2].astype(np.float32)
    face = float(np.ptp(oval, axis=0).max())
    factor = min(1.0, FACE_PX / face, (MOST_PX / (height * width)) ** 0.5)
    small, oval, face = _shrunk(image, factor), oval * factor, face * factor

    size = np.array(small.shape[1::-1], np.float32)
    side = VIEW * face
    corner = (oval.min(0) + oval.max(0) - side) / 2 + (0, VIEW_DOWN * face)
    coarse, share = _seen(small, oval, corner, side)
    if (corner > 0).any() or (corner + side < size).any():
        whole = float(size.max())
        far, _ = _seen(small, oval, (size - whole) / 2, whole)
        coarse = far + share * (coarse - far)

    inside = cv2.fillPoly(np.zeros(small.shape[:2], np.uint8), [np.round(oval).astype(np.int32)], 1)
    coarse[inside > 0] = 1
    coarse = _of_one_piece(_with_body(small, coarse, oval, face), inside)
    slope, level = _guide(small, coarse, max(2, round(EDGE * face)))
    slope, level = (cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR) for plane in (slope, level))
    matte = (slope * image).sum(-1) / 255 + level
    return np.clip((matte - SURE) / (1 - 2 * SURE), 0, 1, dtype=np.float32)


def is_clear(matte: np.ndarray, landmarks: np.ndarray) -> bool:
    """Whether a matte (H, W) is sure enough about the head for a still background behind it.

    A head that is half there would leave its ghost: few pixels around it may be in doubt, and some must be background.
    """
    oval = landmarks[OVAL, :2]
    face = float(np.ptp(oval, axis=0).max())
    x, y = (oval.min(0) + oval.max(0)) / 2
    part = matte[max(0, int(y - face)) : int(y + 0.7 * face) + 1, max(0, int(x - face)) : int(x + face) + 1]
    doubtful, empty = ((part > 0.1) & (part < 0.9)).mean(), (part <= 0.1).mean()
    return bool(doubtful < DOUBT and empty > 0.02)


def fill_plate(image: np.ndarray, matte: np.ndarray) -> np.ndarray:
    """The picture with nobody in it: (H, W, 3) uint8, what the matte covers filled from around.

    Filled small (Telea 2004) and softly: it shows only where a head that moves uncovers it.
    """
    height, width = matte.shape
    small = _shrunk(image, min(1.0, PLATE_SIDE / max(height, width)))
    covered = cv2.resize(matte, small.shape[1::-1], interpolation=cv2.INTER_AREA) > 0.02
    hole = cv2.dilate(covered.astype(np.uint8), np.ones((5, 5), np.uint8))
    filled = cv2.inpaint(small, hole, 4, cv2.INPAINT_TELEA)
    filled = np.where(hole[..., None] > 0, cv2.GaussianBlur(filled, (0, 0), 3), filled)
    share = cv2.resize(cv2.blur(hole.astype(np.float32), (3, 3)), (width, height), interpolation=cv2.INTER_LINEAR)
    share = np.maximum(share, matte)[..., None]
    filled = cv2.resize(filled, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.round(image + share * (filled.astype(np.float32) - image)).astype(np.uint8)


def _shrunk(image: np.ndarray, factor: float) -> np.ndarray:
    size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _seen(small: np.ndarray, oval: np.ndarray, corner: np.ndarray, side: float) -> tuple[np.ndarray, np.ndarray]:
    """What the network says of a square part of a picture, laid back on it, and how much it counts there: two (h, w)."""
    zoom = SIDE / side
    there = np.array([[zoom, 0, -corner[0] * zoom + (zoom - 1) / 2], [0, zoom, -corner[1] * zoom + (zoom - 1) / 2]])
    shrunk = cv2.GaussianBlur(small, (0, 0), 0.4 / zoom) if zoom < 0.7 else small
    view = cv2.warpAffine(shrunk, there, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    points = oval @ there[:, :2].T + there[:, 2]
    face = cv2.fillPoly(np.zeros((SIDE, SIDE), np.uint8), [np.round(points).astype(np.int32)], 255)
    with torch.inference_mode():
        said = _network()(torch.from_numpy(as_input(view, face))[None])[0].sigmoid().numpy()
    ramp = np.minimum(np.arange(SIDE), np.arange(SIDE)[::-1])
    share = np.clip(np.minimum(ramp[:, None], ramp) / 12, 0, 1).astype(np.float32)
    planes = cv2.warpAffine(
        np.dstack([said, share]), there, small.shape[1::-1], flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    )
    return np.clip(planes[..., 0], 0, 1), np.clip(planes[..., 1], 0, 1)


def _with_body(image: np.ndarray, matte: np.ndarray, oval: np.ndarray, face: float) -> np.ndarray:
    """The matte with the rest of the body: far below the face the network is unsure, and colours tell better (GrabCut).

    What the network is sure of and the middle of the chest are the person; a trapeze below the shoulders may be.
    """
    factor = min(1.0, BODY_PX / face)
    small, chin = _shrunk(image, factor), oval[:, 1].max() * factor
    said = cv2.resize(matte, small.shape[1::-1], interpolation=cv2.INTER_AREA)
    y, x = np.mgrid[: small.shape[0], : small.shape[1]]
    down, aside = (y - chin) / (face * factor), np.abs(x / factor - (oval[:, 0].min() + oval[:, 0].max()) / 2) / face
    trapeze = (down > 0.25) & (aside < np.minimum(0.6 + 1.2 * down, 1.5))
    known = np.where((said > 0.5) | trapeze, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    known[(said < 0.5) & ((down < 0.1) | (aside > 2.2) & (said < 0.1))] = cv2.GC_BGD
    known[(said > 0.9) | (down > 0.5) & (aside < 0.35)] = cv2.GC_FGD
    if (known % 2 == 0).sum() > 50 and chin + 0.5 * face * factor < len(small):
        cv2.setRNGSeed(0)  # the same picture, the same matte
        cv2.grabCut(small, known, None, np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_MASK)  # pyright: ignore[reportCallIssue, reportArgumentType]
    body = cv2.morphologyEx(known % 2, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)).astype(np.float32)
    body = cv2.resize(body, matte.shape[::-1], interpolation=cv2.INTER_LINEAR)
    share = np.clip(((np.arange(len(matte)) - oval[:, 1].max()) / face - 0.4) / 0.4, 0, 1)[:, None].astype(np.float32)
    return matte + share * np.maximum(body - matte, 0)


def _of_one_piece(matte: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The matte without what does not hang together with the face."""
    _, pieces = cv2.connectedComponents((matte > 0.5).astype(np.uint8))
    others = (pieces > 0) & ~np.isin(pieces, np.unique(pieces[inside > 0]))
    around = cv2.dilate(others.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    return np.where(others | around & (pieces == 0), 0, matte)


def _guide(image: np.ndarray, matte: np.ndarray, radius: int) -> tuple[np.ndarray, np.ndarray]:
    """Guided filter (He 2013): slope (h, w, 3) and level (h, w) of the line from a picture's colours to its matte."""
    mean = lambda x: cv2.blur(x, (2 * radius + 1, 2 * radius + 1), borderType=cv2.BORDER_REFLECT)  # noqa: E731
    colours = image.astype(np.float32) / 255
    middle, level = mean(colours), mean(matte)
    spread = mean((colours[..., :, None] * colours[..., None, :]).reshape(*matte.shape, 9)).reshape(*matte.shape, 3, 3)
    spread -= middle[..., :, None] * middle[..., None, :]
    along = mean(colours * matte[..., None]) - middle * level[..., None]
    slope = np.linalg.solve(spread + SMOOTH * np.eye(3, dtype=np.float32), along[..., None])[..., 0]
    return mean(slope), mean(level - (slope * middle).sum(-1))
