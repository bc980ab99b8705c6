"""Train the synthesiser, `python -m mien.training tts`, on teacher speech, whose phones' times are exact, and on readers.

`prepare` turns them into scores, tokens and acoustic frames by the codec that is to speak; `TtsTask` learns from them. The
words of a reader are laid over the sound by the speech front.
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mien import checkpoints
from mien.codec.evaluation import manifest_rows
from mien.codec.front import FRAME_LENGTH, Front, load_front
from mien.codec.model import Codec, CodecConfig, load_codec
from mien.codec.phones import SILENCE
from mien.codec.vocoder import PITCH_LEAD, EnvelopeMeter
from mien.media.sound import load_sound
from mien.training.codec import through_silence
from mien.training.speech import NOT_SPEECH, SAMPLE_RATE, find_pitch, freely_licensed, teacher_segments
from mien.tts.model import SUB, Notes, Prosody, Synthesiser, SynthesiserConfig
from mien.tts.score import score_of_recording, score_of_segments
from mien.tts.text import read_text

LOUDNESS = 0.05  # RMS of a clip, as every voice is made to speak
CLIPS_PER_SHARD = 256
LEARNERS = {"speechocean762"}  # their English has other sounds than its dictionary
SMOOTHING = 0.1  # of the digits' targets: without it the odds of unseen clips worsen after 2,000 updates
PULL = 0.1  # how much of prosody's gradient reaches the notes, which sound shall shape
NOTES = ("phones", "stress", "marks", "durations")


@dataclass(frozen=True)
class TtsTraining:
    """What is drawn and how it is weighed. longest_s: longer clips are left out. window: frames of 25 Hz of which acoustic
    frames are drawn. own_voice: chance that a clip's voice is told by the clip itself, not by another of its voice."""

    longest_s: float = 10.0
    window: int = 32
    own_voice: float = 0.3
    voice_balance: float = 0.3
    weights: dict[str, float] = field(
        default_factory=lambda: {
            "durations": 1.0, "pitch": 1.0, "energy": 1.0, "semantic": 0.5, "tiers": 0.25, "expected": 1.0, "flow": 1.0
        }
    )  # fmt: skip


@dataclass(frozen=True)
class Reading:
    """A clip to learn from: T frames of 25 Hz, N notes.

    notes: arrays (N,) by the names of `NOTES`. digits: (T, 5 + 5 K) of S and the tiers. frames: (4 T, 82) acoustic frames:
    envelope, log F0, voicing. voice: (24,) values of G.
    """

    notes: dict[str, np.ndarray]
    digits: np.ndarray
    frames: np.ndarray
    voice: np.ndarray
    speaker: str
    split: str

    def __len__(self) -> int:
        return len(self.digits)


def prepare(folders: Sequence[Path], out: Path, codec_name: str) -> Iterator[str]:
    """Turn folders of English speech into shards for `TtsTask`; yields a line of news for each.

    folders: as `mien.training.speech.prepare` takes them. Passed over: what has neither phones nor a text, what may not be
    learned from freely, and corpora of learners and of rooms. codec_name: name or path of the codec. Shards that lie in
    `out` are kept.
    """
    out.mkdir(parents=True, exist_ok=True)
    codec, meter, front = load_codec(codec_name), EnvelopeMeter(), load_front()
    rows = [r | {"path": folder / r["file"]} for folder in folders for r in manifest_rows(folder) if _readable(r)]
    n_shards = -(-len(rows) // CLIPS_PER_SHARD)
    for n in range(n_shards):
        path = out / f"tts-{n:03d}.npz"
        if not path.exists():
            readings = [_reading(row, codec, meter, front) for row in rows[n * CLIPS_PER_SHARD : (n + 1) * CLIPS_PER_SHARD]]
            _write(path, [reading for reading in readings if reading is not None], codec.config)
        yield f"shard {n + 1} of {n_shards}: {path.name}"


def _readable(row: dict[str, Any]) -> bool:
    if "phones" in row:
        return row["language"].startswith("en")
    native = row["corpus"] not in NOT_SPEECH | LEARNERS
    return native and row["language"] == "en" and bool(row["text"].strip()) and freely_licensed(row["licence"])


def _reading(row: dict[str, Any], codec: Codec, meter: EnvelopeMeter, front: Front) -> Reading | None:
    sound = load_sound(row["path"]).mono(SAMPLE_RATE)
    if "phones" in row:
        score = score_of_segments(teacher_segments(row), len(sound) / SAMPLE_RATE)
    else:
        score = score_of_recording(read_text(row["text"]), front.features(sound).posteriors_50hz)
    if score is None or score.durations is None:
        return None
    sound = sound * LOUDNESS / (float(np.sqrt(np.mean(sound**2))) + 1e-6)
    tokens = codec.encode(sound)
    n_hops = SUB * len(tokens)
    padded = np.pad(sound, (0, FRAME_LENGTH * len(tokens) - len(sound)))
    with torch.inference_mode():
        envelope = meter(torch.from_numpy(padded)[None])[0].numpy()
        voice = codec.encoder.voice_quantiser.values(torch.from_numpy(tokens.voice[-1].astype(np.int64))).numpy()
    pitch = find_pitch(padded).astype(np.float32)
    log_pitch, voicing = through_silence(np.pad(pitch, (0, PITCH_LEAD + 1))[PITCH_LEAD : PITCH_LEAD + n_hops])
    digits = np.concatenate([tokens.semantic, tokens.tiers.reshape(len(tokens), -1)], 1)
    notes = {name: np.asarray(getattr(score, name)) for name in NOTES}
    frames = np.concatenate([envelope, log_pitch[:, None], voicing[:, None]], 1)
    return Reading(notes, digits, frames, voice, row.get("voice") or row["speaker_id"], row["split"])


def _write(path: Path, readings: Sequence[Reading], codec: CodecConfig) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}.npz")
    np.savez(
        beside,
        notes=np.concatenate([np.stack([r.notes[name] for name in NOTES], 1) for r in readings]).astype(np.int16),
        digits=np.concatenate([r.digits for r in readings]),
        frames=np.concatenate([r.frames for r in readings]).astype(np.float16),
        voices=np.stack([r.voice for r in readings]),
        sizes=np.array([(len(r.notes["phones"]), len(r)) for r in readings]),
        about=json.dumps(
            {"codec": codec.name, "layout": asdict(codec.layout), "clips": [(r.speaker, r.split) for r in readings]}
        ),
    )
    beside.replace(path)


def load_readings(folder: Path) -> tuple[list[Reading], dict[str, Any]]:
    """The prepared clips, and name and layout of the codec they were prepared by, as fields of a `SynthesiserConfig`.
    Raises FileNotFoundError without any."""
    readings, codec = [], {}
    for path in sorted(folder.glob("tts-*.npz")):
        with np.load(path) as data:
            notes, digits, frames, voices, sizes = (data[k] for k in ("notes", "digits", "frames", "voices", "sizes"))
            about = json.loads(str(data["about"]))
        codec = {"codec": about["codec"], "layout": about["layout"]}
        places = np.cumsum(sizes, 0)[:-1]
        parts = (np.split(notes, places[:, 0]), np.split(digits, places[:, 1]), np.split(frames, SUB * places[:, 1]))
        for n, d, f, voice, (speaker, split) in zip(*parts, voices, about["clips"], strict=True):
            readings.append(Reading(dict(zip(NOTES, n.T, strict=True)), d, f, voice, speaker, split))
    if not readings:
        raise FileNotFoundError(f"{folder} holds no prepared speech: run `python -m mien.training prepare-tts` first.")
    return readings, codec


class TtsTask:
    """Teacher speech to a synthesiser that speaks the codec of the shards; see `loop.Task`."""

    def __init__(self, config: SynthesiserConfig, training: TtsTraining, shards: Path):
        readings, codec = load_readings(shards)
        longest = training.longest_s * SAMPLE_RATE / FRAME_LENGTH
        self.training, self.weights = training, training.weights
        fit = sorted((r for r in readings if r.split == "train" and len(r) <= longest), key=len)
        self.readings, self.held_out = fit, [r for r in readings if r.split == "val" and len(r) <= longest]
        voices: dict[str, list[int]] = {}
        for n, reading in enumerate(fit):
            voices.setdefault(reading.speaker, []).append(n)
        self.voices = voices
        share = np.array([len(r) / len(voices[r.speaker]) ** training.voice_balance for r in fit])
        self.share = share / share.sum()
        self.model = Synthesiser(replace(config, **codec))
        some = np.concatenate([_normal(r.frames) for r in fit[:: len(fit) // 300 + 1]])
        self.model.mean.copy_(torch.from_numpy(some.mean(0)))
        self.model.spread.copy_(torch.from_numpy(some.std(0)))

    def batch(self, generator: torch.Generator, size: int) -> dict[str, Tensor]:
        """Draw clips of about one length; see `loop.Task` and `collate`."""
        rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
        middle = int(rng.choice(len(self.readings), p=self.share))
        near = np.arange(max(0, middle - 4 * size), min(len(self.readings), middle + 4 * size))
        share = self.share[near] / self.share[near].sum()
        chosen = rng.choice(near, size, p=share, replace=len(near) < size)
        readings = [self.readings[i] for i in chosen.tolist()]
        voices = []
        for reading in readings:
            other = self.readings[int(rng.choice(self.voices[reading.speaker]))]
            voices.append(reading.voice if rng.random() < self.training.own_voice else other.voice)
        return collate(readings, voices, self.training.window, rng)

    def losses(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """How far prosody, tokens and acoustic frames are from the teacher's; see `loop.Task`."""
        core, notes = self.model, Notes(*(batch[name] for name in (*NOTES[:-1], "present")))
        condition = core.steer(batch["voice"])
        read = core.read(notes, condition)
        told = Prosody(batch["durations"].float().log1p(), batch["pitch"], batch["energy"])
        led = PULL * read + (1 - PULL) * read.detach()
        plan = core.plan(led, condition, notes.present)
        laid = core.lay_out(read, told, batch["durations"], batch["digits"].shape[1])
        hidden = core.decode(laid, condition, batch["frames_present"])
        known = batch["frames_present"]
        present = notes.present.float()
        counts = {"durations": present, "pitch": present * (0.1 + batch["voiced"]), "energy": present}
        losses = {
            name: _mean(F.smooth_l1_loss(getattr(plan, name), getattr(told, name), reduction="none", beta=0.3), weight)
            for name, weight in counts.items()
        }
        pairs = zip(core.logits(hidden), batch["digits"].unbind(-1), strict=True)
        missed = [
            _mean(F.cross_entropy(a.transpose(1, 2), b, reduction="none", label_smoothing=SMOOTHING), known)
            for a, b in pairs
        ]
        n = len(core.config.layout.semantic)
        rows, begin, size = torch.arange(len(hidden), device=hidden.device)[:, None], batch["begin"], self.training.window
        at = begin[:, None] + torch.arange(size, device=hidden.device)
        fine_at = SUB * begin[:, None] + torch.arange(SUB * size, device=hidden.device)
        expected, about = core.sharpen(hidden[rows, at], laid[rows, fine_at], condition)
        frames = (batch["frames"] - core.mean) / core.spread
        noise, t = torch.randn_like(frames), torch.rand(len(frames), 1, 1, device=frames.device)
        flow = core.flow((1 - t) * noise + t * frames, t[:, 0, 0], expected.detach(), about, condition)
        return losses | {
            "semantic": torch.stack(missed[:n]).mean(),
            "tiers": torch.stack(missed[n:]).mean(),
            "expected": F.l1_loss(expected.float(), frames),
            "flow": F.mse_loss(flow.float(), frames - noise),
        }

    @torch.inference_mode()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """The losses on validation clips with the teacher's prosody, and how far prosody alone is off; see `loop.Task`."""
        assert isinstance(model, Synthesiser)
        trained, self.model = self.model, model
        rng, sums = np.random.default_rng(0), {}
        for begin in range(0, len(self.held_out) - 7, 8):
            part = self.held_out[begin : begin + 8]
            batch = collate(part, [r.voice for r in part], self.training.window, rng)
            torch.manual_seed(0)
            batch = {name: value.to(model.mean.device) for name, value in batch.items()}
            for name, value in self.losses(model, batch).items():
                sums.setdefault(name, []).append(value.item())
        self.model = trained
        figures = {name: float(np.mean(values)) for name, values in sums.items()}
        return figures | {"score": -sum(self.weights[name] * value for name, value in figures.items())}

    def save(self, model: nn.Module, path: Path) -> None:
        """Write the synthesiser in half precision, with the voices that have ten clips or more by their names."""
        assert isinstance(model, Synthesiser)
        tensors = {name: tensor.half() for name, tensor in model.state_dict().items()}
        for name, clips in self.voices.items():
            if len(clips) >= 10:
                tensors[f"voices.{name}"] = torch.from_numpy(np.mean([self.readings[n].voice for n in clips], 0))
        checkpoints.save(path, tensors, asdict(model.config))


def collate(
    readings: Sequence[Reading], voices: Sequence[np.ndarray], window: int, rng: np.random.Generator
) -> dict[str, Tensor]:
    """Clips as a batch, padded at their ends.

    The fields of `Notes` and durations, pitch, energy and the share that is voiced (B, N); digits (B, T, 5 + 5 K);
    frames_present (B, T); voice (B, 24); begin (B,) of a window and its normal frames (B, 4 W, 82).
    """
    n_notes, n_frames = max(len(r.notes["phones"]) for r in readings), max(window, *map(len, readings))
    rows: dict[str, list[np.ndarray]] = {}

    def add(name: str, row: np.ndarray, length: int) -> None:
        rows.setdefault(name, []).append(np.pad(row, [(0, length - len(row)), *[(0, 0)] * (row.ndim - 1)]))

    for reading, voice in zip(readings, voices, strict=True):
        for name, row in reading.notes.items():
            add(name, row.astype(np.int64), n_notes)
        for name, row in _prosody(reading).items():
            add(name, row, n_notes)
        add("present", np.ones(len(reading.notes["phones"]), bool), n_notes)
        add("digits", reading.digits.astype(np.int64), n_frames)
        add("frames_present", np.ones(len(reading), bool), n_frames)
        rows.setdefault("voice", []).append(voice.astype(np.float32))
        begin = int(rng.integers(max(len(reading) - window, 0) + 1))
        rows.setdefault("begin", []).append(np.array(begin))
        add("frames", _normal(reading.frames[SUB * begin : SUB * (begin + window)]), SUB * window)
    return {name: torch.from_numpy(np.stack(row)) for name, row in rows.items()}


def _prosody(reading: Reading) -> dict[str, np.ndarray]:
    """Pitch and energy of the notes, and how much of a note is voiced. What is not voiced, rests above all, has a pitch on
    the way from one voiced note to the next: every note has one that can be foretold."""
    durations = reading.notes["durations"].astype(int)
    note = np.repeat(np.arange(len(durations)), durations)[: len(reading.frames)]
    frames = _normal(reading.frames)[: len(note)]
    count = np.maximum(np.bincount(note, minlength=len(durations)), 1)
    voicing = (frames[:, -1] + 1) / 2 * (reading.notes["phones"] != SILENCE)[note]  # in digital silence F0 finds ghosts
    voiced = np.bincount(note, voicing, len(durations))
    pitch = np.bincount(note, frames[:, -2] * voicing, len(durations)) / np.maximum(voiced, 1e-3)
    at = np.flatnonzero(voiced)
    pitch = np.interp(np.arange(len(durations)), at, pitch[at]) if len(at) else pitch
    energy = np.bincount(note, frames[:, :-2].mean(1), len(durations)) / count
    found = {"pitch": pitch, "energy": energy, "voiced": voiced / count}
    return {name: row.astype(np.float32) for name, row in found.items()}


def _normal(frames: np.ndarray) -> np.ndarray:
    """Acoustic frames (J, 82) with what a network likes to see: envelope less 1, (log F0 - 5) / 0.4, voicing -1 or 1."""
    shift = np.r_[np.ones(frames.shape[1] - 2), 5.0, 0.5].astype(np.float32)
    scale = np.r_[np.ones(frames.shape[1] - 2), 0.4, 0.5].astype(np.float32)
    return (frames.astype(np.float32) - shift) / scale


def _mean(x: Tensor, weight: Tensor) -> Tensor:
    return (x * weight).sum() / weight.sum().clamp(min=1.0)
