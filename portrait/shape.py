"""What a face does in one frame, free of identity: the language between motion and renderer."""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class FaceShape:
    """One frame of a face, relative to a person's rest (lips sealed, calm, eyes open) and to the picture's own pose.

    expression: (478, 3) displacement of every landmark from rest, canonical space (see `geometry`), IOD units.
    rotation: (3, 3) turn of the head about the neck, relative to the picture's pose; row vectors: points @ rotation.T.
    translation: (2,) shift of the head, IOD units, x right, y down.
    scale: size of the head relative to the picture; it grows about the middle of the eyes.
    lids: (2,) openness of the image's left (33) and right (263) eye: 0 shut, 1 the person's open eye, to about 1.4.
    breath: 0 … 1, how far breath has raised the shoulders.
    gaze: (2,) turn of the eyeballs relative to the picture's gaze, radians: x to the image's right, y down.
    """

    expression: np.ndarray
    rotation: np.ndarray = field(default_factory=lambda: np.eye(3, dtype=np.float32))
    translation: np.ndarray = field(default_factory=lambda: np.zeros(2, np.float32))
    scale: float = 1.0
    lids: np.ndarray = field(default_factory=lambda: np.ones(2, np.float32))
    gaze: np.ndarray = field(default_factory=lambda: np.zeros(2, np.float32))
    breath: float = 0.0
