"""Train the codec, `python -m mien.training codec`, in stages, each a run of its own:

vocoder: acoustic frames measured on recordings (envelope, pitch, voicing) to sound.
codec: recordings to tokens and back to acoustic frames, which is cheap, since no sound is made.
joint: all of it at once, recordings to tokens to sound.
decoder: encoder and quantisers stand still; tokens to sound, if wanted with judges.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mien import checkpoints
from mien.codec import entropy
from mien.codec.front import FRAME_LENGTH, load_front
from mien.codec.metrics import codebook_use
from mien.codec.model import HOPS, Codec, CodecConfig, Connector, Encoder, save_codec
from mien.codec.phones import PHONES
from mien.codec.vocoder import HOP, PITCH_LEAD, SAMPLE_RATE, Acoustics, EnvelopeMeter, Vocoder, VocoderConfig
from mien.layers.extras import install
from mien.training.adversary import Adversary
from mien.training.listener import Listener
from mien.training.spectra import SpectralLoss
from mien.training.speech import UNKNOWN, Augmentation, Augmenter, Clip, load_clips, load_rooms

EVALUATION_CLIPS = 16
EVALUATION_S = 6.0


@dataclass(frozen=True)
class VocoderTraining:
    """What is drawn and how it is weighed."""

    crop_s: float = 1.28
    voice_balance: float = 0.4  # 0: clips come by their duration; 1: every voice as often
    level_db: tuple[float, float] = (-36.0, -14.0)
    weights: dict[str, float] = field(
        default_factory=lambda: {"mel": 1.0, "magnitude": 0.5, "convergence": 0.5, "loudness": 1.0}
    )


@dataclass(frozen=True)
class CodecTraining:
    """What is drawn, what is hidden and how it is weighed.

    sound: whether the vocoder takes part and its sound counts, too. tiers: how often none, one, two and three tiers are
    kept. other_clip: chance that a crop takes its voice from another recording of its speaker, not from its own. perturb:
    chance that the semantic encoder hears another throat. lose: chance that frames are lost in a crop. unknown: chance
    that the decoder is not told the voice.
    """

    sound: bool = False
    crop_s: float = 2.56
    voice_balance: float = 0.4
    tiers: tuple[float, ...] = (0.4, 0.1, 0.1, 0.4)
    other_clip: float = 0.3
    perturb: float = 0.5
    warp: float = 0.12  # of the mel axis, at most
    pitch_shift: float = 4.5  # lags of the pitchgram, at most (4.5: 2.4 semitones)
    equaliser: float = 0.3  # spread of a band's shift, in LogMel's unit (0.3: 4 dB)
    lose: float = 0.15
    unknown: float = 0.1
    free_bits: float = 0.25  # nats of a digit's KL divergence that cost nothing
    temperature: float = 0.07
    loudness: float = 0.4  # how errors count with loudness: e to that power for every unit of LogMel
    reversal: float = 0.3  # how strongly S is led away from what tells its speaker
    weights: dict[str, float] = field(
        default_factory=lambda: {
            "envelope": 10.0, "pitch": 10.0, "voicing": 1.0, "levels": 1.0, "likeness": 1.0, "kl": 0.001,
            "phones": 0.3, "read": 0.5, "contrast": 0.1, "taught": 1.0, "who": 0.1, "leak": 0.3,
            "mel": 1.0, "magnitude": 0.5, "convergence": 0.25, "loudness": 3.0, "recognition": 3.0,
            "understanding": 1.0,
        }  # fmt: skip
    )


@dataclass(frozen=True)
class DecoderTraining:
    """What is drawn, what is hidden and how it is weighed, with encoder and quantisers standing still."""

    crop_s: float = 1.92
    voice_balance: float = 0.4
    tiers: tuple[float, ...] = (0.4, 0.1, 0.1, 0.4)
    other_clip: float = 0.3
    lose: float = 0.15
    unknown: float = 0.05
    loudness: float = 0.4
    weights: dict[str, float] = field(
        default_factory=lambda: {
            "mel": 1.0, "magnitude": 0.5, "convergence": 0.25, "envelope": 2.0, "pitch": 4.0, "voicing": 0.5,
            "loudness": 3.0, "recognition": 3.0, "understanding": 1.0, "judge": 1.0, "adversarial": 0.1, "matching": 0.2,
        }  # fmt: skip
    )
    adversarial: bool = False  # whether judges take part


def voice_shares(clips: Sequence[Clip], balance: float) -> np.ndarray:
    """How often each clip is drawn: by its duration, less for a voice of which there is much. Sums to one."""
    voices: dict[str, float] = {}
    for clip in clips:
        voices[clip.speaker] = voices.get(clip.speaker, 0.0) + clip.duration_s
    share = np.array([clip.duration_s / voices[clip.speaker] ** balance for clip in clips])
    return share / share.sum()


def through_silence(pitch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """F0 in Hz (J,), 0 unvoiced, to its logarithm drawn on through what is unvoiced, and the voicing (J,)."""
    voiced = np.flatnonzero(pitch > 0)
    if not len(voiced):
        return np.full(len(pitch), np.log(120.0), np.float32), np.zeros(len(pitch), np.float32)
    log_pitch = np.interp(np.arange(len(pitch)), voiced, np.log(pitch[voiced]))
    return log_pitch.astype(np.float32), (pitch > 0).astype(np.float32)


def pick_clips(clips: Sequence[Clip], n: int, seconds: float) -> list[Clip]:
    """The first seconds of n clips, of as many voices as there are: the same ones every time."""
    by_voice: dict[str, list[Clip]] = {}
    for clip in clips:
        if clip.duration_s > 2.0:
            by_voice.setdefault(clip.speaker, []).append(clip)
    voices = sorted(by_voice)
    order = np.random.default_rng(0).permutation(len(voices))
    picked = [by_voice[voices[i]][0] for i in order[:n]]
    size = int(seconds * SAMPLE_RATE)
    return [
        Clip(c.samples[:size], c.labels[: size // HOP], c.pitch[: size // HOP], c.speaker, c.corpus, c.split, None)
        for c in picked
    ]


def pesq_of(clips: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    """Mean wide-band PESQ of (original, decoded) pairs at 16 kHz. Raises ModuleNotFoundError without pesq."""
    try:
        from pesq import PesqError, pesq
    except ImportError as error:
        raise ModuleNotFoundError(f"the codec's training is scored by PESQ: {install('eval')}.") from error
    scores = [pesq(SAMPLE_RATE, a, b, "wb", on_error=PesqError.RETURN_VALUES) for a, b in clips]
    return float(np.mean([max(score, 1.0) for score in scores]))  # where nothing can be heard to judge, the worst


class VocoderTask:
    """Acoustic frames as measured, to sound; see `loop.Task`."""

    def __init__(self, config: VocoderConfig, training: VocoderTraining, augmentation: Augmentation, shards: Path):
        clips = load_clips(shards)
        self.training, self.weights = training, training.weights
        self.clips = [clip for clip in clips if clip.split == "train" and clip.duration_s > 0.6]
        self.share = voice_shares(self.clips, training.voice_balance)
        self.held_out = pick_clips([clip for clip in clips if clip.split == "val"], EVALUATION_CLIPS, EVALUATION_S)
        self.augmenter = Augmenter(augmentation, self.clips, load_rooms(shards))
        self.model = Vocoder(config)
        self.meter = EnvelopeMeter(config.n_mels)
        self.spectra = SpectralLoss(SAMPLE_RATE)

    def batch(self, generator: torch.Generator, size: int) -> dict[str, Tensor]:
        """Draw crops; see `loop.Task`. sound: (B, S); log_pitch, voicing: (B, S / 160)."""
        rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
        n = int(self.training.crop_s * SAMPLE_RATE) // (2 * HOP) * 2 * HOP
        sounds, pitches, voicings = [], [], []
        for index in rng.choice(len(self.clips), size, p=self.share):
            crop = self.augmenter.crop(self.clips[index], n + 2 * HOP, rng)
            level = 10 ** (rng.uniform(*self.training.level_db) / 20)
            log_pitch, voicing = through_silence(crop.pitch)
            sounds.append((crop.sound[:n] * level).clip(-1, 1))
            pitches.append(log_pitch[PITCH_LEAD:])
            voicings.append(voicing[PITCH_LEAD:])
        stack = {"sound": sounds, "log_pitch": pitches, "voicing": voicings}
        return {name: torch.from_numpy(np.stack(rows)).float() for name, rows in stack.items()}

    def losses(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """How far the sound is from the one that was measured."""
        self.meter.to(batch["sound"].device)
        self.spectra.to(batch["sound"].device)
        with torch.no_grad():
            envelope = self.meter(batch["sound"])
        sound, _ = model(Acoustics(envelope, batch["log_pitch"], batch["voicing"]))
        return self.spectra(sound, batch["sound"])

    @torch.inference_mode()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """PESQ of validation clips from their own frames."""
        pairs = []
        for clip in self.held_out:
            sound, frames = measure(clip, self.meter, next(model.parameters()).device)
            pairs.append((sound, model(frames)[0][0].cpu().numpy()))
        score = pesq_of(pairs)
        return {"pesq": score, "score": score}

    def save(self, model: nn.Module, path: Path) -> None:
        """Write the vocoder."""
        assert isinstance(model, Vocoder)
        checkpoints.save(path, {k: v.half() for k, v in model.state_dict().items()}, asdict(model.config))


def measure(clip: Clip, meter: EnvelopeMeter, device: torch.device) -> tuple[np.ndarray, Acoustics]:
    """A clip's whole hops (S,) and its acoustic frames, as a batch of one on a device."""
    hops = len(clip.samples) // HOP
    sound = clip.samples[: hops * HOP].astype(np.float32) / 32768
    pitch = np.pad(clip.pitch.astype(np.float32), (0, PITCH_LEAD + 1))[PITCH_LEAD : PITCH_LEAD + hops]
    log_pitch, voicing = through_silence(pitch)
    sounds, log_pitches, voicings = (torch.from_numpy(x)[None].to(device) for x in (sound, log_pitch, voicing))
    return sound, Acoustics(meter.to(device)(sounds), log_pitches, voicings)


class CodecTrainee(nn.Module):
    """The codec with what it needs in training alone: a tower that reads text, to which S is drawn frame by frame; a
    reader that must tell the phones, and what a big speech encoder hears, from the values of S and of the voice; and two
    that name the speaker, from the voice, which learns to help, and from S, which learns not to.

    The tower sees the phones around a frame, so that two frames of one phone in other words are not the same.
    n_voices: how many speakers there are. n_taught: numbers in a frame of the big encoder; 0: none was asked.
    """

    def __init__(self, config: CodecConfig, n_voices: int, n_taught: int = 0, width: int = 128):
        super().__init__()
        self.codec = Codec(config)
        self.embed = nn.Embedding(len(PHONES), 64)
        self.text = nn.Sequential(
            nn.Conv1d(64, width, 9, padding=4), nn.GELU(), nn.Conv1d(width, width, 4, stride=2, padding=1)
        )
        self.speech = nn.Linear(config.width, width)
        n_semantic, n_voice = len(config.layout.semantic), len(config.layout.voice)
        self.reader = nn.Sequential(
            nn.Conv1d(n_semantic + n_voice, config.width, 5, padding=2), nn.GELU(),
            nn.Conv1d(config.width, config.width, 5, padding=2), nn.GELU(),
        )  # fmt: skip
        self.read = nn.Linear(config.width, 2 * len(PHONES))
        self.taught = nn.Linear(config.width, n_taught)
        self.who = nn.Linear(n_voice, n_voices)
        self.leak = nn.Sequential(nn.Linear(n_semantic, width), nn.GELU())
        self.leaked = nn.Linear(width, n_voices)

    def forward(self, compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Return what `compute` gives: several processes share gradients of what happens within a forward."""
        return compute()


class SpeechCrops:
    """What the codec's tasks share: crops as it hears them, in pairs of one recording; its trial and its file."""

    def __init__(
        self, training: CodecTraining | DecoderTraining, augmentation: Augmentation, shards: Path, config: CodecConfig
    ):
        if len(training.tiers) != 1 + config.layout.tiers:
            raise ValueError(
                f"tiers has {len(training.tiers)} chances, but none to {config.layout.tiers} tiers can be kept: "
                f"give {1 + config.layout.tiers}."
            )
        clips = load_clips(shards)
        self.crop_s, self.look_ahead, self.other_clip = training.crop_s, config.look_ahead, training.other_clip
        self.clips = [clip for clip in clips if clip.split == "train" and clip.duration_s > 0.6]
        told = {0 if clip.heard is None else clip.heard.shape[1] for clip in self.clips}
        if len(told) > 1:
            raise ValueError(f"a speech encoder heard some of the shards in {shards} alone: run hear-speech once more.")
        self.n_taught = told.pop()
        people = [(clip.corpus, clip.speaker) for clip in self.clips]
        self.voices = {name: n for n, name in enumerate(sorted(set(people)))}
        self.voice = np.array([self.voices[name] for name in people])
        self.share = voice_shares(self.clips, training.voice_balance)
        self.held_out = pick_clips([clip for clip in clips if clip.split == "val"], EVALUATION_CLIPS, EVALUATION_S)
        self.augmenter = Augmenter(augmentation, self.clips, load_rooms(shards))

    def batch(self, generator: torch.Generator, size: int) -> dict[str, Tensor]:
        """Draw crops; see `loop.Task`. Rows 2 n and 2 n + 1 are of one speaker: each lends the other its voice.

        heard, clean: (B, 640 (T + A)) what the encoder hears and what it stands for, the last A frames there to be looked
        ahead at; log_pitch, voicing: (B, 4 T); labels: (B, 2 T); speaker: (B,), -1 a throat that nobody has; taught:
        (B, T, D) what a big speech encoder hears, if one was asked.
        """
        rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
        frames = int(self.crop_s * SAMPLE_RATE) // FRAME_LENGTH
        n = (frames + self.look_ahead) * FRAME_LENGTH
        rows: dict[str, list[Any]] = {
            name: [] for name in ("heard", "clean", "log_pitch", "voicing", "labels", "speaker", "taught")
        }
        for index, throat in self._pairs(rng, size // 2):
            crop = self.augmenter.crop(self.clips[index], n, rng, throat)
            heard = self.augmenter.disturb(crop.sound, rng)
            log_pitch, voicing = through_silence(crop.pitch)
            rows["heard"].append(heard)
            rows["clean"].append(crop.sound * heard.std())
            rows["log_pitch"].append(log_pitch[PITCH_LEAD : PITCH_LEAD + HOPS * frames])
            rows["voicing"].append(voicing[PITCH_LEAD : PITCH_LEAD + HOPS * frames])
            rows["labels"].append(crop.labels[: 2 * frames].astype(np.int64))
            rows["speaker"].append(self.voice[index] if throat == 1 else -1)
            if crop.heard is not None:
                rows["taught"].append(crop.heard[:frames])
        batch = {name: torch.from_numpy(np.stack(row)) for name, row in rows.items() if row}
        return {name: row if row.dtype == torch.int64 else row.float() for name, row in batch.items()}

    def _pairs(self, rng: np.random.Generator, n: int) -> Iterator[tuple[int, Fraction]]:
        """2 n recordings with the throats that say them, the second of a pair of the same speaker as the first."""
        for index in rng.choice(len(self.clips), n, p=self.share).tolist():
            throat, second = self.augmenter.throat(rng), index
            if rng.random() < self.other_clip:
                second = int(rng.choice(np.flatnonzero(self.voice == self.voice[index])))
            yield from ((index, throat), (second, throat))

    @torch.inference_mode()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Decoded validation clips at the lowest and the highest rate, and how well S knows its phones."""
        assert isinstance(model, CodecTrainee | DecoderTrainee)
        return evaluate_codec(copy.deepcopy(model.codec).ready(), self.held_out)

    def save(self, model: nn.Module, path: Path) -> None:
        """Write the codec."""
        assert isinstance(model, CodecTrainee | DecoderTrainee)
        save_codec(model.codec, path)


class CodecTask(SpeechCrops):
    """Recordings to tokens and back to acoustic frames or to sound; see `loop.Task`."""

    def __init__(
        self,
        config: CodecConfig,
        training: CodecTraining,
        augmentation: Augmentation,
        shards: Path,
        vocoder: Path,
        front: str = "front",
        recogniser: str | None = None,
    ):
        super().__init__(training, augmentation, shards, config)
        self.training, self.weights = training, training.weights
        self.model = CodecTrainee(config, len(self.voices), self.n_taught)
        if self.n_taught:
            some = self.clips[:: len(self.clips) // 500 + 1]
            heard = torch.from_numpy(np.concatenate([clip.heard for clip in some if clip.heard is not None])).float()
            self.taught_mean, self.taught_spread = heard.mean(0), heard.std(0)
        self.meter = EnvelopeMeter(config.n_mels)
        self.listener = Listener(load_front(front), recogniser)
        self.vocoder = {name: tensor.float() for name, tensor in checkpoints.load(vocoder).tensors.items()}
        self.model.codec.vocoder.load_state_dict(self.vocoder)
        self.model.codec.vocoder.requires_grad_(training.sound)

    def warm_start(self) -> None:
        """Begin the semantic trunk as that of the speech front, which has the same sizes."""
        tensors = self.listener.front.state_dict()
        trunk = self.model.codec.encoder.semantic.trunk
        known = {name: tensors[name] for name in trunk.state_dict()}
        lags = self.model.codec.config.n_lags  # of which the front has not heard
        known["stem.weight"] = F.pad(known["stem.weight"], (0, 0, 0, lags))
        trunk.load_state_dict(known)

    def go_on(self, run: Path) -> None:
        """Begin with the averaged weights of another run of this task, all but the vocoder's."""
        state = torch.load(run / "state.pt", map_location="cpu", weights_only=True)["average"]
        self.model.load_state_dict({k.removeprefix("module."): v for k, v in state.items() if k != "n_averaged"})
        self.model.codec.vocoder.load_state_dict(self.vocoder)

    def losses(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """How far the acoustic frames are from those measured, and what text says about S."""
        return model(lambda: self._losses(batch))

    def _losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        training, trainee = self.training, self.model
        encoder: Encoder = trainee.codec.encoder
        connector: Connector = trainee.codec.connector
        ahead = trainee.codec.config.look_ahead
        layout = trainee.codec.config.layout
        rows, device = len(batch["heard"]), batch["heard"].device
        self.meter.to(device)
        with torch.no_grad():
            envelope = self.meter(batch["clean"])[:, : batch["log_pitch"].shape[1]]
            heard, _ = encoder.ear(batch["heard"])
            bent = perturb(heard, trainee.codec.config.n_mels, training)
        hidden, _ = encoder.semantic(bent)
        mean, log_variance = encoder.semantic.mean(hidden).float(), encoder.semantic.log_variance(hidden).float()
        drawn = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        semantic, _, levels_s = encoder.semantic_quantiser(drawn)
        _, raw_tiers, moments, _ = encoder.acoustic(heard, semantic.detach())
        tiers, _, levels_t = encoder.tier_quantiser(raw_tiers)
        tiers = tiers.unflatten(-1, (layout.tiers, -1))
        voice, _, levels_v = encoder.voice_quantiser(encoder.acoustic.voice_of(moments.float().sum(1, keepdim=True)))
        own, voice = voice, voice.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)  # the other crop's
        known = (torch.rand(rows, 1, 1, device=device) >= training.unknown).float()
        kept = draw_kept(rows, hidden.shape[1] - ahead, training, device)
        frames, voicing, _ = connector(semantic[:, ahead:], tiers[:, ahead:], kept, voice, known)
        losses = frame_losses(frames, voicing, envelope, batch["log_pitch"], batch["voicing"], training.loudness)
        if training.sound:
            sound, _ = trainee.codec.vocoder(Acoustics(frames.envelope, batch["log_pitch"], frames.voicing))
            losses = losses | self.listener.losses(sound, batch["clean"][:, : sound.shape[1]], poorest(kept))
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance) - training.free_bits
        labels = batch["labels"].unflatten(1, (-1, 2))
        logits = encoder.semantic.phones(hidden).float().unflatten(-1, (4, -1))
        told = torch.cat([logits[:, ahead + 1 :, :2], logits[:, ahead:-1, 2:]], 1).flatten(0, 2)
        phones = F.cross_entropy(
            told, torch.cat([labels[:, :-1], labels[:, :-1]], 1).flatten(), ignore_index=UNKNOWN, label_smoothing=0.05
        )
        return losses | {
            "levels": levels_s + levels_t + levels_v,
            "likeness": likeness(mean) + likeness(raw_tiers.float()),
            "kl": kl.clamp(min=0).mean(),
            "phones": phones,
            "contrast": self._contrast(hidden[:, ahead:], batch["labels"]),
            **self._read(semantic[:, ahead:], voice, labels, batch.get("taught")),
            **self._name(semantic[:, ahead:], own, batch["speaker"]),
        }

    def _read(self, semantic: Tensor, voice: Tensor, labels: Tensor, taught: Tensor | None) -> dict[str, Tensor]:
        """What the values of S (B, T, 5) and of the voice (B, 1, 24) leave open of the phones (B, T, 2), and of what a big
        speech encoder hears (B, T, D), in units of its variance."""
        told = torch.cat([semantic, voice.expand(-1, semantic.shape[1], -1)], -1)
        read = self.model.reader(told.transpose(1, 2)).transpose(1, 2)
        logits = self.model.read(read).float().unflatten(-1, (2, -1)).flatten(0, 2)
        losses = {"read": F.cross_entropy(logits, labels.flatten(), ignore_index=UNKNOWN, label_smoothing=0.05)}
        if taught is None:
            return losses
        mean, spread = self.taught_mean.to(taught.device), self.taught_spread.to(taught.device)
        return losses | {"taught": F.mse_loss(self.model.taught(read).float(), (taught - mean) / spread)}

    def _name(self, semantic: Tensor, voice: Tensor, speaker: Tensor) -> dict[str, Tensor]:
        """How badly the speaker (B,) is told by the voice (B, 1, 24), and by S (B, T, 5), whose gradient is turned round
        (Ganin and Lempitsky 2015, https://arxiv.org/abs/1409.7495)."""
        turned = (1 + self.training.reversal) * semantic.detach() - self.training.reversal * semantic
        named = {"who": self.model.who(voice[:, 0]), "leak": self.model.leaked(self.model.leak(turned).mean(1))}
        n = (speaker >= 0).sum().clamp(min=1)
        return {
            name: F.cross_entropy(logits.float(), speaker, ignore_index=-1, reduction="sum") / n
            for name, logits in named.items()
        }

    def _contrast(self, hidden: Tensor, labels: Tensor) -> Tensor:
        """Frame-level text-speech contrast, both ways (the paper, section III-C): a frame and its text against others."""
        known = (labels.unflatten(1, (-1, 2)) != UNKNOWN).all(2)
        text = self.model.text(self.model.embed(labels.clamp(max=len(PHONES) - 1)).transpose(1, 2)).transpose(1, 2)
        speech = self.model.speech(hidden)
        chosen = known.flatten().nonzero()[:, 0]
        chosen = chosen[torch.randperm(len(chosen), device=chosen.device)[:512]]
        a, b = (F.normalize(x.float().flatten(0, 1)[chosen], dim=-1) for x in (text, speech))
        scores = a @ b.T / self.training.temperature
        same = torch.arange(len(chosen), device=chosen.device)
        return (F.cross_entropy(scores, same) + F.cross_entropy(scores.T, same)) / 2


class DecoderTrainee(nn.Module):
    """The codec, and the judges of its sound if they take part."""

    def __init__(self, codec: Codec, adversarial: bool):
        super().__init__()
        self.codec = codec
        self.adversary = Adversary() if adversarial else None

    def forward(self, compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """As `CodecTrainee.forward`."""
        return compute()


class DecoderTask(SpeechCrops):
    """Tokens to sound: connector and vocoder learn together, encoder and quantisers stand still; see `loop.Task`."""

    def __init__(
        self,
        codec: Codec,
        training: DecoderTraining,
        augmentation: Augmentation,
        shards: Path,
        front: str = "front",
        recogniser: str | None = None,
    ):
        super().__init__(training, augmentation, shards, codec.config)
        self.training, self.weights = training, training.weights
        self.model = DecoderTrainee(codec, training.adversarial)
        codec.encoder.requires_grad_(False)
        self.meter = EnvelopeMeter(codec.config.n_mels)
        self.listener = Listener(load_front(front), recogniser)

    def losses(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """How far sound and acoustic frames are from those of the recording.

        The sources follow the true pitch: with the predicted one, harmonics beside the true ones would be punished and
        the voice would turn to breath.
        """
        return model(lambda: self._losses(batch))

    def _losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        codec, training = self.model.codec, self.training
        encoder: Encoder = codec.encoder.eval()
        layout, ahead = codec.config.layout, codec.config.look_ahead
        rows, device = len(batch["heard"]), batch["heard"].device
        self.meter.to(device)
        # In full precision: a code that rounding has moved is none that the codec will ever send.
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            envelope = self.meter(batch["clean"])[:, : batch["log_pitch"].shape[1]]
            heard, _ = encoder.ear(batch["heard"])
            semantic, _, _ = encoder.semantic_quantiser(encoder.semantic.mean(encoder.semantic(heard)[0]))
            _, tiers, moments, _ = encoder.acoustic(heard, semantic)
            tiers, _, _ = encoder.tier_quantiser(tiers)
            voice, _, _ = encoder.voice_quantiser(encoder.acoustic.voice_of(moments.float().sum(1, keepdim=True)))
        tiers = tiers.unflatten(-1, (layout.tiers, -1))
        voice = voice.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)
        known = (torch.rand(rows, 1, 1, device=device) >= training.unknown).float()
        kept = draw_kept(rows, heard.shape[1] // HOPS - ahead, training, device)
        frames, voicing, _ = codec.connector(semantic[:, ahead:], tiers[:, ahead:], kept, voice, known)
        losses = frame_losses(frames, voicing, envelope, batch["log_pitch"], batch["voicing"], training.loudness)
        sound, _ = codec.vocoder(Acoustics(frames.envelope, batch["log_pitch"], frames.voicing))
        clean = batch["clean"][:, : sound.shape[1]]
        losses = losses | self.listener.losses(sound, clean, poorest(kept))
        return losses | self.model.adversary.losses(sound, clean) if self.model.adversary else losses


def with_tables(codec: Codec, shards: Path, n_clips: int = 400) -> Codec:
    """A codec that is done, with tables for entropy coding counted on training clips; ready for use."""
    clips = [clip for clip in load_clips(shards) if clip.split == "train"]
    chosen = np.random.default_rng(0).permutation(len(clips))[:n_clips]
    codec.ready()
    codec.tables = entropy.fit_tables([codec.encode(clips[i].samples.astype(np.float32) / 32768) for i in chosen])
    return codec


def evaluate_codec(codec: Codec, clips: Sequence[Clip]) -> dict[str, float]:
    """PESQ at the lowest and the highest rate, the share of phones named rightly and how evenly digits are used."""
    low, high, right, known, digits = [], [], 0, 0, []
    for clip in clips:
        sound = clip.samples.astype(np.float32) / 32768
        tokens = codec.encode(sound)
        low.append((sound, codec.decode(tokens.with_tiers(0))))
        high.append((sound, codec.decode(tokens)))
        digits.append(tokens.semantic)
        odds = codec.features(sound).posteriors_50hz
        truth = clip.labels[1::2][: len(odds)]
        sure = truth != UNKNOWN
        right += int((odds[: len(truth)].argmax(1) == truth)[sure].sum())
        known += int(sure.sum())
    a, b = pesq_of(low), pesq_of(high)
    evenness = np.mean(codebook_use(np.concatenate(digits), codec.config.layout.semantic)["digit_perplexity"])
    phones, score = right / max(known, 1), (a + b) / 2
    return {"pesq_low": a, "pesq_high": b, "phones": phones, "evenness": float(evenness), "score": score}


def frame_losses(
    frames: Acoustics, logits: Tensor, envelope: Tensor, log_pitch: Tensor, voicing: Tensor, loudness: float
) -> dict[str, Tensor]:
    """Errors of acoustic frames; those of the envelope count the more the louder it is there, as to an ear."""
    weight = (loudness * (envelope - envelope.amax((1, 2), keepdim=True))).exp()
    weight = weight / weight.mean((1, 2), keepdim=True)
    apart = (frames.envelope.float() - envelope).abs()
    off = (frames.log_pitch.float() - log_pitch).abs() * voicing
    return {
        "envelope": (weight * apart).mean(),
        "pitch": off.sum() / (voicing.sum() + 1.0),
        "voicing": F.binary_cross_entropy_with_logits(logits.float(), voicing),
    }


def likeness(x: Tensor) -> Tensor:
    """Mean squared correlation between the D scalars of (B, T, D): what one tells of another is told twice."""
    x = x.flatten(0, 1)
    x = (x - x.mean(0)) / (x.std(0) + 1e-4)
    correlation = x.T @ x / len(x)
    return (correlation - torch.eye(x.shape[1], device=x.device)).square().sum() / (x.shape[1] * (x.shape[1] - 1))


def draw_kept(
    rows: int, n_frames: int, training: CodecTraining | DecoderTraining, device: torch.device
) -> Tensor:
    """(B, T, 1 + K) what arrives: in every row some tiers, and in some rows a burst of frames that does not, or of which S
    alone arrives, sent again with the next packet."""
    tiers = torch.multinomial(torch.tensor(training.tiers), rows, replacement=True).to(device)
    rank = torch.arange(len(training.tiers), device=device)
    kept = (rank[None] <= tiers[:, None]).float()[:, None].repeat(1, n_frames, 1)
    begin = torch.randint(0, n_frames, (rows, 1), device=device)
    length = torch.randint(1, 8, (rows, 1), device=device) * (torch.rand(rows, 1, device=device) < training.lose)
    at = torch.arange(n_frames, device=device)[None]
    lost = (at >= begin) & (at < begin + length)
    again = torch.rand(rows, 1, device=device) < 0.5
    return torch.cat([kept[..., :1] * ~(lost & ~again)[..., None], kept[..., 1:] * ~lost[..., None]], -1)


def poorest(kept: Tensor) -> Tensor:
    """The half of the rows of (B, T, 1 + K) of which least arrives."""
    return kept.sum((1, 2)).argsort()[: (len(kept) + 1) // 2]


def perturb(heard: Tensor, n_mels: int, training: CodecTraining) -> Tensor:
    """Another throat, pitch and microphone, on what is heard (B, T, n_mels + n_lags): the mel axis stretched, its bands
    shifted smoothly, the lags moved."""
    rows, device = len(heard), heard.device
    mel, ridges = heard[..., :n_mels], heard[..., n_mels:]
    chosen = torch.rand(rows, 1, device=device) < training.perturb
    factor = 1 + (2 * torch.rand(rows, 1, device=device) - 1) * training.warp * chosen
    shift = (2 * torch.rand(rows, 1, device=device) - 1) * training.pitch_shift * chosen
    mel = _resample(mel, torch.arange(n_mels, device=device) * factor)
    ridges = _resample(ridges, torch.arange(ridges.shape[-1], device=device) + shift)
    knots = torch.randn(rows, 1, 6, device=device) * training.equaliser * chosen[..., None]
    curve = F.interpolate(knots, size=n_mels, mode="linear", align_corners=True)
    return torch.cat([mel + curve, ridges], -1)


def _resample(x: Tensor, place: Tensor) -> Tensor:
    """x (B, T, N) at fractions of its last axis (B, N), on a line between two."""
    place = place.clamp(0, x.shape[-1] - 1 - 1e-3)
    low = place.floor().long()
    share, index = (place - low)[:, None], low[:, None].expand(-1, x.shape[1], -1)
    return x.gather(2, index) * (1 - share) + x.gather(2, index + 1) * share
