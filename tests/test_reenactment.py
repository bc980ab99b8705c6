"""Films made again from their first frame: measures that know what they measure, a baseline, a motion that leads back."""

import numpy as np
import pytest
from test_warp import draw

from mien.portrait import reenactment
from mien.portrait.motion import load_space
from mien.portrait.reenactment import AffineWarp, frechet, gmsd, motion_from_first, psnr, ssim
from mien.portrait.tracking import Track


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 255, (60, 70, 3)).astype(np.uint8)


def test_equal_pictures_are_equal_and_worse_ones_worse(picture):
    grey = picture.mean(-1).astype(np.float32)
    noisy = np.clip(picture + np.random.default_rng(4).normal(0, 20, picture.shape), 0, 255).astype(np.uint8)
    worse = noisy.mean(-1).astype(np.float32)
    assert psnr(picture, picture) == 60 and 15 < psnr(picture, noisy) < 30
    assert ssim(grey, grey) == pytest.approx(1) and ssim(grey, worse) < 0.98
    assert gmsd(grey, grey) < 1e-6 and gmsd(grey, worse) > 0


def test_frechet_is_zero_for_one_cloud_and_the_square_of_a_shift():
    cloud = np.random.default_rng(5).normal(0, 1, (400, 6))
    assert frechet(cloud, cloud) == pytest.approx(0, abs=1e-9)
    assert frechet(cloud, cloud + 2) == pytest.approx(6 * 4, rel=1e-6)


def test_affine_warp_puts_landmarks_where_they_go():
    drawn = draw(256, 256, 60, (128, 100))
    plain = AffineWarp(drawn.image, drawn.landmarks)
    assert np.abs(plain.render(drawn.landmarks).astype(int) - drawn.image)[5:-5, 5:-5].max() <= 3
    moved = drawn.landmarks + np.float32([6, -4, 0])
    frame = plain.render(moved)
    x, y = drawn.landmarks[468, :2].astype(int)
    there, here = frame[y - 7 : y, x + 3 : x + 10].astype(int), drawn.image[y - 3 : y + 4, x - 3 : x + 4].astype(int)
    assert np.abs(there - here).mean() < 12


def test_motion_starts_at_rest_and_follows_the_head():
    space = load_space()
    first = space.template * 80 + np.array([128, 110, 0])
    films = [first, first + np.array([16, 0, 0]), (first - first[33]) * 1.1 + first[33]]
    count = len(films)
    track = Track(
        np.array(films, np.float32), np.zeros((count, 52), np.float32), np.tile(np.eye(4), (count, 1, 1)),
        np.ones(count, bool), (256, 256),
    )  # fmt: skip
    values = motion_from_first(track, space).values
    np.testing.assert_allclose(values[0, :6], 0, atol=1e-5)
    np.testing.assert_allclose(values[0, 8:10], 1, atol=1e-5)
    assert values[1, 3] == pytest.approx(0.2, abs=1e-3) and values[2, 5] == pytest.approx(np.log(1.1), abs=1e-3)


def test_every_figure_of_the_table_is_defined():
    assert {"psnr", "ssim", "landmarks", "lips", "flicker"} <= set(reenactment.FIGURES)
    means = {name: {"psnr": 30.0, "ssim": 0.9} for name in reenactment.METHODS}
    text = reenactment.table({"means": means, "clips": [0], "seconds": 1.0})
    assert "psnr" in text and "affine" in text
