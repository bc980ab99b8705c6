"""Renderer `warp`: a picture moves as a relief. Two smooth fields, a seam between the lips, eyes and teeth on top.

Steps of a frame: eyes are repainted in the picture's own pixels (eyes.py); the expression moves a relief of the face,
the pose turns it; the move is inverted on a coarse grid, drawn out to a map, and the picture is looked up through it;
where the lips part, the mouth's inside is painted (mouth.py).

Field A follows all points but the lower lip's, field B all but the upper lip's. A is shown above the seam, B below it,
so lips part along a true edge. Grids and maps are (rows, columns, 2) in pixels of `box`. G grid nodes, P points.
"""

from collections.abc import Callable

import cv2
import numpy as np

from mien.portrait.eyes import Eye, edge_width
from mien.portrait.geometry import (
    EYES,
    INNER_LOWER,
    INNER_UPPER,
    LOWER_LIP,
    NECK_PIVOT,
    OVAL,
    UPPER_LIP,
    canonicalise,
    seal,
)
from mien.portrait.light import Light
from mien.portrait.mouth import Mouth
from mien.portrait.shape import FaceShape
from mien.portrait.wrinkles import Wrinkles

CELLS = 22  # grid cells in one IOD
REACH = 2.8  # the head's influence ends at this multiple of the face's outline
LIMITS = np.radians([15, 20, 20])  # pitch, yaw, roll: approached softly, never passed
SHIFT_LIMIT, SCALE_LIMIT = 0.5, 0.2  # IOD; log of the factor
LEAST_AREA = 0.2  # no cell of a field shrinks below this part of its area: the picture cannot fold
SLACK = 0.15  # less than that beyond the face
LEAST_PRESSED = 0.06  # the same where an open mouth closes
STEEPEST = 1.6  # slope of the relief, depth over breadth: what a turn of 20 degrees still shows unfolded
BREATH = 0.02  # how far a breath raises the shoulders, IOD
NEWTON = 3  # steps of the inversion
SPACING = 0.06  # IOD between the points that lead a field, lips apart
STIFFNESS = 2e-3  # of the thin plate: takes the noise of single landmarks out

# Lids are drawn by eyes.py; the relief spans the sockets from the points around.
SOCKETS = [*(i for upper, lower, _ in EYES for i in (*upper[1:-1], *lower[1:-1])),
           247, 30, 29, 27, 28, 56, 190, 25, 110, 24, 23, 22, 26, 112,
           467, 260, 259, 257, 258, 286, 414, 255, 339, 254, 253, 252, 256, 341]  # fmt: skip


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Thin-plate kernel r^2 log r between places (N, 2) and (M, 2) -> (N, M) float32."""
    r2 = np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T, 0).astype(np.float32)
    return 0.5 * r2 * np.log(r2 + 1e-9)


def _plate(places: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Weights (G, P) that carry values at points (P, 2) to places (G, 2) as a thin plate would bend."""
    n = len(points)
    system = np.zeros((n + 3, n + 3))
    system[:n, :n] = _kernel(points, points) + STIFFNESS * np.eye(n)
    system[:n, n:] = np.c_[np.ones(n), points]
    system[n:, :n] = system[:n, n:].T
    solved = np.linalg.inv(system)[:, :n].astype(np.float32)
    basis = np.c_[_kernel(places, points), np.ones(len(places)), places].astype(np.float32)
    return basis @ solved


def _ease(x: np.ndarray, xp: tuple, yp: tuple) -> np.ndarray:
    """Piecewise curve through points, with level, smooth passages."""
    i = np.clip(np.searchsorted(xp, x) - 1, 0, len(xp) - 2)
    at, value = np.asarray(xp), np.asarray(yp)
    u = np.clip((x - at[i]) / (at[i + 1] - at[i]), 0, 1)
    return value[i] + (value[i + 1] - value[i]) * u * u * (3 - 2 * u)


def _soft_limit(x: np.ndarray, limit: np.ndarray | float) -> np.ndarray:
    """x up to 0.7 of the limit, then bent so that the limit is never passed."""
    over = np.maximum(np.abs(x) / limit - 0.7, 0)
    return np.sign(x) * np.minimum(np.abs(x), limit * (0.7 + 0.3 * np.tanh(over / 0.3)))


def _cut_out(image: np.ndarray, matte: np.ndarray, plate: np.ndarray) -> np.ndarray:
    """The figure alone, (H, W, 4) uint8: its share of every pixel's colour, and alpha. Over the plate it is the picture."""
    alpha = np.rint(np.clip(matte, 0, 1) * 255).astype(np.uint8)
    return np.dstack([cv2.min(cv2.subtract(image, _behind(alpha, plate)), cv2.merge([alpha] * 3)), alpha])


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
        self.image = self.source = np.ascontiguousarray(image)
        self.matte, self.plate = matte, plate
        if matte is not None and plate is not None:
            if matte.shape != image.shape[:2] or plate.shape != image.shape or plate.dtype != np.uint8:
                raise ValueError(
                    f"The matte is {matte.shape}, the plate {plate.dtype} {plate.shape}; "
                    f"{image.shape[:2]} and uint8 {image.shape} are wanted, as the picture is."
                )
            self.source = _cut_out(image, matte, plate)
        given, self.pose = canonicalise(landmarks.astype(np.float64), template)
        self.iod = iod = float(self.pose.iod)
        places = landmarks.astype(np.float64)
        low, high = np.maximum(places.min(0).astype(int), 0), np.maximum(places.max(0).astype(int), 0) + 2
        edge = edge_width(self.image[low[1] : high[1], low[0] : high[0]])
        self.mouth = Mouth(self.image, places, iod, edge)
        self.eyes = [Eye(self.image, places, side, iod, edge) for side in (0, 1)]
        # The lips close from the edges that the picture shows, which are not quite where the tracker saw them.
        points = self.mouth.landmarks
        seen = given + (points - landmarks) @ self.pose.rotation.T / iod
        rest = seal(given) - given if rest_offset is None else rest_offset
        self.rest = rest + (seal(seen) - seen) - (seal(given) - given)
        self._make_grid(points)
        self._make_fields(points)
        self.points = points.astype(np.float32)
        self.light = Light(self.image, self.relief.reshape(*self.shape, 3), self.far.reshape(self.shape) < 0.95)
        self._ease_rest()
        self.wrinkles = Wrinkles(self.image, places, iod, edge, self.rest)

    # -- preparation ---------------------------------------------------------------------------------------------------

    def _make_grid(self, points: np.ndarray) -> None:
        """Lay the grid over the head's surroundings; find how much of pose and expression each node takes."""
        height, width = self.image.shape[:2]
        self.cell = k = max(2, round(self.iod / CELLS))
        outline = points[OVAL, :2]
        centre = outline.mean(0)
        up = self.pose.rotation[1, :2] * -1  # the head's own up, in the picture
        reach = centre + (outline - centre) * REACH
        low, high = np.floor(reach.min(0)).astype(int), np.ceil(reach.max(0)).astype(int)
        low, high = np.maximum(low, 0), np.minimum(high, (width, height))
        self.box = (int(low[0]), int(low[1]), int(high[0]), int(high[1]))
        columns, rows = (-(-(high - low) // k) + 2).tolist()  # one more on each side: exact maps at the box's border
        self.shape = (rows, columns)
        gx = low[0] - k + (np.arange(columns) + 0.5) * k - 0.5
        gy = low[1] - k + (np.arange(rows) + 0.5) * k - 0.5
        self.nodes = np.stack(np.meshgrid(gx, gy), -1).reshape(-1, 2)  # (G, 2) picture pixels
        self.plain = (self.nodes - low).reshape(rows, columns, 2).astype(np.float32)

        # k: how far out a node lies, 1 on the face's outline.
        def ring(places):
            rel = places - centre
            angle, radius = np.arctan2(rel[:, 1], rel[:, 0]), np.linalg.norm(rel, axis=1)
            border = outline - centre
            a, r = np.arctan2(border[:, 1], border[:, 0]), np.linalg.norm(border, axis=1)
            order = np.argsort(a)
            return radius / np.interp(angle, a[order], r[order], period=2 * np.pi)

        self.far = far = ring(self.nodes)  # (G,) 1 on the face's outline
        rel = self.nodes - centre
        along = rel @ up / np.maximum(np.linalg.norm(rel, axis=1) * np.linalg.norm(up), 1e-6)
        hair = 1 + (far - 1) * (1 - 0.3 * np.clip(along, 0, 1))  # the head goes on above the face
        chin = float((points[152, :2] - centre) @ -up / max(np.linalg.norm(up), 1e-6))
        below = np.clip((rel @ -up / max(np.linalg.norm(up), 1e-6) - chin) / self.iod, 0, 1)
        window = _ease(far, (1.0, 2.0, REACH), (1.0, 1.0, 0.0))
        held = self._held_border(outline)
        if self.matte is None:
            near = _ease(hair, (1.0, 1.6, 2.1, REACH), (1.0, 0.7, 0.25, 0.0))
        else:
            near = _ease(hair, (1.2, 2.1, REACH), (1.0, 0.8, 0.0))  # what bends between hair and ring is not seen
        self.follow = near * (1 - 0.8 * below) * window * held
        rise = _ease(below, (0.2, 1.0), (0.0, 1.0)) * window * held
        self.chest = (rise[:, None] * (0, -BREATH * self.iod)).reshape(rows, columns, 2).astype(np.float32)
        self.express = _ease(far, (1.3, 2.0), (1.0, 0.0)) * held
        self.outline, self.centre = outline, centre

    def _held_border(self, outline: np.ndarray) -> np.ndarray:
        """1 inside, falling to 0 at those borders of the picture that are not hard by the face."""
        height, width = self.image.shape[:2]
        held = np.ones(len(self.nodes))
        for axis, size in ((0, width), (1, height)):
            for sign, border in ((1, 0), (-1, size - 1)):
                room = (sign * (outline[:, axis] - border)).min() / self.iod
                depth = np.clip(0.8 * room, 0.1, 0.8) * self.iod
                inward = np.clip(sign * (self.nodes[:, axis] - border) / depth, 0, 1)
                held *= 1 - np.clip(room - 0.1, 0, 1) * (1 - inward * inward * (3 - 2 * inward))
        return held

    def _make_fields(self, points: np.ndarray) -> None:
        """Depth of every node, and the weights that carry points to nodes for field A and field B."""
        iod, rows, columns = self.iod, *self.shape
        rings = [self.centre + (self.outline[::2] - self.centre) * k for k in (1.45, 1.8, 2.3, REACH)]
        rings[0] = rings[0][self._above_chin(rings[0], points)]  # the jaw needs room below
        around = np.concatenate(rings)
        face = points[:468]
        edge = points[OVAL, 2]
        ring_depth = np.concatenate([np.full(len(r), edge.mean() + iod * 0.5 * (k - 1))
                                     for r, k in zip(rings, (1.45, 1.8, 2.3, REACH), strict=True)])  # fmt: skip
        places = np.concatenate([face[:, :2], around])
        depth = np.concatenate([face[:, 2], ring_depth])
        apart = np.linalg.norm(places[:, None] - places[None], axis=-1)
        depth = (depth[None] + STEEPEST * apart).min(1)
        unit = lambda p: (p - self.centre) / iod  # noqa: E731
        nodes = unit(self.nodes)
        z = _plate(nodes, unit(places)) @ depth
        self.relief = np.c_[self.nodes, z].astype(np.float32)  # (G, 3)
        self.pivot = (self.pose.centre + iod * NECK_PIVOT @ self.pose.rotation).astype(np.float32)

        # Each field is worked out where it can be shown, with room for the lips' travel; elsewhere the other serves.
        down = (self.nodes - self.mouth.middle) @ self.mouth.down / iod
        kept = self._thinned(points)
        self.fields = []
        for left_out, wanted in ((LOWER_LIP, down < 0.5), (UPPER_LIP, down > -0.3)):
            at = np.flatnonzero((self.express > 0) & wanted)
            ids = np.setdiff1d(kept, left_out)
            weights = _plate(nodes[at], unit(np.concatenate([face[ids, :2], around])))[:, : len(ids)]
            self.fields.append((at, ids, np.ascontiguousarray(weights * self.express[at, None].astype(np.float32))))
        (at_a, *_), (at_b, *_) = self.fields
        self.lent = (np.setdiff1d(at_b, at_a), np.setdiff1d(at_a, at_b))
        self.follow = self.follow.astype(np.float32)[:, None]

        # Where each field is shown, in the picture: the guard looks only there.
        x0, y0, x1, y1 = self.mouth.box
        i = np.clip(np.round(self.nodes - (x0, y0)).astype(int), 0, (x1 - x0 - 1, y1 - y0 - 1))
        lips = (self.mouth.upper[..., 0], self.mouth.lower[..., 0])
        shown = [distance[i[:, 1], i[:, 0]].reshape(rows, columns) > -self.cell for distance in lips]
        self.shown = [s[1:, 1:] & s[:-1, :-1] & s[1:, :-1] & s[:-1, 1:] for s in shown]
        self.slack = (SLACK * _ease(self.far, (1.1, 1.4), (0, 1))).reshape(rows, columns)[1:, 1:].astype(np.float32)
        if self.matte is not None:
            size = np.array(self.matte.shape[::-1])
            x, y = np.clip(np.round(self.nodes), 0, size - 1).astype(int).T
            figure = self.matte[y, x].reshape(rows, columns) > 0.05
            figure = cv2.dilate(figure.astype(np.uint8), np.ones((3, 3), np.uint8))[:-1, :-1] > 0
            self.shown = [shown & figure for shown in self.shown]

    def _thinned(self, points: np.ndarray) -> np.ndarray:
        """The points that lead the fields: all of the lips and the outline, elsewhere none closer than `SPACING`."""
        kept = [*UPPER_LIP, *LOWER_LIP, *OVAL, 61, 291, 78, 308]
        sockets = set(SOCKETS)
        for i in range(468):
            if i not in sockets and np.linalg.norm(points[kept] - points[i], axis=1).min() > SPACING * self.iod:
                kept.append(i)
        return np.array(sorted(kept))

    def _above_chin(self, places: np.ndarray, points: np.ndarray) -> np.ndarray:
        down = self.pose.rotation[1, :2]
        return (places - points[17, :2]) @ down < 0

    def _ease_rest(self) -> None:
        """Make the rest one that the picture takes without a fold: smooth it where it would fold, then scale it back.

        An open mouth closes; beside its corners that presses skin together more than a grid cell can bear.
        """
        self.least = LEAST_AREA
        still = FaceShape(np.zeros((478, 3), np.float32))
        places = self.points[:, :2] / self.iod
        apart = np.linalg.norm(places[:, None] - places[None], axis=-1)
        near = np.exp(-((apart / 0.08) ** 2))
        near[np.ix_(UPPER_LIP, LOWER_LIP)] = near[np.ix_(LOWER_LIP, UPPER_LIP)] = 0  # the lips part from each other
        near /= near.sum(1, keepdims=True)
        free = np.ones((478, 1))
        free[[*INNER_UPPER[1:-1], *INNER_LOWER[1:-1]]] = 0  # and stay sealed
        corners = self.nodes.reshape(*self.shape, 2)
        middles = (corners[1:, 1:] + corners[:-1, :-1]) / (2 * self.iod)
        for _ in range(12):
            areas = np.minimum(*self._areas(self._displace(self._express(still), *self._turn(still, 0.0))))
            folded = middles[areas < LEAST_PRESSED + 0.02]
            if not len(folded):
                return
            reach = np.linalg.norm(places[:, None] - folded[None], axis=-1).min(1)
            self.rest = self.rest + 0.7 * free * np.exp(-((reach / 0.12) ** 2))[:, None] * (near @ self.rest - self.rest)
        whole = self.rest

        def area(amount: float) -> float:
            self.rest = amount * whole
            return self._least_area(self._displace(self._express(still), *self._turn(still, 0.0)))

        # A shout that closes presses the skin beside its corners further than any other motion may.
        amount = 1.0 if area(1.0) > LEAST_PRESSED else _largest(lambda amount: area(amount) > LEAST_PRESSED)
        self.least = min(LEAST_AREA, 0.8 * area(amount))

    # -- a frame -------------------------------------------------------------------------------------------------------

    def render(self, shape: FaceShape) -> np.ndarray:
        """Draw one frame: (H, W, 3) uint8, of the picture's size."""
        sheet, (x0, y0, x1, y1) = self._draw(shape), self.box
        if self.plate is not None:
            sheet = cv2.add(sheet[..., :3], _behind(sheet[..., 3], self.plate[y0:y1, x0:x1]))
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
        expressed, pose, amount = self._settle(shape)
        fields = self._displace(expressed, *pose)
        if shape.breath and self.matte is not None:  # without a matte all beside the shoulders would breathe along
            fields = [field + shape.breath * self.chest for field in fields]
        a, b = (self._invert(field, self.plain) for field in fields)
        x0, y0, x1, y1 = self.box
        k = self.cell
        where = self._enlarge(self._join(a, b))[k : k + y1 - y0, k : k + x1 - x0]

        # Around the mouth the seam is drawn pixel by pixel.
        rows, columns = self._mouth_part(shape, pose, amount)
        target = np.s_[rows.start * k : (rows.stop - 2) * k, columns.start * k : (columns.stop - 2) * k]
        height, width = where[target].shape[:2]
        near_a, near_b = (self._enlarge(m[rows, columns])[k : k + height, k : k + width] for m in (a, b))
        upper, lower = self._carry(self.mouth.upper, near_a), self._carry(self.mouth.lower, near_b)
        where[target] = self._blend(near_a, near_b, upper, lower)

        sheet = cv2.remap(self._paint(shape, pose, amount), where, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)  # pyright: ignore[reportCallIssue, reportArgumentType]
        if self.matte is not None:  # what rings at the figure's edge is no more than its alpha
            sheet[..., :3] = cv2.min(sheet[..., :3], cv2.merge([sheet[..., 3]] * 3))
        skull = self._invert(self._pose_field(*pose).reshape(*self.shape, 2)[rows, columns], self.plain[rows, columns])
        teeth = self._carry(self.mouth.teeth, self._enlarge(skull)[k : k + height, k : k + width], cv2.BORDER_CONSTANT)
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
        self.wrinkles.draw(source[..., :3], (x0, y0), amount * shape.expression)
        gain = self.light.gain(_rotation(pose[0]))
        if gain is not None:
            gain = 1 + (gain - 1) * self.follow.reshape(self.shape)
            k = self.cell
            gain = self._enlarge(gain)[k : k + y1 - y0, k : k + x1 - x0]
            source[..., :3] = cv2.multiply(source[..., :3], cv2.merge([gain] * 3), dtype=cv2.CV_8U)
        return source

    def _turn(self, shape: FaceShape, strength: float) -> tuple[np.ndarray, np.ndarray]:
        """Pose of the frame, softly limited: matrix (3, 2) from relief to picture and shift (2,) in pixels."""
        angles = cv2.Rodrigues(np.asarray(shape.rotation, np.float64))[0][:, 0]
        rotation = cv2.Rodrigues(strength * _soft_limit(angles, LIMITS))[0]
        scale = np.exp(strength * _soft_limit(np.log(np.float64(shape.scale)), SCALE_LIMIT))
        shift = strength * _soft_limit(np.asarray(shape.translation, np.float64), SHIFT_LIMIT) * self.iod
        # The head turns about its neck, but grows about the middle of its eyes: so `motion.relative_pose` measures it.
        shift = shift + (1 - scale) * ((self.pose.centre - self.pivot) @ rotation.T)[:2]
        return (scale * rotation.T[:, :2]).astype(np.float32), shift.astype(np.float32)

    def _lift(self, shape: FaceShape, amount: float = 1.0) -> np.ndarray:
        """Displacement of the points by rest and expression, pixels: (478, 3)."""
        return ((self.rest + amount * shape.expression) @ self.pose.rotation * self.iod).astype(np.float32)

    def _express(self, shape: FaceShape, amount: float = 1.0) -> list[np.ndarray]:
        """Displacement of the nodes of field A and B, pixels: two (G', 3)."""
        lifted = self._lift(shape, amount)
        return [weights @ lifted[ids] for _, ids, weights in self.fields]

    def _pose_field(self, matrix: np.ndarray, shift: np.ndarray) -> np.ndarray:
        rel = self.relief - self.pivot
        return self.follow * (rel @ matrix - rel[:, :2] + shift)

    def _displace(self, expressed: list[np.ndarray], matrix: np.ndarray, shift: np.ndarray) -> list[np.ndarray]:
        """Displacement of all nodes in the picture for field A and B: two (rows, columns, 2)."""
        fields = [self._pose_field(matrix, shift)]
        fields.append(fields[0].copy())
        for field, (at, *_), moved in zip(fields, self.fields, expressed, strict=True):
            field[at] += moved @ matrix
        for field, other, lent in zip(fields, fields[::-1], self.lent, strict=True):
            field[lent] = other[lent]
        return [field.reshape(*self.shape, 2) for field in fields]

    def _areas(self, fields: list[np.ndarray]) -> list[np.ndarray]:
        """Area of every grid cell relative to the picture's, for field A and B; infinite where a field is not shown.

        What lies well outside the face is given a little: there it may be pressed further before the pose gives way.
        """
        found = []
        for field, shown in zip(fields, self.shown, strict=True):
            dx, dy = np.diff(field, axis=1) / self.cell, np.diff(field, axis=0) / self.cell
            area = np.full(shown.shape, np.inf, np.float32)
            for right, down in ((dx[:-1], dy[:, :-1]), (dx[1:], dy[:, 1:])):
                here = (1 + right[..., 0]) * (1 + down[..., 1]) - right[..., 1] * down[..., 0]
                np.minimum(area, here, out=area, where=shown)
            found.append(area + self.slack)
        return found

    def _least_area(self, fields: list[np.ndarray]) -> float:
        return min(float(area.min()) for area in self._areas(fields))

    def _settle(self, shape: FaceShape) -> tuple[list[np.ndarray], tuple[np.ndarray, np.ndarray], float]:
        """Expression, pose and what share of the expression is kept for no cell to fold: the pose gives way first."""
        expressed = self._express(shape)

        def holds(strength: float, moved: list[np.ndarray]) -> bool:
            return self._least_area(self._displace(moved, *self._turn(shape, strength))) > self.least

        strength = amount = 1.0
        if not holds(strength, expressed):
            strength = _largest(lambda s: holds(s, expressed))
            if strength == 0.0 and not holds(0.0, expressed):
                amount = _largest(lambda q: holds(0.0, self._express(shape, q)))
                expressed = self._express(shape, amount)
        return expressed, self._turn(shape, strength), amount

    def _invert(self, field: np.ndarray, plain: np.ndarray) -> np.ndarray:
        """Where the content of nodes `plain` comes from, pixels of `box`: Newton steps on the grid."""
        origin, k = plain[0, 0], self.cell
        sloped = np.empty((*field.shape[:2], 4), np.float32)  # x by x, x by y, y by x, y by y
        sloped[:, 1:-1, 0::2] = (field[:, 2:] - field[:, :-2]) / (2 * k)
        sloped[:, [0, -1], 0::2] = 0
        sloped[1:-1, :, 1::2] = (field[2:] - field[:-2]) / (2 * k)
        sloped[[0, -1], :, 1::2] = 0
        back = plain - field
        steep = float(np.abs(sloped).max())
        for _ in range(NEWTON):
            # cv2.remap looks up in steps of 1/32: standing on them keeps the result free of that grain.
            index = np.round((back - origin) * (32 / k)) / 32
            back = origin + k * index
            miss = back + cv2.remap(field, index, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) - plain  # pyright: ignore[reportCallIssue, reportArgumentType]
            if steep < 0.15:
                back = back - miss
                continue
            j = cv2.remap(sloped, index, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # pyright: ignore[reportCallIssue, reportArgumentType]
            xx, yy = 1 + j[..., 0], 1 + j[..., 3]
            det = np.maximum(xx * yy - j[..., 1] * j[..., 2], 0.1)
            mx, my = miss[..., 0], miss[..., 1]
            step = np.dstack([(yy * mx - j[..., 1] * my) / det, (xx * my - j[..., 2] * mx) / det])
            back = back - np.clip(step, -4 * k, 4 * k)
        return back

    def _enlarge(self, grid: np.ndarray) -> np.ndarray:
        """Grid to pixels: every node becomes `cell` x `cell` pixels; the outermost half cells are level."""
        return cv2.resize(grid, None, fx=self.cell, fy=self.cell, interpolation=cv2.INTER_LINEAR)

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
        moved = (self.points + self._lift(shape, amount) - self.pivot)[lips] @ matrix + self.pivot[:2] + shift
        origin = self.nodes[0]
        low = np.floor((moved.min(0) - 0.25 * self.iod - origin) / self.cell).astype(int)
        high = np.ceil((moved.max(0) + 0.25 * self.iod - origin) / self.cell).astype(int) + 2
        rows, columns = self.shape
        c0, r0 = np.clip(low, 0, (columns - 3, rows - 3)).tolist()
        c1, r1 = np.clip(high, (c0 + 3, r0 + 3), (columns, rows)).tolist()
        return slice(r0, r1), slice(c0, c1)
