"""Train the lip expert, `python -m mien.training lips --shards shards`: it tells the animator's training which lips go with
a sound.

Two small networks learn to agree on frames that belong together, as those of the judge do (`portrait.sync`), but in the
motion space and on the animator's own features: opening of the lips, channels of the mouth and their speeds. It never
judges; the judge never teaches.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mien import checkpoints
from mien.portrait.motion import REGIONS, load_space
from mien.portrait.sync import REACH, Encoder, SyncConfig, agreement, verdict

if TYPE_CHECKING:
    from mien.training.animator import Shard

WINDOW = 72  # frames of a training window
MOUTH = REGIONS["mouth"].stop - REGIONS["mouth"].start
NEAR = 0.12  # share of the aim on each neighbour of the right offset


@dataclass(frozen=True)
class LipTraining:
    """How sharply likeness is judged, and how far mouths are bent."""

    temperature: float = 0.07
    stretch: float = 0.25  # of the movement, log
    noise: float = 0.1  # in spreads of a channel
    weights: dict[str, float] = field(default_factory=lambda: {"curve": 1.0, "frames": 0.5})


class LipExpert(nn.Module):
    """Mouths and speech features to unit vectors that agree where they belong together."""

    opening: Tensor

    def __init__(self, audio_width: int, config: SyncConfig | None = None):
        super().__init__()
        self.audio_width = audio_width  # the animator's features may go on beyond
        self.config = config = config or SyncConfig(width=96, depth=3)
        space = load_space()
        opening = torch.from_numpy(space.aperture_direction * space.std)
        self.register_buffer("opening", opening / (opening @ opening).sqrt())
        self.mouth = Encoder(2 * (MOUTH + 1), config)
        self.sound = Encoder(audio_width, config)

    def forward(self, motion: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
        """z-scored motion (B, T, 36) and features (B, T, A) to unit vectors (B, T - 2 margin, E) of either."""
        shown = torch.cat([motion[..., REGIONS["mouth"]], (motion @ self.opening)[..., None]], -1)
        speed = F.pad(shown.diff(dim=1), (0, 0, 1, 0))
        return self.mouth(torch.cat([shown, 3 * speed], -1)), self.sound(audio)


class LipTask:
    """Windows of prepared clips for the loop; see `loop.Task`. It hears the first `audio_width` features of a shard."""

    def __init__(self, training: LipTraining, shard: "Shard", audio_width: int):
        self.training, self.weights, self.shard = training, training.weights, shard
        space = load_space()
        self.motion = ((shard.motion - space.mean) / space.std).astype(np.float32)
        lengths = np.diff(shard.starts)
        heard = np.array([clip.has_audio for clip in shard.clips]) & (lengths >= WINDOW)
        split = np.array([clip.split for clip in shard.clips])
        self.train, self.val = (np.flatnonzero(heard & (split == name)) for name in ("train", "val"))
        self.share = np.minimum(lengths[self.train], 500) / np.minimum(lengths[self.train], 500).sum()
        self.audio = shard.audio[..., :audio_width]
        self.model = LipExpert(audio_width)

    def batch(self, generator: torch.Generator, size: int) -> dict[str, Tensor]:
        """Draw windows of as many clips; see `loop.Task`."""
        rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
        motion, audio = [], []
        for clip in rng.choice(self.train, size, p=self.share, replace=size > len(self.train)):
            first, end = self.shard.starts[clip], self.shard.starts[clip + 1]
            at = slice(begin := int(rng.integers(first, end - WINDOW + 1)), begin + WINDOW)
            bent = self.motion[at] * np.exp(rng.normal(0, self.training.stretch))
            motion.append(bent + rng.normal(0, self.training.noise, bent.shape))
            audio.append(self.audio[rng.integers(len(self.audio)), at])
        return {name: torch.from_numpy(np.stack(x).astype(np.float32)) for name, x in (("motion", motion), ("audio", audio))}

    def losses(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """As the judge's: windows agree best at their own offset, frames know their sound among all others."""
        mouth, sound = model(batch["motion"], batch["audio"])
        sharp = self.training.temperature
        aim = torch.zeros(2 * REACH + 1)
        aim[REACH - 1 : REACH + 2] = torch.tensor([NEAR, 1 - 2 * NEAR, NEAR])
        curve = agreement(mouth, sound) / sharp * 2
        likeness = mouth.flatten(0, 1) @ sound.flatten(0, 1).T / sharp
        place = torch.arange(len(likeness), device=mouth.device)
        apart = (place[:, None] - place[None]).abs()
        likeness = likeness.masked_fill((apart > 0) & (apart < 3), -1e4)  # neighbours are neither right nor wrong
        frames = (F.cross_entropy(likeness, place) + F.cross_entropy(likeness.T, place)) / 2
        return {"curve": -(aim.to(curve) * curve.log_softmax(-1)).sum(-1).mean(), "frames": frames}

    @torch.inference_mode()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Confidence on held-out clips with their own sound and with the next clip's, and offsets within a frame."""
        pairs = []
        for clip in self.val:
            at = slice(self.shard.starts[clip], self.shard.starts[clip + 1])
            motion, audio = (torch.from_numpy(x[at].astype(np.float32))[None] for x in (self.motion, self.audio[0]))
            pairs.append([part[0] for part in model(motion, audio)])
        right = [verdict(*pair) for pair in pairs]
        strange = [verdict(a, b[torch.arange(len(a)) % len(b)]) for (a, _), (_, b) in zip(pairs, pairs[1:], strict=False)]
        figures = {
            "confidence": float(np.median([judged.confidence for judged in right])),
            "wrong_audio": float(np.median([judged.confidence for judged in strange])),
            "within_1": float(np.mean([abs(judged.offset) <= 1 for judged in right])),
        }
        return {"score": figures["confidence"] - figures["wrong_audio"], **figures}

    def save(self, model: nn.Module, path: Path) -> None:
        """Write what `load_lip_expert` reads."""
        checkpoints.save(path, dict(model.state_dict()), {"audio_width": self.model.audio_width})


def load_lip_expert(path: str | Path) -> LipExpert:
    """A trained expert, which no longer learns."""
    checkpoint = checkpoints.load(path)
    expert = LipExpert(checkpoint.config["audio_width"])
    expert.load_state_dict(checkpoint.tensors)
    return expert.eval().requires_grad_(False)
