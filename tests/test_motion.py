"""The motion space and the Motion value: what is encoded comes back, what is exported can be read elsewhere."""

import csv
import json

import numpy as np
import pytest

from mien.portrait import geometry
from mien.portrait.motion import (
    CHANNELS,
    REGIONS,
    Motion,
    load_space,
    rest_values,
    rotation_matrix,
    rotation_vector,
)
from mien.portrait.tracking import BLENDSHAPES, Face, Track

rng = np.random.default_rng(0)


@pytest.fixture(scope="module")
def space():
    return load_space()


@pytest.fixture(scope="module")
def take(space) -> Motion:
    steps = np.cumsum(rng.normal(0, 0.05, (40, CHANNELS)), axis=0).astype(np.float32)
    return Motion(space.mean + np.tanh(steps) * space.std)


def test_canonical_faces_come_back_to_their_pixels(space):
    pixels = (space.template @ rotation_matrix(np.array([0.1, -0.3, 0.2])).T * 83 + [211, 97, 5]).astype(np.float32)
    canonical, pose = geometry.canonicalise(pixels, space.template)
    assert np.abs(canonical - space.template).max() < 1e-4
    assert np.abs(geometry.restore(canonical, pose) - pixels).max() < 1e-2
    assert pose.iod == pytest.approx(83, rel=1e-4)


def test_rotation_vectors_and_matrices_are_inverse():
    for vector in rng.normal(0, 0.5, (7, 3)):
        assert rotation_vector(rotation_matrix(vector)) == pytest.approx(vector, abs=1e-6)


def test_sealed_lips_meet_and_sealing_twice_changes_nothing(space):
    opened = space.template + space.shapes[BLENDSHAPES.index("jawOpen")]
    assert geometry.aperture(opened) > 0.1
    closed = geometry.seal(opened)
    assert np.abs(geometry.lip_gap(closed)).max() < 1e-6
    assert np.abs(geometry.seal(closed) - closed).max() < 1e-6


def test_motion_drawn_as_landmarks_and_tracked_again_is_the_same_motion(space, take):
    rest = geometry.seal(space.template)
    turned = np.stack([
        (points @ rotation_matrix(row[:3] * 0.3)).astype(np.float32) * 120 + [300, 200, 0]
        for points, row in zip(space.landmarks(take.values, rest), take.values, strict=True)
    ])  # fmt: skip
    frames = len(take)
    shapes = np.zeros((frames, 52), np.float32)
    track = Track(
        turned.astype(np.float32), shapes, np.zeros((frames, 4, 4), np.float32), np.ones(frames, bool), (640, 480)
    )
    encoded = space.encode(track).values
    opening = space.aperture(take.values), space.aperture(encoded)
    assert np.corrcoef(*opening)[0, 1] > 0.99
    speed = (
        np.diff(take.values[:, REGIONS["mouth"]][:, :4], axis=0),
        np.diff(encoded[:, REGIONS["mouth"]][:, :4], axis=0),
    )
    assert np.corrcoef(speed[0].ravel(), speed[1].ravel())[0, 1] > 0.97


def test_blendshapes_survive_the_way_through_motion(space):
    for name in ("jawOpen", "mouthPucker", "browInnerUp", "mouthSmileLeft"):
        one = np.zeros((2, 52), np.float32)
        one[1, BLENDSHAPES.index(name)] = 0.8
        low, high = space.to_blendshapes(space.from_blendshapes(one))[:, BLENDSHAPES.index(name)]
        assert high - low > 0.2, name


def test_a_take_is_sliced_joined_scaled_and_read_back(take, tmp_path):
    assert len(take[3:10]) == 7
    assert np.array_equal(take[:11].joined(take[11:]).values, take.values)
    still = take.scaled("rotation", 0).scaled("lids", 0)
    assert not still.values[:, REGIONS["rotation"]].any() and (still.values[:, REGIONS["lids"]] == 1).all()
    take.save(tmp_path / "take.npz")
    assert np.array_equal(Motion.load(tmp_path / "take.npz").values, take.values)


def test_live_link_csv_and_json_name_all_52_shapes(take, tmp_path):
    take.save(tmp_path / "take.csv")
    take.save(tmp_path / "take.json")
    rows = list(csv.DictReader((tmp_path / "take.csv").open()))
    assert len(rows) == len(take) and rows[26]["Timecode"].startswith("00:00:01:01")
    assert {"EyeBlinkLeft", "JawOpen", "TongueOut", "HeadYaw", "RightEyeRoll"} <= set(rows[0]) and len(rows[0]) == 63
    data = json.loads((tmp_path / "take.json").read_text())
    assert data["names"] == list(BLENDSHAPES) and np.array(data["blendshapes"]).shape == (len(take), 52)
    assert all(0 <= float(rows[5][name[0].upper() + name[1:]]) <= 1 for name in BLENDSHAPES)


def test_errors_say_what_to_do(take, tmp_path):
    with pytest.raises(ValueError, match="rotation, translation"):
        take.scaled("nose", 2)
    with pytest.raises(ValueError, match=r"\.npz, \.csv"):
        take.save(tmp_path / "take.bvh")
    assert not list(tmp_path.iterdir())
    (tmp_path / "fake.npz").write_text("no")
    with pytest.raises(ValueError, match="is no take"):
        Motion.load(tmp_path / "fake.npz")
    with pytest.raises(ValueError, match="fps"):
        take.joined(Motion(take.values, fps=30))


def test_a_smiling_open_mouth_is_taken_back_to_rest(space):
    shapes = np.zeros(52, np.float32)
    for name in ("mouthSmileLeft", "mouthSmileRight", "jawOpen"):
        shapes[BLENDSHAPES.index(name)] = 0.6
    rest = geometry.seal(space.template)
    smiling = rest + np.einsum("b,bpc->pc", shapes, space.shapes)
    face = Face((smiling * 100 + [200, 200, 0]).astype(np.float32), shapes, np.eye(4, dtype=np.float32))
    back = smiling + space.rest_offset(face)
    assert np.abs(geometry.lip_gap(back)).max() < 1e-4
    corners = [61, 291]
    assert (
        np.abs(back[corners, :2] - rest[corners, :2]).max()
        < 0.3 * np.abs(smiling[corners, :2] - rest[corners, :2]).max()
    )


def test_rest_draws_no_displacement(space):
    shape = next(Motion(rest_values(1)).shapes(space))
    assert not shape.expression.any() and np.allclose(shape.rotation, np.eye(3)) and shape.scale == 1
