"""Train the animator: motion and speech of prepared clips, `python -m mien.training animator --config nano`.

Clips become two arrays, motion and speech features, cached beside the tracks. A batch is windows of them. What a feeling
does to a face is laid on after the network (`portrait.feelings`), so it is taken off the clips that are known to feel:
the network learns a calm talker, and what real feeling adds to its recipe.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mien import checkpoints
from mien.media.sound import load_sound
from mien.portrait import geometry
from mien.portrait.animator import EMOTIONS, GATE_REGIONS, MEMORY, WINDOW, Animator, AnimatorConfig, Conditions
from mien.portrait.feelings import liveliness, offsets
from mien.portrait.motion import CHANNELS, REGIONS, MotionSpace, load_space, without_blinks
from mien.portrait.sampling import windows
from mien.portrait.speech import CODEC, as_tokens, speech_features
from mien.portrait.tracking import Track
from mien.training.lips import load_lip_expert
from mien.training.prepare import Clip, read_clips

FRAMES = MEMORY + WINDOW
VIEWS = 3  # of the sound: clean, coloured and noisy, in a room
STYLE_FRAMES = 75
STYLE_GAP = 75  # frames between a window and the style taken from the same clip
RIDGE = 0.01  # of the line between the features of two animators
TRACKER_LAG = 256  # samples: films are tracked about 0.4 frame late, and their sound is made to be as late


@dataclass(frozen=True)
class AnimatorTraining:
    """What is drawn and how it is weighed. Probabilities of a condition being absent; the rest is drawn as it comes.

    expert: a trained `training.lips.LipExpert`, by which lips must go with their sound; "" for none. anew: of an animator
    that is gone on from, words in the names of weights that start from nothing.
    """

    no_audio: float = 0.1
    no_style: float = 0.35
    no_memory: float = 0.15
    mirrored: float = 0.5
    coded: float = 0.5  # share of windows that hear no more of a sound than its tokens tell
    expert: str = ""
    anew: list[str] = field(default_factory=list)
    weights: dict[str, float] = field(
        default_factory=lambda: {"motion": 1.0, "speed": 2.0, "aperture": 0.5, "aperture_speed": 1.0, "sync": 0.2}
    )


@dataclass(frozen=True)
class Shard:
    """All clips end to end. motion (F, 36) natural units, audio (VIEWS, F, A) float16, starts (N + 1,) of the clips."""

    clips: list[Clip]
    starts: np.ndarray
    motion: np.ndarray
    audio: np.ndarray


def build_shard(shards: Path, audio: str, space: MotionSpace) -> Shard:
    """Encode every prepared clip's motion and speech, or read what was cached (animator-<audio>.npz)."""
    clips = read_clips(shards)
    path = shards / f"animator-{audio}.npz"
    if path.is_file():
        with np.load(path) as data:
            return Shard([clips[i] for i in data["clip"]], data["starts"], data["motion"], data["audio"])
    features = speech_features(audio)
    rng = np.random.default_rng(0)
    motions, sounds, kept = [], [], []
    for index, clip in enumerate(clips):
        track = Track.load(shards / clip.track)
        if len(track) < 32 or track.tracked.mean() < 0.9:
            continue
        values = without_blinks(space.encode(track).values)
        wave = load_sound(clip.film).mono(16000) if clip.has_audio else np.zeros(len(values) * 640, np.float32)
        late = np.pad(wave, (TRACKER_LAG, 0))
        views = [features(view) for view in sound_views(late, rng)]
        motions.append(values)
        sounds.append(np.stack([_shifted(view, clip.offset, len(values)) for view in views]).astype(np.float16))
        kept.append(index)
        print(f"\r{index + 1}/{len(clips)} clips encoded", end="", flush=True)
    starts = np.concatenate([[0], np.cumsum([len(m) for m in motions])])
    shard = Shard([clips[i] for i in kept], starts, np.concatenate(motions), np.concatenate(sounds, 1))
    np.savez(path.with_suffix(".part.npz"), clip=np.array(kept), starts=starts, motion=shard.motion, audio=shard.audio)
    path.with_suffix(".part.npz").replace(path)
    return shard


def _shifted(features: np.ndarray, offset: int, frames: int) -> np.ndarray:
    """Speech features moved onto the film's clock: frame n of a film that is `offset` late shows frame n - offset."""
    index = np.clip(np.arange(frames) - offset, 0, len(features) - 1)
    return features[index]


def sound_views(wave: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """The same speech as three microphones might hear it: clean; louder or softer, coloured, with noise; in a room."""
    level = np.sqrt(np.mean(wave**2) + 1e-9)
    gain = 10 ** (rng.uniform(-10, 6) / 20)
    tilt = rng.uniform(-0.6, 0.6)
    coloured = np.append(wave[:1], wave[1:] + tilt * wave[:-1])
    noise = rng.standard_normal(len(wave)).astype(np.float32)
    noise = np.cumsum(noise) * 0.02 if rng.random() < 0.5 else noise
    noise = (noise - noise.mean()) / (noise.std() + 1e-9) * level * 10 ** (-rng.uniform(12, 30) / 20)
    tail = rng.standard_normal(4800).astype(np.float32) * np.exp(-np.arange(4800) / rng.uniform(400, 1600))
    tail = tail / np.sqrt((tail**2).sum()) * rng.uniform(0.2, 0.6)
    tail[0] = 1
    size = 2 ** int(np.ceil(np.log2(len(wave) + 4800)))
    room = np.fft.irfft(np.fft.rfft(wave, size) * np.fft.rfft(tail, size), size)[: len(wave)]
    return [wave, np.clip(gain * (coloured + noise), -1, 1).astype(np.float32), np.clip(room, -1, 1).astype(np.float32)]


def mirror_matrix(space: MotionSpace) -> np.ndarray:
    """(36, 36): values @ matrix is the same motion seen in a mirror."""
    matrix = np.zeros((CHANNELS, CHANNELS), np.float32)
    for channel, sign in ((0, 1), (1, -1), (2, -1), (3, -1), (4, 1), (5, 1), (6, -1), (7, 1)):
        matrix[channel, channel] = sign
    matrix[8, 9] = matrix[9, 8] = 1
    matrix[10:, 10:] = space.expression_numbers(geometry.mirrored(space.bases, space.partner))
    return matrix


def calmed(motion: np.ndarray, emotion: np.ndarray) -> np.ndarray:
    """Motion (T, 36) of somebody who feels `emotion` (8,) without what `portrait.feelings.felt` would add to it."""
    weights = np.repeat(emotion[None], len(motion), 0)
    out = motion - weights @ offsets()
    out[:, : REGIONS["scale"].stop] /= liveliness(weights)
    return out.astype(np.float32)


class AnimatorTask:
    """Windows of prepared clips for the loop; see `loop.Task`."""

    def __init__(self, config: AnimatorConfig, training: AnimatorTraining, shards: Path, init: str | None = None):
        self.space = load_space()
        self.shard = build_shard(shards, config.audio, self.space)
        codec = CODEC if config.audio == "codec" else ""
        config = replace(config, audio_width=self.shard.audio.shape[-1], codec=codec)
        self.config, self.training, self.weights = config, training, training.weights
        self.model = Animator(config)
        if init:
            self._go_on_from(checkpoints.load(init), shards)
        self.expert = load_lip_expert(training.expert) if training.expert else None
        self.mirror = mirror_matrix(self.space)
        self.emotion = np.array([clip.emotion for clip in self.shard.clips], np.float32)
        self.emotion[:, 0] = 0
        takes = np.split(self.shard.motion, self.shard.starts[1:-1])
        self.motion = np.concatenate([calmed(take, felt) for take, felt in zip(takes, self.emotion, strict=True)])
        split = np.array([clip.split for clip in self.shard.clips])
        lengths = np.diff(self.shard.starts)
        self.train_clips = np.flatnonzero(split == "train")
        # Sound is what the network is for: clips that have it come three times as often.
        sound = np.array([3.0 if clip.has_audio else 1.0 for clip in self.shard.clips])
        self.share = (lengths * sound)[self.train_clips] / (lengths * sound)[self.train_clips].sum()
        speakers: dict[str, list[int]] = {}
        for index in self.train_clips:
            speakers.setdefault(self.shard.clips[index].speaker, []).append(int(index))
        self.speakers = speakers
        self.channel_weight = torch.from_numpy(channel_weights(self.space))
        aperture = self.space.aperture_direction * self.space.std
        self.aperture = aperture
        self.lips = torch.from_numpy(aperture / np.linalg.norm(aperture))

    def _go_on_from(self, known: checkpoints.Checkpoint, shards: Path) -> None:
        """Take an animator's weights. If it heard other features, what hears starts as near to it as a line can come."""
        own = self.model.state_dict()
        taken = {name: t.float() for name, t in known.tensors.items() if not any(w in name for w in self.training.anew)}
        if (heard := known.config["audio"]) != self.config.audio:
            before = build_shard(shards, heard, self.space).audio[0, ::4].astype(np.float64)
            aim = before @ taken["audio_in.weight"].double().numpy().T
            now = self.shard.audio[0, ::4].astype(np.float64)
            if self.config.audio == "codec":
                now, aim = np.concatenate([now, as_tokens(now)]), np.concatenate([aim, aim])
            centre, spread = now.mean(0), now.std(0) + 1e-3
            z = (now - centre) / spread
            ridge = RIDGE * len(z) * np.eye(z.shape[1])
            line = np.linalg.solve(z.T @ z + ridge, z.T @ (aim - aim.mean(0))).T / spread
            taken["audio_in.weight"] = torch.from_numpy(line).float()
            taken["audio_in.bias"] = taken["audio_in.bias"] + torch.from_numpy(aim.mean(0) - line @ centre).float()
        self.model.load_state_dict(own | taken)

    # -- batches ------------------------------------------------------------------------------------------------------

    def batch(self, generator: torch.Generator, size: int) -> dict[str, Tensor]:
        """Draw windows; see `loop.Task`."""
        rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
        rows = [self._window(rng) for _ in range(size)]
        batch = {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]}
        batch["noise"] = torch.randn(size, WINDOW, CHANNELS, generator=generator)
        batch["sigma"] = torch.sigmoid(torch.randn(size, generator=generator) * 1.2 + 0.3)
        return batch

    def _window(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        t = self.training
        index = int(rng.choice(self.train_clips, p=self.share))
        clip, first, end = self.shard.clips[index], self.shard.starts[index], self.shard.starts[index + 1]
        length = end - first
        start = int(rng.integers(-MEMORY, max(length - FRAMES, -MEMORY) + 1))
        frames = np.arange(start, start + FRAMES)
        inside = first + np.clip(frames, 0, length - 1)
        motion = self.motion[inside]
        audio = self.shard.audio[rng.integers(VIEWS), inside].astype(np.float32)
        if self.config.audio == "codec" and rng.random() < t.coded:
            audio = as_tokens(audio)
        emotion = np.repeat(self.emotion[index][None], FRAMES, 0)
        style, has_style = self._style(rng, index, start)
        if rng.random() < t.mirrored:
            motion, style = motion @ self.mirror, style @ self.mirror
        z = (motion - self.space.mean) / self.space.std
        return {
            "motion": z[MEMORY:].astype(np.float32),
            "memory": z[:MEMORY].astype(np.float32),
            "valid": (frames[MEMORY:] < length).astype(np.float32),
            "audio": audio,
            "emotion": emotion,
            "style": ((style - self.space.mean) / self.space.std).astype(np.float32),
            "has_audio": np.array(clip.has_audio and rng.random() >= t.no_audio),
            "has_style": np.array(has_style and rng.random() >= t.no_style),
            "has_memory": np.array(start >= 0 and rng.random() >= t.no_memory),
        }

    def _style(self, rng, index: int, start: int) -> tuple[np.ndarray, bool]:
        """Motion of the same person from another clip, or from this one at least three seconds away."""
        others = [i for i in self.speakers[self.shard.clips[index].speaker] if i != index]
        choices = [(i, 0, self._length(i) - STYLE_FRAMES) for i in others]
        choices += [(index, 0, start - STYLE_GAP - STYLE_FRAMES)]
        choices += [(index, start + FRAMES + STYLE_GAP, self._length(index) - STYLE_FRAMES)]
        choices = [choice for choice in choices if choice[2] >= choice[1]]
        if not choices:
            return np.repeat(self.space.mean[None], STYLE_FRAMES, 0), False
        clip, low, high = choices[rng.integers(len(choices))]
        begin = self.shard.starts[clip] + rng.integers(low, high + 1)
        return self.motion[begin : begin + STYLE_FRAMES], True

    def _length(self, index: int) -> int:
        return int(self.shard.starts[index + 1] - self.shard.starts[index])

    # -- losses -------------------------------------------------------------------------------------------------------

    def losses(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Error of the clean motion, of its speed, and of the lips' opening (the sharpest thing to hear in a face).

        sync: how far the lips are from what the expert would see with this sound, less the noisier they were.
        """
        target, sigma = batch["motion"], batch["sigma"]
        noisy = (1 - sigma[:, None, None]) * target + sigma[:, None, None] * batch["noise"]
        predicted = model(noisy, sigma, self.conditions(model, batch))
        valid = batch["valid"][..., None]
        weight = self.channel_weight.to(target.device) * valid
        lips = self.lips.to(target.device)
        error = predicted - target
        opening = (error @ lips)[..., None]
        losses = {
            "motion": (weight * error**2).sum() / weight.sum(),
            "speed": (weight[:, 1:] * error.diff(dim=1) ** 2).sum() / weight.sum(),
            "aperture": (valid * opening**2).sum() / valid.sum(),
            "aperture_speed": (valid[:, 1:] * opening.diff(dim=1) ** 2).sum() / valid.sum(),
        }
        if self.expert is not None:
            mouth, sound = self.expert(predicted, batch["audio"][:, MEMORY:, : self.expert.audio_width])
            margin = self.expert.config.margin
            counts = valid[:, margin:-margin, 0] * (batch["has_audio"] * (1 - sigma))[:, None]
            losses["sync"] = (counts * (1 - (mouth * sound).sum(-1))).sum() / counts.sum().clamp(min=1)
        return losses

    def conditions(self, model: nn.Module, batch: dict[str, Tensor]) -> Conditions:
        """Conditions of a batch, style tokens encoded."""
        core: Any = getattr(model, "module", model)
        return Conditions(
            audio=batch["audio"],
            style=core.style_encoder(batch["style"]),
            emotion=batch["emotion"],
            memory=batch["memory"],
            has_audio=batch["has_audio"],
            has_style=batch["has_style"],
            has_memory=batch["has_memory"],
        )

    # -- evaluation ---------------------------------------------------------------------------------------------------

    def evaluate(self, model: nn.Module, split: str = "val", most: int = 12) -> dict[str, float]:
        """Lips of sampled motion beside the real ones, with the right sound and with another clip's."""
        chosen = [i for i, clip in enumerate(self.shard.clips) if clip.split == split and clip.has_audio]
        chosen = [i for i in chosen if self._length(i) >= 75][:most]
        real, right, wrong = [], [], []
        speeds = []
        for place, index in enumerate(chosen):
            frames = min(self._length(index), 3 * WINDOW)
            values = self.shard.motion[self.shard.starts[index] :][:frames]
            real.append(self.space.aperture(values))
            other = chosen[(place + 1) % len(chosen)]
            for source, into in ((index, right), (other, wrong)):
                audio = self.shard.audio[0, self.shard.starts[source] : self.shard.starts[source + 1]][:frames]
                audio = np.resize(audio.astype(np.float32), (frames, audio.shape[1]))
                sampled = self.sample(model, audio, seed=place)
                into.append(self.space.aperture(sampled))
                if into is right:
                    speeds.append(
                        np.abs(np.diff(sampled[:, :3], axis=0)).mean() / np.abs(np.diff(values[:, :3], axis=0)).mean()
                    )
        agreement = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(real, right, strict=True)])
        control = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(real, wrong, strict=True)])
        spread = np.median([b.std() / a.std() for a, b in zip(real, right, strict=True)])
        gain = np.mean([_error(a, b) for a, b in zip(real, wrong, strict=True)]) / np.mean(
            [_error(a, b) for a, b in zip(real, right, strict=True)]
        )
        return {
            "score": float(agreement - control - 0.25 * abs(np.log(spread))),
            "lips_r": float(agreement),
            "wrong_r": float(control),
            "spread": float(spread),
            "audio_gain": float(gain),
            "head_speed": float(np.median(speeds)),
        }

    def sample(self, model: nn.Module, audio: np.ndarray, seed: int = 0) -> np.ndarray:
        """Calm motion (T, 36) in natural units for speech features (T, A)."""
        assert isinstance(model, Animator)
        calm = np.zeros((len(audio), EMOTIONS), np.float32)
        made = windows(model, audio, calm, None, self.aperture, seed=seed)
        return np.concatenate(list(made)) * self.space.std + self.space.mean

    def save(self, model: nn.Module, path: Path) -> None:
        """Write as a checkpoint of `mien.portrait`."""
        tensors = {name: tensor.half() for name, tensor in model.state_dict().items()}
        checkpoints.save(path, tensors, self.config.__dict__)


def _error(real: np.ndarray, made: np.ndarray) -> float:
    return float(np.mean((real - real.mean() - made + made.mean()) ** 2))


def channel_weights(space: MotionSpace) -> np.ndarray:
    """(36,) weights of the error: regions count alike but the mouth double, channels by how far they move the face."""
    weight = np.ones(CHANNELS, np.float32)
    weight[10:] = np.linalg.norm(space.bases.reshape(len(space.bases), -1), axis=1) * space.std[10:]
    for names in GATE_REGIONS.values():
        columns = np.concatenate([np.arange(CHANNELS)[REGIONS[name]] for name in names])
        weight[columns] /= weight[columns].sum()
    weight[REGIONS["mouth"]] *= 2
    weight[REGIONS["gaze"]] *= 0.3  # watched, but noisy
    return weight / weight.mean()
