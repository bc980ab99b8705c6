"""Train the reader of coded speech, `python -m mien.training reading --shards speech-shards`: tokens and their phones.

The codec stands still, so recordings are encoded once. Their phones are those the speech front learned from: exact for
teacher speech, laid over the sound for the rest.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mien import checkpoints
from mien.codec.model import Codec
from mien.codec.phones import BILABIAL, INDEX
from mien.codec.reading import ReadingConfig, TokenReader, sketches
from mien.training.speech import UNKNOWN, load_clips

LABELS = 4  # of 10 ms in a frame


@dataclass(frozen=True)
class ReadingTraining:
    """What is drawn. hours: of speech for training, as many minutes as it has hours for validation."""

    hours: float = 2.2
    crop_s: float = 8.0
    weights: dict[str, float] = field(default_factory=lambda: {"phones": 1.0})


@dataclass(frozen=True)
class Coded:
    """Recordings end to end. digits (F, 5), sketch (F, 43), labels (F, 4) phones, of `sizes` frames each."""

    digits: np.ndarray
    sketch: np.ndarray
    labels: np.ndarray
    sizes: np.ndarray
    splits: np.ndarray


def code_speech(shards: Path, codec: Codec, hours: float, news: Callable[[str], None] = print) -> Coded:
    """Encode prepared speech, drawn clip by clip, or read what was encoded (.reading-<codec>.npz beside the shards)."""
    path = shards / f".reading-{codec.config.name}.npz"  # hidden: it is no shard
    if path.is_file():
        with np.load(path) as data:
            return Coded(**data)
    clips = load_clips(shards)
    left = {"train": 3600 * hours, "val": 180 * hours}
    rows: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    splits: list[str] = []
    for index in np.random.default_rng(0).permutation(len(clips)):
        clip = clips[index]
        if left.get(clip.split, 0) <= 0 or (clip.labels == UNKNOWN).mean() > 0.7:
            continue
        tokens = codec.encode(clip.samples.astype(np.float32) / 32768, tiers=0)
        sketch = np.concatenate([part for _, part in sketches(codec, tokens)])
        labels = np.full(LABELS * len(tokens), UNKNOWN, np.uint8)
        labels[: len(clip.labels)] = clip.labels[: len(labels)]
        rows.append((tokens.semantic, sketch.astype(np.float16), labels.reshape(-1, LABELS)))
        splits.append(clip.split)
        left[clip.split] -= clip.duration_s
        if len(rows) % 100 == 0:
            news(f"{len(rows)} recordings encoded, {left['train'] / 3600:.2f} h to go")
    digits, sketch, labels = (np.concatenate(column) for column in zip(*rows, strict=True))
    coded = Coded(digits, sketch, labels, np.array([len(row[0]) for row in rows]), np.array(splits))
    np.savez(path, **coded.__dict__)
    return coded


class ReadingTask:
    """Crops of coded speech for the loop; see `loop.Task`."""

    def __init__(self, training: ReadingTraining, coded: Coded, codec: str):
        self.training, self.weights, self.coded = training, training.weights, coded
        self.model = TokenReader(ReadingConfig(codec=codec))
        self.starts = np.concatenate([[0], np.cumsum(coded.sizes)])
        self.train = np.flatnonzero(coded.splits == "train")
        known = coded.sketch[np.repeat(coded.splits == "train", coded.sizes)].astype(np.float32)
        self.model.centre.copy_(torch.from_numpy(known.mean(0)))
        self.model.spread.copy_(torch.from_numpy(known.std(0) + 1e-3))

    def batch(self, generator: torch.Generator, size: int) -> dict[str, Tensor]:
        """Draw crops; see `loop.Task`."""
        rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
        frames, share = int(25 * self.training.crop_s), self.coded.sizes[self.train]
        rows = []
        for clip in rng.choice(self.train, size, p=share / share.sum()):
            begin = self.starts[clip] + rng.integers(0, max(self.coded.sizes[clip] - frames, 0) + 1)
            rows.append(np.minimum(begin + np.arange(frames), len(self.coded.digits) - 1))
        at = np.stack(rows)
        return {
            "digits": torch.from_numpy(self.coded.digits[at].astype(np.int64)),
            "sketch": torch.from_numpy(self.coded.sketch[at].astype(np.float32)),
            "labels": torch.from_numpy(self.coded.labels[at][..., 1::2].astype(np.int64)),  # one for every 20 ms
        }

    def losses(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Cross-entropy of the phones of every 20 ms."""
        ahead = self.model.config.look_ahead
        _, logits, _ = model(batch["digits"], batch["sketch"])
        labels = batch["labels"][:, :-ahead]
        loss = F.cross_entropy(logits[:, ahead:].flatten(0, 2), labels.flatten(), ignore_index=UNKNOWN, label_smoothing=0.05)
        return {"phones": loss}

    @torch.inference_mode()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Share of the 20 ms frames that are named rightly, and of bilabial ones precision and recall together (F1)."""
        ahead, right, total, hits, said, heard = self.model.config.look_ahead, 0, 0, 0, 0, 0
        lips = np.array([INDEX[phone] for phone in BILABIAL])
        for clip in np.flatnonzero(self.coded.splits == "val"):
            at = slice(self.starts[clip], self.starts[clip + 1])
            digits = torch.from_numpy(self.coded.digits[at].astype(np.int64))[None]
            _, logits, _ = model(digits, torch.from_numpy(self.coded.sketch[at].astype(np.float32))[None])
            guess = logits[0, ahead:].flatten(0, 1).argmax(-1).numpy()
            truth = self.coded.labels[at][: len(guess) // 2, 1::2].reshape(-1)
            known = truth != UNKNOWN
            right, total = right + int((guess == truth)[known].sum()), total + int(known.sum())
            shut, seen = np.isin(truth, lips)[known], np.isin(guess, lips)[known]
            hits, said, heard = hits + int((shut & seen).sum()), said + int(shut.sum()), heard + int(seen.sum())
        accuracy = right / max(total, 1)
        return {"score": accuracy, "frame_accuracy": accuracy, "bilabial_f1": 2 * hits / max(said + heard, 1)}

    def save(self, model: nn.Module, path: Path) -> None:
        """Write the reader, in half precision."""
        tensors = {name: tensor.half() for name, tensor in model.state_dict().items()}
        checkpoints.save(path, tensors, asdict(self.model.config))
