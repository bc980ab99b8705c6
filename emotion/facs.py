"""What a face does with each feeling: facial action units (Ekman & Friesen's FACS, EMFACS) as ARKit weights.

These are priors: they show the network what a feeling looks like where labelled film is thin.
"""

from dataclasses import dataclass, field

import numpy as np

from mien.emotion.ontology import CATEGORIES


@dataclass(frozen=True)
class Recipe:
    """A feeling at intensity 1.

    shapes: ARKit blendshapes without side ("browDown" is both sides; "mouthSmileRight" one) and their weights.
    pitch: head, radians, + looks down. roll: radians. lean: head size, log. gain: factor on the head's liveliness.
    """

    shapes: dict[str, float]
    pitch: float = 0.0
    roll: float = 0.0
    lean: float = 0.0
    gain: float = 1.0
    units: str = field(default="", compare=False)


RECIPES: dict[str, Recipe] = {
    "neutral": Recipe({}),
    "happy": Recipe(
        {"mouthSmile": 1.1, "cheekSquint": 1.2, "eyeSquint": 0.5, "mouthDimple": 0.2, "mouthUpperUp": 0.15,
         "browOuterUp": 0.1},
        pitch=-0.02, gain=1.15, units="6+12",
    ),
    "sad": Recipe(
        {"browInnerUp": 1.6, "mouthFrown": 0.7, "mouthShrugLower": 0.2, "eyeSquint": 0.5, "eyeLookDown": 0.25},
        pitch=0.08, roll=0.03, gain=0.6, units="1+4+15+17",
    ),
    "angry": Recipe(
        {"browDown": 1.6, "eyeSquint": 0.5, "eyeWide": 0.1, "mouthPress": 0.4, "noseSneer": 0.7, "mouthFrown": 0.7},
        pitch=0.06, lean=0.03, gain=1.3, units="4+5+7+23",
    ),
    "fearful": Recipe(
        {"browInnerUp": 1.4, "browOuterUp": 0.5, "browDown": 0.2, "eyeWide": 1.1, "mouthStretch": 0.9,
         "mouthFrown": 0.4, "mouthLowerDown": 0.3},
        pitch=-0.05, lean=-0.03, gain=1.1, units="1+2+4+5+20",
    ),
    "disgusted": Recipe(
        {"noseSneer": 1.4, "mouthUpperUp": 0.6, "browDown": 1.0, "eyeSquint": 0.9, "mouthFrown": 0.6, "cheekSquint": 0.5},
        pitch=-0.04, roll=-0.03, lean=-0.02, units="9+10",
    ),
    "surprised": Recipe(
        {"browInnerUp": 1.3, "browOuterUp": 1.3, "eyeWide": 1.1, "jawOpen": 0.16, "mouthFunnel": 0.1},
        pitch=-0.05, lean=-0.02, gain=1.2, units="1+2+5+26",
    ),
    "contempt": Recipe(
        {"mouthSmileRight": 0.8, "mouthDimpleRight": 0.9, "cheekSquintRight": 0.6, "browDownLeft": 0.4,
         "browOuterUpRight": 0.3, "eyeSquint": 0.45},
        pitch=-0.06, roll=0.05, units="R12+R14",
    ),
}  # fmt: skip


def blendshapes(category: str, names: tuple[str, ...]) -> np.ndarray:
    """A recipe as a vector over blendshape names (N,): a name without side sets both sides."""
    shapes = RECIPES[category].shapes
    sideless = [name.removesuffix("Left").removesuffix("Right") for name in names]
    return np.array([shapes.get(n, shapes.get(s, 0.0)) for n, s in zip(names, sideless, strict=True)], np.float32)


assert tuple(RECIPES) == CATEGORIES
