"""The vocoder: acoustic frames (spectral envelope, pitch, voicing) to sound, causal, 10 ms at a time.

A harmonic and a noise source, both with flat spectra, are shaped in the short-time Fourier domain: a small causal stack
of convolutions reads the frames and gives every bin of either source its gain, and the harmonics a phase. The gains start
from the envelope itself, so that silence is silent and the network has only the rest to learn. Source and filter after
DDSP (Engel et al. 2020, https://arxiv.org/abs/2001.04643), the frame-rate stack with an inverse STFT after Vocos (Siuzdak
2023, https://arxiv.org/abs/2306.00814).
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from mien.codec.mel import LogMel, mel_filters
from mien.layers.conv import CausalBlock

SAMPLE_RATE = 16_000
HOP = 160  # samples of one acoustic frame
WINDOW = 2 * HOP  # of the synthesis, also its transform's length
BINS = WINDOW // 2 + 1
ENVELOPE_WINDOW = 512  # samples that an envelope is measured over
PITCH_LEAD = 2  # a frame's pitch is that of the sound `PITCH_LEAD` hops after its start, where its window ends
PITCH_RANGE = (50.0, 650.0)  # Hz
TOP_HARMONIC = 7_900.0  # Hz
NOISE_LENGTH = 1 << 17  # samples before the noise repeats


@dataclass(frozen=True)
class VocoderConfig:
    """Sizes of the vocoder."""

    n_mels: int = 80
    width: int = 224
    kernel_size: int = 7
    dilations: tuple[int, ...] = (1, 1, 2, 1, 2)  # one block each
    expansion: int = 3

    def __post_init__(self):
        object.__setattr__(self, "dilations", tuple(self.dilations))


@dataclass(frozen=True)
class Acoustics:
    """Acoustic frames of 10 ms: frame j tells of the samples [160 j, 160 j + 320).

    envelope: (B, J, n_mels) log-mel in the scale of `LogMel`. log_pitch: (B, J) natural logarithm of F0 in Hz at the end
    of those samples, defined everywhere. voicing: (B, J) in [0, 1].
    """

    envelope: Tensor
    log_pitch: Tensor
    voicing: Tensor


@dataclass(frozen=True)
class VocoderState:
    """Where a stream of B voices stands."""

    memory: tuple[Tensor, ...] | None  # every block's past; None: nothing was said yet
    log_pitch: Tensor  # (B,) of the last frame, float64
    phase: Tensor  # (B,) of the harmonic source, in cycles, float64
    position: int | Tensor  # in the noise; a tensor where a graph is exported
    harmonic: Tensor  # (B, HOP) the last hop of either source
    noise: Tensor
    overlap: Tensor  # (B, HOP) what the next hop adds to


class EnvelopeMeter(nn.Module):
    """What the vocoder is told of a recording: the envelopes of its frames. For training and analysis."""

    def __init__(self, n_mels: int = 80):
        super().__init__()
        self.mel = LogMel(SAMPLE_RATE, n_mels, HOP, ENVELOPE_WINDOW, ENVELOPE_WINDOW)

    def forward(self, samples: Tensor) -> Tensor:
        """(B, S) samples, S a multiple of 160, to (B, S / 160, n_mels), each measured around its frame's middle."""
        ahead = WINDOW // 2 + ENVELOPE_WINDOW // 2 - HOP
        before = self.mel.memory - ahead
        padded = nn.functional.pad(samples, (before, ahead))
        return self.mel(padded[:, self.mel.memory :], padded[:, : self.mel.memory])[0]


class Vocoder(nn.Module):
    """Acoustic frames to sound. A frame's 160 samples are ready as soon as the frame is known."""

    window: Tensor
    to_bins: Tensor
    white: Tensor
    noise: Tensor

    def __init__(self, config: VocoderConfig | None = None):
        super().__init__()
        self.config = config = config or VocoderConfig()
        self.stem = nn.Linear(config.n_mels + 2, config.width)
        self.blocks = nn.ModuleList(
            CausalBlock(config.width, kernel_size=config.kernel_size, dilation=d, expansion=config.expansion)
            for d in config.dilations
        )
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, 3 * BINS)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.constant_(self.head.bias, 0.0)
        self.register_buffer("window", torch.hann_window(WINDOW, periodic=True).sqrt(), persistent=False)
        self.register_buffer("to_bins", _mels_to_bins(config.n_mels), persistent=False)
        self.register_buffer("white", _white_envelope(config.n_mels), persistent=False)
        noise = np.random.default_rng(0).standard_normal(NOISE_LENGTH, np.float32)
        self.register_buffer("noise", torch.from_numpy(noise), persistent=False)

    def start(self, batch_size: int = 1) -> VocoderState:
        """The state of streams that have just begun."""
        hop = self.window.new_zeros(batch_size, HOP)
        pitch = torch.full((batch_size,), float(np.log(120.0)), dtype=torch.float64, device=hop.device)
        return VocoderState(None, pitch, torch.zeros_like(pitch), 0, hop, hop, hop)

    def forward(self, frames: Acoustics, state: VocoderState | None = None) -> tuple[Tensor, VocoderState]:
        """The next J frames of streams to their sound (B, 160 J), and the next state."""
        state = state or self.start(frames.envelope.shape[0])
        envelope, voicing = frames.envelope.float(), frames.voicing.float()[..., None]
        x = self.stem(torch.cat([envelope, (frames.log_pitch.float()[..., None] - 5.0) * voicing, voicing], -1))
        memory = []
        past = state.memory if state.memory is not None else (None,) * len(self.blocks)
        for block, before in zip(self.blocks, past, strict=True):
            x, after = block(x, before)
            memory.append(after)
        gains = self.head(self.norm(x)).float()  # (B, J, 3 BINS)
        harmonic_gain, phase, noise_gain = gains.chunk(3, -1)
        with torch.autocast(envelope.device.type, enabled=False):
            base = (envelope - self.white) @ self.to_bins * 1.5  # LogMel's unit is three nepers of power
        harmonic, harmonic_hop, cycles = self._harmonics(frames.log_pitch, state)
        noise, noise_hop = self._noise(frames.log_pitch.shape, state)
        filtered = torch.polar((base + harmonic_gain).clamp(max=6.0).exp(), phase) * harmonic
        filtered = filtered + (base + noise_gain).clamp(max=6.0).exp() * noise
        pieces = torch.fft.irfft(filtered, WINDOW) * self.window  # (B, J, WINDOW)
        tail = torch.cat([state.overlap[:, None], pieces[:, :-1, HOP:]], 1)
        sound = (pieces[:, :, :HOP] + tail).flatten(1)
        after = VocoderState(
            tuple(memory),
            frames.log_pitch[:, -1].double(),
            cycles,
            (state.position + HOP * frames.log_pitch.shape[1]) % NOISE_LENGTH,
            harmonic_hop,
            noise_hop,
            pieces[:, -1, HOP:],
        )
        return sound, after

    def _harmonics(self, log_pitch: Tensor, state: VocoderState) -> tuple[Tensor, Tensor, Tensor]:
        """The harmonic source's spectra (B, J, BINS), its last hop and its phase.

        All harmonics below TOP_HARMONIC at equal strength, in closed form (Dirichlet's kernel), with the power per Hz of
        white noise. In double precision, so that an hour of phase adds up to the same however the stream is cut.
        """
        low, high = PITCH_RANGE
        # Pitch is learned from pitch, not through the phases of a hundred harmonics.
        ends = torch.cat([state.log_pitch[:, None], log_pitch.detach().double()], 1).exp().clamp(low, high)
        ramp = torch.arange(1, HOP + 1, device=ends.device, dtype=torch.float64) / HOP
        pitch = (ends[:, :-1, None] + (ends[:, 1:] - ends[:, :-1])[..., None] * ramp).flatten(1)  # (B, 160 J)
        cycles = (state.phase[:, None] + (pitch / SAMPLE_RATE).cumsum(1)) % 1.0
        count = torch.floor(TOP_HARMONIC / pitch)
        half = torch.sin(torch.pi * cycles)
        near = half.abs() < 1e-6
        kernel = torch.sin((2 * count + 1) * torch.pi * cycles) / torch.where(near, 1.0, half)
        kernel = torch.where(near, 2 * count + 1, kernel) - 1.0
        hops = (kernel * (pitch / SAMPLE_RATE).sqrt()).float().unflatten(1, (-1, HOP))
        return self._spectra(hops, state.harmonic), hops[:, -1], cycles[:, -1]

    def _noise(self, shape: torch.Size, state: VocoderState) -> tuple[Tensor, Tensor]:
        """The noise's spectra (B, J, BINS) and its last hop: the same for all voices of a batch, and every time."""
        at = (state.position + torch.arange(HOP * shape[1], device=self.noise.device)) % NOISE_LENGTH
        hops = self.noise[at].unflatten(0, (-1, HOP)).expand(shape[0], -1, -1)
        return self._spectra(hops, state.noise), hops[:, -1]

    def _spectra(self, hops: Tensor, before: Tensor) -> Tensor:
        """(B, J, HOP) and the hop before to the spectra of windows of two hops (B, J, BINS)."""
        joined = torch.cat([before[:, None], hops], 1)
        return torch.fft.rfft(torch.cat([joined[:, :-1], joined[:, 1:]], -1) * self.window)


def mel_centres(n_mels: int) -> np.ndarray:
    """Where an envelope's bands lie: (n_mels,) Hz."""
    filters = mel_filters(SAMPLE_RATE, ENVELOPE_WINDOW, n_mels, 40.0, 7_800.0).double().numpy()
    bins = np.arange(len(filters))[:, None] * SAMPLE_RATE / ENVELOPE_WINDOW
    return (filters * bins).sum(0) / filters.sum(0)


def _mels_to_bins(n_mels: int) -> Tensor:
    """(n_mels, BINS) linear interpolation from mel bands to the bins of the synthesis."""
    bins = np.arange(BINS) * SAMPLE_RATE / WINDOW
    eye = np.eye(n_mels)
    centres = mel_centres(n_mels)
    return torch.from_numpy(np.stack([np.interp(bins, centres, row) for row in eye])).float()


def _white_envelope(n_mels: int) -> Tensor:
    """(n_mels,) what `EnvelopeMeter` says of white noise of unit power."""
    mel = LogMel(SAMPLE_RATE, n_mels, HOP, ENVELOPE_WINDOW, ENVELOPE_WINDOW)
    power = mel.window.double().square().sum() * mel.filters.double().sum(0)
    return ((power.log() + 12.0) / 3.0).float()
