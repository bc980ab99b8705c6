"""The gallery: every look is drawn, and looks as it is called."""

import numpy as np
from test_warp import draw

from mien.emotion import CATEGORIES
from mien.portrait.gallery import COLUMNS, LOOKS, gallery, pose_of, tiles
from mien.portrait.motion import load_space
from mien.portrait.tracking import Face
from mien.portrait.warp import Portrait


def test_a_sheet_shows_the_picture_and_every_look():
    space = load_space()
    drawn = draw(220, 220, 60, (110, 90))
    landmarks = (space.template * 60 + np.array([110, 90, 0])).astype(np.float32)
    face = Face(landmarks, np.zeros(52, np.float32), np.eye(4, dtype=np.float32))
    portrait = Portrait(drawn.image, landmarks, space.template)
    shown = tiles(portrait, face)
    assert list(shown) == ["picture", *LOOKS] and set(CATEGORIES[1:]) < set(LOOKS)
    sizes = {tile.shape for tile in shown.values()}
    assert len(sizes) == 1
    side = sizes.pop()[1]
    page = gallery(portrait, face)
    assert page.shape == (-(-len(shown) // COLUMNS) * side, COLUMNS * side, 3)
    assert not (shown["blink"] == shown["rest"]).all() and not (shown["yaw 20"] == shown["yaw -20"]).all()


def test_looks_are_what_they_say():
    space = load_space()
    rest, shut, left = (pose_of(LOOKS[name], space) for name in ("rest", "blink", "gaze left"))
    assert np.abs(rest.expression).max() < 1e-6 and (rest.lids == 1).all()
    assert (shut.lids == 0).all() and left.gaze[0] < 0
    assert pose_of(LOOKS["open a"], space).expression[17, 1] > 0.05
