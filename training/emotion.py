"""Train the emotion reader, `python -m mien.training emotion`: acted speech, split by actor, and a small network.

Actors are few, so all is done against learning them: whole recordings are brought to one level, what is learned from are
statistics of random cuts (some corpora's clips end early, and a cut's end must not tell), and the network is small and
drops much of what it hears. The codec's features stand still, so they are computed once.
"""

import copy
import csv
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from mien import checkpoints
from mien.codec.emotion import (
    DIMENSIONS,
    LEARNED,
    LEAST_SPEECH,
    WINDOW,
    EmotionConfig,
    EmotionReader,
    Feeling,
    at_level,
    frames_of,
    statistics,
)
from mien.codec.model import Codec
from mien.codec.probes import macro_f1
from mien.media.sound import load_sound

COLUMNS = ("file", "speaker_id", "corpus", "split", "emotion", "intensity")
CORPORA = ("ravdess", "emodb", "nemo", "rakshak", "baved")
LABELS = {
    "neutral": "neutral", "calm": "neutral", "happy": "happy", "sad": "sad", "angry": "angry", "fear": "fearful",
    "disgust": "disgusted", "surprise": "surprised",
}  # fmt: skip
# Pleasure, arousal, dominance of the words (Russell and Mehrabian 1977, Evidence for a three-factor theory of emotions;
# bored: Mehrabian 1996). Neutral is where nothing is felt.
DIMENSIONS_OF = {
    "neutral": (0.0, 0.0, 0.0), "calm": (0.0, 0.0, 0.0), "happy": (0.81, 0.51, 0.46), "sad": (-0.63, -0.27, -0.33),
    "angry": (-0.51, 0.59, 0.25), "fear": (-0.64, 0.60, -0.43), "disgust": (-0.60, 0.35, 0.11),
    "surprise": (0.40, 0.67, -0.13), "boredom": (-0.65, -0.62, -0.33),
}  # fmt: skip
STRENGTH = {"normal": 0.7, "": 0.85, "strong": 1.0}  # how much of it an actor shows
AROUSAL = {"low": -0.4, "normal": 0.0, "high": 0.6}  # of BAVED, which names nothing else


@dataclass(frozen=True)
class EmotionTraining:
    """How long it learns, and against what.

    cuts: drawn from each clip, beside the longest. shortest: frames of a cut. dimension_weight: of their error, beside the
    categories' cross-entropy.
    """

    cuts: int = 4
    shortest: int = 25
    steps: int = 500
    batch: int = 128
    lr: float = 2e-3
    weight_decay: float = 0.1
    label_smoothing: float = 0.1
    dimension_weight: float = 2.0
    seed: int = 0


@dataclass(frozen=True)
class Clip:
    """A clip of acted speech, as the codec hears it.

    category: one of `LEARNED`, or None where the label is none of them. dimensions: (3,) float32, NaN where nothing is
    known. frames: (T, D) float16. spoken: (T,) bool.
    """

    corpus: str
    speaker: str
    split: str
    category: str | None
    dimensions: np.ndarray
    frames: np.ndarray
    spoken: np.ndarray


def load_clips(data: Path, codec: Codec, progress: Callable[[float, float], None] = lambda done, total: None) -> list[Clip]:
    """The acted corpora of a folder of speech with a manifest.csv, heard by a codec.

    Raises FileNotFoundError without a manifest, ValueError when it lacks one of `COLUMNS`, lists none of the corpora or
    names a feeling or an intensity that is unknown.
    """
    table = data / "manifest.csv"
    if not table.is_file():
        raise FileNotFoundError(f"{data} holds no manifest.csv: give a folder of acted speech with its list.")
    with table.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if missing := [name for name in COLUMNS if name not in (reader.fieldnames or ())]:
            raise ValueError(f"{table} has no column '{missing[0]}': it needs {', '.join(COLUMNS)}.")
        rows = [row for row in reader if row["corpus"] in CORPORA]
    if not rows:
        raise ValueError(f"{table} lists none of {', '.join(CORPORA)}: give a folder of acted speech.")
    labels = [_label(row) for row in rows]
    codec = copy.deepcopy(codec).float()  # half the time, and more than exact enough for statistics
    clips = []
    for done, (row, label) in enumerate(zip(rows, labels, strict=True), 1):
        frames, spoken = frames_of(codec.features(at_level(load_sound(data / row["file"]).mono())))
        if spoken.sum() >= LEAST_SPEECH:
            clips.append(Clip(row["corpus"], row["speaker_id"], row["split"], *label, frames.astype(np.float16), spoken))
        progress(done, len(rows))
    return clips


def _label(row: dict[str, str]) -> tuple[str | None, np.ndarray]:
    """A row's category and dimensions."""
    if row["corpus"] == "baved":
        return None, np.array([np.nan, _known(AROUSAL, row, "intensity"), np.nan], np.float32)
    dimensions = np.array(_known(DIMENSIONS_OF, row, "emotion"), np.float32)
    return LABELS.get(row["emotion"]), _known(STRENGTH, row, "intensity") * dimensions


def _known(meanings: Mapping[str, Any], row: dict[str, str], column: str) -> Any:
    """What a row's word means. Raises ValueError for a word without a meaning."""
    if (word := row[column]) not in meanings:
        known = ", ".join(filter(None, meanings))
        raise ValueError(f"{row['file']} has the {column} '{word}', of {row['corpus']} are known {known}: correct it.")
    return meanings[word]


def fit(clips: Sequence[Clip], codec_name: str, training: EmotionTraining | None = None) -> EmotionReader:
    """A reader that has learned from clips; the same clips and seed give the same reader.

    Raises ValueError without clips.
    """
    if not clips:
        raise ValueError("there is no speech to learn from: mark clips of the manifest as of split 'train'.")
    c = training or EmotionTraining()
    rng, generator = np.random.default_rng(c.seed), torch.Generator().manual_seed(c.seed)
    torch.manual_seed(c.seed)
    x = torch.from_numpy(np.stack([_cuts(clip, c, rng) for clip in clips]))  # (N, 1 + cuts, 3 D)
    categories = torch.tensor([LEARNED.index(clip.category) if clip.category else -1 for clip in clips])
    dimensions = torch.from_numpy(np.stack([clip.dimensions for clip in clips]))
    # Rare labels of a corpus count for more, and so do small corpora, by the root of how rare they are.
    counts = Counter((clip.corpus, clip.category) for clip in clips)
    weight = torch.tensor([counts[clip.corpus, clip.category] ** -0.5 for clip in clips])
    weight /= weight.mean()

    reader = EmotionReader(EmotionConfig(codec_name, clips[0].frames.shape[1]))
    reader.centre.copy_(x.mean((0, 1)))
    reader.spread.copy_(x.std((0, 1)) + 1e-4)
    optimiser = torch.optim.AdamW(reader.parameters(), c.lr, weight_decay=c.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, c.lr, total_steps=c.steps, pct_start=0.1)
    for _ in range(c.steps):
        rows = torch.randint(len(x), (c.batch,), generator=generator)
        cuts = torch.randint(x.shape[1], (c.batch,), generator=generator)
        logits, values = reader(x[rows, cuts])
        named = F.cross_entropy(
            logits, categories[rows], ignore_index=-1, label_smoothing=c.label_smoothing, reduction="none"
        )
        target = dimensions[rows]
        missed = torch.where(target.isnan(), 0.0, values - target.nan_to_num()).square().mean(1)
        loss = (weight[rows] * (named + c.dimension_weight * missed)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return reader.eval()


def _cuts(clip: Clip, training: EmotionTraining, rng: np.random.Generator) -> np.ndarray:
    """Statistics of random cuts (1 + cuts, 3 D), the first as long as a reading hears; of the whole where none speaks."""
    frames, longest = clip.frames.astype(np.float32), min(WINDOW, len(clip.frames))
    rows = []
    for length in [longest, *rng.integers(min(training.shortest, longest), longest, training.cuts, endpoint=True)]:
        begin = int(rng.integers(len(frames) - length + 1))
        cut = slice(begin, begin + int(length))
        cut = cut if clip.spoken[cut].sum() >= LEAST_SPEECH else slice(None)
        rows.append(statistics(frames[cut], clip.spoken[cut]))
    return np.stack(rows).astype(np.float32)


def evaluate(reader: EmotionReader, clips: Sequence[Clip]) -> dict[str, dict[str, Any]]:
    """By corpus: macro-F1 over the categories that it acts, their confusion table, and how well the dimensions agree.

    Only a corpus's own categories are choices. agreement: concordance with the labels' dimensions (Lin 1989), and of
    BAVED that of arousal alone.
    """
    found: dict[str, dict[str, Any]] = {}
    for corpus in dict.fromkeys(clip.corpus for clip in clips):
        own = [clip for clip in clips if clip.corpus == corpus]
        feelings = [reader.feel(clip.frames.astype(np.float32), clip.spoken) for clip in own]
        found[corpus] = {"clips": len(own), "speakers": len({clip.speaker for clip in own})}
        names = [name for name in LEARNED if any(clip.category == name for clip in own)]
        if names:
            named = [(clip.category, _choice(f, names)) for clip, f in zip(own, feelings, strict=True) if clip.category]
            truth, guess = (np.array(column) for column in zip(*named, strict=True))
            table = Counter(named)
            found[corpus] |= {
                "macro_f1": macro_f1(truth, guess),
                "accuracy": float((truth == guess).mean()),
                "confusion": {true: {name: table[true, name] for name in names} for true in names},
            }
        target = np.stack([clip.dimensions for clip in own])
        heard = np.array([[f.valence, f.arousal, f.dominance] for f in feelings])
        known = np.flatnonzero(~np.isnan(target).any(0))
        found[corpus]["agreement"] = {DIMENSIONS[i]: concordance(target[:, i], heard[:, i]) for i in known}
    return found


def concordance(truth: np.ndarray, guess: np.ndarray) -> float:
    """How well guesses (N,) agree with truth (N,): 1 when they are the same, 0 when they tell nothing (Lin 1989)."""
    covariance = np.mean((truth - truth.mean()) * (guess - guess.mean()))
    return float(2 * covariance / (truth.var() + guess.var() + (truth.mean() - guess.mean()) ** 2))


def table_of(confusion: dict[str, dict[str, int]]) -> str:
    """A confusion table to print: a row for every feeling that was acted, a column for every one that was heard."""
    names = list(confusion)
    lines = [" " * 10 + "".join(f"{name[:9]:>10}" for name in names)]
    lines += [f"{true:<10}" + "".join(f"{row[name]:>10}" for name in names) for true, row in confusion.items()]
    return "\n".join(lines)


def save(reader: EmotionReader, path: Path) -> None:
    """Write the reader, in half precision."""
    checkpoints.save(path, {name: tensor.half() for name, tensor in reader.state_dict().items()}, asdict(reader.config))


def _choice(feeling: Feeling, names: list[str]) -> str:
    return max(names, key=feeling.odds.__getitem__)
