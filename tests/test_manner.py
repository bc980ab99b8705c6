"""A manner: measured, kept in a small file, laid on a talker; persons stay apart in every feeling."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import mien
from mien import front
from mien.cli import app
from mien.media import Sound
from mien.portrait.controls import Controls
from mien.portrait.manner import FARTHEST, MOVING, USUAL_BLINKS, Bands, Manner
from mien.portrait.motion import REGIONS, Motion, load_space, rest_values
from mien.portrait.swap import halves, swap


@pytest.fixture(scope="module")
def portrait() -> mien.Animator:
    return mien.Animator(front.ASSETS / "astronaut.jpg", landmarks=front.ASSETS / "astronaut.json", size=192)


def moving(nod: float, hz: float, smile: float = 0.0, blinks: int = 0, seconds: float = 12) -> Motion:
    """A head that nods (radians, Hz) with all other channels astir, mouth drawn aside by `smile` spreads."""
    space, frames = load_space(), round(seconds * 25)
    t, rng = np.arange(frames) / 25, np.random.default_rng(5)
    values = rest_values(frames) + 0.1 * space.std * rng.standard_normal((frames, 36))
    values[:, :6] *= 0.05
    values[:, 10:] += space.mean[10:]
    values[:, 0] = nod * np.sin(2 * np.pi * hz * t)
    values[:, 22] += smile * space.std[22]
    for start in np.linspace(10, frames - 20, blinks).astype(int):
        values[start : start + 5, REGIONS["lids"]] *= np.array([0.5, 0.1, 0.1, 0.4, 0.8])[:, None]
    return Motion(values.astype(np.float32))


def laid(manner: Manner, motion: Motion) -> np.ndarray:
    return np.concatenate(list(manner.laid_on(motion.values[i : i + 64] for i in range(0, len(motion), 64))))


def test_bands_sum_to_the_whole_whatever_the_windows():
    x = np.random.default_rng(0).standard_normal((100, 3))
    whole, cut = Bands().split(x), Bands()
    parts = np.concatenate([cut.split(x[:37]), cut.split(x[37:])], 1)
    assert np.allclose(whole.sum(0), x) and np.allclose(parts, whole)


def test_a_manner_tells_nodders_blinkers_and_tempo():
    calm, lively = Manner.of(moving(0.02, 0.3)), Manner.of(moving(0.1, 1.0, blinks=9))
    assert lively.facts()["head_deg"] > 3 * calm.facts()["head_deg"] and lively.tempo_hz > calm.tempo_hz + 0.2
    assert calm.blinks_per_min < USUAL_BLINKS < lively.blinks_per_min
    assert (lively.sample[:, REGIONS["lids"]] > 0.8).all(), "what the animator sees of a manner has no blinks"


def test_a_manner_is_laid_on_without_opening_lips_or_steps():
    space, talker = load_space(), moving(0.03, 0.5, seconds=20)
    manner = Manner.of(moving(0.09, 1.0, smile=1.5))
    out = laid(manner, talker)
    assert 1.7 < out[250:, 0].std() / talker.values[250:, 0].std() <= 2.6
    moved = (out - talker.values)[250:, 22].mean() / space.std[22]
    assert 1.0 < moved < FARTHEST
    assert np.abs(space.aperture(out) - space.aperture(talker.values))[250:].mean() < 0.02
    mouth = REGIONS["mouth"]
    assert np.abs(np.diff((out - talker.values)[:, mouth], axis=0)).max() < 0.1, "windows join without a step"


def test_a_talker_who_is_like_that_already_is_left_alone():
    talker = moving(0.05, 0.7, seconds=30)
    change = (laid(Manner.of(talker), talker) - talker.values)[400:]
    assert np.abs(change[:, MOVING]).mean() < 0.35 * talker.values[400:][:, MOVING].std()


def test_dials_follow_a_manner_and_stay_in_range():
    quiet, loud = Manner.of(moving(0.02, 0.3)), Manner.of(moving(0.02, 0.3, blinks=12))
    assert quiet.dials(Controls()).blink < 1 < loud.dials(Controls(blink=1.0)).blink
    assert loud.dials(Controls(blink=0)).blink == 0


def test_a_saved_manner_is_small_and_the_same(tmp_path):
    manner = Manner.of(moving(0.05, 0.7, blinks=3))
    manner.save(tmp_path / "ana.npz")
    again = Manner.load(tmp_path / "ana.npz")
    assert again is not None and (tmp_path / "ana.npz").stat().st_size < 10_000
    assert np.allclose(again.spectrum, manner.spectrum, rtol=2e-3)
    assert again.facts() == pytest.approx(manner.facts(), rel=0.02)
    moving(0.05, 0.7).save(tmp_path / "take.npz")
    assert Manner.load(tmp_path / "take.npz") is None, "a take is no manner"
    with pytest.raises(ValueError, match="2.0 s of a face; at least 3 s"):
        Manner.of(moving(0.1, 1, seconds=2))


def test_the_commands_take_a_take(tmp_path):
    moving(0.05, 0.7).save(tmp_path / "take.npz")
    ran = CliRunner().invoke(app, ["style", str(tmp_path / "take.npz"), "-o", str(tmp_path / "ana.npz"), "--json"])
    assert ran.exit_code == 0 and json.loads(ran.stdout)["bytes"] < 10_000
    ran = CliRunner().invoke(app, ["emotion", str(tmp_path / "take.npz"), "--json"])
    assert set(json.loads(ran.stdout)) == {"face"}, "a take has no voice"
    ran = CliRunner().invoke(app, ["emotion", str(tmp_path / "none.mp4")])
    assert ran.exit_code == 2 and "does not exist" in ran.output


class Mimic:
    """A stage whose takes are a person's own motion, in the feeling that is asked for: a perfect animator."""

    def __init__(self, portrait, clips: dict[str, Motion]):
        self.portrait, self.face, self.clips = portrait.portrait, portrait.face, clips

    def speak_along(self, audio, emotion=None, *, intensity=1.0, style=None, seed=0):
        from mien.emotion import Emotion
        from mien.portrait.feelings import felt

        own = min(self.clips.values(), key=lambda clip: np.abs(Manner.of(halves(clip)[0]).spectrum - style.spectrum).sum())
        self.motion = Motion(felt(own.values, Emotion.read(emotion).frames(len(own))))
        return self


def test_a_perfect_animator_is_found_perfect_by_the_swap(portrait):
    clips = {"nodder": moving(0.12, 1.2, -1.5), "still": moving(0.01, 0.3, 1.5)}
    page, found = swap(Mimic(portrait, clips), Sound.silence(1), clips, ("happy", "angry"), width=64)
    assert found["style_by_numbers"] == found["real_style_by_numbers"] == 1 and found["emotion"] == 1
    assert len(found["takes"]) == 4 and page.shape[1] >= 2 * 64
    with pytest.raises(ValueError, match="Unknown category 'merry'"):
        swap(Mimic(portrait, clips), Sound.silence(1), clips, ("merry",))
