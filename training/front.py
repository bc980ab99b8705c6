"""Train the speech front, `python -m mien.training front --config front`: frames of speech and their phones.

Teacher speech comes with exact times, so every frame has its phone from the start. Transcribed real speech has words
only: at the first evaluations the network lays their dictionary phones over the sound itself (Viterbi), and learns from
that as from the teacher's times. One head, dense labels: with CTC the odds would be spikes between blanks, and a
closure's beginning and end could not be read from them.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mien import checkpoints
from mien.codec.front import Front, FrontConfig
from mien.codec.phones import BILABIAL, PHONES, SILENCE, Segment, align, read
from mien.training.speech import (
    LABEL_RATE,
    OUTPUT_LENGTH,
    OUTPUT_RATE,
    UNKNOWN,
    Augmentation,
    Augmenter,
    Clip,
    load_clips,
    load_rooms,
)
from mien.training.teacher import HELD_OUT

CLEAN_LEVEL = 0.07  # RMS of the sound whose spectrum is to be told
LABEL_SMOOTHING = 0.05


@dataclass(frozen=True)
class FrontTraining:
    """What is drawn and how it is weighed."""

    crop_s: float = 3.0
    voice_balance: float = 0.3  # 0: clips come by their duration; 1: every voice as often
    alignments: int = 4  # how often real speech is laid out anew, each time after an evaluation
    weights: dict[str, float] = field(default_factory=lambda: {"phones": 1.0, "clean_mel": 0.1})


class Trainee(nn.Module):
    """The front with what it needs in training alone.

    clean_mel: a head that must tell the clean sound's spectrum from `hidden`, so that the 64 numbers hold how a sound
    is made and not only its name. labels: (L,) uint8, all training clips' phones end to end as they are known by now;
    it stands here so that a run that goes on learns from the same ones. alignments: how often they were laid out.
    """

    bands = 20
    labels: Tensor
    alignments: Tensor

    def __init__(self, config: FrontConfig, labels: np.ndarray):
        super().__init__()
        self.front = Front(config)
        self.clean_mel = nn.Linear(config.hidden, self.bands)
        self.register_buffer("labels", torch.from_numpy(labels))
        self.register_buffer("alignments", torch.zeros((), dtype=torch.int64))

    def forward(self, sound: Tensor) -> tuple[Tensor, Tensor]:
        """sound (B, S), S a multiple of 320, to phone logits (B, S / 320, 40) and clean mel (B, S / 320, 20)."""
        ahead = 2 * self.front.config.look_ahead
        hidden, logits, _ = self.front(F.pad(sound, (0, ahead * OUTPUT_LENGTH)))
        return logits[:, ahead:], self.clean_mel(hidden[:, ahead:])


class FrontTask:
    """Crops of prepared speech for the loop; see `loop.Task`."""

    def __init__(self, config: FrontConfig, training: FrontTraining, augmentation: Augmentation, shards: Path):
        clips = load_clips(shards)
        self.training, self.weights = training, training.weights
        self.clips = [clip for clip in clips if clip.split == "train"]
        self.held_out = [clip for clip in clips if clip.split == "val"]
        self.augmenter = Augmenter(augmentation, self.clips, load_rooms(shards))
        self.model = Trainee(config, np.concatenate([clip.labels for clip in self.clips]))
        voices: dict[str, float] = {}
        for clip in self.clips:
            voices[clip.speaker] = voices.get(clip.speaker, 0.0) + clip.duration_s
        self.share = np.array([c.duration_s / voices[c.speaker] ** training.voice_balance for c in self.clips])

    def batch(self, generator: torch.Generator, size: int) -> dict[str, Tensor]:
        """Draw crops; see `loop.Task`. sound, clean: (B, S); labels: (B, S / 320)."""
        rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
        self._read_labels()
        share = self.share * [(clip.labels != UNKNOWN).any() for clip in self.clips]
        n = int(self.training.crop_s * OUTPUT_RATE) * OUTPUT_LENGTH
        rows = []
        for index in rng.choice(len(self.clips), size, p=share / share.sum()):
            crop = self.augmenter.crop(self.clips[index], n, rng)
            clean, labels = crop.sound, crop.labels
            if rng.random() < self.augmenter.config.silence:
                rows.append((self.augmenter.silence(n, rng), np.zeros_like(clean), np.full_like(labels, SILENCE)))
            else:
                rows.append((self.augmenter.disturb(clean, rng), clean * CLEAN_LEVEL, labels))
        sound, clean, labels = (torch.from_numpy(np.stack(column)) for column in zip(*rows, strict=True))
        return {"sound": sound.float(), "clean": clean.float(), "labels": labels.long()}

    def losses(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Cross-entropy of the phones of every 20 ms, and the error of the clean sound's spectrum."""
        logits, mel = model(batch["sound"])
        with torch.no_grad():
            target, _ = self.model.front.mel(batch["clean"])  # (B, S / 160, n_mels)
            target = target.unflatten(1, (-1, 2)).mean(2).unflatten(2, (Trainee.bands, -1)).mean(3)
        phones = F.cross_entropy(
            logits.flatten(0, 1), batch["labels"].flatten(), ignore_index=UNKNOWN, label_smoothing=LABEL_SMOOTHING
        )
        return {"phones": phones, "clean_mel": F.l1_loss(mel, target)}

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Figures on the validation clips; then real speech is laid out anew, if it is to be."""
        assert isinstance(model, Trainee)
        front = model.front.eval()
        figures = evaluate(front, self.held_out)
        if self.model.alignments < self.training.alignments:
            figures["aligned"] = align_speech(front, self.clips) / sum(clip.words is not None for clip in self.clips)
            labels = torch.from_numpy(np.concatenate([clip.labels for clip in self.clips]))
            self.model.labels.copy_(labels)
            self.model.alignments += 1
        return figures | {"score": (figures["frame_accuracy"] + 1 - figures["phone_error"]) / 2}

    def save(self, model: nn.Module, path: Path) -> None:
        """Write the front, in half precision."""
        assert isinstance(model, Trainee)
        tensors = {name: tensor.half() for name, tensor in model.front.state_dict().items()}
        checkpoints.save(path, tensors, asdict(model.front.config))

    def _read_labels(self) -> None:
        """Let the clips have the labels of the model, which a resumed run has just read."""
        labels = self.model.labels.cpu().numpy()
        ends = np.cumsum([len(clip.labels) for clip in self.clips])
        for clip, part in zip(self.clips, np.split(labels, ends[:-1]), strict=True):
            clip.labels = part


def align_speech(front: Front, clips: Iterable[Clip]) -> int:
    """Give transcribed clips their labels by the network's own best alignment; returns how many sentences fitted."""
    fitted = 0
    for clip in clips:
        if clip.words is None:
            continue
        path = align(front.features(clip.samples.astype(np.float32) / 32768).posteriors_50hz, clip.words)
        if path is None:
            clip.labels = np.full_like(clip.labels, UNKNOWN)
        else:
            clip.labels = np.repeat(path.astype(np.uint8), LABEL_RATE // OUTPUT_RATE)[: len(clip.labels)]
            fitted += 1
    return fitted


def evaluate(front: Front, clips: Sequence[Clip], unseen: Collection[str] = HELD_OUT) -> dict[str, float]:
    """Figures on held-out clips.

    frame_accuracy: share of the 20 ms frames of `unseen` teacher voices that are named rightly. frame_accuracy_25: of
    the 40 ms frames that lie within one phone. closures_f1: P, B and M found as one of them within 40 ms. phone_error:
    edits per phone of LibriSpeech's sentences against the dictionary. speechocean_error: of non-native English, half of
    it children's.
    """
    right = total = right_25 = total_25 = hits = said = heard = 0
    errors: dict[str, list[int]] = {}
    for clip in clips:
        timed = clip.speaker in unseen
        if not timed and clip.words is None:
            continue
        features = front.features(clip.samples.astype(np.float32) / 32768)
        odds = features.posteriors_50hz
        segments = [s for s in read(odds) if s.phone != "sil"]
        if timed:
            n = min(len(odds), len(clip.labels) // 2)
            truth = clip.labels[1 : 2 * n : 2]
            known = truth != UNKNOWN
            right += int((odds[:n].argmax(1) == truth)[known].sum())
            total += int(known.sum())
            half = n // 2
            both = truth[: 2 * half].reshape(half, 2)
            sure = (both[:, 0] == both[:, 1]) & (both[:, 0] != UNKNOWN)
            right_25 += int((features.posteriors[:half].argmax(1) == both[:, 0])[sure].sum())
            total_25 += int(sure.sum())
            a, b, c = _closures(clip.labels, segments)
            hits, said, heard = hits + a, said + b, heard + c
        elif clip.words:
            reference = [p for word in clip.words for p in word[0]]
            tally = errors.setdefault(clip.corpus, [0, 0])
            tally[0] += edits([s.phone for s in segments], reference)
            tally[1] += len(reference)
    out = {}
    if total:
        out |= {
            "frame_accuracy": right / total,
            "frame_accuracy_25": right_25 / total_25,
            "closures_f1": 2 * hits / max(said + heard, 1),
        }
    names = {"librispeech": "phone_error", "speechocean762": "speechocean_error"}
    return out | {names[c]: wrong / n for c, (wrong, n) in errors.items() if c in names}


def report(front: Front, shards: Path) -> dict[str, dict[str, float]]:
    """The figures of a card: `evaluate` on the validation and the test clips."""
    clips = load_clips(shards)
    return {split: evaluate(front, [clip for clip in clips if clip.split == split]) for split in ("val", "test")}


def _closures(labels: np.ndarray, segments: Sequence[Segment], tolerance_s: float = 0.04) -> tuple[int, int, int]:
    """Closures of the lips (m and b in a row are one) found at the right time, said and heard."""
    bilabial = np.isin(labels, [PHONES.index(phone) for phone in BILABIAL])
    edges = np.flatnonzero(np.diff(bilabial, prepend=False, append=False)).reshape(-1, 2)
    said = edges.mean(1) / LABEL_RATE
    heard: list[tuple[float, float]] = []
    for s in segments:
        if s.phone not in BILABIAL:
            continue
        if heard and heard[-1][1] == s.start_s:
            heard[-1] = (heard[-1][0], s.end_s)
        else:
            heard.append((s.start_s, s.end_s))
    left, hits = [(a + b) / 2 for a, b in heard], 0
    for t in said:
        near = min(left, key=lambda h: abs(h - t), default=None)
        if near is not None and abs(near - t) <= tolerance_s:
            left.remove(near)
            hits += 1
    return hits, len(said), len(heard)


def edits(heard: Sequence[str | None], said: Sequence[str]) -> int:
    """Levenshtein distance: phones to change, leave out or add."""
    place = np.arange(len(said) + 1)
    row = place
    for n, phone in enumerate(heard, 1):
        best = np.minimum(row[1:] + 1, row[:-1] + [other != phone for other in said])
        row = np.minimum.accumulate(np.concatenate([[n], best]) - place) + place
    return int(row[-1])
