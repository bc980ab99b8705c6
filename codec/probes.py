"""Linear probes: how much of the speaker and of the feeling a code tells.

A probe is a logistic regression on one vector a clip, the mean and the standard deviation of the clip's frames. The
functions take plain arrays; `probe_codec` makes them from S, from G and, to compare, from log-mel.
"""

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from mien.codec.mel import LogMel
from mien.media import load_sound

if TYPE_CHECKING:
    from mien.codec.evaluation import Clip, Codec

PENALTY = 1e-2  # of the mean square weight, beside the mean cross-entropy


def clip_vector(frames: np.ndarray) -> np.ndarray:
    """A clip's frames (T, D) to their means and standard deviations (2 D,)."""
    frames = np.asarray(frames, np.float64)
    return np.concatenate([frames.mean(0), frames.std(0)])


def one_hot(digits: np.ndarray, levels: Sequence[int]) -> np.ndarray:
    """Digits (T, D) to one column a level (T, sum(levels))."""
    return np.concatenate([np.eye(n)[column] for column, n in zip(digits.T, levels, strict=True)], axis=1)


def classify(features: np.ndarray, labels: np.ndarray, unseen: np.ndarray) -> np.ndarray:
    """Fit a logistic regression to features (N, D) with labels (N,), and name the classes of unseen features (M, D)."""
    names, classes = np.unique(labels, return_inverse=True)
    centre, spread = features.mean(0), features.std(0)
    spread = np.where(spread < 1e-8, 1.0, spread)  # a constant column tells nothing
    x = torch.from_numpy((features - centre) / spread)
    y = torch.from_numpy(classes)
    counts = torch.bincount(y).double()
    weight = counts.sum() / (len(names) * counts)  # rare classes count as much as common ones
    layer = nn.Linear(x.shape[1], len(names), dtype=torch.float64)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    optimiser = torch.optim.LBFGS(layer.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        value = nn.functional.cross_entropy(layer(x), y, weight=weight) + PENALTY * layer.weight.square().sum()
        value.backward()
        return value

    optimiser.step(loss)
    with torch.inference_mode():
        return names[layer(torch.from_numpy((unseen - centre) / spread)).argmax(1).numpy()]


def probe_speaker(features: Sequence[np.ndarray], speakers: Sequence[str], seed: int = 0) -> dict[str, float]:
    """How often the speaker of a clip is told, after other clips of the same speakers were seen.

    features: of every clip (T, D). speakers: of every clip. One half of every speaker's clips, drawn by `seed`, teaches
    and the other is asked, then the other way round. Returns accuracy, chance, speakers, clips.
    Raises ValueError unless two speakers have two clips each.
    """
    names, counts = np.unique(speakers, return_counts=True)
    usable = np.flatnonzero(np.isin(speakers, names[counts >= 2]))
    people = np.array(speakers)[usable]
    if len(set(people)) < 2:
        raise ValueError("a speaker probe needs two clips each of at least two speakers: give more clips.")
    x = np.stack([clip_vector(features[i]) for i in usable.tolist()])
    rng = np.random.default_rng(seed)
    second = np.zeros(len(usable), bool)
    for name in np.unique(people):
        second[rng.permutation(np.flatnonzero(people == name))[::2]] = True
    right = sum((classify(x[half], people[half], x[~half]) == people[~half]).sum() for half in (second, ~second))
    shares = np.unique(people, return_counts=True)[1] / len(people)
    return {
        "accuracy": float(right / len(people)),
        "chance": float(shares.max()),
        "speakers": len(shares),
        "clips": len(people),
    }


def probe_emotion(
    features: Sequence[np.ndarray], emotions: Sequence[str], actors: Sequence[str], held_out: Collection[str]
) -> dict[str, float]:
    """How well the feeling of a clip is told of actors who were not heard before.

    features: of every clip (T, D). emotions, actors: of every clip. held_out: the actors who are asked; all others
    teach. Returns macro-F1, chance (of naming one feeling always), actors held out, clips asked.
    Raises ValueError when no clip teaches or none is asked, or there are less than two feelings.
    """
    asked = np.isin(actors, list(held_out))
    labels = np.array(emotions)
    if not asked.any() or asked.all() or len(set(labels[~asked])) < 2:
        raise ValueError("an emotion probe needs clips of at least two feelings, of actors to learn from and others to ask.")
    x = np.stack([clip_vector(frames) for frames in features])
    truth, guess = labels[asked], classify(x[~asked], labels[~asked], x[asked])
    constant = [macro_f1(truth, np.full(len(truth), name)) for name in set(truth)]
    return {
        "macro_f1": macro_f1(truth, guess),
        "chance": max(constant),
        "actors": len(set(np.array(actors)[asked])),
        "clips": int(asked.sum()),
    }


def macro_f1(truth: np.ndarray, guess: np.ndarray) -> float:
    """F1 of every class that occurs in truth or guess (N,), averaged."""
    scores = []
    for name in set(truth) | set(guess):
        hits = ((truth == name) & (guess == name)).sum()
        scores.append(2 * hits / ((truth == name).sum() + (guess == name).sum()))
    return float(np.mean(scores))


def probe_codec(
    codec: "Codec",
    clips: "Sequence[Clip]",
    *,
    speakers: int = 20,
    clips_each: int = 10,
    seed: int = 0,
    progress: Callable[[float, float], None] = lambda done, total: None,
) -> dict[str, dict[str, Any]]:
    """Ask S, G and log-mel for the speaker and for the feeling.

    The speaker probe takes the `speakers` with most clips of split test, at most `clips_each` of each, drawn by `seed`;
    the emotion probe learns from the clips with a feeling whose actors are of other splits and asks those of test.
    Returns by probe and by feature what the probe gives, or why the clips do not suffice for it.
    """
    test = [i for i, clip in enumerate(clips) if clip.split in ("test", "")]
    names, counts = np.unique([clips[i].speaker for i in test], return_counts=True)
    seats = dict.fromkeys(names[np.argsort(-counts, kind="stable")[:speakers]].tolist(), clips_each)
    said = []
    for i in np.random.default_rng(seed).permutation(test).tolist():
        if seats.get(clips[i].speaker, 0):
            seats[clips[i].speaker] -= 1
            said.append(i)
    acted = [i for i, clip in enumerate(clips) if clip.emotion]
    held_out = {clips[i].speaker for i in acted if clips[i].split == "test"}
    needed = sorted({*said, *acted})
    heard: dict[int, dict[str, np.ndarray]] = {}
    for done, i in enumerate(needed, 1):
        heard[i] = _features(codec, clips[i])
        progress(done, len(needed))

    def speaker(name: str) -> dict[str, float]:
        return probe_speaker([heard[i][name] for i in said], [clips[i].speaker for i in said], seed)

    def emotion(name: str) -> dict[str, float]:
        emotions, actors = [clips[i].emotion for i in acted], [clips[i].speaker for i in acted]
        return probe_emotion([heard[i][name] for i in acted], emotions, actors, held_out)

    found: dict[str, dict[str, Any]] = {}
    for probe in (speaker, emotion):
        try:
            found[probe.__name__] = {name: probe(name) for name in ("S", "G", "log_mel")}
        except ValueError as error:
            found[probe.__name__] = {"left_out": str(error)}
    return found


def _features(codec: "Codec", clip: "Clip") -> dict[str, np.ndarray]:
    """A clip's frames as the digits of S and of G, one column a level, and as log-mel."""
    samples = load_sound(clip.path).mono(16_000)
    tokens = codec.encode(samples, 0)
    mel = LogMel()
    whole = torch.from_numpy(samples[: len(samples) // mel.hop_length * mel.hop_length])[None]
    return {
        "S": one_hot(tokens.semantic, tokens.layout.semantic),
        "G": one_hot(tokens.voice, tokens.layout.voice),
        "log_mel": mel(whole)[0][0].numpy(),
    }
