"""The inside of a mouth: where the lips part in the picture, and what is seen between them.

The seam lives in the picture's own pixels as two signed distances, one for each lip; the warp carries them with the
lips' fields. Teeth hang on the skull, the tongue lies on the jaw, both painted once in the colours of the picture.
"""

import cv2
import numpy as np

from mien.portrait.brush import Brush
from mien.portrait.eyes import fine_detail, smooth_curve, smoothstep
from mien.portrait.geometry import (
    EYES,
    INNER_LOWER,
    INNER_UPPER,
    LOWER_LIP,
    OUTER_LOWER,
    OUTER_UPPER,
    UPPER_LIP,
    UPPER_SHARE,
)
from mien.portrait.teeth import ARCH, LEAST_ROW, own_teeth, painted_row, paleness, row_length

PARTED = 0.045  # a lip gap above this (IOD) is an open mouth in the picture: its inside is lent to the film
HANGING = 0.022  # how far upper teeth hang below closed lips that part, IOD
WIDE = 0.16  # an opening higher than this (IOD) shows a tongue worth lending
SHARP = 0.022  # edges wider than this (IOD) tell no tooth from a lip
PAST = 0.14  # how far beyond a tracked lip edge teeth are looked for, IOD
EDGE = 0.7  # half width of the soft edge of a lip, pixels
CORNER_SLOPE = 0.9  # the two fields melt into one beyond the corners, over a wedge of this slope


class Mouth:
    """The mouth of one picture.

    box: (x0, y0, x1, y1) the patch in which the distances are kept.
    upper (h, w, 3), lower (h, w, 4) float32: signed distance in pixels into the lip (positive inside), the same divided
        by the local softness of the seam, 1 between the corners falling to 0 beyond them; for the lower lip also the
        place along the mouth, -1 and 1 at the corners.
    teeth, floor: (h, w, 4) float32: colour 0..255 and cover of what hangs on the skull, and of what lies on the jaw.
    parted: whether the picture's own mouth is open. landmarks: those given, with the inner lips' on the edges found.
    """

    def __init__(self, image: np.ndarray, landmarks: np.ndarray, iod: float, edge: float, brush: Brush):
        """image (H, W, 3) uint8; landmarks (478, 3) pixels; iod pixels; edge: width of the sharpest edges, pixels."""
        self.brush = brush
        points = landmarks[:, :2].astype(np.float32)
        left, right = points[78], points[308]
        self.width = width = float(max(np.linalg.norm(right - left), 2.0))
        self.iod = iod
        self.axis = axis = (right - left) / width
        self.down = down = np.array([-axis[1], axis[0]], np.float32)
        self.middle = middle = (left + right) / 2

        lips = points[[*UPPER_LIP, *LOWER_LIP]]
        margin = 0.3 * iod
        size = np.array(image.shape[1::-1])
        x0, y0 = np.clip(np.floor(lips.min(0) - margin), 0, size - 2).astype(int)  # two pixels where lips lie outside
        x1, y1 = np.clip(np.ceil(lips.max(0) + margin) + 1, (x0 + 2, y0 + 2), size).astype(int)
        self.box = (int(x0), int(y0), int(x1), int(y1))
        xs, ys = np.meshgrid(np.arange(x0, x1, dtype=np.float32), np.arange(y0, y1, dtype=np.float32))
        self.s = (xs - middle[0]) * axis[0] + (ys - middle[1]) * axis[1]
        self.t = (xs - middle[0]) * down[0] + (ys - middle[1]) * down[1]

        gap = (points[INNER_LOWER] - points[INNER_UPPER]) @ down
        self.parted = bool(gap.max() > PARTED * iod)
        patch = image[y0:y1, x0:x1]
        self._measure_colours(image, points)
        self.edge = min(edge, 0.05 * iod)
        upper, lower = self._find_edges(patch, points)
        self.landmarks = landmarks.copy()
        for ids, rim in ((INNER_UPPER, upper), (INNER_LOWER, lower)):
            self.landmarks[ids, :2] = middle + rim[:, :1] * axis + rim[:, 1:] * down
        t_upper, t_lower = self._curve(upper), self._curve(lower)
        t_lower = np.maximum(t_lower, t_upper)
        steep = np.hypot(*np.gradient(np.dstack([t_upper, t_lower]), axis=(0, 1)))  # where an edge slants, it is nearer
        straight = 1 / np.sqrt(1 + np.minimum(steep, 3) ** 2)
        beyond = np.maximum(np.abs(self.s) - width / 2, 0)
        soft = EDGE + CORNER_SLOPE * beyond
        inside = smoothstep(1 - beyond / (0.03 * iod))
        into_upper, into_lower, along = t_upper - self.t, self.t - t_lower, 2 * self.s / width
        self.upper = np.dstack([into_upper * straight[..., 0], into_upper / soft, inside]).astype(np.float32)
        self.lower = np.dstack([into_lower * straight[..., 1], into_lower / soft, inside, along]).astype(np.float32)
        self._prepare_inside(patch, t_upper, t_lower)

    def _curve(self, edge: np.ndarray) -> np.ndarray:
        """t of an edge (11, 2) in the mouth's frame at every s of the patch."""
        edge = edge[np.argsort(edge[:, 0])]
        rising = np.maximum.accumulate(edge[:, 0]) + 1e-3 * np.arange(len(edge))
        return smooth_curve(self.s, rising, edge[:, 1]).astype(np.float32)

    def _find_edges(self, patch: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The inner edges of both lips, (11, 2) each in the mouth's frame: landmarks moved onto what the picture shows.

        Closed lips share one edge, the dark line between them; parted lips end where the colour of the lip does.
        """
        frame = np.stack([self.axis, self.down], 1)
        upper, lower = ((points[ids] - self.middle) @ frame for ids in (INNER_UPPER, INNER_LOWER))
        reach = 0.03 * self.iod
        soft = cv2.GaussianBlur(patch, (0, 0), max(0.5, 0.006 * self.iod))
        steps = np.linspace(-1, 1, 25, dtype=np.float32)

        def look(edge: np.ndarray, offsets: np.ndarray) -> np.ndarray:
            """Colours of the patch at offsets (in t) from an edge: (11, len(offsets), 3)."""
            t = edge[:, 1:] + offsets
            at = self.middle + edge[:, :1, None] * self.axis + t[..., None] * self.down - np.array(self.box[:2])
            colours = cv2.remap(soft, at.astype(np.float32), None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # pyright: ignore[reportCallIssue, reportArgumentType]
            return colours.astype(np.float32)

        def best(score: np.ndarray) -> np.ndarray:
            """Offsets (11,) of the best score, bent smoothly along the mouth, zero at its corners."""
            span = np.ptp(score, axis=1, keepdims=True).max() + 1e-6
            offset = steps[(score / span - 0.5 * steps**2).argmax(1)] * reach
            u = np.linspace(-1, 1, len(offset))
            bows = (1 - u**2)[:, None] * np.stack([np.ones_like(u), u, u**2], 1)
            fit = np.linalg.solve(bows.T @ bows + 0.1 * np.diag([0, 1, 1]), bows.T @ offset)
            return bows @ fit

        if not self.parted:
            seam = upper.copy()
            seam[:, 1] = (1 - UPPER_SHARE) * upper[:, 1] + UPPER_SHARE * lower[:, 1]
            seam[:, 1] += best(-look(seam, steps * reach).mean(-1))
            upper, lower = seam, seam.copy()
        else:
            found = []
            for edge, lip, into in ((upper, self.upper_lip, 1), (lower, self.lower_lip, -1)):
                strange = np.abs(look(edge, np.linspace(-2, 2, 49, dtype=np.float32) * reach) - lip).mean(-1)
                total = np.cumsum(np.c_[np.zeros(len(edge)), strange], axis=1)
                after, before = total[:, 24:49] - total[:, 12:37], total[:, 12:37] - total[:, 0:25]
                moved = edge.copy()
                moved[:, 1] += best(into * (after - before))
                found.append(moved)
            upper, lower = found

        # Teeth that the tracker took for a lip belong to the opening.
        if self.edge > SHARP * self.iod:
            return upper, lower
        offsets = np.linspace(0, PAST * self.iod, 57, dtype=np.float32)
        inside = paleness(look(upper, np.linspace(0, 1, 9) * (lower - upper)[:, 1:]))
        palest = 0.7 * float(np.percentile(inside, 90)) if self.parted else 0.0
        for edge, level, sign in ((upper, self.palest[0], -1), (lower, self.palest[1], 1)):
            past = _run(self._like_teeth(look(edge, sign * offsets), max(level, palest)), offsets)
            if (past[1:-1] > 0.012 * self.iod).sum() >= (2 if self.parted else 3):
                past = np.pad(np.max([past[:-2], past[1:-1], past[2:]], axis=0), 1)  # single teeth may lie in shade
                edge[1:-1, 1] += sign * (past[:-2] + past[1:-1] + past[2:]) / 3
                self.parted = True
        return upper, lower

    def _like_teeth(self, colours: np.ndarray, level: float) -> np.ndarray:
        """Where colours (..., 3) are paler than a level and about as little red as the skin: lips and tongues are redder."""
        red = lambda c: (c[..., 0] - c[..., 1]) / np.maximum(c.mean(-1), 1)  # noqa: E731
        most = red(self.skin) + 0.12 * max(red(self.lip) - red(self.skin), 0) + 0.01
        return (paleness(colours) > level) & (red(colours) < most)

    def _measure_colours(self, image: np.ndarray, points: np.ndarray) -> None:
        """Take lip, skin and eye-white colours from the picture, so that what is painted belongs to it."""

        def polygon(ids):
            p = points[ids]
            a, b = np.maximum(np.floor(p.min(0)).astype(int), 0), np.ceil(p.max(0)).astype(int) + 1
            crop = image[a[1] : b[1], a[0] : b[0]]
            mask = np.zeros(crop.shape[:2], np.uint8)
            if mask.size:
                cv2.fillPoly(mask, [np.round(p - a).astype(np.int32)], 1)
            return crop[mask > 0].astype(np.float32)

        cheeks = np.concatenate([polygon([50, 101, 36, 205, 187]), polygon([280, 330, 266, 425, 411])])
        self.skin = np.median(cheeks, axis=0) if len(cheeks) else np.full(3, 150.0)
        usual = self.skin * np.array([0.8, 0.55, 0.55])
        rings = ((OUTER_UPPER, INNER_UPPER), (OUTER_LOWER, INNER_LOWER))
        lips = [polygon([*outer, *inner[::-1]]) for outer, inner in rings]
        self.upper_lip, self.lower_lip = (np.median(lip, axis=0) if len(lip) else usual for lip in lips)
        self.lip = (self.upper_lip + self.lower_lip) / 2
        # What is paler than this is no lip: teeth. A lip's darker part tells, teeth may be mixed in.
        plain = float(paleness(self.skin))
        low = [float(np.percentile(paleness(lip), 25)) if len(lip) else float(paleness(usual)) for lip in lips]
        # Against a tracker that saw closed lips speak only lips less than half as pale as the skin.
        told = [self.parted or plain - p > max(40.0, 0.5 * plain) for p in low]
        self.palest = [p + max(25.0, 0.35 * (plain - p)) if sure else 255.0 for p, sure in zip(low, told, strict=True)]
        whites = np.concatenate([polygon([*upper, *lower[::-1]]) for upper, lower, _ in EYES])
        light = paleness(whites)
        white = whites[light >= np.percentile(light, 80)].mean(0) if len(light) > 4 else self.skin * 1.1
        # Teeth lie in the mouth's shade: a little lighter than the white of the eyes, and of the skin's hue.
        chin = polygon([43, 106, 182, 83, 18, 313, 406, 335, 273, 422, 424, 418, 421, 200, 201, 194, 204, 202])
        shade = np.clip(np.median(chin.mean(-1)) / max(self.skin.mean(), 1), 0.6, 1.1) if len(chin) else 1.0
        level = shade * np.clip(1.15 * white.mean(), 1.08 * self.skin.mean(), max(1.25 * self.skin.mean(), 130))
        tint = 0.4 * white / max(white.mean(), 1) + 0.6 * self.skin / max(self.skin.mean(), 1)
        ivory = 1 - 0.05 * np.arange(3) * min(
            np.ptp(self.skin) / max(self.skin.mean(), 1) / 0.3, 1
        )  # none in a grey picture
        self.enamel = np.clip(level * (0.45 + 0.55 * tint) * ivory, 0, 245).astype(np.float32)
        # The cavity is as dark as the deepest shadows of lips and nostrils: a soft painting has no black.
        shades = np.concatenate([polygon([*OUTER_UPPER, *OUTER_LOWER[::-1]]), polygon([98, 97, 2, 326, 327, 1])])
        shadow = np.percentile(shades.mean(-1), 2) if len(shades) else 0.0
        red = self.lip / max(self.lip.max(), 1)
        depth = np.clip(0.7 * shadow, 0.1 * self.lip.mean(), 0.3 * self.lip.mean())
        self.dark = (depth * red**1.5 / max((red**1.5).mean(), 1e-6)).astype(np.float32)
        self.crease = (0.5 * self.dark + 0.25 * self.lip).astype(np.float32)  # the line between closed lips
        self.tongue = (1.05 * self.lip.mean() * red**1.4).astype(np.float32)

    def _prepare_inside(self, patch: np.ndarray, t_upper: np.ndarray, t_lower: np.ndarray) -> None:
        """Paint what hangs on the skull (`teeth`) and find what lies on the jaw (`floor`).

        A picture that shows its teeth lends their colour and length, and a row that shows whole is laid over the painted
        one; all else between its lips goes with the jaw.
        """
        under, place = self.t - t_upper, self.s / self.width + 0.5
        between = (under > 0) & (self.t < t_lower) & (self.upper[..., 2] > 0)
        colours, pale, lip = patch.astype(np.float32), paleness(patch.astype(np.float32)), float(paleness(self.lip))
        within = between & self._like_teeth(colours, lip + 25) & self.parted
        seen = own_teeth(pale, within, under, t_lower - t_upper, self.iod)
        length = np.full_like(under, (0.008 if self.parted else HANGING) * self.iod)
        shown = row_length(place, under, seen)
        if seen.any():
            length = np.full_like(under, 0.9 * np.median(shown[shown > 0.5 * shown.max()]))
            self.enamel = np.median(colours[seen & (pale >= np.median(pale[seen]))], axis=0)
        fine = fine_detail(patch, 0.02 * self.iod)
        blur = max(0.45, 0.005 * self.iod, 0.4 * self.edge)
        half = float(np.clip(ARCH * self.iod, 0.5 * self.width, 0.75 * self.width))
        detail = min(max(fine / 1.2, 0.35), 1.0) * (1 - self.brush.flat)
        self.teeth = painted_row(self.s, under, length, half, self.enamel, detail, blur)
        grain = np.random.default_rng(5).normal(0, 1.5 * fine, under.shape).astype(np.float32)
        self.teeth[..., :3] += cv2.GaussianBlur(grain, (0, 0), 0.4 * self.edge)[..., None]
        self.floor = np.zeros_like(self.teeth)
        self.bare = 1.0  # how much of a tongue is left to paint
        if not self.parted:
            return
        row = between & (under < shown)
        if whole := row.sum() > 0.5 * between.sum():
            row = between  # a broad smile: the shaded teeth at its ends belong to the row
        soft = cv2.GaussianBlur(row.astype(np.float32), (0, 0), 2 * blur)
        if seen.any() and np.ptp(self.s[seen]) > LEAST_ROW * self.width:
            own = smoothstep(2 * soft - 1) * smoothstep(under / (0.012 * self.iod) - 0.5)
            self.teeth[..., :3] += (colours - self.teeth[..., :3]) * own[..., None]
            self.teeth[..., 3] = np.maximum(self.teeth[..., 3], own)
        wide = (t_lower - t_upper).max() > WIDE * self.iod
        if wide and not whole and self.edge < SHARP * self.iod:  # a blur would carry its teeth along
            cleared = cv2.inpaint(patch, (soft > 0.1).astype(np.uint8), 3, cv2.INPAINT_TELEA)
            self.floor = np.dstack([cleared, smoothstep(under / 2 + 0.5) * self.upper[..., 2]]).astype(np.float32)
            if between.any():
                self.bare = 1 - float(self.floor[between, 3].mean())

    def paint(
        self, sheet: np.ndarray, upper: np.ndarray, lower: np.ndarray, teeth: np.ndarray, floor: np.ndarray | None
    ) -> None:
        """Fill the opening between the lips of a warped picture, in place.

        sheet: (h, w, 3) uint8, the warped picture. upper (h, w, 3), lower (h, w, 4): distances (see the class) carried.
        teeth, floor: (h, w, 4) carried by skull and jaw; no floor where the picture's mouth is closed.
        """
        margin = 0.05 * self.iod if self.parted else 1.0
        near = (np.maximum(upper[..., 0], lower[..., 0]) < margin) & (upper[..., 2] > 0) & (lower[..., 2] > 0)
        rows, columns = np.flatnonzero(near.any(1)), np.flatnonzero(near.any(0))
        if not len(rows):
            return
        part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        sheet, upper, lower, teeth = (a[part] for a in (sheet, upper, lower, teeth))
        above, below, x = -upper[..., 0], -lower[..., 0], lower[..., 3]  # from the lips' edges into the opening
        within = np.minimum(upper[..., 2], lower[..., 2])
        edges = np.clip(0.5 - above / self.edge, 0, 1) + np.clip(0.5 - below / self.edge, 0, 1)
        cover = np.clip(1 - edges, 0, 1) * within
        line = self._lip_line(above, below) * within if self.parted else 0 * within
        above, below = np.maximum(above, 0), np.maximum(below, 0)
        gap = above + below
        depth = above / np.maximum(gap, 1)

        inside = self.dark * (0.45 + 0.9 * depth[..., None] ** 2)
        # The tongue rises from the lower lip when the opening is high enough to show it.
        height = (0.6 * gap - 0.01 * self.iod) * np.sqrt(np.clip(1 - (x / 0.8) ** 2, 0, 1))
        tongue = smoothstep((height - below) / (0.035 * self.iod)) * smoothstep(gap / (0.08 * self.iod) - 0.3)
        light = 0.3 + 0.65 * depth - 0.06 * np.exp(-((x / 0.15) ** 2))  # lighter in front, a groove along its middle
        inside += (self.tongue * light[..., None] - inside) * (0.9 * self.bare * tongue)[..., None]
        if floor is not None:
            floor = floor[part]
            inside += (floor[..., :3] - inside) * floor[..., 3:]
        wide_open = smoothstep((gap - 1 - 0.01 * self.iod) / (0.02 * self.iod + 1))  # a slit shows no teeth
        inside += (teeth[..., :3] - inside) * (teeth[..., 3] * wide_open)[..., None]
        lip_shadow = 0.7 + 0.3 * smoothstep(above / (0.03 * self.iod) + 0.15)
        corner = 1 - 0.5 * np.clip(np.abs(x), 0, 1.2) ** 4
        inside *= (lip_shadow * corner)[..., None]
        inside += (self.crease - inside) * (1 - wide_open)[..., None]
        if self.brush.flat:
            inside = cv2.GaussianBlur(self.brush.draw(inside), (0, 0), 0.4 * self.edge)
        out = sheet + (self.brush.draw(self.crease) - sheet) * line[..., None]
        out += (inside - out) * cover[..., None]
        sheet[:] = (out + 0.5).clip(0, 255).astype(np.uint8)

    def _lip_line(self, above: np.ndarray, below: np.ndarray) -> np.ndarray:
        """Cover of the dark line between closed lips, which a picture with an open mouth does not have."""
        thick = max(0.8, 0.012 * self.iod, 0.4 * self.edge)
        return 0.5 * np.exp(-((((above - below) / 2) / thick) ** 2)) * smoothstep(1 - (above + below) / (3 * thick))


def _run(like: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """How far from the start (N,) what is alike (N, M) goes on; it may begin a quarter of the way out, and must end."""
    first = like[:, : like.shape[1] // 4].argmax(1)
    ended = ~like & (np.arange(like.shape[1]) >= first[:, None])
    begun = like[np.arange(len(like)), first]
    return np.where(begun & ended.any(1), offsets[ended.argmax(1)], 0)
