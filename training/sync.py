"""Train the judge of lip sync: `python -m mien.training sync`.

Its clips are of split train, its seed and its disturbances are its own: other voices, microphones, rooms and noise,
other mouths, slower and faster speech, all done to log-mels and landmarks. No network that moves a portrait learns from
this one.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mien import checkpoints
from mien.media.sound import load_sound
from mien.portrait import geometry
from mien.portrait.sync import (
    LEAST_FRAMES,
    MELS_A_FRAME,
    REACH,
    WATCHED,
    Sync,
    SyncConfig,
    SyncExpert,
    agreement,
    lip_numbers,
    log_mel,
    verdict,
)
from mien.portrait.tracking import Track
from mien.training.motion_space import mean_face
from mien.training.prepare import Clip, read_clips

WINDOW = 72  # frames of a training window
LOG_UNIT = 3.0  # the mel's natural logarithms are divided by this (`codec.mel`)


@dataclass(frozen=True)
class SyncTraining:
    """What is drawn and how it is weighed.

    near: share of the aim that falls on each neighbour of the right offset (clips are in sync to about a frame).
    tempo: slower or faster, both streams alike. Others are strengths of disturbances, 0 for none.
    """

    near: float = 0.12
    temperature: float = 0.07
    tempo: float = 0.15
    stretch: float = 0.25  # of the lips' movement, log
    jitter: float = 0.004  # IOD
    voice: float = 0.15  # shift of the spectrum along the mel axis, log
    weights: dict[str, float] = field(default_factory=lambda: {"curve": 1.0, "frames": 0.5})


@dataclass(frozen=True)
class Scene:
    """A clip in memory. points: (T, P, 2) watched points, canonical. mel: (T, 320) of the sound that belongs to it."""

    clip: Clip
    points: np.ndarray
    mel: np.ndarray


class SyncTask:
    """Windows of synchronous clips for the loop; see `loop.Task`."""

    def __init__(self, config: SyncConfig, training: SyncTraining, shards: Path):
        clips = [clip for clip in read_clips(shards) if clip.has_audio]
        tracks = {clip.track: Track.load(shards / clip.track) for clip in clips}
        self.training, self.weights = training, training.weights
        train = [tracks[clip.track].landmarks for clip in clips if clip.split == "train"]
        template, self.partner = mean_face(train)
        self.scenes = [scene for clip in clips if (scene := _scene(clip, tracks[clip.track], template))]
        self.train = [scene for scene in self.scenes if scene.clip.split == "train" and len(scene.points) >= WINDOW]
        length = np.array([len(scene.points) for scene in self.train], float)
        self.share = np.minimum(length, 500) / np.minimum(length, 500).sum()
        self.model = SyncExpert(config, template)

    # -- batches ------------------------------------------------------------------------------------------------------

    def batch(self, generator: torch.Generator, size: int) -> dict[str, Tensor]:
        """Draw windows of as many clips; see `loop.Task`."""
        rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
        chosen = rng.choice(len(self.train), size, p=self.share, replace=size > len(self.train))
        rows = [self._window(rng, self.train[i]) for i in chosen]
        return {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]}

    def _window(self, rng: np.random.Generator, scene: Scene) -> dict[str, np.ndarray]:
        t = self.training
        frames = len(scene.points)
        tempo = np.exp(rng.uniform(-t.tempo, t.tempo))
        tempo = min(tempo, (frames - 1) / (WINDOW - 1))
        start = rng.uniform(0, max(0.0, frames - 1 - tempo * (WINDOW - 1)))
        clock = start + tempo * np.arange(WINDOW)
        points = _between(scene.points, clock)
        fine = (np.arange(WINDOW * MELS_A_FRAME) - (MELS_A_FRAME - 1) / 2) / MELS_A_FRAME
        mel = _between(
            scene.mel.reshape(frames * MELS_A_FRAME, -1), (start + tempo * fine) * MELS_A_FRAME + (MELS_A_FRAME - 1) / 2
        )
        points = self._other_mouth(rng, points)
        return {
            "lips": lip_numbers(points),
            "mel": _other_microphone(rng, _other_voice(rng, mel, t.voice)).reshape(WINDOW, -1),
        }

    def _other_mouth(self, rng: np.random.Generator, points: np.ndarray) -> np.ndarray:
        """Mirrored, wider or narrower of movement, tilted, with a tracker's noise."""
        t = self.training
        if rng.random() < 0.5:
            place = {point: i for i, point in enumerate(WATCHED)}
            points = points[:, [place.get(self.partner[point], i) for i, point in enumerate(WATCHED)]] * [-1, 1]
        mean = points.mean(0)
        points = mean + (points - mean) * np.exp(rng.normal(0, t.stretch, (1, 1, 2)))
        turn = rng.normal(0, 0.06)
        points = points @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        drift = (
            np.cumsum(rng.normal(0, 1, (len(points), 1, 2)), 0) / np.sqrt(len(points)) * t.jitter * rng.uniform(0, 2)
        )
        return points + drift + rng.normal(0, t.jitter * rng.uniform(0, 1), points.shape)

    # -- losses -------------------------------------------------------------------------------------------------------

    def losses(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Whole windows must agree best at their own offset; single frames must know their sound among all others."""
        core = _expert(model)
        lips, sound = core.lips(batch["lips"]), core.sound(batch["mel"])  # (B, T, E)
        sharp = self.training.temperature
        aim = torch.zeros(2 * REACH + 1)
        aim[REACH - 1 : REACH + 2] = torch.tensor([self.training.near, 1 - 2 * self.training.near, self.training.near])
        curve = agreement(lips, sound) / sharp * 2
        rows, frames = lips.shape[:2]  # frames with a whole window of their own
        likeness = lips.flatten(0, 1) @ sound.flatten(0, 1).T / sharp  # (B T, B T)
        place = torch.arange(rows * frames, device=lips.device)
        apart = (place[:, None] - place[None]).abs()
        likeness = likeness.masked_fill((apart > 0) & (apart < 3), -1e4)  # neighbours are neither right nor wrong
        both = (F.cross_entropy(likeness, place) + F.cross_entropy(likeness.T, place)) / 2
        return {"curve": -(aim.to(curve) * curve.log_softmax(-1)).sum(-1).mean(), "frames": both}

    # -- evaluation ---------------------------------------------------------------------------------------------------

    def evaluate(self, model: nn.Module, split: str = "val") -> dict[str, float]:
        """Offsets that the judge finds in held-out clips, its confidence there and with other clips' sound."""
        scenes = [scene for scene in self.scenes if scene.clip.split == split]
        core = _expert(model)
        with torch.inference_mode():
            lips = [core.lips(torch.from_numpy(lip_numbers(scene.points))[None])[0] for scene in scenes]
            sound = [core.sound(torch.from_numpy(scene.mel)[None])[0] for scene in scenes]
        right = [_judged(a, b) for a, b in zip(lips, sound, strict=True)]
        wrong = [_judged(a, b).confidence for i, a in enumerate(lips) for b in sound[:i] + sound[i + 1 :]]
        offsets = np.abs([judged.offset for judged in right])
        confidence, strangers = np.median([judged.confidence for judged in right]), np.median(wrong)
        within = float((offsets <= 1).mean())
        return {
            "score": within + float((offsets <= 2).mean()) + float(confidence - 2 * strangers),
            "within_1": within,
            "within_2": float((offsets <= 2).mean()),
            "confidence": float(confidence),
            "wrong_audio": float(strangers),
        }

    def save(self, model: nn.Module, path: Path) -> None:
        """Write as the checkpoint that `portrait.sync.load_expert` reads."""
        tensors = {name: tensor.half() for name, tensor in model.state_dict().items()}
        checkpoints.save(path, tensors, self.model.config.__dict__)


def _expert(model: nn.Module) -> SyncExpert:
    """The judge inside whatever wraps it for training on several devices."""
    core = getattr(model, "module", model)
    assert isinstance(core, SyncExpert)
    return core


def _scene(clip: Clip, track: Track, template: np.ndarray) -> Scene | None:
    """A clip's lips and the sound on its film's clock; None if its face was lost too often or it is too short."""
    sound = log_mel(load_sound(clip.film).mono(16000))
    frames = np.arange(len(track)) - clip.offset  # a film that is late shows earlier sound
    heard = (frames >= 0) & (frames < len(sound))
    if track.tracked.mean() < 0.9 or heard.sum() < LEAST_FRAMES:
        return None
    canonical, _ = geometry.canonicalise(track.landmarks, template)
    return Scene(clip, canonical[heard][:, WATCHED, :2], sound[frames[heard]])


def _between(values: np.ndarray, clock: np.ndarray) -> np.ndarray:
    """Values (T, ...) at fractional times, ends held."""
    clock = clock.clip(0, len(values) - 1)
    low = np.minimum(clock.astype(int), len(values) - 2)
    share = (clock - low).reshape(-1, *[1] * (values.ndim - 1)).astype(np.float32)
    return values[low] * (1 - share) + values[low + 1] * share


def _other_voice(rng: np.random.Generator, mel: np.ndarray, strength: float) -> np.ndarray:
    """The spectrum shifted along the mel axis, as by a longer or shorter throat: (T, 80) to the same."""
    bands = np.arange(mel.shape[1])
    return _between(mel.T, bands * np.exp(rng.uniform(-strength, strength))).T


def _other_microphone(rng: np.random.Generator, mel: np.ndarray) -> np.ndarray:
    """Gain, colour, a room's tail, noise, and bands or moments that are missing: (T, 80) to the same."""
    bands = np.linspace(-1, 1, mel.shape[1])
    colour = rng.normal(0, 0.15) * bands + rng.normal(0, 0.15) * np.cos(
        np.pi * bands * rng.uniform(0.5, 2) + rng.uniform(0, 6)
    )
    power = np.exp(LOG_UNIT * (mel + rng.normal(0, 0.35) + colour))
    if rng.random() < 0.3:
        decay = np.exp(-np.arange(30) / rng.uniform(3, 12)) * rng.uniform(0.02, 0.2)
        decay[0] = 1
        size = len(power) + 30
        power = np.fft.irfft(np.fft.rfft(power, size, 0) * np.fft.rfft(decay, size)[:, None], size, 0)[
            : len(power)
        ].clip(0)
    if rng.random() < 0.6:
        level = np.log(np.percentile(power, 90) + 1e-6) - rng.uniform(0.5, 6)
        flutter = rng.normal(0, 0.5, power.shape)
        power = power + np.exp(level + rng.normal(0, 1) * bands + flutter)
    mel = (np.log(power + 1e-5) / LOG_UNIT).astype(np.float32)
    if rng.random() < 0.4:
        band, moment = rng.integers(0, 70), rng.integers(0, len(mel) - 20)
        mel[:, band : band + rng.integers(2, 12)] = mel.mean()
        mel[moment : moment + rng.integers(4, 20)] = mel.mean()
    return mel


def _judged(lips: Tensor, sound: Tensor) -> Sync:
    """A clip's lips with a sound that is repeated until it is as long."""
    return verdict(lips, sound[torch.arange(len(lips)) % len(sound)])
