"""One portrait in all it can do: mouths, eyes, turns and feelings side by side, at full size, for the eye to judge."""

from dataclasses import dataclass, field

import numpy as np

from mien.emotion import CATEGORIES
from mien.emotion.facs import RECIPES
from mien.media import sheet
from mien.portrait.evaluation import close_up
from mien.portrait.motion import MotionSpace, load_space, rest_values, rotation_matrix
from mien.portrait.shape import FaceShape
from mien.portrait.tracking import BLENDSHAPES, Face
from mien.portrait.warp import Portrait

COLUMNS = 6
LARGEST = 640  # pixels of a picture's side on the sheet


@dataclass(frozen=True)
class Look:
    """What a portrait is asked to show. shapes: ARKit blendshapes without side; turn: pitch, yaw, roll in degrees;
    lids: openness; gaze: radians, right and down."""

    shapes: dict[str, float] = field(default_factory=dict)
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0)
    lids: float = 1.0
    gaze: tuple[float, float] = (0.0, 0.0)


LOOKS: dict[str, Look] = {
    "rest": Look(),
    "open a": Look({"jawOpen": 0.6}),
    "round o": Look({"jawOpen": 0.35, "mouthFunnel": 0.5, "mouthPucker": 0.4}),
    "smile": Look({"mouthSmile": 0.8, "cheekSquint": 0.4}),
    "wide smile": Look({"mouthSmile": 1.0, "mouthUpperUp": 0.5, "mouthLowerDown": 0.5, "jawOpen": 0.12}),
    "closed lips": Look({"mouthPress": 0.6}),
    "half shut": Look(lids=0.5),
    "blink": Look(lids=0.0),
    "gaze left": Look(gaze=(-0.28, 0)),
    "gaze right": Look(gaze=(0.28, 0)),
    "gaze up": Look(gaze=(0, -0.25)),
    "gaze down": Look(gaze=(0, 0.25)),
    "yaw -20": Look(turn=(0, -20, 0)),
    "yaw -15": Look(turn=(0, -15, 0)),
    "yaw 15": Look(turn=(0, 15, 0)),
    "yaw 20": Look(turn=(0, 20, 0)),
    "pitch -12": Look(turn=(-12, 0, 0)),
    "pitch 12": Look(turn=(12, 0, 0)),
    **{name: Look(RECIPES[name].shapes) for name in CATEGORIES[1:]},
}


def pose_of(look: Look, space: MotionSpace) -> FaceShape:
    """A look as the renderer takes it."""
    sides = [name.removesuffix("Left").removesuffix("Right") for name in BLENDSHAPES]
    shapes = [look.shapes.get(n, look.shapes.get(s, 0.0)) for n, s in zip(BLENDSHAPES, sides, strict=True)]
    values = space.from_blendshapes(np.array([shapes], np.float32))
    values[:, 10:] = 3 * np.tanh(values[:, 10:] / 3)  # rare shapes stay within what real faces do
    lids = np.full(2, look.lids, np.float32) if look.lids != 1 else values[0, 8:10]
    turn = rotation_matrix(np.radians(look.turn)).astype(np.float32)
    gaze = values[0, 6:8] + np.array(look.gaze, np.float32)
    return FaceShape(space.expression(values - rest_values(1))[0], rotation=turn, lids=lids, gaze=gaze)


def tiles(portrait: Portrait, face: Face) -> dict[str, np.ndarray]:
    """The picture itself, then every look, cut out about the face: name to (h, w, 3) uint8."""
    space = load_space()
    frames = {"picture": portrait.image} | {n: portrait.render(pose_of(look, space)) for n, look in LOOKS.items()}
    return {name: close_up(frame, face) for name, frame in frames.items()}


def gallery(portrait: Portrait, face: Face) -> np.ndarray:
    """All looks of a portrait on one sheet (H, W, 3) uint8, pictures at full size up to `LARGEST` pixels."""
    shown = tiles(portrait, face)
    width = min(LARGEST, next(iter(shown.values())).shape[1])
    return sheet(shown.values(), COLUMNS, width, list(shown))
