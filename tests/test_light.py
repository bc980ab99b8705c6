"""Light that stays while the head turns, and lines that a feeling draws: on the drawn face of test_warp."""

import numpy as np
import pytest
from test_warp import TEMPLATE, draw, talk, turned

from mien.portrait.light import STRONGEST, Light
from mien.portrait.warp import Portrait
from mien.portrait.wrinkles import DEPTH, drawn_together, raised


def dome(towards: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A dome lit from one side: picture, relief on a grid of 4 pixels, and where the dome is."""
    y, x = np.mgrid[-1:1:200j, -1:1:200j]
    z = -np.sqrt(np.clip(1.2 - x * x - y * y, 0.05, None))
    normal = np.dstack([x, y, z]) / np.sqrt(x * x + y * y + z * z)[..., None]
    light = 60 + 150 * np.clip(normal @ np.array([towards, -0.3, -0.8]), 0, 1)
    image = np.repeat(light[..., None], 3, 2).astype(np.uint8)
    grid = np.s_[2::4, 2::4]
    places = np.mgrid[0:200, 0:200][::-1].astype(np.float32)
    relief = np.dstack([places[0], places[1], 100 * z])[grid].astype(np.float32)
    return image, relief, (x * x + y * y < 0.7)[grid]


@pytest.mark.parametrize("towards", [-0.5, 0.5])
def test_what_turns_to_the_light_becomes_lighter(towards):
    light = Light(*dome(towards))
    assert light.gain(np.eye(3)) is None
    gain = light.gain(turned(yaw=20 * np.sign(towards)))
    assert gain is not None and gain.max() <= STRONGEST
    other = light.gain(turned(yaw=-20 * np.sign(towards)))
    middle = np.s_[20:30, 22:28]
    assert (gain[middle].mean() > 1.01) != (other[middle].mean() > 1.01), "one turn faces the light, the other leaves it"


def frowning() -> np.ndarray:
    expression = np.zeros((478, 3), np.float32)
    expression[[107, 336], 0] = 0.03, -0.03
    return expression


def test_brows_tell_their_units():
    moved = np.zeros((478, 3), np.float32)
    moved[[107, 336], 0] = 0.02, -0.02
    assert drawn_together(moved) > 0.9 and raised(moved) == 0
    moved = np.zeros((478, 3), np.float32)
    moved[:, 1] = -0.05
    assert raised(moved) > 0.8 and drawn_together(moved) == 0


def test_a_raised_brow_draws_valleys_with_their_ridges():
    drawn, raising = draw(512, 512, 130, (250, 210)), np.zeros((478, 3), np.float32)
    raising[:, 1] = -0.08
    lined = drawn.image.copy()
    drawn.portrait.wrinkles.draw(lined, (0, 0), raising)
    change = lined.astype(float) - drawn.image
    assert change.min() < -2 and change.max() > 2


def test_a_frown_draws_lines_and_calm_draws_none():
    drawn = draw(512, 512, 130, (250, 210))
    lines = drawn.portrait.wrinkles
    calm, frown = drawn.image.copy(), drawn.image.copy()
    lines.draw(calm, (0, 0), np.zeros((478, 3), np.float32))
    assert (calm == drawn.image).all()
    lines.draw(frown, (0, 0), frowning())
    change = frown.astype(float).sum(-1) / drawn.image.astype(float).sum(-1) - 1
    assert change.min() < -0.04, "a valley"
    assert -2.5 * DEPTH < change.min(), "subtle"
    assert (np.abs(change) > 0.01).mean() < 0.1


def test_a_face_that_frowns_already_gets_no_second_line():
    drawn = draw(512, 512, 130, (250, 210))
    frowned = Portrait(drawn.image, drawn.landmarks, TEMPLATE, rest_offset=-frowning())
    again = drawn.image.copy()
    frowned.wrinkles.draw(again, (0, 0), frowning())
    assert np.abs(again.astype(int) - drawn.image).max() <= 2


def test_lines_are_cut_at_the_picture():
    drawn = draw(200, 200, 100, (100, 20))
    frame = drawn.portrait.render(talk(rotation=turned(yaw=10)))
    assert frame.shape == drawn.image.shape
