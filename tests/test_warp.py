"""Renderer `warp` on a drawn face whose points are known exactly: no tracker, no data."""

from dataclasses import dataclass

import cv2
import numpy as np
import pytest

from mien.portrait import geometry
from mien.portrait.eyes import BROWS
from mien.portrait.geometry import EYES, INNER_LOWER, INNER_UPPER, LOWER_LIP, OUTER_LOWER, OUTER_UPPER, OVAL, UPPER_LIP
from mien.portrait.shape import FaceShape
from mien.portrait.warp import LEAST_AREA, Portrait

SKIN, LIP, BLUE, WHITE = (205, 165, 140), (170, 80, 80), (30, 60, 220), (240, 240, 235)


def make_template() -> np.ndarray:
    """A canonical face (478, 3): outline, lips, eyes and brows where they belong, the other points spread between."""
    points = np.full((478, 3), np.nan)
    angle = np.linspace(0, 2 * np.pi, len(OVAL), endpoint=False)
    points[OVAL, 0], points[OVAL, 1] = 0.72 * np.sin(angle), 0.3 - 0.95 * np.cos(angle)
    u = np.linspace(-1, 1, 11)
    rings = ((OUTER_UPPER, 0.28, -0.09), (OUTER_LOWER, 0.28, 0.11), (INNER_UPPER, 0.24, 0), (INNER_LOWER, 0.24, 0))
    for ids, half, bow in rings:
        points[ids, 0], points[ids, 1] = half * u, 0.78 + bow * (1 - u**2)
    v = np.linspace(-1, 1, 9)
    for (upper, lower, iris), brow, x in zip(EYES, BROWS, (-0.345, 0.345), strict=True):
        for ids, bow in ((upper, -0.055), (lower, 0.045)):
            points[ids, 0], points[ids, 1] = x + 0.155 * v, bow * (1 - v**2)
        points[iris, :2] = np.array([x, 0]) + 0.06 * np.array([(0, 0), (1, 0), (0, -1), (-1, 0), (0, 1)])
        points[list(brow), 0], points[list(brow), 1] = x + np.linspace(-0.18, 0.18, 5), -0.2
    for ids, inner, outer in ((UPPER_LIP, INNER_UPPER, OUTER_UPPER), (LOWER_LIP, INNER_LOWER, OUTER_LOWER)):
        rest = [i for i in ids if np.isnan(points[i, 0])]
        place = np.linspace(1, 9, len(rest))
        for axis in (0, 1):
            middle = (points[inner, axis] + points[outer, axis]) / 2
            points[rest, axis] = np.interp(place, np.arange(11), middle)
    for i, y in {1: 0.4, 4: 0.35, 5: 0.3, 195: 0.2, 197: 0.1, 6: 0, 168: -0.08}.items():
        points[i, :2] = 0, y
    # The others: a sunflower over the face, where no lip or eye is.
    k = np.arange(3000)
    radius, turn = np.sqrt((k + 0.5) / 3000), k * np.pi * (3 - 5**0.5)
    seeds = np.stack([0.68 * radius * np.cos(turn), 0.3 + 0.9 * radius * np.sin(turn)], 1)
    mouth = (np.abs(seeds[:, 0]) < 0.33) & (np.abs(seeds[:, 1] - 0.78) < 0.17)
    eyes = (np.abs(np.abs(seeds[:, 0]) - 0.345) < 0.2) & (np.abs(seeds[:, 1]) < 0.12)
    missing = np.flatnonzero(np.isnan(points[:, 0]))
    free = seeds[~mouth & ~eyes]
    points[missing, :2] = free[np.linspace(0, len(free) - 1, len(missing)).astype(int)]
    points[:, 2] = -0.5 * np.sqrt(np.clip(1.05 - (points[:, 0] / 0.72) ** 2 - ((points[:, 1] - 0.3) / 0.95) ** 2, 0, 1))
    return points.astype(np.float32)


@dataclass
class Drawn:
    image: np.ndarray
    landmarks: np.ndarray
    portrait: Portrait


TEMPLATE = make_template()


def draw(
    width: int, height: int, iod: float, centre: tuple, parted: float = 0.0, roll: float = 0.0, grain: float = 3.0
) -> Drawn:
    """A face of a given size at a given place; `parted` opens the lips (IOD), `roll` tilts the head (degrees).

    grain: grey levels; without it the colours are flat as a woodcut's."""
    canonical = TEMPLATE.copy()
    lens = (1 - (canonical[INNER_LOWER, 0] / 0.24) ** 2) * parted
    canonical[INNER_LOWER, 1] += lens
    canonical[OUTER_LOWER, 1] += lens
    turn = cv2.Rodrigues(np.radians([0.0, 0.0, roll]))[0]
    landmarks = (canonical @ turn.T * iod + np.array([*centre, 0])).astype(np.float32)
    rng = np.random.default_rng(7)
    image = cv2.resize(rng.integers(40, 120, (height // 8 + 2, width // 8 + 2, 3)).astype(np.uint8), (width, height))

    def fill(ids, colour):
        cv2.fillPoly(image, [np.round(landmarks[ids, :2] * 16).astype(np.int32)], colour, cv2.LINE_AA, 4)

    fill(OVAL, SKIN)
    fill([*OUTER_UPPER, *OUTER_LOWER[::-1]], LIP)
    fill([*INNER_UPPER, *INNER_LOWER[::-1]], (40, 10, 10))
    for upper, lower, iris in EYES:
        ball = image.copy()
        fill([*upper, *lower[::-1]], WHITE)
        white = (image != ball).any(-1)
        middle = tuple(int(c) for c in np.round(landmarks[iris[0], :2] * 16))
        disc = cv2.circle(np.zeros((height, width), np.uint8), middle, round(0.06 * iod * 16), 1, -1, cv2.LINE_8, 4)
        image[(disc > 0) & white] = BLUE
    image = np.clip(image + rng.normal(0, grain, image.shape), 0, 255).astype(np.uint8)
    return Drawn(image, landmarks, Portrait(image, landmarks, TEMPLATE))


@pytest.fixture(scope="module")
def face() -> Drawn:
    return draw(512, 512, 130, (250, 210))


def talk(opening: float = 0.0, **others) -> FaceShape:
    """Lips parted by `opening` IOD: the lower lip and the chin go down."""
    x, y = TEMPLATE[:, 0], TEMPLATE[:, 1]
    expression = np.zeros((478, 3), np.float32)
    fall = np.clip((y - 0.78) / 0.12, 0, 1) * np.exp(-((x / 0.6) ** 2))
    expression[:, 1] = opening * fall
    lens = np.clip(1 - (x / 0.3) ** 2, 0, 1) ** 0.5
    for ids in (LOWER_LIP, INNER_LOWER[1:-1]):
        expression[ids, 1] = opening * (0.4 + 0.6 * lens[ids])
    expression[[61, 291, 78, 308], 1] = 0.4 * opening
    return FaceShape(expression, **others)


def turned(pitch: float = 0, yaw: float = 0, roll: float = 0) -> np.ndarray:
    return cv2.Rodrigues(np.radians(np.array([pitch, yaw, roll], np.float64)))[0]


def blue(image: np.ndarray) -> np.ndarray:
    """Where irises are seen around the eyes of `face`."""
    image = image[180:240, 170:330].astype(int)
    return (image[..., 2] > image[..., 0] + 60) & (image[..., 2] > image[..., 1] + 60)


def hole(frame: np.ndarray, drawn: Drawn) -> int:
    """Pixels of the face that are darker than anything drawn on it."""
    x, y = drawn.landmarks[:, 0], drawn.landmarks[:, 1]
    iod = drawn.portrait.iod
    y0, y1 = int(y[13] - 0.1 * iod), int(y[13] + 0.4 * iod)
    return int((frame[y0:y1, int(x[61]) : int(x[291])].max(-1) < 70).sum())


def test_rest_of_closed_lips_is_the_picture(face):
    frame = face.portrait.render(talk())
    off = np.abs(frame.astype(int) - face.image)
    assert off.max() <= 2, "a calm face with closed lips must come back as it is"


def test_nothing_changes_outside_the_box():
    drawn = draw(1100, 900, 110, (420, 380))
    x0, y0, x1, y1 = drawn.portrait.box
    assert 0 < x0 and 0 < y0 and x1 < 1100 and y1 < 900
    outside = np.ones((900, 1100), bool)
    outside[y0:y1, x0:x1] = False
    for shape in (talk(0.3, rotation=turned(15, 20, 20), translation=np.array([0.4, 0.4]), scale=1.2, lids=np.zeros(2)),
                  talk(0.1, rotation=turned(-30, -50, -40), gaze=np.array([0.3, 0.3]))):  # fmt: skip
        frame = drawn.portrait.render(shape)
        assert (frame[outside] == drawn.image[outside]).all()
        rim = np.zeros_like(outside)
        rim[y0:y1, x0:x1] = True
        rim[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2] = False
        assert np.abs(frame[rim].astype(int) - drawn.image[rim]).max() <= 3, "the box must have no visible border"


def test_figure_moves_over_a_still_plate():
    drawn = draw(512, 512, 130, (250, 210))
    matte = np.zeros((512, 512), np.float32)
    cv2.fillPoly(matte, [np.round(drawn.landmarks[OVAL, :2]).astype(np.int32)], 1)
    plate = np.where(matte[..., None] > 0, np.uint8(90), drawn.image)
    portrait = Portrait(drawn.image, drawn.landmarks, TEMPLATE, matte=matte, plate=plate)
    assert np.abs(portrait.render(talk()).astype(int) - drawn.image).max() <= 2, "at rest it is the picture again"
    shape = talk(0.1, rotation=turned(5, 12, 3))
    frame, figure = portrait.render(shape), portrait.cutout(shape)
    free = figure[..., 3] == 0
    assert (frame[free] == plate[free]).all() and 0.3 < free.mean() < 0.9, "nothing behind the figure moves"
    again = figure[..., :3] + (1 - figure[..., 3:] / 255) * plate
    assert np.abs(again - frame).max() <= 1
    breathing = portrait.render(talk(breath=1.0))
    assert (breathing[: int(drawn.landmarks[152, 1])] == portrait.render(talk())[: int(drawn.landmarks[152, 1])]).all()
    with pytest.raises(ValueError, match="belong together"):
        Portrait(drawn.image, drawn.landmarks, TEMPLATE, matte=matte)
    with pytest.raises(ValueError, match="no matte"):
        drawn.portrait.cutout(shape)


def test_an_unsure_matte_leaves_the_background_as_it_is():
    drawn = draw(512, 512, 130, (250, 210))
    matte = np.full((512, 512), 0.5, np.float32)
    cv2.fillPoly(matte, [np.round(drawn.landmarks[OVAL, :2]).astype(np.int32)], 1)
    portrait = Portrait(drawn.image, drawn.landmarks, TEMPLATE, matte=matte, plate=np.full_like(drawn.image, 200))
    assert np.abs(portrait.render(talk()).astype(int) - drawn.image).max() <= 2


def test_hair_that_the_matte_left_out_goes_with_the_head():
    drawn = draw(512, 512, 130, (250, 210))
    image, light = drawn.image.copy(), np.full_like(drawn.image, 225)
    outline, middle, masks = drawn.landmarks[OVAL, :2], np.array([250, 230]), []
    for size in (1.0, 1.12, 1.16):
        corners = np.round((outline - middle) * size + middle).astype(np.int32)
        masks.append(cv2.fillPoly(np.zeros((512, 512), np.uint8), [corners], 1) > 0)
    face, known, hair = masks
    image[~face], image[~hair] = (60, 45, 30), (225, 225, 225)
    portrait = Portrait(image, drawn.landmarks, TEMPLATE, matte=known.astype(np.float32), plate=light)
    assert np.abs(portrait.render(talk()).astype(int) - image).max() <= 2
    assert portrait.plate is not None and portrait.plate.min() > 200, "a ghost of the hair's edge stays behind"


def test_extreme_shapes_do_not_fold(face):
    rng = np.random.default_rng(0)
    wild = rng.normal(0, 0.15, (478, 3)).astype(np.float32)
    far, near = talk(0.2, scale=0.2), talk(0.0, translation=np.array([9.0, -9.0]))
    turns = talk(0.3, rotation=turned(40, 60, 60)), FaceShape(wild, rotation=turned(-20, 30, 10))
    for shape in (talk(0.9), FaceShape(wild), far, near, *turns):
        expressed, pose, _ = face.portrait._settle(shape)
        relief = face.portrait.relief
        assert relief.least_area(relief.displace(expressed, *pose)) > LEAST_AREA
        frame = face.portrait.render(shape)
        assert frame.shape == face.image.shape and frame.dtype == np.uint8


def test_turns_are_held_softly(face):
    def nose(yaw):
        matrix, _ = face.portrait._turn(talk(rotation=turned(yaw=yaw)), 1.0)
        return float(np.degrees(np.arcsin(-matrix[2, 0] if yaw < 0 else matrix[2, 0])))

    angles = [nose(yaw) for yaw in (5, 10, 15, 20, 30, 60)]
    assert angles[:2] == pytest.approx([5, 10], abs=0.01), "small turns are as asked"
    assert np.all(np.diff(angles) >= 0) and angles[-1] <= 20.01


def test_a_head_is_led_as_it_was_measured(face):
    """A head that turns, shifts and grows, measured by `motion`, comes back where it was."""
    rotation, scale = turned(6, -9, 4), 1.08
    turn, iod = rotation, face.portrait.iod
    pose = face.portrait.pose
    moved = (face.landmarks - pose.centre) @ turn.T * scale + pose.centre + np.array([20, -8, 0])
    two = np.stack([face.landmarks, moved]).astype(np.float32)
    _, poses = geometry.canonicalise(two, TEMPLATE)
    first = geometry.NECK_PIVOT @ poses.rotation[0] * poses.iod[0]
    carried = first - np.swapaxes(poses.rotation[1], -1, -2) @ poses.rotation[0] @ first
    translation = ((poses.centre[1] - poses.centre[0]) - carried)[:2] / poses.iod[0]
    shape = talk(rotation=rotation, translation=translation, scale=float(poses.iod[1] / poses.iod[0]))
    matrix, shift = face.portrait._turn(shape, 1.0)
    pivot = face.portrait.relief.pivot
    drawn = (face.landmarks - pivot) @ matrix + pivot[:2] + shift
    assert np.abs(drawn - moved[:, :2]).max() < 0.01 * iod


def test_a_shout_still_moves_when_it_is_closed():
    drawn = draw(512, 512, 130, (250, 210), parted=0.3)
    portrait = drawn.portrait
    amounts = [portrait._settle(talk(opening))[2] for opening in (0.0, 0.1)]
    assert amounts == [1.0, 1.0] and portrait.least <= LEAST_AREA


def test_frames_do_not_depend_on_each_other(face):
    shape = talk(0.15, rotation=turned(2, 5, 1), lids=np.array([0.5, 0.4]), gaze=np.array([0.1, 0]))
    first = face.portrait.render(shape)
    face.portrait.render(talk(0.3, rotation=turned(yaw=-15)))
    assert (face.portrait.render(shape) == first).all()
    assert (face.portrait.image == face.image).all()


def test_wider_jaw_shows_more_of_the_mouth(face):
    holes = [hole(face.portrait.render(talk(opening)), face) for opening in (0.0, 0.04, 0.1, 0.2)]
    assert holes[0] < 0.5 * holes[1], holes  # closed lips show but their line
    assert np.all(np.diff(holes) > 0), holes


def test_upper_lip_stays_when_the_jaw_falls(face):
    """The seam is true: nothing of the lower lip's motion drags the upper lip along."""
    closed, open_ = (face.portrait.render(talk(opening)) for opening in (0.0, 0.2))
    x0, x1 = (int(face.landmarks[i, 0]) for i in (81, 311))
    y0, y1 = int(face.landmarks[0, 1]) - 2, int(face.landmarks[13, 1]) - 3
    assert np.abs(closed[y0:y1, x0:x1].astype(int) - open_[y0:y1, x0:x1]).mean() < 4


def test_parted_lips_close_at_rest():
    drawn = draw(512, 512, 130, (250, 210), parted=0.08)
    assert hole(drawn.portrait.render(talk()), drawn) < 0.45 * hole(drawn.image, drawn)


def test_rest_offset_moves_the_rest(face):
    smile = np.zeros((478, 3), np.float32)
    smile[[61, 78, 291, 308], 1] = 0.05
    other = Portrait(face.image, face.landmarks, TEMPLATE, rest_offset=smile).render(talk())
    assert np.abs(other.astype(int) - face.image).max() > 20


def test_lids_cover_the_iris(face):
    seen = [blue(face.portrait.render(talk(lids=np.array([a, a])))).sum() for a in (1.0, 0.6, 0.3, 0.0)]
    assert seen[0] > 300 and np.all(np.diff(seen) < 0), seen
    assert seen[-1] == 0, "no iris is visible in shut eyes"
    one = blue(face.portrait.render(talk(lids=np.array([0.0, 1.0]))))
    middle = int(face.landmarks[168, 0]) - 170
    assert one[:, :middle].sum() == 0 and one[:, middle:].sum() > 100


def test_lids_do_not_squash_the_eyeball(face):
    """A half shut eye shows the lower half of the same iris, not a flat one."""
    half = blue(face.portrait.render(talk(lids=np.array([0.55, 0.55]))))
    assert blue(face.image)[half].mean() > 0.97
    assert half.any(0).sum() > 0.85 * blue(face.image).any(0).sum(), "as wide as before"


def test_shut_lids_have_the_tone_of_the_skin(face):
    frame = face.portrait.render(talk(lids=np.zeros(2)))
    for upper, lower, _ in EYES:
        x, top, bottom = face.landmarks[upper[4], 0], face.landmarks[upper[4], 1], face.landmarks[lower[4], 1]
        lid = frame[int(top) - 3 : int(bottom - 0.4 * (bottom - top)), int(x) - 8 : int(x) + 8].reshape(-1, 3)
        assert np.abs(lid - np.array(SKIN, float)).mean(0).max() < 12


def test_painted_teeth_are_about_as_light_as_the_skin(face):
    assert 0.8 * np.mean(SKIN) < face.portrait.mouth.enamel.mean() <= 1.25 * np.mean(SKIN)


def test_own_teeth_lend_their_colour_and_stay_with_the_skull():
    """Teeth that a picture shows are seen again when its mouth opens, and none when it is shut."""
    drawn, teeth = draw(512, 512, 130, (250, 210)), (225, 222, 200)
    canonical = TEMPLATE.copy()
    for ids in (INNER_LOWER, OUTER_LOWER):
        canonical[ids, 1] += (1 - (canonical[INNER_LOWER, 0] / 0.24) ** 2) * 0.1
    landmarks = (canonical * 130 + np.array([250, 210, 0])).astype(np.float32)
    image = drawn.image.copy()
    for ids, colour in (([*OUTER_UPPER, *OUTER_LOWER[::-1]], LIP), ([*INNER_UPPER, *INNER_LOWER[::-1]], (40, 10, 10))):
        cv2.fillPoly(image, [np.round(landmarks[ids, :2]).astype(np.int32)], colour, cv2.LINE_AA)
    opening = np.zeros(image.shape[:2], np.uint8)
    cv2.fillPoly(opening, [np.round(landmarks[[*INNER_UPPER, *INNER_LOWER[::-1]], :2]).astype(np.int32)], 1)
    row = np.arange(512)[:, None] < landmarks[13, 1] + 6
    image[(opening > 0) & row] = teeth
    portrait = Portrait(image, landmarks, TEMPLATE)

    def pale(frame):
        x0, x1, y0, y1 = *landmarks[[61, 291], 0].astype(int), int(landmarks[0, 1]), int(landmarks[17, 1]) + 20
        return int((frame[y0:y1, x0:x1].astype(int).min(-1) > 150).sum())

    assert np.abs(portrait.mouth.enamel - teeth).max() < 25
    assert pale(portrait.render(talk())) < 0.1 * pale(image)
    assert pale(portrait.render(talk(0.15))) > 0.3 * pale(image)


def test_teeth_taken_for_a_lip_are_found():
    """A tracker that sees closed lips above a row of teeth: the lip's edge is moved below them."""
    drawn = draw(512, 512, 130, (250, 210))
    canonical = TEMPLATE.copy()
    canonical[OUTER_LOWER, 1] += 0.08 * (1 - (canonical[OUTER_LOWER, 0] / 0.28) ** 2)
    landmarks = (canonical * 130 + np.array([250, 210, 0])).astype(np.float32)
    image = drawn.image.copy()
    cv2.fillPoly(image, [np.round(landmarks[[*OUTER_UPPER, *OUTER_LOWER[::-1]], :2]).astype(np.int32)], LIP)
    lens = landmarks[INNER_UPPER, :2].copy()
    lens[:, 1] += 0.09 * 130 * (1 - (canonical[INNER_UPPER, 0] / 0.24) ** 2)
    cv2.fillPoly(image, [np.round(np.r_[landmarks[INNER_UPPER, :2], lens[::-1]]).astype(np.int32)], (235, 232, 220))
    mouth = Portrait(image, landmarks, TEMPLATE).mouth
    assert mouth.parted
    assert mouth.landmarks[14, 1] - landmarks[14, 1] > 0.05 * 130


def test_a_picture_of_flat_colours_is_painted_in_them(face):
    drawn = draw(512, 512, 130, (250, 210), grain=0)
    assert drawn.portrait.brush.flat == 1 and face.portrait.brush.flat == 0
    palette = drawn.portrait.brush.palette
    mouth = np.s_[int(drawn.landmarks[13, 1]) - 15 : int(drawn.landmarks[152, 1]), 210:290]
    shares = []
    for flat in (1.0, 0.0):
        drawn.portrait.brush.flat = flat
        frame = drawn.portrait.render(talk(0.25))[mouth].astype(np.float32)
        off = np.linalg.norm(frame[..., None, :] - palette, axis=-1).min(-1)
        shares.append(float((off > 12).mean()))
    assert shares[0] < 0.5 * shares[1], shares  # what is left are soft edges


def test_gaze_moves_the_iris_as_asked(face):
    x0, row = (int(c) for c in face.landmarks[468, :2] - (170, 180))

    def centre(**gaze):
        seen = blue(face.portrait.render(talk(**gaze)))[:, x0 - 30 : x0 + 30]  # one eye, where lids do not cut it
        return np.array([np.nonzero(seen[row - 2 : row + 3])[1].mean(), np.nonzero(seen)[0].mean()])

    still = centre()
    right, left = centre(gaze=np.array([0.2, 0])), centre(gaze=np.array([-0.2, 0]))
    assert right[0] - still[0] == pytest.approx(0.13 * np.sin(0.2) * face.portrait.iod, abs=1)
    assert still[0] - left[0] == pytest.approx(right[0] - still[0], abs=1)
    assert centre(gaze=np.array([0, 0.2]))[1] > still[1] + 0.5


def test_lids_follow_the_gaze(face):
    """Looking down the upper lid comes along: no white is left above the iris; looking up it gives way."""

    def white_above(**gaze):
        seen = face.portrait.render(talk(**gaze))[180:240, 170:330].astype(int)
        x = int(face.landmarks[468, 0]) - 170
        column = (seen[:, x - 3 : x + 4].min(-1) > 215).mean(1) > 0.5
        iris = np.flatnonzero((seen[:, x - 3 : x + 4, 2] > seen[:, x - 3 : x + 4, 0] + 60).any(1))
        return int(column[: iris[0]].sum()), int(iris[0])

    calm, down, up = (white_above(gaze=np.array([0, y])) for y in (0.0, 0.25, -0.25))
    assert down[0] <= calm[0] + 1, "a lid that stayed would show white above the iris"
    assert up[1] < calm[1] < down[1]


def test_rims_of_glasses_stay_in_a_blink(face):
    image = face.image.copy()
    frames = []
    for upper, _, _ in EYES:
        x, y = face.landmarks[upper[4], :2]
        frames.append((int(y) - 10, int(x)))
        cv2.line(image, (int(x) - 25, int(y) - 10), (int(x) + 25, int(y) - 10), (20, 20, 20), 2)
    frame = Portrait(image, face.landmarks, TEMPLATE).render(talk(lids=np.zeros(2)))
    for y, x in frames:
        assert frame[y - 2 : y + 3, x - 10 : x + 11].min(0).mean() < 60


def test_head_turn_moves_nose_more_than_ears(face):
    points, relief = face.portrait.points, face.portrait.relief
    field = relief.pose_field(*face.portrait._turn(talk(rotation=turned(yaw=10)), 1.0)).reshape(-1, 2)

    def at(point):
        return field[np.linalg.norm(relief.nodes - points[point, :2], axis=1).argmin(), 0]

    assert abs(at(1)) > abs(at(234)) + 2 and abs(at(1)) > abs(at(454)) + 2


@pytest.mark.parametrize("width, height, iod, centre, roll", [
    (64, 64, 20, (31, 24), 0),
    (257, 331, 75, (120, 130), 25),
    (511, 389, 150, (90, 120), 0),  # cut by the left and upper border
    (400, 401, 170, (230, 90), -15),  # the chin lies below the picture
    (640, 480, 18, (600, 40), 0),  # small, in a corner
    (333, 333, 90, (160, 150), 80),  # lies on its side
    (200, 200, 100, (100, 170), 0),  # no lips in the picture
    (200, 200, 100, (100, -60), 0),  # no eyes in the picture
    pytest.param(2000, 3000, 420, (900, 1100), 0, marks=pytest.mark.slow),
])  # fmt: skip
def test_any_size_and_place(width, height, iod, centre, roll):
    drawn = draw(width, height, iod, centre, roll=roll)
    for shape in (talk(), talk(0.2, rotation=turned(6, -12, 8), lids=np.array([0.2, 0.0]), gaze=np.array([-0.2, 0.1]))):
        frame = drawn.portrait.render(shape)
        assert frame.shape == (height, width, 3) and frame.dtype == np.uint8
    assert np.abs(drawn.portrait.render(talk()).astype(int) - drawn.image).mean() < 1


def test_wrong_pictures_are_refused_in_words(face):
    with pytest.raises(ValueError, match="uint8"):
        Portrait(face.image.astype(np.float32), face.landmarks, TEMPLATE)
    with pytest.raises(ValueError, match="478"):
        Portrait(face.image, face.landmarks[:468], TEMPLATE)


def test_canonical_space_is_the_template(face):
    canonical, _ = geometry.canonicalise(face.landmarks, TEMPLATE)
    assert np.abs(canonical - TEMPLATE).max() < 1e-3
