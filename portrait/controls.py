"""The controls of a take: one dial each, with its unit, range and default; the command and the page read them from here."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from mien.portrait.motion import REGIONS, MotionSpace, rest_values
from mien.portrait.tracking import BLENDSHAPES

# What a full turn of a dial adds, in ARKit blendshapes.
BROW_UP = {"browInnerUp": 0.8, "browOuterUpLeft": 0.8, "browOuterUpRight": 0.8}
BROW_DOWN = {"browDownLeft": 0.8, "browDownRight": 0.8}
SMILE = {"mouthSmileLeft": 0.6, "mouthSmileRight": 0.6, "cheekSquintLeft": 0.3, "cheekSquintRight": 0.3}
FROWN = {"mouthFrownLeft": 0.6, "mouthFrownRight": 0.6}


class Dial(NamedTuple):
    """A control's range, and what it is at rest."""

    default: float
    low: float
    high: float
    help: str


def _dial(*dial: Any) -> Any:
    return field(default=dial[0], metadata={"dial": Dial(*dial)})


@dataclass(frozen=True)
class Controls:
    """What a user may turn. Raises ValueError, naming the range, for a value out of it. Angles are in degrees."""

    head: float = _dial(1.0, 0, 2, "Gain on head motion")
    yaw: float = _dial(0.0, -15, 15, "Turn of the head to the picture's right, degrees")
    pitch: float = _dial(0.0, -12, 12, "Turn of the head downwards, degrees")
    roll: float = _dial(0.0, -15, 15, "Tilt of the head, clockwise, degrees")
    yaw_limit: float = _dial(16.0, 0, 20, "Largest yaw, degrees")
    pitch_limit: float = _dial(12.0, 0, 15, "Largest pitch, degrees")
    roll_limit: float = _dial(15.0, 0, 20, "Largest roll, degrees")
    gaze_x: float = _dial(0.0, -15, 15, "Turn of the eyes to the picture's right, degrees")
    gaze_y: float = _dial(0.0, -10, 10, "Turn of the eyes downwards, degrees")
    blink: float = _dial(1.0, 0, 3, "Gain on the blinks' rate")
    brow: float = _dial(0.0, -1, 1, "Brows raised, or lowered below 0")
    mouth: float = _dial(1.0, 0, 1.5, "Gain on the opening of the lips")
    smile: float = _dial(0.0, -1, 1, "Corners of the mouth raised, or lowered below 0")

    def __post_init__(self):
        for name in self.__dict__:
            value, dial = getattr(self, name), self.dial(name)
            if not dial.low <= value <= dial.high:
                span = f"give {dial.low:g} to {dial.high:g}, {dial.default:g} is usual"
                raise ValueError(f"{name} {value:g} is out of range: {span}.")

    @classmethod
    def dial(cls, name: str) -> Dial:
        """What there is to know of a control."""
        return cls.__dataclass_fields__[name].metadata["dial"]

    @property
    def turn(self) -> np.ndarray:
        """(3,) radians added to the head's rotation, in the order of the motion's channels: pitch, yaw, roll."""
        return np.radians([self.pitch, -self.yaw, self.roll])

    @property
    def turn_limit(self) -> np.ndarray:
        """(3,) radians that pitch, yaw and roll keep within."""
        return np.radians([self.pitch_limit, self.yaw_limit, self.roll_limit])

    @property
    def look(self) -> np.ndarray:
        """(2,) radians added to the gaze: to the right, down."""
        return np.radians([self.gaze_x, self.gaze_y])

    def face(self, values: np.ndarray, space: MotionSpace) -> np.ndarray:
        """Motion (T, 36) with its lips' opening, brows and smile as the dials say; lips that meet go on meeting."""
        opening, direction = space.aperture(values), space.aperture_direction
        along = direction / (direction @ direction)
        out = values + ((self.mouth - 1) * np.maximum(opening, 0))[:, None] * along
        for amount, up, down in ((self.brow, BROW_UP, BROW_DOWN), (self.smile, SMILE, FROWN)):
            if amount:
                change = abs(amount) * _direction(up if amount > 0 else down, space)
                out = out + change - (direction @ change) * along
        return out.astype(np.float32)


def _direction(shapes: dict[str, float], space: MotionSpace) -> np.ndarray:
    """(36,) what some blendshapes add to motion."""
    row = np.zeros((1, len(BLENDSHAPES)), np.float32)
    for name, value in shapes.items():
        row[0, BLENDSHAPES.index(name)] = value
    change = (space.from_blendshapes(row) - rest_values(1))[0]
    change[: REGIONS["brows"].start] = 0
    return change
