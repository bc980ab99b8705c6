"""Lines that a feeling draws into the skin, which no warp can: forehead, frown, nose, crow's feet, folds beside the mouth.

Each is a map of light over a patch of the picture, a dark valley with a lighter ridge beside it, laid along landmarks and
multiplied into the picture, so it takes the tone of any skin. How strong it is is read from the displacement of the
landmarks: what moves the skin folds it (FACS: 1+2 raise the brows, 4 draws them together, 6 lifts the cheeks, 9 wrinkles
the nose, 12 draws the mouth's corners up).
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from mien.portrait.eyes import fine_detail

DEPTH = 0.22  # most of the light that a valley takes; smooth skin, a child's or a drawing's, has half of it
RIDGE = 0.45  # of that, given back beside it
WIDTH = 0.011  # of a valley, IOD
BROAD, SOFT = 4.0, 0.6  # skin about a deep fold lies in shade, too: so much broader, with this share of its depth
SLIGHT = 0.03  # strengths below this are not drawn

# Brow line and top of the forehead from the image's left to its right.
BROW = (63, 105, 66, 107, 9, 336, 296, 334, 293)
TOP = (54, 103, 67, 109, 10, 338, 297, 332, 284)
OUTLINE = [10, 234, 454, 152]
INNER_BROWS, OUTER_BROWS = [107, 66, 336, 296], [105, 63, 334, 293]
# By side, the image's left one first: eye corners, fold beside the mouth, cheek, nose wing, corner of the mouth.
SIDES = (
    {"eye": (133, 33), "fold": (129, 203, 206, 216, 212), "cheek": [117, 118, 50], "wing": [129, 48], "corner": 61,
     "brow": 107, "nose": (193, 122, 188, 174), "socket": (56, 28, 27, 29, 30)},
    {"eye": (362, 263), "fold": (358, 423, 426, 436, 432), "cheek": [346, 347, 280], "wing": [358, 278], "corner": 291,
     "brow": 336, "nose": (417, 351, 412, 399), "socket": (286, 258, 257, 259, 260)},
)  # fmt: skip


@dataclass(frozen=True)
class Wrinkle:
    """A map of light in the picture's `box` (x0, y0, x1, y1): (h, w) float32, gain less one at strength 1.

    strength: of a displacement (478, 3), IOD. at_rest: what of it the person's rest has already.
    """

    box: tuple[int, int, int, int]
    light: np.ndarray
    strength: Callable[[np.ndarray], float]
    at_rest: float


def _ramp(value: float, low: float, high: float) -> float:
    """0 below low, 1 at high, no more than 1.2."""
    return float(np.clip((value - low) / (high - low), 0, 1.2))


def raised(moved: np.ndarray) -> float:
    """How far brows are raised (AU 1+2)."""
    return _ramp(-float(moved[INNER_BROWS, 1].mean() + moved[OUTER_BROWS, 1].mean()) / 2, 0.006, 0.056)


def drawn_together(moved: np.ndarray) -> float:
    """How far brows are drawn together (AU 4)."""
    return _ramp(float(moved[107, 0] - moved[336, 0]), 0.006, 0.036)


def _nose(moved: np.ndarray) -> float:
    wings = float(moved[[129, 48, 358, 278], 1].mean())
    return _ramp(-wings, 0.01, 0.035) * min(drawn_together(moved), 1.0)


class Wrinkles:
    """All lines of one picture."""

    def __init__(self, image: np.ndarray, points: np.ndarray, iod: float, edge: float, rest: np.ndarray):
        """image (H, W, 3) uint8; points (478, 2 or more) pixels; edge: width of the picture's sharpest edges, pixels.

        rest: (478, 3) displacement from the picture's face to the person's rest, which is drawn without a wrinkle."""
        self.size, self.iod, self.rest = image.shape[:2], iod, rest
        self.width = max(WIDTH * iod, 0.9 * edge, 0.7)
        p = points[:, :2].astype(np.float64)
        self.top = p[10]
        self.grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        x, y = np.clip(np.round(p[[50, 280, 151, 205, 425]]), 0, np.array(image.shape[1::-1]) - 1).astype(int).T
        skin = np.median(image[y, x].astype(np.float64), axis=0) + 20
        x0, y0 = np.maximum(p[OUTLINE].min(0), 0).astype(int)
        x1, y1 = np.maximum(p[OUTLINE].max(0), 0).astype(int) + 2
        smooth = fine_detail(image[y0:y1, x0:x1], 0.02 * iod) if x0 < image.shape[1] and y0 < image.shape[0] else 0.0
        self.tone = float(skin.mean())
        self.depth = DEPTH * min(max(smooth, 0.5), 1.0)
        # Light that comes out of a fold has gone through skin: it takes more of the skin's own hue.
        self.tint = (np.clip(skin.mean() / skin, 0.5, 1.6) ** 1.5).astype(np.float32)
        up = p[10] - p[152]
        up /= max(float(np.linalg.norm(up)), 1e-6)
        along = np.array([-up[1], up[0]])
        self.lines: list[Wrinkle] = []

        brow, top = p[list(BROW)], p[list(TOP)]
        rows = [brow + share * (top - brow) for share in (0.3, 0.5, 0.7)]
        waves = [row + up * 0.012 * iod * np.sin(np.arange(9) * 1.7 + k)[:, None] for k, row in enumerate(rows)]
        self._add(raised, [(wave[k % 2 : 9 - k % 2], 0.7 - 0.1 * k) for k, wave in enumerate(waves)])
        between = (p[107] + p[336]) / 2
        frown = []
        for side, slant in zip(SIDES, (-1, 1), strict=True):
            foot = 0.55 * p[side["brow"]] + 0.45 * between
            ends = (-0.08, -0.02, 0.04, 0.10)
            frown.append((np.array([foot + iod * (h * up + slant * 0.12 * max(h, 0) * along) for h in ends]), 1.0))
        self._add(drawn_together, frown, soft=SOFT)
        nose = []
        for side in SIDES:
            a, b, c, d = p[list(side["nose"])]
            nose += [(np.array([a, (a + b) / 2, b]), 0.7), (np.array([(a + c) / 2, (b + c) / 2, (b + d) / 2]), 0.8)]
        self._add(_nose, nose)
        for side in SIDES:
            self._add_side(p, side)

    def _add_side(self, p: np.ndarray, side: dict) -> None:
        """Crow's feet, the fold beside the mouth and the shadow under a lowered brow of one half of the face."""
        inner, outer = p[side["eye"][0]], p[side["eye"][1]]
        out = (outer - inner) / max(float(np.linalg.norm(outer - inner)), 1e-6)
        across = np.array([-out[1], out[0]])
        feet = []
        for angle, reach in ((-0.45, 0.17), (0.05, 0.2), (0.55, 0.18)):
            ray = np.cos(angle) * out + np.sin(angle) * across * np.sign(across[1] + 1e-9)
            feet.append((np.array([outer + self.iod * h * ray for h in (0.07, 0.07 + reach / 2, 0.07 + reach)]), 0.7))
        cheek, corner, wing, brow = side["cheek"], side["corner"], side["wing"], side["brow"]
        sign = np.sign(out[0]) or 1.0
        self._add(lambda moved: _ramp(-float(moved[cheek, 1].mean()), 0.012, 0.042), feet)

        def folded(moved: np.ndarray) -> float:
            smile = -moved[corner, 1] + 0.4 * sign * moved[corner, 0]
            sneer = -moved[wing, 1].mean() - moved[[0, 37, 267], 1].mean()
            return max(_ramp(float(smile), 0.04, 0.12), _ramp(float(sneer), 0.03, 0.08))

        fold = p[list(side["fold"])]
        self._add(folded, [(fold, 0.9)], widen=1.8, soft=SOFT, towards=p[cheek].mean(0))
        socket = p[list(side["socket"])]
        self._add(lambda moved: _ramp(float(moved[brow, 1]), 0.02, 0.09), [(socket, 1.2)], widen=6.0, ridge=0.0)

    def _add(
        self,
        strength: Callable[[np.ndarray], float],
        strokes: list[tuple[np.ndarray, float]],
        widen: float = 1.0,
        ridge: float = RIDGE,
        soft: float = 0.0,
        towards: np.ndarray | None = None,
    ) -> None:
        """A wrinkle of several strokes: points (N, 2) along each, and its share of the full depth.

        widen: factor on its breadth. soft: share of the depth that shades the skin about it. ridge: share of the depth
        that is given back, on the side `towards` a point (2,), the top of the forehead if None.
        """
        width, height = widen * self.width, self.size[0]
        margin = (5 + 2 * BROAD) * width + 2
        every = np.concatenate([points for points, _ in strokes])
        x0, y0 = np.maximum(np.floor(every.min(0) - margin), 0).astype(int).tolist()
        x1, y1 = np.minimum(np.ceil(every.max(0) + margin) + 1, (self.size[1], height)).astype(int).tolist()
        if x1 - x0 < 2 or y1 - y0 < 2:  # it lies outside the picture
            return
        light = np.zeros((y1 - y0, x1 - x0), np.float32)
        for points, depth in strokes:
            line = _smooth(points) - (x0, y0)
            light -= self.depth * depth * _stroke(light.shape, line, width)
            if soft:
                light -= soft * self.depth * depth * _stroke(light.shape, line, BROAD * width)
            if ridge:
                beside = np.gradient(line, axis=0)[:, ::-1] * (1, -1)
                beside *= 2.2 * width / np.maximum(np.linalg.norm(beside, axis=1, keepdims=True), 1e-6)
                aim = (self.top if towards is None else towards) - (x0, y0) - line
                beside *= np.sign((beside * aim).sum() + 1e-9)
                light += ridge * self.depth * depth * _stroke(light.shape, line + beside, 1.3 * width)
        # Hair that hangs over the skin gets no lines, it is darker than any shadow; nor do they show in a glare.
        grey = cv2.GaussianBlur(self.grey[y0:y1, x0:x1], (0, 0), 0.03 * self.iod).astype(np.float32)
        light *= np.clip((grey / self.tone - 0.35) / 0.25, 0, 1) * np.clip((265 - grey) / 60, 0, 1)
        self.lines.append(Wrinkle((x0, y0, x1, y1), light, strength, strength(self.rest)))

    def draw(self, source: np.ndarray, origin: tuple[int, int], expression: np.ndarray) -> None:
        """Draw what an expression, a displacement (478, 3) from rest, folds into a part of the picture.

        What the picture shows already counts: a face that smiles in it gets no second fold.
        source: (h, w, 3) uint8, changed in place; origin: x and y of its first pixel.
        """
        height, width = source.shape[:2]
        for line in self.lines:
            strength = line.strength(self.rest + expression) - line.at_rest
            if strength < SLIGHT:
                continue
            x0, y0, x1, y1 = np.subtract(line.box, (*origin, *origin)).tolist()
            a, b = max(x0, 0), max(y0, 0)
            patch = source[b : min(y1, height), a : min(x1, width)]
            if patch.size:
                light = line.light[b - y0 : b - y0 + patch.shape[0], a - x0 : a - x0 + patch.shape[1]]
                gain = cv2.merge([1 + strength * float(tint) * light for tint in self.tint])
                patch[:] = cv2.multiply(patch, gain, dtype=cv2.CV_8U)


def _smooth(points: np.ndarray) -> np.ndarray:
    """A curve (64, 2) through points (N, 2), as a parabola or cubic would go."""
    u, at = np.linspace(0, 1, len(points)), np.linspace(0, 1, 64)
    degree = min(len(points) - 1, 4)
    return np.stack([np.polyval(np.polyfit(u, points[:, axis], degree), at) for axis in (0, 1)], 1)


def _stroke(shape: tuple[int, ...], line: np.ndarray, width: float) -> np.ndarray:
    """A soft line (h, w), 1 in its middle, fading towards its ends."""
    canvas = np.zeros(shape, np.uint8)
    places = np.round(line * 16).astype(np.int32)
    fade = 255 * np.sin(np.pi * (np.arange(len(line) - 1) + 0.5) / (len(line) - 1)) ** 0.7
    for a, b, value in zip(places[:-1], places[1:], fade, strict=True):
        cv2.line(canvas, a.tolist(), b.tolist(), float(value), max(1, round(1.2 * width)), cv2.LINE_AA, 4)
    soft = cv2.GaussianBlur(canvas.astype(np.float32), (0, 0), width)
    return soft / max(float(soft.max()), 1.0)
