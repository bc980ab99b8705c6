"""What a face does with each feeling: facial action units (Ekman & Friesen's FACS, EMFACS) as ARKit weights.

Written from FACS, then weighed by what two networks of expression (trained on FER-2013; never the judge of
`mien.portrait.readings`) read in drawn portraits, and set beside labelled film: in real anger, fear and surprise lips part
0.15 to 0.2 of the inter-ocular distance, brows move 0.04 to 0.08. What opens the lips is shown only where speech opens them.
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
        {"mouthSmile": 1.35, "cheekSquint": 1.0, "eyeSquint": 0.4, "mouthDimple": 0.4, "mouthUpperUp": 0.4,
         "mouthLowerDown": 0.3, "jawOpen": 0.15, "browOuterUp": 0.3},
        pitch=-0.02, gain=1.15, units="6+12+25",
    ),
    "sad": Recipe(
        {"browInnerUp": 2.0, "browDown": 0.1, "mouthFrown": 1.3, "mouthShrugLower": 0.15, "mouthPress": 0.3,
         "mouthStretch": 0.3, "eyeSquint": 0.8, "eyeLookDown": 0.45},
        pitch=0.06, roll=0.03, gain=0.6, units="1+4+7+15+17",
    ),
    "angry": Recipe(
        {"browDown": 2.0, "eyeWide": 0.7, "noseSneer": 1.4, "cheekSquint": 0.2, "mouthUpperUp": 0.7, "mouthLowerDown": 0.9,
         "jawOpen": 0.3, "mouthStretch": 0.4, "mouthFrown": 0.15},
        pitch=0.05, lean=0.03, gain=1.3, units="4+5+7+10+16+25",
    ),
    "fearful": Recipe(
        {"browInnerUp": 1.8, "browDown": 0.25, "browOuterUp": 0.4, "eyeWide": 1.4, "mouthStretch": 1.3, "mouthFrown": 0.6,
         "mouthLowerDown": 0.9, "mouthUpperUp": 0.2, "jawOpen": 0.4},
        pitch=-0.03, lean=-0.02, gain=1.1, units="1+2+4+5+20+25",
    ),
    "disgusted": Recipe(
        {"noseSneer": 1.5, "mouthUpperUp": 0.8, "browDown": 1.0, "eyeSquint": 0.9, "cheekSquint": 1.0,
         "mouthShrugLower": 0.5, "mouthShrugUpper": 0.2, "mouthFrown": 0.3, "mouthStretch": 0.25, "mouthLowerDown": 0.2},
        pitch=-0.04, roll=-0.03, lean=-0.02, units="9+10+17",
    ),
    "surprised": Recipe(
        {"browInnerUp": 1.6, "browOuterUp": 1.5, "eyeWide": 1.3, "jawOpen": 0.6, "mouthFunnel": 0.4},
        pitch=-0.05, lean=-0.02, gain=1.2, units="1+2+5+26",
    ),
    "contempt": Recipe(
        {"mouthSmileRight": 0.8, "mouthDimpleRight": 0.9, "cheekSquintRight": 0.6, "browDownLeft": 0.4,
         "browOuterUpRight": 0.3, "eyeSquint": 0.45},
        pitch=-0.06, roll=0.05, units="R12+R14",
    ),
}  # fmt: skip


def spread(shapes: dict[str, float], names: tuple[str, ...]) -> np.ndarray:
    """Shapes as a vector over blendshape names (N,): a name without side sets both sides."""
    sideless = [name.removesuffix("Left").removesuffix("Right") for name in names]
    return np.array([shapes.get(n, shapes.get(s, 0.0)) for n, s in zip(names, sideless, strict=True)], np.float32)


assert tuple(RECIPES) == CATEGORIES
