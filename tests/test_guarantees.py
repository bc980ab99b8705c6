"""What is promised of every take: lips shut at p, b, m and in pauses, human blinks, bounded poses, a start at rest."""

import numpy as np
import pytest

from mien.portrait.controls import Controls
from mien.portrait.guarantees import APERTURE, draw_plan, enforce, steadied
from mien.portrait.motion import CHANNELS, REGIONS, load_space
from mien.portrait.speech import Heard, hear
from mien.portrait.tracking import BLENDSHAPES

T = 1500


@pytest.fixture(scope="module")
def space():
    return load_space()


@pytest.fixture(scope="module")
def heard() -> Heard:
    silent, closed = np.zeros(T, np.float32), np.zeros(T, np.float32)
    silent[:20] = silent[400:450] = silent[1480:] = 1
    closed[100::37] = 1
    level = np.where(silent > 0, -70.0, -25.0)
    for i in range(200, T - 60, 60):
        level[i - 1 : i + 2] += 8 * (silent[i] == 0)
    return Heard(np.zeros((T, 3), np.float32), silent, closed, level)


@pytest.fixture(scope="module")
def wild(space) -> np.ndarray:
    """Motion wilder than any network's."""
    rng = np.random.default_rng(1)
    return (space.mean + rng.normal(0, 2.5, (T, CHANNELS)) * space.std).astype(np.float32)


@pytest.fixture(scope="module")
def kept(space, heard, wild) -> np.ndarray:
    return enforce(wild, draw_plan(heard, np.zeros((T, 8), np.float32), seed=0), space, wild[0, :6])


def test_lips_meet_at_closures_and_in_pauses(space, heard, kept):
    opening = space.aperture(kept)
    assert opening[(heard.closed == 1) & (heard.silent == 0)].max() < 0.01
    assert opening[405:447].max() < 0.01
    assert np.abs(opening[450:1480]).mean() > 0.03  # and elsewhere they speak


def test_sealing_changes_nothing_where_it_is_not_asked(space, heard, wild, kept):
    mouth = REGIONS["mouth"]
    untouched = (heard.silent == 0) & (heard.closed == 0)
    inside = (space.aperture(wild) < APERTURE) & (space.aperture(wild) > 0)
    assert np.allclose(kept[untouched & inside][10:, mouth], wild[untouched & inside][10:, mouth], atol=1e-5)


def test_poses_stay_in_bounds_and_the_film_starts_in_the_pictures_own(kept):
    assert (np.abs(kept[:, :3]) <= Controls().turn_limit + 1e-6).all()
    assert np.abs(kept[0, :6]).max() < 0.05


def test_blinks_are_human(heard):
    calm = np.zeros((T, 8), np.float32)
    plans = [draw_plan(heard, calm, seed) for seed in range(8)]
    counts, lengths, gaps = [], [], []
    for plan in plans:
        shut = plan.blink[:, 0] < 0.9
        starts = np.flatnonzero(np.diff(np.append(0, shut.astype(int))) == 1)
        ends = np.flatnonzero(np.diff(np.append(shut.astype(int), 0)) == -1) + 1
        counts.append(len(starts))
        lengths += list((ends - starts) * 40)
        gaps += list(np.diff(starts) * 0.04)
    assert 10 <= np.mean(counts) <= 35
    assert 120 <= np.median(lengths) <= 350
    assert np.std(gaps) > 0.5 and min(gaps) > 0.4  # never a metronome
    angry = calm.copy()
    angry[:, 3] = 1
    few = [(np.diff((draw_plan(heard, angry, seed).blink[:, 0] < 0.9).astype(int)) == 1).sum() for seed in range(8)]
    assert np.mean(few) < np.mean(counts)


def test_gaze_holds_still_between_shifts_and_camera_holds_always(heard):
    human = draw_plan(heard, np.zeros((T, 8), np.float32), seed=0).gaze
    assert (np.abs(np.diff(human, axis=0)).max(1) == 0).mean() > 0.85 and np.abs(human).max() < 0.3 and human.any()
    assert not draw_plan(heard, np.zeros((T, 8), np.float32), seed=0, gaze="camera").gaze.any()


def test_a_plan_in_pieces_is_the_plan_as_a_whole(space, heard, wild, kept):
    plan = draw_plan(heard, np.zeros((T, 8), np.float32), seed=0)
    pieces = [enforce(wild[a : a + 64], plan[a : a + 64], space, wild[0, :6]) for a in range(0, T, 64)]
    assert np.allclose(np.concatenate(pieces), kept, atol=1e-5)


def test_the_head_is_steadied_across_windows_and_the_mouth_is_left_alone(wild):
    whole = np.concatenate(list(steadied([wild])))
    pieces = np.concatenate(list(steadied([wild[:1], wild[1:65], wild[65:129], wild[129:]])))
    assert whole.shape == wild.shape and np.allclose(whole, pieces, atol=1e-5)
    assert np.array_equal(whole[:, 6:], wild[:, 6:])
    tremor = [np.diff(values[:, :3], 3, axis=0).std() for values in (wild, whole)]
    assert tremor[1] < 0.3 * tremor[0]
    assert np.concatenate(list(steadied([wild[:2]]))).shape == (2, CHANNELS)


def test_silence_is_heard_as_silence():
    heard = hear(np.zeros(16000, np.float32), "mel")
    assert len(heard) == 25 and heard.silent.min() == 1 and not heard.closed.any()


def test_stress_lifts_brows_and_nods_now_and_then(space, heard):
    calm = np.zeros((T, CHANNELS), np.float32)
    plan = draw_plan(heard, np.zeros((T, 8), np.float32), seed=3, gaze="camera")
    stressed, struck = [i for i in range(200, T - 60, 60) if not heard.silent[i]], plan.accent > 0
    share = np.mean([struck[i] for i in stressed])
    assert 0.4 < share < 1 and struck.mean() < 0.25 and not struck[:190].any() and np.abs(np.diff(plan.accent)).max() < 0.4
    shapes = space.to_blendshapes(enforce(calm, plan, space, calm[0, :6]))[:, BLENDSHAPES.index("browInnerUp")]
    assert shapes[plan.accent > 0.45].mean() > shapes[~struck].mean() + 0.05
