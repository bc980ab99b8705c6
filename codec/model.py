"""The codec: recordings to tokens and back, after SecoustiCodec (Qiang et al. 2025, https://arxiv.org/abs/2508.02849).

    ear                log-mel and pitchgram, every 10 ms
    semantic encoder   what is heard -> causal phone trunk -> VAE head -> S, 5 digits of 25 Hz: what is said
    acoustic encoder   what is heard (and S) -> causal trunk -> tiers of 5 digits each: what S leaves out; may be dropped
                       -> statistics over the past -> G, 24 digits now and then: who speaks, how, where
    connector          S + tiers, steered by G (adaLN) -> acoustic frames: envelope, pitch, voicing, every 10 ms
    vocoder            acoustic frames -> sound

The acoustic frames are the acoustic embedding of the paper made explicit, so the connector can be trained without making
a sound. Encoders and connector run in double precision: rounding that depends on how a stream is cut then stays twelve
digits below a quantiser's thresholds, and the codes of a recording are the same for every cutting and machine.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mien.codec import bitstream
from mien.codec.front import FRAME_LENGTH, PhoneOdds, Trunk, check_sound
from mien.codec.mel import LogMel, PitchGram
from mien.codec.phones import PHONES
from mien.codec.quantise import Quantiser
from mien.codec.tokens import Layout, Tokens
from mien.codec.vocoder import SAMPLE_RATE, Acoustics, Vocoder, VocoderConfig, VocoderState
from mien.layers.conv import CausalBlock, CausalConv1d
from mien.media.files import open_source

if TYPE_CHECKING:
    from mien.checkpoints import Checkpoint
    from mien.codec.emotion import Feeling

HOPS = 4  # acoustic frames in a codec frame
CHUNK = 250  # frames that are computed at once offline, so that memory stays flat in the sound's length
LOG_PITCH_MEAN, LOG_PITCH_SPREAD = 5.0, 0.4
ENVELOPE_MEAN = 1.0
KNEE = 0.9  # sample values beyond it are bent, so that nothing is clipped
VOICE_MEMORY_S = 12.0  # how long the running voice remembers
TABLES = "tables.frequencies"  # where a checkpoint keeps the tables of entropy coding
MAX_FILE_BYTES = 64 * 2**20  # of a coded file, more than its sample counter can count
VOICE_CHANGE = 0.25  # share of a voice's digits that must differ before it is sent again


@dataclass(frozen=True)
class CodecConfig:
    """Sizes and rules of a codec."""

    name: str = "codec-16k"
    n_mels: int = 80
    n_lags: int = 72  # of the pitchgram
    kernel_size: int = 7
    semantic_width: int = 128  # of the trunk at 50 Hz, as in the speech front
    semantic_dilations: tuple[int, ...] = (1, 1, 2, 4, 1, 2, 4)
    semantic_expansion: int = 4
    acoustic_width: int = 192
    acoustic_dilations: tuple[int, ...] = (1, 2, 4)
    width: int = 256  # of everything at 25 Hz
    expansion: int = 3
    decoder_dilations: tuple[int, ...] = (1, 2, 4, 1)
    frame_width: int = 192  # of the connector at 100 Hz
    frame_dilations: tuple[int, ...] = (1, 2)
    voice_width: int = 128
    quantiser: str = "fsp"
    look_ahead: int = 1  # frames that an encoder hears beyond the one that it describes
    dropout: float = 0.0
    layout: Layout = field(default_factory=Layout)
    vocoder: VocoderConfig = field(default_factory=VocoderConfig)

    def __post_init__(self):
        for name in ("semantic_dilations", "acoustic_dilations", "decoder_dilations", "frame_dilations"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if isinstance(self.layout, dict):
            layout: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in self.layout.items()}
            object.__setattr__(self, "layout", Layout(**layout))
        if isinstance(self.vocoder, dict):
            object.__setattr__(self, "vocoder", VocoderConfig(**self.vocoder))

    @property
    def latency_ms(self) -> float:
        """From a sample's arrival to the last one it is needed for: the frame it lies in and the look-ahead."""
        return 1000.0 * (1 + self.look_ahead) * FRAME_LENGTH / SAMPLE_RATE


Memory = tuple[Tensor, ...]
Progress = Callable[[float, float], None]  # gets what is done, and of how much


def _silently(done: float, total: float) -> None:
    pass


class Ear(nn.Module):
    """What the encoders hear: log-mel and pitchgram side by side."""

    def __init__(self, n_mels: int, n_lags: int):
        super().__init__()
        self.mel = LogMel(SAMPLE_RATE, n_mels)
        self.pitch = PitchGram(SAMPLE_RATE, n_lags)

    def forward(self, samples: Tensor, state: Memory | None = None) -> tuple[Tensor, Memory]:
        """(B, 640 T) samples to (B, 4 T, n_mels + n_lags) and the next state."""
        mel, mel_state = self.mel(samples, state[0] if state is not None else None)
        ridges, pitch_state = self.pitch(samples, state[1] if state is not None else None)
        return torch.cat([mel, ridges], -1), (mel_state, pitch_state)


class Pairs(nn.Module):
    """50 Hz to 25 Hz: two neighbours side by side, then a causal block."""

    def __init__(self, width_in: int, width: int, expansion: int, dropout: float):
        super().__init__()
        self.join = nn.Linear(2 * width_in, width)
        self.block = CausalBlock(width, kernel_size=5, expansion=expansion, dropout=dropout)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, state: Tensor | None, extra: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(B, 2 T, D) to (B, T, D'); extra (B, T, D') is added before the block."""
        x = self.join(x.unflatten(1, (-1, 2)).flatten(2))
        x, after = self.block(x if extra is None else x + extra, state)
        return self.norm(x), after


class SemanticEncoder(nn.Module):
    """What is heard to S: what is said. `phones` reads the same features, which is how text teaches them."""

    def __init__(self, config: CodecConfig):
        super().__init__()
        c = config
        self.trunk = Trunk(
            c.n_mels + c.n_lags, c.semantic_width, c.kernel_size, c.semantic_dilations, c.semantic_expansion, c.dropout
        )
        self.pairs = Pairs(c.semantic_width, c.width, c.expansion, c.dropout)
        self.phones = nn.Linear(c.width, 4 * len(PHONES))  # of the frame before and of this one, 20 ms each
        self.mean = nn.Linear(c.width, len(c.layout.semantic))
        self.log_variance = nn.Linear(c.width, len(c.layout.semantic))
        nn.init.constant_(self.log_variance.bias, -3.0)

    def forward(self, heard: Tensor, memory: Memory | None = None) -> tuple[Tensor, Memory]:
        """(B, 4 T, n) to features (B, T, D), of the frame `look_ahead` earlier, and the next memory."""
        x, states = self.trunk.listen(heard, memory[1:] if memory is not None else None)
        x, state = self.pairs(x, memory[0] if memory is not None else None)
        return x, (state, *states)


class AcousticEncoder(nn.Module):
    """What is heard, and S, to the enhancement tiers, and to what the voice is made of."""

    def __init__(self, config: CodecConfig):
        super().__init__()
        c = config
        n_heard = c.n_mels + c.n_lags
        self.trunk = Trunk(n_heard, c.acoustic_width, c.kernel_size, c.acoustic_dilations, c.expansion, c.dropout)
        self.known = nn.Linear(len(c.layout.semantic), c.width)
        self.pairs = Pairs(c.acoustic_width, c.width, c.expansion, c.dropout)
        self.tiers = nn.Linear(c.width, c.layout.tiers * len(c.layout.tier))
        self.direct = CausalConv1d(HOPS * n_heard, c.layout.tiers * len(c.layout.tier), 2)
        self.manner = nn.Linear(2 * c.acoustic_width, c.voice_width)
        self.attention = nn.Linear(2 * c.acoustic_width, 1)
        self.voice = nn.Linear(2 * c.voice_width, len(c.layout.voice))

    def forward(
        self, heard: Tensor, semantic: Tensor, memory: Memory | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Memory]:
        """What is heard (B, 4 T, n) and values of S (B, T, 5), of the frame `look_ahead` earlier, to features (B, T, D), the
        tiers before their quantiser (B, T, 5 K), moments (B, T, 1 + 2 V) and the next memory.

        What is heard also reaches the tiers directly, which is how they begin to learn. A frame's moments are its weight,
        and its manner and that squared, times the weight: sums of them over time make a voice.
        """
        x, states = self.trunk.listen(heard, memory[2:] if memory is not None else None)
        patches = heard.unflatten(1, (-1, HOPS)).flatten(2).transpose(1, 2)
        direct, patch = self.direct(patches, memory[1] if memory is not None else None)
        pair = x.unflatten(1, (-1, 2)).flatten(2)
        manner, weight = self.manner(pair), self.attention(pair).clamp(-8, 8).exp()
        moments = torch.cat([weight, weight * manner, weight * manner.square()], -1)
        x, state = self.pairs(x, memory[0] if memory is not None else None, self.known(semantic))
        return x, self.tiers(x) + direct.transpose(1, 2), moments, (state, patch, *states)

    def voice_of(self, moments: Tensor) -> Tensor:
        """Sums of moments (..., 1 + 2 V) to the voice before its quantiser (..., 24)."""
        v = self.manner.out_features
        total, first, second = moments.split([1, v, v], -1)
        mean = first / (total + 1e-6)
        spread = (second / (total + 1e-6) - mean.square()).clamp(min=1e-6).sqrt()
        return self.voice(torch.cat([mean, spread], -1))


class Encoder(nn.Module):
    """Both encoders and all quantisers."""

    def __init__(self, config: CodecConfig):
        super().__init__()
        self.ear = Ear(config.n_mels, config.n_lags)
        self.semantic = SemanticEncoder(config)
        self.acoustic = AcousticEncoder(config)
        layout = config.layout
        self.semantic_quantiser = Quantiser(layout.semantic, config.quantiser)
        self.tier_quantiser = Quantiser(layout.tier * layout.tiers, config.quantiser)
        self.voice_quantiser = Quantiser(layout.voice, config.quantiser)

    def listen(
        self, samples: Tensor, state: "EncoderState"
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, "EncoderState"]:
        """The next samples (B, 640 T) of streams, as far as the quantisers' doors.

        Returns semantic and acoustic features (B, T, D), and before their quantisers S (B, T, 5), the tiers (B, T, 5 K)
        and the running voice (B, T, 24); and the next state.
        """
        heard, ear_state = self.ear(samples.to(self.ear.mel.window), state.ear)
        heard = heard.to(self.semantic.mean.weight)
        hidden, semantic_state = self.semantic(heard, state.semantic)
        semantic = self.semantic.mean(hidden)
        values, _, _ = self.semantic_quantiser(semantic)
        features, tiers, moments, acoustic_state = self.acoustic(heard, values, state.acoustic)
        running = _decaying_sum(moments, state.moments, VOICE_MEMORY_S)
        after = replace(state, ear=ear_state, semantic=semantic_state, acoustic=acoustic_state, moments=running[:, -1])
        return hidden, features, semantic, tiers, self.acoustic.voice_of(running), after


class Connector(nn.Module):
    """Values of S, of the tiers and of the voice to acoustic frames."""

    def __init__(self, config: CodecConfig):
        super().__init__()
        c, layout = config, config.layout
        n_values = len(layout.semantic) + layout.tiers * len(layout.tier)
        self.values = nn.Linear(n_values + 1 + layout.tiers, c.width)
        self.voice = nn.Sequential(nn.Linear(len(layout.voice) + 1, c.voice_width), nn.SiLU())
        self.blocks = nn.ModuleList(
            CausalBlock(
                c.width, kernel_size=5, dilation=d, expansion=c.expansion, dropout=c.dropout, condition=c.voice_width
            )
            for d in c.decoder_dilations
        )
        self.spread = nn.Linear(c.width, HOPS * c.frame_width)
        self.frame_blocks = nn.ModuleList(
            CausalBlock(
                c.frame_width, kernel_size=c.kernel_size, dilation=d, expansion=c.expansion, condition=c.voice_width
            )
            for d in c.frame_dilations
        )
        self.norm = nn.LayerNorm(c.frame_width)
        self.frames = nn.Linear(c.frame_width, c.n_mels + 2)
        self.direct = nn.Linear(n_values + 1 + layout.tiers, HOPS * (c.n_mels + 2))

    def forward(
        self, semantic: Tensor, tiers: Tensor, kept: Tensor, voice: Tensor, known: Tensor, memory: Memory | None = None
    ) -> tuple[Acoustics, Tensor, Memory]:
        """The next frames of streams.

        semantic: (B, T, 5) values. tiers: (B, T, K, 5) values. kept: (B, T, 1 + K), 1 where S or the tier arrived, 0
        where it was lost or dropped. voice: (B, T or 1, 24) values. known: (B, T or 1, 1), 1 where the voice is known.
        Returns 4 T acoustic frames, the logits of their voicing (B, 4 T) and the next memory.
        """
        x = torch.cat([semantic * kept[..., :1], (tiers * kept[..., 1:, None]).flatten(2), kept], -1)
        condition = self.voice(torch.cat([voice * known, known], -1))
        direct = self.direct(x).unflatten(2, (HOPS, -1)).flatten(1, 2)
        x = self.values(x)
        past: tuple[Tensor | None, ...] = memory or (None,) * (len(self.blocks) + len(self.frame_blocks))
        states = []
        for block, state in zip(self.blocks, past, strict=False):
            x, state = block(x, state, condition)
            states.append(state)
        x = self.spread(x).unflatten(2, (HOPS, -1)).flatten(1, 2)
        if condition.shape[1] > 1:
            condition = condition.repeat_interleave(HOPS, 1)
        for block, state in zip(self.frame_blocks, past[len(self.blocks) :], strict=True):
            x, state = block(x, state, condition)
            states.append(state)
        frames = self.frames(self.norm(x)) + direct
        envelope, pitch, logits = frames[..., :-2] + ENVELOPE_MEAN, frames[..., -2], frames[..., -1]
        log_pitch = LOG_PITCH_MEAN + LOG_PITCH_SPREAD * pitch
        return Acoustics(envelope, log_pitch, logits.sigmoid()), logits, tuple(states)


@dataclass(frozen=True)
class FrameCodes:
    """N frames of a stream: semantic (N, 5), tiers (N, K, 5), and the running voice after each (N, 24), uint8 digits.

    A frame that was lost has kept = 0 in (N, 1 + K), for S and for every tier; None: all arrived. Where known (N,) is 0
    the voice has not come yet; None: it is known.
    """

    semantic: np.ndarray
    tiers: np.ndarray
    voice: np.ndarray
    kept: np.ndarray | None = None
    known: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.semantic)


@dataclass(frozen=True)
class EncoderState:
    """Where an encoding stands. Made by `Codec.start_encoding`."""

    ear: Memory | None
    semantic: Memory | None
    acoustic: Memory | None
    moments: Tensor  # (B, 1 + 2 V) running sums
    frames_to_drop: int


@dataclass(frozen=True)
class DecoderState:
    """Where a decoding stands. Made by `Codec.start_decoding`."""

    connector: Memory | None
    vocoder: VocoderState


@dataclass(frozen=True)
class Features(PhoneOdds):
    """What the codec hears in T frames of 25 Hz, for the other rooms.

    continuous: (T, D) float32, the semantic features before the quantiser. semantic: (T, 5) float32, the values of S.
    posteriors_50hz: (2 T, 40) odds of `PHONES` every 20 ms. voice: (T, 24) float32, the running values of G. acoustic:
    (T, D) float32, how it is said: the features that the enhancement tiers are made of.

    All follow their frame by `latency_ms` less a frame, the odds by one frame more: what comes after tells phones apart.
    """

    continuous: np.ndarray
    semantic: np.ndarray
    posteriors_50hz: np.ndarray
    voice: np.ndarray
    acoustic: np.ndarray


@dataclass(frozen=True)
class Heard:
    """What the encoders make of N frames, before anything is thrown away; see `FrameCodes` and `Features`."""

    codes: FrameCodes
    continuous: np.ndarray
    values: np.ndarray
    logits: np.ndarray  # (N, 4, 40): halves of the frame before, halves of this one
    voice_values: np.ndarray
    acoustic: np.ndarray  # (N, D) what the tiers are made of: pitch, loudness, timbre


class Codec(nn.Module):
    """Speech at 0.27 to 1.0 kbit/s. `encode` and `decode` for recordings, `*_step` for streams, 40 ms a frame."""

    def __init__(self, config: CodecConfig | None = None):
        super().__init__()
        self.config = config = config or CodecConfig()
        self.encoder = Encoder(config)
        self.connector = Connector(config)
        self.vocoder = Vocoder(config.vocoder)
        self.tables: dict[str, np.ndarray] | None = None  # of entropy coding, if its checkpoint brings some

    def ready(self) -> "Codec":
        """The codec set for use: evaluation mode, encoders and connector in double precision."""
        self.eval()
        self.encoder.double()
        self.connector.double()
        return self

    # Recordings

    def encode(self, samples: np.ndarray, tiers: int | None = None, progress: Progress = _silently) -> Tokens:
        """(S,) float32 samples at 16 kHz in [-1, 1] to tokens.

        tiers: how many enhancement tiers are kept (0: 0.27 kbit/s, 3: 1.0); None keeps all. progress: gets (done, total)
        in frames. Raises ValueError when the samples are not one channel of finite numbers.
        """
        layout = self.config.layout
        samples = check_sound(samples)
        codes, done = [], 0
        for heard in self._hear(samples):
            codes.append(heard.codes)
            done += len(heard.codes)
            progress(done, max(-(-len(samples) // FRAME_LENGTH), 1))
        semantic, tier_digits, voices = (
            np.concatenate([getattr(c, name) for c in codes]) for name in ("semantic", "tiers", "voice")
        )
        starts, ends = self._voice_spans(voices)
        tokens = Tokens(
            semantic, tier_digits, voices[ends], np.array(starts, int), len(samples), self.config.name, layout
        )
        return tokens if tiers is None else tokens.with_tiers(tiers)

    def decode(
        self, tokens: Tokens, lost: np.ndarray | None = None, progress: Progress = _silently
    ) -> np.ndarray:
        """Tokens to (n_samples,) float32 samples at 16 kHz.

        lost: (T,) bool, frames that did not arrive and are to be bridged. progress: gets (done, total) in frames. Raises
        ValueError for another codec's tokens.
        """
        if tokens.model != self.config.name or tokens.layout != self.config.layout:
            raise ValueError(
                f"these tokens were made by the codec '{tokens.model}', this is '{self.config.name}': "
                "decode them with the one that made them."
            )
        kept = np.ones((len(tokens), 1 + tokens.tiers.shape[1]), np.uint8)
        if lost is not None:
            kept[lost] = 0
        voices = tokens.voice[tokens.voice_of_frames()] if len(tokens) else tokens.voice
        state, samples = self.start_decoding(), np.zeros(FRAME_LENGTH * len(tokens), np.float32)
        for begin in range(0, len(tokens), CHUNK):
            at = slice(begin, begin + CHUNK)
            codes = FrameCodes(tokens.semantic[at], tokens.tiers[at], voices[at], kept[at])
            part, state = self.decode_step(codes, state)
            samples[FRAME_LENGTH * begin :][: len(part)] = part
            progress(begin + len(codes), len(tokens))
        return samples[: tokens.n_samples]

    def open(self, coded: str | Path, damaged: Literal["refuse", "conceal"] = "refuse") -> bitstream.Reading:
        """Read a .mc file; see `bitstream.read`. Raises FileNotFoundError for a file that is not there."""
        data = open_source(coded, "coded file", MAX_FILE_BYTES)
        assert isinstance(data, Path)
        return bitstream.read(data.read_bytes(), self.config.name, self.tables, damaged, self.config.layout)

    def features(self, samples: np.ndarray) -> Features:
        """(S,) float32 samples at 16 kHz to T = ceil(S / 640) frames of features."""
        heard = list(self._hear(check_sound(samples), beyond=1))
        n = -(-len(samples) // FRAME_LENGTH)
        continuous, values, logits, voice, acoustic = (
            np.concatenate([getattr(h, name) for h in heard]).astype(np.float32)
            for name in ("continuous", "values", "logits", "voice_values", "acoustic")
        )
        logits = logits[1 : n + 1, :2].reshape(2 * n, len(PHONES))  # a frame's phones are told best by the frame after it
        odds = np.exp(logits - logits.max(1, keepdims=True)) if n else logits
        return Features(continuous[:n], values[:n], odds / odds.sum(1, keepdims=True), voice[:n], acoustic[:n])

    def emotion(self, samples: np.ndarray) -> "Feeling":
        """(S,) float32 samples at 16 kHz to how they feel, by the checkpoint `codec-emotion`; see `mien.codec.emotion`."""
        from mien.codec.emotion import load_reader

        return load_reader().read(self, samples)

    # Streams

    def start_encoding(self, batch_size: int = 1) -> EncoderState:
        """The state of streams of which nothing was heard yet; `encode_step` takes one, `Encoder.listen` any number."""
        weight = self.encoder.acoustic.voice.weight
        moments = weight.new_zeros(batch_size, 1 + weight.shape[1])
        return EncoderState(None, None, None, moments, self.config.look_ahead)

    def start_decoding(self) -> DecoderState:
        """The state of a stream of which nothing was decoded yet."""
        return DecoderState(None, self.vocoder.start())

    @torch.inference_mode()
    def hear(self, samples: np.ndarray, state: EncoderState) -> tuple[Heard, EncoderState]:
        """The next samples of a stream, a whole number of frames of 640, to all that the encoders make of them."""
        encoder, device = self.encoder, self.connector.values.weight.device
        hidden, features, semantic, tiers, voice, after = encoder.listen(
            torch.from_numpy(samples).to(device)[None], state
        )
        values, digits, _ = encoder.semantic_quantiser(semantic)
        _, tier_digits, _ = encoder.tier_quantiser(tiers)
        voice_values, voice_digits, _ = encoder.voice_quantiser(voice)
        logits = encoder.semantic.phones(hidden).unflatten(-1, (4, -1))
        drop = min(state.frames_to_drop, hidden.shape[1])
        layout = self.config.layout
        codes = FrameCodes(
            digits[0, drop:].cpu().numpy().astype(np.uint8),
            tier_digits[0, drop:].unflatten(-1, (layout.tiers, -1)).cpu().numpy().astype(np.uint8),
            voice_digits[0, drop:].cpu().numpy().astype(np.uint8),
        )
        heard = Heard(codes, *(t[0, drop:].cpu().numpy() for t in (hidden, values, logits, voice_values, features)))
        return heard, replace(after, frames_to_drop=state.frames_to_drop - drop)

    def encode_step(self, samples: np.ndarray, state: EncoderState) -> tuple[FrameCodes, EncoderState]:
        """The next samples of a stream, a whole number of frames of 640, to the frames that are ready: as many, less
        `look_ahead` at the stream's beginning. Raises ValueError for another number of samples."""
        if not len(samples) or len(samples) % FRAME_LENGTH:
            raise ValueError(
                f"a step takes whole frames of {FRAME_LENGTH} samples, not {len(samples)}: keep the rest for the next step."
            )
        heard, state = self.hear(check_sound(samples), state)
        return heard.codes, state

    @torch.inference_mode()
    def decode_step(self, codes: FrameCodes, state: DecoderState) -> tuple[np.ndarray, DecoderState]:
        """The next N frames of a stream, each steered by its own voice, to their (640 N,) samples."""
        n, n_tiers, _ = codes.tiers.shape
        if not n:
            return np.zeros(0, np.float32), state
        missing = self.config.layout.tiers - n_tiers
        kept = codes.kept if codes.kept is not None else np.ones((n, 1 + n_tiers))
        known = codes.known if codes.known is not None else np.ones(n)

        def tensor(x: np.ndarray, dtype: torch.dtype = torch.int64) -> Tensor:
            return torch.from_numpy(x).to(self.connector.values.weight.device, dtype)[None]

        dtype = self.connector.values.weight.dtype
        sound, after = self.utter(
            tensor(codes.semantic),
            F.pad(tensor(codes.tiers), (0, 0, 0, missing)),
            F.pad(tensor(kept, dtype), (0, missing)),
            tensor(codes.voice),
            tensor(known, dtype)[..., None],
            state,
        )
        return sound[0].cpu().numpy(), after

    def utter(
        self, semantic: Tensor, tiers: Tensor, kept: Tensor, voice: Tensor, known: Tensor, state: DecoderState
    ) -> tuple[Tensor, DecoderState]:
        """The next frames of streams to their sound (B, 640 T); as `Connector.forward`, with digits instead of values."""
        encoder, dtype = self.encoder, self.connector.values.weight.dtype
        frames, _, memory = self.connector(
            encoder.semantic_quantiser.values(semantic, dtype),
            encoder.tier_quantiser.values(tiers.flatten(2), dtype).unflatten(-1, tiers.shape[2:]),
            kept,
            encoder.voice_quantiser.values(voice, dtype),
            known,
            state.connector,
        )
        sound, vocoder = self.vocoder(frames, state.vocoder)
        return bend(sound), DecoderState(memory, vocoder)

    def _hear(self, samples: np.ndarray, beyond: int = 0) -> Iterator[Heard]:
        """A whole recording in chunks; `beyond` more frames than it has, of silence."""
        total = (-(-len(samples) // FRAME_LENGTH) + self.config.look_ahead + beyond) * FRAME_LENGTH
        state = self.start_encoding()
        for begin in range(0, total, CHUNK * FRAME_LENGTH):
            end = min(begin + CHUNK * FRAME_LENGTH, total)
            chunk = samples[begin:end]
            heard, state = self.hear(np.pad(chunk, (0, end - begin - len(chunk))), state)
            yield heard

    def _voice_spans(self, voices: np.ndarray) -> tuple[list[int], list[int]]:
        """First and last frames of the spans in which one voice (T, 24) counts, each with what is known at its end.

        A span is as long as voices have to lie apart, or longer, as long as the voice hardly changes.
        """
        layout, starts, ends = self.config.layout, [], []
        span = layout.voice_spacing * layout.block
        for start in range(0, len(voices), span):
            end = min(start + span, len(voices)) - 1
            if not ends or np.mean(voices[end] != voices[ends[-1]]) >= VOICE_CHANGE:
                starts.append(start)
                ends.append(end)
        return starts, ends


def _decaying_sum(moments: Tensor, before: Tensor, memory_s: float) -> Tensor:
    """Running sums (B, T, M) of moments (B, T, M) that forget with a time constant, frame by frame at 25 Hz."""
    decay = float(np.exp(-FRAME_LENGTH / SAMPLE_RATE / memory_s))
    sums = []
    for frame in moments.unbind(1):
        before = decay * before + frame
        sums.append(before)
    return torch.stack(sums, 1)


def bend(sound: Tensor) -> Tensor:
    """Leave what is below the knee, press what is above it under 1."""
    over = (sound.abs() - KNEE).clamp(min=0) / (1 - KNEE)
    return torch.where(over > 0, sound.sign() * (KNEE + (1 - KNEE) * over.tanh()), sound)


def load_codec(name_or_path: str = "codec-16k", device: str = "cpu") -> Codec:
    """The trained codec, ready to use: by its name among the checkpoints or from a file."""
    from mien import checkpoints

    return build_codec(checkpoints.load(name_or_path)).ready().to(device)


def build_codec(checkpoint: "Checkpoint") -> Codec:
    """A codec from its weights, in single precision, as it is trained. Raises ValueError for other weights."""
    weights = dict(checkpoint.tensors)
    if "layout" not in checkpoint.config:
        raise ValueError(f"{checkpoint.path.name} holds no codec: give the name or the file of one, such as codec-16k.")
    codec = Codec(CodecConfig(**checkpoint.config))
    if TABLES in weights:
        codec.tables = {"frequencies": weights.pop(TABLES).numpy()}
    codec.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    return codec


def save_codec(codec: Codec, path: Path) -> None:
    """Write a codec in half precision, its tables as they are."""
    from mien import checkpoints

    tensors = {name: tensor.half() for name, tensor in codec.state_dict().items()}
    if codec.tables is not None:
        tensors[TABLES] = torch.from_numpy(codec.tables["frequencies"])
    checkpoints.save(path, tensors, asdict(codec.config))
