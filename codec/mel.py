"""What the speech models hear, causal: the log-mel spectrogram, and the pitchgram, in which voices show their pitch."""

import math

import torch
from torch import Tensor, nn


class LogMel(nn.Module):
    """Log-mel of 16 kHz sound without look-ahead: frame t hears the 25 ms that end with its own 10 ms hop.

    Plain torch with the state passed in and out, so that any cutting of the sound gives the same frames. The result is
    shifted and scaled by two constants, so that ordinary speech lies about within [-2, 2].
    """

    window: Tensor
    filters: Tensor

    def __init__(
        self,
        sample_rate: int = 16_000,
        n_mels: int = 80,
        hop_length: int = 160,
        window_length: int = 400,
        n_fft: int = 512,
        f_min: float = 40.0,
        f_max: float = 7_800.0,
    ):
        super().__init__()
        self.hop_length, self.window_length, self.n_fft = hop_length, window_length, n_fft
        self.memory = window_length - hop_length  # samples that a chunk needs from the past
        window = torch.hann_window(window_length, periodic=True)
        self.register_buffer("window", window / window.sum(), persistent=False)
        filters = mel_filters(sample_rate, n_fft, n_mels, f_min, f_max)
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, samples: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The next samples of a stream to log-mel frames.

        samples: (B, S) float in [-1, 1], S a multiple of hop_length. state: what the last call returned; None starts a
        stream in silence. Returns (B, S / hop_length, n_mels) and the next state (B, memory).
        """
        if state is None:
            state = samples.new_zeros(samples.shape[0], self.memory)
        samples = torch.cat([state, samples], dim=1)
        frames = samples.unfold(1, self.window_length, self.hop_length) * self.window  # (B, T, window)
        spectrum = torch.fft.rfft(frames, self.n_fft)  # (B, T, n_fft / 2 + 1)
        power = spectrum.real.square() + spectrum.imag.square()
        with torch.autocast(samples.device.type, enabled=False):  # half a decibel is what bfloat16 would leave
            log_mel = (power @ self.filters + 1e-8).log()
        return (log_mel + 12.0) / 3.0, samples[:, samples.shape[1] - self.memory :]


class PitchGram(nn.Module):
    """Autocorrelation of 16 kHz sound over logarithmic lags, without look-ahead: a voice is a ridge at its pitch.

    Frame t hears the 64 ms that end with its own 10 ms hop. The spectrum's magnitude takes the place of its power, which
    keeps one strong formant from hiding the rest (as in Tolonen and Karjalainen 2000). Values lie about within [-1, 1];
    an octave is `n_lags / log2(highest / lowest)` lags wide.
    """

    window: Tensor
    to_lags: Tensor

    def __init__(
        self,
        sample_rate: int = 16_000,
        n_lags: int = 72,
        hop_length: int = 160,
        window_length: int = 1024,
        lowest: float = 55.0,
        highest: float = 500.0,
    ):
        super().__init__()
        self.hop_length, self.window_length = hop_length, window_length
        self.memory = window_length - hop_length
        window = torch.hann_window(window_length, periodic=True)
        self.register_buffer("window", window / window.sum(), persistent=False)
        lags = sample_rate / (lowest * (highest / lowest) ** (torch.arange(n_lags, dtype=torch.float64) / (n_lags - 1)))
        low = lags.floor().long()
        self.reach = int(low.max()) + 2  # lags that are looked at
        self.n_fft = 3 * window_length // 2  # long enough that no lag wraps around
        # Between two whole lags on a line; what the window takes from longer lags is given back.
        fading = torch.fft.irfft(torch.fft.rfft(window.double(), self.n_fft).abs().square())[: self.reach]
        to_lags = torch.zeros(self.reach, n_lags, dtype=torch.float64)
        to_lags[low, torch.arange(n_lags)] = 1 - (lags - low)
        to_lags[low + 1, torch.arange(n_lags)] = lags - low
        self.register_buffer("to_lags", (to_lags * (fading[0] / fading)[:, None]).float(), persistent=False)

    def forward(self, samples: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As `LogMel.forward`: (B, S) to (B, S / hop_length, n_lags) and the next state (B, memory)."""
        if state is None:
            state = samples.new_zeros(samples.shape[0], self.memory)
        samples = torch.cat([state, samples], dim=1)
        frames = samples.unfold(1, self.window_length, self.hop_length) * self.window
        spectrum = torch.fft.rfft(frames, self.n_fft)
        magnitude = (spectrum.real.square() + spectrum.imag.square() + 1e-14).sqrt()
        alike = torch.fft.irfft(magnitude)[..., : self.reach]
        with torch.autocast(samples.device.type, enabled=False):
            ridges = (alike / (alike[..., :1] + 1e-6)) @ self.to_lags
        return 2.0 * ridges, samples[:, samples.shape[1] - self.memory :]


def mel_filters(sample_rate: int, n_fft: int, n_mels: int, f_min: float, f_max: float) -> Tensor:
    """Triangular filters (n_fft / 2 + 1, n_mels), evenly spaced on the mel scale 2595 log10(1 + f / 700), peak 1."""

    def to_mel(f: float) -> float:
        return 2595.0 * math.log10(1.0 + f / 700.0)

    mels = torch.linspace(to_mel(f_min), to_mel(f_max), n_mels + 2, dtype=torch.float64)
    edges = 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    # The narrowest filters would fall between two bins of the transform: none is narrower than a bin on either side.
    width = sample_rate / n_fft
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    low, high = torch.minimum(low, centre - width), torch.maximum(high, centre + width)
    f = torch.linspace(0, sample_rate / 2, n_fft // 2 + 1, dtype=torch.float64)[:, None]
    return torch.minimum((f - low) / (centre - low), (high - f) / (high - centre)).clamp(min=0).float()
