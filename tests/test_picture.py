"""Around the portrait: its matte and plate, backgrounds, crops, frame rates and dials."""

import cv2
import numpy as np
import pytest

from mien.media import load_image
from mien.portrait.controls import Controls
from mien.portrait.framing import CROPS, crop_box
from mien.portrait.matte import fill_plate, find_matte, is_clear
from mien.portrait.motion import REGIONS, Motion, load_space, rest_values
from mien.portrait.retime import retimed
from mien.portrait.tracking import Face


@pytest.fixture(scope="module")
def take() -> Motion:
    """Four seconds: a head that sways, a blink of three frames, lips that open and meet for a single frame."""
    space, t = load_space(), np.arange(100) / 25
    values = rest_values(100)
    values[:, 1] = 0.1 * np.sin(2 * np.pi * 0.5 * t)
    values[40:43, REGIONS["lids"]] = [[0.4], [0.0], [0.5]]
    direction = space.aperture_direction
    opening = 0.1 + 0.05 * np.sin(2 * np.pi * 3 * t)
    opening[[31, 64, 77]] = 0
    return Motion((values + opening[:, None] * direction / (direction @ direction)).astype(np.float32))


@pytest.mark.parametrize("fps", [30, 50, 60])
def test_another_rate_keeps_the_length_the_sway_the_blink_and_the_closures(take, fps):
    space, again = load_space(), Motion(np.concatenate(list(retimed([take.values], 25, fps, 4 * fps))), fps)
    assert len(again) == 4 * fps and again.fps == fps
    t = np.arange(len(again)) / fps
    inside = t < 3.9
    assert np.abs(again.values[:, 1] - 0.1 * np.sin(np.pi * t))[inside].max() < 0.003
    assert again.values[:, REGIONS["lids"]].min() == 0
    for frame in (31, 64, 77):
        near = np.abs(t - frame / 25) <= 0.5 / fps + 1e-6
        assert space.aperture(again.values[near]).min() < 0.001
    assert space.aperture(again.values).min() > -0.001, "lips cross between frames"


def test_another_rate_is_the_same_in_pieces_and_whole(take):
    whole = np.concatenate(list(retimed([take.values], 25, 60, 240)))
    pieces = np.concatenate(list(retimed(np.array_split(take.values, [7, 8, 40, 90]), 25, 60, 240)))
    np.testing.assert_allclose(pieces, whole, atol=1e-6)
    assert all(a is b for a, b in zip(retimed([take.values], 25, 25, 100), [take.values], strict=True))


@pytest.mark.parametrize("crop", CROPS)
def test_crops_hold_the_face_with_room_above_in_their_shape(crop):
    _, aspect, _ = CROPS[crop]
    for width, height, face in ((2000, 2000, (900, 700, 1100, 940)), (640, 480, (200, 100, 400, 350))):
        x0, y0, x1, y1 = crop_box(crop, face, width, height)
        assert 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height
        assert (x1 - x0) % 2 == 0 and (y1 - y0) % 2 == 0
        assert (x1 - x0) / (y1 - y0) == pytest.approx(aspect, abs=0.01)
        assert x0 <= face[0] and face[2] <= x1 and y1 >= face[3]
        tall = face[3] - face[1]
        assert y0 == 0 or face[1] - y0 >= 0.4 * tall, "the hair is cut off"
    assert crop_box("keep", (1, 1, 2, 2), 33, 21) == (0, 0, 33, 21)
    with pytest.raises(ValueError, match="Unknown crop 'wide': choose keep, face, portrait, square, 9:16"):
        crop_box("wide", (0, 0, 1, 1), 9, 9)


def test_dials_do_what_they_say_and_lips_that_meet_go_on_meeting(take):
    space = load_space()
    opening = space.aperture(take.values)
    for controls in (Controls(smile=1), Controls(smile=-1), Controls(brow=1), Controls(brow=-1)):
        np.testing.assert_allclose(space.aperture(controls.face(take.values, space)), opening, atol=1e-5)
    half = space.aperture(Controls(mouth=0.5).face(take.values, space))
    np.testing.assert_allclose(half, opening / 2, atol=1e-5)

    def shown(controls: Controls, name: str) -> float:
        from mien.portrait.tracking import BLENDSHAPES

        shapes = space.to_blendshapes(controls.face(rest_values(1), space))
        return float(shapes[0, BLENDSHAPES.index(name)])

    assert shown(Controls(smile=1), "mouthSmileLeft") > shown(Controls(smile=0.5), "mouthSmileLeft") > 0.1
    assert shown(Controls(brow=1), "browInnerUp") > 0.4 and shown(Controls(brow=-1), "browDownLeft") > 0.4


@pytest.mark.parametrize(
    ("dials", "sentence"),
    [
        ({"head": 3}, "head 3 is out of range: give 0 to 2, 1 is usual."),
        ({"yaw": -40}, "yaw -40 is out of range: give -15 to 15, 0 is usual."),
        ({"pitch_limit": 90}, "pitch_limit 90 is out of range: give 0 to 15, 12 is usual."),
        ({"mouth": float("nan")}, "mouth nan is out of range: give 0 to 1.5, 1 is usual."),
    ],
)
def test_a_dial_out_of_range_names_its_range(dials, sentence):
    with pytest.raises(ValueError) as told:
        Controls(**dials)
    assert str(told.value) == sentence


@pytest.fixture(scope="module")
def astronaut(astronaut_path) -> tuple[np.ndarray, np.ndarray]:
    """The shipped picture, half as large, and its landmarks."""
    landmarks = Face.load(astronaut_path.with_suffix(".json")).landmarks
    return np.ascontiguousarray(load_image(astronaut_path)[::2, ::2]), landmarks / 2


def test_the_matte_holds_the_person_and_leaves_the_rest(astronaut):
    image, landmarks = astronaut
    matte = find_matte(image, landmarks)
    assert matte.shape == image.shape[:2] and matte.dtype == np.float32 and 0 <= matte.min() <= matte.max() <= 1
    for person in (matte[35:85, 88:136], matte[15:25, 100:125], matte[130:230, 70:140]):  # face, hair, suit
        assert person.mean() > 0.93
    for behind in (matte[5:90, 160:178], matte[5:80, 35:55], matte[5:110, 0:20]):  # wall, wall, flag
        assert behind.mean() < 0.08
    assert is_clear(matte, landmarks)


def test_the_matte_is_that_of_the_face_that_is_asked_for(astronaut):
    image, landmarks = astronaut
    pair = np.concatenate([image[:, :190], image[:, :190]], 1)
    left = find_matte(pair, landmarks)
    assert left[35:85, 88:136].mean() > 0.93 and left[35:85, 278:326].mean() < 0.1
    right = find_matte(pair, landmarks + np.array([190, 0, 0], np.float32))
    assert right[35:85, 278:326].mean() > 0.93 and right[35:85, 88:136].mean() < 0.1


def test_nobody_is_left_on_the_plate_and_what_was_seen_stays(astronaut):
    image, landmarks = astronaut
    matte = find_matte(image, landmarks)
    plate = fill_plate(image, matte)
    far = cv2.dilate((matte > 0.02).astype(np.uint8), np.ones((15, 15), np.uint8)) == 0
    assert np.abs(plate[far].astype(int) - image[far]).max() <= 1
    wall, hair = image[5:40, 160:178].reshape(-1, 3).mean(0), image[15:25, 100:125].reshape(-1, 3).mean(0)
    behind = plate[15:45, 90:130].reshape(-1, 3).mean(0)
    assert np.abs(behind - wall).max() < 0.35 * np.abs(behind - hair).max()
