"""The tracker's networks: a detector of faces in any picture, and three that find points in upright crops.

The face network sees the whole face and tells all 478 points and whether it is a face. Eyes and lips, where a fault
shows first, are looked at again from near. Blendshapes are read from the points alone, as the teacher reads them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mien.portrait.geometry import N_POINTS
from mien.portrait.tracking.crops import MOUTH, RIGHT_EYE

STRIDE = 8  # pixels of a detector's cell
COARSEST = 32  # the detector's pictures are multiples of this
N_SHAPES = 51  # blendshapes without tongueOut


@dataclass(frozen=True)
class TrackerConfig:
    """Sides of the crops, pixels, and channels of the networks at 1/2, 1/4, … of them."""

    face_px: int = 96
    eye_px: int = 40
    mouth_px: int = 56
    face: tuple[int, ...] = (24, 32, 64, 128)
    eye: tuple[int, ...] = (24, 40, 80)
    mouth: tuple[int, ...] = (24, 48, 96)
    hidden: int = 224  # of the face; eyes and mouth have half
    detector: tuple[int, ...] = (16, 24, 40, 64, 80)


class Unit(nn.Module):
    """3 x 3 convolution, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H / stride, W / stride)."""
        return F.relu(self.norm(self.conv(x)))


class Residual(nn.Module):
    """Two units around which the input passes."""

    def __init__(self, channels: int):
        super().__init__()
        self.first, self.second = Unit(channels, channels), Unit(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        return x + self.second(self.first(x))


def _trunk(channels: tuple[int, ...]) -> nn.Sequential:
    """Each step halves the picture; from 1/4 on it also looks around."""
    layers: list[nn.Module] = [Unit(3, channels[0], 2)]
    for before, after in zip(channels, channels[1:], strict=False):
        layers += [Unit(before, after, 2), Residual(after)]
    return nn.Sequential(*layers)


class Points(nn.Module):
    """Points of a crop, in its units: a trunk, all that it saw in one vector, a linear map that begins as a shape model."""

    def __init__(self, channels: tuple[int, ...], px: int, hidden: int, points: int, axes: int):
        super().__init__()
        self.trunk = _trunk(channels)
        cells = (px >> len(channels)) ** 2
        narrow = 9 * hidden // cells
        self.squeeze = nn.Conv2d(channels[-1], narrow, 1)
        self.gather = nn.Linear(narrow * cells, hidden)
        self.points = nn.Linear(hidden, points * axes)
        self.axes = axes

    def begin(self, shapes: Tensor) -> None:
        """Let the last layer draw the mean of shapes (N, P, axes), and its inputs their principal components."""
        flat = shapes.flatten(1)
        mean = flat.mean(0)
        _, spread, directions = torch.linalg.svd(flat - mean, full_matrices=False)
        known = min(len(spread), self.points.in_features)
        with torch.no_grad():
            self.points.bias.copy_(mean)
            self.points.weight.zero_()
            self.points.weight[:, :known] = (directions[:known] * spread[:known, None] / len(flat) ** 0.5).T

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """crops (B, 3, px, px) in -0.5 … 0.5 to points (B, P, axes) and what was seen (B, hidden)."""
        x = F.relu(self.squeeze(self.trunk(crops))).flatten(1)
        seen = self.gather(x)
        with torch.autocast(seen.device.type, enabled=False):  # half precision would move points by tenths of pixels
            return self.points(seen.float()).unflatten(1, (-1, self.axes)), seen


class Detector(nn.Module):
    """Is a face's middle in this cell, and if so, where exactly, how large, how turned?"""

    def __init__(self, channels: tuple[int, ...]):
        super().__init__()
        c2, c4, c8, c16, c32 = channels
        self.near = nn.Sequential(Unit(3, c2, 2), Unit(c2, c4, 2), Unit(c4, c8, 2))
        self.middle = nn.Sequential(Unit(c8, c16, 2), Residual(c16))
        self.far = nn.Sequential(Unit(c16, c32, 2), Residual(c32))
        self.from_far, self.from_middle = nn.Conv2d(c32, c16, 1), nn.Conv2d(c16, c8, 1)
        last = nn.Conv2d(c8, 6, 1)
        nn.init.constant_(last.bias[0], -4.0)  # pyright: ignore[reportOptionalSubscript] - few cells hold a face
        self.head = nn.Sequential(Unit(c8, c8), last)

    def forward(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W), sides multiples of `COARSEST`, to (B, 6, H / 8, W / 8).

        Channels: logit; middle from the cell's middle, cells (2); log of the face crop's side over 8 cells; cosine and
        sine of its angle.
        """
        x8 = self.near(pictures)
        x16 = self.middle(x8)
        x16 = x16 + F.interpolate(self.from_far(self.far(x16)), scale_factor=2.0)
        return self.head(x8 + F.interpolate(self.from_middle(F.relu(x16)), scale_factor=2.0))


class TrackerNetwork(nn.Module):
    """All of them in one."""

    def __init__(self, config: TrackerConfig):
        super().__init__()
        self.config = config
        self.detector = Detector(config.detector)
        self.face = Points(config.face, config.face_px, config.hidden, N_POINTS, 3)
        self.is_face = nn.Linear(config.hidden, 1)
        self.eye = Points(config.eye, config.eye_px, config.hidden // 2, len(RIGHT_EYE), 2)
        self.mouth = Points(config.mouth, config.mouth_px, config.hidden // 2, len(MOUTH), 2)
        self.shapes = nn.Sequential(
            nn.BatchNorm1d(N_POINTS * 2, momentum=0.02), nn.Linear(N_POINTS * 2, 96), nn.ReLU(), nn.Linear(96, N_SHAPES)
        )

    def see_face(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Face crops (B, 3, px, px) to points (B, 478, 3) in crop units and logits (B,): is it a face?"""
        points, seen = self.face(crops)
        return points, self.is_face(seen).squeeze(1)

    def read_shapes(self, canonical: Tensor) -> Tensor:
        """Canonical landmarks (B, 478, 3) to blendshapes (B, 51), 0 … 1."""
        return torch.sigmoid(self.shapes(canonical[..., :2].flatten(1)))


def as_input(pictures: Tensor) -> Tensor:
    """Pictures (B, H, W, 3) uint8 as networks want them: (B, 3, H, W) float in -0.5 … 0.5, channels last in memory."""
    return pictures.permute(0, 3, 1, 2).float() / 255 - 0.5


def for_use(network: nn.Module) -> nn.Module:
    """The same network without batch norms, which become part of the convolutions, laid out as the CPU likes it."""
    for module in network.eval().modules():
        if isinstance(module, Unit) and not isinstance(module.norm, nn.Identity):
            assert isinstance(module.norm, nn.BatchNorm2d)
            module.conv, module.norm = fuse_conv_bn_eval(module.conv, module.norm), nn.Identity()
    return network.requires_grad_(False).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
