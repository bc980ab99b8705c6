"""Train the motion reader, `python -m mien.training lifting`: manner that is the person's, feeling that is anybody's.

A batch is pairs of stretches of the same person, from two clips or three seconds and more apart in one, each painted with
a feeling of its own by the FACS recipes, and stretches of labelled clips. What a pair shares, across feelings, is manner.
An adversary tries to tell the person from the feeling's numbers, and they learn to tell it nothing.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien import checkpoints
from mien.emotion import CATEGORIES
from mien.emotion.lifting import LiftingConfig, MotionReader
from mien.emotion.ontology import dimensions
from mien.portrait.feelings import offsets
from mien.portrait.guarantees import BLINK_PROFILES
from mien.portrait.motion import REGIONS, load_space
from mien.training.animator import build_shard, mirror_matrix

FRAMES = 64  # of a stretch
GAP = 75  # frames between two stretches of one clip


@dataclass(frozen=True)
class LiftingTraining:
    """What is drawn and how it is weighed. painted: share of unlabelled stretches that get a feeling.

    unsure: weight of unlabelled stretches left as they are: most are calm, some are not.
    varied: spread (log) of a painted feeling's channels, as nobody shows a recipe to the letter. noise: added, in z-scores.
    temperature: of the contrast between people. reversal: factor on the adversary's gradient.
    """

    painted: float = 0.75
    unsure: float = 0.2
    varied: float = 0.3
    noise: float = 0.05
    mirrored: float = 0.5
    temperature: float = 0.1
    reversal: float = 1.0
    weights: dict[str, float] = field(
        default_factory=lambda: {"mean": 1.0, "style": 1.0, "emotion": 1.0, "dimensions": 1.0, "speaker": 0.3}
    )


class Reversed(torch.autograd.Function):
    """The same forwards, the gradient turned round backwards (Ganin & Lempitsky 2015, https://arxiv.org/abs/1409.7495)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """x as it is; factor: on its gradient."""
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        """The gradient turned round."""
        return -ctx.factor * grads[0], None


class Reading(nn.Module):
    """The reader and its adversary, who is left at home when the reader is saved."""

    def __init__(self, reader: MotionReader, speakers: int):
        super().__init__()
        self.reader = reader
        width = 4 * reader.config.emotion
        self.adversary = nn.Sequential(nn.Linear(reader.config.emotion, width), nn.SiLU(), nn.Linear(width, speakers))

    def forward(self, x: Tensor, reversal: float) -> dict[str, Tensor]:
        """z-scored motion (B, T, 36) to all that is asked of it, row by row."""
        reader, x = self.reader, x.transpose(1, 2)
        lifted = reader.lift(x)
        feeling = reader.emotion(lifted)
        return {
            "drift": lifted.slow.mean(-1) - x.mean(-1),
            "style": reader.style(lifted),
            "category": reader.category(feeling),
            "dimensions": reader.dimensions(feeling),
            "speaker": self.adversary(Reversed.apply(feeling, reversal)),
        }


class LiftingTask:
    """Pairs and labelled stretches for the loop; see `loop.Task`."""

    def __init__(self, config: LiftingConfig, training: LiftingTraining, shards: Path):
        self.config, self.training, self.weights = config, training, training.weights
        self.space = load_space()
        self.shard = build_shard(shards, "front", self.space)
        self.mirror = mirror_matrix(self.space)
        self.paint = offsets()
        self.people = self.people_of("train")
        self.number = {name: i for i, name in enumerate(self.people)}
        self.labelled = self.labelled_of("train")
        self.model = Reading(MotionReader(config), len(self.people))
        self.model.reader.mean.copy_(torch.from_numpy(self.space.mean))
        self.model.reader.std.copy_(torch.from_numpy(self.space.std))

    # -- drawing ------------------------------------------------------------------------------------------------------

    def people_of(self, split: str) -> dict[str, list[int]]:
        """Clips of everybody in a split of whom there are two stretches that are apart."""
        people: dict[str, list[int]] = {}
        for index, clip in enumerate(self.shard.clips):
            if clip.split == split and self.length(index) >= FRAMES:
                people.setdefault(clip.speaker, []).append(index)
        return {name: of for name, of in people.items() if len(of) > 1 or self.length(of[0]) >= 2 * FRAMES + GAP}

    def labelled_of(self, split: str) -> list[list[int]]:
        """Labelled clips of a split by category; categories without one are left out."""
        by: dict[int, list[int]] = {}
        for index, clip in enumerate(self.shard.clips):
            if clip.split == split and clip.labelled and self.length(index) >= FRAMES // 2:
                by.setdefault(int(np.argmax(share_of(np.array(clip.emotion)))), []).append(index)
        return list(by.values())

    def length(self, index: int) -> int:
        """Frames of a clip."""
        return int(self.shard.starts[index + 1] - self.shard.starts[index])

    def frames_of(self, index: int, start: int) -> np.ndarray:
        """A stretch of a clip (FRAMES, 36), its last frame held where it is short."""
        inside = np.minimum(np.arange(start, start + FRAMES), self.length(index) - 1)
        return self.shard.motion[self.shard.starts[index] + inside]

    def apart(self, rng: np.random.Generator, clips: list[int]) -> list[tuple[int, int]]:
        """Two stretches of one person as (clip, start): of two clips, or of one but `GAP` apart."""
        alone = [i for i in clips if self.length(i) >= 2 * FRAMES + GAP]
        if len(clips) > 1 and (not alone or rng.random() < 0.7):
            one, two = rng.choice(clips, 2, replace=False)
            return [(int(i), int(rng.integers(self.length(i) - FRAMES + 1))) for i in (one, two)]
        index = int(rng.choice(alone))
        spare = self.length(index) - 2 * FRAMES - GAP
        first = int(rng.integers(spare + 1))
        return [(index, first), (index, first + FRAMES + GAP + int(rng.integers(spare - first + 1)))]

    def stretch(self, rng: np.random.Generator, index: int, start: int) -> tuple[np.ndarray, np.ndarray]:
        """Motion of a stretch (FRAMES, 36), painted or not, and its feeling's weights (8,)."""
        clip, motion = self.shard.clips[index], self.frames_of(index, start)
        weights = np.array(clip.emotion)
        if not clip.labelled and rng.random() < self.training.painted:
            names = rng.choice(np.arange(1, len(CATEGORIES)), 1 if rng.random() < 0.8 else 2, replace=False)
            weights[names] = rng.dirichlet(np.ones(len(names))) * rng.uniform(0.3, 1.2)
            motion = motion + (weights @ self.paint) * np.exp(rng.normal(0, self.training.varied, motion.shape[1]))
        lids, at = REGIONS["lids"], int(rng.integers(FRAMES))
        for beat in range(at, FRAMES, int(rng.integers(25, 120))):  # clips come without their blinks, films with them
            profile = np.array(BLINK_PROFILES[rng.integers(len(BLINK_PROFILES))])[: FRAMES - beat]
            motion = motion.copy()
            motion[beat : beat + len(profile), lids] *= profile[:, None]
        return motion, weights

    def batch(self, generator: torch.Generator, size: int) -> dict[str, Tensor]:
        """`size` people in pairs, then half as many labelled stretches; see `loop.Task`."""
        rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
        motions, weights, sure, speakers = [], [], [], []

        def add(places: list[tuple[int, int]]) -> None:
            flip = rng.random() < self.training.mirrored
            for index, start in places:
                motion, felt = self.stretch(rng, index, start)
                motions.append(motion @ self.mirror if flip else motion)
                weights.append(felt)
                sure.append(1.0 if felt.any() or self.shard.clips[index].labelled else self.training.unsure)
                speakers.append(self.number.get(self.shard.clips[index].speaker, -1))

        for name in rng.choice(list(self.people), min(size, len(self.people)), replace=False):
            add(self.apart(rng, self.people[name]))
        for _ in range(size // 2):
            clips = self.labelled[rng.integers(len(self.labelled))]
            index = int(rng.choice(clips))
            add([(index, int(rng.integers(max(1, self.length(index) - FRAMES + 1))))])
        z = self.normal(np.stack(motions))
        felt = np.stack(weights)
        return {
            "motion": z + self.training.noise * torch.randn(z.shape, generator=generator),
            "share": torch.from_numpy(share_of(felt)),
            "dimensions": torch.from_numpy(dimensions(felt).astype(np.float32)),
            "sure": torch.tensor(sure),
            "speaker": torch.tensor(speakers),
            "pairs": torch.tensor(2 * min(size, len(self.people))),
        }

    def normal(self, motion: np.ndarray) -> Tensor:
        """Natural units (…, 36) as z-scores."""
        return torch.from_numpy(((motion - self.space.mean) / self.space.std).astype(np.float32))

    # -- losses -------------------------------------------------------------------------------------------------------

    def losses(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """That what stays keeps the mean; people apart by manner; feelings told; nobody told by feeling."""
        told = model(batch["motion"], self.training.reversal)
        pairs = int(batch["pairs"])
        one, two = told["style"][0:pairs:2], told["style"][1:pairs:2]
        likeness, own = one @ two.T / self.training.temperature, torch.arange(pairs // 2, device=one.device)
        share, sure = batch["share"], batch["sure"] / batch["sure"].sum()
        error = (told["dimensions"] - batch["dimensions"]).square().mean(1)
        return {
            "mean": F.smooth_l1_loss(told["drift"], torch.zeros_like(told["drift"])),
            "style": (F.cross_entropy(likeness, own) + F.cross_entropy(likeness.T, own)) / 2,
            "emotion": (sure * F.cross_entropy(told["category"], share, reduction="none")).sum(),
            "dimensions": (sure * error).sum(),
            "speaker": F.cross_entropy(told["speaker"], batch["speaker"], ignore_index=-1),
        }

    # -- evaluation ---------------------------------------------------------------------------------------------------

    def evaluate(self, model: nn.Module, split: str = "val", rounds: int = 6) -> dict[str, float]:
        """People of a split found again by manner, and feelings told: painted ones, and those of labelled clips.

        style: share of people whose other stretch, painted with another feeling, is the nearest of all people's.
        painted: share of plainly painted feelings told right. labelled: of labelled clips, by the mean of their odds.
        """
        assert isinstance(model, Reading)
        rng, people = np.random.default_rng(1), self.people_of(split)
        found, right = [], []
        for _ in range(rounds):
            drawn = [[self.frames_of(*place) for place in self.apart(rng, clips)] for clips in people.values()]
            felt = rng.integers(0, len(CATEGORIES), (len(drawn), 2))
            felt[:, 1] = (felt[:, 0] + rng.integers(1, len(CATEGORIES), len(felt))) % len(CATEGORIES)
            told = self.told(model, np.array(drawn) + self.paint[felt][:, :, None])
            likeness = told["style"][0::2] @ told["style"][1::2].T
            found += (likeness.argmax(1) == torch.arange(len(drawn))).tolist()
            right += (told["category"].argmax(1).numpy() == felt.ravel()).tolist()
        clips = [index for kind in self.labelled_of(split) for index in kind]
        hits = [self.felt(model, i) == int(np.argmax(share_of(np.array(self.shard.clips[i].emotion)))) for i in clips]
        figures = {"style": float(np.mean(found)), "style_chance": 1 / len(people), "painted": float(np.mean(right))}
        figures["labelled"] = float(np.mean(hits)) if hits else 0.0
        return {"score": figures["style"] + figures["painted"], **figures}

    @torch.inference_mode()
    def told(self, model: nn.Module, motions: np.ndarray) -> dict[str, Tensor]:
        """What a model says of motions (…, FRAMES, 36), end to end."""
        assert isinstance(model, Reading)
        return model(self.normal(motions.reshape(-1, *motions.shape[-2:])), 0.0)

    def felt(self, model: nn.Module, index: int) -> int:
        """The category that a model reads from a whole clip."""
        starts = range(0, max(1, self.length(index) - FRAMES + 1), 16)
        told = self.told(model, np.stack([self.frames_of(index, start) for start in starts]))
        return int(told["category"].softmax(1).mean(0).argmax())

    def report(self, path: Path, split: str) -> dict[str, float]:
        """All that is measured of a saved reader on a split, as `evaluate` and `probe` tell."""
        self.model.reader.load_state_dict({name: value.float() for name, value in checkpoints.load(path).tensors.items()})
        self.model.eval()
        return self.evaluate(self.model, split, rounds=20) | self.probe(self.model.reader, split)

    def probe(self, reader: MotionReader, split: str, draws: int = 24) -> dict[str, float]:
        """How well a fresh network, told by numbers that stand still, tells who it is: from manner, and from feeling.

        It learns from one part of everybody's film and is asked about another: other clips, or three seconds on. Stretches
        are painted with feelings as in training. Returns shares of stretches whose person is named, and chance.
        """
        rng, people = np.random.default_rng(2), list(self.people_of(split).values())
        told: dict[str, list[Tensor]] = {"style": [], "emotion": []}
        for late in (False, True):
            places = [self.part(rng, clips, late) for clips in people for _ in range(draws)]
            z = self.normal(np.stack([self.stretch(rng, *place)[0] for place in places])).transpose(1, 2)
            with torch.inference_mode():
                lifted = reader.lift(z)
                for name, numbers in (("style", reader.style(lifted)), ("emotion", reader.emotion(lifted))):
                    told[name].append(numbers)
        who = torch.arange(len(people)).repeat_interleave(draws)
        named = {f"{name}_names": _named(early, late, who) for name, (early, late) in told.items()}
        return named | {"chance": 1 / len(people)}

    def part(self, rng: np.random.Generator, clips: list[int], late: bool) -> tuple[int, int]:
        """A stretch as (clip, start) of the one or the other part of somebody's film."""
        if len(clips) > 1:
            index = int(rng.choice(clips[len(clips) // 2 :] if late else clips[: len(clips) // 2]))
            return index, int(rng.integers(self.length(index) - FRAMES + 1))
        spare = (self.length(clips[0]) - GAP) // 2 - FRAMES
        start = int(rng.integers(spare + 1))
        return clips[0], self.length(clips[0]) - FRAMES - start if late else start

    def save(self, model: nn.Module, path: Path) -> None:
        """Write the reader alone, as `mien.emotion.motion` loads it."""
        assert isinstance(model, Reading)
        tensors = {name: tensor.half() for name, tensor in model.reader.state_dict().items()}
        checkpoints.save(path, tensors, self.config.__dict__)


def share_of(weights: np.ndarray) -> np.ndarray:
    """Weights of categories (…, 8) as odds: what is not felt is neutral."""
    out = weights.astype(np.float32)
    out[..., 0] = np.maximum(1 - out[..., 1:].sum(-1), 0)
    return out / out.sum(-1, keepdims=True)


def _named(learned: Tensor, asked: Tensor, who: Tensor) -> float:
    """Share of rows whose person a small network names after it has learned from others of them, the same each time."""
    learned, asked = learned.clone(), asked.clone()
    mean, std = learned.mean(0), learned.std(0) + 1e-6
    torch.manual_seed(0)
    judge = nn.Sequential(nn.Linear(learned.shape[1], 128), nn.SiLU(), nn.Dropout(0.3), nn.Linear(128, int(who.max()) + 1))
    optimiser = torch.optim.AdamW(judge.parameters(), lr=3e-3, weight_decay=0.05)
    for _ in range(200):
        loss = F.cross_entropy(judge((learned - mean) / std), who)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    judge.eval()
    with torch.inference_mode():
        return float((judge((asked - mean) / std).argmax(1) == who).float().mean())
