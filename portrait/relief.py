"""The relief that a picture moves as: a coarse grid over the head, its depth, and two fields that carry the face's points.

Field A follows all points but the lower lip's, field B all but the upper lip's; A is shown above the seam of the lips, B
below it. Fields are bent from points to nodes as a thin plate would bend, and turned as the relief turns. Grids and maps
are (rows, columns, 2) in pixels of `box`. G grid nodes, P points.
"""

import cv2
import numpy as np

from mien.portrait.geometry import EYES, LOWER_LIP, NECK_PIVOT, OVAL, UPPER_LIP, Pose
from mien.portrait.mouth import Mouth

CELLS = 22  # grid cells in one IOD
REACH = 2.8  # the head's influence ends at this multiple of the face's outline
SLACK = 0.15  # less than that beyond the face
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


def ease(x: np.ndarray, xp: tuple, yp: tuple) -> np.ndarray:
    """Piecewise curve through points, with level, smooth passages."""
    i = np.clip(np.searchsorted(xp, x) - 1, 0, len(xp) - 2)
    at, value = np.asarray(xp), np.asarray(yp)
    u = np.clip((x - at[i]) / (at[i + 1] - at[i]), 0, 1)
    return value[i] + (value[i + 1] - value[i]) * u * u * (3 - 2 * u)


class Relief:
    """The relief of one picture's head.

    box: (x0, y0, x1, y1), the region that can ever move. cell: pixels from node to node. shape: (rows, columns).
    nodes (G, 2), places (G, 3): the nodes in the picture, and with their depth. plain: (rows, columns, 2), the nodes in
    `box`. far: (G,), 1 on the face's outline. follow: (G, 1), how much of the pose each node takes. chest: (rows,
    columns, 2), where a full breath takes the nodes. pivot: (3,), about which the head turns.
    """

    def __init__(self, size: tuple[int, int], points: np.ndarray, pose: Pose, mouth: Mouth, matte: np.ndarray | None):
        """size: (width, height) of the picture; points (478, 3) pixels; pose: how the head stands; mouth: the seam.

        matte: (H, W) in [0, 1], or None; what it leaves out may fold, for it is not seen.
        """
        self.size, self.pose, self.iod = size, pose, float(pose.iod)
        self._make_grid(points, matte is not None)
        self._make_fields(points, mouth)
        self._find_shown(mouth, matte)

    def _make_grid(self, points: np.ndarray, cut_out: bool) -> None:
        """Lay the grid over the head's surroundings; find how much of pose and expression each node takes."""
        width, height = self.size
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
        window = ease(far, (1.0, 2.0, REACH), (1.0, 1.0, 0.0))
        held = self._held_border(outline)
        if not cut_out:
            near = ease(hair, (1.0, 1.6, 2.1, REACH), (1.0, 0.7, 0.25, 0.0))
        else:
            near = ease(hair, (1.2, 2.1, REACH), (1.0, 0.8, 0.0))  # what bends between hair and ring is not seen
        self.follow = near * (1 - 0.8 * below) * window * held
        rise = ease(below, (0.2, 1.0), (0.0, 1.0)) * window * held
        self.chest = (rise[:, None] * (0, -BREATH * self.iod)).reshape(rows, columns, 2).astype(np.float32)
        self.loose = ease(far, (1.3, 2.0), (1.0, 0.0)) * held
        self.outline, self.centre = outline, centre

    def _held_border(self, outline: np.ndarray) -> np.ndarray:
        """1 inside, falling to 0 at those borders of the picture that are not hard by the face."""
        width, height = self.size
        held = np.ones(len(self.nodes))
        for axis, size in ((0, width), (1, height)):
            for sign, border in ((1, 0), (-1, size - 1)):
                room = (sign * (outline[:, axis] - border)).min() / self.iod
                depth = np.clip(0.8 * room, 0.1, 0.8) * self.iod
                inward = np.clip(sign * (self.nodes[:, axis] - border) / depth, 0, 1)
                held *= 1 - np.clip(room - 0.1, 0, 1) * (1 - inward * inward * (3 - 2 * inward))
        return held

    def _make_fields(self, points: np.ndarray, mouth: Mouth) -> None:
        """Depth of every node, and the weights that carry points to nodes for field A and field B."""
        iod = self.iod
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
        self.places = np.c_[self.nodes, z].astype(np.float32)  # (G, 3)
        self.pivot = (self.pose.centre + iod * NECK_PIVOT @ self.pose.rotation).astype(np.float32)
        self.lever = (self.places - self.pivot).reshape(*self.shape, 3)

        # Each field is worked out where it can be shown, with room for the lips' travel; elsewhere the other serves.
        down = (self.nodes - mouth.middle) @ mouth.down / iod
        kept = self._thinned(points)
        self.fields = []
        for left_out, wanted in ((LOWER_LIP, down < 0.5), (UPPER_LIP, down > -0.3)):
            at = np.flatnonzero((self.loose > 0) & wanted)
            ids = np.setdiff1d(kept, left_out)
            weights = _plate(nodes[at], unit(np.concatenate([face[ids, :2], around])))[:, : len(ids)]
            self.fields.append((at, ids, np.ascontiguousarray(weights * self.loose[at, None].astype(np.float32))))
        (at_a, *_), (at_b, *_) = self.fields
        self.lent = (np.setdiff1d(at_b, at_a), np.setdiff1d(at_a, at_b))
        self.follow = self.follow.astype(np.float32)[:, None]

    def _find_shown(self, mouth: Mouth, matte: np.ndarray | None) -> None:
        """Where each field is shown in the picture: the guard looks only there."""
        rows, columns = self.shape
        x0, y0, x1, y1 = mouth.box
        i = np.clip(np.round(self.nodes - (x0, y0)).astype(int), 0, (x1 - x0 - 1, y1 - y0 - 1))
        lips = (mouth.upper[..., 0], mouth.lower[..., 0])
        shown = [distance[i[:, 1], i[:, 0]].reshape(rows, columns) > -self.cell for distance in lips]
        self.shown = [s[1:, 1:] & s[:-1, :-1] & s[1:, :-1] & s[:-1, 1:] for s in shown]
        self.slack = (SLACK * ease(self.far, (1.1, 1.4), (0, 1))).reshape(rows, columns)[1:, 1:].astype(np.float32)
        if matte is not None:
            size = np.array(matte.shape[::-1])
            x, y = np.clip(np.round(self.nodes), 0, size - 1).astype(int).T
            figure = matte[y, x].reshape(rows, columns) > 0.05
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

    # -- a frame -------------------------------------------------------------------------------------------------------

    def express(self, lifted: np.ndarray) -> list[np.ndarray]:
        """Points lifted by (478, 3) pixels carry the nodes of field A and B: two (G', 3)."""
        return [weights @ lifted[ids] for _, ids, weights in self.fields]

    def pose_field(self, matrix: np.ndarray, shift: np.ndarray) -> np.ndarray:
        """Displacement of all nodes by the pose alone, pixels: (rows, columns, 2). matrix (3, 2), shift (2,)."""
        moved = cv2.transform(self.lever, np.c_[matrix.T - np.eye(2, 3), shift].astype(np.float32))
        return moved * self.follow.reshape(*self.shape, 1)

    def displace(self, expressed: list[np.ndarray], matrix: np.ndarray, shift: np.ndarray) -> list[np.ndarray]:
        """Displacement of all nodes in the picture for field A and B: two (rows, columns, 2)."""
        turned = self.pose_field(matrix, shift)
        fields = [turned.reshape(-1, 2), turned.reshape(-1, 2).copy()]
        for field, (at, *_), moved in zip(fields, self.fields, expressed, strict=True):
            if len(at):  # none where the picture ends above the mouth
                field[at] += cv2.transform(moved[:, None], matrix.T)[:, 0]
        for field, other, lent in zip(fields, fields[::-1], self.lent, strict=True):
            field[lent] = other[lent]
        return [field.reshape(*self.shape, 2) for field in fields]

    def areas(self, fields: list[np.ndarray]) -> list[np.ndarray]:
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

    def least_area(self, fields: list[np.ndarray]) -> float:
        return min(float(area.min()) for area in self.areas(fields))

    def invert(self, field: np.ndarray, plain: np.ndarray) -> np.ndarray:
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

    def enlarge(self, grid: np.ndarray) -> np.ndarray:
        """Grid to pixels: every node becomes `cell` x `cell` pixels; the outermost half cells are level."""
        return cv2.resize(grid, None, fx=self.cell, fy=self.cell, interpolation=cv2.INTER_LINEAR)
