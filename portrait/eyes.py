"""The eyes of a picture: lids drawn down over a round eyeball, an iris that turns rigidly in a repainted white.

Everything happens in the picture's own pixels, before the face is warped. An eye has a frame of its own: s runs along
the line between its corners, t across it towards the mouth, both in pixels; lid edges are curves t(s).
"""

from collections.abc import Callable

import cv2
import numpy as np

from mien.portrait.geometry import EYES

# Lower edge of the brows, from the image's left to its right.
BROWS = ((46, 53, 52, 65, 55), (285, 295, 282, 283, 276))
NARROWEST = 0.10  # an opening lower than this part of its width is shut or a slit: it is left as it is
LEAST_CONTRAST = 6  # grey levels; what shows less between its lids is a mask or a hand, no eye
UPPER_TRAVEL, LOWER_TRAVEL = 0.87, 0.13  # how much of the opening each lid crosses when the eye shuts
WIDER = 0.5  # how much of the opening the upper lid gains per unit of openness above 1
FOLLOW_DOWN, FOLLOW_UP = (0.8, 0.35), (0.5, 0.15)  # of the iris's way up or down: upper and lower lid go along
EYEBALL = 0.13  # radius in IOD (12 mm of 92 mm)
MOST_GAZE = 0.4  # radians; beyond it the iris would leave the opening

Colours = Callable[[np.ndarray], np.ndarray]


def smoothstep(x: np.ndarray | float) -> np.ndarray:
    """0 below 0, 1 above 1, smooth between."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def smooth_curve(x: np.ndarray, xp: np.ndarray, yp: np.ndarray) -> np.ndarray:
    """Cubic Hermite curve through points (xp rising), level outside them; slopes are limited: it never overshoots."""
    d = np.diff(yp) / np.diff(xp)
    bends = d[1:] * d[:-1] > 0
    slopes = np.where(bends, 2 * d[1:] * d[:-1] / np.where(bends, d[1:] + d[:-1], 1), 0)  # harmonic mean
    slopes = np.concatenate([d[:1], slopes, d[-1:]])
    i = np.clip(np.searchsorted(xp, x) - 1, 0, len(xp) - 2)
    h = xp[i + 1] - xp[i]
    b = np.clip((x - xp[i]) / h, 0, 1)
    a = 1 - b
    ends = a * a * (1 + 2 * b) * yp[i] + b * b * (1 + 2 * a) * yp[i + 1]
    return ends + a * b * h * (a * slopes[i] - b * slopes[i + 1])


def edge_width(patch: np.ndarray) -> float:
    """Over how many pixels (1 or more) the sharpest edges of a picture (H, W, 3) rise: what is drawn is no sharper."""
    grey = cv2.cvtColor(patch, cv2.COLOR_RGB2GRAY).astype(np.float32)
    slope = cv2.magnitude(cv2.Sobel(grey, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(grey, cv2.CV_32F, 0, 1, scale=1 / 8))
    low, high = np.percentile(grey, [2, 98])
    return max(1.0, 0.5 * float(high - low) / max(float(np.percentile(slope, 99.5)), 1e-3))


def fine_detail(patch: np.ndarray, reach: float) -> float:
    """How much detail finer than `reach` pixels a picture (H, W, 3) has, grey levels: 1 … 3 in photos, 0.5 if smooth."""
    colours = patch.astype(np.float32)
    return float(np.median(np.abs(colours - cv2.GaussianBlur(colours, (0, 0), reach)).mean(-1)))


def _drawn_out(distance: np.ndarray, long: np.ndarray, short: float) -> np.ndarray:
    """Map a distance within `long` to one within `short`; at both ends nothing is stretched."""
    u = np.clip(distance / long, 0, 1)
    return long * (u + (short / long - 1) * u * u * (3 - 2 * u))


class Eye:
    """One eye of one picture. `box` (x0, y0, x1, y1) is the patch that `draw` repaints for lids and gaze."""

    def __init__(self, image: np.ndarray, landmarks: np.ndarray, side: int, iod: float, edge: float, brush: Colours):
        """image (H, W, 3) uint8; landmarks (478, 3) pixels; side 0 the eye of point 33, 1 that of 263; iod pixels.

        edge: width of the picture's sharpest edges, pixels. brush: colours (..., 3) as the picture would lay them on."""
        self.brush = brush
        upper, lower, iris = (landmarks[ids, :2] for ids in EYES[side])
        middle, across = (upper[0] + upper[-1]) / 2, upper[-1] - upper[0]
        self.iod, self.width = iod, (width := float(max(np.linalg.norm(across), 1e-3)))
        self.axis = np.array(across / width, np.float32)
        self.down = np.array([-self.axis[1], self.axis[0]], np.float32)
        frame = np.stack([self.axis, self.down], 1)
        upper, lower, iris = ((points - middle) @ frame for points in (upper, lower, iris))
        brow = (landmarks[list(BROWS[side]), :2] - middle) @ frame
        upper, lower, brow = (points[np.argsort(points[:, 0])] for points in (upper, lower, brow))

        self.above = float(np.clip(0.85 * (upper[2:7, 1].mean() - brow[:, 1].mean()), 0.12 * width, 0.5 * width))
        top, bottom = upper[:, 1].min() - self.above - 2, lower[:, 1].max() + 0.3 * width
        corners = middle + np.array([(s * width, t) for s in (-0.62, 0.62) for t in (top, bottom)]) @ frame.T
        height, wide = image.shape[:2]
        x0, y0 = (int(v) for v in np.clip(np.floor(corners.min(0)), 0, (wide, height)))
        x1, y1 = (int(v) for v in np.clip(np.ceil(corners.max(0)) + 1, 0, (wide, height)))
        self.box = (x0, y0, x1, y1)
        rising = min(np.diff(points[:, 0]).min() for points in (upper, lower, brow)) > 0
        tall = (lower[2:7, 1] - upper[2:7, 1]).max() > NARROWEST * width
        self.alive = bool(rising and tall and width >= 6 and x1 - x0 > 4 and y1 - y0 > 4)
        if not self.alive:
            return

        xs, ys = np.meshgrid(np.arange(x0, x1, dtype=np.float32), np.arange(y0, y1, dtype=np.float32))
        self.x, self.y = xs - np.float32(x0), ys - np.float32(y0)
        rel = np.stack([xs - middle[0], ys - middle[1]], -1) @ frame
        self.s, self.t = (np.ascontiguousarray(rel[..., i], np.float32) for i in (0, 1))
        self.upper = smooth_curve(self.s, upper[:, 0], upper[:, 1]).astype(np.float32)
        self.lower = np.maximum(smooth_curve(self.s, lower[:, 0], lower[:, 1]), self.upper).astype(np.float32)
        opening = (self.t > self.upper) & (self.t < self.lower) & (np.abs(self.s) < 0.5 * width)
        light = image[y0:y1, x0:x1].mean(-1)[opening]
        self.alive = bool(len(light)) and float(np.ptp(light)) > LEAST_CONTRAST
        if not self.alive:
            return
        # The drawing ends just past the corners.
        self.near = smoothstep((0.58 - np.abs(self.s) / width) / 0.08).astype(np.float32)
        self.edge = min(edge, 0.15 * width)
        self._prepare_skin(image[y0:y1, x0:x1])
        self._prepare_eyeball(image[y0:y1, x0:x1].astype(np.float32), iris)

    def _prepare_skin(self, patch: np.ndarray) -> None:
        """The patch as if its eye were shut, without lashes, and the colour of the lashes.

        Outside the opening that is the picture itself; over it the skin around is drawn together, in its middle as
        light as brow-bone and cheek, with the grain of the cheek.
        """
        width, colours = self.width, patch.astype(np.float32)
        beside, below = np.abs(self.s) < 0.45 * width, self.t - self.lower
        around = (below > 0.12 * width) | (self.t < self.upper - 0.5 * self.above)
        light = colours.mean(-1)
        level = float(np.median(light[around & beside])) if (around & beside).any() else float(np.median(light))
        # Brows, lashes and frames of glasses are no skin, nor are lights on a lens.
        trust = around & (np.abs(light / max(level, 1) - 1) < 0.35)
        tone = self._drawn_together(colours, trust, ((0.12, 1.0), (0.35, 0.05)))
        skin = tone[beside].mean(0) if beside.any() else tone.mean((0, 1))

        # Drawn eyes and long lashes reach out of the tracked opening: what is strange there goes with the eyeball.
        apart = np.maximum(np.maximum(self.upper - self.t, below), 0.8 * (np.abs(self.s) - 0.5 * width))
        strange = (np.abs(colours - tone).mean(-1) > 0.15 * max(level, 60)) & (apart < 0.14 * width)
        _, parts = cv2.connectedComponents((strange | (apart <= 0.03 * width)).astype(np.uint8))
        gone = np.isin(parts, np.setdiff1d(parts[apart <= 0], [0])).astype(np.float32)
        size = max(3, round(0.09 * width + self.edge) | 1)
        gone = cv2.dilate(gone, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
        gone[np.abs(self.s) > 0.52 * width] = 0  # lashes that go on outwards stay whole
        lid = self._drawn_together(colours, gone < 0.5, ((0.03, 1.0), (0.08, 0.05), (0.2, 2e-3), (0.5, 1e-4)))
        deep = np.clip(cv2.distanceTransform((gone > 0.5).astype(np.uint8), cv2.DIST_L2, 3) / (0.2 * width), 0, 1)
        lid += 0.6 * smoothstep(deep)[..., None] * np.maximum(0.95 * tone - lid, 0)

        # Grain: what is fine in the cheek, folded up over the lid.
        fine = np.clip(colours - cv2.GaussianBlur(colours, (0, 0), max(1.5, 0.02 * width)), -25, 25)
        first, strip = 0.12 * width, max(0.15 * width, 2.0)
        fold = np.abs((self.lower + first - self.t) % (2 * strip) - strip)
        lid += self._look_up(fine, self.lower + first + strip - fold)
        cover = cv2.GaussianBlur(gone, (0, 0), max(0.6, 0.02 * width, 0.4 * self.edge))[..., None]
        sides = smoothstep((0.54 - np.abs(self.s) / width) / 0.14)
        white = smoothstep((light / np.maximum(lid.mean(-1), 1) - 1.05) / 0.1)  # of an eyeball drawn beyond the corner
        cover *= np.maximum(sides, white)[..., None]
        # Rims of glasses and strands of hair before the lid are far from its tone: they stay where they are.
        odd = np.abs(colours - tone).mean(-1) / max(level, 60) * (apart > 0.1 * width) * (gone < 0.5)
        self.rim = cv2.GaussianBlur(smoothstep((odd - 0.25) / 0.1), (0, 0), 0.5)[..., None]
        self.lid = (colours + (self.brush(lid) - colours) * cover).astype(np.float32)

        # Lashes are as dark as the picture's, well darker than the skin but no ink, and of its hue.
        edge = light[beside & (np.abs(self.t - self.upper) < max(1.0, 0.05 * width))]
        dark = np.clip(np.percentile(edge, 10) if len(edge) else 0.0, 0.22 * skin.mean(), 0.55 * skin.mean())
        self.lashes = self.brush(dark * skin / max(float(skin.mean()), 1.0))

    def _prepare_eyeball(self, colours: np.ndarray, iris: np.ndarray) -> None:
        """The white without its iris, and the iris as a whole disc."""
        width, s, t = self.width, self.s, self.t
        margin = max(1.0, 0.03 * width)
        depth = np.minimum(t - self.upper - margin, self.lower - t)
        opening = (depth > 0) & (np.abs(s) < 0.5 * width)
        radius = float(np.clip(np.linalg.norm(iris[1:] - iris[0], axis=1).mean(), 0.12 * width, 0.3 * width))
        far = np.hypot(s - iris[0, 0], t - iris[0, 1]) / radius
        far /= self._limbus(far, opening & (np.abs(t - iris[0, 1]) < 0.7 * np.abs(s - iris[0, 0])), colours.mean(-1))
        soft = max(0.22, self.edge / radius)
        self.iris_cover = smoothstep((1.07 + soft / 2 - far) / soft).astype(np.float32)

        # White: a plane with a bow along s through what is seen of it, its colours inside those that are seen.
        seen, light = opening & (far > 1.12), colours.mean(-1)
        if seen.sum() >= 12:
            pick = seen & (light >= np.percentile(light[seen], 30))
            basis = np.stack([np.ones_like(s), s / width, t / width, (s / width) ** 2], -1)
            a = basis[pick]
            fit = np.linalg.solve(a.T @ a + 0.05 * len(a) * np.diag([0, 1, 1, 1]), a.T @ colours[pick])
            white = np.clip(basis @ fit, *np.percentile(colours[pick], [5, 95], axis=0))
        else:
            pick = opening if opening.any() else np.ones_like(opening)
            white = np.full_like(colours, colours[pick & (light >= np.percentile(light[pick], 90))].mean(0))
        white = self.brush(white)
        # What lies hard by a lid is mixed with it, unless all is: in a blurred picture a clean white would be an edge.
        clear = np.maximum(smoothstep(depth / margin), smoothstep((self.edge / width - 0.04) / 0.06))[..., None]
        self.white = (white + (colours - white) * clear * (1 - self.iris_cover[..., None])).astype(np.float32)

        # Iris: as it is where it is seen, else the mean colour of its ring.
        ring = np.minimum((far * 8).astype(int), 11)
        last = colours[opening & (far < 1)].mean(0) if (opening & (far < 1)).any() else 0.4 * white.mean((0, 1))
        profile = np.zeros((12, 3), np.float32)
        for k in range(12):
            pixels = colours[opening & (ring == k)]
            last = profile[k] = pixels.mean(0) if len(pixels) > 2 else last
        profile = self.brush(profile)
        filled = cv2.GaussianBlur(profile[ring], (0, 0), max(0.6, 0.02 * width))
        self.iris = (filled + (colours - filled) * clear).astype(np.float32)

    def _limbus(self, far: np.ndarray, seen: np.ndarray, light: np.ndarray) -> float:
        """Where the iris ends, in tracked radii: the steepest rise of light outwards, drawn irises are often larger."""
        rings = np.arange(0.6, 1.7, 0.1)
        means = [light[seen & (np.abs(far - r) < 0.1)] for r in rings]
        means = np.array([m.mean() if len(m) > 2 else np.nan for m in means])
        rise = np.nan_to_num(means[2:] - means[:-2], nan=-1.0) - 6 * np.abs(rings[1:-1] - 1)
        best = int(rise.argmax())
        return float(rings[1:-1][best]) if rise[best] > 4 else 1.0

    def draw(self, patch: np.ndarray, openness: float, gaze: np.ndarray) -> np.ndarray:
        """Repaint the eye.

        patch: (h, w, 3) uint8, the picture inside `box`. openness: 0 shut, 1 as in the picture, to about 1.4.
        gaze: (2,) radians, x to the image's right, y down. Returns the same shape and type.
        """
        if not self.alive:
            return patch
        shut = 1 - float(np.clip(openness, 0, 1.5))
        # Where blur hides the iris, a turn of it would be seen as an edge.
        seen = 1 - 0.65 * float(smoothstep((self.edge / self.width - 0.08) / 0.05))
        shift = seen * self.iod * EYEBALL * np.sin(np.clip(np.asarray(gaze, np.float32), -MOST_GAZE, MOST_GAZE))
        if abs(shut) < 0.01 and np.abs(shift).max() < 0.05:
            return patch
        height = self.lower - self.upper
        highest = max(float(height.max()), 1.0)
        with_upper, with_lower = (share * shift[1] / highest for share in (FOLLOW_DOWN if shift[1] > 0 else FOLLOW_UP))
        upper = self.upper + height * ((UPPER_TRAVEL if shut > 0 else WIDER) * shut + with_upper * (1 - max(shut, 0)))
        lower = self.lower - height * (LOWER_TRAVEL * max(shut, 0) - with_lower * (1 - max(shut, 0)))
        shut += with_upper * (1 - max(shut, 0))
        skin = self._skin(patch, upper, lower, shut) if abs(shut) >= 0.01 else patch.astype(np.float32)

        skin += (patch - skin) * self.rim
        visible = np.clip(np.minimum(self.t - upper, lower - self.t) / self.edge + 0.5, 0, 1)
        visible *= smoothstep((lower - upper) / (1.5 * self.edge)) * (np.abs(self.s) < 0.52 * self.width)
        shadow = 0.35 * min(max(2 * shut, 0), 1) * np.exp(-np.maximum(self.t - upper, 0) / (0.05 * self.width))
        ball = self._eyeball(patch, shift) * (1 - shadow)[..., None]
        out = skin + (ball - skin) * visible[..., None]
        if shut > 0:
            out += (self.lashes - out) * self._lash_line(upper, shut)[..., None]
        return (patch + (out - patch) * self.near[..., None] + 0.5).clip(0, 255).astype(np.uint8)

    def _skin(self, patch: np.ndarray, upper: np.ndarray, lower: np.ndarray, shut: float) -> np.ndarray:
        """The skin of both lids, their edges moved to `upper` and `lower`: (h, w, 3) float32.

        The strip between edge and brow is drawn out, lashes keep their size; as the eye shuts, bare skin replaces it.
        """
        clear = max(2.0, 0.06 * self.width) * min(max(3 * shut, 0), 1)  # what lies hard by the edge is the eyeball's
        long = self.above + upper - self.upper
        up = np.maximum(upper - self.t, 0)
        t_upper = np.where(up > long, self.t, self.upper - np.maximum(_drawn_out(up, long, self.above), clear))
        below = 0.25 * self.width
        low = np.maximum(self.t - lower, 0)
        raised = below + self.lower - lower
        t_lower = np.where(low > raised, self.t, self.lower + np.maximum(_drawn_out(low, raised, below), clear))
        on_upper = self.t < (upper + lower) / 2
        skin = self._look_up(patch, np.where(on_upper, t_upper, t_lower))
        if shut > 0:
            # As the eye shuts the lid's own skin comes out of its fold, and what was drawn out is given back.
            skin += (self.lid - skin) * smoothstep(shut / 0.7)
        return skin

    def _drawn_together(self, colours: np.ndarray, trust: np.ndarray, scales: tuple) -> np.ndarray:
        """Smooth colours (h, w, 3) from trusted pixels only; what is near counts most.

        scales: pairs of a reach in widths of the eye and its weight.
        """
        weighed = np.dstack([colours, np.ones_like(trust, np.float32)]) * trust[..., None].astype(np.float32)
        total = np.zeros_like(weighed) + 1e-6 * weighed.mean((0, 1))
        height, width = trust.shape
        for reach, weight in scales:
            k = max(1, int(reach * self.width / 4))  # wide blurs are done small
            small = cv2.resize(weighed, (-(-width // k), -(-height // k)), interpolation=cv2.INTER_AREA)
            total += weight * cv2.resize(cv2.GaussianBlur(small, (0, 0), reach * self.width / k), (width, height))
        return total[..., :3] / np.maximum(total[..., 3:], 1e-9)

    def _look_up(self, patch: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Colours at the same s but another t."""
        x, y = self.x + (t - self.t) * self.down[0], self.y + (t - self.t) * self.down[1]
        return cv2.remap(patch, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)

    def _lash_line(self, upper: np.ndarray, shut: float) -> np.ndarray:
        """Cover (0..1) of the line where the lids meet: soft, longer downwards, fading towards the corners."""
        off = self.t - upper
        above, below = max(0.6 * self.edge, 0.02 * self.width), max(0.8 * self.edge, 0.04 * self.width)
        line = np.exp(-((off / np.where(off < 0, above, below)) ** 2))
        return 0.8 * smoothstep(shut / 0.5) * line * smoothstep((0.54 - np.abs(self.s) / self.width) / 0.14)

    def _eyeball(self, patch: np.ndarray, shift: np.ndarray) -> np.ndarray:
        """The eyeball without lids, its iris moved by `shift` pixels: (h, w, 3) float32."""
        x, y = self.x - shift[0], self.y - shift[1]
        iris = cv2.remap(self.iris, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        cover = cv2.remap(self.iris_cover, x, y, cv2.INTER_LINEAR)[..., None]
        painted = self.white + (iris - self.white) * cover
        # A calm eye is the picture's own, painted only where lids hid it.
        own = 1 - smoothstep(float(np.hypot(*shift)))
        if own > 0:
            hidden = np.clip((self.t - self.upper) / max(1.0, 0.03 * self.width), 0, 1)
            painted += (patch - painted) * (own * hidden)[..., None]
        return painted
