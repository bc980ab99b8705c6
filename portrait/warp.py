"""Renderer `warp`: a picture moves as a relief. Two smooth fields, a seam between the lips, eyes and teeth on top.

Steps of a frame: eyes, wrinkles and light are painted in the picture's own pixels (eyes.py, wrinkles.py, light.py); the
expression moves a relief of the face, the pose turns it (relief.py); the move is inverted on a coarse grid, drawn out to
a map, and the picture is looked up through it; where the lips part, the mouth's inside is painted (mouth.py, teeth.py).
With a matte only the figure is drawn so, and laid over a still plate.
"""

from collections.abc import Callable

import cv2
import numpy as np

from mien.portrait.brush import Brush
from mien.portrait.eyes import Eye, edge_width
from mien.portrait.geometry import INNER_LOWER, INNER_UPPER, LOWER_LIP, UPPER_LIP, canonicalise, seal
from mien.portrait.light import Light
from mien.portrait.mouth import Mouth
from mien.portrait.relief import Relief
from mien.portrait.shape import FaceShape
from mien.portrait.wrinkles import Wrinkles

LIMITS = np.radians([15, 20, 20])  # pitch, yaw, roll: approached softly, never passed
SHIFT_LIMIT, SCALE_LIMIT = 0.5, 0.2  # IOD; log of the factor
LEAST_AREA = 0.2  # no cell of a field shrinks below this part of its area: the picture cannot fold
LEAST_PRESSED = 0.06  # the same where an open mouth closes
STRAY = 0.08  # how far from the figure hair may stray that the matte left out, IOD
UNLIKE = 40  # grey levels; figure and background that differ less cannot be told from each other by colour


def _soft_limit(x: np.ndarray, limit: np.ndarray | float) -> np.ndarray:
    """x up to 0.7 of the limit, then bent so that the limit is never passed."""
    over = np.maximum(np.abs(x) / limit - 0.7, 0)
    return np.sign(x) * np.minimum(np.abs(x), limit * (0.7 + 0.3 * np.tanh(over / 0.3)))


def _cut_out(image: np.ndarray, matte: np.ndarray, plate: np.ndarray, iod: float) -> tuple[np.ndarray, np.ndarray]:
    """The figure alone (H, W, 4) uint8, its share of every colour and alpha, and the plate on which it is the picture.

    Where a matte is unsure, what the figure cannot explain is the background's: it stays on the plate, sharp and still.
    """
    alpha = np.rint(np.clip(matte, 0, 1) * 255).astype(np.uint8)
    alpha = np.maximum(alpha, _strays(image, alpha, plate, STRAY * iod))
    behind = _behind(alpha, plate)
    figure = cv2.min(cv2.subtract(image, behind), cv2.merge([alpha] * 3))
    left = cv2.subtract(image, figure)
    unsure = (cv2.absdiff(left, behind).max(-1) > 1) & (alpha < 230)
    plate = plate.copy()
    plate[unsure] = np.clip(left[unsure] * (255.0 / (255 - alpha[unsure]))[:, None] + 0.5, 0, 255).astype(np.uint8)
    return np.dstack([figure, alpha]), plate


def _strays(image: np.ndarray, alpha: np.ndarray, plate: np.ndarray, reach: float) -> np.ndarray:
    """Alpha (H, W) uint8 by colour at the figure's edge: hair and rims that the matte left out would stay as thin lines.

    What lies there on the way from the plate's colour to the figure's is the figure's in that share; 0 elsewhere. reach:
    pixels.
    """
    sure, k = (alpha > 240).astype(np.uint8), max(1, int(reach / 3))
    own = cv2.merge([*cv2.split(image * sure[..., None]), 255 * sure])
    own = cv2.resize(own, None, fx=1 / k, fy=1 / k, interpolation=cv2.INTER_AREA).astype(np.float32)
    own = cv2.resize(cv2.GaussianBlur(own, (0, 0), reach / k), alpha.shape[::-1], interpolation=cv2.INTER_LINEAR)
    rows, columns = np.nonzero((own[..., 3] > 5) & (alpha < 230))
    own, behind = own[rows, columns], plate[rows, columns].astype(np.float32)
    there, towards = image[rows, columns] - behind, 255 * own[:, :3] / own[:, 3:] - behind
    apart = np.linalg.norm(towards, axis=1)
    share = np.clip((there * towards).sum(1) / np.maximum(apart, 1) ** 2, 0, 1)
    off = np.linalg.norm(there - share[:, None] * towards, axis=1)
    like = (apart > UNLIKE) & (share > 0.08) & (off < 0.3 * share * apart + 4)
    found = np.zeros_like(alpha)
    found[rows, columns] = 255 * share * like
    return found


def _behind(alpha: np.ndarray, plate: np.ndarray) -> np.ndarray:
    """The share of a plate (h, w, 3) uint8 that is seen behind a figure of alpha (h, w) uint8."""
    return cv2.multiply(plate, cv2.merge([255 - alpha] * 3), scale=1 / 255)


def _rotation(matrix: np.ndarray) -> np.ndarray:
    """The turn (3, 3) in a pose's matrix (3, 2), which is its first two columns, transposed and scaled."""
    across = matrix.T.astype(np.float64)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    return np.vstack([across, np.cross(across[0], across[1])])


def _largest(holds: Callable[[float], bool]) -> float:
    """The largest amount in [0, 1] that holds, to 1/64; what is smaller holds, too."""
    low, high = 0.0, 1.0
    for _ in range(6):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


class Portrait:
    """A picture ready to be moved. Frames depend on nothing but the shape: no state lies between them.

    box: (x0, y0, x1, y1), the region that can ever change; outside it every frame equals the picture exactly.
    Turns are held softly within 15 degrees of pitch, 20 of yaw and roll; what would fold is scaled back.
    With a matte the figure moves over a still plate, and hair follows the head as far as it reaches.
    """

    def __init__(
        self,
        image: np.ndarray,
        landmarks: np.ndarray,
        template: np.ndarray,
        rest_offset: np.ndarray | None = None,
        matte: np.ndarray | None = None,
        plate: np.ndarray | None = None,
    ):
        """Prepare a picture.

        image: (H, W, 3) uint8 RGB. landmarks: (478, 3) pixels (z too). template: (478, 3) canonical face.
        rest_offset: (478, 3) canonical displacement from the picture's face to the person's rest (lips sealed, smile
            taken back); None seals the lips and leaves the rest.
        matte, plate: (H, W) float in [0, 1], 1 where the figure is, and (H, W, 3) uint8, the picture without it. Both or
            neither; without them what is behind the head bends with it.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(f"The picture is {image.dtype} {image.shape}, wanted is uint8 (height, width, 3) in RGB.")
        if landmarks.shape != (478, 3):
            raise ValueError(f"The landmarks are {landmarks.shape}, wanted are (478, 3) in pixels, irises among them.")
        if (matte is None) != (plate is None):
            raise ValueError("A matte and a plate belong together: give both, or neither.")
        given, self.pose = canonicalise(landmarks.astype(np.float64), template)
        self.iod = iod = float(self.pose.iod)
        self.image = self.source = np.ascontiguousarray(image)
        self.matte, self.plate = matte, plate
        if matte is not None and plate is not None:
            if matte.shape != image.shape[:2] or plate.shape != image.shape or plate.dtype != np.uint8:
                raise ValueError(
                    f"The matte is {matte.shape}, the plate {plate.dtype} {plate.shape}; "
                    f"{image.shape[:2]} and uint8 {image.shape} are wanted, as the picture is."
                )
            self.source, self.plate = _cut_out(image, matte, plate, iod)
        places = landmarks.astype(np.float64)
        low, high = np.maximum(places.min(0).astype(int), 0), np.maximum(places.max(0).astype(int), 0) + 2
        face = self.image[low[1] : high[1], low[0] : high[0]]
        edge, self.brush = edge_width(face), Brush(face)
        self.mouth = Mouth(self.image, places, iod, edge, self.brush)
        self.eyes = [Eye(self.image, places, side, iod, edge, self.brush.draw) for side in (0, 1)]
        # The lips close from the edges that the picture shows, which are not quite where the tracker saw them.
        points = self.mouth.landmarks
        seen = given + (points - landmarks) @ self.pose.rotation.T / iod
        rest = seal(given) - given if rest_offset is None else rest_offset
        self.rest = rest + (seal(seen) - seen) - (seal(given) - given)
        self.points = points.astype(np.float32)
        self.relief = relief = Relief((image.shape[1], image.shape[0]), points, self.pose, self.mouth, matte)
        self.box = relief.box
        grid = relief.shape
        self.light = Light(self.image, relief.places.reshape(*grid, 3), relief.far.reshape(grid) < 0.95)
        self._ease_rest()
        self.wrinkles = Wrinkles(self.image, places, iod, edge, self.rest)

    # -- preparation ---------------------------------------------------------------------------------------------------

    def _ease_rest(self) -> None:
        """Make the rest one that the picture takes without a fold: smooth it where it would fold, then scale it back.

        An open mouth closes; beside its corners that presses skin together more than a grid cell can bear.
        """
        still = FaceShape(np.zeros((478, 3), np.float32))
        places = self.points[:, :2] / self.iod
        apart = np.linalg.norm(places[:, None] - places[None], axis=-1)
        near = np.exp(-((apart / 0.08) ** 2))
        near[np.ix_(UPPER_LIP, LOWER_LIP)] = near[np.ix_(LOWER_LIP, UPPER_LIP)] = 0  # the lips part from each other
        near /= near.sum(1, keepdims=True)
        free = np.ones((478, 1))
        free[[*INNER_UPPER[1:-1], *INNER_LOWER[1:-1]]] = 0  # and stay sealed
        relief = self.relief
        corners = relief.nodes.reshape(*relief.shape, 2)
        middles = (corners[1:, 1:] + corners[:-1, :-1]) / (2 * self.iod)
        for _ in range(12):
            areas = np.minimum(*relief.areas(relief.displace(self._expressed(still), *self._turn(still, 0.0))))
            folded = middles[areas < LEAST_PRESSED + 0.02]
            if not len(folded):
                break
            reach = np.linalg.norm(places[:, None] - folded[None], axis=-1).min(1)
            self.rest = self.rest + 0.7 * free * np.exp(-((reach / 0.12) ** 2))[:, None] * (near @ self.rest - self.rest)
        whole = self.rest

        def area(amount: float) -> float:
            self.rest = amount * whole
            return relief.least_area(relief.displace(self._expressed(still), *self._turn(still, 0.0)))

        # A shout that closes presses the skin beside its corners further than any other motion may.
        amount = 1.0 if area(1.0) > LEAST_PRESSED else _largest(lambda amount: area(amount) > LEAST_PRESSED)
        self.least = min(LEAST_AREA, 0.8 * area(amount))

    # -- a frame -------------------------------------------------------------------------------------------------------

    def render(self, shape: FaceShape) -> np.ndarray:
        """Draw one frame: (H, W, 3) uint8, of the picture's size."""
        sheet, (x0, y0, x1, y1) = self._draw(shape), self.box
        if self.plate is not None:
            behind = _behind(cv2.extractChannel(sheet, 3), self.plate[y0:y1, x0:x1])
            sheet = cv2.add(cv2.cvtColor(sheet, cv2.COLOR_RGBA2RGB), behind)
        out = self.image.copy()
        out[y0:y1, x0:x1] = sheet
        return out

    def cutout(self, shape: FaceShape) -> np.ndarray:
        """Draw the moved figure alone: (H, W, 4) uint8, colours multiplied by alpha, and alpha.

        Over a background: `cutout[..., :3] + (1 - cutout[..., 3:] / 255) * background`. Raises ValueError without a matte.
        """
        if self.matte is None:
            raise ValueError("The portrait has no matte to cut the figure out with: prepare it with matte= and plate=.")
        out, (x0, y0, x1, y1) = self.source.copy(), self.box
        out[y0:y1, x0:x1] = self._draw(shape)
        return out

    def _draw(self, shape: FaceShape) -> np.ndarray:
        """What lies in `box`: (h, w, 3) uint8; with a matte (h, w, 4), the figure alone, multiplied by alpha."""
        relief, k = self.relief, self.relief.cell
        expressed, pose, amount = self._settle(shape)
        fields = relief.displace(expressed, *pose)
        if shape.breath and self.matte is not None:  # without a matte all beside the shoulders would breathe along
            fields = [field + shape.breath * relief.chest for field in fields]
        a, b = (relief.invert(field, relief.plain) for field in fields)
        x0, y0, x1, y1 = self.box
        where = relief.enlarge(self._join(a, b))[k : k + y1 - y0, k : k + x1 - x0]

        # Around the mouth the seam is drawn pixel by pixel.
        rows, columns = self._mouth_part(shape, pose, amount)
        target = np.s_[rows.start * k : (rows.stop - 2) * k, columns.start * k : (columns.stop - 2) * k]
        height, width = where[target].shape[:2]
        near_a, near_b = (relief.enlarge(m[rows, columns])[k : k + height, k : k + width] for m in (a, b))
        upper, lower = self._carry(self.mouth.upper, near_a), self._carry(self.mouth.lower, near_b)
        where[target] = self._blend(near_a, near_b, upper, lower)

        sheet = cv2.remap(self._paint(shape, pose, amount), where, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)  # pyright: ignore[reportCallIssue, reportArgumentType]
        if self.matte is not None:  # what rings at the figure's edge is no more than its alpha
            sheet = cv2.min(sheet, cv2.merge([cv2.extractChannel(sheet, 3)] * 4))
        skull = relief.invert(relief.pose_field(*pose)[rows, columns], relief.plain[rows, columns])
        teeth = self._carry(self.mouth.teeth, relief.enlarge(skull)[k : k + height, k : k + width], cv2.BORDER_CONSTANT)
        floor = self._carry(self.mouth.floor, near_b, cv2.BORDER_CONSTANT) if self.mouth.parted else None
        self.mouth.paint(sheet[target][..., :3], upper, lower, teeth, floor)
        return sheet

    def _paint(self, shape: FaceShape, pose: tuple[np.ndarray, np.ndarray], amount: float) -> np.ndarray:
        """The picture inside `box` before it moves: eyes, wrinkles and light of the frame drawn into it."""
        x0, y0, x1, y1 = self.box
        source = self.source[y0:y1, x0:x1].copy()
        for eye, openness, gaze in zip(self.eyes, shape.lids, (shape.gaze, shape.gaze), strict=True):
            ex0, ey0, ex1, ey1 = eye.box
            patch = source[ey0 - y0 : ey1 - y0, ex0 - x0 : ex1 - x0, :3]
            patch[:] = eye.draw(patch.copy(), float(openness), gaze)
        shaded = 1 - self.brush.flat  # flat colours have neither folds nor light
        self.wrinkles.draw(source[..., :3], (x0, y0), amount * shaded * shape.expression)
        gain = self.light.gain(_rotation(pose[0])) if shaded else None
        if gain is not None:
            gain = 1 + (gain - 1) * shaded * self.relief.follow.reshape(self.relief.shape)
            k = self.relief.cell
            gain = self.relief.enlarge(gain)[k : k + y1 - y0, k : k + x1 - x0]
            alone = [np.ones_like(gain)] * (source.shape[2] - 3)  # alpha is left as it is
            source = cv2.multiply(source, cv2.merge([gain] * 3 + alone), dtype=cv2.CV_8U)
        return source

    def _turn(self, shape: FaceShape, strength: float) -> tuple[np.ndarray, np.ndarray]:
        """Pose of the frame, softly limited: matrix (3, 2) from relief to picture and shift (2,) in pixels."""
        angles = cv2.Rodrigues(np.asarray(shape.rotation, np.float64))[0][:, 0]
        rotation = cv2.Rodrigues(strength * _soft_limit(angles, LIMITS))[0]
        scale = np.exp(strength * _soft_limit(np.log(np.float64(shape.scale)), SCALE_LIMIT))
        shift = strength * _soft_limit(np.asarray(shape.translation, np.float64), SHIFT_LIMIT) * self.iod
        # The head turns about its neck, but grows about the middle of its eyes: so `motion.relative_pose` measures it.
        shift = shift + (1 - scale) * ((self.pose.centre - self.relief.pivot) @ rotation.T)[:2]
        return (scale * rotation.T[:, :2]).astype(np.float32), shift.astype(np.float32)

    def _lift(self, shape: FaceShape, amount: float = 1.0) -> np.ndarray:
        """Displacement of the points by rest and expression, pixels: (478, 3)."""
        return ((self.rest + amount * shape.expression) @ self.pose.rotation * self.iod).astype(np.float32)

    def _expressed(self, shape: FaceShape, amount: float = 1.0) -> list[np.ndarray]:
        """What rest and expression lift, at the nodes of field A and B: two (G', 3) pixels."""
        return self.relief.express(self._lift(shape, amount))

    def _settle(self, shape: FaceShape) -> tuple[list[np.ndarray], tuple[np.ndarray, np.ndarray], float]:
        """Expression, pose and what share of the expression is kept for no cell to fold: the pose gives way first."""
        expressed = self._expressed(shape)

        def holds(strength: float, moved: list[np.ndarray]) -> bool:
            return self.relief.least_area(self.relief.displace(moved, *self._turn(shape, strength))) > self.least

        strength = amount = 1.0
        if not holds(strength, expressed):
            strength = _largest(lambda s: holds(s, expressed))
            if strength == 0.0 and not holds(0.0, expressed):
                amount = _largest(lambda q: holds(0.0, self._expressed(shape, q)))
                expressed = self._expressed(shape, amount)
        return expressed, self._turn(shape, strength), amount

    def _carry(self, plane: np.ndarray, where: np.ndarray, border: int = cv2.BORDER_REPLICATE) -> np.ndarray:
        """Look a plane of the mouth's patch up through a map in pixels of `box`."""
        offset = np.subtract(self.box[:2], self.mouth.box[:2]).astype(np.float32)
        return cv2.remap(plane, where + offset, None, cv2.INTER_LINEAR, borderMode=border)  # pyright: ignore[reportCallIssue, reportArgumentType]

    def _blend(self, a: np.ndarray, b: np.ndarray, upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
        """One map from two: A above the seam, B below it."""
        share = np.clip(0.5 + 0.25 * (lower[..., 1] - upper[..., 1]), 0, 1)[..., None]
        return a + (b - a) * share

    def _join(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return self._blend(a, b, self._carry(self.mouth.upper, a), self._carry(self.mouth.lower, b))

    def _mouth_part(self, shape: FaceShape, pose: tuple[np.ndarray, np.ndarray], amount: float) -> tuple[slice, slice]:
        """Rows and columns of the grid in which the moved lips lie, with a margin; at least three of each."""
        matrix, shift = pose
        lips = [*UPPER_LIP, *LOWER_LIP, *INNER_UPPER, *INNER_LOWER]
        relief = self.relief
        moved = (self.points + self._lift(shape, amount) - relief.pivot)[lips] @ matrix + relief.pivot[:2] + shift
        low = np.floor((moved.min(0) - 0.25 * self.iod - relief.nodes[0]) / relief.cell).astype(int)
        high = np.ceil((moved.max(0) + 0.25 * self.iod - relief.nodes[0]) / relief.cell).astype(int) + 2
        rows, columns = relief.shape
        c0, r0 = np.clip(low, 0, (columns - 3, rows - 3)).tolist()
        c1, r1 = np.clip(high, (c0 + 3, r0 + 3), (columns, rows)).tolist()
        return slice(r0, r1), slice(c0, c1)
