"""The front door and the `mien` command: real pictures, real sound, real films."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

import mien
from mien import front
from mien.cli import app
from mien.front import ASSETS
from mien.media import Sound, load_image, load_sound, probe, read_frames
from mien.media.sound import save_sound
from mien.portrait.controls import Controls
from mien.portrait.motion import REGIONS, Motion, load_space, rest_values
from mien.portrait.retime import retimed
from mien.portrait.tracking import Face

PICTURE, POINTS, VOICE = ASSETS / "astronaut.jpg", ASSETS / "astronaut.json", ASSETS / "welcome.ogg"


@pytest.fixture(scope="module")
def portrait() -> mien.Animator:
    return mien.Animator(PICTURE, landmarks=POINTS, size=256)


@pytest.fixture(scope="module")
def voice() -> Sound:
    """Two seconds of the welcome, as a 24 kHz recording with odd length."""
    sound = load_sound(VOICE)
    return Sound(sound.samples[: 2 * sound.sample_rate + 77], sound.sample_rate)


@pytest.fixture(scope="module")
def take(portrait, voice) -> Motion:
    return portrait.speak_along(voice, seed=3).motion


def command(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_the_lips_follow_the_voice_and_rest_without_one(portrait, take):
    space = load_space()
    quiet = portrait.speak_along(Sound.silence(2.0)).motion
    assert space.aperture(take.values).max() > 0.06
    assert space.aperture(quiet.values).max() < 0.02


def test_the_same_seed_gives_the_same_frames_and_another_seed_others(portrait, voice, take):
    again = portrait.speak_along(voice, seed=3)
    assert np.array_equal(again.motion.values, take.values)
    assert np.array_equal(next(iter(again)), next(iter(portrait.speak_along(voice, seed=3))))
    assert not np.allclose(portrait.speak_along(voice, seed=4).motion.values, take.values)


def test_the_film_is_as_long_as_the_voice_and_starts_as_the_picture(portrait, voice, tmp_path):
    video = portrait.speak_along(voice)
    counts = []
    video.save(tmp_path / "a.mp4", progress=lambda done, total: counts.append((done, total)))
    facts = probe(tmp_path / "a.mp4")
    assert len(video) == 51 == counts[-1][0] == counts[-1][1] and facts.size == (256, 256) and facts.has_sound
    assert facts.duration_s == pytest.approx(2.04, abs=0.001)
    assert load_sound(tmp_path / "a.mp4").duration_s == pytest.approx(2.04, abs=0.03)
    first = next(read_frames(tmp_path / "a.mp4")).astype(int)
    picture = portrait.portrait.render(next(Motion(rest_values(1)).shapes())).astype(int)
    assert np.abs(first - picture).mean() < 6


def test_nothing_but_the_face_and_its_surroundings_ever_changes(portrait, voice):
    x0, y0, x1, y1 = portrait.portrait.box
    outside = np.ones((256, 256), bool)
    outside[y0:y1, x0:x1] = False
    source = next(iter(portrait.follow(Motion(rest_values(1)))))
    assert outside.any()
    for frame in list(portrait.speak_along(voice, "surprised"))[::10]:
        assert np.array_equal(frame[outside], source[outside])


def test_feelings_show_and_grow_with_intensity(portrait, voice):
    """Brows down for anger, up for surprise, smile for joy: by the motion's own ARKit map, mean of the take."""
    from mien.portrait.tracking import BLENDSHAPES

    space = load_space()
    for emotion, shape in (("happy", "mouthSmileLeft"), ("angry", "browDownLeft"), ("surprised", "browInnerUp")):
        column = BLENDSHAPES.index(shape)
        shown = [
            space.to_blendshapes(portrait.speak_along(voice, emotion, intensity=i).motion.values)[:, column].mean()
            for i in (0, 0.5, 1.0)
        ]
        assert shown[0] < shown[1] < shown[2], (emotion, shown)


def test_head_gain_and_camera_gaze_are_obeyed(portrait, voice):
    still = portrait.speak_along(voice, controls=Controls(head=0)).motion.values
    assert np.abs(still[:, : REGIONS["scale"].stop]).max() < 1e-6
    held = portrait.speak_along(voice, controls=Controls(head=0), gaze="camera").motion.values
    assert np.abs(held[:, REGIONS["gaze"]]).max() < 1e-6
    aside = portrait.speak_along(voice, controls=Controls(head=0, yaw=8, gaze_y=5, blink=0), gaze="camera").motion.values
    assert np.degrees(aside[:, 1]) == pytest.approx(-7.4, abs=0.2) and np.degrees(aside[:, 7]).min() > 3
    assert aside[:, REGIONS["lids"]].min() > 0.5


def test_a_take_drives_another_picture_and_survives_the_file(portrait, take, tmp_path):
    take.save(tmp_path / "take.npz")
    frames = list(portrait.follow(tmp_path / "take.npz"))
    assert len(frames) == len(take) and not np.array_equal(frames[5], frames[30])


def test_a_transcript_goes_into_the_film(portrait, voice, tmp_path):
    import av

    portrait.speak_along(voice, text="Hello, and welcome").save(tmp_path / "a.mp4")
    with av.open(str(tmp_path / "a.mp4")) as film:
        assert film.metadata["comment"] == "Hello, and welcome"


def test_two_leads_nothing_and_unknown_ones_are_refused():
    for given, sentence in (
        ({"text": "Hello", "driving": "film.mp4"}, "cannot both lead"),
        ({"audio": VOICE, "voice": "tom"}, "who speaks a text"),
        ({"text": "Hello", "engine": "festival"}, "Unknown engine 'festival'"),
    ):
        with pytest.raises(ValueError, match=sentence):
            mien.animate(PICTURE, **given, landmarks=POINTS)
    with pytest.raises(ValueError, match="audio="):
        mien.animate(PICTURE, landmarks=POINTS)
    with pytest.raises(ValueError, match="did you mean"):
        mien.animate(PICTURE, VOICE, "hapy", landmarks=POINTS)


def test_a_tiny_face_is_refused_with_its_size(tmp_path):
    with pytest.raises(ValueError, match=r"2\d pixels"):
        mien.Animator(PICTURE, landmarks=POINTS, size=128)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nofile.jpg", VOICE], "does not exist"),
        ([VOICE, VOICE], "is a sound"),
        ([PICTURE, PICTURE], "is a picture"),
        ([PICTURE, VOICE, "--emotion", "xyzzy"], "known are neutral"),
        ([PICTURE, VOICE, "--intensity", "3"], "0 (neutral) to 1.5"),
        ([PICTURE, VOICE, "-o", "no/where.mp4"], "does not exist"),
        ([PICTURE, VOICE, "-o", "film.avi"], ".mp4"),
        ([PICTURE, VOICE, "--model", "animator-nanno"], "animator-nano"),
        ([PICTURE, VOICE, "--motion", "take.bvh"], ".csv"),
        ([PICTURE, VOICE, "--gaze", "up"], "camera"),
        ([PICTURE, VOICE, "--landmarks", PICTURE], "landmarks"),
        ([PICTURE, VOICE, "--background", "purple"], "keep, blur, transparent, a colour such as #00ff00, or a picture"),
        ([PICTURE, VOICE, "--background", "#12345"], "six hexadecimal digits"),
        ([PICTURE, VOICE, "--background", "no.jpg"], "does not exist"),
        ([PICTURE, VOICE, "--background", "transparent"], "choose .mov (ProRes 4444) or .webm (VP9)"),
        ([PICTURE, VOICE, "--crop", "wide"], "keep, face, portrait, square, 9:16"),
        ([PICTURE, VOICE, "--fps", "24"], "25, 30, 50, 60"),
        ([PICTURE, VOICE, "--smile", "2"], "-1 to 1"),
        ([PICTURE, "--driving", "take.npz", "--motion-mode", "wild"], "relative or absolute"),
    ],
)
def test_bad_input_gets_one_sentence_code_2_and_leaves_nothing(words, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if "--landmarks" not in words:
        words = [*words, "--landmarks", POINTS]
    run = command("animate", *words)
    assert run.exit_code == 2 and sentence in run.output and len(run.output.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.fixture
def short(tmp_path, voice):
    """Half a second of the welcome as a file, and what else the command needs to be quick."""
    save_sound(tmp_path / "short.wav", Sound(voice.samples[: voice.sample_rate // 2], voice.sample_rate))
    return [PICTURE, tmp_path / "short.wav", "--landmarks", POINTS, "--crop", "face", "--size", 128, "--json"]


@pytest.mark.parametrize("ending", [".mov", ".webm"])
def test_a_transparent_film_shows_the_person_alone(short, tmp_path, ending):
    import av

    run = command("animate", *short, "--background", "transparent", "-o", tmp_path / f"cut{ending}")
    assert run.exit_code == 0, run.output
    with av.open(str(tmp_path / f"cut{ending}")) as film:
        stream = film.streams.video[0]
        decoder = av.CodecContext.create("libvpx-vp9", "r") if ending == ".webm" else stream.codec_context
        frames = [frame for packet in film.demux(stream) for frame in decoder.decode(packet if packet.size else None)]
    assert len(frames) == 13
    for alpha in (frame.reformat(format="rgba").to_ndarray()[..., 3] for frame in frames):
        assert alpha[:12, :12].max() < 10 and alpha[:12, -12:].max() < 10, "the background shows"
        assert alpha[54:74, 54:74].min() > 245, "the face is seen through"


@pytest.mark.parametrize("fps", [30, 60])
def test_any_rate_lasts_as_long_as_the_voice_with_its_motion(short, tmp_path, fps):
    out, take = tmp_path / "a.mp4", tmp_path / "a.csv"
    run = command("animate", *short, "--fps", fps, "--background", "#00ff00", "-o", out, "--motion", take)
    assert run.exit_code == 0, run.output
    told, film = json.loads(run.output), probe(out)
    assert told["frames"] == fps // 2 and told["duration_s"] == 0.5 and told["settings"]["background"] == "#00ff00"
    assert film.fps == fps and film.duration_s == pytest.approx(0.5, abs=0.002) and film.size == (128, 128)
    assert load_sound(out).duration_s == pytest.approx(0.5, abs=0.03)
    rows = take.read_text().splitlines()
    assert len(rows) == 1 + fps // 2 and rows[-1].startswith(f"00:00:00:{fps // 2 - 1:02d}.000,")
    corner = next(read_frames(out))[:10, :10].astype(int)
    assert np.abs(corner - (0, 255, 0)).max() < 30


def test_a_crop_is_the_pictures_own_pixels_and_backgrounds_leave_the_person(astronaut_path):
    image = load_image(astronaut_path)
    whole = mien.Animator(image, landmarks=POINTS, background="blur")
    close = mien.Animator(image, landmarks=POINTS, crop="9:16")
    assert close.size[0] / close.size[1] == pytest.approx(9 / 16, abs=0.01)
    shift = (whole.face.landmarks - close.face.landmarks)[:, :2]
    x, y = np.round(shift[0]).astype(int)
    assert np.allclose(shift, (x, y), atol=1e-3)
    np.testing.assert_array_equal(close.portrait.image, image[y : y + close.size[1], x : x + close.size[0]])
    frame = next(iter(whole.follow(Motion(rest_values(1)))))
    still = whole.portrait.render(next(Motion(rest_values(1)).shapes()))
    x0, y0, x1, y1 = (round(v) for v in whole.face.box)
    assert np.abs(frame[y0:y1, x0:x1].astype(int) - still[y0:y1, x0:x1]).mean() < 1
    corner = np.s_[:120, 380:]
    assert np.diff(frame[corner].astype(int), axis=1).std() < 0.5 * np.diff(still[corner].astype(int), axis=1).std()


def test_a_take_of_another_rate_drives_as_long_as_it_lasts(portrait, take):
    fast = Motion(np.concatenate(list(retimed([take.values], 25, 60, round(60 * take.duration_s)))), 60)
    film = portrait.follow(fast, controls=Controls(head=0, smile=0.5))
    assert len(film) == len(take) and film.fps == 25
    assert np.abs(film.motion.values[:, : REGIONS["scale"].stop]).max() < 1e-6
    assert len(portrait.follow(take, fps=50)) == 2 * len(take)


def test_an_absolute_turn_needs_a_film(portrait, take):
    with pytest.raises(ValueError, match="drive with a film for absolute motion"):
        portrait.follow(take, motion_mode="absolute")


def turned(degrees: float) -> Face:
    """The shipped face turned to the side, a little larger than it is in its picture."""
    face, angle = Face.load(POINTS), np.radians(degrees)
    middle = face.landmarks.mean(0)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    return replace(face, landmarks=((face.landmarks - middle) @ turn.T + middle).astype(np.float32))


def test_faces_turned_far_are_warned_of_and_farther_refused():
    with pytest.raises(ValueError, match=r"The face is turned (4|5)\d degrees aside and \d down; up to 45 can be drawn"):
        mien.Animator(PICTURE, landmarks=turned(52))
    assert not mien.Animator(PICTURE, landmarks=turned(15), size=256).warnings
    (warning,) = mien.Animator(PICTURE, landmarks=turned(36), size=256).warnings
    assert warning.startswith("The face is turned 37 degrees aside and 3 down: beyond 30 its far side is guessed")


def test_no_face_or_not_the_one_asked_for_says_what_was_found(monkeypatch):
    large, found = Face.load(POINTS), []
    small = replace(large, landmarks=large.landmarks / 2)
    monkeypatch.setattr(front, "load_tracker", lambda *_: SimpleNamespace(detect=lambda picture: found))
    with pytest.raises(ValueError, match="of 512 x 512 pixels, neither in the whole nor in parts of it: give one"):
        mien.Animator(PICTURE)
    found += [large, small]
    with pytest.raises(ValueError, match=r"Face 2 was asked for, but 2 were found, \d+, \d\d pixels tall: they are"):
        mien.Animator(PICTURE, face=2)
    with pytest.raises(ValueError, match=r"The face is \d\d pixels tall; at least 40 are wanted"):
        mien.Animator(PICTURE, face=1, size=256)


def test_models_lists_names_licences_and_figures():
    listed = json.loads(command("models", "--json").output)
    assert {"animator-nano", "front", "motion"} <= {entry["name"] for entry in listed}
    assert all(entry["licence"] and entry["bytes"] for entry in listed)
    assert "non-commercial" in command("models").output


@pytest.mark.slow
def test_the_command_without_arguments_makes_the_first_film(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = command("animate", "--json", "--motion", "take.csv")
    assert run.exit_code == 0, run.output
    told = json.loads(run.output)
    assert told["frames"] == 160 and told["rtf"] > 0 and {"motion_s", "render_s", "total_s"} <= set(told["timings"])
    assert probe(tmp_path / "mien.mp4").size == load_image(PICTURE).shape[1::-1]
    assert len((tmp_path / "take.csv").read_text().splitlines()) == 161


@pytest.mark.slow
def test_films_drive_and_lend_their_manner(portrait, voice, tmp_path):
    portrait.speak_along(Sound(np.tile(voice.samples, (3, 1)), voice.sample_rate), "happy").save(tmp_path / "d.mp4")
    try:
        led = portrait.follow(tmp_path / "d.mp4")
    except FileNotFoundError as error:
        pytest.skip(str(error))
    assert led.sound is not None and len(list(led)) == len(led)
    styled = portrait.speak_along(voice, style=tmp_path / "d.mp4").motion
    assert not np.allclose(styled.values, portrait.speak_along(voice).motion.values)
