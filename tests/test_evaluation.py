"""The judges: what they must see, what they must not, and that made-up faults do not pass."""

import json
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from mien.media import Sound, load_image, load_sound
from mien.media.sound import save_sound
from mien.portrait import bench, evaluation, figures, geometry
from mien.portrait.likeness import Likeness, can_identify
from mien.portrait.motion import load_space
from mien.portrait.sync import LEAST_FRAMES, REACH, SyncConfig, agreement, load_expert
from mien.portrait.tracking import BLENDSHAPES, Face, Track

FPS, HOP = 25, 640


@pytest.fixture(scope="module")
def rest() -> np.ndarray:
    """The mean face, lips sealed, as landmarks (478, 3) in a picture: 100 pixels between the outer eye corners."""
    return geometry.seal(load_space().template) * 100 + [256, 256, 0]


def speaking(rest: np.ndarray, opening: np.ndarray) -> np.ndarray:
    """Landmarks (T, 478, 3) of a face whose lower lip and chin go down by `opening` (T,) IOD."""
    landmarks = np.repeat(rest[None], len(opening), axis=0)
    lower = sorted({*geometry.LOWER_LIP, *geometry.INNER_LOWER[1:-1], 152, 148, 377, 176, 400, 149, 378, 199, 200})
    landmarks[:, lower, 1] += 100 * opening[:, None]
    return landmarks.astype(np.float32)


def voice(loudness: np.ndarray, seed: int = 0) -> np.ndarray:
    """Noise (S,) as loud as told frame by frame (T,)."""
    noise = np.random.default_rng(seed).standard_normal(len(loudness) * HOP)
    return (0.3 * noise * np.interp(np.arange(len(noise)) / HOP, np.arange(len(loudness)), loudness)).astype(np.float32)


# -- figures -----------------------------------------------------------------------------------------------------------


def test_blinks_are_counted_timed_and_told_from_looking_down():
    lids = np.full(250, 0.3)
    profile = np.array([0.45, 0.0, 0.25, 0.7])
    for at in (40, 110, 180):
        lids[at : at + 4] *= profile
    lids[210:240] *= 0.4  # eyes cast down for more than a second
    blinks = figures.find_blinks(lids)
    assert [round(at * FPS) for at, _ in blinks] == [41, 111, 181]
    assert all(0.15 < lasts < 0.22 for _, lasts in blinks)
    assert figures.find_blinks(np.full(100, 0.05)) is None, "eyes too narrow to tell"


def test_pauses_are_found_by_loudness_and_short_ones_left_alone():
    loudness = np.ones(150)
    loudness[50:75] = 0.001  # a second
    loudness[100:106] = 0.001  # a quarter of a second
    (pause,) = figures.pauses(voice(loudness), 150)
    assert 50 <= pause.start - figures.SETTLE <= 51 and 73 <= pause.stop + figures.WAKE <= 75


def test_lips_at_rest_in_pauses_are_told_from_lips_that_stay_open(rest):
    loudness = np.ones(150)
    loudness[50:90] = 0.001
    moving = 0.1 + 0.08 * np.sin(np.arange(150) * 1.3)
    expert = load_expert()

    def share(opening: np.ndarray) -> float:
        film = figures.Film(speaking(rest, opening), voice(loudness), load_space().template)
        return figures.pooled([figures.figures(film, expert)])["rest"]

    assert share(np.where(loudness < 0.5, 0.005, moving)) == 1
    assert share(np.where(loudness < 0.5, 0.08, moving)) == 0


def test_jitter_knows_shaking_from_moving():
    t = np.arange(100)[:, None, None] / FPS
    smooth = np.sin(2 * np.pi * 0.5 * t) * np.ones((1, 5, 2)) * 0.1
    shaking = smooth + np.random.default_rng(0).normal(0, 0.002, smooth.shape)
    assert figures.jitter(shaking) > 5 * figures.jitter(smooth)


def test_lips_beside_real_ones():
    real = np.abs(np.random.default_rng(0).normal(0, 0.05, 200))
    same = figures.beside_real(2 * real + 0.1, real)
    assert same["lips_r"] == pytest.approx(1) and same["lips_spread"] == pytest.approx(2)
    assert figures.beside_real(np.zeros(200), real)["lips_r"] == 0


def test_closures_are_met_within_a_frame_or_not_at_all(rest):
    shut = np.zeros(200)
    shut[[60, 61, 120, 121]] = 0.9  # 50 Hz: frames 30 and 60
    opening = np.full(100, 0.1)
    opening[31] = 0.0
    film = figures.Film(speaking(rest, opening), voice(np.ones(100)), load_space().template)
    found = figures.closures(film, shut)
    assert (found["closures_heard"], found["closures_met"]) == (2, 1)
    assert 0 < found["closures_chance"] < 0.1


def test_every_figure_is_defined():
    names = {*evaluation.AIMS, *figures.MEDIANS}
    assert {name.removesuffix("_ratio") for name in names} <= {*figures.FIGURES, "sync", "wrong"}


# -- the judge of sync -------------------------------------------------------------------------------------------------


def test_agreement_has_its_peak_where_the_film_is_late():
    sound = torch.nn.functional.normalize(torch.randn(100, 8, generator=torch.Generator().manual_seed(0)), dim=-1)
    for late in (-4, 0, 7):
        curve = agreement(sound.roll(late, 0), sound)
        assert int(curve.argmax()) - REACH == late


def test_a_held_face_is_in_sync_with_nothing_and_a_short_clip_is_refused(rest):
    expert, loudness = load_expert(), np.abs(np.sin(np.arange(100) / 4))
    held = expert.judge(speaking(rest, np.zeros(100)), voice(loudness))
    assert held.confidence < 0.02
    with pytest.raises(ValueError, match="too few to judge lip sync"):
        expert.judge(speaking(rest, np.zeros(LEAST_FRAMES - 1)), voice(loudness))


def test_the_judge_learns_to_tell_sync(tmp_path, rest):
    """The training script on made-up shards: lips that follow a loudness of their own must be found in time."""
    from mien.training.loop import LoopConfig, train
    from mien.training.prepare import Clip
    from mien.training.sync import SyncTask, SyncTraining

    clips, rng = [], np.random.default_rng(0)
    for number in range(10):
        beat = np.convolve(rng.random(110) ** 3, np.ones(3) / 3, "same")
        save_sound(tmp_path / f"{number}.wav", Sound(voice(beat, number)[:, None], 16000))
        landmarks = speaking(rest, 0.3 * beat) + rng.normal(0, 0.05, (110, 478, 3))
        track = Track(landmarks, np.zeros((110, 52)), np.zeros((110, 4, 4)), np.ones(110, bool), (512, 512))
        track.save(tmp_path / f"{number}.track.npz")
        split = "val" if number >= 8 else "train"
        clips.append(Clip(str(tmp_path / f"{number}.wav"), f"{number}.track.npz", str(number), split, True))
    (tmp_path / "clips.jsonl").write_text("\n".join(json.dumps(clip.__dict__) for clip in clips))
    task = SyncTask(SyncConfig(width=32, depth=2, embedding=16, dropout=0.0), SyncTraining(), tmp_path)
    loop = LoopConfig(steps=60, batch=8, lr=5e-3, warmup=5, ema=0.8, evaluate_every=60, save_every=60, threads=1)
    found = train(task, loop, tmp_path / "run")
    assert found["within_1"] == 1 and found["confidence"] > 2 * found["wrong_audio"]
    assert load_expert(str(tmp_path / "run" / "best.safetensors")).config.width == 32


@pytest.mark.slow
def test_the_judge_finds_real_films_in_sync(data_folder):
    from mien.media import read_frames
    from mien.portrait.tracking import load_tracker

    clips = evaluation.read_clips(data_folder / "video")[:4]
    tracker, expert = load_tracker("mediapipe"), load_expert()
    tracks = [tracker.follow(islice(read_frames(clip.path), 150)) for clip in clips]
    sounds = [load_sound(clip.path).mono(16000) for clip in clips]
    for i, (clip, track) in enumerate(zip(clips, tracks, strict=True)):
        right = expert.judge(track.landmarks, sounds[i])
        wrong = expert.judge(track.landmarks, np.resize(sounds[(i + 1) % 4], len(sounds[i])))
        assert abs(right.offset - clip.offset) <= 1 and right.confidence > 1.5 * wrong.confidence


def test_the_shipped_animator_speaks_in_time(rest, astronaut_path):
    """Motion made for the shipped voice, drawn as landmarks: in time with it, and not with the voice played backwards."""
    from mien.portrait.performer import Performer

    samples, performer = load_sound(astronaut_path.with_name("welcome.ogg")).mono(16000), Performer()
    heard = performer.hear(samples)
    values = np.concatenate(list(performer.perform(heard, np.zeros((len(heard), 8), np.float32))))
    landmarks = load_space().landmarks(values, load_space().template) * 100 + [256, 256, 0]
    right, wrong = load_expert().judge(landmarks, samples), load_expert().judge(landmarks, samples[::-1].copy())
    assert abs(right.offset) <= 1
    assert right.confidence > 0.25 and right.confidence > 2 * wrong.confidence


# -- pictures ----------------------------------------------------------------------------------------------------------


def test_a_blurred_face_is_less_sharp_and_the_same_face_is_itself(astronaut_path):
    import cv2

    image, face = load_image(astronaut_path), Face.load(astronaut_path.with_suffix(".json"))
    source = Likeness(image, face.landmarks)
    same = source.compare(image, face.landmarks)
    blurred = source.compare(cv2.GaussianBlur(image, (0, 0), 2), face.landmarks)
    assert same["sharpness_mouth"] == pytest.approx(1) and blurred["sharpness_mouth"] < 0.7
    if can_identify():
        assert same["identity"] == pytest.approx(1, abs=1e-5)
        assert source.compare(image[:, ::-1], face.landmarks * [-1, 1, 1] + [511, 0, 0])["identity"] > 0.9


def test_a_single_pixel_that_moves_in_the_background_is_found(astronaut_path):
    from mien.portrait.warp import Portrait

    image, face = load_image(astronaut_path), Face.load(astronaut_path.with_suffix(".json"))
    portrait = Portrait(image, face.landmarks, load_space().template)
    x0, y0, x1, y1 = portrait.box
    frame = image.copy()
    frame[(y0 + y1) // 2, (x0 + x1) // 2] ^= 255
    assert evaluation.change_outside(frame, portrait) == 0
    frame[-1, 0, 1] ^= 3
    assert (x0, y1) == (0, len(image)) or evaluation.change_outside(frame, portrait) == 3


# -- trials ------------------------------------------------------------------------------------------------------------


def test_a_manifest_is_read_with_its_offsets_and_a_missing_one_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no manifest.csv"):
        evaluation.read_clips(tmp_path)
    (tmp_path / "manifest.csv").write_text("file,speaker_id,split\na.mp4,anna,train\n")
    with pytest.raises(ValueError, match="no synchronous film"):
        evaluation.read_clips(tmp_path)


def test_pooling_counts_events_not_films():
    base = {"pause_frames": 0, "pause_frames_closed": 0, "jitter_face": 1.0}
    busy = base | {"seconds": 10.0, "blinks": [[1.0, 0.2], [3.0, 0.2], [4.0, 0.2]], "sync_offset": 0}
    calm = base | {"seconds": 50.0, "blinks": [], "sync_offset": 3}
    found = figures.pooled([busy, calm])
    assert found["blinks_per_min"] == pytest.approx(3)
    assert found["sync_within_1"] == 0.5


def test_several_trackers_stand_side_by_side():
    aims = {"lips_r": evaluation._aim(0.42, 1, 0.5)}
    pools = [{"real": {"lips_r": 1.0}, "made": {"lips_r": r, "sync_confidence": 3.0}} for r in (0.5, 0.25)]
    both = [{"clips": [{}] * 2, "pooled": pooled, "aims": aims, "seconds": 1.0} for pooled in pools]
    head, *lines, last = evaluation.side_by_side(dict(zip(("mien", "mediapipe"), both, strict=True))).splitlines()
    assert head.split() == ["real", "mien", "mediapipe", "aim"] and last == "clips: 2 by mien, 2 by mediapipe; 2 s"
    assert [line.split()[:4] for line in lines] == [
        ["sync_confidence", "3.000", "3.000"],
        ["lips_r", "1.000", "0.500", "0.250"],
    ]


def test_a_feeling_must_grow_at_every_step():
    assert evaluation.grows([0.1, 0.2, 0.3, 0.4])
    assert not evaluation.grows([0.1, 0.3, 0.2, 0.4])
    assert not evaluation.grows([0.1, 0.1, 0.1, 0.1])
    for markers in evaluation.MARKERS.values():
        for marker in markers:
            assert marker.replace("…", "Left") in BLENDSHAPES


def test_a_wider_picture_keeps_the_face_in_the_middle():
    picture = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    wide = bench.framed(picture, 160, 96)
    assert wide.shape == (96, 160, 3)
    assert np.array_equal(wide[:, 32:128], bench.framed(picture, 96, 96))


def test_a_clip_that_fails_a_picture_figure_does_not_hide(rest):
    film = figures.Film(speaking(rest, np.zeros(50)), voice(np.ones(50)), load_space().template)
    shaken = replace(film, picture={"background": 7.0})
    expert = load_expert()
    assert figures.pooled([figures.figures(f, expert) for f in (shaken, shaken)])["background"] == 7
